//! What goes to standard output, as text for people or as objects for programs.

pub(crate) mod capability;
pub(crate) mod colour;
pub(crate) mod event;
pub(crate) mod injection;
pub(crate) mod plan;
mod table;
pub(crate) mod target;
mod time;

use std::{
    borrow::Cow,
    fmt,
    io::{self, BufWriter, Stdout, Write},
    path::Path,
};

use anstream::ColorChoice;
use serde::Serialize;
pub(crate) use table::{Cell, Column, Table};
pub(crate) use time::{ago, ahead, left, moment, precise};

/// How to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For people, with everything
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Standard output does not take what is written. Apart from all other errors, because it may only
/// mean that the reader has seen enough.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(crate) struct Unwritten(#[source] io::Error);

impl Unwritten {
    /// Whether the reader closed the pipe (`chaos ls | head`).
    pub(crate) fn is_closed(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// What writing ends in.
pub(crate) type Written = Result<(), Unwritten>;

/// Standard output, buffered.
pub(crate) struct Out {
    writer: BufWriter<Stdout>,
    format: Format,
    colours: ColorChoice,
}

impl Out {
    /// Colours only on a terminal, and not against `NO_COLOR`.
    pub(crate) fn new(format: Format) -> Self {
        let stdout = io::stdout();
        let colours = anstream::AutoStream::choice(&stdout);
        Self { writer: BufWriter::with_capacity(1 << 16, stdout), format, colours }
    }

    /// What was asked for.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Writes a line for people.
    pub(crate) fn line(&mut self, line: impl fmt::Display) -> Written {
        writeln!(self.writer, "{line}").map_err(Unwritten)
    }

    /// Writes a table for people.
    pub(crate) fn table(&mut self, table: &Table) -> Written {
        table.write(&mut self.writer, self.colours).map_err(Unwritten)
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Written {
        self.writer.write_all(bytes).map_err(Unwritten)
    }

    /// Writes one of several things for programs, or for people with the given function. Each is a
    /// line of JSON or a document of YAML.
    pub(crate) fn each(
        &mut self,
        view: &impl Serialize,
        people: impl FnOnce(&mut Self) -> Written,
    ) -> Written {
        match self.format {
            Format::Table | Format::Wide => people(self)?,
            Format::Json => self.json(serde_json::to_string(view))?,
            Format::Yaml => {
                self.line("---")?;
                self.yaml(view)?;
            }
        }
        self.flush()
    }

    /// Writes the one thing that a verb is about, for programs, or for people with the given
    /// function. JSON is indented.
    pub(crate) fn object(
        &mut self,
        view: &impl Serialize,
        people: impl FnOnce(&mut Self) -> Written,
    ) -> Written {
        match self.format {
            Format::Table | Format::Wide => people(self)?,
            Format::Json => self.json(serde_json::to_string_pretty(view))?,
            Format::Yaml => self.yaml(view)?,
        }
        self.flush()
    }

    /// Writes an array for programs, one element a line in JSON.
    pub(crate) fn list(&mut self, views: &[impl Serialize]) -> Written {
        if views.is_empty() {
            self.line("[]")?;
        } else if self.format == Format::Json {
            self.line("[")?;
            for (n, view) in views.iter().enumerate() {
                let end = if n + 1 == views.len() { "" } else { "," };
                let json = serde_json::to_string(view).map_err(|error| Unwritten(error.into()))?;
                self.line(format_args!("{json}{end}"))?;
            }
            self.line("]")?;
        } else {
            self.yaml(&views)?;
        }
        self.flush()
    }

    fn json(&mut self, json: serde_json::Result<String>) -> Written {
        let json = json.map_err(|error| Unwritten(error.into()))?;
        self.line(json)
    }

    fn yaml(&mut self, view: &impl Serialize) -> Written {
        let yaml =
            serde_saphyr::to_string(view).map_err(|error| Unwritten(io::Error::other(error)))?;
        self.line(yaml.trim_end())
    }

    /// Hands everything to the reader.
    pub(crate) fn flush(&mut self) -> Written {
        self.writer.flush().map_err(Unwritten)
    }
}

/// Text from elsewhere with its control characters escaped, so that a cgroup's name cannot steer the
/// terminal.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// A path in a sentence.
pub(crate) fn path(path: &Path) -> String {
    clean(&path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(clean("/a/é.service"), "/a/é.service");
        assert_eq!(clean("/a\u{1b}[2J\n\u{9b}"), "/a\\u{1b}[2J\\n\\u{9b}");
    }
}
