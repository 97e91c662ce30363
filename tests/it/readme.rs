//! The README's commands do what it says: every ```sh block runs, and where a ```text block follows, that is its output. Its
//! picture is what the program says, its Russian half is in step, and what documents name is there.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    bytes::files::Folder,
    harness::{Ended, kafkalab, program},
};

/// Blocks that are not run here, by their first word: what runs in them is this suite itself, or needs Docker.
const NOT_RUN: [&str; 4] = ["cargo test", "cargo install", "just ", "dev/"];

struct Block {
    line: usize,
    script: String,
    expected: Option<String>,
}

/// The ```sh blocks, each with the ```text block that follows it directly.
fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = markdown.lines().enumerate();
    let mut follows = false;
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            follows &= line.trim().is_empty();
            continue;
        };
        let body: String = lines.by_ref().map_while(|(_, line)| (line != "```").then(|| format!("{line}\n"))).collect();
        match (language, blocks.last_mut()) {
            ("sh", _) => blocks.push(Block { line: number + 1, script: body, expected: None }),
            ("text", Some(block)) if follows => block.expected = Some(body),
            _ => {}
        }
        follows = language == "sh";
    }
    blocks
}

/// A file of the repository.
fn text_of(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a block in an empty folder, with the kafkalab of this build on the PATH.
fn run(script: &str) -> Ended {
    let folder = Folder::new("readme");
    let binary = Path::new(env!("CARGO_BIN_EXE_kafkalab")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let script =
        script.replace("cargo run --release --quiet --", "kafkalab").replace("cargo run --release --", "kafkalab");
    let mut shell = program("sh", ["-e", "-c", &script]).in_folder(&folder.0).env("PATH", &path);
    for name in ["KAFKALAB_BROKERS", "KAFKA_BROKERS", "RPK_BROKERS", "KAFKALAB_PROFILE", "XDG_CONFIG_HOME"] {
        shell = shell.env_remove(name);
    }
    shell.deadline(Duration::from_secs(120)).run()
}

#[test]
fn every_block_runs_and_says_what_stands_below_it() {
    run_blocks(|script| !script.contains("jq"));
}

#[test]
#[ignore = "needs jq"]
fn every_block_with_jq_runs_and_says_what_stands_below_it() {
    run_blocks(|script| script.contains("jq"));
}

fn run_blocks(wanted: impl Fn(&str) -> bool) {
    let mut ran = 0;
    for Block { line, script, expected } in blocks(&text_of("README.md")) {
        if !wanted(&script) {
            continue;
        }
        if let Some(why) = NOT_RUN.iter().find(|word| script.starts_with(**word)) {
            println!("README.md:{line} is not run here: it begins with `{why}`");
            continue;
        }
        let ended = run(&script);
        assert!(ended.status.success(), "README.md:{line}\n{script}\n{}{}", ended.text(), ended.stderr);
        if let Some(expected) = expected {
            assert_eq!(ended.text(), expected, "README.md:{line}\n{script}\n{}", ended.stderr);
        }
        ran += 1;
    }
    assert!(ran > 0, "no block of README.md ran");
}

#[test]
fn blocks_are_found_with_what_they_print() {
    let found =
        blocks("a\n```sh\necho 1\n```\n\n```text\n1\n```\n```sh\ntrue\n```\nand\n```text\nno\n```\n```rust\nx\n```\n");
    let found: Vec<_> =
        found.iter().map(|block| (block.line, block.script.as_str(), block.expected.as_deref())).collect();
    assert_eq!(found, [(2, "echo 1\n", Some("1\n")), (9, "true\n", None)]);
}

/// A document's frame: the level of each heading and each fenced block whole, in their order; and the rest of its text.
fn frame(markdown: &str) -> (Vec<String>, String) {
    let (mut frame, mut text) = (Vec::new(), String::new());
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let body: String =
                lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            frame.push(format!("{line}\n{body}"));
            continue;
        }
        if line.starts_with('#') {
            frame.push(line.chars().take_while(|c| *c == '#').collect());
        }
        text.push_str(line);
        text.push('\n');
    }
    (frame, text)
}

/// What stands between single backquotes, which may be broken into lines.
fn code_in(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn the_russian_readme_is_in_step() {
    let [(english, rest), (russian, rest_in_russian)] = ["README.md", "README.ru.md"].map(|name| frame(&text_of(name)));
    for (one, other) in english.iter().zip(&russian) {
        assert_eq!(one, other, "README.md and README.ru.md part here");
    }
    assert_eq!(english.len(), russian.len(), "one of the two goes on where the other ends");
    assert!(rest.contains("(README.ru.md)") && rest_in_russian.contains("(README.md)"), "they link to each other");
    let [rows, rows_in_russian] =
        [rest, rest_in_russian].map(|text| text.lines().filter(|l| l.starts_with('|')).count());
    assert_eq!(rows, rows_in_russian, "rows of tables");
}

/// Parsed as it stands, with `--help` behind it: an option that is not there is refused before.
#[test]
fn commands_in_the_text_are_commands() {
    for name in ["README.md", "README.ru.md"] {
        let (_, text) = frame(&text_of(name));
        let commands: Vec<String> = code_in(&text).filter(|code| code.starts_with("kafkalab ")).collect();
        assert!(commands.len() > 20, "{commands:?}");
        for command in commands.iter().filter(|command| !command.contains(" -- ")) {
            let words = command.split(' ').skip(1).chain(["--help"]);
            let ended = kafkalab(words).run();
            assert!(ended.status.success(), "{name}: {command}: {}", ended.stderr);
        }
    }
}

#[test]
fn links_lead_somewhere() {
    for name in ["README.md", "README.ru.md", "examples/README.md", "CONTRIBUTING.md", "docs/brokers.md"] {
        let (_, text) = frame(&text_of(name));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let file = link.split('#').next().unwrap_or_default();
            let is_there = folder.parent().is_some_and(|folder| folder.join(file).exists());
            assert!(link.starts_with("https://") || is_there, "{name} links to {link}");
        }
    }
}

#[test]
fn architecture_names_files_that_are_there() {
    let (_, text) = frame(&text_of("docs/architecture.md"));
    let sources = sources(Path::new(env!("CARGO_MANIFEST_DIR")));
    for code in code_in(&text).filter(|code| code.ends_with(".rs")) {
        // a table names a file's folder once
        assert!(sources.iter().any(|source| source.ends_with(&code)), "docs/architecture.md names {code}");
    }
}

/// Every Rust file of the repository.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut folders = vec![root.join("src"), root.join("tests"), root.join("examples")];
    let mut sources = vec![root.join("build.rs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(path);
            }
        }
    }
    sources
}

#[test]
#[ignore = "needs python3"]
fn the_picture_is_what_the_program_says() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/picture.py");
    program("python3", [script, "--check", "--kafkalab", env!("CARGO_BIN_EXE_kafkalab")]).run().ok();
}
