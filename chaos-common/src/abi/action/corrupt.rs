//! Packets that are not what was sent.

use super::PARAMETERS;

/// Parameters of [`Action::Corrupt`](super::Action::Corrupt).
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
