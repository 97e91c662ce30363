//! The lessons, a file each.

pub(super) mod cqrs;
pub(super) mod dlt;
pub(super) mod es;
pub(super) mod group;
pub(super) mod grpc;
pub(super) mod inbox;
pub(super) mod key;
pub(super) mod offset;
pub(super) mod outbox;
pub(super) mod partition;
pub(super) mod saga;
pub(super) mod topic;
