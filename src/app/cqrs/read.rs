//! The read side: follows the topics in a group and keeps the views.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use super::{
    TOPICS, group,
    project::{Progress, Progresses, project},
};
use crate::{
    app::{
        dead_letters::{Dead, DeadLetters},
        handler::{HandlerError, Options, Pending, Report, Tell, Told, What, Work, batch::is_somebodys_fault, follow},
        relay::Stop,
    },
    kafka::{Chunk, Cluster, Isolation, Offset, Record, Records, TopicPartition},
    patterns::{
        envelope,
        projection::{Observed, is_of_the_log},
    },
    store::{Store, StoreError},
};

/// Follows the topics until it is told to stop, or with `once` to the end of what is there. Several share the partitions.
///
/// Poison goes to the dead letters. What the loop says of each record is told to `tell`; `missing` hears of records that
/// were gone before they could be read.
///
/// # Errors
/// As [`crate::app::handler::run`].
pub async fn read(
    store: &Store,
    cluster: &Cluster,
    options: &Options,
    stop: &Stop,
    tell: Tell<'_>,
    missing: &(dyn Fn(&TopicPartition, i64) + Send + Sync),
) -> Result<Report, HandlerError> {
    let group = options.group.clone().unwrap_or_else(|| group(store));
    let work = Reading { store, cluster, missing, begun: Mutex::new(HashSet::new()) };
    follow(work, &group, &TOPICS, cluster, options, stop, tell).await
}

struct Reading<'r> {
    store: &'r Store,
    cluster: &'r Cluster,
    missing: &'r (dyn Fn(&TopicPartition, i64) + Send + Sync),
    /// Partitions of which it is known that they go on where the views are.
    begun: Mutex<HashSet<TopicPartition>>,
}

/// A batch on its way into the views.
pub(super) struct Batch<'a> {
    items: Vec<Item<'a>>,
    /// Up to where it goes in each partition.
    progress: Progresses,
    partitions: Vec<&'a TopicPartition>,
}

struct Item<'a> {
    chunk: &'a Chunk,
    offset: i64,
    fate: Fate,
}

enum Fate {
    Event(Observed),
    /// Another domain's.
    PassedBy,
    Dead {
        reason: String,
        is_sent: bool,
    },
}

impl Work for Reading<'_> {
    type Batch<'a>
        = Batch<'a>
    where
        Self: 'a;

    async fn read<'a>(
        &'a self,
        sources: &mut VecDeque<(&'a Chunk, Records)>,
        limit: usize,
    ) -> Result<Batch<'a>, HandlerError> {
        let mut batch = Batch { items: Vec::new(), progress: Progresses::new(), partitions: Vec::new() };
        while batch.items.len() < limit
            && let Some((chunk, records)) = sources.front_mut()
        {
            let mut progress = Progress::default();
            while batch.items.len() < limit {
                let Some(record) = records.next()? else {
                    progress.next_offset = chunk.next_offset; // behind markers, too
                    break;
                };
                let headers: Vec<_> = record.headers.iter().collect();
                let fate = observed(&headers, record.value);
                if let Fate::Event(event) = &fate {
                    progress.time_ms = progress.time_ms.max(event.time_ms);
                }
                progress.next_offset = record.offset + 1;
                batch.items.push(Item { chunk, offset: record.offset, fate });
                if batch.items.len().is_multiple_of(128) {
                    tokio::task::yield_now().await;
                }
            }
            batch.went(chunk, progress);
            if batch.items.len() < limit {
                sources.pop_front();
            }
        }
        Ok(batch)
    }

    async fn commit<'a>(&'a self, batch: &mut Batch<'a>, dead: &mut DeadLetters) -> Result<(), HandlerError> {
        self.look_for_what_is_gone(batch).await?;
        match project(self.store, &batch.events(), &batch.progress).await {
            Err(error) if is_somebodys_fault(&error) => {
                tracing::warn!(%error, "the database refuses the batch; record by record now");
                self.one_by_one(batch).await?;
                project(self.store, &[], &batch.progress).await?;
            }
            outcome => outcome?,
        }
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).extend(batch.partitions.iter().copied().cloned());
        put_aside(batch, dead).await
    }

    fn revoked(&self, partitions: &[TopicPartition]) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| !partitions.contains(known));
    }
}

impl Reading<'_> {
    /// Where a partition is taken up: what lies between the views and its beginning was removed before it was read.
    async fn look_for_what_is_gone(&self, batch: &mut Batch<'_>) -> Result<(), HandlerError> {
        let is_new = |partition: &&TopicPartition| {
            !self.begun.lock().unwrap_or_else(PoisonError::into_inner).contains(*partition)
        };
        let new: Vec<&TopicPartition> = batch.partitions.iter().copied().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let places: Vec<_> = new.iter().map(|partition| ((*partition).clone(), Offset::Start)).collect();
        let starts = self.cluster.resolve(&places, Isolation::ReadUncommitted).await?;
        let views = self.store.views().await?;
        for (partition, start) in new.into_iter().zip(starts) {
            let mut come = None;
            for view in views.live().filter(|view| !view.models.is_empty()) {
                let at = self.store.view_checkpoint(view.generation, &partition.topic, partition.partition).await?;
                come = come.max(Some(at.unwrap_or(0)));
            }
            let gone = start - come.unwrap_or(start);
            if let Some(progress) =
                batch.progress.get_mut(&(partition.topic.to_string(), partition.partition)).filter(|_| gone > 0)
            {
                progress.missing = gone;
                (self.missing)(partition, gone);
            }
        }
        Ok(())
    }

    /// What the database refuses is put aside.
    async fn one_by_one(&self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        for item in &mut batch.items {
            let Fate::Event(event) = &item.fate else { continue };
            if let Err(error) = project(self.store, &[event], &Progresses::new()).await {
                if !is_somebodys_fault(&error) {
                    return Err(error);
                }
                item.fate = Fate::Dead { reason: error.to_string(), is_sent: false };
            }
        }
        Ok(())
    }
}

/// At-least-once: whoever dies before the offsets are committed puts them aside again.
async fn put_aside(batch: &mut Batch<'_>, dead: &mut DeadLetters) -> Result<(), HandlerError> {
    let mut letters = Vec::new();
    for item in &batch.items {
        if let Fate::Dead { reason, is_sent: false } = &item.fate {
            letters.extend(item.record()?.map(|record| (&item.chunk.partition, record, reason.clone())));
        }
    }
    if letters.is_empty() {
        return Ok(());
    }
    let send: Vec<Dead<'_>> =
        letters.iter().map(|(partition, record, reason)| Dead::record(partition, record, reason)).collect();
    dead.send(&send).await?;
    for item in &mut batch.items {
        if let Fate::Dead { is_sent, .. } = &mut item.fate {
            *is_sent = true;
        }
    }
    Ok(())
}

/// Only the orders of the log are known here: a rebuild would not have others.
fn observed(headers: &[(&[u8], Option<&[u8]>)], value: Option<&[u8]>) -> Fate {
    let dead = |reason: String| Fate::Dead { reason, is_sent: false };
    let received = match envelope::decode(headers, value) {
        Ok(received) => received,
        Err(error) => return dead(error.to_string()),
    };
    if !is_of_the_log(&received.envelope) {
        return Fate::PassedBy;
    }
    match Observed::received(&received.envelope, &received.data) {
        Ok(event) => Fate::Event(event),
        Err(error) => dead(error.to_string()),
    }
}

impl<'a> Batch<'a> {
    fn events(&self) -> Vec<&Observed> {
        self.items.iter().filter_map(Item::event).collect()
    }

    fn went(&mut self, chunk: &'a Chunk, progress: Progress) {
        let partition = &chunk.partition;
        let place = (partition.topic.to_string(), partition.partition);
        let entry = self.progress.entry(place).or_insert_with(|| {
            self.partitions.push(partition);
            Progress::default()
        });
        entry.next_offset = entry.next_offset.max(progress.next_offset);
        entry.time_ms = entry.time_ms.max(progress.time_ms);
    }
}

impl Pending for Batch<'_> {
    /// Markers alone are no records, and the views go on behind them all the same.
    fn is_empty(&self) -> bool {
        self.progress.is_empty()
    }

    fn tell(&self, tell: Tell<'_>, report: &mut Report) {
        let mut effects = 0;
        for item in &self.items {
            let (message, what) = match &item.fate {
                Fate::Event(event) => {
                    effects += 1;
                    (event.id.as_str(), What::Effect { messages: 0 })
                }
                Fate::PassedBy => ("", What::PassedBy),
                Fate::Dead { reason, .. } => {
                    report.dead += 1;
                    ("", What::Dead(reason.as_str()))
                }
            };
            tell(Told::Record { partition: &item.chunk.partition, offset: item.offset, message, what });
        }
        report.records += self.items.len() as u64;
        report.effects += effects as u64;
        tell(Told::Committed { records: self.items.len(), effects });
    }
}

impl Item<'_> {
    fn event(&self) -> Option<&Observed> {
        match &self.fate {
            Fate::Event(event) => Some(event),
            _ => None,
        }
    }

    /// The record once more, as it came: rarely needed, so it is looked for then.
    fn record(&self) -> Result<Option<Record>, HandlerError> {
        let mut records = self.chunk.records.clone();
        while let Some(record) = records.next()? {
            if record.offset == self.offset {
                return Ok(Some(record.to_owned()));
            }
        }
        Ok(None)
    }
}
