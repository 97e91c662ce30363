//! Commands to play with: what people ask of a shop, some of which it must refuse.
//!
//! # The idea
//!
//! Each order has a story, which follows from the seed and its number alone. So stories may be told at the same time, and two
//! runs with one seed ask the same.
//!
//! ```text
//!   CreateOrder  PayOrder  ShipOrder                  most of them
//!   CreateOrder  CancelOrder                          some, before a payment or behind it
//!   CreateOrder  PayOrder (a cent short)  PayOrder    and now and then what must be refused: a wrong amount, a second
//!                                                     payment, an order that nobody made, a payment of a cancelled one
//! ```
//!
//! # Try it
//!
//! `kafkalab cqrs write -n 100 --seed 7`.

use super::{
    money::Money,
    order::{
        CancelOrder, CreateOrder, OrderCommand, OrderId, PayOrder, PaymentId, ProductId, Reason, ShipOrder, UserId,
    },
    sample::{CANCEL_REASONS, PRODUCTS, SplitMix64, USERS},
};

/// The commands of one order, in the order in which they are sent. The same for the same arguments.
pub fn story(seed: u64, number: u64) -> Vec<OrderCommand> {
    let mut random = SplitMix64(SplitMix64(seed).next() ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    random.next();
    let order_id = id(OrderId::new(format!("order-{seed:x}-{number:08}")));
    let user_id = id(UserId::new(format!("user-{:03}", 1 + random.below(USERS))));
    let (product, currency, price) = PRODUCTS[random.below(PRODUCTS.len() as u64) as usize];
    let price = Money::new(price * (1 + random.below(3) as i64), currency);
    let product_id = id(ProductId::new(product));
    let mut story = vec![CreateOrder { order_id: order_id.clone(), user_id, product_id, price }.into()];
    let pay = |order_id: &OrderId, payment: &str, amount: Money| {
        let payment_id = id(PaymentId::new(format!("{payment}-{seed:x}-{number:08}")));
        OrderCommand::from(PayOrder { order_id: order_id.clone(), payment_id, amount })
    };
    let odd = random.below(100);
    if odd < 3 {
        story.push(pay(&id(OrderId::new(format!("nobody-{seed:x}-{number:08}"))), "payment", price));
    } else if odd < 6 {
        story.push(pay(&order_id, "short", Money::new(price.minor() - 1, currency)));
    }
    if random.below(100) < 85 {
        story.push(pay(&order_id, "payment", price));
        if (6..9).contains(&odd) {
            story.push(pay(&order_id, "again", price));
        }
        if random.below(100) < 70 {
            let shipment_id = id(format!("shipment-{seed:x}-{number:08}").parse());
            story.push(ShipOrder { order_id: order_id.clone(), shipment_id }.into());
            return story;
        }
    }
    if random.below(100) < 40 {
        let reason = CANCEL_REASONS[random.below(CANCEL_REASONS.len() as u64) as usize];
        story.push(CancelOrder { order_id: order_id.clone(), reason: id(Reason::new(reason)) }.into());
        if (9..12).contains(&odd) {
            story.push(pay(&order_id, "late", price));
        }
    }
    story
}

fn id<T>(made: Result<T, super::order::InvalidText>) -> T {
    made.expect("letters and digits are an id")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::patterns::order::{Order, decide};

    #[test]
    fn stories_are_mostly_plausible_and_some_commands_are_refused() {
        let (mut taken, mut refused) = (0, BTreeMap::new());
        for number in 0..2000 {
            let mut orders: BTreeMap<String, Vec<_>> = BTreeMap::new();
            for command in story(7, number) {
                let history = orders.entry(command.order_id().to_string()).or_default();
                match decide(&Order::after(history.iter()), command) {
                    Ok(events) => {
                        assert!(!events.is_empty());
                        taken += 1;
                        history.extend(events);
                    }
                    Err(rejection) => *refused.entry(rejection.code()).or_insert(0) += 1,
                }
            }
        }
        let codes: Vec<&str> = refused.keys().copied().collect();
        assert_eq!(codes, ["already_paid", "cancelled", "not_there", "wrong_amount"], "{refused:?}");
        let refused: i32 = refused.values().sum();
        assert!(refused * 10 < taken && refused * 100 > taken, "{refused} of {taken}");
    }

    #[test]
    fn the_same_seed_and_number_tell_the_same_story() {
        assert_eq!(story(1, 5), story(1, 5));
        assert_ne!(story(1, 5), story(2, 5));
        assert_ne!(story(1, 5), story(1, 6));
    }
}
