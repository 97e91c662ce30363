//! Revenue per currency: what was paid, and what was given back.
//!
//! ```text
//!   OrderPaid USD 12.99         -->   USD: paid +12.99, payments +1
//!   PaymentRefunded USD 12.99   -->   USD: refunded +12.99
//! ```
//!
//! It needs no `OrderCreated`: money that came has come. Sums are in the currency's smallest unit, and exact.
//!
//! Table: `view_revenue`.

use super::Known;
use crate::patterns::money::Currency;

/// What an order adds to a currency, in its smallest unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    pub payments: i64,
    pub paid: i64,
    pub refunded: i64,
}

/// At most two currencies: a refund is in the payment's, unless somebody else writes events.
pub fn contribution(known: &Known) -> impl Iterator<Item = (Currency, Sums)> {
    let paid = known.paid.as_ref().map(|paid| paid.what.amount);
    let refunded = known.refunded.as_ref().map(|refunded| refunded.what.amount);
    let paid = paid.map(|paid| (paid.currency(), Sums { payments: 1, paid: paid.minor(), refunded: 0 }));
    let refunded = refunded.map(|back| (back.currency(), Sums { refunded: back.minor(), ..Sums::default() }));
    paid.into_iter().chain(refunded)
}
