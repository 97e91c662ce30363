use proptest::prelude::*;

use super::*;

/// 2026-02-01T00:00:00Z.
const NOW: i64 = 1_769_904_000_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn range(from: Offset, to: Option<Offset>) -> OffsetRange {
    OffsetRange { from, to }
}

#[test]
fn a_single_place_is_followed_for_ever() {
    for (text, from) in [
        ("start", Offset::Start),
        ("beginning", Offset::Start),
        ("earliest", Offset::Start),
        ("oldest", Offset::Start),
        ("end", Offset::End),
        ("latest", Offset::End),
        ("newest", Offset::End),
        ("stored", Offset::Stored),
        ("0", Offset::At(0)),
        ("9223372036854775807", Offset::At(i64::MAX)),
        ("+5", Offset::AfterStart(5)),
        ("-5", Offset::BeforeEnd(5)),
        ("5:", Offset::At(5)),
    ] {
        assert_eq!(parse(text, NOW), Ok(range(from, None)), "{text}");
    }
}

#[test]
fn two_places_are_a_range_that_ends_before_the_second() {
    for (text, from, to) in [
        ("5:9", Offset::At(5), Offset::At(9)),
        ("5:5", Offset::At(5), Offset::At(5)),
        (":end", Offset::Start, Offset::End),
        (":7", Offset::Start, Offset::At(7)),
        ("start:end", Offset::Start, Offset::End),
        ("earliest:latest", Offset::Start, Offset::End),
        ("+2:-2", Offset::AfterStart(2), Offset::BeforeEnd(2)),
        ("-9:-3", Offset::BeforeEnd(9), Offset::BeforeEnd(3)),
        ("-3:end", Offset::BeforeEnd(3), Offset::End),
        ("end:100", Offset::End, Offset::At(100)),
        ("stored:end", Offset::Stored, Offset::End),
        ("5:@-1h", Offset::At(5), Offset::Timestamp(NOW - HOUR)),
    ] {
        assert_eq!(parse(text, NOW), Ok(range(from, Some(to))), "{text}");
    }
}

#[test]
fn a_time_is_milliseconds_seconds_a_day_rfc_3339_or_a_duration_before_now() {
    for (text, ms) in [
        ("@1700000000000", 1_700_000_000_000),
        ("@1700000000", 1_700_000_000_000),
        ("@999999999", 999_999_999_000),
        ("@2026-01-31", NOW - DAY),
        ("@2026-01-31T00:00:00Z", NOW - DAY),
        ("@2026-01-31T00:00:00.250Z", NOW - DAY + 250),
        ("@2026-01-31T02:00:00+02:00", NOW - DAY),
        ("@-1h", NOW - HOUR),
        ("@-1h30m", NOW - HOUR - HOUR / 2),
        ("@-90s", NOW - 90_000),
        ("@-250ms", NOW - 250),
        ("@-2d", NOW - 2 * DAY),
        ("@-1w", NOW - 7 * DAY),
        ("@-1h:", NOW - HOUR),
        ("s@1700000000000", 1_700_000_000_000),
    ] {
        assert_eq!(parse(text, NOW), Ok(range(Offset::Timestamp(ms), None)), "{text}");
    }
}

#[test]
fn two_times_are_told_apart_though_rfc_3339_has_colons() {
    let day = NOW - DAY;
    for (text, from, to) in [
        ("@-48h:-24h", NOW - 2 * DAY, NOW - DAY),
        ("@1700000000000:1700000001000", 1_700_000_000_000, 1_700_000_001_000),
        ("@2026-01-31T00:00:00Z:2026-01-31T01:00:00Z", day, day + HOUR),
        ("@2026-01-31T02:00:00+02:00:2026-01-31T03:00:00+02:00", day, day + HOUR),
        ("@2026-01-31T02:00:00+02:00:1h", day, day + HOUR),
        ("@2026-01-31:@2026-02-01", day, NOW),
    ] {
        let expected = range(Offset::Timestamp(from), Some(Offset::Timestamp(to)));
        assert_eq!(parse(text, NOW), Ok(expected), "{text}");
    }
    assert_eq!(parse("@-1h:end", NOW), Ok(range(Offset::Timestamp(NOW - HOUR), Some(Offset::End))));
    assert_eq!(parse("@:-1h", NOW), Ok(range(Offset::Start, Some(Offset::Timestamp(NOW - HOUR)))));
}

#[test]
fn a_duration_behind_a_date_counts_from_the_date_and_behind_a_duration_from_now() {
    let of = |text| parse(text, NOW).map(|range| range.to);
    assert_eq!(of("@2026-01-31:6h"), Ok(Some(Offset::Timestamp(NOW - DAY + 6 * HOUR))));
    assert_eq!(of("@-2h:-1h"), Ok(Some(Offset::Timestamp(NOW - HOUR))));
    assert_eq!(of("@-2h:1h"), Ok(Some(Offset::Timestamp(NOW + HOUR))));
}

#[test]
fn a_time_before_1970_is_the_epoch_and_never_a_negative_number_with_a_meaning_of_its_own() {
    assert_eq!(parse("@1960-01-01", NOW), Ok(range(Offset::Timestamp(0), None)));
    assert_eq!(parse("@-10000w", NOW), Ok(range(Offset::Timestamp(0), None)));
}

#[test]
fn kcats_two_options_are_one_range() {
    let all = |texts: &[&str]| parse_all(&texts.iter().map(|t| t.to_string()).collect::<Vec<_>>(), NOW);
    let times = range(Offset::Timestamp(1_700_000_000_000), Some(Offset::Timestamp(1_700_000_003_000)));
    assert_eq!(all(&["s@1700000000000", "e@1700000003000"]), Ok(times));
    assert_eq!(all(&["e@1700000003000", "s@1700000000000"]), Ok(times));
    assert_eq!(all(&["e@1700000003000"]), Ok(range(Offset::Start, times.to)));
    assert_eq!(all(&["5", "e@1700000003000"]), Ok(range(Offset::At(5), times.to)));
    assert_eq!(all(&[]), Ok(range(Offset::Start, None)));
    assert_eq!(all(&["3:9"]), parse("3:9", NOW));
}

#[test]
fn a_side_given_twice_and_a_range_turned_round_are_refused() {
    let all = |texts: &[&str]| parse_all(&texts.iter().map(|t| t.to_string()).collect::<Vec<_>>(), NOW);
    assert!(matches!(all(&["5", "7"]), Err(OffsetError::Twice { what: "start", .. })));
    assert!(matches!(all(&["3:5", "e@1700000000000"]), Err(OffsetError::Twice { what: "end", .. })));
    assert!(matches!(all(&["s@1700000000000", "e@1600000000000"]), Err(OffsetError::Backwards { .. })));
    for text in ["9:5", "-3:-9", "+9:+5", "@-1h:-2h", "@2026-02-01:2026-01-31", "5:start", "end:-5", "end:start"] {
        assert!(matches!(parse(text, NOW), Err(OffsetError::Backwards { .. })), "{text}");
    }
}

#[test]
fn what_no_tool_understands_is_refused_with_the_forms() {
    let wrong = "bogus : @ @: --5 +-5 ++5 5-9 5:9:11 0x10 1e3 @bogus @5 @17000000000 @2026-13-01 @2026-01-31T10:00 @-1y \
                 @-1 @-h @-1h:bogus @-1h:1 s@ e@ START ٣ @٣٣٣٣٣٣٣٣٣ @-٣h";
    for text in wrong.split(' ').chain(["", " 5", "5 "]) {
        let error = parse(text, NOW).unwrap_err();
        let said = error.to_string();
        assert!(said.contains(&format!("`{text}`")) && said.contains("@T1:T2"), "{text}: {said}");
    }
    assert!(parse("@-1h:bogus", NOW).unwrap_err().to_string().contains("cannot read `bogus`"));
    assert!(matches!(parse("5:stored", NOW), Err(OffsetError::StoredAsEnd { .. })));
}

#[test]
fn a_start_in_the_future_is_taken_for_a_forgotten_minus() {
    assert!(parse("@1h", NOW).unwrap_err().to_string().contains("`@-1h` is `1h` ago"));
}

#[test]
fn a_place_is_one_place() {
    for (text, place) in [
        ("start", Offset::Start),
        ("latest", Offset::End),
        ("5", Offset::At(5)),
        ("+5", Offset::AfterStart(5)),
        ("-5", Offset::BeforeEnd(5)),
        ("@-1h", Offset::Timestamp(NOW - HOUR)),
        ("1h", Offset::Timestamp(NOW - HOUR)),
        ("-1h30m", Offset::Timestamp(NOW - HOUR - HOUR / 2)),
        ("@2026-01-31T00:00:00Z", Offset::Timestamp(NOW - DAY)),
        ("s@1700000000000", Offset::Timestamp(1_700_000_000_000)),
        ("100000w", Offset::Timestamp(0)),
    ] {
        assert_eq!(parse_place(text, NOW), Ok(place), "{text}");
    }
    for text in ["", "5:9", "5:", ":5", "@-2h:-1h", "@-1h:", "e@1700000000000", "stored", "bogus", "1y", "--1h"] {
        let said = parse_place(text, NOW).unwrap_err().to_string();
        assert!(said.starts_with(&format!("`{text}` is not one place")) && said.contains("@TIME"), "{text}: {said}");
    }
    assert!(matches!(parse_place("@1h", NOW), Err(OffsetError::FutureStart { .. })));
    assert!(matches!(parse_place("99999999999999999999", NOW), Err(OffsetError::TooLarge { .. })));
}

#[test]
fn numbers_beyond_an_offset_are_too_large_and_never_wrap() {
    for text in ["9223372036854775808", "+99999999999999999999", "-99999999999999999999", "@-99999999999999999999h"] {
        assert!(matches!(parse(text, NOW), Err(OffsetError::TooLarge { .. })), "{text}");
    }
    assert!(matches!(parse("@2026-01-31:9223372036854775807ms", NOW), Err(OffsetError::TooLarge { .. })));
    assert!(matches!(parse("@-9223372036854775807w", NOW), Err(OffsetError::TooLarge { .. })));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[-+@:se0-9a-zTZ.é]{0,40}", now in any::<i64>()) {
        let _ = parse(&text, now);
        let _ = parse_place(&text, now);
    }

    #[test]
    fn a_written_range_of_numbers_is_read_back(from in 0..i64::MAX, length in 0..1000i64) {
        let to = from.saturating_add(length);
        prop_assert_eq!(parse(&format!("{from}:{to}"), NOW), Ok(range(Offset::At(from), Some(Offset::At(to)))));
    }
}
