//! `es` alone: the narrated demonstration, self-contained.

use color_eyre::Result;

use super::{Options, explained, relayed};
use crate::{
    app::event_sourcing::{
        Orders,
        demo::{Demo, DemoError},
    },
    cli::{exit::Exit, lab::Lab, narrator::Narrator, session::Session},
};

pub async fn run(options: &Options, session: &Session) -> Result<Exit> {
    let lab = Lab::prepare("es", options, session)?;
    let (cluster, _broker) = lab.cluster(options, session).await?;
    let store = options.open_at(&lab.store).await?;
    if options.crash_at.is_some() {
        lab.say_how_to_resume(["es publish --once", "es streams"], options, session, &cluster);
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
    session.terminal.hint("break it: kafkalab es --crash-at relay.after-ack; `kafkalab crash-points` lists the places");
    Ok(Exit::OK)
}

fn report(error: DemoError) -> color_eyre::Report {
    match error {
        DemoError::Order(error) => explained(error),
        DemoError::Relay(error) => relayed(error),
        DemoError::Broker(error) => error.into(),
        error => error.into(),
    }
}
