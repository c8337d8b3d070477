//! A part of a connection.

use std::{fmt, str::FromStr};

use crate::{
    abi::Window,
    invalid::{Invalid, shown},
    proto::v1,
    value::Bytes,
};

/// So many packets, or so many bytes with IP headers; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Volume {
    /// Packets.
    Packets(u64),
    /// Bytes.
    Bytes(Bytes),
}

impl Volume {
    /// Refuses nothing at all.
    ///
    /// # Errors
    /// When it is 0.
    pub fn checked(self) -> Result<Self, Invalid> {
        match self {
            Self::Packets(0) | Self::Bytes(Bytes(0)) => {
                Err(Invalid::new("nothing at all would match; give at least 1"))
            }
            Self::Packets(_) | Self::Bytes(_) => Ok(self),
        }
    }

    /// Lets a window begin behind this volume.
    pub(crate) fn skip(self, window: &mut Window) {
        match self {
            Self::Packets(packets) => window.from_packet = packets,
            Self::Bytes(Bytes(bytes)) => window.from_byte = bytes,
        }
    }

    /// Lets a window end with this volume, counted from its beginning.
    pub(crate) fn end(self, window: &mut Window) {
        match self {
            Self::Packets(packets) => {
                window.until_packet = window.from_packet.saturating_add(packets);
            }
            Self::Bytes(Bytes(bytes)) => window.until_byte = window.from_byte.saturating_add(bytes),
        }
    }
}

/// `10packets`, or a size.
impl FromStr for Volume {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let packets = text.strip_suffix("packets").or_else(|| text.strip_suffix("packet"));
        let no_volume = || {
            Invalid::new(format!("{} is no volume; write it as 10packets or 64KiB", shown(text)))
        };
        match packets {
            Some(number) => number.trim().parse().map(Self::Packets).map_err(|_| no_volume()),
            // Ten of what?
            None if text.trim().bytes().all(|byte| byte.is_ascii_digit()) => Err(no_volume()),
            None => text.parse().map(Self::Bytes).map_err(|_| no_volume()),
        }
        .and_then(Self::checked)
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packets(1) => f.write_str("1 packet"),
            Self::Packets(packets) => write!(f, "{packets} packets"),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

impl TryFrom<v1::Volume> for Volume {
    type Error = Invalid;

    fn try_from(wire: v1::Volume) -> Result<Self, Invalid> {
        match wire.volume {
            Some(v1::volume::Volume::Packets(packets)) => Self::Packets(packets).checked(),
            Some(v1::volume::Volume::Bytes(bytes)) => Self::Bytes(Bytes(bytes)).checked(),
            None => Err(Invalid::new("give either `packets` or `bytes`")),
        }
    }
}

impl From<Volume> for v1::Volume {
    fn from(volume: Volume) -> Self {
        Self {
            volume: Some(match volume {
                Volume::Packets(packets) => v1::volume::Volume::Packets(packets),
                Volume::Bytes(Bytes(bytes)) => v1::volume::Volume::Bytes(bytes),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_packets_and_bytes() {
        assert_eq!("10 packets".parse::<Volume>().unwrap(), Volume::Packets(10));
        assert_eq!("64KiB".parse::<Volume>().unwrap(), Volume::Bytes(Bytes(65_536)));
        for text in ["", "0packets", "0B", "ten packets", "-1", "10 bottles"] {
            assert!(text.parse::<Volume>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_comes_after_and_what_comes_first_are_a_window() {
        let mut window = Window::WHOLE;
        Volume::Packets(3).skip(&mut window);
        Volume::Packets(2).end(&mut window);
        let inside: Vec<u64> = (0..10).filter(|n| window.has(*n, n * 100)).collect();
        assert_eq!(inside, [3, 4]);
    }
}
