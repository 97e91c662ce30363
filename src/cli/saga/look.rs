//! `saga list|show`: what has become of sagas.

use color_eyre::Result;
use serde_json::json;

use super::{explained, steps::word};
use crate::{
    app::{
        saga::{effects, is_choreographed, list as sagas, load},
        sagas::{Saga, StepStatus, order::ORDER_SAGA},
    },
    cli::{
        escape,
        exit::Exit,
        pattern::Options,
        session::Session,
        stdout,
        table::{Table, number, text},
        words::folded,
    },
};

/// What makes the store that is looked into here.
pub const MADE_BY: &str = "saga run";

/// List sagas
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab saga list
  kafkalab saga list --json

Exit codes: 0 done, 1 failed, 2 wrong usage")]
pub struct List {
    /// At most so many
    #[arg(short = 'n', long = "num", value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Only those behind this id
    #[arg(long, value_name = "ID", default_value = "")]
    after: String,
    /// Only those that have not ended
    #[arg(long)]
    open: bool,
}

/// Show a saga: what happened, a line a message, and what the services have of it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab saga show trip-1

Exit codes: 0 done, 1 failed or not there, 2 wrong usage")]
pub struct Show {
    /// The saga's id
    #[arg(value_name = "ID")]
    id: String,
}

pub async fn list(args: List, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let found = sagas(&store, &args.after, args.limit).await.map_err(explained)?;
    let shown: Vec<_> = found.iter().filter(|saga| !args.open || !saga.status.is_over()).collect();
    if options.json {
        for saga in &shown {
            stdout::json(&json!({
                "schema_version": 1, "saga_id": saga.id, "style": style(saga), "status": saga.status, "steps": saga.steps,
                "reason": saga.reason,
            }))?;
        }
        return Ok(Exit::OK);
    }
    if shown.is_empty() {
        session.say("no sagas; `kafkalab saga run --store URL` runs one");
        return Ok(Exit::OK);
    }
    let mut table =
        Table::new(&[text("SAGA"), text("STYLE"), text("STATUS"), number("DONE"), text("AT"), text("REASON")]);
    for saga in &shown {
        let done = saga.steps.iter().filter(|step| **step == StepStatus::Done).count();
        let at = ORDER_SAGA.steps.get(saga.at).filter(|_| !saga.status.is_over()).map_or("", |step| step.name);
        let reason = saga.reason.clone().unwrap_or_default();
        let (status, done) = (saga.status.to_string(), done.to_string());
        table.row([saga.id.clone(), style(saga).to_owned(), status, done, at.to_owned(), reason]);
    }
    stdout::write(table.render(&session.terminal).as_bytes())?;
    if let Some(last) = found.last().filter(|_| found.len() == args.limit) {
        session.say(&escape::text(&format!("there may be more: --after {}", last.id)));
    }
    Ok(Exit::OK)
}

pub async fn show(args: Show, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let (version, saga) = load(&store, &args.id).await.map_err(explained)?;
    let kept = effects(&store, &args.id).await.map_err(explained)?;
    if options.json {
        let effects: serde_json::Map<_, _> =
            kept.iter().map(|(keeps, kept)| ((*keeps).to_owned(), json!(kept))).collect();
        let style = style(&saga);
        stdout::json(&json!({
            "schema_version": 1, "style": style, "version": version, "saga": saga, "effects": effects,
        }))?;
        return Ok(Exit::OK);
    }
    let reason = saga.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let mut lines = vec![format!("saga {}: {}{reason}", saga.id, saga.status)];
    if is_choreographed(&saga) {
        lines.push(
            "nobody keeps a log of all of it: gathered from those of the services, causes before effects".to_owned(),
        );
    }
    for (entry, nth) in saga.log.iter().zip(1..) {
        let step = entry.step.map_or(String::new(), |step| format!("step {step}"));
        let note = entry.note.as_ref().map(|note| format!("  ({note})")).unwrap_or_default();
        lines.push(format!("{nth:>3}  {:<28} {step}{note}", entry.what));
    }
    for (step, status) in ORDER_SAGA.steps.iter().zip(&saga.steps) {
        lines.push(format!("     {:<28} {}", step.name, word(*status)));
    }
    let width = session.terminal.width();
    let text: String = lines.iter().map(|line| folded(&escape::text(line.trim_end()), width) + "\n").collect();
    stdout::write(text.as_bytes())?;
    Ok(Exit::OK)
}

fn style(saga: &Saga) -> &'static str {
    if is_choreographed(saga) { "choreography" } else { "orchestration" }
}
