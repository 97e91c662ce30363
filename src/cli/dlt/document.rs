//! A letter as JSON: the record that it was, as `consume --json` has it, and what its sender noted.

use serde_json::{Map, Value, json};

use crate::{
    app::{
        dead_letters::{Letter, Waiting},
        letters, rfc_3339,
    },
    cli::format,
};

/// What `dlt list TOPIC` says of a letter in a line.
pub fn line(topic: &str, letter: &Letter) -> Value {
    let (at, note) = (letter.at, letter.note.as_ref());
    json!({
        "topic": topic,
        "partition": at.partition,
        "offset": at.offset,
        "ts": letter.record.timestamp,
        "timestamp": time(letter.record.timestamp),
        "replayed": letter.replayed,
        "original": note.map(|note| json!({
            "topic": note.topic,
            "partition": note.partition,
            "offset": note.offset,
            "ts": note.timestamp,
            "timestamp_type": note.timestamp_type,
        })),
        "group": note.and_then(|note| note.group.as_ref()),
        "attempts": note.and_then(|note| note.attempts),
        "exception": note.and_then(|note| note.exception.as_ref()),
        "reason": note.and_then(|note| note.reason.as_ref()),
    })
}

/// The same with the record: key, payload and headers without the note's.
pub fn whole(topic: &str, letter: &Letter) -> Value {
    let Value::Object(mut document) = line(topic, letter) else { return Value::Null };
    document.insert("schema_version".to_owned(), 1.into());
    let headers = letter.own_headers().into_iter().map(|(name, value)| {
        let mut header = Map::new();
        put(&mut header, "key", Some(name));
        put(&mut header, "value", value);
        Value::Object(header)
    });
    document.insert("headers".to_owned(), headers.collect());
    put(&mut document, "key", letter.record.key.as_deref());
    put(&mut document, "payload", letter.record.value.as_deref());
    Value::Object(document)
}

/// What `dlt list` says of a topic in a line.
pub fn summary(waiting: &Waiting) -> Value {
    json!({
        "topic": &*waiting.topic,
        "original": letters::original_of(&waiting.topic),
        "letters": waiting.letters,
        "waiting": waiting.waiting,
        "newest": waiting.newest.as_ref().map(|letter| line(&waiting.topic, letter)),
    })
}

/// Text, or base64 and a word that says so.
fn put(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    let value = match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => text.into(),
        Some((bytes, Err(_))) => {
            let mut coded = Vec::new();
            format::push_base64(&mut coded, bytes);
            object.insert(format!("{name}_encoding"), "base64".into());
            String::from_utf8_lossy(&coded).into_owned().into()
        }
    };
    object.insert(name.to_owned(), value);
}

fn time(ms: i64) -> Option<String> {
    (ms >= 0).then(|| rfc_3339(ms))
}
