//! Files of specs.

use std::{fs::File, io::Read, path::Path};

use anyhow::Context as _;
use chaos_common::spec::{MAX_FILE, from_yaml};
use serde::de::DeserializeOwned;

use crate::{error::Usage, output::path as shown};

/// Reads all of a file, `-` being standard input, but never more than one byte past what a spec may
/// have.
///
/// # Errors
/// When it cannot be read, or is no text.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        let stdin = std::io::stdin().lock();
        read_from(stdin, &mut bytes).context("cannot read standard input")?;
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {}", shown(path)))?;
        read_from(file, &mut bytes).with_context(|| format!("cannot read {}", shown(path)))?;
    }
    String::from_utf8(bytes).map_err(|_| {
        Usage::of(format_args!("{} is no text in UTF-8; give a YAML file", shown(path))).into()
    })
}

fn read_from(source: impl Read, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    source.take(MAX_FILE as u64 + 1).read_to_end(bytes)
}

/// The documents in the text of a file.
///
/// # Errors
/// When one of them cannot be used; the message has the file and the line.
pub(crate) fn documents<T: DeserializeOwned>(path: &Path, text: &str) -> anyhow::Result<Vec<T>> {
    from_yaml(text).map_err(|error| {
        let name = match path.to_str() {
            Some("-") => "standard input".into(),
            Some(_) | None => shown(path),
        };
        Usage::of(format_args!("{name}: {error}")).into()
    })
}
