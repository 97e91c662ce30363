//! `saga run`: the command that people type first.

use std::{
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use color_eyre::{Report, Result, eyre::WrapErr};
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::{
    explained, served,
    steps::{Step, ending, outcome},
};
use crate::{
    app::{
        Cluster, Store,
        money::Money,
        order::{OrderId, ProductId, UserId},
        relay::Stop,
        saga::{NewSaga, Place, Services, Style, prepare, serve, start, taken, until_over},
        sagas::{
            Patience, Saga,
            order::{ANSWER, ORDER_SAGA, PARTICIPANTS},
            participant::{Fault, FaultKind},
        },
    },
    cli::{
        exit::Exit,
        lab::Lab,
        narrator::Narrator,
        pattern::{Options, order_id},
        session::{Session, duration},
        stdout,
        words::{counted, next_step},
    },
};

/// Run an order through three services: created, paid, shipped; or compensated
///
/// Self-contained: where no broker and no store are named, both are its own. The services run in this process, each with its
/// inbox and its outbox; `--participants external` leaves them to `kafkalab saga participant`, in other terminals.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab saga run
  kafkalab saga run --fail-at 2                      ProcessPayment is declined, CreateOrder compensated
  kafkalab saga run --style choreography             the same, and nobody knows all steps
  kafkalab saga run --fail-at 3 --fault crash        the service dies, is started again, and the saga completes
  kafkalab saga run --fail-at 3 --compensation-fails 9   a compensation is parked: exit 5

Exit codes: 0 ended as its definition says (completed, or fully compensated), 1 failed, 2 wrong usage,
3 broker unreachable, 4 timed out, 5 a compensation is parked, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// Who knows what comes next: an orchestrator, or (choreography) nobody: each service reacts to the events of the others
    #[arg(long, value_name = "STYLE", default_value = "orchestration", value_parser = style)]
    style: Style,
    /// The step at which something goes wrong, from 1: CreateOrder, ProcessPayment, ShipOrder
    #[arg(long, value_name = "N", value_parser = step)]
    fail_at: Option<usize>,
    /// What goes wrong: declined, timeout, late-reply, crash, duplicate-reply, unavailable
    #[arg(long, value_name = "KIND", default_value = "declined", value_parser = fault_kind, requires = "fail_at")]
    fault: FaultKind,
    /// The first K attempts of each compensation fail; after five it is parked
    #[arg(long, value_name = "K", default_value_t = 0)]
    compensation_fails: u32,
    /// Who runs the services: here, or `external`
    #[arg(long, value_name = "WHERE", default_value = "here", value_parser = ["here", "external"])]
    participants: String,
    /// How long an answer is waited for [default: 30s; 500ms where the fault is about time]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    step_timeout: Option<Duration>,
    /// So many sagas
    #[arg(short = 'n', long = "num", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// The order's id, which is the saga's [default: a new one]
    #[arg(long, value_name = "ID", value_parser = order_id, conflicts_with = "count")]
    order: Option<OrderId>,
    #[arg(long, value_name = "ID", default_value = "ada", help = "Who orders")]
    user: UserId,
    #[arg(long, value_name = "ID", default_value = "coffee-mug", help = "What is ordered")]
    product: ProductId,
    #[arg(long, value_name = "PRICE", default_value = "USD:12.99", help = "What it costs")]
    price: Money,
}

/// Where a fault is about time, people do not want to wait.
const IMPATIENT: Duration = Duration::from_millis(500);
/// Sagas that are started in one transaction.
const BATCH: usize = 500;

fn style(text: &str) -> Result<Style, String> {
    match text {
        "orchestration" => Ok(Style::Orchestration),
        "choreography" => Ok(Style::Choreography),
        _ => Err("write orchestration or choreography".to_owned()),
    }
}

/// By its number.
fn step(text: &str) -> Result<usize, String> {
    let steps = ORDER_SAGA.steps;
    let named = || steps.iter().zip(1..).map(|(step, nth)| format!("{nth} {}", step.name)).collect::<Vec<_>>();
    let number = text.parse().ok().filter(|number| (1..=steps.len()).contains(number));
    number.ok_or_else(|| format!("the steps are {}", named().join(", ")))
}

fn fault_kind(text: &str) -> Result<FaultKind, String> {
    let known = FaultKind::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, kind)| kind);
    known.ok_or_else(|| format!("write one of {}", FaultKind::ALL.map(|(name, _)| name).join(", ")))
}

pub async fn run(args: Args, options: &Options, session: &Session) -> Result<Exit> {
    let lab = Lab::prepare("saga", options, session)?;
    let (cluster, _broker) = lab.cluster(options, session).await?;
    let store = options.open_at(&lab.store).await?;
    if options.crash_at.is_some() {
        lab.say_how_to_resume(["saga resume", "saga list"], options, session, &cluster);
    }
    let prefix = options.prefix(session);
    prepare(&store, &cluster, &prefix).await.map_err(served)?;
    let sagas = args.sagas()?;
    let is_told = sagas.len() == 1;
    let narrator = Mutex::new(Narrator::new(session, options.json));
    let say = |step: Step| narrator.lock().unwrap_or_else(PoisonError::into_inner).tell(&step);
    let tell = |told: crate::app::saga::Told<'_>| {
        if let Some(step) = Step::of(&told).filter(|step| is_told || step.is_trouble()) {
            say(step);
        }
    };
    let crash = options.crash();
    let place = Place { store: &store, cluster: &cluster, prefix: &prefix, crash: &crash, tell: &tell };
    let stop = session.stop.token().child_token();
    let services = args.services();
    let serving = serve(&services, &place, &stop);
    let running = async {
        let run = Run { args: &args, store: &store, cluster: &cluster, lab: &lab, prefix: &prefix };
        let over = run.to_the_end(&sagas, &stop, &say).await;
        stop.cancel();
        over
    };
    let (served_well, over) = tokio::join!(serving, running);
    let Some((over, took)) = over? else {
        served_well.map_err(served)?;
        session.say("`kafkalab saga resume` finishes what is open");
        return Ok(session.stop.exit());
    };
    served_well.map_err(served)?;
    if is_told {
        for saga in &over {
            ending(&store, saga, &say).await.map_err(explained)?;
        }
    }
    narrator.into_inner().unwrap_or_else(PoisonError::into_inner).end()?;
    if session.terminal.is_quiet() && !options.json {
        stdout::write(over.iter().map(|saga| format!("{} {}\n", saga.id, saga.status)).collect::<String>().as_bytes())?;
    }
    if !is_told {
        let rate = over.len() as f64 / took.as_secs_f64();
        session.say(&format!(
            "{} in {:.1} s, {rate:.0} a second",
            counted(over.len() as u64, "saga"),
            took.as_secs_f64()
        ));
    }
    next_step(session, "kafkalab saga run --fail-at 2 --fault timeout; break it: --crash-at handler.after-commit");
    Ok(outcome(&over, session))
}

struct Run<'a> {
    args: &'a Args,
    store: &'a Store,
    cluster: &'a Cluster,
    lab: &'a Lab,
    prefix: &'a str,
}

impl Run<'_> {
    /// Starts them and waits for their ends; `None` where it was told to stop before.
    async fn to_the_end(
        &self,
        sagas: &[NewSaga],
        stop: &Stop,
        say: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<Option<(Vec<Saga>, Duration)>> {
        let dying = self.dying_service(stop, say);
        let work = async {
            let began = Instant::now();
            for some in sagas.chunks(BATCH) {
                start(self.store, self.args.style, some).await.map_err(explained)?;
                if let [saga] = sagas {
                    say(Step::Started { saga_id: saga.order_id.to_string() });
                }
            }
            let ids: Vec<String> = sagas.iter().map(|saga| saga.order_id.to_string()).collect();
            tokio::select! {
                over = until_over(self.store, &ids, stop) => {
                    Ok(over.map_err(explained)?.map(|over| (over, began.elapsed())))
                }
                error = self.nobody_takes(&ids) => Err(error),
            }
        };
        tokio::select! {
            over = work => over,
            failed = dying => failed.map(|()| None),
        }
    }

    /// The order service keeps the deadline of a choreography; where it is not there, its customer has one.
    async fn nobody_takes(&self, ids: &[String]) -> Report {
        if self.args.style == Style::Orchestration || self.args.participants == "here" {
            return std::future::pending().await;
        }
        tokio::time::sleep(self.args.step_timeout.unwrap_or(ANSWER)).await;
        match taken(self.store, ids).await {
            Ok(()) => std::future::pending().await,
            Err(error) => explained(error),
        }
    }

    /// With the fault `crash` a service is a process of its own, told to die behind its first commit; it is started again.
    async fn dying_service(&self, stop: &Stop, say: &(dyn Fn(Step) + Send + Sync)) -> Result<()> {
        let Some(name) = self.args.dying() else { return std::future::pending().await };
        for crash in [Some("handler.after-commit"), None] {
            let mut child = self.service(name, crash)?;
            let _stdin = child.stdin.take(); // waiting for a child would close it
            say(Step::Service { service: name, what: if crash.is_some() { "started" } else { "started again" } });
            tokio::select! {
                ended = child.wait() => {
                    ended.wrap_err("waiting for a service")?;
                    say(Step::Service { service: name, what: "died behind its commit, before its answer went out" });
                }
                () = stop.cancelled() => {
                    let _ = child.kill().await;
                    return Ok(());
                }
            }
        }
        stop.cancelled().await;
        Ok(())
    }

    fn service(&self, name: &str, crash: Option<&str>) -> Result<Child> {
        let brokers: Vec<String> = self.cluster.bootstrap().iter().map(ToString::to_string).collect();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["saga", "participant", name, "--no-relay", "--while-stdin", "--instance-id", name, "-q", "-b"])
            .arg(brokers.join(","));
        command.env("KAFKALAB_STORE", self.lab.store.with_password()).args(["--topic-prefix", self.prefix]);
        command.env_remove("KAFKALAB_CRASH_AT"); // that is this process's
        if let Some(crash) = crash {
            command.args(["--crash-at", crash]);
        }
        // its stdin ends with this process, however that ends, and then so does the service
        command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true).spawn().wrap_err("starting a service")
    }
}

impl Args {
    fn sagas(&self) -> Result<Vec<NewSaga>> {
        let about_time = matches!(self.fault, FaultKind::Timeout | FaultKind::LateReply) && self.fail_at.is_some();
        let only = self.fail_at.filter(|_| about_time);
        let patience = match (self.step_timeout, only) {
            (Some(limit), _) => Some(Patience::of(None, limit)),
            (None, Some(step)) => Some(Patience::of(Some(step), IMPATIENT)),
            (None, None) => None,
        };
        let late = self.step_timeout.unwrap_or(IMPATIENT) * 3 / 2;
        let fault = Fault {
            at: self.fail_at.unwrap_or(0),
            kind: self.fault,
            compensation_fails: self.compensation_fails,
            late_ms: u64::try_from(late.as_millis()).unwrap_or(u64::MAX),
        };
        let fault = (self.fail_at.is_some() || self.compensation_fails > 0).then_some(fault);
        let mut given = self.order.clone();
        let one = |_| {
            let order_id = match given.take() {
                Some(order) => order,
                None => OrderId::new(Uuid::now_v7().to_string())?,
            };
            let (user_id, product_id) = (self.user.clone(), self.product.clone());
            Ok(NewSaga { order_id, user_id, product_id, price: self.price, patience, fault: fault.clone() })
        };
        (0..self.count).map(one).collect()
    }

    /// The service that is to die.
    fn dying(&self) -> Option<&'static str> {
        let at = self.fail_at.filter(|_| self.fault == FaultKind::Crash && self.participants == "here")?;
        Some(ORDER_SAGA.steps.get(at - 1)?.participant)
    }

    fn services(&self) -> Services {
        let mut services = Services { orchestrator: self.style == Style::Orchestration, ..Services::all() };
        let dying = self.dying();
        services.participants.clear();
        if self.participants == "here" {
            let here = PARTICIPANTS.into_iter().filter(|(name, _)| Some(*name) != dying);
            services.participants.extend(here.map(|(_, service)| service));
        }
        services
    }
}
