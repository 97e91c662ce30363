//! Three brokers, and leaders that move.

use std::time::Duration;

use super::MINUTE;
use crate::{
    cluster::Kafka,
    harness::{kafkalab, topic},
    load::{Log, Receipts, Running, lines, produce},
    random::Random,
    wire::create_topic,
};

#[test]
#[ignore = "needs Apache Kafka"]
fn leaders_that_die_under_load_lose_repeat_and_reorder_nothing() {
    let mut random = Random::from_seed_or_new();
    let kafka = Kafka::start(3, &[]);
    let topic = topic("moving");
    create_topic(&kafka.brokers, &topic, 3, 3, &[("min.insync.replicas", "2")]);
    let mut reader =
        Running::start(kafkalab(["consume", &topic, "-f", "%p %o %v\\n"]).env("KAFKALAB_BROKERS", &kafka.brokers));
    let mut writer = Running::start(produce(&kafka.brokers, &topic, &["--timeout", "60s"]));
    let pieces = (0..300).map(|n| lines(n * 200 + 1..=(n + 1) * 200)).collect();
    writer.feed(pieces, Duration::from_millis(20));
    writer.lines(random.within(1_000..20_000), MINUTE);
    let victim = 1 + random.within(0..3) as u8;
    println!("killing broker {victim}");
    kafka.kill(victim);
    let ended = writer.wait(3 * MINUTE);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let receipts = Receipts::read(&ended.stdout);
    assert_eq!(receipts.acknowledged.len(), 60_000);
    reader.lines(60_000, MINUTE);
    let read = Log::parse(&reader.stdout());
    read.agrees_with(&receipts);
    read.is_complete(1..=60_000);
    // the one that died is on the bootstrap list still, and another one answers
    let log = Log::read(&kafka.brokers, &topic);
    log.agrees_with(&receipts);
    log.is_complete(1..=60_000);
}
