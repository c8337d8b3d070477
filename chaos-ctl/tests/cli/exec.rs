//! `exec` and signals. As root, and where eBPF programs can be loaded; the behaviour tests have the rest.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use crate::chaos::PROGRAM;

/// Far more than any of this takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A run of `chaos exec`; killed with its command when dropped.
struct Run {
    chaos: Child,
    lines: Receiver<String>,
}

impl Run {
    /// Runs a script that says `ready PID` first; none where that is not possible.
    fn start(script: &str) -> Option<Self> {
        let exec = ["exec", "network", "loss", "--percent", "1", "--", "sh", "-c", script];
        // Whoever runs the tests may ignore signals, as nohup does, and a shell cannot trap those.
        let mut chaos = Command::new("env")
            .arg("--default-signal")
            // And in a group whose parents have all gone nobody is stopped by job control.
            .process_group(0)
            .arg(PROGRAM)
            .args(exec)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(chaos.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let run = Self { chaos, lines };
        Self::begun(run)
    }

    fn begun(mut run: Self) -> Option<Self> {
        match run.lines.recv_timeout(PATIENCE) {
            Ok(line) => assert_eq!(line, "ready"),
            Err(_) => {
                let _ = run.chaos.kill();
                let mut said = String::new();
                let mut errors = run.chaos.stderr.take().unwrap();
                std::io::Read::read_to_string(&mut errors, &mut said).unwrap();
                assert!(
                    !nix::unistd::geteuid().is_root() || said.contains("Operation not"),
                    "{said}"
                );
                eprintln!("SKIPPED: {said}");
                return None;
            }
        }
        Some(run)
    }

    /// Sends a signal by its number, of which nix knows only the first 31.
    fn signal(&self, number: i32) {
        let pid = self.chaos.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -\"$0\" \"$1\"", &number.to_string(), &pid])
            .status()
            .unwrap();
        assert!(sent.success(), "{number}");
    }

    /// The command's process.
    fn command(&self) -> String {
        let pid = self.chaos.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        fs::read_to_string(path).unwrap().trim().to_owned()
    }

    fn said(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// Its exit code; it has left no cgroup.
    fn end(mut self) -> Option<i32> {
        let code = self.chaos.wait().unwrap().code();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            let left = format!("{mount}{own}/chaos-exec-{}", self.chaos.id());
            assert!(!Path::new(&left).exists(), "{left} is left");
        }
        code
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.chaos.kill();
        let _ = self.chaos.wait();
    }
}

/// Waits until a process is in a state, as `T` for stopped.
fn becomes(pid: &str, state: &str) {
    let end = Instant::now() + PATIENCE;
    let now = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap().to_string()
    };
    while !state.contains(&now()) {
        assert!(Instant::now() < end, "process {pid} is {} and not {state}", now());
        thread::sleep(Duration::from_millis(5));
    }
}

/// KILL and STOP nobody can take over, CHLD is not for the command, ILL, BUS, FPE and SEGV end chaos if
/// it is broken, and 32 and 33 are the C library's.
const NOT_PASSED_ON: [i32; 9] = [9, 19, 17, 4, 7, 8, 11, 32, 33];

#[test]
fn every_signal_reaches_the_command_once() {
    let passed_on = (1..=64).filter(|number| !NOT_PASSED_ON.contains(number));
    let traps: String = passed_on.clone().map(|n| format!("trap 'echo {n}' {n}\n")).collect();
    let last = "trap 'echo 10; if [ \"$again\" ]; then kill $!; exit 42; fi; again=1' 10\n";
    let script = format!("{traps}{last}sleep 600 & echo ready; while :; do wait; done");
    let Some(run) = Run::start(&script) else { return };
    for number in passed_on {
        run.signal(number);
        assert_eq!(run.said(), number.to_string());
    }
    // One that came twice would be heard of before this.
    run.signal(10);
    assert_eq!(run.said(), "10");
    assert_eq!(run.end(), Some(42));
}

#[test]
fn a_signal_that_ends_the_command_ends_it_all() {
    // PROF, XCPU, IO, ABRT, and the first and last real-time signals.
    for number in [27, 24, 29, 6, 34, 64] {
        let Some(run) = Run::start("echo ready; exec sleep 600") else { return };
        run.signal(number);
        assert_eq!(run.end(), Some(128 + number), "signal {number}");
    }
}

#[test]
fn job_control_stops_and_continues_both() {
    let Some(run) = Run::start("echo ready; exec sleep 600") else { return };
    let (chaos, command) = (run.chaos.id().to_string(), run.command());
    for number in [20, 21, 22] {
        run.signal(number);
        becomes(&command, "T");
        becomes(&chaos, "T");
        run.signal(18);
        becomes(&chaos, "SR");
        becomes(&command, "SR");
    }
    run.signal(15);
    assert_eq!(run.end(), Some(128 + 15));
}
