//! The sender: takes what waits in the queue, tells it, and marks it.
//!
//! ```text
//! claim (for 15 s) --> tell, all of them at once --> mark: sent, again after a pause, or dead
//! ```
//!
//! # The guarantee
//! At-least-once: a process that dies between telling and marking tells again, at most those of one claim ([`AT_ONCE`]) and
//! with the same ids. It cannot be exactly once: whether the other side has heard a call whose answer never came, nobody here
//! can know. A receiver that heeds the ids has each once. No order is promised.

use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::{
    app::{
        crash::{self, Crash},
        relay::{Backoff, Stop, jitter, rest},
    },
    notify::{LIMIT, Notice, Notifier},
    store::{Claimed, Outcome, Store, StoreError},
};

/// Notifications of one claim at most: they are on their way at the same time.
pub const AT_ONCE: usize = 32;
/// Longer than a call may take: who lives holds its claim.
const CLAIM: Duration = LIMIT.saturating_add(Duration::from_secs(5));
/// Between two looks: others queue, too.
const LOOK: Duration = Duration::from_secs(1);
/// A pause does not grow further.
const LONGEST: Duration = Duration::from_secs(300);

/// Whom to tell, and how often.
#[derive(Debug)]
pub struct Sending {
    pub notifier: Notifier,
    /// Attempts before a notification is dead.
    pub attempts: u64,
    /// After the first attempt that failed; then twice as long each time.
    pub pause: Duration,
    pub crash: Crash,
}

/// What the sender says.
#[derive(Debug)]
pub enum Told<'a> {
    Sent(&'a Claimed),
    /// `again` after this time; `None`: it is dead.
    Failed {
        claimed: &'a Claimed,
        reason: &'a str,
        again: Option<Duration>,
    },
    /// The store is away; it tries again.
    Trouble(&'a StoreError),
}

pub type Tell<'a> = &'a (dyn Fn(Told<'_>) + Send + Sync);

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub sent: u64,
    /// Attempts that failed.
    pub failed: u64,
    pub dead: u64,
}

/// Sends what waits until it is told to stop; or, after `ended`, until nothing waits.
///
/// # Errors
/// With a `patience`: a store that is away for longer.
pub(super) async fn send(
    store: &Store,
    sending: &Sending,
    queued: &Notify,
    ended: &Stop,
    patience: Option<Duration>,
    stop: &Stop,
    tell: Tell<'_>,
) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let (mut backoff, mut trouble) = (Backoff::default(), None);
    while !stop.is_cancelled() {
        let is_last = ended.is_cancelled(); // before the look: what was queued until then is found
        let error = match round(store, sending, patience, stop, tell, &mut report).await {
            Ok(Some(pause)) if !(is_last && pause.is_none()) => {
                (backoff, trouble) = (Backoff::default(), None);
                let pause = pause.unwrap_or(LOOK).clamp(Duration::from_millis(1), LOOK);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = queued.notified() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                continue;
            }
            Ok(Some(_)) => break,
            Ok(None) => {
                (backoff, trouble) = (Backoff::default(), None);
                continue;
            }
            Err(error) => error,
        };
        let since = *trouble.get_or_insert_with(Instant::now);
        if patience.is_some_and(|patience| since.elapsed() > patience) {
            return Err(error);
        }
        tell(Told::Trouble(&error));
        rest(backoff.pause(), stop).await;
    }
    Ok(report)
}

/// One claim. `None`: there may be more at once; otherwise how long nothing is due, if anything waits at all.
async fn round(
    store: &Store,
    sending: &Sending,
    patience: Option<Duration>,
    stop: &Stop,
    tell: Tell<'_>,
    report: &mut Report,
) -> Result<Option<Option<Duration>>, StoreError> {
    let claimed = store.claim_notifications(AT_ONCE, CLAIM).await?;
    if claimed.is_empty() {
        return Ok(Some(store.next_notification().await?));
    }
    sending.crash.here(crash::NOTIFY_AFTER_CLAIM);
    let notices: Vec<Notice<'_>> = claimed.iter().map(|one| Notice { id: one.id, body: &one.body }).collect();
    let heard = sending.notifier.tell(&notices).await;
    sending.crash.here(crash::NOTIFY_AFTER_SEND);
    let outcomes: Vec<(Claimed, Outcome)> = claimed
        .into_iter()
        .zip(heard)
        .map(|(claimed, heard)| {
            let outcome = match heard {
                Ok(()) => Outcome::Sent,
                Err(error) => {
                    let again = sending.again(claimed.attempts + 1);
                    Outcome::Failed { reason: error.to_string(), again }
                }
            };
            (claimed, outcome)
        })
        .collect();
    mark(store, &outcomes, patience, stop, tell).await?;
    for (claimed, outcome) in &outcomes {
        match outcome {
            Outcome::Sent => {
                report.sent += 1;
                tell(Told::Sent(claimed));
            }
            Outcome::Failed { reason, again } => {
                report.failed += 1;
                report.dead += u64::from(again.is_none());
                tell(Told::Failed { claimed, reason, again: *again });
            }
        }
    }
    Ok(None)
}

/// A mark that fails is made again while the store is away: what is not marked is sent twice.
async fn mark(
    store: &Store,
    outcomes: &[(Claimed, Outcome)],
    patience: Option<Duration>,
    stop: &Stop,
    tell: Tell<'_>,
) -> Result<(), StoreError> {
    let (began, mut backoff) = (Instant::now(), Backoff::default());
    loop {
        match store.mark_notifications(outcomes).await {
            Err(error) if patience.is_none_or(|patience| began.elapsed() < patience) && !stop.is_cancelled() => {
                tell(Told::Trouble(&error));
                rest(backoff.pause(), stop).await;
            }
            outcome => return outcome,
        }
    }
}

impl Sending {
    /// The pause after so many attempts that failed: it doubles, with jitter. `None`: there were enough.
    fn again(&self, failed: u64) -> Option<Duration> {
        let doubled = u32::try_from(failed.saturating_sub(1)).unwrap_or(u32::MAX).min(20);
        (failed < self.attempts).then(|| jitter(self.pause.saturating_mul(1 << doubled).min(LONGEST)))
    }
}
