//! Mistakes: what is wrong, where, and what to do instead; nothing is sent and no connection is made before it is said.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use super::expect;
use crate::{
    bytes::files::Folder,
    harness::{Program, kafkalab, topic},
    topics_made::topic_with,
};

const FORMS: &str =
    "  start, end       the first record, or behind the last (also beginning, earliest, oldest, latest, newest)
  N, +N, -N        the offset N; N after the start; N before the end
  N:M, :end        up to, not including, the second place; either side may be left out
  @TIME, @T1:T2    by time: 1700000000000 (ms), 1700000000 (s), 2026-01-31, 2026-01-31T08:30:00Z,
                   -1h (an hour ago; ms s m h d w), @2026-01-31:6h (six hours of that day)
  s@TIME, e@TIME   start and end by time, as in kcat
  stored           where the group has committed
";

const MORE: &str = "\nFor more information, try '--help'.\n";

/// With a broker's address where none is: a mistake must be found before anything is asked of it.
fn nowhere(line: &str) -> Program {
    kafkalab(line.split(' ')).env("KAFKALAB_BROKERS", "localhost:1")
}

#[test]
fn wrong_flags_and_words() {
    let flag = |flag: &str, usage: &str| {
        format!(
            "error: unexpected argument '{flag}' found\n\n  tip: to pass '{flag}' as a value, use '-- {flag}'\n\n\
             Usage: kafkalab {usage}\n{MORE}"
        )
    };
    expect(nowhere("produce t --bogus"), 2, "", &flag("--bogus", "produce <TOPIC>"));
    expect(nowhere("consume t --bogus"), 2, "", &flag("--bogus", "consume <TOPIC>..."));
    expect(
        nowhere("config show --bogus"),
        2,
        "",
        &format!("error: unexpected argument '--bogus' found\n\nUsage: kafkalab config show [OPTIONS]\n{MORE}"),
    );
    expect(
        nowhere("broker run"),
        2,
        "",
        &format!(
            "error: unexpected argument 'run' found\n\nUsage: kafkalab broker [OPTIONS] [-- <COMMAND>...]\n{MORE}\
             hint: for example: kafkalab broker\n"
        ),
    );
    expect(
        nowhere("prodduce t"),
        2,
        "",
        &format!(
            "error: unrecognized subcommand 'prodduce'\n\n  tip: a similar subcommand exists: 'produce'\n\n\
             Usage: kafkalab [OPTIONS] <COMMAND>\n{MORE}"
        ),
    );
    expect(
        nowhere("produce t -z brotli"),
        2,
        "",
        &format!(
            "error: invalid value 'brotli' for '--compression <CODEC>'\n  \
             [possible values: none, gzip, snappy, lz4, zstd]\n{MORE}"
        ),
    );
    expect(
        nowhere("consume t --isolation serializable"),
        2,
        "",
        &format!(
            "error: invalid value 'serializable' for '--isolation <LEVEL>'\n  \
             [possible values: committed, uncommitted]\n{MORE}"
        ),
    );
    expect(
        nowhere("consume t --timeout 3"),
        2,
        "",
        &format!("error: invalid value '3' for '--timeout <TIME>': `3` is not a time; write 500ms, 5s or 2m\n{MORE}"),
    );
    expect(
        nowhere("produce t -k a -K :"),
        2,
        "",
        &format!(
            "error: the argument '--key <KEY>' cannot be used with '--key-delimiter <TEXT>'\n\n\
             Usage: kafkalab produce --key <KEY> <TOPIC>\n{MORE}"
        ),
    );
}

#[test]
fn no_topic() {
    expect(
        nowhere("produce"),
        2,
        "",
        "error: no topic named\n\
         hint: kafkalab produce TOPIC, or kafkalab produce --sample 10 for ten order events\n",
    );
    expect(
        nowhere("consume"),
        2,
        "",
        "error: no topic named\nhint: kafkalab consume TOPIC; `kafkalab topics list` shows what there is\n",
    );
    let topic = topic("missing");
    expect(
        kafkalab(["consume", &topic, "-e"]),
        1,
        "",
        &format!(
            "error: consuming: topic \"{topic}\" does not exist\nhint: `kafkalab topics list` shows what there is\n"
        ),
    );
}

#[test]
fn malformed_offsets_and_formats() {
    for (offset, said) in [
        ("bogus", format!("error: `bogus` is not an offset; one of:\n{FORMS}")),
        ("@", format!("error: `@` is not an offset; one of:\n{FORMS}")),
        ("5:x", format!("error: `5:x`: cannot read `x`; an offset is one of:\n{FORMS}")),
        ("@2026-13-01", format!("error: `@2026-13-01`: cannot read `2026-13-01`; an offset is one of:\n{FORMS}")),
        ("9:3", "error: `9:3` ends before it starts; write the earlier place first\n".to_owned()),
        ("@1h", "error: `@1h` starts in the future; `@-1h` is `1h` ago\n".to_owned()),
        (
            "99999999999999999999",
            "error: `99999999999999999999`: `99999999999999999999` is larger than an offset or a time can be\n"
                .to_owned(),
        ),
        ("stored", "error: -o stored: the stored offset belongs to a group\nhint: name the group with -g\n".to_owned()),
    ] {
        expect(nowhere(&format!("consume t -o {offset}")), 2, "", &said);
    }
    expect(nowhere("consume t -o 1 -o 2"), 2, "", "error: the start of the range is given twice: `2`\n");
    let verbs = "  %t topic   %p partition   %o offset   %k key   %v value (also %s)   %T timestamp in ms
  %d{strftime[%F %T]} time in UTC   %h headers   %h{%k=%v } each header   %H number of headers
  %K %V (also %S) length of key and value, -1 for null   %i number of the record, from 1   %% %{ %}
  after %t %k %v: {hex} or {base64}   escapes: \\n \\t \\r \\0 \\\\ \\xNN\n";
    for (format, said) in [
        ("%k%q", format!("error: format `%k%q`, column 3: unknown verb `%q`; the verbs are\n{verbs}")),
        ("%", "error: format `%`, column 1: `%` at the end; `%%` prints a percent sign\n".to_owned()),
        (
            "%v{big}",
            "error: format `%v{big}`, column 3: unknown modifier `{big}`; {hex} and {base64} are known, \
             `%{` prints a brace\n"
                .to_owned(),
        ),
        (r"\x1", "error: format `\\x1`, column 1: `\\x` takes two hexadecimal digits, such as \\x1f\n".to_owned()),
    ] {
        expect(nowhere(&format!("consume t -f {format}")), 2, "", &said);
    }
}

#[test]
fn malformed_headers_and_delimiters() {
    expect(
        nowhere("produce t -H =v"),
        2,
        "",
        "error: header `=v`: the name is empty; write name=value, name:value, or the name alone for a null\n",
    );
    expect(nowhere("produce t -D ab"), 2, "", "error: delimiter `ab`: it must be one byte\n");
    expect(
        nowhere(r"produce t -K \q"),
        2,
        "",
        "error: delimiter `\\q`: unknown escape; known are \\n \\t \\r \\0 \\\\ \\xNN, and `\\\\` prints a backslash\n",
    );
    let empty = kafkalab(["produce", "t", "-K", ""]).env("KAFKALAB_BROKERS", "localhost:1");
    expect(empty, 2, "", "error: delimiter ``: it is empty\n");
}

#[test]
fn a_bad_json_line_is_named_and_ends_the_run() {
    let topic = topic("bad-json");
    let input = "{\"payload\":\"one\"}\n{\"payload\":\n{\"payload\":\"three\"}\n";
    let said = format!(
        "1 acknowledged, 1 bad line: {topic}[0] 1 up to offset 0\n\
         error: line 2: not JSON: EOF while parsing a value, column 11\n"
    );
    expect(kafkalab(["produce", &topic, "--input", "json", "-p", "0"]).stdin(input), 2, "", &said);
    let input = "nonsense\n{\"key\":\"k\"}\n\n{\"payload\":\"a\",\"value\":\"b\"}\n{\"payload\":\"four\"}\n";
    let said = format!(
        "skipped: line 1: not a record: a line is an object such as {{\"key\": \"k\", \"payload\": \"v\"}}\n\
         skipped: line 2: no payload; give `payload` (or `value`), or `\"payload\": null` for a tombstone\n\
         skipped: line 3: not JSON: EOF while parsing a value, column 0\n\
         skipped: line 4: both `payload` and `value` are given; give one\n\
         1 acknowledged, 4 bad lines: {topic}[0] 1 up to offset 1\n"
    );
    let skipping = ["produce", &topic, "--input", "json", "-p", "0", "--skip-bad"];
    expect(kafkalab(skipping).stdin(input), 2, "", &said);
    expect(kafkalab(["consume", &topic, "-e"]), 0, "one\nfour\n", "");
    expect(
        kafkalab(["produce", "--input", "json"]).stdin("{\"payload\":\"x\"}\n"),
        2,
        "",
        "0 acknowledged, 1 bad line\nerror: line 1: no topic in the record, and none on the command line\n",
    );
}

#[test]
fn partitions_that_are_not_there() {
    let topic = topic_with("partitions", 3);
    let missing = format!("topic \"{topic}\" has no partition 99: it has 3 (0 to 2)\n");
    expect(kafkalab(["produce", &topic, "-p", "99"]).stdin("x\n"), 1, "", &format!("error: {missing}"));
    let consume = kafkalab(["consume", &topic, "-p", "99", "-e"]);
    expect(consume, 1, "", &format!("error: consuming {topic}: {missing}"));
    // a record may name its partition where it names its topic
    let input = format!("{{\"topic\":\"{topic}\",\"partition\":98,\"payload\":\"x\"}}\n");
    let ended = kafkalab(["produce", "--input", "json"]).stdin(input).run();
    assert_eq!((ended.code(), ended.stderr.contains("line 1: topic")), (1, true), "{}", ended.stderr);
}

#[test]
fn files_that_cannot_be_read() {
    let folder = Folder::new("unreadable");
    let (good, path) = (folder.file("good", b"never sent\n"), folder.0.to_str().unwrap());
    let topic = topic("unreadable");
    let missing = format!("error: opening {path}/missing: No such file or directory (os error 2)\n");
    let program = kafkalab(["produce", &topic, "-l", &good, "-l", &format!("{path}/missing")]);
    expect(program, 1, "", &missing);
    expect(kafkalab(["produce", &topic, "-l", path]), 1, "", &format!("error: opening {path}: is a directory\n"));
    assert_eq!(kafkalab(["consume", &topic, "-e"]).run().code(), 1, "nothing was sent, so there is no topic");
}

#[test]
fn an_unreachable_broker_is_named_within_the_time_limit() {
    let hint = "hint: is the broker running, and is the address right? It comes from flag --brokers; `kafkalab doctor` looks closer\n";
    for command in ["consume t -e", "produce t", "consume t"] {
        let line = format!("{command} -b localhost:1");
        let said =
            format!("error: connecting: no broker reachable at localhost:1: Connection refused (os error 111)\n{hint}");
        expect(kafkalab(line.split(' ')), 3, "", &said);
    }
    // one that takes the connection and never answers
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("its address").to_string();
    let began = Instant::now();
    let limits = ["-X", "connect_timeout=700ms", "-X", "request_timeout=700ms"];
    let ended = kafkalab(["consume", "t", "-e", "-b", &address]).arguments(limits).run();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(matches!(ended.code(), 3 | 4), "{ended:?}");
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
}

#[test]
fn without_a_broker_the_way_to_one_is_named() {
    // somebody's own broker may be there; then it is the one that is asked
    if std::net::TcpStream::connect("localhost:9092").is_ok() {
        let ended = kafkalab(["consume", &topic("nowhere"), "-e"]).env_remove("KAFKALAB_BROKERS").run();
        assert_eq!(ended.code(), 1, "{}", ended.stderr);
        return;
    }
    expect(
        kafkalab(["consume", "orders"]).env_remove("KAFKALAB_BROKERS"),
        3,
        "",
        "error: connecting: no broker reachable at localhost:9092: Connection refused (os error 111)\n\
         hint: start a broker with `kafkalab broker` (no Docker needed) or `just up` (Docker), or name one with \
         --brokers\n",
    );
}

#[test]
fn no_record_in_time() {
    let topic = topic("silence");
    kafkalab(["produce", &topic]).stdin("x\n").run().ok();
    let program = kafkalab(["consume", &topic, "-o", "end", "--timeout", "300ms"]);
    expect(program, 4, "", "error: waiting for a record: no answer within 0.3 s\n");
}

#[test]
fn brokers_that_cannot_be_addresses() {
    let form = "write host:port, such as localhost:9092 or [::1]:9092";
    for (address, reason) in [
        ("kafka://here", "`kafka://here`: an address has no protocol before it"),
        ("here:", "`here:`: `` is not a port (1 to 65535)"),
        ("::1", "`::1`: an IPv6 address stands in brackets"),
    ] {
        let said = format!("error: flag --brokers: `brokers`: {reason}; {form}\n");
        expect(kafkalab(["consume", "t", "-b", address]), 2, "", &said);
    }
}
