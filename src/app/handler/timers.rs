//! The timers of a handler's states: they lie in the store, so whoever is there fires them.

use std::time::{Duration, Instant};

use super::HandlerError;
use crate::{
    patterns::inbox::{Effects, Entity, Handler},
    store::{Handled, HandledError, StateWrite, Store},
};

/// Timers of one transaction at most.
const BATCH: usize = 500;
/// Between two looks: others set timers, too.
const LOOK: Duration = Duration::from_millis(200);

pub(super) struct Timers {
    kind: Option<&'static str>,
    looked: Option<Instant>,
}

impl Timers {
    /// After trouble.
    pub const AGAIN: Duration = Duration::from_secs(1);
    /// After a refusal: whoever knows better what to do with this state may be there by then.
    const PUT_OFF: Duration = Duration::from_secs(60);
    /// For who has no timers at all.
    pub const NEVER: Duration = Duration::from_secs(3600);

    pub fn of(handler: &dyn Handler) -> Self {
        Self { kind: handler.timers(), looked: None }
    }

    /// Fires what is due, and gives how long nothing will be.
    pub async fn fire(&mut self, handler: &dyn Handler, store: &Store) -> Result<Duration, HandlerError> {
        let Some(kind) = self.kind else { return Ok(Self::NEVER) };
        if let Some(left) = self.looked.and_then(|looked| (LOOK / 4).checked_sub(looked.elapsed())) {
            return Ok(left);
        }
        loop {
            self.looked = Some(Instant::now());
            let due = store.states_due(kind, BATCH).await?;
            if due.is_empty() {
                break;
            }
            let is_full = due.len() == BATCH;
            let fired: Vec<Handled> = due.into_iter().map(|(id, state)| fire(handler, kind, id, state)).collect();
            match store.handle(joined(fired.clone(), handler)).await {
                Err(HandledError::Conflict) => {
                    // somebody was quicker with one of them: each by itself
                    for one in fired {
                        match store.handle(one).await {
                            Ok(()) | Err(HandledError::Conflict) => {}
                            Err(HandledError::Store(error)) => return Err(error.into()),
                        }
                    }
                }
                Err(HandledError::Store(error)) => return Err(error.into()),
                Ok(()) => {}
            }
            if !is_full {
                break;
            }
        }
        let next = store.next_due(kind).await?.unwrap_or(LOOK);
        Ok(next.clamp(Duration::from_millis(1), LOOK))
    }
}

fn fire(handler: &dyn Handler, kind: &'static str, id: String, (version, data): (u64, Vec<u8>)) -> Handled {
    let entity = Entity { kind, id };
    let effects = handler.due(&entity, &data).unwrap_or_else(|poison| {
        tracing::warn!(kind, id = entity.id, %poison, "a timer is put off");
        Effects { timer: Some(Timers::PUT_OFF), ..Effects::default() }
    });
    let state = effects.state.unwrap_or(data);
    let state = StateWrite { entity, read: version, data: state, due_in: effects.timer };
    Handled {
        consumer: handler.name().to_owned(),
        points: Some(handler.crash_points()),
        messages: Vec::new(),
        states: vec![state],
        outbox: effects.messages,
        changes: effects.changes,
    }
}

fn joined(fired: Vec<Handled>, handler: &dyn Handler) -> Handled {
    let points = Some(handler.crash_points());
    let mut all = Handled { consumer: handler.name().to_owned(), points, ..Handled::default() };
    for one in fired {
        all.states.extend(one.states);
        all.outbox.extend(one.outbox);
        all.changes.extend(one.changes);
    }
    all
}
