//! A cgroup for one run, below the one we are in, so that its limits go on to hold.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use chaos_common::target::CgroupPath;
use chaos_daemon::target::{self, CgroupRoot};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    cgroup_tree::{Moved, children, dissolve, is_deserted, remove},
    say,
};
use crate::output::clean;

const PREFIX: &str = "chaos-exec-";

/// How the name of a second one ends.
const BESIDE: &str = "-run";

/// How long what is killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(2);

/// Processes that are named one by one.
const NAMED: usize = 10;

/// A cgroup of our own. [`FreshCgroup::remove`] takes it away; when dropped before, it goes if nothing
/// was ever in it.
pub(crate) struct FreshCgroup {
    root: CgroupRoot,
    path: CgroupPath,
    dir: PathBuf,
    /// Where processes go that outlive the command.
    parent: CgroupPath,
}

impl FreshCgroup {
    /// Makes it, and removes those that earlier runs were killed too hard to remove.
    pub(crate) fn make(root: &CgroupRoot) -> anyhow::Result<Self> {
        let parent = target::of_process(process::id()).context("cannot find our own cgroup")?;
        sweep(&root.dir(&parent));
        Self::named(root, parent, format!("{PREFIX}{}", process::id()))
    }

    /// Makes another one beside it.
    pub(crate) fn beside(&self) -> anyhow::Result<Self> {
        let name = format!("{PREFIX}{}{BESIDE}", process::id());
        Self::named(&self.root, self.parent.clone(), name)
    }

    fn named(root: &CgroupRoot, parent: CgroupPath, name: String) -> anyhow::Result<Self> {
        let path: CgroupPath = format!("{}/{name}", parent.as_str().trim_end_matches('/'))
            .parse()
            .context("cannot name a cgroup below our own")?;
        let dir = root.dir(&path);
        fs::create_dir(&dir).map_err(|error| {
            anyhow!("cannot make the cgroup {}: {error}{}", dir.display(), remedy(&error))
        })?;
        let fresh = Self { root: root.clone(), path, dir, parent };
        let kind = fs::read_to_string(fresh.dir.join("cgroup.type")).unwrap_or_default();
        ensure!(
            kind.trim_end() != "domain invalid",
            "our own cgroup {} is threaded, and one below it takes no command; run chaos exec in another",
            fresh.parent
        );
        Ok(fresh)
    }

    pub(crate) fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// Moves a process in.
    pub(crate) fn take_in(&self, pid: Pid) -> anyhow::Result<()> {
        fs::write(self.dir.join("cgroup.procs"), pid.to_string()).with_context(|| {
            format!("cannot move the command into the cgroup {}", self.dir.display())
        })
    }

    /// Kills everything in it.
    ///
    /// # Errors
    /// When something does not end within seconds: the kernel is busy for it.
    pub(crate) fn kill(&self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        // Linux 5.14: in one step, also what forks meanwhile.
        let is_told = fs::write(self.dir.join("cgroup.kill"), "1").is_ok();
        while !is_deserted(&self.dir) && Instant::now() < end {
            if !is_told {
                for pid in target::pids_below(&self.root, &self.path).unwrap_or_default() {
                    // Linux pids have at most 22 bits.
                    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
                }
            }
            thread::sleep(PAUSE);
        }
        ensure!(
            is_deserted(&self.dir),
            "what runs in the cgroup {} does not end when it is killed",
            self.dir.display()
        );
        Ok(())
    }

    /// Removes it and what the command made below it. Processes that the command left go on outside,
    /// and are named.
    pub(crate) fn remove(self) {
        let (moved, done) = dissolve(&self.root, &self.path, &self.parent);
        if !moved.is_empty() {
            say(format_args!(
                "chaos: the command left processes running; they go on without the fault: {}",
                names(&moved)
            ));
        }
        if let Err(obstacle) = done {
            say(format_args!(
                "chaos: the cgroup {} stays behind, without a fault: {obstacle}; remove it with rmdir when it is empty",
                self.dir.display()
            ));
        }
    }
}

impl Drop for FreshCgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
    }
}

/// What to do about a cgroup that cannot be made.
fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EAGAIN) => {
            "; a limit on cgroups is reached: raise cgroup.max.descendants or cgroup.max.depth of it or of one above, \
             or run chaos exec in another cgroup"
        }
        Some(_) | None => "",
    }
}

fn names(moved: &Moved) -> String {
    let name = |(pid, name): (&u32, &String)| format!("{} ({pid})", clean(name));
    let mut names: Vec<String> = moved.iter().take(NAMED).map(name).collect();
    if moved.len() > NAMED {
        names.push(format!("and {} more", moved.len() - NAMED));
    }
    names.join(", ")
}

/// Removes what runs left whose process is gone. A tree with a process in it belongs to that process.
fn sweep(parent: &Path) {
    for name in children(parent) {
        let dir = parent.join(&name);
        if run_of(&name).is_some_and(is_gone) && is_deserted(&dir) {
            let _ = remove(&dir);
        }
    }
}

/// The process id of the run that made a cgroup of this name.
fn run_of(name: &OsStr) -> Option<u32> {
    let name = name.to_str()?.strip_prefix(PREFIX)?;
    name.strip_suffix(BESIDE).unwrap_or(name).parse().ok()
}

/// Whether a run is over. One of our own id is: it had the id before us.
fn is_gone(pid: u32) -> bool {
    pid == process::id() || !Path::new(&format!("/proc/{pid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_processes_are_named_in_one_line() {
        let mut moved: Moved = (1..=10).map(|pid| (pid, "sh".to_owned())).collect();
        assert!(names(&moved).ends_with("sh (9), sh (10)"));
        moved.insert(11, "evil\u{1b}".into());
        moved.insert(12, "sh".into());
        assert!(names(&moved).ends_with("sh (10), and 2 more"));
        assert_eq!(names(&[(7, "a\u{1b}".to_owned())].into()), "a\\u{1b} (7)");
    }

    #[test]
    fn what_is_killed_is_gone_with_its_children() {
        let root = CgroupRoot::find().unwrap();
        let fresh = match FreshCgroup::make(&root) {
            Ok(fresh) => fresh,
            Err(error) => return eprintln!("SKIPPED: {error:#}"),
        };
        let mut command = process::Command::new("sh");
        command.args(["-c", "read go; sleep 600 & sleep 600"]).stdin(process::Stdio::piped());
        let mut shell = command.spawn().unwrap();
        fresh.take_in(Pid::from_raw(shell.id() as i32)).unwrap();
        drop(shell.stdin.take());
        fresh.kill().unwrap();
        assert!(is_deserted(&fresh.dir));
        assert!(!shell.wait().unwrap().success());
        let beside = fresh.beside().unwrap();
        assert!(beside.dir.exists() && beside.dir != fresh.dir);
        beside.remove();
        let dir = fresh.dir.clone();
        fresh.remove();
        assert!(!dir.exists());
    }

    #[test]
    fn only_runs_that_are_over_and_deserted_are_swept() {
        let root = CgroupRoot::find().unwrap();
        let top: CgroupPath = format!("/chaos-test-{}-sweep", process::id()).parse().unwrap();
        let top = root.dir(&top);
        if let Err(error) = fs::create_dir(&top) {
            eprintln!("SKIPPED: cannot make a cgroup: {error}");
            return;
        }
        // No process has so high an id: the kernel's limit is 2^22.
        let gone = format!("{PREFIX}9999999/a/b");
        let inhabited = format!("{PREFIX}9999998/a/b");
        let running = format!("{PREFIX}1/a");
        let beside = format!("{PREFIX}9999999{BESIDE}");
        for below in [&gone, &beside, &inhabited, &running, "other/a"] {
            fs::create_dir_all(top.join(below)).unwrap();
        }
        let mut sleeper = process::Command::new("sleep").arg("600").spawn().unwrap();
        fs::write(top.join(&inhabited).join("cgroup.procs"), sleeper.id().to_string()).unwrap();
        sweep(&top);
        let mut left = children(&top);
        left.sort();
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        while remove(&top).is_err() && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(left, ["chaos-exec-1", "chaos-exec-9999998", "other"]);
    }
}
