//! Mistakes, as a stranger makes them.

use rustix::process::Signal;

use super::{consuming, drain, judged, stats, tables, write};
use crate::{cli::expect, es::Place};

#[test]
fn wrong_words_are_told_with_2() {
    let place = Place::new("usage");
    for (arguments, why) in [
        (&["--only", "everything"][..], "write one of analytics, notifications, search-index"),
        (&["--notify", "told.jsonl"], "--notify: write file:PATH, http://HOST/PATH or https://HOST/PATH"),
        (&["--notify", "ftp://a/b"], "--notify: write file:PATH"),
        (&["--notify", "http://ada:pw@a/b"], "--notify: a URL with a user or a password in it is not called"),
        (&["--only", "analytics", "--notify", "file:x"], "--notify is for notifications, which --only leaves out"),
        (&["--once", "stats"], "does not go with a subcommand"),
        (&["--attempts", "0"], "0 is not in 1..=1000"),
        (&["--metrics", "here"], "invalid value 'here'"),
        (&["--give-up-after", "1s"], "--once"),
        (&["rebuild", "notifications"], "what was sent cannot be taken back"),
        (&["rebuild", "all"], "write analytics or search-index"),
        (&["retry"], "name the notifications, or --all"),
        (&["notifications", "--status", "eaten"], "write one of waiting, sent, dead"),
        (&["search"], "<WORDS>"),
        (&["search", "a", "-n", "0"], "0 is not in 1..=10000"),
    ] {
        let ended = place.consumer(arguments).run();
        assert!(ended.code() == 2 && ended.stderr.contains(why), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.contains("pw"), "{ended:?}");
    }
    let ended = place.consumer(&["--notify", "file:/nowhere/told.jsonl"]).run();
    let said = "error: file:/nowhere/told.jsonl: No such file or directory (os error 2)\n";
    assert_eq!((ended.code(), ended.stderr.as_str()), (1, said));
    place.handle(vec![]); // makes the store
    expect(place.consumer(&["notifications"]), 0, "", "0 notifications waiting; 0 dead\n");
}

#[test]
fn a_rebuild_gives_the_same_rows_whatever_they_were() {
    let place = Place::new("rebuild");
    write(&place, 120, 61);
    drain(&place, &[]);
    let before = tables(&place);
    // somebody's hand
    place.sql("UPDATE counts SET count = count + 1 WHERE name = 'user'");
    place.sql("DELETE FROM documents WHERE id > (SELECT min(id) FROM documents)");
    assert_ne!(tables(&place), before);
    for name in ["analytics", "search-index"] {
        let ended = place.consumer(&["rebuild", name]).run().ok();
        assert!(ended.stderr.starts_with(&format!("{name}: rebuilt from ")), "{ended:?}");
    }
    assert_eq!(tables(&place), before);
    judged(&place);
}

#[test]
fn a_rebuild_beside_the_consumer_is_refused_and_changes_nothing() {
    let place = Place::new("beside");
    write(&place, 40, 51);
    place.consumer(&["--once", "-q"]).run().ok();
    let before = stats(&place);
    let mut consumers = consuming(&place, &["--json"]);
    write(&place, 10, 52);
    consumers.until_stdout_has("\"handler\":\"analytics\"");
    let ended = place.consumer(&["rebuild", "analytics"]).run();
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.stderr.contains("hint: end `kafkalab grpc-consumer` first"), "{ended:?}");
    assert!(stats(&place)["orders"].as_u64() >= before["orders"].as_u64(), "{before}");
    consumers.signal(Signal::INT);
    assert_eq!(consumers.end().code(), 130);
}
