//! The sender task: takes closed batches to their leaders and says how each ended.

mod answers;
mod commands;
mod halves;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kafka_protocol::messages::{
    ProduceRequest, ProduceResponse,
    produce_request::{PartitionProduceData, TopicProduceData},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use self::commands::no_transaction;
use super::{
    Acks, Batch, Command, Delivery, Outcome, ProducerConfig, TopicNumber,
    accumulator::Accumulator,
    lane::{Identity, Lane},
    transaction::{self, Transaction},
};
use crate::kafka::{
    backoff::Backoff,
    cluster::{Cluster, NodeId, Role, topic_name},
    connection::Connection,
    error::{Error, Result},
    wire::Produce,
};

/// Requests in flight to one broker (Java's `max.in.flight.requests.per.connection`).
const REQUESTS_IN_FLIGHT: usize = 5;
/// Bytes of one request, unless a single batch has more.
const REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Leaders and numbers of partitions are asked for again this often, although nothing went wrong.
const METADATA_AGE: Duration = Duration::from_secs(60);

type LaneKey = (TopicNumber, i32);
pub(super) type OnDelivery = Box<dyn FnMut(Delivery) + Send>;

/// What ended in the background.
enum Event {
    Connected(NodeId, Result<Connection>),
    Produced(NodeId, Vec<Batch>, Result<ProduceResponse>),
    Metadata(Result<()>),
}

enum Link {
    Connecting,
    Open(Connection),
    /// Not to be tried before this time.
    Down(Instant),
}

pub(super) struct Sender {
    cluster: Cluster,
    accumulator: Arc<Accumulator>,
    config: ProducerConfig,
    commands: mpsc::Receiver<Command>,
    on_delivery: OnDelivery,
    identity: Identity,
    transaction: Option<Transaction>,
    lanes: HashMap<LaneKey, Lane>,
    names: HashMap<TopicNumber, Arc<str>>,
    arrived: VecDeque<Batch>,
    links: HashMap<NodeId, Link>,
    requests: HashMap<NodeId, usize>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    backoff: Backoff,
    /// Why these did not take the last connection.
    unreachable: HashMap<NodeId, Arc<str>>,
    /// After an error nothing is sent before this time.
    pause_until: Instant,
    metadata_wanted: bool,
    metadata_asked: bool,
    metadata_due: Instant,
}

impl Sender {
    pub(super) async fn new(
        cluster: Cluster,
        accumulator: Arc<Accumulator>,
        config: ProducerConfig,
        commands: mpsc::Receiver<Command>,
        on_delivery: OnDelivery,
    ) -> Result<Self> {
        let transaction = match &config.transactional_id {
            Some(id) => Some(Transaction::start(&cluster, Arc::clone(id), config.transaction_timeout).await?),
            None => None,
        };
        let identity = match (&transaction, config.acks) {
            (Some(transaction), _) => Some(transaction.identity),
            (None, Acks::All) => Some(transaction::init_producer_id(&cluster).await?),
            (None, _) => None,
        };
        if transaction.is_some() {
            accumulator.refuse(Some(no_transaction()));
        }
        let now = Instant::now();
        Ok(Self {
            cluster,
            accumulator,
            config,
            commands,
            on_delivery,
            identity,
            transaction,
            lanes: HashMap::new(),
            names: HashMap::new(),
            arrived: VecDeque::new(),
            links: HashMap::new(),
            requests: HashMap::new(),
            events: FuturesUnordered::new(),
            backoff: Backoff::default(),
            unreachable: HashMap::new(),
            pause_until: now,
            metadata_wanted: false,
            metadata_asked: false,
            metadata_due: now + METADATA_AGE,
        })
    }

    pub(super) async fn run(mut self) {
        loop {
            self.take_arrived();
            self.end_overdue();
            let mut wake = self.send_ready().await;
            self.ask_metadata();
            for at in [self.next_deadline(), Some(self.metadata_due)].into_iter().flatten() {
                wake = Some(wake.map_or(at, |wake| wake.min(at)));
            }
            let accumulator = Arc::clone(&self.accumulator);
            let linger = self.next_linger();
            let wake = [wake, linger].into_iter().flatten().min();
            tokio::select! {
                biased;
                Some(event) = self.events.next() => self.handle(event),
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                () = accumulator.work.notified() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    // ---- in: from the accumulator to the lanes

    fn take_arrived(&mut self) {
        let mut arrived = std::mem::take(&mut self.arrived);
        self.collect(&mut arrived);
        for mut batch in arrived.drain(..) {
            match batch.finish(self.config.compression) {
                Ok(()) => {
                    let key = (batch.topic, batch.partition);
                    self.names.entry(batch.topic).or_insert_with(|| self.accumulator.topic_name(batch.topic));
                    self.lanes.entry(key).or_default().push(batch);
                }
                Err(error) => self.end(batch, Outcome::Failed(error)),
            }
        }
        self.arrived = arrived;
    }

    /// Takes what is due; gives when the next open batch is.
    fn collect(&self, out: &mut VecDeque<Batch>) -> Option<Instant> {
        let cluster = &self.cluster;
        let requests = &self.requests;
        // While all requests to a leader are in flight an open batch had better grow.
        self.accumulator.take_due(self.config.linger, out, |topic, partition| {
            let leader = cluster.leader(topic, partition);
            leader.is_none_or(|leader| requests.get(&leader).is_none_or(|&count| count < self.requests_allowed()))
        })
    }

    fn next_linger(&mut self) -> Option<Instant> {
        let mut arrived = std::mem::take(&mut self.arrived);
        let due = self.collect(&mut arrived);
        let some = !arrived.is_empty();
        self.arrived = arrived;
        if some { Some(Instant::now()) } else { due }
    }

    fn requests_allowed(&self) -> usize {
        if self.identity.is_some() { REQUESTS_IN_FLIGHT } else { 1 }
    }

    // ---- out: from the lanes to the leaders

    /// Fills requests while there is something to send and room to send it; gives when to look again.
    async fn send_ready(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.lanes.values().all(Lane::is_idle) {
            return None;
        }
        if now < self.pause_until {
            return Some(self.pause_until);
        }
        let mut wake: Option<Instant> = None;
        loop {
            let mut by_leader: HashMap<NodeId, Vec<LaneKey>> = HashMap::new();
            for (key, lane) in &self.lanes {
                if !lane.can_send(self.identity) {
                    continue;
                }
                match self.cluster.leader(&self.names[&key.0], key.1) {
                    Some(leader) => by_leader.entry(leader).or_default().push(*key),
                    None => self.metadata_wanted = true,
                }
            }
            let mut sent = false;
            for (leader, mut keys) in by_leader {
                if self.requests.get(&leader).copied().unwrap_or(0) >= self.requests_allowed() {
                    continue;
                }
                match self.link(leader, now) {
                    Ok(connection) => {
                        keys.sort_unstable_by_key(|key| (key.0.0, key.1));
                        sent |= self.send_to(leader, connection, &keys).await;
                    }
                    Err(at) => wake = [wake, at].into_iter().flatten().min(),
                }
            }
            if !sent {
                return wake;
            }
        }
    }

    /// The connection to a leader, or when to look again; begins to connect where there is none.
    fn link(&mut self, node: NodeId, now: Instant) -> Result<Connection, Option<Instant>> {
        match self.links.get(&node) {
            Some(Link::Open(connection)) if !connection.is_closed() => return Ok(connection.clone()),
            Some(Link::Connecting) => return Err(None),
            Some(Link::Down(until)) if *until > now => return Err(Some(*until)),
            _ => {}
        }
        self.links.insert(node, Link::Connecting);
        let cluster = self.cluster.clone();
        self.events.push(async move { Event::Connected(node, cluster.connection(Role::Produce, node).await) }.boxed());
        Err(None)
    }

    /// One request with a batch of each of these lanes, as far as it has room.
    async fn send_to(&mut self, node: NodeId, connection: Connection, keys: &[LaneKey]) -> bool {
        if let Err(error) = connection.require::<Produce>("producing") {
            self.fail_lanes(keys, error);
            return true;
        }
        if let Some(transaction) = &mut self.transaction {
            let wanted = keys.iter().map(|key| (Arc::clone(&self.names[&key.0]), key.1)).collect();
            if let Err(error) = transaction.add(&self.cluster, wanted).await {
                self.fail_transaction(error.clone());
                self.fail_lanes(keys, error);
                return true;
            }
        }
        let (batches, data) = self.fill(keys);
        if batches.is_empty() {
            return false;
        }
        let oldest = batches.iter().map(|batch| batch.born).min().unwrap_or_else(Instant::now);
        let left = (oldest + self.config.delivery_timeout).saturating_duration_since(Instant::now());
        let limit = left.min(self.cluster.options().request_timeout).max(Duration::from_millis(100));
        let request = ProduceRequest::default()
            .with_transactional_id(self.transaction.as_ref().map(Transaction::wire_id))
            .with_acks(match self.config.acks {
                Acks::None => 0,
                Acks::Leader => 1,
                Acks::All => -1,
            })
            .with_timeout_ms(i32::try_from(limit.as_millis()).unwrap_or(i32::MAX))
            .with_topic_data(data);
        *self.requests.entry(node).or_default() += 1;
        let event = if self.config.acks == Acks::None {
            let result = connection.send_unanswered::<Produce>(request).await.map(|()| ProduceResponse::default());
            async move { Event::Produced(node, batches, result) }.boxed()
        } else {
            // queued here, in order; only the answer is waited for in the background
            let answer = connection.start_within::<Produce>(request, limit).await;
            async move {
                let result = match answer {
                    Ok(answer) => answer.await,
                    Err(error) => Err(error),
                };
                Event::Produced(node, batches, result)
            }
            .boxed()
        };
        self.events.push(event);
        true
    }

    fn fill(&mut self, keys: &[LaneKey]) -> (Vec<Batch>, Vec<TopicProduceData>) {
        let (mut batches, mut topics) = (Vec::new(), Vec::<TopicProduceData>::new());
        let (mut size, mut last) = (0, None);
        for key in keys {
            if size >= REQUEST_BYTES {
                break;
            }
            let Some(mut batch) = self.lanes.get_mut(key).and_then(|lane| lane.next(self.identity)) else { continue };
            let bytes = batch.seal(self.transaction.is_some());
            size += bytes.len();
            let partition = PartitionProduceData::default().with_index(key.1).with_records(Some(bytes));
            if last != Some(key.0) {
                topics.push(TopicProduceData::default().with_name(topic_name(&self.names[&key.0])));
                last = Some(key.0);
            }
            if let Some(topic) = topics.last_mut() {
                topic.partition_data.push(partition);
            }
            batches.push(batch);
        }
        (batches, topics)
    }

    // ---- time

    fn pause(&mut self) {
        self.pause_until = Instant::now() + self.backoff.pause();
    }

    fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.lanes.values().flat_map(Lane::waiting);
        waiting.map(|batch| batch.born + self.config.delivery_timeout).min()
    }

    /// Ends the waiting batches whose time is over.
    fn end_overdue(&mut self) {
        let limit = self.config.delivery_timeout;
        let now = Instant::now();
        let over = |batch: &Batch| batch.born + limit <= now;
        let gone: Vec<Batch> = self
            .lanes
            .values_mut()
            .filter(|lane| lane.waiting().any(over))
            .flat_map(|lane| lane.take_out(over))
            .collect();
        for batch in gone {
            let action = format!("producing to {}[{}]", self.names[&batch.topic], batch.partition);
            let error = Error::TimedOut { action, limit, last_try: self.last_trouble(&batch) };
            self.fail_transaction(error.clone());
            let outcome = if batch.ambiguous { Outcome::Unknown(error) } else { Outcome::Failed(error) };
            self.end(batch, outcome);
        }
    }

    /// What stood between a batch and its acknowledgement.
    fn last_trouble(&mut self, batch: &Batch) -> Option<Arc<str>> {
        let refused = self.lane(batch).trouble.clone();
        match self.cluster.leader(&self.names[&batch.topic], batch.partition) {
            Some(leader) => self.unreachable.get(&leader).cloned().or(refused),
            None => refused.or_else(|| Some("the partition has no leader".into())),
        }
    }

    fn ask_metadata(&mut self) {
        let now = Instant::now();
        let due = self.metadata_wanted && now >= self.pause_until || now >= self.metadata_due;
        if !due || self.metadata_asked {
            return;
        }
        (self.metadata_wanted, self.metadata_asked) = (false, true);
        let (cluster, names) = (self.cluster.clone(), self.accumulator.topic_names());
        self.events.push(
            async move {
                let names: Vec<&str> = names.iter().map(|name| &**name).collect();
                Event::Metadata(cluster.refresh(&names, false).await)
            }
            .boxed(),
        );
    }
}
