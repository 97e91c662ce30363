//! The member task: carries out what the membership says, and tells it what happens.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    membership::{Action, Event, Membership, Verdict, verdict},
    progress::Progress,
    requests::Asker,
};
use crate::kafka::{
    committed::{self, Committer},
    consumer::{Claim, Claims, Notice},
    error::{Code, Error, Result},
    offset::Offset,
    record::TopicPartition,
};

/// Orders that the reader has not seen. The membership waits for the reader before it goes on, so there are few.
pub(super) const ORDERS: usize = 64;
/// A commit before partitions go to another member is tried so often while the member's epoch moves.
const PARTING_COMMITS: u32 = 3;
/// How often the leader looks for a topic that is not there yet.
const LOOK_FOR_TOPICS: Duration = Duration::from_secs(1);
/// Trouble with the coordinator that is shorter is not worth a word.
const WORTH_A_WORD: Duration = Duration::from_secs(1);

/// What the reader must know, in this order.
#[derive(Debug)]
pub(super) enum Order {
    Give { generation: i32, partitions: Vec<(TopicPartition, u64)> },
    Take { partitions: Vec<TopicPartition>, lost: bool, done: oneshot::Sender<()> },
    Notice(Notice),
}

/// Where the partitions of a Give begin.
struct Starts {
    partitions: Vec<(TopicPartition, u64)>,
    found: Result<Vec<Start>>,
}

struct Start {
    from: i64,
    until: Option<i64>,
    stored: bool,
}

/// A Take that the reader has answered.
struct Parted {
    partitions: Vec<TopicPartition>,
    commit: bool,
}

/// By whom, what, and what came of it.
type Committed = (Committer, BTreeMap<TopicPartition, i64>, Result<()>);

pub(super) struct Member {
    asker: Asker,
    membership: Box<dyn Membership>,
    /// To the fetcher.
    claims: watch::Sender<Claims>,
    /// To the reader.
    orders: mpsc::Sender<Result<Order>>,
    progress: Arc<Progress>,
    last_claim: u64,
    /// The claims that hold, those included whose first offsets are still being asked for.
    claimed: BTreeMap<TopicPartition, u64>,
    asking: Option<BoxFuture<'static, Event>>,
    counting: Option<BoxFuture<'static, Event>>,
    giving: FuturesUnordered<BoxFuture<'static, Starts>>,
    taking: FuturesUnordered<BoxFuture<'static, Parted>>,
    committing: Option<BoxFuture<'static, Committed>>,
    /// Let go by the reader, and not released before their commit.
    parting: Vec<Parted>,
    parting_commits: u32,
    commit_at: Instant,
    count_at: Instant,
    /// The handling that was given up, so that it is given up once.
    stalled_since: Option<Instant>,
    trouble_since: Option<Instant>,
    said_waiting: bool,
    ended: bool,
}

impl Member {
    pub(super) fn new(
        asker: Asker,
        membership: Box<dyn Membership>,
        claims: watch::Sender<Claims>,
        orders: mpsc::Sender<Result<Order>>,
        progress: Arc<Progress>,
    ) -> Self {
        let now = Instant::now();
        Self {
            commit_at: now + asker.config.commit_every,
            count_at: now,
            asker,
            membership,
            claims,
            orders,
            progress,
            last_claim: 0,
            claimed: BTreeMap::new(),
            asking: None,
            counting: None,
            giving: FuturesUnordered::new(),
            taking: FuturesUnordered::new(),
            committing: None,
            parting: Vec::new(),
            parting_commits: 0,
            stalled_since: None,
            trouble_since: None,
            said_waiting: false,
            ended: false,
        }
    }

    /// Until it has left, could not stay, or its reader is gone. The result is that of the last commit.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<()> {
        self.feed(Event::Start);
        while !self.ended {
            let wake = self.wake();
            let orders = self.orders.clone();
            tokio::select! {
                () = stop.cancelled() => return self.leave().await,
                () = orders.closed() => return Ok(()),
                event = answer(&mut self.asking) => {
                    self.asking = None;
                    self.feed(event);
                }
                event = answer(&mut self.counting) => {
                    self.counting = None;
                    // a leader that cannot look now looks again later
                    if let Event::Counts(counts) = event {
                        self.feed(Event::Counts(counts));
                    }
                }
                Some(starts) = self.giving.next() => self.given(starts),
                Some(parted) = self.taking.next() => {
                    self.parting.push(parted);
                    self.part();
                }
                committed = answer(&mut self.committing) => {
                    self.committing = None;
                    self.committed(committed);
                }
                () = sleep_until(wake.into()) => self.on_time(),
            }
        }
        Ok(())
    }

    fn feed(&mut self, event: Event) {
        self.weather(&event);
        for action in self.membership.on(event, Instant::now()) {
            match action {
                Action::Ask(ask) => {
                    tracing::debug!(?ask, "asking");
                    let asker = self.asker.clone();
                    self.asking = Some(async move { asker.ask(ask).await }.boxed());
                }
                Action::Give(partitions) => self.give(partitions),
                Action::Take { partitions, commit } => self.take(partitions, commit),
                Action::End(result) => {
                    self.ended = true;
                    if let Err(error) = result {
                        self.order(Err(error));
                    }
                }
            }
        }
    }

    /// Says when the coordinator is away for long, and when it is back.
    fn weather(&mut self, event: &Event) {
        match event {
            Event::Refused(error) if verdict(error) == Verdict::Again => {
                tracing::debug!(%error, "asking again");
                let since = *self.trouble_since.get_or_insert_with(Instant::now);
                if since.elapsed() > WORTH_A_WORD && !self.said_waiting {
                    self.said_waiting = true;
                    self.order(Ok(Order::Notice(Notice::Waiting { cause: error.to_string() })));
                }
            }
            Event::Joined(_) | Event::Synced(_) | Event::Beaten | Event::Told(_) => {
                self.trouble_since = None;
                if std::mem::take(&mut self.said_waiting) {
                    self.order(Ok(Order::Notice(Notice::Resumed)));
                }
            }
            _ => {}
        }
    }

    fn order(&mut self, order: Result<Order>) {
        // full only if the reader is gone for good
        if self.orders.try_send(order).is_err() {
            self.ended = true;
        }
    }

    // ---- time

    fn wake(&self) -> Instant {
        let mut wake = self.commit_at.min(self.count_at);
        if let Some(at) = self.membership.wake_at().filter(|_| self.asking.is_none()) {
            wake = wake.min(at);
        }
        if let Some(at) = self.stalls_at() {
            wake = wake.min(at);
        }
        wake
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        if self.asking.is_none() && self.membership.wake_at().is_some_and(|at| at <= now) {
            self.feed(Event::Wake);
        }
        if self.stalls_at().is_some_and(|at| at <= now) {
            self.stalled_since = self.progress.reader_works_since();
            self.feed(Event::Stalled);
        }
        if self.commit_at <= now {
            self.commit_at = now + self.asker.config.commit_every;
            self.commit();
        }
        if self.count_at <= now {
            self.look_at_topics(now);
        }
    }

    /// When the handler will have taken too long for what it was given.
    fn stalls_at(&self) -> Option<Instant> {
        let since = self.progress.reader_works_since().filter(|since| self.stalled_since != Some(*since))?;
        Some(since + self.asker.config.max_handling)
    }

    /// The leader divides anew when there is more, or less, to divide.
    fn look_at_topics(&mut self, now: Instant) {
        let topics = self.membership.watched();
        let missing = topics.iter().any(|topic| self.asker.cluster.known(topic).is_none());
        let age = self.asker.config.consumer.metadata_age;
        self.count_at = now + if missing { age.min(LOOK_FOR_TOPICS) } else { age };
        if !topics.is_empty() && self.counting.is_none() {
            let asker = self.asker.clone();
            self.counting = Some(
                async move {
                    let counts = asker.counts(&topics).await;
                    counts.map_or_else(Event::Refused, Event::Counts)
                }
                .boxed(),
            );
        }
    }

    // ---- partitions that come

    fn give(&mut self, partitions: Vec<TopicPartition>) {
        self.count_at = Instant::now();
        let mut number = || {
            self.last_claim += 1;
            self.last_claim
        };
        let partitions: Vec<_> = partitions.into_iter().map(|partition| (partition, number())).collect();
        self.claimed.extend(partitions.iter().cloned());
        if partitions.is_empty() {
            return self.given(Starts { partitions, found: Ok(Vec::new()) });
        }
        self.ask_starts(partitions);
    }

    fn given(&mut self, starts: Starts) {
        let is_current = |(partition, claim): &(TopicPartition, u64)| self.claimed.get(partition) == Some(claim);
        let found = match starts.found {
            Ok(found) => found,
            Err(error)
                if error.is_transient()
                    || matches!(error, Error::UnknownTopic { .. } | Error::UnknownPartition { .. }) =>
            {
                tracing::debug!(%error, "asking again where to begin");
                let again: Vec<_> = starts.partitions.into_iter().filter(is_current).collect();
                if !again.is_empty() {
                    self.ask_starts(again);
                }
                return;
            }
            Err(error) => {
                self.ended = true;
                return self.order(Err(error));
            }
        };
        let begun: Vec<_> = starts.partitions.into_iter().zip(found).filter(|(claim, _)| is_current(claim)).collect();
        let partitions = begun.iter().map(|(claim, _)| claim.clone()).collect();
        for ((partition, claim), start) in &begun {
            self.progress.begin(partition.clone(), *claim, start.from, start.stored);
        }
        // before the fetcher knows: the reader is handed no record of a partition that it was not given
        let generation = self.membership.committer().map_or(-1, |committer| committer.generation);
        self.order(Ok(Order::Give { generation, partitions }));
        self.claims.send_modify(|claims| {
            for ((partition, number), start) in begun {
                claims.insert(partition, Claim { number, from: start.from, until: start.until });
            }
        });
    }

    fn ask_starts(&mut self, partitions: Vec<(TopicPartition, u64)>) {
        let asker = self.asker.clone();
        self.giving.push(
            async move {
                let found = starts(&asker, &partitions).await;
                if found.is_err() {
                    sleep(LOOK_FOR_TOPICS / 2).await; // before it is asked again
                }
                Starts { partitions, found }
            }
            .boxed(),
        );
    }

    // ---- partitions that go

    fn take(&mut self, partitions: Vec<TopicPartition>, commit: bool) {
        self.claimed.retain(|partition, _| !partitions.contains(partition));
        self.claims.send_modify(|claims| claims.retain(|partition, _| !partitions.contains(partition)));
        if !commit {
            self.progress.forget(&partitions);
        }
        let (done, let_go) = oneshot::channel();
        self.order(Ok(Order::Take { partitions: partitions.clone(), lost: !commit, done }));
        self.taking.push(
            async move {
                let _ = let_go.await; // a reader that is gone holds nothing
                Parted { partitions, commit }
            }
            .boxed(),
        );
    }

    /// Releases what the reader has let go of, as soon as what it had handled is committed.
    fn part(&mut self) {
        if self.committing.is_some() {
            return;
        }
        let open = self.progress.uncommitted();
        let is_open = |parted: &Parted| parted.commit && parted.partitions.iter().any(|p| open.contains_key(p));
        if self.parting.iter().any(is_open) && self.parting_commits < PARTING_COMMITS && self.commit() {
            self.parting_commits += 1;
            return;
        }
        self.parting_commits = 0;
        for parted in std::mem::take(&mut self.parting) {
            self.progress.forget(&parted.partitions);
            self.feed(Event::Released);
        }
    }

    // ---- commits

    /// Begins to commit what is handled; false where there is nothing, or nobody who may.
    fn commit(&mut self) -> bool {
        let offsets = self.progress.uncommitted();
        let Some(by) = self.membership.committer().filter(|_| !offsets.is_empty()) else { return false };
        if self.committing.is_none() {
            let asker = self.asker.clone();
            self.committing = Some(
                async move {
                    let commit = |connection| {
                        let (by, offsets, group) = (by.clone(), offsets.clone(), asker.config.group.clone());
                        async move { committed::commit(&connection, &group, &by, &offsets).await }
                    };
                    let result = asker.cluster.ask_coordinator(&asker.config.group, commit).await;
                    (by, offsets, result)
                }
                .boxed(),
            );
        }
        true
    }

    fn committed(&mut self, (by, offsets, result): Committed) {
        match result {
            Ok(()) => self.progress.committed(&offsets),
            // of a generation that this member has left behind: it says nothing of the one that it is in
            Err(error) if self.membership.committer().is_some_and(|now| now != by) => {
                tracing::debug!(%error, "a commit of an older generation was refused");
            }
            Err(error) => {
                tracing::debug!(%error, "commit refused");
                // one that was on its way while a rebalance went on says nothing of the next one
                let is_over = !matches!(verdict(&error), Verdict::Again | Verdict::Rebalance);
                if is_over && !self.parting.is_empty() {
                    self.parting_commits = PARTING_COMMITS;
                }
                self.feed(Event::CommitRefused(error));
            }
        }
        if !self.parting.is_empty() {
            self.part();
        }
    }

    /// The reader holds nothing: commits what it has handled, and says farewell.
    async fn leave(mut self) -> Result<()> {
        self.claims.send_modify(Claims::clear);
        let mut result = Ok(());
        for _ in 0..PARTING_COMMITS {
            if let Some(committing) = self.committing.take() {
                let (_, offsets, committed) = committing.await;
                if committed.is_ok() {
                    self.progress.committed(&offsets);
                }
                result = committed;
            }
            if !self.commit() {
                break;
            }
        }
        self.feed(Event::Stop);
        if let Some(asking) = self.asking.take() {
            let event = asking.await;
            self.feed(event);
        }
        result.map_err(|error| match error {
            Error::Broker { action, code, message: None } if verdict_of(code) == Verdict::Unknown => Error::Broker {
                action,
                code,
                message: Some(
                    "the group took this member for dead; what it did since its last commit is repeated".into(),
                ),
            },
            error => error,
        })
    }
}

fn verdict_of(code: Code) -> Verdict {
    verdict(&Error::broker("", code.0))
}

/// The answer of what is on its way; for ever nothing where nothing is.
async fn answer<T>(asking: &mut Option<BoxFuture<'static, T>>) -> T {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

/// Where the group goes on in each partition; where it has committed nothing, where it was told to begin.
async fn starts(asker: &Asker, partitions: &[(TopicPartition, u64)]) -> Result<Vec<Start>> {
    let (cluster, config) = (&asker.cluster, &asker.config);
    let partitions: Vec<TopicPartition> = partitions.iter().map(|(partition, _)| partition.clone()).collect();
    let fetch = |connection| {
        let partitions = partitions.clone();
        async move { committed::fetch(&connection, &config.group, Some(&partitions)).await }
    };
    let stored = cluster.ask_coordinator(&config.group, fetch).await?;
    let place = |partition: &TopicPartition| match stored.get(partition) {
        Some(offset) => Offset::At(*offset),
        None => config.begin,
    };
    let mut places: Vec<_> = partitions.iter().map(|partition| (partition.clone(), place(partition))).collect();
    if config.until_end {
        places.extend(partitions.iter().map(|partition| (partition.clone(), Offset::End)));
    }
    for partition in &partitions {
        cluster.topic(&partition.topic).await?; // the fetcher wants to know its id
    }
    let offsets = cluster.resolve(&places, config.consumer.isolation).await?;
    let start = |(index, partition): (usize, &TopicPartition)| Start {
        from: offsets[index],
        until: offsets.get(partitions.len() + index).copied(),
        stored: stored.contains_key(partition),
    };
    Ok(partitions.iter().enumerate().map(start).collect())
}
