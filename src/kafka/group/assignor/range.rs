//! Kafka's `range`: each topic by itself is cut into as many runs as it has subscribers; the first get one more where
//! the count does not divide. Source: `RangeAssignor.java`.
//!
//! ```text
//! 5 partitions, 2 members:   a: 0 1 2   b: 3 4
//! ```
//!
//! Topics with equal counts are cut alike, which joins by partition need. The price: the first members get the extra
//! partition of every topic.

use std::{collections::BTreeMap, sync::Arc};

use super::{super::super::record::TopicPartition, Member, Plan, subscribers};

pub(super) fn assign(members: &[Member], partitions: &BTreeMap<Arc<str>, i32>) -> Plan {
    let mut plan = Plan::new();
    for (topic, subscribers) in subscribers(members) {
        let Some(&count) = partitions.get(topic) else { continue };
        let (each, extra) = (count as usize / subscribers.len(), count as usize % subscribers.len());
        let mut rest = 0..count;
        for (place, member) in subscribers.into_iter().enumerate() {
            let run = rest.by_ref().take(each + usize::from(place < extra));
            let run = run.map(|partition| TopicPartition::new(topic.clone(), partition));
            plan.entry(member.id.clone()).or_default().extend(run);
        }
    }
    plan
}
