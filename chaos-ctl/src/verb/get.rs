//! `chaos get`

use std::time::SystemTime;

use chaos_common::spec::InjectionId;

use crate::{
    app::App,
    outcome::Outcome,
    output::injection::{View, block},
};

/// Show one injection with all its counters
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its id, as `chaos ls` shows it
    #[arg(value_name = "ID")]
    id: InjectionId,
}

/// Shows the injection.
///
/// # Errors
/// When the daemon does not answer, or does not know it.
pub(super) async fn run(args: Args, app: &mut App) -> anyhow::Result<Outcome> {
    let injection = app.connect().await?.get(&args.id).await?;
    app.out.object(&View::from(&injection), |out| block(out, &injection, SystemTime::now()))?;
    Ok(Outcome::Done)
}
