//! Building batches: records are appended in their final encoding, so sealing a batch only writes its header.

use std::io;

use bytes::Bytes;

use super::{
    AT_ATTRIBUTES, AT_BASE_SEQUENCE, AT_BASE_TIMESTAMP, AT_COUNT, AT_CRC, AT_LAST_OFFSET_DELTA, AT_LENGTH, AT_MAGIC,
    AT_MAX_TIMESTAMP, AT_PRODUCER_EPOCH, AT_PRODUCER_ID, Compression, HEADER_LEN, LENGTH_OVERHEAD, TRANSACTIONAL,
    varint,
};
use crate::kafka::NewRecord;

/// Who sends a batch, and which of the sender's records it begins with (KIP-98). Brokers refuse repeats and gaps by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub producer_id: i64,
    pub epoch: i16,
    pub sequence: i32,
}

impl Stamp {
    /// Not idempotent: the broker takes the batch as it comes.
    pub(crate) const NONE: Stamp = Stamp { producer_id: -1, epoch: -1, sequence: -1 };
}

/// An open batch.
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    limit: usize,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// `limit` is the size of the finished batch, uncompressed; `buffer` lends its memory.
    pub(crate) fn new(limit: usize, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.reserve(limit.min(64 * 1024));
        buffer.resize(HEADER_LEN, 0);
        Self { bytes: buffer, limit, count: 0, base_timestamp: 0, max_timestamp: i64::MIN }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the batch so far, uncompressed.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record, if it fits; the first one always does. `now` stands in for a missing timestamp.
    #[inline]
    pub(crate) fn append(&mut self, record: &NewRecord<'_>, now: i64) -> bool {
        let timestamp = record.timestamp.unwrap_or(now);
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        let (offset_delta, timestamp_delta) = (i64::from(self.count), timestamp.wrapping_sub(self.base_timestamp));
        let body = body_len(record, offset_delta, timestamp_delta);
        if self.count > 0 && self.bytes.len() + body + varint::len(body as i64) > self.limit {
            return false;
        }
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(timestamp);

        // the fields before the key are gathered on the stack: one copy instead of six bounds checks
        let mut head = [0u8; 48];
        let mut at = varint::put(&mut head, 0, body as i64);
        head[at] = 0; // attributes: none are defined
        at = varint::put(&mut head, at + 1, timestamp_delta);
        at = varint::put(&mut head, at, offset_delta);
        at = varint::put(&mut head, at, length_of(record.key));
        let out = &mut self.bytes;
        match record.key {
            None => {
                at = varint::put(&mut head, at, length_of(record.value));
                out.extend_from_slice(&head[..at]);
            }
            Some(key) => {
                out.extend_from_slice(&head[..at]);
                out.extend_from_slice(key);
                put_varint(out, length_of(record.value));
            }
        }
        out.extend_from_slice(record.value.unwrap_or_default());
        put_varint(out, record.headers.len() as i64);
        for (key, value) in record.headers {
            put_varint(out, key.len() as i64);
            out.extend_from_slice(key);
            put_varint(out, length_of(*value));
            out.extend_from_slice(value.unwrap_or_default());
        }
        true
    }

    /// Closes the batch; the sender's stamp comes later, by [`seal`].
    ///
    /// # Errors
    /// Only where a codec fails, which on memory none does.
    pub(crate) fn finish(self, compression: Compression) -> io::Result<Vec<u8>> {
        let mut bytes = if compression == Compression::None {
            self.bytes
        } else {
            let mut packed = Vec::with_capacity(self.bytes.len() / 2 + HEADER_LEN);
            packed.resize(HEADER_LEN, 0);
            compression.pack(&self.bytes[HEADER_LEN..], &mut packed)?;
            packed
        };
        let length = (bytes.len() - LENGTH_OVERHEAD) as i32;
        put(&mut bytes, AT_LENGTH, &length.to_be_bytes());
        put(&mut bytes, AT_LENGTH + 4, &(-1i32).to_be_bytes()); // leader epoch: the broker's to fill in
        put(&mut bytes, AT_MAGIC, &[2]);
        put(&mut bytes, AT_ATTRIBUTES, &compression.code().to_be_bytes());
        put(&mut bytes, AT_LAST_OFFSET_DELTA, &(self.count as i32 - 1).to_be_bytes());
        put(&mut bytes, AT_BASE_TIMESTAMP, &self.base_timestamp.to_be_bytes());
        put(&mut bytes, AT_MAX_TIMESTAMP, &self.max_timestamp.to_be_bytes());
        put(&mut bytes, AT_COUNT, &(self.count as i32).to_be_bytes());
        Ok(bytes)
    }
}

/// Stamps a finished batch and gives it its checksum. Called once: a batch that may have reached a broker keeps its
/// stamp, because the stamp is how the broker knows a repeat.
pub(crate) fn seal(mut bytes: Vec<u8>, stamp: Stamp, transactional: bool) -> Bytes {
    if transactional {
        let attributes = super::i16_at(&bytes, AT_ATTRIBUTES) | TRANSACTIONAL;
        put(&mut bytes, AT_ATTRIBUTES, &attributes.to_be_bytes());
    }
    put(&mut bytes, AT_PRODUCER_ID, &stamp.producer_id.to_be_bytes());
    put(&mut bytes, AT_PRODUCER_EPOCH, &stamp.epoch.to_be_bytes());
    put(&mut bytes, AT_BASE_SEQUENCE, &stamp.sequence.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[AT_ATTRIBUTES..]);
    put(&mut bytes, AT_CRC, &crc.to_be_bytes());
    Bytes::from(bytes)
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut buffer = [0; 10];
    let end = varint::put(&mut buffer, 0, value);
    out.extend_from_slice(&buffer[..end]);
}

/// -1 is null.
fn length_of(field: Option<&[u8]>) -> i64 {
    field.map_or(-1, |bytes| bytes.len() as i64)
}

fn field_len(field: Option<&[u8]>) -> usize {
    varint::len(length_of(field)) + field.map_or(0, <[u8]>::len)
}

fn body_len(record: &NewRecord<'_>, offset_delta: i64, timestamp_delta: i64) -> usize {
    let headers: usize =
        record.headers.iter().map(|(key, value)| varint::len(key.len() as i64) + key.len() + field_len(*value)).sum();
    1 + varint::len(timestamp_delta)
        + varint::len(offset_delta)
        + field_len(record.key)
        + field_len(record.value)
        + varint::len(record.headers.len() as i64)
        + headers
}
