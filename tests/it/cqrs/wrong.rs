//! Poison, retention, wrong words, the end by a signal.

use kafkalab::{
    app::{Cluster, ConnectOptions, TopicPartition},
    kafka::Admin,
};
use rustix::process::Signal;
use uuid::Uuid;

use super::{judged, read_on, reading, stats, write};
use crate::{
    es::Place,
    harness::{brokers, kafkalab, need_kafka},
};

fn produce(place: &Place, event: &str, value: &str) {
    let topic = place.topic("payments");
    let (id, event) = (format!("ce_id={}", Uuid::now_v7()), format!("ce_type={event}"));
    let headers = ["ce_specversion=1.0", &id, "ce_source=/test", &event, "ce_time=2026-02-01T00:00:00Z"];
    let headers = headers.iter().flat_map(|header| ["-H", header]);
    kafkalab(["produce", &topic, "-q", "-k", "k"]).arguments(headers).stdin(value).run().ok();
}

#[test]
fn poison_goes_to_the_dead_letters_and_the_next_proceeds() {
    let place = Place::new("poison");
    write(&place, 20, 71);
    produce(&place, "orders.v1.OrderPaid", "no JSON");
    produce(&place, "orders.v9.OrderPaid", "{}");
    produce(&place, "orders.v1.OrderEaten", "{}");
    // another domain's: nobody's business here
    produce(&place, "weather.v1.Rain", "{}");
    let largest = r#"{"order_id":"ORDER","user_id":"u","payment_id":"p","amount":{"currency":"JPY","amount":"9223372036854775807"}}"#;
    for order in ["x", "y"] {
        produce(&place, "orders.v1.OrderPaid", &largest.replace("ORDER", order));
    }
    let said = read_on(&place, &["--batch", "10"]);
    assert!(said.stderr.ends_with("4 dead letters\n"), "{said:?}");
    let letters = kafkalab(["consume", &place.topic("payments.dlt"), "-e", "-q"]).run().ok().text();
    assert_eq!(letters.lines().count(), 4, "{letters}");
    assert_eq!(stats(&place)["statuses"]["AWAITED"], 1);
}

#[test]
#[ignore = "needs Apache Kafka: records are deleted as retention does"]
fn what_retention_took_before_it_was_read_is_told_and_the_log_mends_it() {
    need_kafka();
    let place = Place::new("retention");
    write(&place, 60, 81);
    read_on(&place, &["-q"]);
    write(&place, 60, 82);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let bootstrap = brokers().split(',').map(|address| address.parse().expect("an address")).collect();
        let cluster = Cluster::connect(bootstrap, ConnectOptions::default()).await.expect("the cluster");
        for partition in 0..3 {
            let partition = TopicPartition::new(place.topic("orders"), partition);
            let end = [(partition.clone(), kafkalab::app::Offset::End)];
            let end = cluster.resolve(&end, kafkalab::app::Isolation::ReadUncommitted).await.expect("an end")[0];
            let before = [(partition, end)].into_iter().collect();
            Admin::new(cluster.clone()).delete_records(&before).await.expect("deleted");
        }
    });
    write(&place, 60, 83);
    let said = read_on(&place, &[]);
    assert!(said.stderr.contains("removed by retention before they were read"), "{said:?}");
    assert!(said.text().contains("gone by retention: rebuild from the log"), "{said:?}");
    assert!(stats(&place)["lag"]["missing"].as_i64() > Some(0));
    let topics = place.cqrs(&["rebuild", "all", "--from", "topics"]).run();
    assert!(topics.code() == 1 && topics.stderr.contains("Rebuild from the event log"), "{topics:?}");
    place.cqrs(&["rebuild", "all"]).run().ok();
    let after = stats(&place);
    assert_eq!(after["lag"]["missing"], 0, "{after}");
    assert_eq!(after["orders"].to_string(), place.sql("SELECT count(DISTINCT stream_id) FROM events")[0][0]);
}

#[test]
#[ignore = "needs kcat"]
fn ctrl_c_ends_with_130_and_the_next_goes_on_where_it_was() {
    let place = Place::new("ctrl-c");
    write(&place, 40, 91);
    let mut reader = reading(&place, &["--every", "100ms", "--json", "--instance-id", "one"]);
    let all = place.sql("SELECT count(DISTINCT stream_id) FROM events")[0][0].clone();
    reader.until_stdout_has(&format!("\"orders\":{all},"));
    reader.signal(Signal::INT);
    let ended = reader.end();
    assert_eq!(ended.code(), 130, "{ended:?}");
    for line in ended.text().lines() {
        let document: serde_json::Value = serde_json::from_str(line).expect("a document a report");
        assert_eq!(document["schema_version"], 1);
    }
    let said = read_on(&place, &["-q", "--instance-id", "one"]);
    assert_eq!(said.stderr, "");
    let said = read_on(&place, &["--instance-id", "one"]);
    assert!(said.stderr.ends_with("0 records: 0 events, 0 dead letters\n"), "{said:?}");
    judged(&place);
}

#[test]
fn wrong_words_are_told_with_2() {
    let place = Place::new("usage");
    for (arguments, why) in [
        (&["rebuild", "everything"][..], "there is no model \"everything\""),
        (&["orders", "--status", "eaten"], "one of awaited, created, paid, shipped, cancelled"),
        (&["write", "--rate", "0"], "between 0.001 and 1000000"),
        (&["write", "-n", "3", "cancel", "a"], "-n, --rate and --seed are the stream's"),
        (&["write", "create"], "--price"),
    ] {
        let ended = place.cqrs(arguments).run();
        assert!(ended.code() == 2 && ended.stderr.contains(why), "{arguments:?}: {ended:?}");
    }
    let unknown = place.cqrs(&["order", "nobody"]).run();
    assert!(unknown.code() == 1 && unknown.stderr.contains("does not know order nobody"), "{unknown:?}");
}
