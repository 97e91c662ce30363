//! Orders per product.
//!
//! ```text
//!   OrderCreated of a lamp   -->   lamp +1
//! ```
//!
//! Table: `view_products`.

use super::Known;
use crate::patterns::order::ProductId;

/// What is ordered; `None` until that is known.
pub fn contribution(known: &Known) -> Option<&ProductId> {
    known.created.as_ref().map(|created| &created.what.product_id)
}
