//! kill -9 at every crash point, and `saga resume`.

use std::{
    os::unix::process::ExitStatusExt,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::{saga, shown};
use crate::{cluster::soak, es::Place, harness::need_kafka, random::Random};

const POINTS: [&str; 8] = [
    "saga.before-commit",
    "saga.after-commit",
    "relay.after-claim",
    "relay.after-send",
    "relay.after-ack",
    "relay.after-mark",
    "handler.before-commit",
    "handler.after-commit",
];
const FAULTS: [&str; 5] = ["declined", "timeout", "late-reply", "duplicate-reply", "unavailable"];

/// A saga, killed at a point, resumed by another process; it ends as each one must.
fn run(point: &str, step: usize, fault: &str, nth: usize) {
    let place = Place::new("saga-crash");
    let (step, at) = (step.to_string(), format!("{point}:{nth}"));
    let run = ["run", "--order", "o-1", "--fail-at", &step, "--fault", fault, "--crash-at", &at, "-q"];
    let ended = saga(&place, &run).deadline(Duration::from_secs(90)).run();
    let context = format!("{at}, step {step}, {fault}");
    let began = !saga(&place, &["list", "--json"]).run().ok().text().is_empty();
    match ended.status.signal() {
        Some(9) => {}
        // fewer passes than that: it has ended
        None if nth > 1 => assert_eq!(ended.code(), 0, "{context}: {ended:?}"),
        _ => panic!("{context}: it was not killed: {ended:?}"),
    }
    if !began {
        assert!(point == "saga.before-commit" && nth == 1, "{context}: it has never begun");
        return;
    }
    let resumed = saga(&place, &["resume"]).deadline(Duration::from_secs(90)).run();
    assert_eq!(resumed.code(), 0, "{context}: {resumed:?}");
    shown(&place, "o-1").judged(&context);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn killed_anywhere_a_saga_is_resumed_and_ends_as_it_must() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let count = if soak() { POINTS.len() * 15 } else { POINTS.len() * 2 };
    let work: Vec<_> = (0..count)
        .map(|nth| {
            let point = POINTS[nth % POINTS.len()];
            (point, 1 + random.below(3), FAULTS[random.below(5)], 1 + random.below(4))
        })
        .collect();
    let work = Mutex::new(work);
    // most of a run is waiting for the end of leases
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let next = work.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some((point, step, fault, nth)) = next else { return };
                    println!("{point}:{nth}, step {step}, {fault}");
                    run(point, step, fault, nth);
                }
            });
        }
    });
}
