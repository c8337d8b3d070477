//! A hook where nothing is ever sent, for as long as the daemon runs.
//!
//! The kernel switches egress hooks on for all interfaces together when the first one comes (`tcx_inc`), waits for an
//! RCU grace period before it does, and off again with the last. With this one somewhere that has happened already,
//! and the first fault of a node begins some 10 ms sooner. A packet elsewhere pays for it with one look at a pointer
//! of its interface.

use std::{fs::File, io, os::fd::OwnedFd};

use aya::programs::links::FdLink;
use nix::net::if_::if_nametoindex;

use super::{error::innermost, namespace, object::Object, side::Side};
use crate::netns;

/// The loopback of a network namespace without processes; both end with this.
pub(super) struct Standby {
    _hook: FdLink,
    _namespace: OwnedFd,
}

impl Standby {
    /// Attaches it. Everything works without it too.
    pub(super) fn begin(object: &mut Object) -> Option<Self> {
        let standby = try_begin(object);
        standby
            .inspect_err(|reason| tracing::info!(reason, "the first fault will begin later"))
            .ok()
    }
}

fn try_begin(object: &mut Object) -> Result<Standby, String> {
    let program = object.egress().map_err(|error| innermost(&error))?;
    let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    netns::within_fresh(|| {
        let lo = if_nametoindex("lo").map_err(|error| format!("find lo: {error}"))?;
        let namespace =
            File::open("/proc/thread-self/ns/net").map_err(said("keep a network namespace"))?;
        let hook = namespace::tcx_link(lo, Side::Out, program)?;
        Ok(Standby { _hook: hook, _namespace: namespace.into() })
    })
    .map_err(said("make a network namespace"))?
}
