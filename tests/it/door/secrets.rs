//! The password is seen by the broker alone: not in what is printed, at any level of the log, nor in the process's
//! arguments; and it goes out in the clear only where that is asked for.

use super::{
    Door, Listener, PASSWORD,
    server::{Reply, broker},
};
use crate::{
    bytes::files::Folder,
    cli::expect,
    harness::{Program, kafkalab, topic},
    process,
};

fn with_sasl(address: &str, mechanism: &str, settings: &[&str]) -> Program {
    let mechanism = format!("sasl.mechanism={mechanism}");
    let settings = [&[&*mechanism, "sasl.username=ada"], settings].concat();
    kafkalab(["topics", "list", "-b", address]).arguments(settings.iter().flat_map(|text| ["-X", text]))
}

#[test]
fn plain_without_tls_is_refused_before_anything_is_sent() {
    let program = with_sasl("localhost:1", "PLAIN", &[]).env("KAFKALAB_SASL_PASSWORD", PASSWORD);
    let said = "error: SASL PLAIN without TLS would send the password in the clear: switch TLS on \
                (-X tls.enabled=true), use SCRAM-SHA-256 or SCRAM-SHA-512, or ask for it with \
                -X sasl.plain_without_tls=true\n";
    expect(program, 2, "", said);
    let asked = with_sasl("localhost:1", "PLAIN", &["sasl.plain_without_tls=true"]);
    assert_eq!(asked.env("KAFKALAB_SASL_PASSWORD", PASSWORD).run().code(), 3);
}

/// The library holds the same, whoever calls it.
#[test]
fn the_library_refuses_plain_without_tls_too() {
    use kafkalab::kafka::{Cluster, ConnectOptions, Error, Mechanism, Password, Sasl, Security};
    let sasl = |plain_without_tls| Sasl {
        mechanism: Mechanism::Plain,
        username: "ada".to_owned(),
        password: Password::new(PASSWORD),
        plain_without_tls,
    };
    let options = |plain_without_tls| ConnectOptions {
        security: Security { tls: None, sasl: Some(sasl(plain_without_tls)) },
        ..ConnectOptions::default()
    };
    assert!(!format!("{:?}", options(true)).contains("canary"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = broker("PLAIN", || |_, _: &[u8]| Reply::Says(Vec::new()));
    let connect = |plain_without_tls| {
        let brokers = vec![address.parse().expect("an address")];
        runtime.block_on(Cluster::connect(brokers, options(plain_without_tls)))
    };
    let refused = connect(false).expect_err("refused");
    assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
    connect(true).expect("asked for");
}

#[test]
fn settings_that_do_not_go_together_are_refused_before_anything_is_sent() {
    let folder = Folder::new("secrets");
    let (nothing, words) = (folder.0.join("none.pem").display().to_string(), folder.file("words.pem", b"words\n"));
    let nowhere = |settings: &[&str]| {
        let settings: Vec<&str> = settings.iter().flat_map(|text| ["-X", text]).collect();
        kafkalab(["topics", "list", "-b", "localhost:1"]).arguments(settings)
    };
    for (settings, said) in [
        (&["sasl.mechanism=SCRAM-SHA-256"][..], "sasl.mechanism is set and sasl.username is not".to_owned()),
        (
            &["sasl.username=ada"],
            "sasl.username is set and sasl.mechanism is not; there are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512".to_owned(),
        ),
        (
            &["sasl.username=ada", "sasl.mechanism=GSSAPI"],
            "SASL mechanism \"GSSAPI\" is not known here; there are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512".to_owned(),
        ),
        (
            &["sasl.username=ada", "sasl.mechanism=SCRAM-SHA-256"],
            "sasl.username is set and there is no password: set KAFKALAB_SASL_PASSWORD, or sasl.password_file to a file \
             with mode 0600"
                .to_owned(),
        ),
        (
            &[&format!("tls.cert={words}")],
            "tls.cert is set and tls.key is not: a certificate and its key go together".to_owned(),
        ),
        (&[&format!("tls.ca={nothing}")], format!("cannot read {nothing}: No such file or directory (os error 2)")),
        (&[&format!("tls.ca={words}")], format!("{words}: there is no certificate in it (PEM is read)")),
    ] {
        expect(nowhere(settings), 2, "", &format!("error: {said}\n"));
    }
}

#[test]
fn a_password_by_a_pipe_is_read() {
    let address = broker("PLAIN", || {
        |round, message: &[u8]| match round {
            0 => Reply::Says(Vec::new()),
            _ if message == format!("\0ada\0{PASSWORD}").as_bytes() => Reply::Says(Vec::new()),
            _ => Reply::Refuses("another password".to_owned()),
        }
    });
    let by_pipe = ["sasl.plain_without_tls=true", "sasl.password_file=/dev/stdin"];
    with_sasl(&address, "PLAIN", &by_pipe).stdin(format!("{PASSWORD}\n")).run().ok();
    assert_eq!(with_sasl(&address, "PLAIN", &by_pipe).stdin("another\n").run().code(), 3);
}

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn the_password_is_in_no_output_at_any_level() {
    let door = Door::get();
    let topic = topic("bird");
    for (listener, mechanism) in [
        (Listener::Password, "PLAIN"),
        (Listener::Password, "SCRAM-SHA-256"),
        (Listener::Password, "SCRAM-SHA-512"),
        (Listener::Open, "PLAIN"),
        (Listener::Open, "SCRAM-SHA-512"), // not offered there
    ] {
        let sasl = format!("sasl.mechanism={mechanism}");
        let tls = matches!(listener, Listener::Password);
        let door_key = if tls { "tls.ca={}/ca.pem" } else { "sasl.plain_without_tls=true" };
        let settings = [door_key, &sasl, "sasl.username=ada"];
        for command in [&["produce", &topic][..], &["consume", &topic, "-e"], &["topics", "list"], &["config", "show"]]
        {
            for (user, password) in [("right", PASSWORD), ("wrong", "canary-wrong")] {
                let program = door.kafkalab(listener, &settings, command).arguments(["-vv"]).stdin("x\n");
                let program = program.env("KAFKALAB_LOG", "trace").env("RUST_BACKTRACE", "full");
                let ended = program.env("KAFKALAB_SASL_PASSWORD", password).run();
                let said = ended.text() + &ended.stderr;
                assert!(!said.contains("canary-"), "{mechanism} {user} {command:?}: {said}");
                let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, password);
                assert!(!said.contains(encoded.trim_end_matches('=')), "{mechanism} {user} {command:?}: {said}");
                // rustls tells much; where nothing goes wrong the rest tells nothing
                assert!(command[0] == "config" || !tls || said.contains("TRACE"), "nothing was logged: {said}");
            }
        }
    }
}

#[test]
#[ignore = "needs Apache Kafka with SASL listeners"]
fn the_password_is_not_among_the_arguments_of_the_process() {
    let door = Door::get();
    let topic = topic("arguments");
    let folder = Folder::new("password");
    let file = folder.file("password", PASSWORD.as_bytes());
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    let named = format!("sasl.password_file={file}");
    let settings = ["tls.ca={}/ca.pem", "sasl.mechanism=SCRAM-SHA-512", "sasl.username=ada", &named];
    door.kafkalab(Listener::Password, &settings, &["produce", &topic]).stdin("one\n").run().ok();
    let mut running = process::start(door.kafkalab(Listener::Password, &settings, &["consume", &topic, "-n", "2"]));
    running.until_stdout_has("one");
    let arguments = std::fs::read(format!("/proc/{}/cmdline", running.pid())).expect("a running process");
    let arguments = String::from_utf8_lossy(&arguments).into_owned();
    assert!(arguments.contains("sasl.username=ada") && !arguments.contains("canary"), "{arguments}");
    door.kafkalab(Listener::Password, &settings, &["produce", &topic]).stdin("two\n").run().ok();
    assert_eq!(running.end().code(), 0);
}
