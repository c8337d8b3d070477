//! Reading text into a rule's patterns, from its end.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel, bpf_probe_read_user, bpf_probe_read_user_str,
};
use chaos_common::abi::{GLOB_DEAD, GlobKey};

use super::tables::GLOBS;

/// Bytes that are read at once: few enough for the stack, and all ones in binary, by which the verifier sees of a number
/// that it is no more.
const CHUNK: usize = 31;
/// Room for them, wherever in its first half they begin.
const ROOM: usize = 64;
/// Bytes that a path can have (`PATH_MAX`).
const MAX_TEXT: usize = 4096;

/// Bytes on the stack. They are written and read one by one, or in words: a function that does it for all of them at
/// once would be one call too many for old kernels.
struct Room(MaybeUninit<[u64; ROOM / size_of::<u64>()]>);

impl Room {
    /// Nothing is in it yet.
    #[inline(always)]
    const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// Fills it with zeroes.
    #[inline(always)]
    fn clear(&mut self) {
        let words = self.0.as_mut_ptr().cast::<u64>();
        for at in 0..ROOM / size_of::<u64>() {
            // SAFETY: within the room.
            unsafe { words.add(at).write_volatile(0) };
        }
    }

    #[inline(always)]
    fn at(&mut self, offset: usize) -> *mut u8 {
        // SAFETY: callers stay within the room.
        unsafe { self.0.as_mut_ptr().cast::<u8>().add(offset) }
    }
}

/// Whose memory text is in.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Memory {
    Kernel = 0,
    User = 1,
}

/// Patterns of a rule, as global functions take them.
#[derive(Clone, Copy)]
pub(super) struct Patterns(pub(super) u64);

impl Patterns {
    #[inline(always)]
    pub(super) const fn new(rule: u32, of: u32) -> Self {
        Self((of as u64) << 32 | rule as u64)
    }

    #[inline(always)]
    const fn key(self) -> GlobKey {
        GlobKey { rule: self.0 as u32, of: (self.0 >> 32) as u32 }
    }

    /// The state before anything was read.
    #[inline(always)]
    pub(super) fn start(self) -> u32 {
        // SAFETY: patterns are not changed while their rule is there.
        unsafe { GLOBS.get(&self.key()) }.map_or(GLOB_DEAD, |glob| glob.start)
    }

    /// The state after one more byte.
    #[inline(always)]
    pub(super) fn step(self, state: u32, byte: u8) -> u32 {
        // SAFETY: as above.
        unsafe { GLOBS.get(&self.key()) }.map_or(GLOB_DEAD, |glob| glob.step(state, byte))
    }

    /// The state after a name of so many bytes.
    #[inline(always)]
    pub(super) fn name(self, state: u32, name: u64, length: u32) -> u32 {
        call_name(self.0, state, name, length)
    }
}

/// Added to a [`Memory`] by whoever wants the slash read too that is before the text.
const SLASH: u32 = 2;

/// The state after a name in the kernel's memory, and the slash before it. A global function, which the verifier looks
/// at once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call_name(patterns: u64, state: u32, name: u64, length: u32) -> u32 {
    /// Of `NAME_MAX`, 255 bytes.
    const CHUNKS: usize = 9;
    let (mut state, mut left) = (state, length);
    for _ in 0..CHUNKS {
        if left > CHUNK as u32 {
            left -= CHUNK as u32;
            let at = name + u64::from(left);
            state = call_read(patterns, state, at, CHUNK as u32, Memory::Kernel as u32);
        } else {
            return call_read(patterns, state, name, left, Memory::Kernel as u32 | SLASH);
        }
    }
    GLOB_DEAD
}

/// The state after up to [`CHUNK`] bytes, the last one first. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call_read(patterns: u64, state: u32, address: u64, length: u32, memory: u32) -> u32 {
    // SAFETY: patterns are not changed while their rule is there.
    let Some(glob) = (unsafe { GLOBS.get(&Patterns(patterns).key()) }) else { return GLOB_DEAD };
    let mut room = Room::new();
    room.clear();
    let length = length & CHUNK as u32;
    // So that the last one is at the end, from which a loop of known steps begins.
    // SAFETY: the helpers write no more bytes than there are behind that, or fail.
    let status = unsafe {
        let to = room.at(CHUNK - length as usize).cast();
        let from = address as *const _;
        if memory & Memory::User as u32 != 0 {
            bpf_probe_read_user(to, length, from)
        } else {
            bpf_probe_read_kernel(to, length, from)
        }
    };
    if status != 0 {
        return GLOB_DEAD;
    }
    let mut state = state;
    for behind in 0..CHUNK {
        if behind >= length as usize {
            break;
        }
        // SAFETY: within the room, all of which was written.
        state = glob.step(state, unsafe { room.at(CHUNK - 1 - behind).read() });
    }
    if memory & SLASH != 0 { glob.step(state, b'/') } else { state }
}

/// The state after a text of the process that ends with a zero; [`GLOB_DEAD`] for one that cannot be read. A global
/// function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn call_text(patterns: u64, state: u32, address: u64) -> u32 {
    let mut left = call_length(address);
    if left > MAX_TEXT as u64 {
        return GLOB_DEAD;
    }
    let mut state = state;
    let user = Memory::User as u32;
    for _ in 0..=MAX_TEXT / CHUNK {
        if left > CHUNK as u64 {
            left -= CHUNK as u64;
            state = call_read(patterns, state, address + left, CHUNK as u32, user);
        } else {
            return call_read(patterns, state, address, left as u32, user);
        }
    }
    GLOB_DEAD
}

/// How many bytes a text of the process has before its zero; more than [`MAX_TEXT`] for one that cannot be read. A
/// global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call_length(address: u64) -> u64 {
    let mut length = 0;
    let mut room = Room::new();
    room.clear();
    for _ in 0..=MAX_TEXT / CHUNK {
        // SAFETY: the helper writes no more bytes than there are, or fails.
        let read = unsafe {
            let from = (address + length) as *const _;
            bpf_probe_read_user_str(room.at(0).cast(), CHUNK as u32 + 1, from)
        };
        if read <= 0 {
            break;
        }
        // The helper counts the zero that it puts behind what it reads.
        length += read as u64 - 1;
        if read <= CHUNK as i64 {
            return length;
        }
    }
    u64::MAX
}
