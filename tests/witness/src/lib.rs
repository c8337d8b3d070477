//! What the kernel says about BPF objects, trial runs of programs, and a program of a stranger's. The tests and the demo ask
//! here, so that what they say about a daemon does not rest on the library that the daemon is made with.

mod call;
mod stranger;

pub use stranger::{Stranger, Way};

use std::{
    fs::{self, File},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use nix::{errno::Errno, libc};

use call::Attach;

/// A kind of BPF object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A loaded program.
    Program,
    /// A map of any type.
    Map,
    /// A program on a hook.
    Link,
}

/// A BPF object, by the kernel's number of it. Numbers are not used again soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Unique among its kind.
    pub id: u32,
}

/// What a file in a bpffs stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The object.
    pub object: Object,
    /// How many entries it has, if it is a table that takes and loses them.
    pub entries: Option<usize>,
}

/// How many BPF objects exist on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Loaded programs.
    pub programs: usize,
    /// Maps.
    pub maps: usize,
    /// Links.
    pub links: usize,
}

/// How many programs are attached to a cgroup: for what comes in and what goes out; for connecting, sending, binding, receiving
/// and asking for the other end over IPv4 and IPv6; and for closing.
///
/// # Errors
/// When the cgroup is gone or the kernel does not answer.
pub fn on_cgroup(dir: &Path) -> Result<[u32; 13]> {
    let dir = File::open(dir).with_context(|| format!("cannot open {}", dir.display()))?;
    let target = u32::try_from(dir.as_raw_fd())?;
    Ok([
        attached(target, Attach::CgroupIngress)?,
        attached(target, Attach::CgroupEgress)?,
        attached(target, Attach::CgroupConnect4)?,
        attached(target, Attach::CgroupConnect6)?,
        attached(target, Attach::CgroupSendmsg4)?,
        attached(target, Attach::CgroupSendmsg6)?,
        attached(target, Attach::CgroupBind4)?,
        attached(target, Attach::CgroupBind6)?,
        attached(target, Attach::CgroupRecvmsg4)?,
        attached(target, Attach::CgroupRecvmsg6)?,
        attached(target, Attach::CgroupGetpeername4)?,
        attached(target, Attach::CgroupGetpeername6)?,
        attached(target, Attach::CgroupSockRelease)?,
    ])
}

/// How many programs are attached by tcx to an interface of this thread's network namespace: for what comes
/// in, and for what goes out.
///
/// # Errors
/// When the kernel does not answer.
pub fn on_interface(index: u32) -> Result<[u32; 2]> {
    Ok([attached(index, Attach::TcxIngress)?, attached(index, Attach::TcxEgress)?])
}

/// Zero where the kernel has no such hook.
fn attached(target: u32, attach: Attach) -> Result<u32> {
    match call::count_attached(target, attach) {
        Ok(count) => Ok(count),
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(0),
        Err(errno) => Err(errno).with_context(|| format!("cannot ask for programs at {attach:?}")),
    }
}

/// Opens a pin to see what it is.
///
/// # Errors
/// When it is none.
pub fn pinned(path: &Path) -> Result<Pin> {
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    let fd = call::open_pin(&name, 0).or_else(|_| call::open_pin(&name, libc::O_RDONLY as u32));
    let fd = fd.with_context(|| format!("cannot open the pin {}", path.display()))?;
    let text = fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", fd.as_raw_fd()))?;
    let object = described(&text).with_context(|| format!("{} is no pin", path.display()))?;
    let entries = match (object.kind, value(&text, "map_type:")) {
        (Kind::Map, Some(HASH | PERCPU_HASH | LPM_TRIE)) => {
            let key_size = value(&text, "key_size:").context("a table without keys")?;
            Some(entries(fd.as_fd(), key_size as usize)?)
        }
        (Kind::Map | Kind::Program | Kind::Link, _) => None,
    };
    Ok(Pin { object, entries })
}

/// Of `enum bpf_map_type`.
const HASH: u32 = 1;
const PERCPU_HASH: u32 = 5;
const LPM_TRIE: u32 = 11;

fn entries(table: BorrowedFd<'_>, key_size: usize) -> Result<usize> {
    let mut key = None;
    for counted in 0.. {
        match call::next_key(table, key.as_deref(), key_size) {
            Ok(next) => key = Some(next),
            Err(Errno::ENOENT) => return Ok(counted),
            Err(errno) => return Err(errno).context("cannot count the entries of a table"),
        }
    }
    Ok(0)
}

/// The objects that a process has open.
///
/// # Errors
/// When there is no such process.
pub fn opened_by(pid: u32) -> Result<Vec<Object>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))?;
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    Ok(texts.filter_map(|text| described(&text)).collect())
}

/// Whether the kernel still has it.
#[must_use]
pub fn exists(object: Object) -> bool {
    !matches!(call::open_by_id(object), Err(Errno::ENOENT))
}

/// The program of this name that a process has open. Of names the kernel keeps 15 bytes.
///
/// # Errors
/// When there is no such process, or no such program.
pub fn program_of(pid: u32, name: &str) -> Result<Object> {
    let programs = opened_by(pid)?.into_iter().filter(|object| object.kind == Kind::Program);
    for program in programs {
        let fd = call::open_by_id(program).context("cannot open a program")?;
        let own = call::name(fd.as_fd()).context("cannot ask for the name of a program")?;
        if own.split(|byte| *byte == 0).next() == name.as_bytes().chunks(15).next() {
            return Ok(program);
        }
    }
    bail!("process {pid} has no program {name}")
}

/// What is shorter may be refused: the header of a link, and that of IPv6.
const SHORT: usize = 14 + 40;

/// A program to be run on packets, none of which come from anywhere or go anywhere.
#[derive(Debug)]
pub struct Trial(OwnedFd);

impl Trial {
    /// Of a loaded program.
    ///
    /// # Errors
    /// When it is gone.
    pub fn of(program: Object) -> Result<Self> {
        Ok(Self(call::open_by_id(program).with_context(|| format!("cannot open {program:?}"))?))
    }

    /// What it says of a packet at an interface of this thread's network namespace, and what it makes of it. `None` if
    /// the packet is too short for the kernel. It belongs to a socket of this thread's cgroup
    /// ([`sk_alloc` in `bpf_prog_test_run_skb`](https://git.kernel.org/torvalds/c/435b08ec0094), which stable kernels have
    /// too).
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn run(&self, interface: u32, packet: &[u8]) -> Result<Option<(i32, Vec<u8>)>> {
        let mut after = packet.to_vec();
        match call::run(self.0.as_fd(), interface, &mut after) {
            Ok(said) => Ok(Some((said, after))),
            Err(Errno::EINVAL) if packet.len() < SHORT => Ok(None),
            Err(errno) => Err(errno).context("cannot try a program"),
        }
    }
}

/// Counts all that there is.
///
/// # Errors
/// When the kernel does not answer.
pub fn census() -> Result<Census> {
    let count = |kind| -> Result<usize> {
        let mut id = 0;
        for counted in 0.. {
            match call::next_id(kind, id) {
                Ok(next) => id = next,
                Err(Errno::ENOENT) => return Ok(counted),
                Err(errno) => return Err(errno).context("cannot count BPF objects"),
            }
        }
        Ok(0)
    };
    Ok(Census {
        programs: count(Kind::Program)?,
        maps: count(Kind::Map)?,
        links: count(Kind::Link)?,
    })
}

/// Reads `/proc/<pid>/fdinfo/<fd>`. A link also names its program there, and an array of programs their kind.
fn described(text: &str) -> Option<Object> {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    let (kind, id) = if has("link_type:") {
        (Kind::Link, "link_id:")
    } else if has("map_type:") {
        (Kind::Map, "map_id:")
    } else if has("prog_type:") {
        (Kind::Program, "prog_id:")
    } else {
        return None;
    };
    Some(Object { kind, id: value(text, id)? })
}

fn value(text: &str, key: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_told_apart() {
        let object = |kind, id| Some(Object { kind, id });
        let link =
            "pos:\t0\nlink_type:\ttcx\nlink_id:\t7\nprog_tag:\t00\nprog_id:\t41\nifindex:\t1\n";
        assert_eq!(described(link), object(Kind::Link, 7));
        let map = "pos:\t0\nmap_type:\t3\nkey_size:\t4\nmap_id:\t12\nowner_prog_type:\t1\n";
        assert_eq!(described(map), object(Kind::Map, 12));
        assert_eq!(described("prog_type:\t3\nprog_id:\t41\n"), object(Kind::Program, 41));
        assert_eq!(described("pos:\t0\nflags:\t02\n"), None);
    }
}
