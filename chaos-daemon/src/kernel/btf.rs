//! Offsets of kernel structures, from the kernel's own type information.

use std::fs;

use btf_rs::{Btf, Type};

/// Offset in bytes of `tgid` in `struct task_struct`; 0 when the kernel does not say.
pub(super) fn tgid_offset() -> u32 {
    // Read at once: the parser asks a file for its position at every type.
    let Ok(bytes) = fs::read("/sys/kernel/btf/vmlinux") else { return 0 };
    let Ok(btf) = Btf::from_bytes(&bytes) else { return 0 };
    let Ok(types) = btf.resolve_types_by_name("task_struct") else { return 0 };
    for task in types {
        let Type::Struct(task) = task else { continue };
        for member in &task.members {
            if btf.resolve_name(member).is_ok_and(|name| name == "tgid") {
                return member.bit_offset() / 8;
            }
        }
    }
    0
}
