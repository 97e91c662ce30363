//! A membership by the classic protocol: the members agree, and one of them, the leader, divides the partitions.
//!
//! ```text
//!  Join ---> Joined ---(leader: Counts, assign)---> Sync ---> Synced ---> stable, heartbeats
//!   ^                                                                        |
//!   +------- Released <--- Take what must be given up <--- a rebalance ------+
//! ```
//!
//! With an eager assignor everything is given up before each Join, so that nobody owns anything while partitions are
//! divided. With a cooperative one (KIP-429) members keep what they have, say so in Join, and give up after Sync only what
//! is to move; a second round hands it to its new owner.
//!
//! What can go wrong: a coordinator that answers a generation is over (somebody thought this member dead) means that the
//! partitions have new owners already. They are lost: nothing is committed for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    assignor::{Assignor, Member},
    membership::{Action, Ask, Event, Joined, Membership, Pace, Verdict, verdict},
};
use crate::kafka::{
    backoff::Backoff,
    committed::Committer,
    error::{Code, Error},
    record::TopicPartition,
};

pub(crate) struct Classic {
    config: Config,
    state: State,
    /// Empty until the coordinator has given one.
    member_id: Arc<str>,
    /// -1 outside of a generation.
    generation: i32,
    owned: BTreeSet<TopicPartition>,
    /// [`Action::Take`]s that the reader has not answered.
    releasing: usize,
    /// What follows when it has answered all of them.
    then: Then,
    /// As the leader: the topics that the group reads.
    watched: BTreeSet<Arc<str>>,
    /// And how many partitions they had when they were divided.
    divided: Option<BTreeMap<Arc<str>, i32>>,
    wake_at: Option<Instant>,
    pace: Pace,
    backoff: Backoff,
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub assignors: Vec<Assignor>,
    pub instance_id: Option<Arc<str>>,
    pub heartbeat_interval: Duration,
}

impl Config {
    /// Members may keep partitions through a rebalance only if each assignor that could be chosen bears it.
    fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|assignor| assignor.is_cooperative())
    }
}

#[derive(Debug)]
enum State {
    /// Join is on its way, or due.
    Joining,
    /// The leader has asked for the topics' partitions.
    Leading(Joined, Vec<Member>),
    Syncing(Ask),
    Stable,
    Leaving,
    Ended,
}

#[derive(Debug)]
enum Then {
    Join,
    End(Result<(), Error>),
}

impl Classic {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            state: State::Joining,
            member_id: "".into(),
            generation: -1,
            owned: BTreeSet::new(),
            releasing: 0,
            then: Then::Join,
            watched: BTreeSet::new(),
            divided: None,
            wake_at: None,
            pace: Pace::quick(),
            backoff: Backoff::default(),
        }
    }

    fn join(&mut self) -> Vec<Action> {
        self.state = State::Joining;
        self.wake_at = None;
        vec![Action::Ask(self.ask_join())]
    }

    fn ask_join(&self) -> Ask {
        let (member_id, generation) = (Arc::clone(&self.member_id), self.generation);
        Ask::Join { member_id, generation, owned: self.owned.iter().cloned().collect() }
    }

    fn ask_heartbeat(&self) -> Ask {
        Ask::Heartbeat { member_id: Arc::clone(&self.member_id), generation: self.generation }
    }

    fn joined(&mut self, joined: Joined) -> Vec<Action> {
        self.backoff.reset();
        self.member_id = Arc::clone(&joined.member_id);
        self.generation = joined.generation;
        self.divided = None;
        let lead = joined.lead.iter().flatten();
        self.watched = lead.flat_map(|member| member.subscription.topics.iter().cloned()).collect();
        match &joined.lead {
            Some(members) if !joined.skip_assignment => {
                self.state = State::Leading(joined.clone(), members.clone());
                vec![Action::Ask(Ask::Counts(self.watched.clone()))]
            }
            _ => self.sync(joined, BTreeMap::new()),
        }
    }

    fn sync(&mut self, joined: Joined, plan: super::assignor::Plan) -> Vec<Action> {
        let ask = Ask::Sync {
            member_id: Arc::clone(&self.member_id),
            generation: self.generation,
            assignor: joined.assignor.clone(),
            plan,
        };
        self.state = State::Syncing(ask.clone());
        vec![Action::Ask(ask)]
    }

    fn counted(&mut self, counts: BTreeMap<Arc<str>, i32>, now: Instant) -> Vec<Action> {
        match std::mem::replace(&mut self.state, State::Stable) {
            State::Leading(joined, members) => match Assignor::from_name(&joined.assignor) {
                Some(assignor) => {
                    let plan = assignor.assign(&members, &counts);
                    self.divided = Some(counts);
                    self.sync(joined, plan)
                }
                None => {
                    let name = &joined.assignor;
                    self.fail(Error::Invalid(format!("the group chose assignor {name:?}, which is not known here")))
                }
            },
            // the leader sees that there is something new to divide
            State::Stable if self.divided.as_ref().is_some_and(|divided| *divided != counts) => self.rebalance(now),
            // a leader that was told to leave the assignment as it is (KIP-814) sees the topics for the first time
            State::Stable => {
                self.divided = Some(counts);
                Vec::new()
            }
            state => {
                self.state = state;
                Vec::new()
            }
        }
    }

    fn synced(&mut self, assigned: Vec<TopicPartition>, now: Instant) -> Vec<Action> {
        self.backoff.reset();
        let assigned: BTreeSet<TopicPartition> = assigned.into_iter().collect();
        let added: Vec<_> = assigned.difference(&self.owned).cloned().collect();
        let moved: Vec<_> = self.owned.difference(&assigned).cloned().collect();
        self.owned = assigned;
        self.state = State::Stable;
        self.pace = Pace::quick();
        self.wake_at = Some(now + self.pace.pause(self.config.heartbeat_interval));
        let mut actions = vec![Action::Give(added)];
        if !moved.is_empty() {
            // the second round gives them to their new owners
            actions.push(self.take(moved, true, Then::Join));
        }
        actions
    }

    fn take(&mut self, partitions: Vec<TopicPartition>, commit: bool, then: Then) -> Action {
        self.releasing += 1;
        self.follow_with(then);
        Action::Take { partitions, commit }
    }

    /// An end that is decided stays decided.
    fn follow_with(&mut self, then: Then) {
        if !matches!(self.then, Then::End(_)) {
            self.then = then;
        }
    }

    /// Joins the rebalance that has begun, after giving up what the assignor wants given up.
    fn rebalance(&mut self, now: Instant) -> Vec<Action> {
        self.wake_at = Some(now + self.config.heartbeat_interval);
        if self.releasing > 0 {
            return Vec::new(); // what is being given up leads to a join anyway
        }
        if self.config.is_cooperative() || self.owned.is_empty() {
            return self.join();
        }
        let owned = std::mem::take(&mut self.owned).into_iter().collect();
        vec![self.take(owned, true, Then::Join)]
    }

    /// The group went on without this member.
    fn lose(&mut self, then: Then) -> Vec<Action> {
        self.generation = -1;
        self.watched.clear();
        let owned: Vec<_> = std::mem::take(&mut self.owned).into_iter().collect();
        self.state = State::Joining;
        self.wake_at = None;
        if !owned.is_empty() {
            return vec![self.take(owned, false, then)];
        }
        self.follow_with(then);
        if self.releasing == 0 { self.proceed() } else { Vec::new() }
    }

    fn fail(&mut self, error: Error) -> Vec<Action> {
        self.lose(Then::End(Err(error)))
    }

    fn proceed(&mut self) -> Vec<Action> {
        match std::mem::replace(&mut self.then, Then::Join) {
            Then::Join => self.join(),
            Then::End(result) => {
                self.state = State::Ended;
                self.wake_at = None;
                vec![Action::End(result)]
            }
        }
    }

    fn refused(&mut self, error: Error, now: Instant) -> Vec<Action> {
        if matches!(self.state, State::Leaving) {
            return self.left(); // the session's end will do it
        }
        match verdict(&error) {
            Verdict::Again => {
                self.wake_at = Some(now + self.backoff.pause());
                Vec::new()
            }
            Verdict::Rebalance => self.rebalance(now),
            Verdict::Fenced => self.lose(Then::Join),
            Verdict::Unknown => {
                self.member_id = "".into();
                self.lose(Then::Join)
            }
            Verdict::Fatal => self.fail(explained(error)),
        }
    }

    fn left(&mut self) -> Vec<Action> {
        self.then = Then::End(Ok(()));
        self.proceed()
    }

    fn wake(&mut self) -> Vec<Action> {
        self.wake_at = None;
        match &self.state {
            State::Joining if self.releasing == 0 => vec![Action::Ask(self.ask_join())],
            State::Leading(..) => vec![Action::Ask(Ask::Counts(self.watched.clone()))],
            State::Syncing(ask) => vec![Action::Ask(ask.clone())],
            State::Stable => vec![Action::Ask(self.ask_heartbeat())],
            State::Joining | State::Leaving | State::Ended => Vec::new(),
        }
    }

    /// Static members do not say farewell: who comes back with the same name finds its partitions (KIP-345).
    fn stop(&mut self) -> Vec<Action> {
        (self.releasing, self.owned) = (0, BTreeSet::new());
        if self.member_id.is_empty() || self.config.instance_id.is_some() {
            return self.left();
        }
        self.state = State::Leaving;
        self.wake_at = None;
        vec![Action::Ask(Ask::Leave { member_id: Arc::clone(&self.member_id) })]
    }

    /// A reader that does not come back keeps its partitions from the others. It leaves, and joins when it is back.
    fn stall(&mut self) -> Vec<Action> {
        let mut actions = self.lose(Then::Join);
        if !self.member_id.is_empty() && self.config.instance_id.is_none() {
            // the id is kept: should the farewell not arrive, the group has one member under it and not two
            actions.insert(0, Action::Ask(Ask::Leave { member_id: Arc::clone(&self.member_id) }));
        }
        actions
    }
}

impl Membership for Classic {
    fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        if matches!(self.state, State::Ended) {
            return Vec::new();
        }
        match event {
            Event::Start => self.join(),
            Event::Named(member_id) => {
                self.member_id = member_id;
                self.join()
            }
            Event::Joined(joined) => self.joined(joined),
            Event::Counts(counts) => self.counted(counts, now),
            Event::Synced(assigned) => self.synced(assigned, now),
            Event::Beaten => {
                self.backoff.reset();
                self.wake_at = Some(now + self.pace.pause(self.config.heartbeat_interval));
                Vec::new()
            }
            Event::Left if matches!(self.state, State::Leaving) => self.left(),
            Event::Refused(error) => self.refused(error, now),
            // the next heartbeat tells the rest, and a commit that was only early is made again
            Event::CommitRefused(error) if verdict(&error) == Verdict::Again => Vec::new(),
            Event::CommitRefused(_) if !matches!(self.state, State::Stable) => Vec::new(),
            Event::CommitRefused(error) => self.refused(error, now),
            Event::Released => {
                self.releasing = self.releasing.saturating_sub(1);
                if self.releasing == 0 && !matches!(self.state, State::Leaving) { self.proceed() } else { Vec::new() }
            }
            Event::Stalled if !self.owned.is_empty() || self.releasing > 0 => self.stall(),
            Event::Wake => self.wake(),
            Event::Stop => self.stop(),
            Event::Left | Event::Stalled | Event::Told(_) => Vec::new(),
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    fn committer(&self) -> Option<Committer> {
        (self.generation >= 0).then(|| Committer {
            generation: self.generation,
            member_id: super::text(&self.member_id),
            instance_id: self.config.instance_id.as_ref().map(|id| super::text(id)),
        })
    }

    #[cfg(test)]
    fn owned(&self) -> &BTreeSet<TopicPartition> {
        &self.owned
    }

    fn watched(&self) -> BTreeSet<Arc<str>> {
        self.watched.clone()
    }
}

/// Refusals that a person meets, with what to do about them.
fn explained(error: Error) -> Error {
    let Error::Broker { action, code, message: None } = error else { return error };
    let words = match code {
        Code::INCONSISTENT_GROUP_PROTOCOL => {
            "its members divide partitions in a way that this one does not offer; see --assignor and --group-protocol"
        }
        Code::INVALID_SESSION_TIMEOUT => {
            "the broker allows no such session; its limits are group.min.session.timeout.ms and group.max.session.timeout.ms"
        }
        Code::FENCED_INSTANCE_ID => "another member has joined with the same instance id; each needs its own",
        _ => return Error::Broker { action, code, message: None },
    };
    Error::Broker { action, code, message: Some(words.into()) }
}
