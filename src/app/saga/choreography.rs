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
        let Effects { state, timer, messages } = ORDER.request(id, saga.data(), saga.patience)?;
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
    let shelves = shelves(store, ids).await?;
    let kept = |nth: usize, id: &str| shelves[nth].get(id).map(|(_, kept): &(u64, Kept)| kept);
    let orders = shelves[0].iter();
    let sagas = orders.filter_map(|(id, (version, _))| {
        let saga = gathered(id, [kept(0, id), kept(1, id), kept(2, id)])?;
        Some((id.clone(), (*version, saga)))
    });
    Ok(sagas.collect())
}

/// What the services keep of these, in the order of their steps.
async fn shelves(store: &Store, ids: Vec<String>) -> Result<[Shelf; 3], SagaError> {
    let mut shelves: [Shelf; 3] = Default::default();
    if ids.is_empty() {
        return Ok(shelves);
    }
    for (shelf, (_, service)) in shelves.iter_mut().zip(PARTICIPANTS) {
        for (id, (version, json)) in store.states(service.asked.keeps, ids.clone()).await? {
            let kept = serde_json::from_slice(&json).map_err(|error| unreadable(&id, &error))?;
            shelf.insert(id, (version, kept));
        }
    }
    Ok(shelves)
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
        for (shelf, (_, service)) in shelves(store, vec![id.to_owned()]).await?.into_iter().zip(PARTICIPANTS) {
            let Some((version, kept)) = shelf.into_iter().next().map(|(_, found)| found) else { continue };
            let Some(Effects { state, timer, messages }) = service.reacts.retry(kept)? else { continue };
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
