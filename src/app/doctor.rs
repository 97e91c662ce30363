//! What is wrong with a broker, seen from this machine: layer by layer, from the name to what the user may do.
//!
//! ```text
//! name --> port --> encryption --> versions --> login --> cluster --> advertised, topics, coordinator, authorisation, clock
//! store
//! ```
//!
//! A layer that is broken hides those behind it: they are not reached. Nothing is changed on the broker.

mod door;
mod inside;
mod problem;
mod storage;

use std::time::Duration;

pub use self::problem::Problem;
use crate::{
    kafka::{Address, ConnectOptions},
    store::StoreUrl,
};

/// What is looked at, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The host's name becomes an IP address.
    Name,
    /// Somebody listens.
    Port,
    /// TLS or plain text, as both sides have it.
    Encryption,
    /// It is Kafka, in versions that are spoken here.
    Versions,
    /// SASL, or none, as both sides have it.
    Login,
    /// The broker tells of its cluster.
    Cluster,
    /// The address that a broker has told can be reached from here.
    Advertised,
    /// Partitions have leaders.
    Topics,
    /// Groups have somebody to keep their offsets.
    Coordinator,
    /// The user may read and write.
    Authorisation,
    /// The cluster's clock and this machine's tell the same time.
    Clock,
    /// The store opens, and can be written.
    Store,
}

impl Layer {
    pub fn name(self) -> &'static str {
        match self {
            Layer::Name => "name",
            Layer::Port => "port",
            Layer::Encryption => "encryption",
            Layer::Versions => "versions",
            Layer::Login => "login",
            Layer::Cluster => "cluster",
            Layer::Advertised => "advertised",
            Layer::Topics => "topics",
            Layer::Coordinator => "coordinator",
            Layer::Authorisation => "authorisation",
            Layer::Clock => "clock",
            Layer::Store => "store",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
pub struct Check {
    pub layer: Layer,
    /// What of: an address, a broker, a store.
    pub subject: String,
    pub outcome: Outcome,
}

#[derive(Debug)]
pub enum Outcome {
    /// With what was seen.
    Well(String),
    Wrong(Problem),
    NotReached,
}

/// The checks so far.
#[derive(Debug, Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, layer: Layer, subject: impl Into<String>, found: Result<String, Problem>) {
        let outcome = match found {
            Ok(seen) => Outcome::Well(seen),
            Err(problem) => Outcome::Wrong(problem),
        };
        self.0.push(Check { layer, subject: subject.into(), outcome });
    }

    fn not_reached(&mut self, layers: &[Layer], subject: &str) {
        let check = |&layer| Check { layer, subject: subject.to_owned(), outcome: Outcome::NotReached };
        self.0.extend(layers.iter().map(check));
    }
}

/// Looks at each of the addresses, at the cluster behind the first that lets one in, and at the store. Each check ends
/// within the connect time-out.
pub async fn examine(addresses: &[Address], options: &ConnectOptions, store: &StoreUrl) -> Vec<Check> {
    let limit: Duration = options.connect_timeout;
    let options = ConnectOptions { request_timeout: options.request_timeout.min(limit), ..options.clone() };
    let mut checks = Checks::default();
    let mut entered = None;
    for address in addresses {
        let cluster = door::examine(address, &options, &mut checks).await;
        entered = entered.or(cluster.map(|cluster| (address, cluster)));
    }
    match entered {
        Some((address, cluster)) => inside::examine(address, &cluster, &mut checks).await,
        None => checks.not_reached(&inside::LAYERS, ""),
    }
    checks.add(Layer::Store, store.to_string(), storage::examine(store, limit).await);
    checks.0
}
