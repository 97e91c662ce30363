//! The store's speed, on SQLite and, where `KAFKALAB_TEST_POSTGRES` names one, on PostgreSQL: `just bench-store`.
//!
//! What is measured is what people compare: appends of one event of 210 B, each to a new stream, by 1 and by 64 writers;
//! the rebuild of one long stream; a scan of the whole log. Medians of three, with the load of the machine beside them,
//! because a shared machine decides more than the code.

use std::time::{Duration, Instant};

use kafkalab::{
    patterns::event_sourcing::{ExpectedVersion, NewEvent},
    store::{Pages, Store, StoreUrl},
};
use uuid::Uuid;

const RUNS: usize = 3;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (seconds, events) = if quick { (1, 100_000) } else { (5, 1_000_000) };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = std::env::temp_dir().join(format!("kafkalab-bench-{}", std::process::id()));
    let mut places = vec![("SQLite", format!("sqlite:{}", folder.join("store.db").display()))];
    match std::env::var("KAFKALAB_TEST_POSTGRES") {
        Ok(url) if !url.is_empty() => places.push(("PostgreSQL", url)),
        _ => println!("PostgreSQL: not run, KAFKALAB_TEST_POSTGRES names none"),
    }
    for (name, url) in places {
        println!("\n{name}");
        runtime.block_on(measure(&url.parse().expect("a store's URL"), seconds, events));
    }
    let _ = std::fs::remove_dir_all(folder);
}

async fn measure(url: &StoreUrl, seconds: u64, events: usize) {
    let store = Store::open(url).await.expect("the store opens");
    for writers in [1, 64] {
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            runs.push(appends(&store, writers, Duration::from_secs(seconds)).await);
        }
        runs.sort_by(|one, two| one.0.total_cmp(&two.0));
        let (rate, p50, p99) = runs[RUNS / 2];
        println!("  {writers:>2} writers: {rate:>9.0} appends/s, p50 {p50:.2} ms, p99 {p99:.2} ms   {}", load());
    }
    for count in [10_000, 100_000] {
        let stream = Uuid::now_v7().to_string();
        fill(&store, &stream, count).await;
        let rate = median(async || read(store.stream_pages(&stream, 1), count).await).await;
        println!("  rebuild of {count:>7} events: {rate:>9.0} events/s   {}", load());
    }
    let head = store.head().await.expect("the head") as usize;
    fill(&store, "scan", events.saturating_sub(head)).await;
    let count = store.head().await.expect("the head") as usize;
    let before = memory();
    let rate = median(async || read(store.all_pages(0), count).await).await;
    let grown = memory().saturating_sub(before) / 1024;
    println!("  scan of {count} events: {rate:>9.0} events/s, {grown} MiB more than before   {}", load());
}

async fn median(mut run: impl AsyncFnMut() -> f64) -> f64 {
    let mut rates = [run().await, run().await, run().await];
    rates.sort_by(f64::total_cmp);
    rates[1]
}

/// Appends per second, and what one takes: median and 99th percentile in milliseconds.
async fn appends(store: &Store, writers: usize, time: Duration) -> (f64, f64, f64) {
    let began = Instant::now();
    let writer = |_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut took = Vec::new();
            while began.elapsed() < time {
                let (stream, now) = (Uuid::now_v7().to_string(), Instant::now());
                store.append(&stream, ExpectedVersion::NoStream, vec![event()]).await.expect("appended");
                took.push(now.elapsed());
            }
            took
        })
    };
    let writers: Vec<_> = (0..writers).map(writer).collect();
    let mut took = Vec::new();
    for writer in writers {
        took.extend(writer.await.expect("a writer"));
    }
    let rate = took.len() as f64 / began.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    (rate, at(50), at(99))
}

fn event() -> NewEvent {
    let data = br#"{"order_id":"0198f2c4-7d1e-7b3a-9a52-1f0c6c3d2b11","user_id":"mia","product_id":"book","price":{"currency":"USD","amount":"99.99"}}"#;
    let metadata = br#"{"actor":"mia","correlation_id":"0198f2c4-7d1e-7b3a"}"#;
    NewEvent {
        id: Uuid::now_v7(),
        event_type: "orders.v1.OrderCreated".into(),
        data: data.to_vec(),
        metadata: metadata.to_vec(),
    }
}

async fn fill(store: &Store, stream: &str, count: usize) {
    let mut left = count;
    while left > 0 {
        let many = left.min(1000);
        let events = (0..many).map(|_| event()).collect();
        store.append(stream, ExpectedVersion::Any, events).await.expect("appended");
        left -= many;
    }
}

/// Events per second of a reader that holds a page at a time.
async fn read(mut pages: Pages, expected: usize) -> f64 {
    let (began, mut count) = (Instant::now(), 0);
    loop {
        let page = pages.next().await.expect("a page");
        if page.is_empty() {
            break;
        }
        count += page.len();
    }
    assert_eq!(count, expected);
    count as f64 / began.elapsed().as_secs_f64()
}

/// Resident, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("(load {})", load.split(' ').next().unwrap_or("unknown"))
}
