//! Folding, snapshots and differences, on the order as the aggregate and on any list of whole numbers.

use std::convert::Infallible;

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::*;
use crate::patterns::order::{
    CancelOrder, CreateOrder, DecodeError, Order, OrderCommand, OrderEvent, PayOrder, ShipOrder, Status, decide, evolve,
};

fn recorded(version: u64, event_type: &str, data: &[u8]) -> RecordedEvent {
    RecordedEvent {
        position: version * 10,
        stream: "order-o-1".into(),
        version,
        id: Uuid::from_u128(version.into()),
        event_type: event_type.into(),
        data: data.to_vec(),
        metadata: Metadata::by("ada").to_json(),
        recorded_at_ms: i64::try_from(version).unwrap() * 1_000,
    }
}

fn stream(events: &[OrderEvent]) -> Vec<RecordedEvent> {
    let versions = 1..;
    versions.zip(events).map(|(version, event)| recorded(version, event.event_type(), &event.to_json())).collect()
}

fn commands() -> [OrderCommand; 4] {
    let order_id: crate::patterns::order::OrderId = "o-1".parse().unwrap();
    let price = "USD:99.99".parse().unwrap();
    let (user_id, product_id) = ("ada".parse().unwrap(), "lamp".parse().unwrap());
    [
        CreateOrder { order_id: order_id.clone(), user_id, product_id, price }.into(),
        PayOrder { order_id: order_id.clone(), payment_id: "p-1".parse().unwrap(), amount: price }.into(),
        ShipOrder { order_id: order_id.clone(), shipment_id: "s-1".parse().unwrap() }.into(),
        CancelOrder { order_id, reason: "changed_mind".parse().unwrap() }.into(),
    ]
}

fn history(which: &[usize]) -> Vec<OrderEvent> {
    let commands = commands();
    which.iter().fold(Vec::new(), |mut history, at| {
        history.extend(decide(&Order::after(&history), commands[*at].clone()).unwrap_or_default());
        history
    })
}

fn fold_order(
    start: Folded<Order>,
    events: &[RecordedEvent],
    until: Until,
) -> Result<Folded<Order>, FoldError<DecodeError>> {
    fold(start, events, until, OrderEvent::recorded, evolve)
}

fn whole(events: &[RecordedEvent]) -> Folded<Order> {
    fold_order(Folded::default(), events, Until::End).unwrap()
}

/// created, paid, cancelled, refunded
fn refunded_order() -> Vec<RecordedEvent> {
    stream(&history(&[0, 1, 3]))
}

#[test]
fn the_state_at_each_version_is_what_was_so_then() {
    let events = refunded_order();
    let expected = [Status::NotThere, Status::Created, Status::Paid, Status::Cancelled, Status::Cancelled];
    for (version, status) in (0..).zip(expected) {
        let folded = fold_order(Folded::default(), &events, Until::Version(version)).unwrap();
        assert_eq!((folded.version, folded.state.status()), (version, status));
    }
    assert_eq!(whole(&[]), Folded { version: 0, state: Order::NotThere });
}

#[test]
fn a_version_that_is_not_there_yet_is_no_earlier_one() {
    let beyond = fold_order(Folded::default(), &refunded_order(), Until::Version(5));
    assert_eq!(beyond, Err(FoldError::NotYet { asked: 5, last: 4 }));
    let late = fold_order(whole(&refunded_order()), &[], Until::Version(3));
    assert_eq!(late, Err(FoldError::StartTooLate { asked: 3, start: 4 }));
}

#[test]
fn the_state_at_a_time_holds_what_was_recorded_up_to_then() {
    let mut events = refunded_order();
    let at = |events: &[RecordedEvent], ms| fold_order(Folded::default(), events, Until::Time(ms)).unwrap().version;
    assert_eq!([0, 999, 1_000, 1_999, 2_000, i64::MAX].map(|ms| at(&events, ms)), [0, 0, 1, 1, 2, 4]);
    // The store's clock went back after version 2: version 3 is not taken without version 2.
    events[2].recorded_at_ms = 1_500;
    assert_eq!(at(&events, 1_700), 1);
}

#[test]
fn a_hole_a_repeat_and_a_stranger_stop_the_fold() {
    let events = refunded_order();
    let not_next = |expected, found| Err(FoldError::NotNext { stream: "order-o-1".to_owned(), expected, found });
    let run = |events: &[RecordedEvent]| fold_order(Folded::default(), events, Until::End);
    assert_eq!(run(&events[1..]), not_next(1, 2));
    assert_eq!(run(&[events[0].clone(), events[2].clone()]), not_next(2, 3));
    assert_eq!(run(&[events[0].clone(), events[0].clone()]), not_next(2, 1));
    let stranger = RecordedEvent { stream: "order-o-2".into(), ..events[1].clone() };
    let (stream, found) = ("order-o-1".to_owned(), "order-o-2".to_owned());
    assert_eq!(run(&[events[0].clone(), stranger]), Err(FoldError::OtherStream { stream, found }));
    let end = Folded { version: u64::MAX, state: Order::NotThere };
    let last = RecordedEvent { version: u64::MAX, ..events[0].clone() };
    assert_eq!(fold_order(end, &[last], Until::End), not_next(u64::MAX, u64::MAX));
}

#[test]
fn an_event_that_cannot_be_read_stops_the_fold_and_is_named() {
    let mut events = refunded_order();
    events[1].event_type = "orders.v9.OrderPaid".into();
    let refused = fold_order(Folded::default(), &events, Until::End).unwrap_err();
    let said = "stream order-o-1, version 2, position 20: \"orders.v9.OrderPaid\" has a version that this program does not know";
    assert!(refused.to_string().starts_with(said), "{refused}");
    // Only where it is in the way.
    assert!(fold_order(Folded::default(), &events, Until::Version(1)).is_ok());
}

#[test]
fn an_old_event_is_folded_in_todays_shape() {
    let mut events = refunded_order();
    let today = whole(&events);
    events[0].event_type = "orders.v0.OrderCreated".into();
    events[0].data =
        br#"{"order_id":"o-1","user_id":"ada","product_id":"lamp","amount_cents":9999,"currency":"USD"}"#.to_vec();
    assert_eq!(whole(&events), today);
}

#[test]
fn a_snapshot_that_does_not_fit_is_refused() {
    let good = Snapshot::take(&whole(&refunded_order()), Order::SCHEMA).unwrap();
    assert_eq!(good.open::<Order>(Order::SCHEMA, 4).unwrap(), whole(&refunded_order()));
    let refused = |snapshot: &Snapshot, schema, end| snapshot.open::<Order>(schema, end).unwrap_err();
    assert!(matches!(refused(&good, 2, 4), SnapshotError::OtherSchema { expected: 2, found: 1 }));
    assert!(matches!(refused(&good, 1, 3), SnapshotError::BeyondStream { snapshot: 4, stream: 3 }));
    // A shape that changed while nobody raised the number.
    let other = Snapshot::take(&Folded { version: 4, state: json!({"state": "paid"}) }, Order::SCHEMA).unwrap();
    assert!(matches!(refused(&other, 1, 4), SnapshotError::Unreadable(_)));
}

#[test]
fn the_checksum_covers_all_of_a_snapshot() {
    let good = Snapshot::take(&whole(&refunded_order()), Order::SCHEMA).unwrap();
    let mut damaged = vec![
        Snapshot { version: 3, ..good.clone() },
        Snapshot { schema: 2, ..good.clone() },
        Snapshot { checksum: !good.checksum, ..good.clone() },
        Snapshot { state: Vec::new(), ..good.clone() },
    ];
    for at in 0..good.state.len() {
        let mut one = good.clone();
        one.state[at] ^= 1;
        damaged.push(one);
    }
    for snapshot in damaged {
        assert!(matches!(snapshot.open::<Order>(snapshot.schema, 4), Err(SnapshotError::Damaged)), "{snapshot:?}");
    }
}

#[test]
fn a_difference_is_a_list_of_the_fields_that_changed() {
    let at = |version| fold_order(Folded::default(), &refunded_order(), Until::Version(version)).unwrap().state;
    let change = |path: &str, before, after| Change { path: path.into(), before, after };
    let amount = json!({"currency": "USD", "amount": "99.99"});
    assert_eq!(
        diff(&at(1), &at(2)).unwrap(),
        [
            change("/payment", None, Some(json!({"payment_id": "p-1", "amount": amount}))),
            change("/status", Some(json!("created")), Some(json!("paid"))),
        ]
    );
    assert_eq!(diff(&at(3), &at(4)).unwrap(), [change("/refunded", Some(json!(null)), Some(amount))]);
    assert_eq!(diff(&at(4), &at(4)).unwrap(), []);
    let (before, after) = (json!({"a/b": {"~": 1}, "list": [1, 2]}), json!({"a/b": {"~": 2}, "list": [1, 3]}));
    assert_eq!(
        diff(&before, &after).unwrap(),
        [change("/a~1b/~0", Some(json!(1)), Some(json!(2))), change("/list", Some(json!([1, 2])), Some(json!([1, 3]))),]
    );
    assert_eq!(diff(&json!(1), &json!("1")).unwrap(), [change("", Some(json!(1)), Some(json!("1")))]);
}

/// A state that tells every event and its place: nothing can be lost, repeated or swapped unseen.
fn numbers(values: &[i64]) -> Vec<RecordedEvent> {
    (1..).zip(values).map(|(version, value)| recorded(version, "number", value.to_string().as_bytes())).collect()
}

fn fold_numbers(start: Folded<Vec<i64>>, events: &[RecordedEvent], until: Until) -> Folded<Vec<i64>> {
    let decode = |event: &RecordedEvent| Ok::<i64, Infallible>(serde_json::from_slice(&event.data).unwrap());
    let push = |mut seen: Vec<i64>, number: &i64| {
        seen.push(*number);
        seen
    };
    fold(start, events, until, decode, push).unwrap()
}

proptest! {
    #[test]
    fn the_fold_of_a_prefix_is_the_state_at_its_version(values: Vec<i64>, at: prop::sample::Index) {
        let events = numbers(&values);
        let at = at.index(events.len() + 1);
        let prefix = fold_numbers(Folded::default(), &events[..at], Until::End);
        prop_assert_eq!(&prefix.state, &values[..at]);
        prop_assert_eq!(fold_numbers(Folded::default(), &events, Until::Version(at as u64)), prefix);
    }

    #[test]
    fn a_snapshot_and_the_rest_are_the_whole(values: Vec<i64>, at: prop::sample::Index) {
        let events = numbers(&values);
        let at = at.index(events.len() + 1);
        let before = fold_numbers(Folded::default(), &events[..at], Until::End);
        let opened = Snapshot::take(&before, 1).unwrap().open(1, events.len() as u64).unwrap();
        let after = fold_numbers(opened, &events[at..], Until::End);
        prop_assert_eq!(after, fold_numbers(Folded::default(), &events, Until::End));
    }

    #[test]
    fn the_same_holds_for_orders(which in vec(0..4_usize, 0..8), at: prop::sample::Index) {
        let history = history(&which);
        let events = stream(&history);
        let at = at.index(events.len() + 1);
        let before = fold_order(Folded::default(), &events, Until::Version(at as u64)).unwrap();
        prop_assert_eq!(&before.state, &Order::after(&history[..at]));
        let opened = Snapshot::take(&before, Order::SCHEMA).unwrap().open(Order::SCHEMA, events.len() as u64).unwrap();
        prop_assert_eq!(&fold_order(opened, &events[at..], Until::End).unwrap(), &whole(&events));
        prop_assert_eq!(whole(&events).version, events.len() as u64);
    }

    #[test]
    fn any_order_but_the_right_one_stops_the_fold(shuffled in Just((1..=5_u64).collect::<Vec<_>>()).prop_shuffle()) {
        let events: Vec<_> = shuffled.iter().map(|version| recorded(*version, "number", b"0")).collect();
        let decode = |_: &RecordedEvent| Ok::<(), Infallible>(());
        let outcome = fold(Folded { version: 0, state: () }, &events, Until::End, decode, |(), ()| ());
        prop_assert_eq!(outcome.is_ok(), shuffled.is_sorted());
    }

    #[test]
    fn a_difference_is_empty_for_equal_states_alone(a in vec(0..4_usize, 0..6), b in vec(0..4_usize, 0..6)) {
        let (a, b) = (Order::after(&history(&a)), Order::after(&history(&b)));
        prop_assert_eq!(diff(&a, &b).unwrap().is_empty(), a == b);
    }
}
