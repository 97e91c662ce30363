//! `broker`: the embedded broker, until Ctrl-C or around a command.

use std::{io::ErrorKind::AddrInUse, os::unix::process::ExitStatusExt, path::PathBuf, process::ExitStatus};

use color_eyre::{Result, Section, eyre::WrapErr};

use super::{exit::Exit, session::Session};
use crate::app::broker::{EmbeddedBroker, LARGEST_ANSWER, SAVED_EVERY};

/// Run the embedded broker: Kafka for trying things out, no Docker, no Java
///
/// Alone it runs until Ctrl-C. With a command behind `--` it runs that command with KAFKALAB_BROKERS set, stops with it
/// and passes its exit code on. It speaks Kafka's protocol to kcat and Java clients too. For trying things out: it
/// keeps everything in memory, and a kill -9 loses what was not saved.
#[derive(Debug, clap::Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  kafkalab broker\n",
    "  kafkalab broker --dir ~/lab\n",
    "  kafkalab broker -- sh -c 'kafkalab produce greetings -l /etc/services && kafkalab consume greetings -e'\n\n",
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM; with a command, the command's own",
))]
pub struct Args {
    /// Port to listen on, on 127.0.0.1; 0 takes a free one [default: 9092, with a command 0]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Keep topics and records in this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A command to run with KAFKALAB_BROKERS set
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let port = args.port.unwrap_or(if args.command.is_empty() { 9092 } else { 0 });
    let broker = EmbeddedBroker::start(port, args.dir.as_deref())
        .wrap_err_with(|| match &args.dir {
            Some(dir) => format!("starting the embedded broker on 127.0.0.1:{port} with folder {}", dir.display()),
            None => format!("starting the embedded broker on 127.0.0.1:{port}"),
        })
        .map_err(|error| match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(AddrInUse) => error.suggestion("another port: kafkalab broker --port 19092 (0 takes a free one)"),
            _ if args.dir.is_some() => {
                error.suggestion("a folder that this user may write: kafkalab broker --dir ~/lab")
            }
            _ => error,
        })?;
    if args.command.is_empty() {
        return alone(&broker, &args, session).await;
    }
    let exit = around(&broker, &args.command, session).await;
    drop(broker); // saves
    exit
}

async fn alone(broker: &EmbeddedBroker, args: &Args, session: &Session) -> Result<Exit> {
    let address = broker.address;
    session.say(&format!("embedded broker on {address}; Ctrl-C stops it"));
    match &args.dir {
        Some(dir) => {
            session.say(&format!("saved to {} every {} s and at the end", dir.display(), SAVED_EVERY.as_secs()))
        }
        None => session.say("everything is in memory and ends with this process; --dir keeps it"),
    }
    let elsewhere = if address.port() == 9092 { String::new() } else { format!(" -b {address}") };
    session.terminal.hint(&format!("in another terminal: kafkalab consume orders{elsewhere}"));
    session.stop.asked().await;
    Ok(session.stop.exit())
}

async fn around(broker: &EmbeddedBroker, command: &[String], session: &Session) -> Result<Exit> {
    let Some((program, arguments)) = command.split_first() else { return Ok(Exit::OK) };
    let mut child = on_this_broker(tokio::process::Command::new(program).args(arguments), broker)
        .spawn()
        .wrap_err_with(|| format!("running {program}"))
        .suggestion("is it installed? A whole line is for a shell: kafkalab broker -- sh -c 'LINE'")?;
    let status = tokio::select! {
        status = child.wait() => status?,
        () = session.stop.asked() => {
            // Ctrl-C reached the child too, being in the terminal's foreground group; SIGTERM did not.
            if session.stop.exit() == Exit::TERMINATED {
                child.start_kill()?;
            }
            child.wait().await?;
            return Ok(session.stop.exit());
        }
    };
    Ok(pass_on(status))
}

/// Makes `kafkalab` in the command mean this program at this broker, whatever the user's files say of other brokers.
pub fn on_this_broker<'a>(
    command: &'a mut tokio::process::Command,
    broker: &EmbeddedBroker,
) -> &'a mut tokio::process::Command {
    command
        .env("PATH", own_folder_first())
        .env("KAFKALAB_BROKERS", broker.address.to_string())
        .env("KAFKALAB_MAX_ANSWER", LARGEST_ANSWER.to_string())
        .env("KAFKALAB_TLS_ENABLED", "false")
        .env("KAFKALAB_SASL_MECHANISM", "none")
}

/// The PATH with this program's folder in front, so that `kafkalab` in the command is this one, installed or not.
fn own_folder_first() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
    std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path))).unwrap_or(path)
}

/// The command's own exit code; 128 + the signal's number where one ended it, as shells do.
fn pass_on(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).map_or(Exit::FAILURE, Exit)
}
