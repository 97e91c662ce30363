//! Leases, fencing tokens, checkpoints.

use super::*;

on_both!(
    of_many_who_ask_one_has_the_lease,
    an_expired_lease_passes_on_with_a_higher_token,
    whoever_was_overtaken_moves_no_checkpoint,
    a_lease_that_nobody_took_can_be_renewed,
    a_lease_that_was_given_back_is_free_at_once,
);

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(30);

async fn of_many_who_ask_one_has_the_lease(place: &Place) {
    let stores = [place.open().await, place.open().await];
    let ask = async |at: usize| stores[at % 2].acquire("relay", &format!("w{at}"), LONG).await.unwrap();
    let given: Vec<_> = futures::future::join_all((0..32).map(ask)).await.into_iter().flatten().collect();
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].token, 1);
    // not even by its own name: two of one name would be two owners
    assert_eq!(stores[0].acquire("relay", &given[0].owner, LONG).await.unwrap(), None);
    assert_eq!(stores[0].acquire("other", "w", LONG).await.unwrap().unwrap().token, 1);
}

async fn an_expired_lease_passes_on_with_a_higher_token(place: &Place) {
    let store = place.open().await;
    let mut last = 0;
    for round in 0..4 {
        let owner = format!("w{round}");
        let lease = until("lease", async || store.acquire("relay", &owner, SHORT).await.unwrap()).await;
        assert_eq!(lease.token, last + 1);
        last = lease.token;
    }
}

async fn whoever_was_overtaken_moves_no_checkpoint(place: &Place) {
    let store = place.open().await;
    assert_eq!(store.checkpoint("orders").await.unwrap(), 0);
    let old = store.acquire("relay", "old", SHORT).await.unwrap().unwrap();
    store.set_checkpoint("orders", 10, &old).await.unwrap();
    let new = until("lease", async || store.acquire("relay", "new", LONG).await.unwrap()).await;
    let lost = |outcome| assert!(matches!(outcome, Err(StoreError::LeaseLost { .. })), "{outcome:?}");
    lost(store.set_checkpoint("orders", 11, &old).await);
    lost(store.set_checkpoint("unknown", 11, &old).await);
    lost(store.renew(&old, LONG).await);
    lost(store.set_checkpoint("orders", 12, &Lease { token: new.token + 1, ..new.clone() }).await);
    assert_eq!(store.checkpoint("orders").await.unwrap(), 10);
    store.release(&old).await.unwrap(); // gives back nothing that is another's
    store.set_checkpoint("orders", 12, &new).await.unwrap();
    store.set_checkpoint("orders", 3, &new).await.unwrap(); // a rebuild begins anew
    assert_eq!(store.checkpoint("orders").await.unwrap(), 3);
}

async fn a_lease_that_nobody_took_can_be_renewed(place: &Place) {
    let store = place.open().await;
    let lease = store.acquire("relay", "a", Duration::ZERO).await.unwrap().unwrap();
    store.renew(&lease, LONG).await.unwrap();
    assert_eq!(store.acquire("relay", "b", LONG).await.unwrap(), None);
}

async fn a_lease_that_was_given_back_is_free_at_once(place: &Place) {
    let store = place.open().await;
    let lease = store.acquire("relay", "a", LONG).await.unwrap().unwrap();
    store.release(&lease).await.unwrap();
    assert!(matches!(store.renew(&lease, LONG).await, Err(StoreError::LeaseLost { .. })));
    assert!(matches!(store.set_checkpoint("c", 1, &lease).await, Err(StoreError::LeaseLost { .. })));
    assert_eq!(store.acquire("relay", "b", Duration::MAX).await.unwrap().unwrap().token, 2);
    assert_eq!(store.acquire("relay", "c", LONG).await.unwrap(), None);
}
