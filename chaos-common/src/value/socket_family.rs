//! Families of sockets.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{
    abi::SocketFamily,
    invalid::{Invalid, shown},
};

/// One family of sockets by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketFamilyName(usize);

const FAMILIES: [(&str, SocketFamily); 4] = [
    ("ipv4", SocketFamily::V4),
    ("ipv6", SocketFamily::V6),
    ("unix", SocketFamily::Unix),
    ("other", SocketFamily::Other),
];

impl SocketFamilyName {
    /// What it stands for.
    #[must_use]
    pub const fn family(self) -> SocketFamily {
        FAMILIES[self.0].1
    }
}

impl FromStr for SocketFamilyName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        FAMILIES.iter().position(|(name, _)| *name == text).map(Self).ok_or_else(|| {
            let names = FAMILIES.map(|(name, _)| name).join(", ");
            Invalid::new(format!("{} is no family of sockets; give one of {names}", shown(text)))
        })
    }
}

impl fmt::Display for SocketFamilyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FAMILIES[self.0].0)
    }
}

super::serde_as_text!(SocketFamilyName, "a family of sockets, as ipv4 or unix");

/// Some families of sockets; none is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SocketFamilies(BTreeSet<SocketFamilyName>);

impl SocketFamilies {
    /// These.
    #[must_use]
    pub fn new(families: Vec<SocketFamilyName>) -> Self {
        Self(families.into_iter().collect())
    }

    /// Whether it is all of them.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = SocketFamilyName> {
        self.0.iter().copied()
    }

    /// As the kernel's programs read them.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.iter().fold(0, |bits, family| bits | family.family() as u32)
    }
}

impl fmt::Display for SocketFamilies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, family) in self.iter().enumerate() {
            write!(f, "{}{family}", if n > 0 { " " } else { ", of " })?;
        }
        Ok(())
    }
}
