//! The outbox: orders that are taken with their messages, and the relay that sends them.
//!
//! ```text
//! order --> one transaction { event log, outbox }            relay: 16 shards, shared among the relays that are alive
//!                                  |                            each shard: lease, fence, read, publish, mark
//!                                  +--- wakes the relay ----------^
//! ```
//!
//! The rules are in [`crate::patterns::outbox`], the relay's fence and guarantee in [`super::relay`].

pub mod demo;
mod shard;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::{
    future::try_join,
    stream::{FuturesUnordered, StreamExt},
};
use tokio::sync::watch;
use uuid::Uuid;

use self::shard::OutboxShard;
use super::{
    crash::Crash,
    event_sourcing::{Handled, How, OrderError, Orders},
    relay::{LEASE, Options, Polling, RelayError, Run, Stop, Tell, Told, Turns},
};
use crate::{
    kafka::Cluster,
    patterns::{
        order::OrderCommand,
        outbox::{self, SHARDS},
        stock,
    },
    store::{Status, Store},
};

/// Attempts before a row is parked that is refused for what it is, and might pass later.
pub const ATTEMPTS: u64 = 5;

/// Where a relay's messages go: the events of orders, and what reserves stock for them.
pub const RELAYED: [&str; 4] = ["orders", "payments", "shipments", stock::TOPIC];

/// Takes a command on an order, with its messages: both in the store, or neither. Kafka is not asked.
///
/// # Errors
/// As [`Orders::handle`].
pub async fn take(
    orders: &Orders,
    command: &OrderCommand,
    actor: &str,
    expected: Option<u64>,
) -> Result<Handled, OrderError> {
    take_with(orders, command, actor, expected, How::default()).await
}

/// The same, in a certain way.
pub(super) async fn take_with(
    orders: &Orders,
    command: &OrderCommand,
    actor: &str,
    expected: Option<u64>,
    how: How<'_>,
) -> Result<Handled, OrderError> {
    orders.handle_with(command, actor, expected, How { via: Some(outbox::VIA), ..how }).await
}

/// Between two looks for published rows that are old enough to be removed.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// What a relay has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub published: u64,
    /// Rows that somebody has to look at.
    pub parked: u64,
    /// Rows behind them.
    pub held: u64,
}

/// Relays until it is told to stop, or with `once` until nothing is left that can be published. The topics are there, or
/// the broker makes them.
///
/// `purge` is the age (since they were written) at which published rows are removed, from time to time.
///
/// Several relays share the shards; each has those for which its place among them fits. One that dies is noticed, and its
/// shards are taken over, within [`LEASE`].
///
/// # Errors
/// What does not pass; with `once` also what lasts longer than [`Options::patience`].
pub async fn relay(
    store: &Store,
    cluster: &Cluster,
    options: &Options,
    purge: Option<Duration>,
    crash: &Crash,
    stop: &Stop,
    tell: Tell<'_>,
) -> Result<Report, RelayError> {
    let owner = Uuid::now_v7().to_string();
    let done = stop.child_token();
    let mut guide = Guide {
        owner: owner.clone(),
        store: store.clone(),
        once: options.once,
        purge,
        purged: None,
        polling: Polling::new(options.every),
        patience: options.patience,
        share: watch::Sender::new(Share::default()),
        busy: watch::Sender::new(Busy::default()),
    };
    let turns = Turns::default();
    let run = Run { store, cluster, options, crash, stop: &done, tell, turns: &turns };
    let mut shards: FuturesUnordered<_> = (0..SHARDS)
        .map(|number| {
            let mut shard =
                OutboxShard::new(store.clone(), number, options, guide.share.subscribe(), guide.busy.subscribe());
            let run = run.clone();
            async move { run.relay(&mut shard).await }
        })
        .collect();
    let mut published = 0;
    let mut outcome = Ok(());
    {
        let mut guided = std::pin::pin!(guide.run(&done, tell));
        let mut is_guided = true;
        while !shards.is_empty() {
            tokio::select! {
                ended = guided.as_mut(), if is_guided => {
                    is_guided = false;
                    outcome = outcome.and(ended);
                    done.cancel();
                }
                Some(shard) = shards.next() => match shard {
                    Ok(count) => published += count,
                    Err(error) => {
                        outcome = outcome.and(Err(error));
                        done.cancel(); // the others finish what they have in hand
                    }
                },
            }
        }
    }
    let _ = store.relay_is_gone(&owner).await; // it would be forgotten by itself
    outcome?;
    let (_, parked, held) = store.outbox_unpublished().await?;
    Ok(Report { published, parked, held })
}

/// Which shards are this relay's: those whose number has its place as the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    place: u64,
    /// 0: not known yet.
    of: u64,
}

impl Share {
    fn has(self, shard: u64) -> bool {
        self.of > 0 && shard % self.of == self.place
    }
}

/// In which shards something waits, as far as is known; the number makes each word a new one.
#[derive(Clone, Debug, Default)]
struct Busy {
    word: u64,
    shards: BTreeSet<u64>,
}

/// Knows the other relays, and what waits.
struct Guide {
    owner: String,
    store: Store,
    once: bool,
    purge: Option<Duration>,
    /// When nothing was old enough any more.
    purged: Option<Instant>,
    polling: Polling,
    patience: Duration,
    share: watch::Sender<Share>,
    busy: watch::Sender<Busy>,
}

impl Guide {
    /// Until it is told to stop, or with `once` until nothing waits any more.
    async fn run(&mut self, stop: &Stop, tell: Tell<'_>) -> Result<(), RelayError> {
        let mut signal = self.store.outbox_signal();
        let (mut seen, mut trouble): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            signal.mark_unchanged(); // before the look: what comes behind it wakes
            let pause = match self.look(&mut seen).await {
                Ok(None) => return Ok(()),
                Ok(Some(pause)) => {
                    trouble = None;
                    pause
                }
                Err(error) => {
                    let since = *trouble.get_or_insert_with(Instant::now);
                    if !error.is_transient() || (self.once && since.elapsed() > self.patience) {
                        return Err(error);
                    }
                    tell(Told::Trouble(error.to_string()));
                    super::relay::jitter(Duration::from_secs(1))
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = signal.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Some at a time, and not often: to find what is old the table is looked through, and what waits is not to wait for it.
    async fn purge_some(&mut self) -> Result<(), RelayError> {
        let Some(age) = self.purge.filter(|_| self.purged.is_none_or(|purged| purged.elapsed() > PURGE_EVERY)) else {
            return Ok(());
        };
        let is_more = self.store.outbox_purge_some(Status::Published, age).await? > 0;
        self.purged = (!is_more).then(Instant::now);
        Ok(())
    }

    /// None: nothing is left to do. Otherwise how long nothing changes that nobody tells of.
    async fn look(&mut self, seen: &mut Option<Instant>) -> Result<Option<Duration>, RelayError> {
        let (due, busy) = try_join(self.store.outbox_unblock(), self.store.outbox_busy()).await?;
        let busy: BTreeSet<u64> = busy.into_iter().collect();
        // once more: a row may have been set aside, to be tried again, between the two looks
        if self.once && busy.is_empty() && due.is_none() && self.store.outbox_unblock().await?.is_none() {
            return Ok(None);
        }
        let is_busy = !busy.is_empty();
        if is_busy {
            self.busy.send_modify(|old| *old = Busy { word: old.word + 1, shards: busy });
        }
        if is_busy {
            self.polling.found();
        }
        // behind what waits, which is on its way by now
        if seen.is_none_or(|seen| seen.elapsed() > LEASE / 5) {
            let relays = self.store.relay_is_alive(&self.owner, LEASE).await?;
            let place = relays.iter().position(|owner| *owner == self.owner).unwrap_or(0) as u64;
            let share = Share { place, of: relays.len().max(1) as u64 };
            self.share.send_if_modified(|old| std::mem::replace(old, share) != share);
            *seen = Some(Instant::now());
            self.purge_some().await?;
        }
        let pause = self.polling.pause();
        Ok(Some(due.map_or(pause, |due| due.min(pause))))
    }
}
