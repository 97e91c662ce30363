//! Files and lines: what goes in comes out, byte for byte, and each option of `produce` does what it says.

use super::assert_same;
use crate::{
    harness::{kafkalab, topic},
    random::Random,
    records::Rec,
};

/// What a topic with one partition has, as records without their times.
pub fn records(topic: &str) -> Vec<Rec> {
    let json = kafkalab(["consume", topic, "-e", "-J"]).run().ok().text();
    json.lines().map(|line| Rec::from_json(line).at(0)).collect()
}

/// A file under the test's own folder, which ends with the test.
pub struct Folder(pub std::path::PathBuf);

impl Folder {
    pub fn new(word: &str) -> Self {
        let path = std::env::temp_dir().join(topic(word));
        std::fs::create_dir(&path).expect("a folder of the test");
        Self(path)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("a file of the test");
        path.to_str().expect("a path of letters").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_come_back_byte_for_byte() {
    let mut random = Random::from_seed_or_new();
    let long_lines: Vec<u8> =
        (0..6).flat_map(|n| [random.letters(200_000 * (n % 3) + n), b"\n".to_vec()].concat()).collect();
    // noise has a newline in every 256 bytes on average, and all else that a line can have
    let noise = [random.bytes(700_000), b"\n".to_vec()].concat();
    let folder = Folder::new("files");
    for (word, bytes) in [
        ("nothing", &b""[..]),
        ("one-newline", b"\n"),
        ("empty-lines", b"\n\n\na\n\n\n"),
        ("crlf", b"a\r\n\r\nb\r\n\r\r\n"),
        ("nul", b"\0\n\0\0\n"),
        ("long-lines", &long_lines),
        ("noise", &noise),
    ] {
        let (by_file, by_stdin) = (topic(word), topic(word));
        let path = folder.file(word, bytes);
        kafkalab(["produce", &by_file, "-l", &path, "-z", "lz4"]).run().ok();
        kafkalab(["produce", &by_stdin]).stdin(bytes).run().ok();
        for topic in [by_file, by_stdin] {
            let back = kafkalab(["consume", &topic, "-p", "0", "-e"]).run().ok();
            assert_same(word, &back.stdout, bytes);
        }
    }
}

#[test]
fn a_last_line_without_a_newline_is_a_record_too() {
    let topic = topic("no-newline");
    kafkalab(["produce", &topic]).stdin("first\nlast").run().ok();
    assert_eq!(records(&topic), [Rec::new(None, Some(b"first")), Rec::new(None, Some(b"last"))]);
}

#[test]
fn several_files_are_read_in_order_and_do_not_run_together() {
    let folder = Folder::new("several");
    let (a, b, c) = (folder.file("a", b"a1\na2"), folder.file("b", b""), folder.file("c", b"\nc2\n"));
    let topic = topic("several");
    kafkalab(["produce", &topic, "-l", &a, "-l", &b, "-l", &c]).run().ok();
    let back = kafkalab(["consume", &topic, "-e"]).run().ok();
    assert_eq!(back.text(), "a1\na2\n\nc2\n");
}

#[test]
fn keys_are_split_at_the_first_delimiter() {
    for (delimiter, input, expected) in [
        (":", "a:b:c\n:v\nk:\nnone\n", [("a", "b:c"), ("", "v"), ("k", ""), ("-", "none")]),
        ("::", "a::b::c\n::v\nk::\none:\n", [("a", "b::c"), ("", "v"), ("k", ""), ("-", "one:")]),
        (r"\t", "a\tb\tc\n\tv\nk\t\nnone\n", [("a", "b\tc"), ("", "v"), ("k", ""), ("-", "none")]),
        (r"\x00", "a\0b\0c\n\0v\nk\0\nnone\n", [("a", "b\0c"), ("", "v"), ("k", ""), ("-", "none")]),
    ] {
        let topic = topic("split");
        kafkalab(["produce", &topic, "-p", "0", "-K", delimiter]).stdin(input).run().ok();
        let expected =
            expected.map(|(key, value)| Rec::new((key != "-").then_some(key.as_bytes()), Some(value.as_bytes())));
        assert_eq!(records(&topic), expected, "-K {delimiter}");
    }
}

#[test]
fn one_key_and_headers_go_with_every_record() {
    let topic = topic("key");
    let headers = ["-H", "a=1", "-H", "b:2=3", "-H", "a=", "-H", "name"];
    kafkalab(["produce", &topic, "-k", "ключ"]).arguments(headers).stdin("one\ntwo:2\n").run().ok();
    let expected = ["one", "two:2"].map(|value| {
        Rec::new(Some("ключ".as_bytes()), Some(value.as_bytes()))
            .header(b"a", Some(b"1"))
            .header(b"b", Some(b"2=3"))
            .header(b"a", Some(b""))
            .header(b"name", None)
    });
    assert_eq!(records(&topic), expected);
}

#[test]
fn empty_values_are_tombstones_on_request_alone() {
    let (with, without) = (topic("tombstones"), topic("empty"));
    kafkalab(["produce", &with, "-Z", "-K:"]).stdin("a:\n\nb:1\n").run().ok();
    kafkalab(["produce", &without, "-K:"]).stdin("a:\n\nb:1\n").run().ok();
    let (none, empty) = (None, Some(&b""[..]));
    for (topic, value) in [(with, none), (without, empty)] {
        let expected = [Rec::new(Some(b"a"), value), Rec::new(None, value), Rec::new(Some(b"b"), Some(b"1"))];
        assert_eq!(records(&topic), expected);
    }
}

#[test]
fn the_number_of_records_can_be_limited() {
    let topic = topic("limited");
    for (limit, input) in [("3", "1\n2\n3\n4\n5\n"), ("0", "never\n"), ("9", "6\n7")] {
        kafkalab(["produce", &topic, "-n", limit]).stdin(input).run().ok();
    }
    let read = |more: &[&str]| kafkalab(["consume", &topic, "-e"]).arguments(more).run().ok().text();
    assert_eq!(read(&[]), "1\n2\n3\n6\n7\n");
    assert_eq!(read(&["-n", "2"]), "1\n2\n");
    assert_eq!(read(&["-c", "4", "-o", "-2"]), "6\n7\n");
    assert_eq!(read(&["--num", "0"]), "");
    // who follows ends with the last one asked for
    assert_eq!(kafkalab(["consume", &topic, "--max-messages", "5"]).run().ok().text(), "1\n2\n3\n6\n7\n");
}

#[test]
fn records_end_at_any_byte() {
    for (delimiter, input) in [(r"\0", &b"a\nb\0\0c\0"[..]), (";", b"a\nb;;c;"), (r"\xff", b"a\nb\xff\xffc\xff")] {
        let topic = topic("delimiter");
        kafkalab(["produce", &topic, "-D", delimiter]).stdin(input).run().ok();
        let expected = [Rec::new(None, Some(b"a\nb")), Rec::new(None, Some(b"")), Rec::new(None, Some(b"c"))];
        assert_eq!(records(&topic), expected, "-D {delimiter}");
    }
}

#[test]
fn the_same_seed_sends_the_same_bytes() {
    let sample = |seed: &str| {
        let topic = topic("sample");
        kafkalab(["produce", &topic, "-p", "0", "--sample", "300", "--seed", seed]).run().ok();
        let format = r"%K|%V|%k|%v|%h\n"; // all but topic and time, which are the run's own
        kafkalab(["consume", &topic, "-p", "0", "-e", "-f", format]).run().ok().text()
    };
    let (first, again, other) = (sample("42"), sample("42"), sample("43"));
    assert_eq!(first.lines().count(), 300);
    assert_eq!(first, again);
    assert_ne!(first, other);
}
