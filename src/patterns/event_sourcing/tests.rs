mod folding;

use super::*;

#[test]
fn each_expectation_holds_for_exactly_the_versions_it_names() {
    use ExpectedVersion::*;
    // (expected, holds for an empty stream, for version 1, for version 2)
    let cases = [
        (NoStream, [true, false, false]),
        (StreamExists, [false, true, true]),
        (Any, [true, true, true]),
        (Exact(0), [true, false, false]),
        (Exact(1), [false, true, false]),
        (Exact(2), [false, false, true]),
    ];
    for (expected, holds) in cases {
        for (actual, holds) in holds.into_iter().enumerate() {
            let actual = actual as u64;
            let outcome = if holds { Ok(()) } else { Err(WrongExpectedVersion { expected, actual }) };
            assert_eq!(expected.check(actual), outcome, "{expected} at {actual}");
        }
    }
}

#[test]
fn an_expectation_is_read_as_it_is_written() {
    use ExpectedVersion::*;
    for expected in [NoStream, StreamExists, Any, Exact(0), Exact(u64::MAX)] {
        assert_eq!(expected.to_string().parse(), Ok(expected));
    }
    for text in ["", "-1", "+1", "latest", "18446744073709551616", "1 "] {
        assert_eq!(text.parse::<ExpectedVersion>(), Err(NoExpectedVersion), "{text}");
    }
}

#[test]
fn a_refused_append_says_what_to_do() {
    let refused = ExpectedVersion::Exact(2).check(3).unwrap_err();
    let said = "expected version 2, but the stream is at version 3; load it and decide again";
    assert_eq!(refused.to_string(), said);
}

#[test]
fn metadata_names_only_what_is_known_and_bears_fields_of_tomorrow() {
    let metadata = Metadata::by("ada");
    assert_eq!(String::from_utf8(metadata.to_json()).unwrap(), r#"{"actor":"ada"}"#);
    let newer = br#"{"actor":"ada","causation_id":"a","tenant":"t"}"#;
    let read = Metadata::from_json(newer).unwrap();
    assert_eq!(read, Metadata { causation_id: Some("a".into()), ..Metadata::by("ada") });
    assert!(Metadata::from_json(b"{}").is_err());
}
