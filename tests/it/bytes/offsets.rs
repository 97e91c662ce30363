//! Every form of `-o`, against a model: what each partition has, and which of it a form means.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    harness::{kafkalab, kcat},
    records::{Rec, to_json_lines},
    topics_made::topic_with,
};

/// 2026-01-31T08:00:00Z
const EIGHT: i64 = 1_769_846_400_000;
const MINUTE: i64 = 60_000;

/// The times of each partition's records; the second's do not grow with its offsets, the third has none.
fn times() -> [Vec<i64>; 3] {
    let growing = (0..10).map(|n| EIGHT + n * MINUTE).collect();
    [growing, [3, 1, 4, 1, 5, 9].map(|n| EIGHT + n * MINUTE + 1).into(), Vec::new()]
}

fn filled(word: &str, times: &[Vec<i64>]) -> String {
    let topic = topic_with(word, times.len() as i32);
    for (partition, times) in times.iter().enumerate() {
        let records: Vec<Rec> =
            times.iter().enumerate().map(|(at, ts)| Rec::new(None, Some(at.to_string().as_bytes())).at(*ts)).collect();
        kafkalab(["produce", &topic, "--input", "json", "-p", &partition.to_string()])
            .stdin(to_json_lines(&records))
            .run()
            .ok();
    }
    topic
}

/// What is read: `partition:offset`, sorted by partition and offset within.
fn read(topic: &str, arguments: &[&str]) -> Vec<String> {
    let text = kafkalab(["consume", topic, "-f", "%p:%o:%v\n"]).arguments(arguments).run().ok().text();
    places(&text)
}

fn places(text: &str) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    for line in text.lines() {
        let [partition, offset, value] = line.split(':').collect::<Vec<_>>().try_into().expect("three fields");
        assert_eq!(offset, value, "the record that was sent at this offset");
        places.push(format!("{partition}:{offset}"));
    }
    // between partitions there is no order; within one there is, which a stable sort keeps
    places.sort_by_key(|place| place.split(':').next().map(str::to_owned));
    places
}

/// An end of a range, as a rule on a partition's times.
type Place = Box<dyn Fn(&[i64]) -> usize>;

fn at(offset: usize) -> Place {
    Box::new(move |times| offset.min(times.len()))
}

fn before_end(count: usize) -> Place {
    Box::new(move |times| times.len().saturating_sub(count))
}

fn end() -> Place {
    before_end(0)
}

/// The first record that is not before this time; the end where none is.
fn time(ms: i64) -> Place {
    Box::new(move |times| times.iter().position(|ts| *ts >= ms).unwrap_or(times.len()))
}

fn model(times: &[Vec<i64>], from: &Place, to: &Place) -> Vec<String> {
    let partition = |(number, times): (usize, &Vec<i64>)| {
        (from(times)..to(times)).map(|offset| format!("{number}:{offset}")).collect::<Vec<_>>()
    };
    times.iter().enumerate().flat_map(partition).collect()
}

#[test]
fn every_form_means_what_it_says() {
    let times = times();
    let topic = filled("offsets", &times);
    let quarter = EIGHT + 15 * MINUTE / 10;
    let cases: Vec<(&str, Place, Place)> = vec![
        ("start", at(0), end()),
        ("beginning", at(0), end()),
        ("end", end(), end()),
        ("latest", end(), end()),
        ("3", at(3), end()),
        ("+3", at(3), end()),
        ("-3", before_end(3), end()),
        ("-0", end(), end()),
        ("-99", at(0), end()),
        ("99", end(), end()),
        ("+99", end(), end()),
        ("2:5", at(2), at(5)),
        ("5:5", at(5), at(5)),
        ("2:", at(2), end()),
        (":5", at(0), at(5)),
        (":end", at(0), end()),
        (":-2", at(0), before_end(2)),
        ("+1:-1", at(1), before_end(1)),
        ("-4:-1", before_end(4), before_end(1)),
        ("start:+2", at(0), at(2)),
        ("7:+9", at(7), at(9)),
        ("@1769846460000", time(EIGHT + MINUTE), end()),
        ("@1769846460", time(EIGHT + MINUTE), end()),
        ("@1769846460001", time(EIGHT + MINUTE + 1), end()),
        ("@1769846460001:1769846640000", time(EIGHT + MINUTE + 1), time(EIGHT + 4 * MINUTE)),
        ("@2026-01-31", at(0), end()),
        ("@2026-02-01", end(), end()),
        ("@2026-01-31:2026-02-01", at(0), end()),
        ("@2026-01-30:2026-01-31", at(0), at(0)),
        ("@2026-01-31T08:01:30Z", time(quarter), end()),
        ("@2026-01-31T09:01:30+01:00", time(quarter), end()),
        ("@2026-01-31T08:01:30Z:2026-01-31T08:05:00Z", time(quarter), time(EIGHT + 5 * MINUTE)),
        ("@2026-01-31T08:01:30Z:3m", time(quarter), time(quarter + 3 * MINUTE)),
        ("@2026-01-31:8h2m", at(0), time(EIGHT + 2 * MINUTE)),
        ("s@1769846460000", time(EIGHT + MINUTE), end()),
        ("e@1769846460000", at(0), time(EIGHT + MINUTE)),
        ("4:@1769846700000", at(4), time(EIGHT + 5 * MINUTE)),
    ];
    for (form, from, to) in cases {
        assert_eq!(read(&topic, &["-e", "-o", form]), model(&times, &from, &to), "-o {form}");
    }
    let pair = ["-e", "-o", "e@1769846640000", "-o", "s@1769846460000"];
    assert_eq!(read(&topic, &pair), model(&times, &time(EIGHT + MINUTE), &time(EIGHT + 4 * MINUTE)), "{pair:?}");
}

#[test]
fn a_range_with_an_end_ends_by_itself() {
    let times = times();
    let topic = filled("ends", &times);
    for (form, from, to) in [
        ("2:5", at(2), at(5)),
        (":end", at(0), end()),
        ("@2026-01-31:2026-02-01", at(0), end()),
        (":-1", at(0), before_end(1)),
    ] {
        if form == "2:5" {
            // the third partition has nothing: offset 5 of it may come one day, so this one follows
            assert_eq!(read(&topic, &["-o", form, "-p", "0"]), model(&times[..1], &from, &to));
        } else {
            assert_eq!(read(&topic, &["-o", form]), model(&times, &from, &to), "-o {form}");
        }
    }
}

#[test]
fn times_count_back_from_now() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
    // minutes ago; the limits of the cases lie minutes away from them
    let times =
        [vec![300, 200, 100, 50, 10], vec![250, 30]].map(|ago| ago.iter().map(|ago| now - ago * MINUTE).collect());
    let topic = filled("ago", &times);
    let ago = |minutes: i64| time(now - minutes * MINUTE);
    for (form, from, to) in [
        ("@-1h", ago(60), end()),
        ("@-2h30m", ago(150), end()),
        ("@-1d", at(0), end()),
        ("@-4h:-1h", ago(240), ago(60)),
        ("@-90m:end", ago(90), end()),
        ("@-1s", end(), end()),
        ("s@-1h", ago(60), end()),
    ] {
        assert_eq!(read(&topic, &["-e", "-o", form]), model(&times, &from, &to), "-o {form}");
    }
}

#[test]
fn partitions_can_be_chosen() {
    let times = times();
    let topic = filled("chosen", &times);
    let all = model(&times, &at(0), &end());
    let of = |wanted: &[&str]| -> Vec<String> {
        all.iter().filter(|place| wanted.iter().any(|p| place.starts_with(p))).cloned().collect()
    };
    assert_eq!(read(&topic, &["-e", "-p", "1"]), of(&["1:"]));
    assert_eq!(read(&topic, &["-e", "-p", "0", "-p", "2"]), of(&["0:"]));
    assert_eq!(read(&topic, &["-e", "-p", "2,1,0"]), all);
}

#[test]
#[ignore = "needs kcat"]
fn kcat_reads_the_same_range_of_times() {
    let times = [(0..50).map(|n| EIGHT + n * MINUTE).collect::<Vec<_>>()];
    let topic = filled("kcat-times", &times);
    let (from, to) = (format!("s@{}", EIGHT + 7 * MINUTE), format!("e@{}", EIGHT + 31 * MINUTE));
    let arguments = ["-o", &from, "-o", &to, "-e"];
    let kcats = kcat(["-C", "-q", "-t", &topic, "-p", "0", "-f", "%p:%o:%s\n"]).arguments(arguments).run().ok();
    assert_eq!(read(&topic, &arguments), places(&kcats.text()));
    assert_eq!(places(&kcats.text()).len(), 24);
}
