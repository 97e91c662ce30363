//! Members of all clients come and go every two seconds, some by SIGKILL, while records come.
//!
//! What must hold then: each record is handled; in each claim the offsets rise without a hole; a partition has one owner in
//! each generation; a record is handled again only if a member died; at rest the partitions are shared fully and
//! disjointly, as Kafka itself describes them; and clean ends leave each log committed to its end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    PATIENCE,
    history::History,
    lab, made,
    member::{End, Group, How, Kind, Member, Place},
    on, oracle, until,
};
use crate::{cluster::soak, harness::need_kafka, load, random::Random};

const PARTITIONS: i32 = 6;
const EVERY: Duration = Duration::from_secs(2);
const MOST_MEMBERS: usize = 5;

struct Churn {
    group: Group,
    kinds: &'static [Kind],
    members: Vec<Member>,
    history: History,
    count: usize,
    random: Random,
}

impl Churn {
    fn join(&mut self, kind: Kind) {
        self.count += 1;
        let name = format!("{kind:?}-{}", self.count).to_lowercase();
        println!("+ {name}");
        self.members.push(self.group.join(kind, &name));
    }

    fn leave(&mut self) {
        let index = self.random.below(self.members.len());
        let signal = [Signal::TERM, Signal::INT, Signal::KILL][self.random.below(3)];
        let member = self.members.remove(index);
        // a JVM that is started with SIGINT ignored, as behind `&` in a script, never hears it
        let signal = if member.kind == Kind::Java && signal == Signal::INT { Signal::TERM } else { signal };
        println!("- {} {signal:?}", member.name);
        self.end(member, signal);
    }

    fn end(&mut self, mut member: Member, signal: Signal) {
        let in_vain = |member: &Member| member.words().is_empty(); // a JVM that has not come up has no hook yet
        let began = !in_vain(&member);
        member.signal(signal);
        let end = member.end();
        let code = match (member.kind, signal) {
            (_, Signal::KILL) => None,
            (Kind::Kcat, _) => Some(0),
            (_, Signal::INT) => Some(130),
            _ => Some(143),
        };
        // librdkafka 2.0 asserts so where it is closed before it has been assigned anything
        let asserted = member.kind == Kind::Kcat && member.said().contains("Assertion `assignor_state' failed");
        if let Some(code) = code.filter(|_| began && !asserted) {
            assert_eq!(end, End::Left(code), "{} by {signal:?}: {}", member.name, member.said());
        }
        self.history.add(&member, Some(end));
    }

    /// One comes or one goes.
    fn step(&mut self) {
        let joins = self.members.len() < 2 || (self.members.len() < MOST_MEMBERS && self.random.below(2) == 0);
        if joins {
            let kind = self.kinds[self.random.below(self.kinds.len())];
            self.join(kind);
        } else {
            self.leave();
        }
    }

    /// Who says to own what.
    fn said(&self) -> BTreeMap<Place, Vec<String>> {
        let mut said: BTreeMap<Place, Vec<String>> = BTreeMap::new();
        for member in &self.members {
            for place in member.owned() {
                said.entry(place).or_default().push(member.name.clone());
            }
        }
        said
    }

    /// Each partition has come to its end in the hands of somebody.
    fn has_come_to(&self, log: &BTreeMap<Place, i64>) -> Result<(), String> {
        let mut seen: BTreeMap<Place, i64> = BTreeMap::new();
        let claims = self.history.claims.iter().map(|claim| (claim.place.clone(), claim.offsets.last().copied()));
        let records = self.members.iter().flat_map(Member::records).map(|(place, offset)| (place, Some(offset)));
        for (place, offset) in claims.chain(records) {
            let end = seen.entry(place).or_default();
            *end = (*end).max(offset.map_or(0, |offset| offset + 1));
        }
        let behind = |(place, end): (&Place, &i64)| {
            let seen = seen.get(place).copied().unwrap_or(0);
            (seen < *end).then(|| format!("{place:?} {seen} of {end}"))
        };
        let behind: Vec<String> = log.iter().filter_map(behind).collect();
        if behind.is_empty() { Ok(()) } else { Err(behind.join(", ")) }
    }
}

fn churn(how: How, kinds: &'static [Kind]) {
    need_kafka();
    let (brokers, random) = (lab(), Random::from_seed_or_new());
    let topic = made(brokers, "churn", PARTITIONS as u32);
    let group = Group::new(brokers, &[&topic], how);
    let mut churn = Churn { group, kinds, members: Vec::new(), history: History::default(), count: 0, random };
    let seconds = if soak() { 60 } else { 15 };

    for &kind in kinds {
        churn.join(kind);
    }
    let mut producer = load::Running::start(on(brokers, &["produce", &topic, "-q"]));
    // twenty lines each 25 ms, far longer than all else takes: it is stopped
    let pieces = (0..40_000).map(|n| (20 * n..20 * n + 20).map(|line| format!("{line}\n")).collect::<String>());
    producer.feed(pieces, Duration::from_millis(25));
    for member in &churn.members {
        member.until_it_has(PARTITIONS as usize / kinds.len());
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        churn.step();
        // not synchronisation: it is how often members come and go
        std::thread::sleep(EVERY.saturating_sub(Duration::from_millis(100)));
    }
    producer.signal(Signal::INT);
    let produced = producer.wait(Duration::from_secs(30));
    assert_eq!(produced.code(), 130, "{produced:?}");

    for &kind in kinds {
        if !churn.members.iter().any(|member| member.kind == kind) {
            churn.join(kind);
        }
    }
    let log = oracle::log(brokers, &topic, PARTITIONS);
    until("all is read", PATIENCE, || churn.has_come_to(&log));
    oracle::agrees(&churn.group, || churn.said());
    for member in std::mem::take(&mut churn.members) {
        churn.end(member, Signal::TERM);
    }
    churn.history.has_no_holes();
    churn.history.has_one_owner_in_each_generation();
    churn.history.has_no_overlap();
    churn.history.has_handled_all(&log);
    oracle::is_committed_to_the_end(&churn.group, PARTITIONS as usize);
}

const ALL: &[Kind] = &[Kind::Kafkalab, Kind::Kcat, Kind::Java];

#[test]
#[ignore = "needs Apache Kafka"]
fn members_come_and_go_by_range() {
    churn(How::Range, ALL);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn members_come_and_go_by_round_robin() {
    churn(How::RoundRobin, ALL);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn members_come_and_go_by_cooperative_sticky() {
    churn(How::Cooperative, ALL);
}

/// kcat 1.7.1 does not speak KIP-848.
#[test]
#[ignore = "needs Apache Kafka"]
fn members_come_and_go_by_kip_848() {
    churn(How::Consumer, &[Kind::Kafkalab, Kind::Java]);
}
