//! `saga participant`: a service in a process of its own.

use std::sync::{Mutex, PoisonError};

use color_eyre::Result;

use super::{served, steps::Step};
use crate::{
    app::{
        saga::{Place, Services, Told, prepare, serve},
        sagas::{order::PARTICIPANTS, participant::Participant},
    },
    cli::{exit::Exit, narrator::Narrator, pattern::Options, session::Session},
};

/// Run one service of the order saga: order, payment or shipping
///
/// It shares the store with the others, handles its commands and compensations, and answers by the outbox.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab saga participant payment --store sqlite:shop.db
  kafkalab saga run --participants external --store sqlite:shop.db    in another terminal

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The service
    #[arg(value_name = "NAME", value_parser = participant)]
    participant: Participant,
    /// A name that outlives the process: started again with it, it goes on at once
    #[arg(long, value_name = "ID")]
    instance_id: Option<String>,
    /// Leave it to another process to send what waits in the outbox
    #[arg(long)]
    no_relay: bool,
}

fn participant(text: &str) -> Result<Participant, String> {
    let known = PARTICIPANTS.into_iter().find(|(name, _)| *name == text).map(|(_, participant)| participant);
    known.ok_or_else(|| format!("write one of {}", PARTICIPANTS.map(|(name, _)| name).join(", ")))
}

pub async fn run(args: Args, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open(session).await?;
    let Some(cluster) = session.connect_or_wait(true).await? else { return Ok(session.stop.exit()) };
    let (prefix, crash) = (options.prefix(session), options.crash());
    prepare(&store, &cluster, &prefix).await?;
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
    session.say(&format!("{} on {}; Ctrl-C to stop", args.participant.name, store.url()));
    serve(&services, &place, &session.stop.token()).await.map_err(served)?;
    narrator.into_inner().unwrap_or_else(PoisonError::into_inner).end()?;
    Ok(session.stop.exit())
}
