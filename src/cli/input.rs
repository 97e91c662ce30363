//! From the bytes of stdin or a file to records: lines, keys, headers.
//!
//! ```text
//! chunk  "one\ntwo\nthr" -> one, two              a line is borrowed from its chunk;
//! chunk  "ee\n\nlast"    -> three, (empty)        one that spans chunks is put together once
//! end                    -> last                  what comes after the last delimiter is a line, if it has bytes
//! ```
//!
//! Bytes are kept as they are, a `\r` included. An empty line is a record with an empty value (kcat drops it), so that
//! a file which ends in a newline comes back byte for byte.

use memchr::memmem;

use super::format::escape_sequence;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    #[error("line {line} is longer than {limit} bytes; is the delimiter (-D) right?")]
    LineTooLong { line: u64, limit: usize },
    #[error("delimiter `{text}`: {reason}")]
    Delimiter { text: String, reason: String },
    #[error("header `{text}`: the name is empty; write name=value, name:value, or the name alone for a null")]
    HeaderName { text: String },
}

/// A line, and its number from 1, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    pub number: u64,
    pub bytes: &'a [u8],
}

/// Cuts chunks into lines. Nothing is allocated per line: room is only made for a line that spans chunks, and used
/// again for the next one.
#[derive(Debug)]
pub struct LineSplitter {
    delimiter: u8,
    limit: usize,
    /// The beginning of a line whose end has not come yet.
    carry: Vec<u8>,
    /// `carry` was handed out whole and is to be emptied.
    carry_is_spent: bool,
    /// Within a line that is too long and was reported: pass over the rest of it.
    skipping: bool,
    number: u64,
}

impl LineSplitter {
    /// `limit` bounds a line's length, without its delimiter, and with it the memory.
    pub fn new(delimiter: u8, limit: usize) -> Self {
        Self { delimiter, limit, carry: Vec::new(), carry_is_spent: false, skipping: false, number: 0 }
    }

    /// The lines that end in this chunk. Take all of them before the next chunk.
    pub fn feed<'a>(&'a mut self, chunk: &'a [u8]) -> Lines<'a> {
        Lines { splitter: self, rest: chunk }
    }

    /// What stands after the last delimiter, once the input has ended.
    pub fn finish(&mut self) -> Option<Line<'_>> {
        self.empty_spent_carry();
        self.skipping = false;
        if self.carry.is_empty() {
            return None;
        }
        self.number += 1;
        self.carry_is_spent = true;
        Some(Line { number: self.number, bytes: &self.carry })
    }

    fn empty_spent_carry(&mut self) {
        if self.carry_is_spent {
            self.carry.clear();
            self.carry_is_spent = false;
        }
    }
}

/// The lines of one chunk; not an `Iterator`, because a line may lie in the splitter and must be let go of first.
#[derive(Debug)]
pub struct Lines<'a> {
    splitter: &'a mut LineSplitter,
    rest: &'a [u8],
}

impl Lines<'_> {
    /// A line that is too long is an error once; the lines after it go on.
    pub fn next_line(&mut self) -> Option<Result<Line<'_>, InputError>> {
        let splitter = &mut *self.splitter;
        splitter.empty_spent_carry();
        loop {
            let end = memchr::memchr(splitter.delimiter, self.rest);
            let (line, rest) = match end {
                Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
                None => (self.rest, &[][..]),
            };
            if end.is_none() && line.is_empty() {
                return None;
            }
            self.rest = rest;
            if splitter.skipping {
                splitter.skipping = end.is_none();
                continue;
            }
            if splitter.carry.len() + line.len() > splitter.limit {
                splitter.carry.clear();
                splitter.skipping = end.is_none();
                splitter.number += 1;
                return Some(Err(InputError::LineTooLong { line: splitter.number, limit: splitter.limit }));
            }
            if end.is_none() {
                splitter.carry.extend_from_slice(line);
                return None;
            }
            splitter.number += 1;
            let number = splitter.number;
            if splitter.carry.is_empty() {
                return Some(Ok(Line { number, bytes: line }));
            }
            splitter.carry.extend_from_slice(line);
            splitter.carry_is_spent = true;
            return Some(Ok(Line { number, bytes: &splitter.carry }));
        }
    }
}

/// `-K`: key and value of a line, parted at the first occurrence of a delimiter.
#[derive(Debug, Clone)]
pub struct KeySplit {
    delimiter: memmem::Finder<'static>,
}

impl KeySplit {
    /// The delimiter as the user wrote it: any text, with the escapes of a format.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        Ok(Self { delimiter: memmem::Finder::new(&unescape(text)?).into_owned() })
    }

    /// The key, if the line has the delimiter, and the value. As in kcat, a line without it is all value, and a line
    /// that begins with it has an empty key.
    #[inline]
    pub fn split<'a>(&self, line: &'a [u8]) -> (Option<&'a [u8]>, &'a [u8]) {
        match self.delimiter.find(line) {
            Some(at) => (Some(&line[..at]), &line[at + self.delimiter.needle().len()..]),
            None => (None, line),
        }
    }
}

/// `-D`: the byte that ends a line.
pub fn parse_delimiter(text: &str) -> Result<u8, InputError> {
    match unescape(text)?.as_slice() {
        [byte] => Ok(*byte),
        _ => Err(InputError::Delimiter { text: text.to_owned(), reason: "it must be one byte".to_owned() }),
    }
}

/// `-H`: a name and its value, split at the first `=` or `:`. A name alone has a null value, as in kcat.
pub fn parse_header(text: &str) -> Result<(&str, Option<&str>), InputError> {
    let (name, value) = match text.split_once(['=', ':']) {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    if name.is_empty() { Err(InputError::HeaderName { text: text.to_owned() }) } else { Ok((name, value)) }
}

fn unescape(text: &str) -> Result<Vec<u8>, InputError> {
    let wrong = |reason: String| InputError::Delimiter { text: text.to_owned(), reason };
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let (byte, length) = escape_sequence(&rest[at..]).map_err(wrong)?;
        out.push(byte);
        rest = &rest[at + length..];
    }
    out.extend_from_slice(rest.as_bytes());
    if out.is_empty() { Err(wrong("it is empty".to_owned())) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the chunks are cut into; an error as its line's number.
    fn cut(chunks: &[&[u8]], limit: usize) -> Vec<Result<(u64, Vec<u8>), u64>> {
        let mut splitter = LineSplitter::new(b'\n', limit);
        let mut cut = Vec::new();
        for chunk in chunks {
            let mut lines = splitter.feed(chunk);
            while let Some(line) = lines.next_line() {
                cut.push(match line {
                    Ok(line) => Ok((line.number, line.bytes.to_vec())),
                    Err(InputError::LineTooLong { line, .. }) => Err(line),
                    Err(other) => unreachable!("{other}"),
                });
            }
        }
        cut.extend(splitter.finish().map(|line| Ok((line.number, line.bytes.to_vec()))));
        assert_eq!(splitter.finish(), None);
        cut
    }

    fn lines(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        cut(chunks, 100).into_iter().map(|line| line.unwrap().1).collect()
    }

    #[test]
    fn an_empty_line_is_a_line_and_the_last_one_needs_no_newline() {
        assert_eq!(lines(&[b"one\n\ntwo\n"]), [&b"one"[..], b"", b"two"]);
        assert_eq!(lines(&[b"one\nlast"]), [&b"one"[..], b"last"]);
        assert_eq!(lines(&[b"\n"]), [b""]);
        assert_eq!(lines(&[b""]), Vec::<Vec<u8>>::new());
        assert_eq!(lines(&[b"dos\r\n\xff\n"]), [&b"dos\r"[..], b"\xff"]);
    }

    #[test]
    fn a_line_that_spans_chunks_is_whole() {
        assert_eq!(lines(&[b"o", b"ne", b"\ntw", b"o\n", b"", b"\nla", b"st"]), [&b"one"[..], b"two", b"", b"last"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_reported_once_by_its_number_and_the_rest_goes_on() {
        let expected = vec![Ok((1, b"ok".to_vec())), Err(2), Ok((3, b"1234".to_vec())), Err(4), Ok((5, b"z".to_vec()))];
        assert_eq!(cut(&[b"ok\n12345\n1234\nabcdefgh\nz\n"], 4), expected);
        assert_eq!(cut(&[b"ok\n12", b"345", b"\n12", b"34\nabc", b"defgh", b"ijk", b"l\nz"], 4), expected);
        assert_eq!(cut(&[b"12345"], 4), [Err(1)]);
        let limit = LineSplitter::new(b'\n', 4).feed(b"12345").next_line().unwrap().unwrap_err().to_string();
        assert!(limit.contains("line 1") && limit.contains("4 bytes"), "{limit}");
    }

    #[test]
    fn memory_is_bounded_by_the_limit() {
        let mut splitter = LineSplitter::new(b'\n', 1000);
        for _ in 0..1000 {
            while splitter.feed(&[b'x'; 999]).next_line().is_some() {}
        }
        assert!(splitter.carry.capacity() <= 2000);
    }

    #[test]
    fn the_key_ends_at_the_first_delimiter_only() {
        let split = |delimiter, line| KeySplit::parse(delimiter).unwrap().split(line);
        assert_eq!(split(":", b"k:v:w"), (Some(&b"k"[..]), &b"v:w"[..]));
        assert_eq!(split("::", b"a:b::c::d"), (Some(&b"a:b"[..]), &b"c::d"[..]));
        assert_eq!(split(r"\t", b"k\tv"), (Some(&b"k"[..]), &b"v"[..]));
        assert_eq!(split(r"\xff", b"k\xffv"), (Some(&b"k"[..]), &b"v"[..]));
        assert_eq!(split(":", b"no key"), (None, &b"no key"[..]));
        assert_eq!(split(":", b":v"), (Some(&b""[..]), &b"v"[..]));
        assert_eq!(split(":", b"k:"), (Some(&b"k"[..]), &b""[..]));
        assert_eq!(split(":", b""), (None, &b""[..]));
        assert!(KeySplit::parse("").unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn a_line_ends_at_one_byte() {
        assert_eq!(parse_delimiter(r"\n"), Ok(b'\n'));
        assert_eq!(parse_delimiter(r"\0"), Ok(0));
        assert_eq!(parse_delimiter(";"), Ok(b';'));
        assert_eq!(parse_delimiter(r"\xff"), Ok(0xff));
        for wrong in ["", "ab", "é", r"\q", r"\"] {
            assert!(matches!(parse_delimiter(wrong), Err(InputError::Delimiter { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_header_is_split_where_the_first_of_both_signs_comes() {
        for (text, name, value) in [
            ("k=v", "k", Some("v")),
            ("k:v", "k", Some("v")),
            ("k=a:b=c", "k", Some("a:b=c")),
            ("k:a=b", "k", Some("a=b")),
            ("k=", "k", Some("")),
            ("k", "k", None),
            ("a b= c ", "a b", Some(" c ")),
        ] {
            assert_eq!(parse_header(text), Ok((name, value)), "{text}");
        }
        for wrong in ["", "=v", ":v"] {
            assert!(matches!(parse_header(wrong), Err(InputError::HeaderName { .. })), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn however_it_is_chunked_the_lines_are_the_same_and_joined_they_are_the_input(
            input in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            sizes in proptest::collection::vec(1..20usize, 1..20),
        ) {
            let mut chunks = Vec::new();
            let mut rest = input.as_slice();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, after) = rest.split_at(rest.len().min(*size));
                chunks.push(chunk);
                rest = after;
            }
            let whole = cut(&[&input], 1000);
            prop_assert_eq!(&cut(&chunks, 1000), &whole);
            let ended = |line: Result<(u64, Vec<u8>), u64>| [line.unwrap().1, vec![b'\n']].concat();
            let mut joined: Vec<u8> = whole.into_iter().flat_map(ended).collect();
            if input.last().is_some_and(|last| *last != b'\n') {
                joined.pop();
            }
            prop_assert_eq!(joined, input);
        }
    }
}
