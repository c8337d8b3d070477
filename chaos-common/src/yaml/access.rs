//! What lists, maps and choices hand to those who read them.

use std::borrow::Cow;

use serde::de::{
    DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
    value::StrDeserializer,
};

use super::{
    error::YamlError,
    reader::{Reader, Words},
};
use crate::invalid::{Invalid, plain};

/// A field of a map.
pub(super) struct Entry<'a> {
    pub(super) name: Cow<'a, str>,
    /// Where the name is.
    pub(super) line: u64,
    pub(super) value: Reader<'a>,
}

impl<'de> Entry<'de> {
    fn read_name<K: DeserializeSeed<'de>>(&self, seed: K) -> Result<K::Value, YamlError> {
        seed.deserialize(StrDeserializer::new(&self.name))
            .map_err(|error: YamlError| error.on(self.line))
    }

    fn read_value<T: DeserializeSeed<'de>>(&self, seed: T) -> Result<T::Value, YamlError> {
        seed.deserialize(self.value).map_err(|error| error.at(&self.name, self.value.line()))
    }
}

/// The entries of a map, one after the other.
pub(super) struct Map<'a> {
    rest: std::vec::IntoIter<Entry<'a>>,
    open: Option<Entry<'a>>,
}

impl<'a> Map<'a> {
    pub(super) fn new(entries: Vec<Entry<'a>>) -> Self {
        Self { rest: entries.into_iter(), open: None }
    }
}

impl<'de> MapAccess<'de> for Map<'de> {
    type Error = YamlError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, YamlError> {
        self.open = self.rest.next();
        self.open.as_ref().map(|entry| entry.read_name(seed)).transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, YamlError> {
        match self.open.take() {
            Some(entry) => entry.read_value(seed),
            None => Err(Invalid::new("a value was asked for before its name").into()),
        }
    }
}

/// The elements of a list, one after the other.
pub(super) struct List<'a> {
    rest: std::iter::Enumerate<std::vec::IntoIter<Reader<'a>>>,
}

impl<'a> List<'a> {
    pub(super) fn new(elements: Vec<Reader<'a>>) -> Self {
        Self { rest: elements.into_iter().enumerate() }
    }
}

impl<'de> SeqAccess<'de> for List<'de> {
    type Error = YamlError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, YamlError> {
        let Some((n, element)) = self.rest.next() else { return Ok(None) };
        let read = seed.deserialize(element);
        read.map(Some).map_err(|error| error.at(&format!("[{n}]"), element.line()))
    }
}

/// One of several: a word, or a name with a value.
pub(super) struct Choice<'a> {
    name: Cow<'a, str>,
    entry: Option<Entry<'a>>,
}

impl<'a> Choice<'a> {
    pub(super) fn word(name: Cow<'a, str>) -> Self {
        Self { name, entry: None }
    }

    pub(super) fn entry(entry: Entry<'a>) -> Self {
        Self { name: entry.name.clone(), entry: Some(entry) }
    }

    fn value(self) -> Result<Entry<'a>, YamlError> {
        let Self { name, entry } = self;
        entry.ok_or_else(|| {
            let name = plain(&name);
            YamlError::instead(&name, format_args!("its value too, as {name}: VALUE"))
        })
    }
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = YamlError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), YamlError> {
        let name = match &self.entry {
            Some(entry) => entry.read_name(seed)?,
            None => seed.deserialize(StrDeserializer::<YamlError>::new(&self.name))?,
        };
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'de> {
    type Error = YamlError;

    fn unit_variant(self) -> Result<(), YamlError> {
        match self.entry {
            Some(entry) if !entry.value.is_nothing() => {
                let word = Words(format!("{} alone", plain(&self.name)));
                Err(entry.value.does_not_fit(&word))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, YamlError> {
        self.value()?.read_value(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, YamlError> {
        serde::Deserializer::deserialize_tuple(self.value()?.value, len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        serde::Deserializer::deserialize_struct(self.value()?.value, "", fields, visitor)
    }
}
