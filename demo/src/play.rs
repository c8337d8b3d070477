//! The demo's life on one page: set the stage, watch before, during and after, strike the stage, judge.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use bpf_witness::Object;
use clap::Args;

use crate::{
    chaos::{self, Follower, Injection},
    clock::Moment,
    error::Failure,
    interrupt::Interrupt,
    mount,
    pair::Load,
    phase::{Course, Phase},
    residue::Traces,
    stage::Stage,
    stats::{Figures, TIMEOUT},
    verdict::{self, Facts},
    view::{Scene, Size, View},
};

/// How long after the last phase an answer is waited for.
const LATE: Duration = Duration::from_millis(100);
/// How soon the daemon has taken its programs off an expired fault.
const UNHOOKED: Duration = Duration::from_secs(3);

/// How to show it.
#[derive(Args)]
pub(crate) struct Options {
    /// One line a second instead of a view that is drawn again and again.
    #[arg(long)]
    plain: bool,
    /// The terminal's columns and rows, where it does not say so itself.
    #[arg(long, value_name = "COLSxROWS")]
    size: Option<Size>,
    /// Where `chaos-daemon` and `chaos` lie, if not beside this program.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Requests a second of each client.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=1000))]
    rate: u32,
    /// Requests on one connection.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    per_connection: u32,
}

/// Runs the demo.
///
/// # Errors
/// With what is to be said, and the exit code.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let interrupt = prepare().map_err(Failure::CannotHere)?;
    let load = Load { rate: options.rate, per_connection: options.per_connection };
    let mut view = View::new(options.plain, options.size);
    view.say("loading the programs, starting two HTTP servers and their clients …");
    let stage = match Stage::set(options.programs.as_deref(), load, &interrupt) {
        Ok(stage) => stage,
        Err(_) if interrupt.is_set() => return Err(Failure::Interrupted),
        Err(error) => return Err(Failure::CannotHere(error)),
    };
    let mut play = Play { scene: scene(&stage, load), stage, view, interrupt, objects: Vec::new() };
    let seen = play.watch();
    let Play { scene, stage, mut view, interrupt, objects } = play;
    let objects = if objects.is_empty() { stage.objects().unwrap_or_default() } else { objects };
    let left = stage.strike(&objects);
    match seen {
        Err(_) if interrupt.is_set() => {
            view.interrupted(&left?);
            Err(Failure::Interrupted)
        }
        Err(error) => {
            view.leave();
            Err(error.into())
        }
        Ok(Seen { under, hooked }) => {
            let figures = scene.figures();
            let facts = Facts {
                figures,
                injection: scene.injection.clone(),
                hooked,
                traces: [under, left?],
            };
            let complaints = verdict::complaints(&facts);
            view.finish(&scene, &facts, &complaints);
            if complaints.is_empty() { Ok(()) } else { Err(Failure::Verdict) }
        }
    }
}

/// What comes before everything else.
fn prepare() -> Result<Interrupt> {
    anyhow::ensure!(nix::unistd::geteuid().is_root(), "loading eBPF programs takes root");
    mount::leave()?;
    Interrupt::listen()
}

fn scene(stage: &Stage, load: Load) -> Scene {
    let command = chaos::inject_words(stage.target(), Phase::During.length()).join(" ");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Scene {
        kernel: kernel.trim().to_owned(),
        mechanism: stage.mechanism.clone(),
        command: format!("chaos {command}"),
        rate: load.rate,
        course: Course::begin(),
        now: Moment::now(),
        requests: Default::default(),
        injection: Injection::default(),
    }
}

/// What was seen beside the traffic.
struct Seen {
    under: Traces,
    hooked: usize,
}

struct Play {
    stage: Stage,
    scene: Scene,
    view: View,
    interrupt: Interrupt,
    objects: Vec<Object>,
}

impl Play {
    fn watch(&mut self) -> Result<Seen> {
        self.warm_up()?;
        self.scene.course = Course::begin();
        self.show(self.scene.course.began.after(Phase::Before.length()), None)?;

        let call = Moment::now();
        self.stage.chaos.inject(self.stage.target(), Phase::During.length())?;
        self.scene.course.injected = Some((call, Moment::now()));
        self.objects = self.stage.objects()?;
        let under = self.stage.traces(&self.objects)?;

        let follower = self.stage.chaos.follow();
        let end = Moment::now().after(Phase::During.length());
        let end = self.scene.course.deadline().unwrap_or(end).after(Phase::After.length());
        self.show(end, Some(&follower))?;
        let hooked = self.stage.wait_unhooked(UNHOOKED)?;
        // Those that are still on their way belong to the phase in which they began.
        self.show(end.after(TIMEOUT + LATE), Some(&follower))?;
        Ok(Seen { under, hooked })
    }

    /// Waits until both pairs answer, and a little longer: a first request is slow.
    fn warm_up(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let is_warm = |requests: Vec<crate::stats::Request>| {
            requests.iter().rev().take(20).filter(|request| request.answered).count() == 20
        };
        while !self.stage.pairs.iter().all(|pair| is_warm(pair.requests())) {
            anyhow::ensure!(!self.interrupt.is_set(), "interrupted");
            anyhow::ensure!(Instant::now() < deadline, "the HTTP pairs do not get going");
            self.stage.check()?;
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Shows what happens until then.
    fn show(&mut self, until: Moment, follower: Option<&Follower>) -> Result<()> {
        loop {
            anyhow::ensure!(!self.interrupt.is_set(), "interrupted");
            self.stage.check()?;
            let now = Moment::now();
            self.scene.now = now.min(until);
            for (seen, pair) in self.scene.requests.iter_mut().zip(&self.stage.pairs) {
                *seen = pair.requests();
            }
            if let Some(follower) = follower {
                self.scene.injection = follower.last();
            }
            self.view.draw(&self.scene);
            if now >= until {
                return Ok(());
            }
            thread::sleep(self.view.pause().min(until.since(now)));
        }
    }
}

impl Scene {
    fn figures(&self) -> [[Option<Figures>; 3]; 2] {
        self.requests.each_ref().map(|requests| {
            Phase::ALL.map(|phase| {
                Figures::of(
                    requests.iter().filter(|request| self.course.of(request.began) == Some(phase)),
                )
            })
        })
    }
}
