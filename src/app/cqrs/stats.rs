//! What the read side tells, and how far it is behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::try_join;

use super::TOPICS;
use crate::{
    app::{
        event_sourcing::publish,
        groups::{WITHIN, bounds, now},
        relay::prefixed,
    },
    kafka::{Admin, Cluster, Error, TopicPartition},
    store::{CheckpointRow, Store, StoreError, Tellings},
};

/// All models at one moment, and what the log has that is not on Kafka yet.
#[derive(Clone, Debug)]
pub struct Stats {
    pub told: Tellings,
    pub unpublished: u64,
}

/// A partition, as far as the views have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    pub partition: TopicPartition,
    /// Where the views go on; `None` where they have not begun.
    pub next: Option<i64>,
    pub start: Option<i64>,
    pub end: Option<i64>,
    /// How long ago the oldest record was written that is not in the views.
    pub behind: Option<Duration>,
    /// Records that were gone before they could be read.
    pub missing: i64,
}

impl Lag {
    /// Offsets between the views and the end: records, and the markers of transactions among them.
    pub fn events(&self) -> Option<i64> {
        Some((self.end? - self.next.max(self.start).unwrap_or(0)).max(0))
    }

    /// Records that retention has taken and the views do not have: what was missed, and what will be.
    pub fn gone(&self) -> i64 {
        let ahead = self.start.unwrap_or(0) - self.next.unwrap_or(0);
        self.missing + ahead.max(0)
    }
}

/// Of all partitions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    pub events: i64,
    pub behind: Option<Duration>,
    pub gone: i64,
}

impl Total {
    pub fn of(lags: &[Lag]) -> Self {
        Self {
            events: lags.iter().filter_map(Lag::events).sum(),
            behind: lags.iter().filter_map(|lag| lag.behind).max(),
            gone: lags.iter().map(Lag::gone).sum(),
        }
    }
}

/// From kept sums: as quick with ten million orders as with ten.
///
/// # Errors
/// A store that fails.
pub async fn stats(store: &Store, top: usize, recent: usize) -> Result<Stats, StoreError> {
    let (told, unpublished) = try_join(store.tell(top, recent), publish::waiting(store)).await?;
    Ok(Stats { told, unpublished })
}

/// How far the views are behind the topics. Topics that are not there yet are left out.
///
/// # Errors
/// Brokers that do not answer.
pub async fn lag(cluster: &Cluster, prefix: &str, checkpoints: &[CheckpointRow]) -> Result<Vec<Lag>, Error> {
    let known: BTreeMap<TopicPartition, &CheckpointRow> = checkpoints
        .iter()
        .filter_map(|row| Some((TopicPartition::new(row.topic.as_str(), i32::try_from(row.partition).ok()?), row)))
        .collect();
    let mut all = BTreeSet::new();
    for topic in TOPICS {
        match cluster.topic(&prefixed(prefix, topic)).await {
            Ok(topic) => all.extend((0..topic.count()).map(|number| TopicPartition::new(topic.name.clone(), number))),
            Err(Error::UnknownTopic { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let (bounds, gaps) = bounds(cluster, all.iter()).await;
    if let Some(error) = gaps.into_iter().next() {
        return Err(error);
    }
    let mut lags: Vec<Lag> = all
        .into_iter()
        .map(|partition| Lag {
            next: known.get(&partition).map(|row| row.next_offset),
            start: bounds.get(&partition).map(|(start, _)| *start),
            end: bounds.get(&partition).map(|(_, end)| *end),
            behind: None,
            missing: known.get(&partition).map_or(0, |row| row.missing),
            partition,
        })
        .collect();
    let late = lags.iter().filter(|lag| lag.events().is_some_and(|events| events > 0));
    let places = late.map(|lag| (lag.partition.clone(), lag.next.max(lag.start).unwrap_or(0))).collect();
    let times = Admin::new(cluster.clone()).record_times(places, WITHIN).await;
    let now = now();
    for lag in &mut lags {
        let age = |written: &i64| Duration::from_millis(u64::try_from(now - written).unwrap_or(0));
        lag.behind = times.get(&lag.partition).map(age);
    }
    Ok(lags)
}
