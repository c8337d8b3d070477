//! Connections to name servers. What one carries cannot be told by a packet: it is met as a whole, or not.

use chaos_common::abi::{Answer, Asks, Lane, NetRule, Stream};

use crate::{packet::Packet, protocol::IPPROTO_TCP};

/// Whether a rule about questions is asked about a packet of a connection.
#[inline(always)]
pub(super) fn is_one(rule: &NetRule, packet: &Packet) -> bool {
    rule.filter.question.asks != Asks::Anything as u32 && packet.protocol == u32::from(IPPROTO_TCP)
}

/// Whether the rule is about it. Connections are chosen once, and so the rule's dice are not asked of their packets.
#[inline(always)]
pub(super) fn is_met(rule: &NetRule, packet: &Packet) -> bool {
    let filter = &rule.filter.question;
    let is_met = match filter.tcp {
        tcp if tcp == Stream::Passes as u32 => false,
        tcp if tcp == Stream::IsReset as u32 => packet.payload != 0,
        tcp if tcp == Stream::IsSilent as u32 => true,
        _ => packet.opens != 0,
    };
    let draw = || rule.gate.dice.draw(packet.flow(), Lane::Connection) as u32;
    is_met && filter.streams.includes(draw())
}

/// Notes what the rule wants of it, and says that this is its end; `None` if that is what its action wants of a question.
#[inline(always)]
pub(super) fn act(rule: &NetRule, packet: &mut Packet) -> Option<bool> {
    let stream = rule.filter.question.tcp;
    if !is_one(rule, packet) || stream == Stream::OpensAsAsked as u32 {
        return None;
    }
    let is_silent = stream == Stream::IsSilent as u32;
    packet.verdict.answer = if is_silent { 0 } else { Answer::Reset as u32 };
    packet.verdict.departure_ns = 0;
    Some(true)
}
