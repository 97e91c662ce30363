//! Transactions on the wire (KIP-98, with KIP-360's recovery): the identity that fences, the partitions that take part,
//! the end.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use kafka_protocol::{
    messages::{
        AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProducerId, TransactionalId,
        add_partitions_to_txn_request::AddPartitionsToTxnTopic,
    },
    protocol::StrBytes,
};

use super::super::{
    cluster::{Cluster, NodeId, lock, retry, topic_name},
    connection::Connection,
    coordinator::Coordinated,
    error::{Code, Error, Result},
    wire::{AddPartitionsToTxn, EndTxn, InitProducerId},
};

/// An idempotent producer's identity: any broker gives one.
pub(super) async fn init_producer_id(cluster: &Cluster) -> Result<(i64, i16)> {
    retry(cluster.options().request_timeout, || async {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(0)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let response = cluster.request::<InitProducerId>(request).await?;
        match response.error_code {
            0 => Ok((response.producer_id.0, response.producer_epoch)),
            code => Err(Error::broker("asking for a producer id", code)),
        }
    })
    .await
}

#[derive(Debug)]
pub(super) struct Transaction {
    id: Arc<str>,
    timeout: Duration,
    pub(super) identity: (i64, i16),
    pub(super) open: bool,
    /// A record failed: nothing but a roll back can follow.
    pub(super) failed: Option<Error>,
    partitions: HashSet<(Arc<str>, i32)>,
    /// To the coordinator, for this id alone: a broker answers a connection in order, and one transaction's end would wait
    /// for another's.
    connection: Mutex<Option<(NodeId, Connection)>>,
}

impl Transaction {
    /// Takes the id over: the coordinator rolls back what its former owner left open and raises the epoch.
    pub(super) async fn start(cluster: &Cluster, id: Arc<str>, timeout: Duration) -> Result<Self> {
        let mut transaction = Self {
            id,
            timeout,
            identity: (-1, -1),
            open: false,
            failed: None,
            partitions: HashSet::new(),
            connection: Mutex::default(),
        };
        transaction.init(cluster).await?;
        Ok(transaction)
    }

    /// With the identity that it has, so that a newer owner of the id is not fenced by an older one (KIP-360).
    async fn init(&mut self, cluster: &Cluster) -> Result<()> {
        let limit = cluster.options().request_timeout;
        let (producer_id, epoch) = self.identity;
        let action = format!("starting transactional id {:?}", self.id);
        let (id, timeout) = (self.wire_id(), self.timeout);
        self.identity = self
            .ask(cluster, limit, action, |connection| {
                let request = InitProducerIdRequest::default()
                    .with_transactional_id(Some(id.clone()))
                    .with_transaction_timeout_ms(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
                    .with_producer_id(ProducerId(producer_id))
                    .with_producer_epoch(epoch);
                async move {
                    let response = connection.request::<InitProducerId>(request).await?;
                    Ok((response.error_code, (response.producer_id.0, response.producer_epoch)))
                }
            })
            .await?;
        Ok(())
    }

    /// Makes partitions part of the transaction, before the first record goes there.
    pub(super) async fn add(&mut self, cluster: &Cluster, wanted: Vec<(Arc<str>, i32)>) -> Result<()> {
        let new: Vec<_> = wanted.into_iter().filter(|partition| !self.partitions.contains(partition)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let topics: Vec<_> = new
            .iter()
            .map(|(topic, partition)| {
                AddPartitionsToTxnTopic::default().with_name(topic_name(topic)).with_partitions(vec![*partition])
            })
            .collect();
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.wire_id())
            .with_v3_and_below_producer_id(ProducerId(self.identity.0))
            .with_v3_and_below_producer_epoch(self.identity.1)
            .with_v3_and_below_topics(topics);
        let limit = cluster.options().request_timeout;
        let action = format!("adding partitions to the transaction of {:?}", self.id);
        self.ask(cluster, limit, action, |connection| {
            let request = request.clone();
            async move {
                let response = connection.request::<AddPartitionsToTxn>(request).await?;
                let results =
                    response.results_by_topic_v3_and_below.iter().flat_map(|topic| &topic.results_by_partition);
                let mut codes = results.map(|result| result.partition_error_code).filter(|&code| code != 0);
                Ok((codes.next().unwrap_or(0), ()))
            }
        })
        .await?;
        self.partitions.extend(new);
        Ok(())
    }

    /// Commits or rolls back. Sent again after a lost connection: the coordinator knows a repeat.
    pub(super) async fn end(&mut self, cluster: &Cluster, commit: bool) -> Result<()> {
        if !self.partitions.is_empty() {
            let request = EndTxnRequest::default()
                .with_transactional_id(self.wire_id())
                .with_producer_id(ProducerId(self.identity.0))
                .with_producer_epoch(self.identity.1)
                .with_committed(commit);
            let word = if commit { "committing" } else { "rolling back" };
            let action = format!("{word} the transaction of {:?}", self.id);
            let limit = cluster.options().request_timeout;
            self.ask(cluster, limit, action, |connection| {
                let request = request.clone();
                async move { Ok((connection.request::<EndTxn>(request).await?.error_code, ())) }
            })
            .await?;
        }
        self.partitions.clear();
        self.open = false;
        if self.failed.take().is_some() {
            self.init(cluster).await?; // sequences have gaps now: a new epoch
        }
        Ok(())
    }

    /// Asks the coordinator, finding it anew when it has moved.
    async fn ask<T, F>(
        &self,
        cluster: &Cluster,
        limit: Duration,
        action: String,
        request: impl Fn(Connection) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<(i16, T)>>,
    {
        let id = &self.id;
        retry(limit, || async {
            let node = cluster.coordinator(Coordinated::Transactions, id).await?;
            let answer = match self.connection(cluster, node).await {
                Ok(connection) => request(connection).await,
                Err(error) => Err(error),
            };
            let error = match answer {
                Ok((0, answer)) => return Ok(answer),
                Ok((code, _)) if is_fence(code) => Error::Fenced { id: Arc::clone(id) },
                Ok((code, _)) if Code(code) == Code::CONCURRENT_TRANSACTIONS => {
                    return Err(Error::broker(&action, code));
                }
                Ok((code, _)) => Error::broker(&action, code),
                Err(error) => error,
            };
            // whatever else went wrong, the next try looks for it again
            cluster.forget_coordinator(Coordinated::Transactions, id);
            Err(error)
        })
        .await
    }

    async fn connection(&self, cluster: &Cluster, node: NodeId) -> Result<Connection> {
        let open = lock(&self.connection).clone();
        if let Some((_, connection)) = open.filter(|(to, connection)| *to == node && !connection.is_closed()) {
            return Ok(connection);
        }
        let connection = cluster.own_connection(node).await?;
        *lock(&self.connection) = Some((node, connection.clone()));
        Ok(connection)
    }

    pub(super) fn fenced(&self) -> Error {
        Error::Fenced { id: Arc::clone(&self.id) }
    }

    pub(super) fn wire_id(&self) -> TransactionalId {
        TransactionalId(StrBytes::from_string(self.id.to_string()))
    }
}

/// The codes that say: someone else has the id.
pub(super) fn is_fence(code: i16) -> bool {
    const INVALID_PRODUCER_EPOCH: i16 = 47;
    const PRODUCER_FENCED: i16 = 90;
    matches!(code, INVALID_PRODUCER_EPOCH | PRODUCER_FENCED)
}
