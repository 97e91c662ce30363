//! `-f/--format`: how a record is printed.
//!
//! ```text
//! %t topic   %p partition  %o offset     %v value (also %s)   %k key
//! %T time in ms            %d{strftime[%F %T]}                %h headers   %h{%k=%v } each header
//! %K %V %S length of key and value, -1 for null               %H number of headers
//! %i number of the record printed, from 1                     %% %{ %} themselves
//! %v{hex} %k{base64}       \n \t \r \0 \\ \xNN
//! ```
//!
//! The letters are kcat's and rpk's. Where the two differ, kcat is followed: `%T` is the time (rpk: the topic's
//! length), a null has length -1 (rpk: 0), and `%h` alone prints `name=value,name=value` with `NULL` for a null.
//! A null key or value prints as nothing unless [`Format::null_as`] names a word for it.
//!
//! A format is read once and run for every record: [`Format::write`] cannot fail and allocates nothing but room in
//! the buffer that it is given. `%v\n`, which is what a pipe gets, has a path of its own.

mod parse;
mod strftime;

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::escape;
use crate::app::RecordRef;
pub use parse::FormatError;
pub(super) use parse::escape_sequence;

#[derive(Debug)]
pub struct Format {
    program: Program,
    null: Vec<u8>,
    for_terminal: bool,
    /// `%i`. Atomic, so that a format can be shared; no other verb touches it.
    printed: AtomicU64,
}

#[derive(Debug)]
enum Program {
    /// `%v\n`
    ValueLine,
    Steps(Vec<Step>),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Literal(Vec<u8>),
    Topic(Encoding),
    Partition,
    Offset,
    Key(Encoding),
    Value(Encoding),
    KeyLength,
    ValueLength,
    Timestamp,
    Date(Vec<strftime::Part>),
    /// `%h`: all headers as kcat prints them.
    HeaderList,
    /// `%h{...}`: these steps for each header, [`Step::Key`] being its name.
    EachHeader(Vec<Step>),
    HeaderCount,
    Number,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Encoding {
    Plain,
    Hex,
    Base64,
}

impl Format {
    /// Reads a format; an error names the column and what could stand there.
    pub fn parse(text: &str) -> Result<Format, FormatError> {
        let steps = parse::steps(text)?;
        let program = match steps.as_slice() {
            [Step::Value(Encoding::Plain), Step::Literal(end)] if end == b"\n" => Program::ValueLine,
            _ => Program::Steps(steps),
        };
        Ok(Format { program, null: Vec::new(), for_terminal: false, printed: AtomicU64::new(0) })
    }

    /// What a null key or value prints as; kcat's `-Z` prints `NULL`.
    pub fn null_as(self, word: &str) -> Format {
        Format { null: word.as_bytes().to_vec(), ..self }
    }

    /// Shows what the record says instead of letting the terminal obey it. What the format itself says is the user's
    /// own and stays as written.
    pub fn for_terminal(self) -> Format {
        Format { for_terminal: true, ..self }
    }

    pub fn write(&self, out: &mut Vec<u8>, topic: &str, partition: i32, record: &RecordRef<'_>) {
        match &self.program {
            Program::ValueLine => {
                self.push(out, record.value, Encoding::Plain);
                out.push(b'\n');
            }
            Program::Steps(steps) => self.run(steps, out, topic, partition, record),
        }
    }

    fn run(&self, steps: &[Step], out: &mut Vec<u8>, topic: &str, partition: i32, record: &RecordRef<'_>) {
        for step in steps {
            match step {
                Step::Literal(bytes) => out.extend_from_slice(bytes),
                Step::Topic(encoding) => self.push(out, Some(topic.as_bytes()), *encoding),
                Step::Partition => push_int(out, partition.into()),
                Step::Offset => push_int(out, record.offset),
                Step::Key(encoding) => self.push(out, record.key, *encoding),
                Step::Value(encoding) => self.push(out, record.value, *encoding),
                Step::KeyLength => push_length(out, record.key),
                Step::ValueLength => push_length(out, record.value),
                Step::Timestamp => push_int(out, record.timestamp),
                Step::Date(parts) => strftime::push(out, parts, record.timestamp),
                Step::HeaderList => self.header_list(out, record),
                Step::EachHeader(steps) => {
                    for (name, value) in record.headers.iter() {
                        let header = RecordRef { key: Some(name), value, ..*record };
                        self.run(steps, out, topic, partition, &header);
                    }
                }
                Step::HeaderCount => push_int(out, record.headers.len() as i64),
                Step::Number => push_int(out, 1 + self.printed.fetch_add(1, Ordering::Relaxed) as i64),
            }
        }
    }

    /// `name=value,name=value`, as kcat prints it.
    fn header_list(&self, out: &mut Vec<u8>, record: &RecordRef<'_>) {
        for (at, (name, value)) in record.headers.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.push(out, Some(name), Encoding::Plain);
            out.push(b'=');
            match value {
                None => out.extend_from_slice(b"NULL"),
                value => self.push(out, value, Encoding::Plain),
            }
        }
    }

    #[inline]
    fn push(&self, out: &mut Vec<u8>, bytes: Option<&[u8]>, encoding: Encoding) {
        match (bytes, encoding) {
            (None, _) => out.extend_from_slice(&self.null),
            (Some(bytes), Encoding::Plain) if self.for_terminal => escape::push(out, bytes),
            (Some(bytes), Encoding::Plain) => out.extend_from_slice(bytes),
            (Some(bytes), Encoding::Hex) => push_hex(out, bytes),
            (Some(bytes), Encoding::Base64) => push_base64(out, bytes),
        }
    }
}

/// Decimal digits without a detour through `fmt`.
pub(super) fn push_int(out: &mut Vec<u8>, number: i64) {
    // 19 digits and a sign.
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

pub(super) fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exact, so that encoding cannot fail; were it to, nothing would be printed for the field.
    let written = BASE64.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]));
}

/// -1 tells a null from an empty one, as in kcat.
fn push_length(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    push_int(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
}

#[cfg(test)]
mod tests;
