//! Deleting dead letters. Kafka deletes the beginning of a partition and nothing else, so each way to say what is to go
//! becomes an offset for each partition.

use std::collections::BTreeMap;

use super::{
    At,
    read::{Bounds, bounds},
};
use crate::kafka::{Admin, Cluster, Error, Isolation, Offset, TopicPartition};

/// Which letters are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// Those that a replay of all has passed.
    Replayed,
    /// All that are there now.
    End,
    /// Those before these places, each in its partition; other partitions stay as they are.
    Places(Vec<At>),
    /// Those before the first one that is not older than this time, in milliseconds since the Unix epoch.
    Time(i64),
}

/// One partition's part of a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purge {
    pub partition: i32,
    /// Letters before this offset go.
    pub before: i64,
    /// How many those are, by offsets.
    pub letters: i64,
    /// Those of them that no replay of all has passed.
    pub waiting: i64,
}

/// The partitions in which something goes.
pub type Purged = Vec<Purge>;

/// Finds out what would go, and deletes nothing.
///
/// # Errors
/// [`Error::UnknownTopic`], [`Error::UnknownPartition`]; [`Error::OffsetOutOfRange`] for a place that is behind the end.
pub async fn plan_purge(cluster: &Cluster, topic: &str, what: &Before) -> Result<Purged, Error> {
    let bounds = bounds(cluster, topic).await?;
    let before: BTreeMap<i32, i64> = match what {
        Before::Replayed => bounds.iter().map(|(number, at)| (*number, at.replayed)).collect(),
        Before::End => bounds.iter().map(|(number, at)| (*number, at.end)).collect(),
        Before::Places(places) => named(topic, places, &bounds)?,
        Before::Time(ms) => {
            let place = |number: &i32| (TopicPartition::new(topic, *number), Offset::Timestamp(*ms));
            let places: Vec<_> = bounds.keys().map(place).collect();
            let found = cluster.resolve(&places, Isolation::ReadCommitted).await?;
            bounds.keys().copied().zip(found).collect()
        }
    };
    let purge = before.into_iter().filter_map(|(partition, before)| {
        let at = bounds.get(&partition)?;
        let before = before.min(at.end);
        let (letters, waiting) = (before - at.start, (before - at.replayed).max(0));
        (letters > 0).then_some(Purge { partition, before, letters, waiting })
    });
    Ok(purge.collect())
}

fn named(topic: &str, places: &[At], bounds: &BTreeMap<i32, Bounds>) -> Result<BTreeMap<i32, i64>, Error> {
    let mut before = BTreeMap::new();
    for place in places {
        let Some(at) = bounds.get(&place.partition) else {
            let (topic, count) = (topic.into(), i32::try_from(bounds.len()).unwrap_or(i32::MAX));
            return Err(Error::UnknownPartition { topic, partition: place.partition, count });
        };
        if place.offset > at.end {
            let partition = TopicPartition::new(topic, place.partition);
            return Err(Error::OffsetOutOfRange { partition, offset: place.offset, start: at.start, end: at.end });
        }
        before.insert(place.partition, place.offset);
    }
    Ok(before)
}

/// Carries out a plan; letters that came since stay.
///
/// # Errors
/// As [`Admin::delete_records`].
pub async fn purge(cluster: &Cluster, topic: &str, plan: &[Purge]) -> Result<(), Error> {
    let before = plan.iter().map(|step| (TopicPartition::new(topic, step.partition), step.before)).collect();
    Admin::new(cluster.clone()).delete_records(&before).await.map(drop)
}
