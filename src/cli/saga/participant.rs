//! `saga participant`: a service in a process of its own.

use std::sync::{Mutex, PoisonError};

use color_eyre::Result;

use super::{served, steps::Step};
use crate::{
    app::{
        inbox::Handler,
        saga::{Place, Services, Told, prepare, serve},
        sagas::{order::PARTICIPANTS, service::Service},
    },
    cli::{exit::Exit, narrator::Narrator, pattern::Options, session::Session},
};

/// Run one service of the order saga: order, payment or shipping
///
/// It shares the store with the others, handles its commands and compensations, and answers by the outbox; in a choreography
/// it reacts to the events of the others.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab saga participant payment --store sqlite:shop.db
  kafkalab saga run --participants external --store sqlite:shop.db    in another terminal

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The service
    #[arg(value_name = "NAME", value_parser = participant)]
    participant: Service,
    /// A name that outlives the process: started again with it, it goes on at once
    #[arg(long, value_name = "ID")]
    instance_id: Option<String>,
    /// Leave it to another process to send what waits in the outbox
    #[arg(long)]
    no_relay: bool,
    /// End when stdin does: whoever started it is gone
    #[arg(long, hide = true)]
    while_stdin: bool,
}

fn participant(text: &str) -> Result<Service, String> {
    let known = PARTICIPANTS.into_iter().find(|(name, _)| *name == text).map(|(_, service)| service);
    known.ok_or_else(|| format!("write one of {}", PARTICIPANTS.map(|(name, _)| name).join(", ")))
}

pub async fn run(args: Args, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open(session).await?;
    let Some(cluster) = session.connect_or_wait(true).await? else { return Ok(session.stop.exit()) };
    let (prefix, crash) = (options.prefix(session), options.crash());
    prepare(&store, &cluster, &prefix).await.map_err(served)?;
    let narrator = Mutex::new(Narrator::new(session, options.json));
    let tell = |told: Told<'_>| {
        if let Some(step) = Step::of(&told) {
            narrator.lock().unwrap_or_else(PoisonError::into_inner).tell(&step);
        }
    };
    let services = Services {
        orchestrator: false,
        participants: vec![args.participant],
        relay: !args.no_relay,
        instance: args.instance_id,
    };
    let place = Place { store: &store, cluster: &cluster, prefix: &prefix, crash: &crash, tell: &tell };
    session.say(&format!("{} on {}; Ctrl-C to stop", args.participant.name(), store.url()));
    let stop = session.stop.token();
    tokio::select! {
        ended = serve(&services, &place, &stop) => ended.map_err(served)?,
        () = stdin_ends(), if args.while_stdin => {}
    }
    narrator.into_inner().unwrap_or_else(PoisonError::into_inner).end()?;
    Ok(session.stop.exit())
}

async fn stdin_ends() {
    let mut stdin = tokio::io::stdin();
    let mut byte = [0];
    while tokio::io::AsyncReadExt::read(&mut stdin, &mut byte).await.is_ok_and(|count| count > 0) {}
}
