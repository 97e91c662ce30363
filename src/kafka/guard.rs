//! A reader that refuses counts which cannot be true.
//!
//! kafka-protocol 0.18 reserves memory for as many elements as a message claims to hold before it reads the first one
//! (kafka-protocol-rs pull requests 152, 161 and 200), so twenty bytes from a hostile broker can ask for 200 GB and
//! abort the process. Every element takes at least one byte on the wire, so a count above what is left is a lie; this
//! buffer says so before the memory is asked for.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::buf::{ByteBuf, NotEnoughBytesError};

/// Counts up to here are believed: reserving for them costs nothing that matters, and small numbers that are no
/// counts (tags, booleans) pass.
const HARMLESS_VARINT: u64 = 4096;
/// The same for the fixed-width counts of the old protocol versions, where a count cannot be told from a broker's id.
const HARMLESS_INT: i64 = 1 << 20;

pub(crate) struct Guarded {
    bytes: Bytes,
    /// Lengths are varints in flexible versions, 32-bit integers before.
    flexible: bool,
    varint: u64,
    shift: u32,
}

impl Guarded {
    pub(crate) fn new(bytes: Bytes, flexible: bool) -> Self {
        Self { bytes, flexible, varint: 0, shift: 0 }
    }

    fn impossible(&self, count: u64) -> TryGetError {
        TryGetError { requested: usize::try_from(count).unwrap_or(usize::MAX), available: self.bytes.len() }
    }
}

impl Buf for Guarded {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        self.varint |= u64::from(byte & 0x7f) << self.shift.min(56);
        if byte & 0x80 != 0 {
            self.shift += 7;
            // five bytes are all that a 32-bit varint has; kafka-protocol would take what it has read so far
            return if self.shift < 35 { Ok(byte) } else { Err(self.impossible(u64::MAX)) };
        }
        let count = std::mem::take(&mut self.varint);
        self.shift = 0;
        // compact lengths are written as n + 1
        if self.flexible && count > HARMLESS_VARINT && count - 1 > self.bytes.len() as u64 {
            return Err(self.impossible(count));
        }
        Ok(byte)
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let value = self.bytes.try_get_i32()?;
        if !self.flexible && i64::from(value) > HARMLESS_INT && i64::from(value) > self.bytes.len() as i64 {
            return Err(self.impossible(value as u64));
        }
        Ok(value)
    }
}

impl ByteBuf for Guarded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.bytes.split_to(size)
    }

    fn try_get_bytes(&mut self, size: usize) -> Result<Bytes, NotEnoughBytesError> {
        if self.bytes.len() < size { Err(NotEnoughBytesError) } else { Ok(self.bytes.split_to(size)) }
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::{messages::MetadataResponse, protocol::Decodable};

    use super::*;

    #[test]
    fn a_count_that_no_frame_can_hold_is_an_error_and_not_an_allocation() {
        // throttle_time_ms, then a compact array of 2^31 brokers
        let flexible = Bytes::from_static(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]);
        assert!(MetadataResponse::decode(&mut Guarded::new(flexible, true), 12).is_err());
        // an array of 0x7fffffff brokers
        let fixed = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
        assert!(MetadataResponse::decode(&mut Guarded::new(fixed, false), 1).is_err());
    }

    #[test]
    fn a_varint_without_an_end_is_an_error() {
        let endless = Bytes::from_static(&[0xee; 40]);
        assert!(MetadataResponse::decode(&mut Guarded::new(endless, true), 12).is_err());
    }

    #[test]
    fn an_honest_length_passes() {
        let mut bytes = vec![0xa1, 0x9c, 0x01]; // 20_000 + 1
        bytes.extend(vec![b'x'; 20_000]);
        let mut guarded = Guarded::new(bytes.into(), true);
        for _ in 0..3 {
            guarded.try_get_u8().expect("the varint of a true length");
        }
        assert_eq!(guarded.remaining(), 20_000);
    }
}
