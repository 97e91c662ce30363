//! What a batch of events changes in a view: a row for each order, a difference for each number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Known, Model, Models, Observed, products,
    recent::{self, Recent},
    revenue::{self, Sums},
    statuses::{self, Status},
    users,
};
use crate::patterns::order::{OrderId, ProductId, UserId};

/// A sum does not fit into 64 bits: no shop has so much, so one of the events must be at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sum of money is beyond 64 bits")]
pub struct TooMuch;

/// An order of which something new is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub order_id: OrderId,
    /// The revision that was read; 0 where there was none.
    pub read: u64,
    pub known: Known,
}

/// All of it, to be written in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// In order of their ids, none twice.
    pub orders: Vec<Changed>,
    pub users: BTreeMap<UserId, i64>,
    pub products: BTreeMap<ProductId, i64>,
    /// Orders, and how many of them are incomplete.
    pub statuses: BTreeMap<Status, (i64, i64)>,
    /// By the currency's code.
    pub revenue: BTreeMap<&'static str, Sums>,
    pub recent: BTreeSet<Recent>,
}

impl Changes {
    /// What follows from these events, on what was known before: revisions and states by the order's id. Pure.
    ///
    /// # Errors
    /// [`TooMuch`]
    pub fn of<'a>(
        models: Models,
        mut known: HashMap<String, (u64, Known)>,
        events: impl IntoIterator<Item = &'a Observed>,
    ) -> Result<Self, TooMuch> {
        let mut changes = Self::default();
        let mut touched: BTreeMap<&OrderId, (u64, Known, Known)> = BTreeMap::new();
        for event in events {
            let entry = touched.entry(event.order_id()).or_insert_with(|| {
                let (read, known) = known.remove(event.order_id().as_str()).unwrap_or_default();
                (read, known.clone(), known)
            });
            if entry.2.learn(event)
                && models.has(Model::Recent)
                && let Some(new) = recent::contribution(event)
            {
                recent::keep(&mut changes.recent, new);
            }
        }
        for (order_id, (read, before, after)) in touched {
            if before == after {
                continue;
            }
            changes.count(models, &before, -1)?;
            changes.count(models, &after, 1)?;
            changes.orders.push(Changed { order_id: order_id.clone(), read, known: after });
        }
        changes.forget_what_is_nothing();
        Ok(changes)
    }

    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// An order's contribution is taken away (-1) or added (1).
    fn count(&mut self, models: Models, known: &Known, sign: i64) -> Result<(), TooMuch> {
        if models.has(Model::Users)
            && let Some(user) = users::contribution(known)
        {
            *self.users.entry(user.clone()).or_default() += sign;
        }
        if models.has(Model::Products)
            && let Some(product) = products::contribution(known)
        {
            *self.products.entry(product.clone()).or_default() += sign;
        }
        if models.has(Model::Statuses)
            && let Some((status, is_incomplete)) = statuses::contribution(known)
        {
            let (orders, incomplete) = self.statuses.entry(status).or_default();
            *orders += sign;
            *incomplete += sign * i64::from(is_incomplete);
        }
        if models.has(Model::Revenue) {
            for (currency, sums) in revenue::contribution(known) {
                let entry = self.revenue.entry(currency.code()).or_default();
                let add = |sum: &mut i64, more: i64| {
                    *sum = more.checked_mul(sign).and_then(|more| sum.checked_add(more)).ok_or(TooMuch)?;
                    Ok(())
                };
                add(&mut entry.payments, sums.payments)?;
                add(&mut entry.paid, sums.paid)?;
                add(&mut entry.refunded, sums.refunded)?;
            }
        }
        Ok(())
    }

    fn forget_what_is_nothing(&mut self) {
        self.users.retain(|_, orders| *orders != 0);
        self.products.retain(|_, orders| *orders != 0);
        self.statuses.retain(|_, counts| *counts != (0, 0));
        self.revenue.retain(|_, sums| *sums != Sums::default());
    }
}
