//! Consumer groups by real processes: kafkalab, kcat and Kafka's own consumer, together and alone.
//!
//! What a member says is read from one pipe, stdout and stderr together, so that its words on partitions stand in their
//! order among its records. [`history`] judges them; Kafka's own ConsumerGroupCommand tells what the group holds true.

mod beside;
mod churn;
mod coordinator;
mod embedded;
mod ends;
mod history;
mod member;
mod oracle;
mod sessions;
mod slow;
mod wrong;

use std::{sync::OnceLock, thread, time::Duration};

use crate::{
    cluster::Kafka,
    harness::{Program, kafkalab, topic},
};

/// What a group needs at most to come to rest: a few sessions, and the start of a JVM on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// The members' session, and the brokers' for KIP-848. Longer than a busy machine holds a process up.
pub const SESSION: &str = "4s";
pub const SESSION_TIME: Duration = Duration::from_secs(4);

/// Sessions as short as tests want them; by default 6 s and 45 s at the least.
const SETTINGS: [&str; 6] = [
    "group.min.session.timeout.ms=1000",
    "group.consumer.min.session.timeout.ms=1000",
    "group.consumer.session.timeout.ms=4000",
    "group.consumer.min.heartbeat.interval.ms=200",
    "group.consumer.heartbeat.interval.ms=500",
    "auto.create.topics.enable=false",
];

/// One broker with short sessions, for all tests that do nothing to it.
pub fn lab() -> &'static str {
    static LAB: OnceLock<Kafka> = OnceLock::new();
    &LAB.get_or_init(|| Kafka::start(1, &SETTINGS)).brokers
}

/// `kafkalab` on the lab.
pub fn on(brokers: &str, arguments: &[&str]) -> Program {
    kafkalab(arguments).env("KAFKALAB_BROKERS", brokers)
}

/// A new topic with so many partitions.
pub fn made(brokers: &str, word: &str, partitions: u32) -> String {
    let name = topic(word);
    on(brokers, &["topics", "create", &name, "-p", &partitions.to_string()]).run().ok();
    name
}

/// Numbered records into one partition.
pub fn fill(brokers: &str, topic: &str, partition: u32, numbers: std::ops::Range<u32>) {
    let lines: String = numbers.map(|number| format!("{number}\n")).collect();
    on(brokers, &["produce", topic, "-q", "-p", &partition.to_string()]).stdin(lines).run().ok();
}

/// Waits for what no process says of itself; panics at the deadline, with `state` as it is then.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut state: impl FnMut() -> Result<T, String>) -> T {
    let deadline = std::time::Instant::now() + limit;
    loop {
        match state() {
            Ok(found) => return found,
            Err(state) if std::time::Instant::now() > deadline => panic!("not within {limit:?}: {what}: {state}"),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}
