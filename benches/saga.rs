//! Sagas on Apache Kafka with SQLite and with PostgreSQL: `just bench-saga`. All services are in this process.
//!
//! - many: sagas that are started in transactions of 500; from the first start to the last end, and each one's own time.
//! - alone: one saga at a time, from its start to its end.
//! - open: sagas that were started while no service ran; then all services come. Two times tell how soon each goes on: when
//!   the step that it waits for has been done and answered, and when the orchestrator has asked for the next one. Resident
//!   memory is that of the whole run.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kafkalab::{
    app::{
        Store,
        crash::Crash,
        handler,
        order::OrderId,
        relay::{self, Stop},
        saga::{NewSaga, Place, Services, Style, Told, prepare, serve, start},
    },
    kafka::{Cluster, ConnectOptions},
    patterns::saga::Patience,
    store::StoreUrl,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use uuid::Uuid;

/// Sagas of one transaction, as `saga run -n` has it.
const BATCH: usize = 500;
const PATIENCE: Duration = Duration::from_secs(300);

struct Size {
    many: usize,
    alone: usize,
    open: usize,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let size = if quick {
        Size { many: 2_000, alone: 20, open: 2_000 }
    } else {
        Size { many: 10_000, alone: 200, open: 50_000 }
    };
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
        runtime.block_on(measure(name, &url.parse().expect("a store's URL"), &brokers, &size));
    }
    let _ = std::fs::remove_dir_all(folder);
}

async fn measure(name: &str, url: &StoreUrl, brokers: &str, size: &Size) {
    let store = Store::open(url).await.expect("the store opens");
    let bootstrap = vec![brokers.parse().expect("a broker's address")];
    let cluster = Cluster::connect(bootstrap, ConnectOptions::default()).await.expect("the cluster answers");
    let prefix = format!("bench-{}-", Uuid::now_v7().simple());
    prepare(&store, &cluster, &prefix).await.expect("topics");

    let mut ears = Ears::default();
    let alone = during(&store, &cluster, &prefix, &mut ears, async |ends| {
        let mut took = Vec::new();
        // the first ones find connections, groups and plans
        for nth in 0..size.alone + 10 {
            let one = sagas(1);
            let began = Instant::now();
            start(&store, Style::Orchestration, &one).await.expect("started");
            end_of(ends).await;
            if nth >= 10 {
                took.push(began.elapsed());
            }
        }
        took
    })
    .await;
    println!("{name}, alone: {}", times(alone));

    let mut ears = Ears::default();
    let (whole, each) = during(&store, &cluster, &prefix, &mut ears, async |ends| {
        let (began, mut started) = (Instant::now(), HashMap::new());
        for some in sagas(size.many).chunks(BATCH) {
            start(&store, Style::Orchestration, some).await.expect("started");
            started.extend(some.iter().map(|saga| (saga.order_id.to_string(), Instant::now())));
        }
        let mut each = Vec::new();
        for _ in 0..size.many {
            let (id, ended) = end_of(ends).await;
            each.push(ended - started[&id]);
        }
        (began.elapsed(), each)
    })
    .await;
    let per_saga = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64 / size.many as f64;
    println!(
        "{name}, many: {:.0} sagas/s; {:.1} records and {:.3} handlers' transactions to a saga; {} (load {})",
        size.many as f64 / whole.as_secs_f64(),
        per_saga(&ears.records),
        per_saga(&ears.transactions),
        times(each),
        load(),
    );

    for some in sagas(size.open).chunks(BATCH) {
        start(&store, Style::Orchestration, some).await.expect("started");
    }
    let began = Instant::now();
    let mut ears = Ears::default();
    let (first, all) = during(&store, &cluster, &prefix, &mut ears, async |ends| {
        end_of(ends).await;
        let first = began.elapsed();
        for _ in 1..size.open {
            end_of(ends).await;
        }
        (first, began.elapsed())
    })
    .await;
    let [answered, asked] = [&ears.answered, &ears.asked].map(|times| {
        let last = times.lock().expect("a lock").get(size.open - 1).copied();
        (last.expect("each has gone on") - began).as_secs_f64()
    });
    println!(
        "{name}, {} open: the step of each was done and answered {answered:.1} s after the services came, the next one asked for \
         after {asked:.1} s; the first one ended after {:.1} s, the last one after {:.1} s; {} MiB at most",
        size.open,
        first.as_secs_f64(),
        all.as_secs_f64(),
        peak() / 1024,
    );
}

/// What the services say, counted.
#[derive(Default)]
struct Ears {
    records: AtomicU64,
    transactions: AtomicU64,
    /// When the answers to first steps, and the commands of second ones, were on Kafka.
    answered: Mutex<Vec<Instant>>,
    asked: Mutex<Vec<Instant>>,
}

/// Does the work while all services run.
async fn during<T>(
    store: &Store,
    cluster: &Cluster,
    prefix: &str,
    ears: &mut Ears,
    work: impl AsyncFnOnce(&mut UnboundedReceiver<(String, Instant)>) -> T,
) -> T {
    let (sender, mut ends): (UnboundedSender<_>, _) = unbounded_channel();
    let sender = Mutex::new(sender);
    let tell = |told: Told<'_>| match told {
        Told::Relay(relay::Told::Published { record, .. }) => {
            ears.records.fetch_add(1, Ordering::Relaxed);
            match record.event_type.as_str() {
                "saga.v1.SagaStepCompleted" if is_first_step(&record.value) => {
                    ears.answered.lock().expect("a lock").push(Instant::now());
                }
                "saga.v1.ProcessPayment" => ears.asked.lock().expect("a lock").push(Instant::now()),
                "saga.v1.SagaCompleted" => {
                    let _ = sender.lock().expect("a lock").send((record.key.clone(), Instant::now()));
                }
                _ => {}
            }
        }
        Told::Handler { told: handler::Told::Committed { .. }, .. } => {
            ears.transactions.fetch_add(1, Ordering::Relaxed);
        }
        _ => {}
    };
    let (crash, stop) = (Crash::default(), Stop::new());
    let place = Place { store, cluster, prefix, crash: &crash, tell: &tell };
    let services = Services::all();
    let worked = async {
        let outcome = work(&mut ends).await;
        stop.cancel();
        outcome
    };
    let (served, outcome) = tokio::join!(serve(&services, &place, &stop), worked);
    served.expect("services that end well");
    outcome
}

fn is_first_step(answer: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(answer).is_ok_and(|answer| answer["step"] == 1)
}

async fn end_of(ends: &mut UnboundedReceiver<(String, Instant)>) -> (String, Instant) {
    tokio::time::timeout(PATIENCE, ends.recv()).await.expect("an end in time").expect("services that are there")
}

fn sagas(count: usize) -> Vec<NewSaga> {
    let one = |_| NewSaga {
        order_id: OrderId::new(Uuid::now_v7().to_string()).expect("an id"),
        user_id: "ada".parse().expect("an id"),
        product_id: "coffee-mug".parse().expect("an id"),
        price: "USD:12.99".parse().expect("a price"),
        // of 50,000 the last ones wait for longer than a saga's own limit: they are to be answered, not compensated
        patience: Some(Patience::of(None, PATIENCE)),
        fault: None,
    };
    (0..count).map(one).collect()
}

fn times(mut each: Vec<Duration>) -> String {
    each.sort();
    let at = |share: f64| each[((each.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    format!("p50 {:.1} ms, p99 {:.1} ms", at(0.5), at(0.99))
}

/// The most that was resident, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}
