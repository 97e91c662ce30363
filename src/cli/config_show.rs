//! `config show`: each setting, its value, and who gave it.

use std::io::Write;

use clap::Subcommand;
use color_eyre::Result;
use serde_json::json;

use super::{escape, exit::Exit, session::Session};

/// Show the settings and where each comes from
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Each setting, its value, and who gave it
    Show {
        /// As a JSON document
        #[arg(short = 'J', long)]
        json: bool,
    },
}

pub fn run(args: &Args, session: &Session) -> Result<Exit> {
    let What::Show { json } = args.command;
    let rows = session.settings.rows();
    let text = if json {
        let settings: Vec<_> = rows
            .iter()
            .map(|row| json!({"key": row.key, "value": row.value, "source": row.source.to_string()}))
            .collect();
        format!("{}\n", json!({"schema_version": 1, "settings": settings}))
    } else {
        let width = rows.iter().map(|row| row.key.len()).max().unwrap_or(0);
        rows.iter()
            .map(|row| {
                let value = row.value.as_deref().unwrap_or("-");
                format!("{:width$}  {}  ({})\n", row.key, escape::text(value), escape::text(&row.source.to_string()))
            })
            .collect()
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::OK),
    }
}
