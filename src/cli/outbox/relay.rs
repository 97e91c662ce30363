//! `outbox relay`: what waits, to Kafka.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use color_eyre::Result;
use serde_json::json;

use crate::{
    app::{
        outbox::{RELAYED, relay},
        relay::{self, Told, make_topics},
    },
    cli::{
        escape,
        exit::Exit,
        narrator::short,
        pattern::{Options, age, gave_up, relayed},
        session::{Session, duration},
        stdout,
        words::{counted, folded},
    },
};

/// Send what waits in the outbox: at-least-once, in order per aggregate
///
/// Several may run: the shards are divided among those that are alive, and one that dies is followed within 10 s. A
/// transaction per batch, fenced at the broker, so that a relay that was paused and comes back can send nothing old.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab outbox relay                    until Ctrl-C; waits for Kafka, and says so
  kafkalab outbox relay --once             what is there, then end

Exit codes: 0 done, 1 failed or rows are parked, 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// End when nothing is left that can be published
    #[arg(long)]
    once: bool,
    /// With --once: fail when a broker or the store has been away for so long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, requires = "once")]
    give_up_after: Duration,
    /// The longest pause between two looks where nobody says that something came
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = duration)]
    every: Duration,
    /// Rows of one transaction at most
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Remove what is published and was written so long ago, from time to time
    #[arg(long, value_name = "TIME", value_parser = age, conflicts_with = "once")]
    purge_older_than: Option<Duration>,
    /// Make no topics: rows for a topic that is not there are tried again, then parked
    #[arg(long)]
    no_create: bool,
}

pub async fn run(args: Args, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open(session).await?;
    let Some(cluster) = session.connect_or_wait(!args.once).await? else { return Ok(session.stop.exit()) };
    let topics = options.topics(session, &RELAYED);
    if !args.no_create {
        let made = make_topics(&cluster, &topics).await?;
        if !made.is_empty() {
            session.say(&format!("made {}", made.join(", ")));
        }
    }
    let relay_options = relay::Options {
        prefix: options.prefix(session),
        batch: args.batch as usize,
        once: args.once,
        every: args.every,
        patience: args.give_up_after,
    };
    if !args.once {
        session.say(&format!("relaying from {}; Ctrl-C to stop", store.url()));
    }
    let teller = Mutex::new(Teller { options, session, in_trouble: false, failed: None });
    let tell = |told: Told<'_>| teller.lock().unwrap_or_else(PoisonError::into_inner).tell(told);
    let stop = session.stop.token();
    let crash = options.crash();
    let relaying = relay(&store, &cluster, &relay_options, args.purge_older_than, &crash, &stop, &tell);
    let report = relaying.await.map_err(|error| relayed(gave_up(error, &cluster)))?;
    if let Some(failed) = teller.into_inner().unwrap_or_else(PoisonError::into_inner).failed {
        return Err(failed);
    }
    let held = if report.held > 0 { format!(", {} held behind them", report.held) } else { String::new() };
    let parked =
        if report.parked > 0 { format!("; {} parked{held}", counted(report.parked, "row")) } else { String::new() };
    session.say(&format!("{} published{parked}", counted(report.published, "message")));
    if session.stop.is_asked() {
        return Ok(session.stop.exit());
    }
    if report.parked > 0 {
        session.terminal.hint("kafkalab outbox list --status parked has the reasons; then outbox retry, or discard");
        return Ok(Exit::FAILURE);
    }
    Ok(Exit::OK)
}

struct Teller<'a> {
    options: &'a Options,
    session: &'a Session,
    in_trouble: bool,
    failed: Option<color_eyre::Report>,
}

impl Teller<'_> {
    fn tell(&mut self, told: Told<'_>) {
        if self.failed.is_none() {
            self.failed = self.try_tell(told).err();
        }
    }

    fn try_tell(&mut self, told: Told<'_>) -> Result<()> {
        match told {
            Told::Published { record, topic, partition, offset } => {
                self.in_trouble = false;
                if self.options.json {
                    return stdout::json(&json!({
                        "step": "published", "event": record.event_type, "topic": &*topic, "partition": partition,
                        "offset": offset, "key": record.key, "seq": record.place,
                    }));
                }
                if self.session.terminal.is_quiet() {
                    return Ok(());
                }
                let offset = offset.map_or("offset unknown".to_owned(), |offset| format!("offset {offset}"));
                let event = short(&record.event_type);
                let line = format!("published  {event:<16} {topic}[{partition}] {offset}  {}", record.key);
                stdout::write((folded(&escape::text(&line), self.session.terminal.width()) + "\n").as_bytes())
            }
            Told::SetAside { id, reason, parked } => {
                let what = if parked { "parked" } else { "to be tried again" };
                if self.options.json {
                    return stdout::json(&json!({"step": "set_aside", "id": id, "parked": parked, "reason": reason}));
                }
                self.session.say(&escape::text(&format!("{id} is {what}: {reason}")));
                Ok(())
            }
            Told::Waits => Ok(()), // another relay's shard: its lease ends, or it keeps it
            Told::Trouble(cause) => {
                if !std::mem::replace(&mut self.in_trouble, true) {
                    self.session.say(&escape::text(&format!("trying again: {cause}")));
                }
                Ok(())
            }
        }
    }
}
