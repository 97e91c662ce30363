//! CQRS: a side that writes and keeps no read model, and a side that reads and takes no command.
//!
//! ```text
//! write   command --> event log                      (Orders, as in event sourcing; nothing else is written)
//!         event log --> publisher --> topics         (the relay: at-least-once, in order per order)
//! read    topics --> batch --> one transaction { what is known of each order, the models' differences, checkpoints }
//!                          --> commit the offsets
//! rebuild event log --> a view beside --> one transaction: it serves, the old one does not
//! ```
//!
//! The rules are in [`crate::patterns::projection`], the tables in `store/views.rs`.
//!
//! # The guarantee
//! Each model is a function of the set of events that were published: repeats and any order of arrival change nothing. A
//! reader that dies repeats a batch at most, without an effect. Between the two sides is time: [`stats`] says how much.

pub mod demo;
mod project;
pub mod read;
pub mod rebuild;
pub mod stats;
pub mod traffic;
pub mod write;

pub use crate::patterns::projection::TOPICS;
use crate::store::Store;

/// The group of a store's readers. It carries the store's id: another store has models of its own, and must read all.
pub fn group(store: &Store) -> String {
    format!("cqrs-{}", store.id())
}
