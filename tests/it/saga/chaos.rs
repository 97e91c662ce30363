//! Every process is killed at random, for a while; and in the end the sums are even.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use super::{
    KEEPS, saga,
    sleepers::{is_over, statuses},
};
use crate::{
    cluster::soak,
    es::Place,
    harness::need_kafka,
    process::{Running, start},
    random::Random,
};

/// What a service keeps of a saga: status, how often done, how often undone.
type Effect = (String, u64, u64);

/// By SQL, past the program.
fn kept(place: &Place, keeps: &str) -> BTreeMap<String, Effect> {
    let text = if place.is_postgres() { "convert_from(data, 'UTF8')" } else { "CAST(data AS TEXT)" };
    let rows = place.sql(&format!("SELECT id, {text} FROM states WHERE kind = '{keeps}'"));
    let effect = |row: Vec<String>| {
        let kept: Value = serde_json::from_str(&row[1]).expect("JSON");
        let status = kept["status"].as_str().expect("a status").to_owned();
        (row[0].clone(), (status, kept["done"].as_u64().unwrap_or(0), kept["undone"].as_u64().unwrap_or(0)))
    };
    rows.into_iter().map(effect).collect()
}

/// Of a completed saga there are an order, a charge and a parcel, once; of a compensated one what was done was undone, once.
/// Gives how many are completed; all others are compensated.
pub fn sums_are_even(place: &Place) -> usize {
    let all: BTreeMap<String, String> = statuses(place).into_iter().collect();
    let count = |word: &str| all.values().filter(|status| *status == word).count();
    let completed = count("COMPLETED");
    assert_eq!(completed + count("COMPENSATED"), all.len(), "all have ended: {all:?}");
    for keeps in KEEPS {
        let kept = kept(place, keeps);
        for (id, status) in &all {
            let effect = kept.get(id).cloned().unwrap_or_default();
            match status.as_str() {
                "COMPLETED" => assert_eq!(effect, ("DONE".to_owned(), 1, 0), "{keeps} of {id}, which is completed"),
                _ => assert!(effect.1 == effect.2 && effect.1 <= 1, "{keeps} of {id}, which is {status}: {effect:?}"),
            }
        }
        let done: u64 = kept.values().map(|(_, done, undone)| done - undone).sum();
        assert_eq!(done, completed as u64, "{keeps}s that are there");
    }
    completed
}

#[test]
#[ignore = "needs Apache Kafka"]
fn every_process_is_killed_at_random_and_the_sums_are_even() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let (sagas, time) = if soak() { (1000, Duration::from_secs(60)) } else { (200, Duration::from_secs(12)) };
    let place = Place::new("saga-chaos");
    place.take(Vec::new()); // the store is there before it is looked into
    // a quarter of them goes well, the others fail at one of the steps
    let counts = [sagas / 4; 4];
    let runs = counts.iter().zip(0_usize..).map(|(count, step)| {
        let (count, step) = (count.to_string(), step.to_string());
        let run = saga(&place, &["run", "--participants", "external", "-q", "-n", &count]);
        if step == "0" { run } else { run.arguments(["--fail-at", &step]) }
    });
    let mut runs: Vec<Running> = runs.map(start).collect();
    let service = |name: &str| start(saga(&place, &["participant", name, "--instance-id", name, "-q"]));
    let names = ["order", "payment", "shipping"];
    let mut services: Vec<Running> = names.iter().map(|name| service(name)).collect();
    // all of them are started before anything dies: who is killed before has nothing to lose
    crate::membership::until("all sagas to be there", Duration::from_secs(60), || {
        let found = statuses(&place).len();
        let said: String = runs.iter().map(Running::stderr_so_far).collect();
        (found == sagas).then_some(()).ok_or_else(|| format!("{found} of {sagas}; the runs say {said:?}"))
    });
    let (began, mut kills) = (Instant::now(), 0);
    while began.elapsed() < time {
        let victim = random.below(names.len() + runs.len());
        let running = if victim < names.len() { &mut services[victim] } else { &mut runs[victim - names.len()] };
        running.signal(Signal::KILL);
        running.end();
        kills += 1;
        *running = match names.get(victim) {
            Some(name) => service(name),
            None => start(saga(&place, &["resume", "-q"])),
        };
        std::thread::sleep(Duration::from_millis(random.within(50..1500) as u64)); // the rhythm of the kills
    }
    let open = statuses(&place).iter().filter(|(_, status)| !is_over(status)).count();
    println!("{kills} kills; {open} of {sagas} sagas are open behind them");
    for running in runs.iter_mut().chain(&mut services) {
        running.signal(Signal::KILL);
        running.end();
    }
    saga(&place, &["resume", "-q"]).deadline(Duration::from_secs(300)).run().ok();
    // those that were to fail did; of the others some may have run out of time while a service was dead
    assert!(sums_are_even(&place) <= sagas / 4);
    assert_eq!(statuses(&place).len(), sagas);
}
