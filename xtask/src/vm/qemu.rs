//! Boots a kernel in QEMU's software emulation and streams its console.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// The init program writes `32 + code` to this port; QEMU then exits with `(value << 1) | 1`.
const EXIT_PORT: &str = "isa-debug-exit,iobase=0xf4,iosize=0x04";
const EXIT_BASE: i32 = 32;

/// `quiet` keeps driver chatter out of the test output. The emulator may be starved by the host, so watchdogs, which
/// only measure that, are off. 5.10 has the BPF LSM but does not enable it by itself. A string instruction costs the
/// emulator as much for each byte as an instruction, so the kernel is not to clear and copy pages by it (the features
/// 112, 297 and 580 are `rep_good`, `erms` and `fsrm`), nor to clear what nobody asked to be cleared.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check tsc=reliable \
                            clearcpuid=112,297,580 init_on_alloc=0 lsm=landlock,bpf \
                            nowatchdog rcupdate.rcu_cpu_stall_suppress=1 workqueue.watchdog_thresh=0";

/// How the machine's time passes: always one nanosecond per instruction. A busy host then neither lets deadlines pass
/// nor spoils the kernel's calibration of its clocks (which made guests run three times too fast), and durations of
/// work count instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Clock {
    /// Waiting takes no time at all. For tests.
    Skipping,
    /// Waiting takes as long as on the host. For a person who watches.
    Waiting,
}

/// A machine to boot.
pub(crate) struct Machine<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initrd: &'a Path,
    /// The image of a disk that nobody writes to.
    pub(crate) disk: Option<&'a Path>,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    pub(crate) clock: Clock,
    /// The machine is killed when it takes longer by the host's clock.
    pub(crate) timeout: Duration,
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command ended with this code.
    Exited(i32),
    /// The kernel went down before the command ended.
    Panicked,
    /// The machine was killed at its deadline.
    TimedOut(Duration),
    /// Neither: QEMU did not start, or the init program gave up.
    Broken(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "the command ended with code {code}"),
            Self::Panicked => f.write_str("the kernel panicked or rebooted"),
            Self::TimedOut(after) => write!(f, "killed after {} s without an end", after.as_secs()),
            Self::Broken(reason) => f.write_str(reason),
        }
    }
}

/// Boots and waits for the end; every piece of console output goes to `sink` as it comes.
pub(crate) fn boot(machine: &Machine<'_>, mut sink: impl FnMut(&[u8])) -> Result<Outcome> {
    let mut running = Running(
        command(machine)
            .spawn()
            .context("cannot start setpriv and qemu-system-x86_64: run `cargo xtask setup vm`")?,
    );
    let stdout = running.0.stdout.take().context("QEMU was started without a pipe")?;
    let deadline = Instant::now() + machine.timeout;
    let chunks = read_in_background(stdout);
    loop {
        match chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(chunk) => sink(&chunk),
            Err(RecvTimeoutError::Timeout) => {
                running.kill();
                return Ok(Outcome::TimedOut(machine.timeout));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = running.0.wait().context("cannot wait for QEMU")?;
    Ok(outcome(status))
}

fn command(machine: &Machine<'_>) -> Command {
    // Whatever ends us ends the machine: it is util-linux that says so to the kernel.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
    // Always emulation: /dev/kvm may exist and not work, and tests then behave alike on every host.
    // On one thread also with several CPUs: they take turns, and counting instructions needs it.
    command.args(["-accel", "tcg,thread=single", "-cpu", "max", "-M", "q35"]);
    command.args(["-smp", &machine.cpus.to_string()]);
    command.args(["-m", &format!("{}M", machine.memory_mib)]);
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-serial",
        "stdio",
        "-device",
        EXIT_PORT,
    ]);
    let clock = match machine.clock {
        Clock::Skipping => "shift=0,sleep=off",
        Clock::Waiting => "shift=0,sleep=on",
    };
    command.args(["-icount", clock, "-rtc", "clock=vm"]);
    if let Some(disk) = machine.disk {
        let path = disk.display();
        command.args(["-drive", &format!("file={path},format=raw,if=virtio,snapshot=on")]);
    }
    command
        .arg("-kernel")
        .arg(machine.kernel)
        .arg("-initrd")
        .arg(machine.initrd)
        .args(["-append", COMMAND_LINE]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

fn outcome(status: ExitStatus) -> Outcome {
    match status.code() {
        Some(0) => Outcome::Panicked,
        Some(code) if code & 1 == 1 && code >> 1 >= EXIT_BASE => {
            Outcome::Exited((code >> 1) - EXIT_BASE)
        }
        Some(code) if code & 1 == 1 && code > 1 => {
            Outcome::Broken("the init program gave up, see its last lines".to_owned())
        }
        Some(_) | None => Outcome::Broken(format!("QEMU ended with {status}")),
    }
}

fn read_in_background(mut stdout: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stdout.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Never leaves a QEMU behind, whichever way the caller goes.
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        // Both fail only when it has already ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn exit_codes_are_told_apart() {
        let of = |code: i32| outcome(ExitStatus::from_raw(code << 8));
        assert_eq!(of(65), Outcome::Exited(0));
        assert_eq!(of(67), Outcome::Exited(1));
        assert_eq!(of(255), Outcome::Exited(95));
        assert_eq!(of(0), Outcome::Panicked);
        assert!(matches!(of(1), Outcome::Broken(_)));
        assert!(matches!(of(33), Outcome::Broken(_)));
    }
}
