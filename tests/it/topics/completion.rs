//! Topic names complete: the shell asks kafkalab as its script says, and kafkalab asks the broker.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use super::run;
use crate::harness::{Program, kafkalab, program, topic};

/// What bash's script runs at `kafkalab WORDS<TAB>`; the last word is the one that is being typed.
fn asked(words: &[&str]) -> Program {
    let program = kafkalab(["--", "kafkalab"]).arguments(words).env("KAFKALAB_COMPLETE", "bash");
    program.env("_CLAP_COMPLETE_INDEX", &words.len().to_string()).env("_CLAP_IFS", "\n")
}

#[track_caller]
fn offered(words: &[&str]) -> Vec<String> {
    let ended = asked(words).run().ok();
    assert_eq!(ended.stderr, "");
    ended.text().lines().map(str::to_owned).collect()
}

#[test]
fn topics_of_the_broker_are_offered_wherever_one_is_named() {
    let name = topic("complete");
    run(&["create", &format!("{name}.a"), &format!("{name}.b")]).ok();
    let both = [format!("{name}.a"), format!("{name}.b")];
    for words in [
        &["consume", &name][..],
        &["consume", "-t", &name],
        &["consume", "earlier", &name],
        &["produce", &name],
        &["produce", "--topic", &name],
        &["topics", "describe", &name],
        &["topics", "delete", "-y", &name],
        &["topics", "config", &name],
        &["topics", "partitions", &name],
    ] {
        assert_eq!(offered(words), both, "{words:?}");
    }
    assert_eq!(offered(&["consume", &both[1]]), both[1..]);
    assert!(offered(&["topics", "create", &name]).is_empty(), "a new one has a new name");
    assert!(offered(&["consume", "no-topic-begins-like-this"]).is_empty());
}

#[test]
fn kafkas_own_topics_are_offered_to_who_begins_as_they_do() {
    let name = topic("own");
    run(&["create", &name]).ok();
    let all = offered(&["consume", ""]);
    assert!(all.contains(&name), "{all:?}");
    assert!(!all.iter().any(|name| name.starts_with("__")), "{all:?}");
}

/// No broker, one that never answers: no word, and no waiting.
#[test]
fn without_a_broker_nothing_is_offered_and_nothing_said() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().map(|address| (silent, address.to_string())).expect("its address");
    for brokers in ["localhost:1", &silent.1, "nonsense:"] {
        let began = Instant::now();
        let ended = asked(&["topics", "describe", "t"]).env("KAFKALAB_BROKERS", brokers).run();
        assert_eq!((ended.code(), ended.text().as_str(), ended.stderr.as_str()), (0, "", ""), "{brokers}");
        assert!(began.elapsed() < Duration::from_secs(3), "{brokers}: {:?}", began.elapsed());
    }
}

/// The whole way: bash reads the script and completes a line.
#[test]
fn bash_completes_a_topic() {
    let name = topic("bash");
    run(&["create", &name]).ok();
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_kafkalab")).parent().expect("a folder").display().to_string();
    let script = format!(
        "PATH={folder}:$PATH; source <(kafkalab completions bash)
         COMP_WORDS=(kafkalab consume {begun}) COMP_CWORD=2 COMP_TYPE=9 COMP_LINE='kafkalab consume {begun}'
         COMP_POINT=${{#COMP_LINE}}
         $(complete -p kafkalab | sed 's/.*-F \\([^ ]*\\).*/\\1/') kafkalab {begun} consume
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        begun = &name[..name.len() - 4]
    );
    let ended = program("bash", ["-c", &script]).env("KAFKALAB_BROKERS", crate::harness::brokers()).run().ok();
    assert_eq!((ended.text().trim(), ended.stderr.as_str()), (name.as_str(), ""));
}
