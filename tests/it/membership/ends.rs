//! How a member ends, and what the group has committed then.

use std::{
    io::Read,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    PATIENCE, fill, lab, made,
    member::{End, Group, How, Word},
    on,
    oracle::{self, committed},
};
use crate::{
    harness::{need_kafka, topic},
    load,
    random::Random,
};

const BOTH: [How; 2] = [How::Cooperative, How::Consumer];

/// A producer of ten lines each 20 ms, until it is dropped.
fn trickle(brokers: &str, topic: &str) -> load::Running {
    let mut producer = load::Running::start(on(brokers, &["produce", topic, "-q"]));
    let pieces = (0..30_000).map(|n| (10 * n..10 * n + 10).map(|line| format!("{line}\n")).collect::<String>());
    producer.feed(pieces, Duration::from_millis(20));
    producer
}

/// Waits for the end of what a producer was told.
fn stop(producer: load::Running) {
    producer.signal(Signal::INT);
    assert_eq!(producer.wait(Duration::from_secs(30)).code(), 130);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn who_closes_the_pipe_leaves_committed_at_most_what_went_into_it() {
    need_kafka();
    let brokers = lab();
    for how in BOTH {
        let topic = made(brokers, "closed", 1);
        let width = 200;
        let lines: String = (0..20_000).map(|number| format!("{number:0>width$}\n")).collect();
        on(brokers, &["produce", &topic, "-q"]).stdin(lines).run().ok();
        let group = Group::new(brokers, &[&topic], how);
        let arguments =
            [&["consume", &topic, "-g", &group.name, "--commit-every", "50ms"][..], &group.flags()].concat();
        let mut command = on(brokers, &arguments).command();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("kafkalab");
        let mut taken = vec![0; 100_000];
        let mut stdout = child.stdout.take().expect("a pipe");
        stdout.read_exact(&mut taken).expect("records");
        thread::sleep(Duration::from_millis(300)); // a few commits of more than was printed, where one is made
        drop(stdout);
        assert_eq!(child.wait().expect("its end").code(), Some(0), "as after `| head`");
        // the pipe itself holds 64 KiB that were printed and not taken
        let printed = (taken.len() + 65_536) / (width + 1);
        let committed = committed(&group).remove(&(topic.clone(), 0)).unwrap_or(0);
        assert!(committed <= printed as i64, "{committed} of {printed}");
        let rest = group.ours("next", &["-n", "1"]);
        rest.until_records(1);
        assert_eq!(rest.records()[0].1, committed);
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_killed_member_repeats_what_it_had_not_committed_and_skips_nothing() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let brokers = lab();
    for how in BOTH {
        let topic = made(brokers, "killed", 1);
        let producer = trickle(brokers, &topic);
        let group = Group::new(brokers, &[&topic], how);
        let mut next = 0;
        for round in 0..3 {
            let mut member = group.ours(&format!("killed-{round}"), &["--commit-every", "300ms"]);
            let (count, commits) = (random.within(200..700), Duration::from_millis(1500));
            member.until("records of a few commits", |words| {
                let mut records = words.iter().filter(|(_, word)| matches!(word, Word::Record(..)));
                records.clone().count() >= count
                    && records.next().zip(records.next_back()).is_some_and(|(first, last)| last.0 - first.0 > commits)
            });
            member.signal(Signal::KILL);
            assert_eq!(member.end(), End::Killed);
            let offsets: Vec<i64> = member.records().iter().map(|(_, offset)| *offset).collect();
            assert_eq!(offsets[0], next, "{how:?}: where the last one had committed");
            assert!(offsets.windows(2).all(|pair| pair[1] == pair[0] + 1), "{how:?}: {offsets:?}");
            next = committed(&group)[&(topic.clone(), 0)];
            let last = offsets[offsets.len() - 1];
            assert!(offsets[0] < next && next <= last + 1, "{how:?}: {next} after {last}");
        }
        drop(producer);
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_stopped_member_has_committed_what_it_printed_and_nothing_is_repeated() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let brokers = lab();
    for how in BOTH {
        let topic = made(brokers, "stopped", 1);
        let producer = trickle(brokers, &topic);
        let group = Group::new(brokers, &[&topic], how);
        let mut next = 0;
        for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::TERM, 143)] {
            // no commit but the last one
            let mut member = group.ours("stopped", &["--commit-every", "60m"]);
            member.until_records(random.within(100..600));
            let asked = Instant::now();
            member.signal(signal);
            assert_eq!(member.end(), End::Left(code));
            assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
            let offsets: Vec<i64> = member.records().iter().map(|(_, offset)| *offset).collect();
            let expected: Vec<i64> = (next..next + offsets.len() as i64).collect();
            assert_eq!(offsets, expected, "{how:?}");
            next += offsets.len() as i64;
            assert_eq!(committed(&group)[&(topic.clone(), 0)], next, "{how:?}");
        }
        stop(producer);
    }
}

#[test]
fn so_many_records_end_in_the_middle_of_a_batch_and_the_next_ones_follow() {
    let topic = topic("counted");
    let lines: String = (0..100).map(|number| format!("{number}\n")).collect();
    crate::harness::kafkalab(["produce", &topic, "-q", "-p", "0"]).stdin(lines).run().ok();
    let group = crate::harness::topic("group");
    let mut next = 0;
    for count in [7, 1, 30, 2] {
        let count_text = count.to_string();
        let read = ["consume", &topic, "-g", &group, "-n", &count_text, "-f", "%o\\n"];
        let said = crate::harness::kafkalab(read).deadline(PATIENCE).run().ok().text();
        let expected: String = (next..next + count).map(|offset| format!("{offset}\n")).collect();
        assert_eq!(said, expected);
        next += count;
    }
    let read = ["consume", &topic, "-g", &group, "-e", "-f", "%o\\n"];
    let said = crate::harness::kafkalab(read).deadline(PATIENCE).run().ok().text();
    assert_eq!(said, (next..100).map(|offset| format!("{offset}\n")).collect::<String>());
}

#[test]
#[ignore = "needs Apache Kafka"]
fn so_many_records_are_what_is_committed_by_either_protocol() {
    need_kafka();
    let brokers = lab();
    for how in BOTH {
        let topic = made(brokers, "counted", 1);
        fill(brokers, &topic, 0, 0..100);
        let group = Group::new(brokers, &[&topic], how);
        for (count, next) in [("7", 7), ("30", 37)] {
            let mut member = group.ours("counted", &["-n", count]);
            assert_eq!(member.end(), End::Left(0), "{}", member.said());
            assert_eq!(oracle::committed(&group)[&(topic.clone(), 0)], next);
        }
    }
}
