//! What a record or an error says, made harmless for a terminal.
//!
//! A payload can carry sequences that move the cursor, rename the window, write the clipboard (OSC 52) or turn the
//! reading order of a line around. On a terminal they are shown instead of obeyed:
//!
//! ```text
//! ESC [ 31 m   ->  \x1b[31m         a control character as \xNN, a character beyond ASCII as \u{...}
//! 0xff         ->  \xff             bytes that are not UTF-8
//! CR LF        ->  kept;            a CR alone would overwrite the line
//! ```
//!
//! Pipes, files and `--raw` keep their bytes: this is for what a person looks at.

use std::borrow::Cow;

/// For text whose lines are its own: a payload. Newlines and tabs stay.
#[cfg(test)]
fn bytes(input: &[u8]) -> Cow<'_, str> {
    escaped(input, Lines::Keep)
}

/// As [`bytes`], for text that is UTF-8.
pub fn text(input: &str) -> Cow<'_, str> {
    escaped(input.as_bytes(), Lines::Keep)
}

/// For text that must stay within its line, such as a key within a message: newlines and tabs are shown as well.
pub fn line(input: &[u8]) -> Cow<'_, str> {
    escaped(input, Lines::Show)
}

/// As [`bytes`], appended to what is being written.
pub fn push(out: &mut Vec<u8>, input: &[u8]) {
    push_as(out, input, Lines::Keep);
}

/// True for a character that a terminal obeys, or that changes how the characters around it are read.
/// Newline and tab count; the caller knows whether they are welcome.
pub fn is_harmful(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f'
        | '\x7f'..='\u{9f}'                 // DEL and C1: U+009B is CSI, U+009D OSC
        | '\u{61c}' | '\u{200e}' | '\u{200f}' // direction marks
        | '\u{2028}' | '\u{2029}'           // line and paragraph separator
        | '\u{202a}'..='\u{202e}'           // embeddings and overrides
        | '\u{2066}'..='\u{2069}') // isolates
}

#[derive(Clone, Copy, PartialEq)]
enum Lines {
    Keep,
    Show,
}

fn escaped(input: &[u8], lines: Lines) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(input) {
        let harmless = |(at, c)| !is_harmful(c) || (lines == Lines::Keep && keeps(c, input.get(at + 1)));
        if text.char_indices().all(harmless) {
            return Cow::Borrowed(text);
        }
    }
    let mut out = Vec::with_capacity(input.len() + 16);
    push_as(&mut out, input, lines);
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Newline, tab, and the CR of a CR LF.
fn keeps(c: char, next: Option<&u8>) -> bool {
    matches!(c, '\n' | '\t') || (c == '\r' && next == Some(&b'\n'))
}

fn push_as(out: &mut Vec<u8>, input: &[u8], lines: Lines) {
    if input.iter().all(|b| matches!(b, b' '..=b'~')) {
        return out.extend_from_slice(input);
    }
    // Where the character stands in `input`: what follows it may be in the next chunk.
    let mut at = 0;
    for chunk in input.utf8_chunks() {
        for c in chunk.valid().chars() {
            at += c.len_utf8();
            if !is_harmful(c) || (lines == Lines::Keep && keeps(c, input.get(at))) {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                push_shown(out, c);
            }
        }
        for byte in chunk.invalid() {
            push_hex(out, *byte);
        }
        at += chunk.invalid().len();
    }
}

fn push_shown(out: &mut Vec<u8>, c: char) {
    match (c, u8::try_from(u32::from(c))) {
        ('\n', _) => out.extend_from_slice(b"\\n"),
        ('\t', _) => out.extend_from_slice(b"\\t"),
        ('\r', _) => out.extend_from_slice(b"\\r"),
        (_, Ok(byte)) if byte.is_ascii() => push_hex(out, byte),
        // Not \xNN: that stands for one raw byte, and this is a character of two or three.
        _ => out.extend(c.escape_unicode().map(|c| c as u8)),
    }
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_of_any_script_is_borrowed() {
        for plain in ["", "hello", "zwei\nZeilen\tmit Tab\n", "naïve café €5 日本語 🦀", "dos\r\nfile\r\n"] {
            assert!(matches!(text(plain), Cow::Borrowed(same) if same == plain), "{plain:?}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (input, shown) in [
            (&b"\x1b[31mred\x1b[0m"[..], r"\x1b[31mred\x1b[0m"),
            (b"\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07"),
            (b"\x1b]0;title\x1b\\", r"\x1b]0;title\x1b\"),
            (b"good\rbad", r"good\rbad"),
            (b"ends in \r", r"ends in \r"),
            (b"\x08\x7f\x00", r"\x08\x7f\x00"),
            (b"raw C1 \x9b31m", r"raw C1 \x9b31m"),
            (b"coded C1 \xc2\x9b31m", r"coded C1 \u{9b}31m"),
            ("a\u{202e}b\u{2066}c\u{200f}d\u{61c}e".as_bytes(), r"a\u{202e}b\u{2066}c\u{200f}d\u{61c}e"),
            ("one\u{2028}two\u{2029}".as_bytes(), r"one\u{2028}two\u{2029}"),
            (b"\xff\xfe ok", r"\xff\xfe ok"),
            (b"cut \xe2\x82", r"cut \xe2\x82"),
        ] {
            assert_eq!(bytes(input), shown);
        }
    }

    #[test]
    fn a_line_keeps_neither_newline_nor_tab() {
        assert_eq!(line(b"key\nINFO forged\tlog\r\n"), r"key\nINFO forged\tlog\r\n");
        assert!(matches!(line(b"key-1"), Cow::Borrowed("key-1")));
    }

    proptest! {
        #[test]
        fn nothing_harmful_comes_through(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            let kept = bytes(&input);
            for (at, c) in kept.char_indices() {
                prop_assert!(!is_harmful(c) || keeps(c, kept.as_bytes().get(at + 1)), "{c:?} in {kept:?}");
            }
            prop_assert!(!line(&input).chars().any(is_harmful));
            let mut pushed = Vec::new();
            push(&mut pushed, &input);
            prop_assert_eq!(pushed, kept.as_bytes());
        }
    }
}
