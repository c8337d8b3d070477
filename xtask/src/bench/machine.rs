//! Which machine this is.

use std::fs;

/// Release of the running kernel.
pub(crate) fn kernel() -> String {
    nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_else(|_| "unknown".into())
}

/// Processor, number of CPUs and memory.
pub(crate) fn description() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let is_guest = cpuinfo.lines().any(|line| {
        line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor")
    });
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    // What QEMU calls a processor that it emulates, whatever runs it.
    let is_emulated = model == "QEMU TCG CPU version 2.5+";
    let model = if is_emulated { "emulated x86-64, one instruction a nanosecond" } else { model };
    let place = if is_guest { "a virtual machine with " } else { "" };
    format!("{place}{cpus} × {model}, {} GiB", memory.unwrap_or(0).div_ceil(1 << 20))
}
