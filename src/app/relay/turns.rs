//! Whose turn it is among the shards of a relay.
//!
//! A transaction costs the broker much the same with one record and with a thousand. So small ones are made one after the
//! other, each with its mark: what comes meanwhile makes the next one larger, and a busy relay leaves more of the machine to
//! those whose messages it sends. Of large ones, where there is a backlog, two are under way, and the marks beside them.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The turns of a run. Fair: a shard's comes when all that asked before it have had theirs.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(Self::LARGE))
    }
}

impl Turns {
    /// Large transactions at the same time.
    const LARGE: usize = 2;
    /// Records of a large transaction.
    const MANY: usize = 500;
    /// One that takes longer (its partition has no leader) does not hold up the others.
    const LONGEST: Duration = Duration::from_secs(1);

    /// Waits for a turn, which ends when what is given is dropped; none where that takes too long: it goes on all the same.
    /// How many records the shard's last transaction had tells how large the next one may be.
    pub(super) async fn next(&self, last: usize) -> Option<SemaphorePermit<'_>> {
        let share = if last < Self::MANY { Self::LARGE as u32 } else { 1 };
        tokio::time::timeout(Self::LONGEST, self.0.acquire_many(share)).await.ok()?.ok()
    }

    /// Whether the turn of a transaction of so many records has the mark in it.
    pub(super) fn with_its_mark(records: usize) -> bool {
        records < Self::MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_small_one_is_alone_and_large_ones_are_two() {
        let turns = Turns::default();
        let small = turns.next(1).await.expect("its turn");
        let mut other = Box::pin(turns.next(1));
        assert!(futures::poll!(&mut other).is_pending());
        drop(small);
        drop(other.await.expect("its turn"));
        let (first, _second) = (turns.next(Turns::MANY).await.expect("its turn"), turns.next(Turns::MANY).await);
        let mut third = Box::pin(turns.next(Turns::MANY));
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        assert!(third.await.is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_one_that_hangs() {
        let turns = Turns::default();
        let _hangs = turns.next(1).await.expect("its turn");
        let began = tokio::time::Instant::now();
        assert!(turns.next(1).await.is_none());
        assert!(began.elapsed() >= Turns::LONGEST);
    }
}
