//! The cluster behind the door: advertised addresses, topics, the coordinator, what the user may do, what time it is there.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::timeout;

use super::{Checks, Layer, Problem, door};
use crate::{
    app::topics,
    kafka::{Address, Allowed, Cluster, Error},
};

pub(super) const LAYERS: [Layer; 5] =
    [Layer::Advertised, Layer::Topics, Layer::Coordinator, Layer::Authorisation, Layer::Clock];

/// Brokers that are looked at together.
const AT_ONCE: usize = 8;
/// Any name: a coordinator is found for groups that do not exist, too.
const GROUP: &str = "kafkalab-doctor";
/// Clocks that are set by NTP differ by milliseconds; from here on `-o @-1m` and the ages in tables mislead.
const CLOCKS_DIFFER_MS: i64 = 10_000;

pub(super) async fn examine(given: &Address, cluster: &Cluster, checks: &mut Checks) {
    let brokers = cluster.brokers();
    let looked = stream::iter(brokers).map(|(broker, advertised)| async move {
        let found = advertised_one(broker, &advertised, given, cluster).await;
        (format!("broker {broker} at {advertised}"), found)
    });
    let found: Vec<_> = looked.buffered(AT_ONCE).collect().await;
    let all_reached = found.iter().all(|(_, found)| found.is_ok());
    for (subject, found) in found {
        checks.add(Layer::Advertised, subject, found);
    }
    if !all_reached {
        return checks.not_reached(&LAYERS[1..], "");
    }
    let limit = cluster.options().request_timeout;
    checks.add(Layer::Topics, "", within(limit, leaders(cluster)).await);
    checks.add(Layer::Coordinator, "", within(limit, coordinator(cluster)).await);
    checks.add(Layer::Authorisation, "", within(limit, allowed(cluster)).await);
    checks.add(Layer::Clock, "", within(limit, clock(cluster)).await);
}

async fn within(limit: Duration, check: impl Future<Output = Result<String, Problem>>) -> Result<String, Problem> {
    timeout(limit, check).await.unwrap_or(Err(Problem::Silent(limit.as_secs_f32())))
}

/// Goes where the broker says that it is, as every client will, and looks whether it is the same cluster.
async fn advertised_one(
    broker: i32,
    advertised: &Address,
    given: &Address,
    cluster: &Cluster,
) -> Result<String, Problem> {
    if advertised == given {
        return Ok("the address that was given".to_owned());
    }
    let options = cluster.options();
    let limit = options.connect_timeout;
    let go = async {
        let places = door::resolve(advertised, limit).await?;
        let seen = door::reach(advertised, &places, limit).await?;
        let there = Cluster::connect(vec![advertised.clone()], options.clone()).await;
        let there = there.map_err(|error| Problem::of(Layer::Advertised, &error))?;
        match (cluster.id(), there.id()) {
            (Some(wanted), Some(found)) if wanted != found => Err(Problem::OtherCluster { wanted, found }),
            _ => Ok(seen),
        }
    };
    go.await.map_err(|why| {
        let (advertised, given) = (advertised.clone(), given.clone());
        Problem::Advertised { broker, advertised, given, why: Box::new(why) }
    })
}

async fn leaders(cluster: &Cluster) -> Result<String, Problem> {
    let topics = topics::list(cluster, true).await.map_err(|error| Problem::of(Layer::Topics, &error))?;
    let without: Vec<String> = topics
        .iter()
        .filter(|topic| topic.without_leader > 0)
        .map(|topic| format!("{} ({})", topic.name, topic.without_leader))
        .collect();
    if !without.is_empty() {
        return Err(Problem::Leaderless(format!("partitions of {} are", few(&without))));
    }
    Ok(match topics.iter().filter(|topic| !topic.internal).count() {
        0 => "none yet".to_owned(),
        1 => "1, and its partitions have leaders".to_owned(),
        count => format!("{count}, and their partitions have leaders"),
    })
}

async fn coordinator(cluster: &Cluster) -> Result<String, Problem> {
    let failed = |error: Error| Problem::of(Layer::Coordinator, &error);
    // Apache Kafka makes its topic for groups when somebody asks; the embedded broker keeps none.
    let topics = cluster.topics().await.map_err(failed)?;
    if !topics.iter().any(|topic| &*topic.name == "__consumer_offsets") {
        return Ok("not asked: there is no __consumer_offsets yet, and the question would make it".to_owned());
    }
    let node = cluster.group_coordinator(GROUP).await.map_err(failed)?;
    Ok(format!("broker {node} answers for a group"))
}

async fn allowed(cluster: &Cluster) -> Result<String, Problem> {
    let told = cluster.allowed().await.map_err(|error| Problem::of(Layer::Authorisation, &error))?;
    let Some(topics) = told else { return Ok("this broker does not tell".to_owned()) };
    let count = |may: fn(&Allowed) -> bool| topics.iter().filter(|topic| may(topic)).count();
    let (read, write, all) = (count(|topic| topic.read), count(|topic| topic.write), topics.len());
    match all {
        0 => Ok("no topic is there, or none that this user may see".to_owned()),
        _ if read == 0 && write == 0 => {
            let names: Vec<String> = topics.iter().map(|topic| topic.topic.to_string()).collect();
            Err(Problem::NothingAllowed(few(&names)))
        }
        _ => Ok(format!("of {all} it may read {read} and write {write}")),
    }
}

async fn clock(cluster: &Cluster) -> Result<String, Problem> {
    match cluster.clock_ahead().await.map_err(|error| Problem::of(Layer::Clock, &error))? {
        None => Ok("this broker does not tell".to_owned()),
        Some(0) => Ok("the controller's and this machine's tell the same time".to_owned()),
        Some(ahead_ms) if ahead_ms.abs() >= CLOCKS_DIFFER_MS => Err(Problem::Clock { ahead_ms }),
        Some(ahead_ms) => Ok(format!("the controller's is {}", apart(ahead_ms))),
    }
}

/// How far a clock is from this machine's.
pub(super) fn apart(ahead_ms: i64) -> String {
    let seconds = ahead_ms.unsigned_abs() as f64 / 1000.0;
    format!("{seconds:.1} s {} this machine's", if ahead_ms < 0 { "behind" } else { "ahead of" })
}

/// The first few of many.
fn few(names: &[String]) -> String {
    match names {
        [a, b, c, rest @ ..] if !rest.is_empty() => format!("{a}, {b}, {c} and {} more", rest.len()),
        names => names.join(", "),
    }
}
