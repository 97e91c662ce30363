//! Members of all three clients, and what they say.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Program, kafkalab, program};

/// A partition of a topic.
pub type Place = (String, i32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Kafkalab,
    Kcat,
    Java,
}

/// Who divides the partitions, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Range,
    RoundRobin,
    Cooperative,
    /// KIP-848.
    Consumer,
}

impl How {
    fn assignor(self) -> &'static str {
        match self {
            How::Range => "range",
            How::RoundRobin => "roundrobin",
            How::Cooperative | How::Consumer => "cooperative-sticky",
        }
    }

    fn java(self) -> Vec<String> {
        let class = match self {
            How::Range => "RangeAssignor",
            How::RoundRobin => "RoundRobinAssignor",
            How::Cooperative => "CooperativeStickyAssignor",
            How::Consumer => return vec!["group.protocol=consumer".to_owned()],
        };
        vec![
            format!("partition.assignment.strategy=org.apache.kafka.clients.consumer.{class}"),
            format!("session.timeout.ms={}", super::SESSION_TIME.as_millis()),
            "heartbeat.interval.ms=500".to_owned(),
        ]
    }
}

/// A word of a member.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// What came to what it has.
    Assigned {
        generation: Option<i32>,
        partitions: Vec<Place>,
    },
    /// kafkalab, where nothing came.
    Keeps {
        generation: i32,
    },
    Revoked(Vec<Place>),
    Lost(Vec<Place>),
    Record(Place, i64, String),
    Else(String),
}

/// How a member ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself or as asked: it has committed and left.
    Left(i32),
    /// SIGKILL, or an end that its exit code calls a failure.
    Killed,
}

#[derive(Debug, Default)]
struct Heard {
    words: Vec<(Instant, Word)>,
    ended: bool,
}

/// A member of a group as a process. Killed when it is dropped.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    pub kind: Kind,
    child: Child,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

/// What to join.
#[derive(Clone, Debug)]
pub struct Group {
    pub brokers: String,
    pub name: String,
    pub topics: Vec<String>,
    pub how: How,
    /// Of the classic members of ours.
    pub session: &'static str,
}

impl Group {
    pub fn new(brokers: &str, topics: &[&str], how: How) -> Self {
        let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
        let (brokers, name) = (brokers.to_owned(), crate::harness::topic("group"));
        Self { brokers, name, topics, how, session: super::SESSION }
    }

    /// Flags of a member of ours.
    pub fn flags(&self) -> Vec<&'static str> {
        match self.how {
            How::Consumer => vec!["--group-protocol", "consumer"],
            how => vec!["--assignor", how.assignor(), "--session-timeout", self.session],
        }
    }

    /// A member of ours.
    pub fn ours(&self, name: &str, more: &[&str]) -> Member {
        let program = kafkalab(["consume", "-g", &self.name, "-f", "%t[%p] %o %v\\n"]);
        let program = program.arguments(&self.topics).arguments(["-X", &format!("client_id={name}")]);
        let program = program.arguments(self.flags()).arguments(more);
        Member::start(name, Kind::Kafkalab, program.env("KAFKALAB_BROKERS", &self.brokers))
    }

    /// A member of any kind, with the same session.
    pub fn join(&self, kind: Kind, name: &str) -> Member {
        let client = |setting: &str| format!("{setting}={name}");
        let program = match kind {
            Kind::Kafkalab => return self.ours(name, &["--commit-every", "500ms"]),
            Kind::Kcat => {
                let session = format!("session.timeout.ms={}", super::SESSION_TIME.as_millis());
                let settings = [
                    client("client.id"),
                    session,
                    "heartbeat.interval.ms=500".to_owned(),
                    "auto.commit.interval.ms=500".to_owned(),
                    "auto.offset.reset=earliest".to_owned(),
                    format!("partition.assignment.strategy={}", self.how.assignor()),
                ];
                let program = program("kcat", ["-b", &self.brokers, "-u", "-f", "%t[%p] %o %s\\n"]);
                let program = program.arguments(settings.iter().flat_map(|setting| ["-X", setting.as_str()]));
                program.arguments(["-G", &self.name]).arguments(&self.topics)
            }
            Kind::Java => {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/kafka/kafka.sh");
                let source = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/kafka/Member.java");
                let java = program(script, ["tool", "-XX:TieredStopAtLevel=1", "-Xmx128m", source, &self.brokers]);
                java.arguments([&self.name, &self.topics.join(",")])
                    .arguments([client("client.id")])
                    .arguments(self.how.java())
            }
        };
        Member::start(name, kind, program)
    }
}

impl Member {
    fn start(name: &str, kind: Kind, program: Program) -> Self {
        let (reads, writes) = std::io::pipe().expect("a pipe");
        let mut command = program.command();
        let both = writes.try_clone().expect("one more handle");
        let child = command.stdin(Stdio::null()).stdout(writes).stderr(both).spawn();
        let child = child.unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        drop(command); // its handles on the pipe's end
        let heard = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let into = Arc::clone(&heard);
        let who = name.to_owned();
        let reader = thread::spawn(move || {
            let mut lines = BufReader::new(reads);
            let mut line = Vec::new();
            // a line without its end is one that a killed member did not finish
            while lines.read_until(b'\n', &mut line).is_ok() && line.last() == Some(&b'\n') {
                let text = String::from_utf8_lossy(&line[..line.len() - 1]).into_owned();
                let word = parse(&text);
                if !matches!(word, Word::Record(..)) {
                    println!("{who}: {text}"); // in a failure's output
                }
                lock(&into).words.push((Instant::now(), word));
                into.1.notify_all();
                line.clear();
            }
            lock(&into).ended = true;
            into.1.notify_all();
        });
        Self { name: name.to_owned(), kind, child, heard, reader: Some(reader) }
    }

    pub fn words(&self) -> Vec<(Instant, Word)> {
        lock(&self.heard).words.clone()
    }

    /// Its lines beside records and partitions.
    pub fn said(&self) -> String {
        let words = self.words();
        let lines = words.iter().filter_map(|(_, word)| if let Word::Else(line) = word { Some(&**line) } else { None });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What it has printed of records, in its order.
    pub fn records(&self) -> Vec<(Place, i64)> {
        let record = |(_, word): (Instant, Word)| match word {
            Word::Record(place, offset, _) => Some((place, offset)),
            _ => None,
        };
        self.words().into_iter().filter_map(record).collect()
    }

    /// What it says it has.
    pub fn owned(&self) -> Vec<Place> {
        super::history::owned(self.words().iter().map(|(_, word)| word))
    }

    /// Waits until it is true of its words; fails when it ends before.
    #[track_caller]
    pub fn until(&self, what: &str, is_true: impl Fn(&[(Instant, Word)]) -> bool) {
        let began = Instant::now();
        let mut state = lock(&self.heard);
        while !is_true(&state.words) {
            assert!(!state.ended, "{} ended before: {what}", self.name);
            let left = super::PATIENCE.checked_sub(began.elapsed());
            let left = left.unwrap_or_else(|| panic!("{}: not within {:?}: {what}", self.name, super::PATIENCE));
            state = self.heard.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    #[track_caller]
    pub fn until_it_has(&self, count: usize) {
        self.until(&format!("has {count} partitions"), |words| {
            super::history::owned(words.iter().map(|(_, word)| word)).len() == count
        });
    }

    #[track_caller]
    pub fn until_records(&self, count: usize) {
        let is_record = |(_, word): &&(Instant, Word)| matches!(word, Word::Record(..));
        self.until(&format!("{count} records"), |words| words.iter().filter(is_record).count() >= count);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the member runs");
    }

    /// Waits for its end, its last words included.
    #[track_caller]
    pub fn end(&mut self) -> End {
        let status = self.status(Duration::from_secs(30));
        match status.code() {
            Some(code @ (0 | 130 | 143)) => End::Left(code),
            _ => End::Killed,
        }
    }

    #[track_caller]
    pub fn status(&mut self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waiting for a child") {
                break status;
            }
            assert!(began.elapsed() < limit, "{} still runs after {limit:?}", self.name);
            thread::sleep(Duration::from_millis(5));
        };
        let _ = self.reader.take().map(JoinHandle::join);
        status
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

fn lock(heard: &(Mutex<Heard>, Condvar)) -> std::sync::MutexGuard<'_, Heard> {
    heard.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line of any of the three.
fn parse(line: &str) -> Word {
    let ours = |text: &str| text.split(", ").flat_map(run).collect::<Vec<_>>();
    if let Some((generation, rest)) = line.strip_prefix("generation ").and_then(|rest| rest.split_once(": ")) {
        let generation: i32 = generation.parse().expect("a generation");
        return match rest.strip_prefix("got ") {
            Some(got) => Word::Assigned { generation: Some(generation), partitions: ours(got) },
            None => Word::Keeps { generation },
        };
    }
    if let Some(rest) = line.strip_prefix("gave up ") {
        return Word::Revoked(ours(rest));
    }
    if let Some((lost, _)) = line.strip_prefix("lost ").and_then(|rest| rest.split_once(": the group")) {
        return Word::Lost(ours(lost));
    }
    let mut words = line.split(' ');
    let first = words.next().unwrap_or_default();
    match first {
        "assigned" | "revoked" | "lost" => {
            let generation = words.next().and_then(|word| word.parse().ok());
            let partitions: Vec<Place> = words.flat_map(run).collect();
            match first {
                "assigned" => Word::Assigned { generation, partitions },
                "revoked" => Word::Revoked(partitions),
                _ => Word::Lost(partitions),
            }
        }
        "%" if line.contains(" rebalanced") => kcats(line),
        "record" => record(words.next(), words.next(), words.next()).unwrap_or_else(|| Word::Else(line.to_owned())),
        _ => record(Some(first), words.next(), words.next()).unwrap_or_else(|| Word::Else(line.to_owned())),
    }
}

/// `% Group G rebalanced (memberid M): assigned: t [0], t [1]`, or by the cooperative protocol `% Group G rebalanced:
/// incremental assignment of 1 partition(s) (memberid M, COOPERATIVE rebalance protocol): t [0]`.
fn kcats(line: &str) -> Word {
    let list = line.rsplit_once(':').map_or("", |(_, list)| list).trim();
    let places = list.split(", ").flat_map(|text| run(&text.replace(" [", "["))).collect();
    if line.contains(" assigned:") || line.contains("incremental assignment") {
        Word::Assigned { generation: None, partitions: places }
    } else if line.contains(" revoked:") || line.contains("incremental revoke") {
        Word::Revoked(places)
    } else {
        Word::Else(line.to_owned())
    }
}

fn record(place: Option<&str>, offset: Option<&str>, value: Option<&str>) -> Option<Word> {
    let place = run(place?).into_iter().next()?;
    Some(Word::Record(place, offset?.parse().ok()?, value?.to_owned()))
}

/// `t[0-2]` or `t[1]`; nothing where it is neither.
fn run(text: &str) -> Vec<Place> {
    let Some((topic, numbers)) = text.strip_suffix(']').and_then(|text| text.rsplit_once('[')) else {
        return Vec::new();
    };
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) else { return Vec::new() };
    (first..=last).map(|number| (topic.to_owned(), number)).collect()
}
