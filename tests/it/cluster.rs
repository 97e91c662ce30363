//! Clusters that belong to a test: Apache Kafka that may be killed, paused and started again.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::harness::{need_kafka, program};

/// `KAFKALAB_SOAK=1` runs the full counts; without it a sample of them.
pub fn soak() -> bool {
    std::env::var("KAFKALAB_SOAK").is_ok_and(|value| value == "1")
}

/// A cluster by `dev/kafka/kafka.sh run`, whose command waits for the end of its stdin: whatever ends this process,
/// the script sees it and takes its brokers down. Dropped, it ends at once.
#[derive(Debug)]
pub struct Kafka {
    run: Child,
    dir: PathBuf,
    /// The bootstrap list.
    pub brokers: String,
}

fn script() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dev/kafka/kafka.sh").display().to_string()
}

impl Kafka {
    /// Starts `nodes` (1 or 3) with these settings (`KEY=VALUE`) beside the script's own.
    pub fn start(nodes: u8, settings: &[&str]) -> Self {
        Self::start_by(&mut Command::new("bash"), nodes, settings)
    }

    /// One node with these listeners (`NAME=PROTOCOL`) beside the plain one; [`Kafka::listener`] tells where they are.
    pub fn with_listeners(listeners: &[&str], settings: &[&str]) -> Self {
        Self::start_with(&mut Command::new("bash"), 1, listeners, settings)
    }

    /// The same by a shell of the caller's making, such as one with limits.
    pub fn start_by(shell: &mut Command, nodes: u8, settings: &[&str]) -> Self {
        Self::start_with(shell, nodes, &[], settings)
    }

    fn start_with(shell: &mut Command, nodes: u8, listeners: &[&str], settings: &[&str]) -> Self {
        need_kafka();
        program("bash", [&script(), "fetch"]).deadline(Duration::from_secs(600)).run().ok(); // without the shell's limits
        let words = std::env::temp_dir().join(format!("kafkalab-cluster-{}", uuid::Uuid::now_v7().simple()));
        shell.arg(script()).args(["run", "--nodes", &nodes.to_string(), "--heap", "384m"]);
        for listener in listeners {
            shell.args(["--listener", listener]);
        }
        for setting in settings {
            shell.args(["--set", setting]);
        }
        shell.args(["--", "sh", "-c", r#"echo "$KAFKALAB_BROKERS $KAFKALAB_KAFKA_DIR"; cat >/dev/null"#]);
        let stderr = File::create(&words).expect("a file for the words of kafka.sh");
        let mut run = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn().expect("bash");
        let mut line = String::new();
        let read = run.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        let said = std::fs::read_to_string(&words).unwrap_or_default();
        let _ = std::fs::remove_file(&words);
        let Some((brokers, dir)) = line.trim().split_once(' ') else {
            panic!("the cluster does not start ({read:?}): {said}");
        };
        Self { run, dir: dir.into(), brokers: brokers.to_owned() }
    }

    fn script<S: AsRef<str>>(&self, command: &str, arguments: impl IntoIterator<Item = S>) {
        program("bash", [&script(), command, "--dir", &self.dir.display().to_string()])
            .arguments(arguments)
            .deadline(Duration::from_secs(120))
            .run()
            .ok();
    }

    /// The port of the one node's listener of this index, as `kafka.sh` documents it.
    pub fn listener(&self, index: u16) -> u16 {
        let base: u16 = self.brokers.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        base + 2 + index
    }

    /// SIGKILL.
    pub fn kill(&self, node: u8) {
        self.script("kill", [node.to_string()]);
    }

    /// SIGSTOP: its sockets stay open, and nothing answers.
    pub fn pause(&self, node: u8) {
        self.script("pause", [node.to_string()]);
    }

    pub fn resume(&self, node: u8) {
        self.script("resume", [node.to_string()]);
    }

    /// The same ports and data; returns when the node answers.
    pub fn restart(&self, node: u8) {
        self.script("restart", [node.to_string()]);
    }

    /// One of Kafka's own tools, with the cluster as its `--bootstrap-server`.
    #[track_caller]
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let tool = program("bash", [&script(), "tool", class, "--bootstrap-server", &self.brokers]);
        tool.arguments(arguments).deadline(Duration::from_secs(120)).run().ok().text()
    }

    /// What the node has written to its log.
    pub fn log(&self, node: u8) -> String {
        let path = self.dir.join(format!("node-{node}/log"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn is_running(&self, node: u8) -> bool {
        let status = program("bash", [&script(), "status", "--dir", &self.dir.display().to_string()]).run().text();
        status.lines().any(|line| line.starts_with(&format!("node {node} ")) && line.contains("running"))
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // At once, and not by the graceful end that the script has for those who walk away.
        let dir = self.dir.display().to_string();
        let _ = Command::new("bash").args([&script(), "stop", "--purge", "--wait", "0", "--dir", &dir]).status();
        drop(self.run.stdin.take());
        let _ = self.run.wait();
    }
}
