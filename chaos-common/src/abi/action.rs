//! What a rule of the `net` engine does to the packets that it fires for.

use super::{Chance, FAMILY_V4};

/// Words that an action has for itself.
pub const PARAMETERS: usize = 6;

/// The actions, in the order in which a target's rules are asked: what ends a packet comes before what would
/// be work for nothing. Those of calls come last, and are asked of no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Action {
    /// It vanishes.
    Drop = 0,
    /// Its sender gets an answer instead: [`Reject`].
    Reject = 1,
    /// It comes several times: [`Duplicate`].
    Duplicate = 2,
    /// Bits of it change: [`Corrupt`].
    Corrupt = 3,
    /// It waits for its turn on a slow line: [`Rate`].
    Rate = 4,
    /// It waits: [`Hold`].
    Hold = 5,
    /// There is none: the attempt to send it fails. [`Refuse`].
    Refuse = 6,
    /// There is no port to bind to: the attempt fails. [`Occupy`].
    Occupy = 7,
}

impl Action {
    /// Whether it is carried out on packets.
    #[inline(always)]
    #[must_use]
    pub const fn is_of_packets(action: u32) -> bool {
        action < Self::Refuse as u32
    }
}

/// Parameters of [`Action::Reject`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reject {
    /// An [`Answer`].
    pub answer: u64,
    /// How long the answer to the first packet of a connection waits; 0 is not at all.
    pub wait_ns: u64,
}

/// Parameters of [`Action::Refuse`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refuse {
    /// How the call fails; more than 0.
    pub errno: u64,
}

impl Refuse {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        [self.errno, 0, 0, 0, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        Self { errno: words[0] }
    }
}

/// Parameters of [`Action::Occupy`]. The ports are prefixes of the rule: see
/// [`PREFIX_PORT`](super::PREFIX_PORT).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupy {
    /// `FAMILY_V4`, `FAMILY_V6`, or 0 for both.
    pub family: u64,
    /// The address in network byte order, in memory; an IPv4 address fills the first four bytes. All zero is every
    /// address of the family.
    pub address: [u64; 2],
}

impl Occupy {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        let Self { family, address: [first, second] } = self;
        [family, first, second, 0, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        Self { family: words[0], address: [words[1], words[2]] }
    }

    /// Whether its address is in the way of a socket that would be bound to this one, written in the same way. Bound
    /// to all of IPv6, a socket `takes_v4` too, unless it was told not to.
    #[inline(always)]
    #[must_use]
    pub const fn meets(&self, family: u32, address: [u64; 2], takes_v4: bool) -> bool {
        let is_any = address[0] == 0 && address[1] == 0;
        let is_all = self.address[0] == 0 && self.address[1] == 0;
        if self.family == 0 {
            return true;
        }
        if self.family != family as u64 {
            return self.family == FAMILY_V4 as u64 && is_any && takes_v4;
        }
        is_all || is_any || (self.address[0] == address[0] && self.address[1] == address[1])
    }
}

/// What the sender of a rejected packet gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Answer {
    /// The end of its TCP connection; over UDP as [`Answer::PortUnreachable`].
    Reset = 1,
    /// ICMP: nobody listens there.
    PortUnreachable = 2,
    /// ICMP: no such host.
    HostUnreachable = 3,
    /// ICMP: no way to it.
    NetworkUnreachable = 4,
    /// ICMP: an administrator forbade it.
    Prohibited = 5,
}

impl Answer {
    /// The code of an ICMP or ICMPv6 "destination unreachable".
    #[inline(always)]
    #[must_use]
    pub const fn code(answer: u32, is_v4: bool) -> u8 {
        match (answer, is_v4) {
            (3, true) => 1,
            (3, false) => 3,
            (4, _) => 0,
            (5, true) => 13,
            (5, false) => 1,
            (_, true) => 3,
            (_, false) => 4,
        }
    }
}

impl Reject {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        [self.answer, self.wait_ns, 0, 0, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        Self { answer: words[0], wait_ns: words[1] }
    }
}

/// Parameters of [`Action::Hold`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// The mean.
    pub latency_ns: u64,
    /// What a [`Shape`] is multiplied with, or without one, the most by which it differs from the mean.
    pub jitter_ns: u64,
    /// The chance that a packet is held as long as the one before.
    pub repeat: Chance,
    /// 1 when there is a [`Shape`].
    pub has_shape: u64,
    /// 1 when no packet overtakes another one of its connection.
    pub keeps_order: u64,
}

impl Hold {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        let Self { latency_ns, jitter_ns, repeat, has_shape, keeps_order } = self;
        [latency_ns, jitter_ns, repeat.share(), has_shape, keeps_order, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        let [latency_ns, jitter_ns, repeat, has_shape, keeps_order, _] = *words;
        Self { latency_ns, jitter_ns, repeat: Chance::of_2_32(repeat), has_shape, keeps_order }
    }
}

/// Parameters of [`Action::Rate`]: a line that sends byte by byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Not 0.
    pub bits_per_second: u64,
    /// How far the line may be ahead of its rate after a pause.
    pub burst_ns: u64,
    /// What would wait longer than this is dropped.
    pub limit_ns: u64,
    /// 1 when each connection has a line of its own.
    pub per_connection: u64,
}

impl Rate {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        let Self { bits_per_second, burst_ns, limit_ns, per_connection } = self;
        [bits_per_second, burst_ns, limit_ns, per_connection, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        let [bits_per_second, burst_ns, limit_ns, per_connection, ..] = *words;
        Self { bits_per_second, burst_ns, limit_ns, per_connection }
    }

    /// How long the line is busy with some bytes.
    #[inline(always)]
    #[must_use]
    pub const fn time_of(&self, bytes: u64) -> u64 {
        bytes * 8_000_000_000 / if self.bits_per_second == 0 { 1 } else { self.bits_per_second }
    }
}

/// Parameters of [`Action::Duplicate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duplicate {
    /// How many come besides the packet itself; at most [`MAX_COPIES`].
    pub copies: u64,
}

/// Copies of one packet, of all rules together.
pub const MAX_COPIES: u32 = 8;

impl Duplicate {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        [self.copies, 0, 0, 0, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        Self { copies: words[0] }
    }
}

/// Parameters of [`Action::Corrupt`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Corrupt {
    /// How many bits change, each at a place of its own choice.
    pub bits: u64,
    /// A [`Region`].
    pub region: u64,
    /// 1 when checksums are made to fit, so that nothing below the application notices.
    pub fixes_checksum: u64,
}

/// Where a packet is corrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Region {
    /// In the header of the transport.
    Headers = 1,
    /// Behind it.
    Payload = 2,
}

/// Bits that one corruption may change.
pub const MAX_CORRUPT_BITS: u32 = 16;

impl Corrupt {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        [self.bits, self.region, self.fixes_checksum, 0, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        let [bits, region, fixes_checksum, ..] = *words;
        Self { bits, region, fixes_checksum }
    }
}

/// Parts of a [`Shape`], which has a point at the end of each.
pub const SHAPE_PARTS: usize = 512;
/// What stands for one in a [`Shape`].
pub const SHAPE_ONE: i64 = 1 << 16;

/// A distribution of mean 0, as the values that draws have that are evenly apart, in ascending order and in
/// parts of [`SHAPE_ONE`]. In between the kernel draws straight lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Shape {
    /// The values.
    pub points: [i32; SHAPE_PARTS + 1],
}

impl Shape {
    /// The value of a draw of 32 random bits.
    #[inline(always)]
    #[must_use]
    pub fn value(&self, draw: u32) -> i64 {
        let place = u64::from(draw) * SHAPE_PARTS as u64;
        let (at, rest) = ((place >> 32) as usize, (place & 0xffff_ffff) as i64);
        let (low, high) = (i64::from(self.points[at]), i64::from(self.points[at + 1]));
        low + (((high - low) * (rest >> 8)) >> 24)
    }
}

impl Hold {
    /// How long a packet is held, by a draw of 32 random bits; never less than not at all.
    #[inline(always)]
    #[must_use]
    pub fn time(&self, draw: u32, shape: Option<&Shape>) -> u64 {
        let jitter = self.jitter_ns as i64;
        let off = match shape {
            Some(shape) => multiply(jitter, shape.value(draw)),
            // A draw is a share of 2³²; twice the jitter is the width of the range.
            None => multiply(jitter, (i64::from(draw >> 15)) - SHAPE_ONE),
        };
        let time = self.latency_ns as i64 + off;
        if time > 0 { time as u64 } else { 0 }
    }
}

/// A time by a factor in parts of [`SHAPE_ONE`]; without a division of signed numbers, which BPF has not.
#[inline(always)]
const fn multiply(time: i64, factor: i64) -> i64 {
    // Up to an hour of jitter (2⁴² ns) by a factor of up to 32 (2²¹) fits.
    (time * factor) >> 16
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line() -> Shape {
        let points = core::array::from_fn(|n| {
            (-SHAPE_ONE + 2 * SHAPE_ONE * n as i64 / SHAPE_PARTS as i64) as i32
        });
        Shape { points }
    }

    #[test]
    fn a_shape_is_read_from_end_to_end() {
        let near = |value: i64, wanted: i64| assert!((value - wanted).abs() < 300, "{value}");
        near(line().value(0), -SHAPE_ONE);
        near(line().value(1 << 31), 0);
        near(line().value(u32::MAX), SHAPE_ONE);
    }

    #[test]
    fn parameters_survive_the_rule() {
        let hold = Hold {
            latency_ns: 1,
            jitter_ns: 2,
            repeat: Chance::of_2_32(3),
            has_shape: 1,
            keeps_order: 1,
        };
        assert_eq!(Hold::of(&hold.words()), hold);
        let rate = Rate { bits_per_second: 8, burst_ns: 2, limit_ns: 3, per_connection: 1 };
        assert_eq!(Rate::of(&rate.words()), rate);
        assert_eq!(rate.time_of(2), 2_000_000_000);
        let corrupt = Corrupt { bits: 1, region: 2, fixes_checksum: 1 };
        assert_eq!(Corrupt::of(&corrupt.words()), corrupt);
        assert_eq!(Duplicate::of(&Duplicate { copies: 3 }.words()).copies, 3);
        assert_eq!(Refuse::of(&Refuse { errno: 111 }.words()).errno, 111);
        let occupy = Occupy { family: 6, address: [1, 2] };
        assert_eq!(Occupy::of(&occupy.words()), occupy);
        let reject = Reject { answer: 3, wait_ns: 4 };
        assert_eq!(Reject::of(&reject.words()), reject);
    }

    #[test]
    fn an_address_is_in_the_way_of_itself_and_of_all() {
        let taken = |family, first| Occupy { family, address: [first, 0] };
        for (taken, family, address, takes_v4, meets) in [
            (taken(0, 0), 4, 7, false, true),
            (taken(0, 0), 6, 7, false, true),
            (taken(4, 0), 4, 7, false, true),
            (taken(4, 0), 4, 0, false, true),
            (taken(4, 0), 6, 7, true, false),
            (taken(4, 0), 6, 0, true, true),
            (taken(4, 0), 6, 0, false, false),
            (taken(4, 7), 4, 7, false, true),
            (taken(4, 7), 4, 8, false, false),
            (taken(4, 7), 4, 0, false, true),
            (taken(4, 7), 6, 7, true, false),
            (taken(4, 7), 6, 0, true, true),
            (taken(6, 0), 6, 7, false, true),
            (taken(6, 0), 4, 0, false, false),
            (taken(6, 7), 6, 7, false, true),
            (taken(6, 7), 6, 8, false, false),
            (taken(6, 7), 6, 0, false, true),
            (taken(6, 7), 4, 7, false, false),
        ] {
            let found = taken.meets(family, [address, 0], takes_v4);
            assert_eq!(found, meets, "{taken:?}: {family} {address} {takes_v4}");
        }
    }

    proptest! {
        #[test]
        fn uniform_jitter_stays_in_its_range(latency in 0u64..1 << 42, jitter in 0u64..1 << 42, draw: u32) {
            let hold = Hold { latency_ns: latency, jitter_ns: jitter, ..Hold::default() };
            let time = hold.time(draw, None);
            prop_assert!(time <= latency + jitter && time >= latency.saturating_sub(jitter + 1));
        }

        #[test]
        fn a_shape_stays_in_its_range(draw: u32) {
            prop_assert!(line().value(draw).abs() <= SHAPE_ONE + 1);
        }
    }
}
