//! A choreographed saga as if somebody had known all of it: gathered from what the services keep, for whoever looks.

use serde_json::Value;

use super::{
    is_done,
    rules::{Flow, Stage},
};
use crate::patterns::saga::{Entry, Saga, Status, StepStatus, participant::Kept};

/// What stands where an orchestrated saga has the name of its definition.
pub const CHOREOGRAPHY: &str = "choreography";

/// The saga, from what the order service, payment and shipping have of it; `None`: the order is none of a choreography.
///
/// The log is that of all three, in the order of their Lamport clocks: what was caused comes behind its cause. What happened
/// beside each other is in the order of the steps, which says nothing about time.
pub fn gathered(id: &str, kept: [Option<&Kept>; 3]) -> Option<Saga> {
    let order = kept[0]?;
    let own = order.flow.as_ref()?;
    let flows = kept.map(|kept| kept.and_then(|kept| kept.flow.as_ref()));
    let mut steps: Vec<StepStatus> = kept.into_iter().map(step).collect();
    if own.is_unanswered {
        // nobody has said what became of it
        for step in steps.iter_mut().skip(1).filter(|step| matches!(step, StepStatus::Open | StepStatus::Done)) {
            *step = StepStatus::Parked;
        }
    }
    let status = status(own, flows);
    let mut log: Vec<(u64, Entry)> = flows.into_iter().zip(1..).flat_map(|(flow, nth)| entries(flow, nth)).collect();
    log.sort_by_key(|(clock, _)| *clock);
    Some(Saga {
        id: id.to_owned(),
        definition: CHOREOGRAPHY.to_owned(),
        definition_version: 1,
        status,
        at: at(status, &steps),
        steps,
        attempts: 0,
        reason: flows.into_iter().flatten().find_map(|flow| flow.reason.clone()),
        data: if order.data.is_null() { Value::Null } else { order.data.clone() },
        patience: None,
        cause: None,
        log: log.into_iter().map(|(_, entry)| entry).collect(),
    })
}

/// The order service's word is the customer's; but one that still takes something back, or cannot, is not passed over.
fn status(order: &Flow, flows: [Option<&Flow>; 3]) -> Status {
    let is_any = |stage: Stage| flows.into_iter().flatten().any(|flow| flow.stage == stage);
    match order.stage {
        Stage::Open | Stage::Acted if is_any(Stage::TakingBack) || is_any(Stage::Declined) => Status::Compensating,
        Stage::Open | Stage::Acted => Status::Running,
        Stage::Closed => Status::Completed,
        Stage::Waiting | Stage::TakingBack => Status::Compensating,
        _ if is_any(Stage::TakingBack) => Status::Compensating,
        _ if is_any(Stage::Parked) || order.is_unanswered => Status::Parked,
        _ => Status::Compensated,
    }
}

fn step(kept: Option<&Kept>) -> StepStatus {
    let Some((kept, flow)) = kept.and_then(|kept| Some((kept, kept.flow.as_ref()?))) else { return StepStatus::Open };
    match flow.stage {
        Stage::Open => StepStatus::Asked,
        Stage::Declined => StepStatus::Failed,
        Stage::TakingBack => StepStatus::Undoing,
        Stage::TakenBack => StepStatus::Undone,
        Stage::Parked => StepStatus::Parked,
        _ if is_done(kept) => StepStatus::Done,
        _ => StepStatus::Asked,
    }
}

/// The step that is being asked for, or taken back.
fn at(status: Status, steps: &[StepStatus]) -> usize {
    let at = match status {
        Status::Running => steps.iter().position(|step| *step != StepStatus::Done),
        _ => steps.iter().rposition(|step| matches!(step, StepStatus::Done | StepStatus::Undoing)),
    };
    at.unwrap_or(0)
}

fn entries(flow: Option<&Flow>, step: usize) -> impl Iterator<Item = (u64, Entry)> {
    let log = flow.map_or(&[][..], |flow| &flow.log);
    log.iter()
        .map(move |note| (note.clock, Entry { what: note.what.clone(), step: Some(step), note: note.note.clone() }))
}
