//! Whether a rule is about a call: what it asks besides what call it is.

use chaos_common::abi::{CallRule, Condition, FileKind, GlobOf, Operation, Signature};

use super::{
    What,
    arguments::Arguments,
    caller, file,
    glob::{Memory, Patterns},
    layout::offset,
    path::{fits, named_fits},
    place::Place,
    socket::Socket,
};
use crate::memory::read;

/// `SOCK_STREAM` and `SOCK_DGRAM`, for which a protocol of 0 stands for one.
const STREAM: u64 = 1;
const DATAGRAM: u64 = 2;

/// What a call is about, as global functions take it.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) what: What,
    /// Of a system call, the registers. Of an operation, a dentry or a socket.
    pub(super) first: u64,
    /// A mount, or an address.
    pub(super) second: u64,
    /// A size, or a second dentry.
    pub(super) third: u64,
}

impl Call {
    /// Who calls, how much, on what kind of file.
    #[inline(always)]
    pub(super) fn fits_plainly(self, rule: &CallRule) -> bool {
        let conditions = rule.conditions;
        (!Condition::Comm.is_in(conditions) || caller::has_comm(&rule.comm))
            && (!Condition::Size.is_in(conditions) || self.has_size(rule))
            && (!Condition::Files.is_in(conditions) || self.has_kind(rule.files))
    }

    /// On which socket.
    #[inline(always)]
    pub(super) fn fits_socket(self, id: u32, rule: &CallRule) -> bool {
        self.socket().is_some_and(|socket| socket.fits(id, &rule.socket))
    }

    /// By which program, on which file.
    #[inline(always)]
    pub(super) fn fits_paths(self, id: u32, rule: &CallRule) -> bool {
        (!Condition::Exe.is_in(rule.conditions) || has_program(id))
            && (!Condition::Path.is_in(rule.conditions) || self.has_path(id))
    }

    /// Registers and what is known of them, if it is a system call.
    #[inline(always)]
    fn arguments(self) -> Option<(Arguments, &'static Signature)> {
        if self.what.is_operation() {
            return None;
        }
        let arguments = Arguments::new(self.first, self.what.is_compat());
        Some((arguments, arguments.signature()?))
    }

    #[inline(always)]
    fn has_size(self, rule: &CallRule) -> bool {
        let size = if self.what.is_operation() {
            Some(self.third)
        } else {
            self.arguments().and_then(|(arguments, signature)| arguments.size(signature))
        };
        size.is_some_and(|size| rule.least <= size && size <= rule.most)
    }

    /// The open file that a system call is about.
    #[inline(always)]
    fn file(self) -> Option<u64> {
        let (arguments, signature) = self.arguments()?;
        file::open(arguments.get(signature.file)? as i32)
    }

    #[inline(always)]
    fn has_kind(self, kinds: u32) -> bool {
        let kind = if !self.what.is_operation() {
            self.file().and_then(file::kind)
        } else if self.what.is_of_sockets() {
            Some(FileKind::Socket)
        } else {
            file::kind_of_dentry(self.first)
        };
        kind.is_some_and(|kind| kinds & kind as u32 != 0)
    }

    #[inline(always)]
    fn has_path(self, id: u32) -> bool {
        let patterns = Patterns::new(id, GlobOf::File as u32);
        let Some((arguments, signature)) = self.arguments() else {
            return self.what.is_operation() && self.has_place(patterns);
        };
        let names = |path: u8, at: u8| {
            let Some(path) = arguments.get(path).filter(|path| *path != 0) else { return false };
            named_fits(patterns, path, arguments.get(at).map_or(-100, |at| at as i32))
        };
        names(signature.path, signature.at)
            || names(signature.second_path, signature.second_at)
            || self.file().and_then(Place::of_file).is_some_and(|place| fits(place, patterns))
    }

    #[inline(always)]
    fn has_place(self, patterns: Patterns) -> bool {
        let place = Place { dentry: self.first, mount: self.second };
        if place.dentry == 0 {
            return false;
        }
        let has_second = self.what.is(Operation::Rename) || self.what.is(Operation::Link);
        fits(place, patterns) || has_second && fits(Place { dentry: self.third, ..place }, patterns)
    }

    #[inline(always)]
    fn socket(self) -> Option<Socket> {
        if self.what.is(Operation::Socket) {
            let (family, kind) = (self.first, self.second & 0xf);
            let protocol = match (self.third, kind) {
                (0, STREAM) => crate::protocol::IPPROTO_TCP.into(),
                (0, DATAGRAM) => crate::protocol::IPPROTO_UDP.into(),
                (protocol, _) => protocol as u32,
            };
            return Some(Socket::new(family as u32, protocol));
        }
        if self.what.is_operation() {
            let own = self.what.is(Operation::Bind)
                || self.what.is(Operation::Listen)
                || self.what.is(Operation::Accept);
            return Socket::open(self.first, own)?.named(self.second, Memory::Kernel);
        }
        let (arguments, signature) = self.arguments()?;
        let file = file::open(arguments.get(signature.file)? as i32)?;
        if !matches!(file::kind(file), Some(FileKind::Socket)) {
            return None;
        }
        let socket = Socket::open(read(file, offset!(file_private))?, false)?;
        socket.named(arguments.get(signature.address).unwrap_or(0), Memory::User)
    }
}

#[inline(always)]
fn has_program(id: u32) -> bool {
    let program = caller::program();
    let place = if program == 0 { None } else { Place::of_file(program) };
    place.is_some_and(|place| fits(place, Patterns::new(id, GlobOf::Program as u32)))
}
