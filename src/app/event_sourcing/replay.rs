//! A replay: events of the log once more, to whoever wants to build something from them.
//!
//! What a replay sends is marked with the header `kafkalab-replay`, whose value names the replay: handlers with effects
//! outside of their own store (mails, payments) pass such a record by, and inboxes know the event ids anyway. Nothing is
//! marked as published, and no checkpoint moves.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use serde::Serialize;
use uuid::Uuid;

use super::publish::{outgoing, replayed};
use crate::{
    app::{
        produce::{Appended, Options as Sending, Outbound, Receipts},
        relay::{Outgoing, RelayError, Stop},
    },
    kafka::{Acks, Cluster, Compression, Error, TopicNumber},
    store::Store,
};

/// Where the events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere: each is read and counted.
    Nowhere,
    /// To the topics that they were published to.
    OwnTopics,
    /// All to this one.
    Topic(String),
}

#[derive(Clone, Debug)]
pub struct Options {
    /// The first position.
    pub from: u64,
    /// The last position; the log's end where `None`.
    pub to: Option<u64>,
    pub target: Target,
    pub prefix: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub replay_id: Option<Uuid>,
    pub events: u64,
    pub by_type: BTreeMap<String, u64>,
    /// Orders whose first event is among them.
    pub orders: u64,
}

/// Reads the events and sends them where they are to go.
///
/// # Errors
/// An event of an unknown type, a store that fails, a broker that refuses: what was sent before stays sent.
pub async fn replay(
    store: &Store,
    cluster: Option<&Cluster>,
    options: &Options,
    stop: &Stop,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, RelayError> {
    let id = Uuid::now_v7();
    let outbound = match (cluster, &options.target) {
        (Some(cluster), Target::OwnTopics | Target::Topic(_)) => Some(open(cluster).await?),
        _ => None,
    };
    let mut report = Report { replay_id: outbound.is_some().then_some(id), ..Report::default() };
    let mut topics = HashMap::new();
    let mut pages = store.all_pages(options.from.saturating_sub(1));
    'log: loop {
        let page = pages.next().await?;
        if page.is_empty() || stop.is_cancelled() {
            break;
        }
        for event in &page {
            if options.to.is_some_and(|to| event.position > to) {
                break 'log;
            }
            match &outbound {
                Some(outbound) => {
                    let mut record = replayed(event, &options.prefix, id)?;
                    if let Target::Topic(topic) = &options.target {
                        record.topic.clone_from(topic);
                    }
                    send(outbound, &mut topics, &record, event.position).await?;
                }
                // unreadable ones are found in a dry run as well
                None => drop(outgoing(event, &options.prefix)?),
            }
            report.events += 1;
            report.orders += u64::from(event.version == 1);
            *report.by_type.entry(event.event_type.clone()).or_default() += 1;
        }
        progress(page.last().map_or(0, |event| event.position));
    }
    if let Some(outbound) = &outbound {
        outbound.flush().await?;
        if let Some(error) = outbound.tally().error {
            return Err(error.into());
        }
    }
    Ok(report)
}

async fn open(cluster: &Cluster) -> Result<Outbound, Error> {
    let options = Sending {
        acks: Acks::All,
        compression: Compression::None,
        linger: None,
        delivery_timeout: Duration::from_secs(30),
        receipts: Receipts::None,
        transactional_id: None,
    };
    Outbound::open(cluster.clone(), options).await
}

async fn send(
    outbound: &Outbound,
    topics: &mut HashMap<String, TopicNumber>,
    record: &Outgoing,
    number: u64,
) -> Result<(), Error> {
    let topic = match topics.get(&record.topic) {
        Some(topic) => *topic,
        None => {
            let topic = outbound.topic(&record.topic).await?;
            topics.insert(record.topic.clone(), topic);
            topic
        }
    };
    loop {
        let appended = record.append(&mut outbound.door(), topic, number)?;
        match appended {
            Appended::Yes => return Ok(()),
            Appended::Full => outbound.room().await?,
        }
    }
}
