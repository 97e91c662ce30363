//! What can go wrong between this process and a cluster, in words that a person can act on.

use std::{fmt, sync::Arc, time::Duration};

use kafka_protocol::error::ResponseError;

use super::connection::Denied;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Cheap to clone: one broken connection answers every request that waited on it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No broker of the list could be reached within the connect time-out. Start one, or name another.
    #[error("no broker reachable at {addresses}: {cause}")]
    Unreachable { addresses: String, cause: Arc<str> },

    /// A broker was reached, and TLS or SASL came to nothing. Asking again brings the same.
    #[error("broker at {address}: {why}")]
    Denied { address: Arc<str>, why: Denied },

    /// The connection ended under a request. Whether the broker acted on the request is not known.
    #[error("connection to {address} lost: {cause}")]
    Disconnected { address: Arc<str>, cause: Arc<str> },

    /// No answer, or no progress, within the time limit. Whether the broker acted is not known. Where it was tried more
    /// than once, `last_try` says how the last one ended.
    #[error("{action}: {} within {} s{}", in_vain(last_try), .limit.as_secs_f32(), the_last_try(last_try))]
    TimedOut { action: String, limit: Duration, last_try: Option<Arc<str>> },

    /// The broker answered with an error code, and with words of its own where the protocol has room for them.
    #[error("{action}: {code}{}", in_words(message))]
    Broker { action: String, code: Code, message: Option<Arc<str>> },

    /// The broker is too old, or too small, for what was asked.
    #[error("{feature} needs {needed}, but the broker at {address} {offered}")]
    Unsupported { feature: String, needed: String, address: Arc<str>, offered: String },

    /// The bytes that came are not what the protocol allows.
    #[error("malformed data from {origin}: {problem}")]
    Malformed { origin: String, problem: String },

    /// An answer is larger than this client takes. The embedded broker sends all that a partition has behind an offset.
    #[error(
        "the broker at {address} sent an answer of {size} bytes; the limit is {limit} (raise it: -X max_answer={size})"
    )]
    AnswerTooLarge { address: Arc<str>, size: usize, limit: usize },

    /// The topic does not exist (or may not be seen by this user).
    #[error("topic {topic:?} does not exist")]
    UnknownTopic { topic: Arc<str> },

    /// The topic exists, the partition does not.
    #[error("topic {topic:?} has no partition {partition}: it has {count} (0 to {})", .count - 1)]
    UnknownPartition { topic: Arc<str>, partition: i32, count: i32 },

    /// The group does not exist (or may not be seen by this user).
    #[error("group {group:?} does not exist")]
    UnknownGroup { group: Arc<str> },

    /// A group of another kind, such as `share`: it has no members and offsets of the kind that this client knows.
    #[error("group {group:?} is a {kind} group; only classic and consumer groups are described and changed here")]
    OtherGroup { group: Arc<str>, kind: String },

    /// The offset is not there and `earliest`/`latest` were not allowed to replace it.
    #[error("offset {offset} of {partition} is not there: the partition has {start} to {end}")]
    OffsetOutOfRange { partition: super::TopicPartition, offset: i64, start: i64, end: i64 },

    /// Another producer has taken this one's transactional id; whatever this one still sends is refused.
    #[error("producer with transactional id {id:?} was fenced: a newer one with the same id has started")]
    Fenced { id: Arc<str> },

    /// The request cannot be made: a mistake in the caller's arguments.
    #[error("{0}")]
    Invalid(String),

    /// The client was closed, or its task has ended.
    #[error("the client is closed")]
    Closed,
}

impl Error {
    pub(crate) fn broker(action: impl Into<String>, code: i16) -> Self {
        Error::Broker { action: action.into(), code: Code(code), message: None }
    }

    /// The same with the broker's own words.
    pub(crate) fn refused(action: impl Into<String>, code: i16, message: Option<&str>) -> Self {
        let message = message.filter(|words| !words.is_empty()).map(Arc::from);
        Error::Broker { action: action.into(), code: Code(code), message }
    }

    pub(crate) fn malformed(origin: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Error::Malformed { origin: origin.to_string(), problem: problem.to_string() }
    }

    pub(crate) fn timed_out(action: impl Into<String>, limit: Duration) -> Self {
        Error::TimedOut { action: action.into(), limit, last_try: None }
    }

    /// The reason alone, for one who says what was being done.
    pub(crate) fn reason(&self) -> Arc<str> {
        match self {
            Error::Broker { code, message, .. } => format!("{code}{}", in_words(message)).into(),
            other => other.to_string().into(),
        }
    }

    /// The broker's code, where the broker gave one.
    pub fn code(&self) -> Option<ResponseError> {
        match self {
            Error::Broker { code, .. } => code.known(),
            _ => None,
        }
    }

    /// Worth another try after new metadata or a pause: nothing about the request itself is wrong.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::Disconnected { .. } | Error::TimedOut { .. } => true,
            Error::Broker { code, .. } => code.is_transient(),
            Error::Denied { why, .. } => why.is_transient(),
            _ => false,
        }
    }

    /// True where the broker answered with this code.
    pub fn is(&self, wanted: Code) -> bool {
        matches!(self, Error::Broker { code, .. } if *code == wanted)
    }

    /// A group takes offsets from outside, and lets itself be deleted, only while nobody is in it: somebody is.
    pub fn is_group_in_use(&self) -> bool {
        // an outsider stands for no member and no generation, which a group with members refuses by one of these
        let codes = [
            Code::UNKNOWN_MEMBER_ID,
            Code::ILLEGAL_GENERATION,
            Code::REBALANCE_IN_PROGRESS,
            Code::STALE_MEMBER_EPOCH,
            Code::NON_EMPTY_GROUP,
        ];
        codes.iter().any(|code| self.is(*code))
    }

    /// There is no broker to talk to: nobody answered at the address, or nobody was let in.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Error::Unreachable { .. } | Error::Disconnected { .. } | Error::Denied { .. })
    }
}

/// A Kafka error code, shown by the name that Kafka's own tools use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub i16);

impl Code {
    pub const UNKNOWN_TOPIC: Code = Code(3);
    pub const COORDINATOR_NOT_AVAILABLE: Code = Code(15);
    pub const NOT_COORDINATOR: Code = Code(16);
    pub const ILLEGAL_GENERATION: Code = Code(22);
    pub const INCONSISTENT_GROUP_PROTOCOL: Code = Code(23);
    pub const INVALID_SESSION_TIMEOUT: Code = Code(26);
    pub const CONCURRENT_TRANSACTIONS: Code = Code(51);
    pub const UNKNOWN_MEMBER_ID: Code = Code(25);
    pub const REBALANCE_IN_PROGRESS: Code = Code(27);
    pub const MEMBER_ID_REQUIRED: Code = Code(79);
    pub const FENCED_INSTANCE_ID: Code = Code(82);
    pub const FENCED_MEMBER_EPOCH: Code = Code(110);
    pub const UNRELEASED_INSTANCE_ID: Code = Code(111);
    pub const STALE_MEMBER_EPOCH: Code = Code(113);
    pub const MESSAGE_TOO_LARGE: Code = Code(10);
    pub const INVALID_TOPIC: Code = Code(17);
    pub const RECORD_LIST_TOO_LARGE: Code = Code(18);
    pub const TOPIC_AUTHORIZATION_FAILED: Code = Code(29);
    pub const INVALID_TIMESTAMP: Code = Code(32);
    pub const POLICY_VIOLATION: Code = Code(44);
    pub const INVALID_RECORD: Code = Code(87);
    pub const TOPIC_ALREADY_EXISTS: Code = Code(36);
    pub const INVALID_PARTITIONS: Code = Code(37);
    pub const INVALID_REPLICATION_FACTOR: Code = Code(38);
    pub const INVALID_CONFIG: Code = Code(40);
    pub const NON_EMPTY_GROUP: Code = Code(68);
    pub const UNKNOWN_GROUP: Code = Code(69);

    pub fn known(self) -> Option<ResponseError> {
        ResponseError::try_from_code(self.0)
    }

    /// Kafka's table of retriable errors, plus the coordinator still being busy with the end of the transaction before
    /// (the table is of the time when that one was not in it).
    pub fn is_transient(self) -> bool {
        self.known().is_some_and(|error| error.is_retriable() || error == ResponseError::ConcurrentTransactions)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(ResponseError::Unknown(code)) => write!(f, "error code {code}"),
            Some(error) => write!(f, "{}", screaming(&format!("{error:?}"))),
            None => f.write_str("no error"),
        }
    }
}

fn in_words(message: &Option<Arc<str>>) -> String {
    message.as_ref().map(|words| format!(": {words}")).unwrap_or_default()
}

fn in_vain(last_try: &Option<Arc<str>>) -> &'static str {
    if last_try.is_some() { "not done" } else { "no answer" }
}

fn the_last_try(last_try: &Option<Arc<str>>) -> String {
    last_try.as_ref().map(|reason| format!("; the last try: {reason}")).unwrap_or_default()
}

/// `NotLeaderOrFollower` -> `NOT_LEADER_OR_FOLLOWER`, as in Kafka's documentation, where people look it up.
fn screaming(camel: &str) -> String {
    let mut name = String::with_capacity(camel.len() + 8);
    for letter in camel.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

/// `Ok` for code 0, otherwise the error with what was being done.
pub(crate) fn check(action: impl FnOnce() -> String, code: i16) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Error::broker(action(), code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_shown_as_kafka_documents_them() {
        assert_eq!(Code(6).to_string(), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(Code(45).to_string(), "OUT_OF_ORDER_SEQUENCE_NUMBER");
        assert_eq!(Code(30_000).to_string(), "error code 30000");
    }
}
