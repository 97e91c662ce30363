//! `just bench-cqrs`: one run on one store, its figures as lines of JSON.
//!
//!     cargo bench --bench cqrs -- --store sqlite:/tmp/bench.db [--quick] [--only ROW]
//!
//! - projection: events of orders that are created, paid and shipped, through `cqrs read --once`: from Apache Kafka into all
//!   five models, durably.
//! - per_event: the same by a loop that commits after each event, to show what batches give.
//! - commands: 64 at the same time, as `cqrs write` sends them, into the log alone.
//! - latency: commands at a fixed rate with a publisher and a reader beside them; from the command's answer to the commit of
//!   the read models.
//! - stats: `cqrs stats` with many orders stored.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use kafkalab::{
    app::{
        cqrs::{
            read::read,
            stats::stats,
            traffic::{self, commands},
            write::write,
        },
        crash::Crash,
        event_sourcing::{Orders, publish},
        handler,
        produce::{self, Appended, Outbound},
        relay::{Options, Stop, make_topics, prefixed},
    },
    kafka::{Acks, Cluster, Compression, ConnectOptions, NewRecord},
    patterns::{
        envelope::Envelope,
        event_sourcing::Metadata,
        order::{CreateOrder, Order, OrderEvent, decide},
        projection::TOPICS,
        traffic::story,
    },
    store::{Store, StoreUrl},
};
use serde_json::json;
use uuid::Uuid;

#[derive(Clone, Copy)]
struct Size {
    events: usize,
    per_event: usize,
    commands: u64,
    latency: Duration,
    stored: u64,
}

const FULL: Size = Size {
    events: 1_000_000,
    per_event: 5_000,
    commands: 50_000,
    latency: Duration::from_secs(20),
    stored: 10_000_000,
};
const QUICK: Size =
    Size { events: 100_000, per_event: 1_000, commands: 10_000, latency: Duration::from_secs(5), stored: 100_000 };
const COMMANDS_A_SECOND: u32 = 1000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let size = if arguments.iter().any(|argument| argument == "--quick") { QUICK } else { FULL };
    let place = value("--store").expect("--store URL").clone();
    let url: StoreUrl = place.parse().expect("a store's URL");
    let only = value("--only").map(String::as_str);
    let brokers = std::env::var("KAFKALAB_TEST_BROKERS").expect("KAFKALAB_TEST_BROKERS names an Apache Kafka");
    // one thread, as the command has it
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&url).await.expect("the store opens");
        let bootstrap = vec![brokers.parse().expect("a broker's address")];
        let cluster = Cluster::connect(bootstrap, ConnectOptions::default()).await.expect("the cluster answers");
        let bench = Bench { store, place, cluster, size };
        let wanted = |row| only.is_none_or(|only| only == row);
        if wanted("commands") {
            bench.commands().await;
        }
        if wanted("latency") {
            bench.latency().await;
        }
        if wanted("per_event") {
            bench.projection("per_event", size.per_event, 1).await;
        }
        if wanted("projection") {
            bench.projection("projection", size.events, 5000).await;
        }
        if wanted("stats") {
            bench.stats().await;
        }
    });
}

struct Bench {
    store: Store,
    place: String,
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

    async fn commands(&self) {
        let options = traffic::Options {
            seed: Uuid::new_v4().as_u64_pair().0,
            count: Some(self.size.commands),
            rate: None,
            actor: "bench".to_owned(),
            remember: false,
        };
        let began = Instant::now();
        let tally = commands(&Orders::new(self.store.clone()), &options, &Stop::new()).await.expect("written");
        let rate = tally.commands as f64 / began.elapsed().as_secs_f64();
        println!("{}", json!({"row": "commands", "rate": rate, "refused": tally.refusals()}));
    }

    async fn projection(&self, row: &str, events: usize, batch: usize) {
        let prefix = self.topics().await;
        let sent = self.produce(&prefix, events).await;
        let group = Some(Uuid::now_v7().to_string());
        let options = handler::Options { prefix, group, batch, once: true, ..Default::default() };
        let began = Instant::now();
        let report = read(&self.store, &self.cluster, &options, &Stop::new(), &|_| (), &|_, _| ()).await;
        let report = report.expect("read");
        assert_eq!((report.effects, report.dead), (sent, 0));
        let rate = report.effects as f64 / began.elapsed().as_secs_f64();
        println!("{}", json!({"row": row, "rate": rate, "events": sent}));
    }

    /// What the events of stories are, without the log between.
    async fn produce(&self, prefix: &str, events: usize) -> u64 {
        let options = produce::Options {
            acks: Acks::All,
            compression: Compression::None,
            linger: None,
            delivery_timeout: Duration::from_secs(30),
            receipts: produce::Receipts::None,
            transactional_id: None,
        };
        let out = Outbound::open(self.cluster.clone(), options).await.expect("a producer");
        let mut topics = HashMap::new();
        for topic in TOPICS {
            topics.insert(topic, out.topic(&prefixed(prefix, topic)).await.expect("a topic"));
        }
        let (seed, mut sent, mut now) = (Uuid::new_v4().as_u64_pair().0, 0_u64, 1_769_904_000_000);
        for number in 0.. {
            if sent >= events as u64 {
                break;
            }
            let mut history: Vec<OrderEvent> = Vec::new();
            for command in story(seed, number) {
                let Ok(new) = decide(&Order::after(&history), command) else { continue };
                for event in new {
                    history.push(event);
                    let (event, version) = (&history[history.len() - 1], history.len() as u64);
                    let order_id = event.order_id().to_string();
                    let metadata = Metadata { correlation_id: Some(order_id.clone()), ..Metadata::by("bench") };
                    let recorded = event.to_new_event(Uuid::now_v7(), &metadata);
                    now += 1;
                    let envelope = Envelope::of(&recorded, &metadata, "/kafkalab/es", &order_id, version, now);
                    let headers = envelope.headers();
                    let headers: Vec<(&[u8], Option<&[u8]>)> =
                        headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))).collect();
                    let (key, value) = (Some(order_id.as_bytes()), Some(&recorded.data[..]));
                    let record = NewRecord { key, value, headers: &headers, timestamp: None };
                    loop {
                        let appended = out.door().append(topics[event.topic()], None, &record, sent).expect("appended");
                        match appended {
                            Appended::Yes => break,
                            Appended::Full => out.room().await.expect("room"),
                        }
                    }
                    sent += 1;
                }
            }
        }
        out.flush().await.expect("produced");
        assert_eq!(out.tally().acknowledged, sent);
        sent
    }

    async fn latency(&self) {
        let prefix = self.topics().await;
        let relay = Options { prefix: prefix.clone(), ..Options::default() };
        let (stop, heard) = (Stop::new(), Mutex::new(HashMap::new()));
        let waiting = Mutex::new(Vec::new());
        let tell = |told: handler::Told<'_>| match told {
            handler::Told::Record { message, .. } => waiting.lock().expect("a lock").push(message.to_owned()),
            handler::Told::Committed { .. } => {
                let now = Instant::now();
                heard.lock().expect("a lock").extend(waiting.lock().expect("a lock").drain(..).map(|id| (id, now)));
            }
            _ => {}
        };
        // what an earlier row has left in the log is not this one's
        publish::publish(
            &self.store,
            &self.cluster,
            &Options { once: true, ..relay.clone() },
            &Crash::default(),
            &stop,
            &|_| (),
        )
        .await
        .expect("published");
        let group = Some(Uuid::now_v7().to_string());
        let options = handler::Options { prefix, group, ..Default::default() };
        let (crash, hears_nothing) = (Crash::default(), |_: kafkalab::app::relay::Told<'_>| ());
        let publishing = publish::publish(&self.store, &self.cluster, &relay, &crash, &stop, &hears_nothing);
        let missing = |_: &kafkalab::kafka::TopicPartition, _: i64| ();
        let reading = read(&self.store, &self.cluster, &options, &stop, &tell, &missing);
        let writing = async {
            let orders = Orders::new(self.store.clone());
            tokio::time::sleep(Duration::from_secs(5)).await; // both are there, and have read what was left
            let mut pace = tokio::time::interval(Duration::from_secs(1) / COMMANDS_A_SECOND);
            let (began, mut written) = (Instant::now(), tokio::task::JoinSet::new());
            while began.elapsed() < self.size.latency {
                pace.tick().await;
                let orders = orders.clone();
                written.spawn(async move {
                    let order_id = Uuid::now_v7().to_string().parse().expect("an id");
                    let (user_id, product_id) = ("mia".parse().expect("an id"), "book".parse().expect("an id"));
                    let price = "USD:99.99".parse().expect("a price");
                    let command = CreateOrder { order_id, user_id, product_id, price }.into();
                    let answer = write(&orders, &command, "bench", None).await.expect("taken");
                    (answer.events[0].event_id.to_string(), Instant::now())
                });
            }
            let written = written.join_all().await;
            let is_there = |id: &String| heard.lock().expect("a lock").contains_key(id);
            while !written.iter().all(|(id, _)| is_there(id)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            stop.cancel();
            written
        };
        let (published, handled, written) = tokio::join!(publishing, reading, writing);
        published.expect("published");
        handled.expect("read");
        let heard = heard.lock().expect("a lock");
        let mut waits: Vec<f64> =
            written.iter().map(|(id, at)| heard[id].saturating_duration_since(*at).as_secs_f64() * 1e3).collect();
        waits.sort_by(f64::total_cmp);
        let part = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize];
        println!(
            "{}",
            json!({"row": "latency", "p50": part(0.5), "p99": part(0.99), "max": part(1.0), "commands": waits.len()})
        );
    }

    async fn stats(&self) {
        let rows = self.size.stored;
        match self.place.strip_prefix("sqlite:") {
            Some(path) => {
                let path = path.to_owned();
                let fill = tokio::task::spawn_blocking(move || fill_sqlite(&path, rows));
                fill.await.expect("a thread").expect("rows");
            }
            None => fill_postgres(&self.place, rows).await.expect("rows"),
        }
        let mut times = Vec::new();
        for _ in 0..200 {
            let began = Instant::now();
            let told = stats(&self.store, 100, 100).await.expect("an answer").told;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            assert!(told.users.len() > 1);
        }
        times.sort_by(f64::total_cmp);
        println!("{}", json!({"row": "stats", "p50": times[100], "p99": times[197], "stored": rows}));
    }
}

const FILL: &str = "
    INSERT INTO view_orders (generation, order_id, revision, status, user_id, known)
    SELECT g.generation, 'stored-' || n, 1, 'CREATED', 'user-' || (n % 1000000), KNOWN FROM NUMBERS, (
        SELECT max(generation) AS generation FROM views WHERE is_live = 1 AND (models & 8) <> 0) g;
    INSERT INTO view_users (generation, user_id, orders)
    SELECT g.generation, 'stored-' || n, 10 FROM NUMBERS, (
        SELECT max(generation) AS generation FROM views WHERE is_live = 1 AND (models & 1) <> 0) g WHERE n % 10 = 0";

fn fill_sqlite(path: &str, rows: u64) -> rusqlite::Result<()> {
    let connection = rusqlite::Connection::open(path)?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = OFF; CREATE TEMP TABLE numbers AS
         WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {rows}) SELECT n FROM n;
         {}; PRAGMA wal_checkpoint(TRUNCATE)",
        FILL.replace("KNOWN", "CAST('{}' AS BLOB)").replace("NUMBERS", "numbers")
    ))
}

async fn fill_postgres(place: &str, rows: u64) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(place, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let numbers = format!("generate_series(1::bigint, {rows}) n");
    let fill = FILL.replace("KNOWN", "'{}'::bytea").replace("NUMBERS", &numbers);
    client.batch_execute(&format!("{fill}; ANALYZE view_orders; ANALYZE view_users")).await?;
    drop(client);
    let _ = connection.await;
    Ok(())
}
