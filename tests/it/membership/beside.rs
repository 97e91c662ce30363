//! Beside kcat: where one leaves off the other goes on. And topics that change under a group.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use super::{
    PATIENCE, fill, lab, made,
    member::{End, Group, How, Kind, Member, Word},
    on, oracle, until,
};
use crate::harness::{need_kafka, topic};

fn offsets(member: &Member) -> Vec<i64> {
    member.records().into_iter().map(|(_, offset)| offset).collect()
}

fn stop(mut member: Member) -> Vec<i64> {
    member.signal(Signal::TERM);
    assert!(matches!(member.end(), End::Left(_)), "{}", member.said());
    offsets(&member)
}

#[test]
#[ignore = "needs Apache Kafka"]
fn each_client_goes_on_where_another_one_committed() {
    need_kafka();
    let brokers = lab();
    let topic = made(brokers, "handed", 1);
    let group = Group::new(brokers, &[&topic], How::Range);
    let mut next = 0;
    for kind in [Kind::Kcat, Kind::Kafkalab, Kind::Kcat, Kind::Java, Kind::Kafkalab, Kind::Java] {
        fill(brokers, &topic, 0, 0..20);
        let member = group.join(kind, "only");
        member.until_records(20);
        assert_eq!(stop(member), (next..next + 20).collect::<Vec<_>>(), "{kind:?}");
        next += 20;
        assert_eq!(oracle::committed(&group)[&(topic.clone(), 0)], next, "{kind:?}");
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_group_that_has_committed_nothing_begins_where_it_is_told() {
    need_kafka();
    let brokers = lab();
    for how in [How::Range, How::Consumer] {
        let topic = made(brokers, "begin", 1);
        fill(brokers, &topic, 0, 0..10);
        std::thread::sleep(Duration::from_millis(20)); // another millisecond for what comes
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        fill(brokers, &topic, 0, 10..20);
        let at = format!("@{now}");
        for (begin, first) in [("stored", 0), ("start", 0), (at.as_str(), 10), ("-3", 17), ("4", 4), ("+5", 5)] {
            let group = Group::new(brokers, &[&topic], how);
            let member = group.ours("first", &["-o", begin]);
            member.until_records(20 - first);
            assert_eq!(stop(member), (first as i64..20).collect::<Vec<_>>(), "{begin}");
            // what is committed counts, whatever is said
            let mut member = group.ours("second", &["-o", "start", "-e"]);
            assert_eq!(member.end(), End::Left(0), "{begin}: {}", member.said());
            assert_eq!(offsets(&member), [0; 0], "{begin}");
        }
        let group = Group::new(brokers, &[&topic], how);
        let member = group.ours("end", &["-o", "end"]);
        member.until_it_has(1);
        assert_eq!(stop(member), [0; 0]);
        fill(brokers, &topic, 0, 20..30);
        let mut member = group.ours("then", &["-o", "end", "-e"]);
        assert_eq!(member.end(), End::Left(0), "{}", member.said());
        assert_eq!(offsets(&member), (20..30).collect::<Vec<_>>(), "the end that it was told is the group's place");
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn two_members_read_to_the_end_and_leave() {
    need_kafka();
    let brokers = lab();
    for how in [How::RoundRobin, How::Cooperative, How::Consumer] {
        let topic = made(brokers, "to-the-end", 4);
        for partition in 0..4 {
            fill(brokers, &topic, partition, 0..500);
        }
        let group = Group::new(brokers, &[&topic], how);
        let mut members = [group.ours("first", &["-e"]), group.ours("second", &["-e"])];
        for member in &mut members {
            assert_eq!(member.end(), End::Left(0), "{how:?}: {}", member.said());
        }
        let mut read: Vec<_> = members.iter().flat_map(Member::records).collect();
        read.sort();
        read.dedup();
        assert_eq!(read.len(), 2000, "{how:?}");
        oracle::is_committed_to_the_end(&group, 4);
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn partitions_that_are_added_are_shared_too() {
    need_kafka();
    let brokers = lab();
    for how in [How::Range, How::Cooperative, How::Consumer] {
        let topic = made(brokers, "grows", 2);
        let group = Group::new(brokers, &[&topic], how);
        let members =
            [group.ours("first", &["-X", "metadata_age=500ms"]), group.ours("second", &["-X", "metadata_age=500ms"])];
        members.iter().for_each(|member| member.until_it_has(1));
        on(brokers, &["topics", "partitions", &topic, "4"]).run().ok();
        members.iter().for_each(|member| member.until_it_has(2));
        for partition in 0..4 {
            fill(brokers, &topic, partition, 0..10);
        }
        until("all is read", PATIENCE, || {
            let read: usize = members.iter().map(|member| member.records().len()).sum();
            if read >= 40 { Ok(()) } else { Err(format!("{read}")) }
        });
        members.into_iter().for_each(|member| {
            stop(member);
        });
        oracle::is_committed_to_the_end(&group, 4);
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_topic_that_is_made_again_is_read_from_its_beginning_and_committed_as_it_is() {
    need_kafka();
    let brokers = lab();
    for how in [How::Range, How::Cooperative, How::Consumer] {
        let topic = made(brokers, "again", 1);
        fill(brokers, &topic, 0, 0..10);
        let group = Group::new(brokers, &[&topic], how);
        // what it has handled of the old topic is not committed when the new one comes
        let member = group.ours("reader", &["-X", "metadata_age=500ms", "--commit-every", "60m"]);
        member.until_records(10);
        on(brokers, &["topics", "delete", &topic, "-y"]).run().ok();
        on(brokers, &["topics", "create", &topic, "-p", "1"]).run().ok();
        fill(brokers, &topic, 0, 100..105);
        member.until("the new records", |words| {
            words.iter().any(|(_, word)| matches!(word, Word::Record(_, _, value) if value == "104"))
        });
        let read = stop(member);
        assert_eq!(read[read.len() - 5..], [0, 1, 2, 3, 4], "{how:?}");
        assert_eq!(oracle::committed(&group).get(&(topic.clone(), 0)), Some(&5), "{how:?}");
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn two_topics_are_shared_by_members_of_all_clients() {
    need_kafka();
    let brokers = lab();
    let (first, second) = (made(brokers, "one", 3), made(brokers, "two", 3));
    for how in [How::Range, How::RoundRobin, How::Cooperative] {
        let group = Group::new(brokers, &[&first, &second], how);
        let members = [Kind::Kafkalab, Kind::Kcat, Kind::Java].map(|kind| group.join(kind, &format!("{kind:?}")));
        members.iter().for_each(|member| member.until_it_has(2));
        oracle::agrees(&group, || {
            let claims = members
                .iter()
                .flat_map(|member| member.owned().into_iter().map(|place| (place, vec![member.name.clone()])));
            let said: std::collections::BTreeMap<_, _> = claims.collect();
            assert!(said.len() <= 6);
            said
        });
        members.into_iter().for_each(|member| {
            stop(member);
        });
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn who_follows_a_topic_that_comes_later_gets_it() {
    need_kafka();
    let brokers = lab();
    for how in [How::Cooperative, How::Consumer] {
        let topic = topic("later");
        let group = Group::new(brokers, &[&topic], how);
        let member = group.ours("early", &[]);
        member.until("waits", |words| {
            words.iter().any(|(_, word)| matches!(word, Word::Else(line) if line.contains("does not exist yet")))
        });
        on(brokers, &["topics", "create", &topic, "-p", "1"]).run().ok();
        fill(brokers, &topic, 0, 0..5);
        member.until_records(5);
    }
}
