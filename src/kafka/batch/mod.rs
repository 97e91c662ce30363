//! Record batches, format v2: how records lie in a partition and travel both ways.
//!
//! ```text
//! batch   base offset i64 | length i32 | leader epoch i32 | magic i8 = 2 | crc u32 (CRC-32C of all that follows)
//!         attributes i16  | last offset delta i32 | base timestamp i64 | max timestamp i64
//!         producer id i64 | producer epoch i16 | base sequence i32 | count i32 | records, compressed as a whole
//! record  length | attributes i8 | timestamp delta | offset delta | key | value | headers      (lengths: zigzag varints)
//! ```
//!
//! Format: <https://kafka.apache.org/documentation/#recordbatch> (KIP-98). The bytes come from a network, so each length
//! is checked against what is there before it is used.

mod builder;
mod compression;
mod reader;
mod varint;

pub(crate) use builder::{BatchBuilder, Stamp, seal};
pub use compression::Compression;
pub use reader::Records;
pub(crate) use reader::{Aborted, read_header, scan};

/// Bytes before the first record.
pub(crate) const HEADER_LEN: usize = 61;
/// Bytes that the length field does not count: base offset and the length itself.
const LENGTH_OVERHEAD: usize = 12;

const AT_LENGTH: usize = 8;
const AT_MAGIC: usize = 16;
const AT_CRC: usize = 17;
const AT_ATTRIBUTES: usize = 21;
const AT_LAST_OFFSET_DELTA: usize = 23;
const AT_BASE_TIMESTAMP: usize = 27;
const AT_MAX_TIMESTAMP: usize = 35;
const AT_PRODUCER_ID: usize = 43;
const AT_PRODUCER_EPOCH: usize = 51;
const AT_BASE_SEQUENCE: usize = 53;
const AT_COUNT: usize = 57;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    #[error("a length reaches beyond its batch")]
    Truncated,
    #[error("a varint has more bytes than its type")]
    Varint,
    #[error("a length or a count is negative")]
    Negative,
    #[error("checksum {found:#010x} instead of {expected:#010x}")]
    Checksum { expected: u32, found: u32 },
    #[error("message format {0}; only format 2 (Kafka 0.11 and later) is read")]
    Magic(i8),
    #[error("compression codec {0} is not known")]
    Codec(i16),
    #[error("the compressed records cannot be read: {0}")]
    Compression(String),
    #[error("the records take more than {0} bytes uncompressed")]
    TooLarge(usize),
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(array_at(bytes, at))
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(array_at(bytes, at))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(array_at(bytes, at))
}

/// The callers have checked that a whole header is there; zeros instead of a panic if one has not.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|slice| slice.try_into().ok()).unwrap_or([0; N])
}
