//! The server's numbers.
//!
//! | name | what |
//! |---|---|
//! | `kafkalab_grpc_requests_total{method,code}` | calls that were answered |
//! | `kafkalab_grpc_request_seconds{method}` | from the head of the request to the head of the answer |
//! | `kafkalab_outbox_messages{status}` | waiting, parked, held: what is not published |
//! | `kafkalab_outbox_oldest_seconds` | how long the oldest of them has waited |
//! | `kafkalab_relay_published_total` | what the relay in this process has sent |
//! | `kafkalab_relay_trouble` | 1 while the relay cannot reach Kafka or the store |

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    app::relay::Told,
    grpc::{self, Call, Observe, statuses},
    store::Store,
};

type ByMethod = [(&'static str, &'static str); 1];
type ByCode = [(&'static str, &'static str); 2];
type ByStatus = [(&'static str, &'static str); 1];

const METHODS: [&str; 4] = ["CreateOrder", "GetOrder", "PayOrder", "CancelOrder"];
/// Half a millisecond to ten seconds, which no call outlasts.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Calls, by method and code. Clones count together.
#[derive(Clone)]
pub struct ServerMetrics {
    requests: Family<ByCode, Counter>,
    seconds: Family<ByMethod, Histogram, fn() -> Histogram>,
}

impl Default for ServerMetrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        Self { requests: Family::default(), seconds: Family::new_with_constructor(histogram) }
    }
}

impl ServerMetrics {
    pub(super) fn observe(&self) -> Observe {
        let metrics = self.clone();
        Arc::new(move |call: Call<'_>| {
            let method = method(call.path);
            metrics.requests.get_or_create(&[("method", method), ("code", statuses::name(call.code))]).inc();
            metrics.seconds.get_or_create(&[("method", method)]).observe(call.took.as_secs_f64());
        })
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("grpc_requests", "Calls that were answered", self.requests.clone());
        registry.register("grpc_request_seconds", "How long a call took", self.seconds.clone());
    }
}

/// A stranger's path is no label: there would be as many as it likes.
fn method(path: &str) -> &'static str {
    let ours = path.strip_prefix('/').and_then(|path| path.strip_prefix(grpc::SERVICE)?.strip_prefix('/'));
    METHODS.into_iter().find(|method| Some(*method) == ours).unwrap_or("other")
}

/// What a relay in this process does. Clones count together.
#[derive(Clone, Default)]
pub struct RelayMetrics {
    published: Counter,
    trouble: Gauge,
}

impl RelayMetrics {
    /// What a relay says of itself.
    pub fn told(&self, told: &Told<'_>) {
        match told {
            Told::Published { .. } => {
                self.published.inc();
                self.trouble.set(0);
            }
            Told::Trouble(_) => self.in_trouble(),
            Told::SetAside { .. } | Told::Waits => {}
        }
    }

    pub fn in_trouble(&self) {
        self.trouble.set(1);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "relay_published",
            "Messages that the relay in this process has sent",
            self.published.clone(),
        );
        registry.register("relay_trouble", "1 while the relay cannot reach Kafka or the store", self.trouble.clone());
    }
}

/// What waits, read when somebody looks.
#[derive(Clone)]
pub(super) struct OutboxMetrics {
    messages: Family<ByStatus, Gauge>,
    oldest: Gauge<f64, AtomicU64>,
}

impl OutboxMetrics {
    pub fn new(registry: &mut Registry) -> Self {
        let outbox = Self { messages: Family::default(), oldest: Gauge::default() };
        registry.register("outbox_messages", "Messages that are not published", outbox.messages.clone());
        registry.register("outbox_oldest_seconds", "How long the oldest of them has waited", outbox.oldest.clone());
        outbox
    }

    /// As it was the last time where the store is away.
    pub async fn refresh(&self, store: &Store) {
        if let Ok((waiting, parked, held)) = store.outbox_unpublished().await {
            for (status, count) in [("waiting", waiting), ("parked", parked), ("held", held)] {
                self.messages.get_or_create(&[("status", status)]).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        if let Ok(oldest_ms) = store.outbox_oldest_ms().await {
            self.oldest.set(oldest_ms.map_or(0.0, |oldest| oldest.max(0) as f64 / 1000.0));
        }
    }
}
