//! Offsets of kernel structures, from the kernel's own type information.
//!
//! One pass over the raw format, without an index: the kernel's types are six megabytes, and a parser
//! that keeps them costs more memory than the daemon. The format:
//! <https://docs.kernel.org/bpf/btf.html>.

use std::fs;

const MAGIC: u16 = 0xEB9F;
const KIND_STRUCT: u32 = 4;
const MEMBER: usize = 12;

/// Offset in bytes of `tgid` in `struct task_struct`; 0 when the kernel does not say.
pub(super) fn tgid_offset() -> u32 {
    let bytes = fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
    member_offset(&bytes, "task_struct", "tgid").unwrap_or(0)
}

/// Offset in bytes of a member of a structure; `None` if there is none, or the bytes are no BTF.
fn member_offset(bytes: &[u8], structure: &str, member: &str) -> Option<u32> {
    if u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) != MAGIC {
        return None;
    }
    let header = word(bytes, 4)? as usize;
    let section = |at: usize| {
        let start = header.checked_add(word(bytes, at)? as usize)?;
        bytes.get(start..start.checked_add(word(bytes, at + 4)? as usize)?)
    };
    let (types, strings) = (section(8)?, section(16)?);
    let is_named = |offset: u32, name: &str| {
        let text = strings.get(offset as usize..).unwrap_or_default();
        text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    };
    let mut at = 0;
    while at < types.len() {
        let (name, info) = (word(types, at)?, word(types, at + 4)?);
        let (kind, count, has_bitfields) =
            ((info >> 24) & 0x1f, (info & 0xffff) as usize, info >> 31 == 1);
        at += 12;
        let length = data_length(kind, count)?;
        if kind == KIND_STRUCT && is_named(name, structure) {
            let found = (0..count).find_map(|n| {
                let place = at + n * MEMBER;
                is_named(word(types, place)?, member).then(|| word(types, place + 8))?
            })?;
            let bits = if has_bitfields { found & 0x00ff_ffff } else { found };
            return Some(bits / 8);
        }
        at += length;
    }
    None
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
        KIND_STRUCT | 5 | 15 | 19 => count * MEMBER,
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

    /// A header, an integer, and two structures of which the second has two members.
    fn sample(has_bitfields: bool) -> Vec<u8> {
        let strings = b"\0int\0other\0task_struct\0pid\0tgid\0";
        let offset = |name: &str| {
            let at = strings.windows(name.len()).position(|window| window == name.as_bytes());
            at.unwrap() as u32
        };
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
        let length = types.len() as u32 * 4;
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, length, length, strings.len() as u32].iter().chain(&types) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(strings);
        bytes
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
    fn bytes_that_are_cut_short_are_no_error() {
        let bytes = sample(false);
        for end in 0..bytes.len() {
            assert_ne!(member_offset(&bytes[..end], "task_struct", "tgid"), Some(0));
        }
    }

    #[test]
    fn this_kernel_says_where() {
        if fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false) {
            assert_ne!(tgid_offset(), 0);
        }
    }
}
