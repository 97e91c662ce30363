//! Phrases that several commands use.

use super::session::Session;

/// `1 partition`, `2 partitions`.
pub fn counted<N: TryInto<i64>>(count: N, word: &str) -> String {
    let count: i64 = count.try_into().unwrap_or(i64::MAX);
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// The hint behind a name that does not exist: those that are like it, or where to look.
pub fn did_you_mean(near: &[String], otherwise: &str) -> String {
    match near {
        [] => otherwise.to_owned(),
        near => format!("did you mean {}?", near.join(" or ")),
    }
}

/// A next step for who sits at a terminal; a script has its own.
pub fn next_step(session: &Session, text: &str) {
    if session.terminal.err.is_terminal {
        session.terminal.hint(text);
    }
}

/// Lines of so many characters at most, broken between words; a word that is longer has a line of its own.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > room {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// A name, and below it what is said of it: where there is no room for columns.
pub fn block(name: &str, text: &str, width: usize) -> String {
    let lines = wrap(text, width.saturating_sub(2)).into_iter().map(|line| format!("  {line}\n"));
    format!("{name}\n{}", lines.collect::<String>())
}

/// A line that is wider than the terminal, in as many as it takes. What fits, or goes to no terminal, stays as it is.
///
/// It breaks between words, and never within `a command` that fits. What goes on stands below the last column that leaves it
/// room, or else a little further in than the line began.
pub fn folded(line: &str, width: Option<usize>) -> String {
    let Some(width) = width.filter(|width| columns(line) > *width) else { return line.to_owned() };
    let lead = blanks(line);
    let lead = if lead > width / 2 { 2 } else { lead };
    let (column, gap) = (last_column(line, width), last_gap(line));
    let further_in = column.unwrap_or(lead + 2);
    let (mut folded, mut used, mut rest) = (" ".repeat(lead), lead, line.trim_start_matches(' '));
    while !rest.is_empty() {
        let before = blanks(rest);
        let word = first_word(&rest[before..], width);
        let is_first = folded.len() == lead;
        // a column that has no room begins below
        let ends_here = column.is_none() && gap == Some(line.len() - rest.len());
        if !is_first && !word.is_empty() && (ends_here || used + before + columns(word) > width) {
            // a long name may need the whole line
            let margin = further_in.min(width.saturating_sub(columns(word)));
            folded.push('\n');
            folded.push_str(&" ".repeat(margin));
            used = margin;
        } else {
            folded.push_str(&rest[..before]);
            used += before;
        }
        folded.push_str(word);
        used += columns(word);
        rest = &rest[before + word.len()..];
    }
    folded
}

fn blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// Where the blanks between two columns begin, and the second column behind them.
fn gaps(line: &str) -> impl Iterator<Item = (usize, usize)> {
    let (text, lead) = (line.trim_end(), blanks(line));
    let begins = text.match_indices("  ").map(|(at, _)| at).filter(move |at| *at > lead && !text[..*at].ends_with(' '));
    begins.map(|at| (at, at + blanks(&text[at..])))
}

/// Where the last of the line's columns begins that leaves room for a few words.
fn last_column(line: &str, width: usize) -> Option<usize> {
    const ROOM: usize = 24;
    gaps(line).map(|(_, at)| columns(&line[..at])).filter(|column| column + ROOM <= width).last()
}

fn last_gap(line: &str) -> Option<usize> {
    gaps(line).last().map(|(at, _)| at)
}

/// Up to the next blank, or to the end of a command in backquotes that fits a line.
fn first_word(text: &str, width: usize) -> &str {
    let word = text.split(' ').next().unwrap_or_default();
    let Some(open) = word.find('`').filter(|_| word.matches('`').count() % 2 == 1) else { return word };
    let Some(close) = text[open + 1..].find('`') else { return word };
    let end = open + 1 + close + 1;
    let whole = &text[..text[end..].find(' ').map_or(text.len(), |blank| end + blank)];
    if columns(whole) + 4 <= width { whole } else { word }
}

/// What a terminal shows of it: its colours take no room.
fn columns(text: &str) -> usize {
    let mut shown = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                chars.by_ref().find(char::is_ascii_alphabetic);
            }
            _ => shown += 1,
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_has_its_plural() {
        assert_eq!(
            [counted(0, "replica"), counted(1, "replica"), counted(2, "replica")],
            ["0 replicas", "1 replica", "2 replicas"]
        );
    }

    #[test]
    fn names_that_are_near_are_offered() {
        assert_eq!(did_you_mean(&[], "look"), "look");
        assert_eq!(did_you_mean(&["a".into(), "b".into()], "look"), "did you mean a or b?");
    }

    #[test]
    fn words_are_wrapped_and_none_is_lost() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one-long-word two", 4), ["one-long-word", "two"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn a_line_that_is_too_wide_goes_on_further_in() {
        let line = "  published  OrderPaid        payments[0] offset 0";
        for fits in [None, Some(50)] {
            assert_eq!(folded(line, fits), line);
        }
        assert_eq!(folded(line, Some(49)), "  published  OrderPaid        payments[0] offset\n             0");
        assert_eq!(folded(line, Some(30)), "  published  OrderPaid\n    payments[0] offset 0");
        assert_eq!(
            folded("command      what it does, in words, and more", Some(40)),
            "command      what it does, in words, and\n             more"
        );
        assert_eq!(folded("command      what it does", Some(24)), "command\n  what it does");
        assert_eq!(folded("                    what it does, in words", Some(24)), "  what it does, in words");
        assert_eq!(folded("  id 01a22cbb-668f-72e2-8401: x", Some(24)), "  id\n01a22cbb-668f-72e2-8401:\n    x");
        assert_eq!(folded("hint: try `kafkalab learn` now", Some(24)), "hint: try\n  `kafkalab learn` now");
        assert_eq!(folded("a ` b c", Some(4)), "a `\n  b\n  c");
        assert_eq!(folded("\u{1b}[33mone\u{1b}[0m two", Some(7)), "\u{1b}[33mone\u{1b}[0m two");
        assert_eq!(folded("\u{1b}[33mone\u{1b}[0m two", Some(6)), "\u{1b}[33mone\u{1b}[0m\n  two");
        assert_eq!(folded("", Some(1)), "");
    }
}
