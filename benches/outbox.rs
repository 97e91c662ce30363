//! kafkalab's side of `just bench-outbox`: one run on one store, its figures as lines of JSON.
//! `dev/bench/outbox.py` runs it in turns with Watermill's forwarder, takes the medians and makes the table.
//!
//!     cargo bench --bench outbox -- --store sqlite:/tmp/bench.db [--quick] [--only ROW]
//!
//! - relay: messages of 200 bytes, one to an order, that wait; relayed as `kafkalab outbox relay --once` does it.
//! - published: the same beside 5 M rows that were published before.
//! - latency: 200 orders a second; from the commit's answer to the word that the broker has acknowledged it. On PostgreSQL
//!   the orders come by a connection of their own, so that the server's NOTIFY is in it.
//! - handler: records of `orders` through `ReserveStock`: inbox, state and outbox in one transaction.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use kafkalab::{
    app::{
        crash::Crash,
        event_sourcing::Orders,
        handler, outbox,
        produce::{self, Appended, Outbound},
        relay::{Options, Stop, Told, make_topics, prefixed},
    },
    kafka::{Acks, Cluster, Compression, ConnectOptions, NewRecord},
    patterns::{
        envelope::Envelope,
        event_sourcing::Metadata,
        order::{CreateOrder, OrderCreated, OrderEvent, OrderId},
        outbox::{NewMessage, ORDER},
        stock::ReserveStock,
    },
    store::{Handled, Store, StoreUrl},
};
use rusqlite::Connection;
use serde_json::json;
use uuid::Uuid;

const TOPICS: [&str; 2] = ["orders", "stock"];
const ORDERS_A_SECOND: u32 = 200;

#[derive(Clone, Copy)]
struct Size {
    waiting: usize,
    published: u64,
    latency: Duration,
    records: usize,
}

const FULL: Size = Size { waiting: 100_000, published: 5_000_000, latency: Duration::from_secs(10), records: 300_000 };
const QUICK: Size = Size { waiting: 50_000, published: 100_000, latency: Duration::from_secs(2), records: 50_000 };

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let size = if arguments.iter().any(|argument| argument == "--quick") { QUICK } else { FULL };
    let url: StoreUrl = value("--store").expect("--store URL").parse().expect("a store's URL");
    let only = value("--only").map(String::as_str);
    let brokers = std::env::var("KAFKALAB_TEST_BROKERS").expect("KAFKALAB_TEST_BROKERS names an Apache Kafka");
    // one thread, as the command has it
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&url).await.expect("the store opens");
        let bootstrap = vec![brokers.parse().expect("a broker's address")];
        let cluster = Cluster::connect(bootstrap, ConnectOptions::default()).await.expect("the cluster answers");
        let bench = Bench { store, url, cluster, size };
        let wanted = |row| only.is_none_or(|only| only == row);
        if wanted("latency") {
            bench.latency().await;
        }
        if wanted("handler") {
            bench.handler().await;
        }
        if wanted("relay") {
            bench.relay("relay").await;
        }
        if wanted("published") {
            bench.publish_by_hand().await;
            bench.relay("published").await;
        }
    });
}

struct Bench {
    store: Store,
    url: StoreUrl,
    cluster: Cluster,
    size: Size,
}

impl Bench {
    /// Topics that nobody has used.
    async fn topics(&self) -> String {
        let prefix = format!("bench-{}-", Uuid::now_v7().simple());
        make_topics(&self.cluster, &TOPICS.map(|topic| prefixed(&prefix, topic))).await.expect("topics");
        prefix
    }

    async fn relay(&self, row: &str) {
        let mut options = Options { prefix: self.topics().await, once: true, ..Options::default() };
        if let Some(batch) = std::env::var("BATCH").ok().and_then(|batch| batch.parse().ok()) {
            options.batch = batch;
        }
        let mut left = self.size.waiting;
        while left > 0 {
            let many = left.min(1000);
            self.put((0..many).map(|_| message()).collect()).await;
            left -= many;
        }
        let (before, began) = (memory("VmRSS:"), Instant::now());
        let report =
            outbox::relay(&self.store, &self.cluster, &options, None, &Crash::default(), &Stop::new(), &|_| ()).await;
        let (took, published) = (began.elapsed(), report.expect("relayed").published);
        assert_eq!(published, self.size.waiting as u64);
        let rate = published as f64 / took.as_secs_f64();
        let after = memory("VmRSS:");
        println!("{}", json!({"row": row, "rate": rate, "before": before, "after": after, "peak": memory("VmHWM:")}));
    }

    async fn put(&self, outbox: Vec<NewMessage>) {
        let handled = Handled { consumer: "bench".to_owned(), outbox, ..Handled::default() };
        self.store.handle(handled).await.expect("written");
    }

    /// Rows as if they had been published long ago.
    async fn publish_by_hand(&self) {
        let (url, rows) = (self.url.to_string(), self.size.published);
        match url.strip_prefix("sqlite:") {
            Some(path) => {
                let path = path.to_owned();
                let fill = tokio::task::spawn_blocking(move || fill_sqlite(&path, rows));
                fill.await.expect("a thread").expect("rows");
            }
            None => fill_postgres(rows).await.expect("rows"),
        }
    }

    async fn latency(&self) {
        let options = Options { prefix: self.topics().await, ..Options::default() };
        let (stop, heard) = (Stop::new(), Mutex::new(HashMap::new()));
        let tell = |told: Told<'_>| {
            if let Told::Published { record, .. } = told {
                heard.lock().expect("a lock").insert(record.key.clone(), Instant::now());
            }
        };
        let crash = Crash::default();
        let relay = outbox::relay(&self.store, &self.cluster, &options, None, &crash, &stop, &tell);
        let take = async {
            let store = match self.url.to_string().starts_with("sqlite:") {
                true => self.store.clone(),
                false => Store::open(&self.connection()).await.expect("the store opens"),
            };
            let orders = Orders::new(store);
            tokio::time::sleep(Duration::from_secs(1)).await; // all shards are held
            let mut pace = tokio::time::interval(Duration::from_secs(1) / ORDERS_A_SECOND);
            let (began, mut taken) = (Instant::now(), Vec::new());
            while began.elapsed() < self.size.latency {
                pace.tick().await;
                let OrderCreated { order_id, user_id, product_id, price } = created();
                let command = CreateOrder { order_id: order_id.clone(), user_id, product_id, price };
                outbox::take(&orders, &command.into(), "bench", None).await.expect("taken");
                taken.push((order_id.to_string(), Instant::now()));
            }
            while heard.lock().expect("a lock").len() < taken.len() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            stop.cancel();
            taken
        };
        let (relayed, taken) = tokio::join!(relay, take);
        relayed.expect("relayed");
        let heard = heard.lock().expect("a lock");
        let mut waits: Vec<f64> =
            taken.iter().map(|(id, at)| heard[id].saturating_duration_since(*at).as_secs_f64() * 1e3).collect();
        waits.sort_by(f64::total_cmp);
        let part = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize];
        println!(
            "{}",
            json!({"row": "latency", "p50": part(0.5), "p99": part(0.99), "max": part(1.0), "orders": waits.len()})
        );
    }

    /// The store's URL with its password.
    fn connection(&self) -> StoreUrl {
        let place = std::env::args().skip_while(|argument| argument != "--store").nth(1);
        place.expect("--store URL").parse().expect("a store's URL")
    }

    async fn handler(&self) {
        let prefix = self.topics().await;
        self.produce(&prefixed(&prefix, "orders")).await;
        let options =
            handler::Options { prefix, group: Some(Uuid::now_v7().to_string()), once: true, ..Default::default() };
        let (before, began) = (memory("VmRSS:"), Instant::now());
        let report = handler::run(&ReserveStock, &self.store, &self.cluster, &options, &Stop::new(), &|_| ()).await;
        let (took, report) = (began.elapsed(), report.expect("handled"));
        assert_eq!(report.effects, self.size.records as u64);
        let rate = report.effects as f64 / took.as_secs_f64();
        let after = memory("VmRSS:");
        println!(
            "{}",
            json!({"row": "handler", "rate": rate, "before": before, "after": after, "peak": memory("VmHWM:")})
        );
        // what it has put into the outbox is not the next row's
        let options = Options { prefix: options.prefix, once: true, ..Options::default() };
        let stop = Stop::new();
        outbox::relay(&self.store, &self.cluster, &options, None, &Crash::default(), &stop, &|_| ())
            .await
            .expect("relayed");
    }

    async fn produce(&self, topic: &str) {
        let options = produce::Options {
            acks: Acks::All,
            compression: Compression::None,
            linger: None,
            delivery_timeout: Duration::from_secs(30),
            receipts: produce::Receipts::None,
            transactional_id: None,
        };
        let out = Outbound::open(self.cluster.clone(), options).await.expect("a producer");
        let number = out.topic(topic).await.expect("a topic");
        for nth in 0..self.size.records {
            let order = created();
            let id = order.order_id.to_string();
            let event = OrderEvent::OrderCreated(order).to_new_event(Uuid::now_v7(), &Metadata::by("bench"));
            let metadata = Metadata { correlation_id: Some(id.clone()), ..Metadata::by("bench") };
            let envelope = Envelope::of(&event, &metadata, "/kafkalab/outbox", &id, 1, 0);
            let headers = envelope.headers();
            let headers: Vec<(&[u8], Option<&[u8]>)> =
                headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))).collect();
            let (key, value) = (Some(id.as_bytes()), Some(&event.data[..]));
            let record = NewRecord { key, value, headers: &headers, timestamp: None };
            loop {
                let appended = out.door().append(number, None, &record, nth as u64).expect("appended");
                match appended {
                    Appended::Yes => break,
                    Appended::Full => out.room().await.expect("room"),
                }
            }
        }
        out.flush().await.expect("produced");
        assert_eq!(out.tally().acknowledged, self.size.records as u64);
    }
}

fn created() -> OrderCreated {
    let order_id = OrderId::new(Uuid::now_v7().to_string()).expect("an id");
    let (user_id, product_id) = ("mia".parse().expect("an id"), "book".parse().expect("an id"));
    OrderCreated { order_id, user_id, product_id, price: "USD:99.99".parse().expect("a price") }
}

/// Of 200 bytes, with the headers that an order has.
fn message() -> NewMessage {
    let order = created();
    let order_id = order.order_id.to_string();
    let metadata = Metadata { correlation_id: Some(order_id.clone()), ..Metadata::by("bench") };
    let event = OrderEvent::OrderCreated(order).to_new_event(Uuid::now_v7(), &metadata);
    let mut message = NewMessage::of(&event, &metadata, &order_id, 1);
    assert_eq!(message.aggregate_type, ORDER);
    let pad = 200_usize.saturating_sub(message.payload.len() + br#","note":"""#.len());
    message.payload.pop();
    message.payload.extend_from_slice(format!(r#","note":"{}"}}"#, "x".repeat(pad)).as_bytes());
    message
}

fn fill_sqlite(path: &str, rows: u64) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
         INSERT INTO outbox (shard, id, aggregatetype, aggregateid, type, payload, headers, created_at_ms)
         SELECT n % 16, CAST(printf('%016d', n) AS BLOB), 'order', printf('%036d', n), 'orders.v1.OrderCreated', zeroblob(200),
                '{{}}', 0 FROM n;
         DELETE FROM outbox_unpublished;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE)"
    ))
}

async fn fill_postgres(rows: u64) -> Result<(), tokio_postgres::Error> {
    let place = std::env::args().skip_while(|argument| argument != "--store").nth(1).expect("--store URL");
    let (client, connection) = tokio_postgres::connect(&place, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    client
        .batch_execute(&format!(
            "INSERT INTO outbox (shard, id, aggregatetype, aggregateid, type, payload, headers, created_at_ms)
             SELECT n % 16, ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid, 'order', lpad(n::text, 36, '0'),
                    'orders.v1.OrderCreated', convert_to(repeat('x', 200), 'UTF8'), '{{}}', 0
             FROM generate_series(1::bigint, {rows}) n;
             DELETE FROM outbox_unpublished"
        ))
        .await?;
    client.batch_execute("VACUUM ANALYZE outbox_unpublished").await?;
    client.batch_execute("ANALYZE outbox").await?;
    client.batch_execute("CHECKPOINT").await?;
    drop(client);
    let _ = connection.await;
    Ok(())
}

/// In MiB.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0) / 1024
}
