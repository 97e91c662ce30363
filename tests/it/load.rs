//! Numbered records under faults, and what must hold of them afterwards.
//!
//! Record `n` has the value `n` and one of seven keys, so that a partition's values rise where order was kept.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    io::{Read, Write},
    process::{Child, ChildStdin, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Ended, Program, kafkalab, program};

/// Lines for `produce -K:`, numbered from 1 as its receipts are.
pub fn lines(numbers: std::ops::RangeInclusive<u64>) -> String {
    padded(numbers, 0)
}

/// The same with values of at least `width` bytes.
pub fn padded(numbers: std::ops::RangeInclusive<u64>, width: usize) -> String {
    let mut lines = String::new();
    for number in numbers {
        let _ = writeln!(lines, "k{}:{number:<width$}", number % 7);
    }
    lines
}

/// `kafkalab produce` of such lines, with receipts.
pub fn produce(brokers: &str, topic: &str, more: &[&str]) -> Program {
    kafkalab(["produce", topic, "-K:", "--json"]).arguments(more).env("KAFKALAB_BROKERS", brokers)
}

/// What the receipts say.
#[derive(Debug, Default)]
pub struct Receipts {
    /// Record to partition and offset; the offset is not known where the broker only said that it has the record.
    pub acknowledged: BTreeMap<u64, (i32, Option<i64>)>,
    pub failed: BTreeSet<u64>,
    pub unknown: BTreeSet<u64>,
}

impl Receipts {
    /// From a stdout that may have been cut in the middle of a line.
    pub fn read(stdout: &[u8]) -> Self {
        let mut receipts = Self::default();
        for line in String::from_utf8_lossy(stdout).split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let receipt: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let number = receipt["record"].as_u64().unwrap_or_else(|| panic!("{line}"));
            let new = match receipt["status"].as_str() {
                Some("acknowledged") => {
                    let partition = receipt["partition"].as_i64().expect("a partition") as i32;
                    receipts.acknowledged.insert(number, (partition, receipt["offset"].as_i64())).is_none()
                }
                Some("failed") => receipts.failed.insert(number),
                Some("unknown") => receipts.unknown.insert(number),
                _ => panic!("{line}"),
            };
            assert!(new, "record {number} has two receipts");
        }
        receipts
    }

    pub fn total(&self) -> usize {
        self.acknowledged.len() + self.failed.len() + self.unknown.len()
    }
}

/// What lies in a topic: number to partition and offset.
#[derive(Debug, Default)]
pub struct Log {
    pub records: HashMap<u64, (i32, i64)>,
}

impl Log {
    /// Reads all of it; fails where a number comes twice or out of its order.
    #[track_caller]
    pub fn read(brokers: &str, topic: &str) -> Self {
        let read = kafkalab(["consume", topic, "-e", "-f", "%p %o %v\\n"]).env("KAFKALAB_BROKERS", brokers);
        Self::parse(&read.deadline(Duration::from_secs(120)).run().ok().text())
    }

    /// The same as kcat sees it.
    #[track_caller]
    pub fn read_by_kcat(brokers: &str, topic: &str) -> Self {
        let read = ["-b", brokers, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%p %o %s\\n"];
        Self::parse(&program("kcat", read).deadline(Duration::from_secs(120)).run().ok().text())
    }

    /// From lines of partition, offset and value.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let mut records = HashMap::new();
        let mut last: HashMap<i32, (u64, i64)> = HashMap::new();
        for line in text.lines() {
            let mut fields = line.split_whitespace();
            let mut field = || fields.next().unwrap_or_else(|| panic!("{line:?}"));
            let partition: i32 = field().parse().expect("a partition");
            let (offset, number) = (field().parse().expect("an offset"), field().parse().expect("a number"));
            let twice = records.insert(number, (partition, offset));
            assert!(twice.is_none(), "record {number} is there twice: {twice:?} and {:?}", (partition, offset));
            if let Some(before) = last.insert(partition, (number, offset)) {
                assert!(before < (number, offset), "{partition}: {number} at {offset} comes behind {before:?}");
            }
        }
        Self { records }
    }

    /// Acknowledged is there, where the receipt says; failed is not there.
    #[track_caller]
    pub fn agrees_with(&self, receipts: &Receipts) {
        for (number, (partition, offset)) in &receipts.acknowledged {
            let Some(found) = self.records.get(number) else { panic!("{number} was acknowledged and is not there") };
            assert_eq!(found.0, *partition, "record {number}");
            assert!(offset.is_none_or(|offset| offset == found.1), "record {number}: {offset:?}, but {found:?}");
        }
        for number in &receipts.failed {
            assert!(!self.records.contains_key(number), "record {number} failed and is there");
        }
    }

    /// Nothing is missing.
    #[track_caller]
    pub fn is_complete(&self, numbers: std::ops::RangeInclusive<u64>) {
        let missing: Vec<u64> = numbers.clone().filter(|number| !self.records.contains_key(number)).collect();
        let some = &missing[..missing.len().min(10)];
        assert!(missing.is_empty(), "{} of {numbers:?} are missing: {some:?}", missing.len());
        assert_eq!(self.records.len() as u64, numbers.end() - numbers.start() + 1);
    }
}

/// A program that runs while the test does something to its broker. Killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Gathered,
    stderr: Gathered,
}

#[derive(Debug)]
struct Gathered {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Gathered {
    fn from(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let reader = pipe.map(|mut pipe| {
            thread::spawn(move || {
                let mut piece = [0; 64 * 1024];
                while let Ok(count @ 1..) = pipe.read(&mut piece) {
                    into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..count]);
                }
            })
        });
        Self { bytes, reader }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn all(&mut self) -> Vec<u8> {
        let _ = self.reader.take().map(JoinHandle::join);
        self.so_far()
    }
}

impl Running {
    #[track_caller]
    pub fn start(program: Program) -> Self {
        let mut command = program.command();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (Gathered::from(child.stdout.take()), Gathered::from(child.stderr.take()));
        Self { stdin: child.stdin.take(), child, stdout, stderr }
    }

    /// Writes to its stdin from a thread of its own, `pause` after each piece, and closes it.
    pub fn feed(&mut self, pieces: impl Iterator<Item = String> + Send + 'static, pause: Duration) {
        let Some(mut stdin) = self.stdin.take() else { return };
        thread::spawn(move || {
            for piece in pieces {
                if stdin.write_all(piece.as_bytes()).is_err() {
                    return; // it ended early, which the test will see
                }
                thread::sleep(pause);
            }
        });
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program runs");
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.so_far()).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }

    /// Waits for `count` lines on stdout.
    #[track_caller]
    pub fn lines(&mut self, count: usize, limit: Duration) {
        let lines = |running: &Self| running.stdout.so_far().iter().filter(|&&byte| byte == b'\n').count();
        self.until(&format!("{count} lines"), limit, |running| lines(running) >= count);
    }

    /// Waits for something; fails at the deadline, or when the program ends before it.
    #[track_caller]
    pub fn until(&mut self, what: &str, limit: Duration, mut good: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !good(self) {
            let ended = self.child.try_wait().expect("waiting for a child");
            if let Some(status) = ended {
                let _ = (self.stdout.all(), self.stderr.all());
                assert!(good(self), "ended ({status}) before {what}: {}", self.stderr());
                return;
            }
            assert!(began.elapsed() < limit, "not within {limit:?}: {what}; it said: {}", self.stderr());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL.
    pub fn kill(mut self) -> Ended {
        let _ = self.child.kill();
        self.wait(Duration::from_secs(10))
    }

    /// Waits for its end; fails at the deadline.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waiting for a child") {
                break status;
            }
            assert!(began.elapsed() < limit, "still runs after {limit:?}; it said: {}", self.stderr());
            thread::sleep(Duration::from_millis(5));
        };
        let stderr = String::from_utf8_lossy(&self.stderr.all()).into_owned();
        Ended { stdout: self.stdout.all(), stderr, status }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
