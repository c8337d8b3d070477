//! What should go wrong: one file per kind of fault.

mod network_filter;
mod network_loss;

pub use network_filter::{Contradiction, Direction, NetworkFilter, Protocol};
pub use network_loss::{Burst, LossModel, NetworkLoss};

use std::fmt;

use crate::{
    invalid::{At, Invalid},
    proto::v1,
};

/// A fault, as data.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// Packets vanish.
    NetworkLoss(NetworkLoss),
}

/// The kinds of fault, for everything that goes through all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// `network loss`
    NetworkLoss,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 1] = [Self::NetworkLoss];

    /// Family and kind, the words of the command line.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NetworkLoss => ("network", "loss"),
        }
    }

    /// The name of this kind's files: `network_loss`.
    #[must_use]
    pub fn file_stem(self) -> String {
        let (family, kind) = self.words();
        format!("{family}_{kind}")
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, kind) = self.words();
        write!(f, "{family} {kind}")
    }
}

impl Fault {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::NetworkLoss(_) => FaultKind::NetworkLoss,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        match self {
            Self::NetworkLoss(loss) => write!(f, " {loss}"),
        }
    }
}

impl TryFrom<v1::Fault> for Fault {
    type Error = Invalid;

    fn try_from(wire: v1::Fault) -> Result<Self, Invalid> {
        match wire.fault {
            Some(v1::fault::Fault::NetworkLoss(loss)) => {
                loss.try_into().map(Self::NetworkLoss).at("networkLoss")
            }
            None => Err(Invalid::new("is missing, or of a kind that this version does not know")),
        }
    }
}

impl From<&Fault> for v1::Fault {
    fn from(fault: &Fault) -> Self {
        let fault = match fault {
            Fault::NetworkLoss(loss) => v1::fault::Fault::NetworkLoss(loss.into()),
        };
        Self { fault: Some(fault) }
    }
}
