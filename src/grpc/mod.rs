//! gRPC: the service `orders.v1.OrdersService` on the wire, and nothing of what it does.
//!
//! ```text
//! connection --> handshake (limit) --> gate: calls at once, deadline, request id, panic --> the service
//!                                                                                             |
//!                  wire --> requests.rs --> commands of the domain --> whoever serves --------+
//!                  wire <-- replies.rs, statuses.rs <-- orders, refusals
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `server.rs` | the port: connections, HTTP/2 and its limits, reflection, health, the end |
//! | `gate.rs` | what every call passes: how many at once, until when, by which id; no panic gets out |
//! | `tls.rs` | certificates of the server, and of its clients |
//! | `requests.rs`, `replies.rs` | wire to domain and back; pure |
//! | `metadata.rs` | what stands beside a request: idempotency key, trace, request id |
//! | `statuses.rs` | errors: gRPC's codes with google.rpc's details |
//! | `client.rs` | the other side: a call, and how it was answered |
//!
//! The code of the messages is made from `proto/orders/v1/orders.proto` by `build.rs`.

pub mod client;
mod gate;
mod metadata;
mod replies;
mod requests;
mod server;
pub mod statuses;
mod tls;

pub use self::{
    gate::{Call, Observe},
    metadata::{Beside, REQUEST_ID},
    replies::order,
    requests::{cancel_order, create_order, get_order, pay_order},
    server::{Limits, Server, serve},
    tls::{ServerTls, TlsError},
};

/// The messages and the service, as they are generated.
#[allow(clippy::all, clippy::pedantic)]
pub mod orders {
    tonic::include_proto!("orders.v1");
}

pub use orders::orders_service_server::{OrdersService, OrdersServiceServer};
pub use tonic::{Code, Request, Response, Status, async_trait};

/// What the service is called on the wire.
pub const SERVICE: &str = orders::orders_service_server::SERVICE_NAME;

/// `proto/` as reflection tells it.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/orders.bin"));
