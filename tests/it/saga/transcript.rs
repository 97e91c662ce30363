//! What `saga run --fail-at 2` tells, and what lies in the topics afterwards.

use serde_json::Value;

use super::saga;
use crate::{
    es::Place,
    harness::{brokers, kcat, on_kafka},
};

const TOLD: &str = "\
saga o-1: its state and its first command are committed
  CreateOrder                order-commands
    saga-order               handled: order-commands
  SagaStepCompleted          saga-events
    saga-orchestrator        handled: saga-events
  ProcessPayment             payment-commands
    saga-payment             handled: payment-commands
  SagaStepFailed             saga-events
    saga-orchestrator        handled: saga-events
  CancelOrder                order-compensate
    saga-order               handled: order-compensate
  SagaStepCompensated        saga-events
    saga-orchestrator        handled: saga-events
  SagaCompensated            saga-events
1  CreateOrder      compensated
2  ProcessPayment   failed
3  ShipOrder        not asked for
   order            UNDONE, done 1, undone 1
   charge           NOTHING, done 0, undone 0
COMPENSATED (declined)
";

const CHOREOGRAPHED: &str = "\
saga o-1: its state and its first command are committed
  CreateOrder                order-commands
    saga-order               handled: order-commands
  OrderCreated               orders
    saga-payment             handled: orders
  PaymentDeclined            payments
    saga-order               handled: payments
  OrderCancelled             orders
1  CreateOrder      compensated
2  ProcessPayment   failed
3  ShipOrder        not asked for
   order            UNDONE, done 1, undone 1
   charge           NOTHING, done 0, undone 0
COMPENSATED (declined)
";

#[test]
fn it_is_as_it_is_kept() {
    is_as_kept("orchestration", TOLD);
    is_as_kept("choreography", CHOREOGRAPHED);
}

fn is_as_kept(style: &str, kept: &str) {
    let place = Place::new("saga-told");
    let ended = saga(&place, &["run", "--style", style, "--fail-at", "2", "--order", "o-1"]).run().ok();
    let plain = |line: &str| format!("{}\n", line.split('[').next().unwrap_or(line)); // places are the cluster's business
    let told: String = ended.text().replace(&place.prefix, "").lines().map(plain).collect();
    // shipping hears of the cancellation, and need not have when the run ends
    let told: String = told.split_inclusive('\n').filter(|line| !line.contains("saga-shipping")).collect();
    // what is published and what is handled are told by two, in either order
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&told), sorted(kept), "{style}");
    let json = saga(&place, &["run", "--style", style, "--json", "--order", "o-2"]).run().ok().text();
    let steps: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(steps.last().expect("an end")["status"], "COMPLETED");
}

/// kcat's view: the messages of the flow, keyed by the saga's id, each caused by one before it.
#[test]
#[ignore = "needs kcat"]
fn the_topics_have_a_chain_of_causes_without_a_gap() {
    let mut orchestrated = [
        "CancelOrder",
        "CreateOrder",
        "ProcessPayment",
        "RefundPayment",
        "SagaCompensated",
        "SagaStepCompensated",
        "SagaStepCompensated",
        "SagaStepCompleted",
        "SagaStepCompleted",
        "SagaStepFailed",
        "ShipOrder",
    ]
    .map(|name| format!("saga.v1.{name}"));
    has_chain("orchestration", &mut orchestrated);
    let events = ["OrderCreated", "OrderPaid", "ShipmentFailed", "PaymentRefunded", "OrderCancelled"];
    let mut choreographed: Vec<String> = events.iter().map(|name| format!("orders.v1.{name}")).collect();
    choreographed.push("saga.v1.CreateOrder".to_owned());
    has_chain("choreography", &mut choreographed);
}

fn has_chain(style: &str, expected: &mut [String]) {
    let place = Place::new("saga-topics");
    saga(&place, &["run", "--style", style, "--fail-at", "3", "--order", "o-1", "-q"]).run().ok();
    let mut messages = Vec::new();
    for word in [
        "order-commands",
        "order-compensate",
        "payment-commands",
        "payment-compensate",
        "shipping-commands",
        "saga-events",
        "orders",
        "payments",
        "shipments",
    ] {
        let topic = place.topic(word);
        let mut arguments = vec!["-b", brokers(), "-C", "-t", &topic, "-e", "-q", "-J"];
        if on_kafka() {
            arguments.extend(["-X", "isolation.level=read_committed"]);
        }
        for line in kcat(&arguments).run().ok().text().lines() {
            let record: Value = serde_json::from_str(line).expect("kcat's JSON");
            assert_eq!(record["key"], "o-1");
            let headers = record["headers"].as_array().expect("headers");
            let header = |name: &str| {
                let at = headers.iter().position(|header| header == name);
                at.and_then(|at| headers[at + 1].as_str()).map(str::to_owned)
            };
            assert_eq!(header("ce_specversion").as_deref(), Some("1.0"));
            assert_eq!(header("ce_correlationid").as_deref(), Some("o-1"));
            messages.push((header("ce_type"), header("ce_id"), header("ce_causationid")));
        }
    }
    let mut types: Vec<_> = messages.iter().filter_map(|(name, ..)| name.as_deref()).collect();
    types.sort_unstable();
    expected.sort();
    assert_eq!(types, expected, "{style}");
    let first = messages.iter().filter(|(_, _, cause)| cause.is_none()).count();
    assert_eq!(first, 1, "only the first command has no cause");
    for (name, _, cause) in &messages {
        let is_known = cause.is_none() || messages.iter().any(|(_, id, _)| id == cause);
        assert!(is_known, "{name:?} is caused by {cause:?}, which is nowhere");
    }
}
