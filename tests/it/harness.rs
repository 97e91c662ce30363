//! What every test has at hand: brokers, topics of its own, and programs run as a person would, with a deadline.

use std::{
    io::{Read, Write},
    process::{Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use kafkalab::broker::EmbeddedBroker;

/// No program of a test runs longer than this, unless the test says so.
const DEADLINE: Duration = Duration::from_secs(120);

/// The brokers under test: `KAFKALAB_TEST_BROKERS`, or an embedded one that lives as long as the test binary.
pub fn brokers() -> &'static str {
    static BROKERS: OnceLock<String> = OnceLock::new();
    BROKERS.get_or_init(|| match std::env::var("KAFKALAB_TEST_BROKERS") {
        Ok(brokers) if !brokers.is_empty() => brokers,
        _ => {
            let broker = EmbeddedBroker::start(0, None).expect("the embedded broker starts");
            let address = broker.address.to_string();
            std::mem::forget(broker); // lives as long as the tests
            address
        }
    })
}

/// The suite runs on a real cluster.
pub fn on_kafka() -> bool {
    std::env::var("KAFKALAB_TEST_BROKERS").is_ok_and(|brokers| !brokers.is_empty())
}

/// For the tests that only Apache Kafka can run: fails where the run has none.
pub fn need_kafka() {
    assert!(on_kafka(), "this test needs Apache Kafka: set KAFKALAB_TEST_BROKERS (`just test-kafka` does)");
}

/// A topic name that no other test has.
pub fn topic(word: &str) -> String {
    format!("{word}-{}", uuid::Uuid::now_v7().simple())
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub status: ExitStatus,
}

impl Ended {
    /// The exit code; panics where a signal ended the program.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Asserts success, with all that was said if not.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{:?}\nstdout: {}\nstderr: {}", self.status, self.text(), self.stderr);
        self
    }
}

/// A program to run.
pub struct Program {
    command: Command,
    stdin: Vec<u8>,
    deadline: Duration,
}

/// `kafkalab ARGUMENTS` with the brokers under test, no user's settings, and no colours.
pub fn kafkalab<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Program {
    let mut program = program(env!("CARGO_BIN_EXE_kafkalab"), arguments);
    for name in [
        "KAFKA_BROKERS",
        "RPK_BROKERS",
        "KAFKALAB_PROFILE",
        "KAFKALAB_STORE",
        "KAFKALAB_NOTIFY",
        "KAFKALAB_CRASH_AT",
        "KAFKALAB_TOPIC_PREFIX",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "RUST_BACKTRACE",
        "RUST_LOG",
    ] {
        program.command.env_remove(name);
    }
    program.command.env("HOME", std::env::temp_dir()).env("KAFKALAB_BROKERS", brokers());
    if !on_kafka() {
        program.command.env("KAFKALAB_MAX_ANSWER", kafkalab::broker::LARGEST_ANSWER.to_string());
    }
    program
}

/// `kcat ARGUMENTS` with the brokers under test.
pub fn kcat<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Program {
    let program = program("kcat", ["-b", brokers()]);
    program.arguments(arguments)
}

/// Any program.
pub fn program<S: AsRef<str>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Program {
    let program = Program { command: Command::new(name), stdin: Vec::new(), deadline: DEADLINE };
    program.arguments(arguments)
}

impl Program {
    pub fn arguments<S: AsRef<str>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn in_folder(mut self, folder: &std::path::Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The command itself, for tests that must watch or signal the process.
    pub fn command(self) -> Command {
        self.command
    }

    /// Runs it to its end. One that is still running at its deadline is killed, and the test fails.
    #[track_caller]
    pub fn run(mut self) -> Ended {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.command.get_program()));
        let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let input = std::mem::take(&mut self.stdin);
        let writer = thread::spawn(move || {
            if let Some(stdin) = &mut stdin {
                let _ = stdin.write_all(&input); // a program need not read its input
            }
        });
        let (stdout, stderr) = (thread::spawn(|| drain(stdout)), thread::spawn(|| drain(stderr)));
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("waiting for a child") {
                break status;
            }
            if began.elapsed() > self.deadline {
                let _ = child.kill();
                let _ = child.wait();
                let said = String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned();
                panic!("{:?} still ran after {:?}; it said: {said}", self.command, self.deadline);
            }
            thread::sleep(Duration::from_millis(2));
        };
        let _ = writer.join();
        Ended {
            stdout: stdout.join().expect("stdout"),
            stderr: String::from_utf8_lossy(&stderr.join().expect("stderr")).into_owned(),
            status,
        }
    }
}

fn drain(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}
