//! A batch of records on its way to its effect.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::{HandlerError, Pending, Report, Tell, Told, What};
use crate::{
    app::dead_letters::{Dead, DeadLetters},
    kafka::{Chunk, Record, Records},
    patterns::{
        envelope::{self, Envelope},
        inbox::{Change, Effects, Entity, Handler, Message, Poison, message_id},
    },
    store::{Handled, HandledError, StateWrite, Store, StoreError},
};

/// Somebody else was quicker so often: by then something else is wrong.
const CONFLICTS: u32 = 100;

pub(super) struct Batch<'a> {
    prefix: &'a str,
    items: Vec<Item<'a>>,
}

/// A record that was decoded.
struct Item<'a> {
    chunk: &'a Chunk,
    offset: i64,
    message: Result<Decoded, Poison>,
    fate: Fate,
}

struct Decoded {
    id: String,
    envelope: Envelope,
    data: Vec<u8>,
    is_replay: bool,
    entity: Option<Entity>,
}

enum Fate {
    Open,
    Effect { messages: usize },
    Repeat,
    PassedBy,
    Dead { reason: String, is_sent: bool },
}

impl<'a> Batch<'a> {
    /// At most `limit` records of what is left in `sources`. Lets others go on in between.
    ///
    /// # Errors
    /// A batch of the broker that is damaged.
    pub async fn read(
        handler: &dyn Handler,
        prefix: &'a str,
        sources: &mut VecDeque<(&'a Chunk, Records)>,
        limit: usize,
    ) -> Result<Self, HandlerError> {
        let mut items = Vec::with_capacity(limit.min(1024));
        while let Some((chunk, records)) = sources.front_mut() {
            let topic = unprefixed(chunk, prefix);
            while items.len() < limit {
                let Some(record) = records.next()? else { break };
                let headers: Vec<_> = record.headers.iter().collect();
                let message = decode(handler, topic, &headers, record.value);
                items.push(Item { chunk, offset: record.offset, message, fate: Fate::Open });
                if items.len() % 128 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            if items.len() >= limit {
                break;
            }
            sources.pop_front();
        }
        Ok(Self { prefix, items })
    }

    /// Everything that is not settled yet takes effect, in one transaction, or is put aside.
    ///
    /// # Errors
    /// What is about no record. May be called again.
    pub async fn commit(
        &mut self,
        handler: &dyn Handler,
        store: &Store,
        dead: &mut DeadLetters,
    ) -> Result<(), HandlerError> {
        let all: Vec<usize> = (0..self.items.len()).collect();
        match self.transaction(&all, handler, store).await {
            Err(error) if is_somebodys_fault(&error) => {
                tracing::warn!(%error, "the database refuses the batch; record by record now");
                for at in all {
                    if let Err(error) = self.transaction(&[at], handler, store).await {
                        if !is_somebodys_fault(&error) {
                            return Err(error.into());
                        }
                        self.items[at].fate = Fate::Dead { reason: error.to_string(), is_sent: false };
                    }
                }
            }
            outcome => outcome?,
        }
        self.put_aside(dead).await
    }

    /// Looks, handles, writes; once more where somebody else was quicker.
    async fn transaction(&mut self, at: &[usize], handler: &dyn Handler, store: &Store) -> Result<(), StoreError> {
        let mut conflicts = 0;
        loop {
            let handled = self.handle(at, handler, store).await?;
            if handled.messages.is_empty() {
                return Ok(());
            }
            match store.handle(handled).await {
                Ok(()) => return Ok(()),
                Err(HandledError::Conflict) if conflicts < CONFLICTS => conflicts += 1,
                Err(HandledError::Conflict) => {
                    return Err(StoreError::Locked {
                        at: store.url().to_string().into(),
                        cause: format!("{CONFLICTS} times somebody else was quicker").into(),
                    });
                }
                Err(HandledError::Store(error)) => return Err(error),
            }
        }
    }

    /// What follows from these, on what the store says now. Only looks, and notes what becomes of each record if the
    /// transaction is committed.
    async fn handle(&mut self, at: &[usize], handler: &dyn Handler, store: &Store) -> Result<Handled, StoreError> {
        let consumer = handler.name().to_owned();
        let open = |item: &&mut Item<'_>| !matches!(item.fate, Fate::Dead { .. });
        let chosen: HashSet<usize> = at.iter().copied().collect();
        let items = self.items.iter_mut().enumerate().filter(|(at, _)| chosen.contains(at)).map(|(_, item)| item);
        let mut items: Vec<&mut Item<'_>> = items.filter(open).collect();
        let messages = || items.iter().filter_map(|item| item.message.as_ref().ok());
        let ids = messages().filter(|message| message.entity.is_some()).map(|message| message.id.clone()).collect();
        let mut wanted: BTreeMap<&'static str, HashSet<String>> = BTreeMap::new();
        for entity in messages().filter_map(|message| message.entity.as_ref()) {
            wanted.entry(entity.kind).or_default().insert(entity.id.clone());
        }
        let known = async {
            let mut states: HashMap<Entity, State> = HashMap::new();
            for (kind, ids) in wanted {
                for (id, (version, data)) in store.states(kind, ids.into_iter().collect()).await? {
                    states.insert(
                        Entity { kind, id },
                        State { read: version, data: Some(data), timer: None, is_new: false },
                    );
                }
            }
            Ok(states)
        };
        let (mut seen, mut states) = futures::future::try_join(store.inbox_seen(&consumer, ids), known).await?;
        let mut handled = Handled { consumer, points: Some(handler.crash_points()), ..Handled::default() };
        for item in &mut items {
            item.handle(handler, self.prefix, &mut seen, &mut states, &mut handled);
        }
        let changed = states.into_iter().filter(|(_, state)| state.is_new);
        handled.states = changed
            .filter_map(|(entity, state)| {
                Some(StateWrite { entity, read: state.read, data: state.data?, due_in: state.timer })
            })
            .collect();
        Ok(handled)
    }

    /// At-least-once: whoever dies before the offsets are committed puts them aside again.
    async fn put_aside(&mut self, dead: &mut DeadLetters) -> Result<(), HandlerError> {
        let mut letters = Vec::new();
        for item in &self.items {
            if let Fate::Dead { reason, is_sent: false } = &item.fate {
                letters.extend(item.record()?.map(|record| (&item.chunk.partition, record, reason.clone())));
            }
        }
        let send: Vec<Dead<'_>> =
            letters.iter().map(|(partition, record, reason)| Dead::record(partition, record, reason)).collect();
        dead.send(&send).await?;
        for item in &mut self.items {
            if let Fate::Dead { is_sent, .. } = &mut item.fate {
                *is_sent = true;
            }
        }
        Ok(())
    }
}

impl Pending for Batch<'_> {
    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn tell(&self, tell: Tell<'_>, report: &mut Report) {
        let mut effects = 0;
        for item in &self.items {
            let what = match &item.fate {
                Fate::Effect { messages } => {
                    effects += 1;
                    What::Effect { messages: *messages }
                }
                Fate::Repeat => {
                    report.repeats += 1;
                    What::Repeat
                }
                Fate::Open | Fate::PassedBy => What::PassedBy,
                Fate::Dead { reason, .. } => {
                    report.dead += 1;
                    What::Dead(reason)
                }
            };
            let message = item.message.as_ref().map_or("", |message| message.id.as_str());
            tell(Told::Record { partition: &item.chunk.partition, offset: item.offset, message, what });
        }
        report.records += self.items.len() as u64;
        report.effects += effects as u64;
        tell(Told::Committed { records: self.items.len(), effects });
    }
}

/// A state on its way through a batch.
struct State {
    /// The version in the store; 0: none.
    read: u64,
    data: Option<Vec<u8>>,
    timer: Option<Duration>,
    /// This batch has changed it.
    is_new: bool,
}

impl Item<'_> {
    /// The record once more, as it came: rarely needed, so it is looked for then.
    fn record(&self) -> Result<Option<Record>, HandlerError> {
        let mut records = self.chunk.records.clone();
        while let Some(record) = records.next()? {
            if record.offset == self.offset {
                return Ok(Some(record.to_owned()));
            }
        }
        Ok(None)
    }

    fn handle(
        &mut self,
        handler: &dyn Handler,
        prefix: &str,
        seen: &mut HashSet<String>,
        states: &mut HashMap<Entity, State>,
        handled: &mut Handled,
    ) {
        let dead = |poison: &Poison| Fate::Dead { reason: poison.to_string(), is_sent: false };
        let message = match &self.message {
            Ok(message) => message,
            Err(poison) => {
                self.fate = dead(poison);
                return;
            }
        };
        let Some(entity) = &message.entity else {
            self.fate = Fate::PassedBy;
            return;
        };
        if !seen.insert(message.id.clone()) {
            self.fate = Fate::Repeat;
            return;
        }
        let state = states.get(entity).and_then(|state| state.data.as_deref());
        match handler.handle(state, &message.borrowed(unprefixed(self.chunk, prefix))) {
            Err(poison) => self.fate = dead(&poison),
            Ok(Effects { state, timer, messages, mut changes }) => {
                if let Some(data) = state {
                    let known = states.entry(entity.clone()).or_insert(State {
                        read: 0,
                        data: None,
                        timer: None,
                        is_new: false,
                    });
                    (known.data, known.timer, known.is_new) = (Some(data), timer, true);
                }
                // a replay is to mend states, not to tell others once more
                let messages = if message.is_replay { Vec::new() } else { messages };
                changes.retain(|change| !message.is_replay || !matches!(change, Change::Notify(_)));
                self.fate = Fate::Effect { messages: messages.len() };
                handled.outbox.extend(messages);
                handled.changes.extend(changes);
                handled.messages.push(message.id.clone());
            }
        }
    }
}

impl Decoded {
    fn borrowed<'a>(&'a self, topic: &'a str) -> Message<'a> {
        Message { topic, envelope: &self.envelope, data: &self.data, is_replay: self.is_replay }
    }
}

fn decode(
    handler: &dyn Handler,
    topic: &str,
    headers: &[(&[u8], Option<&[u8]>)],
    value: Option<&[u8]>,
) -> Result<Decoded, Poison> {
    let received = envelope::decode(headers, value).map_err(Poison::new)?;
    let mut decoded = Decoded {
        id: message_id(&received.envelope),
        envelope: received.envelope,
        data: received.data.into_owned(),
        is_replay: received.replay.is_some(),
        entity: None,
    };
    decoded.entity = handler.entity(&decoded.borrowed(topic))?;
    Ok(decoded)
}

pub fn unprefixed<'a>(chunk: &'a Chunk, prefix: &str) -> &'a str {
    chunk.partition.topic.strip_prefix(prefix).unwrap_or(&chunk.partition.topic)
}

/// The database refuses what it was given, and not to work: one of the records must be at fault.
pub fn is_somebodys_fault(error: &StoreError) -> bool {
    matches!(error, StoreError::Database { .. } | StoreError::Invalid(_))
}
