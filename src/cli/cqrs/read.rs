//! `cqrs read`: keeps the read models, and shows them from time to time.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use color_eyre::Result;
use tokio::time::{MissedTickBehavior, interval};

use super::report::{Shown, document, page};
use crate::{
    app::{
        Cluster, Store, TopicPartition,
        cqrs::{
            TOPICS,
            read::read,
            stats::{lag, stats},
        },
        handler::{self, Told, What},
        relay::make_topics,
    },
    cli::{
        escape,
        exit::Exit,
        pattern::{Options, handled},
        screen::Screen,
        session::{Session, duration},
        stdout,
        words::counted,
    },
};

/// Users, products and orders of a report.
const ROWS: usize = 10;

/// Keep the read models: orders per user and product, the last orders, statuses, revenue
///
/// A member of a group that carries the store's id; several share the partitions, and the models are right whatever their
/// number. A report every 10 s: in place on a terminal, in blocks elsewhere, one JSON document each with --json. What cannot
/// be read goes to the dead letters (see `kafkalab dlt`); a database or a broker that is away is waited for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab cqrs read                       until Ctrl-C
  kafkalab cqrs read --every 1s --json     a document a second
  kafkalab cqrs read --once                what is there, then a report and the end

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// Time between two reports
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    every: Duration,
    /// The group [default: cqrs-STORE, by the store's id]
    #[arg(short, long, visible_short_alias = 'G', value_name = "GROUP")]
    group: Option<String>,
    /// A name that outlives the process: started again with it, it goes on at once
    #[arg(long, value_name = "ID")]
    instance_id: Option<String>,
    /// End when all that is there now is in the models
    #[arg(short = 'e', long, visible_alias = "exit")]
    once: bool,
    /// With --once: fail when a broker or the store has been away for so long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, requires = "once")]
    give_up_after: Duration,
    /// Records of one transaction at most
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
}

pub async fn run(args: Args, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open(session).await?;
    let Some(cluster) = session.connect_or_wait(!args.once).await? else { return Ok(session.stop.exit()) };
    make_topics(&cluster, &options.topics(session, &TOPICS)).await?;
    let handler_options = handler::Options {
        prefix: options.prefix(session),
        group: args.group.clone(),
        instance: args.instance_id.clone(),
        batch: args.batch as usize,
        once: args.once,
        patience: args.give_up_after,
    };
    let teller =
        Mutex::new(Teller { session, redraws: session.terminal.redraws() && !options.json, in_trouble: false });
    let tell = |told: Told<'_>| teller.lock().unwrap_or_else(PoisonError::into_inner).tell(&told);
    let missing = |partition: &TopicPartition, count: i64| {
        session.say(&escape::text(&format!(
            "{partition}: {} removed by retention before they were read; kafkalab cqrs rebuild all takes them from the log",
            counted(count, "record")
        )));
    };
    let stop = session.stop.token();
    let mut reports =
        Reports { store: &store, cluster: &cluster, options, session, screen: Screen::new(&session.terminal) };
    let outcome = {
        let reading = read(&store, &cluster, &handler_options, &stop, &tell, &missing);
        tokio::pin!(reading);
        tokio::select! {
            outcome = &mut reading => outcome,
            failed = reports.run(args.every, args.once) => {
                stop.cancel();
                reading.await.map_err(handled)?;
                return failed.map(|()| session.stop.exit());
            }
        }
    };
    let handler::Report { records, effects, dead, .. } = outcome.map_err(handled)?;
    if args.once {
        reports.show().await?;
    }
    let (records, effects) = (counted(records, "record"), counted(effects, "event"));
    session.say(&format!("{records}: {effects}, {}", counted(dead, "dead letter")));
    Ok(if session.stop.is_asked() { session.stop.exit() } else { Exit::OK })
}

struct Reports<'a> {
    store: &'a Store,
    cluster: &'a Cluster,
    options: &'a Options,
    session: &'a Session,
    screen: Screen<'a>,
}

impl Reports<'_> {
    /// One each time; with `once` none before the end.
    async fn run(&mut self, every: Duration, once: bool) -> Result<()> {
        let mut ticks = interval(every.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !once && (self.options.json || !self.session.terminal.is_quiet()) {
                self.show().await?;
            }
        }
    }

    async fn show(&mut self) -> Result<()> {
        let stats = match stats(self.store, ROWS, ROWS).await {
            Ok(stats) => stats,
            Err(error) if error.is_transient() => return Ok(()), // the readers say so, too
            Err(error) => return Err(error.into()),
        };
        let lag = lag(self.cluster, &self.options.prefix(self.session), &stats.told.checkpoints).await;
        let shown = Shown { stats: &stats, lag: lag.as_deref().map_err(ToString::to_string) };
        if self.options.json {
            return stdout::json(&document(&shown));
        }
        let terminal = &self.session.terminal;
        let width = if terminal.redraws() { terminal.width() } else { None };
        self.screen.show(&page(&shown, width, &terminal.out.palette))
    }
}

struct Teller<'a> {
    session: &'a Session,
    /// Words would stand in the picture.
    redraws: bool,
    in_trouble: bool,
}

impl Teller<'_> {
    fn tell(&mut self, told: &Told<'_>) {
        let say = |text: String| self.session.say(&escape::text(&text));
        match told {
            Told::Record { partition, offset, what: What::Dead(reason), .. } => {
                say(format!("dead letter: {partition} offset {offset}: {reason}"));
            }
            Told::Record { .. } | Told::Notice(_) => {}
            Told::Committed { .. } => self.in_trouble = false,
            Told::Assigned(partitions) if !self.redraws => say(format!("assigned: {}", listed(partitions))),
            Told::Revoked(partitions) if !self.redraws => say(format!("gone: {}", listed(partitions))),
            Told::Assigned(_) | Told::Revoked(_) => {}
            Told::Trouble(cause) => {
                if !std::mem::replace(&mut self.in_trouble, true) {
                    self.session.say(&escape::text(&format!("trying again: {cause}")));
                }
            }
        }
    }
}

fn listed(partitions: &[TopicPartition]) -> String {
    if partitions.is_empty() {
        return "nothing".to_owned();
    }
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
