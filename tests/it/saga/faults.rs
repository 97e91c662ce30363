//! Ways to fail, beside those of the matrix.

use super::{STYLES, Shown, saga, shown};
use crate::es::Place;

fn run(style: &str, step: usize, fault: &str) -> Shown {
    let place = Place::new("saga-fault");
    let nth = step.to_string();
    saga(&place, &["run", "--style", style, "--order", "o-1", "--fail-at", &nth, "--fault", fault, "-q"]).run().ok();
    shown(&place, "o-1")
}

#[test]
fn without_an_answer_the_unknown_step_is_compensated_too() {
    for step in 1..=3 {
        let shown = run("orchestration", step, "timeout");
        assert!(shown.log.contains(&("time-out".to_owned(), Some(step as u64))), "{:?}", shown.log);
    }
    // nobody is asked in a choreography: the order service has the deadline
    let shown = run("choreography", 3, "timeout");
    assert!(shown.log.contains(&("time-out".to_owned(), Some(1))), "{:?}", shown.log);
    assert_eq!(shown.compensated, [3, 2, 1]);
}

#[test]
fn who_cannot_work_just_now_is_asked_again() {
    for step in 1..=3 {
        let shown = run("orchestration", step, "unavailable");
        let asked = shown.log.iter().filter(|(what, at)| what == super::STEPS[step - 1] && *at == Some(step as u64));
        assert_eq!(asked.count(), 3, "{:?}", shown.log);
        let shown = run("choreography", step, "unavailable");
        let tried = shown.log.iter().filter(|(what, at)| what == "unavailable" && *at == Some(step as u64));
        assert_eq!(tried.count(), 2, "{:?}", shown.log);
    }
}

#[test]
fn a_compensation_that_keeps_failing_is_parked_and_a_retry_finishes_it() {
    for style in STYLES {
        let place = Place::new("saga-parked");
        let run = ["run", "--style", style, "--order", "o-1", "--fail-at", "3", "--compensation-fails", "5", "-q"];
        let ended = saga(&place, &run).run();
        assert_eq!((ended.code(), ended.text().as_str()), (5, "o-1 PARKED\n"), "{style}: {ended:?}");
        let parked = shown(&place, "o-1");
        assert_eq!(
            parked.steps,
            ["parked", "parked", "failed"],
            "{style}: the earlier one has run, and failed as well"
        );
        assert_eq!(parked.effects["order"], ("PENDING".to_owned(), 1, 0), "{style}");
        // its attempts begin anew, and fail anew
        let ended = saga(&place, &["retry", "o-1", "-q"]).run();
        assert_eq!(ended.code(), 5, "{style}: {ended:?}");
    }
}

#[test]
fn a_compensation_that_fails_less_often_than_that_is_no_matter() {
    for style in STYLES {
        let place = Place::new("saga-again");
        let run = ["run", "--style", style, "--order", "o-1", "--fail-at", "3", "--compensation-fails", "4", "-q"];
        assert_eq!(saga(&place, &run).run().ok().text(), "o-1 COMPENSATED\n");
        shown(&place, "o-1").judged("four failures of each compensation");
    }
}

#[test]
fn many_sagas_share_the_services() {
    for style in STYLES {
        let place = Place::new("saga-many");
        let ended = saga(&place, &["run", "--style", style, "-n", "40", "--fail-at", "2", "-q"]).run().ok();
        let text = ended.text();
        let ids: Vec<&str> = text.lines().map(|line| line.trim_end_matches(" COMPENSATED")).collect();
        assert_eq!(ids.len(), 40);
        for id in ids {
            shown(&place, id).judged(id);
        }
        let listed = saga(&place, &["list", "--json"]).run().ok().text();
        assert_eq!(listed.lines().count(), 40);
        assert!(listed.lines().all(|line| line.contains(&format!(r#""style":"{style}""#))), "{listed}");
    }
}
