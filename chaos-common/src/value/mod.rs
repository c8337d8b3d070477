//! Small validated values that faults are made of.

mod duration;
mod percent;
mod ports;
mod remote;

pub use duration::Lifetime;
pub use percent::Percent;
pub use ports::{PortRange, PortRanges};
pub use remote::{Cidr, Remotes};

/// Serialises a value by its `Display` and reads it by its `FromStr`.
macro_rules! serde_as_text {
    ($value:ty) => {
        impl serde::Serialize for $value {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $value {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_as_text;
