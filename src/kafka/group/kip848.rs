//! A membership by KIP-848: the coordinator divides the partitions, and tells each member by its heartbeats.
//!
//! ```text
//!  Tell(epoch 0) ---> Told: epoch, assignment ---> Take what is not in it, commit, Released
//!       ^                                               |
//!       |  heartbeats                                   v
//!       +------- Tell(what it owns now) <--- Give what is new in it
//! ```
//!
//! Nobody stops for anybody: a member gives up what is to move, says so, and the coordinator hands it on. An epoch that the
//! coordinator does not take (fenced) means that the partitions have new owners already: they are lost, and nothing is
//! committed for them.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::membership::{Action, Ask, Event, Membership, Pace, Told, Verdict, verdict};
use crate::kafka::{
    backoff::Backoff,
    committed::Committer,
    error::{Code, Error},
    record::TopicPartition,
};

const JOIN: i32 = 0;
const LEAVE: i32 = -1;
/// A static member that will be back (its partitions wait for it for a session).
const LEAVE_FOR_A_MOMENT: i32 = -2;
/// Until the coordinator says what it wants.
const FIRST_INTERVAL: Duration = Duration::from_secs(3);

pub(crate) struct Kip848 {
    member_id: Arc<str>,
    instance_id: Option<Arc<str>>,
    epoch: i32,
    interval: Duration,
    owned: BTreeSet<TopicPartition>,
    /// What the coordinator wants this member to have, until it has.
    target: Option<BTreeSet<TopicPartition>>,
    /// [`Action::Take`]s that the reader has not answered.
    releasing: usize,
    /// What is taken by them: this member's until it is let go, and nobody else is to get it before.
    going: BTreeSet<TopicPartition>,
    state: State,
    /// The next heartbeat says everything: after a join, and when one has failed on its way.
    full: bool,
    /// How long another member with the same instance id is waited for.
    patience: Duration,
    held_since: Option<Instant>,
    wake_at: Option<Instant>,
    pace: Pace,
    backoff: Backoff,
}

enum State {
    Member,
    /// Everything was lost; what follows when the reader has let go.
    Lost(Result<(), Error>),
    Leaving,
    Ended,
}

impl Kip848 {
    /// `patience`: a session's length. A static member that was killed holds its place for so long.
    pub(crate) fn new(member_id: Arc<str>, instance_id: Option<Arc<str>>, patience: Duration) -> Self {
        Self {
            member_id,
            instance_id,
            epoch: JOIN,
            interval: FIRST_INTERVAL,
            owned: BTreeSet::new(),
            target: None,
            releasing: 0,
            going: BTreeSet::new(),
            state: State::Member,
            full: true,
            patience,
            held_since: None,
            wake_at: None,
            pace: Pace::quick(),
            backoff: Backoff::default(),
        }
    }

    fn tell(&mut self, owned: bool) -> Vec<Action> {
        self.wake_at = None;
        let owned = (owned || self.full).then(|| self.owned.union(&self.going).cloned().collect());
        let member_id = Arc::clone(&self.member_id);
        vec![Action::Ask(Ask::Tell { member_id, epoch: self.epoch, full: self.full, owned })]
    }

    fn told(&mut self, told: Told, now: Instant) -> Vec<Action> {
        self.backoff.reset();
        self.held_since = None;
        if let Some(member_id) = told.member_id {
            self.member_id = member_id;
        }
        if told.epoch != self.epoch || told.assignment.is_some() {
            self.pace = Pace::quick();
        }
        (self.epoch, self.full) = (told.epoch, false);
        if !told.heartbeat_interval.is_zero() {
            self.interval = told.heartbeat_interval;
        }
        self.wake_at = Some(now + self.pace.pause(self.interval));
        if told.assignment.is_some() {
            self.target = told.assignment;
        }
        if self.releasing > 0 { Vec::new() } else { self.reconcile() }
    }

    /// One step from what this member has to what it should have.
    fn reconcile(&mut self) -> Vec<Action> {
        let Some(target) = &self.target else { return Vec::new() };
        let moved: Vec<_> = self.owned.difference(target).cloned().collect();
        if !moved.is_empty() {
            self.owned = self.owned.intersection(target).cloned().collect();
            self.going.extend(moved.iter().cloned());
            self.releasing += 1;
            return vec![Action::Take { partitions: moved, commit: true }];
        }
        let added = target.difference(&self.owned).cloned().collect();
        self.owned = self.target.take().unwrap_or_default();
        let mut actions = vec![Action::Give(added)];
        actions.extend(self.tell(true));
        actions
    }

    fn released(&mut self) -> Vec<Action> {
        self.releasing = self.releasing.saturating_sub(1);
        if self.releasing > 0 {
            return Vec::new();
        }
        self.going.clear();
        match std::mem::replace(&mut self.state, State::Member) {
            State::Member => self.reconcile(),
            State::Lost(Ok(())) => self.tell(true),
            State::Lost(Err(error)) => self.end(Err(error)),
            state => {
                self.state = state;
                Vec::new()
            }
        }
    }

    fn lose(&mut self, then: Result<(), Error>) -> Vec<Action> {
        (self.epoch, self.full, self.target) = (JOIN, true, None);
        self.wake_at = None;
        let owned: Vec<_> = std::mem::take(&mut self.owned).into_iter().collect();
        // a mistake that was found stays found
        if !matches!(self.state, State::Lost(Err(_))) {
            self.state = State::Lost(then);
        }
        if !owned.is_empty() {
            self.releasing += 1;
            return vec![Action::Take { partitions: owned, commit: false }];
        }
        if self.releasing > 0 {
            return Vec::new();
        }
        self.releasing = 1;
        self.released()
    }

    fn end(&mut self, result: Result<(), Error>) -> Vec<Action> {
        self.state = State::Ended;
        self.wake_at = None;
        vec![Action::End(result)]
    }

    fn refused(&mut self, error: Error, now: Instant) -> Vec<Action> {
        if matches!(self.state, State::Leaving) {
            return self.end(Ok(())); // the session's end will do it
        }
        match verdict(&error) {
            Verdict::Again | Verdict::Rebalance => {
                self.full = true;
                self.wake_at = Some(now + self.backoff.pause());
                Vec::new()
            }
            Verdict::Fenced | Verdict::Unknown => self.lose(Ok(())),
            Verdict::Fatal if error.is(Code::UNRELEASED_INSTANCE_ID) && self.may_wait(now) => {
                self.wake_at = Some(now + self.backoff.pause());
                Vec::new()
            }
            Verdict::Fatal => self.lose(Err(explained(error))),
        }
    }

    /// The member that had this instance id before may be dead and not yet given up by the coordinator.
    fn may_wait(&mut self, now: Instant) -> bool {
        let since = *self.held_since.get_or_insert(now);
        now.duration_since(since) < self.patience + FIRST_INTERVAL
    }

    fn stop(&mut self) -> Vec<Action> {
        (self.releasing, self.owned) = (0, BTreeSet::new());
        if self.epoch == JOIN {
            return self.end(Ok(()));
        }
        self.state = State::Leaving;
        self.wake_at = None;
        let epoch = if self.instance_id.is_some() { LEAVE_FOR_A_MOMENT } else { LEAVE };
        vec![Action::Ask(Ask::Tell { member_id: Arc::clone(&self.member_id), epoch, full: false, owned: None })]
    }

    /// A reader that does not come back keeps its partitions from the others. It leaves, and joins when it is back.
    fn stall(&mut self) -> Vec<Action> {
        let member_id = Arc::clone(&self.member_id);
        let mut actions = vec![Action::Ask(Ask::Tell { member_id, epoch: LEAVE, full: false, owned: None })];
        actions.extend(self.lose(Ok(())));
        actions
    }
}

impl Membership for Kip848 {
    fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match (event, &self.state) {
            (_, State::Ended) => Vec::new(),
            (Event::Start, _) => self.tell(true),
            (Event::Told(_) | Event::Left, State::Leaving) => self.end(Ok(())),
            (Event::Told(told), State::Member) => self.told(told, now),
            (Event::Released, _) => self.released(),
            (Event::Refused(error), State::Member | State::Leaving) => self.refused(error, now),
            (Event::CommitRefused(error), State::Member) if verdict(&error) != Verdict::Again => {
                self.refused(error, now)
            }
            (Event::Stalled, State::Member) if !self.owned.is_empty() || self.releasing > 0 => self.stall(),
            (Event::Wake, State::Member) => self.tell(false),
            (Event::Stop, _) => self.stop(),
            _ => Vec::new(),
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    fn committer(&self) -> Option<Committer> {
        (self.epoch > JOIN).then(|| Committer {
            generation: self.epoch,
            member_id: super::text(&self.member_id),
            instance_id: self.instance_id.as_ref().map(|id| super::text(id)),
        })
    }

    #[cfg(test)]
    fn owned(&self) -> &BTreeSet<TopicPartition> {
        &self.owned
    }
}

/// Refusals that a person meets, with what to do about them.
fn explained(error: Error) -> Error {
    let Error::Broker { action, code, message } = error else { return error };
    let words = match code {
        Code::UNRELEASED_INSTANCE_ID | Code::FENCED_INSTANCE_ID => {
            Some("another member holds this instance id; each needs its own".into())
        }
        _ => message,
    };
    Error::Broker { action, code, message: words }
}
