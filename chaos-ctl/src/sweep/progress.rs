//! How far it is, for a person who waits: one line of a terminal, written over and over.

use std::io::{self, IsTerminal as _, Write as _};

use crate::output::Format;

/// The line; taken away when dropped.
pub(super) struct Progress {
    last: u64,
    is_shown: bool,
}

impl Progress {
    /// Nothing yet. Of what is not read by a person on a terminal it stays so.
    pub(super) fn to(last: u64, format: Format) -> Self {
        let is_for_people = match format {
            Format::Table | Format::Wide => true,
            Format::Json | Format::Yaml => false,
        };
        Self { last, is_shown: is_for_people && io::stderr().is_terminal() }
    }

    /// This one is tried now.
    pub(super) fn at(&self, position: u64) {
        self.write(&format!("call {position} of {}", self.last));
    }

    /// Makes room for something else.
    pub(super) fn clear(&self) {
        self.write("");
    }

    fn write(&self, text: &str) {
        if self.is_shown {
            // Nobody who sees it is no reason to end.
            let _ = write!(io::stderr(), "\r\u{1b}[K{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
