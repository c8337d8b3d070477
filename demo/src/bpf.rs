//! What the kernel says about BPF objects, by `bpf(2)`: only questions. The only unsafe code of this program.

use std::{
    fs::{self, File},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result};
use nix::{errno::Errno, libc};

/// `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Attach {
    CgroupIngress = 0,
    CgroupEgress = 1,
    TcxIngress = 46,
    TcxEgress = 47,
}

/// A kind of BPF object, and the command that opens one by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Program,
    Map,
    Link,
}

/// A BPF object, by the kernel's number of it. Numbers are not used again soon.
pub(crate) type Object = (Kind, u32);

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_MAP_GET_FD_BY_ID: libc::c_long = 14;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;

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

/// The part for `BPF_*_GET_FD_BY_ID`.
#[derive(Default)]
#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_long, attr: &mut T) -> nix::Result<i64> {
    // SAFETY: every caller hands the structure that belongs to its command; the kernel reads and writes at most the
    // size given, and pointers inside are to memory that outlives the call.
    let status = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    Errno::result(status)
}

fn open<T>(command: libc::c_long, attr: &mut T) -> nix::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: these commands return a descriptor that the kernel has just made; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// How many programs are attached to a cgroup.
pub(crate) fn on_cgroup(dir: &Path) -> Result<usize> {
    let dir = File::open(dir).context("the cgroup is gone")?;
    let target = u32::try_from(dir.as_raw_fd())?;
    Ok(attached(target, Attach::CgroupIngress)? + attached(target, Attach::CgroupEgress)?)
}

/// How many programs are attached to an interface of this thread's network namespace by tcx.
pub(crate) fn on_interface(index: u32) -> Result<usize> {
    Ok(attached(index, Attach::TcxIngress)? + attached(index, Attach::TcxEgress)?)
}

/// Zero where the kernel has no such hook.
fn attached(target: u32, attach: Attach) -> Result<usize> {
    let mut query = Query { target, attach_type: attach as u32, ..Query::default() };
    match bpf(BPF_PROG_QUERY, &mut query) {
        Ok(_) => Ok(query.prog_count as usize),
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(0),
        Err(errno) => Err(errno).with_context(|| format!("cannot ask for programs at {attach:?}")),
    }
}

/// The object behind a pin.
pub(crate) fn pinned(path: &Path) -> Result<Option<Object>> {
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    let get = |flags: i32| {
        let mut attr =
            ObjGet { path: name.as_ptr() as u64, flags: flags as u32, ..ObjGet::default() };
        open(BPF_OBJ_GET, &mut attr)
    };
    let fd = get(0).or_else(|_| get(libc::O_RDONLY));
    let fd = fd.with_context(|| format!("cannot open the pin {}", path.display()))?;
    Ok(described(&fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", fd.as_raw_fd()))?))
}

/// The objects that a process has open.
pub(crate) fn opened_by(pid: u32) -> Result<Vec<Object>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))?;
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    Ok(texts.filter_map(|text| described(&text)).collect())
}

/// Whether the kernel still has it.
pub(crate) fn exists((kind, id): Object) -> bool {
    let command = match kind {
        Kind::Program => BPF_PROG_GET_FD_BY_ID,
        Kind::Map => BPF_MAP_GET_FD_BY_ID,
        Kind::Link => BPF_LINK_GET_FD_BY_ID,
    };
    !matches!(open(command, &mut ById { id, ..ById::default() }), Err(Errno::ENOENT))
}

/// Reads `/proc/<pid>/fdinfo/<fd>`. A link also names its program there, and an array of programs their kind.
fn described(text: &str) -> Option<Object> {
    let value =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    if has("link_type:") {
        Some((Kind::Link, value("link_id:")?))
    } else if has("map_type:") {
        Some((Kind::Map, value("map_id:")?))
    } else if has("prog_type:") {
        Some((Kind::Program, value("prog_id:")?))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_told_apart() {
        let link =
            "pos:\t0\nlink_type:\ttcx\nlink_id:\t7\nprog_tag:\t00\nprog_id:\t41\nifindex:\t1\n";
        assert_eq!(described(link), Some((Kind::Link, 7)));
        let map = "pos:\t0\nmap_type:\t3\nkey_size:\t4\nmap_id:\t12\nowner_prog_type:\t1\n";
        assert_eq!(described(map), Some((Kind::Map, 12)));
        assert_eq!(described("prog_type:\t3\nprog_id:\t41\n"), Some((Kind::Program, 41)));
        assert_eq!(described("pos:\t0\nflags:\t02\n"), None);
    }
}
