//! Several on each side: reading and writing scale apart.

use std::{thread, time::Duration};

use rustix::process::Signal;

use super::{TOPICS, drain, judged, read_on, reading, stats};
use crate::{es::Place, harness::kafkalab, membership::until, process::start};

#[test]
#[ignore = "needs kcat"]
fn three_writers_and_three_readers_of_whom_one_comes_and_goes_and_partitions_that_are_added() {
    let place = Place::new("sides");
    place.take(Vec::new()); // the store is there before it is looked into
    let steady = [0; 2].map(|_| reading(&place, &["--batch", "50"]));
    let mut writers = [21, 22, 23].map(|seed: u32| {
        start(place.cqrs(&["write", "-n", "250", "--rate", "100", "--seed", &seed.to_string(), "-q"]))
    });
    until("something is read", Duration::from_secs(90), || match stats(&place)["orders"].as_i64() {
        Some(orders) if orders > 20 => Ok(()),
        orders => Err(format!("{orders:?}")),
    });
    let mut guest = reading(&place, &["--batch", "50", "--instance-id", "guest"]);
    for topic in TOPICS {
        kafkalab(["topics", "partitions", &place.topic(topic), "5"]).run().ok();
    }
    thread::sleep(Duration::from_millis(500)); // when it goes does not matter
    guest.signal(Signal::KILL);
    guest.end();
    for writer in &mut writers {
        let ended = writer.end();
        assert_eq!(ended.code(), 0, "{ended:?}");
    }
    let mut guest = start(place.cqrs(&["read", "--batch", "50", "--instance-id", "guest"]));
    guest.until_stderr_has("assigned: "); // before that a signal may find nobody who heeds it
    for mut reader in steady {
        reader.signal(Signal::INT);
        let ended = reader.end();
        assert_eq!(ended.code(), 130, "{ended:?}");
    }
    guest.signal(Signal::TERM);
    assert_eq!(guest.end().code(), 143);
    drain(&place, Some("guest"));
    judged(&place);
}

#[test]
#[ignore = "needs kcat"]
fn a_writer_ends_when_kafka_has_everything_and_a_reader_then_has_no_lag() {
    let place = Place::new("ends");
    let said = place.cqrs(&["write", "-n", "60", "--seed", "9"]).run().ok();
    assert!(said.text().starts_with("60 commands: ") && said.stderr == "seed 9\n", "{said:?}");
    let published: usize = TOPICS.iter().map(|topic| crate::es::judge::sent(&place.topic(topic)).len()).sum();
    assert_eq!(place.sql("SELECT count(*) FROM events"), [[published.to_string()]]);
    let lag = |place: &Place| -> serde_json::Value {
        serde_json::from_str(&place.cqrs(&["lag", "--json"]).run().ok().text()).expect("a document")
    };
    let before = lag(&place);
    assert!(before["events"].as_u64() >= Some(published as u64) && before["seconds"].as_f64() > Some(0.0), "{before}");
    read_on(&place, &["-q"]);
    let after = lag(&place);
    assert_eq!(
        (&after["events"], &after["missing"], &after["unpublished"]),
        (&0.into(), &0.into(), &0.into()),
        "{after}"
    );
}
