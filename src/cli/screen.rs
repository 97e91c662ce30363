//! A picture that is drawn again and again in place.
//!
//! Nothing is cleared before something stands in its place: each line is written over the one before and its rest erased, then
//! what is left below. One write is one picture. Lines are cut at the right edge while a picture is drawn, for a line that
//! wraps would move all below it.

use color_eyre::Result;

use super::{stdout, terminal::Terminal};

/// Where pictures are shown: each over the one before, or below it where nothing can be drawn over.
pub struct Screen<'a> {
    terminal: &'a Terminal,
    /// Lines of the picture before.
    lines: usize,
    is_first: bool,
}

impl<'a> Screen<'a> {
    pub fn new(terminal: &'a Terminal) -> Self {
        Self { terminal, lines: 0, is_first: true }
    }

    pub fn show(&mut self, picture: &str) -> Result<()> {
        let bytes = if self.terminal.redraws() {
            let lines: Vec<&str> = picture.lines().collect();
            let (bytes, lines) = over(&lines, self.lines, self.terminal.height());
            self.lines = lines;
            bytes
        } else {
            let gap = if self.is_first { "" } else { "\n" };
            format!("{gap}{picture}")
        };
        self.is_first = false;
        stdout::write(bytes.as_bytes())
    }
}

/// The picture over one of `before` lines, and how many lines it has.
fn over(lines: &[&str], before: usize, height: Option<usize>) -> (String, usize) {
    // the last row is for the cursor: a picture that fills it scrolls
    let room = height.unwrap_or(usize::MAX).saturating_sub(1).max(1);
    let (shown, cut) = if lines.len() > room { (room - 1, lines.len() + 1 - room) } else { (lines.len(), 0) };
    let mut out = String::from("\x1b[?7l");
    if before > 0 {
        out.push_str(&format!("\x1b[{before}F"));
    }
    for line in &lines[..shown] {
        out.push_str(line);
        out.push_str("\x1b[K\n");
    }
    if cut > 0 {
        out.push_str(&format!("... {cut} more lines\x1b[K\n"));
    }
    out.push_str("\x1b[J\x1b[?7h");
    (out, shown + usize::from(cut > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_stands_over_the_one_before() {
        assert_eq!(over(&["a", "b"], 0, Some(24)), ("\x1b[?7la\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h".to_owned(), 2));
        assert_eq!(over(&["c"], 2, Some(24)), ("\x1b[?7l\x1b[2Fc\x1b[K\n\x1b[J\x1b[?7h".to_owned(), 1));
    }

    #[test]
    fn a_picture_that_is_too_high_is_cut_and_says_so() {
        let (bytes, lines) = over(&["a", "b", "c", "d"], 0, Some(4));
        assert_eq!((bytes.as_str(), lines), ("\x1b[?7la\x1b[K\nb\x1b[K\n... 2 more lines\x1b[K\n\x1b[J\x1b[?7h", 3));
        assert_eq!(over(&["a", "b", "c"], 0, Some(4)).1, 3);
        assert_eq!(over(&["a", "b"], 0, Some(1)).1, 1);
    }
}
