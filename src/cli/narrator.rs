//! A narrated run, a line for what happened and one for what it means.

use color_eyre::Result;
use serde::Serialize;

use super::{escape, session::Session, stdout, terminal::Palette, words::folded};

/// A step of a run, as it is told.
pub enum Line {
    /// A part of it begins.
    Part(String),
    Plain(String),
    /// What it means.
    Lesson(String),
}

/// What can be told: as a line for people, as itself in JSON.
pub trait Narrate: Serialize {
    fn line(&self, out: &Palette) -> Line;
}

/// Text for people, or JSON Lines with the same content.
pub struct Narrator<'a> {
    session: &'a Session,
    json: bool,
    quiet: bool,
    part: u32,
    failed: Option<color_eyre::Report>,
}

impl<'a> Narrator<'a> {
    pub fn new(session: &'a Session, json: bool) -> Self {
        Self { session, json, quiet: session.terminal.is_quiet(), part: 0, failed: None }
    }

    /// Says a step. A stdout that is gone is said at the end, by [`Narrator::end`].
    pub fn tell(&mut self, step: &impl Narrate) {
        if self.failed.is_some() {
            return;
        }
        let told = if self.json {
            serde_json::to_value(step).map_err(Into::into).and_then(|document| stdout::json(&document))
        } else if self.quiet {
            Ok(())
        } else {
            let text = self.text(step);
            stdout::write(text.as_bytes())
        };
        self.failed = told.err();
    }

    pub fn end(self) -> Result<()> {
        self.failed.map_or(Ok(()), Err)
    }

    fn text(&mut self, step: &impl Narrate) -> String {
        let out = &self.session.terminal.out.palette;
        let line = match step.line(out) {
            Line::Part(title) => {
                self.part += 1;
                let gap = if self.part == 1 { "" } else { "\n" };
                format!("{gap}{}", out.emphasis(format!("{}. {title}", self.part)))
            }
            Line::Plain(line) => line,
            Line::Lesson(text) => return wrapped(&text, self.session.terminal.width().unwrap_or(100)),
        };
        let line = if line.contains('\u{1b}') { line } else { escape::text(&line).into_owned() };
        // a part begins with an empty line
        line.split('\n').map(|line| folded(line, self.session.terminal.width()) + "\n").collect()
    }
}

/// `orders.v1.OrderPaid` -> `OrderPaid`
pub fn short(event_type: &str) -> &str {
    event_type.rsplit('.').next().unwrap_or(event_type)
}

/// Words in lines of at most `width` columns, with a bar before them.
fn wrapped(text: &str, width: usize) -> String {
    const BAR: &str = "  | ";
    let room = width.saturating_sub(BAR.len()).clamp(16, 96);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{BAR}{line}\n")).collect()
}
