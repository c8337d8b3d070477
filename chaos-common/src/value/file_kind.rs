//! Kinds of file.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{
    abi::FileKind,
    invalid::{Invalid, shown},
};

/// One kind of file by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileKindName(usize);

const KINDS: [(&str, FileKind); 7] = [
    ("file", FileKind::Regular),
    ("directory", FileKind::Directory),
    ("socket", FileKind::Socket),
    ("pipe", FileKind::Pipe),
    ("character", FileKind::Character),
    ("block", FileKind::Block),
    ("other", FileKind::Other),
];

impl FileKindName {
    /// What it stands for.
    #[must_use]
    pub const fn kind(self) -> FileKind {
        KINDS[self.0].1
    }
}

impl FromStr for FileKindName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        KINDS.iter().position(|(name, _)| *name == text).map(Self).ok_or_else(|| {
            let names = KINDS.map(|(name, _)| name).join(", ");
            Invalid::new(format!("{} is no kind of file; give one of {names}", shown(text)))
        })
    }
}

impl fmt::Display for FileKindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(KINDS[self.0].0)
    }
}

super::serde_as_text!(FileKindName, "a kind of file, as file or socket");

/// Some kinds of file; none is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct FileKinds(BTreeSet<FileKindName>);

impl FileKinds {
    /// These.
    #[must_use]
    pub fn new(kinds: Vec<FileKindName>) -> Self {
        Self(kinds.into_iter().collect())
    }

    /// Whether it is all of them.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = FileKindName> {
        self.0.iter().copied()
    }

    /// As the kernel's programs read them.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.iter().fold(0, |bits, kind| bits | kind.kind() as u32)
    }
}

impl fmt::Display for FileKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, kind) in self.iter().enumerate() {
            write!(f, "{}{kind}", if n > 0 { " " } else { ", on " })?;
        }
        Ok(())
    }
}
