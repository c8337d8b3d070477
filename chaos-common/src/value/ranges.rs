//! Lists of ranges, as a filter has them.

use std::fmt;

use crate::invalid::Invalid;

/// What such a list is made of.
pub trait Range: Copy {
    /// What of a list is kept.
    ///
    /// # Errors
    /// When that is more than a fault can hold.
    fn checked(ranges: Vec<Self>) -> Result<Vec<Self>, Invalid>;
}

/// Ranges, no more than a fault can hold; none is no condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(
    try_from = "Vec<T>",
    into = "Vec<T>",
    bound(
        serialize = "T: Range + serde::Serialize",
        deserialize = "T: Range + serde::Deserialize<'de>"
    )
)]
pub struct Ranges<T>(Vec<T>);

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Ranges<T> {
    /// Whether the list is no condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many ranges.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Range> Ranges<T> {
    /// The ranges in the order given.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.0.iter().copied()
    }
}

impl<T: Range> TryFrom<Vec<T>> for Ranges<T> {
    type Error = Invalid;

    fn try_from(ranges: Vec<T>) -> Result<Self, Invalid> {
        T::checked(ranges).map(Self)
    }
}

impl<T> From<Ranges<T>> for Vec<T> {
    fn from(ranges: Ranges<T>) -> Self {
        ranges.0
    }
}

impl<T: fmt::Display> fmt::Display for Ranges<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, range) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            range.fmt(f)?;
        }
        Ok(())
    }
}
