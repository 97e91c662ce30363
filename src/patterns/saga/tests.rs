use proptest::prelude::*;
use serde_json::json;

use super::*;

const fn step(name: &'static str, compensation: &'static str, kind: Kind) -> Step {
    Step { name, participant: "somebody", compensation, kind, timeout: Duration::from_secs(10) }
}

const THREE: Definition = Definition {
    name: "three",
    version: 1,
    steps: &[
        step("A", "UndoA", Kind::Compensatable),
        step("B", "UndoB", Kind::Compensatable),
        step("C", "UndoC", Kind::Compensatable),
    ],
};

const PIVOT: Definition = Definition {
    name: "pivot",
    version: 1,
    steps: &[step("A", "UndoA", Kind::Compensatable), step("B", "", Kind::Pivot), step("C", "", Kind::Retriable)],
};

/// A run by hand.
struct Run(&'static Definition, Transition);

impl Run {
    fn of(definition: &'static Definition) -> Self {
        Run(definition, definition.start("s", json!({}), None))
    }

    fn reply(mut self, step: usize, outcome: Outcome) -> Self {
        self.1 = self.0.reply(self.1.saga, &Reply { step, outcome });
        self
    }

    fn timeout(mut self) -> Self {
        self.1 = self.0.timeout(self.1.saga);
        self
    }

    #[track_caller]
    fn sends(self, commands: &[Command]) -> Self {
        assert_eq!(self.1.commands, commands, "{:#?}", self.1.saga);
        self
    }
}

fn declined() -> Outcome {
    Outcome::Failed { reason: "declined".into(), may_pass: false }
}

fn cannot_undo() -> Outcome {
    Outcome::CompensationFailed { reason: "no".into() }
}

use Command::{Do, Ended, Undo};
use Outcome::{Compensated, Completed};

#[test]
fn all_steps_one_after_the_other() {
    Run::of(&THREE)
        .sends(&[Do { step: 1, attempt: 1 }])
        .reply(1, Completed)
        .sends(&[Do { step: 2, attempt: 1 }])
        .reply(2, Completed)
        .sends(&[Do { step: 3, attempt: 1 }])
        .reply(3, Completed)
        .sends(&[Ended(Status::Completed)]);
}

#[test]
fn a_failure_undoes_what_was_done_in_reverse() {
    let run = Run::of(&THREE).reply(1, Completed).reply(2, Completed).reply(3, declined());
    run.sends(&[Undo { step: 2, attempt: 1 }])
        .reply(2, Compensated)
        .sends(&[Undo { step: 1, attempt: 1 }])
        .reply(1, Compensated)
        .sends(&[Ended(Status::Compensated)]);
    Run::of(&THREE).reply(1, declined()).sends(&[Ended(Status::Compensated)]);
}

#[test]
fn what_may_have_been_done_is_undone_too() {
    let run = Run::of(&THREE).reply(1, Completed).timeout();
    let run = run.sends(&[Undo { step: 2, attempt: 1 }]);
    // the late answer changes nothing
    let run = run.reply(2, Completed).sends(&[]);
    assert_eq!(run.1.saga.log.last().unwrap().note.as_deref(), Some("ignored"));
    assert!(run.1.timer.is_some(), "it is still waited for");
    run.reply(2, Compensated).sends(&[Undo { step: 1, attempt: 1 }]).reply(1, Compensated);
}

#[test]
fn an_answer_that_comes_twice_is_ignored() {
    Run::of(&THREE)
        .reply(1, Completed)
        .reply(1, Completed)
        .sends(&[])
        .reply(2, Completed)
        .sends(&[Do { step: 3, attempt: 1 }]);
    Run::of(&THREE).reply(7, Completed).sends(&[]).reply(0, Completed).sends(&[]);
}

#[test]
fn who_cannot_work_just_now_is_asked_again() {
    let busy = || Outcome::Failed { reason: "busy".into(), may_pass: true };
    let run = Run::of(&THREE).reply(1, busy()).sends(&[]);
    assert_eq!(run.1.timer, Some(Duration::from_millis(100)));
    let run = run.timeout().sends(&[Do { step: 1, attempt: 2 }]).reply(1, busy());
    assert_eq!(run.1.timer, Some(Duration::from_millis(200)));
    run.timeout().reply(1, Completed).sends(&[Do { step: 2, attempt: 1 }]);
}

#[test]
fn a_stray_answer_in_a_pause_leaves_it_short() {
    let busy = Outcome::Failed { reason: "busy".into(), may_pass: true };
    let run = Run::of(&THREE).reply(1, busy).reply(3, Completed).sends(&[]);
    assert_eq!(run.1.timer, Some(Duration::from_millis(100)));
    let run = Run::of(&THREE).reply(1, Completed).reply(2, declined()).reply(1, cannot_undo()).reply(2, Completed);
    assert_eq!(run.1.timer, Some(Duration::from_millis(100)));
    assert_eq!(Run::of(&THREE).reply(3, Completed).1.timer, Some(Duration::from_secs(10)), "an answer is waited for");
}

#[test]
fn a_compensation_that_keeps_failing_is_parked_and_the_earlier_ones_run() {
    let mut run = Run::of(&THREE).reply(1, Completed).reply(2, Completed).reply(3, declined());
    for attempt in 1..=COMPENSATION_ATTEMPTS {
        run = run.sends(&[Undo { step: 2, attempt }]).reply(2, cannot_undo());
        if attempt < COMPENSATION_ATTEMPTS {
            run = run.sends(&[]).timeout();
        }
    }
    let run = run.sends(&[Undo { step: 1, attempt: 1 }]).reply(1, Compensated).sends(&[Ended(Status::Parked)]);
    let again = THREE.retry(run.1.saga);
    assert_eq!(again.commands, [Undo { step: 2, attempt: 1 }]);
    Run(&THREE, again).reply(2, Compensated).sends(&[Ended(Status::Compensated)]);
}

#[test]
fn five_failures_of_a_compensation_take_less_than_five_seconds() {
    let mut run = Run::of(&THREE).reply(1, Completed).reply(2, declined());
    let mut paused = Duration::ZERO;
    while run.1.saga.status == Status::Compensating {
        run = run.reply(1, cannot_undo());
        paused += run.1.timer.unwrap_or_default();
        run = run.timeout();
    }
    assert_eq!(run.1.saga.status, Status::Parked);
    assert!(paused < Duration::from_secs(5), "{paused:?}");
}

#[test]
fn behind_the_pivot_there_is_no_way_back() {
    let run = Run::of(&PIVOT).reply(1, Completed).timeout().sends(&[Do { step: 2, attempt: 2 }]);
    let run = run.reply(2, Completed).reply(3, declined()).sends(&[]).timeout();
    run.sends(&[Do { step: 3, attempt: 2 }]).reply(3, Completed).sends(&[Ended(Status::Completed)]);
    // at the pivot itself there is
    Run::of(&PIVOT).reply(1, Completed).reply(2, declined()).sends(&[Undo { step: 1, attempt: 1 }]);
}

#[test]
fn a_saga_of_another_list_is_told() {
    let saga = THREE.start("s", json!({}), None).saga;
    assert_eq!(THREE.check(&saga), Ok(()));
    let now = Definition { version: 2, ..THREE };
    let changed = now.check(&saga).unwrap_err();
    assert!(changed.to_string().contains("version 1") && changed.to_string().contains("version 2"), "{changed}");
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Completed),
        Just(declined()),
        Just(Outcome::Failed { reason: "busy".into(), may_pass: true }),
        Just(Compensated),
        Just(cannot_undo()),
    ]
}

proptest! {
    /// Whatever comes, in whatever order: a saga that is over stays so, one that is not waits for something, and what was
    /// sent to be undone was sent to be done before, and was not sent to be done after.
    #[test]
    fn any_messages_leave_it_consistent(
        given in prop::collection::vec((0usize..5, prop::option::of(outcome())), 0..60),
    ) {
        let mut transition = THREE.start("s", json!({}), None);
        let (mut asked, mut undone) = (vec![false; 4], vec![false; 4]);
        let mut given = given.into_iter();
        loop {
            for command in &transition.commands {
                match command {
                    Do { step, .. } => {
                        prop_assert!(!undone[*step]);
                        asked[*step] = true;
                    }
                    Undo { step, .. } => {
                        prop_assert!(asked[*step]);
                        // in reverse: nothing before it was undone yet
                        prop_assert!(undone[1..*step].iter().all(|undone| !undone));
                        undone[*step] = true;
                    }
                    Ended(status) => prop_assert!(status.is_over()),
                }
            }
            let saga = transition.saga.clone();
            prop_assert_eq!(transition.timer.is_none(), saga.status.is_over(), "{:?}", saga);
            let Some((step, outcome)) = given.next() else { break };
            transition = match outcome {
                Some(outcome) => THREE.reply(saga.clone(), &Reply { step, outcome }),
                None => THREE.timeout(saga.clone()),
            };
            if saga.status.is_over() {
                prop_assert_eq!(transition.saga.status, saga.status);
                prop_assert!(transition.commands.is_empty());
            }
        }
    }

    /// With participants that answer truly, whatever fails, every saga ends, and what stays done is all or nothing.
    #[test]
    fn every_saga_ends(faults in prop::collection::vec(0u8..6, 3), retries in 0u32..8) {
        let mut transition = THREE.start("s", json!({}), None);
        let mut done = [false; 4];
        for _ in 0..200 {
            let saga = transition.saga.clone();
            let Some(command) = transition.commands.first().cloned() else {
                if saga.status.is_over() { break }
                transition = THREE.timeout(saga);
                continue;
            };
            transition = match command {
                Do { step, attempt } => match faults[step - 1] {
                    0 => THREE.reply(saga, &Reply { step, outcome: declined() }),
                    1 => { done[step] = true; THREE.timeout(saga) }
                    2 => THREE.timeout(saga),
                    3 if attempt < 3 => {
                        let outcome = Outcome::Failed { reason: "busy".into(), may_pass: true };
                        THREE.reply(saga, &Reply { step, outcome })
                    }
                    _ => { done[step] = true; THREE.reply(saga, &Reply { step, outcome: Completed }) }
                },
                Undo { step, attempt } if attempt <= retries => {
                    THREE.reply(saga, &Reply { step, outcome: cannot_undo() })
                }
                Undo { step, .. } => { done[step] = false; THREE.reply(saga, &Reply { step, outcome: Compensated }) }
                Ended(_) => break,
            };
        }
        match transition.saga.status {
            Status::Completed => prop_assert!(done[1..].iter().all(|done| *done)),
            Status::Compensated => prop_assert!(done.iter().all(|done| !done)),
            Status::Parked => prop_assert!(retries >= COMPENSATION_ATTEMPTS),
            other => prop_assert!(false, "{other} is no end"),
        }
    }
}
