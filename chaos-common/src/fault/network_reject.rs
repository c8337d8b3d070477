//! `network reject`: packets are answered, with an error, instead of delivered.

use std::fmt;

use super::NetworkFilter;
use crate::{
    abi,
    invalid::{At, Invalid, shown},
    proto::v1,
    value::Percent,
    wire::percent,
};

/// Who sends gets an answer instead of silence.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NetworkReject {
    /// What they get.
    pub answer: Answer,
    /// Which share of the matching packets; more than 0.
    pub percent: Percent,
    /// Which packets match.
    pub filter: NetworkFilter,
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

    const fn to_abi(self) -> abi::Answer {
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
    /// What the kernel does with a packet.
    #[must_use]
    pub const fn to_abi(&self) -> abi::Reject {
        abi::Reject { answer: self.answer.to_abi() as u64 }
    }
}

impl fmt::Display for NetworkReject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answer, percent, filter } = self;
        if *percent != Percent::ALL {
            write!(f, "{percent} ")?;
        }
        write!(f, "{answer}, {filter}")
    }
}

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    answer: Answer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
    #[serde(default)]
    filter: NetworkFilter,
}

impl TryFrom<Raw> for NetworkReject {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        Ok(Self {
            answer: raw.answer,
            percent: raw.percent.unwrap_or(Percent::ALL).above_zero().at("percent")?,
            filter: raw.filter.checked().at("filter")?,
        })
    }
}

impl From<NetworkReject> for Raw {
    fn from(reject: NetworkReject) -> Self {
        let NetworkReject { answer, percent, filter } = reject;
        Self { answer, percent: (percent != Percent::ALL).then_some(percent), filter }
    }
}

impl TryFrom<v1::NetworkReject> for NetworkReject {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkReject) -> Result<Self, Invalid> {
        let answer = match v1::RejectAnswer::try_from(wire.answer) {
            Ok(v1::RejectAnswer::Unspecified | v1::RejectAnswer::Reset) => Answer::Reset,
            Ok(v1::RejectAnswer::PortUnreachable) => Answer::PortUnreachable,
            Ok(v1::RejectAnswer::HostUnreachable) => Answer::HostUnreachable,
            Ok(v1::RejectAnswer::NetworkUnreachable) => Answer::NetworkUnreachable,
            Ok(v1::RejectAnswer::Prohibited) => Answer::Prohibited,
            Err(_) => {
                let problem = format!("{} is no answer to a packet", wire.answer);
                return Err(Invalid::new(problem).at("answer"));
            }
        };
        Raw {
            answer,
            percent: percent(wire.percent).at("percent")?,
            filter: wire.filter.unwrap_or_default().try_into().at("filter")?,
        }
        .try_into()
    }
}

impl From<&NetworkReject> for v1::NetworkReject {
    fn from(reject: &NetworkReject) -> Self {
        Self {
            answer: reject.answer.to_wire().into(),
            percent: (reject.percent != Percent::ALL).then(|| reject.percent.get()),
            filter: Some((&reject.filter).into()),
        }
    }
}
