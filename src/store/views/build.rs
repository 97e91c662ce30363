//! Building a view beside the one that serves, and switching to it.

use super::{View, Views};
use crate::{
    patterns::projection::Models,
    store::{
        Store, StoreError,
        sql::{Access, Check, Points, Step},
    },
};

/// Where a process can be told to die.
const SWITCH: Points = ["rebuild.before-switch", "rebuild.after-switch"];
/// Rows that are removed in one transaction: others are to come in between.
const SOME: u64 = 5000;

const RAISE: &str = "UPDATE view_epoch SET epoch = epoch + 1 WHERE only_row = 1 RETURNING epoch";
const BEGIN: &str = "INSERT INTO views (models, is_live) VALUES ($1, 0) RETURNING generation";
// The new view has seen whatever the old ones have: before it began from the log, since then beside them.
const INHERIT: &str = "
    INSERT INTO view_checkpoints (generation, topic, part, next_offset, time_ms, missing)
    SELECT CAST($1 AS bigint), c.topic, c.part, max(c.next_offset), max(c.time_ms), CAST(0 AS bigint)
    FROM view_checkpoints c JOIN views v ON v.generation = c.generation
    WHERE v.is_live = 1 AND (v.models & $2) <> 0 AND c.topic NOT LIKE '(%' GROUP BY c.topic, c.part
    ON CONFLICT (generation, topic, part) DO UPDATE
    SET next_offset = CASE WHEN view_checkpoints.next_offset < excluded.next_offset
            THEN excluded.next_offset ELSE view_checkpoints.next_offset END,
        time_ms = CASE WHEN view_checkpoints.time_ms < excluded.time_ms
            THEN excluded.time_ms ELSE view_checkpoints.time_ms END";
const RETIRE: &str = "UPDATE views SET models = models - (models & $1) WHERE is_live = 1 AND (models & $1) <> 0";
const SERVE: &str = "UPDATE views SET is_live = 1 WHERE generation = $1 AND is_live = 0 RETURNING generation";
// Readers pass a view without models by, and whoever dies while its rows are removed leaves it for the next rebuild.
const ABANDON: &str = "UPDATE views SET models = 0, is_live = 1 WHERE generation = $1 AND (is_live = 0 OR models = 0)
     RETURNING generation";
const FORGET: &str = "DELETE FROM views WHERE generation = $1 AND models = 0";

/// Tables with rows of a view: some of them are removed at a time.
const CLEAR: [&str; 7] = [
    "DELETE FROM view_orders WHERE generation = $1 AND order_id IN (
        SELECT order_id FROM view_orders WHERE generation = $1 ORDER BY order_id LIMIT $2) RETURNING generation",
    "DELETE FROM view_users WHERE generation = $1 AND user_id IN (
        SELECT user_id FROM view_users WHERE generation = $1 ORDER BY user_id LIMIT $2) RETURNING generation",
    "DELETE FROM view_products WHERE generation = $1 AND product_id IN (
        SELECT product_id FROM view_products WHERE generation = $1 ORDER BY product_id LIMIT $2) RETURNING generation",
    "DELETE FROM view_statuses WHERE generation = $1 AND CAST($2 AS bigint) > 0 RETURNING generation",
    "DELETE FROM view_revenue WHERE generation = $1 AND CAST($2 AS bigint) > 0 RETURNING generation",
    "DELETE FROM view_recent WHERE generation = $1 AND CAST($2 AS bigint) > 0 RETURNING generation",
    "DELETE FROM view_checkpoints WHERE generation = $1 AND CAST($2 AS bigint) > 0 RETURNING generation",
];

/// Rows of the one view that the other does not have. What is zero is as good as absent, and of the last orders 100 count.
const DIFFERENCES: [&str; 6] = [
    "SELECT count(*) FROM (
        SELECT order_id, status, user_id, known FROM view_orders WHERE generation = $1 EXCEPT
        SELECT order_id, status, user_id, known FROM view_orders WHERE generation = $2) d",
    "SELECT count(*) FROM (
        SELECT user_id, orders FROM view_users WHERE generation = $1 AND orders <> 0 EXCEPT
        SELECT user_id, orders FROM view_users WHERE generation = $2) d",
    "SELECT count(*) FROM (
        SELECT product_id, orders FROM view_products WHERE generation = $1 AND orders <> 0 EXCEPT
        SELECT product_id, orders FROM view_products WHERE generation = $2) d",
    "SELECT count(*) FROM (
        SELECT status, orders, incomplete FROM view_statuses WHERE generation = $1 AND orders <> 0 EXCEPT
        SELECT status, orders, incomplete FROM view_statuses WHERE generation = $2) d",
    "SELECT count(*) FROM (
        SELECT currency, payments, paid, refunded FROM view_revenue WHERE generation = $1 AND payments <> 0 EXCEPT
        SELECT currency, payments, paid, refunded FROM view_revenue WHERE generation = $2) d",
    "SELECT count(*) FROM (
        SELECT * FROM (SELECT time_ms, event_id, order_id, user_id, product_id, currency, amount FROM view_recent
            WHERE generation = $1 ORDER BY time_ms DESC, event_id DESC LIMIT 100) a EXCEPT
        SELECT * FROM (SELECT time_ms, event_id, order_id, user_id, product_id, currency, amount FROM view_recent
            WHERE generation = $2 ORDER BY time_ms DESC, event_id DESC LIMIT 100) b) d",
];

impl Store {
    /// Begins a view of these models beside those that serve. From its commit on all readers feed it, too.
    pub async fn begin_view(&self, models: Models) -> Result<View, StoreError> {
        let steps = vec![
            Step::One { sql: RAISE, values: Vec::new() },
            Step::One { sql: BEGIN, values: vec![models.bits().into()] },
        ];
        let check: Check = Box::new(|_| Ok(()));
        let answers = self.database().transaction(None, steps, check).await?;
        let generation = answers.get(1).and_then(|rows| rows.first()).map(|row| row.int(0)).transpose()?;
        let generation = generation.ok_or_else(|| StoreError::Invalid("a view without a number".to_owned()))?;
        Ok(View { generation, models, is_live: false })
    }

    /// The view serves its models from now on, in one transaction; those that did have them no more.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] where the view is not being built (any more).
    pub async fn switch_view(&self, view: View) -> Result<(), StoreError> {
        let (generation, bits) = (view.generation, view.models.bits());
        let steps = vec![
            Step::One { sql: RAISE, values: Vec::new() },
            Step::One { sql: INHERIT, values: vec![generation.into(), bits.into()] },
            Step::One { sql: RETIRE, values: vec![bits.into()] },
            Step::One { sql: SERVE, values: vec![generation.into()] },
        ];
        let check: Check = Box::new(move |answers| match answers[3].is_empty() {
            false => Ok(()),
            true => Err(StoreError::Invalid(format!("view {generation} is not being built any more"))),
        });
        self.database().transaction(Some(SWITCH), steps, check).await.map(drop)
    }

    /// Removes a view that is not wanted any more, with its rows, some at a time.
    pub async fn remove_view(&self, generation: i64) -> Result<(), StoreError> {
        let steps = vec![
            Step::One { sql: RAISE, values: Vec::new() },
            Step::One { sql: ABANDON, values: vec![generation.into()] },
        ];
        let check: Check = Box::new(|_| Ok(()));
        let answers = self.database().transaction(None, steps, check).await?;
        if answers[1].is_empty() {
            return Ok(()); // it serves, or is gone already
        }
        self.clear_view(generation).await?;
        self.database().rows(Access::Write, FORGET, [generation.into()]).await.map(drop)
    }

    async fn clear_view(&self, generation: i64) -> Result<(), StoreError> {
        for sql in CLEAR {
            let values = || [generation.into(), SOME.into()];
            while self.database().rows(Access::Write, sql, values()).await?.len() as u64 >= SOME {}
        }
        Ok(())
    }

    /// How many rows of either view the other does not have, for the models of `of`.
    pub async fn view_differences(&self, of: Models, one: i64, other: i64) -> Result<u64, StoreError> {
        use crate::patterns::projection::Model::{Products, Recent, Revenue, Statuses, Users};
        let wanted = [Statuses, Users, Products, Statuses, Revenue, Recent];
        let mut count = 0;
        for (sql, _) in DIFFERENCES.into_iter().zip(wanted).filter(|(_, model)| of.has(*model)) {
            for (a, b) in [(one, other), (other, one)] {
                let row = self.database().row(Access::Read, sql, [a.into(), b.into()]).await?;
                count += row.map_or(Ok(0), |row| row.count(0))?;
            }
        }
        Ok(count)
    }
}

impl Views {
    pub fn live(&self) -> impl Iterator<Item = &View> {
        self.views.iter().filter(|view| view.is_live)
    }

    /// Views that are of no use any more: another one has all their models.
    pub fn retired(&self) -> impl Iterator<Item = &View> {
        self.live().filter(|view| view.models.is_empty())
    }
}
