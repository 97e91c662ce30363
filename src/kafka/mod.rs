//! The Kafka client.

mod batch;
mod offset;
mod record;

pub use offset::{Offset, OffsetRange};
pub use record::{Header, Headers, NewRecord, Record, RecordRef, TopicPartition};
