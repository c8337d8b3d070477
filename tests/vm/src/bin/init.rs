//! The first process of a test VM. It brings up what a container host has, runs one command and ends the VM.
//!
//! Contract with the harness that builds the initramfs:
//! - `/etc/modules` names the kernel modules to load, in order, from `/lib/modules/<name>.ko`;
//! - `/etc/environment` holds the command's environment, `KEY=value` per line;
//! - a disk, if there is one, holds other people's programs, and is mounted on `/programs`;
//! - `/etc/run` holds the command, one argument per line;
//! - lines that begin with `chaos-init: ` are ours, `chaos-init: kernel: …` quotes a complaint of the kernel's;
//! - the last line is `chaos-init: exit <code>`, and QEMU's debug-exit device is given `32 + code`, or less than 32
//!   when the VM could not be brought up.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, chroot};

const SEARCH_PATH: &str = "/bin:/sbin:/usr/bin:/usr/sbin";
const EXIT_BASE: u8 = 32;
/// QEMU shifts the value left by one and reports eight bits of it.
const LAST_CODE: i32 = 95;
const GAVE_UP: u8 = 16;
const DISK: &str = "/dev/vda";
const PROGRAMS: &str = "/programs";

fn main() {
    let value = match run() {
        Ok(code) => {
            println!("chaos-init: exit {code}");
            EXIT_BASE + u8::try_from(code.clamp(0, LAST_CODE)).unwrap_or(GAVE_UP)
        }
        Err(error) => {
            println!("chaos-init: gave up: {error:#}");
            GAVE_UP
        }
    };
    // The console is slower than the exit: without this the last lines are lost.
    let _ = nix::sys::termios::tcdrain(std::io::stdout());
    port::exit(value);
    // Without the device (another hypervisor), power off.
    let _ = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_POWER_OFF);
}

fn run() -> Result<i32> {
    mount_at("/proc", "proc", MsFlags::empty())?;
    mount_at("/sys", "sysfs", MsFlags::empty())?;
    load_modules()?;
    move_to_new_root()?;
    mount_kernel_interfaces()?;
    enable_controllers()?;
    loopback_up().context("cannot set lo up")?;
    mount_programs()?;
    for folder in ["/tmp", "/run", "/var/lib", "/var/log", "/root"] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))?;
    }
    let mut log = KernelLog::open()?;
    let code = run_command()?;
    log.report();
    Ok(code)
}

/// Modules may fail one by one: a test that needs one finds out and says so.
fn load_modules() -> Result<()> {
    for name in read_lines("/etc/modules")? {
        let path = format!("/lib/modules/{name}.ko");
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        if let Err(error) = finit_module(&file, c"", ModuleInitFlags::empty()) {
            println!("chaos-init: module {name}: {error}");
        }
    }
    for name in read_lines("/etc/modules.missing")? {
        println!("chaos-init: module {name}: not in this kernel's packages");
    }
    Ok(())
}

/// The kernel's first root cannot be left by `pivot_root`, and in a plain `chroot` user namespaces are refused. So, like
/// `switch_root`, this mounts a tmpfs over the root.
fn move_to_new_root() -> Result<()> {
    mount_at("/new", "tmpfs", MsFlags::empty())?;
    for folder in ["bin", "etc", "lib64"] {
        let from = Path::new("/").join(folder);
        // Shared libraries are only there when the command has need of them.
        if from.exists() {
            copy_folder(&from, &Path::new("/new").join(folder))?;
        }
    }
    // Only there when the kernel has modules.
    if Path::new("/lib").exists() {
        fs::remove_dir_all("/lib").context("cannot remove /lib")?;
    }
    for folder in ["/proc", "/sys"] {
        let target = format!("/new{folder}");
        fs::create_dir_all(&target).with_context(|| format!("cannot create {target}"))?;
        mount(Some(folder), target.as_str(), None::<&str>, MsFlags::MS_MOVE, None::<&str>)
            .with_context(|| format!("cannot move {folder} to {target}"))?;
    }
    chdir("/new").context("cannot enter /new")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .context("cannot mount the new root over /")?;
    chroot(".").context("cannot change to the new root")?;
    chdir("/").context("cannot enter the new root")
}

/// Moves the files, so that the memory of the first root is free afterwards.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", from.display()))?;
        let target = to.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot copy to {}", target.display()))?;
            fs::remove_file(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn mount_kernel_interfaces() -> Result<()> {
    mount_at("/dev", "devtmpfs", MsFlags::empty())?;
    mount_at("/dev/shm", "tmpfs", MsFlags::empty())?;
    mount_at("/dev/pts", "devpts", MsFlags::empty())?;
    mount_at("/sys/fs/cgroup", "cgroup2", MsFlags::empty())?;
    mount_at("/sys/fs/bpf", "bpf", MsFlags::empty())?;
    // Not every kernel has these; the tests that need one say so.
    for (path, kind) in [
        ("/sys/kernel/debug", "debugfs"),
        ("/sys/kernel/tracing", "tracefs"),
        ("/sys/kernel/security", "securityfs"),
    ] {
        if let Err(error) = mount_at(path, kind, MsFlags::empty()) {
            println!("chaos-init: {error:#}");
        }
    }
    Ok(())
}

/// A root of its own for programs that need more than themselves: what they link and what they read.
fn mount_programs() -> Result<()> {
    if !Path::new(DISK).exists() {
        return Ok(());
    }
    fs::create_dir_all(PROGRAMS).with_context(|| format!("cannot create {PROGRAMS}"))?;
    mount(Some(DISK), PROGRAMS, Some("ext4"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount {DISK} on {PROGRAMS}"))?;
    for folder in ["dev", "proc", "sys"] {
        let (from, to) = (format!("/{folder}"), format!("{PROGRAMS}/{folder}"));
        mount(Some(from.as_str()), to.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("cannot mount {from} on {to}"))?;
    }
    for folder in ["run", "tmp"] {
        mount_at(&format!("{PROGRAMS}/{folder}"), "tmpfs", MsFlags::empty())?;
    }
    Ok(())
}

fn mount_at(path: &str, kind: &str, flags: MsFlags) -> Result<()> {
    // In a filesystem of the kernel's own, the folder exists or cannot be made; `mount` then tells.
    drop(fs::create_dir_all(path));
    mount(Some(kind), path, Some(kind), flags, None::<&str>)
        .with_context(|| format!("cannot mount {kind} on {path}"))
}

fn enable_controllers() -> Result<()> {
    const CONTROL: &str = "/sys/fs/cgroup/cgroup.subtree_control";
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
        .context("cannot read the cgroup controllers")?;
    for controller in controllers.split_whitespace() {
        if let Err(error) = fs::write(CONTROL, format!("+{controller}")) {
            println!("chaos-init: cgroup controller {controller}: {error}");
        }
    }
    Ok(())
}

/// `RTM_NEWLINK` for interface 1 with `IFF_UP`.
fn loopback_up() -> Result<()> {
    let kernel = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let up = libc::IFF_UP.to_ne_bytes();
    let mut message = Vec::with_capacity(32);
    // struct nlmsghdr: length, type, flags, sequence, port
    message.extend(32_u32.to_ne_bytes());
    message.extend(libc::RTM_NEWLINK.to_ne_bytes());
    message.extend(u16::try_from(libc::NLM_F_REQUEST)?.to_ne_bytes());
    message.extend([0; 8]);
    // struct ifinfomsg: family, padding, type, index, flags, change mask
    message.extend([0; 4]);
    message.extend(1_i32.to_ne_bytes());
    message.extend(up);
    message.extend(up);
    let sent = sendto(
        std::os::fd::AsRawFd::as_raw_fd(&kernel),
        &message,
        &NetlinkAddr::new(0, 0),
        MsgFlags::empty(),
    )?;
    if sent != message.len() {
        bail!("the kernel took {sent} of {} bytes", message.len());
    }
    Ok(())
}

fn run_command() -> Result<i32> {
    let argv = read_lines("/etc/run")?;
    let Some((program, arguments)) = argv.split_first() else { bail!("/etc/run names no command") };
    let environment = read_lines("/etc/environment")?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs([("PATH", SEARCH_PATH), ("HOME", "/root"), ("TERM", "linux")])
        .envs(environment.iter().filter_map(|line| line.split_once('=')))
        .current_dir("/root")
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    // As the first process we inherit every orphan and reap it.
    loop {
        let status = waitpid(None, None).context("cannot wait for the command")?;
        if status.pid() != Some(pid) {
            continue;
        }
        if let WaitStatus::Exited(_, code) = status {
            return Ok(code);
        }
        if let WaitStatus::Signaled(_, signal, _) = status {
            println!("chaos-init: {program} was killed by {signal}");
            return Ok(128 + signal as i32);
        }
    }
}

/// The kernel's log from the moment it was opened: with a quiet console, warnings are seen only here.
struct KernelLog(File);

impl KernelLog {
    fn open() -> Result<Self> {
        let mut file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("cannot open /dev/kmsg")?;
        file.seek(SeekFrom::End(0)).context("cannot go to the end of /dev/kmsg")?;
        Ok(Self(file))
    }

    /// Prints each line in which the kernel complains about itself.
    fn report(&mut self) {
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(length) => {
                    let record = String::from_utf8_lossy(&record[..length]);
                    // `priority,sequence,time,flags;text`, then lines of details
                    let text = record
                        .split_once(';')
                        .map_or(&*record, |(_, text)| text)
                        .lines()
                        .next()
                        .unwrap_or_default();
                    if ["WARNING: ", "BUG: ", "Oops: ", "general protection fault"]
                        .iter()
                        .any(|sign| text.contains(sign))
                    {
                        println!("chaos-init: kernel: {text}");
                    }
                }
                // Old records were overwritten: the next read goes on with the oldest one left.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => return,
            }
        }
    }
}

fn read_lines(path: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The only unsafe code of this program: raw port output.
mod port {
    /// The port of QEMU's `isa-debug-exit` device.
    const PORT: u16 = 0xf4;

    /// Ends the VM. Returns only if the device is not there or ports cannot be used.
    pub(super) fn exit(value: u8) {
        // SAFETY: `iopl` takes an integer and changes only what this process may do.
        let allowed = unsafe { nix::libc::syscall(nix::libc::SYS_iopl, 3) };
        if allowed != 0 {
            return;
        }
        // SAFETY: `iopl` allows port output; a write to this port touches no memory of ours.
        unsafe {
            std::arch::asm!("out dx, al", in("dx") PORT, in("al") value, options(nomem, nostack));
        };
    }
}
