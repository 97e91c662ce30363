//! The async glue: what a subcommand or a pattern does, without a word printed and without clap.

pub mod consume;
pub mod cqrs;
pub mod crash;
pub mod dead_letters;
pub mod doctor;
pub mod event_sourcing;
pub mod groups;
pub mod grpc;
pub mod grpc_consumer;
pub mod grpc_server;
pub mod handler;
pub mod learn;
pub mod listen;
pub mod metrics;
pub mod outbox;
pub mod produce;
pub mod relay;
pub mod saga;
pub mod topics;

pub use crate::kafka::{
    Acks, Address, AppendError, Assignor, Chunk, Cluster, Code, Compression, ConfigEntry, ConfigSource, ConnectOptions,
    Denied, Error, Group, GroupConfig, GroupEvent, GroupKind, GroupList, GroupProtocol, GroupSummary, Header, Headers,
    Isolation, Mechanism, Member, NewRecord, NewTopic, Notice, Offset, OffsetRange, OffsetReset, Partition, Password,
    Record, RecordRef, Sasl, Security, Shape, Tls, TlsFiles, Topic, TopicNumber, TopicPartition,
};
pub use crate::{
    broker, notify,
    patterns::{
        analytics, dead_letter as letters, envelope::rfc_3339, event_sourcing as log, inbox, money, order, projection,
        saga as sagas, sample, search, stock,
    },
    store::{
        Count, Depth, DocumentRow, NotificationRow, NotificationStatus, OrderRow, OutboxRow, RecentRow, RevenueRow,
        Status as OutboxStatus, Store, StoreError, StoreOptions, StoreUrl, StreamInfo, Tally as ModelTally, UrlError,
    },
};

/// Reaches the cluster.
///
/// # Errors
/// [`Error::Unreachable`] with the addresses that were tried; [`Error::Denied`] where TLS or SASL came to nothing.
pub async fn connect(brokers: Vec<Address>, options: ConnectOptions) -> Result<Cluster, Error> {
    Cluster::connect(brokers, options).await
}

/// The topics whose names are nearest to `name`, for "did you mean".
pub async fn near_topics(cluster: &Cluster, name: &str) -> Vec<String> {
    let topics = cluster.topics().await.unwrap_or_default();
    nearest(name, topics.iter().filter(|topic| !topic.internal).map(|topic| &*topic.name))
}

/// Three at most.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut near: Vec<(usize, &str)> = names
        .map(|found| (distance(name, found), found))
        .filter(|(distance, near)| *distance <= 1 + name.len().min(near.len()) / 3)
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// Levenshtein's distance: how many letters to change, add or leave out.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #[test]
    fn distance_counts_single_letters() {
        for (a, b, expected) in
            [("orders", "orders", 0), ("ordres", "orders", 2), ("", "abc", 3), ("order", "orders", 1)]
        {
            assert_eq!(super::distance(a, b), expected, "{a} {b}");
        }
    }
}
