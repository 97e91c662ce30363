//! Replaying dead letters: each goes back as the record that it was.
//!
//! How far a replay of all has come is committed for the group [`GROUP`], after what was sent is acknowledged: a crash in
//! between sends those letters again. A group without members keeps its offsets for `offsets.retention.minutes` (seven days
//! by default) after its last commit; what was replayed longer ago and not purged counts as waiting again.

use std::collections::BTreeMap;

use super::{
    At, Letter, acknowledged, append,
    read::{Pages, bounds, one},
    sending,
};
use crate::{
    app::{produce::Outbound, relay::Stop},
    kafka::{Admin, Cluster, Error, NewRecord, TopicNumber, TopicPartition},
    patterns::dead_letter::original_of,
};

/// For which it is remembered how far replays of all have come.
pub const GROUP: &str = "kafkalab-dlt-replay";

/// Letters that are sent before it is remembered that they were.
const BATCH: usize = 500;

/// Which letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that no replay of all has passed, in order; and remember it.
    All,
    /// These, whatever happened to them before.
    These(Vec<At>),
}

#[derive(Clone, Debug)]
pub struct Replay {
    /// Of the dead letters.
    pub topic: String,
    pub which: Which,
    /// Instead of the topics from which the letters came.
    pub to: Option<String>,
    /// Send nothing, only count.
    pub dry_run: bool,
}

/// What was sent, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// By topic.
    pub to: BTreeMap<String, u64>,
    /// Of them, those that no sender of dead letters wrote: they went to the topic that theirs is named after.
    pub without_note: u64,
}

impl Replayed {
    pub fn count(&self) -> u64 {
        self.to.values().sum()
    }
}

/// A topic that letters go to.
#[derive(Clone, Copy, Debug)]
struct Target {
    partitions: i32,
    /// `None` in a dry run.
    number: Option<TopicNumber>,
}

struct Sender<'a> {
    cluster: &'a Cluster,
    replay: &'a Replay,
    /// `None` in a dry run.
    outbound: Option<Outbound>,
    targets: BTreeMap<String, Target>,
    report: Replayed,
}

/// Sends letters back, without their notes and otherwise byte for byte: at-least-once, acks=all, in the order of each
/// partition, to the partition from which they came. A stop is heeded between two batches.
///
/// # Errors
/// [`Error::UnknownTopic`] where the topic of letters, or one that they came from, is not there: topics are not made here.
/// [`Error::OffsetOutOfRange`] where a letter is not there; then none is sent. [`Error::is_group_in_use`] where somebody is
/// in the group that remembers; a broker's refusal. What was sent before an error stays sent, and is remembered up to the
/// batch before it.
pub async fn replay(cluster: &Cluster, replay: &Replay, stop: &Stop) -> Result<Replayed, Error> {
    let outbound = match replay.dry_run {
        true => None,
        false => Some(Outbound::open(cluster.clone(), sending()).await?),
    };
    let mut sender = Sender { cluster, replay, outbound, targets: BTreeMap::new(), report: Replayed::default() };
    match &replay.which {
        Which::All => sender.all(stop).await?,
        Which::These(places) => {
            let mut letters = Vec::with_capacity(places.len());
            for at in places {
                letters.push(one(cluster, &replay.topic, *at).await?);
            }
            sender.send(&letters).await?;
        }
    }
    Ok(sender.report)
}

impl Sender<'_> {
    async fn all(&mut self, stop: &Stop) -> Result<(), Error> {
        for (number, bounds) in bounds(self.cluster, &self.replay.topic).await? {
            let mut pages = Pages::of(self.cluster, &self.replay.topic, number, bounds.replayed, bounds.end);
            while let Some((partition, records)) = pages.next().await? {
                let letters = records.into_iter().map(|record| {
                    let at = At { partition, offset: record.offset };
                    Letter::new(at, record, false)
                });
                for batch in letters.collect::<Vec<_>>().chunks(BATCH) {
                    if stop.is_cancelled() {
                        return Ok(());
                    }
                    self.send(batch).await?;
                    self.remember(number, batch.last().map_or(0, |letter| letter.at.offset + 1)).await?;
                }
            }
            // markers of transactions may lie behind the last letter
            if bounds.replayed < bounds.end {
                self.remember(number, bounds.end).await?;
            }
        }
        Ok(())
    }

    /// Sends letters and waits until all are acknowledged.
    async fn send(&mut self, letters: &[Letter]) -> Result<(), Error> {
        // a topic that is not there is found before anything is sent
        for letter in letters {
            let name = self.target_of(letter);
            if !self.targets.contains_key(&name) {
                let target = self.target(&name).await?;
                self.targets.insert(name, target);
            }
        }
        let before = self.outbound.as_ref().map(Outbound::tally);
        for letter in letters {
            let name = self.target_of(letter);
            if let Some(target) = self.targets.get(&name) {
                self.send_one(letter, &name, *target).await?;
            }
        }
        if let (Some(outbound), Some(before)) = (&self.outbound, before) {
            acknowledged(outbound, &before).await?;
        }
        for letter in letters {
            *self.report.to.entry(self.target_of(letter)).or_default() += 1;
            self.report.without_note += u64::from(letter.note.is_none());
        }
        Ok(())
    }

    async fn send_one(&self, letter: &Letter, name: &str, target: Target) -> Result<(), Error> {
        let (Some(outbound), Some(number)) = (&self.outbound, target.number) else { return Ok(()) };
        let note = letter.note.as_ref();
        let came_from = note.filter(|note| note.topic == name).and_then(|note| note.partition);
        let partition = came_from.filter(|number| (0..target.partitions).contains(number));
        let headers = letter.own_headers();
        let record = NewRecord {
            key: letter.record.key.as_deref(),
            value: letter.record.value.as_deref(),
            headers: &headers,
            // Spring's letters have the time at which they were put aside, and the record's own in the note
            timestamp: Some(note.and_then(|note| note.timestamp).unwrap_or(letter.record.timestamp)),
        };
        append(outbound, number, partition, &record).await
    }

    /// Where a letter goes: where it is told to, or from where it came, or to the topic that the letters' is named after.
    fn target_of(&self, letter: &Letter) -> String {
        let named_after = || original_of(&self.replay.topic).unwrap_or(&self.replay.topic).to_owned();
        let to = self.replay.to.clone().or_else(|| letter.note.as_ref().map(|note| note.topic.clone()));
        to.unwrap_or_else(named_after)
    }

    async fn target(&self, name: &str) -> Result<Target, Error> {
        let partitions = self.cluster.topic(name).await?.count();
        let number = match &self.outbound {
            Some(outbound) => Some(outbound.topic(name).await?),
            None => None,
        };
        Ok(Target { partitions, number })
    }

    async fn remember(&self, number: i32, offset: i64) -> Result<(), Error> {
        if self.replay.dry_run {
            return Ok(());
        }
        let come_to = BTreeMap::from([(TopicPartition::new(self.replay.topic.as_str(), number), offset)]);
        Admin::new(self.cluster.clone()).commit_offsets(GROUP, &come_to).await
    }
}
