//! The async glue: what a subcommand or a pattern does, without a word printed and without clap.

pub use crate::kafka::{Header, Headers, NewRecord, Offset, OffsetRange, Record, RecordRef, TopicPartition};
