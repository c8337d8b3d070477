//! One of our programs where it is attached by a link, however that is held.

use std::collections::HashSet;

use aya::programs::links::{FdLink, PinnedLink};

use super::{
    KernelError, Pins,
    error::innermost,
    link::{self, Place},
};

/// A link of ours.
pub(super) enum Hook {
    /// Ends with this value.
    Held { _link: FdLink },
    /// Ends with its pin.
    Pinned { pins: Pins, name: String },
}

impl Hook {
    /// Takes over the link that an earlier process of the same build pinned under a name, if it is attached
    /// where it should be. It stays as it is: no packet passes unseen, and none is seen twice.
    pub(super) fn adopt(pins: Option<&Pins>, name: &str, place: Place) -> Option<Self> {
        let pins = pins?;
        (link::place(&pins.path(name)).ok()? == Some(place))
            .then(|| Self::Pinned { pins: pins.clone(), name: name.to_owned() })
    }

    /// Keeps a new link: pinned where there are pins, else with the value. What has the name goes.
    pub(super) fn keep(link: FdLink, pins: Option<&Pins>, name: String) -> Result<Self, String> {
        let Some(pins) = pins else { return Ok(Self::Held { _link: link }) };
        pins.unpin(&name).map_err(|error| error.to_string())?;
        let _: PinnedLink = link.pin(pins.path(&name)).map_err(|error| innermost(&error))?;
        Ok(Self::Pinned { pins: pins.clone(), name })
    }

    /// Whether its pin is there; cheap enough to be asked often.
    pub(super) fn has_pin(&self) -> bool {
        match self {
            Self::Held { .. } => true,
            Self::Pinned { pins, name } => pins.has(name),
        }
    }

    /// Whether it is attached where it should be: somebody may have detached it, or removed its pin.
    pub(super) fn is_at(&self, place: Place) -> bool {
        match self {
            Self::Held { .. } => true,
            Self::Pinned { pins, name } => {
                link::place(&pins.path(name)).is_ok_and(|is| is == Some(place))
            }
        }
    }

    /// Detaches a pinned one now; what is held is detached when the value is dropped, which is due then.
    pub(super) fn detach(&self) -> Result<(), KernelError> {
        match self {
            Self::Held { .. } => Ok(()),
            Self::Pinned { pins, name } => pins.unpin(name),
        }
    }

    /// The name of its pin.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Held { .. } => None,
            Self::Pinned { name, .. } => Some(name),
        }
    }
}

/// Detaches what an earlier process pinned under names with a prefix and nobody adopted since.
pub(super) fn sweep<'a>(
    pins: Option<&Pins>,
    prefix: &str,
    hooks: impl Iterator<Item = &'a Hook>,
) -> Result<(), KernelError> {
    let Some(pins) = pins else { return Ok(()) };
    let ours: HashSet<&str> = hooks.filter_map(Hook::name).collect();
    let strangers = pins.names(prefix).into_iter().filter(|name| !ours.contains(name.as_str()));
    // Each is tried, and the first failure is told.
    strangers.map(|name| pins.unpin(&name)).fold(Ok(()), Result::and)
}
