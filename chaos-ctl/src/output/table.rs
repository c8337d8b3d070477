//! Columns as wide as their content.

use std::io::{self, Write};

use anstream::ColorChoice;
use anstyle::Style;

use super::{clean, colour};

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Align {
    Left,
    /// Numbers.
    Right,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    head: &'static str,
    align: Align,
}

impl Column {
    /// A column of text.
    pub(crate) const fn text(head: &'static str) -> Self {
        Self { head, align: Align::Left }
    }

    /// A column of numbers.
    pub(crate) const fn number(head: &'static str) -> Self {
        Self { head, align: Align::Right }
    }
}

/// A piece of text with a colour.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    width: usize,
    style: Style,
}

impl Cell {
    /// Without colour. Control characters are escaped; nothing at all is shown as `-`.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::styled(text, colour::PLAIN)
    }

    /// With a colour.
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        let text = text.into();
        let text = match clean(&text) {
            std::borrow::Cow::Borrowed("") => "-".to_owned(),
            std::borrow::Cow::Borrowed(_) => text,
            std::borrow::Cow::Owned(clean) => clean,
        };
        Self { width: text.chars().count(), text, style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row with one cell for each column.
    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }

    /// As it is written without colours.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        self.write(&mut text, ColorChoice::Never).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Writes headings and rows; no line ends in blanks.
    pub(super) fn write(&self, to: &mut impl Write, colours: ColorChoice) -> io::Result<()> {
        let heads: Vec<Cell> =
            self.columns.iter().map(|column| Cell::styled(column.head, colour::HEAD)).collect();
        let mut widths: Vec<usize> = heads.iter().map(|cell| cell.width).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width.max(*width);
            }
        }
        for row in std::iter::once(&heads).chain(&self.rows) {
            self.write_row(to, row, &widths, colours)?;
        }
        Ok(())
    }

    fn write_row(
        &self,
        to: &mut impl Write,
        row: &[Cell],
        widths: &[usize],
        colours: ColorChoice,
    ) -> io::Result<()> {
        let mut pending = 0;
        for ((cell, column), width) in row.iter().zip(&self.columns).zip(widths) {
            let blank = width - cell.width;
            let (before, after) = match column.align {
                Align::Left => (pending, blank),
                Align::Right => (pending + blank, 0),
            };
            write!(to, "{:before$}", "")?;
            if colours == ColorChoice::Never || cell.style == colour::PLAIN {
                to.write_all(cell.text.as_bytes())?;
            } else {
                write!(to, "{}{}{:#}", cell.style, cell.text, cell.style)?;
            }
            pending = after + 3;
        }
        to.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table =
            Table::new(vec![Column::text("ID"), Column::number("FIRED"), Column::text("WHY")]);
        table.push(vec!["a".into(), "1234567".into(), "".into()]);
        table.push(vec!["longer\n".into(), "1".into(), Cell::styled("é", colour::BAD)]);
        table
    }

    #[test]
    fn columns_line_up_without_blanks_at_the_end() {
        let mut text = Vec::new();
        table().write(&mut text, ColorChoice::Never).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "ID           FIRED   WHY\n\
             a          1234567   -\n\
             longer\\n         1   é\n"
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut text = Vec::new();
        table().write(&mut text, ColorChoice::Always).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("\u{1b}[1m\u{1b}[31mé\u{1b}[0m"), "{text:?}");
        assert_eq!(anstream::adapter::strip_str(&text).to_string().lines().count(), 3);
    }
}
