//! Commands of bpf(2) that aya has no way to give: <https://docs.kernel.org/userspace-api/ebpf/syscall.html>.

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::bpf_insn;

use super::btf::Btf;

const BPF_MAP_UPDATE_ELEM: i32 = 2;
const BPF_PROG_LOAD: i32 = 5;
const BPF_OBJ_PIN: i32 = 6;
const BPF_OBJ_GET: i32 = 7;
const BPF_OBJ_GET_INFO_BY_FD: i32 = 15;
const BPF_RAW_TRACEPOINT_OPEN: i32 = 17;
const BPF_BTF_LOAD: i32 = 18;
/// Since Linux 5.8.
const BPF_LINK_GET_FD_BY_ID: i32 = 30;
/// Since Linux 5.9.
const BPF_LINK_DETACH: i32 = 34;

const BPF_PROG_TYPE_KPROBE: u32 = 2;
const BPF_PROG_TYPE_TRACING: u32 = 26;
const BPF_MODIFY_RETURN: u32 = 26;

/// The head of `struct bpf_link_info`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct LinkInfo {
    /// `bpf_link_info.type`.
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) program: u32,
    padding: u32,
    /// What the union behind it begins with.
    pub(super) place: u64,
    rest: u64,
}

/// One step of a program.
pub(super) type Instruction = bpf_insn;

/// A program that does nothing.
fn nothing() -> [Instruction; 2] {
    [give(0, 0), exit()]
}

/// Whether a program may replace what a function of the kernel returns, which is number so many among its types.
pub(super) fn try_replacing(function: u32) -> Result<(), String> {
    try_load(&nothing(), function)
}

/// A program that does nothing, where faults of calls have theirs, as long as the descriptor is open: what any costs
/// there at the least.
///
/// # Errors
/// When there is no such function, or the kernel lets no program replace what it returns.
#[doc(hidden)]
pub fn attach_nothing(function: &str) -> Result<OwnedFd, String> {
    let types = Btf::of_kernel();
    let types = types.parse().ok_or("this kernel tells nobody which functions it has")?;
    let numbers = types.functions(|name| name == function);
    let number = numbers.get(function).ok_or_else(|| format!("there is no {function}"))?;
    let program = Program {
        name: "chaos_nothing",
        instructions: &nothing(),
        license: c"GPL",
        types: None,
        functions: (&[], 0),
    };
    let loaded = load_replacing(&program, *number)?;
    attach_replacing(loaded.as_fd()).map_err(|error| error.to_string())
}

/// Whether such a program may ask for ancestors of the running task's cgroup (Linux 5.18).
pub(super) fn try_ancestors(function: u32) -> Result<(), String> {
    const ANCESTOR: i32 = 123;
    try_load(&[give(1, 1), call(ANCESTOR), give(0, 0), exit()], function)
}

fn try_load(instructions: &[Instruction], function: u32) -> Result<(), String> {
    let program = Program {
        name: "chaos_probe",
        instructions,
        license: c"GPL",
        types: None,
        functions: (&[], 0),
    };
    load_replacing(&program, function).map(drop)
}

/// Whether a probe may return in the place of a function (CONFIG_BPF_KPROBE_OVERRIDE).
pub(super) fn try_overriding() -> Result<(), String> {
    const OVERRIDE_RETURN: i32 = 58;
    // The context is in the first register.
    let instructions = [give(2, 0), call(OVERRIDE_RETURN), give(0, 0), exit()];
    let program = Program {
        name: "chaos_probe",
        instructions: &instructions,
        license: c"GPL",
        types: None,
        functions: (&[], 0),
    };
    let request = ProgramLoad { prog_type: BPF_PROG_TYPE_KPROBE, ..ProgramLoad::of(&program) };
    load(ProgramLoad { expected_attach_type: 0, ..request }).map(drop)
}

/// Gives a register a number.
fn give(register: u8, number: i32) -> Instruction {
    const MOVE: u8 = 0xb7;
    let registers = bpf_insn::new_bitfield_1(register, 0);
    Instruction { code: MOVE, _bitfield_1: registers, off: 0, imm: number }
}

fn exit() -> Instruction {
    const EXIT: u8 = 0x95;
    Instruction { code: EXIT, ..give(0, 0) }
}

fn call(helper: i32) -> Instruction {
    const CALL: u8 = 0x85;
    Instruction { code: CALL, ..give(0, helper) }
}

/// A program for [`load_replacing`].
pub(super) struct Program<'a> {
    /// Up to 15 bytes.
    pub(super) name: &'a str,
    pub(super) instructions: &'a [Instruction],
    pub(super) license: &'a CStr,
    /// The program's own types.
    pub(super) types: Option<BorrowedFd<'a>>,
    /// Which function begins where, and the size of a record of that.
    pub(super) functions: (&'a [u8], usize),
}

/// Loads a program that replaces what a function of the kernel returns (`fmod_ret`), given by its number among the
/// kernel's types. If the kernel refuses, says why in its words.
pub(super) fn load_replacing(program: &Program<'_>, function: u32) -> Result<OwnedFd, String> {
    load(ProgramLoad { attach_btf_id: function, ..ProgramLoad::of(program) })
}

fn load(mut request: ProgramLoad) -> Result<OwnedFd, String> {
    if let Ok(loaded) = bpf(BPF_PROG_LOAD, &request) {
        return Ok(owned(loaded));
    }
    // Again, for the reason.
    let mut log = vec![0u8; 64 << 10];
    request.log_level = 1;
    request.log_size = log.len() as u32;
    request.log_buf = log.as_mut_ptr() as u64;
    match bpf(BPF_PROG_LOAD, &request) {
        Ok(loaded) => Ok(owned(loaded)),
        Err(error) => {
            let text = CStr::from_bytes_until_nul(&log).map(CStr::to_string_lossy);
            let text = text.unwrap_or_default();
            tracing::debug!(%text, "a program was refused");
            // The verifier sums up behind its reason; since Linux 7.3 it says that again in a sentence, and at length.
            let mut lines = text.lines().map(str::trim);
            let sentence = lines.clone().find(|line| line.starts_with("Verification failed"));
            let is_reason = |line: &&str| !line.is_empty() && !line.starts_with("processed ");
            let reason = sentence.or_else(|| lines.rfind(is_reason));
            Err(reason.map_or_else(|| error.to_string(), |reason| format!("{reason} ({error})")))
        }
    }
}

/// Attaches a program of [`load_replacing`]. Its function is known, so there is no name; `BPF_LINK_CREATE` does the same
/// since Linux 5.19 only.
pub(super) fn attach_replacing(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let prog_fd = program.as_raw_fd() as u32;
    bpf(BPF_RAW_TRACEPOINT_OPEN, &TracepointOpen { name: 0, prog_fd, padding: 0 }).map(owned)
}

/// Puts a program into a table of programs.
pub(super) fn put_program(
    table: BorrowedFd<'_>,
    at: u32,
    program: BorrowedFd<'_>,
) -> io::Result<()> {
    let program = program.as_raw_fd() as u32;
    let request = MapUpdate {
        map_fd: table.as_raw_fd() as u32,
        padding: 0,
        key: (&raw const at) as u64,
        value: (&raw const program) as u64,
        flags: 0,
    };
    bpf(BPF_MAP_UPDATE_ELEM, &request).map(drop)
}

/// Gives the kernel the types of a program.
pub(super) fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let request = TypesLoad {
        btf: types.as_ptr() as u64,
        log_buf: 0,
        size: types.len() as u32,
        log_size: 0,
        log_level: 0,
        padding: 0,
    };
    bpf(BPF_BTF_LOAD, &request).map(owned)
}

/// Pins an object at a path.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let bpf_fd = object.as_raw_fd() as u32;
    let request = ObjectGet { pathname: path.as_ptr() as u64, bpf_fd, file_flags: 0 };
    bpf(BPF_OBJ_PIN, &request).map(drop)
}

/// The object that is pinned at a path.
pub(super) fn get(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let request = ObjectGet { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    bpf(BPF_OBJ_GET, &request).map(owned)
}

/// The link of a number; `None` if there is none.
pub(super) fn link(id: u32) -> io::Result<Option<OwnedFd>> {
    match bpf(BPF_LINK_GET_FD_BY_ID, &GetById { id, next_id: 0, open_flags: 0 }) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        descriptor => descriptor.map(|descriptor| Some(owned(descriptor))),
    }
}

/// What the kernel says of a link.
pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let request = ObjectInfo {
        bpf_fd: link.as_raw_fd() as u32,
        info_len: size_of::<LinkInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &request)?;
    Ok(info)
}

/// Detaches a link, whoever has it. Those on functions of the kernel go with their last holder only.
pub(super) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    bpf(BPF_LINK_DETACH, &LinkDetach { link_fd: link.as_raw_fd() as u32 }).map(drop)
}

/// The part of what `BPF_PROG_LOAD` reads up to the last field that is used.
#[derive(Default)]
#[repr(C)]
struct ProgramLoad {
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
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_btf_obj_fd: u32,
    core_relo_cnt: u32,
}

impl ProgramLoad {
    fn of(program: &Program<'_>) -> Self {
        let (functions, record) = program.functions;
        let mut prog_name = [0; 16];
        let bytes = program.name.as_bytes();
        let length = bytes.len().min(prog_name.len() - 1);
        prog_name[..length].copy_from_slice(&bytes[..length]);
        Self {
            prog_type: BPF_PROG_TYPE_TRACING,
            expected_attach_type: BPF_MODIFY_RETURN,
            insns: program.instructions.as_ptr() as u64,
            insn_cnt: program.instructions.len() as u32,
            license: program.license.as_ptr() as u64,
            prog_name,
            prog_btf_fd: program.types.map_or(0, |types| types.as_raw_fd() as u32),
            func_info: functions.as_ptr() as u64,
            func_info_rec_size: record as u32,
            func_info_cnt: (functions.len() / record.max(1)) as u32,
            ..Self::default()
        }
    }
}

/// What `BPF_MAP_UPDATE_ELEM` reads.
#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// What `BPF_RAW_TRACEPOINT_OPEN` reads.
#[repr(C)]
struct TracepointOpen {
    name: u64,
    prog_fd: u32,
    padding: u32,
}

/// What `BPF_BTF_LOAD` reads.
#[repr(C)]
struct TypesLoad {
    btf: u64,
    log_buf: u64,
    size: u32,
    log_size: u32,
    log_level: u32,
    padding: u32,
}

/// What `BPF_OBJ_PIN` and `BPF_OBJ_GET` read.
#[repr(C)]
struct ObjectGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// What `BPF_LINK_GET_FD_BY_ID` reads.
#[repr(C)]
struct GetById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// What `BPF_OBJ_GET_INFO_BY_FD` reads.
#[repr(C)]
struct ObjectInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// What `BPF_LINK_DETACH` reads.
#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

/// A descriptor that a command has just returned.
fn owned(descriptor: i32) -> OwnedFd {
    // SAFETY: the kernel has just made it for us, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn bpf<T>(command: i32, attributes: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads as many bytes as it is told from a record of that size. What a record points to
    // outlives the call, and is as long as the record says.
    let status = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(status as i32) }
}
