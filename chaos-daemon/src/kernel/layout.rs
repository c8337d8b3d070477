//! Where the kernel keeps what programs read from its own structures. Looked up when somebody needs it: that
//! takes some 50 ms.

use aya::maps::{Array, MapData};
use chaos_common::abi;

use super::{KernelError, btf::Btf, object::Object, tables::typed};

/// The module that follows connections, where that is no part of the kernel.
const CONNTRACK: &str = "nf_conntrack";

pub(super) struct Layout {
    table: Array<MapData, abi::Layout>,
    /// As it is in the table.
    known: abi::Layout,
}

/// What programs may want to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The process that runs.
    Process,
    /// The device that a packet is on, its name, and how much waits there; and whether the packet is translated.
    Device,
    /// The cgroup of a socket.
    Socket,
    /// Whether a socket at all of IPv6 is of IPv6 only.
    Port,
}

impl Layout {
    pub(super) fn take(object: &mut Object) -> Result<Self, KernelError> {
        let table: Array<MapData, abi::Layout> = typed(object.take_map("LAYOUT")?)?;
        // What an earlier process found is still so, and programs read it while this one begins.
        let known = table.get(&0, 0);
        let known = known.map_err(|source| KernelError::Map { what: "read the layout", source })?;
        Ok(Self { table, known })
    }

    /// Lets the programs read something from now on.
    pub(super) fn need(&mut self, part: Part) -> Result<(), KernelError> {
        let is_known = match part {
            Part::Process => self.known.task_tgid != 0,
            Part::Device => {
                // The module may have come since.
                let is_whole = self.known.skb_nfct == 0 || self.known.conn_status != 0;
                self.known.skb_dev != 0 && (is_whole || !Btf::has_module(CONNTRACK))
            }
            Part::Socket => self.known.sock_cgroup != 0,
            Part::Port => self.known.sock_v6only != 0,
        };
        if is_known {
            return Ok(());
        }
        let btf = Btf::of_kernel();
        let member = |structure, member| {
            btf.member(structure, member).ok_or(KernelError::NoTypes { structure, member })
        };
        match part {
            Part::Process => self.known.task_tgid = member("task_struct", "tgid")?,
            Part::Device => {
                self.known.device_name = member("net_device", "name")?;
                self.known.device_qdisc = member("net_device", "qdisc")?;
                self.known.qdisc_backlog =
                    member("Qdisc", "qstats")? + member("gnet_stats_queue", "backlog")?;
                // Neither is there on a kernel that follows no connections.
                self.known.conn_status = conn_status().unwrap_or(0);
                self.known.skb_nfct = btf.member("sk_buff", "_nfct").unwrap_or(0);
                // Last: programs read none of these while it is 0.
                self.known.skb_dev = member("sk_buff", "dev")?;
            }
            Part::Socket => {
                self.known.cgroup_level = member("cgroup", "level")?;
                // Linux 6.1 replaced the ids by pointers.
                match btf.member("cgroup", "ancestors") {
                    Some(ancestors) => self.known.cgroup_ancestors = ancestors,
                    None => self.known.cgroup_ancestor_ids = member("cgroup", "ancestor_ids")?,
                }
                self.known.cgroup_kn = member("cgroup", "kn")?;
                self.known.kn_id = member("kernfs_node", "id")?;
                let data = member("sock", "sk_cgrp_data")?;
                // Before Linux 5.15 a word that is a pointer or something else.
                let word = btf
                    .member("sock_cgroup_data", "cgroup")
                    .or_else(|| btf.member("sock_cgroup_data", "val"))
                    .ok_or(KernelError::NoTypes {
                        structure: "sock_cgroup_data",
                        member: "cgroup",
                    })?;
                self.known.sock_cgroup = data + word;
            }
            Part::Port => {
                let (structure, member) = ("sock_common", "skc_ipv6only");
                let bit = btf.bit(structure, member);
                self.known.sock_v6only = bit.ok_or(KernelError::NoTypes { structure, member })?;
            }
        }
        self.table
            .set(0, &self.known, 0)
            .map_err(|source| KernelError::Map { what: "write the layout", source })
    }
}

/// Where a connection that the kernel follows has its status.
fn conn_status() -> Option<u32> {
    let of = |btf: Btf| btf.member("nf_conn", "status");
    of(Btf::of_kernel()).or_else(|| of(Btf::of_module(CONNTRACK)))
}
