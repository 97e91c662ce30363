//! The orders service: a request, one transaction, a reply. Kafka is not asked.
//!
//! ```text
//! request --> command --> one transaction { event log, outbox } --> reply
//!                                              |
//!                                              +--> the relay, in this process or in another, whenever Kafka is there
//! ```
//!
//! Concurrent requests share commits (the store's writer), so that a reply costs a part of a wait for the disk.
//!
//! # The guarantee
//! Who is answered OK has the order and its message on disk, or neither. Who is not answered (a deadline, a connection that
//! ends, a server that dies) does not know; with an idempotency key the same call again is carried out once:
//!
//! - `CreateOrder`: the order's id follows from the key, and no order is created twice.
//! - `PayOrder`, `CancelOrder`: the id of the event follows from the key, and no event's id stands in the log twice. What
//!   the log has by that id is compared with what is asked: the same is answered as done, another one is refused.
//!
//! A call that was refused leaves nothing, and is decided anew when it comes again. The outbox carries the events
//! at-least-once, in order per order ([`super::outbox`]).

mod metrics;
mod once;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use uuid::Uuid;

pub use self::metrics::{RelayMetrics, ServerMetrics};
use super::{
    crash::{self, Crash},
    event_sourcing::{Handled, How, OrderError, Orders},
    outbox,
    relay::Stop,
};
pub use crate::grpc::{Limits, ServerTls, TlsError};
use crate::{
    grpc::{
        self, Beside, OrdersService, Request, Response, Server, Status, async_trait,
        orders::{
            CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse, GetOrderRequest,
            GetOrderResponse, Order as WireOrder, PayOrderRequest, PayOrderResponse,
        },
        statuses,
    },
    patterns::{
        event_sourcing::{Folded, Until},
        order::{Order, OrderCommand, OrderId, PaymentId},
    },
    store::{AppendError, Store, StoreError},
};

/// After this time another attempt is worth it, where the store is away.
const AWAY: Duration = Duration::from_secs(1);

/// Hears what keeps the service from answering; it must not block.
pub type Tell = Arc<dyn Fn(&dyn std::fmt::Display) + Send + Sync>;

/// The orders service.
pub struct Service {
    pub orders: Orders,
    /// Who acts, for the audit.
    pub actor: String,
    pub crash: Crash,
    pub tell: Tell,
}

/// Where to serve, and how.
pub struct Place {
    pub listener: TcpListener,
    pub tls: Option<ServerTls>,
    pub limits: Limits,
}

/// Serves until it is told to stop; the calls in hand are finished, within [`Limits::grace`].
pub async fn serve(service: Service, place: Place, metrics: &ServerMetrics, stop: &Stop) {
    let Place { listener, tls, limits } = place;
    grpc::serve(service, Server { listener, tls, limits, observe: metrics.observe() }, stop).await;
}

/// Serves the metrics of a server until it is told to stop.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: ServerMetrics,
    relay: RelayMetrics,
    store: Store,
    stop: &Stop,
) {
    let mut registry = Registry::with_prefix("kafkalab");
    metrics.register(&mut registry);
    relay.register(&mut registry);
    let outbox = metrics::OutboxMetrics::new(&mut registry);
    let refresh = move || {
        let (outbox, store) = (outbox.clone(), store.clone());
        async move { outbox.refresh(&store).await }
    };
    super::metrics::serve(listener, registry, refresh, stop).await;
}

/// Whether who is not on this machine can reach the port.
pub fn is_open(address: SocketAddr) -> bool {
    !address.ip().is_loopback()
}

impl Service {
    /// Takes a command, with its message.
    async fn take(&self, command: &OrderCommand, how: How<'_>) -> Result<Handled, Status> {
        let taken = outbox::take_with(&self.orders, command, &self.actor, None, how).await;
        taken.map_err(|error| self.status(&error, command.order_id()))
    }

    /// What a caller hears; what it is not told is told to whoever runs this.
    fn status(&self, error: &OrderError, order_id: &OrderId) -> Status {
        match error {
            OrderError::Rejected(rejection) => statuses::rejected(rejection, order_id),
            OrderError::Unknown { .. } | OrderError::NotYet { .. } => statuses::not_found(order_id),
            OrderError::WrongVersion { .. } => statuses::contended(order_id),
            OrderError::Append(AppendError::IdTaken { .. }) => statuses::key_reused(order_id),
            OrderError::Store(error) => self.away(error),
            OrderError::Append(AppendError::Store(error)) => self.away(error),
            OrderError::Append(_) | OrderError::Unreadable(_) => {
                (self.tell)(error);
                statuses::internal()
            }
        }
    }

    fn away(&self, error: &StoreError) -> Status {
        (self.tell)(error);
        match error {
            StoreError::Damaged { .. } | StoreError::Invalid(_) | StoreError::LeaseLost { .. } => statuses::internal(),
            StoreError::NewerSchema { .. } | StoreError::ForeignSchema { .. } => statuses::internal(),
            _ => statuses::unavailable(AWAY),
        }
    }

    /// The order as it is.
    async fn now(&self, order_id: &OrderId) -> Result<Folded<Order>, Status> {
        self.orders.load(order_id, Until::End).await.map_err(|error| self.status(&error, order_id))
    }
}

/// A panic in here is the gate's to catch; a state without an order after its command is a defect.
fn shown(order: &Folded<Order>) -> Result<Option<WireOrder>, Status> {
    grpc::order(order).map(Some).ok_or_else(statuses::internal)
}

fn how(beside: &Beside) -> How<'_> {
    How { traceparent: beside.traceparent.as_deref(), request_id: beside.request_id.as_deref(), ..How::default() }
}

/// What follows from a key. Each kind of call has keys of its own.
fn by_key(kind: &str, key: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("kafkalab grpc {kind} {key}").as_bytes())
}

#[async_trait]
impl OrdersService for Service {
    async fn create_order(
        &self,
        request: Request<CreateOrderRequest>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        let beside = Beside::read(request.metadata())?;
        let id = beside.key.as_deref().map_or_else(Uuid::now_v7, |key| by_key("CreateOrder", key));
        let order_id = OrderId::new(id.to_string()).map_err(|_| statuses::internal())?;
        let command = grpc::create_order(request.into_inner(), order_id)?;
        let handled = match self.take(&command.into(), How { is_new: true, ..how(&beside) }).await {
            Err(status) if status.code() == grpc::Code::AlreadyExists => {
                // whoever has this id got it from the same key
                let order_id = OrderId::new(id.to_string()).map_err(|_| statuses::internal())?;
                return Err(statuses::key_reused(&order_id));
            }
            outcome => outcome?,
        };
        self.crash.here(crash::GRPC_BEFORE_REPLY);
        let already_done = handled.events.is_empty();
        Ok(Response::new(CreateOrderResponse { order: shown(&handled.order)?, already_done }))
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        let order_id = grpc::get_order(request.get_ref())?;
        let order = self.now(&order_id).await?;
        let order = grpc::order(&order).ok_or_else(|| statuses::not_found(&order_id))?;
        Ok(Response::new(GetOrderResponse { order: Some(order) }))
    }

    async fn pay_order(&self, request: Request<PayOrderRequest>) -> Result<Response<PayOrderResponse>, Status> {
        let beside = Beside::read(request.metadata())?;
        let by_key = beside.key.as_deref().map(|key| PaymentId::new(by_key("PayOrder", key).to_string()));
        let payment_id = by_key.transpose().map_err(|_| statuses::internal())?;
        let command = grpc::pay_order(request.into_inner(), payment_id)?;
        let (order, already_done) = self.once(command.into(), &beside).await?;
        self.crash.here(crash::GRPC_BEFORE_REPLY);
        Ok(Response::new(PayOrderResponse { order: shown(&order)?, already_done }))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let beside = Beside::read(request.metadata())?;
        let command = grpc::cancel_order(request.into_inner())?;
        let (order, already_done) = self.once(command.into(), &beside).await?;
        self.crash.here(crash::GRPC_BEFORE_REPLY);
        Ok(Response::new(CancelOrderResponse { order: shown(&order)?, already_done }))
    }
}

/// Waits for Kafka and relays, again and again, until it is told to stop: orders are taken whatever becomes of this.
pub async fn relaying<E, F>(attempt: impl Fn() -> F, stop: &Stop, trouble: impl Fn(E))
where
    F: Future<Output = Result<(), E>>,
{
    let mut backoff = super::relay::Backoff::default();
    while !stop.is_cancelled() {
        match attempt().await {
            Ok(()) => backoff = super::relay::Backoff::default(),
            Err(error) => trouble(error),
        }
        super::relay::rest(backoff.pause(), stop).await;
    }
}
