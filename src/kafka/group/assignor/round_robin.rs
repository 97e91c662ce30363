//! Kafka's `roundrobin`: all partitions of all topics in one line, dealt to the members in turn; who does not subscribe
//! to the topic is passed over. Source: `RoundRobinAssignor.java`.
//!
//! ```text
//! t: 3 partitions, u: 3 partitions, 2 members:   a: t0 t2 u1   b: t1 u0 u2
//! ```
//!
//! Even where all subscribe to the same; lopsided where they do not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{super::super::record::TopicPartition, Member, Plan, ranked};

pub(super) fn assign(members: &[Member], partitions: &BTreeMap<Arc<str>, i32>) -> Plan {
    let ranked: Vec<(&Member, BTreeSet<&Arc<str>>)> =
        ranked(members).into_iter().map(|member| (member, member.subscription.topics.iter().collect())).collect();
    let mut turns = ranked.iter().cycle();
    let mut plan = Plan::new();
    for (topic, &count) in partitions {
        if !ranked.iter().any(|(_, topics)| topics.contains(topic)) {
            continue;
        }
        for partition in 0..count {
            // ends: somebody subscribes, and everybody's turn comes
            if let Some((member, _)) = turns.find(|(_, topics)| topics.contains(topic)) {
                plan.entry(member.id.clone()).or_default().push(TopicPartition::new(topic.clone(), partition));
            }
        }
    }
    plan
}
