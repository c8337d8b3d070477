//! What the kernel says about BPF objects, by `bpf(2)`: only questions, nothing is loaded.

use std::{
    fs,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result};
use nix::{errno::Errno, libc};

/// `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Attach {
    CgroupIngress = 0,
    CgroupEgress = 1,
    TcxIngress = 46,
    TcxEgress = 47,
}

const BPF_MAP_GET_NEXT_KEY: libc::c_long = 4;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_GET_NEXT_ID: libc::c_long = 11;
const BPF_MAP_GET_NEXT_ID: libc::c_long = 12;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_LINK_GET_NEXT_ID: libc::c_long = 31;

/// The part of `union bpf_attr` for `BPF_PROG_QUERY`.
#[derive(Default)]
#[repr(C)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_count: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// The part for `BPF_OBJ_GET`.
#[derive(Default)]
#[repr(C)]
struct ObjGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The part for `BPF_MAP_GET_NEXT_KEY`.
#[derive(Default)]
#[repr(C)]
struct NextKey {
    map_fd: u32,
    padding: u32,
    /// 0 asks for the first.
    key: u64,
    next_key: u64,
}

/// The part for `BPF_*_GET_NEXT_ID`.
#[derive(Default)]
#[repr(C)]
struct NextId {
    start: u32,
    next: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_long, attr: &mut T) -> nix::Result<i64> {
    // SAFETY: every caller hands the structure that belongs to its command; the kernel reads and
    // writes at most the size given, and pointers inside are to memory that outlives the call.
    let status = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    Errno::result(status)
}

/// How many programs are attached to a cgroup (by descriptor) or an interface (by number) of this
/// thread's network namespace. Zero where the kernel has no such hook.
pub(crate) fn attached(target: u32, attach: Attach) -> Result<u32> {
    let mut query = Query { target, attach_type: attach as u32, ..Query::default() };
    match bpf(BPF_PROG_QUERY, &mut query) {
        Ok(_) => Ok(query.prog_count),
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(0),
        Err(errno) => Err(errno).with_context(|| format!("cannot ask for programs at {attach:?}")),
    }
}

/// What a file in a bpffs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pin {
    /// A table that takes and loses entries, with how many it has now.
    Table(usize),
    /// A map of another kind: an array, a ring buffer.
    Map,
    Program,
    /// A program on a hook.
    Link,
}

/// Opens a pin to see what it is.
pub(crate) fn pin(path: &Path) -> Result<Pin> {
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    let open = |flags: i32| {
        let mut get =
            ObjGet { path: name.as_ptr() as u64, flags: flags as u32, ..ObjGet::default() };
        bpf(BPF_OBJ_GET, &mut get)
    };
    let fd = open(0).or_else(|_| open(libc::O_RDONLY));
    let fd = fd.with_context(|| format!("cannot open the pin {}", path.display()))?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let info = fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", fd.as_raw_fd()))?;
    let value = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    if value("link_type:").is_some() {
        return Ok(Pin::Link);
    }
    match value("map_type:").map(str::parse).transpose()? {
        Some(HASH | PERCPU_HASH | LPM_TRIE) => {
            let key = value("key_size:").context("a table without keys")?;
            Ok(Pin::Table(entries(&fd, key.parse()?)?))
        }
        Some(0_u32..) => Ok(Pin::Map),
        None => Ok(Pin::Program),
    }
}

/// Of `enum bpf_map_type`.
const HASH: u32 = 1;
const PERCPU_HASH: u32 = 5;
const LPM_TRIE: u32 = 11;

fn entries(table: &OwnedFd, key_size: usize) -> Result<usize> {
    let (mut key, mut next) = (vec![0_u8; key_size], vec![0_u8; key_size]);
    for counted in 0.. {
        let map_fd = table.as_raw_fd() as u32;
        let from = if counted == 0 { 0 } else { key.as_ptr() as u64 };
        let mut attr =
            NextKey { map_fd, padding: 0, key: from, next_key: next.as_mut_ptr() as u64 };
        match bpf(BPF_MAP_GET_NEXT_KEY, &mut attr) {
            Ok(_) => std::mem::swap(&mut key, &mut next),
            Err(Errno::ENOENT) => return Ok(counted),
            Err(errno) => return Err(errno).context("cannot count the entries of a table"),
        }
    }
    Ok(0)
}

/// How many BPF objects exist on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Census {
    programs: usize,
    maps: usize,
    links: usize,
}

/// Counts them.
pub(crate) fn census() -> Result<Census> {
    let count = |command| -> Result<usize> {
        let mut next = NextId::default();
        for counted in 0.. {
            match bpf(command, &mut next) {
                Ok(_) => next.start = next.next,
                Err(Errno::ENOENT) => return Ok(counted),
                Err(errno) => return Err(errno).context("cannot count BPF objects"),
            }
        }
        Ok(0)
    };
    Ok(Census {
        programs: count(BPF_PROG_GET_NEXT_ID)?,
        maps: count(BPF_MAP_GET_NEXT_ID)?,
        links: count(BPF_LINK_GET_NEXT_ID)?,
    })
}
