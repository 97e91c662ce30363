//! The event stores that kafkalab's is compared with: one run of one of them, its figures as lines of JSON, as
//! `benches/store.rs` gives kafkalab's. `dev/bench/peers.py` runs all in turns and makes the table.
//!
//!     cargo run --release -- cqrs-es --store sqlite:/tmp/bench.db
//!     cargo run --release -- disintegrate --store postgres://...
//!
//! All events say the same: who ordered what at which price, who acted, and a correlation id; about 220 bytes.
//! Each store has what its documentation shows: its own tables and pool, 10 connections, no snapshots. What is levelled is the
//! disk: `synchronous=FULL` on SQLite, where sqlite-es takes NORMAL, as PostgreSQL waits for it too.

mod cqrs;
mod dcb;
mod load;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Connections of each pool.
const POOL: u32 = 10;
const LONG_STREAMS: [u32; 2] = [10_000, 100_000];

#[derive(Debug, thiserror::Error)]
#[error("no command of this benchmark is refused by its own rules")]
pub struct Refused;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let time = Duration::from_secs(if arguments.iter().any(|argument| argument == "--quick") { 1 } else { 5 });
    let url = arguments.iter().skip_while(|argument| *argument != "--store").nth(1).expect("--store URL");
    match (arguments[0].as_str(), url.starts_with("sqlite:")) {
        ("cqrs-es", true) => cqrs::sqlite(url, time).await,
        ("cqrs-es", false) => cqrs::postgres(url, time).await,
        ("disintegrate", false) => dcb::postgres(url, time).await,
        (other, _) => panic!("{other} does not run on {url}"),
    }
}

fn new_id() -> String {
    Uuid::now_v7().to_string()
}

/// What every side's event says beside its ids, in the same words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Price {
    currency: String,
    amount: String,
}

fn price() -> Price {
    Price { currency: "USD".into(), amount: "99.99".into() }
}
