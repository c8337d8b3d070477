//! Ports are taken where the target's processes have their network.

use std::fmt;

use chaos_common::fault::NetworkOccupy;

use super::Owner;
use crate::{
    kernel::{Kernel, KernelError},
    target::Cgroup,
};

/// Sockets of this process hold them.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldPorts(pub Box<NetworkOccupy>);

/// They end with their process, so nobody else can let go of them.
pub(super) const LOST: &str =
    "a port could not be taken again: somebody had it while no daemon held it";

impl HoldPorts {
    pub(super) fn admit(&self, target: &Cgroup, kernel: &Kernel) -> Result<(), KernelError> {
        kernel.admit_ports(target, &self.0)
    }

    pub(super) fn apply(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
        kernel.hold_ports(owner.rule, owner.target, &self.0)
    }

    /// They ended with the earlier process and are taken anew.
    pub(super) fn adopt(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<bool, KernelError> {
        kernel.hold_ports_again(owner.rule, owner.target, &self.0).map(|()| true)
    }
}

pub(super) fn undo(owner: Owner<'_>, kernel: &mut Kernel) {
    kernel.free_ports(owner.rule);
}

impl fmt::Display for HoldPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.0.addresses();
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        for (n, protocol) in self.0.protocols.list().iter().enumerate() {
            write!(f, "{}{protocol}", if n > 0 { " and " } else { "take the ports " })?;
        }
        write!(
            f,
            " {} at {} in every network namespace of the target's processes",
            self.0.ports,
            addresses.join(" and ")
        )
    }
}
