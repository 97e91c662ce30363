//! The JSON document of `groups describe`, as it is written and as `groups reset --from-file` reads it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::app::{
    TopicPartition,
    groups::{Description, Pace, Paces, Progress},
};

const VERSION: u64 = 1;

/// One document, of groups and what was seen of them before, if anything.
pub fn write<'a>(groups: impl IntoIterator<Item = (&'a Description, Option<&'a Paces>)>) -> Value {
    let groups: Vec<Value> = groups.into_iter().map(|(description, paces)| group(description, paces)).collect();
    json!({"schema_version": VERSION, "groups": groups})
}

fn group(description: &Description, paces: Option<&Paces>) -> Value {
    let group = &description.group;
    let members = group.members.iter().map(|member| {
        json!({
            "id": member.id,
            "instance_id": member.instance_id,
            "client_id": member.client_id,
            "host": member.host,
            "assigned": assigned(&member.assigned),
        })
    });
    let offsets = description.partitions.iter().map(|progress| offset(progress, description, paces));
    let mut document = json!({
        "name": &*group.name,
        "at": rfc3339(description.at),
        "state": group.state,
        "kind": group.kind.name(),
        "protocol_type": group.protocol_type,
        "assignor": Some(&group.assignor).filter(|name| !name.is_empty()),
        "coordinator": group.coordinator,
        "members": members.collect::<Vec<_>>(),
        "offsets": offsets.collect::<Vec<_>>(),
        "lag": description.lag(),
        "lag_seconds": description.behind().map(|behind| behind.as_secs_f64()),
    });
    if let Some(paces) = paces {
        add_pace(&mut document, paces.total());
    }
    document
}

fn offset(progress: &Progress, description: &Description, paces: Option<&Paces>) -> Value {
    let member = progress.member.and_then(|at| description.group.members.get(at));
    let mut document = json!({
        "topic": &*progress.partition.topic,
        "partition": progress.partition.partition,
        "committed": progress.committed,
        "start": progress.start,
        "end": progress.end,
        "lag": progress.lag(),
        "lag_seconds": progress.behind(description.at).map(|behind| behind.as_secs_f64()),
        "member": member.map(|member| &member.id),
    });
    if let Some(paces) = paces {
        add_pace(&mut document, paces.of(&progress.partition));
    }
    document
}

fn add_pace(document: &mut Value, pace: Option<Pace>) {
    document["records_per_second"] = json!(pace.map(|pace| pace.rate));
    let until = pace.and_then(|pace| pace.until_caught_up);
    document["seconds_until_caught_up"] = json!(until.map(|until| until.as_secs_f64()));
}

fn assigned(partitions: &[TopicPartition]) -> Value {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    topics.into_iter().map(|(topic, partitions)| json!({"topic": topic, "partitions": partitions})).collect()
}

fn rfc3339(ms: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?.format(&Rfc3339).ok()
}

#[derive(Deserialize)]
struct Document {
    schema_version: u64,
    groups: Vec<Described>,
}

#[derive(Deserialize)]
struct Described {
    name: String,
    offsets: Vec<Committed>,
}

#[derive(Deserialize)]
struct Committed {
    topic: String,
    partition: i32,
    committed: Option<i64>,
}

/// The committed offsets that a document has of this group, or of the only one that is in it.
///
/// # Errors
/// In words for the person who gave the file.
pub fn read(bytes: &[u8], name: &str) -> Result<BTreeMap<TopicPartition, i64>, String> {
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|error| format!("not a document of `kafkalab groups describe -J` ({error})"))?;
    if document.schema_version != VERSION {
        return Err(format!("schema_version {}; this kafkalab reads {VERSION}", document.schema_version));
    }
    let mut groups = document.groups;
    let found = match groups.iter().position(|group| group.name == name) {
        Some(at) => groups.swap_remove(at),
        None if groups.len() == 1 => groups.remove(0),
        None if groups.is_empty() => return Err("there is no group in it".to_owned()),
        None => {
            let names: Vec<String> = groups.iter().map(|group| format!("{:?}", group.name)).collect();
            return Err(format!("it has no group {name:?} but {}", super::listed(names.into_iter())));
        }
    };
    let mut offsets = BTreeMap::new();
    for Committed { topic, partition, committed } in found.offsets {
        let Some(offset) = committed else { continue };
        if offset < 0 || partition < 0 {
            return Err(format!("{topic:?} partition {partition} with offset {offset}: neither can be negative"));
        }
        if offsets.insert(TopicPartition::new(topic.as_str(), partition), offset).is_some() {
            return Err(format!("{topic:?} partition {partition} stands in it twice"));
        }
    }
    if offsets.is_empty() {
        return Err(format!("group {:?} has no committed offset in it", found.name));
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(groups: &str) -> String {
        format!("{{\"schema_version\":1,\"groups\":[{groups}]}}")
    }

    const A: &str = r#"{"name":"a","offsets":[{"topic":"t","partition":1,"committed":7},{"topic":"t","partition":2,"committed":null}]}"#;
    const B: &str = r#"{"name":"b","offsets":[{"topic":"t","partition":1,"committed":9,"more":true}]}"#;

    #[test]
    fn the_group_of_the_name_is_read_and_an_only_one_whatever_its_name() {
        let offset = |offset| Ok(BTreeMap::from([(TopicPartition::new("t", 1), offset)]));
        let both = document(&format!("{A},{B}"));
        assert_eq!(read(both.as_bytes(), "a"), offset(7));
        assert_eq!(read(both.as_bytes(), "b"), offset(9));
        assert_eq!(read(document(B).as_bytes(), "copy"), offset(9));
        assert_eq!(read(both.as_bytes(), "copy"), Err("it has no group \"copy\" but \"a\", \"b\"".to_owned()));
    }

    #[test]
    fn what_is_no_such_document_is_refused_in_words() {
        for (text, said) in [
            ("[]".to_owned(), "not a document"),
            ("{\"schema_version\":2,\"groups\":[]}".to_owned(), "schema_version 2; this kafkalab reads 1"),
            (document(r#"{"name":"a","offsets":[]}"#), "no committed offset"),
            (document(r#"{"name":"a","offsets":[{"topic":"t","partition":0,"committed":-5}]}"#), "negative"),
            (
                document(
                    r#"{"name":"a","offsets":[{"topic":"t","partition":0,"committed":5},{"topic":"t","partition":0,"committed":6}]}"#,
                ),
                "twice",
            ),
        ] {
            let error = read(text.as_bytes(), "a").unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
