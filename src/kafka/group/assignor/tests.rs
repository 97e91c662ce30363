//! What the tests of the assignors share, and what holds for every group.

mod java;
mod properties;
mod rounds;

pub(super) use rounds::Group;

use super::*;

/// `consumer1` that wants `t1 t2`.
pub(super) fn member(id: &str, topics: &str) -> Member {
    let topics = topics.split_whitespace().map(Arc::from).collect();
    let subscription = Subscription { topics, owned: Vec::new(), generation: -1 };
    Member { id: id.into(), instance_id: None, subscription }
}

impl Member {
    /// `t1-0 t1-2`, assigned in a generation.
    pub(super) fn owning(mut self, owned: &str, generation: i32) -> Self {
        self.subscription.owned = owned.split_whitespace().map(partition).collect();
        self.subscription.generation = generation;
        self
    }

    pub(super) fn instance(mut self, id: &str) -> Self {
        self.instance_id = Some(id.into());
        self
    }
}

fn partition(shown: &str) -> TopicPartition {
    let (topic, number) = shown.rsplit_once('-').expect("topic-number");
    TopicPartition::new(topic, number.parse().expect("a number"))
}

/// `t1:3 t2:2`, by the number of partitions.
pub(super) fn topics(counts: &str) -> BTreeMap<Arc<str>, i32> {
    let topic = |shown: &str| {
        let (topic, count) = shown.split_once(':').expect("topic:count");
        (Arc::from(topic), count.parse().expect("a count"))
    };
    counts.split_whitespace().map(topic).collect()
}

/// `consumer1: t1-0 t1-2 | consumer2: t1-1`
pub(super) fn shown(plan: &Plan) -> String {
    let member = |(id, partitions): (&Arc<str>, &Vec<TopicPartition>)| {
        let partitions = partitions.iter().map(|of| format!(" {}-{}", of.topic, of.partition));
        format!("{id}:{}", partitions.collect::<String>())
    };
    plan.iter().map(member).collect::<Vec<_>>().join(" | ")
}

#[test]
fn names_are_kafkas() {
    for (assignor, name, cooperative) in [
        (Assignor::Range, "range", false),
        (Assignor::RoundRobin, "roundrobin", false),
        (Assignor::CooperativeSticky, "cooperative-sticky", true),
    ] {
        assert_eq!((assignor.name(), assignor.is_cooperative()), (name, cooperative));
        assert_eq!(Assignor::from_name(name), Some(assignor));
    }
    assert_eq!(Assignor::from_name("sticky"), None);
}

/// Kafka's tests of all assignors begin with these.
#[test]
fn nobody_gets_what_is_not_there_or_not_wanted() {
    for assignor in Assignor::ALL {
        let plan = |topics_wanted: &str, counts: &str| {
            shown(&assignor.assign(&[member("consumer", topics_wanted)], &topics(counts)))
        };
        assert_eq!(plan("", ""), "consumer:", "one consumer, no topic");
        assert_eq!(plan("t", ""), "consumer:", "one consumer, nonexistent topic");
        assert_eq!(plan("t", "t:0"), "consumer:", "a topic without partitions");
        assert_eq!(plan("t", "t:3"), "consumer: t-0 t-1 t-2", "one consumer, one topic");
        assert_eq!(plan("t", "t:3 other:3"), "consumer: t-0 t-1 t-2", "only subscribed topics");
        assert_eq!(plan("t t", "t:2"), "consumer: t-0 t-1", "a topic named twice");
        assert_eq!(plan("t1 t2", "t1:1 t2:2"), "consumer: t1-0 t2-0 t2-1", "one consumer, several topics");
        assert_eq!(assignor.assign(&[], &topics("t:3")), Plan::new(), "no members");

        let two = [member("consumer1", "t"), member("consumer2", "t")];
        assert_eq!(shown(&assignor.assign(&two, &topics("t:1"))), "consumer1: t-0 | consumer2:");
        assert_eq!(shown(&assignor.assign(&two, &topics("t:2"))), "consumer1: t-0 | consumer2: t-1");
    }
}
