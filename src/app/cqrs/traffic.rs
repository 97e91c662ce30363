//! A stream of plausible commands: stories at the same time, the commands of one order one after the other.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::time::{Interval, MissedTickBehavior, interval};
use uuid::Uuid;

use super::write::{Answer, WriteError, write};
use crate::{
    app::{
        crash::Crash,
        event_sourcing::{Orders, publish},
        relay::{self, RelayError, Stop, Tell},
    },
    kafka::Cluster,
    patterns::{
        order::{OrderCommand, OrderId},
        traffic::story,
    },
};

/// Stories that are told at the same time: their appends share commits.
pub const AT_ONCE: usize = 64;
/// Between two looks whether everything is acknowledged.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    /// Commands; until told to stop where `None`.
    pub count: Option<u64>,
    /// Commands a second.
    pub rate: Option<f64>,
    pub actor: String,
    /// Keep the ids of all events, for whoever waits until the read side knows them.
    pub remember: bool,
}

/// What became of the commands.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub commands: u64,
    pub events: u64,
    /// By the rejection's word.
    pub refused: BTreeMap<String, u64>,
    /// Carried out in an earlier run with the same seed.
    pub repeats: u64,
    /// The ids of each order's events, where they were to be remembered.
    pub events_of: BTreeMap<OrderId, Vec<Uuid>>,
}

impl Tally {
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    fn count(
        &mut self,
        command: &OrderCommand,
        outcome: Result<Answer, WriteError>,
        remember: bool,
    ) -> Result<(), WriteError> {
        self.commands += 1;
        match outcome {
            Ok(answer) => {
                self.events += answer.events.len() as u64;
                self.repeats += u64::from(answer.is_repeat);
                if remember {
                    let ids = answer.events.iter().map(|event| event.event_id);
                    self.events_of.entry(command.order_id().clone()).or_default().extend(ids);
                }
                Ok(())
            }
            Err(error) => match error.code() {
                Some(code) => {
                    *self.refused.entry(code.to_owned()).or_default() += 1;
                    Ok(())
                }
                None => Err(error),
            },
        }
    }
}

/// Why the stream ended early.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Relay(#[from] RelayError),
}

/// Writes, and publishes what is written; ends when all of it is acknowledged by Kafka. Told to stop it writes nothing more,
/// and publishes what was written.
///
/// # Errors
/// [`TrafficError`]
pub async fn write_and_publish(
    orders: &Orders,
    cluster: &Cluster,
    options: &Options,
    relay: &relay::Options,
    crash: &Crash,
    stop: &Stop,
    tell: Tell<'_>,
) -> Result<Tally, TrafficError> {
    let done = Stop::new();
    let publishing = publish::publish(orders.store(), cluster, relay, crash, &done, tell);
    let writing = async {
        let tally = commands(orders, options, stop).await?;
        while publish::waiting(orders.store()).await.map_err(RelayError::from)? > 0 {
            tokio::time::sleep(LOOK).await;
        }
        done.cancel();
        Ok(tally)
    };
    tokio::pin!(publishing);
    tokio::select! {
        written = writing => {
            publishing.await?;
            written
        }
        published = &mut publishing => {
            published?;
            Err(RelayError::from(crate::kafka::Error::Closed).into())
        }
    }
}

/// Writes alone.
///
/// # Errors
/// What is no refusal.
pub async fn commands(orders: &Orders, options: &Options, stop: &Stop) -> Result<Tally, WriteError> {
    let tally = Mutex::new(Tally::default());
    let pace = tokio::sync::Mutex::new(options.rate.map(pace));
    let left = AtomicU64::new(options.count.unwrap_or(u64::MAX));
    let tell_story = |number: u64| {
        let (tally, pace, left) = (&tally, &pace, &left);
        async move {
            for command in story(options.seed, number) {
                if stop.is_cancelled() || !take_one(left) {
                    return Ok::<bool, WriteError>(false);
                }
                if let Some(pace) = pace.lock().await.as_mut() {
                    tokio::select! {
                        _ = pace.tick() => {}
                        () = stop.cancelled() => return Ok(false),
                    }
                }
                let outcome = write(orders, &command, &options.actor, None).await;
                tally.lock().unwrap_or_else(PoisonError::into_inner).count(&command, outcome, options.remember)?;
            }
            Ok(true)
        }
    };
    // told to stop no story begins any more; those that have begun end at their next command
    let is_over = AtomicBool::new(false);
    let numbers = (0..).take_while(|_| !is_over.load(Ordering::Relaxed));
    let mut stories = stream::iter(numbers).map(tell_story).buffer_unordered(AT_ONCE);
    while let Some(told) = stories.next().await {
        if !told? {
            is_over.store(true, Ordering::Relaxed);
        }
    }
    drop(stories);
    Ok(tally.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn take_one(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

fn pace(rate: f64) -> Interval {
    let mut pace = interval(Duration::from_secs_f64(1.0 / rate));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst); // a late one does not lower the rate
    pace
}
