//! Turns the raw console of a VM into lines: kept for the report, written to a log, echoed for the user.

use std::fs::File;
use std::io::Write;

/// What the user sees of a VM while it runs.
#[derive(Clone, Debug)]
pub(crate) enum Echo {
    /// Whole lines, each after `[label] `.
    Lines(String),
    /// The same up to the first line that begins so: what is from there on is for programs.
    LinesUntil(String, &'static str),
    /// Every byte as it comes, for a command that a person watches.
    Raw,
}

impl Echo {
    /// What a line begins with.
    fn label(&self) -> Option<&str> {
        match self {
            Self::Lines(label) | Self::LinesUntil(label, _) => Some(label),
            Self::Raw => None,
        }
    }
}

/// Collects one VM's output.
pub(crate) struct Console {
    echo: Echo,
    log: File,
    partial: Vec<u8>,
    lines: Vec<String>,
    /// Nothing more is for a person.
    is_over: bool,
}

impl Console {
    pub(crate) fn new(echo: Echo, log: File) -> Self {
        Self { echo, log, partial: Vec::new(), lines: Vec::new(), is_over: false }
    }

    /// Takes the next piece of output.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        // A lost log or a closed terminal must not end a test run.
        drop(self.log.write_all(bytes));
        if matches!(self.echo, Echo::Raw) {
            let mut out = std::io::stdout().lock();
            drop(out.write_all(bytes).and_then(|()| out.flush()));
        }
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(),
                _ => self.partial.push(*byte),
            }
        }
    }

    /// All lines, without carriage returns.
    pub(crate) fn finish(mut self) -> Vec<String> {
        if !self.partial.is_empty() {
            self.end_line();
        }
        self.lines
    }

    fn end_line(&mut self) {
        let bytes = std::mem::take(&mut self.partial);
        let line = String::from_utf8_lossy(&bytes).replace('\r', "");
        if let Echo::LinesUntil(_, end) = self.echo {
            self.is_over |= line.starts_with(end);
        }
        if let Some(label) = self.echo.label().filter(|_| !self.is_over) {
            // One write per line, so that two VMs' lines do not mix.
            drop(std::io::stdout().lock().write_all(format!("[{label}] {line}\n").as_bytes()));
        }
        self.lines.push(line);
    }
}
