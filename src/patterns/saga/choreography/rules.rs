//! What a service does with what it hears, and when it hears nothing.
//!
//! ```text
//!   Open --acts--> Acted --closes--> Closed          and from each of the first three, when it is to take back:
//!     +--declines--> Declined                        TakingBack --> TakenBack, or Parked after five attempts
//!   order service: Acted --deadline--> Waiting for the others --> TakingBack
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Context, Service, is_done};
use crate::patterns::saga::{
    COMPENSATION_ATTEMPTS, Patience,
    order::ANSWER,
    participant::{Doing, FaultKind, Kept, UNAVAILABLE, fault},
    pause,
};

/// How far a service has come with an order, beside what it keeps of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flow {
    pub(super) stage: Stage,
    /// Lamport's clock: behind everything that was heard and said.
    clock: u64,
    /// Attempts to take it back.
    attempts: u32,
    /// Its deadline has moved: the order is paid.
    is_paid: bool,
    /// What it has to say it says late.
    is_late: bool,
    /// It has told the others to take back, and they have not said that they did.
    pub(super) is_unanswered: bool,
    /// `OrderCancelled` is said, by the deadline.
    is_announced: bool,
    pub(super) reason: Option<String>,
    /// The message that came last: what a timer brings about is caused by it.
    pub(super) cause: Option<String>,
    patience: Option<Patience>,
    pub(super) log: Vec<Note>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    #[default]
    Open,
    Acted,
    Closed,
    /// Nothing was done, and nothing will be.
    Declined,
    /// The others are to take back first.
    Waiting,
    TakingBack,
    TakenBack,
    Parked,
}

/// A line of a service's own log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub clock: u64,
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// An event that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub event: &'static str,
    pub context: Context,
}

/// A service's turn: what follows from one event, or from one timer.
#[derive(Debug)]
pub struct Turn<'a> {
    service: &'a Service,
    kept: Kept,
    flow: Flow,
    said: Vec<Said>,
}

const NOTHING_DONE: &str = "nothing was done";

impl<'a> Turn<'a> {
    pub fn new(service: &'a Service, mut kept: Kept) -> Self {
        let flow = kept.flow.take().unwrap_or_default();
        Self { service, kept, flow, said: Vec::new() }
    }

    /// What the service has afterwards, and what it says.
    pub fn end(mut self) -> (Kept, Vec<Said>) {
        self.kept.flow = Some(self.flow);
        (self.kept, self.said)
    }

    /// An event has come. `None`: it changes nothing.
    pub fn hear(mut self, event: &str, id: &str, context: Context) -> Option<Self> {
        let service = self.service;
        self.flow.clock = self.flow.clock.max(context.clock) + 1;
        self.flow.cause = Some(id.to_owned());
        let undoes = service.takes_back_on.contains(&event);
        match self.flow.stage {
            Stage::Open if event == service.acts_on => {
                (self.kept.data, self.flow.patience) = (context.data, context.patience);
                Some(self.act())
            }
            Stage::Acted if Some(event) == service.closes_on => Some(self.close()),
            Stage::Acted if Some(event) == service.deadline && !self.flow.is_paid => {
                self.flow.is_paid = true;
                Some(self)
            }
            Stage::Open | Stage::Acted | Stage::Closed | Stage::Waiting if undoes => {
                let is_for_it = event != "OrderCancelled" || context.take_back;
                is_for_it.then(|| self.begin_to_take_back(context))
            }
            _ if undoes && self.flow.is_unanswered => {
                self.flow.is_unanswered = false;
                Some(self)
            }
            _ => None,
        }
    }

    /// The timer has run out.
    pub fn time_is_up(mut self) -> Option<Self> {
        self.flow.clock += 1;
        if self.is_late_now() {
            self.flow.is_late = false;
            self.say(self.service.acted, Some("late"));
            return Some(self);
        }
        match self.flow.stage {
            Stage::Open => Some(self.act()),
            Stage::Acted if self.service.deadline.is_some() => Some(self.cancel()),
            Stage::Waiting => {
                self.flow.is_unanswered = true;
                self.note("time-out", Some("nobody has said that the payment is taken back"));
                Some(self.take_back())
            }
            Stage::TakingBack => Some(self.take_back()),
            _ => None,
        }
    }

    /// A person wants it tried once more.
    pub fn retry(mut self) -> Option<Self> {
        match self.flow.stage {
            Stage::Parked => (self.flow.stage, self.flow.attempts) = (Stage::TakingBack, 0),
            Stage::TakenBack if self.flow.is_unanswered => {
                (self.flow.stage, self.flow.is_unanswered) = (Stage::Waiting, false);
            }
            _ => return None,
        }
        self.flow.clock += 1;
        self.note("retry", None);
        Some(self)
    }

    /// When it is to be asked again.
    pub fn timer(&self) -> Option<Duration> {
        if self.is_late_now() {
            let late = Duration::from_millis(fault(&self.kept.data).map_or(0, |fault| fault.late_ms));
            let passed = self.service.deadline.map_or(Duration::ZERO, |_| self.limit());
            return Some(late.saturating_sub(passed));
        }
        match self.flow.stage {
            Stage::Open if self.kept.faults > 0 => Some(pause(self.kept.faults)),
            Stage::Acted => self.service.deadline.map(|_| self.limit()),
            Stage::Waiting => Some(self.limit_of_word()),
            Stage::TakingBack if self.flow.attempts == 0 => Some(Duration::ZERO),
            Stage::TakingBack => Some(pause(self.flow.attempts)),
            _ => None,
        }
    }

    /// The one who keeps the deadline says late what it says behind that.
    fn is_late_now(&self) -> bool {
        self.flow.is_late && !(self.flow.stage == Stage::Acted && self.service.deadline.is_some())
    }

    /// So long the next event is waited for.
    fn limit(&self) -> Duration {
        let is_of_this = |patience: &Patience| match patience.step {
            None => true,
            Some(step) => (step == 3) == self.flow.is_paid,
        };
        self.flow.patience.filter(is_of_this).map_or(ANSWER, |patience| Duration::from_millis(patience.limit_ms))
    }

    /// So long it is waited for that the others have taken back.
    fn limit_of_word(&self) -> Duration {
        let every = self.flow.patience.filter(|patience| patience.step.is_none());
        every.map_or(ANSWER, |patience| Duration::from_millis(patience.limit_ms)) * COMPENSATION_ATTEMPTS
    }

    fn note(&mut self, what: &str, note: Option<&str>) {
        self.flow.log.push(Note { clock: self.flow.clock, what: what.to_owned(), note: note.map(str::to_owned) });
    }

    fn say(&mut self, event: &'static str, note: Option<&str>) {
        self.note(event, note);
        self.send(event, false);
    }

    fn send(&mut self, event: &'static str, take_back: bool) {
        let (clock, reason, data) = (self.flow.clock, self.flow.reason.clone(), self.kept.data.clone());
        self.said.push(Said { event, context: Context { clock, data, reason, take_back, patience: None } });
    }

    // --- forward

    fn act(mut self) -> Self {
        let (service, fault) = (self.service, fault(&self.kept.data).filter(|fault| fault.at == self.service.step));
        match fault.map(|fault| fault.kind) {
            Some(FaultKind::Declined) => return self.decline(),
            Some(FaultKind::Unavailable) if self.kept.faults < UNAVAILABLE => {
                self.kept.faults += 1;
                self.note("unavailable", Some("tried again"));
                return self;
            }
            kind => {
                self.kept.done += 1;
                (self.kept.status, self.flow.stage) = (Doing::Pending, Stage::Acted);
                match kind {
                    Some(FaultKind::Timeout) => self.note(service.acted, Some("kept to itself")),
                    Some(FaultKind::LateReply) => {
                        self.flow.is_late = true;
                        self.note(service.acted, Some("to be said late"));
                    }
                    Some(FaultKind::DuplicateReply) => (0..2).for_each(|_| self.say(service.acted, None)),
                    _ => self.say(service.acted, None),
                }
            }
        }
        if service.closes_on.is_none() { self.close() } else { self }
    }

    fn decline(mut self) -> Self {
        self.flow.stage = Stage::Declined;
        self.flow.reason = Some("declined".to_owned());
        match self.service.declined {
            Some(event) => self.say(event, Some("declined")),
            None => self.note("declined", None),
        }
        self
    }

    fn close(mut self) -> Self {
        (self.kept.status, self.flow.stage) = (Doing::Done, Stage::Closed);
        self
    }

    // --- backward

    /// The deadline: nobody knows how far the others have come.
    fn cancel(mut self) -> Self {
        let of = if self.flow.is_paid { "shipping" } else { "payment" };
        let reason = format!("no word of {of} in time");
        self.note("time-out", Some(&reason));
        (self.flow.stage, self.flow.is_announced) = (Stage::Waiting, true);
        self.flow.reason = Some(reason);
        self.send(self.service.taken_back, true);
        self
    }

    fn begin_to_take_back(mut self, context: Context) -> Self {
        if self.kept.data.is_null() {
            self.kept.data = context.data;
        }
        self.flow.reason = self.flow.reason.or(context.reason);
        (self.flow.stage, self.flow.attempts) = (Stage::TakingBack, 0);
        self.take_back()
    }

    fn take_back(mut self) -> Self {
        if self.kept.status == Doing::Undone {
            self.flow.stage = Stage::TakenBack; // the others were waited for once more
            return self;
        }
        self.flow.stage = Stage::TakingBack;
        self.flow.attempts += 1;
        let fails = fault(&self.kept.data).map_or(0, |fault| fault.compensation_fails);
        if self.flow.attempts <= fails {
            return self.cannot_take_back();
        }
        let (was_done, service) = (is_done(&self.kept), self.service);
        self.kept.undone += u32::from(was_done);
        (self.kept.status, self.flow.stage) = (Doing::Undone, Stage::TakenBack);
        match was_done {
            true if self.flow.is_announced => self.note(service.taken_back, None),
            true => self.say(service.taken_back, None),
            false => self.say(service.never_did, Some(NOTHING_DONE)),
        }
        self
    }

    fn cannot_take_back(mut self) -> Self {
        let note = format!("attempt {} of the compensation was to fail", self.flow.attempts);
        if self.flow.attempts < COMPENSATION_ATTEMPTS {
            self.note("compensation failed", Some(&note));
            return self;
        }
        self.flow.stage = Stage::Parked;
        match self.service.cannot_take_back {
            Some(event) => self.say(event, Some(&note)),
            None => self.note("compensation failed", Some(&note)),
        }
        self
    }
}
