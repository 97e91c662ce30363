//! `grpc`: the narrated demonstration of server and consumers, self-contained.

use std::{net::Ipv4Addr, sync::Arc};

use color_eyre::{Report, Result, Section};

use super::{
    exit::Exit,
    lab::Lab,
    narrator::{Line, Narrate, Narrator, short},
    pattern::{Options, handled, relayed},
    session::Session,
    terminal::Palette,
};
use crate::app::{
    event_sourcing::Orders,
    grpc::{Demo, DemoError, Step},
    listen,
};

/// A gRPC server, one call and three consumers in one process, told step by step
///
/// It needs nothing: the server listens on a free port of 127.0.0.1, orders are taken while Kafka is away, the same call
/// comes again, a wrong one is refused, Kafka comes, the relay sends, three consumers apply it, and the record comes twice.
/// `grpc-server` and `grpc-consumer` are the parts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab grpc                            the demonstration
  kafkalab grpc --json | jq -c 'select(.step == \"handled\")'
  kafkalab grpc --crash-at grpc.before-reply
  kafkalab grpc-server --embedded          the server, for calls of your own
  kafkalab grpc-consumer --notify file:told.jsonl

Guarantees: who is answered OK has the order and its message on disk; by an idempotency-key a
call is carried out once; counts and index are effectively once, notifications at least once.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out, 130 Ctrl-C,
143 SIGTERM")]
pub struct Args {
    #[command(flatten)]
    options: Options,
}

/// The demonstration's file for notifications.
const TOLD: &str = "told.jsonl";

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let options = &args.options;
    let mut lab = Lab::prepare("grpc", options, session)?;
    // a store that cannot be opened is told before a file is named
    let orders = Orders::new(options.open_at(&lab.store).await?);
    let told = lab.file("grpc", TOLD, session)?;
    let terminal = session.terminal.clone();
    let demo = Demo {
        orders,
        prefix: options.prefix(session),
        actor: options.actor(),
        crash: options.crash(),
        stop: session.stop.token(),
        told,
        trouble: Arc::new(move |cause| terminal.note(&format!("the server: {cause}"))),
    };
    let mut narrator = Narrator::new(session, options.json);
    let ended = tokio::select! {
        ended = narrated(&demo, &lab, &mut narrator, options, session) => ended,
        () = session.stop.asked() => return Ok(session.stop.exit()),
    };
    ended?;
    narrator.end()?;
    if session.terminal.is_quiet() && !options.json {
        super::stdout::write(b"done\n")?;
    }
    session.terminal.hint(
        "call it yourself: kafkalab grpc-server --embedded; or break this: kafkalab grpc --crash-at notify.after-send",
    );
    Ok(Exit::OK)
}

async fn narrated(
    demo: &Demo,
    lab: &Lab,
    narrator: &mut Narrator<'_>,
    options: &Options,
    session: &Session,
) -> Result<()> {
    // who is to die says first how to go on, which needs the broker
    let early = match options.crash_at {
        Some(_) => Some(lab.cluster(options, session).await?),
        None => None,
    };
    if let Some((cluster, _)) = &early {
        let consume = format!("grpc-consumer --once --notify file:{}", demo.told.display());
        lab.say_how_to_resume(
            ["outbox relay --once", &consume, "grpc-consumer search user-123"],
            options,
            session,
            cluster,
        );
    }
    let listener = listen::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let address = listener.local_addr()?;
    let story = async {
        let order = demo.kafka_is_away(address, &mut |step| narrator.tell(&step)).await.map_err(report)?;
        let (cluster, _broker) = match early {
            Some(early) => early,
            None => lab.cluster(options, session).await?,
        };
        demo.kafka_comes(&cluster, &order, &mut |step| narrator.tell(&step)).await.map_err(report)
    };
    demo.serving(listener, story).await
}

fn report(error: DemoError) -> Report {
    match error {
        DemoError::Outbox(error) => super::outbox::demo::report(error),
        DemoError::Relay(error) => relayed(error),
        DemoError::Handler(consumer, error) => handled(error).wrap_err(consumer.name()),
        DemoError::Broker(error) => error.into(),
        DemoError::Store(error) => error.into(),
        error @ DemoError::NotOurs(_) => {
            let report: Report = error.into();
            report.suggestion("send what waits with `kafkalab grpc-consumer --notify`, or leave --store out")
        }
        error => error.into(),
    }
}

impl Narrate for Step {
    fn line(&self, out: &Palette) -> Line {
        Line::Plain(match self {
            Step::Part { title } => return Line::Part((*title).to_owned()),
            Step::Lesson { text } => return Line::Lesson((*text).to_owned()),
            Step::Serves { service, address } => format!("  serves     {service} on {address}"),
            Step::Away { reason } => format!("  {}       {reason}", out.warn("away")),
            Step::Called { method, user_id, product_id, currency, amount, idempotency_key } => {
                let key = idempotency_key.as_ref().map(|key| format!(", idempotency-key {key}")).unwrap_or_default();
                let user_id = if user_id.is_empty() { "(no user)" } else { user_id };
                format!("  calls      {method} {user_id} {product_id} {currency} {amount}{key}")
            }
            Step::Answered { code, order_id, status, already_done } => {
                let again = if *already_done { ", from the attempt before" } else { "" };
                format!("  {}         order {order_id}: {status}{again}", out.emphasis(code))
            }
            Step::Refused { code, message, fields, .. } if fields.is_empty() => {
                format!("  {}    {code}: {message}", out.warn("refused"))
            }
            Step::Refused { code, fields, .. } => {
                let fields = fields.iter().map(|(field, wrong)| format!("\n             {field}: {wrong}"));
                format!("  {}    {code}{}", out.warn("refused"), fields.collect::<String>())
            }
            Step::Depth { waiting, parked, held } => {
                format!("  outbox     {waiting} waiting, {parked} parked, {held} held")
            }
            Step::Published { event, topic, partition, offset, .. } => {
                let offset = offset.map_or("offset unknown".to_owned(), |offset| format!("offset {offset}"));
                format!("  published  {:<14} {topic}[{partition}] {offset}", short(event))
            }
            Step::Handled { consumer, what, topic, partition, offset, committed, .. } => {
                let committed = committed.map(|next| format!(", committed offset {next}")).unwrap_or_default();
                format!("  {what:<10} {consumer:<14} {topic}[{partition}] offset {offset}{committed}")
            }
            Step::Counted { name, key, count } => format!("  counted    {name} {key}: {count}"),
            Step::Notified { id, text } => format!("  told       {text} (id {id})"),
            Step::Found { words, order_id, status, price } => {
                let price = price.as_ref().map(|price| format!(", {price}")).unwrap_or_default();
                format!("  found      `{words}`: order {order_id}, {status}{price}")
            }
        })
    }
}
