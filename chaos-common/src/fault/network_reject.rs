//! `network reject`: packets are answered with an error, or connecting fails at once.

use std::fmt;

use super::{Direction, NetworkFilter, Protocol};
use crate::{
    abi,
    invalid::{At, Invalid, shown},
    proto::v1,
    value::{Errno, Percent},
    wire::percent,
};

/// Who sends gets an answer instead of silence.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NetworkReject {
    /// What they get.
    pub with: With,
    /// Which share of the matching packets, or calls; more than 0.
    pub percent: Percent,
    /// Which packets, or calls, match.
    pub filter: NetworkFilter,
}

/// What the sender gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// An answer to its packet.
    Answer(Answer),
    /// The same as [`Answer::Reset`], and connections that are open when it begins are reset at once.
    ResetOpen,
    /// There is no packet: connecting fails, and sending without a connection.
    Connect(Errno),
}

impl Default for With {
    fn default() -> Self {
        Self::Answer(Answer::default())
    }
}

impl With {
    /// From two ways to say it, of which one may be used.
    ///
    /// # Errors
    /// When both are.
    pub fn either(answer: Option<Answer>, connect: Option<Errno>) -> Result<Self, Invalid> {
        match (answer, connect) {
            (Some(_), Some(_)) => Err(Invalid::new("give either `answer` or `connect`")),
            (_, Some(errno)) => Ok(Self::Connect(errno)),
            (answer, None) => Ok(Self::Answer(answer.unwrap_or_default())),
        }
    }

    /// The same, and connections that are open are reset too.
    ///
    /// # Errors
    /// When it resets none.
    pub fn reset_open(self) -> Result<Self, Invalid> {
        match self {
            Self::Answer(Answer::Reset) | Self::ResetOpen => Ok(Self::ResetOpen),
            Self::Answer(answer) => Err(Invalid::new(format!(
                "{answer} ends no connection; give `answer` as reset, or leave `resetOpen` out"
            ))),
            Self::Connect(_) => Err(Invalid::new(
                "with `connect` what is open goes on; give `answer` as reset instead, or leave `resetOpen` out",
            )),
        }
    }

    /// What a packet is answered with, if it is.
    #[must_use]
    pub const fn answer(self) -> Option<Answer> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::ResetOpen => Some(Answer::Reset),
            Self::Connect(_) => None,
        }
    }
}

impl fmt::Display for With {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => answer.fmt(f),
            Self::ResetOpen => f.write_str("reset and what is open"),
            Self::Connect(errno) => write!(f, "connect {errno}"),
        }
    }
}

/// What the sender of a packet gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// The end of its TCP connection; over UDP as `PortUnreachable`.
    #[default]
    Reset,
    /// ICMP: nobody listens there.
    PortUnreachable,
    /// ICMP: no such host.
    HostUnreachable,
    /// ICMP: no way to it.
    NetworkUnreachable,
    /// ICMP: an administrator forbade it.
    Prohibited,
}

impl Answer {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Reset,
        Self::PortUnreachable,
        Self::HostUnreachable,
        Self::NetworkUnreachable,
        Self::Prohibited,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::PortUnreachable => "portUnreachable",
            Self::HostUnreachable => "hostUnreachable",
            Self::NetworkUnreachable => "networkUnreachable",
            Self::Prohibited => "prohibited",
        }
    }

    /// As the kernel reads it.
    #[must_use]
    pub const fn to_abi(self) -> abi::Answer {
        match self {
            Self::Reset => abi::Answer::Reset,
            Self::PortUnreachable => abi::Answer::PortUnreachable,
            Self::HostUnreachable => abi::Answer::HostUnreachable,
            Self::NetworkUnreachable => abi::Answer::NetworkUnreachable,
            Self::Prohibited => abi::Answer::Prohibited,
        }
    }

    const fn to_wire(self) -> v1::RejectAnswer {
        match self {
            Self::Reset => v1::RejectAnswer::Reset,
            Self::PortUnreachable => v1::RejectAnswer::PortUnreachable,
            Self::HostUnreachable => v1::RejectAnswer::HostUnreachable,
            Self::NetworkUnreachable => v1::RejectAnswer::NetworkUnreachable,
            Self::Prohibited => v1::RejectAnswer::Prohibited,
        }
    }
}

impl std::str::FromStr for Answer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|answer| answer.word() == text).ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            Invalid::new(format!("{} is no answer; give one of {words}", shown(text)))
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl NetworkReject {
    /// Checks that all fits together.
    ///
    /// # Errors
    /// When nothing would be rejected, or the filter asks a call for what only a packet has.
    pub fn new(
        with: With,
        percent: Option<Percent>,
        filter: NetworkFilter,
    ) -> Result<Self, Invalid> {
        let percent = percent.unwrap_or(Percent::ALL).above_zero().at("percent")?;
        let filter = filter.checked().at("filter")?;
        match with {
            With::Answer(_) => {}
            With::Connect(_) => fits_calls(&filter).at("filter")?,
            With::ResetOpen if percent != Percent::ALL => {
                let problem = "is of packets, and `resetOpen` is of connections; give the filter's `connectionPercent` instead";
                return Err(Invalid::new(problem).at("percent"));
            }
            With::ResetOpen => filter.fits_open_connections().at("filter")?,
        }
        Ok(Self { with, percent, filter })
    }
}

/// Whether a filter asks for nothing but what is known when somebody connects.
fn fits_calls(filter: &NetworkFilter) -> Result<(), Invalid> {
    if filter.direction() != Direction::Out {
        let problem =
            "only what the target itself connects to can fail with `connect`; leave it out";
        return Err(Invalid::new(problem).at("direction"));
    }
    if filter.protocols.contains(&Protocol::Icmp) {
        let problem = "with `connect` there is no ICMP; give tcp or udp";
        return Err(Invalid::new(problem).at("protocols"));
    }
    let asked = [
        (filter.local_ports.is_empty(), "localPorts"),
        (filter.interface.is_none(), "interface"),
        (filter.dscp.is_empty(), "dscp"),
        (filter.connections.is_none(), "connections"),
        (filter.connection_percent.is_none(), "connectionPercent"),
        (filter.first.is_none(), "first"),
        (filter.after.is_none(), "after"),
    ];
    match asked.into_iter().find(|(is_absent, _)| !is_absent) {
        Some((_, "connectionPercent")) => {
            let problem = "with `connect`, `percent` is of connections; give that instead";
            Err(Invalid::new(problem).at("connectionPercent"))
        }
        Some((_, field)) => {
            let problem = "is not known yet when somebody connects; leave it out, or give `answer`";
            Err(Invalid::new(problem).at(field))
        }
        None => Ok(()),
    }
}

impl fmt::Display for NetworkReject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { with, percent, filter } = self;
        if *percent != Percent::ALL {
            write!(f, "{percent} ")?;
        }
        write!(f, "{with}, {filter}")
    }
}

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connect: Option<Errno>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reset_open: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
    #[serde(default)]
    filter: NetworkFilter,
}

impl TryFrom<Raw> for NetworkReject {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let mut with = With::either(raw.answer, raw.connect)?;
        if raw.reset_open {
            with = with.reset_open().at("resetOpen")?;
        }
        Self::new(with, raw.percent, raw.filter)
    }
}

impl From<NetworkReject> for Raw {
    fn from(reject: NetworkReject) -> Self {
        let NetworkReject { with, percent, filter } = reject;
        let connect = match with {
            With::Connect(errno) => Some(errno),
            With::Answer(_) | With::ResetOpen => None,
        };
        Self {
            answer: with.answer(),
            connect,
            reset_open: with == With::ResetOpen,
            percent: (percent != Percent::ALL).then_some(percent),
            filter,
        }
    }
}

impl TryFrom<v1::NetworkReject> for NetworkReject {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkReject) -> Result<Self, Invalid> {
        use v1::network_reject::With as Wire;
        let mut with = match wire.with {
            None => With::default(),
            Some(Wire::Answer(answer)) => With::Answer(match v1::RejectAnswer::try_from(answer) {
                Ok(v1::RejectAnswer::Unspecified | v1::RejectAnswer::Reset) => Answer::Reset,
                Ok(v1::RejectAnswer::PortUnreachable) => Answer::PortUnreachable,
                Ok(v1::RejectAnswer::HostUnreachable) => Answer::HostUnreachable,
                Ok(v1::RejectAnswer::NetworkUnreachable) => Answer::NetworkUnreachable,
                Ok(v1::RejectAnswer::Prohibited) => Answer::Prohibited,
                Err(_) => {
                    let problem = format!("{answer} is no answer to a packet");
                    return Err(Invalid::new(problem).at("answer"));
                }
            }),
            Some(Wire::Connect(errno)) => With::Connect(errno.parse().at("connect")?),
        };
        if wire.reset_open {
            with = with.reset_open().at("resetOpen")?;
        }
        let filter = wire.filter.unwrap_or_default().try_into().at("filter")?;
        Self::new(with, percent(wire.percent).at("percent")?, filter)
    }
}

impl From<&NetworkReject> for v1::NetworkReject {
    fn from(reject: &NetworkReject) -> Self {
        use v1::network_reject::With as Wire;
        Self {
            with: Some(match reject.with {
                With::Answer(answer) => Wire::Answer(answer.to_wire().into()),
                With::ResetOpen => Wire::Answer(Answer::Reset.to_wire().into()),
                With::Connect(errno) => Wire::Connect(errno.name().to_owned()),
            }),
            reset_open: reject.with == With::ResetOpen,
            percent: (reject.percent != Percent::ALL).then(|| reject.percent.get()),
            filter: Some((&reject.filter).into()),
        }
    }
}
