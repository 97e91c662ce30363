//! What people mistype.

use super::saga;
use crate::{cli::expect, es::Place};

#[test]
fn steps_and_faults_that_are_not_there() {
    let place = Place::new("saga-wrong");
    for at in ["0", "4"] {
        let said = format!(
            "error: invalid value '{at}' for '--fail-at <N>': the steps are 1 CreateOrder, 2 ProcessPayment, 3 ShipOrder\n\n\
             For more information, try '--help'.\n"
        );
        expect(saga(&place, &["run", "--fail-at", at]), 2, "", &said);
    }
    let ended = saga(&place, &["run", "--fail-at", "1", "--fault", "bored"]).run();
    assert_eq!(ended.code(), 2);
    assert!(ended.stderr.contains("write one of declined, timeout, late-reply, crash"), "{ended:?}");
    let ended = saga(&place, &["run", "--style", "jazz"]).run();
    assert!(ended.code() == 2 && ended.stderr.contains("write orchestration or choreography"), "{ended:?}");
    let ended = saga(&place, &["participant", "kitchen"]).run();
    assert!(ended.code() == 2 && ended.stderr.contains("write one of order, payment, shipping"), "{ended:?}");
}

#[test]
fn a_saga_that_is_not_there() {
    let place = Place::new("saga-absent");
    place.handle(vec![]); // makes the store
    let said = "error: saga o-9 is not there\nhint: `kafkalab saga list` shows what there is\n";
    for command in ["show", "retry", "resume"] {
        expect(saga(&place, &[command, "o-9"]), 1, "", said);
    }
    expect(saga(&place, &["resume"]), 0, "", "no saga is open\n");
    expect(saga(&place, &["list"]), 0, "", "no sagas; `kafkalab saga run --store URL` runs one\n");
}

#[test]
fn an_order_that_is_there_is_not_begun_twice() {
    let place = Place::new("saga-twice");
    saga(&place, &["run", "--order", "o-1", "-q"]).run().ok();
    saga(&place, &["run", "--style", "choreography", "--order", "c-1", "-q"]).run().ok();
    for id in ["o-1", "c-1"] {
        for style in super::STYLES {
            let ended = saga(&place, &["run", "--style", style, "--order", id, "-q"]).run();
            let said = format!("error: saga {id} is there already");
            assert!(ended.code() == 1 && ended.stderr.contains(&said), "{style}: {ended:?}");
        }
    }
    let ended = saga(&place, &["retry", "o-1"]).run();
    assert!(ended.stderr.contains("saga o-1 is COMPLETED: only a parked compensation"), "{ended:?}");
}

/// A program with another list of steps began it: it is left alone, and the others are finished.
#[test]
fn a_saga_of_another_definition_is_refused_with_both_versions() {
    let place = Place::new("saga-changed");
    for id in ["changed", "same"] {
        // nobody answers
        let mut run = crate::process::start(saga(&place, &["run", "--participants", "external", "--order", id]));
        run.until_stdout_has("CreateOrder");
        run.signal(rustix::process::Signal::TERM);
        assert_eq!(run.end().code(), 143);
    }
    let (text, bytes) = match place.is_postgres() {
        true => ("convert_from(data, 'UTF8')", "convert_to(new, 'UTF8')"),
        false => ("CAST(data AS TEXT)", "CAST(new AS BLOB)"),
    };
    let new = format!("replace({text}, '\"definition_version\":1', '\"definition_version\":9')");
    let changed = place.sql(&format!(
        "UPDATE states SET data = {} WHERE kind = 'saga' AND id = 'changed' RETURNING id",
        bytes.replace("new", &new)
    ));
    assert_eq!(changed, [["changed"]]);
    let data = || place.sql("SELECT data FROM states WHERE kind = 'saga' AND id = 'changed'");
    let before = data();
    // its timer is due, and is left to a program that knows the steps
    place.sql("UPDATE states SET due_ms = 1 WHERE kind = 'saga' AND id = 'changed' RETURNING id");
    let said = "saga changed began by version 9 of the definition \"order\", and this program has version 1: finish it with a \
                program of that version\n";
    expect(saga(&place, &["resume", "changed"]), 1, "", &format!("error: {said}"));
    let ended = saga(&place, &["resume", "-q"]).run();
    assert_eq!((ended.code(), ended.text().as_str()), (1, "same COMPLETED\n"), "{ended:?}");
    let ended = saga(&place, &["resume"]).run();
    assert!(ended.code() == 1 && ended.stderr.contains(said), "{ended:?}");
    assert_eq!(data(), before);
    let waits = place.sql("SELECT id FROM states WHERE kind = 'saga' AND due_ms > 1");
    assert_eq!(waits, [["changed"]]);
}
