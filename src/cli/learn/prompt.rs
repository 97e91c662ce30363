//! One lesson: a broker and a store of its own, and a line after the other until it is done.

use std::{path::PathBuf, process::Stdio, time::Duration};

use color_eyre::{Result, eyre::WrapErr};
use tokio::{signal::unix::Signal, time::timeout};

use super::{Progress, in_lines, page};
use crate::{
    app::{
        StoreUrl,
        broker::EmbeddedBroker,
        learn::{Found, Lesson, Place},
    },
    cli::{broker::on_this_broker, escape, exit::Exit, session::Session, stdout},
};

/// A check asks a broker in this process: it hangs only where something is broken.
const CHECK_WITHIN: Duration = Duration::from_secs(15);
/// Nobody types more.
const LONGEST_LINE: u64 = 64 * 1024;

pub async fn run(lesson: &'static Lesson, progress: &mut Progress, session: &Session) -> Result<Exit> {
    // Ctrl-C is for the command that runs; at the prompt it ends the lesson.
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let broker = EmbeddedBroker::start(0, None).wrap_err("starting a broker")?;
    let folder = Folder::new(lesson.name)?;
    let store = StoreUrl::sqlite(folder.0.join("store.db"));
    let place = Place { cluster: session.connect_to(&broker.address.to_string()).await?, store };
    stdout::write(page(lesson, session).as_bytes())?;
    session.say(&format!("(check, hint, text, quit; a broker runs on {})", broker.address));
    let mut told = String::new();
    let exit = loop {
        let line = tokio::select! {
            line = next_line(session) => line?,
            _ = interrupt.recv() => break Exit::INTERRUPTED,
        };
        let Some(line) = line else { break Exit::FAILURE };
        match line.trim() {
            "" => continue,
            "quit" | "exit" => break Exit::FAILURE,
            "hint" => stdout::write(in_lines(lesson.hint, session).as_bytes())?,
            "text" | "help" => stdout::write(page(lesson, session).as_bytes())?,
            "check" => match check(lesson, &place).await {
                Ok(seen) => break finish(lesson, &seen, progress, session)?,
                Err(missing) => {
                    let missing = format!("not done: {}", escape::text(&missing));
                    stdout::write(in_lines(&missing, session).as_bytes())?
                }
            },
            command => {
                command_runs(command, &broker, &place, &mut interrupt, session).await?;
                if let Ok(seen) = check(lesson, &place).await {
                    // the rest of the commands shows what came of it
                    if lesson.commands.last().is_none_or(|last| *last == command) {
                        break finish(lesson, &seen, progress, session)?;
                    }
                    if seen != told {
                        session.say(&format!("(done: {seen}; `check` ends the lesson)"));
                        told = seen;
                    }
                }
            }
        }
    };
    if exit == Exit::FAILURE {
        match check(lesson, &place).await {
            Ok(seen) => return finish(lesson, &seen, progress, session),
            Err(missing) => session.say(&format!("not done: {missing}")),
        }
    }
    Ok(exit)
}

async fn check(lesson: &Lesson, place: &Place) -> Found {
    timeout(CHECK_WITHIN, (lesson.check)(place)).await.unwrap_or_else(|_| Err("the broker does not answer".to_owned()))
}

fn finish(lesson: &Lesson, seen: &str, progress: &mut Progress, session: &Session) -> Result<Exit> {
    let word = session.terminal.out.palette.emphasis("done:");
    let told = in_lines(&format!("{word} {seen}"), session) + &in_lines(lesson.learned, session);
    stdout::write(told.as_bytes())?;
    progress.add(lesson.name, session);
    session.say(&progress.next_words());
    Ok(Exit::OK)
}

/// One line, with a prompt for a person; none at the end of the input. Nothing is read ahead of a terminal: what is typed
/// behind it is for the command. A line may end as Windows ends it.
async fn next_line(session: &Session) -> Result<Option<String>> {
    if session.terminal.input && session.terminal.err.is_terminal {
        use std::io::Write;
        let _ = std::io::stderr().write_all(b"learn> "); // nobody may be there to read it
    }
    let read = tokio::task::spawn_blocking(|| {
        use std::io::{BufRead, Read};
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(LONGEST_LINE).read_until(b'\n', &mut bytes).map(|_| bytes)
    });
    let bytes = read.await.wrap_err("reading a line")?.wrap_err("reading a line")?;
    Ok((!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned()))
}

/// By the shell, with the lesson's broker and store. Only a person's terminal is also the command's input.
async fn command_runs(
    command: &str,
    broker: &EmbeddedBroker,
    place: &Place,
    interrupt: &mut Signal,
    session: &Session,
) -> Result<()> {
    let mut shell = tokio::process::Command::new("sh");
    on_this_broker(&mut shell, broker);
    shell
        .env("KAFKALAB_STORE", place.store.with_password())
        .env_remove("KAFKALAB_CRASH_AT")
        .env("KAFKALAB_TOPIC_PREFIX", "");
    shell.arg("-c").arg(command).stdin(if session.terminal.input { Stdio::inherit() } else { Stdio::null() });
    let mut child = shell.kill_on_drop(true).spawn().wrap_err("starting sh")?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = interrupt.recv() => {} // it has reached the command, too
        }
    };
    if !status.success() {
        session.say(&format!("({status})"));
    }
    Ok(())
}

/// Removed with the lesson.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("kafkalab-learn-{name}-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir_all(&folder).wrap_err_with(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // the system's cleaner finds it otherwise
    }
}
