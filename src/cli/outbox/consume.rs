//! `outbox consume|stock`: the idempotent consumer, and what it has reserved.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use color_eyre::{Report, Result};
use serde_json::json;

use crate::{
    app::{
        TopicPartition,
        handler::{self, Told, What},
        outbox::demo::{TOPICS, reserved},
        relay::make_topics,
        stock::ReserveStock,
    },
    cli::{
        escape,
        exit::Exit,
        pattern::{Options, handled},
        session::{Session, duration},
        stdout,
        table::{Table, number, text},
        words::{counted, folded},
    },
};

/// Reserve stock for each order: the effect happens once, however often its record comes
///
/// A member of a group: several share the partitions. What cannot be handled goes to `orders.dlt` (see `kafkalab dlt`); a
/// database or a broker that is away is waited for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab outbox consume                  until Ctrl-C
  kafkalab outbox consume --once           what is there, then end

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The group [default: reserve-stock]
    #[arg(short, long, visible_short_alias = 'G', value_name = "GROUP")]
    group: Option<String>,
    /// A name that outlives the process: started again with it, it goes on at once
    #[arg(long, value_name = "ID")]
    instance_id: Option<String>,
    /// End when all that is there now is handled
    #[arg(short = 'e', long, visible_alias = "exit")]
    once: bool,
    /// With --once: fail when a broker or the store has been away for so long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, requires = "once")]
    give_up_after: Duration,
    /// Records of one transaction at most
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
}

/// Show what is reserved, by product
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab outbox stock
  kafkalab outbox stock --json

Exit codes: 0 done, 1 failed, 2 wrong usage")]
pub struct Stock {}

pub async fn run(args: Args, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open(session).await?;
    let Some(cluster) = session.connect_or_wait(!args.once).await? else { return Ok(session.stop.exit()) };
    make_topics(&cluster, &options.topics(session, &TOPICS)).await?;
    let handler_options = handler::Options {
        prefix: options.prefix(session),
        group: args.group,
        instance: args.instance_id,
        batch: args.batch as usize,
        once: args.once,
        patience: args.give_up_after,
    };
    let teller = Mutex::new(Teller { options, session, in_trouble: false, failed: None });
    let tell = |told: Told<'_>| teller.lock().unwrap_or_else(PoisonError::into_inner).tell(&told);
    let stop = session.stop.token();
    let report =
        handler::run(&ReserveStock, &store, &cluster, &handler_options, &stop, &tell).await.map_err(handled)?;
    if let Some(failed) = teller.into_inner().unwrap_or_else(PoisonError::into_inner).failed {
        return Err(failed);
    }
    let handler::Report { records, effects, repeats, dead } = report;
    let (records, effects) = (counted(records, "record"), counted(effects, "effect"));
    session.say(&format!("{records}: {effects}, {}, {}", counted(repeats, "repeat"), counted(dead, "dead letter")));
    if session.stop.is_asked() {
        return Ok(session.stop.exit());
    }
    Ok(Exit::OK)
}

struct Teller<'a> {
    options: &'a Options,
    session: &'a Session,
    in_trouble: bool,
    failed: Option<Report>,
}

impl Teller<'_> {
    fn tell(&mut self, told: &Told<'_>) {
        if self.failed.is_none() {
            self.failed = self.try_tell(told).err();
        }
    }

    fn try_tell(&mut self, told: &Told<'_>) -> Result<()> {
        match told {
            Told::Record { partition, offset, message, what } => {
                self.in_trouble = false;
                self.record(partition, *offset, message, *what)
            }
            Told::Committed { .. } | Told::Notice(_) => Ok(()),
            Told::Assigned(partitions) => {
                self.session.say(&escape::text(&format!("assigned: {}", listed(partitions))));
                Ok(())
            }
            Told::Revoked(partitions) => {
                self.session.say(&escape::text(&format!("gone: {}", listed(partitions))));
                Ok(())
            }
            Told::Trouble(cause) => {
                if !std::mem::replace(&mut self.in_trouble, true) {
                    self.session.say(&escape::text(&format!("trying again: {cause}")));
                }
                Ok(())
            }
        }
    }

    fn record(&self, partition: &TopicPartition, offset: i64, message: &str, what: What<'_>) -> Result<()> {
        let (word, reason) = match what {
            What::Effect { .. } => ("effect", ""),
            What::Repeat => ("repeat", ""),
            What::PassedBy => ("passed by", ""),
            What::Dead(reason) => ("dead letter", reason),
        };
        if self.options.json {
            return stdout::json(&json!({
                "step": "handled", "topic": &*partition.topic, "partition": partition.partition, "offset": offset,
                "message_id": message, "what": word.replace(' ', "_"), "reason": (!reason.is_empty()).then_some(reason),
            }));
        }
        if self.session.terminal.is_quiet() {
            return Ok(());
        }
        let line = format!(
            "{word:<11} {partition} offset {offset}  {message}{}{reason}",
            if reason.is_empty() { "" } else { " " }
        );
        stdout::write((folded(&escape::text(line.trim_end()), self.session.terminal.width()) + "\n").as_bytes())
    }
}

fn listed(partitions: &[TopicPartition]) -> String {
    if partitions.is_empty() {
        return "nothing".to_owned();
    }
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub async fn stock(_: &Stock, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look("outbox consume", session).await?;
    let stock = reserved(&store).await?;
    if options.json {
        let products: Vec<_> =
            stock.iter().map(|(product, reserved)| json!({"product_id": product, "reserved": reserved})).collect();
        stdout::json(&json!({"schema_version": 1, "products": products}))?;
        return Ok(Exit::OK);
    }
    if stock.is_empty() {
        session.say("nothing is reserved; `kafkalab outbox consume` reserves what was ordered");
        return Ok(Exit::OK);
    }
    let mut table = Table::new(&[text("PRODUCT"), number("RESERVED")]);
    for (product, reserved) in &stock {
        table.row([product.clone(), reserved.to_string()]);
    }
    stdout::write(table.render(&session.terminal).as_bytes())?;
    Ok(Exit::OK)
}
