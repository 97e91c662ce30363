//! What the reader has handled, and what of it is committed: written by the reader, read by the member task.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use crate::kafka::{cluster::lock, record::TopicPartition};

#[derive(Debug, Default)]
pub(super) struct Progress {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    marks: BTreeMap<TopicPartition, Mark>,
    /// Since when the reader is busy with what it was given.
    works_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    claim: u64,
    /// The offset to go on with.
    next: i64,
    committed: Option<i64>,
}

impl Progress {
    pub(super) fn reader_waits(&self) {
        self.inner().works_since = None;
    }

    pub(super) fn reader_works(&self) {
        self.inner().works_since = Some(Instant::now());
    }

    pub(super) fn reader_works_since(&self) -> Option<Instant> {
        self.inner().works_since
    }

    /// A claim begins here. Where the group had committed nothing yet, the place itself is to be committed, so that the
    /// group comes back to it.
    pub(super) fn begin(&self, partition: TopicPartition, claim: u64, from: i64, stored: bool) {
        self.inner().marks.insert(partition, Mark { claim, next: from, committed: stored.then_some(from) });
    }

    /// Handled up to, not including. Of a claim that is over, nothing is taken.
    pub(super) fn handled(&self, partition: &TopicPartition, claim: u64, next: i64) {
        if let Some(mark) = self.inner().marks.get_mut(partition).filter(|mark| mark.claim == claim) {
            mark.next = mark.next.max(next);
        }
    }

    /// What these partitions hold now is not what it was: they go on at `next`, which is to be committed, be it lower than
    /// what was before.
    pub(super) fn moved(&self, is_moved: impl Fn(&TopicPartition) -> bool, next: i64) {
        for (_, mark) in self.inner().marks.iter_mut().filter(|(partition, _)| is_moved(partition)) {
            (mark.next, mark.committed) = (next, None);
        }
    }

    /// What is handled and not committed.
    pub(super) fn uncommitted(&self) -> BTreeMap<TopicPartition, i64> {
        let inner = self.inner();
        let open = inner.marks.iter().filter(|(_, mark)| mark.committed != Some(mark.next));
        open.map(|(partition, mark)| (partition.clone(), mark.next)).collect()
    }

    pub(super) fn committed(&self, offsets: &BTreeMap<TopicPartition, i64>) {
        let mut inner = self.inner();
        for (partition, offset) in offsets {
            if let Some(mark) = inner.marks.get_mut(partition) {
                mark.committed = Some(*offset);
            }
        }
    }

    pub(super) fn forget<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        let mut inner = self.inner();
        for partition in partitions {
            inner.marks.remove(partition);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}
