use std::borrow::Cow;

use proptest::{collection::vec, option, prelude::*};

use super::*;

const ID_7: &str = "019c167f-ccfa-710a-adec-89025cc1beeb";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const DATA: &[u8] = br#"{"order_id":"o-1","n":1.10}"#;

type Pairs = Vec<(&'static str, String)>;

fn full() -> Envelope {
    Envelope {
        id: ID_7.into(),
        source: "/kafkalab/es".into(),
        event_type: "orders.v1.OrderCreated".into(),
        time_ms: Some(1_769_904_000_250),
        subject: Some("o-1".into()),
        sequence: Some(1),
        correlation_id: Some("c".into()),
        causation_id: Some("m".into()),
        traceparent: Some(TRACE.into()),
    }
}

/// The headers of the specification's required attributes, written by hand.
fn least() -> Pairs {
    [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_source", "/s"), ("ce_type", "t")]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
}

fn with(name: &'static str, value: &str) -> Pairs {
    let mut headers = least();
    headers.retain(|(there, _)| *there != name);
    headers.push((name, value.to_owned()));
    headers
}

fn read<'a>(headers: &Pairs, value: &'a [u8]) -> Result<Received<'a>, EnvelopeError> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))).collect();
    decode(&headers, Some(value))
}

fn read_structured(value: &[u8]) -> Result<Received<'_>, EnvelopeError> {
    decode(&[(b"content-type", Some(b"application/cloudevents+json; charset=UTF-8"))], Some(value))
}

#[test]
fn binary_mode_is_headers_in_a_fixed_order_and_the_key_is_the_subject() {
    let headers = full().headers();
    let expected = [
        ("ce_specversion", "1.0"),
        ("ce_id", ID_7),
        ("ce_source", "/kafkalab/es"),
        ("ce_type", "orders.v1.OrderCreated"),
        ("ce_time", "2026-02-01T00:00:00.250Z"),
        ("ce_subject", "o-1"),
        ("ce_sequence", "1"),
        ("ce_correlationid", "c"),
        ("ce_causationid", "m"),
        ("traceparent", TRACE),
        ("content-type", "application/json"),
    ];
    assert_eq!(headers.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(), expected);
    assert_eq!(full().key(), Some("o-1"));
}

#[test]
fn an_event_on_its_way_into_a_stream_has_an_envelope() {
    let metadata = Metadata {
        correlation_id: Some("c".into()),
        causation_id: Some("m".into()),
        traceparent: Some(TRACE.into()),
        ..Metadata::by("ada")
    };
    let event_type = "orders.v1.OrderCreated".to_owned();
    let new = NewEvent { id: ID_7.parse().unwrap(), event_type, data: DATA.to_vec(), metadata: metadata.to_json() };
    assert_eq!(Envelope::of(&new, &metadata, "/kafkalab/es", "o-1", 1, 1_769_904_000_250), full());
}

#[test]
fn what_is_not_known_is_left_out() {
    let least = Envelope { id: "1".into(), source: "/s".into(), event_type: "t".into(), ..Envelope::default() };
    let names: Vec<_> = least.headers().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["ce_specversion", "ce_id", "ce_source", "ce_type", "content-type"]);
}

#[test]
fn the_least_that_the_specification_asks_for_is_enough() {
    let received = read(&least(), b"anything").unwrap();
    let envelope = Envelope { id: "1".into(), source: "/s".into(), event_type: "t".into(), ..Envelope::default() };
    let content_type = "application/json".to_owned();
    let data = Cow::Borrowed(&b"anything"[..]);
    assert_eq!(received, Received { envelope, data, content_type, replay: None, mode: Mode::Binary });
}

/// Example of the specification's Kafka binding, 3.3.3, in its words.
#[test]
fn structured_mode_is_read() {
    let value = br#"{ "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext/subcontext",
        "id" : "1234-1234-1234", "time" : "2018-04-05T17:31:00Z", "datacontenttype" : "application/xml",
        "comexampleothervalue" : 5, "sequence": 7, "data" : "<much wow=\"xml\"/>" }"#;
    let received = read_structured(value).unwrap();
    assert_eq!(received.mode, Mode::Structured);
    assert_eq!(received.envelope.event_type, "com.example.someevent");
    assert_eq!(received.envelope.time_ms, Some(1_522_949_460_000));
    assert_eq!(received.envelope.sequence, Some(7));
    assert_eq!(received.content_type, "application/xml");
    assert_eq!(&*received.data, br#""<much wow=\"xml\"/>""#);
}

/// Written by `cloudevents.kafka.to_structured` of the CloudEvents project's SDK for Python (1.x), shortened. What it
/// says of the data's type is its own header once more.
#[test]
fn what_another_sdk_writes_is_read() {
    let value = br#"{"partitionkey": "o-1", "causationid": "m", "correlationid": "c-\u00f6",
        "datacontenttype": "application/cloudevents+json", "id": "019c167f-ccfa-7099-ac6c-d7363ca585e7",
        "sequence": "1", "source": "/kafkalab/sample", "specversion": "1.0", "subject": "o-1",
        "time": "2026-02-01T00:00:00.250Z", "type": "orders.v1.OrderCreated",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "data": {"order_id": "o-1"}}"#;
    let received = read_structured(value).unwrap();
    let source = "/kafkalab/sample".to_owned();
    let id = "019c167f-ccfa-7099-ac6c-d7363ca585e7".to_owned();
    assert_eq!(received.envelope, Envelope { id, source, correlation_id: Some("c-ö".into()), ..full() });
    assert_eq!(&*received.data, br#"{"order_id": "o-1"}"#);
}

#[test]
fn structured_data_comes_as_its_own_text_or_out_of_base64() {
    let structured = full().structured(DATA).unwrap();
    let received = read_structured(&structured).unwrap();
    assert!(matches!(received.data, Cow::Borrowed(DATA)), "1.10 must stay 1.10: {received:?}");
    let binary = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"aGk="}"#;
    assert_eq!(&*read_structured(binary).unwrap().data, b"hi");
}

#[test]
fn a_missing_attribute_is_named() {
    for missing in ["ce_specversion", "ce_id", "ce_source", "ce_type"] {
        let mut headers = least();
        headers.retain(|(name, _)| *name != missing);
        assert_eq!(read(&headers, DATA), Err(EnvelopeError::Missing { attribute: missing }));
    }
    let said = read(&Vec::new(), DATA).unwrap_err().to_string();
    assert_eq!(said, "ce_specversion is missing: this is no CloudEvent");
    let structured = read_structured(br#"{"specversion":"1.0","id":null,"source":"/s","type":"t","data":1}"#);
    assert_eq!(structured, Err(EnvelopeError::Missing { attribute: "id" }));
}

#[test]
fn a_malformed_attribute_is_named_with_what_was_found() {
    for (name, found) in [
        ("ce_specversion", "0.3"),
        ("ce_id", ""),
        ("ce_time", "yesterday"),
        ("ce_time", "2026-02-30T00:00:00Z"),
        ("ce_sequence", "-1"),
        ("ce_sequence", "+1"),
        ("ce_sequence", "18446744073709551616"),
        ("ce_type", "a\u{1b}[31mb"),
    ] {
        match read(&with(name, found), DATA) {
            Err(EnvelopeError::Malformed { attribute, found: said, .. }) => {
                assert_eq!((attribute, &*said), (name, found))
            }
            other => panic!("{name} {found}: {other:?}"),
        }
    }
    let not_text = decode(&[(b"ce_specversion", Some(b"\xff\xfe"))], Some(DATA)).unwrap_err().to_string();
    assert_eq!(not_text, "ce_specversion is \"\u{fffd}\u{fffd}\", expected text in UTF-8 without control characters");
}

#[test]
fn what_is_quoted_is_short() {
    for long in ["x".repeat(1_000_000), "é".repeat(1_000_000)] {
        let said = read(&with("ce_time", &long), DATA).unwrap_err().to_string();
        assert!(said.len() < 300 && said.contains("..."), "{said}");
        let mut twice = with("ce_id", &long);
        twice.push(("ce_id", "2".into()));
        assert!(read(&twice, DATA).unwrap_err().to_string().len() < 300);
    }
}

#[test]
fn a_header_may_be_there_twice_with_one_value_and_not_with_two() {
    let mut twice = least();
    twice.push(("ce_id", "1".into()));
    assert_eq!(read(&twice, DATA).unwrap().envelope.id, "1");
    twice.push(("ce_id", "2".into()));
    let repeated = EnvelopeError::Repeated { attribute: "ce_id", first: "1".into(), second: "2".into() };
    assert_eq!(read(&twice, DATA), Err(repeated));
}

#[test]
fn a_null_header_is_as_good_as_none() {
    let mut headers: Vec<(&[u8], Option<&[u8]>)> = vec![
        (b"ce_specversion", Some(b"1.0")),
        (b"ce_source", Some(b"/s")),
        (b"ce_type", Some(b"t")),
        (b"ce_id", None),
    ];
    assert_eq!(decode(&headers, Some(DATA)), Err(EnvelopeError::Missing { attribute: "ce_id" }));
    headers.push((b"ce_id", Some(b"1")));
    headers.push((b"ce_time", None));
    assert_eq!(decode(&headers, Some(DATA)).unwrap().envelope.time_ms, None);
}

#[test]
fn a_tombstone_and_a_structured_event_without_data_have_no_event() {
    let headers = least();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))).collect();
    assert_eq!(decode(&headers, None), Err(EnvelopeError::NoData));
    assert_eq!(decode(&[(b"content-type", Some(b"application/cloudevents+json"))], None), Err(EnvelopeError::NoData));
    let empty = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    assert_eq!(read_structured(empty), Err(EnvelopeError::NoData));
}

#[test]
fn other_formats_and_broken_json_say_so() {
    for format in
        ["application/cloudevents+avro", "Application/CloudEvents-Batch+JSON", "application/cloudevents+protobuf"]
    {
        let read = decode(&[(b"content-type", Some(format.as_bytes()))], Some(DATA));
        assert_eq!(read, Err(EnvelopeError::UnsupportedFormat { found: format.to_lowercase() }));
    }
    for broken in [&b"{"[..], b"[]", b"", b"\xff", b"{\"id\":\"1\"} x"] {
        assert!(matches!(read_structured(broken), Err(EnvelopeError::NotAnObject { .. })), "{broken:?}");
    }
    let both = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"aGk="}"#;
    assert!(matches!(read_structured(both), Err(EnvelopeError::Malformed { attribute: "data", .. })));
    let no_base64 = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"?"}"#;
    assert!(matches!(read_structured(no_base64), Err(EnvelopeError::Malformed { attribute: "data_base64", .. })));
}

#[test]
fn a_replayed_event_is_told_in_both_modes() {
    assert_eq!(read(&least(), DATA).unwrap().replay, None);
    assert_eq!(read(&with(REPLAY_HEADER, "run-7"), DATA).unwrap().replay, Some("run-7".into()));
    let value = full().structured(DATA).unwrap();
    let headers: [(&[u8], Option<&[u8]>); 2] =
        [(b"content-type", Some(b"application/cloudevents+json")), (REPLAY_HEADER.as_bytes(), None)];
    // Even without a value: better a mail too few than a mail again.
    assert_eq!(decode(&headers, Some(&value)).unwrap().replay, Some(String::new()));
}

#[test]
fn the_nearest_valid_traceparent_counts_and_an_invalid_one_never_costs_the_event() {
    let other = TRACE.replace("b7ad", "c7ad");
    let mut headers = with("traceparent", TRACE);
    headers.push(("traceparent", other.clone()));
    assert_eq!(read(&headers, DATA).unwrap().envelope.traceparent, Some(other));
    assert_eq!(read(&with("ce_traceparent", TRACE), DATA).unwrap().envelope.traceparent, Some(TRACE.into()));
    for invalid in [
        "",
        "junk",
        &TRACE.to_uppercase(),
        &TRACE.replace("00-", "ff-"),
        &format!("{TRACE}-more"),
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    ] {
        assert_eq!(read(&with("traceparent", invalid), DATA).unwrap().envelope.traceparent, None, "{invalid}");
    }
}

#[test]
fn times_of_others_are_read_with_their_offset_and_cut_to_milliseconds() {
    for (text, ms) in [
        ("1970-01-01T02:00:00.0019+02:00", 1),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ] {
        assert_eq!(read(&with("ce_time", text), DATA).unwrap().envelope.time_ms, Some(ms), "{text}");
    }
    assert_eq!(rfc_3339(-1), "1969-12-31T23:59:59.999Z");
    assert_eq!([rfc_3339(i64::MIN), rfc_3339(i64::MAX)], ["0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"]);
}

fn any_text() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,12}"
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    let ids = (any_text(), any_text(), any_text(), option::of(any_text()));
    let times = (option::of(-62_167_219_200_000..=253_402_300_799_999_i64), option::of(any::<u64>()));
    let extensions = (option::of(any_text()), option::of(any_text()), option::of(Just(TRACE.to_owned())));
    (ids, times, extensions).prop_map(|(ids, (time_ms, sequence), (correlation_id, causation_id, traceparent))| {
        let (id, source, event_type, subject) = ids;
        Envelope { id, source, event_type, time_ms, subject, sequence, correlation_id, causation_id, traceparent }
    })
}

/// Headers whose names are often right and whose values are often near to right.
fn any_headers() -> impl Strategy<Value = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    let names = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_sequence", "ce_subject"];
    let names: Vec<_> = names.into_iter().chain(["content-type", "traceparent", REPLAY_HEADER]).collect();
    let name = prop_oneof![
        4 => prop::sample::select(names).prop_map(|name| name.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..12),
    ];
    let near = ["1.0", "1", TRACE, "application/cloudevents+json", "application/cloudevents", "2026-02-01T00:00:00Z"];
    let value = prop_oneof![
        4 => prop::sample::select(near.to_vec()).prop_map(|value| value.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..40),
    ];
    vec((name, option::weighted(0.9, value)), 0..14)
}

proptest! {
    #[test]
    fn an_envelope_comes_back_in_both_modes(envelope in any_envelope(), number: f64, text: String) {
        let data = serde_json::to_vec(&serde_json::json!({"number": number, "text": text})).unwrap();
        let binary = read(&envelope.headers(), &data).unwrap();
        prop_assert_eq!((&binary.envelope, &*binary.data, binary.mode), (&envelope, &*data, Mode::Binary));
        let value = envelope.structured(&data).unwrap();
        let structured = read_structured(&value).unwrap();
        prop_assert_eq!((&structured.envelope, &*structured.data, structured.mode), (&envelope, &*data, Mode::Structured));
    }

    #[test]
    fn no_bytes_make_it_panic(headers in any_headers(), value in option::of(vec(any::<u8>(), 0..60))) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        if let Err(error) = decode(&headers, value.as_deref()) {
            prop_assert!(error.to_string().len() < 700);
        }
    }

    /// Damage to a good structured value: cut, and one byte changed.
    #[test]
    fn no_damage_makes_it_panic(envelope in any_envelope(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut value = envelope.structured(DATA).unwrap();
        let _ = read_structured(&value[..cut.index(value.len())]);
        let at = at.index(value.len());
        value[at] = byte;
        let _ = read_structured(&value);
    }
}
