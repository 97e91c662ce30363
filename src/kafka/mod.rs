//! The Kafka client.

mod admin;
mod backoff;
mod batch;
mod cluster;
mod committed;
mod connection;
mod consumer;
mod coordinator;
mod error;
mod examination;
mod group;
mod guard;
mod list_offsets;
mod offset;
mod partitioner;
mod producer;
mod record;
mod wire;

pub use admin::{Admin, ConfigEntry, ConfigSource, Group, GroupKind, GroupList, GroupSummary, Member, NewTopic, Shape};
pub use batch::{Compression, Records};
pub use cluster::{Cluster, Partition, Topic};
pub use connection::{Address, ConnectOptions, Denied, Mechanism, Password, Sasl, Security, Stage, Tls, TlsFiles};
pub use consumer::{Assignment, Chunk, Consumer, ConsumerConfig, Fetched, Notice, OffsetReset};
pub use error::{Code, Error, Result};
pub use examination::{Allowed, Spoken, knock};
pub use group::{Assignor, GroupConfig, GroupConsumer, GroupEvent, GroupProtocol};
pub use list_offsets::Isolation;
pub use offset::{Offset, OffsetRange};
pub use partitioner::partition_for_key;
pub use producer::{
    Acks, AppendError, Appender, Delivery, Outcome, Place, Producer, ProducerConfig, Ticket, TopicNumber,
};
pub use record::{Header, Headers, NewRecord, Record, RecordRef, TopicPartition};
