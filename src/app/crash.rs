//! Crash points: named places where a process can be told to die, so that a person sees what a pattern is worth.
//!
//! ```text
//! kafkalab es publish --once --crash-at relay.after-ack        dies there the first time
//! KAFKALAB_CRASH_AT=append.after-commit:3 kafkalab es create   dies there the third time
//! ```
//!
//! To die is SIGKILL, sent to oneself: no destructor runs, nothing is flushed, nobody is told. What holds after that holds
//! after a power cut of the process.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A place to die at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    pub name: &'static str,
    /// What is seen when a process dies here and another one goes on.
    pub proves: &'static str,
}

const fn point(name: &'static str, proves: &'static str) -> CrashPoint {
    CrashPoint { name, proves }
}

pub const APPEND_BEFORE_COMMIT: &str = "append.before-commit";
pub const APPEND_AFTER_COMMIT: &str = "append.after-commit";
pub const OUTBOX_BEFORE_COMMIT: &str = "outbox.before-commit";
pub const OUTBOX_AFTER_COMMIT: &str = "outbox.after-commit";
pub const RELAY_AFTER_CLAIM: &str = "relay.after-claim";
pub const RELAY_AFTER_SEND: &str = "relay.after-send";
pub const RELAY_AFTER_ACK: &str = "relay.after-ack";
pub const RELAY_AFTER_MARK: &str = "relay.after-mark";

pub const HANDLER_BEFORE_COMMIT: &str = "handler.before-commit";
pub const HANDLER_AFTER_COMMIT: &str = "handler.after-commit";

pub const SAGA_BEFORE_COMMIT: &str = "saga.before-commit";
pub const SAGA_AFTER_COMMIT: &str = "saga.after-commit";

pub const NOTIFY_AFTER_CLAIM: &str = "notify.after-claim";
pub const NOTIFY_AFTER_SEND: &str = "notify.after-send";

pub const REBUILD_BEFORE_SWITCH: &str = "rebuild.before-switch";
pub const REBUILD_AFTER_SWITCH: &str = "rebuild.after-switch";

pub const GRPC_BEFORE_REPLY: &str = "grpc.before-reply";

/// All of them, in the order in which an event meets them.
pub const POINTS: [CrashPoint; 17] = [
    point(APPEND_BEFORE_COMMIT, "what was not committed never happened: no event, nothing to publish"),
    point(APPEND_AFTER_COMMIT, "what was committed is published, although whoever wrote it was never told"),
    point(OUTBOX_BEFORE_COMMIT, "what was not committed never happened: no order, and no message"),
    point(OUTBOX_AFTER_COMMIT, "the message of what was committed is sent, although whoever ordered was never told"),
    point(
        GRPC_BEFORE_REPLY,
        "an order whose taker died before it answered is there once: the caller's next attempt by the same key finds it",
    ),
    point(RELAY_AFTER_CLAIM, "what was read and not sent is sent by the next relay"),
    point(RELAY_AFTER_SEND, "what was sent in an open transaction is never seen; the next relay sends it again"),
    point(
        RELAY_AFTER_ACK,
        "what was published and not marked is published again: at-least-once, with the same event ids",
    ),
    point(RELAY_AFTER_MARK, "what was marked is not sent again"),
    point(HANDLER_BEFORE_COMMIT, "an effect that was not committed never happened: its record comes again"),
    point(
        HANDLER_AFTER_COMMIT,
        "an effect that was committed happens once, although its record comes again: the inbox knows it",
    ),
    point(SAGA_BEFORE_COMMIT, "a step of a saga that was not committed is decided again, on the same reply"),
    point(SAGA_AFTER_COMMIT, "a step of a saga that was committed goes on, although its orchestrator is gone"),
    point(NOTIFY_AFTER_CLAIM, "a notification that was claimed and not sent is sent when the claim is over"),
    point(
        NOTIFY_AFTER_SEND,
        "a notification that was sent and not marked is sent again: at-least-once, with the same id",
    ),
    point(REBUILD_BEFORE_SWITCH, "the old read model serves on; the same rebuild again goes on where this one ended"),
    point(REBUILD_AFTER_SWITCH, "the new read model serves, although whoever built it was never told"),
];

/// Where this process dies, if anywhere. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Crash(Option<Arc<Armed>>);

#[derive(Debug)]
struct Armed {
    point: &'static str,
    /// How often the place is still passed.
    left: AtomicU64,
}

/// The text is no crash point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no crash point; write POINT or POINT:NTH, with one of {}", names())]
pub struct NoCrashPoint {
    text: String,
}

fn names() -> String {
    POINTS.map(|point| point.name).join(", ")
}

impl FromStr for Crash {
    type Err = NoCrashPoint;

    fn from_str(text: &str) -> Result<Self, NoCrashPoint> {
        let wrong = || NoCrashPoint { text: text.to_owned() };
        let (name, nth) = match text.split_once(':') {
            Some((name, nth)) => (name, nth.parse().ok().filter(|nth| *nth > 0).ok_or_else(wrong)?),
            None => (text, 1),
        };
        let point = POINTS.iter().find(|point| point.name == name).ok_or_else(wrong)?.name;
        Ok(Self(Some(Arc::new(Armed { point, left: AtomicU64::new(nth) }))))
    }
}

impl Crash {
    /// The point it is armed for.
    pub fn point(&self) -> Option<CrashPoint> {
        let armed = self.0.as_ref()?;
        POINTS.into_iter().find(|point| point.name == armed.point)
    }

    /// This place is reached: the process ends here if it was told to.
    pub fn here(&self, point: &'static str) {
        let Some(armed) = self.0.as_ref().filter(|armed| armed.point == point) else { return };
        if armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            // the signal is on its way; nothing more is to happen
            loop {
                std::thread::park();
            }
        }
    }

    /// As a hook for the store.
    pub fn hook(&self) -> Arc<dyn Fn(&'static str) + Send + Sync> {
        let crash = self.clone();
        Arc::new(move |point| crash.here(point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_or_without_a_count() {
        for (text, name, left) in
            [("relay.after-ack", RELAY_AFTER_ACK, 1), ("append.after-commit:3", APPEND_AFTER_COMMIT, 3)]
        {
            let crash: Crash = text.parse().expect(text);
            assert_eq!(crash.point().map(|point| point.name), Some(name));
            assert_eq!(crash.0.as_ref().map(|armed| armed.left.load(Ordering::Relaxed)), Some(left));
        }
        for text in ["", "relay", "relay.after-ack:0", "relay.after-ack:x", "relay.after-ack:1:2"] {
            assert!(text.parse::<Crash>().is_err(), "{text}");
        }
    }

    #[test]
    fn another_place_is_passed_by() {
        let crash: Crash = "relay.after-ack:2".parse().unwrap();
        crash.here(RELAY_AFTER_MARK);
        crash.here(RELAY_AFTER_ACK);
        assert_eq!(crash.0.unwrap().left.load(Ordering::Relaxed), 1);
    }
}
