//! `learn`: the lessons, and a place to take each of them in.

mod progress;
mod prompt;

use color_eyre::{Report, Result, Section};
use serde_json::json;

use self::progress::Progress;
use super::{
    exit::{Exit, Usage},
    session::Session,
    stdout,
    table::{Table, text},
    words::{block, did_you_mean, folded, wrap},
};
use crate::app::learn::{LESSONS, Lesson, lesson, near};

/// Lessons of a few minutes: a short text, commands to type, and a look at what really happened
///
/// Alone it lists the lessons, what is done, and the next one. With a name it starts that one: on a broker and a store of
/// its own, which end with it. At its prompt `kafkalab` commands and everything else that a shell knows are run; after each
/// of them it is looked on the broker and in the store whether the lesson is done. In a pipe it reads its commands from
/// there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
At the prompt: check, hint, text, quit; everything else is a command. Ctrl-C ends a command, and at the prompt the lesson.
What is done is kept in the user's data folder; removing the file learned.txt there begins anew.

Examples:
  kafkalab learn
  kafkalab learn topic
  kafkalab learn topic --hint
  echo 'seq 2 | kafkalab produce greetings' | kafkalab learn topic

Exit codes: 0 done (or listed), 1 left before it was done, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The lesson
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print the text of the lesson, and start nothing
    #[arg(long, requires = "name")]
    text: bool,
    /// Print its hint, and start nothing
    #[arg(long, requires = "name", conflicts_with = "text")]
    hint: bool,
    /// The list as a JSON document
    #[arg(short = 'J', long, conflicts_with = "name")]
    json: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit> {
    let mut progress = Progress::load(session);
    let Some(name) = &args.name else { return list(&progress, args.json, session) };
    let lesson = lesson(name).ok_or_else(|| unknown(name))?;
    if args.text {
        stdout::write(page(lesson, session).as_bytes())?;
    } else if args.hint {
        stdout::write(in_lines(lesson.hint, session).as_bytes())?;
    } else {
        return prompt::run(lesson, &mut progress, session).await;
    }
    Ok(Exit::OK)
}

fn unknown(name: &str) -> Report {
    let usage: Report = Usage(format!("there is no lesson {name:?}")).into();
    usage.suggestion(did_you_mean(&near(name), "`kafkalab learn` lists them"))
}

fn list(progress: &Progress, as_json: bool, session: &Session) -> Result<Exit> {
    if as_json {
        let lesson = |lesson: &Lesson| json!({"name": lesson.name, "title": lesson.title, "done": progress.is_done(lesson.name)});
        stdout::json(&json!({"schema_version": 1, "lessons": LESSONS.iter().map(lesson).collect::<Vec<_>>()}))?;
        return Ok(Exit::OK);
    }
    let page = match session.terminal.width() {
        Some(width) if width < TABLE => LESSONS.iter().map(|lesson| narrow(lesson, progress, width)).collect(),
        _ => {
            let mut table = Table::new(&[text("LESSON"), text("DONE"), text("WHAT IT SHOWS")]);
            for lesson in LESSONS {
                table.row([lesson.name, if progress.is_done(lesson.name) { "done" } else { "-" }, lesson.title]);
            }
            table.render(&session.terminal)
        }
    };
    stdout::write(page.as_bytes())?;
    session.say(&progress.next_words());
    Ok(Exit::OK)
}

/// Columns that the list needs as a table.
const TABLE: usize = 80;
/// Longer lines are hard to read.
const READABLE: usize = 100;

/// A lesson of the list where there is no room for columns.
fn narrow(lesson: &Lesson, progress: &Progress, width: usize) -> String {
    let done = if progress.is_done(lesson.name) { " (done)" } else { "" };
    block(&format!("{}{done}", lesson.name), lesson.title, width)
}

/// A sentence; what goes on below it stands further in.
fn in_lines(text: &str, session: &Session) -> String {
    folded(text, session.terminal.width().map(|width| width.min(READABLE))) + "\n"
}

/// The text, and what to type.
fn page(lesson: &Lesson, session: &Session) -> String {
    let width = session.terminal.width().unwrap_or(READABLE).min(READABLE);
    let title = format!("{}: {}", lesson.name, lesson.title);
    let paragraphs = [title.as_str()].into_iter().chain(lesson.text.split("\n\n"));
    let text: String =
        paragraphs.map(|paragraph| wrap(&paragraph.replace('\n', " "), width).join("\n") + "\n\n").collect();
    let commands: String = lesson.commands.iter().map(|command| format!("  {command}\n")).collect();
    format!("{text}{commands}")
}
