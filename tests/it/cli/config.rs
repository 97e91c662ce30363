//! `config show`: every setting and who gave it; the files that it reads, and what is wrong with them.

use super::expect;
use crate::{
    bytes::files::Folder,
    harness::{Program, kafkalab},
};

/// In a folder of its own, so that no file of somebody's is read.
fn show(folder: &Folder, arguments: &[&str]) -> Program {
    let program = kafkalab(["config", "show"]).arguments(arguments).in_folder(&folder.0);
    program.env("HOME", "/nowhere").env_remove("KAFKALAB_BROKERS").env_remove("KAFKALAB_MAX_ANSWER")
}

const REST: &str = "metadata_age              30s  (default)
max_answer                104857600  (default)
topic_prefix              -  (default)
store                     sqlite:/nowhere/.local/share/kafkalab/store.db  (default)
tls.enabled               false  (default)
tls.ca                    -  (default)
tls.cert                  -  (default)
tls.key                   -  (default)
tls.insecure_skip_verify  false  (default)
sasl.mechanism            -  (default)
sasl.username             -  (default)
sasl.password             -  (default)
sasl.password_file        -  (default)
sasl.plain_without_tls    false  (default)
";

#[test]
fn each_setting_names_its_source() {
    let folder = Folder::new("config");
    let defaults = "brokers                   localhost:9092  (default)
client_id                 kafkalab  (default)
connect_timeout           5s  (default)
request_timeout           30s  (default)
";
    expect(show(&folder, &[]), 0, &format!("{defaults}{REST}"), "");
    let file = folder
        .file("kafkalab.toml", b"brokers = \"file:1\"\nclient_id = \"from-file\"\n[profiles.lab]\nclient_id = 'lab'\n");
    let mixed = format!(
        "brokers                   flag:1,flag:2  (flag --brokers)
client_id                 from-file  ({file})
connect_timeout           700ms  (environment KAFKALAB_CONNECT_TIMEOUT)
request_timeout           1s  (flag -X request_timeout)
{REST}"
    );
    let flags = ["-b", "flag:1", "-b", "flag:2", "-X", "request_timeout=1s"];
    expect(show(&folder, &flags).env("KAFKALAB_CONNECT_TIMEOUT", "700ms"), 0, &mixed, "");
    let profile = show(&folder, &["--profile", "lab"]).run().ok();
    assert!(
        profile.text().contains(&format!("client_id                 lab  ({file} [profiles.lab])\n")),
        "{profile:?}"
    );
}

#[test]
fn as_json_it_is_one_document() {
    let folder = Folder::new("config-json");
    let json = show(&folder, &["--json"]).run().ok().text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("one JSON document");
    assert_eq!(json["schema_version"], 1);
    let first = serde_json::json!({"key": "brokers", "source": "default", "value": "localhost:9092"});
    assert_eq!(json["settings"][0], first);
    assert_eq!(json["settings"].as_array().map(Vec::len), Some(18));
}

#[test]
fn mistakes_in_settings_name_their_place() {
    let folder = Folder::new("config-wrong");
    let keys = "brokers, client_id, connect_timeout, request_timeout, metadata_age, max_answer, topic_prefix, store, tls.enabled, \
        tls.ca, tls.cert, tls.key, tls.insecure_skip_verify, sasl.mechanism, sasl.username, sasl.password_file, \
        sasl.plain_without_tls";
    for (arguments, said) in [
        (&["-X", "foo=1"][..], format!("error: -X foo: unknown key; the keys are {keys}\n")),
        (&["-X", "client_id"], format!("error: -X client_id: write key=value; the keys are {keys}\n")),
        (
            &["-X", "connect_timeout=5"],
            "error: flag -X connect_timeout: `connect_timeout`: `5` is not a time; write 500ms, 5s or 2m\n".to_owned(),
        ),
        (
            &["-X", "sasl.password=hunter2"],
            "error: -X sasl.password: a password on the command line can be read by everyone on this machine; set \
             KAFKALAB_SASL_PASSWORD, or sasl.password_file to a file with mode 0600\n"
                .to_owned(),
        ),
    ] {
        expect(show(&folder, arguments), 2, "", &said);
    }
    let file = folder.file("kafkalab.toml", b"brokers = 'here:1'\nbroker = 'typo:1'\nclient_id = [\n");
    let ended = show(&folder, &[]).run();
    let place = format!("error: {file}, line 3: ");
    assert_eq!((ended.code(), ended.stderr.starts_with(&place)), (2, true), "{ended:?}");
    folder.file("kafkalab.toml", b"brokers = 'here:1'\nbroker = 'typo:1'\n");
    let ended = show(&folder, &[]).run().ok();
    assert_eq!(ended.stderr, format!("warning: {file}: unknown key `broker` has no effect\n"));
}

#[test]
fn a_password_is_never_shown() {
    let folder = Folder::new("config-secret");
    let program = show(&folder, &["-vv"]).env("KAFKALAB_SASL_PASSWORD", "canary-7f3a");
    let ended = program.run().ok();
    assert!(ended.text().contains("sasl.password             (set)  (environment KAFKALAB_SASL_PASSWORD)\n"));
    assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
}
