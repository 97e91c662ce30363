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
}
