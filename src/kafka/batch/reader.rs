//! Reading batches: first their headers alone (where the next fetch goes on), then the records, borrowed.

use bytes::Bytes;

use super::{
    AT_ATTRIBUTES, AT_BASE_TIMESTAMP, AT_COUNT, AT_CRC, AT_LAST_OFFSET_DELTA, AT_LENGTH, AT_MAGIC, AT_MAX_TIMESTAMP,
    AT_PRODUCER_ID, BatchError, CODEC_MASK, CONTROL, Compression, HEADER_LEN, LENGTH_OVERHEAD, LOG_APPEND_TIME,
    TRANSACTIONAL, compression::MAX_UNPACKED, i16_at, i32_at, i64_at, varint,
};
use crate::kafka::{Headers, RecordRef};

/// What the headers of the whole batches in a fetched piece say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The offset behind the last whole batch.
    pub next_offset: i64,
    /// Bytes of whole batches; a fetch may end in a cut one.
    pub whole: usize,
    /// Offsets between `from` and `next_offset` that hold nothing: compacted away, or deleted.
    pub missing: u64,
}

/// Walks the headers of `bytes`, fetched from offset `from`.
pub(crate) fn scan(bytes: &[u8], from: i64) -> Result<Scan, BatchError> {
    let mut scan = Scan { next_offset: from, whole: 0, missing: 0 };
    while let Some(batch) = whole_batch(&bytes[scan.whole..])? {
        let base = i64_at(batch, 0);
        let (delta, count) = (i32_at(batch, AT_LAST_OFFSET_DELTA), i32_at(batch, AT_COUNT));
        if delta < 0 || count < 0 || base < 0 {
            return Err(BatchError::Negative);
        }
        let last = base.saturating_add(i64::from(delta));
        if base > scan.next_offset {
            scan.missing += base.abs_diff(scan.next_offset);
        }
        if base >= from {
            scan.missing += u64::from(delta.abs_diff(count.saturating_sub(1)));
        }
        scan.next_offset = scan.next_offset.max(last.saturating_add(1));
        scan.whole += batch.len();
    }
    Ok(scan)
}

/// The batch at the front of `bytes`; none where less than a whole one is left.
fn whole_batch(bytes: &[u8]) -> Result<Option<&[u8]>, BatchError> {
    if bytes.len() < HEADER_LEN {
        return Ok(None);
    }
    let magic = bytes[AT_MAGIC] as i8;
    if magic != 2 {
        return Err(BatchError::Magic(magic));
    }
    let length = usize::try_from(i32_at(bytes, AT_LENGTH)).map_err(|_| BatchError::Negative)? + LENGTH_OVERHEAD;
    if length < HEADER_LEN {
        return Err(BatchError::Truncated);
    }
    Ok(bytes.get(..length))
}

/// A transaction that was rolled back: the records of this producer from this offset on, up to its abort marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
}

/// The records of a fetched piece, one after the other, borrowed from it (or from the buffer that a compressed batch is
/// unpacked into). Control batches and rolled back records are passed over.
///
/// ```ignore
/// while let Some(record) = records.next()? { /* record lives until the next call */ }
/// ```
///
/// A clone that was made before the first record begins there again; the bytes are shared.
#[derive(Clone, Debug)]
pub struct Records {
    bytes: Bytes,
    /// Only offsets in `from..until` are handed out.
    from: i64,
    until: i64,
    /// Sorted by first offset, the next one last.
    aborted: Vec<Aborted>,
    /// Producers inside a rolled back transaction at this place.
    rolling_back: Vec<i64>,
    at: usize,
    open: Option<OpenBatch>,
    unpacked: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct OpenBatch {
    /// Where the rest of the records begins and ends, in `bytes` or in `unpacked`.
    start: usize,
    end: usize,
    packed: bool,
    left: i32,
    base_offset: i64,
    base_timestamp: i64,
    /// Set where the broker stamps records: one time for the whole batch.
    append_time: Option<i64>,
}

impl Records {
    pub(crate) fn new(bytes: Bytes, from: i64, until: i64, mut aborted: Vec<Aborted>) -> Self {
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { bytes, from, until, aborted, rolling_back: Vec::new(), at: 0, open: None, unpacked: Vec::new() }
    }

    /// Bytes of the piece as it came, packed.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The next record, or `None` at the end of the piece.
    ///
    /// # Errors
    /// A batch that is not what its checksum, its lengths or its codec say. The records before it were good.
    #[inline]
    #[allow(clippy::should_implement_trait)] // each record borrows from the reader, which `Iterator` cannot say
    pub fn next(&mut self) -> crate::kafka::Result<Option<RecordRef<'_>>> {
        let place = loop {
            match &mut self.open {
                None => match self.open_next() {
                    Ok(true) => {}
                    Ok(false) => return Ok(None),
                    Err(error) => return Err(self.malformed(error)),
                },
                Some(batch) if batch.left == 0 => self.open = None,
                Some(batch) => {
                    let source: &[u8] = if batch.packed { &self.unpacked } else { &self.bytes };
                    match next_place(batch, source) {
                        Ok(place) if place.offset < self.from || place.offset >= self.until => {}
                        Ok(place) => break place,
                        Err(error) => return Err(self.malformed(error)),
                    }
                }
            }
        };
        let Some(batch) = self.open else { return Ok(None) };
        let source: &[u8] = if batch.packed { &self.unpacked } else { &self.bytes };
        match read_record(&batch, &place, source) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                // as in `malformed`, which would need all of `self` while the record borrows from a part of it
                (self.at, self.open) = (self.bytes.len(), None);
                Err(crate::kafka::Error::malformed("record batch", error))
            }
        }
    }

    fn malformed(&mut self, error: BatchError) -> crate::kafka::Error {
        // nothing behind a bad batch can be trusted: end here
        (self.at, self.open) = (self.bytes.len(), None);
        crate::kafka::Error::malformed("record batch", error)
    }

    /// Opens the next batch that has something to hand out; false at the end.
    fn open_next(&mut self) -> Result<bool, BatchError> {
        while let Some(batch) = whole_batch(&self.bytes[self.at..])? {
            let (start, end) = (self.at + HEADER_LEN, self.at + batch.len());
            self.at = end;
            let (expected, found) = (i32_at(batch, AT_CRC) as u32, crc32c::crc32c(&batch[AT_ATTRIBUTES..]));
            if expected != found {
                return Err(BatchError::Checksum { expected, found });
            }
            let attributes = i16_at(batch, AT_ATTRIBUTES);
            let base_offset = i64_at(batch, 0);
            let last_offset = base_offset.saturating_add(i64::from(i32_at(batch, AT_LAST_OFFSET_DELTA)));
            let producer = i64_at(batch, AT_PRODUCER_ID);
            while self.aborted.last().is_some_and(|transaction| transaction.first_offset <= last_offset) {
                self.rolling_back.extend(self.aborted.pop().map(|transaction| transaction.producer_id));
            }
            if attributes & CONTROL != 0 {
                // Either marker ends the producer's transaction; only a rolled back one is in the list.
                self.rolling_back.retain(|&id| id != producer);
                continue;
            }
            if attributes & TRANSACTIONAL != 0 && self.rolling_back.contains(&producer) {
                continue;
            }
            if last_offset < self.from || base_offset >= self.until {
                continue;
            }
            let left = i32_at(batch, AT_COUNT);
            if left < 0 {
                return Err(BatchError::Negative);
            }
            let codec = Compression::from_code(attributes & CODEC_MASK)?;
            let packed = codec != Compression::None;
            let append_time = (attributes & LOG_APPEND_TIME != 0).then(|| i64_at(batch, AT_MAX_TIMESTAMP));
            let base_timestamp = i64_at(batch, AT_BASE_TIMESTAMP);
            let (start, end) = if packed {
                codec.unpack(&self.bytes[start..end], &mut self.unpacked, MAX_UNPACKED)?;
                (0, self.unpacked.len())
            } else {
                (start, end)
            };
            self.open = Some(OpenBatch { start, end, packed, left, base_offset, base_timestamp, append_time });
            return Ok(true);
        }
        Ok(false)
    }
}

/// Where a record lies, its first fields read.
struct Place {
    offset: i64,
    timestamp_delta: i64,
    /// The fields from the key on.
    start: usize,
    end: usize,
}

/// Moves `batch` past its next record.
#[inline(always)]
fn next_place(batch: &mut OpenBatch, source: &[u8]) -> Result<Place, BatchError> {
    let mut rest = source.get(batch.start..batch.end).ok_or(BatchError::Truncated)?;
    let length = usize::try_from(varint::take(&mut rest)?).map_err(|_| BatchError::Negative)?;
    let mut fields = rest.get(..length).ok_or(BatchError::Truncated)?;
    let end = batch.end - (rest.len() - length);
    batch.start = end;
    batch.left -= 1;
    fields = fields.get(1..).ok_or(BatchError::Truncated)?; // behind the attributes
    let timestamp_delta = varint::take(&mut fields)?;
    let offset = batch.base_offset.wrapping_add(varint::take(&mut fields)?);
    Ok(Place { offset, timestamp_delta, start: end - fields.len(), end })
}

#[inline(always)]
fn read_record<'a>(batch: &OpenBatch, place: &Place, source: &'a [u8]) -> Result<RecordRef<'a>, BatchError> {
    let mut rest = source.get(place.start..place.end).ok_or(BatchError::Truncated)?;
    let timestamp = batch.append_time.unwrap_or_else(|| batch.base_timestamp.wrapping_add(place.timestamp_delta));
    let key = varint::take_bytes(&mut rest)?;
    let value = varint::take_bytes(&mut rest)?;
    let headers = read_headers(&mut rest)?;
    Ok(RecordRef { offset: place.offset, timestamp, key, value, headers })
}

#[inline(always)]
fn read_headers<'a>(rest: &mut &'a [u8]) -> Result<Headers<'a>, BatchError> {
    let count = usize::try_from(varint::take(rest)?).map_err(|_| BatchError::Negative)?;
    let bytes = *rest;
    for _ in 0..count {
        read_header(rest)?;
    }
    Ok(Headers::checked(count, bytes))
}

/// One header from the front of `rest`.
pub(crate) fn read_header<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), BatchError> {
    let key = varint::take_bytes(rest)?.ok_or(BatchError::Negative)?;
    Ok((key, varint::take_bytes(rest)?))
}

#[cfg(test)]
mod tests;
