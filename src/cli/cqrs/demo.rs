//! `cqrs` alone: the narrated demonstration, self-contained.

use color_eyre::{Report, Result};

use crate::{
    app::{
        cqrs::{
            demo::{Demo, DemoError, Step},
            write::WriteError,
        },
        event_sourcing::Orders,
    },
    cli::{
        es::explained,
        exit::Exit,
        lab::Lab,
        narrator::{Line, Narrate, Narrator, short},
        pattern::{Options, handled, relayed},
        session::Session,
        terminal::Palette,
        words::counted,
    },
};

pub async fn run(options: &Options, session: &Session) -> Result<Exit> {
    let lab = Lab::prepare("cqrs", options, session)?;
    let (cluster, _broker) = lab.cluster(options, session).await?;
    let store = options.open_at(&lab.store).await?;
    if options.crash_at.is_some() {
        lab.say_how_to_resume(["cqrs read --once", "cqrs stats"], options, session, &cluster);
    }
    let demo = Demo {
        orders: Orders::new(store),
        cluster,
        prefix: options.prefix(session),
        actor: options.actor(),
        crash: options.crash(),
        stop: session.stop.token(),
    };
    let mut narrator = Narrator::new(session, options.json);
    let mut tell = |step| narrator.tell(&step);
    let ended = tokio::select! {
        ended = demo.run(&mut tell) => ended,
        () = session.stop.asked() => return Ok(session.stop.exit()),
    };
    ended.map_err(report)?;
    narrator.end()?;
    if session.terminal.is_quiet() && !options.json {
        crate::cli::stdout::write(b"done\n")?;
    }
    session
        .terminal
        .hint("break it: kafkalab cqrs --crash-at rebuild.before-switch; `kafkalab crash-points` lists the places");
    Ok(Exit::OK)
}

fn report(error: DemoError) -> Report {
    match error {
        DemoError::Write(WriteError::Order(error)) => explained(error),
        DemoError::Relay(error) => relayed(error),
        DemoError::Handler(error) => handled(error),
        DemoError::Broker(error) => error.into(),
        DemoError::Store(error) => error.into(),
        error => error.into(),
    }
}

impl Narrate for Step {
    fn line(&self, out: &Palette) -> Line {
        Line::Plain(match self {
            Step::Part { title } => return Line::Part((*title).to_owned()),
            Step::Lesson { text } => return Line::Lesson(text.clone()),
            Step::Written { command, order_id, version, events } => {
                format!("  write      {command} {order_id}: {}, version {version}", events.join(", "))
            }
            Step::Refused { command, code, reason, .. } => {
                format!("  {}    {command}: {reason} ({code})", out.warn("refused"))
            }
            Step::Published { event, topic, partition, offset, .. } => match offset {
                Some(offset) => format!("  published  {:<16} {topic}[{partition}] offset {offset}", short(event)),
                None => format!("  by hand    {:<16} {topic}", short(event)),
            },
            Step::Read { records, orders } => {
                format!("  read       {}; {} known", counted(*records, "record"), counted(*orders, "order"))
            }
            Step::Known { order_id, status, events } => {
                format!("  known      order {order_id}: {status}, from {}", counted(*events as u64, "event"))
            }
            Step::Died { records } => {
                format!("  {}     the reader, with {} in the models", out.error("killed"), counted(*records, "record"))
            }
            Step::Users { users } => {
                let users: Vec<String> = users.iter().map(|(user, orders)| format!("{user} {orders}")).collect();
                format!("  users      {}", users.join(", "))
            }
            Step::Revenue { currency, paid, payments } => {
                format!("  revenue    {currency} {paid}, {}", counted(*payments, "payment"))
            }
            Step::Rebuilt { events, differences } => {
                let (events, rows) = (counted(*events, "event"), counted(*differences, "row"));
                format!("  rebuilt    all models from {events} of the log; {rows} differ")
            }
        })
    }
}
