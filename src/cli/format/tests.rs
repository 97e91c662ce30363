use super::*;
use crate::app::Headers;
use crate::cli::given::{header_bytes, record};

fn print(format: &str, record: &RecordRef<'_>) -> String {
    let mut out = Vec::new();
    Format::parse(format).unwrap().write(&mut out, "orders", 3, record);
    String::from_utf8(out).unwrap()
}

#[test]
fn every_verb_prints_its_field() {
    let bytes = header_bytes(&[(b"a", Some(b"1")), (b"a", Some(b"")), (b"z", None)]);
    let given = RecordRef { headers: Headers::checked(3, &bytes), ..record() };
    for (format, printed) in [
        ("%t[%p]@%o", "orders[3]@42"),
        ("%k=%v", "key=value"),
        ("%k:%s", "key:value"),
        ("%K %V %S", "3 5 5"),
        ("%T", "1769904000250"),
        ("%d", "1769904000250"),
        ("%H", "3"),
        ("%h", "a=1,a=,z=NULL"),
        ("%h{%k=%v;}", "a=1;a=;z=;"),
        ("%h{ %k(%K)=%v{hex}(%V) }", " a(1)=31(1)  a(1)=(0)  z(1)=(-1) "),
        ("%h{%%%{%k%}}", "%{a}%{a}%{z}"),
        ("%k{hex} %v{base64} %t{hex}", "6b6579 dmFsdWU= 6f7264657273"),
        ("100%% %{%}", "100% {}"),
        (r"a\tb\n\r\\\x41\0", "a\tb\n\r\\A\0"),
        ("né %v €", "né value €"),
        ("}{", "}{"),
        ("", ""),
    ] {
        assert_eq!(print(format, &given), printed, "{format}");
    }
}

#[test]
fn a_null_prints_as_nothing_or_as_the_word_for_it_and_has_length_minus_one() {
    let null = RecordRef { key: None, value: None, ..record() };
    let empty = RecordRef { key: Some(b""), value: Some(b""), ..record() };
    assert_eq!(print("%k|%v|%K|%V|%S|%v{hex}", &null), "||-1|-1|-1|");
    assert_eq!(print("%k|%v|%K|%V", &empty), "||0|0");

    let format = Format::parse("%k|%v\\n").unwrap().null_as("NULL");
    let mut out = Vec::new();
    format.write(&mut out, "t", 0, &null);
    format.write(&mut out, "t", 0, &empty);
    assert_eq!(out, b"NULL|NULL\n|\n");
}

#[test]
fn the_format_of_a_pipe_takes_the_fast_path_and_keeps_the_bytes() {
    let format = Format::parse(r"%v\n").unwrap();
    assert!(matches!(format.program, Program::ValueLine));
    let mut out = Vec::new();
    format.write(&mut out, "t", 0, &RecordRef { value: Some(b"\xff\x1b\r\n\0"), ..record() });
    format.write(&mut out, "t", 0, &RecordRef { value: None, ..record() });
    assert_eq!(out, b"\xff\x1b\r\n\0\n\n");
    assert!(matches!(Format::parse(r"%v\r\n").unwrap().program, Program::Steps(_)));
}

#[test]
fn records_are_counted_from_one() {
    let format = Format::parse("%i ").unwrap();
    let mut out = Vec::new();
    for _ in 0..11 {
        format.write(&mut out, "t", 0, &record());
    }
    assert_eq!(out, b"1 2 3 4 5 6 7 8 9 10 11 ");
}

#[test]
fn on_a_terminal_the_record_is_escaped_and_the_format_is_not() {
    let bytes = header_bytes(&[(b"h\x1b", Some(b"\x9b"))]);
    let given = RecordRef { value: Some(b"\x1b[2J"), headers: Headers::checked(1, &bytes), ..record() };
    let mut out = Vec::new();
    Format::parse(r"\x1b[1m%v\x1b[0m %h").unwrap().for_terminal().write(&mut out, "t", 0, &given);
    assert_eq!(out, b"\x1b[1m\\x1b[2J\x1b[0m h\\x1b=\\x9b");

    let mut line = Vec::new();
    Format::parse(r"%v\n").unwrap().for_terminal().write(&mut line, "t", 0, &given);
    assert_eq!(line, b"\\x1b[2J\n");
}

#[test]
fn a_time_is_written_as_strftime_does() {
    // 2026-02-01 is a Sunday, the last day of ISO week 5.
    for (format, printed) in [
        ("%d{strftime[%F %T]}", "2026-02-01 00:00:00"),
        ("%d{strftime[%Y-%m-%dT%H:%M:%S.%LZ]}", "2026-02-01T00:00:00.250Z"),
        ("%d{strftime[%I:%M %p %e %j %y %C]}", "12:00 AM  1 032 26 20"),
        ("%d{strftime[%a %A %b %B %h]}", "Sun Sunday Feb February Feb"),
        ("%d{strftime[%G-W%V-%u %w]}", "2026-W05-7 0"),
        ("%d{strftime[%s %f %R %D %Z %z %% %n%t]}", "1769904000 250000 00:00 02/01/26 UTC +0000 % \n\t"),
        ("%d{strftime### [%F] ###}|", " [2026-02-01] |"),
        ("%d{strftime[{%F}]}", "2026-02-01"),
        ("%d{strftime[]}", ""),
    ] {
        assert_eq!(print(format, &record()), printed, "{format}");
    }
    let afternoon = RecordRef { timestamp: record().timestamp + 15 * 3_600_000, ..record() };
    assert_eq!(print("%d{strftime[%I %p]}", &afternoon), "03 PM");
}

#[test]
fn a_time_that_is_none_or_beyond_the_calendar_is_the_number() {
    for timestamp in [-1, i64::MAX, i64::MIN] {
        let given = RecordRef { timestamp, ..record() };
        assert_eq!(print("%d{strftime[%F]}", &given), timestamp.to_string());
        assert_eq!(print("%T %d", &given), format!("{timestamp} {timestamp}"));
    }
    assert_eq!(print("%d{strftime[%F]}", &RecordRef { timestamp: -86_400_000, ..record() }), "1969-12-31");
}

#[test]
fn a_mistake_names_its_column_and_what_could_stand_there() {
    for (format, column, said) in [
        ("%q", 1, "unknown verb `%q`"),
        ("é %q", 3, "%t topic"),
        ("%v%", 3, "`%%` prints"),
        ("%", 1, "`%%` prints"),
        (r"a\q", 2, "unknown escape"),
        (r"\", 1, "unknown escape"),
        (r"\x4", 1, "two hexadecimal"),
        (r"\xg0", 1, "two hexadecimal"),
        ("%v{octal}", 3, "{hex} and {base64}"),
        ("%v{hex", 3, "not closed"),
        ("%V{big32}", 3, "no modifier"),
        ("%h{%k", 1, "not closed"),
        ("%h{%o}", 4, "within %h{...}"),
        ("%h{%h{%k}}", 4, "within %h{...}"),
        ("%d{go[2006]}", 3, "strftime"),
        ("%d{strftime%F}", 3, "strftime"),
        ("%d{strftime[%F}", 3, "strftime"),
        ("%d{strftime[%F %Q]}", 16, "`%Q`"),
        ("%d{strftime[%]}", 13, "at the end"),
        ("%é", 1, "unknown verb `%é`"),
    ] {
        let error = Format::parse(format).unwrap_err();
        assert_eq!(error.column, column, "{format}: {error}");
        assert!(error.to_string().contains(said), "{format}: {error}");
    }
}

#[test]
fn numbers_are_written_as_rust_writes_them() {
    for number in [0, 7, 10, -1, -10, 1_769_904_000_250, i64::MAX, i64::MIN] {
        let mut out = Vec::new();
        push_int(&mut out, number);
        assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
    }
}

proptest::proptest! {
    #[test]
    fn no_format_makes_it_panic(text in r"[-%\\{}\[\]#a-zA-Zé0 ]{0,30}|%d\{strftime[%A-Za-z\[\]#}]{0,20}") {
        if let Ok(format) = Format::parse(&text) {
            format.write(&mut Vec::new(), "t", 0, &record());
        }
    }
}
