//! Firings that the programs reported.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd as _, BorrowedFd},
    time::Duration,
};

use aya::maps::{Map, MapData, RingBuf};
use chaos_common::{
    abi::{self, CallEvent, FAMILY_V4, NetEvent, Operation, QuestionEvent},
    value::{DnsType, Syscall, dns_name_of_wire},
};
use zerocopy::FromBytes as _;

use super::{KernelError, RuleId, tables::at};
use crate::boot_clock::BootTime;

/// One firing, sampled. Never any payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose.
    pub rule: RuleId,
    /// When.
    pub time: BootTime,
    /// Its number among the events that matched, from 0.
    pub n: u64,
    /// The process that ran, if any; with a packet maybe a bystander.
    pub pid: Option<u32>,
    /// What was hit.
    pub what: Hit,
}

/// What a fault hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hit {
    /// A packet, or a call that would send some or bind.
    Packet(HitPacket),
    /// A call into the kernel.
    Call(HitCall),
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitPacket {
    /// Whether the target sent the packet.
    pub is_outgoing: bool,
    /// IP protocol number.
    pub protocol: u16,
    /// The target's end.
    pub local: (IpAddr, u16),
    /// The other end.
    pub remote: (IpAddr, u16),
    /// In bytes; outgoing, with the link header where the device has one.
    pub length: u32,
    /// The call that failed before there was one: its name, and with what.
    pub refused: Option<(&'static str, u32)>,
    /// What a name server is asked in it, or was.
    pub question: Option<HitQuestion>,
}

/// A question to a name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitQuestion {
    /// For this name.
    pub name: String,
    /// For records of this type.
    pub kind: String,
}

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HitCall {
    /// Which.
    pub name: &'static str,
    /// The thread that called.
    pub thread: u32,
    /// What it failed with; 0 if it did not.
    pub errno: u32,
    /// How long it was held, if it did not fail.
    pub delay: Duration,
}

/// Firings of one engine.
pub(super) struct Ring(RingBuf<MapData>);

impl Ring {
    pub(super) fn take(map: Map) -> Result<Self, KernelError> {
        RingBuf::try_from(map).map(Self).map_err(at("open the ring of events"))
    }

    pub(super) fn watch(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Those of the engine `net`.
    pub(super) fn take_packets(&mut self, mut each: impl FnMut(Event)) {
        while let Some(item) = self.0.next() {
            // They differ by their sizes.
            if let Ok(event) = QuestionEvent::read_from_bytes(&item) {
                each(event.into());
            } else if let Ok(event) = NetEvent::read_from_bytes(&item) {
                each(packet(&event, None));
            }
        }
    }

    /// Those of the engine `call`.
    pub(super) fn take_calls(&mut self, mut each: impl FnMut(Event)) {
        while let Some(item) = self.0.next() {
            if let Ok(event) = CallEvent::read_from_bytes(&item) {
                each(event.into());
            }
        }
    }
}

/// Stands for a name that a newer program may have.
const UNKNOWN: &str = "?";

fn operation(number: u32) -> &'static str {
    Operation::of_number(number).map_or(UNKNOWN, Operation::word)
}

impl From<QuestionEvent> for Event {
    fn from(event: QuestionEvent) -> Self {
        let length = (event.length as usize).min(event.name.len());
        let kind = DnsType::of_number(event.kind as u16);
        let question = HitQuestion {
            name: dns_name_of_wire(&event.name[..length]),
            kind: kind.map_or_else(|| UNKNOWN.to_owned(), |kind| kind.to_string()),
        };
        packet(&event.packet, Some(question))
    }
}

fn packet(event: &NetEvent, question: Option<HitQuestion>) -> Event {
    let address = |bytes: [u8; 16]| match event.family {
        FAMILY_V4 => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
        _ => IpAddr::V6(Ipv6Addr::from(bytes)),
    };
    Event {
        rule: RuleId(event.rule),
        time: BootTime::from_nanos(event.time_ns),
        n: event.n,
        pid: (event.pid != 0).then_some(event.pid),
        what: Hit::Packet(HitPacket {
            is_outgoing: event.direction == abi::Direction::Out as u16,
            protocol: event.protocol,
            local: (address(event.local), event.local_port),
            remote: (address(event.remote), event.remote_port),
            length: event.length,
            refused: (event.errno != 0).then(|| (operation(event.operation), event.errno)),
            question,
        }),
    }
}

impl From<CallEvent> for Event {
    fn from(event: CallEvent) -> Self {
        let syscall = || Syscall::of_number(event.number).map_or(UNKNOWN, Syscall::name);
        let name = if event.is_operation == 0 { syscall() } else { operation(event.number) };
        Self {
            rule: RuleId(event.rule),
            time: BootTime::from_nanos(event.time_ns),
            n: event.n,
            pid: Some(event.pid),
            what: Hit::Call(HitCall {
                name,
                thread: event.thread,
                errno: event.errno,
                delay: Duration::from_nanos(event.delay_ns),
            }),
        }
    }
}
