//! `grpc-consumer` itself: runs the handlers and the sender.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use color_eyre::{Report, Result, Section, eyre::eyre};
use serde_json::json;

use crate::{
    app::{
        Store,
        grpc_consumer::{
            self, Consumer, TOPICS, Told,
            meters::Meters,
            send::{self, Sending},
        },
        handler::{self, HandlerError, What},
        listen, metrics,
        notify::{NoTarget, Notifier, Target},
        relay::make_topics,
    },
    cli::{
        escape,
        exit::Exit,
        pattern::{Options, address, handled, usage},
        session::{Session, duration},
        stdout,
        words::counted,
    },
};

#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Run {
    /// Only this one: analytics, notifications, search-index; several times for several
    #[arg(long, value_name = "NAME", value_parser = str::parse::<Consumer>, value_delimiter = ',')]
    only: Vec<Consumer>,
    /// Whom to tell of each order: file:PATH, http://HOST/PATH or https://HOST/PATH
    ///
    /// A file gets a JSON line each, a webhook a POST each; 2xx says that it was heard, and redirects are not followed.
    /// KAFKALAB_NOTIFY names one too: a webhook's path may be a secret.
    #[arg(long, value_name = "TARGET")]
    notify: Option<String>,
    /// Attempts before a notification is dead
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    attempts: u32,
    /// Pause after the first attempt that failed; it doubles, up to 5 minutes
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration)]
    backoff: Duration,
    /// A name that outlives the process: started again with it, it goes on at once
    #[arg(long, value_name = "ID")]
    instance_id: Option<String>,
    /// End when all that is there now is handled, and no notification waits
    #[arg(short = 'e', long, visible_alias = "exit")]
    once: bool,
    /// With --once: fail when a broker or the store has been away for so long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, requires = "once")]
    give_up_after: Duration,
    /// Serve metrics in Prometheus' text here, at /metrics
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    metrics: Option<SocketAddr>,
    /// Records of one transaction at most
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
}

/// As clap fills it where nothing is said.
impl Default for Run {
    fn default() -> Self {
        Self {
            only: Vec::new(),
            notify: None,
            attempts: 10,
            backoff: Duration::from_millis(500),
            instance_id: None,
            once: false,
            give_up_after: Duration::from_secs(30),
            metrics: None,
            batch: 2000,
        }
    }
}

impl Run {
    fn wanted(&self) -> Vec<Consumer> {
        let is_wanted = |one: &Consumer| self.only.is_empty() || self.only.contains(one);
        Consumer::ALL.into_iter().filter(is_wanted).collect()
    }

    /// Read here and not by clap, which repeats what it cannot read: a secret may be in it.
    async fn sending(&self, options: &Options, wanted: &[Consumer]) -> Result<Option<(Target, Sending)>> {
        let named =
            self.notify.clone().or_else(|| std::env::var("KAFKALAB_NOTIFY").ok().filter(|text| !text.is_empty()));
        let Some(text) = named else { return Ok(None) };
        let target: Target = text.parse().map_err(|error: NoTarget| usage(format!("--notify: {error}")))?;
        if !wanted.contains(&Consumer::Notifications) {
            return match self.notify {
                Some(_) => Err(usage("--notify is for notifications, which --only leaves out")),
                None => Ok(None),
            };
        }
        let notifier = Notifier::open(&target).await?;
        let (attempts, pause, crash) = (self.attempts.into(), self.backoff, options.crash());
        Ok(Some((target, Sending { notifier, attempts, pause, crash })))
    }

    fn handler(&self, options: &Options, session: &Session) -> handler::Options {
        handler::Options {
            prefix: options.prefix(session),
            group: None,
            instance: self.instance_id.clone(),
            batch: self.batch as usize,
            once: self.once,
            patience: self.give_up_after,
        }
    }
}

pub async fn run(args: Run, options: &Options, session: &Session) -> Result<Exit> {
    let wanted = args.wanted();
    let listener = match args.metrics {
        Some(address) => Some(listen::bind(address).await?),
        None => None,
    };
    let sending = args.sending(options, &wanted).await?;
    let store = options.open(session).await?;
    let Some(cluster) = session.connect_or_wait(!args.once).await? else { return Ok(session.stop.exit()) };
    make_topics(&cluster, &options.topics(session, &TOPICS)).await?;
    say_whom(&store, sending.as_ref().map(|(target, _)| target), &wanted, session);
    let handler_options = args.handler(options, session);
    let run = grpc_consumer::Run {
        store: &store,
        cluster: &cluster,
        consumers: &wanted,
        options: &handler_options,
        sending: sending.as_ref().map(|(_, sending)| sending),
    };
    let teller = Mutex::new(Teller { options, session, in_trouble: HashSet::new(), failed: None });
    let meters = Meters::default();
    let tell = |told: Told<'_>| {
        meters.count(&told);
        teller.lock().unwrap_or_else(PoisonError::into_inner).tell(&told);
    };
    let stop = session.stop.token();
    let running = run.run(&stop, &tell);
    let ended = match listener {
        None => running.await?,
        Some(listener) => {
            session.say(&format!("metrics: http://{}/metrics", listener.local_addr()?));
            let refresh = {
                let (meters, store, cluster, wanted) = (meters.clone(), store.clone(), cluster.clone(), wanted.clone());
                move || meters.refresh(&store, &cluster, &wanted)
            };
            let done = stop.child_token();
            let serving = metrics::serve(listener, meters.registry(), refresh, &done);
            let running = async {
                let ended = running.await;
                done.cancel();
                ended
            };
            tokio::join!(running, serving).0?
        }
    };
    if let Some(failed) = teller.into_inner().unwrap_or_else(PoisonError::into_inner).failed {
        return Err(failed);
    }
    summed_up(ended, &store, &args, session).await
}

fn say_whom(store: &Store, target: Option<&Target>, wanted: &[Consumer], session: &Session) {
    let names: Vec<String> = wanted.iter().map(|consumer| consumer.group(store)).collect();
    session.say(&format!("groups: {}", names.join(", ")));
    match target {
        Some(target) => session.say(&escape::text(&format!("notifications go to {target}"))),
        None if wanted.contains(&Consumer::Notifications) => {
            session.say("notifications wait in the store: --notify file:PATH or a webhook's URL sends them");
        }
        None => {}
    }
}

async fn summed_up(ended: grpc_consumer::Ended, store: &Store, args: &Run, session: &Session) -> Result<Exit> {
    let mut failed = None;
    for (consumer, outcome) in ended.handled {
        match outcome {
            Ok(report) => {
                let handler::Report { records, effects, repeats, dead } = report;
                let (records, effects) = (counted(records, "record"), counted(effects, "effect"));
                let (repeats, dead) = (counted(repeats, "repeat"), counted(dead, "dead letter"));
                session.say(&format!("{consumer}: {records}: {effects}, {repeats}, {dead}"));
            }
            // told to stop while it was in trouble, of which all was said
            Err(_) if session.stop.is_asked() && !args.once => {}
            Err(error) if failed.is_none() => failed = Some(explained(consumer, error)),
            Err(error) => session.say(&escape::text(&format!("{consumer}: {error}"))),
        }
    }
    let send::Report { sent, failed: refused, dead } = ended.sent;
    if sent + refused > 0 {
        let attempts = if refused == 0 { String::new() } else { format!(", {} failed", counted(refused, "attempt")) };
        session.say(&format!("{} sent{attempts}, {dead} dead", counted(sent, "notification")));
    }
    if let Some(error) = failed {
        return Err(error);
    }
    if session.stop.is_asked() {
        return Ok(session.stop.exit());
    }
    let dead = store.notifications().await?.dead;
    if dead > 0 && args.wanted().contains(&Consumer::Notifications) {
        return Err(eyre!(
            "{} dead",
            if dead == 1 { "1 notification is".into() } else { format!("{dead} notifications are") }
        ))
        .suggestion(
            "kafkalab grpc-consumer notifications --status dead says why; grpc-consumer retry sends them again",
        );
    }
    Ok(Exit::OK)
}

pub fn explained(consumer: Consumer, error: HandlerError) -> Report {
    handled(error).wrap_err(consumer.name())
}

struct Teller<'a> {
    options: &'a Options,
    session: &'a Session,
    /// Who is in trouble, of which it was said.
    in_trouble: HashSet<&'static str>,
    failed: Option<Report>,
}

/// Under which the sender's trouble is known.
const SENDER: &str = "sender";

impl Teller<'_> {
    fn tell(&mut self, told: &Told<'_>) {
        if self.failed.is_none() {
            self.failed = self.try_tell(told).err();
        }
    }

    fn try_tell(&mut self, told: &Told<'_>) -> Result<()> {
        match told {
            Told::Handler { consumer, told } => self.handler(*consumer, told),
            Told::Failed { consumer, error } => {
                self.in_trouble.remove(consumer.name());
                self.trouble(consumer.name(), &format!("{error}; trying again, the others go on"));
                Ok(())
            }
            Told::Send(told) => self.send(told),
        }
    }

    fn handler(&mut self, consumer: Consumer, told: &handler::Told<'_>) -> Result<()> {
        match told {
            handler::Told::Record { partition, offset, message, what } => {
                let (word, reason) = match what {
                    What::Effect { .. } => ("effect", None),
                    What::Repeat => ("repeat", None),
                    What::PassedBy => ("passed_by", None),
                    What::Dead(reason) => ("dead_letter", Some(*reason)),
                };
                if self.options.json {
                    return stdout::json(&json!({
                        "step": "handled", "handler": consumer.name(), "topic": &*partition.topic,
                        "partition": partition.partition, "offset": offset, "message_id": message, "what": word,
                        "reason": reason,
                    }));
                }
                if let Some(reason) = reason {
                    self.say(&format!("{consumer}: dead letter: {partition} offset {offset}: {reason}"));
                }
            }
            handler::Told::Committed { .. } => drop(self.in_trouble.remove(consumer.name())),
            handler::Told::Trouble(cause) => self.trouble(consumer.name(), &format!("trying again: {cause}")),
            handler::Told::Assigned(_) | handler::Told::Revoked(_) | handler::Told::Notice(_) => {}
        }
        Ok(())
    }

    fn send(&mut self, told: &send::Told<'_>) -> Result<()> {
        let (id, reason, again) = match told {
            send::Told::Sent(claimed) => {
                self.in_trouble.remove(SENDER);
                (claimed.id, None, None)
            }
            send::Told::Failed { claimed, reason, again } => {
                match again {
                    Some(_) => self.trouble(SENDER, &format!("trying again: {reason}")),
                    None => self.say(&format!("notification {} is dead: {reason}", claimed.id)),
                }
                (claimed.id, Some(*reason), *again)
            }
            send::Told::Trouble(error) => {
                self.trouble(SENDER, &format!("trying again: {error}"));
                return Ok(());
            }
        };
        if !self.options.json {
            return Ok(());
        }
        let what = match (reason, again) {
            (None, _) => "sent",
            (Some(_), Some(_)) => "failed",
            (Some(_), None) => "dead",
        };
        let again = again.map(|again| again.as_secs_f64());
        stdout::json(&json!({"step": "notified", "id": id, "what": what, "reason": reason, "again_in": again}))
    }

    /// Once, until it is over.
    fn trouble(&mut self, who: &'static str, what: &str) {
        if self.in_trouble.insert(who) {
            self.say(&format!("{who}: {what}"));
        }
    }

    fn say(&self, text: &str) {
        self.session.say(&escape::text(text));
    }
}
