//! Slips of who types a command for the first time, and what was meant.

use std::path::Path;

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// A topic's name as Kafka takes it. What is no name is most often something else, in the wrong place.
///
/// # Errors
/// What was meant, in words.
pub fn topic_name(text: &str) -> Result<String, String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text {
        "." | ".." => Err("this is a folder, and no topic".to_owned()),
        text if !text.is_empty() && text.len() <= 249 && text.chars().all(is_legal) => Ok(text.to_owned()),
        text if bare(text).is_some_and(|bare| bare.chars().all(is_legal)) => {
            Err(format!("without the quotes and blanks around it: {}", bare(text).unwrap_or_default()))
        }
        text if text.contains('/') => {
            Err("this is a path, and no topic; a file to be sent is named by -l FILE".to_owned())
        }
        text if text.contains(':') => {
            Err("this is an address, and no topic; a broker is named by -b HOST:PORT".to_owned())
        }
        _ => Err("a topic's name has letters, digits, dots, underscores and dashes, 249 of them at most".to_owned()),
    }
}

/// Without the quotes, blanks and line ends that came along by a copy, where it has some.
pub fn bare(text: &str) -> Option<&str> {
    let is_around = |c: char| matches!(c, '"' | '\'' | '\u{201c}' | '\u{201d}') || c.is_whitespace();
    let bare = text.trim_matches(is_around);
    (bare != text && !bare.is_empty()).then_some(bare)
}

/// kcat's modes, which are commands here.
const MODES_OF_KCAT: [(&str, &str); 3] = [("-P", "produce"), ("-C", "consume"), ("-L", "topics list")];

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=,%+@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What to type instead, where clap knows no better. `arguments` are those behind the program's name.
pub fn hint(error: &clap::Error, arguments: &[String], program: &Command) -> Option<String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let typed = Typed::new(&words, program);
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let has_a_tip = error.get(ContextKind::SuggestedSubcommand).is_some();
            let example = || typed.example().filter(|_| !has_a_tip);
            typed.wrong_order().or_else(|| typed.part_alone()).or_else(example)
        }
        ErrorKind::UnknownArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(argument)) => typed
                .mode(argument, arguments)
                .or_else(|| typed.flag_of_a_part(argument, arguments))
                .or_else(|| typed.unknown(argument)),
            _ => None,
        },
        ErrorKind::MissingRequiredArgument => typed.example(),
        _ => None,
    }
}

/// What was typed, up to where it went wrong.
struct Typed<'a> {
    /// The words of the command, as far as they name one.
    path: &'a [&'a str],
    /// Those behind it.
    rest: &'a [&'a str],
    command: &'a Command,
    program: &'a Command,
}

impl<'a> Typed<'a> {
    fn new(words: &'a [&'a str], program: &'a Command) -> Self {
        let (mut command, mut known) = (program, 0);
        while let Some(next) = words.get(known).and_then(|word| command.find_subcommand(word)) {
            (command, known) = (next, known + 1);
        }
        let (path, rest) = words.split_at(known);
        Self { path, rest, command, program }
    }

    /// The command with words behind it.
    fn with(&self, words: &[&str]) -> String {
        [&["kafkalab"], self.path, words].concat().join(" ")
    }

    /// `kafkalab orders consume`, `kafkalab topics orders describe`, `kafkalab help consume`.
    fn wrong_order(&self) -> Option<String> {
        let (first, others) = self.rest.split_first()?;
        if *first == "help" {
            let of = others.iter().take(1).filter(|word| self.command.find_subcommand(word).is_some());
            return Some(self.with(&of.copied().chain(["--help"]).collect::<Vec<_>>()));
        }
        let at = 1 + others.iter().position(|word| self.command.find_subcommand(word).is_some())?;
        let others = self.rest.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, word)| *word);
        let words: Vec<&str> = std::iter::once(self.rest[at]).chain(others).collect();
        Some(format!("the command goes first: {}", self.with(&words)))
    }

    /// `kafkalab describe orders`: a part of a command, or of several, without it.
    fn part_alone(&self) -> Option<String> {
        let part = self.rest.first().filter(|_| self.path.is_empty())?;
        let whole = self.program.get_subcommands().filter(|command| command.find_subcommand(part).is_some());
        let typed: Vec<String> =
            whole.take(2).map(|command| format!("kafkalab {} {}", command.get_name(), self.rest.join(" "))).collect();
        (!typed.is_empty()).then(|| typed.join(", or "))
    }

    /// `kafkalab -C -t orders`: kcat chooses by a flag what is a command here.
    fn mode(&self, flag: &str, arguments: &[String]) -> Option<String> {
        let (_, command) = MODES_OF_KCAT.iter().find(|(mode, _)| *mode == flag)?;
        // those that only look take nothing of the rest
        let rest = arguments.iter().filter(|word| *word != flag && Some(&word.as_str()) != self.path.first());
        let words: Vec<String> =
            if command.contains(' ') { Vec::new() } else { rest.map(|word| quoted(word)).collect() };
        Some(format!(
            "kcat's {flag} is a command here: kafkalab {}",
            [&[(*command).to_owned()], &words[..]].concat().join(" ")
        ))
    }

    /// `kafkalab saga --fail-at 2`: a flag that one or two parts of the command have.
    fn flag_of_a_part(&self, flag: &str, arguments: &[String]) -> Option<String> {
        let name = flag.strip_prefix("--")?;
        let behind = arguments.iter().filter(|word| !self.path.contains(&word.as_str())).map(|word| quoted(word));
        let behind = behind.collect::<Vec<_>>().join(" ");
        let has_it = |part: &&Command| part.get_arguments().any(|argument| argument.get_long() == Some(name));
        let parts: Vec<&str> = self.command.get_subcommands().filter(has_it).map(Command::get_name).collect();
        let typed = || parts.iter().map(|part| self.with(&[part, &behind])).collect::<Vec<_>>().join(", or ");
        (!self.path.is_empty() && (1..=2).contains(&parts.len())).then(typed)
    }

    /// A word or a flag that has no place here.
    fn unknown(&self, argument: &str) -> Option<String> {
        // as Kafka's own scripts have it: --list, --describe
        if let Some(part) = argument.strip_prefix("--").filter(|word| self.command.find_subcommand(word).is_some()) {
            return Some(self.with(&[&[part], self.rest].concat()));
        }
        if argument.starts_with('-') {
            return None;
        }
        let is_address = argument
            .rsplit_once(':')
            .is_some_and(|(host, port)| (host == "localhost" || host.contains('.')) && port.parse::<u16>().is_ok());
        match (self.path, self.rest) {
            _ if is_address => Some(format!("a broker is named by -b: {}", self.with(&["-b", argument]))),
            (["broker"], [command, ..]) if self.program.find_subcommand(command).is_some() => {
                Some(format!("a command goes behind --: kafkalab broker -- kafkalab {}", self.rest.join(" ")))
            }
            // what stands behind the topic is taken for a second one
            (["produce"], [topic, words @ ..]) => match words.iter().find(|word| Path::new(word).is_file()) {
                Some(file) => Some(format!("a file is named by -l: kafkalab produce {topic} -l {file}")),
                None => Some(format!("what is sent comes from stdin: echo {argument} | kafkalab produce {topic}")),
            },
            _ => self.example(),
        }
    }

    /// Of the command's own examples the one that has a word of what was typed, or else the first.
    fn example(&self) -> Option<String> {
        let help = self.command.get_after_help().filter(|_| !self.path.is_empty())?.to_string();
        let this = self.with(&[]);
        let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
        // a description stands behind a gap
        let commands: Vec<&str> = lines
            .map(|line| line.split("  ").next().unwrap_or(line))
            .filter(|line| line.strip_prefix(&this).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')))
            .collect();
        let has_a_word = |line: &&&str| line[this.len()..].split(' ').any(|word| self.rest.contains(&word));
        let example = commands.iter().find(has_a_word).or(commands.first())?;
        Some(format!("for example: {example}"))
    }
}

#[cfg(test)]
mod tests {
    use super::topic_name;

    #[test]
    fn what_is_no_topic_is_told_from_what_is() {
        for name in ["orders", "a.b_c-d", "__consumer_offsets", "orders.dlt", "..."] {
            assert_eq!(topic_name(name).as_deref(), Ok(name));
        }
        for (text, meant) in [
            ("\"orders\"", "without the quotes and blanks around it: orders"),
            ("orders\r", "without the quotes and blanks around it: orders"),
            ("./in.txt", "this is a path"),
            ("localhost:9092", "-b HOST:PORT"),
            ("two words", "letters, digits"),
            ("", "letters, digits"),
            ("..", "a folder"),
        ] {
            let error = topic_name(text).expect_err(text);
            assert!(error.contains(meant), "{text:?}: {error}");
        }
        assert!(topic_name(&"x".repeat(250)).is_err());
    }
}
