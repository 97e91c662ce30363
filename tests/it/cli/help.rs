//! `--help`, `--version`, `completions` and `man`. The help texts lie in `help/`, a file per command;
//! `KAFKALAB_BLESS=1 cargo test --test it help` writes them anew, and the diff is what there is to look at.

use std::path::Path;

use super::expect;
use crate::{
    bytes::files::Folder,
    harness::{kafkalab, program},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cli/help");

/// The commands as the help text lists them.
fn commands() -> Vec<String> {
    listed(&[])
}

/// The commands of the program, or of one of its commands; none where that one has none.
fn listed(of: &[&str]) -> Vec<String> {
    let help = kafkalab(of).arguments(["-h"]).run().ok().text();
    let list = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Each command, and each command's commands: `topics`, `topics create`.
fn all_commands() -> Vec<Vec<String>> {
    let commands = commands();
    assert!(commands.len() > 3, "{commands:?}");
    let below = |command: &String| listed(&[command]).into_iter().map(|below| vec![command.clone(), below]).collect();
    commands.iter().flat_map(|command| [vec![vec![command.clone()]], below(command)].concat()).collect()
}

#[test]
fn every_help_text_is_as_it_is_kept() {
    let bless = std::env::var_os("KAFKALAB_BLESS").is_some();
    let mut wrong = Vec::new();
    for command in [vec![]].into_iter().chain(all_commands()) {
        let help = kafkalab(&command).arguments(["--help"]).run().ok();
        assert_eq!(help.stderr, "");
        assert!(help.text().lines().all(|line| line.chars().count() <= 100), "{}", help.text());
        let name = if command.is_empty() { "kafkalab".to_owned() } else { command.join("-") };
        let path = Path::new(FOLDER).join(format!("{name}.txt"));
        if bless {
            std::fs::write(&path, help.text()).expect("writing the help text");
        } else if std::fs::read_to_string(&path).ok() != Some(help.text()) {
            wrong.push(format!("{}:\n{}", path.display(), help.text()));
        }
    }
    assert!(wrong.is_empty(), "not as kept (KAFKALAB_BLESS=1 keeps what is now):\n{}", wrong.join("\n"));
}

#[test]
fn every_help_text_has_examples_and_exit_codes() {
    for command in all_commands() {
        let help = kafkalab(&command).arguments(["--help"]).run().ok().text();
        let examples = help.split("Examples:\n").nth(1).unwrap_or_default();
        assert!(examples.contains(&format!("kafkalab {}", command[0])), "{command:?}: {help}");
        assert!(help.contains("Exit codes: 0"), "{command:?}: {help}");
    }
    let help = kafkalab(["--help"]).run().ok().text();
    for word in
        ["Exit codes: 0 done, 1 failed, 2 wrong usage", "To begin with:\n  kafkalab learn ", "Next: `kafkalab COMMAND"]
    {
        assert!(help.contains(word), "{help}");
    }
}

#[test]
fn version_and_nothing_at_all() {
    expect(kafkalab(["--version"]), 0, concat!("kafkalab ", env!("CARGO_PKG_VERSION"), "\n"), "");
    expect(kafkalab(["-V"]), 0, concat!("kafkalab ", env!("CARGO_PKG_VERSION"), "\n"), "");
    let nothing = kafkalab::<&str>([]).run();
    let help = kafkalab(["-h"]).run().ok().text();
    assert_eq!((nothing.code(), nothing.text(), nothing.stderr), (2, String::new(), help));
}

#[test]
fn completions_are_a_script_that_asks() {
    let script = kafkalab(["completions", "bash"]).run().ok();
    assert_eq!(script.stderr, "");
    let folder = Folder::new("completions");
    let path = folder.file("script", &script.stdout);
    expect(program("bash", ["-n", &path]), 0, "", "");
    assert!(script.text().contains("complete -o nospace"), "{}", script.text());
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(!kafkalab(["completions", shell]).run().ok().stdout.is_empty());
    }
    // what the script runs at `kafkalab pro<TAB>`
    let asked = kafkalab(["--", "kafkalab", "pro"]).env("KAFKALAB_COMPLETE", "bash");
    let asked = asked.env("_CLAP_COMPLETE_INDEX", "1").env("_CLAP_IFS", "\n").run().ok();
    assert_eq!(asked.text(), "produce");
    expect(
        kafkalab(["completions", "tcsh"]),
        2,
        "",
        "error: invalid value 'tcsh' for '<SHELL>'\n  [possible values: bash, elvish, fish, powershell, zsh]\n\n  \
         tip: a similar value exists: 'zsh'\n\nFor more information, try '--help'.\n",
    );
}

#[test]
fn man_writes_a_page_per_command() {
    let folder = Folder::new("man");
    let pages = folder.0.join("new/man1");
    expect(kafkalab(["man", pages.to_str().unwrap()]), 0, "", "");
    for command in commands() {
        let page = std::fs::read_to_string(pages.join(format!("kafkalab-{command}.1"))).expect(&command);
        assert!(page.contains(&format!("kafkalab\\-{}", command.replace('-', "\\-"))), "{page}");
    }
    assert!(pages.join("kafkalab.1").is_file());
    let file = folder.file("file", b"");
    let said = format!("error: making the folder {file}: File exists (os error 17)\n");
    expect(kafkalab(["man", &file]), 1, "", &said);
}

#[test]
fn arguments_that_are_missing_are_named() {
    for (command, what, example) in [
        ("completions", "<SHELL>", "bash > ~/.local/share/bash-completion/completions/kafkalab"),
        ("man", "<DIR>", "~/.local/share/man/man1"),
    ] {
        let said = format!(
            "error: the following required arguments were not provided:\n  {what}\n\nUsage: kafkalab {command} {what}\n\n\
             For more information, try '--help'.\nhint: for example: kafkalab {command} {example}\n"
        );
        expect(kafkalab([command]), 2, "", &said);
    }
}
