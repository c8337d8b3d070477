//! Firings that the programs reported.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd as _, BorrowedFd},
};

use aya::maps::{MapData, RingBuf};
use chaos_common::abi::{self, FAMILY_V4, NetEvent};
use zerocopy::FromBytes as _;

use super::{KernelError, RuleId, object::Object};
use crate::boot_clock::BootTime;

/// One firing, sampled. Never any payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose.
    pub rule: RuleId,
    /// When.
    pub time: BootTime,
    /// Its number among the events that matched, from 0.
    pub n: u64,
    /// The process that ran, if any; maybe a bystander.
    pub pid: Option<u32>,
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
}

pub(super) struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    pub(super) fn take(object: &mut Object) -> Result<Self, KernelError> {
        let ring = RingBuf::try_from(object.take_map("EVENTS")?)
            .map_err(|source| KernelError::Map { what: "open the ring of events", source })?;
        Ok(Self { ring })
    }

    pub(super) fn watch(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    pub(super) fn take_all(&mut self, mut each: impl FnMut(Event)) {
        while let Some(item) = self.ring.next() {
            if let Ok(event) = NetEvent::read_from_bytes(&item) {
                each(Event::from(event));
            }
        }
    }
}

impl From<NetEvent> for Event {
    fn from(event: NetEvent) -> Self {
        let address = |bytes: [u8; 16]| match event.family {
            FAMILY_V4 => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
            _ => IpAddr::V6(Ipv6Addr::from(bytes)),
        };
        Self {
            rule: RuleId(event.rule),
            time: BootTime::from_nanos(event.time_ns),
            n: event.n,
            pid: (event.pid != 0).then_some(event.pid),
            is_outgoing: event.direction == abi::Direction::Out as u16,
            protocol: event.protocol,
            local: (address(event.local), event.local_port),
            remote: (address(event.remote), event.remote_port),
            length: event.length,
        }
    }
}
