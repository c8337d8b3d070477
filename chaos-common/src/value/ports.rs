//! Ports and ranges of ports.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{
    abi::{self, MAX_PORT_RANGES},
    invalid::{Invalid, shown},
    proto::v1,
    value::ranges::{Range, Ranges},
};

/// One port, or all from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// All ports from `first` to `last`.
    ///
    /// # Errors
    /// When the range is empty.
    pub fn new(first: u16, last: u16) -> Result<Self, Invalid> {
        if first > last {
            return Err(Invalid::new(format!("{first}-{last} ends before it begins")));
        }
        Ok(Self { first, last })
    }

    /// The lowest port.
    #[must_use]
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    #[must_use]
    pub fn last(self) -> u16 {
        self.last
    }
}

impl FromStr for PortRange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let port = |digits: &str| {
            digits.trim().parse::<u16>().map_err(|_| {
                Invalid::new(format!(
                    "{} is no port; give 0 to 65535, or a range as 8000-8080",
                    shown(text)
                ))
            })
        };
        match text.split_once('-') {
            Some((first, last)) => Self::new(port(first)?, port(last)?),
            None => port(text).map(|port| Self { first: port, last: port }),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// One port is a number, a range a string.
impl serde::Serialize for PortRange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last {
            serializer.serialize_u16(self.first)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> serde::Deserialize<'de> for PortRange {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = PortRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port from 0 to 65535, or a range as \"8000-8080\"")
            }

            fn visit_u64<E: serde::de::Error>(self, port: u64) -> Result<PortRange, E> {
                port.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, port: i64) -> Result<PortRange, E> {
                port.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PortRange, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl TryFrom<v1::PortRange> for PortRange {
    type Error = Invalid;

    fn try_from(wire: v1::PortRange) -> Result<Self, Invalid> {
        let port = |number: u32| {
            u16::try_from(number)
                .map_err(|_| Invalid::new(format!("{number} is no port; the highest is 65535")))
        };
        Self::new(port(wire.first)?, port(wire.last.unwrap_or(wire.first))?)
    }
}

impl From<PortRange> for v1::PortRange {
    fn from(range: PortRange) -> Self {
        Self { first: range.first.into(), last: Some(range.last.into()) }
    }
}

/// Up to eight ranges; none is no condition.
pub type PortRanges = Ranges<PortRange>;

impl Range for PortRange {
    fn checked(ranges: Vec<Self>) -> Result<Vec<Self>, Invalid> {
        if ranges.len() > MAX_PORT_RANGES {
            return Err(Invalid::new(format!(
                "{} port ranges are too many; a fault takes {MAX_PORT_RANGES}, and several faults can run on one target",
                ranges.len()
            )));
        }
        Ok(ranges)
    }
}

impl PortRanges {
    /// The same as the kernel reads it.
    #[must_use]
    pub fn to_abi(&self) -> abi::PortSet {
        let mut set = abi::PortSet { len: self.len() as u32, ..Default::default() };
        for (slot, range) in set.ranges.iter_mut().zip(self.iter()) {
            *slot = abi::PortRange { first: range.first, last: range.last };
        }
        set
    }
}

/// Ports one by one: at least one, at most 1024, and not 0, which stands for any.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<PortRange>", into = "Vec<PortRange>")]
pub struct PortList(Vec<PortRange>);

impl PortList {
    const MAX: usize = 1024;

    /// The ranges in the order given.
    pub fn iter(&self) -> impl Iterator<Item = PortRange> + '_ {
        self.0.iter().copied()
    }

    /// Each port once, the lowest first.
    #[must_use]
    pub fn ports(&self) -> BTreeSet<u16> {
        self.iter().flat_map(|range| range.first..=range.last).collect()
    }
}

impl TryFrom<Vec<PortRange>> for PortList {
    type Error = Invalid;

    fn try_from(ranges: Vec<PortRange>) -> Result<Self, Invalid> {
        if ranges.is_empty() {
            return Err(Invalid::new("without a port nothing would happen; give some"));
        }
        if ranges.iter().any(|range| range.first == 0) {
            return Err(Invalid::new("port 0 stands for any; give ports from 1 to 65535"));
        }
        let sizes = ranges.iter().map(|range| usize::from(range.last - range.first) + 1);
        let ports: usize = sizes.sum();
        if ports > Self::MAX {
            return Err(Invalid::new(format!(
                "{ports} ports are too many; a fault takes {}, and several faults can run on one target",
                Self::MAX
            )));
        }
        Ok(Self(ranges))
    }
}

impl From<PortList> for Vec<PortRange> {
    fn from(list: PortList) -> Self {
        list.0
    }
}

impl fmt::Display for PortList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, range) in self.iter().enumerate() {
            write!(f, "{}{range}", if n > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ports_and_ranges() {
        let range: PortRange = "8000-8080".parse().unwrap();
        assert_eq!((range.first(), range.last()), (8000, 8080));
        for text in ["", "65536", "-1", "2-1", "a-b", "1-2-3", "http"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn nine_ranges_are_refused_before_the_kernel_would_forget_one() {
        let range: PortRange = "1".parse().unwrap();
        assert!(PortRanges::try_from(vec![range; 8]).is_ok());
        assert!(PortRanges::try_from(vec![range; 9]).is_err());
    }

    #[test]
    fn a_list_is_some_ports_each_once() {
        let list = |text: &str| -> Result<PortList, Invalid> {
            let ranges = text.split_terminator(',').map(str::parse);
            ranges.collect::<Result<Vec<_>, _>>()?.try_into()
        };
        let ports = list("80,8000-8002,8001").unwrap();
        assert_eq!(ports.to_string(), "80,8000-8002,8001");
        assert_eq!(ports.ports().into_iter().collect::<Vec<_>>(), [80, 8000, 8001, 8002]);
        assert_eq!(list("1-1024").unwrap().ports().len(), 1024);
        for (text, word) in [
            ("", "without a port"),
            ("0", "any"),
            ("0-9", "any"),
            ("1-1025", "1025 ports"),
            ("1-65535,1-65535", "131070"),
        ] {
            let problem = list(text).unwrap_err().problem;
            assert!(problem.contains(word), "{text}: {problem}");
        }
    }
}
