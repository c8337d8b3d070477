//! Two network namespaces joined by a wire, and a target that sends over it.

use std::time::Duration;

use anyhow::Result;

use crate::{
    compare::Leave,
    flight::{Flight, Plan},
    place::{Cgroup, NetNs},
    worker::Worker,
};

/// The near end's interface.
pub(super) const DEVICE: &str = "v0";
/// The far end's address.
pub(super) const FAR: &str = "10.9.0.2";
/// The worker's flow to it.
pub(super) const FLOW: &str = "wire";

/// The wire, with one flow over it.
pub(super) struct Wire {
    // Dropped in this order: the worker before its cgroup.
    pub(super) worker: Worker,
    pub(super) cgroup: Cgroup,
    pub(super) near: NetNs,
    pub(super) far: NetNs,
}

impl Wire {
    /// A fresh one; the ends know each other's hardware addresses.
    pub(super) fn new() -> Result<Self> {
        let (near, far, cgroup) = (NetNs::new()?, NetNs::new()?, Cgroup::new()?);
        near.join(&far, DEVICE, 0)?;
        let mut worker = Worker::start(&cgroup, &near)?;
        worker.flow(FLOW, FAR, &far)?;
        let mut wire = Self { worker, cgroup, near, far };
        let warm_up = Plan {
            count: 10,
            bytes: 8,
            apart: Duration::from_millis(1),
            patience: Duration::from_secs(5),
        };
        wire.fly(&warm_up)?;
        Ok(wire)
    }

    /// Sends over it.
    pub(super) fn fly(&mut self, plan: &Plan) -> Result<Flight> {
        self.worker.fly(FLOW, plan)
    }
}

/// A qdisc at the root of the near end, until left.
pub(super) fn root_qdisc<'a>(near: &'a NetNs, qdisc: &str) -> Result<Leave<'a>> {
    near.command("tc", &format!("qdisc add dev {DEVICE} root {qdisc}"))?;
    Ok(Box::new(move || near.command("tc", &format!("qdisc del dev {DEVICE} root"))))
}
