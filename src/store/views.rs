//! Read models: which views there are, what a batch of events changes in them, and switching from one to another.
//!
//! ```text
//! views      generation 1: users products recent statuses revenue   live       each model is served by one live view
//!            generation 2: users                                    building   readers feed it, too
//! switch     one transaction: 2 is live, and 1 has users no more
//! ```
//!
//! Whoever writes reads the epoch in its transaction (PostgreSQL: under a lock that it shares with other writers), and whoever
//! changes which views there are raises it. So no batch is written without a view that had begun before its commit.

mod build;
mod read;

use std::collections::HashMap;

pub use self::read::{CheckpointRow, OrderRow, RecentRow, RevenueRow, Tally, Tellings};
use super::{
    HandledError, Store, StoreError,
    sql::{Access, Check, Column, Each, Points, Row, Step, bigint},
};
use crate::patterns::projection::{Changes, Known, Models, statuses};

/// One making of some models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub generation: i64,
    pub models: Models,
    /// It serves its models; otherwise it is being built.
    pub is_live: bool,
}

/// All views, as of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Views {
    pub epoch: i64,
    pub views: Vec<View>,
}

/// How far a view has come in a partition. It tells of lag, and guards nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub generation: i64,
    pub topic: String,
    pub partition: i32,
    pub next_offset: i64,
    /// Of the newest event, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Records that were gone before they could be read; added to what was missing before.
    pub missing: i64,
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A reader of topics: into all views that there were at this epoch.
    Reader { epoch: i64 },
    /// A rebuild: into its own view, while that is being built.
    Rebuild { generation: i64 },
}

/// What a batch of events has brought about.
#[derive(Clone, Debug)]
pub struct Projected {
    pub writer: Writer,
    /// By generation, in its order.
    pub changes: Vec<(i64, Changes)>,
    pub checkpoints: Vec<Checkpoint>,
}

/// Where a process can be told to die.
const POINTS: Points = ["handler.before-commit", "handler.after-commit"];

const VIEWS: &str = "
    SELECT e.epoch, v.generation, v.models, v.is_live FROM view_epoch e, views v WHERE e.only_row = 1
    ORDER BY v.generation";
const EPOCH: &str = "SELECT epoch FROM view_epoch WHERE only_row = 1 FOR SHARE";
const BUILDING: &str = "SELECT generation FROM views WHERE generation = $1 AND is_live = 0 FOR SHARE";
const KNOWN: [&str; 2] = [
    "SELECT order_id, revision, known FROM view_orders WHERE generation = $1 AND order_id = $2",
    "SELECT o.* FROM unnest($2::text[]) m (id),
     LATERAL (SELECT order_id, revision, known FROM view_orders WHERE generation = $1 AND order_id = m.id LIMIT 1) o",
];
// ORDER BY, here and below: two transactions that write the same keys in another order would wait for each other.
const ORDERS: [&str; 2] = [
    "INSERT INTO view_orders (generation, order_id, revision, status, user_id, known) VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (generation, order_id) DO UPDATE
     SET revision = excluded.revision, status = excluded.status, user_id = excluded.user_id, known = excluded.known
     WHERE view_orders.revision = excluded.revision - 1 RETURNING revision",
    "INSERT INTO view_orders (generation, order_id, revision, status, user_id, known)
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bytea[])
         o (generation, order_id, revision, status, user_id, known)
     ORDER BY o.generation, o.order_id
     ON CONFLICT (generation, order_id) DO UPDATE
     SET revision = excluded.revision, status = excluded.status, user_id = excluded.user_id, known = excluded.known
     WHERE view_orders.revision = excluded.revision - 1 RETURNING revision",
];
const USERS: [&str; 2] = [
    "INSERT INTO view_users (generation, user_id, orders) VALUES ($1, $2, $3)
     ON CONFLICT (generation, user_id) DO UPDATE SET orders = view_users.orders + excluded.orders",
    "INSERT INTO view_users (generation, user_id, orders)
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[]) u (generation, user_id, orders) ORDER BY 1, 2
     ON CONFLICT (generation, user_id) DO UPDATE SET orders = view_users.orders + excluded.orders",
];
const PRODUCTS: [&str; 2] = [
    "INSERT INTO view_products (generation, product_id, orders) VALUES ($1, $2, $3)
     ON CONFLICT (generation, product_id) DO UPDATE SET orders = view_products.orders + excluded.orders",
    "INSERT INTO view_products (generation, product_id, orders)
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[]) p (generation, product_id, orders) ORDER BY 1, 2
     ON CONFLICT (generation, product_id) DO UPDATE SET orders = view_products.orders + excluded.orders",
];
const STATUSES: [&str; 2] = [
    "INSERT INTO view_statuses (generation, status, orders, incomplete) VALUES ($1, $2, $3, $4)
     ON CONFLICT (generation, status) DO UPDATE
     SET orders = view_statuses.orders + excluded.orders, incomplete = view_statuses.incomplete + excluded.incomplete",
    "INSERT INTO view_statuses (generation, status, orders, incomplete)
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[])
         s (generation, status, orders, incomplete) ORDER BY 1, 2
     ON CONFLICT (generation, status) DO UPDATE
     SET orders = view_statuses.orders + excluded.orders, incomplete = view_statuses.incomplete + excluded.incomplete",
];
const REVENUE: [&str; 2] = [
    "INSERT INTO view_revenue (generation, currency, payments, paid, refunded) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (generation, currency) DO UPDATE
     SET payments = view_revenue.payments + excluded.payments, paid = view_revenue.paid + excluded.paid,
         refunded = view_revenue.refunded + excluded.refunded",
    "INSERT INTO view_revenue (generation, currency, payments, paid, refunded)
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
         r (generation, currency, payments, paid, refunded) ORDER BY 1, 2
     ON CONFLICT (generation, currency) DO UPDATE
     SET payments = view_revenue.payments + excluded.payments, paid = view_revenue.paid + excluded.paid,
         refunded = view_revenue.refunded + excluded.refunded",
];
const RECENT: [&str; 2] = [
    "INSERT INTO view_recent (generation, time_ms, event_id, order_id, user_id, product_id, currency, amount)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    "INSERT INTO view_recent (generation, time_ms, event_id, order_id, user_id, product_id, currency, amount)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
         $8::bigint[]) r (generation, time_ms, event_id, order_id, user_id, product_id, currency, amount)
     ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING",
];
// What another transaction has added meanwhile is not seen, so a few too many may stay: whoever reads takes the last 100.
const TRIM: &str = "
    DELETE FROM view_recent WHERE generation = $1 AND (time_ms, event_id) < (
        SELECT time_ms, event_id FROM view_recent WHERE generation = $1
        ORDER BY time_ms DESC, event_id DESC LIMIT 1 OFFSET 99)";
const CHECKPOINTS: [&str; 2] = [
    "INSERT INTO view_checkpoints (generation, topic, part, next_offset, time_ms, missing)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (generation, topic, part) DO UPDATE
     SET next_offset = CASE WHEN view_checkpoints.next_offset < excluded.next_offset
             THEN excluded.next_offset ELSE view_checkpoints.next_offset END,
         time_ms = CASE WHEN view_checkpoints.time_ms < excluded.time_ms
             THEN excluded.time_ms ELSE view_checkpoints.time_ms END,
         missing = view_checkpoints.missing + excluded.missing",
    "INSERT INTO view_checkpoints (generation, topic, part, next_offset, time_ms, missing)
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
         c (generation, topic, part, next_offset, time_ms, missing) ORDER BY 1, 2, 3
     ON CONFLICT (generation, topic, part) DO UPDATE
     SET next_offset = CASE WHEN view_checkpoints.next_offset < excluded.next_offset
             THEN excluded.next_offset ELSE view_checkpoints.next_offset END,
         time_ms = CASE WHEN view_checkpoints.time_ms < excluded.time_ms
             THEN excluded.time_ms ELSE view_checkpoints.time_ms END,
         missing = view_checkpoints.missing + excluded.missing",
];

impl Store {
    /// Which views there are.
    pub async fn views(&self) -> Result<Views, StoreError> {
        let mut views = Views::default();
        for row in self.database().rows(Access::Read, VIEWS, []).await? {
            views.epoch = row.int(0)?;
            let (generation, models) = (row.int(1)?, Models::from_bits(row.int(2)?));
            views.views.push(View { generation, models, is_live: row.int(3)? == 1 });
        }
        Ok(views)
    }

    /// What is known of these orders in a view, with the revision of each; what is absent is not known.
    pub async fn known_orders(
        &self,
        generation: i64,
        ids: Vec<String>,
    ) -> Result<HashMap<String, (u64, Known)>, StoreError> {
        let [sqlite, postgres] = KNOWN;
        let each = Each { sqlite, postgres, values: vec![generation.into()], columns: vec![Column::Texts(ids)] };
        let rows = self.database().each(each).await?;
        rows.into_iter().map(|mut row| Ok((row.take_text(0)?, (row.count(1)?, self.known(&row, 2)?)))).collect()
    }

    fn known(&self, row: &Row, column: usize) -> Result<Known, StoreError> {
        serde_json::from_slice(row.bytes(column)?).map_err(|error| StoreError::Damaged {
            at: self.url().to_string().into(),
            cause: format!("an order of a read model is {error}").into(),
        })
    }

    /// A batch of events takes effect in the views: all of it or nothing, durably. A statement for each table.
    ///
    /// # Errors
    /// [`HandledError::Conflict`]: an order was changed since it was read, or the views are others now; look again. Nothing
    /// was written, but for [`StoreError::Unknown`]: then the same batch may be projected again.
    pub async fn project(&self, projected: Projected) -> Result<(), HandledError> {
        let Projected { writer, changes, checkpoints } = projected;
        let orders = changes.iter().map(|(_, changes)| changes.orders.len()).sum::<usize>();
        let mut steps = vec![match writer {
            Writer::Reader { .. } => Step::One { sql: EPOCH, values: Vec::new() },
            Writer::Rebuild { generation } => Step::One { sql: BUILDING, values: vec![generation.into()] },
        }];
        steps.extend(self::steps(&changes));
        if !checkpoints.is_empty() {
            steps.push(Step::Each(save(&checkpoints)));
        }
        let check: Check = Box::new(move |answers| {
            let is_there = match (writer, answers[0].first()) {
                (_, None) => false,
                (Writer::Reader { epoch }, Some(row)) => row.int(0)? == epoch,
                (Writer::Rebuild { .. }, Some(_)) => true,
            };
            let written = if orders > 0 { answers[1].len() } else { 0 };
            if is_there && written == orders { Ok(()) } else { Err(StoreError::Invalid(CONFLICT.to_owned())) }
        });
        match self.database().transaction(Some(POINTS), steps, check).await {
            Ok(_) => Ok(()),
            Err(StoreError::Invalid(why)) if why == CONFLICT => Err(HandledError::Conflict),
            // PostgreSQL ended one of two that waited for each other
            Err(StoreError::Locked { cause, .. }) if cause.contains("deadlock") => Err(HandledError::Conflict),
            Err(error) => Err(error.into()),
        }
    }
}

/// Between the check within the transaction and its caller.
const CONFLICT: &str = "conflict";

/// The orders first, the few rows that all writers share last: they are held for the shortest time.
fn steps(changes: &[(i64, Changes)]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut add = |[sqlite, postgres]: [&'static str; 2], columns: Vec<Column>| {
        if columns.first().is_some_and(|column| column.len() > 0) {
            steps.push(Step::Each(Each { sqlite, postgres, values: Vec::new(), columns }));
        }
    };
    add(ORDERS, orders(changes));
    add(USERS, tallies(changes, |changes| changes.users.iter().map(|(id, count)| (id.as_str(), *count)).collect()));
    add(
        PRODUCTS,
        tallies(changes, |changes| changes.products.iter().map(|(id, count)| (id.as_str(), *count)).collect()),
    );
    add(RECENT, recent(changes));
    add(STATUSES, status_counts(changes));
    add(REVENUE, revenue(changes));
    let trimmed = changes.iter().filter(|(_, changes)| !changes.recent.is_empty());
    steps.extend(trimmed.map(|(generation, _)| Step::One { sql: TRIM, values: vec![(*generation).into()] }));
    steps
}

fn orders(changes: &[(i64, Changes)]) -> Vec<Column> {
    let mut rows = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (generation, changed) in changes.iter().flat_map(|(at, changes)| changes.orders.iter().map(move |o| (at, o))) {
        rows.0.push(*generation);
        rows.1.push(changed.order_id.to_string());
        rows.2.push(bigint(changed.read + 1));
        rows.3.push(statuses::status(&changed.known).name().to_owned());
        rows.4.push(changed.known.created.as_ref().map(|fact| fact.what.user_id.to_string()).unwrap_or_default());
        rows.5.push(serde_json::to_vec(&changed.known).unwrap_or_default()); // texts and numbers are JSON
    }
    let (generations, ids, revisions, statuses, users, known) = rows;
    vec![
        Column::Ints(generations),
        Column::Texts(ids),
        Column::Ints(revisions),
        Column::Texts(statuses),
        Column::Texts(users),
        Column::Bytes(known),
    ]
}

fn tallies(changes: &[(i64, Changes)], of: impl Fn(&Changes) -> Vec<(&str, i64)>) -> Vec<Column> {
    let mut rows = (Vec::new(), Vec::new(), Vec::new());
    for (generation, changes) in changes {
        for (key, count) in of(changes) {
            rows.0.push(*generation);
            rows.1.push(key.to_owned());
            rows.2.push(count);
        }
    }
    vec![Column::Ints(rows.0), Column::Texts(rows.1), Column::Ints(rows.2)]
}

fn status_counts(changes: &[(i64, Changes)]) -> Vec<Column> {
    let all = || changes.iter().flat_map(|(at, changes)| changes.statuses.iter().map(move |row| (*at, row)));
    vec![
        Column::Ints(all().map(|(generation, _)| generation).collect()),
        Column::Texts(all().map(|(_, (status, _))| status.name().to_owned()).collect()),
        Column::Ints(all().map(|(_, (_, (orders, _)))| *orders).collect()),
        Column::Ints(all().map(|(_, (_, (_, incomplete)))| *incomplete).collect()),
    ]
}

fn revenue(changes: &[(i64, Changes)]) -> Vec<Column> {
    let all = || changes.iter().flat_map(|(at, changes)| changes.revenue.iter().map(move |row| (*at, row)));
    vec![
        Column::Ints(all().map(|(generation, _)| generation).collect()),
        Column::Texts(all().map(|(_, (code, _))| (*code).to_owned()).collect()),
        Column::Ints(all().map(|(_, (_, sums))| sums.payments).collect()),
        Column::Ints(all().map(|(_, (_, sums))| sums.paid).collect()),
        Column::Ints(all().map(|(_, (_, sums))| sums.refunded).collect()),
    ]
}

fn recent(changes: &[(i64, Changes)]) -> Vec<Column> {
    let all = || changes.iter().flat_map(|(at, changes)| changes.recent.iter().map(move |row| (*at, row)));
    vec![
        Column::Ints(all().map(|(generation, _)| generation).collect()),
        Column::Ints(all().map(|(_, order)| order.time_ms).collect()),
        Column::Texts(all().map(|(_, order)| order.event_id.clone()).collect()),
        Column::Texts(all().map(|(_, order)| order.order_id.to_string()).collect()),
        Column::Texts(all().map(|(_, order)| order.user_id.to_string()).collect()),
        Column::Texts(all().map(|(_, order)| order.product_id.to_string()).collect()),
        Column::Texts(all().map(|(_, order)| order.price.currency().code().to_owned()).collect()),
        Column::Ints(all().map(|(_, order)| order.price.minor()).collect()),
    ]
}

fn save(checkpoints: &[Checkpoint]) -> Each {
    let [sqlite, postgres] = CHECKPOINTS;
    let columns = vec![
        Column::Ints(checkpoints.iter().map(|at| at.generation).collect()),
        Column::Texts(checkpoints.iter().map(|at| at.topic.clone()).collect()),
        Column::Ints(checkpoints.iter().map(|at| at.partition.into()).collect()),
        Column::Ints(checkpoints.iter().map(|at| at.next_offset).collect()),
        Column::Ints(checkpoints.iter().map(|at| at.time_ms).collect()),
        Column::Ints(checkpoints.iter().map(|at| at.missing).collect()),
    ];
    Each { sqlite, postgres, values: Vec::new(), columns }
}
