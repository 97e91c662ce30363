//! `crash-points`: where a process can be told to die, and what that proves.

use color_eyre::Result;
use serde_json::json;

use super::{
    exit::Exit,
    session::Session,
    stdout,
    table::{Table, text},
    words::block,
};
use crate::app::crash::{CrashPoint, POINTS};

/// List the places where a process can be told to die, with what each one proves
///
/// `--crash-at POINT[:NTH]`, or KAFKALAB_CRASH_AT, ends a command there by SIGKILL: nothing is flushed, nobody is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab crash-points
  kafkalab es --crash-at relay.after-ack
  kafkalab es create --price USD:9.99 --crash-at append.after-commit

Exit codes: 0 done, 1 failed, 2 wrong usage")]
pub struct Args {
    /// A JSON document
    #[arg(short = 'J', long)]
    json: bool,
}

pub fn run(args: &Args, session: &Session) -> Result<Exit> {
    if args.json {
        let points: Vec<_> = POINTS.iter().map(|p| json!({"name": p.name, "proves": p.proves})).collect();
        stdout::json(&json!({"schema_version": 1, "crash_points": points}))?;
        return Ok(Exit::OK);
    }
    let longest = |text: fn(&CrashPoint) -> &str| POINTS.iter().map(|point| text(point).len()).max().unwrap_or(0);
    let needed = longest(|point| point.name) + 2 + longest(|point| point.proves);
    let page = match session.terminal.width() {
        Some(width) if width < needed => POINTS.iter().map(|point| block(point.name, point.proves, width)).collect(),
        _ => {
            let mut table = Table::new(&[text("CRASH POINT"), text("WHAT IS SEEN AFTER IT")]);
            for point in POINTS {
                table.row([point.name, point.proves]);
            }
            table.render(&session.terminal)
        }
    };
    stdout::write(page.as_bytes())?;
    Ok(Exit::OK)
}
