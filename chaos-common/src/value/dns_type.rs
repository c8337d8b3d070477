//! Types of records of the domain name system.

use std::{fmt, str::FromStr};

use crate::invalid::{Invalid, shown};

/// A type of records by its name, or by its number as `TYPE64` (RFC 3597, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsType(u16);

/// Those that are asked for often (IANA, Domain Name System Parameters).
const NAMES: [(&str, u16); 14] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("CAA", 257),
    ("ANY", 255),
];

impl DnsType {
    /// As packets have it; never 0.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// From a packet.
    #[must_use]
    pub const fn of_number(number: u16) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }
}

impl FromStr for DnsType {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let upper = text.to_ascii_uppercase();
        let known = NAMES.iter().find(|(name, _)| *name == upper).map(|(_, number)| *number);
        let number = known.or_else(|| upper.strip_prefix("TYPE")?.parse().ok());
        number.filter(|number| *number != 0).map(Self).ok_or_else(|| {
            let names = NAMES.map(|(name, _)| name).join(", ");
            Invalid::new(format!(
                "{} is no type of records; give one of {names}, or its number as TYPE64",
                shown(text)
            ))
        })
    }
}

impl fmt::Display for DnsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

super::serde_as_text!(DnsType, "a type of records, as A or AAAA");

#[cfg(test)]
mod tests {
    use super::DnsType;

    #[test]
    fn types_have_names_and_numbers() {
        for (text, number, said) in
            [("A", 1, "A"), ("aaaa", 28, "AAAA"), ("TYPE28", 28, "AAAA"), ("type99", 99, "TYPE99")]
        {
            let kind: DnsType = text.parse().unwrap();
            assert_eq!((kind.number(), kind.to_string().as_str()), (number, said));
        }
        for text in ["", "B", "TYPE", "TYPE0", "TYPE65536", "1"] {
            assert!(text.parse::<DnsType>().is_err(), "{text}");
        }
    }
}
