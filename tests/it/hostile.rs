//! Brokers that lie, keep silent or talk nonsense: each command ends with an error, in bounded time and memory, without a
//! panic, and nothing that they say steers a terminal.

mod broker;

use std::time::{Duration, Instant};

use self::broker::{Broker, Speech, batch, compressed, with_crc};
use crate::{
    harness::{Ended, program},
    load::Receipts,
};

/// Bytes of address space for the client: far above what it needs, far below what the lies ask for.
const MEMORY_KB: u32 = 1_000_000;

/// Runs `kafkalab consume t -e` against a broker that says this, and checks what holds for all of them.
fn consume(speech: Speech) -> Ended {
    run("consume t -e", speech, b"")
}

fn run(command: &str, speech: Speech, stdin: &[u8]) -> Ended {
    let broker = Broker::start(speech);
    let line = format!(
        "ulimit -v {MEMORY_KB}; exec {} -b {} -X connect_timeout=1s -X request_timeout=2s {command}",
        env!("CARGO_BIN_EXE_kafkalab"),
        broker.address
    );
    let began = Instant::now();
    let ended = program("sh", ["-c", &line]).env("RUST_BACKTRACE", "0").stdin(stdin).run();
    assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
    assert!([1, 3, 4].contains(&ended.code()), "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
    assert!(!ended.stderr.contains('\x1b'), "{:?}", ended.stderr);
    ended
}

/// The address answers, but not as a broker: exit 3, quickly, and the address is named.
#[test]
fn who_does_not_speak_kafka_is_unreachable() {
    for speech in [
        Speech::Silence,
        Speech::Close,
        Speech::Raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec()),
        Speech::Raw(vec![0xff; 64]), // a negative length
        Speech::Raw([&[0x7f, 0xff, 0xff, 0xff][..], &[0; 4096]].concat()), // a length of 2 GB
    ] {
        let began = Instant::now();
        let ended = consume(speech.clone());
        assert_eq!(ended.code(), 3, "{speech:?}: {ended:?}");
        assert!(ended.stderr.contains("127.0.0.1:"), "{}", ended.stderr);
        assert!(began.elapsed() < Duration::from_secs(5), "{speech:?} took {:?}", began.elapsed());
    }
}

#[test]
fn answers_that_are_noise_or_claim_impossible_counts_are_errors() {
    for (max_metadata, answer) in [
        (12, vec![0xee; 40]),
        // throttle time, then a compact array of 2^31 brokers
        (12, vec![0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]),
        // 2^31 - 1 brokers, by the fixed-width count of old versions
        (8, vec![0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]),
        // no brokers, no cluster id, controller 1, then 2^31 - 1 topics
        (8, vec![0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff]),
        (12, Vec::new()),
    ] {
        let ended = consume(Speech::Metadata { max_version: max_metadata, answer: answer.clone() });
        assert_eq!(ended.code(), 1, "{answer:?}: {ended:?}");
        assert!(ended.stderr.contains("malformed"), "{answer:?}: {}", ended.stderr);
    }
}

#[test]
fn names_from_a_broker_cannot_steer_a_terminal() {
    let ended = run("topics describe t", Speech::TopicError("\x1b]52;c;ZXZpbA==\x07\u{202e}".to_owned()), b"");
    assert_eq!(ended.code(), 1, "{ended:?}");
}

#[test]
fn batches_that_lie_are_errors() {
    let honest = batch(&[b"fine"]);
    let patched = |at: usize, bytes: &[u8]| {
        let mut lie = honest.clone();
        lie[at..at + bytes.len()].copy_from_slice(bytes);
        lie
    };
    let mut bad_crc = honest.clone();
    *bad_crc.last_mut().expect("bytes") ^= 1;
    for (what, bytes, said) in [
        ("a wrong checksum", bad_crc, "checksum"),
        ("an old magic", patched(16, &[1]), "message format"),
        ("an unknown codec", with_crc(patched(21, &[0, 6])), "codec"),
        ("more records than there are", with_crc(patched(57, &1_000_000i32.to_be_bytes())), "beyond"),
        ("a negative count", with_crc(patched(57, &(-5i32).to_be_bytes())), "negative"),
        ("a length of less than a header", patched(8, &5i32.to_be_bytes()), "beyond"),
        ("a negative length", patched(8, &(-1i32).to_be_bytes()), "negative"),
        ("a record longer than its batch", with_crc(patched(61, &[0x7e])), "beyond"),
    ] {
        let ended = consume(Speech::Fetch(bytes));
        assert_eq!(ended.code(), 1, "{what}: {ended:?}");
        assert!(ended.stderr.contains(said), "{what}: {}", ended.stderr);
        // a lie about the count shows only behind the last record that is there
        assert!(["", "fine\n"].contains(&&*ended.text()), "{what}: {}", ended.text());
    }
}

#[test]
fn bombs_in_every_codec_end_at_the_limit() {
    for codec in 1..=4 {
        let ended = consume(Speech::Fetch(compressed(codec, 300 << 20)));
        assert_eq!(ended.code(), 1, "codec {codec}: {ended:?}");
        assert!(ended.stderr.contains("uncompressed"), "codec {codec}: {}", ended.stderr);
    }
}

#[test]
fn a_producer_ends_too() {
    for answer in [vec![0xee; 40], vec![0xff, 0xff, 0xff, 0xff, 0x07]] {
        let ended = run("produce t --timeout 3s", Speech::Produce(answer), b"one\ntwo\n");
        assert!(ended.stderr.contains("2 "), "both records are counted: {}", ended.stderr);
    }
}

/// Who leads no more, or lost its disk, may have appended the batch before; who has too few replicas has not.
#[test]
fn a_refusal_that_may_come_behind_the_append_leaves_the_fate_unknown() {
    for (code, name, status) in [
        (3, "UNKNOWN_TOPIC_OR_PARTITION", "unknown"),
        (6, "NOT_LEADER_OR_FOLLOWER", "unknown"),
        (56, "KAFKA_STORAGE_ERROR", "unknown"),
        (20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "unknown"),
        (19, "NOT_ENOUGH_REPLICAS", "failed"),
    ] {
        let ended = run("produce t --timeout 500ms --json", Speech::Refuse(code), b"one\ntwo\n");
        let receipts = Receipts::read(&ended.stdout);
        let counts = (receipts.acknowledged.len(), receipts.failed.len(), receipts.unknown.len());
        let expected = if status == "failed" { (0, 2, 0) } else { (0, 0, 2) };
        assert_eq!((ended.code(), counts), (4, expected), "{name}: {}", ended.stderr);
        let said = format!("error: 2 records: producing to t[0]: not done within 0.5 s; the last try: {name}\n");
        assert!(ended.stderr.starts_with(&said), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("0 acknowledged, 2 {status}\n")), "{}", ended.stderr);
    }
}

/// The fake knows no groups: what is missing is named, and not waited for.
#[test]
fn a_broker_without_groups_is_told_which_feature_it_lacks() {
    for (command, feature) in [("groups list", "listing groups"), ("groups describe g", "finding a coordinator")] {
        let ended = run(command, Speech::Fetch(batch(&[b"fine"])), b"");
        let said = format!("{feature} needs ");
        assert!(ended.code() == 1 && ended.stderr.contains(&said), "{ended:?}");
        assert!(ended.stderr.contains("does not have it"), "{ended:?}");
    }
}

#[test]
fn an_honest_batch_from_the_same_broker_is_read() {
    // what makes the tests above mean something: the fake is understood when it does not lie
    let broker = Broker::start(Speech::Fetch(batch(&[b"fine", b"too"])));
    let ended = program(env!("CARGO_BIN_EXE_kafkalab"), ["consume", "t", "-n", "2", "-b", &broker.address]).run().ok();
    assert_eq!(ended.text(), "fine\ntoo\n");
}
