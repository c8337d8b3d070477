//! Offsets of kernel structures, from the kernel's own type information.
//!
//! A pass over the raw format, of which nothing is kept: the kernel's types are six megabytes, and a parser
//! that keeps them costs more memory than the daemon. The format:
//! <https://docs.kernel.org/bpf/btf.html>.

use std::{collections::BTreeMap, ffi::CStr, fs, path::Path};

const MAGIC: u16 = 0xEB9F;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_FUNC: u32 = 12;
const MEMBER: usize = 12;
/// Structures without a name that lie in each other.
const MAX_DEPTH: u32 = 8;

/// The kernel's type information, or that of one of its modules.
pub(super) struct Btf {
    bytes: Vec<u8>,
    /// The kernel's, which a module's goes on from.
    base: Vec<u8>,
}

/// Where the kernel shows it.
const KERNEL: &str = "/sys/kernel/btf/vmlinux";
/// Where modules show theirs.
const MODULES: &str = "/sys/kernel/btf";

impl Btf {
    /// Whether the running kernel has it.
    pub(super) fn is_there() -> bool {
        Path::new(KERNEL).exists()
    }

    /// Of the running kernel; empty when it has none.
    pub(super) fn of_kernel() -> Self {
        Self { bytes: fs::read(KERNEL).unwrap_or_default(), base: Vec::new() }
    }

    /// Whether a module is loaded, and shows its types.
    pub(super) fn has_module(name: &str) -> bool {
        Path::new(MODULES).join(name).exists()
    }

    /// Of a module that is loaded; empty when it is not, or is part of the kernel.
    pub(super) fn of_module(name: &str) -> Self {
        let bytes = fs::read(Path::new(MODULES).join(name)).unwrap_or_default();
        Self { bytes, base: Self::of_kernel().bytes }
    }

    /// Offset in bytes of a member of a structure, also one of a structure without a name that lies in it;
    /// `None` if there is none, or the kernel does not say.
    pub(super) fn member(&self, structure: &str, member: &str) -> Option<u32> {
        self.bit(structure, member).map(|bits| bits / 8)
    }

    /// As [`Btf::member`], in bits.
    pub(super) fn bit(&self, structure: &str, member: &str) -> Option<u32> {
        self.parse()?.bit(structure, member)
    }

    /// Goes through it once, for who asks for several things; `None` if there is nothing.
    pub(super) fn parse(&self) -> Option<Parsed<'_>> {
        Parsed::on(Parsed::of(&self.base).as_ref(), &self.bytes)
    }
}

/// The sections of a piece of BTF, and where each type is.
pub(super) struct Parsed<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// By type id, less one and less the base's.
    places: Vec<usize>,
    /// What the base has: its strings, and how many types.
    base: (&'a [u8], usize),
}

/// What every type begins with.
struct Head {
    name: u32,
    kind: u32,
    count: usize,
    has_bitfields: bool,
}

impl<'a> Parsed<'a> {
    /// As [`Btf::member`].
    pub(super) fn member(&self, structure: &str, member: &str) -> Option<u32> {
        self.bit(structure, member).map(|bits| bits / 8)
    }

    fn bit(&self, structure: &str, member: &str) -> Option<u32> {
        self.places.iter().find_map(|at| {
            let head = self.head(*at)?;
            (head.kind == KIND_STRUCT && self.is_named(head.name, structure))
                .then(|| self.offset_in(*at, member, 0))?
        })
    }

    /// The functions whose names are wanted, with their numbers among the types.
    pub(super) fn functions(&self, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<String, u32> {
        let function = |(n, at): (usize, &usize)| {
            let head = self.head(*at).filter(|head| head.kind == KIND_FUNC)?;
            let name = self.name(head.name).filter(|name| is_wanted(name))?;
            Some((name.to_owned(), (n + 1 + self.base.1) as u32))
        };
        self.places.iter().enumerate().filter_map(function).collect()
    }

    fn of(bytes: &'a [u8]) -> Option<Self> {
        Self::on(None, bytes)
    }

    fn on(base: Option<&Self>, bytes: &'a [u8]) -> Option<Self> {
        if u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let header = word(bytes, 4)? as usize;
        let section = |at: usize| {
            let start = header.checked_add(word(bytes, at)? as usize)?;
            bytes.get(start..start.checked_add(word(bytes, at + 4)? as usize)?)
        };
        let base = base.map_or((&[][..], 0), |base| (base.strings, base.places.len()));
        let mut btf = Self { types: section(8)?, strings: section(16)?, places: Vec::new(), base };
        let mut at = 0;
        while at < btf.types.len() {
            btf.places.push(at);
            let Head { kind, count, .. } = btf.head(at)?;
            at += 12 + data_length(kind, count)?;
        }
        Some(btf)
    }

    fn head(&self, at: usize) -> Option<Head> {
        let (name, info) = (word(self.types, at)?, word(self.types, at + 4)?);
        let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
        Some(Head { name, kind, count, has_bitfields: info >> 31 == 1 })
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let text = self.text(offset);
        text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    fn name(&self, offset: u32) -> Option<&'a str> {
        CStr::from_bytes_until_nul(self.text(offset)).ok()?.to_str().ok()
    }

    /// From a name on.
    fn text(&self, offset: u32) -> &'a [u8] {
        let (offset, (base, _)) = (offset as usize, self.base);
        let text = match offset.checked_sub(base.len()) {
            Some(own) => self.strings.get(own..),
            None => base.get(offset..),
        };
        text.unwrap_or_default()
    }

    /// Offset in bits of a member of the structure or union at a place.
    fn offset_in(&self, at: usize, member: &str, depth: u32) -> Option<u32> {
        let head = self.head(at)?;
        if depth > MAX_DEPTH || !matches!(head.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        (0..head.count).find_map(|n| {
            let place = at + 12 + n * MEMBER;
            let (name, kind, offset) = (
                word(self.types, place)?,
                word(self.types, place + 4)?,
                word(self.types, place + 8)?,
            );
            let bits = if head.has_bitfields { offset & 0x00ff_ffff } else { offset };
            if self.is_named(name, member) {
                return Some(bits);
            }
            // Without a name of its own: its members count as the outer one's.
            if !self.is_named(name, "") {
                return None;
            }
            // Of a module that may be one of the kernel's; nobody asks for such.
            let inner = *self.places.get((kind as usize).checked_sub(1 + self.base.1)?)?;
            self.offset_in(inner, member, depth + 1).map(|within| bits + within)
        })
    }
}

/// Bytes that follow a type of this kind; `None` for a kind that is not known.
fn data_length(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Pointers, forward declarations, typedefs, qualifiers, functions, floats, type tags.
        2 | 7..=12 | 16 | 18 => 0,
        // Integers, variables, declaration tags.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Structures, unions, data sections, 64-bit enumerations.
        KIND_STRUCT | KIND_UNION | 15 | 19 => count * MEMBER,
        // Enumerations, function prototypes.
        6 | 13 => count * 8,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_ne_bytes(bytes.get(at..end)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member_offset(bytes: &[u8], structure: &str, member: &str) -> Option<u32> {
        Btf { bytes: bytes.to_vec(), base: Vec::new() }.member(structure, member)
    }

    /// Those of the sample.
    const STRINGS: &[u8] = b"\0int\0other\0task_struct\0pid\0tgid\0";

    fn offset(name: &str) -> u32 {
        let mut places = STRINGS.windows(name.len());
        places.position(|window| window == name.as_bytes()).unwrap() as u32
    }

    /// Types and strings with a header in front.
    fn with_header(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let length = types.len() as u32 * 4;
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, length, length, strings.len() as u32].iter().chain(types) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(strings);
        bytes
    }

    /// An integer, and two structures of which the second has two members.
    fn sample(has_bitfields: bool) -> Vec<u8> {
        let flag = u32::from(has_bitfields) << 31;
        let types = [
            [offset("int"), 1 << 24, 4].as_slice(),
            &[0x0100_0020],
            &[offset("other"), (KIND_STRUCT << 24) | 1, 4, offset("tgid"), 1, 0],
            &[offset("task_struct"), flag | (KIND_STRUCT << 24) | 2, 8],
            &[offset("pid"), 1, 0],
            &[offset("tgid"), 1, 32 | if has_bitfields { 32 << 24 } else { 0 }],
        ]
        .concat();
        with_header(&types, STRINGS)
    }

    #[test]
    fn a_member_is_found_in_its_own_structure() {
        for has_bitfields in [false, true] {
            let bytes = sample(has_bitfields);
            assert_eq!(member_offset(&bytes, "task_struct", "tgid"), Some(4));
            assert_eq!(member_offset(&bytes, "task_struct", "comm"), None);
            assert_eq!(member_offset(&bytes, "task", "tgid"), None);
        }
    }

    #[test]
    fn a_module_s_types_go_on_from_the_kernel_s() {
        // A structure with a name of its own, and a member with one of the kernel's.
        let name = STRINGS.len() as u32;
        let types = [name, (KIND_STRUCT << 24) | 1, 4, offset("tgid"), 1, 64];
        let module = Btf { bytes: with_header(&types, b"its_own\0"), base: sample(false) };
        assert_eq!(module.member("its_own", "tgid"), Some(8));
        assert_eq!(module.member("its_own", "pid"), None);
        assert_eq!(module.member("task_struct", "tgid"), None);
    }

    #[test]
    fn bytes_that_are_cut_short_are_no_error() {
        let bytes = sample(false);
        for end in 0..bytes.len() {
            assert_ne!(member_offset(&bytes[..end], "task_struct", "tgid"), Some(0));
        }
    }

    #[test]
    fn this_kernel_says_where() {
        if Btf::is_there() {
            let btf = Btf::of_kernel();
            assert_ne!(btf.member("task_struct", "tgid"), Some(0));
            // In a union in a structure in a union, all without names.
            assert_ne!(btf.member("sk_buff", "dev"), None);
            assert_eq!(btf.member("sk_buff", "no_such_member"), None);
        }
    }
}
