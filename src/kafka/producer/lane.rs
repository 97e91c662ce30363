//! One partition's way to its leader: which batch goes next, with which stamp, and what happens to one that comes back.
//! Pure: the sockets and the clock are the sender's.
//!
//! ```text
//! ready --next()--> in flight --acknowledged()--> gone
//!   ^                   |  \-----failed()--------> gone, and a gap in the sequence
//!   |                   v
//!   +--- resend <--- returned     (after everything in flight has come back)
//! ```
//!
//! Order through every retry: up to five batches are in flight; as soon as one comes back, nothing new leaves until all
//! are back, and those that are not acknowledged leave again first, in order, under the stamps they had. The broker
//! drops what it has already and refuses what comes out of order, by the stamp's sequence (KIP-98).
//!
//! A gap: a batch that was refused for good leaves a hole in the sequence, and all behind it would be refused. So the
//! lane begins a new epoch at sequence 0. Only a batch that certainly is not in the log gets a new stamp; one whose
//! fate is unknown is sent again unchanged until the broker says what became of it.

use std::{collections::VecDeque, sync::Arc};

use super::{super::batch::Stamp, Batch};

/// The most batches in flight per partition: the broker remembers five of a producer (KIP-98).
pub(super) const IN_FLIGHT: usize = 5;

#[derive(Debug, Default)]
pub(super) struct Lane {
    ready: VecDeque<Batch>,
    resend: VecDeque<Batch>,
    returned: Vec<Batch>,
    in_flight: usize,
    /// The stamp of the next new batch; set when the first one leaves.
    next: Option<Stamp>,
    /// The sequence has a gap: a new epoch before anything new leaves.
    gap: bool,
    /// The broker has acknowledged something of this producer. Before that it takes a batch of any sequence, so that a
    /// second one could overtake a first one that was refused: only one is in flight until then.
    established: bool,
    /// Why the last batch came back, until one is acknowledged.
    pub(super) trouble: Option<Arc<str>>,
}

/// The producer's identity, as the broker gave it; `None` for a producer that is not idempotent.
pub(super) type Identity = Option<(i64, i16)>;

impl Lane {
    pub(super) fn push(&mut self, batch: Batch) {
        self.ready.push_back(batch);
    }

    /// Behind the batch that was split come its halves, in front of everything else.
    pub(super) fn push_halves(&mut self, halves: [Batch; 2]) {
        self.in_flight -= 1;
        self.returned.extend(halves);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.ready.is_empty() && self.resend.is_empty() && self.returned.is_empty()
    }

    /// The next batch may leave now.
    pub(super) fn can_send(&self, identity: Identity) -> bool {
        let most = if identity.is_some() && self.established { IN_FLIGHT } else { 1 };
        if self.in_flight >= most {
            return false;
        }
        if !self.resend.is_empty() {
            return true;
        }
        let holding = self.gap || !self.returned.is_empty();
        if holding {
            self.in_flight == 0 && !(self.returned.is_empty() && self.ready.is_empty())
        } else {
            !self.ready.is_empty()
        }
    }

    /// Takes the next batch, stamped. `None` where [`Lane::can_send`] says so.
    pub(super) fn next(&mut self, identity: Identity) -> Option<Batch> {
        if !self.can_send(identity) {
            return None;
        }
        if self.resend.is_empty() && (self.gap || !self.returned.is_empty()) {
            self.settle();
        }
        let mut batch = self.resend.pop_front().or_else(|| self.ready.pop_front())?;
        if batch.stamp.is_none() {
            batch.stamp = Some(self.stamp(identity, batch.count));
        }
        self.in_flight += 1;
        Some(batch)
    }

    fn stamp(&mut self, identity: Identity, count: u32) -> Stamp {
        let Some((producer_id, epoch)) = identity else { return Stamp::NONE };
        let stamp = *self.next.get_or_insert(Stamp { producer_id, epoch, sequence: 0 });
        self.next = Some(advance(stamp, count));
        stamp
    }

    /// Everything is back: decide what leaves again, and how.
    fn settle(&mut self) {
        self.returned.sort_by_key(|batch| (batch.id, batch.first));
        if !self.gap {
            self.resend.extend(self.returned.drain(..));
            return;
        }
        let (unknown, known): (Vec<_>, Vec<_>) = self.returned.drain(..).partition(|batch| batch.ambiguous);
        if !unknown.is_empty() {
            self.resend.extend(unknown);
            self.returned = known;
            return;
        }
        self.gap = false;
        if let Some(next) = &mut self.next {
            *next = Stamp { epoch: next.epoch.wrapping_add(1).max(0), sequence: 0, ..*next };
        }
        self.resend.extend(known.into_iter().map(|mut batch| {
            batch.unstamp();
            batch
        }));
    }

    /// A batch of this lane was acknowledged.
    pub(super) fn acknowledged(&mut self) {
        self.in_flight -= 1;
        self.established = true;
        self.trouble = None;
    }

    /// A batch of this lane came back for another try.
    pub(super) fn returned(&mut self, batch: Batch) {
        self.in_flight -= 1;
        self.returned.push(batch);
    }

    /// A batch of this lane ended without being acknowledged.
    pub(super) fn failed(&mut self) {
        self.in_flight -= 1;
        self.gap = true;
    }

    /// The broker has lost what it knew of this producer: a new epoch.
    pub(super) fn renew(&mut self) {
        self.gap = true;
    }

    /// Something of this lane is waiting to be sent again.
    pub(super) fn is_retrying(&self) -> bool {
        !self.returned.is_empty() || !self.resend.is_empty() || self.gap
    }

    /// Takes out the waiting batches for which `over` holds. One that had a stamp leaves a gap.
    pub(super) fn take_out(&mut self, over: impl Fn(&Batch) -> bool) -> Vec<Batch> {
        let mut out = Vec::new();
        for queue in [&mut self.resend, &mut self.ready] {
            if queue.iter().any(&over) {
                let (gone, kept): (VecDeque<_>, VecDeque<_>) = queue.drain(..).partition(&over);
                *queue = kept;
                out.extend(gone);
            }
        }
        out.extend(self.returned.extract_if(.., |batch| over(batch)));
        self.gap |= out.iter().any(|batch| batch.stamp.is_some());
        out.sort_by_key(|batch| (batch.id, batch.first));
        out
    }

    /// The oldest waiting batch.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Batch> {
        self.resend.iter().chain(&self.returned).chain(&self.ready)
    }

    /// The producer has a new identity: sequences begin anew. Nothing is in flight or waiting.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// The stamp of the record that comes `count` behind. Sequences go round within the positive 32-bit numbers.
pub(super) fn advance(stamp: Stamp, count: u32) -> Stamp {
    if stamp == Stamp::NONE {
        return stamp;
    }
    Stamp { sequence: ((stamp.sequence as u32).wrapping_add(count) & 0x7fff_ffff) as i32, ..stamp }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Identity = Some((7, 0));

    fn lane(batches: u64) -> Lane {
        let mut lane = Lane { established: true, ..Lane::default() };
        for id in 0..batches {
            lane.push(Batch { id, count: 10, ..Batch::for_test() });
        }
        lane
    }

    fn sequences(batches: &[Batch]) -> Vec<(i16, i32)> {
        batches.iter().filter_map(|batch| batch.stamp.map(|stamp| (stamp.epoch, stamp.sequence))).collect()
    }

    #[test]
    fn at_most_five_leave_and_their_sequences_join() {
        let mut lane = lane(7);
        let sent: Vec<_> = std::iter::from_fn(|| lane.next(WHO)).collect();
        assert_eq!(sequences(&sent), [(0, 0), (0, 10), (0, 20), (0, 30), (0, 40)]);
        assert!(lane.next(WHO).is_none());
        lane.acknowledged();
        assert_eq!(lane.next(WHO).and_then(|batch| batch.stamp).map(|stamp| stamp.sequence), Some(50));
    }

    #[test]
    fn until_the_broker_knows_the_producer_one_leaves_at_a_time() {
        let mut lane = Lane { established: false, ..lane(3) };
        assert!(lane.next(WHO).is_some());
        assert!(lane.next(WHO).is_none(), "a second one could overtake it");
        lane.acknowledged();
        assert_eq!(std::iter::from_fn(|| lane.next(WHO)).count(), 2);
    }

    #[test]
    fn without_an_identity_one_leaves_at_a_time() {
        let mut lane = lane(2);
        assert_eq!(lane.next(None).and_then(|batch| batch.stamp), Some(Stamp::NONE));
        assert!(lane.next(None).is_none());
    }

    #[test]
    fn what_comes_back_leaves_again_first_in_order_under_its_stamp() {
        let mut lane = lane(4);
        let mut sent: Vec<_> = (0..3).filter_map(|_| lane.next(WHO)).collect();
        lane.returned(sent.remove(1));
        assert!(lane.next(WHO).is_none(), "two are still in flight");
        lane.returned(sent.remove(0));
        assert!(lane.next(WHO).is_none(), "one is still in flight");
        lane.acknowledged();
        let again: Vec<_> = std::iter::from_fn(|| lane.next(WHO)).collect();
        assert_eq!(again.iter().map(|batch| batch.id).collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!(sequences(&again), [(0, 0), (0, 10), (0, 30)]);
    }

    #[test]
    fn a_gap_begins_a_new_epoch_once_no_fate_is_unknown() {
        let mut lane = lane(4);
        let mut sent: Vec<_> = (0..3).filter_map(|_| lane.next(WHO)).collect();
        lane.failed(); // the first was refused for good
        let mut unknown = sent.remove(1);
        unknown.ambiguous = true;
        lane.returned(unknown);
        lane.returned(sent.remove(1)); // refused: out of order

        let first = lane.next(WHO).expect("the unknown one goes first, unchanged");
        assert_eq!((first.id, first.stamp.map(|stamp| (stamp.epoch, stamp.sequence))), (1, Some((0, 10))));
        assert!(lane.next(WHO).is_none(), "its fate is not known yet");
        lane.returned(Batch { ambiguous: false, ..first });
        let rest: Vec<_> = std::iter::from_fn(|| lane.next(WHO)).collect();
        assert_eq!(rest.iter().map(|batch| batch.id).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(sequences(&rest), [(1, 0), (1, 10), (1, 20)]);
    }

    #[test]
    fn a_batch_that_ran_out_of_time_leaves_a_gap_only_if_it_had_left() {
        let mut lane = lane(2);
        assert_eq!(lane.take_out(|batch| batch.id == 0).len(), 1);
        assert_eq!(
            lane.next(WHO).and_then(|batch| batch.stamp).map(|stamp| (stamp.epoch, stamp.sequence)),
            Some((0, 0))
        );
    }

    #[test]
    fn sequences_go_round() {
        let at = |sequence| Stamp { producer_id: 7, epoch: 0, sequence };
        assert_eq!(advance(at(i32::MAX), 1).sequence, 0);
        assert_eq!(advance(at(i32::MAX - 4), 10).sequence, 5);
    }
}
