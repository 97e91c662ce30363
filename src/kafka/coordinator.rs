//! Coordinators: the brokers that keep a group's members and offsets, or a transactional id's transactions.

use kafka_protocol::{messages::FindCoordinatorRequest, protocol::StrBytes};

use super::{
    cluster::{Cluster, NodeId, Role, lock, retry},
    connection::Connection,
    error::{Code, Error, Result, check},
    wire::FindCoordinator,
};

/// What is coordinated under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Coordinated {
    Group,
    Transactions,
}

impl Coordinated {
    fn code(self) -> i8 {
        match self {
            Coordinated::Group => 0,
            Coordinated::Transactions => 1,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Coordinated::Group => "group",
            Coordinated::Transactions => "transactional id",
        }
    }
}

impl Cluster {
    /// The broker that coordinates what has this name. One that is being elected is a transient error.
    pub(crate) async fn coordinator(&self, of: Coordinated, name: &str) -> Result<NodeId> {
        if let Some(node) = lock(self.coordinators()).get(&(of, name.to_owned())) {
            return Ok(*node);
        }
        let connection = self.any().await?;
        let key = StrBytes::from_string(name.to_owned());
        let request = FindCoordinatorRequest::default().with_key_type(of.code());
        let request = if connection.require::<FindCoordinator>("finding a coordinator")? >= 4 {
            request.with_coordinator_keys(vec![key])
        } else {
            request.with_key(key)
        };
        let response = connection.request::<FindCoordinator>(request).await?;
        let (code, node) = match response.coordinators.first() {
            Some(found) => (found.error_code, found.node_id.0),
            None => (response.error_code, response.node_id.0),
        };
        check(|| format!("finding the coordinator of {} {name:?}", of.what()), code)?;
        if !self.lists(node) {
            self.refresh(&[], false).await?;
        }
        lock(self.coordinators()).insert((of, name.to_owned()), node);
        Ok(node)
    }

    /// The next question finds the coordinator anew.
    pub(crate) fn forget_coordinator(&self, of: Coordinated, name: &str) {
        lock(self.coordinators()).remove(&(of, name.to_owned()));
    }

    /// Asks a group's coordinator, found anew after each failure that passes (loading, moving, away), within the request
    /// time-out.
    pub(crate) async fn ask_coordinator<T, F: Future<Output = Result<T>>>(
        &self,
        group: &str,
        ask: impl Fn(Connection) -> F,
    ) -> Result<T> {
        retry(self.options().request_timeout, || async {
            let asked = async {
                let node = self.coordinator(Coordinated::Group, group).await?;
                ask(self.connection(Role::Control, node).await?).await
            };
            let answer = asked.await;
            if answer.as_ref().is_err_and(Error::has_moved_coordinator) {
                self.forget_coordinator(Coordinated::Group, group);
            }
            answer
        })
        .await
    }
}

impl Error {
    /// The coordinator is another broker now, or none for the moment.
    pub(crate) fn has_moved_coordinator(&self) -> bool {
        [Code::COORDINATOR_NOT_AVAILABLE, Code::NOT_COORDINATOR].iter().any(|&code| self.is(code))
            || self.is_unreachable()
            || matches!(self, Error::TimedOut { .. })
    }
}
