//! `chaos watch`

use std::time::SystemTime;

use anyhow::bail;
use chaos_common::{
    injection::{Injection, State},
    proto::v1,
    spec::InjectionId,
};

use crate::{
    app::App,
    client::{Answers, Client},
    outcome::Outcome,
    output::{Written, event::Seen, injection::Listed},
};

/// Show state changes and samples of what the faults hit, as they happen
///
/// Ends when the named injection ends, or on Ctrl-C. At most a hundred firings a second are reported
/// for each injection; the counters of `chaos get` count all of them. With json and yaml: one object
/// for each event, in JSON on one line.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this injection
    #[arg(value_name = "ID")]
    id: Option<InjectionId>,
}

/// Shows what happens until the injection ends or a person has seen enough.
///
/// # Errors
/// When the daemon does not answer, does not know the injection, or goes away.
pub(super) async fn run(args: Args, app: &mut App) -> anyhow::Result<Outcome> {
    tokio::select! {
        ended = follow(args, app) => ended,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            Ok(Outcome::Done)
        }
    }
}

async fn follow(args: Args, app: &mut App) -> anyhow::Result<Outcome> {
    let mut client = app.connect().await?;
    let events = client.watch(args.id.as_ref()).await?;
    match &args.id {
        None => until(events, app, |_| false).await,
        Some(id) => follow_one(&mut client, events, id, app).await,
    }
}

/// An injection that has ended makes no more events. Asking after the watch has begun leaves no gap
/// in which it could end unseen.
async fn follow_one(
    client: &mut Client,
    events: Answers<v1::WatchEvent>,
    id: &InjectionId,
    app: &mut App,
) -> anyhow::Result<Outcome> {
    let now = client.get(id).await?;
    if is_over(&now) {
        print(&Seen::Changed(Listed::Known(Box::new(now))), app)?;
        return Ok(Outcome::Done);
    }
    until(events, app, |seen| match seen {
        Seen::Changed(Listed::Known(injection)) => injection.id == *id && is_over(injection),
        Seen::Changed(Listed::Unknown { .. })
        | Seen::Firing(_)
        | Seen::Missed(_)
        | Seen::Unknown => false,
    })
    .await
}

fn is_over(injection: &Injection) -> bool {
    matches!(injection.state, State::Ended(_))
}

async fn until(
    mut events: Answers<v1::WatchEvent>,
    app: &mut App,
    is_last: impl Fn(&Seen) -> bool,
) -> anyhow::Result<Outcome> {
    while let Some(event) = events.next().await? {
        let seen = Seen::from(event);
        print(&seen, app)?;
        if is_last(&seen) {
            return Ok(Outcome::Done);
        }
    }
    bail!("cannot go on watching: the daemon ended the stream; see that it runs and watch again");
}

fn print(seen: &Seen, app: &mut App) -> Written {
    let Some(view) = seen.view() else { return Ok(()) };
    app.out.each(&view, |out| out.line(seen.line(SystemTime::now())))
}
