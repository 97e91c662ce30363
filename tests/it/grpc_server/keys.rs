//! Idempotency keys: a call that comes again is carried out once, and a key stands for one thing.

use std::thread;

use tonic::Code;

use super::{ALREADY_EXISTS, INVALID_ARGUMENT, ORDER, Server, client, ordering, runtime};
use crate::es::Place;

const KEY: &str = "idempotency-key: k-1";

fn events(place: &Place) -> usize {
    place.sql("SELECT event_type FROM events").len()
}

#[test]
#[ignore = "needs grpcurl"]
fn a_creation_that_comes_again_is_the_same_order() {
    let place = Place::new("again");
    let server = Server::start(&place, &["--relay", "external"]);
    let first = server.call("CreateOrder", &[KEY], ORDER);
    let again = server.call("CreateOrder", &[KEY], ORDER);
    assert_eq!((&first["alreadyDone"], &again["alreadyDone"]), (&false.into(), &true.into()));
    assert_eq!(first["order"], again["order"]);
    for (from, to) in [("user-123", "user-124"), ("prod-456", "prod-457"), ("99.99", "99.98"), ("USD", "EUR")] {
        let other = server.refused("CreateOrder", &[KEY], &ORDER.replace(from, to));
        assert_eq!((other.code, other.reason()), (ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED"), "{to}");
        assert_eq!(other.detail("ErrorInfo")["domain"], "orders.kafkalab");
    }
    assert_eq!(events(&place), 1);
    // another key, and no key: other orders
    server.call("CreateOrder", &["idempotency-key: k-2"], ORDER);
    server.call("CreateOrder", &[], ORDER);
    assert_eq!((events(&place), place.sql("SELECT id FROM outbox").len()), (3, 3));
    server.stop();
}

#[test]
#[ignore = "needs grpcurl"]
fn a_payment_and_a_cancellation_that_come_again_are_told_from_others() {
    let place = Place::new("changes");
    let server = Server::start(&place, &["--relay", "external"]);
    let order = || {
        let created = server.call("CreateOrder", &[], ORDER);
        created["order"]["orderId"].as_str().expect("an id").to_owned()
    };
    let (one, two) = (order(), order());
    let paying = |order: &str, amount: &str| {
        format!(r#"{{"order_id":"{order}","amount":{{"currency":"USD","amount":{amount}}}}}"#)
    };
    let refused = |method: &str, request: &str| {
        let refused = server.refused(method, &[KEY], request);
        assert_eq!((refused.code, refused.reason()), (ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED"), "{request}");
    };
    let paid = server.call("PayOrder", &[KEY], &paying(&one, "99.99"));
    let again = server.call("PayOrder", &[KEY], &paying(&one, "99.99"));
    assert_eq!((&paid["alreadyDone"], &again["alreadyDone"]), (&false.into(), &true.into()));
    assert_eq!(paid["order"], again["order"]);
    refused("PayOrder", &paying(&one, "1"));
    refused("PayOrder", &paying(&two, "99.99"));

    let cancelling = |order: &str, reason: &str| format!(r#"{{"order_id":"{order}","reason":"{reason}"}}"#);
    server.call("CancelOrder", &[KEY], &cancelling(&one, "late"));
    assert_eq!(server.call("CancelOrder", &[KEY], &cancelling(&one, "late"))["alreadyDone"], true);
    refused("CancelOrder", &cancelling(&one, "early"));
    refused("CancelOrder", &cancelling(&two, "late"));
    // a payment that was made stays made, although the order is cancelled by now
    assert_eq!(server.call("PayOrder", &[KEY], &paying(&one, "99.99"))["order"]["status"], "ORDER_STATUS_CANCELLED");
    assert_eq!(events(&place), 5, "two created, one paid, cancelled and refunded");
    server.stop();
}

#[test]
#[ignore = "needs grpcurl"]
fn a_key_that_is_none_is_refused() {
    let place = Place::new("no-key");
    let server = Server::start(&place, &["--relay", "external"]);
    for wrong in [vec!["idempotency-key: "], vec!["idempotency-key: a b"], vec![KEY, "idempotency-key: k-2"]] {
        let refused = server.refused("CreateOrder", &wrong, ORDER);
        assert_eq!((refused.code, refused.fields()), (INVALID_ARGUMENT, vec!["idempotency-key"]), "{wrong:?}");
    }
    assert_eq!(events(&place), 0);
    server.stop();
}

/// All at once, over several connections: one is first, the others find what it has done, or that it asked for something
/// else.
#[test]
fn a_key_that_many_use_at_once_is_one_order() {
    let place = Place::new("at-once");
    let server = Server::start(&place, &["--relay", "external"]);
    let address = server.address.clone();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    runtime().block_on(async {
                        let client = client(&address);
                        let calls = (0..16).map(|number| {
                            let mut client = client.clone();
                            async move {
                                let mut request = ordering("the-key");
                                if number % 2 == 1 {
                                    request.get_mut().user_id = "bob".to_owned();
                                }
                                client.create_order(request).await.map(tonic::Response::into_inner)
                            }
                        });
                        futures::future::join_all(calls).await
                    })
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().expect("a caller")).collect()
    });
    let (done, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let done: Vec<_> = done.into_iter().filter_map(Result::ok).collect();
    assert_eq!(done.iter().filter(|answer| !answer.already_done).count(), 1, "{done:?}");
    assert_eq!((done.len(), refused.len()), (32, 32));
    assert!(done.iter().all(|answer| answer.order == done[0].order), "{done:?}");
    for refused in refused.into_iter().filter_map(Result::err) {
        assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");
    }
    assert_eq!(events(&place), 1);
    server.stop();
}
