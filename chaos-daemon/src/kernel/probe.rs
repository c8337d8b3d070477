//! What this kernel can do, found out by doing it.

use nix::net::if_::if_nametoindex;

use super::{
    CallSupport, FileSupport, Instance, btf, clsact, connections,
    error::innermost,
    hop::{Hops, Purpose},
    namespace,
    object::{Counting, Object, Refusal},
    side::Side,
};
use crate::{
    fail_point::{self, Feature},
    netns,
};

/// How outgoing packets reach our program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressTier {
    /// A tcx link on each interface (Linux 6.6).
    Tcx,
    /// A filter on each interface's clsact qdisc.
    Clsact,
}

/// Where packets wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldTier {
    /// In the `fq` of a pair of devices of ours.
    Fq,
    /// In this process, behind a TAP device.
    Tap,
}

/// What works, and why not what does not.
#[derive(Clone, Debug)]
pub struct Support {
    /// Programs where packets leave an interface.
    pub egress: Result<EgressTier, String>,
    /// Packets that wait.
    pub hold: Result<HoldTier, String>,
    /// Checksums that are made wrong.
    pub spoil: Result<(), String>,
    /// Programs where a socket gets a packet.
    pub receiving: Result<(), String>,
    /// Failing of calls: that connect, send to an address, or bind.
    pub attempts: Result<Refusal, String>,
    /// Resetting of connections that are open.
    pub reset: Result<(), String>,
    /// Ending of UDP sockets.
    pub ending: Result<(), String>,
    /// Programs where packets come in by an interface.
    pub arrival: Result<(), String>,
    /// Reading the kernel's own structures.
    pub structures: Result<(), String>,
    /// Whether dice and budgets are exact on several CPUs.
    pub counting: Counting,
    /// Calls into the kernel that fail.
    pub calls: CallSupport,
    /// Calls on files that wait.
    pub files: FileSupport,
}

impl Support {
    pub(super) fn egress_tier(&self) -> Option<EgressTier> {
        self.egress.as_ref().ok().copied()
    }

    /// Of a kernel that can do everything.
    #[cfg(test)]
    pub(crate) fn full() -> Self {
        use super::Found;
        Self {
            egress: Ok(EgressTier::Tcx),
            hold: Ok(HoldTier::Fq),
            spoil: Ok(()),
            receiving: Ok(()),
            attempts: Ok(Refusal::AnyErrno),
            reset: Ok(()),
            ending: Ok(()),
            arrival: Ok(()),
            structures: Ok(()),
            counting: Counting::Exact,
            calls: CallSupport::known(Found::everything()),
            files: FileSupport::full(),
        }
    }

    /// Where packets wait, or would if they could.
    pub(super) fn hold_tier(&self) -> HoldTier {
        self.hold.as_ref().copied().unwrap_or(HoldTier::Fq)
    }
}

pub(super) fn probe(object: &mut Object, instance: Instance) -> Support {
    if object.load_receiving().is_err() {
        object.count_closely();
    }
    Support {
        egress: egress(object, instance),
        hold: hold(object, instance),
        spoil: hop(Purpose::Spoil, HoldTier::Fq, object, instance),
        arrival: arrival(object),
        structures: structures(),
        receiving: object.load_receiving().map_err(|error| innermost(&error)),
        attempts: attempts(object),
        reset: connections::probe(),
        ending: connections::probe_datagrams(),
        counting: object.counting(),
        calls: CallSupport::default(),
        files: FileSupport::probe(),
    }
}

/// Attaches to the loopback of a network namespace made for it.
fn egress(object: &mut Object, instance: Instance) -> Result<EgressTier, String> {
    let program = object.egress().map_err(|error| innermost(&error))?;
    netns::within_fresh(|| {
        let lo = if_nametoindex("lo").map_err(|error| format!("find lo: {error}"))?;
        let Err(tcx) = namespace::tcx_link(lo, Side::Out, program) else {
            return Ok(EgressTier::Tcx);
        };
        let clsact = clsact::attach(program, lo, Side::Out, instance).and_then(|()| {
            clsact::detach(lo, Side::Out, instance)
                .map_err(|error| format!("delete filter: {error}"))
        });
        match clsact {
            Ok(()) => Ok(EgressTier::Clsact),
            Err(clsact) => Err(format!("tcx: {tcx}; clsact: {clsact}")),
        }
    })
    .unwrap_or_else(|error| Err(format!("make a network namespace to try in: {error}")))
}

/// Where programs are attached to cgroups at all, those for calls are.
fn attempts(object: &mut Object) -> Result<Refusal, String> {
    object.load_receiving().map_err(|error| innermost(&error))?;
    if object.can_say_any_errno() {
        return Ok(Refusal::AnyErrno);
    }
    object.refuse_plainly();
    Ok(Refusal::Permission)
}

/// The hook is the egress's, at the other side; but the program has to know where the kernel keeps things.
fn arrival(object: &mut Object) -> Result<(), String> {
    object.arrival().map(drop).map_err(|error| innermost(&error))?;
    structures()
}

fn structures() -> Result<(), String> {
    if btf::Btf::is_there() {
        Ok(())
    } else {
        Err("this kernel tells nobody how its structures look (CONFIG_DEBUG_INFO_BTF)".into())
    }
}

/// The first tier that works.
fn hold(object: &mut Object, instance: Instance) -> Result<HoldTier, String> {
    let fq = if fail_point::is_withheld(Feature::Fq) {
        Err("withheld by a test".into())
    } else {
        hop(Purpose::Wait, HoldTier::Fq, object, instance)
    };
    let Err(fq) = fq else { return Ok(HoldTier::Fq) };
    let tap = hop(Purpose::Wait, HoldTier::Tap, object, instance);
    tap.map(|()| HoldTier::Tap).map_err(|tap| format!("fq: {fq}; TAP: {tap}"))
}

/// Makes a hop in a network namespace made for it.
fn hop(
    purpose: Purpose,
    tier: HoldTier,
    object: &mut Object,
    instance: Instance,
) -> Result<(), String> {
    let hops = Hops::new(instance, tier, object.tables());
    // No namespace has this number.
    netns::within_fresh(|| hops.open(purpose, 1, object))
        .unwrap_or_else(|error| Err(format!("make a network namespace to try in: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On whatever kernel the unit tests run, as root.
    #[test]
    fn the_programs_load_or_the_kernel_says_why() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: loading eBPF programs takes root");
            return;
        }
        let instance = Instance::process(std::process::id());
        let mut object = Object::load(None, instance).unwrap();
        let support = probe(&mut object, instance);
        for refused in [support.egress.err(), support.receiving.err()].into_iter().flatten() {
            assert!(!refused.is_empty());
            eprintln!("unsupported: {refused}");
        }
    }
}
