//! Names of the domain name system, and patterns of them.

use std::{fmt, str::FromStr};

use crate::{
    abi::{NAME_BYTES, NAME_HEAD_BITS, Name},
    invalid::{Invalid, shown},
};

/// A pattern of names that a name server is asked for: `api.example.com`, `*.internal` for all below a domain, `**` for
/// all.
///
/// Capital and small letters are the same. The dot of the root may be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsPattern {
    /// In small letters, without the root's dot; empty is the root, below which everything lies.
    name: String,
    /// Names below it are meant, and not itself.
    is_below: bool,
}

const HOW: &str = "give a name, as api.example.com, *.example.com for all below one, or ** for all";

impl DnsPattern {
    /// Whether it is every name.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.is_below && self.name.is_empty()
    }

    /// What is about it and more, the nearest first: all below its parent, and so on up to the root.
    pub fn above(&self) -> impl Iterator<Item = Self> + '_ {
        let parent = |name: &str| name.split_once('.').map_or("", |(_, parent)| parent).to_owned();
        let first = (!self.name.is_empty()).then(|| parent(&self.name));
        let names =
            std::iter::successors(first, move |name| (!name.is_empty()).then(|| parent(name)));
        names.map(|name| Self { name, is_below: true })
    }

    /// How well it fits a name: more is better, and nothing is not at all.
    #[cfg(test)]
    pub(crate) fn fits(&self, name: &str) -> Option<usize> {
        if !self.is_below {
            return (self.name == name).then_some(usize::MAX);
        }
        if self.name.is_empty() {
            return Some(0);
        }
        let rest = name.strip_suffix(self.name.as_str())?;
        rest.ends_with('.').then_some(self.name.len())
    }

    /// The name itself, if it is a pattern of what lies below one.
    #[must_use]
    pub fn top(&self) -> Option<Self> {
        let is_named = self.is_below && !self.name.is_empty();
        is_named.then(|| Self { name: self.name.clone(), is_below: false })
    }

    /// As the kernel reads it: a prefix of names, and how many bits of that count.
    #[must_use]
    pub fn to_abi(&self, rule: u32) -> (u32, Name) {
        let mut wire = told_apart(&self.name);
        wire.reverse();
        if !self.is_below {
            wire.push(0);
        }
        let mut bytes = [0; NAME_BYTES];
        bytes[..wire.len()].copy_from_slice(&wire);
        (NAME_HEAD_BITS + 8 * wire.len() as u32, Name { rule, bytes })
    }
}

/// A name that is as packets have it, but for the root's byte, as zone files have it: RFC 1035, 5.1. What is no letter and
/// no digit there is `\DDD`.
#[must_use]
pub fn dns_name_of_wire(wire: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = wire;
    while let Some((length, behind)) = rest.split_first() {
        let (label, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        for byte in label {
            if byte.is_ascii_alphanumeric() || b"-_*".contains(byte) {
                text.push(char::from(*byte));
            } else {
                text.push_str(&format!("\\{byte:03}"));
            }
        }
        rest = behind;
        if !rest.is_empty() {
            text.push('.');
        }
    }
    text
}

/// A name as packets have it, but for the root's byte, and with lengths and letters told apart.
fn told_apart(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let letters = |label: &str| label.bytes().map(Name::of_letter).collect::<Vec<u8>>();
    labels
        .flat_map(|label| [vec![Name::of_length(label.len() as u8)], letters(label)].concat())
        .collect()
}

impl FromStr for DnsPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        /// The longest label.
        const LABEL: usize = 63;
        if text == "**" || text == "*" {
            return Ok(Self { name: String::new(), is_below: true });
        }
        let invalid = |why: &str| Invalid::new(format!("{} {why}; {HOW}", shown(text)));
        let below = text.strip_prefix("*.").or_else(|| text.strip_prefix("**."));
        let name = below.unwrap_or(text);
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if name.contains('*') {
            return Err(invalid("has a * that is not its first label"));
        }
        if !name.is_ascii() {
            return Err(invalid("is not as name servers are asked for it (xn--…)"));
        }
        // With a length for each label, and a zero behind it.
        if name.len() + 2 > NAME_BYTES {
            return Err(invalid("is longer than the 250 characters that are told apart"));
        }
        if name.split('.').any(|label| label.len() > LABEL) {
            return Err(invalid("has a label of more than 63 characters"));
        }
        let is_label = |label: &str| {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            !label.is_empty() && label.bytes().all(is_letter)
        };
        if !name.split('.').all(is_label) {
            return Err(invalid("is no name"));
        }
        Ok(Self { name, is_below: below.is_some() })
    }
}

impl fmt::Display for DnsPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_below, self.name.as_str()) {
            (true, "") => f.write_str("**"),
            (true, name) => write!(f, "*.{name}"),
            (false, name) => f.write_str(name),
        }
    }
}

super::serde_as_text!(DnsPattern, "a name, as api.example.com, *.example.com or **");

/// One name, as `api.example.com`; what is said of [`DnsPattern`] holds for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnsName(DnsPattern);

impl DnsName {
    /// The pattern of this name alone.
    #[must_use]
    pub const fn pattern(&self) -> &DnsPattern {
        &self.0
    }

    /// As packets have it, with the root's byte.
    #[must_use]
    pub fn wire(&self) -> Vec<u8> {
        let labels = self.0.name.split('.').map(str::as_bytes);
        let wire = labels.flat_map(|label| [&[label.len() as u8], label].concat());
        wire.chain([0]).collect()
    }
}

impl FromStr for DnsName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let pattern: DnsPattern = text.parse()?;
        if pattern.is_below {
            let problem = format!("{} is many names; give one, as api.example.com", shown(text));
            return Err(Invalid::new(problem));
        }
        Ok(Self(pattern))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

super::serde_as_text!(DnsName, "a name, as api.example.com");

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> DnsPattern {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_read_from_their_end() {
        let (bits, name) = pattern("Api.Example.com.").to_abi(7);
        assert_eq!(&name.bytes[..17], b"moc\x83elpmaxe\x87ipa\x83\0");
        assert_eq!((bits, name.rule), (32 + 8 * 17, 7));
        let (bits, name) = pattern("*.com").to_abi(7);
        assert_eq!((bits, &name.bytes[..4]), (32 + 8 * 4, &b"moc\x83"[..]));
        assert_eq!(pattern("**").to_abi(7).0, 32);
    }

    #[test]
    fn a_name_of_a_packet_cannot_be_taken_for_another() {
        for (wire, text) in [
            (&b"\x03aPi\x02ex"[..], "aPi.ex"),
            (b"\x03a.b\x01\x1b", "a\\046b.\\027"),
            (b"\x09short", "short"),
            (b"", ""),
        ] {
            assert_eq!(dns_name_of_wire(wire), text);
        }
    }

    #[test]
    fn one_name_is_no_pattern() {
        assert_eq!("A.b.".parse::<DnsName>().unwrap().wire(), b"\x01a\x01b\0");
        assert!("*.b".parse::<DnsName>().is_err() && "**".parse::<DnsName>().is_err());
    }

    #[test]
    fn a_letter_of_a_longer_label_is_no_length() {
        // As many bytes as the digit in front of them is in ASCII.
        let top = "l".repeat(usize::from(b'0'));
        let (bits, below) = pattern(&format!("*.{top}")).to_abi(7);
        let bytes = (bits - NAME_HEAD_BITS) as usize / 8;
        let begins = |name: &str| pattern(name).to_abi(7).1.bytes[..bytes] == below.bytes[..bytes];
        assert!(begins(&format!("x.{top}")) && !begins(&format!("x0{top}")));
    }

    #[test]
    fn what_is_above_a_name_is_named_the_nearest_first() {
        let above: Vec<String> = pattern("a.b.c").above().map(|one| one.to_string()).collect();
        assert_eq!(above, ["*.b.c", "*.c", "**"]);
        assert_eq!(pattern("**").above().count(), 0);
    }

    #[test]
    fn what_is_more_particular_fits_better() {
        let fits = |text: &str, name| pattern(text).fits(name);
        assert!(fits("a.b", "a.b") > fits("*.b", "a.b") && fits("*.b", "a.b") > fits("**", "a.b"));
        assert!(fits("*.b", "x.y.b").is_some());
        for (text, name) in [("*.b", "b"), ("*.b", "ab"), ("a.b", "x.a.b"), ("*.b.c", "b.c")] {
            assert_eq!(fits(text, name), None, "{text} {name}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", ".", "a..b", "*.", "a.*.b", "*a.b", "a b", "münchen.de", "-", "a.b/c"] {
            let parsed = text.parse::<DnsPattern>();
            assert!(parsed.is_err() || text == "-", "{text}: {parsed:?}");
        }
        let long = vec!["a".repeat(63); 4].join(".");
        assert!(long.parse::<DnsPattern>().is_err());
        assert!(long[5..].parse::<DnsPattern>().is_ok());
        assert_eq!(pattern("**.b"), pattern("*.b"));
    }
}
