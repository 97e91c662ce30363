//! From the text of a format to the steps that print it.

use super::{Encoding, Step, strftime};

/// Every verb, as errors and `--help` list them.
pub const VERBS: &str = "  \
  %t topic   %p partition   %o offset   %k key   %v value (also %s)   %T timestamp in ms
  %d{strftime[%F %T]} time in UTC   %h headers   %h{%k=%v } each header   %H number of headers
  %K %V (also %S) length of key and value, -1 for null   %i number of the record, from 1   %% %{ %}
  after %t %k %v: {hex} or {base64}   escapes: \\n \\t \\r \\0 \\\\ \\xNN";

/// What is wrong with a format, and at which character of it (counted from 1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("format `{format}`, column {column}: {reason}")]
pub struct FormatError {
    pub format: String,
    pub column: usize,
    pub reason: String,
}

pub(super) fn steps(text: &str) -> Result<Vec<Step>, FormatError> {
    let mut reader = Reader { text, at: 0, in_header: false };
    reader.steps().map_err(|(at, reason)| FormatError {
        format: text.to_owned(),
        column: text.get(..at).map_or(0, |before| before.chars().count()) + 1,
        reason,
    })
}

/// Where the mistake begins, in bytes, and what it is.
type Mistake = (usize, String);

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Within `%h{...}`, where a brace closes and only a header's own verbs stand.
    in_header: bool,
}

impl<'a> Reader<'a> {
    fn steps(&mut self) -> Result<Vec<Step>, Mistake> {
        let mut steps = Vec::new();
        while let Some(c) = self.peek() {
            let start = self.at;
            match c {
                '}' if self.in_header => return Ok(steps),
                '\\' => {
                    let byte = self.escape()?;
                    push_literal(&mut steps, &[byte]);
                }
                '%' => {
                    self.at += 1;
                    match self.peek() {
                        None => return Err((start, "`%` at the end; `%%` prints a percent sign".to_owned())),
                        Some(c @ ('%' | '{' | '}')) => {
                            self.at += 1;
                            push_literal(&mut steps, &[c as u8]);
                        }
                        Some(verb) => {
                            self.at += verb.len_utf8();
                            let step = self.verb(start, verb)?;
                            steps.push(step);
                        }
                    }
                }
                c => {
                    self.at += c.len_utf8();
                    push_literal(&mut steps, &self.text.as_bytes()[start..self.at]);
                }
            }
        }
        Ok(steps)
    }

    fn verb(&mut self, start: usize, verb: char) -> Result<Step, Mistake> {
        if self.in_header && !matches!(verb, 'k' | 'v' | 's' | 'K' | 'V' | 'S') {
            return Err((start, format!("`%{verb}` within %h{{...}}; a header has %k %v %K %V, plain, hex or base64")));
        }
        let step = match verb {
            't' => Step::Topic(self.encoding()?),
            'k' => Step::Key(self.encoding()?),
            'v' | 's' => Step::Value(self.encoding()?),
            'd' => self.date()?,
            'h' => self.headers(start)?,
            'p' => Step::Partition,
            'o' => Step::Offset,
            'K' => Step::KeyLength,
            'V' | 'S' => Step::ValueLength,
            'H' => Step::HeaderCount,
            'T' => Step::Timestamp,
            'i' => Step::Number,
            _ => return Err((start, format!("unknown verb `%{verb}`; the verbs are\n{VERBS}"))),
        };
        // rpk has number formats such as {big32} here. Printing the brace instead would go unnoticed.
        if !matches!(verb, 't' | 'k' | 'v' | 's' | 'd' | 'h') && self.peek() == Some('{') {
            return Err((self.at, format!("`%{verb}` takes no modifier; `%{{` prints a brace")));
        }
        Ok(step)
    }

    fn encoding(&mut self) -> Result<Encoding, Mistake> {
        let start = self.at;
        let Some(rest) = self.rest().strip_prefix('{') else { return Ok(Encoding::Plain) };
        let (name, _) = rest.split_once('}').ok_or((start, "the brace is not closed".to_owned()))?;
        self.at += name.len() + 2;
        match name {
            "hex" => Ok(Encoding::Hex),
            "base64" => Ok(Encoding::Base64),
            _ => Err((
                start,
                format!("unknown modifier `{{{name}}}`; {{hex}} and {{base64}} are known, `%{{` prints a brace"),
            )),
        }
    }

    fn headers(&mut self, start: usize) -> Result<Step, Mistake> {
        if self.peek() != Some('{') {
            return Ok(Step::HeaderList);
        }
        self.at += 1;
        self.in_header = true;
        let steps = self.steps()?;
        self.in_header = false;
        if self.peek() != Some('}') {
            return Err((start, "the brace of %h{...} is not closed".to_owned()));
        }
        self.at += 1;
        Ok(Step::EachHeader(steps))
    }

    /// `%d`, `%d{strftime[...]}`. As in rpk, any run of `[`, `{` and `#` opens, and its mirror closes, so that a
    /// format may hold brackets of its own.
    fn date(&mut self) -> Result<Step, Mistake> {
        let start = self.at;
        let Some(inner) = self.rest().strip_prefix('{') else { return Ok(Step::Timestamp) };
        let wrong = || (start, "after %d comes nothing or {strftime[...]}, such as %d{strftime[%F %T]}".to_owned());
        let inner = inner.strip_prefix("strftime").ok_or_else(wrong)?;
        let opening = inner.bytes().take_while(|b| matches!(b, b'[' | b'{' | b'#')).count();
        let mirror = |c| match c {
            '[' => ']',
            '{' => '}',
            other => other,
        };
        let closing: String = inner[..opening].chars().rev().map(mirror).chain(['}']).collect();
        let body = &inner[opening..];
        let length = body.find(&closing).filter(|_| opening > 0).ok_or_else(wrong)?;
        let body_at = self.at + "{strftime".len() + opening;
        self.at = body_at + length + closing.len();
        let parts = strftime::parse(&body[..length]).map_err(|(at, reason)| (body_at + at, reason))?;
        Ok(Step::Date(parts))
    }

    fn escape(&mut self) -> Result<u8, Mistake> {
        let start = self.at;
        let (byte, length) = escape_sequence(self.rest()).map_err(|reason| (start, reason))?;
        self.at += length;
        Ok(byte)
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
}

/// Reads the escape that `rest` begins with: its byte, and how long it was. Delimiters (`-K`, `-D`) have the same ones.
pub(in crate::cli) fn escape_sequence(rest: &str) -> Result<(u8, usize), String> {
    match rest.as_bytes() {
        [_, b'n', ..] => Ok((b'\n', 2)),
        [_, b't', ..] => Ok((b'\t', 2)),
        [_, b'r', ..] => Ok((b'\r', 2)),
        [_, b'0', ..] => Ok((0, 2)),
        [_, b'\\', ..] => Ok((b'\\', 2)),
        [_, b'x', digits @ ..] => match digits.first_chunk().map(|pair| pair.map(|d| char::from(d).to_digit(16))) {
            Some([Some(high), Some(low)]) => Ok(((high * 16 + low) as u8, 4)),
            _ => Err("`\\x` takes two hexadecimal digits, such as \\x1f".to_owned()),
        },
        _ => Err("unknown escape; known are \\n \\t \\r \\0 \\\\ \\xNN, and `\\\\` prints a backslash".to_owned()),
    }
}

/// Neighbouring literals become one step.
fn push_literal(steps: &mut Vec<Step>, bytes: &[u8]) {
    match steps.last_mut() {
        Some(Step::Literal(literal)) => literal.extend_from_slice(bytes),
        _ => steps.push(Step::Literal(bytes.to_vec())),
    }
}
