//! `chaos inject`

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::bail;
use chaos_common::{
    injection::{Injection, State},
    spec::{InjectionId, Spec},
    value::Lifetime,
};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    app::{App, Program},
    call::CallError,
    client::Client,
    error::{Usage, note, show},
    fault::{FaultCommand, of_flag},
    file, id,
    life::LifeArgs,
    outcome::{Outcome, Tally, untried},
    output::{ahead, clean, injection::View, moment, plan},
    target::TargetArgs,
};

/// Start a fault: from flags, or one or more from a file
///
/// With json and yaml: one object for each fault, in JSON on one line.
///
///   chaos inject network loss --percent 30 --unit nginx.service --duration 2m
///   chaos inject -f loss.yaml
#[derive(Debug, clap::Args)]
#[command(subcommand_negates_reqs = true, arg_required_else_help = true, verbatim_doc_comment)]
pub(crate) struct Args {
    /// Faults from a file of YAML documents, `-` being standard input
    ///
    /// Nothing is started unless all documents can be read. Then each is started by itself: the exit
    /// code is 2 when some failed, and 1 when all did.
    #[arg(short, long, value_name = "FILE", required = true)]
    file: Option<PathBuf>,

    /// Name the injection; otherwise it gets the fault's name and a random number
    ///
    /// The same request under the same id is one injection, however often it is sent. When that is over
    /// nothing is started, the exit code is 1, and only another id starts it anew. With a file of
    /// several documents they are named ID-1, ID-2 and so on.
    #[arg(long, value_name = "ID", global = true, allow_hyphen_values = true)]
    id: Option<InjectionId>,

    /// Show what would be done, without doing it
    #[arg(long, global = true)]
    dry_run: bool,

    #[command(subcommand)]
    fault: Option<FaultCommand<Rest>>,
}

/// What comes with a fault from flags.
#[derive(Clone, Debug, clap::Args)]
struct Rest {
    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    life: LifeArgs,
}

/// One injection to be made.
#[derive(Clone, Debug)]
struct Job {
    id: InjectionId,
    named: Named,
    spec: Spec,
    duration: Duration,
}

/// Where an id comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// A person said it.
    ByHand,
    /// Nobody knows it yet.
    ByChance,
}

/// What came of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// What was asked for.
    AsAsked,
    /// Nothing: the same request ran under this id before, and is over.
    OverBefore,
}

/// Where a duration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duration {
    Given,
    Default {
        /// What would have set it.
        by: &'static str,
    },
}

const BY_FLAG: Duration = Duration::Default { by: "--duration" };
const BY_FIELD: Duration = Duration::Default { by: "the field `duration`" };

/// Starts the faults; the ones that fail do not keep the others.
///
/// # Errors
/// When a document cannot be used, or the daemon cannot be reached.
pub(super) async fn run(args: Args, app: &mut App) -> anyhow::Result<Outcome> {
    let dry = args.dry_run;
    let given = args.id.clone();
    let jobs = jobs(args)?;
    let mut client = app.connect().await?;
    let mut tally = Tally::default();
    for (n, job) in jobs.iter().enumerate() {
        let done = if dry {
            plan(job, &mut client, app).await
        } else {
            inject(job, &mut client, app).await
        };
        match done {
            Ok(Made::AsAsked) => tally.done(),
            Ok(Made::OverBefore) => tally.failed(),
            Err(error) => {
                let Some(call) = error.downcast_ref::<CallError>() else { return Err(error) };
                let is_open = call.is_open();
                let is_single = jobs.len() == 1;
                if !is_single {
                    show(&error, app.out.format());
                    tally.failed();
                }
                let untried = untried(jobs.len() - n - 1).filter(|_| is_open);
                if is_open && !dry {
                    note(open(job, given.as_ref(), jobs.len(), untried), app.out.format());
                } else if let Some(untried) = untried {
                    note(untried, app.out.format());
                }
                // A single one says by its exit code whether it was refused or failed.
                if is_single {
                    return Err(error);
                }
                // There is nobody to ask for the others.
                if is_open {
                    break;
                }
            }
        }
    }
    Ok(tally.outcome())
}

fn jobs(args: Args) -> anyhow::Result<Vec<Job>> {
    match (args.file, args.fault) {
        (None, Some(FaultCommand { fault, rest })) => {
            let LifeArgs { duration, times, seed } = rest.life;
            let target = rest
                .target
                .target()
                .ok_or_else(|| Usage::of("give a target, as --unit nginx.service"))?;
            let named = Named::of(args.id.as_ref());
            let id = args.id.map_or_else(|| id::fresh(fault.kind()), Ok)?;
            let given = if duration.is_some() { Duration::Given } else { BY_FLAG };
            let duration = duration.unwrap_or(Lifetime::DEFAULT);
            let spec = Spec { target, fault, duration, times, seed };
            let spec = spec.checked().map_err(|invalid| Usage::of(of_flag(invalid)))?;
            Ok(vec![Job { id, named, spec, duration: given }])
        }
        (Some(path), None) => {
            let text = file::read(&path)?;
            from_text(&path, &text, args.id.as_ref())
        }
        (Some(_), Some(_)) | (None, None) => bail!(Usage::of("give either a fault or --file")),
    }
}

/// A document, for the one thing that a [`Spec`] does not keep.
#[derive(Deserialize)]
struct Glimpse {
    duration: Option<IgnoredAny>,
}

fn from_text(path: &Path, text: &str, id: Option<&InjectionId>) -> anyhow::Result<Vec<Job>> {
    let specs: Vec<Spec> = file::documents(path, text)?;
    let glimpses: Vec<Glimpse> = file::documents(path, text)?;
    let count = specs.len();
    let named = Named::of(id);
    let job = |(n, (spec, glimpse)): (usize, (Spec, Glimpse))| {
        let id = match id {
            None => id::fresh(spec.fault.kind())?,
            Some(id) if count == 1 => id.clone(),
            Some(id) => id::numbered(id, n + 1)?,
        };
        let duration = if glimpse.duration.is_some() { Duration::Given } else { BY_FIELD };
        Ok(Job { id, named, spec, duration })
    };
    specs.into_iter().zip(glimpses).enumerate().map(job).collect()
}

async fn plan(job: &Job, client: &mut Client, app: &mut App) -> anyhow::Result<Made> {
    let plan = client.plan(&job.spec).await?;
    app.out.each(&plan::View::new(&job.spec, &plan), |out| plan::block(out, &job.spec, &plan))?;
    Ok(Made::AsAsked)
}

async fn inject(job: &Job, client: &mut Client, app: &mut App) -> anyhow::Result<Made> {
    let Job { id, named, spec, duration } = job;
    let doing = match named {
        Named::ByHand => format!("inject {id}"),
        Named::ByChance => format!("inject {} on {}", spec.fault.kind(), spec.target),
    };
    let injection = client.inject(id, spec, doing).await?;
    if let Duration::Default { by } = duration {
        let text =
            format!("{id} has no duration of its own and gets {}; {by} sets it", spec.duration);
        note(text, app.out.format());
    }
    let program = app.program;
    app.out.each(&View::from(&injection), |out| {
        sentences(&injection, program).iter().try_for_each(|line| out.line(line))
    })?;
    Ok(if injection.state.is_live() { Made::AsAsked } else { Made::OverBefore })
}

impl Named {
    fn of(given: Option<&InjectionId>) -> Self {
        if given.is_some() { Self::ByHand } else { Self::ByChance }
    }
}

/// What to do about a job, one of `count`, of which the daemon did not tell whether it was done.
fn open(job: &Job, given: Option<&InjectionId>, count: usize, untried: Option<String>) -> String {
    let Job { id, .. } = job;
    let untried = untried.map(|untried| format!(", and {untried}")).unwrap_or_default();
    let next = match given {
        // The ids of the whole file follow from it.
        Some(given) => format!("the same again with --id {given} is safe"),
        None if count == 1 => format!("the same again with --id {id} is safe"),
        None => "the same file again would start anew what was started: recover that first (`chaos ls` shows it), \
                 and with --id NAME a file can be sent again"
            .to_owned(),
    };
    format!("{id} may have been started{untried}; {next}")
}

fn sentences(injection: &Injection, program: Program) -> Vec<String> {
    let Injection { id, spec, cgroup, state, expires_at, message, .. } = injection;
    let target = spec.target.to_string();
    let first =
        format!("{id}: {} on {} (cgroup {})", spec.fault, clean(&target), clean(cgroup.as_str()));
    let ends =
        format!("ends at {} ({})", moment(*expires_at), ahead(*expires_at, SystemTime::now()));
    let second = match state {
        State::Applying | State::Active | State::Recovering => {
            format!("{ends}; `{program} recover {id}` ends it now")
        }
        State::Ended(_) if message.is_empty() => {
            format!("it ran before and is {}; another id starts it anew", state.word())
        }
        State::Stuck(_) if message.is_empty() => format!("it is {}", state.word()),
        State::Ended(_) | State::Stuck(_) => format!("it is {}: {}", state.word(), clean(message)),
    };
    let reset = injection
        .connections_reset
        .map(|count| format!("  {count} connections that were open were reset"));
    let is_partial = matches!(state, State::Active) && !message.is_empty();
    let left_out = is_partial.then(|| format!("  left out: {}", clean(message)));
    [Some(first), left_out, reset, Some(format!("  {second}"))].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSS: &str = "target: {unit: a.service}\nfault: {networkLoss: {percent: 1}}\n";

    fn ids(text: &str, id: Option<&str>) -> Vec<String> {
        let id = id.map(|id| id.parse().unwrap());
        let jobs = from_text(Path::new("-"), text, id.as_ref()).unwrap();
        jobs.iter().map(|job| job.id.to_string()).collect()
    }

    #[test]
    fn several_documents_share_an_id_by_number() {
        let two = format!("{LOSS}---\n{LOSS}");
        assert_eq!(ids(LOSS, Some("a")), ["a"]);
        assert_eq!(ids(&two, Some("a")), ["a-1", "a-2"]);
        let fresh = ids(&two, None);
        assert!(fresh[0] != fresh[1] && fresh.iter().all(|id| id.starts_with("network-loss-")));
    }

    #[test]
    fn a_default_is_told_from_the_same_duration_given() {
        let text = format!("{LOSS}---\n{LOSS}duration: 5m\n");
        let jobs = from_text(Path::new("-"), &text, None).unwrap();
        assert_eq!(jobs[0].spec, jobs[1].spec);
        let given: Vec<_> = jobs.iter().map(|job| job.duration).collect();
        assert_eq!(given, [BY_FIELD, Duration::Given]);
    }
}
