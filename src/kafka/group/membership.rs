//! The words in which a membership talks with the task around it.
//!
//! ```text
//!              Event                          Action
//! answers, ---------->  Membership: pure,  ----------> requests to the coordinator,
//! timers,               one per protocol               partitions for the reader
//! reader   <----------                     <----------
//! ```
//!
//! A membership is a state machine without sockets, clocks or tasks: it is told what happened and when, and says what to
//! do. At most one [`Ask`] is on its way at a time; a newer one replaces it. So each protocol can be tested by any sequence
//! of events, and read on one page: [`super::classic`], [`super::kip848`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::assignor::{Member, Plan};
use crate::kafka::{
    committed::Committer,
    error::{Code, Error},
    record::TopicPartition,
};

/// A membership in a group by one of the two protocols.
pub(crate) trait Membership: Send {
    /// What to do now that this has happened.
    fn on(&mut self, event: Event, now: Instant) -> Vec<Action>;
    /// When [`Event::Wake`] is due.
    fn wake_at(&self) -> Option<Instant>;
    /// Who commits, as long as the group takes commits from this member.
    fn committer(&self) -> Option<Committer>;
    /// The partitions that this member owns.
    #[cfg(test)]
    fn owned(&self) -> &BTreeSet<TopicPartition>;
    /// The topics whose partitions this member divides, as the leader of its group; [`Event::Counts`] tells of them.
    fn watched(&self) -> BTreeSet<Arc<str>> {
        BTreeSet::new()
    }
}

/// What a membership is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// Begin.
    Start,
    /// The coordinator gave this member its id; it is to ask again with it (KIP-394).
    Named(Arc<str>),
    Joined(Joined),
    /// How many partitions each topic has that the group reads.
    Counts(BTreeMap<Arc<str>, i32>),
    /// What the leader of the group has assigned to this member.
    Synced(Vec<TopicPartition>),
    /// A heartbeat was taken.
    Beaten,
    /// The same by KIP-848, with what the coordinator wants of this member.
    Told(Told),
    /// The coordinator has taken the farewell, or could not be reached for it.
    Left,
    /// What was asked last was refused, or failed on its way.
    Refused(Error),
    /// A commit was refused.
    CommitRefused(Error),
    /// The reader holds nothing any more of one [`Action::Take`], and what it had handled is committed if it was to be.
    Released,
    /// The reader has not come back for longer than the group allows.
    Stalled,
    /// It is [`Membership::wake_at`].
    Wake,
    /// Leave the group. The reader holds nothing any more.
    Stop,
}

/// A place in a new generation of a classic group.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    pub generation: i32,
    pub member_id: Arc<str>,
    /// The assignor that all members know.
    pub assignor: String,
    /// `Some` for the leader: all members, whose partitions it divides.
    pub lead: Option<Vec<Member>>,
    /// The leader is to leave the assignment as it is (KIP-814).
    pub skip_assignment: bool,
}

/// What the coordinator answers to a heartbeat by KIP-848.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub member_id: Option<Arc<str>>,
    pub epoch: i32,
    pub heartbeat_interval: Duration,
    /// `None`: unchanged.
    pub assignment: Option<BTreeSet<TopicPartition>>,
}

/// What a membership wants done.
#[derive(Debug)]
pub(crate) enum Action {
    Ask(Ask),
    /// These are the member's from now on. Also said when there are none: an assignment is complete.
    Give(Vec<TopicPartition>),
    /// The reader must let go of these. With `commit` what it has handled of them is committed before
    /// [`Event::Released`]; without it they belong to somebody else already.
    Take {
        partitions: Vec<TopicPartition>,
        commit: bool,
    },
    /// The end, by a mistake that no further try mends, or as it was wished.
    End(Result<(), Error>),
}

/// A question to the coordinator (for [`Ask::Counts`]: to any broker).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask {
    Join {
        member_id: Arc<str>,
        generation: i32,
        owned: Vec<TopicPartition>,
    },
    /// The partitions of these topics.
    Counts(BTreeSet<Arc<str>>),
    Sync {
        member_id: Arc<str>,
        generation: i32,
        assignor: String,
        plan: Plan,
    },
    Heartbeat {
        member_id: Arc<str>,
        generation: i32,
    },
    Leave {
        member_id: Arc<str>,
    },
    /// KIP-848: epoch 0 joins, -1 leaves, -2 leaves for a moment as a static member.
    Tell {
        member_id: Arc<str>,
        epoch: i32,
        full: bool,
        owned: Option<Vec<TopicPartition>>,
    },
}

/// The pace of heartbeats: quick after a change, because another one often follows (the second round of a cooperative
/// rebalance, the partition that another member has just let go of), then slower, up to the interval. Who hears of a change
/// by its next heartbeat leaves its partitions without an owner until then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    next: Duration,
}

impl Pace {
    const QUICK: Duration = Duration::from_millis(100);

    pub(crate) fn quick() -> Self {
        Self { next: Self::QUICK }
    }

    pub(crate) fn pause(&mut self, interval: Duration) -> Duration {
        let pause = self.next.min(interval);
        self.next = (self.next * 2).min(interval);
        pause
    }
}

/// What a refusal means for a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is wrong with the membership: ask again.
    Again,
    /// A rebalance has begun: join it.
    Rebalance,
    /// The generation (or epoch) is over, and the partitions belong to others.
    Fenced,
    /// The same, and the coordinator does not know the member any more.
    Unknown,
    /// No further try mends it.
    Fatal,
}

pub(crate) fn verdict(error: &Error) -> Verdict {
    match error {
        Error::Broker { code, .. } => match *code {
            Code::REBALANCE_IN_PROGRESS => Verdict::Rebalance,
            Code::ILLEGAL_GENERATION | Code::FENCED_MEMBER_EPOCH => Verdict::Fenced,
            Code::UNKNOWN_MEMBER_ID => Verdict::Unknown,
            // a commit raced with a heartbeat that brought a new epoch; the next one has it
            Code::STALE_MEMBER_EPOCH => Verdict::Again,
            code if code.is_transient() => Verdict::Again,
            _ => Verdict::Fatal,
        },
        error if error.is_transient() => Verdict::Again,
        _ => Verdict::Fatal,
    }
}
