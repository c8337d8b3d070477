//! What a rule of the `net` engine does to the packets that it fires for. Each action that has parameters has a file.

mod corrupt;
mod duplicate;
mod hold;
mod occupy;
mod rate;
mod redirect;
mod reject;
mod respond;

pub use corrupt::{Corrupt, MAX_CORRUPT_BITS, Region};
pub use duplicate::{Duplicate, MAX_COPIES};
pub use hold::{Hold, SHAPE_ONE, SHAPE_PARTS, Shape};
pub use occupy::Occupy;
pub use rate::Rate;
pub use redirect::Redirect;
pub use reject::{Answer, Refuse, Reject};
pub use respond::Respond;

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
    /// Whoever asks a name server is answered in its place: [`Respond`].
    Respond = 2,
    /// It comes several times: [`Duplicate`].
    Duplicate = 3,
    /// Bits of it change: [`Corrupt`].
    Corrupt = 4,
    /// It waits for its turn on a slow line: [`Rate`].
    Rate = 5,
    /// It waits: [`Hold`].
    Hold = 6,
    /// There is none: the call that would come before it fails. [`Refuse`].
    Refuse = 7,
    /// It goes elsewhere: the call that would come before it names another end. [`Redirect`].
    Redirect = 8,
    /// There is no port to bind to: the call fails. [`Occupy`].
    Occupy = 9,
}

impl Action {
    /// Whether it is carried out on packets.
    #[inline(always)]
    #[must_use]
    pub const fn is_of_packets(action: u32) -> bool {
        action < Self::Refuse as u32
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Chance, *};

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
        let refuse = Refuse { errno: 111, operations: 1 << 34 };
        assert_eq!(Refuse::of(&refuse.words()), refuse);
        let redirect = Redirect { v4: [1; 4], v4_port: 2, v6: [3; 16], v6_port: 4 }.words();
        let v4 = u64::from_ne_bytes([1, 1, 1, 1, 0, 0, 0, 0]);
        assert_eq!(Redirect::v4_of(&redirect), ([v4, 0], 2));
        assert_eq!(Redirect::v6_of(&redirect), ([0x0303_0303_0303_0303; 2], 4));
        let occupy = Occupy { family: 6, address: [1, 2] };
        assert_eq!(Occupy::of(&occupy.words()), occupy);
        let respond = Respond { code: 3, has_records: 1, is_cut: 1 };
        assert_eq!(Respond::of(&respond.words()), respond);
        let reject = Reject { answer: 3, wait_ns: 4 };
        assert_eq!(Reject::of(&reject.words()), reject);
    }
}
