//! What the read models answer. Each answer is one statement, so that it is of one moment.

use crate::{
    patterns::projection::Known,
    store::{
        Store, StoreError,
        sql::{Access, Row, Value},
    },
};

/// A key and how many orders it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    pub key: String,
    pub orders: i64,
    /// Of statuses: orders of which an event is missing.
    pub incomplete: i64,
}

/// Sums of a currency, in its smallest unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevenueRow {
    pub currency: String,
    pub payments: i64,
    pub paid: i64,
    pub refunded: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentRow {
    pub order_id: String,
    pub user_id: String,
    pub product_id: String,
    pub currency: String,
    pub amount: i64,
    pub time_ms: i64,
    /// As the model of statuses has it; empty where it has none.
    pub status: String,
}

/// How far the views that serve have come in a partition: the last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRow {
    pub topic: String,
    pub partition: i64,
    pub next_offset: i64,
    pub time_ms: i64,
    pub missing: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    pub order_id: String,
    pub status: String,
    pub known: Known,
}

/// All models at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tellings {
    pub statuses: Vec<Tally>,
    /// Those with the most orders first.
    pub users: Vec<Tally>,
    pub products: Vec<Tally>,
    pub revenue: Vec<RevenueRow>,
    /// The newest first.
    pub recent: Vec<RecentRow>,
    pub checkpoints: Vec<CheckpointRow>,
}

// Numbers are told apart by the first column. `$1`: users and products, `$2`: recent orders, at most.
const TELL: &str = "
    WITH live (users, products, recent, statuses, revenue) AS (SELECT
        (SELECT max(generation) FROM views WHERE is_live = 1 AND (models & 1) <> 0),
        (SELECT max(generation) FROM views WHERE is_live = 1 AND (models & 2) <> 0),
        (SELECT max(generation) FROM views WHERE is_live = 1 AND (models & 4) <> 0),
        (SELECT max(generation) FROM views WHERE is_live = 1 AND (models & 8) <> 0),
        (SELECT max(generation) FROM views WHERE is_live = 1 AND (models & 16) <> 0))
    SELECT CAST(1 AS bigint) AS kind, status AS a, '' AS b, '' AS c, '' AS d, '' AS e,
        orders AS x, incomplete AS y, CAST(0 AS bigint) AS z, CAST(0 AS bigint) AS w
    FROM view_statuses WHERE generation = (SELECT statuses FROM live) AND orders <> 0
    UNION ALL SELECT * FROM (
        SELECT CAST(2 AS bigint), user_id, '', '', '', '', orders, CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint)
        FROM view_users WHERE generation = (SELECT users FROM live) AND orders > 0
        ORDER BY orders DESC, user_id DESC LIMIT $1) u
    UNION ALL SELECT * FROM (
        SELECT CAST(3 AS bigint), product_id, '', '', '', '', orders, CAST(0 AS bigint), CAST(0 AS bigint),
            CAST(0 AS bigint)
        FROM view_products WHERE generation = (SELECT products FROM live) AND orders > 0
        ORDER BY orders DESC, product_id DESC LIMIT $1) p
    UNION ALL SELECT CAST(4 AS bigint), currency, '', '', '', '', payments, paid, refunded, CAST(0 AS bigint)
    FROM view_revenue WHERE generation = (SELECT revenue FROM live)
    UNION ALL SELECT * FROM (
        SELECT CAST(5 AS bigint), r.order_id, r.user_id, r.product_id, r.currency, coalesce((
            SELECT o.status FROM view_orders o
            WHERE o.generation = (SELECT statuses FROM live) AND o.order_id = r.order_id), ''),
            r.amount, r.time_ms, CAST(0 AS bigint), CAST(0 AS bigint)
        FROM view_recent r WHERE r.generation = (SELECT recent FROM live)
        ORDER BY r.time_ms DESC, r.event_id DESC LIMIT $2) r
    UNION ALL SELECT * FROM (
        SELECT CAST(6 AS bigint), topic, '', '', '', '', part, min(next_offset), min(time_ms), max(missing)
        FROM view_checkpoints
        WHERE generation IN (SELECT generation FROM views WHERE is_live = 1 AND models <> 0) AND topic NOT LIKE '(%'
        GROUP BY topic, part ORDER BY topic, part) c";
const ORDER: &str = "
    SELECT order_id, status, known FROM view_orders
    WHERE generation = (SELECT max(generation) FROM views WHERE is_live = 1 AND (models & 8) <> 0) AND order_id = $1";
const ORDERS: &str = "
    SELECT order_id, status, known FROM view_orders
    WHERE generation = (SELECT max(generation) FROM views WHERE is_live = 1 AND (models & 8) <> 0)
        AND ($1 = '' OR status = $1) AND ($2 = '' OR order_id < $2)
    ORDER BY order_id DESC LIMIT $3";
// without statistics SQLite takes the table's own order, which has it read all orders of everybody
const ORDERS_OF: &str = "
    SELECT order_id, status, known FROM view_orders INDEXED BY view_orders_user
    WHERE generation = (SELECT max(generation) FROM views WHERE is_live = 1 AND (models & 8) <> 0)
        AND ($1 = '' OR status = $1) AND ($2 = '' OR order_id < $2) AND user_id = $4
    ORDER BY order_id DESC LIMIT $3";
const CHECKPOINT: &str = "SELECT next_offset FROM view_checkpoints WHERE generation = $1 AND topic = $2 AND part = $3";

impl Store {
    /// All models, from kept sums: as quick with ten million orders as with ten.
    pub async fn tell(&self, top: usize, recent: usize) -> Result<Tellings, StoreError> {
        let mut told = Tellings::default();
        for row in self.database().rows(Access::Read, TELL, [(top as u64).into(), (recent as u64).into()]).await? {
            let text = |column| row.text(column).map(str::to_owned);
            let tally = |row: &Row| {
                let key = row.text(1)?.to_owned();
                Ok::<_, StoreError>(Tally { key, orders: row.int(6)?, incomplete: row.int(7)? })
            };
            match row.int(0)? {
                1 => told.statuses.push(tally(&row)?),
                2 => told.users.push(tally(&row)?),
                3 => told.products.push(tally(&row)?),
                4 => told.revenue.push(RevenueRow {
                    currency: text(1)?,
                    payments: row.int(6)?,
                    paid: row.int(7)?,
                    refunded: row.int(8)?,
                }),
                5 => told.recent.push(RecentRow {
                    order_id: text(1)?,
                    user_id: text(2)?,
                    product_id: text(3)?,
                    currency: text(4)?,
                    status: text(5)?,
                    amount: row.int(6)?,
                    time_ms: row.int(7)?,
                }),
                _ => told.checkpoints.push(CheckpointRow {
                    topic: text(1)?,
                    partition: row.int(6)?,
                    next_offset: row.int(7)?,
                    time_ms: row.int(8)?,
                    missing: row.int(9)?,
                }),
            }
        }
        Ok(told)
    }

    /// An order, as the view that serves the statuses knows it.
    pub async fn view_order(&self, order_id: &str) -> Result<Option<OrderRow>, StoreError> {
        let row = self.database().row(Access::Read, ORDER, [order_id.into()]).await?;
        row.map(|row| self.order_row(&row)).transpose()
    }

    /// At most `limit` orders from the highest id on (those that are made here carry their time), of a user and of a status
    /// where these are given, below `before`.
    pub async fn view_orders(
        &self,
        user: Option<&str>,
        status: Option<&str>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<OrderRow>, StoreError> {
        let mut values: Vec<Value> =
            vec![status.unwrap_or_default().into(), before.unwrap_or_default().into(), (limit as u64).into()];
        let sql = match user {
            None => ORDERS,
            Some(user) => {
                values.push(user.into());
                ORDERS_OF
            }
        };
        self.database().rows(Access::Read, sql, values).await?.iter().map(|row| self.order_row(row)).collect()
    }

    fn order_row(&self, row: &Row) -> Result<OrderRow, StoreError> {
        Ok(OrderRow { order_id: row.text(0)?.to_owned(), status: row.text(1)?.to_owned(), known: self.known(row, 2)? })
    }

    /// How far a view has come in a partition; `None` where it never said so.
    pub async fn view_checkpoint(
        &self,
        generation: i64,
        topic: &str,
        partition: i32,
    ) -> Result<Option<i64>, StoreError> {
        let values = [generation.into(), topic.into(), i64::from(partition).into()];
        let row = self.database().row(Access::Read, CHECKPOINT, values).await?;
        row.map(|row| row.int(0)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Place;

    /// With ten million orders a plan that sorts them, or goes through them, takes a second; with ten nobody would notice.
    #[tokio::test]
    async fn on_sqlite_indexes_give_the_order_and_the_users_orders() {
        let place = Place::sqlite();
        let store = place.open().await;
        let indexes: [(&str, &[&str]); 3] = [
            (TELL, &["view_users_orders", "view_products_orders"]),
            (ORDERS, &["PRIMARY KEY"]),
            (ORDERS_OF, &["view_orders_user (generation=? AND user_id=?)"]),
        ];
        for (sql, indexes) in indexes {
            let plan =
                store.database().rows(Access::Read, format!("EXPLAIN QUERY PLAN {sql}").leak(), []).await.unwrap();
            let plan: Vec<&str> = plan.iter().map(|row| row.text(3).unwrap()).collect();
            assert!(!plan.iter().any(|line| line.contains("FOR ORDER BY")), "{plan:#?}");
            for index in indexes {
                assert!(plan.iter().any(|line| line.contains(index)), "{index}: {plan:#?}");
            }
        }
    }
}
