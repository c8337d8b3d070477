//! Colours: few, and never the only carrier of a meaning.

use anstyle::{AnsiColor, Style};

/// Nothing.
pub(crate) const PLAIN: Style = Style::new();
/// Headings.
pub(crate) const HEAD: Style = Style::new().bold();
/// It happens, it works.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// On its way.
pub(crate) const SOME: Style = AnsiColor::Yellow.on_default();
/// It failed, it cannot work.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Over.
pub(crate) const DIM: Style = Style::new().dimmed();
