//! What is done, by names.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{
    abi::Operation,
    invalid::{Invalid, shown},
    value::serde_as_text,
};

/// One operation by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationName(pub Operation);

impl FromStr for OperationName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Operation::ALL.into_iter().find(|operation| operation.word() == text);
        found.map(Self).ok_or_else(|| {
            let words = Operation::ALL.map(Operation::word).join(", ");
            Invalid::new(format!("{} is no operation; there are {words}", shown(text)))
        })
    }
}

impl fmt::Display for OperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.word())
    }
}

serde_as_text!(OperationName, "the name of an operation, as open");

/// Some operations, each once: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operations(BTreeSet<Operation>);

impl Operations {
    /// Of those that a fault knows.
    ///
    /// # Errors
    /// When there is none, or one that the fault does not know.
    pub fn among(
        names: impl IntoIterator<Item = OperationName>,
        known: &[Operation],
    ) -> Result<Self, Invalid> {
        let words = || known.iter().map(|known| known.word()).collect::<Vec<_>>().join(", ");
        let operations: BTreeSet<Operation> = names.into_iter().map(|name| name.0).collect();
        if let Some(stranger) = operations.iter().find(|operation| !known.contains(operation)) {
            let problem =
                format!("{} is another fault's; give some of {}", stranger.word(), words());
            return Err(Invalid::new(problem));
        }
        if operations.is_empty() {
            return Err(Invalid::new(format!("is empty; give some of {}", words())));
        }
        Ok(Self(operations))
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Operation> {
        self.0.iter().copied()
    }

    /// Whether one is among them.
    #[must_use]
    pub fn has(&self, operation: Operation) -> bool {
        self.0.contains(&operation)
    }

    /// By their names.
    #[must_use]
    pub fn names(&self) -> Vec<OperationName> {
        self.iter().map(OperationName).collect()
    }
}

impl fmt::Display for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, operation) in self.iter().enumerate() {
            write!(f, "{}{}", if n > 0 { " " } else { "" }, operation.word())?;
        }
        Ok(())
    }
}
