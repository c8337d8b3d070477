//! Programs of ours on the interfaces of the calling thread's network namespace.

use std::{collections::BTreeMap, io};

use aya::programs::{LinkOrder, SchedClassifier, TcAttach, TcAttachType, links::FdLink};

use super::super::{
    Instance, KernelError, clsact, error::innermost, hook::Hook, interfaces, link::Place,
    side::Side,
};

/// By interface and side.
pub(super) type Hooks = BTreeMap<(u32, Side), Attached>;

/// Our program on one side of an interface.
pub(super) enum Attached {
    Link(Hook),
    /// Ends when deleted.
    Filter,
}

/// A link at the head of one side of an interface, in the calling thread's network namespace.
pub(in crate::kernel) fn tcx_link(
    index: u32,
    side: Side,
    program: &mut SchedClassifier,
) -> Result<FdLink, String> {
    let attach_type = match side {
        Side::Out => TcAttachType::Egress,
        Side::In => TcAttachType::Ingress,
    };
    let attach = TcAttach::Tcx { attach_type, order: LinkOrder::first() };
    let id = program.attach(index, attach).map_err(|error| innermost(&error))?;
    let link = program.take_link(id).map_err(|error| innermost(&error))?;
    link.try_into().map_err(|error: aya::programs::links::LinkError| innermost(&error))
}

/// Whether a hook of this namespace is gone although its interface is not. Runs in the namespace.
pub(super) fn torn(hooks: &Hooks, instance: Instance) -> io::Result<bool> {
    let there = interfaces::list()?;
    for ((index, side), hook) in hooks.iter().filter(|((index, _), _)| there.contains_key(index)) {
        let is_there = match hook {
            Attached::Link(hook) => hook.is_at(Place::Interface(*index)),
            Attached::Filter => clsact::is_attached(*index, *side, instance)?,
        };
        if !is_there && interfaces::list()?.contains_key(index) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Of an interface that is gone the kernel detached everything; only a pin is left.
pub(super) fn drop_vanished(
    hooks: &mut Hooks,
    interfaces: &BTreeMap<u32, String>,
) -> Result<(), KernelError> {
    retain_failed(hooks, |(index, _), hook| match hook {
        _ if interfaces.contains_key(&index) => Ok(Outcome::Stays),
        Attached::Link(hook) => hook.detach().map(|()| Outcome::IsGone),
        Attached::Filter => Ok(Outcome::IsGone),
    })
}

/// What became of a hook.
pub(super) enum Outcome {
    Stays,
    IsGone,
}

/// Does something about each hook, and keeps those that stay, or for which it failed.
pub(super) fn retain_failed(
    hooks: &mut Hooks,
    work: impl Fn((u32, Side), &Attached) -> Result<Outcome, KernelError>,
) -> Result<(), KernelError> {
    let mut result = Ok(());
    hooks.retain(|place, hook| match work(*place, hook) {
        Ok(Outcome::IsGone) => false,
        Ok(Outcome::Stays) => true,
        Err(error) => {
            if result.is_ok() {
                result = Err(error);
            }
            true
        }
    });
    result
}
