//! Where the kernel keeps what the programs read.

use chaos_common::abi::CallLayout;

use crate::kernel::{KernelError, btf::Parsed};

/// Looks everything up.
///
/// # Errors
/// When this kernel has something elsewhere.
pub(in crate::kernel) fn look_up(types: &Parsed<'_>) -> Result<CallLayout, KernelError> {
    let member = |structure, member| {
        types.member(structure, member).ok_or(KernelError::NoTypes { structure, member })
    };
    let name = member("dentry", "d_name").or_else(|_| member("dentry", "__d_name"))?;
    // Linux 6.1 replaced the ids by pointers.
    let ancestors = types.member("cgroup", "ancestors");
    let ancestor_ids = if ancestors.is_some() { 0 } else { member("cgroup", "ancestor_ids")? };
    Ok(CallLayout {
        task_fs: member("task_struct", "fs")?,
        task_files: member("task_struct", "files")?,
        task_mm: member("task_struct", "mm")?,
        task_cgroups: member("task_struct", "cgroups")?,
        task_began: member("task_struct", "start_boottime")?,
        css_set_dfl_cgrp: member("css_set", "dfl_cgrp")?,
        cgroup_level: member("cgroup", "level")?,
        cgroup_ancestors: ancestors.unwrap_or(0),
        cgroup_ancestor_ids: ancestor_ids,
        cgroup_kn: member("cgroup", "kn")?,
        kn_id: member("kernfs_node", "id")?,
        fs_root: member("fs_struct", "root")?,
        fs_pwd: member("fs_struct", "pwd")?,
        files_fdt: member("files_struct", "fdt")?,
        fdt_max: member("fdtable", "max_fds")?,
        fdt_fd: member("fdtable", "fd")?,
        file_path: member("file", "f_path").or_else(|_| member("file", "__f_path"))?,
        file_inode: member("file", "f_inode")?,
        file_mode: member("file", "f_mode")?,
        file_flags: member("file", "f_flags")?,
        file_private: member("file", "private_data")?,
        path_mnt: member("path", "mnt")?,
        path_dentry: member("path", "dentry")?,
        dentry_parent: member("dentry", "d_parent")?,
        dentry_name_length: name + member("qstr", "len")?,
        dentry_name: name + member("qstr", "name")?,
        dentry_inode: member("dentry", "d_inode")?,
        inode_mode: member("inode", "i_mode")?,
        vfsmount_root: member("vfsmount", "mnt_root")?,
        mount_mnt: member("mount", "mnt")?,
        mount_parent: member("mount", "mnt_parent")?,
        mount_mountpoint: member("mount", "mnt_mountpoint")?,
        mount_ns: member("mount", "mnt_ns")?,
        mm_exe: member("mm_struct", "exe_file")?,
        mm_brk: member("mm_struct", "brk")?,
        binprm_file: member("linux_binprm", "file")?,
        socket_sk: member("socket", "sk")?,
        sock_family: member("sock_common", "skc_family")?,
        sock_ports: member("sock_common", "skc_dport")?,
        sock_daddr: member("sock_common", "skc_daddr")?,
        sock_v6_daddr: member("sock_common", "skc_v6_daddr")?,
        sock_protocol: member("sock", "sk_protocol")?,
    })
}
