//! A cgroup of a test's own, removed with everything in it.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use chaos_common::target::CgroupPath;

use super::{root::CgroupRoot, walk::walk};

/// `/chaos-test-PID-NAME` below the cgroup2 mount.
pub(crate) struct TestCgroup {
    pub(crate) root: CgroupRoot,
    name: String,
}

impl TestCgroup {
    /// `None`, with a word on stderr, where a cgroup cannot be made.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let root = CgroupRoot::find().unwrap();
        let name = format!("/chaos-test-{}-{name}", std::process::id());
        let test = Self { root, name };
        match fs::create_dir(test.root.dir(&test.path(""))) {
            Ok(()) => Some(test),
            Err(error) => {
                eprintln!("SKIPPED: cannot make a cgroup: {error}");
                None
            }
        }
    }

    pub(crate) fn path(&self, below: &str) -> CgroupPath {
        let slash = if below.is_empty() { "" } else { "/" };
        format!("{}{slash}{below}", self.name).parse().unwrap()
    }

    pub(crate) fn make(&self, below: &str) -> PathBuf {
        let dir = self.root.dir(&self.path(below));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.root.dir(&self.path(file)), text).unwrap();
    }

    pub(crate) fn put(&self, below: &str, pid: u32) {
        self.write(format!("{below}/cgroup.procs").trim_start_matches('/'), &pid.to_string());
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        let Ok(mut found) = walk(&self.root, &self.path("")) else { return };
        found.reverse();
        for cgroup in found {
            let dir = self.root.dir(&cgroup.path);
            // A killed process leaves its cgroup a moment after it was waited for.
            let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
            while let Err(error) = fs::remove_dir(&dir) {
                if std::time::Instant::now() > end {
                    eprintln!("cannot remove {}: {error}", dir.display());
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

/// A process that waits until it is dropped.
pub(crate) struct Sleeper(pub(crate) Child);

impl Sleeper {
    pub(crate) fn new() -> Self {
        Self::of(Command::new("sleep").arg("600"))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
