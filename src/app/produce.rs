//! Producing to a topic, with a tally of how the records ended.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::kafka::{
    Acks, AppendError, Appender, Cluster, Compression, Delivery, Error, NewRecord, Outcome, Producer, ProducerConfig,
    Ticket, TopicNumber,
};

#[derive(Clone, Debug)]
pub struct Options {
    pub acks: Acks,
    pub compression: Compression,
    pub linger: Option<Duration>,
    pub delivery_timeout: Duration,
    /// What is kept of each record, for [`Outbound::receipts`].
    pub receipts: Receipts,
    /// Records go in transactions under this id, and whoever had it before is fenced.
    pub transactional_id: Option<Arc<str>>,
}

/// What is kept of each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receipts {
    #[default]
    None,
    /// Receipts without keys: the caller knows the record by its number.
    Numbers,
    Keys,
}

/// How one record ended.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The number that the caller gave.
    pub number: u64,
    pub topic: Arc<str>,
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub outcome: Ended,
}

#[derive(Clone, Debug)]
pub enum Ended {
    /// In the log; the offset where the broker said it.
    Acknowledged(Option<i64>),
    Failed(Error),
    Unknown(Error),
}

/// How the records ended so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub acknowledged: u64,
    pub failed: u64,
    pub unknown: u64,
    /// Each reason once, with the number of records.
    pub reasons: BTreeMap<String, u64>,
    /// The last error, for the exit code.
    pub error: Option<Error>,
    /// Per partition: how many, and the last offset.
    pub partitions: BTreeMap<(Arc<str>, i32), (u64, Option<i64>)>,
}

/// The records of a batch: number and key of each, and how many of them have ended. A batch that was split ends in
/// pieces, in any order.
#[derive(Debug, Default)]
struct Open {
    records: Vec<(u64, Option<Vec<u8>>)>,
    ended: usize,
}

#[derive(Debug, Default)]
struct Ledger {
    tally: Tally,
    /// What is not known to have ended, by batch and place.
    open: HashMap<u64, Open>,
    /// Deliveries can come before their records' entries are made only within one append; see [`Door::append`].
    receipts: Vec<Receipt>,
    keep: Receipts,
}

/// A producer and its ledger.
#[derive(Debug)]
pub struct Outbound {
    producer: Producer,
    ledger: Arc<Mutex<Ledger>>,
    keep: Receipts,
}

/// What came of an append.
#[derive(Debug)]
pub enum Appended {
    Yes,
    /// No memory left: close the door, wait for [`Outbound::room`], try again.
    Full,
}

/// Open for a run of records; see [`Appender`].
#[derive(Debug)]
pub struct Door<'a> {
    appender: Appender<'a>,
    ledger: &'a Mutex<Ledger>,
    keep: Receipts,
}

impl Outbound {
    pub async fn open(cluster: Cluster, options: Options) -> Result<Self, Error> {
        let mut config = ProducerConfig {
            acks: options.acks,
            compression: options.compression,
            delivery_timeout: options.delivery_timeout,
            transactional_id: options.transactional_id,
            ..ProducerConfig::default()
        };
        if let Some(linger) = options.linger {
            config.linger = linger;
        }
        let ledger = Arc::new(Mutex::new(Ledger { keep: options.receipts, ..Ledger::default() }));
        let entries = Arc::clone(&ledger);
        let producer = Producer::start(cluster, config, move |delivery| lock(&entries).enter(delivery)).await?;
        Ok(Self { producer, ledger, keep: options.receipts })
    }

    /// Makes a topic known, and made where the broker makes topics.
    pub async fn topic(&self, name: &str) -> Result<TopicNumber, Error> {
        self.producer.topic(name).await
    }

    pub fn door(&self) -> Door<'_> {
        Door { appender: self.producer.appender(), ledger: &self.ledger, keep: self.keep }
    }

    /// Waits until there may be memory again.
    pub async fn room(&self) -> Result<(), Error> {
        self.producer.space().await
    }

    /// Waits until every record has ended.
    pub async fn flush(&self) -> Result<(), Error> {
        self.producer.flush().await
    }

    /// Begins a transaction; see [`Producer::begin`].
    pub async fn begin(&self) -> Result<(), Error> {
        self.producer.begin().await
    }

    /// Its records become readable together; see [`Producer::commit`].
    pub async fn commit(&self) -> Result<(), Error> {
        self.producer.commit().await
    }

    /// Its records are never seen by who reads committed ones; see [`Producer::abort`].
    pub async fn abort(&self) -> Result<(), Error> {
        self.producer.abort().await
    }

    pub fn tally(&self) -> Tally {
        lock(&self.ledger).tally.clone()
    }

    /// Records that have ended, the failed and unknown ones included.
    pub fn ended(&self) -> u64 {
        let tally = &lock(&self.ledger).tally;
        tally.acknowledged + tally.failed + tally.unknown
    }

    /// Takes the receipts that have come.
    pub fn receipts(&self) -> Vec<Receipt> {
        std::mem::take(&mut lock(&self.ledger).receipts)
    }
}

impl Door<'_> {
    /// Appends a record; `number` comes back in its receipt.
    #[inline]
    pub fn append(
        &mut self,
        topic: TopicNumber,
        partition: Option<i32>,
        record: &NewRecord<'_>,
        number: u64,
    ) -> Result<Appended, Error> {
        match self.appender.append(topic, partition, record) {
            Ok(ticket) => {
                // The sender cannot report this batch before the door is closed: it takes the same lock.
                match self.keep {
                    Receipts::None => {}
                    Receipts::Numbers => lock(self.ledger).remember(ticket, number, None),
                    Receipts::Keys => lock(self.ledger).remember(ticket, number, record.key),
                }
                Ok(Appended::Yes)
            }
            Err(AppendError::Full) => Ok(Appended::Full),
            Err(AppendError::Refused(error)) => Err(error),
        }
    }
}

impl Ledger {
    fn remember(&mut self, ticket: Ticket, number: u64, key: Option<&[u8]>) {
        self.open.entry(ticket.batch).or_default().records.push((number, key.map(<[u8]>::to_vec)));
    }

    fn enter(&mut self, delivery: Delivery) {
        let count = u64::from(delivery.count);
        match &delivery.outcome {
            Outcome::Acknowledged { base_offset } => {
                self.tally.acknowledged += count;
                let place = self.tally.partitions.entry((Arc::clone(&delivery.topic), delivery.partition)).or_default();
                place.0 += count;
                place.1 = base_offset.map(|base| base + i64::from(delivery.count) - 1).or(place.1);
            }
            Outcome::Failed(error) => {
                self.tally.failed += count;
                self.tally.blame(error, count);
            }
            Outcome::Unknown(error) => {
                self.tally.unknown += count;
                self.tally.blame(error, count);
            }
        }
        if self.keep != Receipts::None {
            self.write_receipts(&delivery);
        }
    }

    fn write_receipts(&mut self, delivery: &Delivery) {
        let Some(open) = self.open.get_mut(&delivery.batch) else { return };
        let (first, behind) = (delivery.first as usize, (delivery.first + delivery.count) as usize);
        for (index, entry) in open.records.iter_mut().enumerate().take(behind).skip(first) {
            let key = entry.1.take();
            let outcome = match &delivery.outcome {
                Outcome::Acknowledged { base_offset } => {
                    Ended::Acknowledged(base_offset.map(|base| base + (index - first) as i64))
                }
                Outcome::Failed(error) => Ended::Failed(error.clone()),
                Outcome::Unknown(error) => Ended::Unknown(error.clone()),
            };
            let (topic, partition) = (Arc::clone(&delivery.topic), delivery.partition);
            self.receipts.push(Receipt { number: entry.0, topic, partition, key, outcome });
        }
        open.ended += delivery.count as usize;
        if open.ended >= open.records.len() {
            self.open.remove(&delivery.batch);
        }
    }
}

impl Tally {
    fn blame(&mut self, error: &Error, count: u64) {
        *self.reasons.entry(error.to_string()).or_default() += count;
        self.error = Some(error.clone());
    }
}

fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
