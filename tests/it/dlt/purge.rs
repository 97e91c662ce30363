//! Deleting letters: which, and what is left.

use serde_json::{Value, json};

use super::{by_kcat, put_aside, run, says, summary, with_letters, write};
use crate::process::{on_terminal, start_on_terminal};

#[test]
#[ignore = "needs kcat"]
fn what_was_replayed_goes_and_what_waits_stays() {
    let name = with_letters("2", &["a", "b"]);
    let letters = format!("{name}.dlt");
    says(&["purge", &name, "-y"], 0, "", &format!("{letters} has no letters that were replayed\n"));
    run(&["replay", &name, "--all"]).ok();
    write(&name, "1", &["c"]);
    put_aside(&name, &[(1, 0, "c")]).expect("acknowledged");
    says(&["purge", &name, "-y"], 0, &format!("deleted 2 letters of {letters}\n"), "");
    assert_eq!(by_kcat(&letters, "%p:%o %s "), b"1:0 c ");
    let found = summary(&letters);
    assert_eq!((&found["letters"], &found["waiting"]), (&json!(1), &json!(1)));
}

#[test]
#[ignore = "needs kcat"]
fn all_or_up_to_a_letter_or_an_age() {
    let name = with_letters("1", &["a", "b", "c", "d"]);
    let letters = format!("{name}.dlt");
    says(&["purge", &name, "--before", "0:0", "-y"], 0, "", &format!("{letters} has no letters to delete\n"));
    says(&["purge", &name, "--before", "0:1", "-y"], 0, &format!("deleted 1 letter of {letters}\n"), "");
    says(
        &["purge", &name, "--older-than", "@2026-01-31", "-y"],
        0,
        "",
        &format!("{letters} has no letters to delete\n"),
    );
    assert_eq!(by_kcat(&letters, "%o "), b"1 2 3 ");
    let document = run(&["purge", &name, "--older-than", "@2026-02-02", "-y", "-J"]).ok();
    let document: Value = serde_json::from_slice(&document.stdout).expect("a document");
    let partitions = json!([{"partition": 0, "before": 4, "letters": 3, "waiting": 3}]);
    assert_eq!(document, json!({"schema_version": 1, "topic": letters, "letters": 3, "partitions": partitions}));
    assert_eq!(by_kcat(&letters, "%o "), b"");
    put_aside(&name, &[(0, 0, "again"), (0, 1, "again")]).expect("acknowledged");
    assert_eq!(by_kcat(&letters, "%o "), b"4 5 ");
    says(&["purge", &letters, "--all", "-y"], 0, &format!("deleted 2 letters of {letters}\n"), "");
    assert_eq!(by_kcat(&letters, "%o "), b"");
    says(&["list", &name], 0, "", &format!("{letters} has no letters that wait\n"));
}

#[test]
#[ignore = "needs kcat"]
fn it_asks_who_sits_there() {
    let name = with_letters("1", &["a", "b"]);
    let letters = format!("{name}.dlt");
    run(&["replay", &name, "--all"]).ok();
    write(&name, "0", &["c"]);
    put_aside(&name, &[(0, 4, "c")]).expect("acknowledged");
    let question = format!("delete 3 letters of {letters} (1 of them not replayed)? [y/N] ");
    let ask = || crate::harness::kafkalab(["dlt", "purge", &name, "--all", "--no-color"]);
    for (keys, typed) in [("n\n", "n\n"), ("\n", "\n")] {
        let ended = on_terminal(ask(), 80, keys.as_bytes());
        assert_eq!((ended.code(), ended.text()), (1, format!("{typed}{question}nothing was deleted\n")));
    }
    assert_eq!(by_kcat(&letters, "%s "), b"a b c ");
    let mut asking = start_on_terminal(ask(), 40, b"");
    asking.until_stdout_has("[y/N] ");
    put_aside(&name, &[(0, 4, "meanwhile")]).expect("acknowledged");
    asking.types(b"y\n");
    let ended = asking.end();
    assert!(ended.text().ends_with(&format!("deleted 3 letters of {letters}\r\n")), "{}", ended.text());
    assert_eq!((ended.code(), by_kcat(&letters, "%o ").as_slice()), (0, b"3 ".as_slice()));
    let said =
        "error: purging dead letters asks first, and there is no terminal to ask on\nhint: -y purges without asking\n";
    says(&["purge", &name], 2, "", said);
}
