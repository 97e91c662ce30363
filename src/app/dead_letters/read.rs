//! Looking at dead letters: which topics have some, which letters there are, and all about one.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    kafka::{
        Admin, Assignment, Cluster, Consumer, ConsumerConfig, Error, Fetched, Isolation, Offset, OffsetReset, Record,
        TopicPartition,
    },
    patterns::dead_letter::{self, DeadLetter, Pair},
};

/// Offsets before a partition's end among which its newest letter is looked for; the last ones may be markers of
/// transactions.
const LOOK_BACK: i64 = 4;

/// A dead letter's place within its topic: `2:17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub partition: i32,
    pub offset: i64,
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

/// A dead letter as it lies in its topic.
#[derive(Clone, Debug)]
pub struct Letter {
    pub at: At,
    pub record: Record,
    /// `None` where whoever wrote it was no sender of dead letters.
    pub note: Option<DeadLetter>,
    /// A replay of all has passed it.
    pub replayed: bool,
}

impl Letter {
    pub(super) fn new(at: At, record: Record, replayed: bool) -> Self {
        let note = dead_letter::open(&pairs(&record)).map(|opened| opened.letter);
        Self { at, record, note, replayed }
    }

    /// The headers of the record that it was.
    pub fn own_headers(&self) -> Vec<Pair<'_>> {
        let pairs = pairs(&self.record);
        dead_letter::open(&pairs).map_or(pairs, |opened| opened.headers)
    }
}

fn pairs(record: &Record) -> Vec<Pair<'_>> {
    record.headers.iter().map(|header| (&header.key[..], header.value.as_deref())).collect()
}

/// What a topic of dead letters has in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub start: i64,
    pub end: i64,
    /// Up to, not including, this one a replay of all has come.
    pub replayed: i64,
}

/// The bounds of each partition. What a group has committed beyond the end is of a topic that was made anew since.
pub(super) async fn bounds(cluster: &Cluster, topic: &str) -> Result<BTreeMap<i32, Bounds>, Error> {
    let topic = cluster.topic(topic).await?;
    let of = |number: i32| TopicPartition::new(Arc::clone(&topic.name), number);
    let place = |place: Offset| (0..topic.count()).map(move |number| (number, place));
    let places: Vec<_> =
        place(Offset::Start).chain(place(Offset::End)).map(|(number, place)| (of(number), place)).collect();
    let committed = Admin::new(cluster.clone()).committed_offsets(super::GROUP).await?;
    let offsets = cluster.resolve(&places, Isolation::ReadCommitted).await?;
    let (starts, ends) = offsets.split_at(offsets.len() / 2);
    let bounds = starts.iter().zip(ends).zip(0..).map(|((&start, &end), number)| {
        let replayed = committed.get(&of(number)).copied().filter(|offset| *offset <= end);
        (number, Bounds { start, end, replayed: replayed.unwrap_or(start).max(start) })
    });
    Ok(bounds.collect())
}

/// How many dead letters a topic has. Counted by offsets, so markers of transactions of other senders count too.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub topic: Arc<str>,
    pub letters: i64,
    /// Those that no replay of all has passed.
    pub waiting: i64,
    /// Of those that wait, the one with the newest time.
    pub newest: Option<Letter>,
}

/// Every topic of dead letters whose name begins so, by name.
///
/// # Errors
/// What the brokers refuse.
pub async fn waiting(cluster: &Cluster, prefix: &str) -> Result<Vec<Waiting>, Error> {
    let topics = cluster.topics().await?;
    let is_wanted = |name: &str| name.starts_with(prefix) && dead_letter::original_of(name).is_some();
    let mut found = Vec::new();
    for topic in topics.iter().filter(|topic| is_wanted(&topic.name)) {
        let bounds = bounds(cluster, &topic.name).await?;
        found.push(Waiting {
            topic: Arc::clone(&topic.name),
            letters: bounds.values().map(|at| at.end - at.start).sum(),
            waiting: bounds.values().map(|at| at.end - at.replayed).sum(),
            newest: newest(cluster, &topic.name, &bounds).await?,
        });
    }
    Ok(found)
}

async fn newest(cluster: &Cluster, topic: &str, bounds: &BTreeMap<i32, Bounds>) -> Result<Option<Letter>, Error> {
    let last = bounds.iter().filter(|(_, at)| at.replayed < at.end).map(|(number, at)| Assignment {
        partition: TopicPartition::new(topic, *number),
        from: at.replayed.max(at.end - LOOK_BACK),
        until: Some(at.end),
    });
    let mut newest: Option<Letter> = None;
    let mut pages = Pages::read(cluster, last.collect());
    while let Some((partition, records)) = pages.next().await? {
        for record in records {
            if newest.as_ref().is_none_or(|newest| newest.record.timestamp <= record.timestamp) {
                let at = At { partition, offset: record.offset };
                newest = Some(Letter::new(at, record, false));
            }
        }
    }
    Ok(newest)
}

/// The letters of a topic, partition by partition; `each` says whether to go on. Those that were replayed only with
/// `replayed`.
///
/// # Errors
/// [`Error::UnknownTopic`]; what the brokers refuse.
pub async fn letters(
    cluster: &Cluster,
    topic: &str,
    replayed: bool,
    each: &mut dyn FnMut(Letter) -> bool,
) -> Result<(), Error> {
    for (number, bounds) in bounds(cluster, topic).await? {
        let from = if replayed { bounds.start } else { bounds.replayed };
        let mut pages = Pages::of(cluster, topic, number, from, bounds.end);
        while let Some((partition, records)) = pages.next().await? {
            for record in records {
                let (at, replayed) = (At { partition, offset: record.offset }, record.offset < bounds.replayed);
                if !each(Letter::new(at, record, replayed)) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// One letter.
///
/// # Errors
/// [`Error::UnknownTopic`], [`Error::UnknownPartition`]; [`Error::OffsetOutOfRange`] where there is no letter at this
/// offset.
pub async fn one(cluster: &Cluster, topic: &str, at: At) -> Result<Letter, Error> {
    let bounds = bounds(cluster, topic).await?;
    let Some(there) = bounds.get(&at.partition) else {
        let (topic, count) = (topic.into(), i32::try_from(bounds.len()).unwrap_or(i32::MAX));
        return Err(Error::UnknownPartition { topic, partition: at.partition, count });
    };
    if (there.start..there.end).contains(&at.offset) {
        let mut pages = Pages::of(cluster, topic, at.partition, at.offset, at.offset + 1);
        while let Some((_, records)) = pages.next().await? {
            if let Some(record) = records.into_iter().find(|record| record.offset == at.offset) {
                return Ok(Letter::new(at, record, at.offset < there.replayed));
            }
        }
    }
    let partition = TopicPartition::new(topic, at.partition);
    Err(Error::OffsetOutOfRange { partition, offset: at.offset, start: there.start, end: there.end })
}

/// Partitions, read to where they end now, a fetched piece at a time.
pub(super) struct Pages(Option<Consumer>);

impl Pages {
    pub fn of(cluster: &Cluster, topic: &str, number: i32, from: i64, until: i64) -> Self {
        let partition = TopicPartition::new(topic, number);
        let assignment = (from < until).then_some(Assignment { partition, from, until: Some(until) });
        Self::read(cluster, assignment.into_iter().collect())
    }

    fn read(cluster: &Cluster, assignments: Vec<Assignment>) -> Self {
        let config = ConsumerConfig {
            offset_reset: OffsetReset::Earliest, // a purge in between takes what it takes
            patience: Some(cluster.options().request_timeout),
            ..ConsumerConfig::default()
        };
        Self((!assignments.is_empty()).then(|| Consumer::start(cluster.clone(), assignments, config)))
    }

    /// The partition's number, and records of it.
    pub async fn next(&mut self) -> Result<Option<(i32, Vec<Record>)>, Error> {
        let Some(consumer) = &mut self.0 else { return Ok(None) };
        while let Some(fetched) = consumer.next().await? {
            let Fetched::Records(mut chunk) = fetched else { continue };
            let mut records = Vec::new();
            while let Some(record) = chunk.records.next()? {
                records.push(record.to_owned());
            }
            if !records.is_empty() {
                return Ok(Some((chunk.partition.partition, records)));
            }
        }
        Ok(None)
    }
}
