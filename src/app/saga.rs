//! Sagas at work: starting them, their services, and what has become of them.
//!
//! ```text
//! start: one transaction { saga, first command in the outbox }
//! relay (app/outbox.rs) --> topics --> participants, orchestrator (app/handler.rs), each with its inbox
//! ```
//!
//! The rules are in [`crate::patterns::saga`]. All that is here is started together by `saga run`, or each part by itself.

mod choreography;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures::future::join_all;
use serde_json::{Value, json};

use super::{
    crash::Crash,
    handler::{self, HandlerError},
    outbox,
    relay::{self, RelayError, Stop, make_topics, prefixed},
};
use crate::{
    kafka::{Cluster, Error},
    patterns::{
        inbox::{Effects, Entity, Handler, Poison},
        money::Money,
        order::{OrderId, ProductId, UserId},
        saga::{
            Changed, Patience, Saga, Status, StepStatus,
            choreography::CHOREOGRAPHY,
            orchestrator::{Orchestrator, SAGA},
            order::{ORDER_SAGA, PARTICIPANTS, TOPICS},
            participant::{Doing, Fault, Kept},
            service::Service,
        },
    },
    store::{Handled, HandledError, StateWrite, Store, StoreError},
};

/// Who knows what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One place, which sends commands and waits for replies.
    Orchestration,
    /// Nobody: each service reacts to the events of the others.
    Choreography,
}

/// The orchestrator of the order saga.
pub const ORCHESTRATOR: Orchestrator = Orchestrator(&ORDER_SAGA);

/// What an order saga is about.
#[derive(Clone, Debug)]
pub struct NewSaga {
    /// Also the saga's id.
    pub order_id: OrderId,
    pub user_id: UserId,
    pub product_id: ProductId,
    pub price: Money,
    /// So long an answer is waited for, where it is not what the definition says.
    pub patience: Option<Patience>,
    pub fault: Option<Fault>,
}

/// Why a saga cannot be started, seen, or moved.
#[derive(Debug, thiserror::Error)]
pub enum SagaError {
    #[error("saga {0} is not there")]
    Unknown(String),
    #[error("saga {0} is there already")]
    Exists(String),
    #[error("saga {id} is {status}: only a parked compensation can be tried again")]
    NotParked { id: String, status: Status },
    /// Nobody keeps the deadline of an order that its service does not know.
    #[error("the order service has not taken order {0} in time")]
    NotTaken(String),
    #[error(transparent)]
    Changed(#[from] Changed),
    #[error("saga {id} is unreadable: {cause}")]
    Unreadable { id: String, cause: String },
    #[error(transparent)]
    Poison(#[from] Poison),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NewSaga {
    fn data(&self) -> Value {
        let mut data = json!({
            "order_id": self.order_id, "user_id": self.user_id, "product_id": self.product_id, "price": self.price,
        });
        if let Some(fault) = &self.fault {
            data["fault"] = json!(fault);
        }
        data
    }
}

/// Starts sagas of orders. See [`begin`].
///
/// # Errors
/// [`SagaError::Exists`] where one of them is there; none is started then.
pub async fn start(store: &Store, style: Style, sagas: &[NewSaga]) -> Result<(), SagaError> {
    if style == Style::Choreography {
        return choreography::start(store, sagas).await;
    }
    let ids = sagas.iter().map(|saga| saga.order_id.to_string()).collect();
    if let Some(id) = choreography::gather(store, ids).await?.into_keys().next() {
        return Err(SagaError::Exists(id));
    }
    let of = |saga: &NewSaga| {
        let id = saga.order_id.as_str();
        Ok((id.to_owned(), ORCHESTRATOR.start(id, saga.data(), saga.patience)?))
    };
    begin(store, &ORCHESTRATOR, sagas.iter().map(of).collect::<Result<_, Poison>>()?).await
}

/// Starts sagas, by their ids and what their definition says: their states and their first commands, in one transaction.
/// Kafka is not asked.
///
/// # Errors
/// [`SagaError::Exists`] where one of them is there; none is started then.
pub async fn begin(store: &Store, by: &Orchestrator, sagas: Vec<(String, Effects)>) -> Result<(), SagaError> {
    let mut handled = Handled { consumer: by.name().to_owned(), points: Some(by.crash_points()), ..Handled::default() };
    let ids = sagas.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(", ");
    for (id, Effects { state, timer, messages, .. }) in sagas {
        let entity = Entity { kind: SAGA, id };
        handled.states.push(StateWrite { entity, read: 0, data: state.unwrap_or_default(), due_in: timer });
        handled.outbox.extend(messages);
    }
    match store.handle(handled).await {
        Ok(()) => Ok(()),
        Err(HandledError::Store(error)) => Err(error.into()),
        Err(HandledError::Conflict) => Err(SagaError::Exists(ids)),
    }
}

/// A saga, with its version in the store.
pub async fn load(store: &Store, id: &str) -> Result<(u64, Saga), SagaError> {
    find(store, vec![id.to_owned()]).await?.remove(id).ok_or_else(|| SagaError::Unknown(id.to_owned()))
}

/// These, of either style; one that is not there is absent.
async fn find(store: &Store, ids: Vec<String>) -> Result<HashMap<String, (u64, Saga)>, SagaError> {
    let mut found = HashMap::new();
    for (id, (version, json)) in store.states(SAGA, ids.clone()).await? {
        let saga = read(&id, &json)?;
        found.insert(id, (version, saga));
    }
    let others = ids.into_iter().filter(|id| !found.contains_key(id)).collect();
    found.extend(choreography::gather(store, others).await?);
    Ok(found)
}

fn read(id: &str, json: &[u8]) -> Result<Saga, SagaError> {
    serde_json::from_slice(json).map_err(|error| unreadable(id, &error))
}

fn unreadable(id: &str, error: &serde_json::Error) -> SagaError {
    SagaError::Unreadable { id: id.to_owned(), cause: error.to_string() }
}

/// Whether the order service has taken these choreographed orders.
///
/// # Errors
/// [`SagaError::NotTaken`] with the first one.
pub async fn taken(store: &Store, ids: &[String]) -> Result<(), SagaError> {
    for ids in ids.chunks(1000) {
        let found = choreography::gather(store, ids.to_vec()).await?;
        let is_open = |saga: &Saga| saga.steps.first() == Some(&StepStatus::Asked);
        if let Some((id, _)) = found.into_iter().find(|(_, (_, saga))| is_open(saga)) {
            return Err(SagaError::NotTaken(id));
        }
    }
    Ok(())
}

/// Whether nobody has all of it in one place.
pub fn is_choreographed(saga: &Saga) -> bool {
    saga.definition == CHOREOGRAPHY
}

/// A saga that this program knows how to finish.
///
/// # Errors
/// One that was begun by another list of steps.
pub fn check(saga: &Saga) -> Result<(), Changed> {
    if is_choreographed(saga) { Ok(()) } else { ORDER_SAGA.check(saga) }
}

/// At most `limit` sagas in the order of their ids, after that one.
pub async fn list(store: &Store, after: &str, limit: usize) -> Result<Vec<Saga>, SagaError> {
    let page = store.states_of(SAGA, after, limit).await?;
    let mut sagas = page.iter().map(|(id, (_, json))| read(id, json)).collect::<Result<Vec<_>, _>>()?;
    let last = sagas.last().filter(|_| sagas.len() == limit).map(|saga| saga.id.clone());
    sagas.extend(choreography::page(store, after, last.as_deref(), limit).await?);
    sagas.sort_by(|a, b| a.id.cmp(&b.id));
    sagas.truncate(limit);
    Ok(sagas)
}

/// A parked compensation, once more.
///
/// # Errors
/// [`SagaError::NotParked`], a saga of another definition.
pub async fn retry(store: &Store, id: &str) -> Result<(), SagaError> {
    loop {
        let (version, saga) = load(store, id).await?;
        check(&saga)?;
        if saga.status != Status::Parked {
            return Err(SagaError::NotParked { id: id.to_owned(), status: saga.status });
        }
        if is_choreographed(&saga) {
            return choreography::retry(store, id).await;
        }
        let Effects { state, timer, messages, .. } = ORCHESTRATOR.retry(saga)?;
        let entity = Entity { kind: SAGA, id: id.to_owned() };
        let state = StateWrite { entity, read: version, data: state.unwrap_or_default(), due_in: timer };
        let consumer = ORCHESTRATOR.name().to_owned();
        let handled = Handled { consumer, states: vec![state], outbox: messages, ..Handled::default() };
        match store.handle(handled).await {
            Ok(()) => return Ok(()),
            Err(HandledError::Conflict) => {}
            Err(HandledError::Store(error)) => return Err(error.into()),
        }
    }
}

/// What the services have of a saga: by what they keep.
pub async fn effects(store: &Store, id: &str) -> Result<Vec<(&'static str, Option<Kept>)>, SagaError> {
    let mut all = Vec::new();
    for (_, service) in PARTICIPANTS {
        let found = store.states(service.asked.keeps, vec![id.to_owned()]).await?.remove(id);
        let kept = found.map(|(_, json)| serde_json::from_slice(&json).map_err(|error| unreadable(id, &error)));
        all.push((service.asked.keeps, kept.transpose()?));
    }
    Ok(all)
}

/// Who works on sagas in this process.
#[derive(Clone, Debug, Default)]
pub struct Services {
    pub orchestrator: bool,
    pub participants: Vec<Service>,
    pub relay: bool,
    /// See [`handler::Options::instance`].
    pub instance: Option<String>,
}

impl Services {
    /// All of them.
    pub fn all() -> Self {
        Self {
            orchestrator: true,
            participants: PARTICIPANTS.map(|(_, service)| service).to_vec(),
            relay: true,
            instance: None,
        }
    }

    fn handlers(&self) -> Vec<Box<dyn Handler>> {
        let participants = self.participants.iter().map(|participant| Box::new(*participant) as Box<dyn Handler>);
        let orchestrator = self.orchestrator.then(|| Box::new(ORCHESTRATOR) as Box<dyn Handler>);
        participants.chain(orchestrator).collect()
    }
}

/// Why a service does not go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Handler(#[from] HandlerError),
    #[error(transparent)]
    Broker(#[from] Error),
}

/// Where services work, and who listens.
pub struct Place<'a> {
    pub store: &'a Store,
    pub cluster: &'a Cluster,
    pub prefix: &'a str,
    pub crash: &'a Crash,
    pub tell: Tell<'a>,
}

/// What services say while they work.
#[derive(Clone, Debug)]
pub enum Told<'a> {
    Relay(relay::Told<'a>),
    Handler { handler: &'a str, told: handler::Told<'a> },
}

/// Somebody who listens.
pub type Tell<'a> = &'a (dyn Fn(Told<'_>) + Send + Sync);

/// The groups' names carry the store's id: two stores on one cluster are two systems.
fn group(store: &Store, handler: &dyn Handler) -> String {
    format!("{}-{}", handler.name(), store.id())
}

/// Makes the topics, and lets groups that are new begin behind what is there: a fresh store is not to meet the commands of
/// another one's sagas.
///
/// # Errors
/// What the brokers refuse, and those of the store.
pub async fn prepare(store: &Store, cluster: &Cluster, prefix: &str) -> Result<(), ServiceError> {
    let topics: Vec<String> = TOPICS.iter().map(|topic| prefixed(prefix, topic)).collect();
    make_topics(cluster, &topics).await?;
    for handler in Services::all().handlers() {
        let group = group(store, &*handler);
        let topics: Vec<String> = handler.topics().iter().map(|topic| prefixed(prefix, topic)).collect();
        handler::begin_at_end_if_new(store, cluster, &group, &topics).await?;
    }
    Ok(())
}

/// Runs services until they are told to stop.
///
/// # Errors
/// The first that does not pass; the others are stopped then.
pub async fn serve(services: &Services, place: &Place<'_>, stop: &Stop) -> Result<(), ServiceError> {
    let stop = stop.child_token();
    let relay_options = relay::Options { prefix: place.prefix.to_owned(), ..relay::Options::default() };
    let handlers = services.handlers();
    let work = join_all(handlers.iter().map(|handler| {
        let (stop, handler) = (stop.clone(), &**handler);
        async move {
            let options = handler::Options {
                prefix: place.prefix.to_owned(),
                group: Some(group(place.store, handler)),
                instance: services.instance.clone(),
                ..handler::Options::default()
            };
            let name = handler.name();
            let tell = |told: handler::Told<'_>| (place.tell)(Told::Handler { handler: name, told });
            let ended = handler::run(handler, place.store, place.cluster, &options, &stop, &tell).await;
            stop.cancel();
            ended.map(drop).map_err(ServiceError::from)
        }
    }));
    let relaying = async {
        if !services.relay {
            return Ok(());
        }
        let tell = |told: relay::Told<'_>| (place.tell)(Told::Relay(told));
        let relayed = outbox::relay(place.store, place.cluster, &relay_options, None, place.crash, &stop, &tell).await;
        stop.cancel();
        relayed.map(drop).map_err(ServiceError::from)
    };
    let (relayed, worked) = tokio::join!(relaying, work);
    relayed?;
    worked.into_iter().collect()
}

/// Waits until all of these sagas are over; gives them as they are then, in the order of `ids`.
///
/// # Errors
/// A store that fails for good. One that is away is waited for.
pub async fn until_over(store: &Store, ids: &[String], stop: &Stop) -> Result<Option<Vec<Saga>>, SagaError> {
    let mut over = Vec::with_capacity(ids.len());
    let mut pause = Duration::from_millis(2);
    while over.len() < ids.len() {
        // whoever waits for the first of them need not read all the others each time
        let next = &ids[over.len()..ids.len().min(over.len() + PAGE)];
        let mut sagas = match find(store, next.to_vec()).await {
            Ok(sagas) => sagas,
            Err(SagaError::Store(error)) if error.is_transient() => HashMap::new(),
            Err(error) => return Err(error),
        };
        let before = over.len();
        for id in next {
            let saga = sagas.remove(id).map(|(_, saga)| saga);
            let Some(saga) = saga.filter(|saga| saga.status.is_over()) else { break };
            over.push(saga);
        }
        if over.len() > before {
            continue;
        }
        if !relay::rest(pause, stop).await {
            return Ok(None);
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    settled(store, ids, stop).await?;
    Ok(Some(over))
}

/// Sagas that are read at a time.
const PAGE: usize = 100;

/// The last messages are out, and the services have heard them: none still has a lock on. Services that are elsewhere and
/// away are not waited for longer than [`SETTLED`].
async fn settled(store: &Store, ids: &[String], stop: &Stop) -> Result<(), SagaError> {
    let until = tokio::time::Instant::now() + SETTLED;
    let mut pause = Duration::from_millis(2);
    loop {
        let (waiting, ..) = store.outbox_unpublished().await?;
        if waiting == 0 && !is_any_locked(store, ids).await? {
            return Ok(());
        }
        if tokio::time::Instant::now() > until || !relay::rest(pause, stop).await {
            return Ok(());
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

async fn is_any_locked(store: &Store, ids: &[String]) -> Result<bool, SagaError> {
    let sagas = find(store, ids.iter().rev().take(PAGE).cloned().collect()).await?;
    Ok(!locked(store, sagas.values().map(|(_, saga)| saga)).await?.is_empty())
}

/// Those of these that have completed, and whose services have not all heard of it: one still has a lock on.
pub async fn locked<'a>(store: &Store, sagas: impl Iterator<Item = &'a Saga>) -> Result<HashSet<String>, SagaError> {
    let completed = sagas.filter(|saga| saga.status == Status::Completed).map(|saga| saga.id.clone());
    let completed: Vec<String> = completed.collect();
    let mut locked = HashSet::new();
    for (_, service) in PARTICIPANTS.into_iter().filter(|_| !completed.is_empty()) {
        for (id, (_, json)) in store.states(service.asked.keeps, completed.clone()).await? {
            let kept: Kept = serde_json::from_slice(&json).map_err(|error| unreadable(&id, &error))?;
            if kept.status == Doing::Pending {
                locked.insert(id);
            }
        }
    }
    Ok(locked)
}

/// So long the services are given to hear that a saga has ended: longer than a member that died is waited for.
const SETTLED: Duration = Duration::from_secs(30);
