//! cqrs-es, on postgres-es and sqlite-es: `execute` loads the aggregate, decides, and inserts.

use std::{collections::HashMap, str::FromStr, sync::Arc, time::Duration};

use cqrs_es::{
    Aggregate, AggregateContext, CqrsFramework, DomainEvent, EventStore,
    event_sink::EventSink,
    persist::{PersistedEventRepository, PersistedEventStore},
};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use sqlite_es::SqliteEventRepository;
use sqlx::{
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{LONG_STREAMS, POOL, Price, Refused, load, new_id, price};

// Both as in the crates' own db/init.sql and migrations.
const POSTGRES: &str = "
    CREATE TABLE events (
        aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint CHECK (sequence >= 0) NOT NULL,
        event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence)
    )";
const SQLITE: &str = "
    CREATE TABLE events (
        aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence integer CHECK (sequence >= 0) NOT NULL,
        event_type text NOT NULL, event_version text NOT NULL, payload text NOT NULL, metadata text NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence)
    ) STRICT";
/// A long stream out of one event, `$1` of them, in place of that many commands.
const LENGTHEN_POSTGRES: &str = "
    INSERT INTO events
    SELECT aggregate_type, 'long-' || $1, nth, event_type, event_version, payload, metadata
    FROM events, generate_series(1, $1) nth WHERE aggregate_id = 'one'";
const LENGTHEN_SQLITE: &str = "
    WITH RECURSIVE series (nth) AS (SELECT 1 UNION ALL SELECT nth + 1 FROM series WHERE nth < $1)
    INSERT INTO events
    SELECT aggregate_type, 'long-' || $1, nth, event_type, event_version, payload, metadata
    FROM events, series WHERE aggregate_id = 'one'";

#[derive(Default, Serialize, Deserialize)]
struct Order {
    events: usize,
    price: Option<Price>,
}

struct PlaceOrder {
    order_id: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum OrderEvent {
    OrderPlaced { order_id: String, user_id: String, product_id: String, price: Price },
}

impl DomainEvent for OrderEvent {
    fn event_type(&self) -> String {
        "OrderPlaced".into()
    }

    fn event_version(&self) -> String {
        "1.0".into()
    }
}

impl Aggregate for Order {
    type Command = PlaceOrder;
    type Event = OrderEvent;
    type Error = Refused;
    type Services = ();

    const TYPE: &'static str = "Order";

    async fn handle(&mut self, command: PlaceOrder, (): &(), sink: &EventSink<Self>) -> Result<(), Refused> {
        let (user_id, product_id) = ("mia".into(), "book".into());
        let placed = OrderEvent::OrderPlaced { order_id: command.order_id, user_id, product_id, price: price() };
        sink.write(placed, self).await;
        Ok(())
    }

    fn apply(&mut self, event: OrderEvent) {
        let OrderEvent::OrderPlaced { price, .. } = event;
        self.events += 1;
        self.price = Some(price);
    }
}

pub async fn postgres(url: &str, time: Duration) {
    let pool = PgPoolOptions::new().max_connections(POOL).connect(url).await.expect("PostgreSQL");
    sqlx::query(POSTGRES).execute(&pool).await.expect("tables");
    let repository = || PostgresEventRepository::new(pool.clone());
    commands(repository(), time).await;
    for count in LONG_STREAMS {
        sqlx::query(LENGTHEN_POSTGRES).bind(count as i32).execute(&pool).await.expect("a long stream");
    }
    sqlx::query("VACUUM ANALYZE events").execute(&pool).await.expect("statistics");
    rebuilds(repository()).await;
}

pub async fn sqlite(url: &str, time: Duration) {
    let options = SqliteConnectOptions::from_str(url)
        .expect("a path")
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true);
    let pool = SqlitePoolOptions::new().max_connections(POOL).connect_with(options).await.expect("SQLite");
    sqlx::query(SQLITE).execute(&pool).await.expect("tables");
    let repository = || SqliteEventRepository::new(pool.clone());
    commands(repository(), time).await;
    for count in LONG_STREAMS {
        sqlx::query(LENGTHEN_SQLITE).bind(count).execute(&pool).await.expect("a long stream");
    }
    sqlx::query("ANALYZE").execute(&pool).await.expect("statistics");
    rebuilds(repository()).await;
}

async fn commands<R: PersistedEventRepository + 'static>(repository: R, time: Duration) {
    let store = PersistedEventStore::<R, Order>::new_event_store(repository);
    let cqrs = Arc::new(CqrsFramework::new(store, vec![], ()));
    let one = PlaceOrder { order_id: new_id() };
    let noted = metadata(&one);
    cqrs.execute_with_metadata("one", one, noted).await.expect("the event that the long streams are made of");
    for writers in [1, 64] {
        let cqrs = Arc::clone(&cqrs);
        load::commands("command", writers, time, move || {
            let cqrs = Arc::clone(&cqrs);
            async move {
                let command = PlaceOrder { order_id: new_id() };
                let metadata = metadata(&command);
                let stream = command.order_id.clone();
                cqrs.execute_with_metadata(&stream, command, metadata).await.map_err(|error| error.to_string())
            }
        })
        .await;
    }
}

fn metadata(command: &PlaceOrder) -> HashMap<String, String> {
    [("actor".into(), "mia".into()), ("correlation_id".into(), command.order_id.clone())].into()
}

async fn rebuilds<R: PersistedEventRepository>(repository: R) {
    let store = PersistedEventStore::<R, Order>::new_event_store(repository);
    for count in LONG_STREAMS {
        let stream = format!("long-{count}");
        load::rebuild(count as usize, async || {
            store.load_aggregate(&stream).await.expect("a state").aggregate().events
        })
        .await;
    }
}
