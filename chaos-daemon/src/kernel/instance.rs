//! Who owns an attachment that has no name of its own.

use std::path::Path;

use chaos_common::abi::{daemon_id, instance_number};

/// The devices that make hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HopEnd {
    /// Where packets wait.
    Entrance,
    /// Where they come out.
    Exit,
    /// Where checksums are computed.
    SpoilerEntrance,
    /// Where they are made wrong.
    SpoilerExit,
}

impl HopEnd {
    const ALL: [Self; 4] = [Self::Entrance, Self::Exit, Self::SpoilerEntrance, Self::SpoilerExit];

    const fn letter(self) -> char {
        match self {
            Self::Entrance => 'a',
            Self::Exit => 'b',
            Self::SpoilerEntrance => 'c',
            Self::SpoilerExit => 'd',
        }
    }
}

/// What the names of hops' devices begin with.
const HOP: &str = "chaos-";

/// Tells daemons and `chaos exec` runs on one node apart: in the handle of a clsact filter, and in
/// the mark of packets that a run has judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance(u32);

impl Instance {
    /// Filter handles of ours begin with these bits.
    const OURS: u32 = 0x0C00_0000;
    /// Set when we made the clsact qdisc that the filter sits on.
    const MADE_QDISC: u32 = 1 << 23;
    /// Set for daemons; the rest is then a digest of the state they keep.
    const DAEMON: u32 = 1 << 22;
    const NUMBER: u32 = Self::DAEMON - 1;

    /// A daemon, the same after a restart on the same pins.
    #[must_use]
    pub fn daemon(pins: &Path) -> Self {
        Self(Self::DAEMON | daemon_id(pins.as_os_str().as_encoded_bytes()))
    }

    /// A run that ends with its process. Linux pids have at most 22 bits.
    #[must_use]
    pub fn process(pid: u32) -> Self {
        Self(pid & Self::NUMBER)
    }

    /// Handle of this instance's filters.
    #[must_use]
    pub(super) const fn filter_handle(self, made_qdisc: bool) -> u32 {
        Self::OURS | self.0 | if made_qdisc { Self::MADE_QDISC } else { 0 }
    }

    /// Whose filter a handle says it is, and whether its owner made the qdisc.
    #[must_use]
    pub(super) const fn of_filter(handle: u32) -> Option<(Self, bool)> {
        if handle & 0xFF00_0000 == Self::OURS {
            let number = handle & (Self::DAEMON | Self::NUMBER);
            Some((Self(number), handle & Self::MADE_QDISC != 0))
        } else {
            None
        }
    }

    /// Whether it is a daemon and no run.
    #[must_use]
    pub(super) const fn is_daemon(self) -> bool {
        self.0 & Self::DAEMON != 0
    }

    /// Its number in the [mark](chaos_common::abi::Mark) of packets that it has judged.
    #[must_use]
    pub(super) const fn number(self) -> u32 {
        instance_number(self.0 & Self::NUMBER, self.is_daemon())
    }

    /// Whether it is a run whose process is gone.
    #[must_use]
    pub(super) fn is_gone(self) -> bool {
        !self.is_daemon() && !Path::new(&format!("/proc/{}", self.0)).exists()
    }

    /// Name of one of the devices of its hops.
    #[must_use]
    pub(super) fn hop_name(self, end: HopEnd) -> String {
        format!("{HOP}{:06x}{}", self.0, end.letter())
    }

    /// Whose hop an interface belongs to, by its name.
    #[must_use]
    pub(super) fn of_hop(name: &str) -> Option<Self> {
        let number = name.strip_prefix(HOP)?.strip_suffix(HopEnd::ALL.map(HopEnd::letter))?;
        let is_number = number.len() == 6 && number.bytes().all(|b| b.is_ascii_hexdigit());
        let number = is_number.then(|| u32::from_str_radix(number, 16).ok())??;
        (number <= Self::DAEMON | Self::NUMBER).then_some(Self(number))
    }

    /// Index of one of the devices of its hops, the same in every network namespace: so a program knows it.
    #[must_use]
    pub(super) const fn hop_index(self, end: HopEnd) -> u32 {
        // Above what the kernel gives out, until it has given out a billion.
        0x4000_0000 | self.0 << 2 | end as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_says_whose_it_is() {
        for instance in [Instance::process(4711), Instance::daemon("/sys/fs/bpf/chaos".as_ref())] {
            for made in [false, true] {
                assert_eq!(
                    Instance::of_filter(instance.filter_handle(made)),
                    Some((instance, made))
                );
            }
        }
        assert_eq!(Instance::of_filter(1), None);
        for instance in [Instance::process(4711), Instance::daemon("/sys/fs/bpf/chaos".as_ref())] {
            for end in HopEnd::ALL {
                let name = instance.hop_name(end);
                assert!(name.len() < 16, "{name}");
                assert_eq!(Instance::of_hop(&name), Some(instance));
                assert!(i32::try_from(instance.hop_index(end)).is_ok());
            }
        }
        for name in ["chaos-", "chaos-00000a", "chaos-+0000aa", "eth0", "chaos-ffffffa"] {
            assert_eq!(Instance::of_hop(name), None, "{name}");
        }
        assert!(!Instance::process(std::process::id()).is_gone());
        // Above the largest pid that Linux gives.
        assert!(Instance::process((1 << 22) - 1).is_gone());
        let daemon = Instance::daemon("/x".as_ref());
        assert!(daemon.is_daemon() && !daemon.is_gone());
    }
}
