//! Everything the demo makes, and its end. What is not ended explicitly ends with the value.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bpf_witness::Object;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cgroup::Cgroup,
    chaos::Chaos,
    daemon::{self, Daemon},
    interrupt::Interrupt,
    mount::{self, Bpffs},
    netns::NetNs,
    pair::{Load, Pair},
    residue::{self, Traces},
    tc,
};

/// How soon after its last user the kernel has freed an object.
const FREED: Duration = Duration::from_secs(5);

/// The stage: two HTTP pairs, a daemon, and where they are.
pub(crate) struct Stage {
    /// The target's and the bystander's.
    pub(crate) pairs: [Pair; 2],
    pub(crate) daemon: Daemon,
    pub(crate) chaos: Chaos,
    /// How loss is made here, in the daemon's words.
    pub(crate) mechanism: String,
    cgroups: Cgroups,
    netns: NetNs,
    bpffs: Bpffs,
    folder: TempDir,
}

/// Removed in this order.
struct Cgroups {
    target: Cgroup,
    bystander: Cgroup,
    parent: Cgroup,
}

impl Cgroups {
    fn all(&self) -> [&Cgroup; 3] {
        [&self.target, &self.bystander, &self.parent]
    }
}

impl Stage {
    /// Sets it up. The caller has left the machine's mounts.
    ///
    /// # Errors
    /// With the reason when this machine cannot do it.
    pub(crate) fn set(programs: Option<&Path>, load: Load, interrupt: &Interrupt) -> Result<Self> {
        let program = |name| program(programs, name);
        let root = mount::cgroup2()?;
        let folder = tempfile::Builder::new()
            .prefix("chaos-demo-")
            .tempdir()
            .context("cannot make a folder")?;
        let bpffs = Bpffs::mount(&folder.path().join("bpf"))?;
        let chaos = Chaos { program: program("chaos")?, socket: folder.path().join("chaos.sock") };
        // In the machine's network namespace, as always: it goes to its targets by itself.
        let mut daemon =
            Daemon::start(&program("chaos-daemon")?, folder.path(), bpffs.path(), &chaos.socket)?;
        let netns = NetNs::enter()?;
        let own = format!("/demo-{}", std::process::id());
        // The parent last, so that it is the last to go.
        let parent = Cgroup::make(&root, own.clone())?;
        let target = Cgroup::make(&root, format!("{own}/a"))?;
        let bystander = Cgroup::make(&root, format!("{own}/b"))?;
        let cgroups = Cgroups { target, bystander, parent };
        let mechanism = mechanism(&daemon.wait_ready(&chaos, interrupt)?)?;
        let pairs =
            [Pair::start("A", &cgroups.target, load)?, Pair::start("B", &cgroups.bystander, load)?];
        Ok(Self { pairs, daemon, chaos, mechanism, cgroups, netns, bpffs, folder })
    }

    /// The target, as `chaos` names it.
    pub(crate) fn target(&self) -> &str {
        self.cgroups.target.path()
    }

    /// Fails when a process has ended that should not.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.daemon.check()?;
        self.pairs.iter_mut().try_for_each(Pair::check)
    }

    /// BPF objects of the daemon: those it has open, and those behind its pins.
    pub(crate) fn objects(&self) -> Result<Vec<Object>> {
        let mut objects = bpf_witness::opened_by(self.daemon.pid())?;
        for pin in residue::files_below(self.bpffs.path(), "chaos") {
            objects.push(bpf_witness::pinned(&pin)?.object);
        }
        objects.sort_unstable();
        objects.dedup();
        Ok(objects)
    }

    /// Programs, qdiscs and filters where the demo's packets pass.
    pub(crate) fn hooks(&self) -> Result<usize> {
        let mut hooks = tc::count()?;
        for index in tc::interfaces()? {
            hooks += bpf_witness::on_interface(index)?.iter().sum::<u32>() as usize;
        }
        for cgroup in self.cgroups.all() {
            hooks += bpf_witness::on_cgroup(&cgroup.dir())?.iter().sum::<u32>() as usize;
        }
        Ok(hooks)
    }

    /// Waits until the daemon has taken its programs off: how many are left on.
    pub(crate) fn wait_unhooked(&self, patience: Duration) -> Result<usize> {
        wait(patience, || self.hooks())
    }

    /// What of this stage there is. Objects are those that [`Stage::objects`] has found.
    pub(crate) fn traces(&mut self, objects: &[Object]) -> Result<Traces> {
        let mut traces = Traces { hooks: self.hooks()?, ..self.daemon_traces(objects) };
        traces.add_place(
            &self.cgroups.all(),
            usize::from(self.daemon.check().is_ok()),
            self.folder.path(),
        )?;
        Ok(traces)
    }

    fn daemon_traces(&self, objects: &[Object]) -> Traces {
        let mut traces = Traces::of_objects(objects);
        traces.pins = residue::files_below(self.bpffs.path(), "chaos").len();
        traces.files = residue::files_below(&daemon::state(self.folder.path()), "injections").len();
        traces.files += usize::from(self.chaos.socket.exists());
        traces
    }

    /// Ends everything, and looks for what is left.
    pub(crate) fn strike(mut self, objects: &[Object]) -> Result<Traces> {
        self.daemon.stop()?;
        let mut last = Traces::default();
        wait(FREED, || {
            last = Traces { hooks: self.hooks()?, ..self.daemon_traces(objects) };
            Ok(last.total())
        })?;
        self.pairs.iter_mut().try_for_each(Pair::end)?;
        let Self { cgroups, netns, bpffs, folder, .. } = self;
        cgroups.all().into_iter().try_for_each(Cgroup::remove)?;
        netns.leave()?;
        drop(bpffs);
        let path = folder.path().to_owned();
        folder.close().with_context(|| format!("cannot remove {}", path.display()))?;
        last.add_place(&cgroups.all(), netns.processes()?, &path)?;
        Ok(last)
    }
}

/// A program of the project; without a folder it lies beside this one.
fn program(folder: Option<&Path>, name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find the own program")?;
    let path = folder.map_or_else(|| own.with_file_name(name), |folder| folder.join(name));
    ensure!(path.exists(), "there is no {}; `cargo xtask demo` builds it", path.display());
    Ok(path)
}

/// How the daemon makes packets vanish that go out; the reason if it cannot.
fn mechanism(doctor: &Value) -> Result<String> {
    let faults = doctor["faults"].as_array().map_or(&[][..], Vec::as_slice);
    let loss = faults
        .iter()
        .find(|fault| fault["fault"] == "network loss" && fault["aspect"] == "direction out");
    let loss = loss.context("`chaos doctor` does not know of network loss")?;
    let text = |key: &str| loss[key].as_str().map(str::to_owned);
    text("mechanism").with_context(|| {
        text("unsupportedReason").unwrap_or_else(|| "network loss does not work here".into())
    })
}

/// Looks until a count is zero or patience is out; the last count.
fn wait(patience: Duration, mut count: impl FnMut() -> Result<usize>) -> Result<usize> {
    let deadline = Instant::now() + patience;
    loop {
        let left = count()?;
        if left == 0 || Instant::now() > deadline {
            return Ok(left);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

impl Traces {
    fn add_place(
        &mut self,
        cgroups: &[&Cgroup],
        other_processes: usize,
        folder: &Path,
    ) -> Result<()> {
        self.cgroups += cgroups.iter().filter(|cgroup| cgroup.dir().exists()).count();
        self.processes +=
            cgroups.iter().map(|cgroup| cgroup.pids().len()).sum::<usize>() + other_processes;
        self.mounts += mount::count_below(folder)?;
        self.folders += usize::from(folder.exists());
        Ok(())
    }
}
