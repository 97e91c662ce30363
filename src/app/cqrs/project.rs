//! A batch of events into views: look, compute, write; once more where somebody else was quicker.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    patterns::projection::{Changes, Observed},
    store::{Checkpoint, HandledError, Projected, Store, StoreError, View, Writer},
};

/// Somebody else was quicker so often: by then something else is wrong.
const CONFLICTS: u32 = 200;

/// How far a batch goes in a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub next_offset: i64,
    /// Of the newest event; 0 where there was none.
    pub time_ms: i64,
    /// Records that were gone before they could be read.
    pub missing: i64,
}

/// By topic (as on the wire) and partition.
pub type Progresses = BTreeMap<(String, i32), Progress>;

/// Into all views that there are.
///
/// # Errors
/// [`StoreError`]; a sum that is too large is [`StoreError::Invalid`].
pub async fn project(store: &Store, events: &[&Observed], progress: &Progresses) -> Result<(), StoreError> {
    tried(store, None, events, progress).await
}

/// Into one that is being built.
///
/// # Errors
/// As [`project`]; [`StoreError::Locked`] also where the view is not being built any more.
pub async fn build(store: &Store, view: View, events: &[&Observed], progress: &Progresses) -> Result<(), StoreError> {
    tried(store, Some(view), events, progress).await
}

async fn tried(
    store: &Store,
    only: Option<View>,
    events: &[&Observed],
    progress: &Progresses,
) -> Result<(), StoreError> {
    for _ in 0..CONFLICTS {
        let (writer, views) = match only {
            Some(view) => (Writer::Rebuild { generation: view.generation }, vec![view]),
            None => {
                let views = store.views().await?;
                let wanted = views.views.into_iter().filter(|view| !view.models.is_empty());
                (Writer::Reader { epoch: views.epoch }, wanted.collect())
            }
        };
        match write(store, writer, &views, events, progress).await {
            Err(HandledError::Conflict) => {}
            Err(HandledError::Store(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
    let cause = format!("{CONFLICTS} times somebody else was quicker").into();
    Err(StoreError::Locked { at: store.url().to_string().into(), cause })
}

async fn write(
    store: &Store,
    writer: Writer,
    views: &[View],
    events: &[&Observed],
    progress: &Progresses,
) -> Result<(), HandledError> {
    let ids: BTreeSet<&str> = events.iter().map(|event| event.order_id().as_str()).collect();
    let mut changes = Vec::with_capacity(views.len());
    let mut checkpoints = Vec::new();
    for view in views {
        let known = match ids.is_empty() {
            true => Default::default(),
            false => store.known_orders(view.generation, ids.iter().map(|id| (*id).to_owned()).collect()).await?,
        };
        let changed = Changes::of(view.models, known, events.iter().copied());
        changes.push((view.generation, changed.map_err(|error| StoreError::Invalid(error.to_string()))?));
        checkpoints.extend(progress.iter().map(|((topic, partition), progress)| Checkpoint {
            generation: view.generation,
            topic: topic.clone(),
            partition: *partition,
            next_offset: progress.next_offset,
            time_ms: progress.time_ms,
            missing: progress.missing,
        }));
    }
    if changes.is_empty() {
        return Ok(());
    }
    store.project(Projected { writer, changes, checkpoints }).await
}
