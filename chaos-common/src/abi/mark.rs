//! What a packet's `tc_index` tells of who has judged it: 16 bits that tc programs may write, that survive from device
//! to device within a machine, and that no wire carries.
//!
//! ```text
//! 110 d bbbbbb aaaaaa     d: 1 on its way in; a, b: the instances that have judged it on that way, or 0
//! ```

use super::Direction;

/// Numbers that tell instances (daemons, and runs of `chaos exec`) apart: 1 and up.
pub const MAX_INSTANCE: u32 = 63;

const TAG: u32 = 0b110 << 13;
const TAG_BITS: u32 = 0b111 << 13;
const IN: u32 = 1 << 12;
const SECOND: u32 = 6;

/// The number of an instance with such an id: odd for daemons, even for runs. Of daemons two may have the same; then the
/// fault of the one keeps a packet that it has judged from the other.
#[must_use]
pub const fn instance_number(id: u32, is_daemon: bool) -> u32 {
    2 * (id % (MAX_INSTANCE / 2)) + if is_daemon { 1 } else { 2 }
}

/// The id of a daemon whose pins lie in a folder: 22 bits (of FNV-1a), as many as a process id has.
#[must_use]
pub fn daemon_id(folder: &[u8]) -> u32 {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    folder.iter().fold(0x811C_9DC5, mix) & ((1 << 22) - 1)
}

/// What a packet carries in `tc_index`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Mark(pub u32);

impl Mark {
    /// Of a packet that an instance made.
    #[inline(always)]
    #[must_use]
    pub const fn new(direction: Direction, instance: u32) -> Self {
        Self(TAG | way(direction) | instance)
    }

    /// Whether an instance is not to judge it: it has, or two others have, or it is on its way in and goes out by a
    /// loopback once more. Two are enough: were there no end to it, those that let packets wait would send them to each
    /// other for ever.
    #[inline(always)]
    #[must_use]
    pub const fn is_judged(self, direction: Direction, instance: u32) -> bool {
        if self.0 & TAG_BITS != TAG {
            return false;
        }
        if self.0 & IN != way(direction) {
            return self.0 & IN != 0;
        }
        let (first, second) = self.judges();
        first == instance || second != 0
    }

    /// The same packet, judged by an instance too. Only for what it has not judged.
    #[inline(always)]
    #[must_use]
    pub const fn judged(self, direction: Direction, instance: u32) -> Self {
        if self.0 & (TAG_BITS | IN) == TAG | way(direction) && self.judges().0 != 0 {
            Self(self.0 | instance << SECOND)
        } else {
            Self::new(direction, instance)
        }
    }

    #[inline(always)]
    const fn judges(self) -> (u32, u32) {
        (self.0 & MAX_INSTANCE, self.0 >> SECOND & MAX_INSTANCE)
    }
}

#[inline(always)]
const fn way(direction: Direction) -> u32 {
    match direction {
        Direction::Out => 0,
        Direction::In => IN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{In, Out};

    #[test]
    fn two_judge_a_packet_once_each_and_no_third_does() {
        for (this, other) in [(Out, In), (In, Out)] {
            let fresh = Mark::default();
            assert!(!fresh.is_judged(this, 1) && !fresh.is_judged(other, 1));
            let once = fresh.judged(this, 1);
            assert!(once.is_judged(this, 1) && !once.is_judged(this, MAX_INSTANCE));
            let twice = once.judged(this, MAX_INSTANCE);
            assert!([1, 2, MAX_INSTANCE].into_iter().all(|any| twice.is_judged(this, any)));
            assert!(u16::try_from(twice.0).is_ok());
        }
    }

    #[test]
    fn what_went_out_is_yet_to_come_in_and_not_the_other_way_round() {
        let out = Mark::default().judged(Out, 1);
        assert!(!out.is_judged(In, 1));
        let incoming = out.judged(In, 1);
        assert!(incoming.is_judged(In, 1) && !incoming.is_judged(In, 2));
        assert!(incoming.is_judged(Out, 1) && incoming.is_judged(Out, 2));
    }

    #[test]
    fn daemons_and_runs_never_share_a_number() {
        for id in 0..1000 {
            let (daemon, run) = (instance_number(id, true), instance_number(id, false));
            assert!([daemon, run].iter().all(|number| (1..=MAX_INSTANCE).contains(number)));
            assert!(daemon % 2 == 1 && run % 2 == 0);
        }
    }

    #[test]
    fn what_others_write_there_is_none_of_ours() {
        for foreign in [0, 1, 0x1234, 0xffff] {
            assert!(!Mark(foreign).is_judged(Out, 1) && !Mark(foreign).is_judged(In, 1));
            assert_eq!(Mark(foreign).judged(In, 5), Mark::new(In, 5));
        }
    }
}
