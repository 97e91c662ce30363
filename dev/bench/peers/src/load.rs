//! How each store is loaded, the same for all: `benches/store.rs` includes this file.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use serde_json::json;

/// A command that is refused so often in a row will never pass.
const TRIES: u32 = 10_000;

/// So many writers send one command after the other for that time; each makes its own by `once`. What is refused (a lock,
/// a serialization failure) is sent again, and the command has taken until it passed.
pub async fn commands<Once, Sent>(row: &str, writers: usize, time: Duration, once: Once)
where
    Once: Fn() -> Sent + Clone + Send + Sync + 'static,
    Sent: Future<Output = Result<(), String>> + Send + 'static,
{
    let began = Instant::now();
    let writer = |once: Once| async move {
        let (mut took, mut refused) = (Vec::new(), 0);
        while began.elapsed() < time {
            let now = Instant::now();
            refused += until_it_passes(&once).await;
            took.push(now.elapsed());
        }
        (took, refused)
    };
    let writers_at_work: Vec<_> = (0..writers).map(|_| tokio::spawn(writer(once.clone()))).collect();
    let (mut took, mut refused) = (Vec::new(), 0);
    for writer in writers_at_work {
        let (of_one, refused_to_one) = writer.await.expect("a writer");
        took.extend(of_one);
        refused += refused_to_one;
    }
    let rate = took.len() as f64 / began.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    let row = format!("{row}, {writers} writer{}", if writers == 1 { "" } else { "s" });
    println!("{}", json!({"row": row, "rate": rate, "p50": at(50), "p99": at(99), "refused": refused}));
}

/// How often it did not.
async fn until_it_passes<Sent: Future<Output = Result<(), String>>>(once: &impl Fn() -> Sent) -> u32 {
    for refused in 0..TRIES {
        match once().await {
            Ok(()) => return refused,
            Err(error) if refused + 1 == TRIES => panic!("refused {TRIES} times, at last: {error}"),
            Err(_) => {}
        }
    }
    unreachable!("the last try returns or panics")
}

/// Reads a stream of `count` events to its state, by `read`, which says how many it folded. The first reading warms the
/// caches and is not counted.
pub async fn rebuild(count: usize, read: impl AsyncFn() -> usize) {
    assert_eq!(read().await, count);
    let began = Instant::now();
    assert_eq!(read().await, count);
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!("{}", json!({"row": format!("rebuild of {count} events"), "rate": rate}));
}
