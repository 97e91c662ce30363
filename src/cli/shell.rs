//! What belongs to the shell: completions and man pages.

use std::{io::Write, path::PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::{CompleteEnv, Shell};
use color_eyre::{Report, Result, Section, eyre::WrapErr};

use super::{
    Cli,
    exit::{Exit, Usage},
};

/// Print completions for a shell
///
/// Names of topics and groups complete too: the shell asks kafkalab, and kafkalab asks the broker (for half a second at most).
///
///   bash: echo 'source <(kafkalab completions bash)' >> ~/.bashrc
///   zsh:  echo 'source <(kafkalab completions zsh)' >> ~/.zshrc
///   fish: kafkalab completions fish > ~/.config/fish/completions/kafkalab.fish
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  kafkalab completions bash > ~/.local/share/bash-completion/completions/kafkalab

Exit codes: 0 done, 1 failed, 2 wrong usage"
)]
pub struct CompletionsArgs {
    shell: Shell,
}

/// Write a man page per command into a folder
///
///   kafkalab man ~/.local/share/man/man1 && man kafkalab
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  kafkalab man ~/.local/share/man/man1

Exit codes: 0 done, 1 failed, 2 wrong usage"
)]
pub struct ManArgs {
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

const ASKED: &str = "KAFKALAB_COMPLETE";

/// Answers the shell when it asks for completions, and ends the process then.
pub fn complete(command: &Command) {
    if std::env::var_os(ASKED).is_some() {
        let command = command.clone();
        CompleteEnv::with_factory(move || command.clone()).var(ASKED).complete();
    }
}

pub fn completions(args: &CompletionsArgs) -> Result<Exit> {
    let shells = clap_complete::env::Shells::builtins();
    let name = args.shell.to_string();
    let completer = shells.completer(&name).ok_or_else(|| Usage(format!("no completions for {name}")))?;
    let mut script = Vec::new();
    completer.write_registration(ASKED, "kafkalab", "kafkalab", "kafkalab", &mut script)?;
    match std::io::stdout().write_all(&script) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::OK),
    }
}

pub fn man(args: &ManArgs) -> Result<Exit> {
    let folder = &args.folder;
    if let Some(name) = folder.to_str().filter(|name| Cli::command().find_subcommand(name).is_some()) {
        let usage: Report = Usage(format!("man writes all pages into a folder, and {name} is a command")).into();
        return Err(usage.suggestion(format!("its page: kafkalab {name} --help; a folder of this name: ./{name}")));
    }
    std::fs::create_dir_all(folder).wrap_err_with(|| format!("making the folder {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .wrap_err_with(|| format!("writing man pages into {}", folder.display()))?;
    Ok(Exit::OK)
}
