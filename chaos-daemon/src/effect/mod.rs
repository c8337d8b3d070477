//! Undoable changes to the node: what plans are made of.
//!
//! # Contract
//! * `apply` may be repeated, and may fail half-way; `undo` then takes back what was done. What happens once and is
//!   no state ([`Effect::ResetOpen`]) is taken back by nobody; it is repeated by nobody either. What is nothing but an
//!   end ([`Effect::EndRedirected`]) is applied by doing nothing.
//! * `undo` may be repeated, and takes "was never applied" for done. Effects do not build on each other,
//!   so a plan is undone in its own order: what bites goes first.
//! * `adopt` makes what an earlier process applied this process's own. It answers whether the effect
//!   is whole; if not, `undo` is due.
//! * `renew` makes an applied effect so with another deadline or other addresses; it may be repeated.
//! * `admit` answers before anything is done whether it could be applied, as far as a look can tell.
//! * `observe` answers whether the effect is still as it was applied, and changes nothing. Of what an
//!   earlier process applied and nobody adopted yet it answers whether it could go on.
//!
//! Crash safety, dry runs and residue checks rest on these and are written nowhere else.

mod end_redirected;
mod hold_files;
mod hold_packets;
mod hold_ports;
mod hook_arrival;
mod hook_calls;
mod hook_cgroup;
mod hook_egress;
mod put_call_rule;
mod put_rule;
mod reset_open;
mod spoil_checksums;

pub use hold_files::HoldFiles;
pub use hold_ports::HoldPorts;
pub use hook_calls::HookCalls;
pub use put_call_rule::PutCallRule;
pub use put_rule::PutRule;
pub use reset_open::ResetOpen;

use std::fmt;

use chaos_common::abi::RuleStats;

use crate::{
    fail_point::FailPoint,
    kernel::{Kernel, KernelError, Passing, RuleId},
    target::Cgroup,
};

/// Rules and hooks are ours alone: whoever removed them wanted an end of it.
pub(crate) const REMOVED: &str = "its rule or hooks were removed from outside";

/// One undoable change.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The target's packets have a place to wait.
    HoldPackets,
    /// The target's packets have a way on which their checksums become wrong.
    SpoilChecksums,
    /// What arrives for the target passes our program before the stack has it.
    HookArrival,
    /// What the target sends passes our program.
    HookEgress,
    /// What the target receives, or attempts, passes our programs.
    HookCgroup(Passing),
    /// Nobody can bind to some ports where the target is.
    HoldPorts(HoldPorts),
    /// The programs have a rule for the target.
    PutRule(PutRule),
    /// The programs have a rule about calls of the target.
    PutCallRule(PutCallRule),
    /// That is asked.
    HookCalls(HookCalls),
    /// Calls on files wait.
    HoldFiles(HoldFiles),
    /// Connections that the target has open are reset.
    ResetOpen(ResetOpen),
    /// What the target has connected elsewhere ends with the fault.
    EndRedirected,
}

/// For whom an effect is.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The injection's rule.
    pub rule: RuleId,
    /// The injection's target.
    pub target: &'a Cgroup,
}

impl Effect {
    /// Whether it could be applied to a target.
    ///
    /// # Errors
    /// When it could not.
    pub fn admit(&self, target: &Cgroup, kernel: &Kernel) -> Result<(), KernelError> {
        match self {
            Self::HoldPackets
            | Self::SpoilChecksums
            | Self::HookArrival
            | Self::HookEgress
            | Self::HookCgroup(_)
            | Self::HookCalls(_)
            | Self::HoldFiles(_)
            | Self::ResetOpen(_)
            | Self::EndRedirected => Ok(()),
            Self::HoldPorts(ports) => ports.admit(target, kernel),
            Self::PutRule(_) => kernel.admit(target),
            Self::PutCallRule(rule) => rule.admit(target, kernel),
        }
    }

    /// Makes it so. An effect that happens once, and is no state, says how often it did.
    ///
    /// # Errors
    /// When the kernel refuses; `undo` is due then.
    pub fn apply(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<Option<u64>, KernelError> {
        let applied = match self {
            Self::HoldPackets => hold_packets::apply(owner, kernel),
            Self::SpoilChecksums => spoil_checksums::apply(owner, kernel),
            Self::HookArrival => hook_arrival::apply(owner, kernel),
            Self::HookEgress => hook_egress::apply(owner, kernel),
            Self::HookCgroup(passing) => hook_cgroup::apply(*passing, owner, kernel),
            Self::HoldPorts(ports) => ports.apply(owner, kernel),
            Self::PutRule(rule) => rule.apply(owner, kernel),
            Self::PutCallRule(rule) => rule.apply(owner, kernel),
            Self::HookCalls(hooks) => hooks.apply(owner, kernel),
            Self::HoldFiles(files) => files.apply(owner, kernel),
            Self::ResetOpen(reset) => return reset.apply(owner, kernel).map(Some),
            Self::EndRedirected => Ok(()),
        };
        applied.map(|()| None)
    }

    /// Makes it so with another deadline or other addresses, where it was applied with some.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn renew(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
        match self {
            // Hooks and ports know no time, and are followed by whoever needs them. What was reset stays so.
            Self::HoldPackets
            | Self::SpoilChecksums
            | Self::HookArrival
            | Self::HookEgress
            | Self::HookCgroup(_)
            | Self::HoldPorts(_)
            | Self::HookCalls(_)
            | Self::HoldFiles(_)
            | Self::ResetOpen(_)
            | Self::EndRedirected => Ok(()),
            Self::PutRule(rule) => rule.apply(owner, kernel),
            Self::PutCallRule(rule) => rule.apply(owner, kernel),
        }
    }

    /// Makes it not so. An effect that counts says what it counted to its end.
    ///
    /// # Errors
    /// When the kernel refuses; it may be tried again.
    pub fn undo(
        &self,
        owner: Owner<'_>,
        kernel: &mut Kernel,
    ) -> Result<Option<RuleStats>, KernelError> {
        match self {
            Self::HoldPackets => hold_packets::undo(owner, kernel).map(|()| None),
            Self::SpoilChecksums => spoil_checksums::undo(owner, kernel).map(|()| None),
            Self::HookArrival => hook_arrival::undo(owner, kernel).map(|()| None),
            Self::HookEgress => hook_egress::undo(owner, kernel).map(|()| None),
            Self::HookCgroup(passing) => hook_cgroup::undo(*passing, owner, kernel).map(|()| None),
            Self::HoldPorts(_) => {
                hold_ports::undo(owner, kernel);
                Ok(None)
            }
            Self::PutRule(_) => put_rule::undo(owner, kernel),
            Self::PutCallRule(_) => put_call_rule::undo(owner, kernel),
            Self::HookCalls(_) => hook_calls::undo(owner, kernel).map(|()| None),
            Self::HoldFiles(_) => {
                hold_files::undo(owner, kernel);
                Ok(None)
            }
            Self::ResetOpen(_) => Ok(None),
            Self::EndRedirected => end_redirected::undo(owner, kernel).map(|()| None),
        }
    }

    /// Takes over what an earlier process applied.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn adopt(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<bool, KernelError> {
        match self {
            Self::HoldPackets => hold_packets::adopt(owner, kernel),
            Self::SpoilChecksums => spoil_checksums::adopt(owner, kernel),
            Self::HookArrival => hook_arrival::adopt(owner, kernel),
            Self::HookEgress => hook_egress::adopt(owner, kernel),
            Self::HookCgroup(passing) => Ok(hook_cgroup::adopt(*passing, owner, kernel)),
            Self::HoldPorts(ports) => ports.adopt(owner, kernel),
            Self::PutRule(rule) => Ok(rule.adopt(owner, kernel)),
            Self::PutCallRule(rule) => rule.adopt(owner, kernel),
            Self::HookCalls(hooks) => hooks.adopt(owner, kernel),
            // Made anew, since it ended with the earlier process.
            Self::HoldFiles(files) => files.apply(owner, kernel).map(|()| true),
            // Not again: that would be another fault.
            Self::ResetOpen(_) => Ok(true),
            Self::EndRedirected => Ok(true),
        }
    }

    /// Whether it is as it was applied.
    #[must_use]
    pub fn observe(&self, owner: Owner<'_>, kernel: &Kernel) -> bool {
        match self {
            Self::HoldPackets => hold_packets::observe(owner, kernel),
            Self::SpoilChecksums => spoil_checksums::observe(owner, kernel),
            Self::HookArrival => hook_arrival::observe(owner, kernel),
            Self::HookEgress => hook_egress::observe(owner, kernel),
            Self::HookCgroup(passing) => hook_cgroup::observe(*passing, owner, kernel),
            // Nobody can take a socket from its process, and what ended with an earlier one can be taken anew.
            Self::HoldPorts(_) => true,
            Self::HoldFiles(_) => hold_files::observe(owner, kernel),
            Self::ResetOpen(_) | Self::EndRedirected => true,
            Self::PutRule(_) => put_rule::observe(owner, kernel),
            Self::PutCallRule(_) => put_call_rule::observe(owner, kernel),
            Self::HookCalls(_) => hook_calls::observe(owner, kernel),
        }
    }

    /// What of what was asked for is left out, and why; empty if nothing is.
    pub(crate) fn left_out(&self) -> &str {
        match self {
            Self::PutRule(rule) => rule.left_out(),
            Self::PutCallRule(rule) => &rule.0.missing,
            Self::HoldPackets
            | Self::SpoilChecksums
            | Self::HookArrival
            | Self::HookEgress
            | Self::HookCgroup(_)
            | Self::HookCalls(_)
            | Self::HoldPorts(_)
            | Self::HoldFiles(_)
            | Self::ResetOpen(_)
            | Self::EndRedirected => "",
        }
    }

    /// Why it is not whole any more, if it is not.
    pub(crate) const fn lost(&self) -> &'static str {
        match self {
            Self::HoldPackets
            | Self::SpoilChecksums
            | Self::HookArrival
            | Self::HookEgress
            | Self::HookCgroup(_)
            | Self::HookCalls(_)
            | Self::PutRule(_)
            | Self::PutCallRule(_)
            | Self::ResetOpen(_)
            | Self::EndRedirected => REMOVED,
            Self::HoldFiles(_) => hold_files::LOST,
            Self::HoldPorts(_) => hold_ports::LOST,
        }
    }

    /// The step after which a test may kill the daemon.
    pub(crate) const fn applied(&self) -> FailPoint {
        match self {
            Self::HoldPackets | Self::SpoilChecksums => FailPoint::HopMade,
            Self::HookArrival | Self::HookEgress | Self::HookCgroup(_) | Self::HookCalls(_) => {
                FailPoint::HookAttached
            }
            Self::HoldPorts(_) => FailPoint::PortsTaken,
            Self::HoldFiles(_) => FailPoint::FilesWatched,
            Self::PutRule(_) | Self::PutCallRule(_) => FailPoint::RuleWritten,
            Self::ResetOpen(_) => FailPoint::ConnectionsReset,
            Self::EndRedirected => FailPoint::EndPlanned,
        }
    }

    /// The step after which a test may kill the daemon, if there is anything to undo.
    pub(crate) const fn undone(&self) -> Option<FailPoint> {
        match self {
            Self::HoldPackets | Self::SpoilChecksums => Some(FailPoint::HopLeft),
            Self::HookArrival | Self::HookEgress | Self::HookCgroup(_) | Self::HookCalls(_) => {
                Some(FailPoint::HookDetached)
            }
            Self::HoldPorts(_) => Some(FailPoint::PortsFreed),
            Self::HoldFiles(_) => Some(FailPoint::FilesFreed),
            Self::PutRule(_) | Self::PutCallRule(_) => Some(FailPoint::RuleRemoved),
            Self::ResetOpen(_) => None,
            Self::EndRedirected => Some(FailPoint::RedirectedEnded),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HoldPackets => f.write_str(hold_packets::DESCRIPTION),
            Self::SpoilChecksums => f.write_str(spoil_checksums::DESCRIPTION),
            Self::HookArrival => f.write_str(hook_arrival::DESCRIPTION),
            Self::HookEgress => f.write_str(hook_egress::DESCRIPTION),
            Self::HookCgroup(passing) => f.write_str(hook_cgroup::description(*passing)),
            Self::HoldPorts(ports) => ports.fmt(f),
            Self::PutRule(rule) => rule.fmt(f),
            Self::PutCallRule(rule) => rule.fmt(f),
            Self::HookCalls(hooks) => hooks.fmt(f),
            Self::HoldFiles(files) => files.fmt(f),
            Self::ResetOpen(reset) => reset.fmt(f),
            Self::EndRedirected => f.write_str(end_redirected::DESCRIPTION),
        }
    }
}
