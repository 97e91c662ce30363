//! The fetcher task: keeps one fetch per leader on its way and knows where each partition stands.

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kafka_protocol::{
    error::ResponseError as E,
    messages::{
        BrokerId, FetchRequest, FetchResponse,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
    },
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::{Chunk, Claim, Claims, ConsumerConfig, Fetched, Item, Notice, OffsetReset};
use crate::kafka::{
    backoff::Backoff,
    batch::{Aborted, Records, scan},
    cluster::{Cluster, NodeId, topic_name},
    connection::Connection,
    error::{Code, Error, Result},
    list_offsets::Isolation,
    offset::Offset,
    record::TopicPartition,
    wire::{FetchById, FetchByName},
};

/// After an empty answer that came at once (the embedded broker does not wait) the next fetch waits this long.
const IDLE_PAUSE: Duration = Duration::from_millis(20);
/// Answers without a record, although there should be some, before the place is passed over.
const STUCK: u32 = 3;
/// What is asked for at most, in parts of [`ConsumerConfig::partition_bytes`] and [`ConsumerConfig::answer_bytes`].
const WHOLE: usize = 16;

struct Partition {
    claim: u64,
    position: i64,
    until: Option<i64>,
    /// Not to be fetched before this time.
    not_before: Instant,
    /// Answers in a row without a record below the end.
    empty: u32,
    caught_up: bool,
    /// Since when its topic is gone.
    gone_since: Option<Instant>,
    /// The id of the topic that `position` belongs to.
    topic_id: Uuid,
}

struct Answered {
    node: NodeId,
    /// The one that answered, to ask again on.
    connection: Option<Connection>,
    asked: Vec<(TopicPartition, i64)>,
    began: Instant,
    result: Result<FetchResponse>,
}

enum Event {
    Fetch(Answered),
    Metadata(Result<()>),
    Reset(TopicPartition, Result<i64>),
}

pub(super) struct Fetcher {
    cluster: Cluster,
    config: ConsumerConfig,
    queue: mpsc::Sender<Result<Item>>,
    /// What to read; `None` when that changes no more.
    claims: Option<watch::Receiver<Claims>>,
    /// What of it has been taken up.
    claimed: Claims,
    partitions: BTreeMap<TopicPartition, Partition>,
    /// Leaders with a fetch on its way.
    busy: HashSet<NodeId>,
    /// One to each leader, for this consumer alone: a broker answers a connection in order, and an empty fetch waits there.
    connections: HashMap<NodeId, Connection>,
    /// Leaders to leave alone for a moment.
    resting: HashMap<NodeId, Instant>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    metadata_asked: bool,
    metadata_wanted: bool,
    backoff: Backoff,
    pause_until: Instant,
    metadata_due: Instant,
    /// Since when nothing works.
    away_since: Option<Instant>,
    said_waiting: bool,
    /// Which partition stands first in the next fetch: brokers fill answers in order.
    turn: usize,
    /// How much of an answer is asked for, of [`WHOLE`]. One that broke on its way is asked for by half, and what arrives
    /// adds a part (additive increase, multiplicative decrease: Chiu and Jain 1989): where connections die before a full
    /// answer is through, asking for the same again would never end.
    portion: usize,
}

impl Fetcher {
    pub(super) fn new(
        cluster: Cluster,
        claims: watch::Receiver<Claims>,
        config: ConsumerConfig,
        queue: mpsc::Sender<Result<Item>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            metadata_due: now + config.metadata_age,
            cluster,
            config,
            queue,
            claims: Some(claims),
            claimed: Claims::new(),
            partitions: BTreeMap::new(),
            busy: HashSet::new(),
            connections: HashMap::new(),
            resting: HashMap::new(),
            events: FuturesUnordered::new(),
            metadata_asked: false,
            metadata_wanted: false,
            backoff: Backoff::default(),
            pause_until: now,
            away_since: None,
            said_waiting: false,
            turn: 0,
            portion: WHOLE,
        }
    }

    pub(super) async fn run(mut self) {
        if let Err(Some(error)) = self.work().await {
            let _ = self.queue.send(Err(error)).await; // the reader may have gone
        }
    }

    /// Ends with `Err(None)` when the reader is gone.
    async fn work(&mut self) -> Result<(), Option<Error>> {
        self.take_up_claims().await?;
        while self.claims.is_some() || !self.partitions.is_empty() {
            self.ask_metadata();
            let wake = self.fetch();
            let queue = self.queue.clone();
            tokio::select! {
                changed = changed(&mut self.claims), if self.claims.is_some() => match changed {
                    true => self.take_up_claims().await?,
                    false => self.claims = None,
                },
                event = self.events.next(), if !self.events.is_empty() => match event {
                    Some(Event::Fetch(answered)) => self.answered(answered).await?,
                    Some(Event::Metadata(result)) => self.metadata(result).await?,
                    Some(Event::Reset(partition, result)) => self.reset(partition, result).await?,
                    None => {}
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                () = queue.closed() => return Err(None),
            }
        }
        Ok(())
    }

    /// Begins with what is claimed anew, and lets go of what is not claimed any more.
    async fn take_up_claims(&mut self) -> Result<(), Option<Error>> {
        let Some(claims) = &mut self.claims else { return Ok(()) };
        let claims: Claims = claims.borrow_and_update().clone();
        self.partitions.retain(|key, partition| claims.get(key).is_some_and(|claim| claim.number == partition.claim));
        let before = std::mem::replace(&mut self.claimed, claims);
        let new: Vec<_> = self.claimed.iter().filter(|(key, claim)| before.get(*key) != Some(claim)).collect();
        let mut finished = Vec::new();
        for (key, claim) in new {
            let topic_id = self.cluster.known(&key.topic).map_or(Uuid::nil(), |topic| topic.id);
            let partition = Partition::new(*claim, topic_id);
            if partition.is_finished() {
                finished.push(Item::notice(claim.number, Notice::Finished { partition: key.clone() }));
            } else {
                self.partitions.insert(key.clone(), partition);
            }
        }
        self.hand_out_all(finished).await
    }

    // ---- asking

    /// Sends a fetch to every leader that has none on its way; gives when to look again.
    fn fetch(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut wake: Option<Instant> = None;
        let mut later = |at: Instant| wake = Some(wake.map_or(at, |wake| wake.min(at)));
        later(self.metadata_due);
        let mut by_leader: HashMap<NodeId, Vec<TopicPartition>> = HashMap::new();
        for (key, partition) in &self.partitions {
            if partition.not_before > now {
                later(partition.not_before);
                continue;
            }
            match self.cluster.leader(&key.topic, key.partition) {
                Some(leader) if self.busy.contains(&leader) => {}
                Some(leader) => match self.resting.get(&leader) {
                    Some(&until) if until > now => later(until),
                    _ => by_leader.entry(leader).or_default().push(key.clone()),
                },
                None => {
                    self.metadata_wanted = true;
                    later(self.pause_until.max(now + Duration::from_millis(10)));
                }
            }
        }
        if self.metadata_wanted && !self.metadata_asked {
            later(self.pause_until.max(now));
        }
        for (leader, partitions) in by_leader {
            self.fetch_from(leader, partitions);
        }
        self.turn = self.turn.wrapping_add(1);
        wake
    }

    fn fetch_from(&mut self, node: NodeId, mut keys: Vec<TopicPartition>) {
        let turn = self.turn % keys.len().max(1);
        keys.rotate_left(turn);
        let asked: Vec<(TopicPartition, i64)> =
            keys.into_iter().filter_map(|key| self.partitions.get(&key).map(|p| (key.clone(), p.position))).collect();
        let ids: HashMap<Arc<str>, Uuid> = asked
            .iter()
            .filter_map(|(key, _)| self.partitions.get(key).map(|p| (Arc::clone(&key.topic), p.topic_id)))
            .collect();
        let (cluster, mut config) = (self.cluster.clone(), self.config.clone());
        let part = |bytes: usize| bytes.saturating_mul(self.portion).div_ceil(WHOLE);
        (config.partition_bytes, config.answer_bytes) = (part(config.partition_bytes), part(config.answer_bytes));
        let open = self.connections.remove(&node).filter(|connection| !connection.is_closed());
        self.busy.insert(node);
        self.events.push(
            async move {
                let opened = match open {
                    Some(connection) => Ok(connection),
                    None => cluster.own_connection(node).await,
                };
                let began = Instant::now();
                let (connection, result) = match opened {
                    Ok(connection) => {
                        let limit = cluster.options().request_timeout + config.max_wait;
                        let result = fetch_once(&connection, limit, &config, &asked, &ids).await;
                        (Some(connection), result)
                    }
                    Err(error) => (None, Err(error)),
                };
                Event::Fetch(Answered { node, connection, asked, began, result })
            }
            .boxed(),
        );
    }

    fn ask_metadata(&mut self) {
        let now = Instant::now();
        let due = self.metadata_wanted && now >= self.pause_until || now >= self.metadata_due;
        if !due || self.metadata_asked {
            return;
        }
        self.metadata_due = now + self.config.metadata_age;
        (self.metadata_wanted, self.metadata_asked) = (false, true);
        let topics: HashSet<Arc<str>> = self.partitions.keys().map(|key| Arc::clone(&key.topic)).collect();
        let cluster = self.cluster.clone();
        self.events.push(
            async move {
                let names: Vec<&str> = topics.iter().map(|name| &**name).collect();
                Event::Metadata(cluster.refresh(&names, false).await)
            }
            .boxed(),
        );
    }

    // ---- answers

    async fn answered(&mut self, answered: Answered) -> Result<(), Option<Error>> {
        self.busy.remove(&answered.node);
        match (&answered.result, &answered.connection) {
            (Ok(_), _) => self.portion = (self.portion + 1).min(WHOLE),
            (Err(_), Some(_)) => self.portion = (self.portion / 2).max(1),
            (Err(_), None) => {} // nothing was asked for
        }
        self.connections.extend(answered.connection.map(|connection| (answered.node, connection)));
        let response = match answered.result {
            Ok(response) if response.error_code == 0 => response,
            Ok(response) => return self.trouble(Error::broker("fetching", response.error_code)).await,
            Err(error) => return self.trouble(error).await,
        };
        self.works().await?;
        let any = response.responses.iter().flat_map(|topic| &topic.partitions).any(has_bytes);
        if !any {
            let at_once = answered.began.elapsed() < self.config.max_wait / 2;
            let throttled = Duration::from_millis(response.throttle_time_ms.max(0) as u64);
            if at_once || !throttled.is_zero() {
                self.resting.insert(answered.node, Instant::now() + IDLE_PAUSE.max(throttled));
            }
        }
        let quiet = !any && response.throttle_time_ms == 0;
        let mut by_id: HashMap<Uuid, Arc<str>> = HashMap::new();
        for (key, _) in &answered.asked {
            if let Some(partition) = self.partitions.get(key) {
                by_id.insert(partition.topic_id, Arc::clone(&key.topic));
            }
        }
        let positions: HashMap<TopicPartition, i64> = answered.asked.into_iter().collect();
        let mut pieces = Vec::new();
        for topic in response.responses {
            let name: Arc<str> = match by_id.get(&topic.topic_id) {
                Some(name) if topic.topic.is_empty() => Arc::clone(name),
                _ => topic.topic.as_str().into(),
            };
            pieces.extend(
                topic
                    .partitions
                    .into_iter()
                    .map(|data| (TopicPartition::new(Arc::clone(&name), data.partition_index), data)),
            );
        }
        // All positions move before the first piece is handed on, so that the next fetch is on its way while the
        // reader works on this one.
        let mut ready = Vec::new();
        for (key, data) in pieces {
            let asked_at = positions.get(&key).copied();
            let still_there = self.partitions.get(&key).is_some_and(|p| Some(p.position) == asked_at);
            if still_there {
                self.take(key, data, quiet, &mut ready).await?;
            }
        }
        self.fetch();
        self.hand_out_all(ready).await
    }

    /// One partition's part of an answer.
    async fn take(
        &mut self,
        key: TopicPartition,
        data: PartitionData,
        quiet: bool,
        ready: &mut Vec<Item>,
    ) -> Result<(), Option<Error>> {
        if data.error_code != 0 {
            return self.partition_trouble(key, data.error_code, ready).await;
        }
        let Some(partition) = self.partitions.get_mut(&key) else { return Ok(()) };
        let claim = partition.claim;
        partition.gone_since = None;
        let from = partition.position;
        let end = match self.config.isolation {
            Isolation::ReadCommitted if data.last_stable_offset >= 0 => data.last_stable_offset,
            _ => data.high_watermark,
        };
        let until = partition.until.unwrap_or(i64::MAX);
        let bytes = data.records.unwrap_or_default();
        let found = scan(&bytes, from).map_err(|error| Some(Error::malformed(&key, error)))?;
        if found.missing > 0 {
            ready.push(Item::notice(claim, Notice::Gap { partition: key.clone(), at: from, missing: found.missing }));
        }
        if found.whole > 0 {
            partition.empty = 0;
            partition.position = found.next_offset;
            let aborted = match self.config.isolation {
                Isolation::ReadUncommitted => Vec::new(),
                Isolation::ReadCommitted => aborted(&data.aborted_transactions.unwrap_or_default()),
            };
            let records = Records::new(bytes.slice(..found.whole), from, until, aborted);
            let next_offset = found.next_offset.min(until);
            let chunk = Chunk { partition: key.clone(), end, next_offset, records };
            ready.push(Item { claim, fetched: Fetched::Records(chunk) });
        } else if !bytes.is_empty() {
            // a cut batch and nothing else: brokers send at least one whole batch
            return Err(Some(Error::malformed(&key, "a fetch answer without one whole batch")));
        } else if quiet && from < end {
            // Compaction may have emptied the log's tail: nothing will ever come from here.
            partition.empty += 1;
            if partition.empty >= STUCK {
                partition.empty = 0;
                partition.position = end;
                let missing = from.abs_diff(end);
                ready.push(Item::notice(claim, Notice::Gap { partition: key.clone(), at: from, missing }));
            }
        }
        if partition.position >= end && !partition.caught_up {
            partition.caught_up = true;
            ready.push(Item::notice(claim, Notice::CaughtUp { partition: key.clone(), end }));
        }
        if partition.is_finished() {
            self.partitions.remove(&key);
            ready.push(Item::notice(claim, Notice::Finished { partition: key }));
        }
        Ok(())
    }

    async fn partition_trouble(
        &mut self,
        key: TopicPartition,
        code: i16,
        ready: &mut Vec<Item>,
    ) -> Result<(), Option<Error>> {
        let pause = Instant::now() + self.backoff.pause();
        let Some(partition) = self.partitions.get_mut(&key) else { return Ok(()) };
        partition.not_before = pause;
        match Code(code).known() {
            Some(E::OffsetOutOfRange) => {
                // until the answer comes it must not be fetched again
                partition.not_before = Instant::now() + self.cluster.options().request_timeout;
                self.ask_reset(key);
                Ok(())
            }
            Some(E::UnknownTopicOrPartition | E::UnknownTopicId | E::InconsistentTopicId) => {
                self.metadata_wanted = true;
                self.topic_gone(key, ready)
            }
            Some(error) if error.is_retriable() => {
                tracing::debug!(partition = %key, %error, "looking for the leader");
                self.metadata_wanted = true;
                Ok(())
            }
            _ => Err(Some(Error::broker(format!("fetching {key}"), code))),
        }
    }

    /// The broker does not know the topic: deleted, or deleted and made again.
    fn topic_gone(&mut self, key: TopicPartition, ready: &mut Vec<Item>) -> Result<(), Option<Error>> {
        let known = self.cluster.known(&key.topic);
        let patience = self.config.topic_patience;
        let Some(partition) = self.partitions.get_mut(&key) else { return Ok(()) };
        let since = *partition.gone_since.get_or_insert_with(Instant::now);
        match known {
            Some(topic) if topic.id != partition.topic_id => {
                if key.partition >= topic.count() {
                    let (topic, count) = (Arc::clone(&topic.name), topic.count());
                    return Err(Some(Error::UnknownPartition { topic, partition: key.partition, count }));
                }
                // the offsets of the old topic mean nothing in the new one
                partition.topic_id = topic.id;
                partition.gone_since = None;
                partition.position = 0;
                partition.not_before = Instant::now();
                let notice = Notice::Recreated { topic: Arc::clone(&key.topic) };
                let is_it = |item: &Item| matches!(&item.fetched, Fetched::Notice(told) if *told == notice);
                if !ready.iter().any(is_it) {
                    ready.push(Item::notice(0, notice));
                }
                if self.config.offset_reset != OffsetReset::Earliest {
                    self.ask_reset(key);
                }
                Ok(())
            }
            _ if since.elapsed() > patience => Err(Some(Error::UnknownTopic { topic: key.topic })),
            _ => Ok(()),
        }
    }

    fn ask_reset(&mut self, key: TopicPartition) {
        let (cluster, isolation) = (self.cluster.clone(), self.config.isolation);
        let place = match self.config.offset_reset {
            OffsetReset::Latest => Offset::End,
            OffsetReset::Earliest | OffsetReset::Error => Offset::Start,
        };
        self.events.push(
            async move {
                let resolved = cluster.resolve(&[(key.clone(), place)], isolation).await;
                Event::Reset(key, resolved.map(|offsets| offsets.first().copied().unwrap_or(0)))
            }
            .boxed(),
        );
    }

    async fn reset(&mut self, key: TopicPartition, result: Result<i64>) -> Result<(), Option<Error>> {
        let to = match result {
            Ok(to) => to,
            Err(error) if error.is_transient() => {
                self.ask_reset(key);
                return self.trouble(error).await;
            }
            Err(error) => return Err(Some(error)),
        };
        let Some(partition) = self.partitions.get_mut(&key) else { return Ok(()) };
        let from = std::mem::replace(&mut partition.position, to);
        partition.not_before = Instant::now();
        if self.config.offset_reset == OffsetReset::Error {
            let end = self.cluster.resolve(&[(key.clone(), Offset::End)], self.config.isolation).await.map_err(Some)?;
            let end = end.first().copied().unwrap_or(to);
            return Err(Some(Error::OffsetOutOfRange { partition: key, offset: from, start: to, end }));
        }
        let (claim, finished) = (partition.claim, partition.is_finished());
        self.hand_out(Item::notice(claim, Notice::Reset { partition: key.clone(), from, to })).await?;
        if finished {
            self.partitions.remove(&key);
            self.hand_out(Item::notice(claim, Notice::Finished { partition: key })).await?;
        }
        Ok(())
    }

    async fn metadata(&mut self, result: Result<()>) -> Result<(), Option<Error>> {
        self.metadata_asked = false;
        if let Err(error) = result {
            self.metadata_wanted = true;
            return self.trouble(error).await;
        }
        let mut ready = Vec::new();
        let keys: Vec<TopicPartition> = self.partitions.keys().cloned().collect();
        for key in keys {
            match self.cluster.known(&key.topic) {
                None => {
                    self.metadata_wanted = true;
                    self.pause_until = Instant::now() + Duration::from_millis(200);
                    self.topic_gone(key, &mut ready)?;
                }
                Some(topic) if self.partitions.get(&key).is_some_and(|p| p.topic_id != topic.id) => {
                    self.topic_gone(key, &mut ready)?;
                }
                Some(_) => {}
            }
        }
        self.take_up_new(&mut ready);
        if self.partitions.keys().any(|key| self.cluster.leader(&key.topic, key.partition).is_none()) {
            self.pause_until = self.pause_until.max(Instant::now() + self.backoff.pause());
        }
        self.hand_out_all(ready).await
    }

    /// Partitions that were added to a topic since: nothing in them has been missed, so they begin at 0.
    fn take_up_new(&mut self, ready: &mut Vec<Item>) {
        for name in &self.config.whole_topics {
            let Some(topic) = self.cluster.known(name) else { continue };
            for number in 0..topic.count() {
                let key = TopicPartition::new(Arc::clone(&topic.name), number);
                if let Entry::Vacant(place) = self.partitions.entry(key.clone()) {
                    place.insert(Partition::new(Claim { number: 0, from: 0, until: None }, topic.id));
                    ready.push(Item::notice(0, Notice::NewPartition { partition: key }));
                }
            }
        }
    }

    // ---- weather

    /// A request failed as a whole.
    async fn trouble(&mut self, error: Error) -> Result<(), Option<Error>> {
        if !error.is_transient() {
            return Err(Some(error));
        }
        let since = *self.away_since.get_or_insert_with(Instant::now);
        if self.config.patience.is_some_and(|patience| since.elapsed() > patience) {
            return Err(Some(error));
        }
        self.metadata_wanted = true;
        let until = Instant::now() + self.backoff.pause();
        self.pause_until = until;
        for partition in self.partitions.values_mut() {
            partition.not_before = partition.not_before.max(until);
        }
        if since.elapsed() > Duration::from_secs(1) && !self.said_waiting {
            self.said_waiting = true;
            self.hand_out(Item::notice(0, Notice::Waiting { cause: error.to_string() })).await?;
        }
        Ok(())
    }

    async fn works(&mut self) -> Result<(), Option<Error>> {
        self.away_since = None;
        self.backoff.reset();
        if std::mem::take(&mut self.said_waiting) {
            self.hand_out(Item::notice(0, Notice::Resumed)).await?;
        }
        Ok(())
    }

    async fn hand_out_all(&mut self, items: Vec<Item>) -> Result<(), Option<Error>> {
        for item in items {
            self.hand_out(item).await?;
        }
        Ok(())
    }

    async fn hand_out(&mut self, item: Item) -> Result<(), Option<Error>> {
        self.queue.send(Ok(item)).await.map_err(|_| None)
    }
}

/// False when nobody can change the claims any more.
async fn changed(claims: &mut Option<watch::Receiver<Claims>>) -> bool {
    match claims {
        Some(claims) => claims.changed().await.is_ok(),
        None => false,
    }
}

impl Item {
    fn notice(claim: u64, notice: Notice) -> Self {
        Self { claim, fetched: Fetched::Notice(notice) }
    }
}

impl Partition {
    fn new(claim: Claim, topic_id: Uuid) -> Self {
        Self {
            claim: claim.number,
            position: claim.from,
            until: claim.until,
            not_before: Instant::now(),
            empty: 0,
            caught_up: false,
            gone_since: None,
            topic_id,
        }
    }

    fn is_finished(&self) -> bool {
        self.until.is_some_and(|until| self.position >= until)
    }
}

fn has_bytes(data: &PartitionData) -> bool {
    data.records.as_ref().is_some_and(|bytes| !bytes.is_empty())
}

fn aborted(list: &[kafka_protocol::messages::fetch_response::AbortedTransaction]) -> Vec<Aborted> {
    list.iter()
        .map(|aborted| Aborted { producer_id: aborted.producer_id.0, first_offset: aborted.first_offset })
        .collect()
}

/// One fetch. Topics go by id where all have one and the broker takes them so, by name otherwise.
async fn fetch_once(
    connection: &Connection,
    limit: Duration,
    config: &ConsumerConfig,
    asked: &[(TopicPartition, i64)],
    ids: &HashMap<Arc<str>, Uuid>,
) -> Result<FetchResponse> {
    let by_id = connection.version::<FetchById>().is_some() && ids.values().all(|id| !id.is_nil());
    let mut topics: Vec<FetchTopic> = Vec::new();
    let mut last: Option<&Arc<str>> = None;
    for (key, position) in asked {
        if last != Some(&key.topic) {
            let topic = FetchTopic::default();
            topics.push(if by_id {
                topic.with_topic_id(ids.get(&key.topic).copied().unwrap_or_default())
            } else {
                topic.with_topic(topic_name(&key.topic))
            });
            last = Some(&key.topic);
        }
        let partition = FetchPartition::default()
            .with_partition(key.partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(*position)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(i32::try_from(config.partition_bytes).unwrap_or(i32::MAX));
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(partition);
        }
    }
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(i32::try_from(config.max_wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(1)
        .with_max_bytes(i32::try_from(config.answer_bytes).unwrap_or(i32::MAX))
        .with_isolation_level(config.isolation.code())
        .with_session_epoch(-1) // no fetch session: each request says all
        .with_topics(topics);
    if by_id {
        connection.start_within::<FetchById>(request, limit).await?.await
    } else {
        connection.start_within::<FetchByName>(request, limit).await?.await
    }
}
