//! kafkalab: run and break the event-driven patterns on Kafka.
//!
//! # The map
//!
//! | room | what is in it |
//! |---|---|
//! | [`cli`] | one file per subcommand: options, rendering, exit codes, signals |
//! | [`app`] | the async glue of each command and pattern; never prints, never sees clap |
//! | [`kafka`] | the client: connection, cluster, batches, producer, consumer, admin |
//! | [`broker`] | the embedded broker behind one function |
//! | [`grpc`] | the service `orders.v1` on the wire: messages, statuses, the port and its limits |
//! | [`store`] | the event log, outbox, inbox and read models, on SQLite or PostgreSQL; all SQL |
//! | [`notify`] | telling somebody outside: a file's lines, a webhook |
//! | [`patterns`] | the rules of the patterns, as pure functions |
//!
//! # The import rule
//!
//! `cli -> app -> {kafka, broker, store, grpc, notify} -> patterns`. The boundaries never import each other, and nobody imports
//! upwards. `cli` names the client's plain data (records, offsets, topic descriptions) only through what `app`
//! re-exports. `tests/it/house.rs` holds the rule.

/// The README's Rust block compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod app;
pub mod broker;
pub mod cli;
pub mod grpc;
pub mod kafka;
pub mod notify;
pub mod patterns;
pub mod store;
