//! How a question fails.

use std::{fmt, str::FromStr};

use crate::invalid::{Invalid, shown};

/// What becomes of a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DnsCode {
    /// The question could not be read.
    FormErr,
    /// The name server has a problem.
    #[default]
    ServFail,
    /// There is no such name.
    NxDomain,
    /// The name server does not do that.
    NotImp,
    /// The name server does not want to.
    Refused,
    /// There is no answer at all.
    Timeout,
}

impl DnsCode {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::FormErr, Self::ServFail, Self::NxDomain, Self::NotImp, Self::Refused, Self::Timeout];

    const fn word(self) -> &'static str {
        match self {
            Self::FormErr => "FORMERR",
            Self::ServFail => "SERVFAIL",
            Self::NxDomain => "NXDOMAIN",
            Self::NotImp => "NOTIMP",
            Self::Refused => "REFUSED",
            Self::Timeout => "timeout",
        }
    }

    /// The code of the response (RFC 1035, 4.1.1); none where there is no response.
    #[must_use]
    pub const fn number(self) -> Option<u8> {
        match self {
            Self::FormErr => Some(1),
            Self::ServFail => Some(2),
            Self::NxDomain => Some(3),
            Self::NotImp => Some(4),
            Self::Refused => Some(5),
            Self::Timeout => None,
        }
    }
}

impl FromStr for DnsCode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|code| code.word().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            Invalid::new(format!("{} is no way to fail; give one of {words}", shown(text)))
        })
    }
}

impl fmt::Display for DnsCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

crate::value::serde_as_text!(DnsCode, "how a question fails, as NXDOMAIN or timeout");
