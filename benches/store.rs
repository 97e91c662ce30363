//! kafkalab's side of `just bench-peers` and `just bench-store`: one run on one store, its figures as lines of JSON.
//! `dev/bench/peers.py` runs it in turns with the other event stores, takes the medians and makes the table.
//!
//!     cargo bench --bench store -- --store sqlite:/tmp/bench.db
//!
//! - append: one event of about 220 bytes to a new stream, durable when it is answered.
//! - command: load the order's stream, decide, append. What `execute` and `make` of others do.
//! - rebuild: one long stream, read in pages, every event decoded and folded.
//! - scan: the whole log in pages, and the memory before and after.

#[path = "../dev/bench/peers/src/load.rs"]
mod load;

use std::time::{Duration, Instant};

use kafkalab::{
    app::event_sourcing::Orders,
    patterns::{
        event_sourcing::{ExpectedVersion, Metadata, NewEvent, Until},
        order::{CreateOrder, OrderCreated, OrderEvent, OrderId},
    },
    store::{Store, StoreUrl},
};
use serde_json::json;
use uuid::Uuid;

const ACTOR: &str = "mia";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let place = arguments.iter().skip_while(|argument| *argument != "--store").nth(1);
    let url: StoreUrl = place.expect("--store URL").parse().expect("a store's URL");
    let (time, events) = if quick { (Duration::from_secs(1), 100_000) } else { (Duration::from_secs(5), 1_000_000) };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(&url, time, events));
}

async fn measure(url: &StoreUrl, time: Duration, events: usize) {
    let store = Store::open(url).await.expect("the store opens");
    let orders = Orders::new(store.clone());
    for writers in [1, 64] {
        let (log, commands) = (store.clone(), orders.clone());
        load::commands("append", writers, time, move || append(log.clone())).await;
        load::commands("command", writers, time, move || create(commands.clone())).await;
    }
    for count in [10_000, 100_000] {
        let order_id = new_order();
        fill(&store, &order_id, count).await;
        load::rebuild(count, async || orders.load(&order_id, Until::End).await.expect("a state").version as usize)
            .await;
    }
    let head = store.head().await.expect("the head") as usize;
    fill(&store, &new_order(), events.saturating_sub(head)).await;
    scan(&store).await;
}

async fn append(store: Store) -> Result<(), String> {
    let order_id = new_order();
    let appended = store.append(&order_id.stream(), ExpectedVersion::NoStream, vec![event(&order_id)]).await;
    appended.map(|_| ()).map_err(|error| error.to_string())
}

async fn create(orders: Orders) -> Result<(), String> {
    let OrderCreated { order_id, user_id, product_id, price } = created(new_order());
    let command = CreateOrder { order_id, user_id, product_id, price };
    let handled = orders.handle(&command.into(), ACTOR, None).await;
    handled.map(|_| ()).map_err(|error| error.to_string())
}

fn new_order() -> OrderId {
    OrderId::new(Uuid::now_v7().to_string()).expect("an id")
}

fn created(order_id: OrderId) -> OrderCreated {
    let (user_id, product_id) = ("mia".parse().expect("an id"), "book".parse().expect("an id"));
    OrderCreated { order_id, user_id, product_id, price: "USD:99.99".parse().expect("a price") }
}

fn event(order_id: &OrderId) -> NewEvent {
    let metadata = Metadata { correlation_id: Some(order_id.to_string()), ..Metadata::by(ACTOR) };
    OrderEvent::OrderCreated(created(order_id.clone())).to_new_event(Uuid::now_v7(), &metadata)
}

/// The same event again and again: that an order is created once is a rule of commands, and folding refuses nothing.
async fn fill(store: &Store, order_id: &OrderId, count: usize) {
    let mut left = count;
    while left > 0 {
        let many = left.min(1000);
        let events = (0..many).map(|_| event(order_id)).collect();
        store.append(&order_id.stream(), ExpectedVersion::Any, events).await.expect("appended");
        left -= many;
    }
}

async fn scan(store: &Store) {
    let count = store.head().await.expect("the head");
    let (before, began, mut seen) = (memory(), Instant::now(), 0);
    let mut pages = store.all_pages(0);
    loop {
        let page = pages.next().await.expect("a page");
        if page.is_empty() {
            break;
        }
        seen += page.len() as u64;
    }
    assert_eq!(seen, count);
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!("{}", json!({"row": "scan", "rate": rate, "events": count, "before": before, "after": memory()}));
}

/// Resident, in MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0) / 1024
}
