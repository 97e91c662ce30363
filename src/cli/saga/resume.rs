//! `saga resume|retry`: finishing what is open.

use std::sync::{Mutex, PoisonError};

use color_eyre::Result;

use super::{
    explained,
    look::MADE_BY,
    served,
    steps::{Step, outcome},
};
use crate::{
    app::{
        saga::{Place, Services, Told, check, list, load, locked, prepare, retry as retry_parked, serve, until_over},
        sagas::Saga,
    },
    cli::{exit::Exit, narrator::Narrator, pattern::Options, session::Session, stdout, words::counted},
};

/// Finish sagas that have not ended: those of a process that died, or was stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab saga resume                          all that have not ended
  kafkalab saga resume trip-1

Exit codes: 0 all ended as their definition says, 1 failed, or one began by another list of steps,
2 wrong usage, 3 broker unreachable, 4 timed out, 5 a compensation is parked, 130 Ctrl-C, 143 SIGTERM")]
pub struct Resume {
    /// Only this one
    #[arg(value_name = "ID")]
    id: Option<String>,
}

/// Try a parked compensation once more
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab saga retry trip-1

Exit codes: 0 ended as its definition says, 1 failed or not parked, 2 wrong usage, 3 broker unreachable,
4 timed out, 5 it is parked again, 130 Ctrl-C, 143 SIGTERM")]
pub struct Retry {
    /// The saga's id
    #[arg(value_name = "ID")]
    id: String,
}

pub async fn resume(args: Resume, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    let sagas = match &args.id {
        Some(id) => vec![load(&store, id).await.map_err(explained)?.1],
        None => open(&store).await?,
    };
    // one of another program's list of steps holds up none of the others
    let (ours, others): (Vec<Saga>, Vec<Saga>) = sagas.into_iter().partition(|saga| check(saga).is_ok());
    match others.as_slice() {
        [first, ..] if ours.is_empty() => check(first)?,
        _ => others.iter().filter_map(|saga| check(saga).err()).for_each(|changed| session.say(&changed.to_string())),
    }
    let exit = finish(ours.into_iter().map(|saga| saga.id).collect(), options, session).await?;
    Ok(if others.is_empty() || exit != Exit::OK { exit } else { Exit::FAILURE })
}

pub async fn retry(args: Retry, options: &Options, session: &Session) -> Result<Exit> {
    let store = options.open_to_look(MADE_BY, session).await?;
    retry_parked(&store, &args.id).await.map_err(explained)?;
    drop(store);
    finish(vec![args.id], options, session).await
}

async fn open(store: &crate::app::Store) -> Result<Vec<Saga>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(store, &after, 1000).await.map_err(explained)?;
        let Some(last) = page.last() else { return Ok(all) };
        after.clone_from(&last.id);
        // whoever died may have left services that have not heard of the end
        let locked = locked(store, page.iter()).await.map_err(explained)?;
        all.extend(page.into_iter().filter(|saga| !saga.status.is_over() || locked.contains(&saga.id)));
    }
}

/// All services, until these are over.
async fn finish(ids: Vec<String>, options: &Options, session: &Session) -> Result<Exit> {
    if ids.is_empty() {
        session.say("no saga is open");
        return Ok(Exit::OK);
    }
    let store = options.open(session).await?;
    let (cluster, _broker) = session.connect_or_host().await?;
    let (prefix, crash) = (options.prefix(session), options.crash());
    prepare(&store, &cluster, &prefix).await.map_err(served)?;
    let narrator = Mutex::new(Narrator::new(session, options.json));
    let tell = |told: Told<'_>| {
        if let Some(step) = Step::of(&told) {
            narrator.lock().unwrap_or_else(PoisonError::into_inner).tell(&step);
        }
    };
    let place = Place { store: &store, cluster: &cluster, prefix: &prefix, crash: &crash, tell: &tell };
    let stop = session.stop.token().child_token();
    let services = Services::all();
    let waiting = async {
        let over = until_over(&store, &ids, &stop).await;
        stop.cancel();
        over
    };
    let (served_well, over) = tokio::join!(serve(&services, &place, &stop), waiting);
    served_well.map_err(served)?;
    narrator.into_inner().unwrap_or_else(PoisonError::into_inner).end()?;
    let Some(over) = over.map_err(explained)? else { return Ok(session.stop.exit()) };
    if !options.json {
        stdout::write(over.iter().map(|saga| format!("{} {}\n", saga.id, saga.status)).collect::<String>().as_bytes())?;
    }
    session.say(&format!("{} ended", counted(over.len() as u64, "saga")));
    Ok(outcome(&over, session))
}
