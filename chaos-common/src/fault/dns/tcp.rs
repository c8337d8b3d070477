//! What becomes of connections to name servers, in which questions are not seen.

use std::{fmt, str::FromStr};

use crate::{
    abi::Stream,
    invalid::{Invalid, shown},
};

/// What becomes of them, whatever is asked there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DnsTcp {
    /// Nothing.
    #[default]
    Pass,
    /// Nobody listens.
    Refuse,
    /// They end with the first question.
    Reset,
    /// Their packets vanish.
    Drop,
    /// They take as long to open as a question is held.
    Delay,
}

impl DnsTcp {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pass, Self::Refuse, Self::Reset, Self::Drop, Self::Delay];
    /// What there is where questions are answered or vanish.
    pub const OF_ANSWERS: [Self; 4] = [Self::Pass, Self::Refuse, Self::Reset, Self::Drop];
    /// What there is where they are held.
    pub const OF_DELAYS: [Self; 2] = [Self::Pass, Self::Delay];

    const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Refuse => "refuse",
            Self::Reset => "reset",
            Self::Drop => "drop",
            Self::Delay => "delay",
        }
    }

    /// As the kernel reads it.
    #[must_use]
    pub const fn to_abi(self) -> Stream {
        match self {
            Self::Pass => Stream::Passes,
            Self::Refuse => Stream::IsRefused,
            Self::Reset => Stream::IsReset,
            Self::Drop => Stream::IsSilent,
            Self::Delay => Stream::OpensAsAsked,
        }
    }

    /// Refuses what a kind of fault does not do.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn among(self, allowed: &[Self]) -> Result<(), Invalid> {
        if allowed.contains(&self) {
            return Ok(());
        }
        let words: Vec<_> = allowed.iter().map(|one| one.word()).collect();
        Err(Invalid::new(format!("{self} is not what this fault does; give {}", words.join(", "))))
    }
}

impl FromStr for DnsTcp {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|tcp| tcp.word().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            Invalid::new(format!("{} is nothing that happens to TCP; give {words}", shown(text)))
        })
    }
}

impl fmt::Display for DnsTcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

crate::value::serde_as_text!(DnsTcp, "what becomes of TCP, as pass, refuse, reset, drop or delay");
