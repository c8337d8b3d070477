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
    error::{note, show},
    outcome::{Outcome, Tally, untried},
    output::{Written, clean, injection::Listed},
};

/// End injections now and undo what they did
///
/// With json and yaml: one object for each id, or one for all with --all. That one has daemonHangs when
/// no daemon answered: true if there is one nevertheless.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["ids", "all"]))]
pub(crate) struct Args {
    /// Ids, as `chaos ls` shows them
    #[arg(value_name = "ID")]
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
            Ok(Ok(response)) => all(&response.into(), app),
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
    for (n, id) in args.ids.iter().enumerate() {
        match client.recover(id).await {
            Ok(injection) => one(&injection.into(), app, &mut tally)?,
            Err(error) => {
                let is_open = error.is_open();
                show(&error.into(), app.out.format());
                tally.failed();
                if is_open {
                    if let Some(untried) = untried(args.ids.len() - n - 1) {
                        note(untried, app.out.format());
                    }
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
    let swept = sweep_node(&durable, "chaos recover --all");
    let format = app.out.format();
    note(causes(error.as_ref()), format);
    let Place { state_dir, bpffs } = place;
    note(format_args!("{} under {}", pins(swept.pins), bpffs.display()), format);
    note(format_args!("the journal is in {}", state_dir.display()), format);
    if swept.daemon_hangs {
        note("the daemon that hangs keeps its journal", format);
    }
    all(&swept.into(), app)
}

fn pins(count: usize) -> String {
    match count {
        0 => "there was no pin of a hook or a table".to_owned(),
        1 => "removed 1 pin of a hook or a table".to_owned(),
        more => format!("removed {more} pins of hooks and tables"),
    }
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
    let Injection { id, state, counters, .. } = injection;
    let reason = match injection.because() {
        "" => String::new(),
        because => format!(": {}", clean(because)),
    };
    let counts = format!("matched {}, fired {}", counters.matched, counters.fired);
    match state {
        State::Stuck(_) => format!("{id} is stuck, the daemon goes on trying{reason}"),
        State::Recovering | State::Applying | State::Active => {
            format!("{id} is being recovered; {counts}")
        }
        State::Ended(end) => format!("{id} {}; {counts}{reason}", end.word()),
    }
}

/// The answer to --all, as a program reads it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct All {
    recovered: Vec<String>,
    failed: Vec<NotRecovered>,
    /// Whether there is a daemon that did not answer; absent when one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    daemon_hangs: Option<bool>,
}

#[derive(Debug, Serialize)]
struct NotRecovered {
    /// Empty for what belongs to no injection.
    id: String,
    reason: String,
}

impl From<RecoverAllResponse> for All {
    fn from(response: RecoverAllResponse) -> Self {
        let RecoverAllResponse { recovered, failed } = response;
        let failed = failed.into_iter().map(|Failure { id, reason }| NotRecovered { id, reason });
        Self { recovered, failed: failed.collect(), daemon_hangs: None }
    }
}

impl From<Swept> for All {
    fn from(swept: Swept) -> Self {
        let Swept { pins: _, journal, daemon_hangs, failures } = swept;
        let failed = failures.into_iter().map(|reason| NotRecovered { id: String::new(), reason });
        Self { recovered: journal, failed: failed.collect(), daemon_hangs: Some(daemon_hangs) }
    }
}

fn all(all: &All, app: &mut App) -> anyhow::Result<Outcome> {
    app.out.object(all, |out| {
        for id in &all.recovered {
            out.line(format_args!("{} recovered", clean(id)))?;
        }
        for NotRecovered { id, reason } in &all.failed {
            let (id, reason) = (clean(id), clean(reason));
            if id.is_empty() {
                out.line(format_args!("not all could be undone: {reason}"))?;
                continue;
            }
            out.line(format_args!("{id} is stuck, the daemon goes on trying: {reason}"))?;
        }
        if all.recovered.is_empty() && all.failed.is_empty() {
            match all.daemon_hangs {
                None => out.line("nothing to recover")?,
                Some(false) => out.line("no injection was in the daemon's journal")?,
                // What a daemon that hangs had injected is not known.
                Some(true) => {}
            }
        }
        Ok(())
    })?;
    let mut tally = Tally::default();
    all.recovered.iter().for_each(|_| tally.done());
    all.failed.iter().for_each(|_| tally.failed());
    Ok(tally.outcome())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(all: impl Into<All>) -> serde_json::Value {
        serde_json::to_value(all.into()).unwrap()
    }

    #[test]
    fn with_and_without_a_daemon_the_shape_is_the_same() {
        let failure = Failure { id: "b".into(), reason: "busy".into() };
        assert_eq!(
            json(RecoverAllResponse { recovered: vec!["a".into()], failed: vec![failure] }),
            serde_json::json!({"recovered": ["a"], "failed": [{"id": "b", "reason": "busy"}]})
        );
        assert_eq!(
            json(Swept { journal: vec!["a".into()], ..Swept::default() }),
            serde_json::json!({"recovered": ["a"], "failed": [], "daemonHangs": false})
        );
        assert_eq!(
            json(Swept { daemon_hangs: true, ..Swept::default() }),
            serde_json::json!({"recovered": [], "failed": [], "daemonHangs": true})
        );
    }
}
