//! Asking a person before something that cannot be taken back.

use std::io::Write;

use color_eyre::{Report, Result, Section, eyre::WrapErr};

use super::{escape, exit::Usage, session::Session};

/// Before anything is asked of a broker: without `--yes` there must be somebody to answer. `what` is like "deleting
/// topics", `hint` tells what `-y` does.
pub fn needs_terminal(yes: bool, session: &Session, what: &str, hint: &str) -> Result<()> {
    if yes || (session.terminal.input && session.terminal.err.is_terminal) {
        return Ok(());
    }
    let usage: Report = Usage(format!("{what} asks first, and there is no terminal to ask on")).into();
    Err(usage.suggestion(hint.to_owned()))
}

/// Asks on stderr. Whatever is no yes is a no, the end of the input included.
pub async fn yes(question: &str) -> Result<bool> {
    // nobody may be there to read it; then nobody says yes
    let _ = std::io::stderr().write_all(format!("{} [y/N] ", escape::text(question)).as_bytes());
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = line.await.wrap_err("reading the answer")?.wrap_err("reading the answer")?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}
