//! Right use in a shell.

use super::Place;
use crate::harness::program;

#[test]
#[ignore = "needs jq"]
fn commands_hand_each_other_ids_and_documents() {
    let place = Place::new("pipe");
    let script = r#"
        order=$("$0" es create --price USD:9.99 -q)
        "$0" es pay "$order" -q | cmp - <(echo "$order")
        "$0" es state "$order" -J | jq -r '.order.status, .version, .order.price.amount, .order.payment.payment_id'
        "$0" es history "$order" -J | jq -r '.events[] | [.version, .type, .metadata.actor, .data.order_id] | @tsv'
        "$0" es diff "$order" 1 2 -J | jq -c '.changes[] | select(.path == "/status") | [.before, .after]'
        "$0" es streams -J | jq -r '.streams[] | .stream'
        "$0" es publish --once -J -q | jq -r '[.step, .topic, .key] | @tsv'
        "$0" es publish --once -J
        "$0" es replay --dry-run -J | jq -c '[.events, .orders, .replay_id, .by_type]'
    "#;
    let shell = program("bash", ["-euo", "pipefail", "-c", script, env!("CARGO_BIN_EXE_kafkalab")])
        .env("KAFKALAB_BROKERS", crate::harness::brokers())
        .env("KAFKALAB_STORE", &place.url())
        .env("KAFKALAB_TOPIC_PREFIX", &place.prefix)
        .env("USER", "tester");
    let ended = shell.run().ok();
    let order = place.sql("SELECT stream_id FROM events LIMIT 1")[0][0].replace("order-", "");
    let prefix = &place.prefix;
    let expected = format!(
        "paid\n2\n9.99\npayment-{order}\n\
         1\torders.v1.OrderCreated\ttester\t{order}\n2\torders.v1.OrderPaid\ttester\t{order}\n\
         [\"created\",\"paid\"]\norder-{order}\n\
         published\t{prefix}orders\t{order}\npublished\t{prefix}payments\t{order}\n\
         [2,1,null,{{\"orders.v1.OrderCreated\":1,\"orders.v1.OrderPaid\":1}}]\n"
    );
    assert_eq!(ended.text(), expected);
    assert_eq!(ended.stderr, "0 events published\n");
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let place = Place::new("head");
    let script = r#""$0" es | head -n 1; "$0" es history "$("$0" es create --price USD:1 -q)" -J | head -c 1"#;
    let shell = program("bash", ["-c", script, env!("CARGO_BIN_EXE_kafkalab")])
        .env("KAFKALAB_BROKERS", crate::harness::brokers())
        .env("KAFKALAB_STORE", &place.url())
        .env("KAFKALAB_TOPIC_PREFIX", &place.prefix);
    let ended = shell.run().ok();
    assert_eq!(ended.text(), "1. An order is created, paid and shipped\n{");
    assert!(!ended.stderr.contains("error"), "{ended:?}");
}
