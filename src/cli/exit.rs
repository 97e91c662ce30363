//! How the program ends: one place that prints errors and picks the exit code.

use std::process::ExitCode;

use color_eyre::{
    Report,
    config::{HookBuilder, Theme},
};

use super::{escape, security, stderr, terminal::Terminal};
use crate::app::{Error, saga::SagaError};

/// Exit codes, as every `--help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    pub const OK: Exit = Exit(0);
    pub const FAILURE: Exit = Exit(1);
    pub const USAGE: Exit = Exit(2);
    pub const UNREACHABLE: Exit = Exit(3);
    pub const TIMED_OUT: Exit = Exit(4);
    /// Of a saga: a compensation waits for somebody.
    pub const PARKED: Exit = Exit(5);
    pub const INTERRUPTED: Exit = Exit(130);
    pub const TERMINATED: Exit = Exit(143);
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.0)
    }
}

/// A mistake in what was typed or piped in: exit 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// An end with a code of its own, of which everything has been said already.
#[derive(Debug, thiserror::Error)]
#[error("exit code {}", .0.0)]
pub struct Quiet(pub Exit);

/// Errors as plain text without places in the source: they are for the person who typed the command.
pub fn install_hooks() {
    let hooks = HookBuilder::blank().theme(Theme::new()).display_env_section(false);
    let _ = hooks.install(); // installed already: a second call in one process
}

/// The code that an error stands for.
pub fn code(report: &Report) -> Exit {
    for cause in report.chain() {
        if let Some(Quiet(exit)) = cause.downcast_ref() {
            return *exit;
        }
        if cause.is::<Usage>() || cause.is::<super::config::ConfigError>() {
            return Exit::USAGE;
        }
        if let Some(SagaError::NotTaken(_)) = cause.downcast_ref() {
            return Exit::TIMED_OUT;
        }
        match cause.downcast_ref::<Error>() {
            Some(Error::Invalid(_)) => return Exit::USAGE,
            Some(Error::TimedOut { .. }) => return Exit::TIMED_OUT,
            Some(error) if error.is_unreachable() => return Exit::UNREACHABLE,
            _ => {}
        }
    }
    Exit::FAILURE
}

/// Help goes to stdout, mistakes to stderr; either may be closed. clap repeats what was typed as it is, so a mistake with
/// something in it that a terminal would obey is printed without clap's styles, and harmless.
pub fn print_usage(error: &clap::Error) {
    let is_plain = |argument: std::ffi::OsString| !argument.to_string_lossy().chars().any(escape::is_harmful);
    if !error.use_stderr() || std::env::args_os().all(is_plain) {
        let _ = error.print();
    } else {
        stderr::line(escape::text(error.to_string().trim_end()));
    }
}

/// Says on stderr what went wrong; texts that came from a broker cannot write escape sequences.
pub fn print(report: &Report, terminal: &Terminal) {
    if report.chain().any(|cause| cause.is::<Quiet>()) {
        return;
    }
    let causes: Vec<String> = report.chain().map(ToString::to_string).collect();
    let palette = terminal.err.palette;
    let hint = |text: &str| stderr::line(format_args!("{} {}", palette.emphasis("hint:"), escape::text(text)));
    stderr::line(terminal.on_stderr(&format!("{} {}", palette.error("error:"), escape::text(&causes.join(": ")))));
    // the rest of a report (places in the source, environment) is for developers
    let text = format!("{report:?}");
    for text in text.lines().filter_map(|line| line.strip_prefix("Suggestion: ")) {
        hint(text);
    }
    for cause in report.chain() {
        if let Some(Error::Denied { why, .. }) = cause.downcast_ref() {
            hint(security::advice(why));
        }
    }
}
