//! What can be wrong, in words.

use std::io;

use super::{Layer, inside::apart};
use crate::{
    kafka::{Address, Denied, Error},
    store::StoreError,
};

#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("this machine knows no address for the name {host:?} ({cause})")]
    Unresolved { host: String, cause: io::Error },

    #[error("nothing listens at {at} ({cause})")]
    NothingListens { at: String, cause: io::Error },

    #[error("no way to {at} ({cause})")]
    NoWay { at: String, cause: String },

    /// TLS or SASL came to nothing.
    #[error("{0}")]
    Denied(Denied),

    #[error("{0}")]
    NotKafka(String),

    #[error("it speaks no version that is spoken here of {}", .0.join(", "))]
    Versions(Vec<&'static str>),

    /// `given` is where one was let in.
    #[error("broker {broker} advertises {advertised}: {why}")]
    Advertised { broker: i32, advertised: Address, given: Address, why: Box<Problem> },

    #[error("another cluster answers there: {found:?}, and this one is {wanted:?}")]
    OtherCluster { wanted: String, found: String },

    #[error("{0} without a leader: they can be neither read nor written")]
    Leaderless(String),

    #[error("of the topics that this user sees it may neither read nor write one ({0})")]
    NothingAllowed(String),

    #[error("the controller's is {}", apart(*.ahead_ms))]
    Clock { ahead_ms: i64 },

    #[error("{error}")]
    Broker { layer: Layer, error: Error },

    #[error("no answer within {0} s")]
    Silent(f32),

    #[error("{0}")]
    Store(StoreError),

    #[error("{folder} cannot be written: {cause}")]
    Folder { folder: String, cause: io::Error },
}
