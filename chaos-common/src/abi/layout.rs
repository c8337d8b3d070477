//! Where programs find what they read of the kernel's own.

/// Where the kernel keeps what programs read from its own structures, in bytes; all 0 until somebody needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Layout {
    /// `tgid` in `struct task_struct`; 0 while nobody watches.
    pub task_tgid: u32,
    /// `dev` in `struct sk_buff`; 0 while no rule needs the next five.
    pub skb_dev: u32,
    /// `name` in `struct net_device`.
    pub device_name: u32,
    /// `qdisc` in `struct net_device`.
    pub device_qdisc: u32,
    /// `qstats.backlog` in `struct Qdisc`, in bytes.
    pub qdisc_backlog: u32,
    /// `_nfct` in `struct sk_buff`; 0 on a kernel that follows no connections.
    pub skb_nfct: u32,
    /// `status` in `struct nf_conn`; 0 while nobody knows.
    pub conn_status: u32,
    /// `sk_cgrp_data.cgroup` in `struct sock`; 0 while no rule needs the rest.
    pub sock_cgroup: u32,
    /// `level` in `struct cgroup`.
    pub cgroup_level: u32,
    /// `ancestors` in `struct cgroup`, or 0 where they are not pointers.
    pub cgroup_ancestors: u32,
    /// `ancestor_ids` in `struct cgroup`, on kernels that have these instead.
    pub cgroup_ancestor_ids: u32,
    /// `kn` in `struct cgroup`.
    pub cgroup_kn: u32,
    /// `id` in `struct kernfs_node`.
    pub kn_id: u32,
    /// The *bit* of `skc_ipv6only` in `struct sock_common`; 0 while no rule needs it.
    pub sock_v6only: u32,
}
