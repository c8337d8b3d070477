//! Where programs of the `call` engine find what they read of the kernel's own.

/// Where the kernel keeps what programs read from its own structures, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallLayout {
    /// Of `struct task_struct`.
    pub task_fs: u32,
    /// Of `struct task_struct`.
    pub task_files: u32,
    /// Of `struct task_struct`.
    pub task_mm: u32,
    /// Of `struct task_struct`.
    pub task_cgroups: u32,
    /// `start_boottime` of `struct task_struct`.
    pub task_began: u32,
    /// Of `struct css_set`.
    pub css_set_dfl_cgrp: u32,
    /// Of `struct cgroup`.
    pub cgroup_level: u32,
    /// Of `struct cgroup`; 0 where they are not pointers.
    pub cgroup_ancestors: u32,
    /// Of `struct cgroup`, where there is no `ancestors`.
    pub cgroup_ancestor_ids: u32,
    /// Of `struct cgroup`.
    pub cgroup_kn: u32,
    /// Of `struct kernfs_node`.
    pub kn_id: u32,
    /// `root` of `struct fs_struct`.
    pub fs_root: u32,
    /// `pwd` of `struct fs_struct`.
    pub fs_pwd: u32,
    /// `fdt` of `struct files_struct`.
    pub files_fdt: u32,
    /// `max_fds` of `struct fdtable`.
    pub fdt_max: u32,
    /// `fd` of `struct fdtable`.
    pub fdt_fd: u32,
    /// `f_path` of `struct file`.
    pub file_path: u32,
    /// `f_inode` of `struct file`.
    pub file_inode: u32,
    /// `f_mode` of `struct file`.
    pub file_mode: u32,
    /// `f_flags` of `struct file`.
    pub file_flags: u32,
    /// `private_data` of `struct file`.
    pub file_private: u32,
    /// Of `struct path`.
    pub path_mnt: u32,
    /// Of `struct path`.
    pub path_dentry: u32,
    /// `d_parent` of `struct dentry`.
    pub dentry_parent: u32,
    /// The length of `d_name` of `struct dentry`.
    pub dentry_name_length: u32,
    /// The text of `d_name` of `struct dentry`.
    pub dentry_name: u32,
    /// `d_inode` of `struct dentry`.
    pub dentry_inode: u32,
    /// `i_mode` of `struct inode`.
    pub inode_mode: u32,
    /// `mnt_root` of `struct vfsmount`.
    pub vfsmount_root: u32,
    /// `mnt` of `struct mount`.
    pub mount_mnt: u32,
    /// `mnt_parent` of `struct mount`.
    pub mount_parent: u32,
    /// `mnt_mountpoint` of `struct mount`.
    pub mount_mountpoint: u32,
    /// `mnt_ns` of `struct mount`.
    pub mount_ns: u32,
    /// `exe_file` of `struct mm_struct`.
    pub mm_exe: u32,
    /// `brk` of `struct mm_struct`.
    pub mm_brk: u32,
    /// `file` of `struct linux_binprm`.
    pub binprm_file: u32,
    /// `sk` of `struct socket`.
    pub socket_sk: u32,
    /// `skc_family` of `struct sock_common`.
    pub sock_family: u32,
    /// `skc_dport` of `struct sock_common`; `skc_num` is behind it.
    pub sock_ports: u32,
    /// `skc_daddr` of `struct sock_common`.
    pub sock_daddr: u32,
    /// `skc_v6_daddr` of `struct sock_common`.
    pub sock_v6_daddr: u32,
    /// `sk_protocol` of `struct sock`.
    pub sock_protocol: u32,
}
