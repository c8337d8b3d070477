//! System calls as the tests ask for them: raw, by every way into the kernel that there is.

use std::{
    arch::asm,
    collections::BTreeMap,
    ffi::CString,
    io,
    sync::{Arc, Barrier},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

/// A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deed {
    pub(crate) entry: Entry,
    /// The number that the entry has for it.
    pub(crate) number: i64,
    pub(crate) args: Vec<Arg>,
}

/// A way into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// `syscall`.
    Native,
    /// `int 0x80`, as programs of 32 bits do.
    Compat,
    /// `io_uring`: the number is an opcode.
    Uring,
    /// The same, done by a worker of the ring.
    UringWorker,
    /// The same, by a thread that looks for what is to be done.
    UringPoller,
}

/// An argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Arg {
    Number(i64),
    /// A pointer to text that ends with a zero.
    Text(String),
    /// A pointer to bytes.
    Bytes(Vec<u8>),
    /// A pointer to this many bytes.
    Room(usize),
    /// A pointer to buffers of these lengths: a `struct iovec` for each.
    Vector(Vec<usize>),
}

/// What came of calls: how often each errno, and 0 for success.
pub(crate) type Tally = BTreeMap<i32, u64>;

impl Deed {
    /// Does it. What the kernel gives back: a negative errno where it failed.
    ///
    /// # Errors
    /// When it cannot even be tried.
    pub(crate) fn run(&self) -> Result<i64> {
        match self.entry {
            Entry::Native => {
                let memory = Memory::anywhere(&self.args)?;
                Ok(native(self.number, memory.words))
            }
            Entry::Compat => {
                let memory = Memory::low(&self.args)?;
                Ok(compat(self.number, memory.words))
            }
            Entry::Uring | Entry::UringWorker | Entry::UringPoller => {
                let memory = Memory::anywhere(&self.args)?;
                super::uring::run(self.entry, self.number, &memory.words)
            }
        }
    }

    /// Does it many times in several threads at once. Descriptors that come of it are closed, if it opens any.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn repeat(&self, threads: usize, times: u64, opens: bool) -> Result<Tally> {
        let barrier = Arc::new(Barrier::new(threads));
        let work = || {
            let (deed, barrier) = (self.clone(), Arc::clone(&barrier));
            std::thread::Builder::new().spawn(move || -> Result<Tally> {
                let mut tally = Tally::new();
                barrier.wait();
                for _ in 0..times {
                    let result = deed.run()?;
                    let errno = if result < 0 { -result as i32 } else { 0 };
                    *tally.entry(errno).or_default() += 1;
                    if opens && result >= 0 {
                        native(libc_close(), [result as u64, 0, 0, 0, 0, 0]);
                    }
                }
                Ok(tally)
            })
        };
        // Those that began wait for all of them, so that none is left behind if one does not begin.
        let threads = (0..threads).map(|_| work()).collect::<io::Result<Vec<_>>>();
        let threads = threads.context("cannot begin a thread")?;
        let mut all = Tally::new();
        for thread in threads {
            let tally = thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
            for (errno, count) in tally {
                *all.entry(errno).or_default() += count;
            }
        }
        Ok(all)
    }
}

const fn libc_close() -> i64 {
    nix::libc::SYS_close
}

/// Arguments as words, and what they point to.
struct Memory {
    words: [u64; 6],
    _pieces: Vec<Piece>,
}

/// Memory that arguments point to.
enum Piece {
    Own(#[expect(dead_code, reason = "it is there to be pointed to")] Box<[u8]>),
    Mapped(*mut u8, usize),
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Self::Mapped(at, length) = self {
            // SAFETY: this is what was mapped, and nobody else knows of it.
            unsafe { nix::libc::munmap(at.cast(), *length) };
        }
    }
}

impl Memory {
    fn anywhere(args: &[Arg]) -> Result<Self> {
        Self::of(args, |bytes| {
            let mut bytes = bytes.into_boxed_slice();
            let at = bytes.as_mut_ptr() as u64;
            Ok((at, Piece::Own(bytes)))
        })
    }

    /// Where a program of 32 bits can point to.
    fn low(args: &[Arg]) -> Result<Self> {
        Self::of(args, |bytes| {
            let length = bytes.len().max(1);
            let flags = nix::libc::MAP_PRIVATE | nix::libc::MAP_ANONYMOUS | nix::libc::MAP_32BIT;
            let access = nix::libc::PROT_READ | nix::libc::PROT_WRITE;
            // SAFETY: new memory, of nobody's.
            let at = unsafe { nix::libc::mmap(std::ptr::null_mut(), length, access, flags, -1, 0) };
            if at == nix::libc::MAP_FAILED {
                return Err(io::Error::last_os_error()).context("no low memory");
            }
            let at = at.cast::<u8>();
            // SAFETY: as long as what was just mapped.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
            Ok((at as u64, Piece::Mapped(at, length)))
        })
    }

    fn of(args: &[Arg], mut place: impl FnMut(Vec<u8>) -> Result<(u64, Piece)>) -> Result<Self> {
        let (mut words, mut pieces) = ([0; 6], Vec::new());
        if args.len() > words.len() {
            bail!("{} arguments are too many", args.len());
        }
        for (word, arg) in words.iter_mut().zip(args) {
            *word = match arg {
                Arg::Number(number) => *number as u64,
                Arg::Text(text) => {
                    let text = CString::new(text.as_str())?;
                    put(&mut pieces, &mut place, text.into_bytes_with_nul())?
                }
                Arg::Bytes(bytes) => put(&mut pieces, &mut place, bytes.clone())?,
                Arg::Room(length) => put(&mut pieces, &mut place, vec![0; *length])?,
                Arg::Vector(lengths) => {
                    let mut vector = Vec::new();
                    for length in lengths {
                        let at = put(&mut pieces, &mut place, vec![0; *length])?;
                        vector.extend(at.to_ne_bytes());
                        vector.extend((*length as u64).to_ne_bytes());
                    }
                    put(&mut pieces, &mut place, vector)?
                }
            };
        }
        Ok(Self { words, _pieces: pieces })
    }
}

fn put(
    pieces: &mut Vec<Piece>,
    place: &mut impl FnMut(Vec<u8>) -> Result<(u64, Piece)>,
    bytes: Vec<u8>,
) -> Result<u64> {
    let (at, piece) = place(bytes)?;
    pieces.push(piece);
    Ok(at)
}

fn native(number: i64, [a, b, c, d, e, f]: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: what pointers point to is there until the call is over.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// With five arguments at most: no call that is asked for has more.
fn compat(number: i64, [a, b, c, d, e, _]: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: as above. The compiler keeps rbx for itself.
    unsafe {
        asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) a => _,
            inlateout("rax") number => result,
            in("rcx") b,
            in("rdx") c,
            in("rsi") d,
            in("rdi") e,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    i64::from(result as i32)
}
