//! Suites of `cargo xtask bench` in a VM: other kernels than this machine's have the netem that network faults are held
//! against, or let programs replace what system calls return.
//!
//! The VM's clock counts instructions, one a nanosecond, and skips what is waited for. So neither a busy host nor a slow
//! emulator is in the figures.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::artifacts::Binaries;
use crate::bench::InVm;
use crate::setup::{self, Need};
use crate::sh;
use crate::vm::{self, Echo, Guest, GuestFile, Outcome, host_program, matrix};

/// What the program prints in front of its report.
const REPORT: &str = "chaos-bench: report ";
/// Programs of iproute2, which set up what the faults are held against.
const PROGRAMS: [&str; 2] = ["ip", "tc"];
/// Where a VM has the distributions of netem, and how `tc` is told.
const DISTRIBUTIONS: (&str, &str) = ("TC_LIB_DIR", "/etc/tc");
const TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Boots the VM and measures in it; returns the report.
pub(crate) fn measure(
    place: InVm,
    kernel: &str,
    names: &[String],
    binaries: &Binaries,
    bench: &Path,
) -> Result<String> {
    setup::ensure(&[Need::Vm, Need::Packages])?;
    let kernels = matrix::select(&[kernel.to_owned()])?;
    let kernel = kernels.first().context("no kernel selected")?.prepare()?;
    sh::say(format_args!("booting Linux {} in QEMU", kernel.release));
    let echo = Echo::LinesUntil(kernel.name.clone(), REPORT);
    let mut guest = Guest::new(&["/bin/bench", "run", "--hand-over"], echo);
    for (flag, path) in
        [("--daemon", "/bin/chaos-daemon"), ("--chaos", "/bin/chaos"), ("--cache", "/var/lib")]
    {
        guest.argv.extend([flag, path].map(str::to_owned));
    }
    guest.argv.extend(names.iter().cloned());
    guest.files.push(GuestFile { at: "/bin/bench".to_owned(), from: bench.to_owned() });
    let programs: Vec<&str> = PROGRAMS.iter().chain(place.programs()).copied().collect();
    guest.files.extend(host_program::collect(&programs)?);
    guest.files.extend(distributions()?);
    guest.env.push(host_program::environment());
    guest.env.push((DISTRIBUTIONS.0.to_owned(), DISTRIBUTIONS.1.to_owned()));
    guest.memory_mib = 2048;
    guest.timeout = TIMEOUT;
    let finished = vm::run(&kernel, binaries, &guest)?;
    for complaint in &finished.complaints {
        sh::say(format_args!("the kernel complained: {complaint}"));
    }
    ensure!(
        finished.outcome == Outcome::Exited(0),
        "Linux {}: {} (console: {})",
        kernel.release,
        finished.outcome,
        finished.log.display()
    );
    sh::say(format_args!("measured in {} s", finished.elapsed.as_secs()));
    let report = finished.lines.iter().find_map(|line| line.strip_prefix(REPORT));
    Ok(report.context("the VM handed no report over")?.to_owned())
}

/// The files `*.dist` of this machine's iproute2. Debian has them in a folder for the architecture.
fn distributions() -> Result<Vec<GuestFile>> {
    let inner = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let folders =
        inner.map(|entry| entry.path()).chain(["/usr/lib", "/usr/share"].map(PathBuf::from));
    let mut files = Vec::new();
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(folder.join("tc")) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".dist") {
                files.push(GuestFile {
                    at: format!("{}/{name}", DISTRIBUTIONS.1),
                    from: entry.path(),
                });
            }
        }
    }
    ensure!(
        !files.is_empty(),
        "iproute2 has no distributions, such as normal.dist, on this machine"
    );
    Ok(files)
}
