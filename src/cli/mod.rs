//! The subcommands: options, rendering, exit codes, signals. Each is one file; this one only delegates.

mod ask;
mod broker;
mod complete;
mod config;
mod config_show;
mod consume;
mod cqrs;
mod crash_points;
mod dlt;
mod doctor;
mod each;
mod es;
mod escape;
mod exit;
mod format;
#[cfg(test)]
mod given;
mod groups;
mod grpc;
mod grpc_consumer;
mod grpc_server;
mod input;
mod json_record;
mod lab;
mod learn;
mod narrator;
mod offset;
mod outbox;
mod pattern;
mod produce;
mod saga;
mod screen;
mod security;
mod session;
mod shell;
mod slips;
mod stderr;
mod stdout;
mod table;
mod terminal;
mod topics;
mod words;

use std::{process::ExitCode, time::Duration};

use clap::{ArgAction, Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, error::ContextKind};
use color_eyre::Result;

use self::{exit::Exit, session::Session, terminal::Terminal};

/// Learn, run and break event-driven patterns on Kafka
///
/// A Kafka command line at which a kcat user is at home; event sourcing, outbox, sagas and CQRS to run and to break; and a
/// broker in the same program, so that nothing else is needed to try them.
#[derive(Debug, Parser)]
#[command(
    name = "kafkalab",
    version,
    disable_help_subcommand = true,
    after_help = AFTER_HELP,
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
To begin with:
  kafkalab learn                 lessons of a few minutes, on their own broker
  kafkalab saga run --fail-at 2  a payment is declined, and all is undone
  kafkalab broker                a broker on localhost:9092, without Docker
  kafkalab consume orders        in another terminal: follow a topic
  kafkalab produce --sample 10   in a third one: ten order events

Next: `kafkalab COMMAND --help` has examples of each. Something does not work? `kafkalab doctor`

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM";

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// Brokers to begin with, host:port, several with commas
    ///
    /// Before it count, in this order: KAFKALAB_BROKERS, KAFKA_BROKERS, RPK_BROKERS, ./kafkalab.toml, the user's
    /// config.toml, localhost:9092. `kafkalab config show` tells where each value comes from.
    #[arg(short, long, global = true, visible_alias = "bootstrap-server", value_name = "LIST")]
    brokers: Vec<String>,
    /// Set a setting, such as request_timeout=10s; `config show` lists them
    #[arg(id = "settings", short = 'X', global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The profile of the configuration file to use
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// No colours
    #[arg(long, global = true)]
    no_color: bool,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more on stderr; twice for the client's log
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    Produce(produce::Args),
    Consume(consume::Args),
    Topics(topics::Args),
    Groups(groups::Args),
    Dlt(dlt::Args),
    Es(es::Args),
    Outbox(outbox::Args),
    Saga(saga::Args),
    Cqrs(cqrs::Args),
    Grpc(grpc::Args),
    GrpcConsumer(grpc_consumer::Args),
    GrpcServer(grpc_server::Args),
    CrashPoints(crash_points::Args),
    Broker(broker::Args),
    Doctor(doctor::Args),
    Learn(learn::Args),
    Config(config_show::Args),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
}

/// Parses, runs, and gives the exit code.
pub fn main() -> ExitCode {
    exit::install_hooks();
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    // clap paints its help and its errors before it has read this flag
    let command = match arguments.iter().any(|word| word == "--no-color") {
        true => Cli::command().color(ColorChoice::Never),
        false => Cli::command(),
    };
    let command = fitted(command, help_width());
    shell::complete(&command);
    let cli = match command.clone().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(mut error) => {
            let hint = slips::hint(&error, &arguments, &Cli::command());
            if hint.is_some() {
                // "to pass '-C' as a value": there is better advice
                error.remove(ContextKind::Suggested);
            }
            exit::print_usage(&error);
            if let Some(hint) = hint {
                Terminal::detect(false, false).hint(&hint);
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::USAGE.0));
        }
    };
    let terminal = Terminal::detect(cli.global.no_color, cli.global.quiet);
    log(cli.global.verbose);
    match run(cli, terminal.clone()) {
        Ok(exit) => exit.into(),
        Err(report) => {
            exit::print(&report, &terminal);
            exit::code(&report).into()
        }
    }
}

fn run(cli: Cli, terminal: Terminal) -> Result<Exit> {
    let flags = config::Flags {
        brokers: cli.global.brokers,
        profile: cli.global.profile,
        topic_prefix: None,
        set: cli.global.set,
    };
    match &cli.command {
        Command::Completions(args) => return shell::completions(args),
        Command::Man(args) => return shell::man(args),
        _ => {}
    }
    let session = Session::new(&flags, terminal)?;
    // One thread for the client: measured, a second one costs more than it brings.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        // a lesson leaves Ctrl-C to the command that it runs
        if !matches!(cli.command, Command::Learn(_)) {
            session.stop.listen()?;
        }
        match cli.command {
            Command::Produce(args) => produce::run(args, &session).await,
            Command::Consume(args) => consume::run(args, &session).await,
            Command::Topics(args) => topics::run(args, &session).await,
            Command::Groups(args) => groups::run(args, &session).await,
            Command::Dlt(args) => dlt::run(args, &session).await,
            Command::Es(args) => es::run(args, &session).await,
            Command::Outbox(args) => outbox::run(args, &session).await,
            Command::Saga(args) => saga::run(args, &session).await,
            Command::Cqrs(args) => cqrs::run(args, &session).await,
            Command::Grpc(args) => grpc::run(args, &session).await,
            Command::GrpcConsumer(args) => grpc_consumer::run(args, &session).await,
            Command::GrpcServer(args) => grpc_server::run(args, &session).await,
            Command::CrashPoints(args) => crash_points::run(&args, &session),
            Command::Broker(args) => broker::run(args, &session).await,
            Command::Doctor(args) => doctor::run(&args, &session).await,
            Command::Learn(args) => learn::run(&args, &session).await,
            Command::Config(args) => config_show::run(&args, &session),
            Command::Completions(_) | Command::Man(_) => Ok(Exit::OK),
        }
    });
    // A thread that still waits for stdin must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    exit
}

/// As clap measures it, which breaks the rest of a page by it.
fn help_width() -> usize {
    let columns = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let size = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    size.or_else(columns).filter(|width| *width > 0).unwrap_or(100)
}

/// Examples in the columns that there are. clap would break their lines too, and lose the columns.
fn fitted(command: clap::Command, width: usize) -> clap::Command {
    let examples = command.get_after_help().map(ToString::to_string);
    let command = match examples {
        Some(text) => {
            let fitted = |line: &str| match line.starts_with(' ') {
                true => words::folded(line, Some(width)),
                false => line.to_owned(),
            };
            command.after_help(text.lines().map(fitted).collect::<Vec<_>>().join("\n"))
        }
        None => command,
    };
    command.mut_subcommands(|command| fitted(command, width))
}

/// The client's log on stderr: nothing, warnings, everything.
fn log(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => "kafkalab=info",
        _ => "kafkalab=debug,rskafka=info",
    };
    let filter = std::env::var("KAFKALAB_LOG").unwrap_or_else(|_| level.to_owned());
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
