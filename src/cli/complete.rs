//! Names of topics and groups for the shell, while a person types.

use std::{ffi::OsStr, path::PathBuf, time::Duration};

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use super::{
    config::{Flags, Folders, Settings},
    security,
};
use crate::app::{self, Address};

/// A person waits no longer for a name than it takes to type it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Completes an argument that is a topic of the configured brokers.
pub fn topic() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| candidates(current, What::Topics))
}

/// Completes an argument that is a group of the configured brokers.
pub fn group() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| candidates(current, What::Groups))
}

#[derive(Clone, Copy)]
enum What {
    Topics,
    Groups,
}

/// Silent about whatever goes wrong: words between a prompt and what is being typed help nobody.
fn candidates(current: &OsStr, what: What) -> Vec<CompletionCandidate> {
    let Some(begun) = current.to_str() else { return Vec::new() };
    let names = ask(begun, what).unwrap_or_default();
    names.into_iter().filter(|name| name.starts_with(begun) && is_plain(name)).map(CompletionCandidate::new).collect()
}

fn ask(begun: &str, what: What) -> Option<Vec<String>> {
    let current = std::env::current_dir().ok()?;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let folders = Folders { current: &current, home: home.as_deref() };
    let settings = Settings::load(&Flags::default(), |name| std::env::var(name).ok(), folders).ok()?;
    let brokers: Vec<Address> = settings.brokers.value.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?;
    let mut options = security::options(&settings).ok()?;
    options.connect_timeout = options.connect_timeout.min(PATIENCE);
    options.request_timeout = options.request_timeout.min(PATIENCE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let names = runtime.block_on(async {
        match what {
            // Kafka's own topics only for who begins as they do.
            What::Topics => app::topics::names(brokers, options, begun.starts_with('_'), PATIENCE).await,
            What::Groups => app::groups::names(brokers, options, PATIENCE).await,
        }
    });
    runtime.shutdown_background(); // a name server may still be thinking
    Some(names)
}

/// Kafka allows no other names for topics. Of groups it allows any, but whatever else a broker sends would go into a
/// command line.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_that_the_shell_would_act_on_is_not_offered() {
        assert!(super::is_plain("orders.v1_a-b"));
        for name in ["", "a b", "$(reboot)", "a;b", "\u{1b}[2J", "é"] {
            assert!(!super::is_plain(name), "{name:?}");
        }
    }
}
