//! A document as a tree, each value with its place in the text.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Error, Spanned, options::NonFiniteFloatPolicy};

use super::YamlError;
use crate::invalid::Invalid;

/// A value and its place.
pub(super) type Node = Spanned<Value>;

/// What YAML can say.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Nothing,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// Keys in the order of the text; one may be there twice.
    Map(Vec<(Node, Node)>),
}

/// Levels of lists and maps. A spec has five; reading takes stack for each.
const MAX_DEPTH: usize = 16;

/// The documents of a file.
///
/// # Errors
/// When the text is no YAML.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, YamlError> {
    let options = serde_saphyr::options! {
        // The size of a file bounds its documents.
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, max_documents: super::MAX_FILE },
        with_snippet: false,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| no_yaml(&error))
}

fn no_yaml(error: &Error) -> YamlError {
    if let Error::AliasError { error, .. } = error {
        return no_yaml(error);
    }
    let problem = if matches!(
        error,
        Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. }
    ) {
        "this is nested too deep or repeated too often; a fault needs neither"
    } else if matches!(error, Error::UnknownAnchor { .. }) {
        "this alias has no anchor before it in its document; write the value out"
    } else {
        "this is no YAML; see that brackets and quotes are closed, and that all is indented evenly and with blanks"
    };
    let line = error.location().map(|place| place.line()).filter(|line| *line > 0);
    YamlError { line, invalid: Invalid::new(problem) }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(u64::try_from(number).map_or(Value::Signed(number), Value::Unsigned))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(Value::Float(number as f64))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Float(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}
