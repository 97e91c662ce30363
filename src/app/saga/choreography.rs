//! Choreographed sagas: begun by a wish of a customer, and gathered from what the services keep.

use std::collections::HashMap;

use super::{NewSaga, SagaError, unreadable};
use crate::{
    patterns::{
        inbox::{Effects, Entity},
        saga::{
            Saga,
            choreography::{ORDER, gathered},
            orchestrator::CRASH_POINTS,
            order::PARTICIPANTS,
            participant::Kept,
            service::Service,
        },
    },
    store::{Handled, HandledError, StateWrite, Store},
};

/// What one service keeps, by order, with its version.
type Shelf = HashMap<String, (u64, Kept)>;

/// Takes orders: what the order service has of each, and the command that it gets, in one transaction. Kafka is not asked.
///
/// # Errors
/// [`SagaError::Exists`] where one of them is there; none is begun then.
pub async fn start(store: &Store, sagas: &[NewSaga]) -> Result<(), SagaError> {
    let consumer = format!("saga-{}", ORDER.name);
    let mut handled = Handled { consumer, points: Some(CRASH_POINTS), ..Handled::default() };
    for saga in sagas {
        let id = saga.order_id.as_str();
        let Effects { state, timer, messages, .. } = ORDER.request(id, saga.data(), saga.patience)?;
        let entity = Entity { kind: ORDER.keeps, id: id.to_owned() };
        handled.states.push(StateWrite { entity, read: 0, data: state.unwrap_or_default(), due_in: timer });
        handled.outbox.extend(messages);
    }
    match store.handle(handled).await {
        Ok(()) => Ok(()),
        Err(HandledError::Store(error)) => Err(error.into()),
        Err(HandledError::Conflict) => {
            Err(SagaError::Exists(sagas.iter().map(|saga| saga.order_id.as_str()).collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Those of these that are choreographed, each with the version of its order.
pub(super) async fn gather(store: &Store, ids: Vec<String>) -> Result<HashMap<String, (u64, Saga)>, SagaError> {
    let [(_, order), (_, payment), (_, shipping)] = PARTICIPANTS;
    let mut orders = shelf(store, order, ids).await?;
    orders.retain(|_, (_, kept)| kept.flow.is_some());
    let ids: Vec<String> = orders.keys().cloned().collect();
    let charges = shelf(store, payment, ids.clone()).await?;
    let parcels = shelf(store, shipping, ids).await?;
    let sagas = orders.into_iter().filter_map(|(id, (version, order))| {
        let of = |shelf: &Shelf| shelf.get(&id).map(|(_, kept)| kept.clone());
        let saga = gathered(&id, [Some(&order), of(&charges).as_ref(), of(&parcels).as_ref()])?;
        Some((id, (version, saga)))
    });
    Ok(sagas.collect())
}

/// What a service keeps of these.
async fn shelf(store: &Store, service: Service, ids: Vec<String>) -> Result<Shelf, SagaError> {
    let mut shelf = Shelf::new();
    if ids.is_empty() {
        return Ok(shelf);
    }
    for (id, (version, json)) in store.states(service.asked.keeps, ids).await? {
        let kept = serde_json::from_slice(&json).map_err(|error| unreadable(&id, &error))?;
        shelf.insert(id, (version, kept));
    }
    Ok(shelf)
}

/// At most `limit` choreographed sagas in the order of their ids, after that one, none behind `last`.
pub(super) async fn page(store: &Store, after: &str, last: Option<&str>, limit: usize) -> Result<Vec<Saga>, SagaError> {
    let (mut found, mut after) = (Vec::new(), after.to_owned());
    loop {
        let page = store.states_of(ORDER.keeps, &after, 1000).await?;
        let Some((end, _)) = page.last() else { break };
        after.clone_from(end);
        let within = |id: &String| last.is_none_or(|last| id.as_str() <= last);
        let ids = page.into_iter().map(|(id, _)| id).filter(within).collect();
        found.extend(gather(store, ids).await?.into_values().map(|(_, saga)| saga));
        if found.len() >= limit || last.is_some_and(|last| after.as_str() >= last) {
            break;
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found.truncate(limit);
    Ok(found)
}

/// What is parked of an order, once more: each service its own.
pub(super) async fn retry(store: &Store, id: &str) -> Result<(), SagaError> {
    loop {
        let mut handled = Handled { consumer: "saga-retry".to_owned(), ..Handled::default() };
        for (_, service) in PARTICIPANTS {
            let found = shelf(store, service, vec![id.to_owned()]).await?.remove(id);
            let Some((version, kept)) = found else { continue };
            let Some(Effects { state, timer, messages, .. }) = service.reacts.retry(kept)? else { continue };
            let entity = Entity { kind: service.asked.keeps, id: id.to_owned() };
            let data = state.unwrap_or_default();
            handled.states.push(StateWrite { entity, read: version, data, due_in: timer });
            handled.outbox.extend(messages);
        }
        match store.handle(handled).await {
            Ok(()) => return Ok(()),
            Err(HandledError::Conflict) => {}
            Err(HandledError::Store(error)) => return Err(error.into()),
        }
    }
}
