//! The way to one address, and in: name, port, encryption, versions, login, cluster.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{Checks, Layer, Problem};
use crate::kafka::{Address, Cluster, ConnectOptions, Denied, Error, Spoken, Stage, knock};

const LAYERS: [Layer; 6] = [Layer::Name, Layer::Port, Layer::Encryption, Layer::Versions, Layer::Login, Layer::Cluster];

/// The cluster behind this address, where one is let in.
pub(super) async fn examine(address: &Address, options: &ConnectOptions, checks: &mut Checks) -> Option<Cluster> {
    let subject = address.to_string();
    let before = checks.0.len();
    let cluster = walk(address, options, checks).await;
    let walked = checks.0.len() - before;
    checks.not_reached(&LAYERS[walked..], &subject);
    cluster
}

/// Adds a check for each layer as far as the way goes.
async fn walk(address: &Address, options: &ConnectOptions, checks: &mut Checks) -> Option<Cluster> {
    let limit = options.connect_timeout;
    let mut step = |layer, found: Result<String, Problem>| {
        let goes_on = found.is_ok();
        checks.add(layer, address.to_string(), found);
        goes_on.then_some(())
    };
    let found = resolve(address, limit).await;
    let places = found.as_ref().map(Vec::clone).unwrap_or_default();
    step(Layer::Name, found.map(|places| named(address, &places)))?;
    step(Layer::Port, reach(address, &places, limit).await)?;

    let knocked = knock(address, options).await;
    let encrypted = match (&options.security.tls, &knocked) {
        (_, Err((_, Error::Denied { why: why @ Denied::WantsTls, .. }))) => Err(Problem::Denied(why.clone())),
        (Some(_), Err((Stage::Tls, error))) => Err(Problem::of(Layer::Encryption, error)),
        (Some(_), _) => Ok("TLS".to_owned()),
        (None, _) => Ok("plain text, TLS is off".to_owned()),
    };
    step(Layer::Encryption, encrypted)?;
    let (spoken, refused) = match knocked {
        Ok(spoken) => (versions(&spoken), None),
        Err((Stage::Sasl, error)) => (Ok("it is Kafka".to_owned()), Some(error)),
        // a client certificate is missed only when the first answer does not come
        Err((_, Error::Denied { why, .. })) => (Err(Problem::Denied(why)), None),
        Err((_, error)) => (Err(Problem::NotKafka(cause(&error))), None),
    };
    step(Layer::Versions, spoken)?;
    if let Some(error) = refused {
        step(Layer::Login, Err(Problem::of(Layer::Login, &error)))?;
    }
    let cluster = Cluster::connect(vec![address.clone()], options.clone()).await;
    let login = match (&options.security.sasl, &cluster) {
        // only the first request that is not about versions shows that a user is asked for
        (_, Err(Error::Denied { why, .. })) => Err(Problem::Denied(why.clone())),
        (Some(sasl), _) => Ok(format!("{} by {}", sasl.username, sasl.mechanism.name())),
        (None, _) => Ok("nobody in particular: no user is configured, and none asked for".to_owned()),
    };
    step(Layer::Login, login)?;
    step(Layer::Cluster, cluster.as_ref().map(told).map_err(|error| Problem::of(Layer::Cluster, error)))?;
    cluster.ok()
}

/// The IP addresses that the name stands for.
pub(super) async fn resolve(address: &Address, limit: Duration) -> Result<Vec<SocketAddr>, Problem> {
    let unresolved = |cause| Problem::Unresolved { host: address.host.clone(), cause };
    match timeout(limit, lookup_host((address.host.as_str(), address.port))).await {
        Ok(Ok(places)) => {
            let places: Vec<SocketAddr> = places.collect();
            if places.is_empty() { Err(unresolved(io::ErrorKind::NotFound.into())) } else { Ok(places) }
        }
        Ok(Err(cause)) => Err(unresolved(cause)),
        Err(_) => Err(unresolved(io::ErrorKind::TimedOut.into())),
    }
}

fn named(address: &Address, places: &[SocketAddr]) -> String {
    if address.host.parse::<IpAddr>().is_ok() {
        return "an IP address, no name".to_owned();
    }
    let mut ips: Vec<String> = places.iter().map(|place| place.ip().to_string()).collect();
    ips.dedup();
    format!("{} is {}", address.host, ips.join(", "))
}

/// Who answers, of the places of one name.
pub(super) async fn reach(address: &Address, places: &[SocketAddr], limit: Duration) -> Result<String, Problem> {
    let at = address.to_string();
    match timeout(limit, TcpStream::connect(places)).await {
        Ok(Ok(stream)) => match stream.peer_addr() {
            Ok(peer) => Ok(format!("{peer} accepts connections")),
            Err(cause) => Err(Problem::NoWay { at, cause: cause.to_string() }),
        },
        Ok(Err(cause)) if cause.kind() == io::ErrorKind::ConnectionRefused => {
            Err(Problem::NothingListens { at, cause })
        }
        Ok(Err(cause)) => Err(Problem::NoWay { at, cause: cause.to_string() }),
        Err(_) => Err(Problem::NoWay { at, cause: format!("no answer within {} s", limit.as_secs_f32()) }),
    }
}

fn versions(spoken: &Spoken) -> Result<String, Problem> {
    if !spoken.missing.is_empty() {
        return Err(Problem::Versions(spoken.missing.clone()));
    }
    let without = match spoken.without.as_slice() {
        [] => String::new(),
        without => format!("; it is without {}", without.join(", ")),
    };
    Ok(format!("it is Kafka, with {} APIs{without}", spoken.apis))
}

fn told(cluster: &Cluster) -> String {
    let brokers = cluster.brokers().len();
    let id = cluster.id().map(|id| format!("cluster {id}, ")).unwrap_or_default();
    format!("{id}{brokers} broker{}", if brokers == 1 { "" } else { "s" })
}

/// The cause alone: the address stands beside it already.
fn cause(error: &Error) -> String {
    match error {
        Error::Unreachable { cause, .. } => cause.to_string(),
        other => other.to_string(),
    }
}

impl Problem {
    pub(super) fn of(layer: Layer, error: &Error) -> Self {
        match error {
            Error::Denied { why, .. } => Problem::Denied(why.clone()),
            Error::Unreachable { cause, .. } if layer == Layer::Encryption => Problem::NotKafka(cause.to_string()),
            error => Problem::Broker { layer, error: error.clone() },
        }
    }
}
