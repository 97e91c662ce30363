//! From a line of JSON to a record to send.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A header's name and value.
type Header = (Vec<u8>, Option<Vec<u8>>);

/// What a line asks to be sent. Where it names no topic, partition or time, the command decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputRecord {
    pub topic: Option<String>,
    pub partition: Option<i32>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
}

#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("not JSON: {reason}, column {column}")]
    NotJson { reason: String, column: usize },
    #[error("not a record: a line is an object such as {{\"key\": \"k\", \"payload\": \"v\"}}")]
    NotAnObject,
    #[error("`{field}` is text that no string can hold: {reason}")]
    NotText { field: String, reason: String },
    #[error("no payload; give `payload` (or `value`), or `\"payload\": null` for a tombstone")]
    NoPayload,
    #[error("both `payload` and `value` are given; give one")]
    TwoPayloads,
    #[error("`{field}` is not base64 text, as its encoding says it is: {reason}")]
    Base64 { field: String, reason: String },
    #[error("`{field}_encoding` is `{encoding}`; known are `base64` and, for plain text, none at all")]
    Encoding { field: String, encoding: String },
    #[error("`{field}` is not a time: RFC 3339 such as 2026-02-01T08:30:00Z, or milliseconds since 1970")]
    Time { field: &'static str },
    #[error("`partition` is negative; leave it out to have it chosen")]
    Partition,
    #[error("`headers` are a list of {{\"key\": ..., \"value\": ...}}, or an object of names and values: {0}")]
    Headers(String),
}

/// Every value stays the text that was written until it is known what it means: a number as a payload keeps its
/// digits, an object its order. Unknown fields, such as `offset`, are passed over.
#[derive(Deserialize)]
struct Line<'a> {
    topic: Option<String>,
    partition: Option<i32>,
    #[serde(borrow)]
    ts: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    key_encoding: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
    payload_encoding: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    value_encoding: Option<String>,
}

#[derive(Deserialize)]
struct HeaderObject<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
    key_encoding: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    value_encoding: Option<String>,
}

/// Tells `null` from a field that is not there; only the first is a tombstone.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads one line, with or without its newline.
pub fn parse(line: &[u8]) -> Result<InputRecord, JsonError> {
    if line.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(JsonError::NotAnObject);
    }
    let line: Line<'_> = serde_json::from_slice(line)
        .map_err(|error| JsonError::NotJson { reason: what(&error), column: error.column() })?;
    let value = match (line.payload, line.value) {
        (Some(_), Some(_)) => return Err(JsonError::TwoPayloads),
        (Some(payload), None) => bytes("payload", Some(payload), line.payload_encoding)?,
        (None, Some(value)) => bytes("value", Some(value), line.value_encoding)?,
        (None, None) => return Err(JsonError::NoPayload),
    };
    if line.partition.is_some_and(|partition| partition < 0) {
        return Err(JsonError::Partition);
    }
    Ok(InputRecord {
        topic: line.topic,
        partition: line.partition,
        timestamp: match (line.ts, line.timestamp) {
            (Some(ts), _) => time("ts", ts)?,
            (None, Some(timestamp)) => time("timestamp", timestamp)?,
            (None, None) => None,
        },
        key: bytes("key", line.key, line.key_encoding)?,
        value,
        headers: line.headers.map_or(Ok(Vec::new()), headers)?,
    })
}

/// A string is its text, null is nothing, and any other JSON is its own text without the space between its parts.
fn bytes(field: &str, raw: Option<&RawValue>, encoding: Option<String>) -> Result<Option<Vec<u8>>, JsonError> {
    let Some(raw) = raw.map(RawValue::get).filter(|raw| *raw != "null") else { return Ok(None) };
    let base64 = match encoding.as_deref() {
        None => false,
        Some("base64") => true,
        Some(other) => {
            return Err(JsonError::Encoding { field: field.to_owned(), encoding: other.to_owned() });
        }
    };
    let wrong = |reason: String| JsonError::Base64 { field: field.to_owned(), reason };
    if !raw.starts_with('"') {
        return if base64 { Err(wrong("it is no string".to_owned())) } else { Ok(Some(compact(raw))) };
    }
    // Checked as JSON already; what is left to go wrong is half of a surrogate pair.
    let text: String = serde_json::from_str(raw)
        .map_err(|error| JsonError::NotText { field: field.to_owned(), reason: what(&error) })?;
    if !base64 {
        return Ok(Some(text.into_bytes()));
    }
    // Padding or not: tools differ, and neither can be mistaken for the other.
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    BASE64.decode(&text).map(Some).map_err(|error| wrong(error.to_string()))
}

fn compact(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        if in_string || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push(byte);
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
    out
}

/// Milliseconds or RFC 3339; -1 and null are no time.
fn time(field: &'static str, raw: &RawValue) -> Result<Option<i64>, JsonError> {
    let wrong = || JsonError::Time { field };
    let raw = raw.get();
    if raw == "null" || raw == "-1" {
        return Ok(None);
    }
    let ms = if raw.starts_with('"') {
        let text: String = serde_json::from_str(raw).map_err(|_| wrong())?;
        let time = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| wrong())?;
        i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).map_err(|_| wrong())?
    } else {
        raw.parse().map_err(|_| wrong())?
    };
    // The broker refuses a negative time.
    if ms < 0 { Err(wrong()) } else { Ok(Some(ms)) }
}

/// `[{"key":"a","value":"1"}]` as written here and by rpk, `["a","1"]` as written by kcat, `{"a":"1"}` by hand.
fn headers(raw: &RawValue) -> Result<Vec<Header>, JsonError> {
    let wrong = |error| JsonError::Headers(what(&error));
    match raw.get().as_bytes().first() {
        Some(b'n') => Ok(Vec::new()),
        Some(b'{') => {
            let pairs: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).map_err(wrong)?;
            let header = |(name, value): (String, _)| Ok((name.into_bytes(), bytes("value", Some(value), None)?));
            pairs.into_iter().map(header).collect()
        }
        _ => {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(wrong)?;
            if items.first().is_some_and(|item| item.get().starts_with('"')) {
                return flat_headers(&items);
            }
            items.into_iter().map(header).collect()
        }
    }
}

fn header(raw: &RawValue) -> Result<Header, JsonError> {
    if !raw.get().starts_with('{') {
        return Err(JsonError::Headers(format!("`{}` is neither", raw.get())));
    }
    let header: HeaderObject<'_> = serde_json::from_str(raw.get()).map_err(|error| JsonError::Headers(what(&error)))?;
    let name = bytes("key", Some(header.key), header.key_encoding)?;
    let name = name.ok_or_else(|| JsonError::Headers("a header's key is null".to_owned()))?;
    Ok((name, bytes("value", header.value, header.value_encoding)?))
}

/// Name, value, name, value.
fn flat_headers(items: &[&RawValue]) -> Result<Vec<Header>, JsonError> {
    let pair = |pair: &[&RawValue]| match pair {
        [name, value] => {
            let name = bytes("key", Some(name), None)?;
            let name = name.ok_or_else(|| JsonError::Headers("a header's name is null".to_owned()))?;
            Ok((name, bytes("value", Some(value), None)?))
        }
        _ => Err(JsonError::Headers("a name has no value".to_owned())),
    };
    items.chunks(2).map(pair).collect()
}

/// serde_json's words without its "at line 1 column 9": the line is the caller's to name.
fn what(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    said.strip_suffix(&place).unwrap_or(&said).to_owned()
}
