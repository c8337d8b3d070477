//! Where the kernel keeps what is read here; set by the loader.

use chaos_common::abi::CallLayout;

/// Where the kernel keeps things.
#[unsafe(no_mangle)]
static CALL_LAYOUT: CallLayout = CallLayout {
    task_fs: 0,
    task_files: 0,
    task_mm: 0,
    task_cgroups: 0,
    task_began: 0,
    css_set_dfl_cgrp: 0,
    cgroup_level: 0,
    cgroup_ancestors: 0,
    cgroup_ancestor_ids: 0,
    cgroup_kn: 0,
    kn_id: 0,
    fs_root: 0,
    fs_pwd: 0,
    files_fdt: 0,
    fdt_max: 0,
    fdt_fd: 0,
    file_path: 0,
    file_inode: 0,
    file_mode: 0,
    file_flags: 0,
    file_private: 0,
    path_mnt: 0,
    path_dentry: 0,
    dentry_parent: 0,
    dentry_name_length: 0,
    dentry_name: 0,
    dentry_inode: 0,
    inode_mode: 0,
    vfsmount_root: 0,
    mount_mnt: 0,
    mount_parent: 0,
    mount_mountpoint: 0,
    mount_ns: 0,
    mm_exe: 0,
    mm_brk: 0,
    binprm_file: 0,
    socket_sk: 0,
    sock_family: 0,
    sock_ports: 0,
    sock_daddr: 0,
    sock_v6_daddr: 0,
    sock_protocol: 0,
};

/// One of its numbers, as the loader set it.
macro_rules! offset {
    ($field:ident) => {
        $crate::call::layout::as_set(&$crate::call::layout::layout().$field)
    };
}
pub(super) use offset;

/// All of it; read by [`offset`].
#[inline(always)]
pub(super) fn layout() -> &'static CallLayout {
    &CALL_LAYOUT
}

#[inline(always)]
pub(super) fn as_set(field: &'static u32) -> u32 {
    // SAFETY: a reference can be read; volatile, since the constant is not the one that the compiler sees.
    unsafe { core::ptr::from_ref(field).read_volatile() }
}
