//! The qdiscs in which packets wait.

use std::io;

use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcMessage, TcOption},
};

use super::super::netlink::request;

/// Packets that may wait, in all and of one flow.
const LIMIT: u32 = 1_000_000;
/// The bits of a packet's hash by which those of no socket are divided into lines: all, as what is in one line waits
/// for what is before it there.
const LINES: u32 = u32::MAX;
/// How far ahead of now a packet may leave, in microseconds: more than the longest delay, as far as 32 bits go.
const HORIZON_US: u32 = 4_000_000_000;

const ROOT: TcHandle = TcHandle { major: 0xffff, minor: 0xffff };

/// An `fq` that holds a million packets for an hour and is not asked by sockets for their own pace.
pub(super) fn add_fq(index: u32) -> io::Result<()> {
    /// `TCA_FQ_…` of `linux/pkt_sched.h`.
    const PLIMIT: u16 = 1;
    const FLOW_PLIMIT: u16 = 2;
    const RATE_ENABLE: u16 = 5;
    const ORPHAN_MASK: u16 = 10;
    const HORIZON: u16 = 14;
    const HORIZON_DROP: u16 = 15;
    let number =
        |kind, number: u32| TcOption::Other(DefaultNla::new(kind, number.to_ne_bytes().into()));
    let options = vec![
        number(PLIMIT, LIMIT),
        number(FLOW_PLIMIT, LIMIT),
        number(RATE_ENABLE, 0),
        number(ORPHAN_MASK, LINES),
        number(HORIZON, HORIZON_US),
        // What is later than that leaves then.
        TcOption::Other(DefaultNla::new(HORIZON_DROP, vec![0])),
    ];
    add_qdisc(index, "fq", Some(options))
}

/// Gives an interface a qdisc that it has not.
pub(super) fn add_qdisc(index: u32, kind: &str, options: Option<Vec<TcOption>>) -> io::Result<()> {
    let mut message = TcMessage::with_index(index as i32);
    message.header.parent = ROOT;
    message.attributes = vec![TcAttribute::Kind(kind.into())];
    message.attributes.extend(options.map(TcAttribute::Options));
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    request(RouteNetlinkMessage::NewQueueDiscipline(message), flags).map(drop)
}
