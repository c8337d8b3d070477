//! One of our programs where it is attached by a link, however that is held.

use std::collections::HashSet;

use super::{
    KernelError, Pins,
    link::{Attached, Link, Place},
};

/// A link of ours.
pub(super) enum Hook {
    /// Ends with this value.
    Held { _link: Attached },
    /// Ends with its pin.
    Pinned { pins: Pins, name: String, link: Link },
}

impl Hook {
    /// Takes over the link that an earlier process of the same build pinned under a name, if it is attached
    /// where it should be. It stays as it is: no packet passes unseen, and none is seen twice.
    pub(super) fn adopt(pins: Option<&Pins>, name: &str, place: Place) -> Option<Self> {
        let pins = pins?;
        let link = Link::pinned(&pins.path(name)).ok()?;
        (link.place == Some(place)).then(|| Self::Pinned {
            pins: pins.clone(),
            name: name.to_owned(),
            link,
        })
    }

    /// Keeps a new link: pinned where there are pins, else with the value. What has the name goes.
    pub(super) fn keep(
        link: impl Into<Attached>,
        pins: Option<&Pins>,
        name: String,
    ) -> Result<Self, String> {
        let link = link.into();
        let Some(pins) = pins else { return Ok(Self::Held { _link: link }) };
        pins.unpin(&name).map_err(|error| error.to_string())?;
        let path = pins.path(&name);
        link.pin(&path)?;
        let link = Link::pinned(&path).map_err(|error| error.to_string())?;
        Ok(Self::Pinned { pins: pins.clone(), name, link })
    }

    /// Whether its pin is there; cheap enough to be asked often.
    pub(super) fn has_pin(&self) -> bool {
        match self {
            Self::Held { .. } => true,
            Self::Pinned { pins, name, .. } => pins.has(name),
        }
    }

    /// Whether it is attached where it should be: somebody may have detached it, or removed its pin.
    pub(super) fn is_at(&self, place: Place) -> bool {
        match self {
            Self::Held { .. } => true,
            Self::Pinned { pins, name, .. } => {
                Link::pinned(&pins.path(name)).is_ok_and(|link| link.place == Some(place))
            }
        }
    }

    /// Detaches a pinned one now; what is held is detached when the value is dropped, which is due then.
    pub(super) fn detach(&self) -> Result<(), KernelError> {
        match self {
            Self::Held { .. } => Ok(()),
            Self::Pinned { pins, name, link } => {
                pins.unpin(name)?;
                // Its pin may have been hidden or moved: then it is still attached.
                link.detach().map_err(|error| KernelError::Hook {
                    what: "detach the link of",
                    place: name.clone(),
                    reason: error.to_string(),
                })
            }
        }
    }

    /// The kernel's own word for it, if it is pinned.
    pub(super) fn link(&self) -> Option<Link> {
        match self {
            Self::Held { .. } => None,
            Self::Pinned { link, .. } => Some(*link),
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
