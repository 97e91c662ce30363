//! Rows that cannot be published: each is parked with its reason and holds up its own aggregate alone.

use uuid::Uuid;

use super::{DISCARDED, HELD, PARKED, PUBLISHED, WAITING, create};
use crate::{
    es::{
        Place,
        judge::{Sent, sent_on},
    },
    harness::{Ended, brokers, kafkalab, need_kafka},
    membership::{lab, until},
};

const CREATED: &str = "orders.v1.OrderCreated";

fn relay_once(place: &Place, brokers: &str, arguments: &[&str]) -> Ended {
    place.outbox(&["relay", "--once", "--brokers", brokers]).arguments(arguments).run()
}

/// A place whose store is there.
fn made(word: &str) -> Place {
    let place = Place::new(word);
    place.take(Vec::new());
    place
}

/// What readers get of a topic, once a commit's markers are written.
fn arrived(place: &Place, brokers: &str, word: &str, count: usize) -> Vec<Sent> {
    let sent = || Some(sent_on(brokers, &place.topic(word))).filter(|sent| sent.len() == count);
    until("records", std::time::Duration::from_secs(20), || sent().ok_or(format!("not {count}")))
}

fn keys(sent: &[Sent]) -> Vec<&str> {
    let mut keys: Vec<_> = sent.iter().map(|record| record.key.as_str()).collect();
    keys.sort_unstable();
    keys
}

/// Waiting, published, parked, held, discarded.
fn depth(place: &Place) -> [u64; 5] {
    [WAITING, PUBLISHED, PARKED, HELD, DISCARDED].map(|status| place.count(status))
}

fn reason(place: &Place, id: Uuid) -> String {
    place.sql(&format!("SELECT reason FROM outbox_status WHERE id = {}", place.uuid(id)))[0][0].clone()
}

#[test]
#[ignore = "needs kcat"]
fn rows_that_say_nonsense_are_parked_with_their_reasons_and_the_others_flow() {
    let place = made("nonsense");
    let mut bad = vec![
        ("json", place.insert_row("json", CREATED, "{\"half\": ", None), "the payload is no JSON: "),
        (
            "event",
            place.insert_row("event", "orders.v1.OrderEaten", "{}", None),
            "event type \"orders.v1.OrderEaten\" is",
        ),
    ];
    let (kind, topic, headers) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    place.sql(&place.row(kind, ("fish", "kind"), CREATED, "{}", None));
    bad.push(("kind", kind, "aggregate type \"fish\" is not known"));
    place.sql(&place.row(topic, ("order", "topic"), CREATED, "{}", Some("no topic/at all")));
    bad.push(("topic", topic, "topic"));
    place.sql(&place.row(headers, ("order", "headers"), CREATED, "{}", None));
    let id = place.uuid(headers);
    place.sql(&format!("UPDATE outbox SET headers = '[1, 2' WHERE id = {id} RETURNING seq"));
    bad.push(("headers", headers, "the headers are no JSON object of texts: "));
    for (aggregate, ..) in &bad {
        place.insert_row(aggregate, CREATED, "{\"behind\": 1}", None);
        place.insert_row(&format!("other-{aggregate}"), CREATED, "{}", None);
    }
    place.take(vec![create("good")]);

    let ended = relay_once(&place, brokers(), &[]);
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.stderr.contains("\n7 messages published; 5 rows parked, 4 held behind them\n"), "{ended:?}");
    assert!(ended.stderr.ends_with("then outbox retry, or discard\n"), "{ended:?}");
    for (_, id, why) in &bad {
        let told = ended.stderr.lines().find(|line| line.starts_with(&format!("{id} is parked: ")));
        assert!(told.is_some_and(|told| told.contains(why)), "{why}: {ended:?}");
    }
    assert_eq!(depth(&place), [0, 7, 5, 4, 0]);
    let listed = place.outbox(&["list", "--status", "parked", "--json"]).run().ok().text();
    for (aggregate, id, why) in &bad {
        assert!(reason(&place, *id).contains(why), "{aggregate}: {}", reason(&place, *id));
        let document = listed.lines().find(|line| line.contains(&id.to_string())).expect("a row that is listed");
        let document: serde_json::Value = serde_json::from_str(document).expect("JSON");
        assert_eq!((&document["status"], &document["aggregate_id"]), (&"parked".into(), &(*aggregate).into()));
        assert_eq!(document["reason"], reason(&place, *id).as_str());
        let shown = place.outbox(&["show", &id.to_string()]).run().ok().text();
        assert!(shown.contains(&format!("reason      {}", reason(&place, *id).trim())), "{shown}");
    }
    // another kind of aggregate by the same id is another aggregate, and is not held up
    let wanted = ["good", "kind", "other-event", "other-headers", "other-json", "other-kind", "other-topic"];
    assert_eq!(keys(&arrived(&place, brokers(), "orders", 7)), wanted);

    // nothing has changed, so a retry parks them again; and a relay with nothing to do still tells
    place.outbox(&["retry", "--all"]).run().ok();
    assert_eq!(relay_once(&place, brokers(), &["-q"]).code(), 1);
    assert_eq!(relay_once(&place, brokers(), &["-q"]).code(), 1);
    assert_eq!(depth(&place), [0, 7, 5, 4, 0]);
    // one is mended by hand, the others given up; what stood behind them goes
    let mended = place.uuid(bad[0].1);
    place.sql(&format!("UPDATE outbox SET payload = {} WHERE id = {mended} RETURNING seq", place.bytes("{}")));
    place.outbox(&["retry", &bad[0].1.to_string()]).run().ok();
    let ids: Vec<String> = bad[1..].iter().map(|(_, id, _)| id.to_string()).collect();
    place.outbox(&["discard", "-y"]).arguments(&ids).run().ok();
    let ended = relay_once(&place, brokers(), &[]).ok();
    assert!(ended.stderr.ends_with("5 messages published\n"), "{ended:?}");
    assert_eq!(depth(&place), [0, 12, 0, 0, 4]);
    let sent = arrived(&place, brokers(), "orders", 12);
    let json: Vec<_> = sent.iter().filter(|record| record.key == "json").map(|record| record.value.as_str()).collect();
    assert_eq!(json, ["{}", "{\"behind\": 1}"]);
    assert_eq!(relay_once(&place, brokers(), &[]).code(), 0);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_row_that_is_too_large_for_its_topic_is_parked_until_the_topic_takes_it() {
    need_kafka();
    let place = made("oversized");
    let topic = place.topic("orders");
    kafkalab(["topics", "create", &topic, "-p", "3", "-c", "max.message.bytes=4000"]).run().ok();
    let large = format!("{{\"x\": \"{}\"}}", "x".repeat(10_000));
    let id = place.insert_row("large", CREATED, &large, None);
    place.insert_row("large", CREATED, "{\"behind\": 1}", None);
    place.insert_row("large", CREATED, "{\"behind\": 2}", None);
    for other in 0..40 {
        place.insert_row(&format!("other-{other}"), CREATED, "{}", None);
    }
    let ended = relay_once(&place, brokers(), &[]);
    assert_eq!((ended.code(), depth(&place)), (1, [0, 40, 1, 2, 0]), "{ended:?}");
    assert!(ended.stderr.contains(&format!("{id} is parked: ")), "{ended:?}");
    assert!(reason(&place, id).contains("MESSAGE_TOO_LARGE"), "{}", reason(&place, id));
    assert!(!keys(&arrived(&place, brokers(), "orders", 40)).contains(&"large"));

    kafkalab(["topics", "config", &topic, "--set", "max.message.bytes=100000"]).run().ok();
    place.outbox(&["retry", &id.to_string()]).run().ok();
    relay_once(&place, brokers(), &[]).ok();
    assert_eq!(depth(&place), [0, 43, 0, 0, 0]);
    let sent = arrived(&place, brokers(), "orders", 43);
    let large: Vec<_> = sent.iter().filter(|record| record.key == "large").map(|record| record.value.len()).collect();
    assert_eq!(large, [10_009, 13, 13]);
}

/// Larger than any buffer of the client, and than any request of a broker.
#[test]
#[ignore = "needs Apache Kafka"]
fn a_row_that_is_too_large_for_the_client_is_parked_too() {
    need_kafka();
    let place = made("huge");
    // made by the database: no command line is so long
    let id = Uuid::now_v7();
    place.sql(&place.row(id, ("order", "huge"), CREATED, "{}", None));
    let bytes = 20 << 20;
    let payload = match place.is_postgres() {
        true => format!("convert_to('{{\"x\": \"' || repeat('x', {bytes}) || '\"}}', 'UTF8')"),
        false => format!("CAST('{{\"x\": \"' || hex(zeroblob({})) || '\"}}' AS BLOB)", bytes / 2),
    };
    place.sql(&format!("UPDATE outbox SET payload = {payload} WHERE aggregateid = 'huge' RETURNING seq"));
    place.insert_row("huge", CREATED, "{\"behind\": 1}", None);
    place.take(vec![create("good")]);
    let ended = relay_once(&place, brokers(), &[]);
    assert_eq!((ended.code(), depth(&place)), (1, [0, 1, 1, 1, 0]), "{ended:?}");
    place.outbox(&["discard", "-y", &id.to_string()]).run().ok();
    relay_once(&place, brokers(), &[]).ok();
    assert_eq!(depth(&place), [0, 2, 0, 0, 1]);
    assert_eq!(keys(&arrived(&place, brokers(), "orders", 2)), ["good", "huge"]);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_topic_that_is_not_there_is_tried_again_and_then_the_row_is_parked() {
    need_kafka();
    let place = made("no-topic");
    kafkalab(["topics", "create", &place.topic("orders"), "--brokers", lab()]).run().ok();
    let id = Uuid::now_v7();
    place.sql(&place.row(id, ("order", "lost"), CREATED, "{}", Some("nowhere")));
    place.insert_row("lost", CREATED, "{\"behind\": 1}", None);
    place.take(vec![create("good")]);
    let ended = relay_once(&place, lab(), &["--no-create"]);
    assert_eq!((ended.code(), depth(&place)), (1, [0, 1, 1, 1, 0]), "{ended:?}");
    assert_eq!(ended.stderr.matches(&format!("{id} is to be tried again: ")).count(), 4, "{ended:?}");
    assert_eq!(ended.stderr.matches(&format!("{id} is parked: ")).count(), 1, "{ended:?}");
    assert!(reason(&place, id).contains(&place.topic("nowhere")), "{}", reason(&place, id));
    assert_eq!(place.sql("SELECT attempts FROM outbox_unpublished WHERE status = 2"), [["5"]]);
    // somebody makes it
    kafkalab(["topics", "create", &place.topic("nowhere"), "--brokers", lab()]).run().ok();
    place.outbox(&["retry", &id.to_string()]).run().ok();
    relay_once(&place, lab(), &["--no-create"]).ok();
    assert_eq!(depth(&place), [0, 3, 0, 0, 0]);
    assert_eq!(keys(&arrived(&place, lab(), "nowhere", 1)), ["lost"]);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_topic_that_is_made_while_its_row_is_tried_again_takes_it() {
    need_kafka();
    let place = made("late-topic");
    kafkalab(["topics", "create", &place.topic("orders"), "--brokers", lab()]).run().ok();
    let id = Uuid::now_v7();
    place.sql(&place.row(id, ("order", "early"), CREATED, "{}", Some("soon")));
    let mut relay = super::relay(&place, &["--no-create", "--brokers", lab()]);
    relay.until_stderr_has(&format!("{id} is to be tried again: "));
    kafkalab(["topics", "create", &place.topic("soon"), "--brokers", lab()]).run().ok();
    relay.until_stdout_has("early");
    relay.signal(rustix::process::Signal::INT);
    assert_eq!(relay.end().code(), 130);
    assert_eq!((depth(&place), arrived(&place, lab(), "soon", 1).len()), ([0, 1, 0, 0, 0], 1));
}
