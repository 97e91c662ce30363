//! The README's commands do what it says: every ```sh block runs, and where a ```text block follows, that is its output.

use std::{path::Path, time::Duration};

use crate::{
    bytes::files::Folder,
    harness::{Ended, program},
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
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let blocks = blocks(&std::fs::read_to_string(readme).expect("README.md"));
    let mut ran = 0;
    for Block { line, script, expected } in blocks {
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
