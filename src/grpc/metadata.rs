//! What stands beside a request.

use tonic::{Status, metadata::MetadataMap};
use tonic_types::FieldViolation;

use super::statuses;
use crate::patterns::envelope;

/// The header with the request's id, of requests and of answers.
pub const REQUEST_ID: &str = "x-request-id";
/// The header with the caller's key.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
const TRACEPARENT: &str = "traceparent";
/// Bytes of a key or an id.
const LONGEST: usize = 128;

/// What a caller says beside the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The same for each attempt at one thing.
    pub key: Option<String>,
    /// Valid W3C Trace Context.
    pub traceparent: Option<String>,
    pub request_id: Option<String>,
}

impl Beside {
    /// # Errors
    /// `INVALID_ARGUMENT` for a key that is none: to pass it over would carry a repeat out twice. A trace that is not valid
    /// is passed over, as Trace Context asks.
    pub fn read(metadata: &MetadataMap) -> Result<Self, Status> {
        let text = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        let mut keys = metadata.get_all(IDEMPOTENCY_KEY).iter();
        let key = match (keys.next(), keys.next()) {
            (None, _) => None,
            (Some(key), None) => Some(key.to_str().ok().filter(|key| is_word(key)).ok_or_else(wrong_key)?.to_owned()),
            (Some(_), Some(_)) => return Err(wrong_key()),
        };
        Ok(Self {
            key,
            traceparent: text(TRACEPARENT).filter(|text| envelope::is_traceparent(text)).map(str::to_owned),
            request_id: text(REQUEST_ID).map(str::to_owned),
        })
    }
}

/// 1 to 128 visible characters of ASCII.
pub(super) fn is_word(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn wrong_key() -> Status {
    let text = format!("one value of 1 to {LONGEST} visible characters of ASCII");
    statuses::invalid(vec![FieldViolation::new(IDEMPOTENCY_KEY, text)])
}
