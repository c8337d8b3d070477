//! Egress hooks on kernels without tcx: a filter of ours on the interface's clsact qdisc.
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
    SchedClassifier, TcAttach, TcAttachType,
    tc::{NlOptions, SchedClassifierLink, TcHandle, qdisc_add_clsact},
};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle as NlHandle, TcMessage, TcStats2},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{Instance, error::innermost};

/// Before every filter that does not ask for the same.
const PRIORITY: u16 = 1;
/// How long to wait for a root qdisc to be empty, and for a lock.
const PATIENCE: Duration = Duration::from_millis(200);

const CLSACT: NlHandle = NlHandle { major: 0xffff, minor: 0xfff1 };
const EGRESS: NlHandle = NlHandle { major: 0xffff, minor: 0xfff3 };
const INGRESS: NlHandle = NlHandle { major: 0xffff, minor: 0xfff2 };

/// Attaches in the calling thread's network namespace; an earlier filter of this instance is replaced.
pub(super) fn attach(
    program: &mut SchedClassifier,
    index: u32,
    instance: Instance,
) -> Result<(), String> {
    let _lock = lock();
    let there = filters(index, EGRESS).map_err(|error| format!("list filters: {error}"))?;
    let ours =
        || there.iter().filter_map(|(_, handle)| Some((*handle, Instance::of_filter(*handle)?)));
    // Whoever of ours comes later shares the duty to remove the qdisc: the last one to go does.
    let made = if ours().any(|(_, (_, made))| made) {
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
            delete_filter(index, handle).map_err(|error| format!("replace our filter: {error}"))?;
        }
    }
    let (parent, handle) = (TcHandle::from(TcAttachType::Egress), TcHandle::from(wanted));
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

/// Whether a filter of this instance is there, in the calling thread's network namespace.
pub(super) fn is_attached(index: u32, instance: Instance) -> io::Result<bool> {
    let there = filters(index, EGRESS)?;
    let mut owners = there.iter().filter_map(|(_, handle)| Instance::of_filter(*handle));
    Ok(owners.any(|(owner, _)| owner == instance))
}

/// Detaches in the calling thread's network namespace. Nothing there is no error.
pub(super) fn detach(index: u32, instance: Instance) -> io::Result<()> {
    sweep(index, |owner| owner == instance)
}

/// Detaches the filters of some instances.
pub(super) fn sweep(index: u32, is_doomed: impl Fn(Instance) -> bool) -> io::Result<()> {
    let doomed = || {
        let there = filters(index, EGRESS)?.into_iter();
        let owned = there.filter_map(|(_, handle)| Some((handle, Instance::of_filter(handle)?)));
        let doomed = owned.filter(|(_, (owner, _))| is_doomed(*owner));
        Ok::<_, io::Error>(doomed.map(|(handle, (_, made))| (handle, made)).collect::<Vec<_>>())
    };
    // Most interfaces have none, and need no lock.
    if doomed()?.is_empty() {
        return Ok(());
    }
    let _lock = lock();
    let mut made_qdisc = false;
    for (handle, made) in doomed()? {
        delete_filter(index, handle)?;
        made_qdisc |= made;
    }
    if made_qdisc { remove_if_empty(index) } else { Ok(()) }
}

/// Removes the qdisc, if nobody has a filter there.
fn remove_if_empty(index: u32) -> io::Result<()> {
    let is_empty = || {
        Ok::<_, io::Error>(
            filters(index, EGRESS)?.is_empty() && filters(index, INGRESS)?.is_empty(),
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
fn filters(index: u32, parent: NlHandle) -> io::Result<Vec<(u16, u32)>> {
    let mut message = TcMessage::with_index(index as i32);
    message.header.parent = parent;
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

fn delete_filter(index: u32, handle: u32) -> io::Result<()> {
    let mut message = TcMessage::with_index(index as i32);
    message.header.parent = EGRESS;
    message.header.handle = NlHandle::from(handle);
    message.header.info = u32::from(PRIORITY) << 16 | u32::from((libc::ETH_P_ALL as u16).to_be());
    message.attributes.push(TcAttribute::Kind("bpf".into()));
    absent_is_fine(request(RouteNetlinkMessage::DelTrafficFilter(message), NLM_F_ACK))
}

fn qdiscs(index: u32) -> io::Result<Vec<TcMessage>> {
    let message = TcMessage::with_index(index as i32);
    let answers = request(RouteNetlinkMessage::GetQueueDiscipline(message), NLM_F_DUMP)?;
    let qdisc = |answer| {
        let RouteNetlinkMessage::NewQueueDiscipline(qdisc) = answer else { return None };
        // Old kernels dump the qdiscs of every interface.
        (qdisc.header.index == index as i32).then_some(qdisc)
    };
    Ok(answers.into_iter().filter_map(qdisc).collect())
}

/// Kind of the qdisc in the one place that `clsact` and `ingress` share, if any.
fn hook_qdisc(index: u32) -> io::Result<Option<String>> {
    let kind = |attribute: &TcAttribute| {
        if let TcAttribute::Kind(kind) = attribute { Some(kind.clone()) } else { None }
    };
    let qdiscs = qdiscs(index)?;
    let there = qdiscs.iter().find(|qdisc| qdisc.header.parent == CLSACT);
    Ok(there.and_then(|qdisc| qdisc.attributes.iter().find_map(kind)))
}

fn wait_for_empty_root(index: u32) {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let waiting = qdiscs(index).is_ok_and(|qdiscs| qdiscs.iter().any(|q| backlog(q) > 0));
        if !waiting {
            return;
        }
        sleep(Duration::from_millis(1));
    }
}

fn backlog(qdisc: &TcMessage) -> u32 {
    let queue = |stats: &TcStats2| if let TcStats2::Queue(queue) = stats { queue.qlen } else { 0 };
    let of = |attribute: &TcAttribute| {
        let TcAttribute::Stats2(stats) = attribute else { return 0 };
        stats.iter().map(queue).max().unwrap_or(0)
    };
    qdisc.attributes.iter().map(of).max().unwrap_or(0)
}

fn absent_is_fine(result: io::Result<Vec<RouteNetlinkMessage>>) -> io::Result<()> {
    match result {
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL | libc::ENODEV)) =>
        {
            Ok(())
        }
        other => other.map(drop),
    }
}

/// Sends one request and returns all answers to it.
fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut answers = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::other(error.to_string()))?;
            let length = (answer.header.length as usize).next_multiple_of(4).clamp(4, rest.len());
            rest = &rest[length..];
            match answer.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) => {
                    return match error.code {
                        None => Ok(answers),
                        Some(_) => Err(error.to_io()),
                    };
                }
                NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _ => {}
            }
        }
    }
}
