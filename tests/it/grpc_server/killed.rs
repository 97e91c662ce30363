//! kill -9 of the server: callers that come again with their key have one order each, and each order has one event.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::process::ExitStatusExt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use tonic::Code;

use super::{ORDER, Server, client, ordering, relayed, runtime, serving};
use crate::{
    cluster::soak,
    es::{Place, judge::sent},
    harness::brokers,
    membership::until,
    outbox::judge::judged,
    random::Random,
};

/// The server dies at the point, in the call; another one takes the same call again. Gives what that one answers.
fn dies_and_is_called_again(place: &Place, point: &str, method: &str, request: &str) -> serde_json::Value {
    let key = format!("idempotency-key: {point}-{method}");
    let mut first = Server::start(place, &["--relay", "external", "--crash-at", point]);
    let unanswered = first.calling(method, &[&key], request).run();
    assert_ne!(unanswered.code(), 0, "{unanswered:?}");
    assert_eq!(first.running.end().status.signal(), Some(9), "it did not come to {point}");
    let second = Server::start(place, &["--relay", "external"]);
    let answer = second.call(method, &[&key], request);
    assert_eq!(second.call(method, &[&key], request)["order"], answer["order"]);
    second.stop();
    answer
}

#[test]
#[ignore = "needs grpcurl"]
fn between_commit_and_reply_the_next_attempt_finds_what_was_done() {
    for (point, is_done) in
        [("grpc.before-reply", true), ("outbox.after-commit", true), ("outbox.before-commit", false)]
    {
        let place = Place::new("reply");
        let created = dies_and_is_called_again(&place, point, "CreateOrder", ORDER);
        assert_eq!(created["alreadyDone"], is_done, "{point}");
        let order_id = created["order"]["orderId"].as_str().expect("an id");
        let paying = format!(r#"{{"order_id":"{order_id}","amount":{{"currency":"USD","amount":99.99}}}}"#);
        let paid = dies_and_is_called_again(&place, point, "PayOrder", &paying);
        assert_eq!((&paid["alreadyDone"], &paid["order"]["status"]), (&is_done.into(), &"ORDER_STATUS_PAID".into()));
        let cancelling = format!(r#"{{"order_id":"{order_id}"}}"#);
        let cancelled = dies_and_is_called_again(&place, point, "CancelOrder", &cancelling);
        assert_eq!((&cancelled["alreadyDone"], &cancelled["order"]["version"]), (&is_done.into(), &"4".into()));
        relayed(&place, brokers());
        assert_eq!(judged(&place), [].into());
    }
}

/// Callers that do not give up: each takes orders by keys of its own, one after the other, until it is told to stop. Gives
/// the order of each key that was answered OK.
async fn caller(address: &str, name: usize, stop: &AtomicBool, answered: &AtomicUsize) -> BTreeMap<String, String> {
    let mut client = client(address);
    let mut orders = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let key = format!("caller-{name}-{}", orders.len());
        let order = loop {
            match client.create_order(ordering(&key)).await {
                Ok(answer) => break answer.into_inner().order.expect("an order"),
                Err(status) => {
                    // whatever a server that dies looks like from here; never a word that it was refused
                    let is_gone =
                        [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal, Code::DeadlineExceeded];
                    assert!(is_gone.contains(&status.code()), "{key}: {status:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        orders.insert(key, order.order_id);
        answered.fetch_add(1, Ordering::Relaxed);
    }
    orders
}

#[test]
#[ignore = "needs kcat"]
fn killed_under_load_each_key_is_one_order_and_each_order_one_event() {
    let mut random = Random::from_seed_or_new();
    let (kills, callers) = (if soak() { 50 } else { 4 }, 64);
    let place = Place::new("killed");
    let mut server = Server::start(&place, &[]);
    let address = server.address.clone();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let orders: BTreeMap<String, String> = thread::scope(|scope| {
        let load = scope.spawn(|| {
            runtime().block_on(async {
                let callers = (0..callers).map(|name| caller(&address, name, &stop, &answered));
                futures::future::join_all(callers).await.into_iter().flatten().collect()
            })
        });
        for _ in 0..kills {
            let goal = answered.load(Ordering::Relaxed) + random.within(callers..20 * callers);
            until("answers", Duration::from_secs(120), || {
                let count = answered.load(Ordering::Relaxed);
                (count >= goal || load.is_finished()).then_some(()).ok_or(format!("{count} of {goal}"))
            });
            server.running.signal(Signal::KILL);
            assert_eq!(server.running.end().status.signal(), Some(9));
            server = Server::by(serving(&place, &["--listen", &address]));
        }
        let goal = answered.load(Ordering::Relaxed) + callers;
        until("answers at the end", Duration::from_secs(60), || {
            (answered.load(Ordering::Relaxed) >= goal).then_some(()).ok_or("not yet".to_owned())
        });
        stop.store(true, Ordering::Relaxed);
        load.join().expect("callers")
    });
    server.stop();
    relayed(&place, brokers());
    let twice = judged(&place);
    // as kcat counts: an event is known by its id, however often a relay that was killed has sent it
    let sent = sent(&place.topic("orders"));
    let events: BTreeMap<&str, &str> = sent.iter().map(|record| (record.id(), record.key.as_str())).collect();
    let published: BTreeSet<&str> = events.values().copied().collect();
    let taken: BTreeSet<&str> = orders.values().map(String::as_str).collect();
    println!("{kills} kills, {} keys, {} events, {} records; twice: {twice:?}", orders.len(), events.len(), sent.len());
    assert_eq!(taken.len(), orders.len(), "an order for each key");
    assert_eq!(events.len(), published.len(), "an event for each order");
    assert_eq!(published, taken, "every OK has its order, and nothing else was taken");
}
