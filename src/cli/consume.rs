//! `consume`: read topics to stdout.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{ArgAction, ValueEnum};
use color_eyre::{Result, Section, eyre::WrapErr};

use super::{
    exit::{Exit, Usage},
    format::Format,
    json_record, offset,
    session::Session,
    stdout,
};
use crate::app::{
    self, Assignor, Chunk, Cluster, Error, GroupConfig, GroupEvent, GroupProtocol, Isolation, Notice, Offset,
    OffsetReset, RecordRef, TopicPartition,
    consume::{Options, Reading},
};

/// Bytes gathered before they are written.
const WRITE: usize = 64 * 1024;
/// How long a group's last commit may take, and before it the taking of what is being printed.
const FAREWELL: Duration = Duration::from_secs(5);

/// Consume records: from the beginning on, following, until Ctrl-C
///
/// Without a group nothing changes on the broker. As a member of one (-g) it reads the partitions that the group gives it,
/// from where the group has come to, and commits what it has printed. Records of transactions that are open or were rolled back are
/// not shown. On a terminal each record is shown with its place; in a pipe each value is a line.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab consume orders                  all there is, then what comes
  kafkalab consume orders -e               all there is, then end
  kafkalab consume orders -o -5            the last five of each partition, then what comes
  kafkalab consume orders -o @-1h -e       the last hour
  kafkalab consume orders -p 0 -o 10:20    offsets 10 to 19 of partition 0
  kafkalab consume orders -f '%p %o %k %v\\n'
  kafkalab consume orders -eJ | jq .payload
  kafkalab consume orders -g audit         a share of it, going on where the group is

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker unreachable, 4 timed out,
130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The topics
    #[arg(value_name = "TOPIC", value_parser = super::slips::topic_name, add = super::complete::topic())]
    topics: Vec<String>,
    /// One more topic, for those who are used to it
    #[arg(short = 't', long = "topic", value_name = "TOPIC", value_parser = super::slips::topic_name, add = super::complete::topic())]
    more_topics: Vec<String>,
    /// Only this partition; may be given more than once, or with commas
    #[arg(short, long = "partition", value_name = "N", value_delimiter = ',',
          value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,
    /// Share the topics with the other members of this group, and remember how far it has come
    #[arg(short, long, visible_short_alias = 'G', value_name = "GROUP", add = super::complete::group())]
    group: Option<String>,
    /// Be this member of the group, also after a restart: nothing moves if it is back within a session (45 s)
    #[arg(long, value_name = "ID", requires = "group")]
    instance_id: Option<String>,
    /// How the group divides partitions; several with commas, of which it takes one that all members know
    ///
    /// With cooperative-sticky alone only those partitions stop that go to another member; the others take back everything
    /// in each rebalance. By default all three are offered.
    #[arg(long, value_name = "NAME", requires = "group", value_delimiter = ',')]
    assignor: Vec<Division>,
    /// Who divides the partitions: the members (classic), or the broker (consumer: KIP-848, Kafka 4)
    #[arg(long, value_name = "PROTOCOL", requires = "group", default_value = "classic")]
    group_protocol: Protocol,
    /// Time between commits
    #[arg(long, value_name = "TIME", requires = "group", default_value = "1s", value_parser = super::session::duration)]
    commit_every: Duration,
    /// A member that is not heard of for so long is dead, and its partitions go to others (Kafka's session.timeout.ms)
    ///
    /// 45s by default. The broker sets limits (group.min.session.timeout.ms, 6 s), and with --group-protocol consumer the
    /// time itself.
    #[arg(long, value_name = "TIME", requires = "group", value_parser = super::session::duration)]
    session_timeout: Option<Duration>,
    /// A member whose output is not taken for so long gives its partitions to others until it is (max.poll.interval.ms)
    #[arg(long, value_name = "TIME", requires = "group", default_value = "5m", value_parser = super::session::duration)]
    max_handling: Duration,
    /// Where to begin, and after a colon where to end
    ///
    /// With a group: where to begin in partitions for which it has committed nothing (stored, the default: at their start).
    /// Otherwise:
    /// start, end, N (this offset), +N (N after the start), -N (N before the end), N:M, :end, @TIME, @TIME:TIME. A time is
    /// 2026-01-31, 2026-01-31T08:30:00Z, seconds or milliseconds since 1970, or -1h (before now). kcat's s@MS and e@MS
    /// are read too.
    #[arg(short, long = "offset", value_name = "WHERE", allow_hyphen_values = true)]
    offsets: Vec<String>,
    /// End with what is there now
    #[arg(short, long)]
    exit: bool,
    /// End after so many records
    #[arg(short = 'n', long = "num", visible_short_alias = 'c', visible_aliases = ["count", "max-messages"], value_name = "N")]
    limit: Option<u64>,
    /// How a record is printed, such as '%k %v\n'
    ///
    /// %t topic, %p partition, %o offset, %k key, %v or %s value, %T time in ms, %d time as RFC 3339 (%d{strftime[...]}),
    /// %h headers (%h{%k=%v }), %K %V (%S) lengths of key and value, %H number of headers, %i number of the record,
    /// %k{hex}, %v{base64}; \n \t \r \xNN.
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<String>,
    /// A JSON object a line; `produce --input json` reads it back
    #[arg(short = 'J', long)]
    json: bool,
    /// A null key or value is printed as NULL, as kcat does
    #[arg(short = 'Z', long = "tombstone")]
    null: bool,
    /// Bytes as they are, on a terminal too
    #[arg(long)]
    raw: bool,
    /// Which records of transactions are shown
    #[arg(long, value_name = "LEVEL", default_value = "committed")]
    isolation: Level,
    /// Where to go on when the offset is not there any more
    #[arg(long, value_name = "WHERE", default_value = "earliest")]
    offset_reset: Reset,
    /// End with exit code 4 when no record came for so long
    #[arg(long, value_name = "TIME", value_parser = super::session::duration)]
    timeout: Option<Duration>,
    #[arg(long, hide = true, action = ArgAction::SetTrue)]
    from_beginning: bool,
    #[arg(long, hide = true, value_name = "N", conflicts_with = "offsets")]
    tail: Option<i64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    #[value(alias = "read_committed")]
    Committed,
    #[value(alias = "read_uncommitted")]
    Uncommitted,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reset {
    Earliest,
    Latest,
    Error,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Division {
    Range,
    #[value(name = "roundrobin", alias = "round-robin")]
    RoundRobin,
    CooperativeSticky,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    Classic,
    Consumer,
}

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let options = options(&args, session.settings.metadata_age.value)?;
    let printer = Printer::new(&args, session)?;
    let group = group(&args)?;
    let cluster = session.connect().await?;
    let bounded = options.exit_at_end || options.range.to.is_some();
    let Some(reading) = open(&cluster, &options, group.as_ref(), bounded, session).await? else {
        return Ok(session.stop.exit());
    };
    if session.terminal.out.is_terminal && !bounded {
        session.say(&format!("{}; Ctrl-C to stop", following(&reading, &options)));
    }
    let mut reading = reading;
    let printed = print_all(&args, printer, &mut reading, session).await;
    // what was printed is committed whatever ended the printing
    let closed = tokio::time::timeout(FAREWELL, reading.close()).await;
    let exit = printed?;
    match closed {
        Ok(closed) => closed.wrap_err("leaving the group")?,
        Err(_) => {
            session.say("the group's coordinator does not answer: what was printed since the last commit comes again")
        }
    }
    Ok(exit)
}

/// Until there is no more, enough, or a person stops it.
async fn print_all(args: &Args, mut printer: Printer, reading: &mut Reading, session: &Session) -> Result<Exit> {
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let event = tokio::select! {
            biased;
            () = session.stop.asked() => return Ok(session.stop.exit()),
            event = reading.next() => event,
            () = silence(args.timeout) => {
                let limit = args.timeout.unwrap_or_default();
                return Err(Error::timed_out("waiting for a record", limit).into());
            }
        };
        match event.wrap_err("consuming")? {
            None => break,
            Some(GroupEvent::Records(chunk)) => {
                let partition = chunk.partition.clone();
                let (count, next_offset) = match reading {
                    Reading::Member(_) if printer.may_block => match printer.aside(chunk, left, session).await? {
                        Some((again, printed)) => {
                            printer = again;
                            printed
                        }
                        None => return Ok(session.stop.exit()),
                    },
                    Reading::Alone { .. } | Reading::Member(_) => printer.chunk(chunk, left)?,
                };
                left -= count;
                reading.processed(&partition, next_offset);
            }
            Some(GroupEvent::Notice(notice)) => tell(&notice, session),
            Some(GroupEvent::Assigned { generation, partitions }) => {
                let owned = reading.owned();
                session.say(&format!("generation {generation}: {}", share(&partitions, &owned)));
            }
            Some(GroupEvent::Revoked(partitions)) => session.say(&format!("gave up {}", listed(&partitions))),
            Some(GroupEvent::Lost(partitions)) => session.say(&format!(
                "lost {}: the group took this member for dead; what was not committed is read again by another one",
                listed(&partitions)
            )),
        }
    }
    Ok(Exit::OK)
}

fn share(new: &[TopicPartition], owned: &[TopicPartition]) -> String {
    match (new.is_empty(), owned.is_empty()) {
        (false, _) => format!("got {}", listed(new)),
        (true, false) => format!("keeps {}", listed(owned)),
        (true, true) => "no partitions for this member so far".to_owned(),
    }
}

/// `orders[0-3], payments[1]`
fn listed(partitions: &[TopicPartition]) -> String {
    let mut sorted: Vec<&TopicPartition> = partitions.iter().collect();
    sorted.sort();
    let mut runs: Vec<(&str, i32, i32)> = Vec::new();
    for partition in sorted {
        match runs.last_mut() {
            Some((topic, _, last)) if *topic == &*partition.topic && *last + 1 == partition.partition => *last += 1,
            _ => runs.push((&partition.topic, partition.partition, partition.partition)),
        }
    }
    let run = |(topic, first, last): (&str, i32, i32)| match first == last {
        true => format!("{topic}[{first}]"),
        false => format!("{topic}[{first}-{last}]"),
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(", ")
}

fn group(args: &Args) -> Result<Option<GroupConfig>> {
    let assignor = |division: &Division| match division {
        Division::Range => Assignor::Range,
        Division::RoundRobin => Assignor::RoundRobin,
        Division::CooperativeSticky => Assignor::CooperativeSticky,
    };
    let Some(name) = args.group.as_deref() else { return Ok(None) };
    if name.is_empty() {
        return Err(Usage("-g: a group needs a name".to_owned()).into());
    }
    let mut group = GroupConfig::new(name, Vec::new());
    if !args.assignor.is_empty() {
        group.assignors = args.assignor.iter().map(assignor).collect();
    }
    if args.instance_id.as_ref().is_some_and(String::is_empty) {
        return Err(Usage("--instance-id: an instance needs a name".to_owned()).into());
    }
    group.instance_id = args.instance_id.as_deref().map(Into::into);
    group.commit_every = args.commit_every;
    group.protocol = match args.group_protocol {
        Protocol::Classic => GroupProtocol::Classic,
        Protocol::Consumer => GroupProtocol::Consumer,
    };
    if group.protocol == GroupProtocol::Consumer && !args.assignor.is_empty() {
        let usage: color_eyre::Report = Usage("--assignor: with KIP-848 the broker divides".to_owned()).into();
        return Err(usage.suggestion("leave it out, or use --group-protocol classic"));
    }
    group.max_handling = args.max_handling;
    if let Some(timeout) = args.session_timeout {
        if group.protocol == GroupProtocol::Consumer {
            let usage: color_eyre::Report =
                Usage("--session-timeout: with KIP-848 the broker sets it".to_owned()).into();
            return Err(usage.suggestion("group.consumer.session.timeout.ms is the broker's setting"));
        }
        group.session_timeout = timeout;
        // two may be late before the session ends
        group.heartbeat_interval = group.heartbeat_interval.min(timeout / 3);
    }
    Ok(Some(group))
}

/// The pause that `--timeout` allows; for ever without one.
async fn silence(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

fn options(args: &Args, metadata_age: Duration) -> Result<Options> {
    let topics: Vec<String> = args.topics.iter().chain(&args.more_topics).cloned().collect();
    if topics.is_empty() {
        let usage: color_eyre::Report = Usage("no topic named".to_owned()).into();
        return Err(usage.suggestion("kafkalab consume TOPIC; `kafkalab topics list` shows what there is"));
    }
    let mut texts = args.offsets.clone();
    if let Some(tail) = args.tail {
        texts = vec![format!("-{tail}")];
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
    let range = offset::parse_all(&texts, now).map_err(|error| Usage(error.to_string()))?;
    if range.from == Offset::Stored && args.group.is_none() {
        let usage: color_eyre::Report = Usage("-o stored: the stored offset belongs to a group".to_owned()).into();
        return Err(usage.suggestion("name the group with -g"));
    }
    let exit_at_end = args.exit;
    Ok(Options {
        topics,
        partitions: args.partitions.clone(),
        range,
        exit_at_end,
        isolation: match args.isolation {
            Level::Committed => Isolation::ReadCommitted,
            Level::Uncommitted => Isolation::ReadUncommitted,
        },
        offset_reset: match args.offset_reset {
            Reset::Earliest => OffsetReset::Earliest,
            Reset::Latest => OffsetReset::Latest,
            Reset::Error => OffsetReset::Error,
        },
        metadata_age,
        // who follows waits for brokers that come back; who wants an end wants to know
        patience: (exit_at_end || range.to.is_some()).then_some(Duration::from_secs(30)),
    })
}

/// Opens the topics. Who follows may be first: a topic that is not there yet is waited for, and named. `None` when the
/// person gave up.
async fn open(
    cluster: &Cluster,
    options: &Options,
    group: Option<&GroupConfig>,
    bounded: bool,
    session: &Session,
) -> Result<Option<Reading>> {
    let mut told = false;
    loop {
        let reading = match group {
            Some(group) => app::consume::join(cluster, options, group.clone()).await,
            None => app::consume::open(cluster, options).await,
        };
        let unknown = match reading {
            Ok(reading) => return Ok(Some(reading)),
            Err(Error::UnknownTopic { topic }) => topic,
            Err(error) => return Err(error).wrap_err_with(|| format!("consuming {}", options.topics.join(", "))),
        };
        if bounded {
            let near = app::near_topics(cluster, &unknown).await;
            let error = Err(Error::UnknownTopic { topic: unknown });
            return error.wrap_err("consuming").with_suggestion(|| match near.as_slice() {
                [] => "`kafkalab topics list` shows what there is".to_owned(),
                near => format!("did you mean {}?", near.join(" or ")),
            });
        }
        if !told {
            told = true;
            let near = app::near_topics(cluster, &unknown).await;
            let mean = if near.is_empty() { String::new() } else { format!(" (there is {})", near.join(", ")) };
            session.say(&format!("topic {unknown} does not exist yet{mean}; waiting for it, Ctrl-C to stop"));
        }
        tokio::select! {
            () = session.stop.asked() => return Ok(None),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
}

fn following(reading: &Reading, options: &Options) -> String {
    let topics = options.topics.join(", ");
    match reading {
        Reading::Alone { plan, .. } => {
            format!("following {topics}, {} partition{}", plan.len(), if plan.len() == 1 { "" } else { "s" })
        }
        Reading::Member(_) => format!("joining the group to follow {topics}"),
    }
}

/// What happened beside the records, on stderr.
fn tell(notice: &Notice, session: &Session) {
    match notice {
        Notice::Gap { partition, at, missing } => {
            // Markers and compaction leave gaps all the time; who wants to see them asks with -v.
            tracing::info!("{partition}: {missing} offsets from {at} on hold nothing (compacted or markers)");
        }
        Notice::Reset { partition, from, to } => session.say(&format!(
            "{partition}: offset {from} is not there (retention took it, or nothing was ever there); going on at {to}"
        )),
        Notice::Recreated { topic } => {
            session.say(&format!("topic {topic} was deleted and made again; going on with the new one"));
        }
        Notice::NewPartition { partition } => session.say(&format!("{partition} is new; reading it too")),
        Notice::Finished { partition } => tracing::info!("{partition}: read to the end"),
        Notice::CaughtUp { partition, end } => tracing::info!("{partition}: caught up at {end}"),
        Notice::Waiting { cause } => session.say(&format!("waiting for the brokers: {cause}")),
        Notice::Resumed => session.say("the brokers are back"),
    }
}

/// Turns records into bytes and writes them in large pieces.
struct Printer {
    form: Form,
    out: Vec<u8>,
    /// Whoever takes the output may be slow.
    may_block: bool,
}

enum Form {
    Json,
    Text(Format),
}

impl Printer {
    fn new(args: &Args, session: &Session) -> Result<Self> {
        let on_terminal = session.terminal.out.is_terminal;
        let text = match &args.format {
            Some(format) => format.as_str(),
            None if on_terminal && !args.raw => "%t[%p] %o  %k  %v\\n",
            None => "%v\\n",
        };
        let mut format = Format::parse(text).map_err(|error| Usage(error.to_string()))?;
        if args.null || (on_terminal && args.format.is_none()) {
            format = format.null_as("NULL");
        }
        if on_terminal && !args.raw {
            format = format.for_terminal();
        }
        let form = if args.json { Form::Json } else { Form::Text(format) };
        Ok(Self { form, out: Vec::with_capacity(2 * WRITE), may_block: stdout::may_block() })
    }

    /// Prints up to `limit` records; gives how many, and the offset behind what is done.
    fn chunk(&mut self, mut chunk: Chunk, limit: u64) -> Result<(u64, i64)> {
        let (mut count, mut next_offset) = (0, chunk.next_offset);
        loop {
            let record = match chunk.records.next() {
                Ok(Some(record)) if count == limit => {
                    next_offset = record.offset; // the first that is not printed
                    break;
                }
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    self.flush()?; // what was good is shown
                    return Err(error).wrap_err_with(|| format!("reading {}", chunk.partition));
                }
            };
            print(&self.form, &mut self.out, &chunk.partition.topic, chunk.partition.partition, &record);
            count += 1;
            if self.out.len() >= WRITE {
                self.flush()?;
            }
        }
        self.flush()?;
        Ok((count, next_offset))
    }

    /// The same on a thread of its own, which costs a third more processor: whoever takes the output may be slow, and the
    /// group is to hear of this member all the while. `None` if a person wants to stop and nobody takes it.
    async fn aside(mut self, chunk: Chunk, limit: u64, session: &Session) -> Result<Option<(Self, (u64, i64))>> {
        let mut printing = tokio::task::spawn_blocking(move || {
            let printed = self.chunk(chunk, limit)?;
            Ok((self, printed))
        });
        let enough = async {
            session.stop.asked().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            printed = &mut printing => printed.wrap_err("printing")?.map(Some),
            () = enough => Ok(None),
        }
    }

    fn flush(&mut self) -> Result<()> {
        let written = if self.out.is_empty() { Ok(()) } else { stdout::write(&self.out) };
        self.out.clear();
        written
    }
}

#[inline]
fn print(form: &Form, out: &mut Vec<u8>, topic: &str, partition: i32, record: &RecordRef<'_>) {
    match form {
        Form::Json => json_record::write(out, topic, partition, record),
        Form::Text(format) => format.write(out, topic, partition, record),
    }
}
