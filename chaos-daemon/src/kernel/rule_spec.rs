//! What a rule is made of before it is in the tables.

use std::{fmt, net::IpAddr};

use aya::maps::lpm_trie::Key;
use chaos_common::{
    abi::{
        Name, NetRule, PREFIX_EXCEPT, PREFIX_HEAD_BITS, PREFIX_INCLUDE, PREFIX_PORT_BITS, Prefix,
        Records, Shape,
    },
    fault::{BindAddress, NetworkFilter, NetworkOccupy, Questions},
    value::Cidr,
};

use super::{layout::Part, prefixes::Entry, rule_id::RuleId};

/// A rule, and what of it lies in other tables.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSpec {
    /// What the programs read.
    pub rule: NetRule,
    /// What it is about, of which some goes into the prefix table.
    pub about: About,
    /// What its action has in a table of its own.
    pub beside: Beside,
}

/// What an action has in a table of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Beside {
    /// Nothing.
    #[default]
    Nothing,
    /// How jitter is distributed, if not evenly.
    Shape(Box<Shape>),
    /// What questions are answered with.
    Records(Box<Records>),
}

/// Says what is done, and what of it is not.
pub(super) fn without(f: &mut fmt::Formatter<'_>, about: &str, missing: &str) -> fmt::Result {
    f.write_str(about)?;
    if missing.is_empty() { Ok(()) } else { write!(f, " (without {missing})") }
}

/// What a rule is about.
#[derive(Clone, Debug, PartialEq)]
pub enum About {
    /// Packets, or calls that would send some.
    Packets(Box<NetworkFilter>),
    /// Questions to name servers, and the packets that carry them.
    Questions(Box<NetworkFilter>, Box<Questions>),
    /// Calls, with what is said of them, and what of them is left out and why.
    Calls(Box<NetworkFilter>, String, String),
    /// Calls that would bind to a port.
    Binding(NetworkOccupy),
}

impl About {
    /// What programs have to know of the kernel.
    pub(super) fn parts(&self) -> Vec<Part> {
        match self {
            Self::Packets(filter) | Self::Questions(filter, _) | Self::Calls(filter, ..) => {
                let device = filter.interface.as_ref().map(|_| Part::Device);
                let socket = (!filter.neighbours.is_empty()).then_some(Part::Socket);
                device.into_iter().chain(socket).collect()
            }
            // A socket at all of IPv6 may take IPv4 too.
            Self::Binding(occupy) => {
                let address = occupy.address.map(BindAddress::get);
                address.filter(IpAddr::is_ipv4).map(|_| Part::Port).into_iter().collect()
            }
        }
    }

    /// Which part of it, as users call it, takes a kernel that tells how its structures look.
    pub(crate) fn reads_structures(&self) -> Option<&'static str> {
        self.parts().first().map(|part| match part {
            Part::Device => "interface",
            Part::Socket => "peers in the target's network namespace",
            Part::Port => "address",
            Part::Process => "who sends",
        })
    }

    pub(super) fn prefixes(&self, id: RuleId) -> Vec<Entry<Prefix>> {
        match self {
            Self::Packets(filter) | Self::Questions(filter, _) | Self::Calls(filter, ..) => {
                let include = filter.remote.iter().map(|cidr| (cidr, PREFIX_INCLUDE));
                let except = filter.except.iter().map(|cidr| (cidr, PREFIX_EXCEPT));
                let key = |(cidr, verdict): (Cidr, u32)| {
                    let (bits, prefix) = cidr.to_abi(id.0);
                    (Key::new(bits, prefix), verdict)
                };
                include.chain(except).map(key).collect()
            }
            Self::Binding(occupy) => {
                let bits = PREFIX_HEAD_BITS + PREFIX_PORT_BITS;
                let key = |port| (Key::new(bits, Prefix::port(id.0, port)), PREFIX_INCLUDE);
                occupy.ports.ports().into_iter().map(key).collect()
            }
        }
    }

    pub(super) fn names(&self, id: RuleId) -> Vec<Entry<Name>> {
        match self {
            Self::Questions(_, questions) => {
                let key = |(bits, name, verdict)| (Key::new(bits, name), verdict);
                questions.prefixes(id.0).into_iter().map(key).collect()
            }
            Self::Packets(_) | Self::Calls(..) | Self::Binding(_) => Vec::new(),
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packets(filter) => filter.fmt(f),
            Self::Questions(_, questions) => write!(f, "questions for {questions}"),
            Self::Calls(_, said, missing) => without(f, said, missing),
            Self::Binding(NetworkOccupy { ports, protocols, address, .. }) => {
                write!(f, "bind to {protocols} {ports}")?;
                match address {
                    Some(address) => write!(f, " at {address}"),
                    None => Ok(()),
                }
            }
        }
    }
}
