//! A rebuild: a view is built beside the one that serves, catches up, and is switched to.
//!
//! ```text
//! begin    a row for the new view: from its commit on every reader feeds both
//! build    from the log (or the topics) up to where they end after that
//! switch   one transaction: the new one serves, the old one does not; then the old one's rows are removed
//! ```
//!
//! Nothing is missed: what a reader had handled before the new view was there is in the log before its end, and what comes
//! later is fed to both. Nothing counts twice: the views merge by event ids. So a rebuild needs no pause, and whoever dies in
//! it leaves the old view serving; the same rebuild again goes on where that one ended.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{
    TOPICS,
    project::{Progress, Progresses, build},
};
use crate::{
    app::relay::{LEASE, Stop, prefixed, rest},
    kafka::{Assignment, Chunk, Cluster, Consumer, ConsumerConfig, Error, Fetched, Isolation, Offset, TopicPartition},
    patterns::{
        envelope,
        projection::{Models, Observed},
    },
    store::{Lease, Store, StoreError, View},
};

/// Of the lease: one rebuild at a time.
const NAME: &str = "cqrs-rebuild";
/// Events of one transaction.
const BATCH: usize = 5000;
/// The log, among a view's checkpoints. No topic has such a name.
const LOG: &str = "(log)";
/// Before the name of a topic that is read for a rebuild: the readers' own checkpoints stand under the name alone.
const REREAD: &str = "(again)";

/// Why nothing was rebuilt. The old view serves on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RebuildError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] Error),
    #[error("another rebuild is running; wait for its end")]
    Busy,
    #[error(
        "{partition} begins at offset {start}: {gone} records were removed by retention, and a model from it would be \
         without them. Rebuild from the event log, which has all"
    )]
    Gone { partition: TopicPartition, start: i64, gone: i64 },
}

/// What was built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub generation: i64,
    /// Where an earlier rebuild had come to; 0: it was begun now.
    pub resumed_at: u64,
    pub events: u64,
    /// Events that could not be read, and are in no model.
    pub unreadable: u64,
    /// Rows that the new view and the old one do not share, where that was asked for.
    pub differences: Option<u64>,
}

/// What is rebuilt, and how.
pub struct Rebuild<'a> {
    pub store: &'a Store,
    pub models: Models,
    /// From these topics; `None`: from the event log.
    pub topics: Option<(&'a Cluster, &'a str)>,
    /// Compare with the old view before the switch; while events come in, the two are of different moments.
    pub compare: bool,
    pub stop: &'a Stop,
}

impl Rebuild<'_> {
    /// Builds and switches. `progress` hears how much is done of how much. `None`: told to stop; the same again goes on.
    ///
    /// # Errors
    /// [`RebuildError`]; the old view serves on.
    pub async fn run(&self, progress: &mut (dyn FnMut(u64, u64) + Send)) -> Result<Option<Report>, RebuildError> {
        let Some(lease) = self.lease().await? else { return Ok(None) };
        let outcome = self.build_and_switch(&lease, progress).await;
        let _ = self.store.release(&lease).await; // it ends by itself otherwise
        outcome
    }

    /// Whoever died in a rebuild holds the lease until it ends.
    async fn lease(&self) -> Result<Option<Lease>, RebuildError> {
        let (owner, began) = (Uuid::now_v7().to_string(), Instant::now());
        loop {
            if let Some(lease) = self.store.acquire(NAME, &owner, LEASE).await? {
                return Ok(Some(lease));
            }
            if began.elapsed() > LEASE + LEASE / 4 {
                return Err(RebuildError::Busy);
            }
            if !rest(Duration::from_millis(100), self.stop).await {
                return Ok(None);
            }
        }
    }

    async fn build_and_switch(
        &self,
        lease: &Lease,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Option<Report>, RebuildError> {
        let view = self.begin().await?;
        let mut report = Report { generation: view.generation, ..Report::default() };
        let is_done = match self.topics {
            None => self.read_log(view, lease, &mut report, progress).await?,
            Some((cluster, prefix)) => self.read_topics(cluster, prefix, view, lease, &mut report, progress).await?,
        };
        if !is_done {
            return Ok(None);
        }
        if self.compare {
            report.differences = Some(self.differences(view).await?);
        }
        self.store.renew(lease, LEASE).await?;
        self.store.switch_view(view).await?;
        for retired in self.store.views().await?.retired() {
            self.store.remove_view(retired.generation).await?;
        }
        Ok(Some(report))
    }

    /// The view that an earlier rebuild of the same models has left, or a new one. Others that nobody builds any more go.
    async fn begin(&self) -> Result<View, RebuildError> {
        let mut found = None;
        for view in self.store.views().await?.views {
            match view {
                View { is_live: true, models, .. } if !models.is_empty() => {}
                View { is_live: false, models, .. } if models == self.models && found.is_none() => found = Some(view),
                View { generation, .. } => self.store.remove_view(generation).await?,
            }
        }
        match found {
            Some(view) => Ok(view),
            None => Ok(self.store.begin_view(self.models).await?),
        }
    }

    async fn differences(&self, view: View) -> Result<u64, StoreError> {
        let mut count = 0;
        for model in self.models.iter() {
            let views = self.store.views().await?;
            if let Some(live) = views.live().find(|live| live.models.has(model)) {
                count += self.store.view_differences(model.into(), live.generation, view.generation).await?;
            }
        }
        Ok(count)
    }

    async fn read_log(
        &self,
        view: View,
        lease: &Lease,
        report: &mut Report,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<bool, RebuildError> {
        let head = self.store.head().await?; // behind the view's beginning
        let mut at = self.store.view_checkpoint(view.generation, LOG, 0).await?.map_or(0, |at| at.unsigned_abs());
        report.resumed_at = at;
        let mut pages = self.store.all_pages(at).of(BATCH);
        let mut renewed = Instant::now();
        while at < head {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            let page = pages.next().await?;
            let Some(last) = page.last() else { break };
            at = last.position;
            let mut events = Vec::with_capacity(page.len());
            for event in page.iter().filter(|event| event.event_type.starts_with("orders.")) {
                match Observed::recorded(event) {
                    Ok(event) => events.push(event),
                    Err(error) => {
                        tracing::warn!(position = event.position, %error, "an event is in no model");
                        report.unreadable += 1;
                    }
                }
            }
            let time_ms = events.iter().map(|event| event.time_ms).max().unwrap_or(0);
            let next_offset = i64::try_from(at).unwrap_or(i64::MAX);
            let gone_to = [((LOG.to_owned(), 0), Progress { next_offset, time_ms, missing: 0 })];
            self.put(view, &events, Progresses::from(gone_to), lease, &mut renewed).await?;
            report.events += events.len() as u64;
            progress(at.min(head), head);
        }
        Ok(true)
    }

    async fn read_topics(
        &self,
        cluster: &Cluster,
        prefix: &str,
        view: View,
        lease: &Lease,
        report: &mut Report,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<bool, RebuildError> {
        let assignments = self.whole_topics(cluster, prefix, view, report).await?;
        let all: i64 = assignments.iter().map(|part| part.until.unwrap_or(part.from) - part.from).sum();
        let (all, mut done) = (all.unsigned_abs(), 0);
        if assignments.is_empty() {
            return Ok(true);
        }
        let mut consumer = Consumer::start(cluster.clone(), assignments, ConsumerConfig::default());
        let mut renewed = Instant::now();
        loop {
            let fetched = tokio::select! {
                () = self.stop.cancelled() => return Ok(false),
                fetched = consumer.next() => fetched?,
            };
            match fetched {
                None => return Ok(true),
                Some(Fetched::Notice(_)) => {}
                Some(Fetched::Records(chunk)) => {
                    done += self.chunk(view, &chunk, lease, &mut renewed, report).await?;
                    progress(done.min(all), all);
                }
            }
        }
    }

    /// From where the view is to where the topics end now, which is behind the view's beginning.
    async fn whole_topics(
        &self,
        cluster: &Cluster,
        prefix: &str,
        view: View,
        report: &mut Report,
    ) -> Result<Vec<Assignment>, RebuildError> {
        let mut places = Vec::new();
        for topic in TOPICS {
            let topic = cluster.topic(&prefixed(prefix, topic)).await?;
            let partitions = (0..topic.count()).map(|number| TopicPartition::new(topic.name.clone(), number));
            places.extend(partitions.flat_map(|part| [(part.clone(), Offset::Start), (part, Offset::End)]));
        }
        let offsets = cluster.resolve(&places, Isolation::ReadCommitted).await?;
        let mut assignments = Vec::new();
        for (place, bounds) in places.chunks(2).zip(offsets.chunks(2)) {
            let ([(partition, _), _], [start, end]) = (place, bounds) else { continue };
            let name = format!("{REREAD}{}", partition.topic);
            let come = self.store.view_checkpoint(view.generation, &name, partition.partition).await?.unwrap_or(0);
            if *start > come {
                let (partition, gone) = (partition.clone(), *start - come);
                return Err(RebuildError::Gone { partition, start: *start, gone });
            }
            report.resumed_at += come.unsigned_abs();
            if come < *end {
                assignments.push(Assignment { partition: partition.clone(), from: come, until: Some(*end) });
            }
        }
        Ok(assignments)
    }

    async fn chunk(
        &self,
        view: View,
        chunk: &Chunk,
        lease: &Lease,
        renewed: &mut Instant,
        report: &mut Report,
    ) -> Result<u64, RebuildError> {
        let (mut events, mut seen, mut is_end) = (Vec::new(), 0, false);
        let mut records = chunk.records.clone();
        while !is_end {
            let mut next_offset = chunk.next_offset;
            while events.len() < BATCH {
                let Some(record) = records.next()? else {
                    (next_offset, is_end) = (chunk.next_offset, true);
                    break;
                };
                (next_offset, seen) = (record.offset + 1, seen + 1);
                let headers: Vec<_> = record.headers.iter().collect();
                let received = envelope::decode(&headers, record.value).map_err(|error| error.to_string());
                match received {
                    Ok(received) if !received.envelope.event_type.starts_with("orders.") => {}
                    Ok(received) => match Observed::received(&received.envelope, &received.data) {
                        Ok(event) => events.push(event),
                        Err(_) => report.unreadable += 1,
                    },
                    Err(_) => report.unreadable += 1,
                }
            }
            let name = format!("{REREAD}{}", chunk.partition.topic);
            let progress = Progress { next_offset, time_ms: 0, missing: 0 };
            let progress = Progresses::from([((name, chunk.partition.partition), progress)]);
            self.put(view, &events, progress, lease, renewed).await?;
            report.events += events.len() as u64;
            events.clear();
        }
        Ok(seen)
    }

    /// What the database refuses for what it is is left out, as the readers do.
    async fn put(
        &self,
        view: View,
        events: &[Observed],
        progress: Progresses,
        lease: &Lease,
        renewed: &mut Instant,
    ) -> Result<(), RebuildError> {
        if renewed.elapsed() > LEASE / 5 {
            self.store.renew(lease, LEASE).await?;
            *renewed = Instant::now();
        }
        let all: Vec<&Observed> = events.iter().collect();
        match build(self.store, view, &all, &progress).await {
            Err(error) if crate::app::handler::batch::is_somebodys_fault(&error) => {
                for event in &all {
                    match build(self.store, view, &[event], &Progresses::new()).await {
                        Err(error) if crate::app::handler::batch::is_somebodys_fault(&error) => {}
                        outcome => outcome?,
                    }
                }
                Ok(build(self.store, view, &[], &progress).await?)
            }
            outcome => Ok(outcome?),
        }
    }
}
