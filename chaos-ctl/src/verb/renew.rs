//! `chaos renew`

use std::time::SystemTime;

use chaos_common::{spec::InjectionId, value::Lifetime};

use crate::{
    app::App,
    outcome::Outcome,
    output::{ahead, injection::View, moment},
};

/// Let an injection last longer, or end sooner: move its end to now + a duration
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its id, as `chaos ls` shows it
    #[arg(value_name = "ID")]
    id: InjectionId,

    /// How long from now [default: the duration that it was injected with]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    duration: Option<Lifetime>,
}

/// Moves the end.
///
/// # Errors
/// When the daemon does not answer, or refuses.
pub(super) async fn run(args: Args, app: &mut App) -> anyhow::Result<Outcome> {
    let injection = app.connect().await?.renew(&args.id, args.duration).await?;
    app.out.object(&View::from(&injection), |out| {
        let end = injection.expires_at;
        let (id, at, ahead) = (&injection.id, moment(end), ahead(end, SystemTime::now()));
        out.line(format_args!("{id} ends at {at} ({ahead})"))
    })?;
    Ok(Outcome::Done)
}
