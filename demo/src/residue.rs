//! What the demo and its daemon have on the machine, as counts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bpf_witness::{Kind, Object};

/// Counts of everything that must be gone at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traces {
    /// Under the daemon's bpffs.
    pub(crate) pins: usize,
    pub(crate) links: usize,
    pub(crate) programs: usize,
    pub(crate) maps: usize,
    /// Programs on the interfaces and cgroups of the demo, qdiscs and filters included.
    pub(crate) hooks: usize,
    /// The journal's, and the socket.
    pub(crate) files: usize,
    pub(crate) folders: usize,
    pub(crate) processes: usize,
    pub(crate) cgroups: usize,
    pub(crate) mounts: usize,
}

impl Traces {
    /// Those of these objects that the kernel has.
    pub(crate) fn of_objects(objects: &[Object]) -> Self {
        let mut traces = Self::default();
        for object in objects.iter().filter(|object| bpf_witness::exists(**object)) {
            match object.kind {
                Kind::Link => traces.links += 1,
                Kind::Program => traces.programs += 1,
                Kind::Map => traces.maps += 1,
            }
        }
        traces
    }

    /// Name and count of each.
    pub(crate) fn all(&self) -> [(&'static str, usize); 10] {
        [
            ("pins", self.pins),
            ("links", self.links),
            ("files", self.files),
            ("programs", self.programs),
            ("maps", self.maps),
            ("hooks", self.hooks),
            ("folders", self.folders),
            ("processes", self.processes),
            ("cgroups", self.cgroups),
            ("mounts", self.mounts),
        ]
    }

    /// All of them.
    pub(crate) fn total(&self) -> usize {
        self.all().iter().map(|(_, count)| count).sum()
    }
}

/// Files below `name` in a folder; none where that does not exist. (The kernel puts files of its own into the top
/// of every bpffs, so `name` is ours.)
pub(crate) fn files_below(folder: &Path, name: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder.join(name)) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(files_below(&entry.path(), ""));
        } else {
            files.push(entry.path());
        }
    }
    files
}
