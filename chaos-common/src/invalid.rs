//! Why a request is refused before anything is done.

use std::fmt;

/// A value that cannot be used: which field, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// Path of the field in the spec: `fault.networkLoss.percent`. Empty for the spec itself.
    pub field: String,
    /// One sentence that says what is wrong and what is accepted.
    pub problem: String,
}

impl Invalid {
    /// A problem of a value whose place is not known yet.
    pub fn new(problem: impl Into<String>) -> Self {
        Self { field: String::new(), problem: problem.into() }
    }

    /// Reads the alternate form; any other text is a problem without a field.
    pub(crate) fn from_alternate(text: &str) -> Self {
        let (field, problem) = text.split_once(END_OF_FIELD).unwrap_or(("", text));
        Self { field: field.to_owned(), problem: problem.to_owned() }
    }

    /// Puts a field in front of the path.
    #[must_use]
    pub fn at(mut self, field: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => field.to_owned(),
            rest if rest.starts_with('[') => format!("{field}{rest}"),
            rest => format!("{field}.{rest}"),
        };
        self
    }
}

/// Ends the field in the alternate form; [`shown`] lets no text bring it along.
const END_OF_FIELD: char = '\u{1f}';

/// `field: problem`. The alternate form keeps the two apart for [`Invalid::from_alternate`]: an error
/// of serde's passes through as text.
impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            write!(f, "{}{END_OF_FIELD}{}", self.field, self.problem)
        } else if self.field.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.field, self.problem)
        }
    }
}

/// Adds the place to an [`Invalid`] on its way up.
pub trait At<T> {
    /// Puts a field in front of the path of the error.
    ///
    /// # Errors
    /// The error it was given, with the field in front.
    fn at(self, field: &str) -> Result<T, Invalid>;
}

impl<T> At<T> for Result<T, Invalid> {
    fn at(self, field: &str) -> Self {
        self.map_err(|invalid| invalid.at(field))
    }
}

/// Shows foreign text in an error: quoted, control characters escaped, and no more than 60 characters.
#[must_use]
pub fn shown(text: &str) -> String {
    format!("\"{}\"", plain(text))
}

/// The same without quotes.
pub(crate) fn plain(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}

/// An error and its causes in one line, each said once: many errors quote their cause already.
#[must_use]
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
