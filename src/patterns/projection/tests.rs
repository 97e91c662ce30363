//! What merging promises, tried on every order of arrival.

use super::{statuses::Status, *};
use crate::patterns::order::{OrderCancelled, OrderCreated, OrderPaid, PaymentRefunded};

fn price() -> Money {
    "USD:12.99".parse().unwrap()
}

fn observed(id: &str, version: Option<u64>, event: OrderEvent) -> Observed {
    Observed { id: id.to_owned(), version, time_ms: 1, event }
}

/// Created, paid, cancelled, refunded.
fn life() -> Vec<Observed> {
    let order_id: OrderId = "o".parse().unwrap();
    let user_id: UserId = "ada".parse().unwrap();
    let (payment_id, reason) = ("p".parse().unwrap(), "why".parse().unwrap());
    let created = OrderCreated {
        order_id: order_id.clone(),
        user_id: user_id.clone(),
        product_id: "lamp".parse().unwrap(),
        price: price(),
    };
    let paid = OrderPaid { order_id: order_id.clone(), user_id: user_id.clone(), payment_id, amount: price() };
    let refunded = PaymentRefunded {
        order_id: order_id.clone(),
        user_id: user_id.clone(),
        payment_id: "p".parse().unwrap(),
        amount: price(),
    };
    let cancelled = OrderCancelled { order_id, user_id, reason };
    vec![
        observed("a", Some(1), OrderEvent::OrderCreated(created)),
        observed("b", Some(2), OrderEvent::OrderPaid(paid)),
        observed("c", Some(3), OrderEvent::OrderCancelled(cancelled)),
        observed("d", Some(4), OrderEvent::PaymentRefunded(refunded)),
    ]
}

fn permutations(events: &[Observed]) -> Vec<Vec<Observed>> {
    if events.len() < 2 {
        return vec![events.to_vec()];
    }
    let mut all = Vec::new();
    for at in 0..events.len() {
        let mut rest = events.to_vec();
        let first = rest.remove(at);
        all.extend(permutations(&rest).into_iter().map(|mut rest| {
            rest.insert(0, first.clone());
            rest
        }));
    }
    all
}

fn known(events: &[Observed]) -> Known {
    let mut known = Known::default();
    for event in events {
        known.learn(event);
    }
    known
}

#[test]
fn what_is_known_does_not_depend_on_the_order_nor_on_repeats() {
    let expected = known(&life());
    for events in permutations(&life()) {
        assert_eq!(known(&events), expected, "{events:?}");
        let twice = [events.clone(), events].concat();
        assert_eq!(known(&twice), expected);
    }
}

#[test]
fn a_repeat_is_nothing_new() {
    let mut known = Known::default();
    for event in life() {
        assert!(known.learn(&event));
        assert!(!known.learn(&event));
    }
}

#[test]
fn of_two_events_of_one_kind_the_same_one_counts_in_either_order() {
    let first = life().remove(0);
    let mut other = first.clone();
    (other.id, other.version) = ("z".to_owned(), Some(1));
    let mut unnumbered = first.clone();
    (unnumbered.id, unnumbered.version) = ("0".to_owned(), None);
    let all = [first.clone(), other, unnumbered];
    for events in permutations(&all) {
        assert_eq!(known(&events).created.map(|fact| fact.id), Some("a".to_owned()));
    }
}

#[test]
fn a_status_follows_from_what_is_known() {
    let life = life();
    let status = |at: &[usize]| statuses::status(&known(&at.iter().map(|at| life[*at].clone()).collect::<Vec<_>>()));
    assert_eq!(status(&[0]), Status::Created);
    assert_eq!(status(&[1]), Status::Awaited);
    assert_eq!(status(&[1, 0]), Status::Paid);
    assert_eq!(status(&[2, 1, 0]), Status::Cancelled);
    assert_eq!(statuses::contribution(&Known::default()), None);
}

#[test]
fn a_hole_in_the_versions_is_counted_until_it_is_filled() {
    let life = life();
    assert_eq!(known(&life[..1]).missing(), 0);
    assert_eq!(known(&[life[0].clone(), life[2].clone()]).missing(), 1);
    assert_eq!(known(&[life[3].clone()]).missing(), 3);
    assert_eq!(known(&life).missing(), 0);
}

#[test]
fn the_last_orders_are_the_same_in_any_order_of_arrival() {
    use std::collections::BTreeSet;
    let event = |nth: u64| {
        let mut event = life().remove(0);
        (event.id, event.time_ms) = (format!("{:03}", nth * 7 % 300), (nth / 4) as i64);
        event
    };
    let keep = |numbers: &mut dyn Iterator<Item = u64>| {
        let mut kept = BTreeSet::new();
        numbers.filter_map(|nth| recent::contribution(&event(nth))).for_each(|new| recent::keep(&mut kept, new));
        kept
    };
    let (forward, backward) = (keep(&mut (0..300)), keep(&mut (0..300).rev()));
    assert_eq!(forward, backward);
    assert_eq!(forward.len(), recent::KEPT);
    assert_eq!(forward.first().map(|first| first.time_ms), Some(50));
}

#[test]
fn what_is_known_survives_its_table() {
    let known = known(&life());
    let json = serde_json::to_vec(&known).unwrap();
    assert_eq!(serde_json::from_slice::<Known>(&json).unwrap(), known);
}

#[test]
fn models_are_named_and_counted() {
    assert_eq!("all".parse::<Models>(), Ok(Models::ALL));
    for model in Model::ALL {
        let one: Models = model.name().parse().unwrap();
        assert_eq!(one.iter().collect::<Vec<_>>(), [model]);
        assert_eq!(Models::from_bits(one.bits()), one);
    }
    assert_eq!(Models::from_bits(-1), Models::ALL);
    assert!("orders".parse::<Models>().is_err());
}
