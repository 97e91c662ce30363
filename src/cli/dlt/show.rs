//! `dlt show`

use color_eyre::Result;

use super::{Options, Place, document, explained, origin};
use crate::{
    app::{
        self,
        dead_letters::{self, Letter},
    },
    cli::{complete, escape, exit::Exit, session::Session, slips::topic_name, stdout, words::counted},
};

/// Show all about a dead letter: where it came from, why, and the record
///
/// On a terminal what it would obey is shown as \x1b; a pipe gets the bytes of key and value as they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab dlt show orders 0:12
  kafkalab dlt show orders 0:12 -J | jq -r .payload

Exit codes: 0 done, 1 failed or not there, 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The topic, by its name or by that of its dead letters
    #[arg(value_name = "TOPIC", value_parser = topic_name, add = complete::topic())]
    topic: String,
    /// The letter, as `dlt list` names it
    #[arg(value_name = "PARTITION:OFFSET")]
    at: Place,
}

pub async fn run(args: &Args, options: &Options, session: &Session) -> Result<Exit> {
    let cluster = session.connect().await?;
    let Some(topic) = options.find(&args.topic, &cluster, session).await? else {
        options.none(&args.topic, session);
        return Ok(Exit::FAILURE);
    };
    let letter = match dead_letters::one(&cluster, &topic.name, args.at.0).await {
        Ok(letter) => letter,
        Err(error) => return Err(explained(error, &cluster).await),
    };
    if options.json {
        stdout::json(&document::whole(&topic.name, &letter))?;
    } else {
        stdout::write(&page(&topic.name, &letter, session.terminal.out.is_terminal))?;
    }
    Ok(Exit::OK)
}

fn page(topic: &str, letter: &Letter, on_terminal: bool) -> Vec<u8> {
    let mut page = format!("{} {}\n", escape::line(topic.as_bytes()), letter.at).into_bytes();
    for (name, value) in facts(letter) {
        page.extend(format!("  {name:<10} {}\n", escape::line(value.as_bytes())).into_bytes());
    }
    let record = &letter.record;
    let headers = letter.own_headers();
    page.extend(counted(headers.len(), "header").bytes().chain(*b"\n"));
    for (name, value) in headers {
        let value = value.map_or_else(|| "(null)".into(), escape::line);
        page.extend(format!("  {}: {value}\n", escape::line(name)).into_bytes());
    }
    put(&mut page, "key", record.key.as_deref(), on_terminal);
    put(&mut page, "value", record.value.as_deref(), on_terminal);
    page
}

fn facts(letter: &Letter) -> Vec<(&'static str, String)> {
    let time = |ms: i64| if ms < 0 { "none".to_owned() } else { app::rfc_3339(ms) };
    let mut facts = Vec::new();
    match &letter.note {
        None => facts.push(("note", "none: no sender of dead letters wrote it".to_owned())),
        Some(note) => {
            facts.push(("from", origin(letter)));
            let kind = note.timestamp_type.as_ref().map(|kind| format!(" ({kind})")).unwrap_or_default();
            facts.extend(note.timestamp.map(|ms| ("written", time(ms) + &kind)));
            facts.extend(note.group.clone().map(|group| ("group", group)));
            facts.extend(note.attempts.map(|attempts| ("attempts", attempts.to_string())));
            facts.extend(note.exception.clone().map(|exception| ("exception", exception)));
            facts.extend(note.reason.clone().map(|reason| ("reason", reason)));
        }
    }
    if letter.note.as_ref().is_none_or(|note| note.timestamp != Some(letter.record.timestamp)) {
        facts.push(("time", time(letter.record.timestamp)));
    }
    facts.push(("state", if letter.replayed { "replayed" } else { "waiting" }.to_owned()));
    facts
}

fn put(page: &mut Vec<u8>, what: &str, bytes: Option<&[u8]>, on_terminal: bool) {
    let Some(bytes) = bytes else { return page.extend(format!("{what}: null\n").into_bytes()) };
    page.extend(format!("{what}, {}\n", counted(bytes.len(), "byte")).into_bytes());
    if bytes.is_empty() {
        return;
    }
    match on_terminal {
        true => escape::push(page, bytes),
        false => page.extend_from_slice(bytes),
    }
    page.push(b'\n');
}
