//! A group as a person reads it.

use std::{collections::BTreeMap, fmt::Write};

use super::{shown_name, time};
use crate::{
    app::{
        Group, TopicPartition,
        groups::{Description, Pace, Paces, Progress},
    },
    cli::{
        table::{Table, number, text},
        terminal::Terminal,
        words::counted,
    },
};

/// Three parts: a headline, the partitions, the members. With paces, if it has been looked at before.
pub fn page(description: &Description, paces: Option<&Paces>, terminal: &Terminal) -> String {
    let group = &description.group;
    let mut page = headline(description, paces.and_then(Paces::total), terminal);
    if !description.partitions.is_empty() {
        page.push_str(&partitions(description, paces).render(terminal));
    }
    if !group.members.is_empty() {
        page.push('\n');
        page.push_str(&members(group).render(terminal));
    }
    page
}

fn headline(description: &Description, pace: Option<Pace>, terminal: &Terminal) -> String {
    let group = &description.group;
    let assignor = if group.assignor.is_empty() { String::new() } else { format!(" ({})", group.assignor) };
    let mut parts = vec![
        format!("{}: {}", group.name, group.state),
        format!("{}{assignor}", group.kind.name()),
        counted(group.members.len(), "member"),
    ];
    parts.extend(group.coordinator.map(|broker| format!("coordinator {broker}")));
    if let Some(lag) = description.lag() {
        let behind = description.behind().map(|behind| format!(", {} behind", time(behind))).unwrap_or_default();
        parts.push(format!("lag {lag}{behind}"));
    }
    if let Some(pace) = pace {
        parts.push(format!("{} records/s", rate(pace)));
        parts.extend(match until(pace).as_str() {
            "" => Some("caught up".to_owned()),
            "-" if pace.is_settled => Some("not catching up".to_owned()),
            "-" => None, // its next commit may be a few seconds away
            until => Some(format!("caught up in {until}")),
        });
    }
    let parts: Vec<String> = parts.iter().map(|part| shown_name(part)).collect();
    let lines = folded(&parts, terminal.width());
    lines.into_iter().map(|line| format!("{}\n", terminal.out.palette.emphasis(line))).collect()
}

/// Parts with commas between them, in as many lines as the width asks for.
fn folded(parts: &[String], width: Option<usize>) -> Vec<String> {
    let (width, mut lines, mut line) = (width.unwrap_or(usize::MAX), Vec::new(), String::new());
    for (at, part) in parts.iter().enumerate() {
        if at > 0 && line.chars().count() + ", ".len() + part.chars().count() >= width {
            lines.push(std::mem::take(&mut line) + ",");
            line.push_str("  ");
        } else if at > 0 {
            line.push_str(", ");
        }
        line.push_str(part);
    }
    lines.push(line);
    lines
}

fn partitions(description: &Description, paces: Option<&Paces>) -> Table {
    let mut table = Table::new(&[
        text("TOPIC"),
        number("PARTITION"),
        number("COMMITTED"),
        number("END"),
        number("LAG"),
        number("BEHIND"),
        number("RATE/S"),
        number("UNTIL"),
        number("MEMBER"),
        text("NOTE"),
    ]);
    let or_dash = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    for progress in &description.partitions {
        let pace = paces.and_then(|paces| paces.of(&progress.partition));
        table.row([
            progress.partition.topic.to_string(),
            progress.partition.partition.to_string(),
            or_dash(progress.committed),
            or_dash(progress.end),
            or_dash(progress.lag()),
            progress.behind(description.at).map_or_else(|| "-".to_owned(), time),
            pace.map(rate).unwrap_or_default(),
            pace.map(until).unwrap_or_default(),
            progress.member.map_or_else(String::new, |at| format!("#{}", at + 1)),
            note(progress),
        ]);
    }
    table
}

/// What a person should know before counting on the numbers.
fn note(progress: &Progress) -> String {
    match (progress.committed, progress.start, progress.end) {
        (Some(committed), Some(start), _) if committed < start => {
            format!("{} gone by retention", counted(start - committed, "record"))
        }
        (Some(committed), _, Some(end)) if committed > end => "committed behind the end: made anew?".to_owned(),
        (_, _, None) => "no end known".to_owned(),
        _ => String::new(),
    }
}

fn rate(pace: Pace) -> String {
    match pace.rate {
        rate if rate > 0.0 && rate < 10.0 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

/// Empty where nothing is behind.
fn until(pace: Pace) -> String {
    match pace.until_caught_up {
        None => "-".to_owned(),
        Some(until) if until.is_zero() => String::new(),
        Some(until) => time(until),
    }
}

fn members(group: &Group) -> Table {
    let mut table =
        Table::new(&[text("#"), text("MEMBER"), text("CLIENT"), text("HOST"), text("INSTANCE"), text("READS")]);
    for (at, member) in group.members.iter().enumerate() {
        table.row([
            &format!("#{}", at + 1),
            &member.id,
            &member.client_id,
            &member.host,
            member.instance_id.as_deref().unwrap_or_default(),
            &spans(&member.assigned),
        ]);
    }
    table
}

/// `orders 0-2,5; payments 1`; partitions are in order.
fn spans(partitions: &[TopicPartition]) -> String {
    let mut topics: BTreeMap<&str, Vec<(i32, i32)>> = BTreeMap::new();
    for TopicPartition { topic, partition } in partitions {
        let spans = topics.entry(topic).or_default();
        match spans.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*partition) => *last = *partition,
            _ => spans.push((*partition, *partition)),
        }
    }
    let mut text = String::new();
    for (topic, spans) in topics {
        let _ = write!(text, "{}{topic} ", if text.is_empty() { "" } else { "; " });
        for (at, (first, last)) in spans.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = match last - first {
                0 => write!(text, "{comma}{first}"),
                _ => write!(text, "{comma}{first}-{last}"),
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_in_a_row_are_a_span() {
        let partitions = [("a", 0), ("a", 1), ("a", 2), ("a", 5), ("b", 1)];
        let partitions = partitions.map(|(topic, number)| TopicPartition::new(topic, number));
        assert_eq!(spans(&partitions), "a 0-2,5; b 1");
        assert_eq!(spans(&[]), "");
        assert_eq!(
            spans(&[i32::MAX, i32::MAX].map(|number| TopicPartition::new("a", number))),
            "a 2147483647,2147483647"
        );
    }

    #[test]
    fn a_headline_is_folded_where_it_is_too_wide() {
        let parts = ["a: Stable", "classic", "2 members"].map(str::to_owned);
        assert_eq!(folded(&parts, None), ["a: Stable, classic, 2 members"]);
        assert_eq!(folded(&parts, Some(22)), ["a: Stable, classic,", "  2 members"]);
        assert_eq!(folded(&parts, Some(3)), ["a: Stable,", "  classic,", "  2 members"]);
    }

    #[test]
    fn a_note_says_what_the_numbers_hide() {
        let progress = |committed, start, end| Progress {
            partition: TopicPartition::new("t", 0),
            committed,
            start,
            end,
            oldest: None,
            member: None,
        };
        assert_eq!(note(&progress(Some(5), Some(0), Some(9))), "");
        assert_eq!(note(&progress(None, Some(0), Some(9))), "");
        assert_eq!(note(&progress(Some(5), Some(7), Some(9))), "2 records gone by retention");
        assert_eq!(note(&progress(Some(5), Some(0), Some(2))), "committed behind the end: made anew?");
        assert_eq!(note(&progress(Some(5), None, None)), "no end known");
    }
}
