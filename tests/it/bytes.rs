//! The same bytes, whoever sends and whoever reads: kafkalab, kcat, and Kafka's own tools.

pub mod files;
mod offsets;
pub mod transactions;

use crate::{
    harness::{kafkalab, kcat, topic},
    random::Random,
    records::{FORMAT, Rec, awkward, to_json_lines},
};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Partition 0 of a topic as each of the two prints it.
fn printed_by_both(topic: &str, more: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let ours = kafkalab(["consume", topic, "-p", "0", "-e", "-f", FORMAT]).arguments(more).run().ok();
    let kcats = kcat(["-C", "-q", "-e", "-t", topic, "-p", "0", "-f", FORMAT]).arguments(more).run().ok();
    (ours.stdout, kcats.stdout)
}

#[track_caller]
pub fn assert_same(what: &str, found: &[u8], expected: &[u8]) {
    if found != expected {
        let at = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
        let around = |bytes: &[u8]| {
            String::from_utf8_lossy(&bytes[at.saturating_sub(60)..bytes.len().min(at + 60)]).into_owned()
        };
        let (lengths, (found, expected)) = ((found.len(), expected.len()), (around(found), around(expected)));
        panic!("{what}: {lengths:?} bytes, from byte {at} on not the same:\n   found {found:?}\nexpected {expected:?}");
    }
}

#[test]
#[ignore = "needs kcat"]
fn what_kafkalab_sends_both_print_alike_in_every_codec() {
    let records = awkward();
    for codec in CODECS {
        let topic = topic("ours");
        kafkalab(["produce", &topic, "--input", "json", "-p", "0", "-z", codec])
            .stdin(to_json_lines(&records))
            .run()
            .ok();
        let expected = printed(&records, &topic, "");
        let (ours, kcats) = printed_by_both(&topic, &[]);
        assert_same(&format!("kcat of {codec}"), &kcats, &expected);
        assert_same(&format!("kafkalab of {codec}"), &ours, &expected);
    }
}

#[test]
#[ignore = "needs kcat"]
fn a_null_is_printed_as_the_word_null_on_request() {
    let topic = topic("null");
    // kcat prints the word for what is empty as well; there the two differ, and the lengths tell who is right
    let full = |bytes: &Option<Vec<u8>>| bytes.as_ref().is_none_or(|bytes| !bytes.is_empty());
    let (alike, empty): (Vec<Rec>, Vec<Rec>) =
        awkward().into_iter().partition(|record| full(&record.key) && full(&record.value));
    let records = [alike.clone(), empty].concat();
    kafkalab(["produce", &topic, "--input", "json", "-p", "0"]).stdin(to_json_lines(&records)).run().ok();
    let (ours, kcats) = printed_by_both(&topic, &["-Z"]);
    assert_same("kafkalab -Z", &ours, &printed(&records, &topic, "NULL"));
    let expected = printed(&alike, &topic, "NULL");
    assert_same("kcat -Z", &kcats[..expected.len()], &expected);
}

/// All records of partition 0 as [`FORMAT`] has them.
fn printed(records: &[Rec], topic: &str, null: &str) -> Vec<u8> {
    records.iter().enumerate().flat_map(|(at, record)| record.printed(topic, 0, at, null)).collect()
}

#[test]
#[ignore = "needs kcat"]
fn what_kcat_sends_both_print_alike_in_every_codec() {
    for codec in CODECS {
        let topic = topic("kcat");
        // several batches, some of them well compressible; with -Z kcat sends what is empty as null
        let mut random = Random::from_seed_or_new();
        let lines: Vec<(Vec<u8>, Vec<u8>)> = (0..3000)
            .map(|n| {
                let value = if n % 3 == 0 { b"same ".repeat(n % 50) } else { random.bytes(n % 200) };
                (random.bytes(n % 8), value)
            })
            .map(|(key, value)| (without(&key, b":\x1e"), without(&value, b"\x1e")))
            .collect();
        let input: Vec<u8> = lines.iter().flat_map(|(key, value)| [key, &b":"[..], value, b"\x1e"].concat()).collect();
        kcat(["-P", "-t", &topic, "-p", "0", "-K:", "-D\x1e", "-z", codec, "-Z", "-X", "batch.num.messages=500"])
            .arguments(["-H", "h=1", "-H", "g=", "-H", "h=2", "-H", "null"])
            .stdin(input)
            .run()
            .ok();
        let (ours, kcats) = printed_by_both(&topic, &[]);
        assert_same(codec, &ours, &kcats);
        // and both are what was sent: as JSON, where nothing can be mistaken for something else
        let json = kafkalab(["consume", &topic, "-p", "0", "-e", "-J"]).run().ok().text();
        let found: Vec<Rec> = json.lines().map(|line| Rec::from_json(line).at(0)).collect();
        let expected: Vec<Rec> = lines
            .iter()
            .map(|(key, value)| {
                Rec::new((!key.is_empty()).then_some(key), (!value.is_empty()).then_some(value))
                    .header(b"h", Some(b"1"))
                    .header(b"g", Some(b""))
                    .header(b"h", Some(b"2"))
                    .header(b"null", None)
            })
            .collect();
        assert_eq!(found.len(), expected.len(), "{codec}");
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "{codec}, record {at}");
        }
    }
}

fn without(bytes: &[u8], unwanted: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !unwanted.contains(byte)).collect()
}

/// What a batch with one record takes beside the value: 61 bytes of header, and the record's own fields: length (3),
/// attributes, time, offset and key (1 each), the value's length (3), and the number of headers (1).
const AROUND_A_VALUE: usize = 61 + 3 + 4 + 3 + 1;
/// `message.max.bytes` of a broker that was not told otherwise.
const LARGEST_BATCH: usize = 1_048_588;

#[test]
#[ignore = "needs kcat"]
fn a_value_of_a_mebibyte_goes_both_ways_in_every_codec() {
    let largest = Random::from_seed_or_new().letters(LARGEST_BATCH - AROUND_A_VALUE);
    let folder = files::Folder::new("mebibyte");
    for codec in CODECS {
        // what snappy and lz4 cannot pack they make a little larger
        let value = &largest[..if codec == "none" { largest.len() } else { largest.len() - 8192 }];
        let (line, file) = ([value, b"\n"].concat(), folder.file("value", value));
        let (ours, kcats) = (topic("mebibyte-ours"), topic("mebibyte-kcat"));
        kafkalab(["produce", &ours, "-p", "0", "-z", codec]).stdin(line.clone()).run().ok();
        // a file is one record of kcat's; librdkafka's own limit is a little smaller than the broker's
        kcat(["-P", "-t", &kcats, "-p", "0", "-z", codec, "-X", "message.max.bytes=1100000", &file]).run().ok();
        for topic in [ours, kcats] {
            let (by_us, by_kcat) = printed_by_both(&topic, &[]);
            assert_same(codec, &by_us, &by_kcat);
            let back = kafkalab(["consume", &topic, "-e"]).run().ok();
            assert_same(codec, &back.stdout, &line);
        }
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_record_larger_than_the_broker_takes_fails_alone() {
    crate::harness::need_kafka();
    let topic = topic("oversized");
    let largest = Random::from_seed_or_new().letters(LARGEST_BATCH - AROUND_A_VALUE);
    let input = [b"before\n", &largest[..], b"\n", &largest, b"x\nbehind\n"].concat();
    let sent = kafkalab(["produce", &topic, "-p", "0", "--json"]).stdin(input).run();
    assert_eq!(sent.code(), 1, "{}", sent.stderr);
    let statuses: Vec<(u64, String)> = sent
        .text()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a receipt is JSON"))
        .map(|receipt| (receipt["record"].as_u64().unwrap(), receipt["status"].as_str().unwrap().to_owned()))
        .collect();
    let mut expected: Vec<(u64, String)> =
        [(1, "acknowledged"), (2, "acknowledged"), (3, "failed"), (4, "acknowledged")]
            .map(|(number, status)| (number, status.to_owned()))
            .into();
    let mut found = statuses;
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{}", sent.stderr);
    let back = kafkalab(["consume", &topic, "-e"]).run().ok();
    assert_same("what is in the topic", &back.stdout, &[b"before\n", &largest[..], b"\nbehind\n"].concat());
}

#[test]
fn json_of_one_topic_makes_equal_records_in_another() {
    let (a, b) = (topic("json-a"), topic("json-b"));
    let records = awkward();
    let said = kafkalab(["produce", &a, "--input", "json", "-p", "0"]).stdin(to_json_lines(&records)).run().ok();
    assert_eq!(said.stderr, "");
    let json = kafkalab(["consume", &a, "-e", "--json"]).run().ok();
    let read = |text: &str| text.lines().map(Rec::from_json).collect::<Vec<_>>();
    assert_eq!(read(&json.text()), records);
    kafkalab(["produce", &b, "--input", "json"]).stdin(json.stdout.clone()).run().ok();
    let again = kafkalab(["consume", &b, "-p", "0", "-e", "--json"]).run().ok();
    assert_eq!(again.text(), json.text().replace(&a, &b), "the lines differ by the topic's name alone");
}
