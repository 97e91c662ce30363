//! The sender task: takes closed batches to their leaders and says how each ended.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kafka_protocol::messages::{
    ProduceRequest, ProduceResponse,
    produce_request::{PartitionProduceData, TopicProduceData},
    produce_response::PartitionProduceResponse,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Acks, Batch, Command, Delivery, Outcome, Payload, Place, ProducerConfig, TopicNumber,
    accumulator::Accumulator,
    lane::{Identity, Lane},
    transaction::{self, Transaction},
};
use crate::kafka::{
    backoff::Backoff,
    batch::{BatchBuilder, Records},
    cluster::{Cluster, NodeId, Role, topic_name},
    connection::Connection,
    error::{Code, Error, Result},
    record::NewRecord,
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

    // ---- back: what became of it

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected(node, Ok(connection)) => {
                self.unreachable.remove(&node);
                self.links.insert(node, Link::Open(connection));
            }
            Event::Connected(node, Err(error)) if !error.is_transient() => {
                tracing::warn!(broker = node, %error, "a leader does not let us in");
                self.links.insert(node, Link::Down(Instant::now() + self.backoff.pause()));
                let led = |key: &&LaneKey| self.cluster.leader(&self.names[&key.0], key.1) == Some(node);
                let keys: Vec<LaneKey> = self.lanes.keys().filter(led).copied().collect();
                self.fail_lanes(&keys, error);
            }
            Event::Connected(node, Err(error)) => {
                tracing::warn!(broker = node, %error, "cannot reach a leader; trying again");
                self.unreachable.insert(node, error.reason());
                self.links.insert(node, Link::Down(Instant::now() + self.backoff.pause()));
                self.metadata_wanted = true;
            }
            Event::Metadata(result) => {
                self.metadata_asked = false;
                self.metadata_due = Instant::now() + METADATA_AGE;
                if let Err(error) = result {
                    tracing::warn!(%error, "cannot ask for leaders; trying again");
                    self.pause();
                }
                for name in self.accumulator.topic_names() {
                    if let Some(topic) = self.cluster.known(&name) {
                        self.accumulator.register(&name, topic.partitions.len());
                    }
                }
                let leaderless = |(key, lane): (&LaneKey, &Lane)| {
                    !lane.is_idle() && self.cluster.leader(&self.names[&key.0], key.1).is_none()
                };
                if self.lanes.iter().any(leaderless) {
                    self.pause(); // asking again at once would bring the same
                }
            }
            Event::Produced(node, batches, result) => {
                if let Some(count) = self.requests.get_mut(&node) {
                    *count = count.saturating_sub(1);
                }
                match result {
                    Ok(response) => self.answered(batches, &response),
                    Err(error) => self.unanswered(batches, &error),
                }
            }
        }
    }

    fn answered(&mut self, batches: Vec<Batch>, response: &ProduceResponse) {
        if self.config.acks == Acks::None {
            for batch in batches {
                self.acknowledged(batch, None);
            }
            return;
        }
        let mut answers: HashMap<(&str, i32), &PartitionProduceResponse> = HashMap::new();
        for topic in &response.responses {
            answers
                .extend(topic.partition_responses.iter().map(|answer| ((topic.name.as_str(), answer.index), answer)));
        }
        let mut trouble = false;
        for batch in batches {
            let name = Arc::clone(&self.names[&batch.topic]);
            match answers.get(&(&*name, batch.partition)) {
                Some(answer) if answer.error_code == 0 => self.acknowledged(batch, Some(answer.base_offset)),
                Some(answer) => trouble |= self.refused(batch, answer),
                None => {
                    trouble = true;
                    self.come_back(batch, true);
                }
            }
        }
        if trouble {
            self.metadata_wanted = true;
            self.pause();
        } else {
            self.backoff.reset();
        }
    }

    fn unanswered(&mut self, batches: Vec<Batch>, error: &Error) {
        tracing::warn!(%error, batches = batches.len(), "a produce request got no answer; sending it again");
        for batch in batches {
            if error.is_transient() {
                self.lane(&batch).trouble = Some(error.reason());
                self.come_back(batch, true);
            } else {
                self.lane(&batch).failed();
                self.end(batch, Outcome::Failed(error.clone()));
            }
        }
        self.metadata_wanted = true;
        self.pause();
    }

    fn acknowledged(&mut self, batch: Batch, base_offset: Option<i64>) {
        self.lane(&batch).acknowledged();
        self.end(batch, Outcome::Acknowledged { base_offset: base_offset.filter(|&offset| offset >= 0) });
    }

    /// The broker refused a batch. True where a pause and new leaders may help.
    fn refused(&mut self, mut batch: Batch, answer: &PartitionProduceResponse) -> bool {
        use kafka_protocol::error::ResponseError as E;
        let code = Code(answer.error_code);
        let name = Arc::clone(&self.names[&batch.topic]);
        let of_records = answer.record_errors.iter().filter_map(|error| error.batch_index_error_message.as_ref());
        let action = match answer.error_message.as_ref().into_iter().chain(of_records).find(|text| !text.is_empty()) {
            Some(message) => format!("producing to {name}[{}] ({message})", batch.partition),
            None => format!("producing to {name}[{}]", batch.partition),
        };
        let error = Error::broker(action, answer.error_code);
        let fenced = transaction::is_fence(answer.error_code);
        self.lane(&batch).trouble = Some(error.reason());
        match code.known() {
            Some(E::DuplicateSequenceNumber) => {
                self.acknowledged(batch, None);
                false
            }
            // Appended, but not on enough replicas yet; asked again, the broker answers when it is.
            Some(E::NotEnoughReplicasAfterAppend | E::RequestTimedOut) => {
                self.come_back(batch, true);
                true
            }
            Some(E::OutOfOrderSequenceNumber | E::UnknownProducerId)
                if self.transaction.is_none() || self.lane(&batch).is_retrying() =>
            {
                let behind_another = self.lane(&batch).is_retrying();
                let was_unknown = batch.ambiguous;
                if !behind_another && was_unknown {
                    // The broker forgot this producer; whether it had the batch before, nobody can say any more.
                    self.lane(&batch).failed();
                    self.end(batch, Outcome::Unknown(error));
                    return false;
                }
                if !behind_another {
                    self.lane(&batch).renew();
                }
                batch.ambiguous = false; // refused: certainly not in the log
                self.come_back(batch, false);
                false
            }
            Some(E::MessageTooLarge | E::RecordListTooLarge | E::InvalidRecord | E::InvalidTimestamp)
                if batch.count > 1 =>
            {
                self.split(batch, &error);
                false
            }
            Some(_) if fenced && self.transaction.is_some() => {
                let error = self.transaction.as_ref().map_or(error, Transaction::fenced);
                self.fail_transaction(error.clone());
                self.lane(&batch).failed();
                self.end(batch, Outcome::Failed(error));
                false
            }
            // Said before anything is appended.
            Some(E::NotEnoughReplicas | E::CorruptMessage) => {
                self.come_back(batch, false);
                true
            }
            // Said before, or by a leader that had appended it and lost its place, or its disk, while it waited for the
            // replicas (Kafka's DelayedProduce): the next leader may have the batch.
            Some(known) if known.is_retriable() => {
                self.come_back(batch, true);
                true
            }
            _ => {
                self.fail_transaction(error.clone());
                self.lane(&batch).failed();
                self.end(batch, Outcome::Failed(error));
                false
            }
        }
    }

    fn come_back(&mut self, mut batch: Batch, ambiguous: bool) {
        batch.ambiguous |= ambiguous;
        self.lane(&batch).returned(batch);
    }

    /// Halves a batch that the broker refused for some record in it, so that in the end only that record fails. The
    /// records keep their places in the sequence.
    fn split(&mut self, batch: Batch, error: &Error) {
        if matches!(error.code(), Some(kafka_protocol::error::ResponseError::MessageTooLarge)) {
            self.accumulator.shrink(batch.topic, batch.size() / 2);
        }
        let key = (batch.topic, batch.partition);
        match halves(batch, self.config.compression) {
            Ok(halves) => {
                self.accumulator.split();
                self.lanes.entry(key).or_default().push_halves(halves);
            }
            Err(failed) => {
                let (batch, error) = *failed;
                self.lane(&batch).failed();
                self.end(batch, Outcome::Failed(error));
            }
        }
    }

    fn lane(&mut self, batch: &Batch) -> &mut Lane {
        self.lanes.entry((batch.topic, batch.partition)).or_default()
    }

    /// Says how a batch ended, to everybody who waits for it.
    fn end(&mut self, mut batch: Batch, outcome: Outcome) {
        for waiting in batch.waiters.drain(..) {
            let receipt = match &outcome {
                Outcome::Acknowledged { base_offset } => {
                    let offset = base_offset.map(|base| base + i64::from(waiting.index - batch.first));
                    Ok(Place { partition: batch.partition, offset })
                }
                Outcome::Failed(error) | Outcome::Unknown(error) => Err(error.clone()),
            };
            let _ = waiting.waiter.send(receipt); // the caller may have gone
        }
        (self.on_delivery)(Delivery {
            topic: self.names.get(&batch.topic).cloned().unwrap_or_else(|| "".into()),
            partition: batch.partition,
            batch: batch.id,
            first: batch.first,
            count: batch.count,
            outcome,
        });
        let buffer = match batch.payload {
            Payload::Sealed(bytes) if bytes.is_unique() => Some(Vec::from(bytes)),
            _ => None,
        };
        self.accumulator.ended(batch.held, buffer);
    }

    fn fail_lanes(&mut self, keys: &[LaneKey], error: Error) {
        for key in keys {
            let gone = self.lanes.get_mut(key).map(|lane| lane.take_out(|_| true)).unwrap_or_default();
            for batch in gone {
                self.end(batch, Outcome::Failed(error.clone()));
            }
        }
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

    // ---- transactions

    async fn obey(&mut self, command: Command) {
        let Some(transaction) = &mut self.transaction else {
            let (Command::Begin(done) | Command::End { done, .. }) = command;
            let _ = done.send(Err(Error::Invalid("the producer has no transactional id".to_owned())));
            return;
        };
        match command {
            Command::Begin(done) => {
                let result = if let Some(error @ Error::Fenced { .. }) = self.accumulator.refused() {
                    Err(error)
                } else if transaction.open {
                    Err(Error::Invalid("a transaction is open already".to_owned()))
                } else {
                    transaction.open = true;
                    self.accumulator.refuse(None);
                    Ok(())
                };
                let _ = done.send(result);
            }
            Command::End { commit, done } => {
                let _ = done.send(self.end_transaction(commit).await);
            }
        }
    }

    async fn end_transaction(&mut self, commit: bool) -> Result<()> {
        let Some(transaction) = &mut self.transaction else { return Err(no_transaction()) };
        if !transaction.open {
            return Err(no_transaction());
        }
        if commit && let Some(error) = &transaction.failed {
            return Err(error.clone());
        }
        let result = transaction.end(&self.cluster, commit).await;
        match &result {
            Ok(()) => {
                if self.identity != Some(transaction.identity) {
                    self.identity = Some(transaction.identity);
                    self.lanes.values_mut().for_each(Lane::reset);
                }
                self.accumulator.refuse(Some(no_transaction()));
            }
            // it may be committed: only the same call again can tell
            Err(error) if commit && error.is_transient() => self.accumulator.refuse(Some(error.clone())),
            Err(error) => self.fail_transaction(error.clone()),
        }
        result
    }

    /// Nothing but a roll back can follow; after a fence not even that.
    fn fail_transaction(&mut self, error: Error) {
        if let Some(transaction) = &mut self.transaction {
            self.accumulator.refuse(Some(error.clone()));
            transaction.failed.get_or_insert(error);
        }
    }
}

fn no_transaction() -> Error {
    Error::Invalid("no transaction is open: call begin first".to_owned())
}

/// Two batches with the records of one. The waiters and the memory go with their records.
fn halves(mut batch: Batch, compression: crate::kafka::Compression) -> Result<[Batch; 2], Box<(Batch, Error)>> {
    let middle = batch.count / 2;
    let Payload::Sealed(bytes) = &batch.payload else { return Err(Box::new((batch, Error::Closed))) };
    let payloads = match rebuild(bytes, middle, compression) {
        Ok(payloads) => payloads,
        Err(error) => return Err(Box::new((batch, error))),
    };
    let [front, back] = payloads;
    let behind = batch.first + middle;
    let (before, after) = batch.waiters.drain(..).partition(|waiter| waiter.index < behind);
    let stamp = batch.stamp;
    let second = Batch {
        id: batch.id,
        topic: batch.topic,
        partition: batch.partition,
        first: behind,
        count: batch.count - middle,
        held: batch.held / 2,
        born: batch.born,
        payload: Payload::Finished(back),
        stamp: stamp.map(|stamp| super::lane::advance(stamp, middle)),
        ambiguous: false,
        waiters: after,
    };
    let first = Batch {
        count: middle,
        held: batch.held - second.held,
        payload: Payload::Finished(front),
        ambiguous: false,
        waiters: before,
        ..batch
    };
    Ok([first, second])
}

fn rebuild(bytes: &Bytes, middle: u32, compression: crate::kafka::Compression) -> Result<[Vec<u8>; 2]> {
    let mut builders = [BatchBuilder::new(usize::MAX, Vec::new()), BatchBuilder::new(usize::MAX, Vec::new())];
    let mut records = Records::new(bytes.clone(), 0, i64::MAX, Vec::new());
    let mut index = 0;
    while let Some(record) = records.next()? {
        let headers: Vec<_> = record.headers.iter().collect();
        let (key, value, timestamp) = (record.key, record.value, Some(record.timestamp));
        let copy = NewRecord { key, value, headers: &headers, timestamp };
        builders[usize::from(index >= middle)].append(&copy, record.timestamp);
        index += 1;
    }
    let [front, back] = builders.map(|builder| builder.finish(compression));
    let failed = |error: std::io::Error| Error::Invalid(format!("compressing a batch: {error}"));
    Ok([front.map_err(failed)?, back.map_err(failed)?])
}
