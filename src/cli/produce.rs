//! `produce`: lines, JSON or sample events to a topic.

mod feed;
mod source;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;
use color_eyre::{Result, Section, eyre::WrapErr};
use indicatif::ProgressBar;

use self::feed::{Feed, Pace};
use super::{
    escape,
    exit::{Exit, Usage},
    input::{KeySplit, parse_delimiter, parse_header},
    session::Session,
    stderr,
    terminal::Unit,
};
use crate::app::{
    Acks, Compression, Error,
    produce::{Ended, Options, Outbound, Receipt, Receipts, Tally},
    sample,
};

/// After Ctrl-C the records on their way have this long to be acknowledged.
const PATIENCE_AFTER_STOP: Duration = Duration::from_secs(5);

/// Produce records: a line of stdin or of files each
///
/// An empty line is a record with an empty value, so that a file comes back byte for byte from one partition. Keys put
/// records where Java and kcat put them. Records are idempotent and acknowledged by all in-sync replicas: none is
/// lost, repeated or reordered on its way.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo hello | kafkalab produce greetings
  kafkalab produce words -l /usr/share/dict/words -z lz4
  echo 'ada:first programmer' | kafkalab produce people -K:
  kafkalab consume orders -eJ | kafkalab produce orders-copy --input json
  kafkalab produce --sample 10

Exit codes: 0 all acknowledged, 1 some failed, 2 wrong usage or a bad line, 3 broker unreachable,
4 timed out (the fate of some may be unknown), 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The topic; made if the broker makes topics. With --input json each record may name its own
    #[arg(value_name = "TOPIC", value_parser = super::slips::topic_name, add = super::complete::topic())]
    topic: Option<String>,
    /// The same as TOPIC
    #[arg(short = 't', long = "topic", value_name = "TOPIC", conflicts_with = "topic",
          value_parser = super::slips::topic_name, add = super::complete::topic())]
    topic_flag: Option<String>,
    /// Read this file instead of stdin; may be given more than once
    #[arg(short = 'l', long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// One key for all records
    #[arg(short, long, value_name = "KEY", conflicts_with = "key_delimiter")]
    key: Option<String>,
    /// Split each line into key and value at the first of these
    #[arg(short = 'K', long, value_name = "TEXT")]
    key_delimiter: Option<String>,
    /// The byte that ends a record [default: \n]
    #[arg(short = 'D', long, value_name = "BYTE")]
    delimiter: Option<String>,
    /// A header of every record, name=value or name:value; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// The partition for all records, whatever their keys
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// How batches are packed
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none")]
    compression: Codec,
    /// An empty value is sent as null: a tombstone
    #[arg(short = 'Z', long)]
    tombstone: bool,
    /// How the input is written
    #[arg(long, value_name = "FORM", default_value = "lines")]
    input: Input,
    /// Records per second at the most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Stop after so many records
    #[arg(short = 'n', long = "num", visible_short_alias = 'c', visible_alias = "count", value_name = "N")]
    limit: Option<u64>,
    /// Who must have a record before it counts: all in-sync replicas, the leader (1), nobody (0)
    #[arg(long, value_name = "WHO", default_value = "all")]
    acks: Who,
    /// How long an open batch waits for company, such as 20ms [default: 5ms]
    #[arg(long, value_name = "TIME", value_parser = super::session::duration)]
    linger: Option<Duration>,
    /// After this time a record that is not acknowledged counts as failed or unknown
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = super::session::duration)]
    timeout: Duration,
    /// Report bad lines and go on with the others
    #[arg(long)]
    skip_bad: bool,
    /// A receipt per record on stdout, as JSON lines
    #[arg(short = 'J', long)]
    json: bool,
    /// Send so many plausible order events instead of reading input; the topic is `orders` unless named
    #[arg(long, value_name = "N", conflicts_with_all = ["files", "key", "key_delimiter", "delimiter", "input"])]
    sample: Option<u64>,
    /// Sample events with this seed are the same each time
    #[arg(long, value_name = "S", requires = "sample")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Input {
    /// A record a line
    Lines,
    /// A JSON object a line, as `consume --json` writes them; without TOPIC each goes to its own topic and partition
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Who {
    #[value(alias = "-1")]
    All,
    #[value(name = "1", alias = "leader")]
    Leader,
    #[value(name = "0", alias = "none")]
    None,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd,
        }
    }
}

impl From<Who> for Acks {
    fn from(who: Who) -> Self {
        match who {
            Who::All => Acks::All,
            Who::Leader => Acks::Leader,
            Who::None => Acks::None,
        }
    }
}

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let topic = args.topic.clone().or_else(|| args.topic_flag.clone());
    let topic = match (topic, args.sample, args.input) {
        (Some(topic), ..) => Some(topic),
        (None, Some(_), _) => Some(sample::TOPIC.to_owned()),
        (None, None, Input::Json) => None,
        (None, None, Input::Lines) => return Err(missing_topic()),
    };
    let shape = feed::Shape {
        key: args.key.as_ref().map(|key| key.clone().into_bytes()),
        split: args.key_delimiter.as_deref().map(KeySplit::parse).transpose().map_err(usage)?,
        headers: headers(&args.headers)?,
        partition: args.partition,
        tombstone: args.tombstone,
        json: args.input == Input::Json,
    };
    let delimiter = args.delimiter.as_deref().map_or(Ok(b'\n'), parse_delimiter).map_err(usage)?;
    let files = source::open(&args.files).map_err(|error| match (topic.as_deref(), args.files.as_slice()) {
        (Some(topic), [file]) if !file.exists() && Path::new(topic).is_file() => {
            let file = file.display();
            error.with_suggestion(|| format!("{topic} is a file: kafkalab produce {file} -l {topic}"))
        }
        _ => error,
    })?;

    let cluster = session.connect().await?;
    let narrated = args.sample.is_some() && session.terminal.err.is_terminal && args.sample <= Some(50);
    let options = Options {
        acks: args.acks.into(),
        compression: args.compression.into(),
        linger: args.linger,
        delivery_timeout: args.timeout,
        receipts: if args.json || narrated { Receipts::Keys } else { Receipts::None },
        transactional_id: None,
    };
    let outbound = Outbound::open(cluster, options).await.wrap_err("starting the producer")?;
    let limit = args.limit.unwrap_or(u64::MAX);
    let mut feed = Feed {
        outbound: &outbound,
        shape,
        topic: None,
        topics: std::collections::HashMap::new(),
        limit: limit.min(args.sample.unwrap_or(u64::MAX)),
        sent: 0,
        bad: 0,
        skip_bad: args.skip_bad,
        pace: args.rate.map(Pace::new),
        print: Print { json: args.json, narrated, session },
    };
    let named = topic.is_some();
    if let Some(name) = &topic {
        feed.topic = Some(
            outbound
                .topic(name)
                .await
                .wrap_err_with(|| format!("producing to {name}"))
                .with_suggestion(|| format!("make it first: kafkalab topics create {name}"))?,
        );
    }
    let fed = match args.sample {
        Some(count) => {
            // a few are told one by one instead
            let bar =
                if narrated { ProgressBar::hidden() } else { session.terminal.bar("producing", count, Unit::Records) };
            let fed = feed.samples(count, args.seed, &session.stop, &bar).await;
            bar.finish_and_clear();
            fed
        }
        None => {
            if files.is_empty() && session.terminal.input {
                session.say("reading lines from the terminal; Ctrl-D to send the last and end");
            }
            let total = source::total_bytes(&files);
            let bar = match total {
                Some(total) if !named || total > 1 << 20 => session.terminal.bar("producing", total, Unit::Bytes),
                _ => ProgressBar::hidden(),
            };
            let chunks = source::read(files);
            let fed = feed.input(chunks, delimiter, &session.stop, &bar).await;
            bar.finish_and_clear();
            fed
        }
    };
    let flushed = flush(&outbound, session).await;
    let (bad, mut tally) = (feed.bad, outbound.tally());
    tally.unknown += feed.sent - (tally.acknowledged + tally.failed + tally.unknown); // given up on
    feed.print.receipts(outbound.receipts())?;
    summarize(session, &tally, bad, args.acks);
    fed?;
    if session.stop.is_asked() {
        return Ok(session.stop.exit());
    }
    flushed.wrap_err("waiting for the last acknowledgements")?;
    Ok(ending(session, &tally, bad))
}

/// Waits for the last acknowledgements; who pressed Ctrl-C does not wait long for brokers that are away.
async fn flush(outbound: &Outbound, session: &Session) -> Result<(), Error> {
    let hurried = async {
        session.stop.asked().await;
        tokio::time::sleep(PATIENCE_AFTER_STOP).await;
    };
    tokio::select! {
        flushed = outbound.flush() => flushed,
        () = hurried => {
            Err(Error::timed_out("waiting for the last acknowledgements", PATIENCE_AFTER_STOP))
        }
    }
}

fn missing_topic() -> color_eyre::Report {
    let usage: color_eyre::Report = Usage("no topic named".to_owned()).into();
    usage.suggestion("kafkalab produce TOPIC, or kafkalab produce --sample 10 for ten order events")
}

fn usage(error: impl std::fmt::Display) -> Usage {
    Usage(error.to_string())
}

fn headers(texts: &[String]) -> Result<Vec<feed::Header>> {
    let parsed = texts.iter().map(|text| {
        let (name, value) = parse_header(text).map_err(usage)?;
        Ok((name.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec())))
    });
    parsed.collect()
}

/// What a person is told at the end.
fn summarize(session: &Session, tally: &Tally, bad: u64, acks: Who) {
    for (reason, count) in &tally.reasons {
        let error = session.terminal.err.palette.error("error:");
        stderr::line(format_args!("{error} {count} record{}: {}", plural(*count), escape::text(reason)));
    }
    let mut parts = vec![match acks {
        Who::None => format!("{} sent, not acknowledged (--acks 0)", tally.acknowledged),
        _ => format!("{} acknowledged", tally.acknowledged),
    }];
    for (count, word) in
        [(tally.failed, "failed"), (tally.unknown, "unknown"), (bad, if bad == 1 { "bad line" } else { "bad lines" })]
    {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    let places: Vec<String> = tally
        .partitions
        .iter()
        .take(8)
        .map(|((topic, partition), (count, last))| match last {
            Some(last) => format!("{topic}[{partition}] {count} up to offset {last}"),
            None => format!("{topic}[{partition}] {count}"),
        })
        .collect();
    let more = if tally.partitions.len() > 8 { ", ..." } else { "" };
    let places = if places.is_empty() { String::new() } else { format!(": {}{more}", places.join(", ")) };
    let is_news = tally.failed + tally.unknown + bad > 0 || session.stop.is_asked();
    if session.terminal.err.is_terminal || is_news {
        session.say(&format!("{}{places}", parts.join(", ")));
    }
    if tally.unknown > 0 {
        session.terminal.hint(
            "unknown records were sent, and nobody said whether they are in the log: look before you send them again",
        );
    }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn ending(session: &Session, tally: &Tally, bad: u64) -> Exit {
    if tally.failed + tally.unknown > 0 {
        return match &tally.error {
            Some(Error::TimedOut { .. }) => Exit::TIMED_OUT,
            Some(error) if error.is_unreachable() => Exit::UNREACHABLE,
            _ => Exit::FAILURE,
        };
    }
    match session.stop.exit() {
        Exit::OK if bad > 0 => Exit::USAGE,
        exit => exit,
    }
}

/// Receipts, for a script or for a person.
struct Print<'a> {
    json: bool,
    narrated: bool,
    session: &'a Session,
}

impl Print<'_> {
    fn receipts(&self, receipts: Vec<Receipt>) -> Result<()> {
        if receipts.is_empty() {
            return Ok(());
        }
        if self.narrated {
            for receipt in &receipts {
                self.session.say(&sentence(receipt));
            }
        }
        if !self.json {
            return Ok(());
        }
        let mut out = String::new();
        for receipt in receipts {
            out.push_str(&json_receipt(&receipt).to_string());
            out.push('\n');
        }
        super::stdout::write(out.as_bytes())
    }
}

fn sentence(receipt: &Receipt) -> String {
    let key = receipt.key.as_deref().map_or_else(|| "without a key".into(), |key| format!("key {}", escape::line(key)));
    let Receipt { topic, partition, .. } = receipt;
    match &receipt.outcome {
        Ended::Acknowledged(Some(offset)) => format!("{key} -> {topic}[{partition}] at offset {offset}"),
        Ended::Acknowledged(None) => format!("{key} -> {topic}[{partition}]"),
        Ended::Failed(reason) => format!("{key} -> {topic}[{partition}] failed: {reason}"),
        Ended::Unknown(reason) => format!("{key} -> {topic}[{partition}] unknown: {reason}"),
    }
}

fn json_receipt(receipt: &Receipt) -> serde_json::Value {
    let (status, offset, error) = match &receipt.outcome {
        Ended::Acknowledged(offset) => ("acknowledged", *offset, None),
        Ended::Failed(reason) => ("failed", None, Some(reason)),
        Ended::Unknown(reason) => ("unknown", None, Some(reason)),
    };
    let mut json = serde_json::json!({
        "record": receipt.number,
        "status": status,
        "topic": &*receipt.topic,
        "partition": receipt.partition,
        "offset": offset,
    });
    if let Some(error) = error {
        json["error"] = error.to_string().into();
    }
    json
}
