//! `config show`: each setting, its value, and who gave it.

use std::io::Write;

use clap::Subcommand;
use color_eyre::Result;
use serde_json::json;

use super::{escape, exit::Exit, session::Session, words::folded};

/// Show the settings and where each comes from
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab config show
  kafkalab config show --json

Exit codes: 0 done, 1 failed, 2 wrong usage")]
pub struct Args {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Each setting, its value, and who gave it
    #[command(after_help = "\
Examples:
  kafkalab config show
  kafkalab config show --json

Exit codes: 0 done, 1 failed, 2 wrong usage")]
    Show {
        /// As a JSON document
        #[arg(short = 'J', long)]
        json: bool,
    },
}

pub fn run(args: &Args, session: &Session) -> Result<Exit> {
    let What::Show { json } = args.command;
    let rows = session.settings.rows();
    let profile = session.settings.profile.as_ref();
    let text = if json {
        let settings: Vec<_> = rows
            .iter()
            .map(|row| json!({"key": row.key, "value": row.value, "source": row.source.to_string()}))
            .collect();
        let profile = profile.map(|profile| &profile.value);
        format!("{}\n", json!({"schema_version": 1, "profile": profile, "settings": settings}))
    } else {
        let width = rows.iter().map(|row| row.key.len()).max().unwrap_or(0);
        let chosen = profile.map(|profile| {
            let (name, source) = (escape::text(&profile.value), profile.source.to_string());
            format!("profile {name} ({})\n", escape::text(&source))
        });
        let rows = rows.iter().map(|row| {
            let value = row.value.as_deref().unwrap_or("-");
            let line =
                format!("{:width$}  {}  ({})", row.key, escape::text(value), escape::text(&row.source.to_string()));
            folded(&line, session.terminal.width()) + "\n"
        });
        chosen.into_iter().chain(rows).collect()
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::OK),
    }
}
