//! Counts or index anew: forget, and read the topics once more.
//!
//! ```text
//! group to the start --> forget (inbox, counts, documents, states: one transaction) --> group to the start --> read
//! ```
//!
//! The coordinator refuses to move a group that somebody is in: so nobody reads meanwhile. The second move is for a consumer
//! that came and went between the two. Whatever happens on the way, what is counted is what the inbox has: the same again ends
//! it.

use super::Consumer;
use crate::{
    app::{
        groups::{self, Target},
        handler::{self, HandlerError, Report, Tell},
        relay::{Stop, prefixed},
    },
    kafka::{Cluster, Error, Offset},
    patterns::search,
    store::Store,
};

/// Makes what a consumer keeps anew, from all that the topics still have. What it says is incomplete meanwhile.
///
/// # Errors
/// As [`handler::run`]; [`Error::is_group_in_use`] where the consumer runs.
pub async fn rebuild(
    store: &Store,
    cluster: &Cluster,
    consumer: Consumer,
    options: &handler::Options,
    stop: &Stop,
    tell: Tell<'_>,
) -> Result<Report, HandlerError> {
    let group = consumer.group(store);
    to_start(cluster, &group, consumer, &options.prefix).await?;
    store.forget(consumer.name(), kind(consumer)).await?;
    to_start(cluster, &group, consumer, &options.prefix).await?;
    let options = handler::Options { group: Some(group), once: true, ..options.clone() };
    handler::run(consumer.handler(), store, cluster, &options, stop, tell).await
}

/// Of the states that it keeps; a name of none where it keeps none.
fn kind(consumer: Consumer) -> &'static str {
    match consumer {
        Consumer::SearchIndex => search::KIND,
        other => other.name(),
    }
}

async fn to_start(cluster: &Cluster, group: &str, consumer: Consumer, prefix: &str) -> Result<(), Error> {
    let topics = consumer.handler().topics().iter().map(|topic| prefixed(prefix, topic)).collect();
    let target = Target::Place { place: Offset::Start, topics, partitions: Vec::new() };
    let plan = groups::plan(cluster, group, &target).await?;
    groups::commit(cluster, group, &plan).await
}
