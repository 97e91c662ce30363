//! From headers and value back to the envelope and the event.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, value::RawValue};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    CAUSATION_ID, CONTENT_TYPE, CORRELATION_ID, Envelope, ID, Name, REPLAY_HEADER, SEQUENCE, SOURCE, SPEC_VERSION,
    SPECVERSION, SUBJECT, TIME, TRACEPARENT, TRACEPARENT_EXTENSION, TYPE,
};

/// How the record carried the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Binary,
    Structured,
}

/// A decoded record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received<'a> {
    pub envelope: Envelope,
    /// The event alone, not looked at; borrowed from the record unless it had to be taken out of base64.
    pub data: Cow<'a, [u8]>,
    /// What the event is, `application/json` where nothing is said.
    pub content_type: String,
    /// The value of [`REPLAY_HEADER`], where the record repeats an event that was published before.
    pub replay: Option<String>,
    pub mode: Mode,
}

/// Why a record is no CloudEvent that can be handled. All of them are poison: the same bytes fail again, so put the
/// record aside and go on. What was found is quoted up to 60 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Without `ce_specversion` the record was never a CloudEvent.
    #[error("{attribute} is missing{}", if *.attribute == SPECVERSION.header { ": this is no CloudEvent" } else { "" })]
    Missing { attribute: &'static str },
    #[error("{attribute} is {found:?}, expected {expected}")]
    Malformed { attribute: &'static str, found: String, expected: &'static str },
    /// Headers are a list. The same value twice is harmless, two values are not.
    #[error("{attribute} is there twice, as {first:?} and as {second:?}")]
    Repeated { attribute: &'static str, first: String, second: String },
    /// A tombstone, or a structured event without `data`.
    #[error("the record has no event in it (a null value, or no data)")]
    NoData,
    /// CloudEvents in Avro or Protobuf, or several in one record.
    #[error("content-type {found:?} is not read; send application/cloudevents+json, or binary mode")]
    UnsupportedFormat { found: String },
    #[error("the value is no JSON object, as application/cloudevents+json has to be: {reason}")]
    NotAnObject { reason: String },
}

/// A header's name and value, as they lie in a record.
type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// Reads a record in binary or structured mode. Headers that it does not know are passed over.
///
/// # Errors
/// [`EnvelopeError`], for any bytes whatever; it never panics.
pub fn decode<'a>(headers: &[Header<'_>], value: Option<&'a [u8]>) -> Result<Received<'a>, EnvelopeError> {
    let content_type = header(headers, CONTENT_TYPE)?;
    let replay = headers.iter().rfind(|(name, _)| *name == REPLAY_HEADER.as_bytes());
    let replay = replay.map(|(_, value)| excerpt(value.unwrap_or_default()));
    let media_type = content_type.as_deref().unwrap_or_default().split(';').next().unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    let mut received = match media_type.as_str() {
        super::CLOUDEVENTS_JSON | "application/cloudevents" => structured(value.ok_or(EnvelopeError::NoData)?)?,
        other if other.starts_with("application/cloudevents") => {
            return Err(EnvelopeError::UnsupportedFormat { found: excerpt(other.as_bytes()) });
        }
        _ => Received {
            envelope: envelope(|name| header(headers, name.header), |name| name.header)?,
            data: Cow::Borrowed(value.ok_or(EnvelopeError::NoData)?),
            content_type: content_type.unwrap_or(Cow::Borrowed(super::JSON)).into_owned(),
            replay: None,
            mode: Mode::Binary,
        },
    };
    // Tracers write the bare header, in both modes, and the last of them is the nearest.
    let traced = headers.iter().rfind(|(name, _)| *name == TRACEPARENT.as_bytes());
    if let Some(traced) = traced.and_then(|(_, value)| valid_traceparent((*value)?)) {
        received.envelope.traceparent = Some(traced);
    }
    received.replay = replay;
    Ok(received)
}

fn structured(value: &[u8]) -> Result<Received<'_>, EnvelopeError> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(value)
        .map_err(|error| EnvelopeError::NotAnObject { reason: excerpt(error.to_string().as_bytes()) })?;
    let get = |name: Name| member(&members, name.member);
    let envelope = envelope(get, |name| name.member)?;
    let data = match (members.get("data"), members.get("data_base64")) {
        (Some(data), None) => Cow::Borrowed(data.get().as_bytes()),
        (None, Some(_)) => Cow::Owned(base64(member(&members, "data_base64")?.unwrap_or_default().as_ref())?),
        (None, None) => return Err(EnvelopeError::NoData),
        (Some(data), Some(_)) => {
            let found = excerpt(data.get().as_bytes());
            return Err(EnvelopeError::Malformed { attribute: "data", found, expected: "no data_base64 beside it" });
        }
    };
    let content_type = member(&members, "datacontenttype")?.unwrap_or(Cow::Borrowed(super::JSON)).into_owned();
    Ok(Received { envelope, data, content_type, replay: None, mode: Mode::Structured })
}

/// The attributes, wherever they stand; `said` is the name that an error uses.
fn envelope<'a>(
    get: impl Fn(Name) -> Result<Option<Cow<'a, str>>, EnvelopeError>,
    said: impl Fn(Name) -> &'static str,
) -> Result<Envelope, EnvelopeError> {
    let malformed = |name, found: &str, expected| EnvelopeError::Malformed {
        attribute: said(name),
        found: excerpt(found.as_bytes()),
        expected,
    };
    let required = |name| match get(name)? {
        None => Err(EnvelopeError::Missing { attribute: said(name) }),
        Some(text) if text.is_empty() => Err(malformed(name, "", "a text that is not empty")),
        Some(text) => Ok(text.into_owned()),
    };
    let optional = |name| Ok(get(name)?.filter(|text| !text.is_empty()).map(Cow::into_owned));

    let version = required(SPECVERSION)?;
    if version != SPEC_VERSION {
        return Err(malformed(SPECVERSION, &version, "1.0"));
    }
    let time_ms = optional(TIME)?.map(|text| {
        let time = OffsetDateTime::parse(&text, &Rfc3339).ok();
        let ms = time.and_then(|time| i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok());
        ms.ok_or_else(|| malformed(TIME, &text, "a time such as 2026-02-01T00:00:00.250Z"))
    });
    let sequence = optional(SEQUENCE)?.map(|text| {
        let digits = text.bytes().all(|digit| digit.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.ok_or_else(|| malformed(SEQUENCE, &text, "a whole number"))
    });
    Ok(Envelope {
        id: required(ID)?,
        source: required(SOURCE)?,
        event_type: required(TYPE)?,
        time_ms: time_ms.transpose()?,
        subject: optional(SUBJECT)?,
        sequence: sequence.transpose()?,
        correlation_id: optional(CORRELATION_ID)?,
        causation_id: optional(CAUSATION_ID)?,
        // Trace Context: what cannot be read is passed over, because a trace is no reason to lose an event.
        traceparent: optional(TRACEPARENT_EXTENSION)?.and_then(|text| valid_traceparent(text.as_bytes())),
    })
}

/// The value of a header, if it is there and one. A null value is as good as none.
fn header<'a>(headers: &[Header<'a>], name: &'static str) -> Result<Option<Cow<'a, str>>, EnvelopeError> {
    let mut values = headers.iter().filter(|(key, _)| *key == name.as_bytes()).filter_map(|(_, value)| *value);
    let Some(first) = values.next() else { return Ok(None) };
    if let Some(second) = values.find(|value| *value != first) {
        let (first, second) = (excerpt(first), excerpt(second));
        return Err(EnvelopeError::Repeated { attribute: name, first, second });
    }
    let text = std::str::from_utf8(first).ok().filter(|text| !text.chars().any(char::is_control));
    text.map(|text| Some(Cow::Borrowed(text))).ok_or_else(|| plain_text(name, first))
}

/// The value of a member as text. Of a member that is there twice, the last counts.
fn member<'a>(
    members: &BTreeMap<String, &'a RawValue>,
    name: &'static str,
) -> Result<Option<Cow<'a, str>>, EnvelopeError> {
    let Some(raw) = members.get(name) else { return Ok(None) };
    let refused = || plain_text(name, raw.get().as_bytes());
    let text = match serde_json::from_str(raw.get()).map_err(|_| refused())? {
        Value::Null => return Ok(None),
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        Value::Array(_) | Value::Object(_) => return Err(refused()),
    };
    if text.chars().any(char::is_control) { Err(refused()) } else { Ok(Some(Cow::Owned(text))) }
}

fn plain_text(attribute: &'static str, found: &[u8]) -> EnvelopeError {
    let expected = "text in UTF-8 without control characters";
    EnvelopeError::Malformed { attribute, found: excerpt(found), expected }
}

fn base64(text: &str) -> Result<Vec<u8>, EnvelopeError> {
    BASE64_STANDARD.decode(text).map_err(|_| EnvelopeError::Malformed {
        attribute: "data_base64",
        found: excerpt(text.as_bytes()),
        expected: "base64",
    })
}

/// Whether the text is a trace of W3C Trace Context, version 00, that can be passed on.
pub fn is_traceparent(text: &str) -> bool {
    valid_traceparent(text.as_bytes()).is_some()
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, lower case, neither id all zeros (W3C Trace Context, section 3.2).
fn valid_traceparent(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let parts: Vec<&str> = text.splitn(5, '-').collect();
    let hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
    };
    let not_zero = |part: &str| part.bytes().any(|c| c != b'0');
    let [version, trace, span, flags] = parts[..] else { return None };
    let valid = version == "00" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    (valid && not_zero(trace) && not_zero(span)).then(|| text.to_owned())
}

/// What was found, for an error.
fn excerpt(bytes: &[u8]) -> String {
    // Four bytes make a character at most, and cutting one in two shows as a replacement character.
    crate::patterns::excerpt(&String::from_utf8_lossy(&bytes[..bytes.len().min(4 * 61)]), 60)
}
