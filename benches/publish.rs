//! The publisher's speed, from the log to Apache Kafka: `just bench-publish`.
//!
//! A log of orders, each created, paid and shipped, is published in one go: the envelope of each event is written, each
//! batch is a Kafka transaction, the checkpoint follows each commit. Medians of three, on fresh topics.

use std::time::Instant;

use kafkalab::{
    app::{
        crash::Crash,
        event_sourcing::publish::{SHARD, TOPICS, publish},
        relay::{LEASE, Options, Stop, make_topics, prefixed},
    },
    kafka::{Cluster, ConnectOptions},
    patterns::{
        event_sourcing::{ExpectedVersion, Metadata},
        money::{Currency, Money},
        order::{
            CreateOrder, Order, OrderCommand, OrderId, PayOrder, PaymentId, ProductId, ShipOrder, ShipmentId, UserId,
            decide, evolve,
        },
    },
    store::{Store, StoreUrl},
};
use uuid::Uuid;

const RUNS: usize = 3;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let orders = if quick { 10_000 } else { 200_000 };
    let brokers = std::env::var("KAFKALAB_TEST_BROKERS").expect("KAFKALAB_TEST_BROKERS names an Apache Kafka");
    // one thread, as the command has it
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = std::env::temp_dir().join(format!("kafkalab-bench-{}", std::process::id()));
    let mut places = vec![("SQLite", format!("sqlite:{}", folder.join("store.db").display()))];
    match std::env::var("KAFKALAB_TEST_POSTGRES") {
        Ok(url) if !url.is_empty() => places.push(("PostgreSQL", url)),
        _ => println!("PostgreSQL: not run, KAFKALAB_TEST_POSTGRES names none"),
    }
    for (name, url) in places {
        runtime.block_on(measure(name, &url.parse().expect("a store's URL"), &brokers, orders));
    }
    let _ = std::fs::remove_dir_all(folder);
}

async fn measure(name: &str, url: &StoreUrl, brokers: &str, orders: usize) {
    let store = Store::open(url).await.expect("the store opens");
    fill(&store, orders).await;
    let bootstrap = vec![brokers.parse().expect("a broker's address")];
    let cluster = Cluster::connect(bootstrap, ConnectOptions::default()).await.expect("the cluster answers");
    let mut rates = Vec::new();
    for _ in 0..RUNS {
        let prefix = format!("bench-{}-", Uuid::now_v7().simple());
        let topics: Vec<String> = TOPICS.iter().map(|topic| prefixed(&prefix, topic)).collect();
        make_topics(&cluster, &topics).await.expect("topics");
        from_the_beginning(&store).await;
        let options = Options { prefix, once: true, ..Options::default() };
        let began = Instant::now();
        let published =
            publish(&store, &cluster, &options, &Crash::default(), &Stop::new(), &|_| ()).await.expect("published");
        let rate = published as f64 / began.elapsed().as_secs_f64();
        println!("  {name}: {published} events, {rate:>9.0} events/s   (load {})", load());
        rates.push(rate);
    }
    rates.sort_by(f64::total_cmp);
    println!("{name}: {:.0} events/s (median of {RUNS}), {} MiB resident", rates[RUNS / 2], memory() / 1024);
}

/// As if nothing had been published.
async fn from_the_beginning(store: &Store) {
    let lease = store.acquire(SHARD, "bench", LEASE).await.expect("a lease").expect("a free one");
    store.set_checkpoint(SHARD, 0, &lease).await.expect("a checkpoint");
    store.release(&lease).await.expect("released");
}

async fn fill(store: &Store, orders: usize) {
    let mut appends = Vec::new();
    for number in 0..orders {
        let order_id = OrderId::new(Uuid::now_v7().to_string()).expect("an id");
        let price = Money::new(1299 + (number % 1000) as i64, Currency::USD);
        let commands: [OrderCommand; 3] = [
            CreateOrder {
                order_id: order_id.clone(),
                user_id: UserId::new("ada").expect("an id"),
                product_id: ProductId::new("coffee-mug").expect("an id"),
                price,
            }
            .into(),
            PayOrder { order_id: order_id.clone(), payment_id: PaymentId::new("p").expect("an id"), amount: price }
                .into(),
            ShipOrder { order_id: order_id.clone(), shipment_id: ShipmentId::new("s").expect("an id") }.into(),
        ];
        let mut order = Order::default();
        let mut events = Vec::new();
        for command in commands {
            for event in decide(&order, command).expect("decided") {
                order = evolve(order, &event);
                events.push(event.to_new_event(Uuid::now_v7(), &Metadata::by("bench")));
            }
        }
        let (store, stream) = (store.clone(), order_id.stream());
        appends.push(tokio::spawn(async move { store.append(&stream, ExpectedVersion::NoStream, events).await }));
        if appends.len() == 256 {
            for append in appends.drain(..) {
                append.await.expect("a task").expect("appended");
            }
        }
    }
    for append in appends {
        append.await.expect("a task").expect("appended");
    }
}

/// Resident, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}
