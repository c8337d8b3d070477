//! Faults, written shortly.

use std::time::Duration;

use chaos_common::proto::v1;

use super::Cgroup;

/// A `network loss` in the making.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    model: v1::network_loss::Model,
    filter: v1::NetworkFilter,
    duration: Duration,
    times: Option<u64>,
    seed: Option<u64>,
}

impl Loss {
    /// Each packet alone, for a minute.
    pub(crate) fn percent(percent: f64) -> Self {
        Self::new(v1::network_loss::Model::Percent(percent))
    }

    /// Every packet.
    pub(crate) fn all() -> Self {
        Self::percent(100.0)
    }

    /// In bursts.
    pub(crate) fn burst(enter: f64, leave: f64) -> Self {
        Self::new(v1::network_loss::Model::Burst(v1::Burst {
            enter,
            leave,
            inside: None,
            outside: None,
        }))
    }

    /// By a model.
    pub(crate) fn new(model: v1::network_loss::Model) -> Self {
        let (filter, duration) = (v1::NetworkFilter::default(), Duration::from_secs(60));
        Self { model, filter, duration, times: None, seed: None }
    }

    pub(crate) fn direction(mut self, direction: v1::Direction) -> Self {
        self.filter.direction = direction.into();
        self
    }

    pub(crate) fn remote(mut self, remote: &[&str]) -> Self {
        self.filter.remote = remote.iter().map(ToString::to_string).collect();
        self
    }

    pub(crate) fn except(mut self, except: &[&str]) -> Self {
        self.filter.except = except.iter().map(ToString::to_string).collect();
        self
    }

    pub(crate) fn remote_port(self, port: u16) -> Self {
        self.remote_ports(port, port)
    }

    pub(crate) fn remote_ports(mut self, first: u16, last: u16) -> Self {
        self.filter.remote_ports.push(range(first, last));
        self
    }

    pub(crate) fn local_ports(mut self, first: u16, last: u16) -> Self {
        self.filter.local_ports.push(range(first, last));
        self
    }

    pub(crate) fn protocol(mut self, protocol: v1::Protocol) -> Self {
        self.filter.protocols.push(protocol.into());
        self
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
        let loss = v1::NetworkLoss { model: Some(self.model), filter: Some(self.filter) };
        v1::Spec {
            target: Some(v1::Target { target: Some(target) }),
            fault: Some(v1::Fault { fault: Some(v1::fault::Fault::NetworkLoss(loss)) }),
            duration: prost_types::Duration::try_from(self.duration).ok(),
            times: self.times,
            seed: self.seed,
        }
    }
}

fn range(first: u16, last: u16) -> v1::PortRange {
    v1::PortRange { first: first.into(), last: Some(last.into()) }
}
