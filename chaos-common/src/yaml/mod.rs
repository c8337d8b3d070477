//! Files: YAML in, values or one sentence out.
//!
//! The text becomes a tree first (`node`), and values are read from the tree (`reader`). So an
//! error has the path of its field and words of ours, whatever the YAML library would say.

mod access;
mod error;
mod node;
mod reader;

pub use error::YamlError;
use node::Value;
use reader::Reader;

/// Largest file that is read, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// Reads the documents of a file. Empty ones are left out.
///
/// # Errors
/// When the text is too large, is no YAML, has a field that is unknown, missing or there twice, or a
/// value that cannot be used; the message has the line and the path of the field.
pub fn from_yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, YamlError> {
    if text.len() > MAX_FILE {
        return Err(YamlError::of_file(format!(
            "the file has {} bytes; the most is {MAX_FILE}",
            text.len()
        )));
    }
    let documents = node::parse(text)?;
    let documents = documents
        .iter()
        .filter(|document| !matches!(document.value, Value::Nothing))
        .map(|document| Reader::new(document, text))
        .map(|reader| T::deserialize(reader).map_err(|error| error.on(reader.line())));
    documents.collect()
}

#[cfg(test)]
mod tests;
