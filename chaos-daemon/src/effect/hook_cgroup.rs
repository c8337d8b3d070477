//! What the target receives, attempts, or is told passes our programs on its cgroup.

use super::Owner;
use crate::kernel::{Kernel, KernelError, Passing};

pub(super) const fn description(passing: Passing) -> &'static str {
    match passing {
        Passing::Received => "attach `net_in` to the ingress of the target's cgroup",
        Passing::Connecting => {
            "attach `net_connect4`, `net_connect6`, `net_sendmsg4` and `net_sendmsg6` to the target's cgroup"
        }
        Passing::Told => {
            "attach `net_recvmsg4`, `net_recvmsg6`, `net_getpeername4`, `net_getpeername6` and `net_release` to the target's cgroup"
        }
        Passing::Binding => "attach `net_bind4` and `net_bind6` to the target's cgroup",
    }
}

pub(super) fn apply(
    passing: Passing,
    owner: Owner<'_>,
    kernel: &mut Kernel,
) -> Result<(), KernelError> {
    kernel.claim_cgroup(passing, owner.rule, owner.target)
}

pub(super) fn undo(
    passing: Passing,
    owner: Owner<'_>,
    kernel: &mut Kernel,
) -> Result<(), KernelError> {
    kernel.release_cgroup(passing, owner.rule, owner.target)
}

pub(super) fn observe(passing: Passing, owner: Owner<'_>, kernel: &Kernel) -> bool {
    kernel.covers_cgroup(passing, owner.target)
}

pub(super) fn adopt(passing: Passing, owner: Owner<'_>, kernel: &mut Kernel) -> bool {
    kernel.adopt_cgroup(passing, owner.rule, owner.target)
}
