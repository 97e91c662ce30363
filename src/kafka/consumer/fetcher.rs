//! The fetcher task: keeps one fetch per leader on its way and knows where each partition stands.

mod answers;
mod request;

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kafka_protocol::messages::FetchResponse;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use self::request::fetch_once;
use super::{Claim, Claims, ConsumerConfig, Fetched, Item, Notice};
use crate::kafka::{
    backoff::Backoff,
    cluster::{Cluster, NodeId},
    connection::Connection,
    error::{Error, Result},
    record::TopicPartition,
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

    // ---- metadata

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
