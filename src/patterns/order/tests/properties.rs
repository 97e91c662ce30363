//! What holds for any sequence of commands, repeats and nonsense included.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Few ids and amounts, so that repeats and collisions are frequent.
fn any_command() -> impl Strategy<Value = OrderCommand> {
    let few = |names: &'static [&'static str]| prop::sample::select(names);
    prop_oneof![
        few(&["USD:99.99", "USD:99.99", "USD:5", "EUR:99.99", "USD:0", "USD:-5"]).prop_map(|price| CreateOrder {
            price: id(price),
            ..create()
        }
        .into()),
        (few(&["p-1", "p-2"]), few(&["USD:99.99", "USD:99.99", "EUR:99.99", "USD:5"]))
            .prop_map(|(payment, amount)| pay(payment, amount).into()),
        few(&["s-1", "s-2"]).prop_map(|shipment| ship(shipment).into()),
        few(&["changed_mind", "found_cheaper"]).prop_map(|reason| cancel(reason).into()),
    ]
}

fn run(commands: &[OrderCommand]) -> Vec<OrderEvent> {
    let mut history = Vec::new();
    for command in commands {
        history.extend(decide(&Order::after(&history), command.clone()).unwrap_or_default());
    }
    history
}

/// Steps of the drawing.
fn may_follow(before: Status, after: Status) -> bool {
    use Status::*;
    before == after
        || matches!((before, after), (NotThere, Created) | (Created, Paid | Cancelled) | (Paid, Shipped | Cancelled))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_more_is_refunded_than_was_paid_and_all_of_it_when_a_paid_order_is_cancelled(
        commands in vec(any_command(), 0..40)
    ) {
        let history = run(&commands);
        let sum = |pick: fn(&OrderEvent) -> Option<Money>| history.iter().filter_map(pick).map(Money::minor).sum::<i64>();
        let paid = sum(|event| match event { OrderEvent::OrderPaid(event) => Some(event.amount), _ => None });
        let refunded = sum(|event| match event { OrderEvent::PaymentRefunded(event) => Some(event.amount), _ => None });
        let order = Order::after(&history);
        let expected = if order.status() == Status::Cancelled { paid } else { 0 };
        prop_assert_eq!(refunded, expected);
        if paid > 0 {
            prop_assert_eq!(Some(paid), order.placed().map(|placed| placed.price.minor()));
        }
    }

    #[test]
    fn a_status_moves_along_the_arrows_and_every_event_counts(commands in vec(any_command(), 0..40)) {
        let mut order = Order::NotThere;
        for event in run(&commands) {
            let next = evolve(order.clone(), &event);
            prop_assert!(may_follow(order.status(), next.status()), "{order:?} {event:?}");
            prop_assert_ne!(&next, &order, "an event that was decided changes something");
            order = next;
        }
    }

    #[test]
    fn a_command_right_after_itself_changes_nothing(commands in vec(any_command(), 1..40)) {
        let history = run(&commands);
        for last in commands {
            let mut twice = history.clone();
            twice.extend(decide(&Order::after(&twice), last.clone()).unwrap_or_default());
            let again = decide(&Order::after(&twice), last).unwrap_or_default();
            prop_assert_eq!(again, vec![]);
        }
    }

    #[test]
    fn redelivered_commands_lead_where_each_once_leads(
        commands in vec(any_command(), 1..20), again in vec(any::<prop::sample::Index>(), 0..20)
    ) {
        // At-least-once: the whole lot comes, then any of what succeeded comes again. Refused ones may well succeed
        // later (a payment before its order), so they are no repeats.
        let mut history = Vec::new();
        let mut done = Vec::new();
        for command in &commands {
            if let Ok(events) = decide(&Order::after(&history), command.clone()) {
                history.extend(events);
                done.push(command.clone());
            }
        }
        for again in again.iter().filter(|_| !done.is_empty()) {
            let events = decide(&Order::after(&history), done[again.index(done.len())].clone()).unwrap_or_default();
            prop_assert_eq!(events, vec![]);
        }
    }
}
