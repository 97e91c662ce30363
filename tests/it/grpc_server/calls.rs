//! What a person does with grpcurl.

use super::{FAILED_PRECONDITION, NOT_FOUND, ORDER, Server, grpcurl, serving};
use crate::{
    es::{Place, judge::sent},
    harness::program,
    membership::until,
    outbox::judge::judged,
};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The line that stands in the README, on the default port.
#[test]
#[ignore = "needs grpcurl"]
fn the_line_that_people_paste_works_as_it_stands() {
    let place = Place::new("pasted");
    let server = Server::by(serving(&place, &["--embedded=0"]));
    assert_eq!(server.address, "127.0.0.1:50051");
    let line = r#"grpcurl -plaintext -d '{"user_id":"user-123","product_id":"prod-456","price":{"currency":"USD","amount":99.99}}' localhost:50051 orders.v1.OrdersService/CreateOrder"#;
    let answer: serde_json::Value =
        serde_json::from_str(&program("sh", ["-c", line]).run().ok().text()).expect("an answer");
    let order = &answer["order"];
    assert_eq!(order["status"], "ORDER_STATUS_CREATED");
    assert_eq!(order["price"], serde_json::json!({"currency": "USD", "amount": 99.99}));
    server.stop();
    let data = if place.is_postgres() { "convert_from(data, 'UTF8')" } else { "data" };
    let event = place.sql(&format!("SELECT {data} FROM events"))[0][0].clone();
    let event: serde_json::Value = serde_json::from_str(&event).expect("an event");
    assert_eq!(event["price"], serde_json::json!({"currency": "USD", "amount": "99.99"}), "exact, and no float");
    assert_eq!(event["order_id"], order["orderId"]);
}

#[test]
#[ignore = "needs grpcurl"]
fn it_lists_and_describes_itself_and_tells_its_health() {
    let place = Place::new("described");
    let server = Server::start(&place, &["--relay", "external"]);
    let list = server.grpcurl(&[], "list").run().ok().text();
    for service in ["orders.v1.OrdersService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
        assert!(list.lines().any(|line| line == service), "{list}");
    }
    let described = server.grpcurl(&[], "describe").arguments(["orders.v1.OrdersService"]).run().ok().text();
    for method in ["CreateOrder", "GetOrder", "PayOrder", "CancelOrder"] {
        assert!(described.contains(&format!("rpc {method} ( .orders.v1.{method}Request )")), "{described}");
    }
    for service in [r#"{"service":"orders.v1.OrdersService"}"#, "{}"] {
        let health = server.grpcurl(&["-d", service], "grpc.health.v1.Health/Check").run().ok().text();
        assert!(health.contains("\"SERVING\""), "{health}");
    }
    // who asks by the older protocol is answered as well
    let older = r#"{"list_services":"*"}"#;
    let method = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/grpc_server");
    let asked = grpcurl(["-plaintext", "-import-path", proto, "-proto", "reflection_v1alpha.proto", "-d", older]);
    let answer = asked.arguments([&server.address, method]).run().ok().text();
    assert!(answer.contains("\"orders.v1.OrdersService\""), "{answer}");
    server.stop();
}

#[test]
#[ignore = "needs grpcurl"]
fn an_order_lives_and_its_events_are_on_kafka_with_the_requests_trace() {
    let place = Place::new("lives");
    let server = Server::start(&place, &[]);
    let headers = [&format!("traceparent: {TRACE}")[..], "x-request-id: r-7"];
    let created = server.call("CreateOrder", &headers, ORDER);
    let order_id = created["order"]["orderId"].as_str().expect("an id").to_owned();
    let of = |rest: &str| format!(r#"{{"order_id":"{order_id}"{rest}}}"#);
    let cheaper = server.refused("PayOrder", &[], &of(r#","payment_id":"p-1","amount":{"currency":"USD","amount":1}"#));
    assert_eq!((cheaper.code, cheaper.reason()), (FAILED_PRECONDITION, "WRONG_AMOUNT"));
    let paying = of(r#","payment_id":"p-1","amount":{"currency":"USD","amount":99.99}"#);
    assert_eq!(server.call("PayOrder", &[], &paying)["order"]["status"], "ORDER_STATUS_PAID");
    assert_eq!(server.call("PayOrder", &[], &paying)["alreadyDone"], true);
    let cancelled = server.call("CancelOrder", &[], &of(r#","reason":"changed_mind""#));
    assert_eq!(cancelled["order"]["refunded"]["amount"], 99.99);
    let got = server.call("GetOrder", &[], &of(""));
    assert_eq!(got["order"], cancelled["order"]);
    assert_eq!((&got["order"]["version"], &got["order"]["cancelReason"]), (&"4".into(), &"changed_mind".into()));
    let unknown = server.refused("GetOrder", &[], r#"{"order_id":"nobodys"}"#);
    assert_eq!((unknown.code, unknown.reason()), (NOT_FOUND, "NOT_THERE"));

    until("its events on Kafka", std::time::Duration::from_secs(30), || {
        let records = [sent(&place.topic("orders")), sent(&place.topic("payments"))].concat();
        (records.len() == 4).then_some(()).ok_or(format!("{records:?}"))
    });
    let first = sent(&place.topic("orders")).into_iter().find(|record| record.headers["ce_sequence"] == "1");
    let first = first.expect("the first event");
    assert_eq!((first.key.as_str(), first.headers["traceparent"].as_str()), (order_id.as_str(), TRACE));
    assert_eq!(first.headers["x-request-id"], "r-7");
    server.stop();
    assert_eq!(judged(&place), [].into());
}

#[test]
#[ignore = "needs grpcurl"]
fn an_id_is_made_for_a_request_that_has_none_and_a_trace_that_is_none_is_passed_over() {
    let place = Place::new("ids");
    let server = Server::start(&place, &["--relay", "external"]);
    let method = "orders.v1.OrdersService/CreateOrder";
    let ended = server.grpcurl(&["-v", "-H", "traceparent: 00-none", "-d", ORDER], method).run().ok();
    let said = ended.text();
    let id = said.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("an id in the answer");
    let headers = place.sql("SELECT headers FROM outbox")[0][0].clone();
    let headers: serde_json::Value = serde_json::from_str(&headers).expect("headers");
    assert_eq!((&headers["x-request-id"], &headers["traceparent"]), (&id.into(), &serde_json::Value::Null));
    server.stop();
}

#[test]
#[ignore = "needs grpcurl"]
fn its_metrics_are_there_for_prometheus() {
    let place = Place::new("metrics");
    let server = Server::start(&place, &["--relay", "external", "--metrics", "127.0.0.1:0"]);
    server.call("CreateOrder", &[], ORDER);
    server.refused("GetOrder", &[], r#"{"order_id":"nobodys"}"#);
    let said = server.running.stderr_so_far();
    let url = said.split("metrics on ").nth(1).and_then(|rest| rest.lines().next()).expect("its address");
    let page = program("curl", ["-sf", url]).run().ok().text();
    for line in [
        r#"kafkalab_grpc_requests_total{method="CreateOrder",code="OK"} 1"#,
        r#"kafkalab_grpc_requests_total{method="GetOrder",code="NOT_FOUND"} 1"#,
        r#"kafkalab_grpc_request_seconds_count{method="CreateOrder"} 1"#,
        r#"kafkalab_outbox_messages{status="waiting"} 1"#,
        "kafkalab_relay_published_total 0",
    ] {
        assert!(page.lines().any(|found| found == line), "no {line}: {page}");
    }
    let oldest = page.lines().find_map(|line| line.strip_prefix("kafkalab_outbox_oldest_seconds ")).expect("an age");
    assert!(oldest.parse::<f64>().is_ok_and(|age| age > 0.0 && age < 60.0), "{oldest}");
    server.stop();
}
