//! Slips: what is wrong and what to do instead, before any connection where that is possible.

use super::{group, run, says, written};
use crate::{
    bytes::files::Folder,
    cli::expect,
    harness::{Program, kafkalab},
    topics_made::topic_with,
};

const MORE: &str = "\nFor more information, try '--help'.\n";

/// With a broker's address where none is.
fn nowhere(line: &str) -> Program {
    kafkalab(["groups"]).arguments(line.split(' ')).env("KAFKALAB_BROKERS", "localhost:1")
}

#[test]
fn groups_that_do_not_exist_are_named_with_those_that_are_like_them() {
    let (topic, group) = (topic_with("near", 1), group("near"));
    written(&topic, 0, 1, 0);
    run(&["reset", &group, "-t", &topic, "--to", "start", "-y"]).ok();
    let near = format!("x{group}");
    let said = format!("error: group {near:?} does not exist\nhint: did you mean {group}");
    for arguments in
        [["describe", &near].as_slice(), &["reset", &near, "--to", "start", "-y"], &["delete", &near, "-y"]]
    {
        let ended = run(arguments);
        assert_eq!((ended.code(), ended.text().as_str()), (1, ""), "{arguments:?}");
        assert!(ended.stderr.starts_with(&said), "{}", ended.stderr); // and perhaps other tests' groups
    }
    let both = run(&["describe", &near, &group, "-J"]);
    assert!(both.code() == 1 && both.stderr.starts_with(&said), "{both:?}");
    let document: serde_json::Value = serde_json::from_slice(&both.stdout).expect("one document");
    assert_eq!(document["groups"][0]["name"], group.as_str());
    assert_eq!(run(&["delete", &near, &group, "-y"]).code(), 1);
    run(&["describe", &group]).ok(); // where one does not exist, none is deleted
}

#[test]
fn topics_and_partitions_that_do_not_exist_are_named() {
    let (topic, group) = (topic_with("named", 2), group("named"));
    let unknown = format!("{topic}x");
    let ended = run(&["reset", &group, "-t", &unknown, "--to", "start", "-y"]);
    assert_eq!((ended.code(), ended.text().as_str()), (1, ""));
    assert!(ended.stderr.starts_with(&format!("error: topic {unknown:?} does not exist\nhint: did you mean {topic}")));
    says(
        &["reset", &group, "-t", &topic, "-p", "0,2", "--to", "start", "-y"],
        1,
        "",
        &format!("error: topic {topic:?} has no partition 2: it has 2 (0 to 1)\n"),
    );
    run(&["reset", &group, "-t", &topic, "-p", "0", "--to", "start", "-y"]).ok();
    says(
        &["reset", &group, "-p", "1", "--to", "start", "-y"],
        1,
        "",
        &format!(
            "error: group {group:?} has committed no offsets in these partitions\n\
             hint: -t TOPIC names the topic to move it in\n"
        ),
    );
}

#[test]
fn what_was_left_out_or_cannot_be_read_is_said_before_any_connection() {
    let asks = |what: &str, hint: &str| {
        format!("error: {what} asks first, and there is no terminal to ask on\nhint: {hint}\n")
    };
    expect(nowhere("delete g"), 2, "", &asks("deleting groups", "-y deletes without asking"));
    expect(
        nowhere("reset g --to start"),
        2,
        "",
        &asks("resetting a group", "-y resets without asking, --dry-run only shows what would change"),
    );
    let missing = |what: &str, usage: &str, example: &str| {
        format!(
            "error: the following required arguments were not provided:\n  {what}\n\nUsage: kafkalab groups {usage}\n{MORE}\
             hint: for example: kafkalab groups {example}\n"
        )
    };
    expect(nowhere("describe"), 2, "", &missing("<GROUP>...", "describe <GROUP>...", "describe billing"));
    expect(nowhere("delete -y"), 2, "", &missing("<GROUP>...", "delete --yes <GROUP>...", "delete billing"));
    expect(
        nowhere("reset g -y"),
        2,
        "",
        &missing(
            "<--to <WHERE>|--from-file <FILE>>",
            "reset --yes <--to <WHERE>|--from-file <FILE>> <GROUP>",
            "reset billing --to start --dry-run",
        ),
    );
    let both = nowhere("reset g --to start --from-file x -y").run();
    assert!(both.code() == 2 && both.stderr.contains("cannot be used with"), "{}", both.stderr);
    let both = nowhere("reset g -t t --from-file x -y").run();
    assert!(both.code() == 2 && both.stderr.contains("cannot be used with"), "{}", both.stderr);
    for (place, said) in [
        ("bogus", "error: `bogus` is not one place; one of:\n  start, end "),
        ("5:9", "error: `5:9` is not one place; one of:\n"),
        ("stored", "error: `stored` is not one place; one of:\n"),
        ("@1h", "error: `@1h` starts in the future; `@-1h` is `1h` ago\n"),
    ] {
        let ended = nowhere("reset g -y --to").arguments([place]).run();
        assert_eq!((ended.code(), ended.text().as_str()), (2, ""), "{place}");
        assert!(ended.stderr.starts_with(said), "{}", ended.stderr);
    }
    expect(
        nowhere("describe g --watch 5"),
        2,
        "",
        &format!(
            "error: invalid value '5' for '--watch [<INTERVAL>]': `5` is not a time; write 500ms, 5s or 2m\n{MORE}"
        ),
    );
    expect(
        nowhere("describe g --watch=1ms"),
        2,
        "",
        &format!("error: invalid value '1ms' for '--watch [<INTERVAL>]': every 100ms is the most often\n{MORE}"),
    );
    expect(
        nowhere("list --state stabel"),
        2,
        "",
        &format!(
            "error: invalid value 'stabel' for '--state <STATE>': states are Stable, Empty, PreparingRebalance, \
             CompletingRebalance, Dead, Assigning, Reconciling\n{MORE}"
        ),
    );
    assert_eq!(nowhere("list").run().code(), 3);
}

#[test]
fn files_that_are_no_description_are_refused() {
    let folder = Folder::new("offsets");
    let missing = format!("{}/none.json", folder.0.display());
    let file = |name: &str, text: &str| folder.file(name, text.as_bytes());
    for (path, said) in [
        (missing.clone(), format!("error: {missing}: No such file or directory (os error 2)\n")),
        (file("a", "nonsense"), "not a document of `kafkalab groups describe -J`".to_owned()),
        (file("b", r#"{"schema_version":7,"groups":[]}"#), "schema_version 7; this kafkalab reads 1\n".to_owned()),
        (file("c", r#"{"schema_version":1,"groups":[]}"#), "there is no group in it\n".to_owned()),
    ] {
        let ended = nowhere("reset g -y --from-file").arguments([&path]).run();
        assert_eq!((ended.code(), ended.text().as_str()), (2, ""), "{path}");
        assert!(ended.stderr.contains(&said) && ended.stderr.contains(&path), "{}", ended.stderr);
    }
}
