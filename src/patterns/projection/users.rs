//! Orders per user.
//!
//! ```text
//!   OrderCreated by ada   -->   ada +1        paid, shipped or cancelled: it is an order all the same
//! ```
//!
//! Table: `view_users`.

use super::Known;
use crate::patterns::order::UserId;

/// Whose order it is; `None` until that is known.
pub fn contribution(known: &Known) -> Option<&UserId> {
    known.created.as_ref().map(|created| &created.what.user_id)
}
