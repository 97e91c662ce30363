//! Records for the unit tests of this room.

use crate::app::{Headers, RecordRef};

/// What a test gives as a header.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// Offset 42, 2026-02-01T00:00:00.250Z, `key` and `value`, no headers.
pub fn record() -> RecordRef<'static> {
    RecordRef {
        offset: 42,
        timestamp: 1_769_904_000_250,
        key: Some(b"key"),
        value: Some(b"value"),
        headers: Headers::default(),
    }
}

/// Headers as they lie in a record batch; [`Headers::checked`] borrows them.
pub fn header_bytes(headers: &[Header<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in headers {
        push_varint(&mut out, name.len() as i64);
        out.extend_from_slice(name);
        push_varint(&mut out, value.map_or(-1, |value| value.len() as i64));
        out.extend_from_slice(value.unwrap_or_default());
    }
    out
}

/// Zigzag, seven bits a byte, as record batches v2 have it.
fn push_varint(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
