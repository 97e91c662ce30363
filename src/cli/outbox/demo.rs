//! `outbox` alone: the narrated demonstration, self-contained.

use std::time::Duration;

use color_eyre::{Report, Result};

use crate::{
    app::{
        self, Address, ConnectOptions,
        event_sourcing::Orders,
        handler::HandlerError,
        outbox::demo::{Demo, DemoError, Step},
    },
    cli::{
        exit::Exit,
        lab::Lab,
        narrator::{Line, Narrate, Narrator, short},
        pattern::{Options, relayed},
        session::Session,
        terminal::Palette,
    },
};

/// For a broker that is known to be away.
const IN_VAIN: Duration = Duration::from_secs(1);

pub async fn run(options: &Options, session: &Session) -> Result<Exit> {
    let lab = Lab::prepare("outbox", options, session)?;
    let demo = Demo {
        orders: Orders::new(options.open_at(&lab.store).await?),
        prefix: options.prefix(session),
        actor: options.actor(),
        crash: options.crash(),
        stop: session.stop.token(),
    };
    let mut narrator = Narrator::new(session, options.json);
    let ended = tokio::select! {
        ended = narrated(&demo, &lab, &mut narrator, options, session) => ended,
        () = session.stop.asked() => return Ok(session.stop.exit()),
    };
    ended?;
    narrator.end()?;
    if session.terminal.is_quiet() && !options.json {
        crate::cli::stdout::write(b"done\n")?;
    }
    session
        .terminal
        .hint("break it: kafkalab outbox --crash-at relay.after-ack; `kafkalab crash-points` lists the places");
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
        lab.say_how_to_resume(["outbox relay --once", "outbox list"], options, session, cluster);
    }
    demo.take_orders(&mut |step| narrator.tell(&step)).await.map_err(report)?;
    let in_vain = ConnectOptions { connect_timeout: IN_VAIN, ..ConnectOptions::default() };
    if let Err(error) = app::connect(vec![nobody()?], in_vain).await {
        demo.kafka_is_away(&error, &mut |step| narrator.tell(&step));
    }
    let (cluster, _broker) = match early {
        Some(early) => early,
        None => lab.cluster(options, session).await?,
    };
    demo.kafka_is_back(&cluster, &mut |step| narrator.tell(&step)).await.map_err(report)
}

/// An address where nobody listens: the discard port, which no broker has.
fn nobody() -> Result<Address> {
    Ok("127.0.0.1:9".parse()?)
}

pub(in crate::cli) fn report(error: DemoError) -> Report {
    match error {
        DemoError::Order(error) => crate::cli::es::explained(error),
        DemoError::Relay(error) => relayed(error),
        DemoError::Handler(HandlerError::Broker(error)) | DemoError::Broker(error) => error.into(),
        error => error.into(),
    }
}

impl Narrate for Step {
    fn line(&self, out: &Palette) -> Line {
        Line::Plain(match self {
            Step::Part { title } => return Line::Part((*title).to_owned()),
            Step::Lesson { text } => return Line::Lesson(text.clone()),
            Step::Taken { order_id, event, position, .. } => {
                format!("  taken      order {order_id}: {event} at position {position}, and its message")
            }
            Step::Depth { waiting, parked, held } => {
                format!("  outbox     {waiting} waiting, {parked} parked, {held} held")
            }
            Step::Away { reason } => format!("  {}       {reason}", out.warn("away")),
            Step::Published { event, topic, partition, offset, .. } => {
                let offset = offset.map_or("offset unknown".to_owned(), |offset| format!("offset {offset}"));
                format!("  published  {:<16} {topic}[{partition}] {offset}", short(event))
            }
            Step::Handled { topic, partition, offset, what, .. } => {
                format!("  {what:<10} {topic}[{partition}] offset {offset}")
            }
            Step::Parked { reason, .. } => format!("  {}     {reason}", out.warn("parked")),
            Step::Stock { product_id, reserved } => format!("  stock      {product_id}: {reserved} reserved"),
        })
    }
}
