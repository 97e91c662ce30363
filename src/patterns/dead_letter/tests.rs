use proptest::{collection::vec, option, prelude::*};

use super::*;

fn letter() -> DeadLetter {
    DeadLetter {
        topic: "orders".into(),
        partition: Some(2),
        offset: Some(1042),
        timestamp: Some(1_769_904_000_250),
        timestamp_type: Some("CreateTime".into()),
        group: Some("stock".into()),
        exception: Some(POISON.into()),
        reason: Some("the price is no number".into()),
        attempts: Some(1),
    }
}

/// The record's headers and the letter's, as they lie in the topic.
fn sealed<'a>(own: &[Pair<'a>], note: &'a [(&'static str, Vec<u8>)]) -> Vec<Pair<'a>> {
    let note = note.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_slice())));
    own.iter().copied().chain(note).collect()
}

/// Written by hand from Spring's sources: `ByteBuffer.putInt`, `putLong`, `getBytes(UTF_8)`.
#[test]
fn the_headers_are_those_of_spring() {
    let expected: [(&str, &[u8]); 9] = [
        ("kafka_dlt-original-topic", b"orders"),
        ("kafka_dlt-original-partition", b"\0\0\0\x02"),
        ("kafka_dlt-original-offset", b"\0\0\0\0\0\0\x04\x12"),
        ("kafka_dlt-original-timestamp", b"\0\0\x01\x9c\x16\x7f\xcc\xfa"),
        ("kafka_dlt-original-timestamp-type", b"CreateTime"),
        ("kafka_dlt-original-consumer-group", b"stock"),
        ("kafka_dlt-exception-fqcn", b"kafkalab::patterns::inbox::Poison"),
        ("kafka_dlt-exception-message", b"the price is no number"),
        ("retry_topic-attempts", b"\0\0\0\x01"),
    ];
    let found = letter().headers();
    assert_eq!(found.iter().map(|(name, value)| (*name, value.as_slice())).collect::<Vec<_>>(), expected);
}

/// In the order of Spring Kafka's `DeadLetterRecordManager`: the exception first, and a header of the application's own
/// behind it all.
#[test]
fn a_letter_of_spring_is_read_and_opened() {
    let headers: [Pair<'_>; 12] = [
        (b"trace", Some(b"1")),
        (b"kafka_dlt-exception-fqcn", Some(b"org.springframework.kafka.listener.ListenerExecutionFailedException")),
        (b"kafka_dlt-exception-cause-fqcn", Some(b"java.lang.IllegalStateException")),
        (b"kafka_dlt-exception-message", Some(b"Listener failed; no stock")),
        (b"kafka_dlt-exception-stacktrace", Some(b"java.lang...")),
        (b"kafka_dlt-original-topic", Some(b"orders")),
        (b"kafka_dlt-original-partition", Some(b"\0\0\0\x01")),
        (b"kafka_dlt-original-offset", Some(b"\0\0\0\0\0\0\0\x07")),
        (b"kafka_dlt-original-timestamp", Some(b"\0\0\0\0\0\0\0\x09")),
        (b"kafka_dlt-original-timestamp-type", Some(b"LogAppendTime")),
        (b"kafka_dlt-original-consumer-group", Some(b"billing")),
        (b"alarm", Some(b"team-b")),
    ];
    let opened = open(&headers).unwrap();
    let expected = DeadLetter {
        topic: "orders".into(),
        partition: Some(1),
        offset: Some(7),
        timestamp: Some(9),
        timestamp_type: Some("LogAppendTime".into()),
        group: Some("billing".into()),
        exception: Some("org.springframework.kafka.listener.ListenerExecutionFailedException".into()),
        reason: Some("Listener failed; no stock".into()),
        attempts: None,
    };
    assert_eq!(opened.letter, expected);
    assert_eq!(opened.headers, [(&b"trace"[..], Some(&b"1"[..])), (b"alarm", Some(b"team-b"))]);
}

#[test]
fn a_record_without_a_note_is_no_letter() {
    assert_eq!(open(&[]), None);
    assert_eq!(open(&[(b"kafka_dlt-exception-message", Some(b"why"))]), None);
    assert_eq!(open(&[(b"kafka_dlt-original-topic", None)]), None);
}

#[test]
fn what_cannot_be_read_is_left_out() {
    let headers: [Pair<'_>; 5] = [
        (b"kafka_dlt-original-topic", Some(b"a\xffb")),
        (b"kafka_dlt-original-partition", Some(b"2")),
        (b"kafka_dlt-original-offset", None),
        (b"kafka_dlt-exception-message", Some(b"")),
        (b"retry_topic-attempts", Some(b"\x03")),
    ];
    let letter = open(&headers).unwrap().letter;
    assert_eq!((letter.topic.as_str(), letter.partition, letter.offset), ("a\u{fffd}b", None, None));
    assert_eq!((letter.reason.as_deref(), letter.attempts), (Some(""), Some(3)));
}

#[test]
fn a_letter_that_died_again_gives_the_letter_back() {
    let (first, second) = (letter(), DeadLetter { topic: "orders.dlt".into(), ..letter() });
    let (inner, outer) = (first.headers(), second.headers());
    let once = sealed(&[(b"trace", None)], &inner);
    let twice = sealed(&once, &outer);
    let opened = open(&twice).unwrap();
    assert_eq!((opened.letter, &opened.headers), (second, &once));
    assert_eq!(open(&opened.headers).unwrap().letter, first);
}

#[test]
fn a_long_reason_is_cut() {
    let long = DeadLetter { reason: Some("ä".repeat(5000)), ..letter() };
    let headers = long.headers();
    let (_, reason) = headers.iter().find(|(name, _)| *name == MESSAGE).unwrap();
    assert_eq!(reason.len(), 2 * LONGEST_REASON + "...".len());
}

#[test]
fn topics_and_their_letters() {
    assert_eq!(topic_of("orders"), "orders.dlt");
    assert_eq!(original_of("orders.dlt"), Some("orders"));
    assert_eq!(original_of("orders.dlt.dlt"), Some("orders.dlt"));
    assert_eq!((original_of("orders-dlt"), original_of("orders.DLT")), (Some("orders"), Some("orders")));
    assert_eq!((original_of("orders"), original_of(".dlt"), original_of("dlt")), (None, None, None));
    assert!(topics_of("orders").iter().all(|topic| original_of(topic) == Some("orders")));
}

#[test]
fn times_have_kafkas_words() {
    let words = [timestamp_type(-1, true), timestamp_type(0, false), timestamp_type(0, true)];
    assert_eq!(words, ["NoTimestampType", "CreateTime", "LogAppendTime"]);
}

/// Any bytes, and the names of notes as well.
fn header() -> impl Strategy<Value = (Vec<u8>, Option<Vec<u8>>)> {
    let note = prop::sample::select(vec![TOPIC, PARTITION, GROUP, EXCEPTION, MESSAGE, ATTEMPTS, "kafka_dlt-x"]);
    let name = prop_oneof![vec(any::<u8>(), 0..6), note.prop_map(|name| name.as_bytes().to_vec())];
    (name, option::of(vec(any::<u8>(), 0..6)))
}

fn any_letter() -> impl Strategy<Value = DeadLetter> {
    let place = (any::<String>(), option::of(any::<i32>()), option::of(any::<i64>()), option::of(any::<i64>()));
    let words = (option::of(any::<String>()), option::of(any::<String>()), any::<String>(), option::of(".{0,20}"));
    (place, words, option::of(any::<u32>())).prop_map(|(place, words, attempts)| DeadLetter {
        topic: place.0,
        partition: place.1,
        offset: place.2,
        timestamp: place.3,
        timestamp_type: words.0,
        group: words.1,
        exception: Some(words.2),
        reason: words.3,
        attempts,
    })
}

proptest! {
    #[test]
    fn what_was_sealed_is_opened_byte_for_byte(own in vec(header(), 0..8), letter in any_letter()) {
        let own: Vec<Pair<'_>> = own.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect();
        let note = letter.headers();
        let headers = sealed(&own, &note);
        let opened = open(&headers).unwrap();
        prop_assert_eq!(opened.headers, own);
        prop_assert_eq!(&opened.letter.topic, &letter.topic);
        prop_assert_eq!(&opened.letter.exception, &letter.exception);
        // what the note does not say an older note among the record's own headers may
        if letter.partition.is_some() { prop_assert_eq!(opened.letter.partition, letter.partition); }
        if letter.group.is_some() { prop_assert_eq!(opened.letter.group, letter.group); }
        if letter.attempts.is_some() { prop_assert_eq!(opened.letter.attempts, letter.attempts); }
        prop_assert!(letter.offset.is_none() || opened.letter.offset == letter.offset);
        prop_assert!(letter.timestamp.is_none() || opened.letter.timestamp == letter.timestamp);
        prop_assert!(letter.reason.is_none() || opened.letter.reason == letter.reason);
    }

    #[test]
    fn any_headers_are_read(headers in vec(header(), 0..12)) {
        let headers: Vec<Pair<'_>> = headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect();
        let opened = open(&headers);
        prop_assert!(opened.is_none_or(|opened| opened.headers.len() < headers.len()));
    }
}
