//! Two orchestrators on one store, and one of them sleeps beyond its session, in the middle of sagas.

use std::time::Duration;

use rustix::process::Signal;

use super::{saga, shown};
use crate::{cluster::soak, es::Place, harness::need_kafka, membership::until, process::start, random::Random};

/// What ends in ten seconds: a member's session, a relay's lease.
const SESSION: Duration = Duration::from_secs(10);

/// The program's list: id and status.
pub fn statuses(place: &Place) -> Vec<(String, String)> {
    let listed = saga(place, &["list", "-n", "100000", "--json"]).run().ok().text();
    let saga = |line: &str| {
        let saga: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = |field: &str| saga[field].as_str().expect("a text").to_owned();
        (text("saga_id"), text("status"))
    };
    listed.lines().map(saga).collect()
}

pub fn is_over(status: &str) -> bool {
    ["COMPLETED", "COMPENSATED", "PARKED"].contains(&status)
}

#[test]
#[ignore = "needs Apache Kafka"]
fn an_orchestrator_that_slept_beyond_its_session_undoes_nothing_that_another_did() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    for _ in 0..if soak() { 5 } else { 1 } {
        sleeps(random.fork());
    }
}

fn sleeps(mut random: Random) {
    println!("{random:?}");
    let place = Place::new("saga-sleepers");
    place.take(Vec::new()); // the store is there before it is looked into
    let step = (1 + random.below(3)).to_string();
    let failing = ["run", "-n", "300", "--fail-at", &step, "--json"];
    let sleeper = start(saga(&place, &failing));
    let some = random.within(20..200);
    until("some sagas that have ended", Duration::from_secs(60), || {
        let over = statuses(&place).iter().filter(|(_, status)| is_over(status)).count();
        (over >= some).then_some(()).ok_or(format!("{over} of {some}"))
    });
    place.stop(&sleeper);
    // its partitions and its shards are somebody else's after its session, and its sagas too
    let mut other = start(saga(&place, &["run", "-n", "100", "-q"]).deadline(Duration::from_secs(120)));
    until("all of both", SESSION * 9, || {
        let all = statuses(&place);
        let over = all.iter().filter(|(_, status)| is_over(status)).count();
        (over == 400).then_some(()).ok_or(format!("{over} of {}", all.len()))
    });
    sleeper.signal(Signal::CONT);
    let mut sleeper = sleeper;
    for running in [&mut other, &mut sleeper] {
        let ended = running.end();
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
    }
    let all = statuses(&place);
    assert_eq!(all.iter().filter(|(_, status)| status == "COMPENSATED").count(), 300);
    for (id, _) in all.iter().filter(|_| random.below(10) == 0) {
        shown(&place, id).judged(id);
    }
    assert_eq!(super::chaos::sums_are_even(&place), 100);
}
