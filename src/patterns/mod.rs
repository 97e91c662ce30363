//! The rules of the patterns, as pure functions: no client, no database, no clock. This is where a learner reads.

pub mod event_sourcing;
pub mod sample;
