//! On the cgroups of this machine, as root.

use std::process::{Child, Command};

use super::*;

/// A cgroup of a test's own, home to `run`, which is to be taken away.
struct Stage {
    root: CgroupRoot,
    home: CgroupPath,
}

impl Stage {
    /// `None`, with a word on stderr, where a cgroup cannot be made.
    fn new(name: &str) -> Option<Self> {
        let root = CgroupRoot::find().unwrap();
        let home: CgroupPath =
            format!("/chaos-test-{}-{name}", std::process::id()).parse().unwrap();
        match fs::create_dir(root.dir(&home)) {
            Ok(()) => Some(Self { root, home }),
            Err(error) => {
                eprintln!("SKIPPED: cannot make a cgroup: {error}");
                None
            }
        }
    }

    fn path(&self, below: &str) -> CgroupPath {
        format!("{}/{below}", self.home).parse().unwrap()
    }

    fn dir(&self, below: &str) -> PathBuf {
        self.root.dir(&self.path(below))
    }

    fn make(&self, below: &str) {
        fs::create_dir_all(self.dir(below)).unwrap();
    }

    fn write(&self, file: &str, text: impl ToString) {
        fs::write(self.dir(file), text.to_string()).unwrap();
    }

    /// A process in a cgroup that waits.
    fn sleeper(&self, file: &str) -> Process {
        let process = Process(Command::new("sleep").arg("600").spawn().unwrap());
        let comm = format!("/proc/{}/comm", process.0.id());
        while fs::read_to_string(&comm).unwrap() != "sleep\n" {
            thread::yield_now();
        }
        self.write(file, process.0.id());
        process
    }

    fn dissolve(&self) -> Moved {
        let (moved, done) = dissolve(&self.root, &self.path("run"), &self.home);
        done.unwrap();
        assert!(!self.dir("run").exists());
        moved
    }

    fn lives_at_home(&self, process: &Process) -> bool {
        target::pids(&self.root, &self.home).unwrap().contains(&process.0.id())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A killed process leaves its cgroup a moment after it was waited for.
        let end = Instant::now() + Duration::from_secs(5);
        while let Err(error) = remove(&self.root.dir(&self.home)) {
            if Instant::now() > end {
                eprintln!("{error}");
                break;
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn processes_anywhere_below_go_on_outside() {
    let Some(stage) = Stage::new("nested") else { return };
    for below in ["run/a/b/c", "run/d", "run/empty/empty"] {
        stage.make(below);
    }
    let processes = ["run", "run/a/b/c", "run/d"]
        .map(|cgroup| stage.sleeper(&format!("{cgroup}/cgroup.procs")));
    let moved = stage.dissolve();
    for process in &processes {
        assert_eq!(moved.get(&process.0.id()).map(String::as_str), Some("sleep"));
        assert!(stage.lives_at_home(process));
    }
    assert_eq!(moved.len(), processes.len());
}

#[test]
fn frozen_processes_go_on_outside() {
    let Some(stage) = Stage::new("frozen") else { return };
    stage.make("run/a");
    let process = stage.sleeper("run/a/cgroup.procs");
    stage.write("run/a/cgroup.freeze", 1);
    assert!(stage.dissolve().contains_key(&process.0.id()));
    assert!(stage.lives_at_home(&process));
}

#[test]
fn threads_go_with_their_process() {
    let Some(stage) = Stage::new("threaded") else { return };
    stage.make("run/a/b");
    // An invalid domain beside it: it cannot have processes, and reading it is an error.
    stage.make("run/invalid");
    stage.write("run/a/cgroup.type", "threaded");
    stage.write("run/a/b/cgroup.type", "threaded");
    let process = stage.sleeper("run/cgroup.procs");
    stage.write("run/a/b/cgroup.threads", process.0.id());
    assert!(stage.dissolve().contains_key(&process.0.id()));
    assert!(stage.lives_at_home(&process));
}

#[test]
fn a_top_that_became_threaded_goes_too() {
    let Some(stage) = Stage::new("threaded-top") else { return };
    stage.make("run");
    stage.write("run/cgroup.type", "threaded");
    let process = stage.sleeper("cgroup.procs");
    stage.write("run/cgroup.threads", process.0.id());
    assert!(stage.dissolve().contains_key(&process.0.id()));
}

/// Each round finds the children of those that it moved the round before.
#[test]
fn a_process_that_goes_on_forking_is_caught() {
    let Some(stage) = Stage::new("forking") else { return };
    stage.make("run/a");
    let script = "while :; do (:; (:; sleep 0.01) & ) & wait; done";
    let process = Process(Command::new("sh").args(["-c", script]).spawn().unwrap());
    stage.write("run/a/cgroup.procs", process.0.id());
    assert!(stage.dissolve().contains_key(&process.0.id()));
}

#[test]
fn what_cannot_go_is_said_after_the_deadline() {
    let Some(stage) = Stage::new("stays") else { return };
    stage.make("run/a");
    let process = stage.sleeper("run/a/cgroup.procs");
    // Below the root of a threaded tree, what is not threaded takes nobody.
    stage.make("other/threaded");
    stage.make("other/invalid");
    stage.write("other/threaded/cgroup.type", "threaded");
    let (moved, done) = dissolve(&stage.root, &stage.path("run"), &stage.path("other/invalid"));
    assert!(moved.is_empty());
    let said = done.unwrap_err().to_string();
    assert!(said.contains(&format!("process {} cannot be moved out", process.0.id())), "{said}");
    assert!(stage.dir("run/a").exists());
    drop(process);
}

#[test]
fn one_that_is_gone_is_fine() {
    let Some(stage) = Stage::new("gone") else { return };
    assert!(dissolve(&stage.root, &stage.path("run"), &stage.home).1.is_ok());
}

#[test]
fn deserted_is_without_processes_anywhere_below() {
    let Some(stage) = Stage::new("deserted") else { return };
    stage.make("run/a/b");
    assert!(is_deserted(&stage.dir("run")));
    let process = stage.sleeper("run/a/b/cgroup.procs");
    assert!(!is_deserted(&stage.dir("run")));
    drop(process);
}
