//! Pauses between tries: they double up to a limit, with jitter, so that many clients do not knock together.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    limit: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: Duration::from_millis(50), limit: Duration::from_secs(1) }
    }
}

impl Backoff {
    /// For what is over in milliseconds.
    pub(crate) fn soon() -> Self {
        Self { next: Duration::from_millis(2), limit: Duration::from_millis(50) }
    }

    /// The pause before the next try: between half and all of the doubled one before it.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.limit);
        pause / 2 + pause.mul_f64(jitter()) / 2
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Between 0 and 1. The hasher's keys are random per process and per call, which is random enough for a pause.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}
