//! What the transcripts of the demonstrations share. Each is kept in `tests/it/NAME/transcript.txt`; `KAFKALAB_BLESS=1`
//! writes it anew.

use std::{
    net::TcpStream,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    bytes::files::Folder,
    cli::screen::without_styles,
    es::{
        Place,
        judge::{Sent, sent},
    },
    harness::{Ended, Program, kafkalab, on_kafka},
    process::on_terminal,
};

pub struct Transcript {
    /// `kafkalab NAME` tells it.
    pub name: &'static str,
    /// Lines that begin with one of these words and stand in a row come in any order.
    pub unordered: &'static [&'static str],
}

impl Transcript {
    /// Ids by the order in which they come, without what is the run's business.
    pub fn normal(&self, text: &str, prefix: &str) -> String {
        let (mut ids, mut lines, mut row): (Vec<String>, Vec<String>, usize) = (Vec::new(), Vec::new(), 0);
        for line in text.lines() {
            let mut line = line.replace(prefix, "");
            while let Some(at) = uuid_in(&line) {
                let id = line[at..at + 36].to_owned();
                let number = ids.iter().position(|known| *known == id).unwrap_or_else(|| {
                    ids.push(id);
                    ids.len() - 1
                });
                line.replace_range(at..at + 36, &format!("ID-{}", number + 1));
            }
            lines.push(masked(&line));
            let is_in_a_row = lines.last().is_some_and(|line| self.unordered.contains(&first_word(line)));
            row = if is_in_a_row { row + 1 } else { 0 };
            let begin = lines.len() - row;
            lines[begin..].sort();
        }
        lines.join("\n") + "\n"
    }

    pub fn kept(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap_or_default()
    }

    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/{}/transcript.txt", self.name))
    }

    /// It is told as it is kept.
    #[track_caller]
    pub fn holds(&self, place: &Place, ended: &Ended) {
        let found = self.normal(&ended.text(), &place.prefix);
        if std::env::var_os("KAFKALAB_BLESS").is_some() {
            std::fs::write(self.path(), &found).expect("writing the transcript");
        }
        assert_eq!(found, self.kept(), "KAFKALAB_BLESS=1 keeps what is now");
    }

    /// With nothing named it hosts a broker, says so, and leaves nothing behind.
    #[track_caller]
    pub fn stands_alone(&self) {
        nobody_listens();
        let folder = Folder::new("self-contained");
        let ended = bare(&folder, &[self.name]).run().ok();
        assert_eq!(self.normal(&ended.text(), "no prefix"), self.kept());
        let said: Vec<_> = ended.stderr.lines().collect();
        assert!(said[0].starts_with("store: sqlite:") && said[0].ends_with("/store.db (temporary)"), "{said:?}");
        let hosts = "no broker named and none on localhost:9092: one runs in this process, on 127.0.0.1:";
        assert!(said[1].starts_with(hosts), "{said:?}");
        let ended = bare(&folder, &[self.name, "--quiet"]).run().ok();
        assert_eq!((ended.text(), ended.stderr), ("done\n".to_owned(), String::new()));
        let left: Vec<_> = std::fs::read_dir(&folder.0).expect("the folder").collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// The steps of `--json` have the kinds of the kept lines, of which `kind` tells by the first word; `None` for a line
    /// that goes on with the one above. Lessons and parts look alike everywhere.
    #[track_caller]
    pub fn steps(&self, json: &str, kind: fn(&str) -> Option<&str>) -> Vec<Value> {
        let steps: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let kept = self.kept();
        let mut told: Vec<&str> = Vec::new();
        for word in kept.lines().filter(|line| !line.is_empty()).map(first_word) {
            match word {
                "|" if told.last() == Some(&"lesson") => {}
                "|" => told.push("lesson"),
                word if word.ends_with('.') => told.push("part"),
                word => told.extend(kind(word)),
            }
        }
        assert_eq!(steps.iter().map(|step| step["step"].as_str().unwrap_or_default()).collect::<Vec<_>>(), told);
        steps
    }

    /// On narrow terminals lessons are wrapped, and facts are the same.
    #[track_caller]
    pub fn is_wrapped(&self, program: impl Fn(&Place) -> Program) {
        let words = |text: &str, wanted: bool| {
            let lines = text.lines().filter(|line| line.starts_with("  | ") == wanted && !line.is_empty());
            let beside = |line: &&str| ["hint:", "store:", "told.jsonl:"].iter().any(|word| line.starts_with(word));
            let lines = lines.filter(|line| !beside(line)).map(|line| line.trim_start_matches("  | "));
            lines.flat_map(str::split_whitespace).map(str::to_owned).collect::<Vec<_>>()
        };
        // with the tests' long names of topics a fact takes two lines of 80 columns
        let widths: &[u16] = if on_kafka() { &[200] } else { &[200, 40] };
        for columns in widths {
            let place = Place::new("narrow");
            let shown = on_terminal(program(&place), *columns, b"").ok().text();
            let shown = without_styles(&shown);
            for line in shown.lines().filter(|line| line.starts_with("  | ")) {
                assert!(line.chars().count() <= usize::from(*columns), "{columns}: {line}");
            }
            assert_eq!(words(&shown, true), words(&self.kept(), true), "{columns}");
            if *columns == 200 {
                assert_eq!(words(&self.normal(&shown, &place.prefix), false), words(&self.kept(), false));
            }
        }
    }
}

/// A demonstration that was killed at a crash point, with nothing named, and what it said of going on. The broker that it
/// leaves behind ends with this.
pub struct Killed {
    pub folder: Folder,
    pub ended: Ended,
}

impl Killed {
    pub fn at(point: &str, name: &str) -> Self {
        nobody_listens();
        let folder = Folder::new("resumed");
        let ended = bare(&folder, &[name, "--crash-at", point]).run();
        assert_eq!(ended.status.signal(), Some(9), "{ended:?}");
        Self { folder, ended }
    }

    /// Runs the command that it names and that begins with these words.
    #[track_caller]
    pub fn run(&self, words: &str) -> Ended {
        let line = self.ended.stderr.lines().map(str::trim).find(|line| line.starts_with(words));
        let line = line.unwrap_or_else(|| panic!("no {words}: {:?}", self.ended));
        bare(&self.folder, &line.split(' ').skip(1).collect::<Vec<_>>()).run().ok()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let pid = self.ended.stderr.split("clear up: kill ").nth(1).and_then(|pid| pid.trim().parse().ok());
        let killed = pid.and_then(Pid::from_raw).map(|pid| kill_process(pid, Signal::TERM));
        if !std::thread::panicking() {
            assert_eq!(killed, Some(Ok(())), "the broker lives on: {:?}", self.ended);
        }
    }
}

/// `kafkalab ARGUMENTS` with nothing named, and a home and temporary files in this folder.
fn bare(folder: &Folder, arguments: &[&str]) -> Program {
    let temporary = folder.0.to_str().expect("a path");
    let program = kafkalab(arguments).env_remove("KAFKALAB_BROKERS").in_folder(&folder.0);
    program.env("TMPDIR", temporary).env("HOME", temporary).env("USER", "tester")
}

/// Nothing named: it must be nobody's broker that is found.
pub fn nobody_listens() {
    let found = TcpStream::connect("localhost:9092");
    assert!(found.is_err(), "this test needs localhost:9092 free: a broker that listens there would be taken");
}

/// Without the numbers that are the run's business: places of records, ports, how far somebody came who was killed.
fn masked(line: &str) -> String {
    let mut rest = line;
    let mut masked = String::new();
    for (before, number) in [("[", "P"), ("offset ", "N"), ("offset ", "N"), (" on 127.0.0.1:", "PORT")] {
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let found = rest.find(before).map(|at| at + before.len()).filter(|&at| digits(&rest[at..]) > 0);
        let Some(at) = found else { continue };
        masked.push_str(&rest[..at]);
        masked.push_str(number);
        rest = &rest[at + digits(&rest[at..])..];
    }
    masked.push_str(rest);
    match first_word(line) {
        "killed" => masked.replace(|c: char| c.is_ascii_digit(), "N").replace("record in", "records in"),
        _ => masked,
    }
}

/// The committed record at the place that a step names.
#[track_caller]
pub fn at(step: &Value) -> Sent {
    let here = |record: &Sent| {
        (Some(i64::from(record.partition)), Some(record.offset))
            == (step["partition"].as_i64(), step["offset"].as_i64())
    };
    let records = sent(step["topic"].as_str().expect("a topic"));
    records.into_iter().find(here).unwrap_or_else(|| panic!("not where it is said to be: {step}"))
}

fn first_word(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

fn uuid_in(line: &str) -> Option<usize> {
    let is_uuid = |at: &usize| line.get(*at..at + 36).is_some_and(|text| text.parse::<uuid::Uuid>().is_ok());
    (0..line.len()).find(is_uuid)
}
