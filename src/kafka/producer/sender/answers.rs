//! What became of the batches: what a broker's answer, or none, makes of each.

use std::{collections::HashMap, sync::Arc};

use kafka_protocol::messages::{ProduceResponse, produce_response::PartitionProduceResponse};
use tokio::time::Instant;

use super::{Event, LaneKey, Link, METADATA_AGE, Sender, halves::halves};
use crate::kafka::{
    error::{Code, Error},
    producer::{
        Acks, Batch, Delivery, Outcome, Payload, Place,
        lane::Lane,
        transaction::{self, Transaction},
    },
};

impl Sender {
    pub(super) fn handle(&mut self, event: Event) {
        match event {
            Event::Connected(node, Ok(connection)) => {
                self.unreachable.remove(&node);
                self.links.insert(node, Link::Open(connection));
            }
            Event::Connected(node, Err(error)) if !error.is_transient() => {
                tracing::warn!(broker = node, %error, "a leader does not let us in");
                self.links.insert(node, Link::Down(Instant::now() + self.backoff.pause()));
                let led = |key: &&LaneKey| self.cluster.leader(&self.names[&key.0], key.1) == Some(node);
                let keys: Vec<LaneKey> = self.lanes.keys().filter(led).copied().collect();
                self.fail_lanes(&keys, error);
            }
            Event::Connected(node, Err(error)) => {
                tracing::warn!(broker = node, %error, "cannot reach a leader; trying again");
                self.unreachable.insert(node, error.reason());
                self.links.insert(node, Link::Down(Instant::now() + self.backoff.pause()));
                self.metadata_wanted = true;
            }
            Event::Metadata(result) => {
                self.metadata_asked = false;
                self.metadata_due = Instant::now() + METADATA_AGE;
                if let Err(error) = result {
                    tracing::warn!(%error, "cannot ask for leaders; trying again");
                    self.pause();
                }
                for name in self.accumulator.topic_names() {
                    if let Some(topic) = self.cluster.known(&name) {
                        self.accumulator.register(&name, topic.partitions.len());
                    }
                }
                let leaderless = |(key, lane): (&LaneKey, &Lane)| {
                    !lane.is_idle() && self.cluster.leader(&self.names[&key.0], key.1).is_none()
                };
                if self.lanes.iter().any(leaderless) {
                    self.pause(); // asking again at once would bring the same
                }
            }
            Event::Produced(node, batches, result) => {
                if let Some(count) = self.requests.get_mut(&node) {
                    *count = count.saturating_sub(1);
                }
                match result {
                    Ok(response) => self.answered(batches, &response),
                    Err(error) => self.unanswered(batches, &error),
                }
            }
        }
    }

    fn answered(&mut self, batches: Vec<Batch>, response: &ProduceResponse) {
        if self.config.acks == Acks::None {
            for batch in batches {
                self.acknowledged(batch, None);
            }
            return;
        }
        let mut answers: HashMap<(&str, i32), &PartitionProduceResponse> = HashMap::new();
        for topic in &response.responses {
            answers
                .extend(topic.partition_responses.iter().map(|answer| ((topic.name.as_str(), answer.index), answer)));
        }
        let mut trouble = false;
        for batch in batches {
            let name = Arc::clone(&self.names[&batch.topic]);
            match answers.get(&(&*name, batch.partition)) {
                Some(answer) if answer.error_code == 0 => self.acknowledged(batch, Some(answer.base_offset)),
                Some(answer) => trouble |= self.refused(batch, answer),
                None => {
                    trouble = true;
                    self.come_back(batch, true);
                }
            }
        }
        if trouble {
            self.metadata_wanted = true;
            self.pause();
        } else {
            self.backoff.reset();
        }
    }

    fn unanswered(&mut self, batches: Vec<Batch>, error: &Error) {
        tracing::warn!(%error, batches = batches.len(), "a produce request got no answer; sending it again");
        for batch in batches {
            if error.is_transient() {
                self.lane(&batch).trouble = Some(error.reason());
                self.come_back(batch, true);
            } else {
                self.lane(&batch).failed();
                self.end(batch, Outcome::Failed(error.clone()));
            }
        }
        self.metadata_wanted = true;
        self.pause();
    }

    fn acknowledged(&mut self, batch: Batch, base_offset: Option<i64>) {
        self.lane(&batch).acknowledged();
        self.end(batch, Outcome::Acknowledged { base_offset: base_offset.filter(|&offset| offset >= 0) });
    }

    /// The broker refused a batch. True where a pause and new leaders may help.
    fn refused(&mut self, mut batch: Batch, answer: &PartitionProduceResponse) -> bool {
        use kafka_protocol::error::ResponseError as E;
        let code = Code(answer.error_code);
        let name = Arc::clone(&self.names[&batch.topic]);
        let of_records = answer.record_errors.iter().filter_map(|error| error.batch_index_error_message.as_ref());
        let action = match answer.error_message.as_ref().into_iter().chain(of_records).find(|text| !text.is_empty()) {
            Some(message) => format!("producing to {name}[{}] ({message})", batch.partition),
            None => format!("producing to {name}[{}]", batch.partition),
        };
        let error = Error::broker(action, answer.error_code);
        let fenced = transaction::is_fence(answer.error_code);
        self.lane(&batch).trouble = Some(error.reason());
        match code.known() {
            Some(E::DuplicateSequenceNumber) => {
                self.acknowledged(batch, None);
                false
            }
            // Appended, but not on enough replicas yet; asked again, the broker answers when it is.
            Some(E::NotEnoughReplicasAfterAppend | E::RequestTimedOut) => {
                self.come_back(batch, true);
                true
            }
            Some(E::OutOfOrderSequenceNumber | E::UnknownProducerId)
                if self.transaction.is_none() || self.lane(&batch).is_retrying() =>
            {
                let behind_another = self.lane(&batch).is_retrying();
                let was_unknown = batch.ambiguous;
                if !behind_another && was_unknown {
                    // The broker forgot this producer; whether it had the batch before, nobody can say any more.
                    self.lane(&batch).failed();
                    self.end(batch, Outcome::Unknown(error));
                    return false;
                }
                if !behind_another {
                    self.lane(&batch).renew();
                }
                batch.ambiguous = false; // refused: certainly not in the log
                self.come_back(batch, false);
                false
            }
            Some(E::MessageTooLarge | E::RecordListTooLarge | E::InvalidRecord | E::InvalidTimestamp)
                if batch.count > 1 =>
            {
                self.split(batch, &error);
                false
            }
            Some(_) if fenced && self.transaction.is_some() => {
                let error = self.transaction.as_ref().map_or(error, Transaction::fenced);
                self.fail_transaction(error.clone());
                self.lane(&batch).failed();
                self.end(batch, Outcome::Failed(error));
                false
            }
            // Said before anything is appended.
            Some(E::NotEnoughReplicas | E::CorruptMessage) => {
                self.come_back(batch, false);
                true
            }
            // Said before, or by a leader that had appended it and lost its place, or its disk, while it waited for the
            // replicas (Kafka's DelayedProduce): the next leader may have the batch.
            Some(known) if known.is_retriable() => {
                self.come_back(batch, true);
                true
            }
            _ => {
                self.fail_transaction(error.clone());
                self.lane(&batch).failed();
                self.end(batch, Outcome::Failed(error));
                false
            }
        }
    }

    fn come_back(&mut self, mut batch: Batch, ambiguous: bool) {
        batch.ambiguous |= ambiguous;
        self.lane(&batch).returned(batch);
    }

    /// Halves a batch that the broker refused for some record in it, so that in the end only that record fails. The
    /// records keep their places in the sequence.
    fn split(&mut self, batch: Batch, error: &Error) {
        if matches!(error.code(), Some(kafka_protocol::error::ResponseError::MessageTooLarge)) {
            self.accumulator.shrink(batch.topic, batch.size() / 2);
        }
        let key = (batch.topic, batch.partition);
        match halves(batch, self.config.compression) {
            Ok(halves) => {
                self.accumulator.split();
                self.lanes.entry(key).or_default().push_halves(halves);
            }
            Err(failed) => {
                let (batch, error) = *failed;
                self.lane(&batch).failed();
                self.end(batch, Outcome::Failed(error));
            }
        }
    }

    pub(super) fn lane(&mut self, batch: &Batch) -> &mut Lane {
        self.lanes.entry((batch.topic, batch.partition)).or_default()
    }

    /// Says how a batch ended, to everybody who waits for it.
    pub(super) fn end(&mut self, mut batch: Batch, outcome: Outcome) {
        for waiting in batch.waiters.drain(..) {
            let receipt = match &outcome {
                Outcome::Acknowledged { base_offset } => {
                    let offset = base_offset.map(|base| base + i64::from(waiting.index - batch.first));
                    Ok(Place { partition: batch.partition, offset })
                }
                Outcome::Failed(error) | Outcome::Unknown(error) => Err(error.clone()),
            };
            let _ = waiting.waiter.send(receipt); // the caller may have gone
        }
        (self.on_delivery)(Delivery {
            topic: self.names.get(&batch.topic).cloned().unwrap_or_else(|| "".into()),
            partition: batch.partition,
            batch: batch.id,
            first: batch.first,
            count: batch.count,
            outcome,
        });
        let buffer = match batch.payload {
            Payload::Sealed(bytes) if bytes.is_unique() => Some(Vec::from(bytes)),
            _ => None,
        };
        self.accumulator.ended(batch.held, buffer);
    }

    pub(super) fn fail_lanes(&mut self, keys: &[LaneKey], error: Error) {
        for key in keys {
            let gone = self.lanes.get_mut(key).map(|lane| lane.take_out(|_| true)).unwrap_or_default();
            for batch in gone {
                self.end(batch, Outcome::Failed(error.clone()));
            }
        }
    }
}
