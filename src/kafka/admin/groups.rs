//! Groups: which there are, who is in them, what each member reads; and deleting them.
//!
//! ```text
//! list      --> every broker, for each knows only the groups that it coordinates
//! describe  --> the group's coordinator: DescribeGroups (classic), then ConsumerGroupDescribe (KIP-848)
//! delete    --> the group's coordinator
//! ```
//!
//! There are two kinds of groups of consumers. In a classic one a member shares out the partitions, and the coordinator
//! passes the outcome on as bytes that it does not read. In a KIP-848 one the coordinator shares them out itself. Each
//! kind is described by a request of its own, which does not know the groups of the other kind. A broker that has never
//! heard of KIP-848 has no groups of it.

mod describe;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{StreamExt, stream};
use kafka_protocol::messages::{DeleteGroupsRequest, ListGroupsRequest, list_groups_response::ListedGroup};

use self::describe::{describe_classic, describe_consumer, describe_either};
use super::Admin;
use crate::kafka::{
    cluster::{NodeId, Role, retry},
    committed::group_id,
    connection::Connection,
    coordinator::Coordinated,
    error::{Code, Error, Result, check},
    record::TopicPartition,
    wire::{DeleteGroups, ListGroups},
};

/// Groups described by one request: an answer holds the subscriptions and assignments of all their members.
const AT_ONCE: usize = 100;
/// Brokers that are asked at the same time.
const BROKERS_AT_ONCE: usize = 8;

/// Which protocol a group's members speak.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKind {
    /// The members share out the partitions among themselves.
    Classic,
    /// The coordinator shares them out (KIP-848).
    Consumer,
    /// Another kind, by Kafka's name for it, such as `share`.
    Other(String),
}

impl GroupKind {
    fn read(name: &str) -> Self {
        match name.to_lowercase() {
            // brokers before 3.8 do not say: they know the one kind
            name if name.is_empty() || name == "classic" => GroupKind::Classic,
            name if name == "consumer" => GroupKind::Consumer,
            name => GroupKind::Other(name),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            GroupKind::Classic => "classic",
            GroupKind::Consumer => "consumer",
            GroupKind::Other(name) => name,
        }
    }
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    pub name: Arc<str>,
    pub kind: GroupKind,
    /// In Kafka's words, such as `Stable` or `Empty`.
    pub state: String,
    /// What its members do: `consumer`, `connect`; empty where only offsets were ever committed.
    pub protocol_type: String,
    /// `None` where the kind cannot be described, or the broker may not say.
    pub members: Option<usize>,
}

/// What each broker told of its groups, by name, and what the others answered instead.
#[derive(Debug, Default)]
pub struct GroupList {
    pub groups: Vec<GroupSummary>,
    pub missing: Vec<Error>,
}

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: Arc<str>,
    pub kind: GroupKind,
    pub state: String,
    pub protocol_type: String,
    /// How partitions are shared out, such as `range`; empty while nobody is in.
    pub assignor: String,
    /// The broker that keeps it.
    pub coordinator: Option<i32>,
    pub members: Vec<Member>,
}

/// A member of a group, as its coordinator knows it. The texts are the member's own: they may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    /// Of a static member (KIP-345): the name under which it comes back.
    pub instance_id: Option<String>,
    pub client_id: String,
    /// Where it connected from, as Kafka writes it (`/10.0.0.1`).
    pub host: String,
    /// In order.
    pub assigned: Vec<TopicPartition>,
}

impl Admin {
    /// The groups that each broker coordinates, by name.
    ///
    /// # Errors
    /// Where no broker at all told of its groups; what single brokers answered instead is in the list.
    pub async fn list_groups(&self) -> Result<GroupList> {
        self.cluster.refresh(&[], false).await?;
        let brokers = self.cluster.brokers();
        let count = brokers.len();
        let asked = stream::iter(brokers).map(|(node, _)| self.groups_of(node)).buffer_unordered(BROKERS_AT_ONCE);
        let mut list = GroupList::default();
        for answer in asked.collect::<Vec<_>>().await {
            match answer {
                Ok(groups) => list.groups.extend(groups),
                Err(error) => list.missing.push(self.waited(error)),
            }
        }
        match list.missing.pop() {
            Some(error) if list.missing.len() + 1 == count => return Err(error),
            error => list.missing.extend(error),
        }
        list.groups.sort_by(|a, b| a.name.cmp(&b.name));
        // a group that moved between two answers stands in both
        list.groups.dedup_by(|a, b| a.name == b.name);
        Ok(list)
    }

    async fn groups_of(&self, node: NodeId) -> Result<Vec<GroupSummary>> {
        retry(self.cluster.options().request_timeout, || async {
            let connection = self.cluster.connection(Role::Control, node).await?;
            connection.require::<ListGroups>("listing groups")?;
            let response = connection.request::<ListGroups>(ListGroupsRequest::default()).await?;
            check(|| format!("listing the groups of broker {node}"), response.error_code)?;
            let mut groups: Vec<GroupSummary> = response.groups.into_iter().map(GroupSummary::from).collect();
            self.count_members(&connection, &mut groups).await?;
            Ok(groups)
        })
        .await
    }

    /// Fills in what a list leaves out. A group that is gone by now keeps its gaps.
    async fn count_members(&self, connection: &Connection, groups: &mut [GroupSummary]) -> Result<()> {
        let names = |kind: GroupKind| -> Vec<Arc<str>> {
            groups.iter().filter(|group| group.kind == kind).map(|group| Arc::clone(&group.name)).collect()
        };
        let (classic, consumer) = (names(GroupKind::Classic), names(GroupKind::Consumer));
        let mut found = HashMap::new();
        for names in classic.chunks(AT_ONCE) {
            let described = describe_classic(connection, names).await?;
            found.extend(described.into_iter().filter_map(Result::ok).map(|group| (Arc::clone(&group.name), group)));
        }
        for names in consumer.chunks(AT_ONCE) {
            let described = describe_consumer(connection, names).await?;
            found.extend(described.into_iter().filter_map(Result::ok).map(|group| (Arc::clone(&group.name), group)));
        }
        for group in groups {
            if let Some(described) = found.remove(&group.name) {
                group.members = Some(described.members.len());
                if group.state.is_empty() {
                    group.state = described.state; // brokers before 2.6 do not list it
                }
            }
        }
        Ok(())
    }

    /// A group of either kind with its members and what each of them reads.
    ///
    /// # Errors
    /// [`Error::UnknownGroup`], [`Error::TimedOut`] where the coordinator was loading or moving for all of the request
    /// time-out, [`Error::OtherGroup`] for a group of another kind (`share`, `streams`).
    pub async fn describe_group(&self, name: &str) -> Result<Group> {
        let described =
            self.cluster.ask_coordinator(name, |connection| async move { describe_either(&connection, name).await });
        match described.await {
            Ok(mut group) => {
                group.coordinator = self.cluster.coordinator(Coordinated::Group, name).await.ok();
                Ok(group)
            }
            Err(Error::UnknownGroup { group }) => Err(match self.other_kind(name).await {
                Some(kind) => Error::OtherGroup { group, kind },
                None => Error::UnknownGroup { group },
            }),
            Err(error) => Err(self.waited(error)),
        }
    }

    /// The kind of a group that both ways of describing deny.
    async fn other_kind(&self, name: &str) -> Option<String> {
        let list = self.list_groups().await.ok()?;
        list.groups.into_iter().find(|group| &*group.name == name).and_then(|group| match group.kind {
            GroupKind::Other(kind) => Some(kind),
            _ => None,
        })
    }

    /// Deletes a group with its committed offsets.
    ///
    /// # Errors
    /// [`Error::UnknownGroup`], [`Code::NON_EMPTY_GROUP`] while members are in, a missing permission.
    pub async fn delete_group(&self, name: &str) -> Result<()> {
        let unheard = AtomicBool::new(false);
        let deleted = self.cluster.ask_coordinator(name, |connection| {
            let unheard = &unheard;
            async move {
                connection.require::<DeleteGroups>("deleting groups")?;
                let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(name)]);
                let response = connection.request::<DeleteGroups>(request).await;
                let response = response.inspect_err(|_| unheard.store(true, Ordering::Relaxed))?;
                let action = format!("deleting group {name:?}");
                match response.results.into_iter().find(|result| result.group_id.as_str() == name) {
                    Some(result) => verdict(action, name, result.error_code, None),
                    None => {
                        Err(Error::malformed(format_args!("the broker, {action}"), "its answer leaves the group out"))
                    }
                }
            }
        });
        match deleted.await {
            // the try that got no answer did it
            Err(Error::UnknownGroup { .. }) if unheard.into_inner() => Ok(()),
            deleted => deleted.map_err(|error| self.waited(error)),
        }
    }

    /// What passes, and did not pass in time, is a time-out.
    pub(super) fn waited(&self, error: Error) -> Error {
        let last_try = error.reason();
        match error {
            Error::Broker { action, code, .. } if code.is_transient() => {
                let limit = self.cluster.options().request_timeout;
                Error::TimedOut { action, limit, last_try: Some(last_try) }
            }
            error => error,
        }
    }
}

impl From<ListedGroup> for GroupSummary {
    fn from(listed: ListedGroup) -> Self {
        Self {
            name: listed.group_id.as_str().into(),
            kind: GroupKind::read(&listed.group_type),
            state: listed.group_state.to_string(),
            protocol_type: listed.protocol_type.to_string(),
            members: None,
        }
    }
}

fn verdict(action: String, group: &str, code: i16, message: Option<&str>) -> Result<()> {
    match Code(code) {
        Code(0) => Ok(()),
        Code::UNKNOWN_GROUP => Err(Error::UnknownGroup { group: group.into() }),
        Code(code) => Err(Error::refused(action, code, message)),
    }
}
