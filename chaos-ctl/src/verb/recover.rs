//! `chaos recover`

use std::{path::PathBuf, time::Duration};

use anyhow::anyhow;
use chaos_common::{
    injection::{Injection, State},
    invalid::causes,
    proto::v1::{Failure, RecoverAllResponse},
    spec::InjectionId,
};
use chaos_daemon::engine::{Durable, Swept, sweep_node};
use serde::Serialize;

use crate::{
    app::App,
    call::CallError,
    client::ConnectError,
    error::show,
    outcome::{Outcome, Tally},
    output::{Written, clean, injection::Listed},
};

/// End injections now and undo what they did
///
/// With json and yaml: one object for each id, or one for all with --all.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Ids, as `chaos ls` shows them
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<InjectionId>,

    /// End all injections of this node, also those whose records cannot be read
    ///
    /// Works without a daemon too, as root: then everything is removed that one left behind.
    #[arg(short, long)]
    all: bool,

    #[command(flatten)]
    place: Place,
}

/// Where a daemon that does not answer kept things.
#[derive(Debug, clap::Args)]
struct Place {
    /// State directory of the daemon, for --all when none answers
    #[arg(long, value_name = "DIR", default_value = "/var/lib/chaos")]
    state_dir: PathBuf,

    /// bpffs of the daemon, for --all when none answers
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,
}

/// How long a daemon may take to end everything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends the injections; the ones that fail do not keep the others.
///
/// # Errors
/// When the daemon does not answer.
pub(super) async fn run(args: Args, app: &mut App) -> anyhow::Result<Outcome> {
    if args.all {
        let asked = async { Ok::<_, anyhow::Error>(app.connect().await?.recover_all().await?) };
        return match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(response)) => all(&response, app),
            Ok(Err(error)) if is_nobody_there(&error) => {
                sweep_without_daemon(&args.place, error, app)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let hangs = anyhow!("the daemon did not answer within {} s", PATIENCE.as_secs());
                sweep_without_daemon(&args.place, hangs, app)
            }
        };
    }
    let mut client = app.connect().await?;
    let mut tally = Tally::default();
    for id in &args.ids {
        match client.recover(id).await {
            Ok(injection) => one(&injection.into(), app, &mut tally)?,
            Err(error) => {
                let is_timeout = error.is_timeout();
                show(&error.into(), app.out.format());
                tally.failed();
                if is_timeout {
                    break;
                }
            }
        }
    }
    Ok(tally.outcome())
}

/// Whether no daemon answered, or one died while it was asked.
fn is_nobody_there(error: &anyhow::Error) -> bool {
    error.is::<ConnectError>() || error.downcast_ref().is_some_and(CallError::is_open)
}

/// Ends everything on this node when no daemon answers.
///
/// # Errors
/// When it may not, or something could not be removed.
fn sweep_without_daemon(
    place: &Place,
    error: anyhow::Error,
    app: &mut App,
) -> anyhow::Result<Outcome> {
    if !nix::unistd::geteuid().is_root() {
        return Err(error.context("without a daemon, only root can end faults"));
    }
    let durable = Durable { state_dir: place.state_dir.clone(), bpffs: place.bpffs.clone() };
    let Swept { journal, daemon_hangs } = sweep_node(&durable, "chaos recover --all")?;
    eprintln!("note: {}", causes(error.as_ref()));
    if daemon_hangs {
        eprintln!("note: every hook was detached; the daemon that hangs keeps its journal");
        return Ok(Outcome::Done);
    }
    eprintln!("note: every hook and rule that a daemon left was removed");
    all(&RecoverAllResponse { recovered: journal, failed: Vec::new() }, app)
}

fn one(listed: &Listed, app: &mut App, tally: &mut Tally) -> Written {
    match listed {
        Listed::Known(injection) if matches!(injection.state, State::Stuck(_)) => tally.failed(),
        Listed::Known(_) | Listed::Unknown { .. } => tally.done(),
    }
    app.out.each(&listed.view(), |out| match listed {
        Listed::Known(injection) => out.line(sentence(injection)),
        Listed::Unknown { id, .. } => out.line(format_args!("{} recovered", clean(id))),
    })
}

fn sentence(injection: &Injection) -> String {
    let Injection { id, state, message, counters, .. } = injection;
    let reason = if message.is_empty() { String::new() } else { format!(": {}", clean(message)) };
    let counts = format!("matched {}, fired {}", counters.matched, counters.fired);
    match state {
        State::Stuck(_) => format!("{id} is stuck, the daemon goes on trying{reason}"),
        State::Recovering | State::Applying | State::Active => {
            format!("{id} is being recovered; {counts}")
        }
        State::Ended(end) => format!("{id} {}; {counts}{reason}", end.word()),
    }
}

/// The answer to --all as a program reads it.
#[derive(Serialize)]
struct AllView<'a> {
    recovered: &'a [String],
    failed: Vec<FailureView<'a>>,
}

#[derive(Serialize)]
struct FailureView<'a> {
    id: &'a str,
    reason: &'a str,
}

fn all(response: &RecoverAllResponse, app: &mut App) -> anyhow::Result<Outcome> {
    let RecoverAllResponse { recovered, failed } = response;
    let failed: Vec<FailureView<'_>> =
        failed.iter().map(|Failure { id, reason }| FailureView { id, reason }).collect();
    let view = AllView { recovered, failed };
    app.out.object(&view, |out| {
        for id in view.recovered {
            out.line(format_args!("{} recovered", clean(id)))?;
        }
        for FailureView { id, reason } in &view.failed {
            let (id, reason) = (clean(id), clean(reason));
            if id.is_empty() {
                out.line(format_args!("something of no injection is left: {reason}"))?;
                continue;
            }
            out.line(format_args!("{id} is stuck, the daemon goes on trying: {reason}"))?;
        }
        if view.recovered.is_empty() && view.failed.is_empty() {
            out.line("nothing to recover")?;
        }
        Ok(())
    })?;
    let mut tally = Tally::default();
    view.recovered.iter().for_each(|_| tally.done());
    view.failed.iter().for_each(|_| tally.failed());
    Ok(tally.outcome())
}
