//! The integration suite: one binary, files by behaviour, one harness.
//!
//! `cargo test` runs it on the embedded broker. With `KAFKALAB_TEST_BROKERS` set it runs on that cluster; then
//! `--include-ignored` adds the tests that only Apache Kafka can run. A test that needs what is not there is ignored
//! and counted as such, or fails; none passes without its broker.

mod bytes;
mod cli;
mod cluster;
mod cqrs;
mod dlt;
mod door;
mod es;
mod examples;
mod faults;
mod groups;
mod grpc;
mod grpc_consumer;
mod grpc_server;
mod harness;
mod hostile;
mod house;
mod idle;
mod learn;
mod lessons;
mod load;
mod membership;
mod outbox;
mod partitions;
mod process;
mod proxy;
mod random;
mod readme;
mod records;
mod roundtrip;
mod saga;
mod topics;
mod topics_made;
mod transcript;
mod wire;
