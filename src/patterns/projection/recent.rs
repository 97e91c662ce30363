//! The last 100 orders.
//!
//! "Last" by arrival would be others after a rebuild. So they are by (`ce_time`, id): of any two sets of events the last 100
//! of their union are among the last 100 of each.
//!
//! ```text
//!   kept:   ... t3/b  t4/a          + OrderCreated t3/c    -->   ... t3/b  t3/c  t4/a      and the first one goes
//! ```
//!
//! Table: `view_recent`. Rows are events, and never taken back: so it does not matter what else is known of the order.

use std::collections::BTreeSet;

use super::Observed;
use crate::patterns::{
    money::Money,
    order::{OrderEvent, OrderId, ProductId, UserId},
};

/// So many are kept.
pub const KEPT: usize = 100;

/// One of the last orders. They sort by time and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    pub time_ms: i64,
    pub event_id: String,
    pub order_id: OrderId,
    pub user_id: UserId,
    pub product_id: ProductId,
    pub price: Money,
}

impl Recent {
    fn rank(&self) -> (i64, &str) {
        (self.time_ms, &self.event_id)
    }
}

impl PartialOrd for Recent {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Recent {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// What an event adds.
pub fn contribution(observed: &Observed) -> Option<Recent> {
    let OrderEvent::OrderCreated(created) = &observed.event else { return None };
    Some(Recent {
        time_ms: observed.time_ms,
        event_id: observed.id.clone(),
        order_id: created.order_id.clone(),
        user_id: created.user_id.clone(),
        product_id: created.product_id.clone(),
        price: created.price,
    })
}

/// Keeps the last [`KEPT`] of what is there and what comes.
pub fn keep(kept: &mut BTreeSet<Recent>, new: Recent) {
    kept.insert(new);
    if kept.len() > KEPT {
        kept.pop_first();
    }
}
