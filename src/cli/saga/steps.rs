//! The steps of a saga, as lines.

use serde::Serialize;

use crate::{
    app::{
        Store,
        handler::{self, What},
        relay,
        saga::{SagaError, Told, effects},
        sagas::{Saga, Status, StepStatus, order::ORDER_SAGA},
    },
    cli::{
        exit::Exit,
        narrator::{Line, Narrate, short},
        session::Session,
        terminal::Palette,
    },
};

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Its state and its first command, in one transaction.
    Started {
        saga_id: String,
    },
    /// A message is on Kafka; the offset is the broker's own word.
    Sent {
        message: String,
        topic: String,
        partition: i32,
        offset: Option<i64>,
        saga_id: String,
    },
    /// A service has handled it: its effect and its answer are committed in one transaction.
    Handled {
        service: String,
        topic: String,
        partition: i32,
        offset: i64,
        what: &'static str,
    },
    /// A service as a process of its own.
    Service {
        service: &'static str,
        what: &'static str,
    },
    Trouble {
        cause: String,
    },
    /// How a step ended.
    Outcome {
        nth: usize,
        name: &'static str,
        outcome: &'static str,
    },
    /// What a service has of it.
    Effect {
        keeps: &'static str,
        status: String,
        done: u32,
        undone: u32,
    },
    Ended {
        saga_id: String,
        status: String,
        reason: Option<String>,
    },
}

impl Step {
    /// What services say, as far as it is of interest.
    pub fn of(told: &Told<'_>) -> Option<Self> {
        Some(match told {
            Told::Relay(relay::Told::Published { record, topic, partition, offset }) => Step::Sent {
                message: short(&record.event_type).to_owned(),
                topic: topic.to_string(),
                partition: *partition,
                offset: *offset,
                saga_id: record.key.clone(),
            },
            Told::Relay(relay::Told::Trouble(cause)) | Told::Handler { told: handler::Told::Trouble(cause), .. } => {
                Step::Trouble { cause: cause.clone() }
            }
            Told::Handler { handler, told: handler::Told::Record { partition, offset, what, .. } } => Step::Handled {
                service: (*handler).to_owned(),
                topic: partition.topic.to_string(),
                partition: partition.partition,
                offset: *offset,
                what: match what {
                    What::Effect { .. } => "handled",
                    What::Repeat => "repeat, dropped",
                    What::Dead(_) => "dead letter",
                    What::PassedBy => return None,
                },
            },
            _ => return None,
        })
    }

    pub fn is_trouble(&self) -> bool {
        matches!(self, Step::Trouble { .. })
    }
}

impl Narrate for Step {
    fn line(&self, out: &Palette) -> Line {
        Line::Plain(match self {
            Step::Started { saga_id } => format!("saga {saga_id}: its state and its first command are committed"),
            Step::Sent { message, topic, partition, offset, .. } => {
                let offset = offset.map_or("offset unknown".to_owned(), |offset| format!("offset {offset}"));
                format!("  {message:<26} {topic}[{partition}] {offset}")
            }
            Step::Handled { service, topic, partition, offset, what } => {
                format!("    {service:<24} {what}: {topic}[{partition}] {offset}")
            }
            Step::Service { service, what } => format!("  {service} service {what}"),
            Step::Trouble { cause } => format!("  {} {cause}", out.warn("trying again:")),
            Step::Outcome { nth, name, outcome } => format!("{nth}  {name:<16} {outcome}"),
            Step::Effect { keeps, status, done, undone } => {
                format!("   {keeps:<16} {status}, done {done}, undone {undone}")
            }
            Step::Ended { status, reason, .. } => {
                let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
                format!("{}{reason}", out.emphasis(status))
            }
        })
    }
}

/// How it ended: step by step, and what the services have of it.
pub async fn ending(store: &Store, saga: &Saga, say: &(dyn Fn(Step) + Send + Sync)) -> Result<(), SagaError> {
    for ((step, status), nth) in ORDER_SAGA.steps.iter().zip(&saga.steps).zip(1..) {
        say(Step::Outcome { nth, name: step.name, outcome: word(*status) });
    }
    for (keeps, kept) in effects(store, &saga.id).await? {
        let Some(kept) = kept else { continue };
        let status = serde_json::to_value(kept.status).ok().and_then(|status| status.as_str().map(str::to_owned));
        say(Step::Effect { keeps, status: status.unwrap_or_default(), done: kept.done, undone: kept.undone });
    }
    say(Step::Ended { saga_id: saga.id.clone(), status: saga.status.to_string(), reason: saga.reason.clone() });
    Ok(())
}

pub fn word(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Open => "not asked for",
        StepStatus::Asked => "asked for",
        StepStatus::Done => "done",
        StepStatus::Failed => "failed",
        StepStatus::Unknown => "unknown",
        StepStatus::Undoing => "being compensated",
        StepStatus::Undone => "compensated",
        StepStatus::Parked => "compensation parked",
    }
}

/// The exit code of sagas that have ended.
pub fn outcome(sagas: &[Saga], session: &Session) -> Exit {
    let parked: Vec<&Saga> = sagas.iter().filter(|saga| saga.status == Status::Parked).collect();
    let Some(first) = parked.first() else { return Exit::OK };
    session.terminal.hint(&format!("a compensation is parked: kafkalab saga show {0}, then saga retry {0}", first.id));
    Exit::PARKED
}
