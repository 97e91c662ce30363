//! A shard that is held: its lease, its fence, and batches as Kafka transactions.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{LEASE, Outgoing, RelayError, Run};
use crate::{
    app::{
        crash::{self, Crash},
        produce::{Appended, Ended, Options, Outbound, Receipt, Receipts},
    },
    kafka::{Acks, Cluster, Code, Compression, Error, TopicNumber},
    store::{Lease, Store},
};

/// A commit whose answer did not come is asked for again: the coordinator knows a repeat.
const COMMITS: u32 = 3;

/// A record that is refused for what it is.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// [`Outgoing::place`]
    pub place: u64,
    pub reason: String,
    /// Another try may bring something else: somebody may make the topic.
    pub may_pass: bool,
}

/// What came of a batch.
#[derive(Debug)]
pub enum Batch {
    /// In the topics; the receipts are in the order of the records.
    Published(Vec<Receipt>),
    /// Rolled back, because of these; the others may well be published without them.
    Refused(Vec<Refusal>),
}

/// A shard that this process holds.
pub struct Shard {
    store: Store,
    cluster: Cluster,
    lease: Lease,
    renewed: Instant,
    outbound: Outbound,
    topics: HashMap<String, TopicNumber>,
    crash: Crash,
}

impl Shard {
    /// Takes the shard, if nobody holds it, and fences whoever held it before. None, too, when it is told to stop meanwhile.
    pub async fn take(run: &Run<'_>, name: &str) -> Result<Option<Self>, RelayError> {
        let Run { store, cluster, options, crash, stop, .. } = *run;
        // two relays of one process are two owners as well
        let owner = uuid::Uuid::now_v7().to_string();
        let Some(lease) = store.acquire(name, &owner, LEASE).await? else { return Ok(None) };
        let renewed = Instant::now();
        let fenced = async { Ok(fence(store, cluster, name).await?) };
        let fenced = tokio::select! {
            fenced = options.within("taking over the publishing", fenced) => fenced.map(Some),
            () = stop.cancelled() => Ok(None),
        };
        let outbound = match fenced {
            Ok(Some(outbound)) => outbound,
            none => {
                store.release(&lease).await?; // the next try, or whoever comes next, need not wait for its end
                return none.map(|_| None);
            }
        };
        let (store, cluster, crash) = (store.clone(), cluster.clone(), crash.clone());
        Ok(Some(Self { store, cluster, lease, renewed, outbound, topics: HashMap::new(), crash }))
    }

    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Keeps the lease, between batches: nothing waits for that then.
    pub async fn renew(&mut self) -> Result<(), RelayError> {
        self.renew_after(LEASE / 3).await
    }

    async fn renew_after(&mut self, age: Duration) -> Result<(), RelayError> {
        if self.renewed.elapsed() > age {
            self.store.renew(&self.lease, LEASE).await?;
            self.renewed = Instant::now();
        }
        Ok(())
    }

    /// Publishes all or none, as one Kafka transaction.
    ///
    /// # Errors
    /// What is about no record: a broker that is away, a newer holder. The transaction is rolled back then, or will be by
    /// the next holder of the shard; this one is of no use any more.
    pub async fn publish(&mut self, records: &[Outgoing]) -> Result<Batch, RelayError> {
        self.renew_after(LEASE / 2).await?;
        let refused = self.learn_topics(records).await?;
        if !refused.is_empty() {
            return Ok(Batch::Refused(refused));
        }
        self.outbound.begin().await?;
        let refused = self.send(records).await;
        if !matches!(&refused, Ok(refused) if refused.is_empty()) {
            let _ = self.outbound.abort().await; // the next InitProducerId does it otherwise
            self.outbound.receipts();
            let refused = refused?;
            // a batch that was refused leaves a gap in the producer's numbers: a new epoch begins them anew
            self.outbound = fence(&self.store, &self.cluster, &self.lease.name).await?;
            self.topics.clear();
            return Ok(Batch::Refused(refused));
        }
        self.crash.here(crash::RELAY_AFTER_SEND);
        self.commit().await?;
        self.crash.here(crash::RELAY_AFTER_ACK);
        let mut receipts = self.outbound.receipts();
        receipts.sort_by_key(|receipt| receipt.number);
        Ok(Batch::Published(receipts))
    }

    async fn learn_topics(&mut self, records: &[Outgoing]) -> Result<Vec<Refusal>, RelayError> {
        let mut refused: Vec<Refusal> = Vec::new();
        for record in records {
            if self.topics.contains_key(&record.topic) {
                continue;
            }
            match self.outbound.topic(&record.topic).await {
                Ok(number) => drop(self.topics.insert(record.topic.clone(), number)),
                Err(error) => refused.push(refusal(record, &error).ok_or(error)?),
            }
        }
        Ok(refused)
    }

    /// Sends all of them, and waits for each; gives those that are refused for what they are.
    async fn send(&self, records: &[Outgoing]) -> Result<Vec<Refusal>, Error> {
        let mut refused = Vec::new();
        let mut rest = records.iter().enumerate().peekable();
        while rest.peek().is_some() {
            let full = {
                let mut door = self.outbound.door();
                let mut full = false;
                while let Some((at, record)) = rest.peek() {
                    match record.append(&mut door, self.topics[&record.topic], *at as u64) {
                        Ok(Appended::Full) => {
                            full = true;
                            break;
                        }
                        Ok(Appended::Yes) => {}
                        Err(error) => refused.push(refusal(record, &error).ok_or(error)?),
                    }
                    rest.next();
                }
                full
            };
            if full {
                self.outbound.room().await?;
            }
        }
        self.outbound.flush().await?;
        let tally = self.outbound.tally();
        // an outbound with a failure in it is given up, so all failures are of this batch
        if tally.failed + tally.unknown == 0 {
            return Ok(refused);
        }
        for receipt in self.outbound.receipts() {
            if let (Ended::Failed(error), Some(record)) = (&receipt.outcome, records.get(receipt.number as usize)) {
                refused.extend(refusal(record, error));
            }
        }
        match tally.error {
            Some(error) if refused.is_empty() => Err(error),
            _ => Ok(refused),
        }
    }

    async fn commit(&self) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.outbound.commit().await {
                Err(Error::TimedOut { .. }) if tries < COMMITS => {}
                result => return result,
            }
        }
    }

    /// Gives the shard to whoever wants it next.
    pub async fn release(self) -> Result<(), RelayError> {
        Ok(self.store.release(&self.lease).await?)
    }
}

/// InitProducerId: whoever had the shard before is refused from now on, and its open transaction rolled back.
async fn fence(store: &Store, cluster: &Cluster, name: &str) -> Result<Outbound, Error> {
    let options = Options {
        acks: Acks::All,
        compression: Compression::None,
        linger: None,
        delivery_timeout: LEASE,
        receipts: Receipts::Numbers,
        transactional_id: Some(format!("kafkalab.{}.{name}", store.id()).into()),
    };
    Outbound::open(cluster.clone(), options).await
}

/// None: the error is about something else than the record.
fn refusal(record: &Outgoing, error: &Error) -> Option<Refusal> {
    const ITS_OWN: [Code; 6] = [
        Code::MESSAGE_TOO_LARGE,
        Code::RECORD_LIST_TOO_LARGE,
        Code::INVALID_RECORD,
        Code::INVALID_TOPIC,
        Code::INVALID_TIMESTAMP,
        Code::POLICY_VIOLATION,
    ];
    const ITS_TOPICS: [Code; 2] = [Code::UNKNOWN_TOPIC, Code::TOPIC_AUTHORIZATION_FAILED];
    let is_one_of = |codes: &[Code]| codes.iter().any(|code| error.is(*code));
    let may_pass = matches!(error, Error::UnknownTopic { .. }) || is_one_of(&ITS_TOPICS);
    let its_own = matches!(error, Error::Invalid(_)) || is_one_of(&ITS_OWN);
    (may_pass || its_own).then(|| Refusal { place: record.place, reason: error.to_string(), may_pass })
}
