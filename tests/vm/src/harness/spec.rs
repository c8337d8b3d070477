//! Faults, written shortly.

use std::time::Duration;

use chaos_common::proto::v1::{self, fault::Fault};

use super::Cgroup;

/// A fault in the making, for a minute unless it says otherwise, and what all of its family have in common.
#[derive(Clone, Debug)]
pub(crate) struct Making<C> {
    fault: Fault,
    pub(super) common: C,
    duration: Duration,
    times: Option<u64>,
    seed: Option<u64>,
}

/// What all faults of a family have in common.
pub(crate) trait Common: Default {
    /// Puts it where a fault has it.
    fn put_into(self, fault: &mut Fault);
}

/// One of the network family.
pub(crate) type Network = Making<v1::NetworkFilter>;

/// Makers of `network loss`.
pub(crate) struct Loss;

impl Loss {
    /// Each packet alone.
    pub(crate) fn percent(percent: f64) -> Network {
        Self::model(v1::network_loss::Model::Percent(percent))
    }

    /// Every packet.
    pub(crate) fn all() -> Network {
        Self::percent(100.0)
    }

    /// In bursts.
    pub(crate) fn burst(enter: f64, leave: f64) -> Network {
        Self::model(v1::network_loss::Model::Burst(v1::Burst {
            enter,
            leave,
            inside: None,
            outside: None,
        }))
    }

    /// Each packet alone, but like the one before it.
    pub(crate) fn correlated(percent: f64, correlation: f64) -> Network {
        Network::new(Fault::NetworkLoss(v1::NetworkLoss {
            model: Some(v1::network_loss::Model::Percent(percent)),
            correlation: Some(correlation),
            ..Default::default()
        }))
    }

    /// By a model.
    pub(crate) fn model(model: v1::network_loss::Model) -> Network {
        let model = Some(model);
        Network::new(Fault::NetworkLoss(v1::NetworkLoss { model, ..Default::default() }))
    }
}

/// A `network delay` of every packet.
pub(crate) fn delay(latency: Duration) -> v1::NetworkDelay {
    v1::NetworkDelay { latency: wire(latency), ..Default::default() }
}

/// A duration on the wire.
pub(crate) fn wire(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}

impl From<v1::NetworkDelay> for Network {
    fn from(delay: v1::NetworkDelay) -> Self {
        Self::new(Fault::NetworkDelay(delay))
    }
}

impl From<v1::NetworkDuplicate> for Network {
    fn from(duplicate: v1::NetworkDuplicate) -> Self {
        Self::new(Fault::NetworkDuplicate(duplicate))
    }
}

impl From<v1::NetworkReorder> for Network {
    fn from(reorder: v1::NetworkReorder) -> Self {
        Self::new(Fault::NetworkReorder(reorder))
    }
}

impl From<v1::NetworkCorrupt> for Network {
    fn from(corrupt: v1::NetworkCorrupt) -> Self {
        Self::new(Fault::NetworkCorrupt(corrupt))
    }
}

impl From<v1::NetworkRate> for Network {
    fn from(rate: v1::NetworkRate) -> Self {
        Self::new(Fault::NetworkRate(rate))
    }
}

impl From<v1::NetworkPartition> for Network {
    fn from(partition: v1::NetworkPartition) -> Self {
        Self::new(Fault::NetworkPartition(partition))
    }
}

impl From<v1::NetworkReject> for Network {
    fn from(reject: v1::NetworkReject) -> Self {
        Self::new(Fault::NetworkReject(reject))
    }
}

impl From<v1::DnsError> for Network {
    fn from(error: v1::DnsError) -> Self {
        Self::new(Fault::DnsError(error))
    }
}

impl From<v1::DnsRecord> for Network {
    fn from(record: v1::DnsRecord) -> Self {
        Self::new(Fault::DnsRecord(record))
    }
}

impl From<v1::DnsDelay> for Network {
    fn from(delay: v1::DnsDelay) -> Self {
        Self::new(Fault::DnsDelay(delay))
    }
}

impl From<v1::DnsServer> for Network {
    fn from(server: v1::DnsServer) -> Self {
        Self::new(Fault::DnsServer(server))
    }
}

impl From<v1::NetworkOccupy> for Network {
    fn from(occupy: v1::NetworkOccupy) -> Self {
        Self::new(Fault::NetworkOccupy(occupy))
    }
}

impl<C: Common> Making<C> {
    pub(super) fn new(fault: Fault) -> Self {
        let (common, duration) = (C::default(), Duration::from_secs(60));
        Self { fault, common, duration, times: None, seed: None }
    }

    pub(crate) fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    pub(crate) fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// On a cgroup.
    pub(crate) fn on(self, cgroup: &Cgroup) -> v1::Spec {
        self.at(v1::target::Target::Cgroup(cgroup.path().into()))
    }

    /// On a target.
    pub(crate) fn at(self, target: v1::target::Target) -> v1::Spec {
        let mut fault = self.fault;
        self.common.put_into(&mut fault);
        v1::Spec {
            target: Some(v1::Target { target: Some(target) }),
            fault: Some(v1::Fault { fault: Some(fault) }),
            duration: wire(self.duration),
            times: self.times,
            seed: self.seed,
        }
    }
}

impl Network {
    /// Changes the filter in a way that has no name here.
    pub(crate) fn only(mut self, change: impl FnOnce(&mut v1::NetworkFilter)) -> Self {
        change(&mut self.common);
        self
    }

    pub(crate) fn direction(mut self, direction: v1::Direction) -> Self {
        self.common.direction = direction.into();
        self
    }

    pub(crate) fn remote(mut self, remote: &[&str]) -> Self {
        self.common.remote = remote.iter().map(ToString::to_string).collect();
        self
    }

    pub(crate) fn except(mut self, except: &[&str]) -> Self {
        self.common.except = except.iter().map(ToString::to_string).collect();
        self
    }

    pub(crate) fn remote_port(self, port: u16) -> Self {
        self.remote_ports(port, port)
    }

    pub(crate) fn remote_ports(mut self, first: u16, last: u16) -> Self {
        self.common.remote_ports.push(range(first, last));
        self
    }

    pub(crate) fn local_ports(mut self, first: u16, last: u16) -> Self {
        self.common.local_ports.push(range(first, last));
        self
    }

    pub(crate) fn protocol(mut self, protocol: v1::Protocol) -> Self {
        self.common.protocols.push(protocol.into());
        self
    }
}

impl Common for v1::NetworkFilter {
    fn put_into(self, fault: &mut Fault) {
        let filter = Some(self);
        match fault {
            Fault::NetworkLoss(loss) => loss.filter = filter,
            Fault::NetworkDelay(delay) => delay.filter = filter,
            Fault::NetworkDuplicate(duplicate) => duplicate.filter = filter,
            Fault::NetworkReorder(reorder) => reorder.filter = filter,
            Fault::NetworkCorrupt(corrupt) => corrupt.filter = filter,
            Fault::NetworkRate(rate) => rate.filter = filter,
            Fault::NetworkPartition(partition) => partition.filter = filter,
            Fault::NetworkReject(reject) => reject.filter = filter,
            Fault::NetworkOccupy(_)
            | Fault::SyscallError(_)
            | Fault::FileError(_)
            | Fault::FileDelay(_)
            | Fault::SocketError(_)
            | Fault::MemoryError(_)
            | Fault::DnsError(_)
            | Fault::DnsRecord(_)
            | Fault::DnsDelay(_)
            | Fault::DnsServer(_) => {}
        }
    }
}

fn range(first: u16, last: u16) -> v1::PortRange {
    v1::PortRange { first: first.into(), last: Some(last.into()) }
}
