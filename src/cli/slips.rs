//! Slips of who types a command for the first time, and what was meant.

use std::path::Path;

use clap::{Command, error::ErrorKind};

/// A topic's name as Kafka takes it. What is no name is most often something else, in the wrong place.
///
/// # Errors
/// What was meant, in words.
pub fn topic_name(text: &str) -> Result<String, String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let bare = text.trim_matches(|c: char| matches!(c, '"' | '\'' | '\u{201c}' | '\u{201d}') || c.is_whitespace());
    match text {
        "." | ".." => Err("this is a folder, and no topic".to_owned()),
        text if !text.is_empty() && text.len() <= 249 && text.chars().all(is_legal) => Ok(text.to_owned()),
        _ if bare != text && !bare.is_empty() && bare.chars().all(is_legal) => {
            Err(format!("without the quotes and blanks around it: {bare}"))
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

/// What to type instead, where clap knows no better. `arguments` are those behind the program's name.
pub fn hint(error: &clap::Error, arguments: &[String], commands: &Command) -> Option<String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    match error.kind() {
        ErrorKind::InvalidSubcommand => wrong_order(&words, commands),
        // a file behind the topic is taken for a second one
        ErrorKind::UnknownArgument if words.first() == Some(&"produce") => {
            let file = words.iter().skip(2).find(|word| Path::new(word).is_file())?;
            Some(format!("a file is named by -l: kafkalab produce {} -l {file}", words[1]))
        }
        _ => None,
    }
}

/// `kafkalab orders consume`, `kafkalab create topics orders`, `kafkalab help consume`.
fn wrong_order(words: &[&str], commands: &Command) -> Option<String> {
    let (first, rest) = words.split_first()?;
    if *first == "help" {
        let of = rest.first().filter(|word| commands.find_subcommand(word).is_some());
        return Some(match of {
            Some(command) => format!("kafkalab {command} --help"),
            None => "kafkalab --help".to_owned(),
        });
    }
    let at = rest.iter().position(|word| commands.find_subcommand(word).is_some())?;
    let others = words.iter().enumerate().filter(|(index, _)| *index != at + 1).map(|(_, word)| *word);
    let typed: Vec<&str> = std::iter::once(rest[at]).chain(others).collect();
    Some(format!("the command goes first: kafkalab {}", typed.join(" ")))
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
