//! `-J/--json` and `--input json`: a record as one line of JSON, in both directions.
//!
//! ```text
//! {"topic":"orders","partition":0,"offset":42,"ts":1769904000250,"timestamp":"2026-02-01T00:00:00.250Z",
//!  "headers":[{"key":"trace","value":"1"}],"key":"o-1","payload":"{\"a\":1}"}          (one line)
//! ```
//!
//! What is not UTF-8 is base64, said by `key_encoding`, `payload_encoding` and, in a header, `key_encoding` and
//! `value_encoding`. A tombstone's payload is `null`. So `consume -J a | produce --input json b` gives equal records.
//! Characters that a terminal would obey are written as `\u` escapes, which mean the same to every reader of JSON.
//!
//! [`parse`] also reads what other tools write: `value` for `payload`, rpk's `timestamp` in milliseconds, kcat's flat
//! list of headers, an object of headers; and, from a person's hand, a payload that is JSON itself
//! (`"payload": {"a": 1}` is the text `{"a":1}`).

mod parse;

use time::OffsetDateTime;

use super::escape;
use super::format::{push_base64, push_int};
use crate::app::RecordRef;
#[cfg(test)]
use parse::InputRecord;
pub use parse::parse;

/// Appends the record's line, its newline included.
pub fn write(out: &mut Vec<u8>, topic: &str, partition: i32, record: &RecordRef<'_>) {
    out.extend_from_slice(b"{\"topic\":");
    push_string(out, topic);
    out.extend_from_slice(b",\"partition\":");
    push_int(out, partition.into());
    out.extend_from_slice(b",\"offset\":");
    push_int(out, record.offset);
    out.extend_from_slice(b",\"ts\":");
    push_int(out, record.timestamp);
    out.extend_from_slice(b",\"timestamp\":");
    push_time(out, record.timestamp);
    out.extend_from_slice(b",\"headers\":[");
    for (at, (name, value)) in record.headers.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{" } else { b",{" });
        push_field(out, "key", Some(name));
        out.push(b',');
        push_field(out, "value", value);
        out.push(b'}');
    }
    out.extend_from_slice(b"],");
    push_field(out, "key", record.key);
    out.push(b',');
    push_field(out, "payload", record.value);
    out.extend_from_slice(b"}\n");
}

/// `"name":"text"`, or `"name":"aGk=","name_encoding":"base64"`, or `"name":null`.
fn push_field(out: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => out.extend_from_slice(b"null"),
        Some((_, Ok(text))) => push_string(out, text),
        Some((bytes, Err(_))) => {
            out.push(b'"');
            push_base64(out, bytes);
            out.extend_from_slice(b"\",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"_encoding\":\"base64\"");
        }
    }
}

/// The first bytes of all that is escaped: control characters, the two that JSON needs, and the leads of C1 (0xc2),
/// U+061C (0xd8) and the marks at U+20xx (0xe2). Everything else is passed over a byte at a time.
const SUSPECT: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        suspect[byte] = matches!(byte as u8, 0..=0x1f | b'"' | b'\\' | 0x7f | 0xc2 | 0xd8 | 0xe2);
        byte += 1;
    }
    suspect
};

fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut done = 0;
    let mut at = 0;
    while let Some(length) = text.as_bytes()[at..].iter().position(|byte| SUSPECT[usize::from(*byte)]) {
        at += length;
        let Some(c) = text[at..].chars().next() else { break };
        if c == '"' || c == '\\' || escape::is_harmful(c) {
            out.extend_from_slice(&text.as_bytes()[done..at]);
            push_escaped(out, c);
            done = at + c.len_utf8();
        }
        at += c.len_utf8();
    }
    out.extend_from_slice(&text.as_bytes()[done..]);
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, c: char) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        // All of them lie below U+10000.
        _ => {
            out.extend_from_slice(b"\\u");
            out.extend([12, 8, 4, 0].map(|shift| DIGITS[(c as usize >> shift) & 15]));
        }
    }
}

/// RFC 3339 in UTC with milliseconds; null for a record without a time or with one beyond the calendar.
fn push_time(out: &mut Vec<u8>, timestamp: i64) {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(timestamp) * 1_000_000);
    match time {
        Ok(time) if timestamp != -1 && (0..=9999).contains(&time.year()) => {
            let mut text = *b"\"0000-00-00T00:00:00.000Z\"";
            let fields = [
                (1..5, time.year().unsigned_abs()),
                (6..8, u8::from(time.month()).into()),
                (9..11, time.day().into()),
                (12..14, time.hour().into()),
                (15..17, time.minute().into()),
                (18..20, time.second().into()),
                (21..24, time.millisecond().into()),
            ];
            for (digits, mut rest) in fields {
                for digit in text[digits].iter_mut().rev() {
                    *digit += (rest % 10) as u8;
                    rest /= 10;
                }
            }
            out.extend_from_slice(&text);
        }
        _ => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests;
