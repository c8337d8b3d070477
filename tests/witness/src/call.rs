//! `bpf(2)`: one function a command, and all unsafe code of this crate.

use std::{
    ffi::CStr,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr,
};

use nix::{Result, errno::Errno, libc};

use super::{Kind, Object};

/// `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Attach {
    CgroupIngress = 0,
    CgroupEgress = 1,
    CgroupBind4 = 8,
    CgroupBind6 = 9,
    CgroupConnect4 = 10,
    CgroupConnect6 = 11,
    CgroupSendmsg4 = 14,
    CgroupSendmsg6 = 15,
    CgroupRecvmsg4 = 19,
    CgroupRecvmsg6 = 20,
    CgroupGetpeername4 = 29,
    CgroupGetpeername6 = 30,
    CgroupSockRelease = 34,
    TcxIngress = 46,
    TcxEgress = 47,
}

const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
const PROG_LOAD: libc::c_long = 5;
const OBJ_GET: libc::c_long = 7;
const PROG_TEST_RUN: libc::c_long = 10;
const PROG_GET_NEXT_ID: libc::c_long = 11;
const MAP_GET_NEXT_ID: libc::c_long = 12;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;
const LINK_CREATE: libc::c_long = 28;
const LINK_GET_FD_BY_ID: libc::c_long = 30;
const LINK_GET_NEXT_ID: libc::c_long = 31;

/// `BPF_PROG_TYPE_SCHED_CLS`.
const SCHED_CLS: u32 = 3;
/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;

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
#[repr(C)]
struct ObjGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The part for `BPF_*_GET_NEXT_ID` and `BPF_*_GET_FD_BY_ID`.
#[derive(Default)]
#[repr(C)]
struct Id {
    id: u32,
    next: u32,
    flags: u32,
}

/// The part for `BPF_MAP_GET_NEXT_KEY`.
#[repr(C)]
struct NextKey {
    map_fd: u32,
    padding: u32,
    /// 0 asks for the first.
    key: u64,
    next_key: u64,
}

/// The part for `BPF_MAP_CREATE`.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

/// The part for `BPF_MAP_LOOKUP_ELEM`.
#[repr(C)]
struct Lookup {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part for `BPF_PROG_LOAD`.
#[derive(Default)]
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The part for `BPF_LINK_CREATE`.
#[derive(Default)]
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    padding: u32,
    expected_revision: u64,
}

/// The part for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoByFd {
    fd: u32,
    length: u32,
    info: u64,
}

/// `struct bpf_prog_info`, as far as its name.
#[derive(Default)]
#[repr(C)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    lengths: [u32; 2],
    instructions: [u64; 2],
    load_time: u64,
    created_by: u32,
    map_count: u32,
    maps: u64,
    name: [u8; 16],
}

/// The part for `BPF_PROG_TEST_RUN`.
#[derive(Default)]
#[repr(C)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

/// `struct __sk_buff`, as far as the interface.
#[derive(Default)]
#[repr(C)]
struct Context {
    before: [u32; 10],
    ifindex: u32,
}

fn bpf<T>(command: libc::c_long, attr: &mut T) -> Result<i64> {
    // SAFETY: every caller hands the structure that belongs to its command; the kernel reads and
    // writes at most the size given, and pointers inside are to memory that outlives the call.
    let status = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    Errno::result(status)
}

fn open<T>(command: libc::c_long, attr: &mut T) -> Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: these commands return a descriptor that the kernel has just made; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// How many programs there are at a hook of a cgroup (by descriptor) or an interface (by number).
pub(super) fn count_attached(target: u32, attach: Attach) -> Result<u32> {
    let mut query = Query { target, attach_type: attach as u32, ..Query::default() };
    bpf(PROG_QUERY, &mut query)?;
    Ok(query.prog_count)
}

pub(super) fn open_pin(path: &CStr, flags: u32) -> Result<OwnedFd> {
    open(OBJ_GET, &mut ObjGet { path: path.as_ptr() as u64, fd: 0, flags })
}

pub(super) fn open_by_id(object: Object) -> Result<OwnedFd> {
    let command = match object.kind {
        Kind::Program => PROG_GET_FD_BY_ID,
        Kind::Map => MAP_GET_FD_BY_ID,
        Kind::Link => LINK_GET_FD_BY_ID,
    };
    open(command, &mut Id { id: object.id, ..Id::default() })
}

/// The name of a program.
pub(super) fn name(program: BorrowedFd<'_>) -> Result<[u8; 16]> {
    let mut info = ProgramInfo::default();
    let (fd, length) = (program.as_raw_fd() as u32, size_of::<ProgramInfo>() as u32);
    bpf(OBJ_GET_INFO_BY_FD, &mut InfoByFd { fd, length, info: &raw mut info as u64 })?;
    Ok(info.name)
}

/// What a program says of a packet at an interface of this thread's network namespace. The packet is as the program
/// leaves it, then.
pub(super) fn run(program: BorrowedFd<'_>, interface: u32, packet: &mut Vec<u8>) -> Result<i32> {
    /// As much as a program may add.
    const ROOM: usize = 2048;
    let context = Context { ifindex: interface, ..Context::default() };
    let given = packet.clone();
    packet.resize(given.len() + ROOM, 0);
    let mut run = TestRun {
        prog_fd: program.as_raw_fd() as u32,
        data_size_in: given.len() as u32,
        data_size_out: packet.len() as u32,
        data_in: given.as_ptr() as u64,
        data_out: packet.as_mut_ptr() as u64,
        ctx_size_in: size_of::<Context>() as u32,
        ctx_in: &raw const context as u64,
        ..TestRun::default()
    };
    bpf(PROG_TEST_RUN, &mut run)?;
    packet.truncate(run.data_size_out as usize);
    Ok(run.retval as i32)
}

/// The id that follows another. `ENOENT` after the last.
pub(super) fn next_id(kind: Kind, id: u32) -> Result<u32> {
    let command = match kind {
        Kind::Program => PROG_GET_NEXT_ID,
        Kind::Map => MAP_GET_NEXT_ID,
        Kind::Link => LINK_GET_NEXT_ID,
    };
    let mut attr = Id { id, ..Id::default() };
    bpf(command, &mut attr)?;
    Ok(attr.next)
}

/// The key that follows another. `ENOENT` after the last. `key_size` is the map's.
pub(super) fn next_key(
    map: BorrowedFd<'_>,
    key: Option<&[u8]>,
    key_size: usize,
) -> Result<Vec<u8>> {
    let mut next = vec![0_u8; key_size];
    let mut attr = NextKey {
        map_fd: map.as_raw_fd() as u32,
        padding: 0,
        key: key.map_or(ptr::null(), <[u8]>::as_ptr) as u64,
        next_key: next.as_mut_ptr() as u64,
    };
    bpf(MAP_GET_NEXT_KEY, &mut attr)?;
    Ok(next)
}

/// Loads a program for packets.
pub(super) fn load(instructions: &[u64]) -> Result<OwnedFd> {
    open(
        PROG_LOAD,
        &mut Load {
            prog_type: SCHED_CLS,
            insn_cnt: instructions.len() as u32,
            insns: instructions.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            ..Load::default()
        },
    )
}

/// Attaches a program to an interface, behind those that are there.
pub(super) fn link(program: BorrowedFd<'_>, index: u32, attach: Attach) -> Result<OwnedFd> {
    let prog_fd = program.as_raw_fd() as u32;
    let attach_type = attach as u32;
    open(LINK_CREATE, &mut LinkCreate { prog_fd, target: index, attach_type, ..Default::default() })
}

/// Makes a map of one 64-bit number.
pub(super) fn make_number() -> Result<OwnedFd> {
    let (key_size, value_size) = (size_of::<u32>() as u32, size_of::<u64>() as u32);
    open(
        MAP_CREATE,
        &mut MapCreate { map_type: ARRAY, key_size, value_size, max_entries: 1, map_flags: 0 },
    )
}

/// The number in such a map.
pub(super) fn number(map: BorrowedFd<'_>) -> Result<u64> {
    let (key, mut value) = (0_u32, 0_u64);
    let mut lookup = Lookup {
        map_fd: map.as_raw_fd() as u32,
        padding: 0,
        key: &raw const key as u64,
        value: &raw mut value as u64,
        flags: 0,
    };
    bpf(MAP_LOOKUP_ELEM, &mut lookup)?;
    Ok(value)
}
