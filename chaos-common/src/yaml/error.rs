//! Why a file cannot be used.

use std::fmt;

use serde::de::{Expected, Unexpected};

use crate::invalid::{Invalid, plain, shown};

/// A place in a file, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct YamlError {
    /// Counted from 1; absent when the whole file is meant.
    pub line: Option<u64>,
    /// The field and the problem.
    pub invalid: Invalid,
}

impl YamlError {
    /// A problem of the whole file.
    pub(super) fn of_file(problem: impl Into<String>) -> Self {
        Invalid::new(problem).into()
    }

    /// What stands where something else belongs.
    pub(super) fn instead(stands: impl fmt::Display, belongs: impl fmt::Display) -> Self {
        Invalid::new(format!("{stands} does not fit; write {belongs}")).into()
    }

    fn misfit(stands: Unexpected<'_>, belongs: &dyn Expected) -> Self {
        let belongs = in_words(belongs.to_string());
        match name(stands) {
            Some(name) => Self::instead(name, belongs),
            None => Invalid::new(format!("is empty; write {belongs}")).into(),
        }
    }

    /// Puts a field in front of the path, and the line if there is none yet.
    #[must_use]
    pub(super) fn at(self, field: &str, line: u64) -> Self {
        Self { line: self.line.or(Some(line)), invalid: self.invalid.at(field) }
    }

    /// The line, if there is none yet.
    #[must_use]
    pub(super) fn on(self, line: u64) -> Self {
        Self { line: self.line.or(Some(line)), ..self }
    }
}

impl From<Invalid> for YamlError {
    fn from(invalid: Invalid) -> Self {
        Self { line: None, invalid }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        self.invalid.fmt(f)
    }
}

/// What the types of this crate say of what they are given. Their own checks come as an [`Invalid`],
/// what derived code finds in serde's terms.
impl serde::de::Error for YamlError {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Invalid::from_alternate(&format!("{problem:#}")).into()
    }

    fn invalid_type(stands: Unexpected<'_>, belongs: &dyn Expected) -> Self {
        Self::misfit(stands, belongs)
    }

    fn invalid_value(stands: Unexpected<'_>, belongs: &dyn Expected) -> Self {
        Self::misfit(stands, belongs)
    }

    fn invalid_length(len: usize, belongs: &dyn Expected) -> Self {
        Self::instead(format_args!("a list of {len}"), belongs)
    }

    fn unknown_field(field: &str, fields: &'static [&'static str]) -> Self {
        let field = shown(field);
        Invalid::new(format!("there is no field {field}; write {}", one_of(fields))).into()
    }

    fn unknown_variant(variant: &str, variants: &'static [&'static str]) -> Self {
        Self::instead(shown(variant), one_of(variants))
    }

    fn missing_field(field: &'static str) -> Self {
        Invalid::new("is missing; add it").at(field).into()
    }

    fn duplicate_field(field: &'static str) -> Self {
        Invalid::new("is there twice; keep one").at(field).into()
    }
}

/// What serde's own types call themselves when they say what belongs in their place.
fn in_words(belongs: String) -> String {
    let most = match belongs.as_str() {
        "u8" => u64::from(u8::MAX),
        "u16" => u64::from(u16::MAX),
        "u32" => u64::from(u32::MAX),
        "u64" | "usize" => u64::MAX,
        "f32" | "f64" => return "a number".to_owned(),
        "a boolean" => return "true or false".to_owned(),
        _ => return belongs,
    };
    format!("a whole number from 0 to {most}")
}

/// `a`, or `one of a, b`.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [name] => (*name).to_owned(),
        names => format!("one of {}", names.join(", ")),
    }
}

/// What stands there, if anything does.
fn name(stands: Unexpected<'_>) -> Option<String> {
    Some(match stands {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => number.to_string(),
        Unexpected::Char(char) => shown(&char.to_string()),
        Unexpected::Str(text) => shown(text),
        Unexpected::Other(text) => plain(text),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map | Unexpected::StructVariant => "a map".to_owned(),
        Unexpected::Bytes(_)
        | Unexpected::NewtypeStruct
        | Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant => "this".to_owned(),
        Unexpected::Unit | Unexpected::Option => return None,
    })
}
