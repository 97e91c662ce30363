//! The saga: a long business process over several services, without a transaction over all of them.
//!
//! # The problem
//!
//! ```text
//!   order service      CreateOrder      |  three databases, one process:
//!   payment service    ProcessPayment   |  no transaction spans them, and a lock that is held over a
//!   shipping service   ShipOrder        |  network call is held for ever when the network is gone
//! ```
//!
//! When the third step fails, the first two have been committed, and others have seen it.
//!
//! # The idea
//!
//! Each step is a local transaction with a *compensation* that undoes it in the business's own terms (a refund, not a
//! rollback). When a step fails, the steps before it are compensated in reverse:
//!
//! ```text
//!   CreateOrder --> ProcessPayment --> ShipOrder --> completed
//!        ^                |  declined
//!        +--- CancelOrder +                      --> compensated
//! ```
//!
//! *Orchestration*: one place knows the list, sends commands and waits for replies. It is a [`Handler`](super::inbox::Handler):
//! its state is a row, its commands go through the outbox, its replies come through the inbox. What happens to a saga is the
//! pure function of this file, `(state, message or time-out) -> (state, commands)`.
//!
//! *Choreography* ([`choreography`]): nobody knows the list; each service reacts to the events of the others.
//!
//! # What can go wrong
//!
//! | what | and what is done |
//! |---|---|
//! | A step is declined | the steps before it are compensated, in reverse, one after the other |
//! | No answer comes in time | what the step did is not known: it is compensated too, and its participant refuses the command when it comes after that |
//! | The answer comes late, or twice | ignored, and in the log of the saga |
//! | A participant cannot work just now | the command is sent again, with a longer pause each time |
//! | A compensation fails | tried again; after five attempts it is parked for a person, and the earlier ones still run |
//! | The orchestrator dies | another one reads the state and goes on; of two, one's write is refused by the version |
//! | The list of steps has changed meanwhile | a saga that began by another list is not touched |
//! | Somebody reads in between | a semantic lock: the order says `PENDING` until the saga has ended |
//!
//! # Kinds of steps
//!
//! *Compensatable* ones can be undone. The *pivot* is the one after which there is no way back; what follows it is
//! *retriable* and is tried until it succeeds. All steps of the order saga are compensatable.
//!
//! # Try it
//!
//! `kafkalab saga run`, `kafkalab saga run --fail-at 2`, `kafkalab saga show ID`.
//!
//! # Read next
//!
//! [`inbox`](super::inbox) and [`outbox`](super::outbox), on which it stands. Hector Garcia-Molina and Kenneth Salem, *Sagas*
//! (1987); Chris Richardson, *Microservices Patterns*, chapter 4 (the kinds of steps, the semantic lock).

pub mod choreography;
pub mod orchestrator;
pub mod order;
pub mod participant;
pub mod service;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A saga is a list that reads as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    pub name: &'static str,
    /// Raised with each change of the steps.
    pub version: u32,
    pub steps: &'static [Step],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Also the command's name: `ProcessPayment`.
    pub name: &'static str,
    /// Who acts.
    pub participant: &'static str,
    /// The compensation's name: `RefundPayment`.
    pub compensation: &'static str,
    pub kind: Kind,
    /// So long an answer is waited for.
    pub timeout: Duration,
}

/// What can be done about a step that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Compensatable,
    /// After it there is no way back.
    Pivot,
    /// Behind the pivot: tried until it succeeds.
    Retriable,
}

/// A compensation is tried so often before a person has to look at it.
pub const COMPENSATION_ATTEMPTS: u32 = 5;
/// Before a command is sent again; doubled each time.
const AGAIN: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Before the next attempt, after so many.
fn pause(attempts: u32) -> Duration {
    (AGAIN * 2_u32.saturating_pow(attempts.saturating_sub(1))).min(LONGEST_PAUSE)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Running,
    Compensating,
    Completed,
    Compensated,
    /// A compensation has failed for good; somebody has to see to it.
    Parked,
}

impl Status {
    pub fn is_over(self) -> bool {
        matches!(self, Status::Completed | Status::Compensated | Status::Parked)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Running => "RUNNING",
            Status::Compensating => "COMPENSATING",
            Status::Completed => "COMPLETED",
            Status::Compensated => "COMPENSATED",
            Status::Parked => "PARKED",
        })
    }
}

/// How far a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Not asked for yet.
    Open,
    Asked,
    Done,
    /// Declined: nothing was done.
    Failed,
    /// No answer in time: whether something was done is not known.
    Unknown,
    Undoing,
    Undone,
    /// Cannot be undone by itself.
    Parked,
}

/// A saga's state, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saga {
    pub id: String,
    pub definition: String,
    pub definition_version: u32,
    pub status: Status,
    pub steps: Vec<StepStatus>,
    /// The step that is being asked for or undone; from 0.
    pub at: usize,
    /// Attempts of what is being done now.
    pub attempts: u32,
    /// Why the first failing step failed.
    pub reason: Option<String>,
    /// What the business is about; goes with each command.
    pub data: Value,
    /// So long an answer is waited for, where it is not what the definition says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<Patience>,
    /// The message that came last: what is sent now is caused by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// One line a message, in order.
    pub log: Vec<Entry>,
}

/// How long answers are waited for: those of all commands, or of one step's alone (and not of its compensation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// From 1.
    step: Option<usize>,
    limit_ms: u64,
}

impl Patience {
    pub fn of(step: Option<usize>, limit: Duration) -> Self {
        Self { step, limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `ProcessPayment`, `SagaStepCompleted`, `time-out`
    pub what: String,
    /// From 1; none where it is about the saga.
    pub step: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a participant says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// From 1.
    pub step: usize,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Completed,
    /// `may_pass`: a technical failure; the same command may succeed later.
    Failed {
        reason: String,
        may_pass: bool,
    },
    Compensated,
    CompensationFailed {
        reason: String,
    },
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Do the step; from 1.
    Do {
        step: usize,
        attempt: u32,
    },
    Undo {
        step: usize,
        attempt: u32,
    },
    /// The saga has ended.
    Ended(Status),
}

/// What follows from a message or a time-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub saga: Saga,
    pub commands: Vec<Command>,
    /// When to look again if nothing comes; none where nothing is waited for.
    pub timer: Option<Duration>,
}

/// The saga is of another list of steps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "saga {id} began by version {began} of the definition {name:?}, and this program has version {now}: finish it with a \
     program of that version"
)]
pub struct Changed {
    pub id: String,
    pub name: String,
    pub began: u32,
    pub now: u32,
}

impl Definition {
    /// A new saga, and its first command.
    pub fn start(&self, id: &str, data: Value, patience: Option<Patience>) -> Transition {
        let saga = Saga {
            id: id.to_owned(),
            definition: self.name.to_owned(),
            definition_version: self.version,
            status: Status::Running,
            steps: vec![StepStatus::Open; self.steps.len()],
            at: 0,
            attempts: 0,
            reason: None,
            data,
            patience,
            cause: None,
            log: Vec::new(),
        };
        Move { of: self, saga, commands: Vec::new(), timer: None }.ask(0)
    }

    /// Whether the saga is of this list.
    ///
    /// # Errors
    /// [`Changed`], with both versions.
    pub fn check(&self, saga: &Saga) -> Result<(), Changed> {
        let same = saga.definition == self.name
            && saga.definition_version == self.version
            && saga.steps.len() == self.steps.len();
        if same {
            return Ok(());
        }
        let (id, name) = (saga.id.clone(), saga.definition.clone());
        Err(Changed { id, name, began: saga.definition_version, now: self.version })
    }

    /// A reply has come. One for a step that is not waited for is ignored, but for the log.
    pub fn reply(&self, saga: Saga, reply: &Reply) -> Transition {
        let next = Move { of: self, saga, commands: Vec::new(), timer: None };
        let waits = next.saga.at + 1 == reply.step && !next.saga.status.is_over();
        let step = next.saga.steps.get(reply.step.wrapping_sub(1)).copied();
        match (&reply.outcome, step, waits) {
            (Outcome::Completed, Some(StepStatus::Asked), true) => next.done(),
            (Outcome::Failed { reason, may_pass }, Some(StepStatus::Asked), true) => next.failed(reason, *may_pass),
            (Outcome::Compensated, Some(StepStatus::Undoing), true) => next.undone(),
            (Outcome::CompensationFailed { reason }, Some(StepStatus::Undoing), true) => next.undo_failed(reason),
            (outcome, ..) => next.ignored(reply.step, outcome),
        }
    }

    /// Nothing has come in time.
    pub fn timeout(&self, saga: Saga) -> Transition {
        let next = Move { of: self, saga, commands: Vec::new(), timer: None };
        match next.saga.steps.get(next.saga.at) {
            // its pause is over
            Some(StepStatus::Open) if next.saga.status == Status::Running => next.ask_again(),
            Some(StepStatus::Done | StepStatus::Unknown) if next.saga.status == Status::Compensating => {
                next.undo_again()
            }
            Some(StepStatus::Asked) => next.timed_out(),
            Some(StepStatus::Undoing) => next.undo_failed("no answer in time"),
            _ => next.still(),
        }
    }

    /// Compensations that were parked are tried once more.
    pub fn retry(&self, saga: Saga) -> Transition {
        let mut next = Move { of: self, saga, commands: Vec::new(), timer: None };
        if next.saga.status != Status::Parked {
            return next.still();
        }
        for step in next.saga.steps.iter_mut().filter(|step| **step == StepStatus::Parked) {
            *step = StepStatus::Done;
        }
        next.saga.status = Status::Compensating;
        next.log("retry", None, None);
        next.undo_next()
    }
}

/// A transition in the making.
struct Move<'a> {
    of: &'a Definition,
    saga: Saga,
    commands: Vec<Command>,
    timer: Option<Duration>,
}

impl Move<'_> {
    fn still(self) -> Transition {
        Transition { saga: self.saga, commands: self.commands, timer: self.timer }
    }

    fn log(&mut self, what: &str, step: Option<usize>, note: Option<String>) {
        self.saga.log.push(Entry { what: what.to_owned(), step: step.map(|step| step + 1), note });
    }

    fn timeout(&self) -> Duration {
        let is_of_this = |patience: &Patience| match patience.step {
            None => true,
            Some(step) => step == self.saga.at + 1 && self.saga.status == Status::Running,
        };
        let other = self.saga.patience.filter(is_of_this);
        other.map_or(self.definition().timeout, |patience| Duration::from_millis(patience.limit_ms))
    }

    fn definition(&self) -> Step {
        self.of.steps[self.saga.at]
    }

    // --- forward

    fn ask(mut self, step: usize) -> Transition {
        (self.saga.at, self.saga.attempts) = (step, 0);
        self.ask_again()
    }

    fn ask_again(mut self) -> Transition {
        let (at, step) = (self.saga.at, self.definition());
        self.saga.attempts += 1;
        self.saga.steps[at] = StepStatus::Asked;
        self.commands.push(Command::Do { step: at + 1, attempt: self.saga.attempts });
        self.timer = Some(self.timeout());
        self.log(step.name, Some(at), None);
        self.still()
    }

    fn done(mut self) -> Transition {
        let at = self.saga.at;
        self.saga.steps[at] = StepStatus::Done;
        self.log("SagaStepCompleted", Some(at), None);
        if at + 1 < self.of.steps.len() { self.ask(at + 1) } else { self.end(Status::Completed) }
    }

    fn failed(mut self, reason: &str, may_pass: bool) -> Transition {
        let at = self.saga.at;
        self.log("SagaStepFailed", Some(at), Some(reason.to_owned()));
        if may_pass || self.definition().kind == Kind::Retriable {
            return self.pause(StepStatus::Open);
        }
        self.saga.steps[at] = StepStatus::Failed;
        self.turn(reason)
    }

    fn timed_out(mut self) -> Transition {
        let at = self.saga.at;
        self.log("time-out", Some(at), None);
        if self.definition().kind != Kind::Compensatable {
            return self.ask_again(); // there is no way back: it must be known
        }
        self.saga.steps[at] = StepStatus::Unknown;
        let reason = format!("no answer of {} in time", self.definition().participant);
        self.turn(&reason)
    }

    fn pause(mut self, status: StepStatus) -> Transition {
        let at = self.saga.at;
        self.saga.steps[at] = status;
        self.timer = Some(pause(self.saga.attempts));
        self.still()
    }

    /// Nobody is asked just now: what failed is tried again behind a pause.
    fn is_pausing(&self) -> bool {
        match self.saga.steps[self.saga.at] {
            StepStatus::Open => self.saga.status == Status::Running,
            StepStatus::Done | StepStatus::Unknown => self.saga.status == Status::Compensating,
            _ => false,
        }
    }

    // --- backward

    fn turn(mut self, reason: &str) -> Transition {
        self.saga.status = Status::Compensating;
        self.saga.reason.get_or_insert_with(|| reason.to_owned());
        self.undo_next()
    }

    /// The last step that is done, or may be.
    fn undo_next(mut self) -> Transition {
        let is_done = |step: &StepStatus| matches!(step, StepStatus::Done | StepStatus::Unknown);
        match self.saga.steps.iter().rposition(is_done) {
            Some(step) => {
                (self.saga.at, self.saga.attempts) = (step, 0);
                self.undo_again()
            }
            None if self.saga.steps.contains(&StepStatus::Parked) => self.end(Status::Parked),
            None => self.end(Status::Compensated),
        }
    }

    fn undo_again(mut self) -> Transition {
        let (at, step) = (self.saga.at, self.definition());
        self.saga.attempts += 1;
        self.saga.steps[at] = StepStatus::Undoing;
        self.commands.push(Command::Undo { step: at + 1, attempt: self.saga.attempts });
        self.timer = Some(self.timeout());
        self.log(step.compensation, Some(at), None);
        self.still()
    }

    fn undone(mut self) -> Transition {
        let at = self.saga.at;
        self.saga.steps[at] = StepStatus::Undone;
        self.log("SagaStepCompensated", Some(at), None);
        self.undo_next()
    }

    fn undo_failed(mut self, reason: &str) -> Transition {
        let at = self.saga.at;
        self.log("SagaStepCompensationFailed", Some(at), Some(reason.to_owned()));
        if self.saga.attempts < COMPENSATION_ATTEMPTS {
            return self.pause(StepStatus::Done);
        }
        self.saga.steps[at] = StepStatus::Parked;
        self.undo_next()
    }

    fn end(mut self, status: Status) -> Transition {
        self.saga.status = status;
        self.commands.push(Command::Ended(status));
        let what = match status {
            Status::Completed => "SagaCompleted",
            Status::Compensated => "SagaCompensated",
            _ => "SagaParked",
        };
        self.log(what, None, None);
        self.still()
    }

    /// Late, twice, or of somebody who was never asked. What was waited for is still waited for, with a new time-out; a pause
    /// begins anew, and is as short as it was.
    fn ignored(mut self, step: usize, outcome: &Outcome) -> Transition {
        let what = match outcome {
            Outcome::Completed => "SagaStepCompleted",
            Outcome::Failed { .. } => "SagaStepFailed",
            Outcome::Compensated => "SagaStepCompensated",
            Outcome::CompensationFailed { .. } => "SagaStepCompensationFailed",
        };
        self.saga.log.push(Entry { what: what.to_owned(), step: Some(step), note: Some("ignored".to_owned()) });
        if !self.saga.status.is_over() {
            self.timer = Some(if self.is_pausing() { pause(self.saga.attempts) } else { self.timeout() });
        }
        self.still()
    }
}

#[cfg(test)]
mod tests;
