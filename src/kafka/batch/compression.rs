//! The four codecs of record batches.
//!
//! What comes from a broker is unpacked in pieces up to a limit: the size that a compressed stream claims is never
//! believed, so a bomb ends in an error and not in the machine's memory.

use std::io::{self, Read, Write};

use super::BatchError;

/// How the records of a batch are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The most that one batch may take unpacked. Brokers limit batches packed (1 MiB by default), so an honest batch of
/// very regular records can be much larger than that; 128 MiB is beyond what producers build.
pub(super) const MAX_UNPACKED: usize = 128 * 1024 * 1024;

impl Compression {
    pub(super) fn code(self) -> i16 {
        self as i16
    }

    pub(super) fn from_code(code: i16) -> Result<Self, BatchError> {
        match code {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            other => Err(BatchError::Codec(other)),
        }
    }

    /// Packs `records` onto the end of `out`.
    pub(super) fn pack(self, records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Compression::None => out.extend_from_slice(records),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
                encoder.write_all(records)?;
                encoder.finish()?;
            }
            Compression::Snappy => xerial::pack(records, out)?,
            Compression::Lz4 => {
                // independent 64 KiB blocks: what Java's and librdkafka's readers expect
                let frame = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, out);
                encoder.write_all(records)?;
                encoder.finish().map_err(io::Error::other)?;
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.write_all(records)?;
                encoder.finish()?;
            }
        }
        Ok(())
    }

    /// Unpacks into `out`, which is emptied first, and stops with an error beyond `limit` bytes.
    pub(super) fn unpack(self, packed: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), BatchError> {
        out.clear();
        let result = match self {
            Compression::None => {
                out.extend_from_slice(packed);
                Ok(())
            }
            Compression::Gzip => read_up_to(flate2::read::MultiGzDecoder::new(packed), out, limit),
            Compression::Snappy => return xerial::unpack(packed, out, limit),
            Compression::Lz4 => read_up_to(lz4_flex::frame::FrameDecoder::new(packed), out, limit),
            Compression::Zstd => zstd::stream::read::Decoder::with_buffer(packed)
                .and_then(|mut decoder| {
                    // 2^27 bytes is zstd's own limit for windows that a stream may ask for
                    decoder.window_log_max(27)?;
                    Ok(decoder)
                })
                .and_then(|decoder| read_up_to(decoder, out, limit)),
        };
        match result {
            Ok(()) if out.len() > limit => Err(BatchError::TooLarge(limit)),
            Ok(()) => Ok(()),
            Err(error) => Err(BatchError::Compression(error.to_string())),
        }
    }
}

/// Reads one byte more than the limit, so that the caller sees that there was more.
fn read_up_to(reader: impl Read, out: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    reader.take(limit as u64 + 1).read_to_end(out).map(drop)
}

/// Snappy as Kafka has it: the framing of xerial's snappy-java around raw blocks. librdkafka writes a raw block without
/// the framing, so both are read. Source: <https://github.com/xerial/snappy-java#data-format>.
mod xerial {
    use std::io;

    use super::super::BatchError;

    const MAGIC: &[u8] = b"\x82SNAPPY\0";
    const BLOCK: usize = 32 * 1024;

    pub(super) fn pack(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&1i32.to_be_bytes()); // version
        out.extend_from_slice(&1i32.to_be_bytes()); // oldest version that can read it
        let mut encoder = snap::raw::Encoder::new();
        for block in records.chunks(BLOCK) {
            let packed = encoder.compress_vec(block)?;
            out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
            out.extend_from_slice(&packed);
        }
        Ok(())
    }

    pub(super) fn unpack(packed: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), BatchError> {
        if !packed.starts_with(MAGIC) {
            return block(packed, out, limit);
        }
        let mut rest = packed.get(MAGIC.len() + 8..).ok_or(BatchError::Truncated)?;
        while !rest.is_empty() {
            let (length, behind) = rest.split_first_chunk::<4>().ok_or(BatchError::Truncated)?;
            let length = u32::from_be_bytes(*length) as usize;
            let (packed, behind) = behind.split_at_checked(length).ok_or(BatchError::Truncated)?;
            block(packed, out, limit)?;
            rest = behind;
        }
        Ok(())
    }

    fn block(packed: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), BatchError> {
        let failed = |error: snap::Error| BatchError::Compression(error.to_string());
        // a snappy block states its size; a byte of it unpacks to 64 at the most, so a larger claim is a lie
        let size = snap::raw::decompress_len(packed).map_err(failed)?;
        if size > packed.len().saturating_mul(64) {
            return Err(BatchError::Compression(format!("{} bytes cannot unpack to {size}", packed.len())));
        }
        let start = out.len();
        if size > limit.saturating_sub(start) {
            return Err(BatchError::TooLarge(limit));
        }
        out.resize(start + size, 0);
        snap::raw::Decoder::new().decompress(packed, &mut out[start..]).map_err(failed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    #[test]
    fn every_codec_gives_back_what_was_packed() {
        let records: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for codec in ALL {
            let (mut packed, mut unpacked) = (Vec::new(), Vec::new());
            codec.pack(&records, &mut packed).expect("packing into memory");
            codec.unpack(&packed, &mut unpacked, MAX_UNPACKED).expect("what was packed");
            assert!(unpacked == records, "{codec:?}");
        }
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let zeros = vec![0; 4 << 20];
        for codec in &ALL[1..] {
            let (mut packed, mut unpacked) = (Vec::new(), Vec::new());
            codec.pack(&zeros, &mut packed).expect("packing into memory");
            assert_eq!(codec.unpack(&packed, &mut unpacked, 1 << 20), Err(BatchError::TooLarge(1 << 20)), "{codec:?}");
            assert!(unpacked.capacity() <= 4 << 20, "{codec:?} took {} bytes", unpacked.capacity());
        }
    }

    proptest! {
        #[test]
        fn noise_is_an_error_and_no_panic(noise: Vec<u8>, codec in prop::sample::select(&ALL[1..])) {
            let _ = codec.unpack(&noise, &mut Vec::new(), 1 << 20);
        }
    }
}
