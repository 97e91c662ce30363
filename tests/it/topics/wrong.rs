//! Mistakes with topics: three of each subcommand, in a script's and in a person's form.

use super::says;
use crate::{
    cli::expect,
    harness::{kafkalab, topic},
    process::on_terminal,
    topics_made::topic_with,
};

const MORE: &str = "\nFor more information, try '--help'.\n";

/// Found before anything is asked of a broker: there is none at this address.
#[track_caller]
fn usage(line: &str, said: &str) {
    let program = || kafkalab(line.split(' ')).env("KAFKALAB_BROKERS", "localhost:1");
    expect(program(), 2, "", said);
    // the same words for a person, but for the styles
    for columns in [80, 40] {
        let shown = on_terminal(program(), columns, b"");
        assert_eq!(shown.code(), 2, "{line}");
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&plain(&shown.text())).starts_with(&words(said)), "{line}: {}", shown.text());
    }
}

/// Without styles, which clap has on a terminal.
pub fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn words_that_are_missing_or_too_many() {
    for command in ["create", "describe", "delete"] {
        usage(
            &format!("topics {command}"),
            &format!(
                "error: the following required arguments were not provided:\n  <TOPIC>...\n\n\
                 Usage: kafkalab topics {command} <TOPIC>...\n{MORE}hint: for example: kafkalab topics {command} orders\n"
            ),
        );
    }
    let example = |command: &str| match command {
        "config" => "hint: for example: kafkalab topics config orders\n",
        "partitions" => "hint: for example: kafkalab topics partitions orders 6\n",
        _ => "hint: for example: kafkalab topics list\n",
    };
    let missing = |what: &str, usage: &str| {
        format!(
            "error: the following required arguments were not provided:\n  {what}\n\n\
             Usage: kafkalab topics {usage}\n{MORE}{}",
            example(usage.split(' ').next().unwrap_or_default())
        )
    };
    usage("topics config", &missing("<TOPIC>", "config <TOPIC>"));
    usage("topics partitions t", &missing("<N>", "partitions <TOPIC> <N>"));
    let unexpected = |word: &str, usage: &str| {
        // a flag may be anybody's; a word is one too many
        let hint = if word.starts_with('-') { "" } else { example(usage.split(' ').nth(1).unwrap_or_default()) };
        format!("error: unexpected argument '{word}' found\n\nUsage: kafkalab {usage}\n{MORE}{hint}")
    };
    usage("topics list t", &unexpected("t", "topics list [OPTIONS]"));
    usage("topics list --bogus", &unexpected("--bogus", "topics list [OPTIONS]"));
    usage("topics config t u", &unexpected("u", "topics config [OPTIONS] <TOPIC>"));
    usage("topics partitions t 3 4", &unexpected("4", "topics partitions [OPTIONS] <TOPIC> <N>"));
    usage(
        "topics lst",
        &format!(
            "error: unrecognized subcommand 'lst'\n\n  tip: some similar subcommands exist: 'ls', 'list'\n\n\
             Usage: kafkalab topics [OPTIONS] <COMMAND>\n{MORE}"
        ),
    );
    for command in ["create", "describe", "delete"] {
        let flag = format!(
            "error: unexpected argument '--bogus' found\n\n  tip: to pass '--bogus' as a value, use '-- --bogus'\n\n\
             Usage: kafkalab topics {command} <TOPIC>...\n{MORE}"
        );
        usage(&format!("topics {command} t --bogus"), &flag);
    }
}

#[test]
fn values_that_cannot_be() {
    let value = |value: &str, of: &str, why: &str| format!("error: invalid value '{value}' for '{of}': {why}\n{MORE}");
    let form = "write key=value, such as retention.ms=3600000";
    usage("topics create t -p 0", &value("0", "--partitions <N>", "0 is not in 1..=2147483647"));
    usage("topics create t -r 40000", &value("40000", "--replicas <N>", "40000 is not in 1..=32767"));
    usage("topics create t -c retention.ms", &value("retention.ms", "--config <KEY=VALUE>", form));
    usage("topics create t -c a=1 -c a=2", "error: -c a stands twice\n");
    usage("topics config t --set retention.ms", &value("retention.ms", "--set <KEY=VALUE>", form));
    usage("topics config t --set =5", &value("=5", "--set <KEY=VALUE>", form));
    usage("topics config t --set a=1 --delete a", "error: the setting a stands twice\n");
    usage(
        "topics config t --delete",
        &format!("error: a value is required for '--delete <KEY>' but none was supplied\n{MORE}"),
    );
    usage("topics partitions t 0", &value("0", "<N>", "0 is not in 1..=2147483647"));
    usage("topics partitions t x", &value("x", "<N>", "invalid digit found in string"));
}

/// With and without `--json`: the mistake is said on stderr, the document on stdout has what there is.
#[test]
fn topics_that_are_not_there() {
    let missing = topic("there-is-none");
    let unknown =
        format!("error: topic \"{missing}\" does not exist\nhint: `kafkalab topics list` shows what there is\n");
    says(&["describe", &missing], 1, "", &unknown);
    says(&["describe", &missing, "-J"], 1, "{\"schema_version\":1,\"topics\":[]}\n", &unknown);
    says(&["config", &missing], 1, "", &unknown);
    says(&["config", &missing, "--json"], 1, "", &unknown);
    says(&["config", &missing, "--set", "retention.ms=1"], 1, "", &unknown);
    says(&["config", &missing, "--delete", "retention.ms"], 1, "", &unknown);
    says(&["partitions", &missing, "3"], 1, "", &unknown);
    says(&["delete", &missing, "-y"], 1, "", &format!("{unknown}nothing was deleted\n"));
    says(&["delete", &missing, "-y", "--if-exists"], 0, "", &format!("{missing} does not exist\n"));
    // one of two: the one that is there is described, and stays
    let there = topic_with("still", 1);
    let described = super::run(&["describe", &there, &missing]);
    assert_eq!((described.code(), &described.stderr), (1, &unknown));
    assert!(described.text().starts_with(&format!("{there}: 1 partition, 1 replica, 0 records\n")));
    says(&["delete", &there, &missing, "-y"], 1, "", &format!("{unknown}nothing was deleted\n"));
    assert_eq!(super::run(&["describe", &there]).code(), 0, "none is deleted where one does not exist");
}

#[test]
fn what_the_broker_refuses() {
    let name = topic_with("refused", 3);
    let exists = format!(
        "error: creating topic \"{name}\": TOPIC_ALREADY_EXISTS: Topic '{name}' already exists.\n\
         hint: --if-not-exists takes it as it is; kafkalab topics describe {name} shows it\n"
    );
    says(&["create", &name], 1, "", &exists);
    says(&["create", &name, "--dry-run"], 1, "", &exists);
    // the others are made, each by itself
    let (before, behind) = (topic("before"), topic("behind"));
    let made = |name: &str| format!("created {name}: 1 partition, 1 replica\n");
    says(&["create", &before, &name, &behind, "-p", "1"], 1, &format!("{}{}", made(&before), made(&behind)), &exists);
    let fewer = format!(
        "error: topic \"{name}\" has 3 partitions, and Kafka takes none away\n\
         hint: a new topic can have fewer: kafkalab topics create NEW -p 2 && \
         kafkalab consume {name} -eJ | kafkalab produce NEW --input json\n"
    );
    says(&["partitions", &name, "2"], 1, "", &fewer);
    let names = "hint: names and values: https://kafka.apache.org/documentation/#topicconfigs\n";
    let refused = format!("error: changing the configuration of topic \"{name}\": INVALID_CONFIG: ");
    says(&["config", &name, "--set", "bogus=1"], 1, "", &format!("{refused}Unknown topic config name: bogus\n{names}"));
    let number = "Invalid value x for configuration retention.ms: Not a number of type LONG\n";
    says(&["config", &name, "--set", "retention.ms=x"], 1, "", &format!("{refused}{number}{names}"));
    says(
        &["config", &name, "--delete", "bogus", "--set", "retention.ms=5"],
        1,
        "",
        &format!(
            "error: topic \"{name}\" has no setting \"bogus\"\n\
             hint: kafkalab topics config {name} --all shows what it has\n"
        ),
    );
    assert!(!super::run(&["config", &name]).ok().text().contains(" 5 "), "nothing is changed where one is refused");
    // in each broker's own words
    for (arguments, code, hint) in [
        (
            ["create", "many", "-r", "9"].as_slice(),
            "creating topic \"many\": INVALID_REPLICATION_FACTOR: ",
            "hint: a topic can",
        ),
        (&["create", "odd", "-c", "bogus=1"], "creating topic \"odd\": INVALID_CONFIG: ", names),
    ] {
        let ended = super::run(arguments);
        assert_eq!((ended.code(), ended.text().as_str()), (1, ""), "{arguments:?}");
        assert!(ended.stderr.starts_with(&format!("error: {code}")), "{}", ended.stderr);
        assert!(ended.stderr.lines().nth(1).is_some_and(|line| hint.starts_with(line) || line.starts_with(hint)));
    }
}

#[test]
fn a_broker_that_is_not_there() {
    let hint = "hint: is the broker running, and is the address right? It comes from flag --brokers; `kafkalab doctor` looks closer\n";
    let said =
        format!("error: connecting: no broker reachable at localhost:1: Connection refused (os error 111)\n{hint}");
    for line in
        ["list", "list -J", "describe t -J", "create t u", "delete t -y", "config t", "config t -J", "partitions t 3"]
    {
        says(&line.split(' ').chain(["-b", "localhost:1"]).collect::<Vec<_>>(), 3, "", &said);
    }
}
