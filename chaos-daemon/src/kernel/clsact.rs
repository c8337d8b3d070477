//! Hooks on interfaces on kernels without tcx: a filter of ours on the interface's clsact qdisc.
//!
//! Guarantees: nobody else's filter is touched; clsact goes with our last filter (of any daemon or run)
//! only if one of us made it and nobody else put a filter there. Assumption: on these kernels (before 6.6) adding or deleting
//! clsact drops what waits in the root qdisc, so both wait for a moment in which nothing does.

use std::{
    fs::File,
    io,
    thread::sleep,
    time::{Duration, Instant},
};

use aya::programs::{
    SchedClassifier, TcAttach,
    tc::{NlOptions, SchedClassifierLink, TcHandle, qdisc_add_clsact},
};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle as NlHandle, TcMessage},
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{
    Instance,
    error::innermost,
    netlink::{self, absent_is_fine, backlog_and_drops, qdiscs, request},
    side::Side,
};

/// Before every filter that does not ask for the same.
const PRIORITY: u16 = 1;
/// How long to wait for a root qdisc to be empty, and for a lock.
const PATIENCE: Duration = Duration::from_millis(200);

const CLSACT: NlHandle = NlHandle { major: 0xffff, minor: 0xfff1 };
/// Attaches in the calling thread's network namespace; an earlier filter of this instance is replaced.
pub(super) fn attach(
    program: &mut SchedClassifier,
    index: u32,
    side: Side,
    instance: Instance,
) -> Result<(), String> {
    let _lock = lock();
    let list = |side| filters(index, side).map_err(|error| format!("list filters: {error}"));
    let (there, other) = (list(side)?, list(side.other())?);
    let ours =
        || there.iter().filter_map(|(_, handle)| Some((*handle, Instance::of_filter(*handle)?)));
    // Whoever of ours comes later shares the duty to remove the qdisc: the last one to go does.
    let made = if ours().any(|(_, (_, made))| made) || other.iter().any(made_qdisc) {
        true
    } else {
        match hook_qdisc(index).map_err(|error| format!("list qdiscs: {error}"))?.as_deref() {
            Some("clsact") => false,
            None => {
                wait_for_empty_root(index);
                qdisc_add_clsact(index)
                    .map_err(|error| format!("add clsact: {}", innermost(&error)))?;
                true
            }
            Some(kind) => {
                return Err(format!(
                    "there is a qdisc `{kind}` in the place of clsact, which has no egress; remove it, or use Linux 6.6"
                ));
            }
        }
    };
    let wanted = instance.filter_handle(made);
    let mut is_there = false;
    for (handle, _) in ours().filter(|(_, (owner, _))| *owner == instance) {
        if handle == wanted {
            is_there = true;
        } else {
            delete_filter(index, side, handle)
                .map_err(|error| format!("replace our filter: {error}"))?;
        }
    }
    let (parent, handle) = (TcHandle::from(side.attach_type()), TcHandle::from(wanted));
    let attached = if is_there {
        // One of an earlier daemon: replaced in one step, so that no packet passes unseen.
        let there = SchedClassifierLink::attached(index, parent, PRIORITY, handle, None)
            .map_err(|error| format!("find our filter: {error}"))?;
        program.attach_to_link(there)
    } else {
        let options = NlOptions { priority: PRIORITY, handle, classid: None };
        program.attach(index, TcAttach::Netlink { parent, options })
    };
    let link = attached.and_then(|id| program.take_link(id)).map_err(|error| {
        if made && let Err(error) = remove_if_empty(index) {
            tracing::warn!(%error, interface = index, "a clsact qdisc of ours stays");
        }
        format!("add filter: {}", innermost(&error))
    })?;
    // Dropping it would detach; `detach` below finds the filter by its handle.
    std::mem::forget(link);
    Ok(())
}

/// Whether a filter was made by one of us that made the qdisc too.
fn made_qdisc((_, handle): &(u16, u32)) -> bool {
    Instance::of_filter(*handle).is_some_and(|(_, made)| made)
}

/// Whether a filter of this instance is there, in the calling thread's network namespace.
pub(super) fn is_attached(index: u32, side: Side, instance: Instance) -> io::Result<bool> {
    let there = filters(index, side)?;
    let mut owners = there.iter().filter_map(|(_, handle)| Instance::of_filter(*handle));
    Ok(owners.any(|(owner, _)| owner == instance))
}

/// Detaches in the calling thread's network namespace. Nothing there is no error.
pub(super) fn detach(index: u32, side: Side, instance: Instance) -> io::Result<()> {
    sweep(index, |owner, there| owner == instance && there == side)
}

/// Detaches the filters of some instances, on some sides.
pub(super) fn sweep(index: u32, is_doomed: impl Fn(Instance, Side) -> bool) -> io::Result<()> {
    let doomed = || {
        let mut doomed = Vec::new();
        for side in [Side::Out, Side::In] {
            let owned = filters(index, side)?.into_iter();
            let owned =
                owned.filter_map(|(_, handle)| Some((handle, Instance::of_filter(handle)?)));
            let of_side = owned.filter(|(_, (owner, _))| is_doomed(*owner, side));
            doomed.extend(of_side.map(|(handle, (_, made))| (side, handle, made)));
        }
        Ok::<_, io::Error>(doomed)
    };
    // Most interfaces have none, and need no lock.
    if doomed()?.is_empty() {
        return Ok(());
    }
    let _lock = lock();
    let mut made_qdisc = false;
    for (side, handle, made) in doomed()? {
        delete_filter(index, side, handle)?;
        made_qdisc |= made;
    }
    if made_qdisc { remove_if_empty(index) } else { Ok(()) }
}

/// Removes the qdisc, if nobody has a filter there.
fn remove_if_empty(index: u32) -> io::Result<()> {
    let is_empty = || {
        Ok::<_, io::Error>(
            filters(index, Side::Out)?.is_empty() && filters(index, Side::In)?.is_empty(),
        )
    };
    if !is_empty()? {
        return Ok(());
    }
    wait_for_empty_root(index);
    // Somebody may have come meanwhile.
    if !is_empty()? {
        return Ok(());
    }
    let mut message = TcMessage::with_index(index as i32);
    message.header.parent = CLSACT;
    message.header.handle = NlHandle { major: 0xffff, minor: 0 };
    message.attributes.push(TcAttribute::Kind("clsact".into()));
    absent_is_fine(request(RouteNetlinkMessage::DelQueueDiscipline(message), NLM_F_ACK))
}

/// Keeps others of ours out of this network namespace's qdiscs, so that who made one is never in doubt.
///
/// Anybody in the namespace can hold this lock, and a daemon that was stopped too: it is not waited for
/// long. Without it, two of ours that come and go in the same millisecond may leave an empty clsact.
fn lock() -> Option<Flock<File>> {
    let mut namespace = File::open("/proc/thread-self/ns/net").ok()?;
    let start = Instant::now();
    loop {
        namespace = match Flock::lock(namespace, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err((namespace, Errno::EWOULDBLOCK)) if start.elapsed() < PATIENCE => namespace,
            Err(_) => return None,
        };
        sleep(Duration::from_millis(1));
    }
}

/// Priority and handle of each filter at a hook of an interface.
pub(super) fn filters(index: u32, side: Side) -> io::Result<Vec<(u16, u32)>> {
    let mut message = TcMessage::with_index(index as i32);
    message.header.parent = side.parent();
    let answers = match request(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP) {
        // No clsact, or no such interface any more.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT | libc::ENODEV)) =>
        {
            return Ok(Vec::new());
        }
        answers => answers?,
    };
    let filter = |answer| {
        let RouteNetlinkMessage::NewTrafficFilter(filter) = answer else { return None };
        let handle = u32::from(filter.header.handle);
        // A dump also has one entry without a handle for each priority in use.
        (handle != 0).then_some(((filter.header.info >> 16) as u16, handle))
    };
    Ok(answers.into_iter().filter_map(filter).collect())
}

fn delete_filter(index: u32, side: Side, handle: u32) -> io::Result<()> {
    let mut message = TcMessage::with_index(index as i32);
    message.header.parent = side.parent();
    message.header.handle = NlHandle::from(handle);
    message.header.info = u32::from(PRIORITY) << 16 | u32::from((libc::ETH_P_ALL as u16).to_be());
    message.attributes.push(TcAttribute::Kind("bpf".into()));
    absent_is_fine(request(RouteNetlinkMessage::DelTrafficFilter(message), NLM_F_ACK))
}

/// Kind of the qdisc in the one place that `clsact` and `ingress` share, if any.
fn hook_qdisc(index: u32) -> io::Result<Option<String>> {
    let there = qdiscs(index)?.into_iter().find(|qdisc| qdisc.header.parent == CLSACT);
    Ok(there.as_ref().and_then(netlink::kind))
}

fn wait_for_empty_root(index: u32) {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let waiting =
            qdiscs(index).is_ok_and(|qdiscs| qdiscs.iter().any(|q| backlog_and_drops(q).0 > 0));
        if !waiting {
            return;
        }
        sleep(Duration::from_millis(1));
    }
}
