//! The status of each order, and how many orders have which.
//!
//! ```text
//!   something is known, its creation is not   AWAITED      `payments` may be ahead of `orders`
//!   created                                   CREATED
//!   and paid                                  PAID
//!   and shipped                               SHIPPED
//!   and cancelled                             CANCELLED    whatever else
//! ```
//!
//! Tables: `view_orders`, a row per order, and `view_statuses`, the counts.

use serde::Serialize;

use super::Known;

/// Where an order is, as far as the read side knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Awaited,
    Created,
    Paid,
    Shipped,
    Cancelled,
}

impl Status {
    pub const ALL: [Status; 5] = [Status::Awaited, Status::Created, Status::Paid, Status::Shipped, Status::Cancelled];

    pub fn name(self) -> &'static str {
        match self {
            Status::Awaited => "AWAITED",
            Status::Created => "CREATED",
            Status::Paid => "PAID",
            Status::Shipped => "SHIPPED",
            Status::Cancelled => "CANCELLED",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// What an order adds to the counts: itself, and whether events of it are missing. `None`: nothing is known.
pub fn contribution(known: &Known) -> Option<(Status, bool)> {
    known.events().next()?;
    Some((status(known), known.missing() > 0))
}

pub fn status(known: &Known) -> Status {
    match known {
        Known { created: None, .. } => Status::Awaited,
        Known { cancelled: Some(_), .. } => Status::Cancelled,
        Known { shipped: Some(_), .. } => Status::Shipped,
        Known { paid: Some(_), .. } => Status::Paid,
        _ => Status::Created,
    }
}
