//! Reads values from the tree. Errors get the path of their field and its line on their way up.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    de::{Deserializer, Error as _, Expected, Unexpected, Visitor},
    forward_to_deserialize_any,
};

use super::{
    access::{Choice, Entry, List, Map},
    error::{YamlError, one_of},
    node::{Node, Value},
};
use crate::invalid::{Invalid, plain};

/// A value of a document.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    node: &'a Node,
    /// The whole file: what was written as a number may be meant as text.
    file: &'a str,
}

/// Words for what belongs in a place.
pub(super) struct Words(pub(super) String);

impl Expected for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(node: &'a Node, file: &'a str) -> Self {
        Self { node, file }
    }

    pub(super) fn line(self) -> u64 {
        self.node.referenced.line()
    }

    /// A value as it is written; none for nothing, lists and maps.
    fn text(self) -> Option<Cow<'a, str>> {
        match &self.node.value {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Bool(_) | Value::Unsigned(_) | Value::Signed(_) | Value::Float(_) => {
                let span = self.node.defined.span();
                let (at, len) = (span.byte_offset()? as usize, span.byte_len()? as usize);
                self.file.get(at..at.checked_add(len)?).map(Cow::Borrowed)
            }
            Value::Nothing | Value::List(_) | Value::Map(_) => None,
        }
    }

    pub(super) fn is_nothing(self) -> bool {
        matches!(self.node.value, Value::Nothing)
    }

    pub(super) fn does_not_fit(self, belongs: &dyn Expected) -> YamlError {
        let text = self.text().unwrap_or_default();
        let stands = match &self.node.value {
            Value::Nothing => Unexpected::Unit,
            Value::List(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
            Value::Text(text) => Unexpected::Str(text),
            Value::Bool(_) | Value::Unsigned(_) | Value::Signed(_) | Value::Float(_) => {
                Unexpected::Other(&text)
            }
        };
        YamlError::invalid_type(stands, belongs)
    }

    /// The entries of a map, no key of which is there twice.
    fn entries(self, belongs: &dyn Expected) -> Result<Vec<Entry<'a>>, YamlError> {
        let Value::Map(map) = &self.node.value else { return Err(self.does_not_fit(belongs)) };
        let mut seen = HashSet::new();
        let mut entries = Vec::with_capacity(map.len());
        for (key, value) in map {
            let (key, value) = (Self::new(key, self.file), Self::new(value, self.file));
            let name = key.text().ok_or_else(|| {
                key.does_not_fit(&Words("the name of a field".into())).on(key.line())
            })?;
            if !seen.insert(name.clone()) {
                let twice = YamlError::from(Invalid::new("is there twice; keep one"));
                return Err(twice.at(&plain(&name), key.line()));
            }
            entries.push(Entry { name, line: key.line(), value });
        }
        Ok(entries)
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = YamlError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match &self.node.value {
            Value::Nothing => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Unsigned(number) => visitor.visit_u64(*number),
            Value::Signed(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let Value::Unsigned(number) = self.node.value else {
            return Err(self.does_not_fit(&visitor));
        };
        visitor.visit_u64(number)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match self.node.value {
            Value::Unsigned(_) | Value::Signed(_) | Value::Float(_) => {
                self.deserialize_any(visitor)
            }
            Value::Nothing | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                Err(self.does_not_fit(&visitor))
            }
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let text = self.text().ok_or_else(|| self.does_not_fit(&visitor))?;
        visitor.visit_str(&text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        if self.is_nothing() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let Value::List(nodes) = &self.node.value else {
            let element = self.text().map_or("a, b".into(), |text| plain(&text));
            return Err(self.does_not_fit(&Words(format!("a list, as [{element}]"))));
        };
        visitor.visit_seq(List::new(nodes.iter().map(|node| Self::new(node, self.file)).collect()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let entries = self.entries(&visitor)?;
        visitor.visit_map(Map::new(entries))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        let belongs = Words(format!("a map with {}", fields.join(", ")));
        visitor.visit_map(Map::new(self.entries(&belongs)?))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        let choice = match self.text() {
            Some(name) => Choice::word(name),
            None => {
                let mut entries = self.entries(&Words(one_of(variants)))?;
                match (entries.pop(), entries.pop()) {
                    (Some(entry), None) => Choice::entry(entry),
                    (None | Some(_), None | Some(_)) => {
                        let problem = format!("give exactly {}", one_of(variants));
                        return Err(Invalid::new(problem).into());
                    }
                }
            }
        };
        visitor.visit_enum(choice)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 char bytes byte_buf unit unit_struct tuple
        tuple_struct identifier
    }
}
