//! From a fault to its effects: one pure function for each kind, in a file of its name.

mod call;
mod dns;
mod dns_delay;
mod dns_error;
mod dns_record;
mod dns_server;
mod file_delay;
mod file_error;
mod memory_error;
mod network;
mod network_corrupt;
mod network_delay;
mod network_duplicate;
mod network_loss;
mod network_occupy;
mod network_partition;
mod network_rate;
mod network_reject;
mod network_reorder;
mod socket_error;
mod syscall_error;

use std::borrow::Cow;

use chaos_common::{
    abi::{Dice, Gate},
    fault::{Fault, FaultKind},
    spec::Times,
};

use crate::{boot_clock::BootTime, effect::Effect, kernel::Support};

/// What limits an injection, whatever its fault.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// When it is over.
    pub deadline: BootTime,
    /// How often it may happen.
    pub times: Option<Times>,
    /// Which sequence the dice give.
    pub seed: u64,
}

impl Limits {
    /// The gate of a rule under these limits.
    fn gate(&self, dice: Dice) -> Gate {
        Gate {
            deadline_ns: self.deadline.nanos(),
            budget: self.times.map_or(u64::MAX, Times::get),
            dice,
        }
    }
}

/// A fault cannot happen on this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} ({aspect}) is unsupported here: {reason}")]
pub struct Unsupported {
    /// Which fault.
    pub fault: FaultKind,
    /// Which part of it.
    pub aspect: &'static str,
    /// Why.
    pub reason: String,
}

/// Whether and how one aspect of a fault works on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Which fault.
    pub fault: FaultKind,
    /// Which part of it.
    pub aspect: &'static str,
    /// The mechanism, or why there is none.
    pub support: Result<String, String>,
    /// What the mechanism does less well than one would wish, each in a few words.
    pub caveats: Vec<Cow<'static, str>>,
}

/// The effects that make a fault happen, in the order of their application.
///
/// # Errors
/// When this node cannot do it.
pub fn plan(fault: &Fault, limits: &Limits, support: &Support) -> Result<Vec<Effect>, Unsupported> {
    let planned = match fault {
        Fault::NetworkLoss(loss) => network_loss::plan(loss, limits, support),
        Fault::NetworkDelay(delay) => network_delay::plan(delay, limits, support),
        Fault::NetworkDuplicate(duplicate) => network_duplicate::plan(duplicate, limits, support),
        Fault::NetworkReorder(reorder) => network_reorder::plan(reorder, limits, support),
        Fault::NetworkCorrupt(corrupt) => network_corrupt::plan(corrupt, limits, support),
        Fault::NetworkRate(rate) => network_rate::plan(rate, limits, support),
        Fault::NetworkPartition(partition) => network_partition::plan(partition, limits, support),
        Fault::NetworkReject(reject) => network_reject::plan(reject, limits, support),
        Fault::NetworkOccupy(occupy) => network_occupy::plan(occupy, limits, support),
        Fault::SyscallError(fault) => syscall_error::plan(fault, limits, support),
        Fault::FileError(fault) => file_error::plan(fault, limits, support),
        Fault::FileDelay(fault) => file_delay::plan(fault, limits, support),
        Fault::SocketError(fault) => socket_error::plan(fault, limits, support),
        Fault::MemoryError(fault) => memory_error::plan(fault, limits, support),
        Fault::DnsError(fault) => dns_error::plan(fault, limits, support),
        Fault::DnsRecord(fault) => dns_record::plan(fault, limits, support),
        Fault::DnsDelay(fault) => dns_delay::plan(fault, limits, support),
        Fault::DnsServer(fault) => dns_server::plan(fault, limits, support),
    };
    let effects = planned?;
    let reads = effects.iter().find_map(|effect| {
        if let Effect::PutRule(rule) = effect { rule.0.about.reads_structures() } else { None }
    });
    match (reads, &support.structures) {
        (Some(aspect), Err(reason)) => {
            Err(Unsupported { fault: fault.kind(), aspect, reason: reason.clone() })
        }
        (Some(_) | None, _) => Ok(effects),
    }
}

/// Every aspect of every fault.
#[must_use]
pub fn capabilities(support: &Support) -> Vec<Capability> {
    let of = |kind| match kind {
        FaultKind::NetworkLoss => network_loss::capabilities(support),
        FaultKind::NetworkDelay => network_delay::capabilities(support),
        FaultKind::NetworkDuplicate => network_duplicate::capabilities(support),
        FaultKind::NetworkReorder => network_reorder::capabilities(support),
        FaultKind::NetworkCorrupt => network_corrupt::capabilities(support),
        FaultKind::NetworkRate => network_rate::capabilities(support),
        FaultKind::NetworkPartition => network_partition::capabilities(support),
        FaultKind::NetworkReject => network_reject::capabilities(support),
        FaultKind::NetworkOccupy => network_occupy::capabilities(support),
        FaultKind::SyscallError => syscall_error::capabilities(support),
        FaultKind::FileError => file_error::capabilities(support),
        FaultKind::FileDelay => file_delay::capabilities(support),
        FaultKind::SocketError => socket_error::capabilities(support),
        FaultKind::MemoryError => memory_error::capabilities(support),
        FaultKind::DnsError => dns_error::capabilities(support),
        FaultKind::DnsRecord => dns_record::capabilities(support),
        FaultKind::DnsDelay => dns_delay::capabilities(support),
        FaultKind::DnsServer => dns_server::capabilities(support),
    };
    FaultKind::ALL.into_iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use chaos_common::spec::{Spec, from_yaml};

    use super::*;

    #[test]
    fn what_reads_the_kernel_s_structures_is_refused_where_these_are_unknown() {
        let limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };
        let support = Support { structures: Err("no types".into()), ..Support::full() };
        let planned = |fault: &str| {
            let text = format!("{{target: {{pid: 1}}, fault: {{{fault}}}}}");
            let specs: Vec<Spec> = from_yaml(&text).unwrap();
            plan(&specs[0].fault, &limits, &support).map_err(|refused| refused.to_string())
        };
        assert!(planned("networkLoss: {percent: 1}").is_ok());
        assert!(planned("networkOccupy: {ports: [80], address: '::1', refuse: true}").is_ok());
        for (fault, refused) in [
            (
                "networkLoss: {percent: 1, filter: {interface: eth0}}",
                "network loss (interface) is unsupported here: no types",
            ),
            (
                "networkOccupy: {ports: [80], address: 127.0.0.1, refuse: true}",
                "network occupy (address) is unsupported here: no types",
            ),
        ] {
            assert_eq!(planned(fault).unwrap_err(), refused);
        }
    }
}
