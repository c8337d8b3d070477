//! What aya has no way to ask of a link: where it is attached, and to detach it now.
//!
//! Removing a pin alone detaches only when the kernel gets round to freeing its inode, after an RCU
//! grace period and on a worker. A link attached in the meantime would judge the same packets again.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::programs::links::FdLink;

use super::{bpf, error::innermost};

/// `bpf_link_info.type` of a link on a function of the kernel, by a trampoline and by a probe; of one on a cgroup; and
/// of a tcx link.
const BPF_LINK_TYPE_TRACING: u32 = 2;
const BPF_LINK_TYPE_PERF_EVENT: u32 = 7;
const BPF_LINK_TYPE_CGROUP: u32 = 3;
const BPF_LINK_TYPE_TCX: u32 = 11;

/// What a link is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The cgroup with this id.
    Cgroup(u64),
    /// The interface with this index, in the namespace in which it was attached.
    Interface(u32),
    /// A function of the kernel. Nobody but the last who holds such a link can detach it.
    Function,
}

/// A link, as the kernel tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Its name in the kernel, which is not given twice for a long time.
    id: u32,
    /// `None` if its place is gone, or it was detached.
    pub(super) place: Option<Place>,
}

impl Link {
    /// The link that is pinned at a path.
    ///
    /// # Errors
    /// When there is no pin, or it is not one of a link.
    pub(super) fn pinned(pin: &Path) -> io::Result<Self> {
        Self::of(&bpf::get(pin)?)
    }

    /// Detaches it, wherever its pin may be now. One that is gone, or detached, is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn detach(self) -> io::Result<()> {
        if matches!(self.place, None | Some(Place::Function)) {
            return Ok(());
        }
        // The id may be another link's by now.
        match bpf::link(self.id)? {
            Some(there) if Self::of(&there)? == self => bpf::detach(there.as_fd()),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes hold of it, if it is still there.
    pub(super) fn revive(self) -> Option<OwnedFd> {
        let there = bpf::link(self.id).ok()??;
        (Self::of(&there).ok()? == self).then_some(there)
    }

    /// The link that a descriptor holds.
    ///
    /// # Errors
    /// When it is not one of a link.
    pub(super) fn of(link: &OwnedFd) -> io::Result<Self> {
        let info = bpf::link_info(link.as_fd())?;
        // Of a cgroup's link a 64-bit id, of a tcx link a 32-bit index.
        let [a, b, c, d, ..] = info.place.to_ne_bytes();
        let place = match (info.kind, info.place, u32::from_ne_bytes([a, b, c, d])) {
            (BPF_LINK_TYPE_CGROUP, 1.., _) => Some(Place::Cgroup(info.place)),
            (BPF_LINK_TYPE_TCX, _, index @ 1..) => Some(Place::Interface(index)),
            (BPF_LINK_TYPE_TRACING | BPF_LINK_TYPE_PERF_EVENT, ..) => Some(Place::Function),
            _ => None,
        };
        Ok(Self { id: info.id, place })
    }
}

/// Detaches the link that is pinned at a path. The pin stays.
///
/// # Errors
/// When there is no pin, or it is not one of a link.
pub(super) fn detach_pinned(pin: &Path) -> io::Result<()> {
    bpf::detach(bpf::get(pin)?.as_fd())
}

/// A link that is attached as long as somebody holds it.
pub(super) enum Attached {
    /// By aya.
    Aya(FdLink),
    /// By ourselves.
    Own(OwnedFd),
}

impl Attached {
    /// Pins it; from then on the pin holds it.
    pub(super) fn pin(self, path: &Path) -> Result<(), String> {
        match self {
            Self::Aya(link) => link.pin(path).map(drop).map_err(|error| innermost(&error)),
            Self::Own(link) => bpf::pin(link.as_fd(), path).map_err(|error| error.to_string()),
        }
    }
}

impl From<FdLink> for Attached {
    fn from(link: FdLink) -> Self {
        Self::Aya(link)
    }
}
