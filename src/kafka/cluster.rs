//! A cluster as this client sees it: brokers, topics with their leaders, and a connection per broker and role.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kafka_protocol::{
    messages::{MetadataRequest, MetadataResponse, TopicName, metadata_request::MetadataRequestTopic},
    protocol::StrBytes,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    backoff::Backoff,
    connection::{Address, ConnectOptions, Connection},
    coordinator::Coordinated,
    error::{Code, Error, Result, check},
    wire::{Api, Metadata},
};

/// What a shared connection is for. A broker answers each connection in order, so what waits long (a consumer's fetch) has
/// [one of its own](Cluster::own_connection).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Control,
    Produce,
}

/// Number of a broker within its cluster.
pub(crate) type NodeId = i32;

/// A topic as the brokers last described it.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: Arc<str>,
    /// Nil where the broker gives topics no ids (before 2.8, the embedded broker).
    pub id: Uuid,
    pub internal: bool,
    /// In the order of their numbers, which begin at 0.
    pub partitions: Vec<Partition>,
}

impl Topic {
    /// How many partitions there are.
    pub fn count(&self) -> i32 {
        self.partitions.len() as i32
    }
}

/// A partition as the brokers last described it.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    pub number: i32,
    /// `None` while there is no leader.
    pub leader: Option<i32>,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
}

/// A cluster; clones share everything.
#[derive(Clone, Debug)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bootstrap: Vec<Address>,
    options: ConnectOptions,
    view: Mutex<View>,
    connections: Mutex<HashMap<(Role, NodeId), Slot>>,
    coordinators: Mutex<Coordinators>,
}

/// Which broker coordinates what, as last heard.
pub(crate) type Coordinators = HashMap<(Coordinated, String), NodeId>;

/// Locked while its connection is made, so that two callers do not make two.
type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// The slot of whichever bootstrap broker answered.
const BOOTSTRAP: NodeId = -1;

#[derive(Debug, Default)]
struct View {
    brokers: HashMap<NodeId, Address>,
    topics: HashMap<Arc<str>, Arc<Topic>>,
    controller: Option<NodeId>,
    id: Option<String>,
}

impl Cluster {
    /// Reaches one of the bootstrap brokers and asks it for the others.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with every address that was tried, each within the connect time-out.
    pub async fn connect(bootstrap: Vec<Address>, options: ConnectOptions) -> Result<Self> {
        let cluster = Self::lazy(bootstrap, options);
        cluster.refresh(&[], false).await?;
        Ok(cluster)
    }

    /// The same without a first contact: the first request makes it.
    pub fn lazy(bootstrap: Vec<Address>, options: ConnectOptions) -> Self {
        let (view, connections, coordinators) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { bootstrap, options, view, connections, coordinators }) }
    }

    pub fn options(&self) -> &ConnectOptions {
        &self.inner.options
    }

    /// The bootstrap list as it was given.
    pub fn bootstrap(&self) -> &[Address] {
        &self.inner.bootstrap
    }

    /// Number and address of each known broker.
    pub fn brokers(&self) -> Vec<(i32, Address)> {
        let mut brokers: Vec<_> = self.view().brokers.iter().map(|(&id, address)| (id, address.clone())).collect();
        brokers.sort_by_key(|(id, _)| *id);
        brokers
    }

    /// The cluster's id, where the broker gives one.
    pub fn id(&self) -> Option<String> {
        self.view().id.clone()
    }

    /// What is known of a topic, asked for if it is not known yet.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`] where the brokers do not know it.
    pub async fn topic(&self, name: &str) -> Result<Arc<Topic>> {
        if let Some(topic) = self.known(name) {
            return Ok(topic);
        }
        self.refresh(&[name], false).await?;
        self.known(name).ok_or_else(|| Error::UnknownTopic { topic: name.into() })
    }

    /// The same, and a broker that makes unknown topics is asked to make this one. One that is there is taken as it is,
    /// partitions without a leader included; one that was just made gets a moment for its leaders to come.
    pub async fn topic_or_create(&self, name: &str) -> Result<Arc<Topic>> {
        self.refresh(&[name], false).await?;
        if let Some(topic) = self.known(name).filter(|topic| topic.count() > 0) {
            return Ok(topic);
        }
        let mut backoff = Backoff::default();
        let deadline = Instant::now() + Duration::from_secs(10);
        self.refresh(&[name], true).await?;
        loop {
            match self.known(name) {
                Some(topic) if topic.partitions.iter().all(|partition| partition.leader.is_some()) => return Ok(topic),
                Some(topic) if Instant::now() > deadline => return Ok(topic),
                None if Instant::now() > deadline => return Err(Error::UnknownTopic { topic: name.into() }),
                _ => sleep(backoff.pause()).await,
            }
            self.refresh(&[name], false).await?;
            if self.known(name).is_none() {
                // it was made a moment ago if the broker makes topics at all; a second look decides
                sleep(backoff.pause() + Duration::from_millis(200)).await;
                self.refresh(&[name], false).await?;
                self.known(name).ok_or_else(|| Error::UnknownTopic { topic: name.into() })?;
            }
        }
    }

    /// What was last heard of a topic.
    pub(crate) fn known(&self, name: &str) -> Option<Arc<Topic>> {
        self.view().topics.get(name).cloned()
    }

    /// The leader of a partition as last heard.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Option<NodeId> {
        self.known(topic)?.partitions.get(usize::try_from(partition).ok()?)?.leader
    }

    /// Every topic of the cluster.
    pub async fn topics(&self) -> Result<Vec<Arc<Topic>>> {
        let response = self.request::<Metadata>(MetadataRequest::default().with_topics(None)).await?;
        let names: Vec<Arc<str>> = self.learn(&response);
        let view = self.view();
        let mut topics: Vec<_> = names.iter().filter_map(|name| view.topics.get(name).cloned()).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// Asks for brokers and the leaders of these topics; topics that are gone are forgotten.
    ///
    /// # Errors
    /// Of the connection, or a broker's refusal for one of the topics (authorisation, an invalid name).
    pub(crate) async fn refresh(&self, topics: &[&str], create: bool) -> Result<()> {
        let wanted =
            topics.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name)))).collect();
        let request = MetadataRequest::default().with_topics(Some(wanted)).with_allow_auto_topic_creation(create);
        // A broker that hangs must not keep us from asking another one for longer than it takes to connect.
        let limit = self.inner.options.connect_timeout.min(self.inner.options.request_timeout);
        let response = self.request_within::<Metadata>(request, limit).await?;
        self.learn(&response);
        for topic in &response.topics {
            let error = check(|| format!("metadata of topic {:?}", topic_text(&topic.name)), topic.error_code);
            match error {
                Err(error) if !error.is_transient() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes over what a metadata answer says; gives the names of the topics in it.
    fn learn(&self, response: &MetadataResponse) -> Vec<Arc<str>> {
        let mut view = self.view();
        if !response.brokers.is_empty() {
            view.brokers = response
                .brokers
                .iter()
                .filter_map(|broker| {
                    let address = Address { host: broker.host.to_string(), port: u16::try_from(broker.port).ok()? };
                    Some((broker.node_id.0, address))
                })
                .collect();
        }
        view.controller = Some(response.controller_id.0).filter(|&id| id >= 0);
        view.id = response.cluster_id.as_ref().map(ToString::to_string);
        let mut names = Vec::with_capacity(response.topics.len());
        for answer in &response.topics {
            let name: Arc<str> = topic_text(&answer.name).into();
            names.push(Arc::clone(&name));
            // 5: no leader for some partition, the topic itself is fine
            if answer.error_code != 0 && answer.error_code != 5 {
                view.topics.remove(&name);
                continue;
            }
            let mut partitions: Vec<Partition> = answer
                .partitions
                .iter()
                .map(|partition| Partition {
                    number: partition.partition_index,
                    leader: Some(partition.leader_id.0).filter(|&id| id >= 0),
                    replicas: partition.replica_nodes.iter().map(|id| id.0).collect(),
                    in_sync: partition.isr_nodes.iter().map(|id| id.0).collect(),
                })
                .collect();
            partitions.sort_by_key(|partition| partition.number);
            let topic =
                Topic { name: Arc::clone(&name), id: answer.topic_id, internal: answer.is_internal, partitions };
            view.topics.insert(name, Arc::new(topic));
        }
        names
    }

    /// A connection to this broker for this purpose.
    pub(crate) async fn connection(&self, role: Role, node: NodeId) -> Result<Connection> {
        let slot = Arc::clone(lock(&self.inner.connections).entry((role, node)).or_default());
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = if node == BOOTSTRAP {
            self.open_first(&self.inner.bootstrap).await?
        } else {
            Connection::open(&self.address(node)?, &self.inner.options).await?
        };
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// A connection to this broker that nobody else uses: for requests that wait long.
    pub(crate) async fn own_connection(&self, node: NodeId) -> Result<Connection> {
        Connection::open(&self.address(node)?, &self.inner.options).await
    }

    fn address(&self, node: NodeId) -> Result<Address> {
        self.view().brokers.get(&node).cloned().ok_or_else(|| Error::Unreachable {
            addresses: format!("broker {node}"),
            cause: "the cluster does not list it (any more)".into(),
        })
    }

    /// True where the brokers list it.
    pub(crate) fn lists(&self, node: NodeId) -> bool {
        self.view().brokers.contains_key(&node)
    }

    /// A connection to whichever broker answers: one that is open, then the bootstrap list, which is resolved anew,
    /// because all brokers may have moved, then the known ones. The bootstrap broker goes before the others: what it
    /// knows is what the next program will be told.
    pub(crate) async fn any(&self) -> Result<Connection> {
        let open: Vec<Slot> = {
            let connections = lock(&self.inner.connections);
            let mut open: Vec<(NodeId, &Slot)> = connections
                .iter()
                .filter(|((role, _), _)| *role == Role::Control)
                .map(|((_, node), slot)| (*node, slot))
                .collect();
            open.sort_by_key(|(node, _)| *node); // BOOTSTRAP is below all of them
            open.into_iter().map(|(_, slot)| Arc::clone(slot)).collect()
        };
        for slot in open {
            if let Ok(slot) = slot.try_lock()
                && let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed())
            {
                return Ok(connection.clone());
            }
        }
        match self.connection(Role::Control, BOOTSTRAP).await {
            Ok(connection) => Ok(connection),
            // what one broker refuses the others refuse too, and some count the tries
            Err(error @ Error::Denied { .. }) => Err(error),
            Err(error) => {
                for (node, _) in self.brokers() {
                    if let Ok(connection) = self.connection(Role::Control, node).await {
                        return Ok(connection);
                    }
                }
                Err(error)
            }
        }
    }

    async fn open_first(&self, addresses: &[Address]) -> Result<Connection> {
        let mut causes: Vec<String> = Vec::new();
        for address in addresses {
            match Connection::open(address, &self.inner.options).await {
                Ok(connection) => return Ok(connection),
                Err(Error::Unreachable { cause, .. }) if addresses.len() == 1 => causes.push(cause.to_string()),
                Err(Error::Unreachable { cause, .. }) => causes.push(format!("{address}: {cause}")),
                Err(error) => return Err(error),
            }
        }
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        Err(Error::Unreachable { addresses: addresses.join(", "), cause: causes.join("; ").into() })
    }

    /// A request that any broker can answer. A connection that broke under it is replaced once: an idle one may have
    /// been closed long ago without a sign.
    pub(crate) async fn request<A: Api>(&self, request: A::Request) -> Result<A::Response>
    where
        A::Request: Clone,
    {
        self.request_within::<A>(request, self.inner.options.request_timeout).await
    }

    async fn request_within<A: Api>(&self, request: A::Request, limit: Duration) -> Result<A::Response>
    where
        A::Request: Clone,
    {
        let answer = self.any().await?.start_within::<A>(request.clone(), limit).await;
        let answer = match answer {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        match answer {
            Err(Error::Disconnected { .. }) => self.request_again::<A>(request, limit).await,
            answer => answer,
        }
    }

    async fn request_again<A: Api>(&self, request: A::Request, limit: Duration) -> Result<A::Response> {
        let connection = self.any().await?;
        let answer = match connection.start_within::<A>(request, limit).await {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        // Nobody has answered anything yet, twice: a listener that asks for a user does that.
        let options = &self.inner.options;
        let stranger = self.view().brokers.is_empty() && options.security.sasl.is_none();
        match answer {
            Err(error @ Error::Disconnected { .. }) if stranger => {
                Err(connection.asks_for_sasl(options).await.unwrap_or(error))
            }
            answer => answer,
        }
    }

    /// The same, addressed to the controller, as topics are made and deleted. With KRaft any broker passes it on.
    pub(crate) async fn controller(&self) -> Result<Connection> {
        let controller = self.view().controller;
        match controller {
            Some(node) => match self.connection(Role::Control, node).await {
                Ok(connection) => Ok(connection),
                Err(_) => self.any().await,
            },
            None => self.any().await,
        }
    }

    pub(crate) fn coordinators(&self) -> &Mutex<Coordinators> {
        &self.inner.coordinators
    }

    fn view(&self) -> MutexGuard<'_, View> {
        lock(&self.inner.view)
    }
}

/// Nothing is left half done under these locks, so a panic elsewhere does not spoil them.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

pub(crate) fn topic_text(name: &Option<TopicName>) -> &str {
    name.as_ref().map_or("", |name| name.as_str())
}

/// Tries again, with growing pauses, what failed for a reason that passes, until `limit` is over.
pub(crate) async fn retry<T, F: Future<Output = Result<T>>>(limit: Duration, mut work: impl FnMut() -> F) -> Result<T> {
    let deadline = Instant::now() + limit;
    let (mut backoff, mut soon) = (Backoff::default(), Backoff::soon());
    loop {
        match work().await {
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                tracing::debug!(%error, "trying again");
                // the transaction before is committed, and its end on the way into its partitions
                let is_soon = error.is(Code::CONCURRENT_TRANSACTIONS);
                sleep(if is_soon { soon.pause() } else { backoff.pause() }).await;
            }
            result => return result,
        }
    }
}
