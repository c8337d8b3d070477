//! Questions and requests to the kernel's networking, in the calling thread's network namespace.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcMessage, TcStats2},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The qdiscs of an interface. The kernel tells of those of all interfaces, in parts, and may skip one where another
/// goes in between: what has none is asked again.
pub(super) fn qdiscs(index: u32) -> io::Result<Vec<TcMessage>> {
    const TRIES: u32 = 3;
    let mut found = Vec::new();
    for _ in 0..TRIES {
        let message = TcMessage::with_index(index as i32);
        let answers = request(RouteNetlinkMessage::GetQueueDiscipline(message), NLM_F_DUMP)?;
        let qdisc = |answer| {
            let RouteNetlinkMessage::NewQueueDiscipline(qdisc) = answer else { return None };
            (qdisc.header.index == index as i32).then_some(qdisc)
        };
        found = answers.into_iter().filter_map(qdisc).collect();
        if !found.is_empty() {
            break;
        }
    }
    Ok(found)
}

/// The kind of a qdisc.
pub(super) fn kind(qdisc: &TcMessage) -> Option<String> {
    let kind = |attribute: &TcAttribute| {
        if let TcAttribute::Kind(kind) = attribute { Some(kind.clone()) } else { None }
    };
    qdisc.attributes.iter().find_map(kind)
}

/// Packets that wait in a qdisc, and packets that it dropped.
pub(super) fn backlog_and_drops(qdisc: &TcMessage) -> (u32, u32) {
    let queue = |stats: &TcStats2| {
        if let TcStats2::Queue(queue) = stats { Some((queue.qlen, queue.drops)) } else { None }
    };
    let of = |attribute: &TcAttribute| {
        let TcAttribute::Stats2(stats) = attribute else { return None };
        stats.iter().find_map(queue)
    };
    qdisc.attributes.iter().find_map(of).unwrap_or_default()
}

/// What is not there need not be removed.
pub(super) fn absent_is_fine(result: io::Result<Vec<RouteNetlinkMessage>>) -> io::Result<()> {
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
pub(super) fn request(
    message: RouteNetlinkMessage,
    flags: u16,
) -> io::Result<Vec<RouteNetlinkMessage>> {
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
