//! The orchestrator: the handler that knows the list.
//!
//! ```text
//!   saga-events --> Orchestrator --> order-commands, payment-commands, ...      (by the outbox)
//!                      state: the saga, guarded by its version                  timer: no answer in time
//! ```
//!
//! Two orchestrators on one store are no danger: both may see a reply, one's transaction is refused, by the inbox or by the
//! saga's version.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Command, Definition, Outcome, Patience, Reply, Saga, Status, Transition};
use crate::patterns::{
    envelope::Envelope,
    inbox::{Effects, Entity, Handler, Message, Poison},
    outbox::NewMessage,
};

/// The state's kind.
pub const SAGA: &str = "saga";
/// Where participants answer, and the saga says that it has ended.
pub const EVENTS: &str = "saga-events";
/// Where an orchestrator can be told to die.
pub const CRASH_POINTS: [&str; 2] = ["saga.before-commit", "saga.after-commit"];
/// Before the names of all types of messages.
pub const TYPES: &str = "saga.v1.";

/// What goes to a participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub saga_id: String,
    /// From 1.
    pub step: usize,
    pub attempt: u32,
    pub data: Value,
}

/// What a participant answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub saga_id: String,
    /// From 1.
    pub step: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A technical failure: the same may succeed later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_pass: bool,
}

/// What everybody hears when a saga has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    pub saga_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Runs the sagas of a definition.
#[derive(Debug, Clone, Copy)]
pub struct Orchestrator(pub &'static Definition);

impl Orchestrator {
    /// A new saga: its state and its first command.
    ///
    /// # Errors
    /// [`Poison`] where the data is no JSON that can be written.
    pub fn start(&self, id: &str, data: Value, patience: Option<Patience>) -> Result<Effects, Poison> {
        self.effects(self.0.start(id, data, patience))
    }

    /// A parked saga, once more.
    ///
    /// # Errors
    /// A saga of another definition.
    pub fn retry(&self, saga: Saga) -> Result<Effects, Poison> {
        self.0.check(&saga).map_err(Poison::new)?;
        self.effects(self.0.retry(saga))
    }

    fn read(&self, state: &[u8]) -> Result<Saga, Poison> {
        let saga = serde_json::from_slice(state).map_err(Poison::new)?;
        self.0.check(&saga).map_err(Poison::new)?;
        Ok(saga)
    }

    fn effects(&self, transition: Transition) -> Result<Effects, Poison> {
        let Transition { saga, commands, timer } = transition;
        let messages = commands.iter().filter_map(|command| self.message(&saga, command).transpose());
        let messages = messages.collect::<Result<Vec<_>, _>>()?;
        Ok(Effects {
            state: Some(serde_json::to_vec(&saga).map_err(Poison::new)?),
            timer,
            messages,
            ..Effects::default()
        })
    }

    fn message(&self, saga: &Saga, command: &Command) -> Result<Option<NewMessage>, Poison> {
        let of_step = |step: usize| self.0.steps[step - 1];
        let order = |step, attempt| {
            let (saga_id, data) = (saga.id.clone(), saga.data.clone());
            serde_json::to_vec(&Order { saga_id, step, attempt, data }).map_err(Poison::new)
        };
        let (name, topic, payload, nth) = match *command {
            Command::Do { step, attempt } => {
                let step_of = of_step(step);
                (step_of.name, format!("{}-commands", step_of.participant), order(step, attempt)?, (step, attempt))
            }
            Command::Undo { step, attempt } => {
                let step_of = of_step(step);
                let topic = format!("{}-compensate", step_of.participant);
                (step_of.compensation, topic, order(step, attempt)?, (step, attempt))
            }
            Command::Ended(status) => {
                let name = match status {
                    Status::Completed => "SagaCompleted",
                    Status::Compensated => "SagaCompensated",
                    // nobody but a person has something to do with it
                    _ => return Ok(None),
                };
                let ending = Ending { saga_id: saga.id.clone(), reason: saga.reason.clone() };
                (name, EVENTS.to_owned(), serde_json::to_vec(&ending).map_err(Poison::new)?, (0, 0))
            }
        };
        // a command that is decided once more (a conflict, a crash) is the same command
        let id = format!("{} {} {name} {} {} {}", self.0.name, saga.id, nth.0, nth.1, saga.log.len());
        let envelope = Envelope {
            source: format!("/kafkalab/saga/{}", self.0.name),
            event_type: format!("{TYPES}{name}"),
            subject: Some(saga.id.clone()),
            correlation_id: Some(saga.id.clone()),
            causation_id: saga.cause.clone(),
            ..Envelope::default()
        };
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes());
        Ok(Some(NewMessage::by(&envelope, SAGA, id, &topic, payload)))
    }
}

impl Handler for Orchestrator {
    fn name(&self) -> &str {
        "saga-orchestrator"
    }

    fn topics(&self) -> &[&'static str] {
        &[EVENTS]
    }

    fn entity(&self, message: &Message<'_>) -> Result<Option<Entity>, Poison> {
        if outcome(message.envelope, &Answer::default()).is_none() {
            return Ok(None); // an ending, of which this handler has told
        }
        let answer: Answer = serde_json::from_slice(message.data).map_err(Poison::new)?;
        Ok(Some(Entity { kind: SAGA, id: answer.saga_id }))
    }

    fn handle(&self, state: Option<&[u8]>, message: &Message<'_>) -> Result<Effects, Poison> {
        let answer: Answer = serde_json::from_slice(message.data).map_err(Poison::new)?;
        let Some(outcome) = outcome(message.envelope, &answer) else { return Ok(Effects::default()) };
        let Some(state) = state else {
            tracing::info!(saga = answer.saga_id, "a reply for a saga that is not here is ignored");
            return Ok(Effects::default());
        };
        let mut saga = self.read(state)?;
        saga.cause = Some(message.envelope.id.clone());
        self.effects(self.0.reply(saga, &Reply { step: answer.step, outcome }))
    }

    fn crash_points(&self) -> [&'static str; 2] {
        CRASH_POINTS
    }

    fn timers(&self) -> Option<&'static str> {
        Some(SAGA)
    }

    fn due(&self, _: &Entity, state: &[u8]) -> Result<Effects, Poison> {
        self.effects(self.0.timeout(self.read(state)?))
    }
}

fn outcome(envelope: &Envelope, answer: &Answer) -> Option<Outcome> {
    let reason = || answer.reason.clone().unwrap_or_else(|| "no reason given".to_owned());
    Some(match envelope.event_type.strip_prefix(TYPES)? {
        "SagaStepCompleted" => Outcome::Completed,
        "SagaStepFailed" => Outcome::Failed { reason: reason(), may_pass: answer.may_pass },
        "SagaStepCompensated" => Outcome::Compensated,
        "SagaStepCompensationFailed" => Outcome::CompensationFailed { reason: reason() },
        _ => return None,
    })
}
