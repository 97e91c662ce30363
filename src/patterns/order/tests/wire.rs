//! Bytes that are in stores and topics, and must be read for ever.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::patterns::event_sourcing::Metadata;

/// Type, JSON and topic of each event. A change here breaks everybody who reads.
const WRITTEN: [(&str, &str, &str); 5] = [
    (
        "orders.v1.OrderCreated",
        r#"{"order_id":"o-1","user_id":"ada","product_id":"lamp","price":{"currency":"USD","amount":"99.99"}}"#,
        "orders",
    ),
    (
        "orders.v1.OrderPaid",
        r#"{"order_id":"o-1","user_id":"ada","payment_id":"p-1","amount":{"currency":"USD","amount":"99.99"}}"#,
        "payments",
    ),
    ("orders.v1.OrderShipped", r#"{"order_id":"o-1","user_id":"ada","shipment_id":"s-1"}"#, "shipments"),
    ("orders.v1.OrderCancelled", r#"{"order_id":"o-1","user_id":"ada","reason":"changed_mind"}"#, "orders"),
    (
        "orders.v1.PaymentRefunded",
        r#"{"order_id":"o-1","user_id":"ada","payment_id":"p-1","amount":{"currency":"USD","amount":"99.99"}}"#,
        "payments",
    ),
];

#[test]
fn events_are_written_and_read_with_these_names_and_go_to_these_topics() {
    let events = [created(), paid(), shipped(), cancelled(), refunded()];
    for (event, (event_type, written, topic)) in events.into_iter().zip(WRITTEN) {
        assert_eq!(String::from_utf8(event.to_json()).unwrap(), written);
        assert_eq!((event.event_type(), event.topic(), topic_of(event_type)), (event_type, topic, Some(topic)));
        assert_eq!(event_type, format!("orders.v1.{}", event.name()));
        assert_eq!(OrderEvent::decode(event_type, written.as_bytes()), Ok(event));
    }
    assert_eq!(topic_of("orders.v0.OrderCreated"), None);
}

#[test]
fn an_event_goes_into_its_stream_as_it_goes_onto_the_wire() {
    let metadata = Metadata::by("ada");
    let new = paid().to_new_event(uuid::Uuid::from_u128(7), &metadata);
    assert_eq!(
        (new.id.as_u128(), new.event_type.as_str(), new.data.as_slice()),
        (7, WRITTEN[1].0, WRITTEN[1].1.as_bytes())
    );
    assert_eq!(Metadata::from_json(&new.metadata).unwrap(), metadata);
}

#[test]
fn a_field_of_tomorrow_is_passed_over_and_a_missing_one_is_an_error() {
    let (event_type, written, _) = WRITTEN[2];
    let newer = written.replace('{', r#"{"carrier":"DHL","#);
    assert_eq!(OrderEvent::decode(event_type, newer.as_bytes()), Ok(shipped()));
    let without = written.replace("shipment_id", "shipment");
    let refused = OrderEvent::decode(event_type, without.as_bytes()).unwrap_err();
    assert!(refused.to_string().starts_with("the value is no orders.v1.OrderShipped: missing field `shipment_id`"));
}

fn v0(amount_cents: i64, currency: &str) -> Result<OrderEvent, DecodeError> {
    let old = json!({"order_id": "o-1", "user_id": "ada", "product_id": "lamp", "amount_cents": amount_cents,
        "currency": currency});
    OrderEvent::decode("orders.v0.OrderCreated", old.to_string().as_bytes())
}

fn price_of(event: OrderEvent) -> String {
    match event {
        OrderEvent::OrderCreated(event) => event.price.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_created_of_version_0_is_read_as_one_of_version_1() {
    assert_eq!(v0(9_999, "USD"), Ok(created()));
}

#[test]
fn cents_of_version_0_are_hundredths_whatever_the_currency() {
    for (cents, currency, price) in
        [(5, "USD", "USD:0.05"), (-5, "USD", "USD:-0.05"), (280_000, "JPY", "JPY:2800"), (1_825, "KWD", "KWD:18.250")]
    {
        assert_eq!(price_of(v0(cents, currency).unwrap()), price);
    }
    // Half a yen is no price: an error, not 50 yen and not none.
    let refused = v0(50, "JPY").unwrap_err().to_string();
    assert!(refused.contains("orders.v0.OrderCreated: 0.50 is not exact in JPY"), "{refused}");
    let minimum = v0(i64::MIN, "USD").map(price_of);
    assert_eq!(minimum, Ok("USD:-92233720368547758.08".to_owned()));
}

#[test]
fn an_unknown_version_is_told_from_an_unknown_type_and_neither_is_skipped() {
    let decode = |event_type: &str| OrderEvent::decode(event_type, b"{}").unwrap_err();
    for newer in ["orders.v2.OrderCreated", "orders.v0.OrderPaid", "orders.v10.OrderCreated"] {
        assert_eq!(decode(newer), DecodeError::UnknownVersion { event_type: newer.to_owned() });
    }
    for other in ["", "OrderCreated", "orders.v1.OrderReturned", "billing.v1.OrderCreated", "orders.v.OrderCreated"] {
        assert_eq!(decode(other), DecodeError::UnknownType { event_type: other.to_owned() });
    }
    assert!(decode("orders.v2.OrderCreated").to_string().ends_with("orders.v0.OrderCreated"));
    assert!(decode(&"x".repeat(1_000_000)).to_string().len() < 400);
}

#[test]
fn names_are_not_empty_not_long_and_without_control_characters() {
    assert_eq!(OrderId::new(""), Err(InvalidText::Empty { what: "the order's id" }));
    assert_eq!(OrderId::new("x".repeat(129)).unwrap_err().to_string(), "the order's id has 129 bytes, 128 are allowed");
    assert!(OrderId::new("é".repeat(64)).is_ok());
    assert_eq!(UserId::new("a\nb"), Err(InvalidText::Control { what: "the user's id", at: 1 }));
    assert!(Reason::new("x".repeat(256)).is_ok() && Reason::new("x".repeat(257)).is_err());
    // In JSON too.
    let (event_type, written, _) = WRITTEN[2];
    for bad in ["", "\\u001b[2J", &"x".repeat(129)] {
        let refused = OrderEvent::decode(event_type, written.replace("o-1", bad).as_bytes());
        assert!(matches!(refused, Err(DecodeError::Malformed { .. })), "{bad}");
    }
    assert_eq!(id::<OrderId>("o-1").stream(), "order-o-1");
}

#[test]
fn a_command_names_itself_in_json() {
    let json = serde_json::to_string(&OrderCommand::from(pay("p-1", "USD:99.99"))).unwrap();
    let expected =
        r#"{"command":"PayOrder","order_id":"o-1","payment_id":"p-1","amount":{"currency":"USD","amount":"99.99"}}"#;
    assert_eq!(json, expected);
    let by_number = expected.replace(r#""99.99""#, "99.99");
    assert_eq!(serde_json::from_str::<OrderCommand>(&by_number).unwrap(), pay("p-1", "USD:99.99").into());
}

/// Snapshots hold these bytes. Whoever has to change a line here raises [`Order::SCHEMA`] too.
#[test]
fn a_state_in_json_is_of_schema_1() {
    let placed = json!({"order_id": "o-1", "user_id": "ada", "product_id": "lamp",
        "price": {"currency": "USD", "amount": "99.99"}});
    let payment = json!({"payment_id": "p-1", "amount": {"currency": "USD", "amount": "99.99"}});
    let with = |more: Value| {
        let mut all = placed.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let expected = [
        json!({"status": "not_there"}),
        with(json!({"status": "created"})),
        with(json!({"status": "paid", "payment": payment})),
        with(json!({"status": "shipped", "payment": payment, "shipment_id": "s-1"})),
        with(json!({"status": "cancelled", "reason": "changed_mind", "payment": null, "refunded": null})),
        with(
            json!({"status": "cancelled", "reason": "changed_mind", "payment": payment, "refunded": payment["amount"]}),
        ),
    ];
    assert_eq!(Order::SCHEMA, 1);
    for ((state, given), expected) in histories().into_iter().zip(expected) {
        let order = Order::after(&given);
        assert_eq!(serde_json::to_value(&order).unwrap(), expected, "{state}");
        assert_eq!(serde_json::from_value::<Order>(expected).unwrap(), order, "{state}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(which in 0..6_usize, bytes in vec(any::<u8>(), 0..80), at: prop::sample::Index, byte: u8) {
        let event_type = WRITTEN.get(which).map_or("orders.v0.OrderCreated", |row| row.0);
        let _ = OrderEvent::decode(event_type, &bytes);
        let _ = OrderEvent::decode(&String::from_utf8_lossy(&bytes), b"{}");
        let mut damaged = WRITTEN[which.min(4)].1.as_bytes().to_vec();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        if let Err(error) = OrderEvent::decode(event_type, &damaged) {
            prop_assert!(error.to_string().len() < 400);
        }
    }

    #[test]
    fn every_whole_cent_of_version_0_is_kept(cents: i64) {
        let price = Money::new(cents, crate::patterns::money::Currency::USD);
        prop_assert_eq!(v0(cents, "USD").map(price_of), Ok(price.to_string()));
    }
}
