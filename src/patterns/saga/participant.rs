//! A participant: the handler of one service, with a state of its own.
//!
//! It does what it is asked for, undoes it, and answers; all of it may be asked twice, late, or in the wrong order:
//!
//! ```text
//!              command             compensation
//!   nothing    do it               remember it: a command that comes now is refused
//!   done       say so once more    undo it
//!   undone     refuse              say so once more
//! ```
//!
//! Faults are part of the course: a command's data may ask for one ([`Fault`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    choreography::rules::Flow,
    orchestrator::{Answer, EVENTS, Order, TYPES},
};
use crate::patterns::{
    inbox::{Effects, Entity, Handler, Message, Poison, answer, id_of},
    outbox::NewMessage,
};

/// A service that takes part in sagas.
#[derive(Debug, Clone, Copy)]
pub struct Participant {
    /// Of its handler: `saga-order`.
    pub name: &'static str,
    /// The kind of what it keeps: `order`, `charge`, `parcel`.
    pub keeps: &'static str,
    /// Commands, compensations, and how sagas end.
    pub topics: &'static [&'static str],
}

/// What a service has of a saga.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Kept {
    pub status: Doing,
    /// How often it was done and undone: one, unless an effect happened twice.
    pub done: u32,
    pub undone: u32,
    /// Attempts that failed because a fault was asked for.
    #[serde(default)]
    pub faults: u32,
    /// What it is about.
    pub data: Value,
    /// An answer that is to come late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
    /// How far it has come, where nobody asks it: see [`choreography`](super::choreography).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Doing {
    #[default]
    Nothing,
    /// Done, and the saga has not ended: a semantic lock.
    Pending,
    /// The saga has completed.
    Done,
    Undone,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    step: usize,
    saga_id: String,
    cause: String,
}

/// What is to go wrong, and where; in a command's data under `fault`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The step that fails, from 1; 0 for none.
    #[serde(default)]
    pub at: usize,
    #[serde(default)]
    pub kind: FaultKind,
    /// The first so many attempts of each compensation fail.
    #[serde(default)]
    pub compensation_fails: u32,
    /// How late a late reply is.
    #[serde(default)]
    pub late_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The business says no.
    #[default]
    Declined,
    /// It acts, and no answer comes.
    Timeout,
    /// It acts, and the answer comes after the time-out.
    LateReply,
    /// Its process dies between its commit and its answer: whoever runs it sees to that.
    Crash,
    /// It answers twice.
    DuplicateReply,
    /// It cannot work just now; the third attempt succeeds.
    Unavailable,
}

impl FaultKind {
    pub const ALL: [(&'static str, FaultKind); 6] = [
        ("declined", FaultKind::Declined),
        ("timeout", FaultKind::Timeout),
        ("late-reply", FaultKind::LateReply),
        ("crash", FaultKind::Crash),
        ("duplicate-reply", FaultKind::DuplicateReply),
        ("unavailable", FaultKind::Unavailable),
    ];
}

/// Attempts that find it unavailable.
pub(super) const UNAVAILABLE: u32 = 2;

impl Participant {
    fn reply(&self, message: &Message<'_>, nth: usize, what: &str, reply: &Answer) -> Result<NewMessage, Poison> {
        let envelope = answer(self.name, message.envelope, &format!("{TYPES}{what}"));
        let id = id_of(self.name, message.envelope, nth);
        let payload = serde_json::to_vec(reply).map_err(Poison::new)?;
        Ok(NewMessage::by(&envelope, "saga", id, EVENTS, payload))
    }

    fn carry_out(&self, mut kept: Kept, order: &Order, message: &Message<'_>) -> Result<Effects, Poison> {
        let fault = fault(&order.data).filter(|fault| fault.at == order.step);
        let mut reply = Answer { saga_id: order.saga_id.clone(), step: order.step, ..Answer::default() };
        let mut what = "SagaStepCompleted";
        let (mut answers, mut timer) = (1, None);
        match (kept.status, fault.as_ref().map(|fault| fault.kind)) {
            (Doing::Undone, _) => {
                what = "SagaStepFailed";
                reply.reason = Some("compensated before the command came".to_owned());
            }
            (Doing::Pending | Doing::Done, _) => {} // done before: it says so once more
            (Doing::Nothing, Some(FaultKind::Declined)) => {
                what = "SagaStepFailed";
                reply.reason = Some("declined".to_owned());
            }
            (Doing::Nothing, Some(FaultKind::Unavailable)) if kept.faults < UNAVAILABLE => {
                kept.faults += 1;
                what = "SagaStepFailed";
                (reply.reason, reply.may_pass) = (Some("unavailable just now".to_owned()), true);
            }
            (Doing::Nothing, kind) => {
                (kept.status, kept.done, kept.data) = (Doing::Pending, kept.done + 1, order.data.clone());
                match kind {
                    Some(FaultKind::Timeout) => answers = 0,
                    Some(FaultKind::DuplicateReply) => answers = 2,
                    Some(FaultKind::LateReply) => {
                        answers = 0;
                        let cause = message.envelope.id.clone();
                        kept.late = Some(Late { step: order.step, saga_id: order.saga_id.clone(), cause });
                        timer = fault.map(|fault| Duration::from_millis(fault.late_ms));
                    }
                    _ => {}
                }
            }
        }
        let messages = (0..answers).map(|nth| self.reply(message, nth, what, &reply)).collect::<Result<Vec<_>, _>>()?;
        effects(&kept, timer, messages)
    }

    fn undo(&self, mut kept: Kept, order: &Order, message: &Message<'_>) -> Result<Effects, Poison> {
        let fails = fault(&order.data).map_or(0, |fault| fault.compensation_fails);
        let mut reply = Answer { saga_id: order.saga_id.clone(), step: order.step, ..Answer::default() };
        let mut what = "SagaStepCompensated";
        match kept.status {
            Doing::Undone => {}
            _ if order.attempt <= fails => {
                what = "SagaStepCompensationFailed";
                reply.reason = Some(format!("attempt {} of the compensation was to fail", order.attempt));
            }
            Doing::Nothing => kept.status = Doing::Undone, // it never did it, and never will
            Doing::Pending | Doing::Done => {
                (kept.status, kept.undone) = (Doing::Undone, kept.undone + 1);
            }
        }
        // a late reply that is still to come stays to come
        let timer =
            kept.late.as_ref().and_then(|_| fault(&order.data)).map(|fault| Duration::from_millis(fault.late_ms));
        let message = self.reply(message, 0, what, &reply)?;
        effects(&kept, timer, vec![message])
    }

    /// The saga has ended well: the lock is taken off.
    fn end(&self, state: Option<&[u8]>) -> Result<Effects, Poison> {
        let Some(state) = state else { return Ok(Effects::default()) };
        let mut kept: Kept = serde_json::from_slice(state).map_err(Poison::new)?;
        if kept.status != Doing::Pending {
            return Ok(Effects::default());
        }
        kept.status = Doing::Done;
        effects(&kept, None, Vec::new())
    }
}

fn effects(kept: &Kept, timer: Option<Duration>, messages: Vec<NewMessage>) -> Result<Effects, Poison> {
    Ok(Effects { state: Some(serde_json::to_vec(kept).map_err(Poison::new)?), timer, messages, ..Effects::default() })
}

pub(super) fn fault(data: &Value) -> Option<Fault> {
    serde_json::from_value(data.get("fault")?.clone()).ok()
}

impl Handler for Participant {
    fn name(&self) -> &str {
        self.name
    }

    fn topics(&self) -> &[&'static str] {
        self.topics
    }

    fn entity(&self, message: &Message<'_>) -> Result<Option<Entity>, Poison> {
        let is_for_it = message.topic != EVENTS || message.envelope.event_type == "saga.v1.SagaCompleted";
        if !is_for_it {
            return Ok(None);
        }
        #[derive(Deserialize)]
        struct About {
            saga_id: String,
        }
        let about: About = serde_json::from_slice(message.data).map_err(Poison::new)?;
        Ok(Some(Entity { kind: self.keeps, id: about.saga_id }))
    }

    fn handle(&self, state: Option<&[u8]>, message: &Message<'_>) -> Result<Effects, Poison> {
        if message.topic == EVENTS {
            return self.end(state);
        }
        let order: Order = serde_json::from_slice(message.data).map_err(Poison::new)?;
        let kept = match state {
            Some(state) => serde_json::from_slice(state).map_err(Poison::new)?,
            None => Kept::default(),
        };
        match message.topic.ends_with("-compensate") {
            true => self.undo(kept, &order, message),
            false => self.carry_out(kept, &order, message),
        }
    }

    fn timers(&self) -> Option<&'static str> {
        Some(self.keeps)
    }

    /// The late reply.
    fn due(&self, _: &Entity, state: &[u8]) -> Result<Effects, Poison> {
        let mut kept: Kept = serde_json::from_slice(state).map_err(Poison::new)?;
        let Some(late) = kept.late.take() else { return Ok(Effects::default()) };
        let reply = Answer { saga_id: late.saga_id.clone(), step: late.step, ..Answer::default() };
        let cause = crate::patterns::envelope::Envelope {
            id: late.cause,
            subject: Some(late.saga_id.clone()),
            correlation_id: Some(late.saga_id),
            ..Default::default()
        };
        let message = Message { topic: "", envelope: &cause, data: &[], is_replay: false };
        let message = self.reply(&message, 0, "SagaStepCompleted", &reply)?;
        effects(&kept, None, vec![message])
    }
}
