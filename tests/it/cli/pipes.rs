//! Right use in a pipe, and readers that go away.

use super::expect;
use crate::harness::{kafkalab, program, topic};

/// `sh -c SCRIPT` with kafkalab as `$0`.
fn shell(script: &str, arguments: &[&str]) -> crate::harness::Program {
    // the environment of a kafkalab of the tests, for the shell's children
    let brokers = crate::harness::brokers();
    program("sh", ["-c", script, env!("CARGO_BIN_EXE_kafkalab")]).arguments(arguments).env("KAFKALAB_BROKERS", brokers)
}

#[test]
fn in_a_pipe_there_are_records_and_nothing_else() {
    let topic = topic("pipe");
    expect(kafkalab(["produce", &topic, "-p", "0", "-K:"]).stdin("a:1\nb:2\n"), 0, "", "");
    expect(kafkalab(["produce", "-t", &topic, "-k", "c"]).stdin("3"), 0, "", "");
    expect(kafkalab(["consume", &topic, "-e"]), 0, "1\n2\n3\n", "");
    expect(kafkalab(["consume", "-t", &topic, "-e", "-f", r"%i %o %k\n"]), 0, "1 0 a\n2 1 b\n3 2 c\n", "");
    // all parts of a line of JSON, in their order
    let json = kafkalab(["consume", &topic, "-n", "1", "-J", "-o", "1"]).run().ok().text();
    let ts: i64 = json.split("\"ts\":").nth(1).and_then(|rest| rest.split(',').next()).unwrap().parse().unwrap();
    let time = time_of(ts);
    let line = format!(
        "{{\"topic\":\"{topic}\",\"partition\":0,\"offset\":1,\"ts\":{ts},\"timestamp\":\"{time}\",\"headers\":[],\
         \"key\":\"b\",\"payload\":\"2\"}}\n"
    );
    assert_eq!(json, line);
}

fn time_of(ms: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).expect("a time");
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.format(format).expect("a time")
}

#[test]
fn receipts_tell_where_each_record_went() {
    let topic = topic("receipts");
    let receipt = |record: u64, offset: u64| {
        format!(
            "{{\"offset\":{offset},\"partition\":0,\"record\":{record},\"status\":\"acknowledged\",\"topic\":\"{topic}\"}}\n"
        )
    };
    let stdout = format!("{}{}", receipt(1, 0), receipt(2, 1));
    expect(kafkalab(["produce", &topic, "-p", "0", "--json"]).stdin("a\nb\n"), 0, &stdout, "");
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let topic = topic("head");
    let lines: String = (0..50_000).map(|n| format!("{n}\n")).collect();
    kafkalab(["produce", &topic]).stdin(lines).run().ok();
    let script = r#"{ "$0" consume "$1" -e; echo "exit $?" >&2; } | head -1"#;
    expect(shell(script, &[&topic]), 0, "0\n", "exit 0\n");
    let script = r#"{ yes | "$0" produce "$1" -n 5000 --json; echo "exit $?" >&2; } | head -1 | wc -l"#;
    let ended = shell(script, &[&topic]).run();
    assert_eq!((ended.text().trim(), ended.stderr.as_str()), ("1", "exit 0\n"));
    for command in ["config show", "completions bash", "--help", "consume --help"] {
        let script = format!(r#"{{ sleep 0.2; "$0" {command}; echo "exit $?" >&2; }} | true"#);
        expect(shell(&script, &[]), 0, "", "exit 0\n");
    }
}

#[test]
fn nobody_on_stderr_changes_no_exit_code() {
    let code = |arguments: &str| {
        // stderr goes into a pipe whose reader has ended
        let script =
            format!(r#"exec 3>&1; {{ sleep 0.2; "$0" {arguments} 2>&1 >/dev/null; echo "exit $?" >&3; }} | true"#);
        shell(&script, &[]).stdin("x\n").run().text()
    };
    assert_eq!(code("produce"), "exit 2\n");
    assert_eq!(code("consume t -e -b localhost:1"), "exit 3\n");
    assert_eq!(code("-vv consume t -e -b localhost:1"), "exit 3\n");
    assert_eq!(code("produce t -l /"), "exit 1\n");
}

#[test]
fn the_broker_lends_itself_to_a_command() {
    let run = |arguments: &[&str]| kafkalab(["broker"]).arguments(arguments).env_remove("KAFKALAB_BROKERS");
    expect(run(&["--", "sh", "-c", "exit 7"]), 7, "", "");
    expect(run(&["--", "sh", "-c", "kill -9 $$"]), 137, "", "");
    expect(run(&["--", "true"]), 0, "", "");
    let script = r#"echo hi | "$0" produce greetings && "$0" consume greetings -e"#;
    expect(run(&["--", "sh", "-c", script, env!("CARGO_BIN_EXE_kafkalab")]), 0, "hi\n", "");
    let missing = "error: running no-such-program: No such file or directory (os error 2)\n\
                   hint: is it installed? A whole line is for a shell: kafkalab broker -- sh -c 'LINE'\n";
    expect(run(&["--", "no-such-program"]), 1, "", missing);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let said = format!(
        "error: starting the embedded broker on 127.0.0.1:{port}: Address already in use (os error 98)\n\
         hint: another port: kafkalab broker --port 19092 (0 takes a free one)\n"
    );
    expect(kafkalab(["broker", "--port", &port.to_string()]), 1, "", &said);
    let said = "error: invalid value '99999' for '--port <PORT>': 99999 is not in 0..=65535\n\n\
                For more information, try '--help'.\n";
    expect(kafkalab(["broker", "--port", "99999"]), 2, "", said);
}
