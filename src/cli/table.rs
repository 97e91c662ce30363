//! Rows in columns; where the terminal is too narrow for them, each row as a few short lines.
//!
//! ```text
//! TOPIC   PARTITIONS  REPLICAS        orders
//! orders           3         1          partitions 3, replicas 1
//! ```

use super::{escape, terminal::Terminal};

/// What goes between two columns, and before the second line of a row that is too wide.
const GAP: &str = "  ";

#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    /// Numbers, whose digits stand below each other.
    right: bool,
}

pub const fn text(title: &'static str) -> Column {
    Column { title, right: false }
}

pub const fn number(title: &'static str) -> Column {
    Column { title, right: true }
}

/// Rows of as many cells as there are columns. A column without a word in it is left out.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    cuts_last: bool,
}

/// Of a column that is cut so much is left at least; where there is less room, rows become lines.
const LEAST: usize = 20;

impl Table {
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), cuts_last: false }
    }

    /// The last column has words that may be long: on a terminal they are cut to its width.
    pub fn cutting_the_last(self) -> Self {
        Self { cuts_last: true, ..self }
    }

    /// Adds a row. Cells may come from a broker: each stays within its line.
    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|cell| escape::line(cell.as_ref().as_bytes()).into_owned()).collect());
    }

    /// As it suits what is behind stdout: in columns wherever they fit, or where there is no width to fit.
    pub fn render(&self, terminal: &Terminal) -> String {
        if let Some(cut) = terminal.width().filter(|_| self.cuts_last).and_then(|width| self.cut(width)) {
            return cut.render(terminal);
        }
        let widths = self.widths();
        let shown = widths.iter().filter(|width| **width > 0).count();
        let total = widths.iter().sum::<usize>() + GAP.len() * shown.saturating_sub(1);
        match terminal.width() {
            Some(width) if width < total => self.rows.iter().map(|row| self.stacked(row, width)).collect(),
            _ => {
                let title = self.line(self.columns.iter().map(|column| column.title), &widths);
                let rows = self.rows.iter().map(|row| self.line(row.iter().map(String::as_str), &widths) + "\n");
                format!("{}\n{}", terminal.out.palette.emphasis(title), rows.collect::<String>())
            }
        }
    }

    /// The same with the last column cut so that all fits; `None` where it fits already.
    fn cut(&self, width: usize) -> Option<Self> {
        let widths = self.widths();
        let (last, others) = widths.split_last()?;
        let before = others.iter().filter(|width| **width > 0).map(|width| width + GAP.len()).sum::<usize>();
        let title = self.columns.last().map_or(0, |column| length(column.title));
        let room = match width.saturating_sub(before) {
            room if room >= *last => return None,
            room if room >= LEAST.max(title) => room,
            _ => width.saturating_sub(GAP.len() + title + 1), // as a line of its own, behind its title
        };
        let mut rows = self.rows.clone();
        for cell in rows.iter_mut().filter_map(|row| row.last_mut()) {
            if length(cell) > room {
                *cell = cell.chars().take(room.saturating_sub(3)).chain("...".chars()).collect();
            }
        }
        Some(Self { columns: self.columns.clone(), rows, cuts_last: false })
    }

    /// Of each column; 0 for those that are left out.
    fn widths(&self) -> Vec<usize> {
        let widest = |at: usize| self.rows.iter().filter_map(|row| row.get(at)).map(|cell| length(cell)).max();
        let columns = self.columns.iter().enumerate();
        columns
            .map(|(at, column)| widest(at).filter(|width| *width > 0).map_or(0, |w| w.max(length(column.title))))
            .collect()
    }

    fn line<'a>(&self, cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, column), width) in cells.zip(&self.columns).zip(widths).filter(|(_, width)| **width > 0) {
            let pad = " ".repeat(width.saturating_sub(length(cell)));
            if !line.is_empty() {
                line.push_str(GAP);
            }
            match column.right {
                true => line.extend([pad.as_str(), cell]),
                false => line.extend([cell, pad.as_str()]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }

    /// The first cell on a line of its own, the others below it with their titles.
    fn stacked(&self, row: &[String], width: usize) -> String {
        let titled = |cell: &String, column: &Column| format!("{} {cell}", column.title.to_lowercase());
        let mut cells = row.iter().zip(&self.columns);
        let mut lines = match cells.next() {
            Some((cell, column)) if column.right => vec![titled(cell, column)],
            first => vec![first.map(|(cell, _)| cell.clone()).unwrap_or_default()],
        };
        let mut line = String::new();
        for part in cells.filter(|(cell, _)| !cell.is_empty()).map(|(cell, column)| titled(cell, column)) {
            // with room for the comma that a line before another one ends in
            if !line.is_empty() && length(&line) + length(", ") + length(&part) + length(",") > width {
                lines.push(std::mem::take(&mut line) + ",");
            }
            line.push_str(if line.is_empty() { GAP } else { ", " });
            line.push_str(&part);
        }
        lines.extend((!line.is_empty()).then_some(line));
        lines.join("\n") + "\n"
    }
}

/// In columns of a terminal. Names of topics and settings are ASCII; wide letters in a value only spoil the alignment.
fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::Streams;

    fn table() -> Table {
        let mut table = Table::new(&[text("TOPIC"), number("PARTITIONS"), text("NOTE"), number("REPLICAS")]);
        table.row(["orders", "3", "", "1"]);
        table.row(["a\u{1b}[2J\n", "12", "", "1"]);
        table
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let piped = Terminal::new(Streams::default(), true, false, |_| None);
        assert_eq!(
            table().render(&piped),
            "TOPIC       PARTITIONS  REPLICAS\norders               3         1\na\\x1b[2J\\n          12         1\n"
        );
    }

    #[test]
    fn the_last_column_is_cut_where_it_is_too_long() {
        let mut table = Table::new(&[text("AT"), text("REASON")]);
        table.row(["0:1", "the price is no number, and more"]);
        let last = |width| table.cut(width).map(|cut| cut.rows[0][1].clone());
        assert_eq!(last(37), None);
        assert_eq!(last(36).as_deref(), Some("the price is no number, and ..."));
        assert_eq!(last(25).as_deref(), Some("the price is no n..."));
        assert_eq!(last(24).as_deref(), Some("the price is..."), "a line of its own: `  reason ...`");
        assert_eq!(table.stacked(&table.cut(24).unwrap().rows[0], 24), "0:1\n  reason the price is...\n");
    }

    #[test]
    fn a_row_that_does_not_fit_becomes_lines() {
        let row = |width| table().stacked(&["orders".into(), "3".into(), "odd".into(), "1".into()], width);
        assert_eq!(row(40), "orders\n  partitions 3, note odd, replicas 1\n");
        assert_eq!(row(25), "orders\n  partitions 3, note odd,\n  replicas 1\n");
        assert_eq!(row(24), "orders\n  partitions 3,\n  note odd, replicas 1\n");
    }
}
