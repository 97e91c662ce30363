use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::app::Headers;
use crate::cli::given::{header_bytes, record};

fn line(topic: &str, record: &RecordRef<'_>) -> String {
    let mut out = Vec::new();
    write(&mut out, topic, 3, record);
    String::from_utf8(out).unwrap()
}

fn read(line: &str) -> InputRecord {
    parse(line.as_bytes()).unwrap()
}

fn refused(line: &str) -> String {
    parse(line.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_record_is_one_line_with_the_fields_in_their_order() {
    let bytes = header_bytes(&[(b"a", Some(b"1")), (b"a", None)]);
    let given = RecordRef { headers: Headers::checked(2, &bytes), ..record() };
    assert_eq!(
        line("orders", &given),
        concat!(
            r#"{"topic":"orders","partition":3,"offset":42,"ts":1769904000250,"#,
            r#""timestamp":"2026-02-01T00:00:00.250Z","#,
            r#""headers":[{"key":"a","value":"1"},{"key":"a","value":null}],"key":"key","payload":"value"}"#,
            "\n"
        )
    );
}

#[test]
fn a_tombstone_a_null_key_and_no_time_are_null() {
    let given = RecordRef { key: None, value: None, timestamp: -1, ..record() };
    let written: Value = serde_json::from_str(&line("t", &given)).unwrap();
    let expected = json!({"topic": "t", "partition": 3, "offset": 42, "ts": -1, "timestamp": null, "headers": [],
                          "key": null, "payload": null});
    assert_eq!(written, expected);
    let back = read(&line("t", &given));
    assert_eq!((back.key, back.value, back.timestamp), (None, None, None));
}

#[test]
fn what_is_not_utf_8_is_base64_and_says_so() {
    let bytes = header_bytes(&[(b"\xfe", Some(b"\xff"))]);
    let given =
        RecordRef { key: Some(b"\xff\x00"), value: Some(b"\x80"), headers: Headers::checked(1, &bytes), ..record() };
    let written: Value = serde_json::from_str(&line("t", &given)).unwrap();
    assert_eq!((&written["key"], &written["key_encoding"]), (&json!("/wA="), &json!("base64")));
    assert_eq!((&written["payload"], &written["payload_encoding"]), (&json!("gA=="), &json!("base64")));
    let header = json!({"key": "/g==", "key_encoding": "base64", "value": "/w==", "value_encoding": "base64"});
    assert_eq!(written["headers"][0], header);
}

#[test]
fn no_character_that_a_terminal_obeys_is_written_as_itself() {
    let nasty = "\x1b[31m \u{9b}2J \u{202e} \u{2028} \u{61c} \x7f \0 \r\n\t \"\\ é € 日 🦀 \u{2032}";
    let given = RecordRef { value: Some(nasty.as_bytes()), ..record() };
    let written = line("t", &given);
    assert!(!written.trim_end().chars().any(escape::is_harmful), "{written}");
    assert!(written.contains("é € 日 🦀 \u{2032}"), "{written}");
    assert_eq!(read(&written).value.as_deref(), Some(nasty.as_bytes()));
}

#[test]
fn a_time_beyond_the_calendar_is_still_its_number() {
    for timestamp in [i64::MAX, i64::MIN, 253_402_300_800_000] {
        let written: Value = serde_json::from_str(&line("t", &RecordRef { timestamp, ..record() })).unwrap();
        assert_eq!((&written["ts"], &written["timestamp"]), (&json!(timestamp), &Value::Null));
    }
}

#[test]
fn a_record_written_by_hand_is_read() {
    let expected = InputRecord { value: Some(b"v".to_vec()), ..InputRecord::default() };
    assert_eq!(read(r#"{"payload":"v"}"#), expected);
    assert_eq!(read("  {\"value\":\"v\", \"extra\":{\"deep\":[1,2]}, \"offset\":7}\r\n"), expected);
    assert_eq!(read(r#"{"payload":null}"#).value, None);
    assert_eq!(read(r#"{"payload":"","key":""}"#).key, Some(vec![]));
    assert_eq!(read(r#"{"payload":"v","topic":"t","partition":2}"#).topic.as_deref(), Some("t"));
}

#[test]
fn a_payload_that_is_json_is_sent_as_its_text_digit_for_digit() {
    for (payload, text) in [
        (
            r#"{ "b" : 1.10, "a" : [ true , null ], "s" : " \" { } \\" }"#,
            r#"{"b":1.10,"a":[true,null],"s":" \" { } \\"}"#,
        ),
        ("12345678901234567890123.000", "12345678901234567890123.000"),
        ("true", "true"),
        ("[]", "[]"),
    ] {
        let given = read(&format!(r#"{{"payload":{payload},"key":{payload}}}"#));
        assert_eq!(String::from_utf8(given.value.unwrap()).unwrap(), text);
        assert_eq!(String::from_utf8(given.key.unwrap()).unwrap(), text);
    }
}

#[test]
fn headers_are_read_as_each_tool_writes_them() {
    let expected = vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)];
    for headers in [
        r#"[{"key":"a","value":"1"},{"key":"b","value":null}]"#,
        r#"[{"key":"a","value":"MQ","value_encoding":"base64"},{"key":"b"}]"#,
        r#"["a","1","b",null]"#,
        r#"{"b":null,"a":"1"}"#,
        r#"{"b":null,"a":1}"#,
    ] {
        assert_eq!(read(&format!(r#"{{"payload":"v","headers":{headers}}}"#)).headers, expected, "{headers}");
    }
    for none in ["null", "[]", "{}"] {
        assert_eq!(read(&format!(r#"{{"payload":"v","headers":{none}}}"#)).headers, vec![]);
    }
}

#[test]
fn a_time_is_milliseconds_or_rfc_3339_and_ts_goes_first() {
    for (field, ms) in [
        (r#""ts":1769904000250"#, Some(1_769_904_000_250)),
        (r#""timestamp":1769904000250"#, Some(1_769_904_000_250)),
        (r#""timestamp":"2026-02-01T01:00:00.250+01:00""#, Some(1_769_904_000_250)),
        (r#""timestamp":"2020-01-01T00:00:00Z","ts":5"#, Some(5)),
        (r#""ts":-1"#, None),
        (r#""ts":null"#, None),
    ] {
        assert_eq!(read(&format!(r#"{{"payload":"v",{field}}}"#)).timestamp, ms, "{field}");
    }
}

#[test]
fn a_line_that_is_no_record_says_why() {
    for (line, said) in [
        ("", "not JSON"),
        ("hello", "a line is an object"),
        ("5", "a line is an object"),
        (r#"["payload"]"#, "a line is an object"),
        (r#"{"payload":"v""#, "column 14"),
        (r#"{"payload":"v"} trailing"#, "not JSON"),
        (r#"{}"#, "no payload"),
        (r#"{"key":"k"}"#, "no payload"),
        (r#"{"payload":"a","value":"a"}"#, "both"),
        (r#"{"payload":"a","payload":"b"}"#, "duplicate field"),
        (r#"{"payload":"*","payload_encoding":"base64"}"#, "`payload` is not base64"),
        (r#"{"payload":5,"payload_encoding":"base64"}"#, "it is no string"),
        (r#"{"payload":"a","payload_encoding":"rot13"}"#, "`payload_encoding` is `rot13`"),
        (r#"{"payload":"\ud800"}"#, "`payload`"),
        (r#"{"payload":"a","partition":-1}"#, "`partition` is negative"),
        (r#"{"payload":"a","partition":"0"}"#, "expected i32"),
        (r#"{"payload":"a","ts":"yesterday"}"#, "`ts` is not a time"),
        (r#"{"payload":"a","ts":-5}"#, "`ts` is not a time"),
        (r#"{"payload":"a","ts":1.5}"#, "`ts` is not a time"),
        (r#"{"payload":"a","headers":5}"#, "`headers`"),
        (r#"{"payload":"a","headers":[5]}"#, "`5` is neither"),
        (r#"{"payload":"a","headers":["k"]}"#, "a name has no value"),
        (r#"{"payload":"a","headers":[{"value":"v"}]}"#, "missing field `key`"),
        (r#"{"payload":"a","headers":[{"key":null}]}"#, "null"),
    ] {
        let refused = refused(line);
        assert!(refused.contains(said), "{line}: {refused}");
    }
    assert!(parse(b"{\"payload\":\"\xff\"}").is_err());
}

#[test]
fn a_line_of_a_million_brackets_does_not_exhaust_the_stack() {
    let deep = format!(r#"{{"x":{}, "payload":{}}}"#, "[".repeat(1_000_000), "[".repeat(1_000_000));
    assert!(parse(deep.as_bytes()).is_err());
}

fn given_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..40), any::<String>().prop_map(String::into_bytes)]
}

proptest! {
    #[test]
    fn both_times_of_a_record_are_one(timestamp in 0..253_402_300_800_000i64) {
        let written: Value = serde_json::from_str(&line("t", &RecordRef { timestamp, ..record() })).unwrap();
        let by_text = read(&format!(r#"{{"payload":"v","timestamp":{}}}"#, written["timestamp"]));
        prop_assert_eq!(by_text.timestamp, Some(timestamp), "{}", written["timestamp"]);
    }

    #[test]
    fn what_was_written_is_read_back(
        key in proptest::option::of(given_bytes()),
        value in proptest::option::of(given_bytes()),
        headers in proptest::collection::vec((given_bytes(), proptest::option::of(given_bytes())), 0..4),
        timestamp in prop_oneof![Just(-1), 0..i64::MAX],
    ) {
        let borrowed: Vec<_> = headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect();
        let encoded = header_bytes(&borrowed);
        let given = RecordRef {
            offset: 7,
            timestamp,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: Headers::checked(headers.len(), &encoded),
        };
        let written = line("orders", &given);
        prop_assert_eq!(written.lines().count(), 1);
        prop_assert!(serde_json::from_str::<Value>(&written).is_ok(), "{}", written);
        let expected = InputRecord {
            topic: Some("orders".to_owned()),
            partition: Some(3),
            timestamp: Some(timestamp).filter(|ms| *ms >= 0),
            key,
            value,
            headers,
        };
        prop_assert_eq!(read(&written), expected);
    }

    #[test]
    fn no_line_makes_it_panic(
        line in proptest::collection::vec(any::<u8>(), 0..80),
        text in r#"\{("(payload|ts|headers|key)":["\[\]{}a:,\\u0-9dn -]{0,12},?){0,3}\}"#,
    ) {
        let _ = (parse(&line), parse(text.as_bytes()));
    }
}
