//! Who gets which partition: the rules by which a group's leader divides them.
//!
//! ```text
//!  members (topics wanted, partitions owned) --+
//!                                              +--> assign --> plan: each partition with one owner
//!  topics (how many partitions)  --------------+
//! ```
//!
//! All three are Kafka's own, under Kafka's names, so that a group may be mixed of kafkalab's, Java's and librdkafka's
//! members. Racks are not looked at. Pure: no clock, no connection, and the order of the input does not matter.
//!
//! Read next: `assignor/range.rs` (the shortest), `assignor/cooperative_sticky.rs` (the one to use).

mod cooperative_sticky;
mod range;
mod round_robin;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{super::record::TopicPartition, protocol::Subscription};

/// How the leader of a group divides its partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assignor {
    /// As even as can be, with as few partitions changing owners as that allows, and only those pause (KIP-429).
    #[default]
    CooperativeSticky,
    /// Neighbours to the same member, topic by topic: the same number of two topics with equal counts has one owner.
    Range,
    /// One after the other, over all topics.
    RoundRobin,
}

impl Assignor {
    const ALL: [Assignor; 3] = [Assignor::CooperativeSticky, Assignor::Range, Assignor::RoundRobin];

    /// As members of a group agree on it.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::CooperativeSticky => "cooperative-sticky",
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
        }
    }

    /// True where members keep what they own through a rebalance, and give up only what is to change owners.
    pub fn is_cooperative(self) -> bool {
        self == Assignor::CooperativeSticky
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Divides the partitions of the topics that members subscribe to. Topics that are not in `partitions` (name and
    /// count) have none.
    ///
    /// The plan of a cooperative assignor may leave partitions out: those that change owners are nobody's until their
    /// old owners have given them up and the group has joined again.
    pub(crate) fn assign(self, members: &[Member], partitions: &BTreeMap<Arc<str>, i32>) -> Plan {
        let mut plan = match self {
            Assignor::CooperativeSticky => cooperative_sticky::assign(members, partitions),
            Assignor::Range => range::assign(members, partitions),
            Assignor::RoundRobin => round_robin::assign(members, partitions),
        };
        for member in members {
            plan.entry(member.id.clone()).or_default().sort_unstable();
        }
        plan
    }
}

/// A member of the group, as the coordinator names it to the leader.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345): stays the same when the member starts anew.
    pub instance_id: Option<Arc<str>>,
    pub subscription: Subscription,
}

/// Member id -> its partitions; every member is a key.
pub(crate) type Plan = BTreeMap<Arc<str>, Vec<TopicPartition>>;

/// Each topic that has subscribers, with them in the order in which Kafka serves them: static members first, by their
/// instance id, so that they get the same again under a new member id (`AbstractPartitionAssignor.MemberInfo`).
fn subscribers(members: &[Member]) -> BTreeMap<&Arc<str>, Vec<&Member>> {
    let mut topics = BTreeMap::<&Arc<str>, Vec<&Member>>::new();
    for member in ranked(members) {
        for topic in member.subscription.topics.iter().collect::<BTreeSet<_>>() {
            topics.entry(topic).or_default().push(member);
        }
    }
    topics
}

fn ranked(members: &[Member]) -> Vec<&Member> {
    let mut ranked: Vec<&Member> = members.iter().collect();
    ranked.sort_by_key(|member| (member.instance_id.is_none(), member.instance_id.as_ref(), &member.id));
    ranked
}

#[cfg(test)]
mod tests;
