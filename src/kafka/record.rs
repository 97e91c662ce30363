//! The words for what lies in a partition: records borrowed from a buffer, records that one keeps, records to send.

use bytes::Bytes;

/// A topic's name and a partition's number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: std::sync::Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<std::sync::Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// A record as it lies in a fetched batch. Borrowed: reading a million of them allocates nothing.
/// Who keeps one calls [`RecordRef::to_owned`].
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    pub offset: i64,
    /// Milliseconds since the Unix epoch; -1 where the producer gave none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

impl RecordRef<'_> {
    /// Copies the record out of its buffer.
    pub fn to_owned(&self) -> Record {
        Record {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.map(Bytes::copy_from_slice),
            value: self.value.map(Bytes::copy_from_slice),
            headers: self
                .headers
                .iter()
                .map(|(key, value)| Header {
                    key: Bytes::copy_from_slice(key),
                    value: value.map(Bytes::copy_from_slice),
                })
                .collect(),
        }
    }
}

/// The headers of a borrowed record, in the order in which they were sent; duplicates and null values included.
/// The bytes were checked when the record was read, so iterating cannot fail.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// `bytes` holds exactly `count` headers in the encoding of record batches v2; the caller has walked them once.
    pub(crate) fn checked(count: usize, bytes: &'a [u8]) -> Self {
        Self { count, bytes }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.bytes;
        (0..self.count).map_while(move |_| super::batch::read_header(&mut rest).ok())
    }
}

/// One header of an owned record. Keys are bytes: the protocol does not promise UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// A record that one keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    /// Milliseconds since the Unix epoch; -1 where the producer gave none.
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// A record to send, borrowed from wherever it lies.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
    /// Milliseconds since the Unix epoch; `None` is now.
    pub timestamp: Option<i64>,
}
