//! Small validated values that faults are made of.

mod dns_name;
mod dns_type;
mod dscp;
mod duration;
mod errno;
mod every;
mod file_kind;
mod host;
mod interface;
mod name_server;
mod path_glob;
mod percent;
mod ports;
mod quantity;
mod ranges;
mod remote;
mod share;
mod socket_family;
mod syscall;
mod volume;

pub use dns_name::{DnsName, DnsPattern, dns_name_of_wire};
pub use dns_type::DnsType;
pub use dscp::{Dscp, Dscps};
pub use duration::Lifetime;
pub use errno::Errno;
pub use every::Every;
pub use file_kind::{FileKindName, FileKinds};
pub use host::HostName;
pub use interface::InterfaceName;
pub use name_server::{DNS_PORT, NameServer};
pub use path_glob::PathGlob;
pub use percent::Percent;
pub use ports::{PortList, PortRange, PortRanges};
pub use quantity::{BitRate, Bytes, Wait};
pub use ranges::{Range, Ranges};
pub use remote::{Cidr, Remotes};
pub use share::Share;
pub use socket_family::{SocketFamilies, SocketFamilyName};
pub use syscall::{Syscall, SyscallName, Syscalls};
pub use volume::Volume;

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::de::{Error, Visitor};

use crate::invalid::Invalid;

/// Reads a value from text by its `FromStr`.
pub(crate) struct Text<T> {
    belongs: &'static str,
    value: PhantomData<T>,
}

impl<T> Text<T> {
    /// `belongs` says what to write, as in "write 90s, 5m or 1h30m".
    pub(crate) fn of(belongs: &'static str) -> Self {
        Self { belongs, value: PhantomData }
    }
}

impl<T: FromStr<Err = Invalid>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.belongs)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Reads a value from a whole number.
pub(crate) struct Whole<T> {
    /// What to write, as in "write a whole number from 1 on".
    pub(crate) belongs: &'static str,
    pub(crate) check: fn(u64) -> Result<T, Invalid>,
}

impl<T> Visitor<'_> for Whole<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.belongs)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        (self.check)(number).map_err(E::custom)
    }
}

/// Serialises a value by its `Display` and reads it by its `FromStr`.
macro_rules! serde_as_text {
    ($value:ty, $belongs:expr) => {
        impl serde::Serialize for $value {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $value {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(crate::value::Text::of($belongs))
            }
        }
    };
}
pub(crate) use serde_as_text;
