//! `es publish`: the log to Kafka.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use color_eyre::Result;

use super::{Options, relayed};
use crate::{
    app::{
        event_sourcing::{
            Step,
            publish::{self, publish},
        },
        relay::{self, Told, make_topics, prefixed},
    },
    cli::{exit::Exit, narrator::Narrator, session::Session, words::counted},
};

/// Follow the log and publish each event: at-least-once, in order per order
///
/// Several may run: one holds the lease, the others wait for it. A transaction per batch, fenced by the store's id, so that
/// a publisher that was paused and comes back can send nothing old.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab es publish                      until Ctrl-C
  kafkalab es publish --once               what is there, then end

Exit codes: 0 done, 1 failed or an event that cannot be published, 2 wrong usage,
3 broker unreachable, 4 timed out, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// End when everything is published
    #[arg(long)]
    once: bool,
    /// With --once: fail when a broker or the store has been away for so long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::cli::session::duration, requires = "once")]
    give_up_after: Duration,
    /// The longest pause between two looks at the log
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = crate::cli::session::duration)]
    every: Duration,
    /// Events of one transaction at most
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
}

pub async fn run(args: Args, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open(session).await?;
    let Some(cluster) = session.connect_or_wait(!args.once).await? else { return Ok(session.stop.exit()) };
    let prefix = options.prefix(session);
    let topics: Vec<String> = publish::TOPICS.iter().map(|topic| prefixed(&prefix, topic)).collect();
    let made = make_topics(&cluster, &topics).await?;
    if !made.is_empty() {
        session.say(&format!("made {}", made.join(", ")));
    }
    let options_of = relay::Options {
        prefix,
        batch: args.batch as usize,
        once: args.once,
        every: args.every,
        patience: args.give_up_after,
    };
    if !args.once {
        session.say(&format!("following {}; Ctrl-C to stop", store.url()));
    }
    let narrator = Mutex::new((Narrator::new(session, options.json), false));
    let tell = |told: Told<'_>| {
        let mut narrator = narrator.lock().unwrap_or_else(PoisonError::into_inner);
        let (narrator, trouble) = &mut *narrator;
        match told {
            Told::Waits => session.say("another publisher holds the lease; waiting for it"),
            Told::Trouble(cause) => {
                if !std::mem::replace(trouble, true) {
                    session.say(&format!("trying again: {cause}"));
                }
            }
            told => {
                *trouble = false;
                if let Some(step) = Step::published(&told) {
                    narrator.tell(&step);
                }
            }
        }
    };
    let stop = session.stop.token();
    let published = publish(&store, &cluster, &options_of, &options.crash(), &stop, &tell).await.map_err(relayed)?;
    narrator.into_inner().unwrap_or_else(PoisonError::into_inner).0.end()?;
    if session.stop.is_asked() {
        return Ok(session.stop.exit());
    }
    session.say(&format!("{} published", counted(published, "event")));
    Ok(Exit::OK)
}
