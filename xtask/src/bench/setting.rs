//! What is measured, and the scene that most of it is measured on.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    place::{Cgroup, NetNs},
    worker::Worker,
};

/// The programs under measurement.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Subjects {
    /// The daemon.
    #[arg(long)]
    pub(crate) daemon: PathBuf,
    /// The client.
    #[arg(long)]
    pub(crate) chaos: PathBuf,
    /// The object with the programs that do nothing.
    #[arg(long)]
    empty: Option<PathBuf>,
    /// A folder on a disk, for the daemons' state and for what is downloaded.
    #[arg(long)]
    pub(crate) cache: PathBuf,
    /// Rounds of each comparison.
    #[arg(long, default_value_t = 60)]
    pub(crate) rounds: u32,
}

impl Subjects {
    /// The object with the programs that do nothing, for the suites that use them.
    pub(crate) fn empty(&self) -> Result<&Path> {
        self.empty.as_deref().context("`--empty` is missing")
    }
}

/// Batches of sends in one measurement of a round.
const BATCHES: u32 = 100;
/// Writes in one measurement of a round.
const WRITES: u32 = 100;

/// What is timed, in the order of [`measure`].
pub(crate) const OPERATIONS: [&str; 4] =
    ["UDP send, lo", "UDP send, veth", "TCP 64 KiB write, lo", "TCP 64 KiB write, veth"];

/// A worker in a cgroup, in a namespace with `lo` and one end of a veth pair.
pub(crate) struct Scene {
    // Dropped in this order: the worker before its cgroup.
    pub(crate) worker: Worker,
    pub(crate) cgroup: Cgroup,
    pub(crate) netns: NetNs,
    pub(crate) far: NetNs,
}

impl Scene {
    /// With everything fresh.
    pub(crate) fn new() -> Result<Self> {
        let (netns, far, cgroup) = (NetNs::new()?, NetNs::new()?, Cgroup::new()?);
        netns.join(&far, "v0", 0)?;
        let mut worker = Worker::start(&cgroup, &netns)?;
        worker.link_loopback("lo")?;
        worker.link("veth", "10.9.0.2", &far)?;
        Ok(Self { worker, cgroup, netns, far })
    }
}

/// Nanoseconds of each operation of a scene's worker.
pub(crate) fn measure(worker: &mut Worker) -> Result<Vec<f64>> {
    Ok(vec![
        worker.send("lo", BATCHES)?,
        worker.send("veth", BATCHES)?,
        worker.write("lo", WRITES)?,
        worker.write("veth", WRITES)?,
    ])
}
