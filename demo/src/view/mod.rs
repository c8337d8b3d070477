//! What a person sees: a view that is drawn in place on a terminal, else one line a second; at the end a table of
//! figures, a table of traces and the verdict.

mod frame;
mod paint;
mod plain;
mod summary;

use std::{
    io::{self, IsTerminal as _, Write as _},
    str::FromStr,
    time::Duration,
};

use crate::{
    chaos::Injection,
    clock::Moment,
    phase::{Course, Phase},
    residue::Traces,
    stats::Request,
    verdict::Facts,
};
use paint::Paint;

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('x').and_then(|(c, r)| Some((c.parse().ok()?, r.parse().ok()?)));
        let (columns, rows) = parts.ok_or("give columns and rows, as 80x24")?;
        Ok(Self { columns, rows })
    }
}

/// All there is to show while it goes on.
pub(crate) struct Scene {
    pub(crate) kernel: String,
    pub(crate) mechanism: String,
    pub(crate) command: String,
    pub(crate) rate: u32,
    pub(crate) course: Course,
    pub(crate) now: Moment,
    /// The target's and the bystander's.
    pub(crate) requests: [Vec<Request>; 2],
    pub(crate) injection: Injection,
}

impl Scene {
    /// Whether all phases have passed.
    fn is_over(&self) -> bool {
        let last = self.course.deadline().map(|deadline| deadline.after(Phase::After.length()));
        last.is_some_and(|last| self.now >= last.after(LATE))
    }
}

/// Where it is shown.
pub(crate) struct View {
    paint: Paint,
    mode: Mode,
    /// The size that was given, if any.
    given: Option<Size>,
}

enum Mode {
    /// Drawn in place; so many lines are on the screen now.
    Live { lines: usize },
    /// So many seconds were written.
    Plain { seconds: Option<u64> },
}

/// The last second of the last phase is still worth a line.
const LATE: Duration = Duration::from_millis(500);
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const TO_END_OF_LINE: &str = "\x1b[K";
const TO_END_OF_SCREEN: &str = "\x1b[J";

impl View {
    /// A view on standard output.
    pub(crate) fn new(plain: bool, given: Option<Size>) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let has_room = size(given).is_none_or(frame::fits);
        let mode = if plain || !is_terminal || is_dumb || !has_room {
            Mode::Plain { seconds: None }
        } else {
            Mode::Live { lines: 0 }
        };
        Self { paint: Paint::new(is_terminal && !is_dumb && !no_colour), mode, given }
    }

    /// One line, until there is more to show.
    pub(crate) fn say(&mut self, what: &str) {
        put(&format!("{}\n", self.paint.dim(what)));
        if let Mode::Live { lines } = &mut self.mode {
            *lines = 1;
        }
    }

    /// How long until it is worth to draw again.
    pub(crate) fn pause(&self) -> Duration {
        match (&self.mode, self.given) {
            // A terminal that does not know its size is a serial line: slow.
            (Mode::Live { .. }, Some(_)) => Duration::from_millis(500),
            (Mode::Live { .. }, None) | (Mode::Plain { .. }, _) => Duration::from_millis(200),
        }
    }

    /// Shows the present.
    pub(crate) fn draw(&mut self, scene: &Scene) {
        match &mut self.mode {
            Mode::Live { lines } => {
                let size = size(self.given).unwrap_or(Size { columns: 80, rows: 24 });
                let frame = frame::frame(scene, size, &self.paint);
                let mut text = String::from(HIDE_CURSOR);
                text += &home(*lines);
                for line in &frame {
                    text += line;
                    text += TO_END_OF_LINE;
                    text.push('\n');
                }
                text += TO_END_OF_SCREEN;
                *lines = frame.len();
                put(&text);
            }
            Mode::Plain { seconds } => {
                if seconds.is_none() {
                    put(&(frame::title(scene).join("\n") + "\n"));
                }
                let second = scene.now.since(scene.course.began).as_secs();
                if second > 0 && *seconds != Some(second) && !scene.is_over() {
                    put(&(plain::line(scene) + "\n"));
                }
                *seconds = Some(second);
            }
        }
    }

    /// Shows the end.
    pub(crate) fn finish(&mut self, scene: &Scene, facts: &Facts, complaints: &[String]) {
        self.draw(scene);
        self.leave();
        put(&(summary::lines(facts, complaints, &self.paint).join("\n") + "\n"));
    }

    /// Says that it was ended early.
    pub(crate) fn interrupted(&mut self, left: &Traces) {
        self.leave();
        put(&format!("interrupted; cleaned up: {}\n", summary::left(left)));
    }

    /// Gives the terminal back.
    pub(crate) fn leave(&self) {
        if matches!(self.mode, Mode::Live { .. }) {
            put(SHOW_CURSOR);
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.leave();
    }
}

/// To the first of so many lines.
fn home(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}F") }
}

fn size(given: Option<Size>) -> Option<Size> {
    let asked = || {
        let (width, height) = terminal_size::terminal_size()?;
        Some(Size { columns: width.0.into(), rows: height.0.into() })
    };
    given.or_else(asked)
}

/// A closed terminal must not end the demo: it has to clean up.
fn put(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
