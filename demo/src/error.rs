//! How the demo ends when it does not end well.

/// Why, and thereby with which exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was shown: this machine or its kernel cannot do it.
    CannotHere(anyhow::Error),
    /// It was shown, and something was not as it must be; the view has said what.
    Verdict,
    /// A signal ended it.
    Interrupted,
    /// Anything else.
    Other(anyhow::Error),
}

impl Failure {
    /// `EX_UNAVAILABLE` says that another machine may do better.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::CannotHere(_) => 69,
            Self::Verdict | Self::Other(_) => 1,
            Self::Interrupted => 130,
        }
    }

    /// What is still to be said.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::CannotHere(error) | Self::Other(error) => Some(format!("{error:#}")),
            Self::Verdict | Self::Interrupted => None,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}
