//! Each step, each way to fail.

use super::{KEEPS, Shown, saga, shown};
use crate::es::Place;

/// How a saga must end: its status, and how often each service has done and undone its part.
fn expected(step: usize, fault: &str) -> (&'static str, Vec<(u64, u64)>) {
    let before = |at: usize| at + 1 < step;
    match fault {
        "declined" => ("COMPENSATED", (0..3).map(|at| if before(at) { (1, 1) } else { (0, 0) }).collect()),
        // it acts, and nobody hears of it: undone as well
        "timeout" | "late-reply" => ("COMPENSATED", (0..3).map(|at| if at < step { (1, 1) } else { (0, 0) }).collect()),
        _ => ("COMPLETED", vec![(1, 0); 3]),
    }
}

fn run(step: usize, fault: &str) -> Shown {
    let place = Place::new("saga-fault");
    let nth = step.to_string();
    let ended = saga(&place, &["run", "--order", "o-1", "--fail-at", &nth, "--fault", fault, "-q"]).run().ok();
    let shown = shown(&place, "o-1");
    let context = format!("step {step}, {fault}");
    assert_eq!(ended.text(), format!("o-1 {}\n", shown.status), "{context}");
    let (status, effects) = expected(step, fault);
    let about_time = matches!(fault, "timeout" | "late-reply");
    assert_eq!(shown.status, status, "{context}: {:?}", shown.log);
    for (keeps, expected) in KEEPS.iter().zip(effects) {
        let found = shown.effects.get(*keeps).map_or((0, 0), |(_, done, undone)| (*done, *undone));
        // where the compensation is quicker than the command, the service never does it
        let never = about_time && expected == (1, 1) && found == (0, 0) && **keeps == *KEEPS[step - 1];
        assert!(never || found == expected, "{context}: {keeps} {found:?}, not {expected:?}; {:?}", shown.log);
    }
    shown.judged(&context);
    shown
}

#[test]
fn declined_what_was_done_is_compensated() {
    (1..=3).for_each(|step| drop(run(step, "declined")));
}

#[test]
fn without_an_answer_the_unknown_step_is_compensated_too() {
    for step in 1..=3 {
        let shown = run(step, "timeout");
        assert!(shown.log.contains(&("time-out".to_owned(), Some(step as u64))), "{:?}", shown.log);
    }
}

#[test]
fn an_answer_that_comes_late_changes_nothing() {
    (1..=3).for_each(|step| drop(run(step, "late-reply")));
}

#[test]
fn an_answer_that_comes_twice_changes_nothing() {
    (1..=3).for_each(|step| drop(run(step, "duplicate-reply")));
}

#[test]
fn who_cannot_work_just_now_is_asked_again() {
    for step in 1..=3 {
        let shown = run(step, "unavailable");
        let asked = shown.log.iter().filter(|(what, at)| what == super::STEPS[step - 1] && *at == Some(step as u64));
        assert_eq!(asked.count(), 3, "{:?}", shown.log);
    }
}

#[test]
fn a_service_that_dies_behind_its_commit_is_started_again_and_the_saga_completes() {
    (1..=3).for_each(|step| drop(run(step, "crash")));
}

#[test]
fn a_compensation_that_keeps_failing_is_parked_and_a_retry_finishes_it() {
    let place = Place::new("saga-parked");
    let run = ["run", "--order", "o-1", "--fail-at", "3", "--compensation-fails", "5", "-q"];
    let ended = saga(&place, &run).run();
    assert_eq!((ended.code(), ended.text().as_str()), (5, "o-1 PARKED\n"), "{ended:?}");
    let parked = shown(&place, "o-1");
    assert_eq!(parked.steps, ["parked", "parked", "failed"], "the earlier one has run, and failed as well");
    assert_eq!(parked.effects["order"], ("PENDING".to_owned(), 1, 0));
    // its attempts begin anew, and fail anew
    let ended = saga(&place, &["retry", "o-1", "-q"]).run();
    assert_eq!(ended.code(), 5, "{ended:?}");
}

#[test]
fn a_compensation_that_fails_less_often_than_that_is_no_matter() {
    let place = Place::new("saga-again");
    let run = ["run", "--order", "o-1", "--fail-at", "3", "--compensation-fails", "4", "-q"];
    assert_eq!(saga(&place, &run).run().ok().text(), "o-1 COMPENSATED\n");
    shown(&place, "o-1").judged("four failures of each compensation");
}

#[test]
fn many_sagas_share_the_services() {
    let place = Place::new("saga-many");
    let ended = saga(&place, &["run", "-n", "40", "--fail-at", "2", "-q"]).run().ok();
    let ids: Vec<String> = ended.text().lines().map(|line| line.trim_end_matches(" COMPENSATED").to_owned()).collect();
    assert_eq!(ids.len(), 40);
    for id in &ids {
        shown(&place, id).judged(id);
    }
}
