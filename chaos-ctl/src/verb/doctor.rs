//! `chaos doctor`

use crate::{
    app::App,
    outcome::Outcome,
    output::{capability, clean},
};

/// Show what works on this node, by which mechanism, and why the rest does not
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Shows the report.
///
/// # Errors
/// When the daemon does not answer.
pub(super) async fn run(Args {}: Args, app: &mut App) -> anyhow::Result<Outcome> {
    let report = app.connect().await?.capabilities().await?;
    app.out.object(&capability::View::from(&report), |out| {
        out.line(format_args!(
            "kernel {}, daemon {}, client {}",
            clean(&report.kernel_release),
            clean(&report.daemon_version),
            env!("CARGO_PKG_VERSION")
        ))?;
        out.line("")?;
        let (table, notes) = capability::table(&report);
        out.table(&table)?;
        for (n, caveat) in notes.iter().enumerate() {
            if n == 0 {
                out.line("")?;
            }
            out.line(format_args!("[{}] {}", n + 1, clean(caveat)))?;
        }
        Ok(())
    })?;
    Ok(Outcome::Done)
}
