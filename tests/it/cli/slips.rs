//! Slips of a new user, each with the message that names it and the next thing to type, held as exact text.

use super::expect;
use crate::{
    bytes::files::Folder,
    harness::{kafkalab, topic},
    process::on_terminal,
};

/// These arguments, without a broker: exit 2, and these are the last words.
#[track_caller]
fn slip(arguments: &[&str], last: &str) {
    let folder = Folder::new("slips");
    folder.file("in.txt", b"x\n");
    let ended = kafkalab(arguments).env("KAFKALAB_BROKERS", "127.0.0.1:1").in_folder(&folder.0).run();
    assert_eq!((ended.code(), ended.text().as_str()), (2, ""), "{arguments:?}: {ended:?}");
    assert!(ended.stderr.starts_with("error: "), "{arguments:?}: {ended:?}");
    assert!(ended.stderr.ends_with(&format!("{last}\n")), "{arguments:?}: {}", ended.stderr);
}

#[test]
fn words_in_the_wrong_order() {
    slip(&["orders", "consume"], "hint: the command goes first: kafkalab consume orders");
    slip(&["create", "topics", "orders"], "hint: the command goes first: kafkalab topics create orders");
    slip(&["help"], "hint: kafkalab --help");
    slip(&["help", "consume"], "hint: kafkalab consume --help");
    slip(&["produce", "orders", "in.txt"], "hint: a file is named by -l: kafkalab produce orders -l in.txt");
    slip(&["topics", "orders", "describe"], "hint: the command goes first: kafkalab topics describe orders");
    slip(&["cqrs", "write", "mug-1", "pay"], "hint: the command goes first: kafkalab cqrs write pay mug-1");
    slip(&["describe", "t"], "hint: kafkalab topics describe t, or kafkalab groups describe t");
    slip(&["topics", "help"], "hint: kafkalab topics --help");
    slip(&["topics", "--list"], "hint: kafkalab topics list");
    slip(&["produce", "t", "hello"], "hint: what is sent comes from stdin: echo hello | kafkalab produce t");
    slip(&["broker", "consume", "t"], "hint: a command goes behind --: kafkalab broker -- kafkalab consume t");
    slip(&["doctor", "localhost:9092"], "hint: a broker is named by -b: kafkalab doctor -b localhost:9092");
    slip(&["man", "consume"], "hint: its page: kafkalab consume --help; a folder of this name: ./consume");
    slip(&["consume"], "hint: kafkalab consume TOPIC; `kafkalab topics list` shows what there is");
    slip(&["produce"], "hint: kafkalab produce TOPIC, or kafkalab produce --sample 10 for ten order events");
}

#[test]
fn words_of_kcat_and_flags_of_a_part() {
    let kcat = |mode: &str| format!("hint: kcat's {mode} is a command here: kafkalab ");
    slip(&["-C", "-t", "orders", "-e"], &(kcat("-C") + "consume -t orders -e"));
    slip(&["consume", "-C", "-t", "orders", "-f", "%k %v\\n"], &(kcat("-C") + "consume -t orders -f '%k %v\\n'"));
    slip(&["-b", "localhost:9092", "-P", "-t", "orders"], &(kcat("-P") + "produce -b localhost:9092 -t orders"));
    slip(&["-b", "localhost:9092", "-L"], &(kcat("-L") + "topics list"));
    let ended = kafkalab(["consume", "-C", "-t", "orders"]).run();
    assert!(!ended.stderr.contains("as a value"), "{ended:?}");
    slip(&["saga", "--fail-at", "2"], "hint: kafkalab saga run --fail-at 2");
    slip(&["outbox", "--once"], "hint: kafkalab outbox relay --once, or kafkalab outbox consume --once");
}

/// What is missing, or has no place there, is answered by an example of the command's own help: the one that is nearest.
#[test]
fn words_that_are_missing_or_too_many() {
    for (arguments, example) in [
        (&["topics", "create"][..], "topics create orders"),
        (&["topics", "describe"], "topics describe orders"),
        (&["topics", "partitions", "orders"], "topics partitions orders 6"),
        (&["groups", "describe"], "groups describe billing"),
        (&["groups", "reset", "audit"], "groups reset audit --to end -t orders -y"),
        (&["dlt", "replay"], "dlt replay orders --all --dry-run"),
        (&["dlt", "show", "orders"], "dlt show orders 0:12"),
        (&["es", "pay"], "es pay mug-1"),
        (&["es", "create", "USD:12.99"], "es create --price USD:12.99"),
        (&["es", "publish", "orders"], "es publish"),
        (&["outbox", "order"], "outbox order --price USD:12.99"),
        (&["outbox", "consume", "orders"], "outbox consume"),
        (&["saga", "run", "2"], "saga run --fail-at 2"),
        (&["saga", "show"], "saga show trip-1"),
        (&["saga", "participant"], "saga participant payment --store sqlite:shop.db"),
        (&["cqrs", "order"], "cqrs order order-42"),
        (&["cqrs", "rebuild"], "cqrs rebuild users"),
        (&["grpc-consumer", "search"], "grpc-consumer search user-123"),
        (&["grpc-consumer", "analytics"], "grpc-consumer --only analytics --only search-index"),
        (&["grpc-server", "run"], "grpc-server --embedded"),
        (&["learn", "topic", "partition"], "learn topic"),
        (&["broker", "run"], "broker"),
        (&["config", "list"], "config show"),
        (&["completions"], "completions bash > ~/.local/share/bash-completion/completions/kafkalab"),
        (&["man"], "man ~/.local/share/man/man1"),
    ] {
        slip(arguments, &format!("hint: for example: kafkalab {example}"));
    }
}

#[test]
fn something_else_for_a_topic() {
    const HELP: &str = "\n\nFor more information, try '--help'.";
    for (command, flag) in [
        ("produce", "[TOPIC]"),
        ("consume", "[TOPIC]..."),
        ("topics create", "<TOPIC>..."),
        ("topics describe", "<TOPIC>..."),
        ("topics delete", "<TOPIC>..."),
        ("topics config", "<TOPIC>"),
        ("dlt list", "[TOPIC]"),
    ] {
        for (text, meant) in [
            ("./orders", "this is a path, and no topic; a file to be sent is named by -l FILE"),
            ("/tmp/in.txt", "this is a path, and no topic; a file to be sent is named by -l FILE"),
            ("'orders'", "without the quotes and blanks around it: orders"),
            ("\"orders\"", "without the quotes and blanks around it: orders"),
            ("localhost:9092", "this is an address, and no topic; a broker is named by -b HOST:PORT"),
            ("two words", "a topic's name has letters, digits, dots, underscores and dashes, 249 of them at most"),
        ] {
            let arguments: Vec<&str> = command.split(' ').chain([text]).collect();
            slip(&arguments, &format!("error: invalid value '{text}' for '{flag}': {meant}{HELP}"));
        }
    }
}

#[test]
fn values_in_another_form() {
    const HELP: &str = "\n\nFor more information, try '--help'.";
    slip(&["es", "create", "--price", "12.99"], &format!("write currency and amount, such as USD:99.99{HELP}"));
    slip(&["es", "create", "--price", "USD 12.99"], &format!("write currency and amount, such as USD:99.99{HELP}"));
    for step in ["9", "0", "payment"] {
        let steps = "the steps are 1 CreateOrder, 2 ProcessPayment, 3 ShipOrder";
        slip(&["saga", "run", "--fail-at", step], &format!("'{step}' for '--fail-at <N>': {steps}{HELP}"));
    }
    for quoted in ["\"mug-1\"", "mug-1\r"] {
        slip(&["es", "pay", quoted], &format!("'<ORDER>': without the quotes and blanks around it: mug-1{HELP}"));
    }
    slip(
        &["outbox", "show", "1"],
        &format!("an id is like 01a2b3c4-0000-7000-8000-000000000001; a list has them{HELP}"),
    );
    slip(
        &["grpc-server", "--listen", "localhost"],
        &format!("write ADDRESS:PORT, such as 127.0.0.1:9464; an address is no name{HELP}"),
    );
    slip(&["consume", "t", "-b", "http://localhost:9092"], "write host:port, such as localhost:9092 or [::1]:9092");
    slip(
        &["es", "streams", "--store", "/tmp/store.db"],
        "a store is sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE",
    );
}

#[test]
fn what_is_not_there() {
    let missing = topic("missing");
    let said = format!(
        "error: consuming: topic \"{missing}\" does not exist\nhint: `kafkalab topics list` shows what there is\n"
    );
    // another test's topic may be near; this name is as far from all of them as from nothing
    let ended = kafkalab(["consume", &missing, "-e"]).run();
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr == said || ended.stderr.contains("hint: did you mean"), "{}", ended.stderr);
    let folder = Folder::new("slips-store");
    kafkalab(["es", "create", "--price", "USD:1.00", "--store", "sqlite:store.db"]).in_folder(&folder.0).run().ok();
    let store = format!("sqlite:{}", folder.0.join("store.db").display());
    expect(
        kafkalab(["es", "pay", "nothere", "--store", &store]),
        1,
        "",
        "error: order nothere is not there\nhint: `kafkalab es streams` shows what there is; `kafkalab es create --price \
         USD:9.99` makes one\n",
    );
    expect(
        kafkalab(["saga", "show", "nothere", "--store", &store]),
        1,
        "",
        "error: saga nothere is not there\nhint: `kafkalab saga list` shows what there is\n",
    );
}

/// Whoever looks is told that there is nothing to look at, and what would make it; a store with a wrong name is not made.
#[test]
fn a_store_that_is_not_there() {
    let folder = Folder::new("slips-no-store");
    let id = "01a2b3c4-0000-7000-8000-000000000001";
    let looks: &[(&[&str], &str)] = &[
        (&["cqrs", "stats"], "cqrs read"),
        (&["cqrs", "orders"], "cqrs read"),
        (&["cqrs", "order", "mug-1"], "cqrs read"),
        (&["cqrs", "lag"], "cqrs read"),
        (&["es", "state", "mug-1"], "es create --price USD:9.99"),
        (&["es", "history", "mug-1"], "es create --price USD:9.99"),
        (&["es", "diff", "mug-1", "1", "2"], "es create --price USD:9.99"),
        (&["es", "streams"], "es create --price USD:9.99"),
        (&["es", "replay", "--dry-run"], "es create --price USD:9.99"),
        (&["outbox", "list"], "outbox order --price USD:9.99"),
        (&["outbox", "show", id], "outbox order --price USD:9.99"),
        (&["outbox", "retry", "--all"], "outbox order --price USD:9.99"),
        (&["outbox", "discard", id, "-y"], "outbox order --price USD:9.99"),
        (&["outbox", "purge"], "outbox order --price USD:9.99"),
        (&["outbox", "stock"], "outbox consume"),
        (&["saga", "list"], "saga run"),
        (&["saga", "show", "trip-1"], "saga run"),
        (&["saga", "resume"], "saga run"),
        (&["saga", "retry", "trip-1"], "saga run"),
        (&["grpc-consumer", "stats"], "grpc-consumer"),
        (&["grpc-consumer", "search", "ada"], "grpc-consumer"),
        (&["grpc-consumer", "notifications"], "grpc-consumer"),
        (&["grpc-consumer", "retry", "--all"], "grpc-consumer"),
    ];
    let path = folder.0.canonicalize().unwrap().join("lab.db");
    let said = |made_by: &str| {
        format!("error: opening the store: there is no {}\nhint: `kafkalab {made_by}` makes one\n", path.display())
    };
    for (arguments, made_by) in looks {
        // the hint has the store where it is to be said again
        let named = [*arguments, &["--store", "sqlite:lab.db"]].concat();
        let ended = kafkalab(named).in_folder(&folder.0).run();
        assert_eq!((ended.code(), ended.text().as_str()), (1, ""), "{arguments:?}");
        assert_eq!(ended.stderr, said(&format!("{made_by} --store sqlite:lab.db")), "{arguments:?}");
    }
    let by_environment = kafkalab(["cqrs", "stats"]).env("KAFKALAB_STORE", "sqlite:lab.db").in_folder(&folder.0);
    assert_eq!(by_environment.run().stderr, said("cqrs read"));
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_file_or_a_program_that_is_not_there() {
    let folder = Folder::new("slips-files");
    folder.file("in.txt", b"x\n");
    let said = |arguments: &[&str]| {
        let ended = kafkalab(arguments).in_folder(&folder.0).run();
        assert_eq!((ended.code(), ended.text().as_str()), (1, ""), "{arguments:?}");
        ended.stderr
    };
    let not_there = "No such file or directory (os error 2)";
    assert_eq!(
        said(&["produce", "in.txt", "-l", "orders"]),
        format!("error: opening orders: {not_there}\nhint: in.txt is a file: kafkalab produce orders -l in.txt\n")
    );
    assert_eq!(said(&["produce", "orders", "-l", "nope"]), format!("error: opening nope: {not_there}\n"));
    assert_eq!(
        said(&["broker", "--", "no-such-program"]),
        format!(
            "error: running no-such-program: {not_there}\n\
             hint: is it installed? A whole line is for a shell: kafkalab broker -- sh -c 'LINE'\n"
        )
    );
    let folder = said(&["broker", "--port", "0", "--dir", "in.txt/lab"]);
    assert!(folder.ends_with("hint: a folder that this user may write: kafkalab broker --dir ~/lab\n"), "{folder}");
}

#[test]
fn lines_and_settings_as_windows_ends_them() {
    let topic = topic("crlf");
    kafkalab(["produce", &topic, "--input", "json"]).stdin("{\"payload\":\"a\"}\r\n{\"payload\":\"b\"}\r\n").run().ok();
    assert_eq!(kafkalab(["consume", &topic, "-e"]).run().ok().text(), "a\nb\n");
    let folder = Folder::new("slips-crlf");
    folder.file("kafkalab.toml", b"client_id = \"lab\"\r\nconnect_timeout = \"2s\"\r\n");
    let shown = kafkalab(["config", "show"]).in_folder(&folder.0).run().ok();
    assert!(shown.text().contains("lab") && !shown.text().contains('\r'), "{}", shown.text());
    assert_eq!(shown.stderr, "");
}

#[test]
fn without_a_home_the_store_is_in_the_current_folder() {
    let folder = Folder::new("slips-homeless");
    let order = ["es", "create", "--order", "mug-1", "--price", "USD:1.00", "-q"];
    kafkalab(order).in_folder(&folder.0).env_remove("HOME").run().ok();
    assert!(folder.0.join("kafkalab/store.db").is_file());
    // an empty one is none
    let streams = kafkalab(["es", "streams"]).in_folder(&folder.0).env("HOME", "").run().ok();
    assert!(streams.text().contains("mug-1"), "{streams:?}");
}

#[test]
fn a_folder_that_cannot_be_written() {
    let order = ["es", "create", "--price", "USD:1.00", "--store", "sqlite:/dev/null/store.db"];
    expect(
        kafkalab(order),
        1,
        "",
        "error: opening the store: the folder /dev/null of sqlite:/dev/null/store.db cannot be made: File exists (os error \
         17). Make it, or name another path\n",
    );
}

#[test]
fn forty_columns_and_no_colours() {
    let page = on_terminal(kafkalab(["topics", "--help", "--no-color"]), 40, b"").text();
    let options = page.split("\nExamples:").next().unwrap();
    // clap breaks no usage line
    let wide = options.lines().filter(|line| line.chars().count() > 40 && !line.starts_with("Usage: "));
    assert_eq!(wide.collect::<Vec<_>>(), Vec::<&str>::new());
    // the examples and what they do, in columns where there is room for them
    for (columns, began) in [
        (80, "\n  kafkalab saga run --fail-at 2  a payment is declined, and all is undone\n"),
        (40, "\n  kafkalab saga run --fail-at 2\n    a payment is declined, and all is\n    undone\n"),
    ] {
        let page = on_terminal(kafkalab(["--help", "--no-color"]), columns, b"").text();
        assert!(page.contains(began), "{page}");
        let wide: Vec<&str> = page.lines().filter(|line| line.chars().count() > usize::from(columns)).collect();
        assert_eq!(wide, Vec::<&str>::new());
    }
    // a sentence breaks between words, and a hint, which is copied, not at all
    let said = on_terminal(kafkalab(["man", "consume", "--no-color"]), 40, b"").text();
    assert_eq!(
        said,
        "error: man writes all pages into a\n  folder, and consume is a command\n\
         hint: its page: kafkalab consume --help; a folder of this name: ./consume\n"
    );
    let plain = kafkalab(["consume"]).env("NO_COLOR", "1").env("CLICOLOR_FORCE", "1").run();
    assert!(!plain.stderr.contains('\u{1b}'), "{:?}", plain.stderr);
    let colored = on_terminal(kafkalab(["orders", "consume"]), 80, b"").text();
    assert!(colored.contains('\u{1b}'), "{colored:?}");
    let plain = on_terminal(kafkalab(["consume", "--no-color"]), 80, b"").text();
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
}
