//! `dlt list`

use color_eyre::{Result, eyre::WrapErr};

use super::{Options, document, explained, origin, reason, when};
use crate::{
    app::{
        Cluster,
        dead_letters::{self, Letter, Waiting},
    },
    cli::{
        complete,
        exit::Exit,
        session::Session,
        slips::topic_name,
        stdout,
        table::{Table, number, text},
        words::next_step,
    },
};

/// List dead letters: the topics that have some, or those of one topic
///
/// Without TOPIC a line for each topic of dead letters: how many wait, how many there are with those that were replayed, and
/// why the newest was put aside. They are counted by offsets. With TOPIC a line for each letter that waits; WHEN is the time
/// of the record, as it was written.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab dlt list
  kafkalab dlt list orders                 those of orders, in orders.dlt
  kafkalab dlt list orders --all           with those that were replayed
  kafkalab dlt list orders -J | jq -r .reason | sort | uniq -c

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// A topic, by its name or by that of its dead letters
    #[arg(value_name = "TOPIC", value_parser = topic_name, add = complete::topic())]
    topic: Option<String>,
    /// With the letters that were replayed
    #[arg(short, long, requires = "topic")]
    all: bool,
    /// At most so many letters
    #[arg(short = 'n', long = "num", value_name = "N", default_value_t = 1000, requires = "topic")]
    limit: usize,
}

pub async fn run(args: &Args, options: &Options, session: &Session) -> Result<Exit> {
    let cluster = session.connect().await?;
    match &args.topic {
        Some(topic) => of_one(topic, args, options, &cluster, session).await,
        None => topics(options, &cluster, session).await,
    }
}

async fn topics(options: &Options, cluster: &Cluster, session: &Session) -> Result<Exit> {
    let found = dead_letters::waiting(cluster, &options.prefix(session)).await.wrap_err("listing dead letters")?;
    if options.json {
        for waiting in &found {
            stdout::json(&document::summary(waiting))?;
        }
        return Ok(Exit::OK);
    }
    if found.is_empty() {
        session.say("no topic has dead letters");
        return Ok(Exit::OK);
    }
    let columns = [text("TOPIC"), number("WAITING"), number("LETTERS"), text("WHEN"), text("NEWEST REASON")];
    let mut table = Table::new(&columns).cutting_the_last();
    for Waiting { topic, letters, waiting, newest } in &found {
        let (time, reason) = (newest.as_ref().map(when), newest.as_ref().map(reason));
        let (time, reason) = (time.unwrap_or_default(), reason.unwrap_or_default());
        table.row([&**topic, &waiting.to_string(), &letters.to_string(), &time, &reason]);
    }
    stdout::write(table.render(&session.terminal).as_bytes())?;
    if let Some(first) = found.iter().find(|waiting| waiting.waiting > 0) {
        next_step(session, &format!("kafkalab dlt list {} shows each", first.topic));
    }
    Ok(Exit::OK)
}

async fn of_one(name: &str, args: &Args, options: &Options, cluster: &Cluster, session: &Session) -> Result<Exit> {
    let Some(topic) = options.find(name, cluster, session).await? else {
        options.none(name, session);
        return Ok(Exit::OK);
    };
    let (mut found, mut more, mut broken) = (Vec::new(), false, Ok(()));
    let mut count = 0;
    let mut each = |letter: Letter| {
        more = count == args.limit;
        count += 1;
        if more {
            return false;
        }
        if options.json {
            broken = stdout::json(&document::line(&topic.name, &letter));
        } else {
            found.push([
                letter.at.to_string(),
                when(&letter),
                origin(&letter),
                group(&letter),
                note(&letter).to_owned(),
                reason(&letter),
            ]);
        }
        broken.is_ok()
    };
    let read = dead_letters::letters(cluster, &topic.name, args.all, &mut each).await;
    broken?;
    if let Err(error) = read {
        return Err(explained(error, cluster).await);
    }
    if !options.json && found.is_empty() {
        let what = if args.all { "has no letters" } else { "has no letters that wait" };
        session.say(&format!("{} {what}", topic.name));
    } else if !options.json {
        let columns = [text("LETTER"), text("WHEN"), text("FROM"), text("GROUP"), text("NOTE"), text("REASON")];
        let mut table = Table::new(&columns).cutting_the_last();
        found.into_iter().for_each(|row| table.row(row));
        stdout::write(table.render(&session.terminal).as_bytes())?;
    }
    if more {
        session.say(&format!("there are more: -n {}", args.limit.saturating_mul(10)));
    }
    Ok(Exit::OK)
}

fn group(letter: &Letter) -> String {
    letter.note.as_ref().and_then(|note| note.group.clone()).unwrap_or_default()
}

fn note(letter: &Letter) -> &'static str {
    if letter.replayed { "replayed" } else { "" }
}
