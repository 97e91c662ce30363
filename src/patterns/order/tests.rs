//! Given these events, when this command, then those events or that refusal.

mod properties;
mod wire;

use super::*;
use crate::patterns::money::Money;

pub(super) fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

pub(super) fn price() -> Money {
    id("USD:99.99")
}

pub(super) fn create() -> CreateOrder {
    CreateOrder { order_id: id("o-1"), user_id: id("ada"), product_id: id("lamp"), price: price() }
}

pub(super) fn pay(payment: &str, amount: &str) -> PayOrder {
    PayOrder { order_id: id("o-1"), payment_id: id(payment), amount: id(amount) }
}

pub(super) fn ship(shipment: &str) -> ShipOrder {
    ShipOrder { order_id: id("o-1"), shipment_id: id(shipment) }
}

pub(super) fn cancel(reason: &str) -> CancelOrder {
    CancelOrder { order_id: id("o-1"), reason: id(reason) }
}

pub(super) fn created() -> OrderEvent {
    let CreateOrder { order_id, user_id, product_id, price } = create();
    OrderEvent::OrderCreated(OrderCreated { order_id, user_id, product_id, price })
}

pub(super) fn paid() -> OrderEvent {
    let (order_id, user_id, payment_id) = (id("o-1"), id("ada"), id("p-1"));
    OrderEvent::OrderPaid(OrderPaid { order_id, user_id, payment_id, amount: price() })
}

pub(super) fn shipped() -> OrderEvent {
    OrderEvent::OrderShipped(OrderShipped { order_id: id("o-1"), user_id: id("ada"), shipment_id: id("s-1") })
}

pub(super) fn cancelled() -> OrderEvent {
    OrderEvent::OrderCancelled(OrderCancelled { order_id: id("o-1"), user_id: id("ada"), reason: id("changed_mind") })
}

pub(super) fn refunded() -> OrderEvent {
    let (order_id, user_id, payment_id) = (id("o-1"), id("ada"), id("p-1"));
    OrderEvent::PaymentRefunded(PaymentRefunded { order_id, user_id, payment_id, amount: price() })
}

/// Every way an order can stand: its name and its history.
pub(super) fn histories() -> [(&'static str, Vec<OrderEvent>); 6] {
    [
        ("not there", vec![]),
        ("created", vec![created()]),
        ("paid", vec![created(), paid()]),
        ("shipped", vec![created(), paid(), shipped()]),
        ("cancelled unpaid", vec![created(), cancelled()]),
        ("cancelled paid", vec![created(), paid(), cancelled(), refunded()]),
    ]
}

fn when(given: &[OrderEvent], command: impl Into<OrderCommand>) -> Result<Vec<OrderEvent>, Rejection> {
    decide(&Order::after(given), command.into())
}

#[test]
fn an_order_is_created() {
    assert_eq!(when(&[], create()), Ok(vec![created()]));
}

#[test]
fn a_created_order_is_paid_with_its_price() {
    assert_eq!(when(&[created()], pay("p-1", "USD:99.99")), Ok(vec![paid()]));
}

#[test]
fn a_paid_order_is_shipped() {
    assert_eq!(when(&[created(), paid()], ship("s-1")), Ok(vec![shipped()]));
}

#[test]
fn an_unpaid_order_is_cancelled_and_no_money_moves() {
    assert_eq!(when(&[created()], cancel("changed_mind")), Ok(vec![cancelled()]));
}

#[test]
fn a_paid_order_is_cancelled_and_its_payment_goes_back() {
    assert_eq!(when(&[created(), paid()], cancel("changed_mind")), Ok(vec![cancelled(), refunded()]));
}

#[test]
fn a_refusal_says_what_it_is_about() {
    let again = when(&[created(), paid()], pay("p-2", "USD:99.99")).unwrap_err();
    assert_eq!(again, Rejection::AlreadyPaid { order_id: id("o-1"), by: id("p-1") });
    assert_eq!(again.to_string(), "order o-1 is paid already, by payment p-1");
    let euros = when(&[created()], pay("p-1", "EUR:99.99")).unwrap_err();
    assert_eq!(euros.to_string(), "order o-1 costs USD:99.99, the payment is EUR:99.99");
    let too_late = when(&[created(), paid(), shipped()], cancel("late")).unwrap_err();
    assert_eq!(too_late, Rejection::AlreadyShipped { order_id: id("o-1"), by: id("s-1") });
}

/// `-` is a repeat: accepted, and nothing happens.
#[test]
fn every_command_in_every_state() {
    let dearer = CreateOrder { price: id("USD:100"), ..create() };
    #[rustfmt::skip]
    let table: [(OrderCommand, [&str; 6]); 10] = [
        // command                           not there       created           paid                             shipped            cancelled unpaid  cancelled paid
        (create().into(),                   ["OrderCreated", "-",              "-",                             "-",               "-",              "-"]),
        (dearer.into(),                     ["OrderCreated", "already_there",  "already_there",                 "already_there",   "already_there",  "already_there"]),
        (pay("p-1", "USD:99.99").into(),    ["not_there",    "OrderPaid",      "-",                             "-",               "cancelled",      "-"]),
        (pay("p-2", "USD:99.99").into(),    ["not_there",    "OrderPaid",      "already_paid",                  "already_paid",    "cancelled",      "cancelled"]),
        (pay("p-1", "USD:99.98").into(),    ["not_there",    "wrong_amount",   "already_paid",                  "already_paid",    "cancelled",      "cancelled"]),
        (pay("p-1", "EUR:99.99").into(),    ["not_there",    "wrong_amount",   "already_paid",                  "already_paid",    "cancelled",      "cancelled"]),
        (ship("s-1").into(),                ["not_there",    "not_paid",       "OrderShipped",                  "-",               "cancelled",      "cancelled"]),
        (ship("s-2").into(),                ["not_there",    "not_paid",       "OrderShipped",                  "already_shipped", "cancelled",      "cancelled"]),
        (cancel("changed_mind").into(),     ["not_there",    "OrderCancelled", "OrderCancelled PaymentRefunded", "already_shipped", "-",             "-"]),
        (cancel("found_cheaper").into(),    ["not_there",    "OrderCancelled", "OrderCancelled PaymentRefunded", "already_shipped", "-",             "-"]),
    ];
    for (command, row) in table {
        for ((state, given), expected) in histories().into_iter().zip(row) {
            let outcome = match when(&given, command.clone()) {
                Ok(events) if events.is_empty() => "-".to_owned(),
                Ok(events) => events.iter().map(OrderEvent::name).collect::<Vec<_>>().join(" "),
                Err(rejection) => rejection.code().to_owned(),
            };
            assert_eq!(outcome, expected, "{state}: {command:?}");
        }
    }
}

#[test]
fn a_price_must_be_more_than_zero() {
    for price in ["USD:0", "USD:-0.01"] {
        let refused = when(&[], CreateOrder { price: id(price), ..create() }).unwrap_err();
        assert_eq!(refused, Rejection::PriceNotPositive { order_id: id("o-1"), price: id(price) });
    }
    assert!(when(&[], CreateOrder { price: id("USD:0.01"), ..create() }).is_ok());
}

#[test]
fn a_creation_is_a_repeat_only_where_all_of_it_is_the_same() {
    let others = [
        CreateOrder { user_id: id("bob"), ..create() },
        CreateOrder { product_id: id("mug"), ..create() },
        CreateOrder { price: id("EUR:99.99"), ..create() },
        // Not even a price that would have been refused for another reason.
        CreateOrder { price: id("USD:0"), ..create() },
    ];
    for other in others {
        assert_eq!(when(&[created()], other), Err(Rejection::AlreadyThere { order_id: id("o-1") }));
    }
}

#[test]
fn a_command_for_another_order_is_refused_by_every_state_that_has_an_order() {
    for (state, given) in histories().into_iter().skip(1) {
        let commands: [OrderCommand; 4] = [
            CreateOrder { order_id: id("o-2"), ..create() }.into(),
            PayOrder { order_id: id("o-2"), ..pay("p-1", "USD:99.99") }.into(),
            ShipOrder { order_id: id("o-2"), ..ship("s-1") }.into(),
            CancelOrder { order_id: id("o-2"), ..cancel("changed_mind") }.into(),
        ];
        for command in commands {
            let other = Rejection::OtherOrder { asked: id("o-2"), loaded: id("o-1") };
            assert_eq!(when(&given, command), Err(other), "{state}");
        }
    }
}

#[test]
fn the_first_reason_of_a_cancellation_stands() {
    let given = [created(), cancelled()];
    assert_eq!(when(&given, cancel("found_cheaper")), Ok(vec![]));
    let Order::Cancelled { reason, .. } = Order::after(&given) else { panic!("not cancelled") };
    assert_eq!(reason.as_str(), "changed_mind");
}

#[test]
fn every_event_in_every_state_moves_along_an_arrow_or_changes_nothing() {
    use Status::*;
    let arrows = [
        ("not there", "OrderCreated", Created),
        ("created", "OrderPaid", Paid),
        ("created", "OrderCancelled", Cancelled),
        ("paid", "OrderShipped", Shipped),
        ("paid", "OrderCancelled", Cancelled),
    ];
    for (state, given) in histories() {
        for event in [created(), paid(), shipped(), cancelled(), refunded()] {
            let before = Order::after(&given);
            let after = evolve(before.clone(), &event);
            match arrows.iter().find(|(from, name, _)| (*from, *name) == (state, event.name())) {
                Some((_, _, to)) => assert_eq!(after.status(), *to, "{state} + {}", event.name()),
                None => assert_eq!(after, before, "{state} + {}", event.name()),
            }
        }
    }
}

#[test]
fn what_is_known_stays_known() {
    let shipped = Order::after(&[created(), paid(), shipped()]);
    assert_eq!(shipped.payment().map(|payment| payment.payment_id.as_str()), Some("p-1"));
    assert_eq!(shipped.placed().map(|placed| placed.price), Some(price()));
    let Order::Cancelled { payment, refunded, .. } = Order::after(&[created(), paid(), cancelled(), refunded()]) else {
        panic!("not cancelled")
    };
    assert_eq!((payment.map(|payment| payment.amount), refunded), (Some(price()), Some(price())));
}
