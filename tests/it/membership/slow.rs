//! A reader of stdout that takes its time: `kafkalab consume -g GROUP | slow`.

use std::{
    io::Read,
    process::{ChildStdout, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    PATIENCE, SESSION_TIME, lab, made,
    member::{Group, How, Word},
    on,
};
use crate::{harness::need_kafka, random::Random};

const BOTH: [How; 2] = [How::Cooperative, How::Consumer];
/// More than a pipe holds, and what is fetched ahead.
const RECORDS: usize = 60_000;

/// A member whose stdout is the test's to read, and whose words go to a file.
struct Slow {
    child: std::process::Child,
    stdout: Option<ChildStdout>,
    words: std::path::PathBuf,
}

impl Slow {
    fn start(group: &Group, more: &[&str]) -> Self {
        let words = std::env::temp_dir().join(format!("kafkalab-slow-{}", uuid::Uuid::now_v7().simple()));
        let stderr = std::fs::File::create(&words).expect("a file for its words");
        let arguments = [&["consume", &group.topics[0], "-g", &group.name][..], &group.flags(), more].concat();
        let mut command = on(&group.brokers, &arguments).command();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().expect("kafkalab");
        let stdout = child.stdout.take();
        Self { child, stdout, words }
    }

    fn words(&self) -> String {
        std::fs::read_to_string(&self.words).expect("its words")
    }

    #[track_caller]
    fn until(&self, what: &str) {
        super::until(what, PATIENCE, || {
            let words = self.words();
            if words.contains(what) { Ok(()) } else { Err(words) }
        });
    }

    /// The processor's time that it has used.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("Linux");
        let fields: Vec<u64> = stat.rsplit(')').next().unwrap_or_default().split(' ').flat_map(str::parse).collect();
        // user and system time are the 14th and 15th; the state is no number
        Duration::from_millis(10 * (fields[10] + fields[11]))
    }

    /// Takes so many bytes.
    fn take(&mut self, bytes: usize) {
        let mut stdout = self.stdout.take().expect("a pipe");
        let (done, taken) = mpsc::channel();
        thread::spawn(move || {
            stdout.read_exact(&mut vec![0; bytes]).expect("more to read");
            done.send(stdout)
        });
        let stdout = taken.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no more to read: {}", self.words()));
        self.stdout = Some(stdout);
    }

    /// Takes all that comes from now on.
    fn drain(&mut self) {
        let mut stdout = self.stdout.take().expect("a pipe");
        thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.words);
    }
}

/// Two megabytes for each of the two partitions.
fn fill(group: &Group) {
    for partition in ["0", "1"] {
        let lines: String = (0..RECORDS).map(|number| format!("{number:0>40}\n")).collect();
        on(&group.brokers, &["produce", &group.topics[0], "-q", "-p", partition]).stdin(lines).run().ok();
    }
}

fn is_about_partitions(word: &Word) -> bool {
    !matches!(word, Word::Record(..) | Word::Else(_))
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_slow_reader_is_no_dead_member() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let brokers = lab();
    for how in BOTH {
        let group = Group::new(brokers, &[&made(brokers, "slow", 2)], how);
        let other = group.ours("other", &[]);
        other.until_it_has(2);
        let mut slow = Slow::start(&group, &[]);
        slow.until(": got ");
        other.until_it_has(1);
        fill(&group);
        let before = other.words().iter().filter(|(_, word)| is_about_partitions(word)).count();
        for _ in 0..3 {
            slow.take(random.within(1000..100_000));
            thread::sleep(SESSION_TIME + Duration::from_secs(1)); // silent for longer than a session, as to its output
        }
        let words: Vec<_> = other.words().into_iter().filter(|(_, word)| is_about_partitions(word)).collect();
        assert_eq!(words.len(), before, "{how:?}: {words:?}");
        let said = slow.words();
        assert!(!said.contains("lost") && !said.contains("gave up"), "{how:?}: {said}");
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_reader_that_stops_for_too_long_makes_room_and_comes_back() {
    need_kafka();
    let brokers = lab();
    for how in [How::Range, How::Cooperative, How::Consumer] {
        let group = Group::new(brokers, &[&made(brokers, "slow", 2)], how);
        let other = group.ours("other", &[]);
        other.until_it_has(2);
        let mut slow = Slow::start(&group, &["--max-handling", "3s"]);
        slow.until(": got ");
        other.until_it_has(1);
        fill(&group);
        other.until_it_has(2); // nobody reads the slow one
        slow.drain();
        slow.until("lost ");
        super::until("it comes back", PATIENCE, || {
            let words = slow.words();
            let came_back = words.rsplit_once("lost ").is_some_and(|(_, then)| then.contains(": got "));
            if came_back { Ok(()) } else { Err(words) }
        });
        other.until_it_has(1);
    }
}

/// The partition that is to move is in the hands of one that does not answer.
#[test]
#[ignore = "needs Apache Kafka"]
fn who_joins_beside_a_stopped_reader_gets_its_partitions() {
    need_kafka();
    let brokers = lab();
    for how in [How::Range, How::Cooperative, How::Consumer] {
        let group = Group::new(brokers, &[&made(brokers, "slow", 2)], how);
        let slow = Slow::start(&group, &["--max-handling", "5s"]);
        slow.until(": got ");
        fill(&group);
        let other = group.ours("other", &[]);
        other.until_it_has(2);
        let used = slow.cpu();
        assert!(used < Duration::from_secs(3), "{how:?}: it waits busily: {used:?}");
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn who_is_stopped_while_nobody_takes_the_output_ends_all_the_same() {
    need_kafka();
    let brokers = lab();
    let group = Group::new(brokers, &[&made(brokers, "slow", 2)], How::Cooperative);
    let mut slow = Slow::start(&group, &[]);
    slow.until(": got ");
    fill(&group);
    slow.take(1000);
    thread::sleep(Duration::from_millis(500)); // the pipe fills up
    kill_process(Pid::from_child(&slow.child), Signal::TERM).expect("it runs");
    let status = super::until("its end", Duration::from_secs(15), || match slow.child.try_wait().expect("its end") {
        Some(status) => Ok(status),
        None => Err(slow.words()),
    });
    assert_eq!(status.code(), Some(143), "{}", slow.words());
}
