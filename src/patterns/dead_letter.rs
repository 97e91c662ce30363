//! Dead letters: a record that cannot be handled is put aside, with a note of where it came from and why.
//!
//! # The problem
//!
//! A record that fails fails again each time it is read. A consumer that waits for it stands still for ever, and all that
//! is behind it in the partition waits too. One that passes it by has lost it: nobody ever hears of it.
//!
//! # The idea
//!
//! A topic of its own for such records, which a person looks at:
//!
//! ```text
//!   orders[2]@1042 --> handler: "the price is no number"
//!                        |  append to orders.dlt, acknowledged by all
//!                        |  then commit the offset, and go on with 1043
//!                        v
//!   orders.dlt[2]   key, value, headers, time   byte for byte those of the record
//!                   kafka_dlt-original-topic           orders        and these behind them
//!                   kafka_dlt-original-partition       00000002
//!                   kafka_dlt-original-offset          0000000000000412
//!                   kafka_dlt-original-timestamp       0000019c167fccfa
//!                   kafka_dlt-original-timestamp-type  CreateTime
//!                   kafka_dlt-original-consumer-group  stock
//!                   kafka_dlt-exception-fqcn           kafkalab::patterns::inbox::Poison
//!                   kafka_dlt-exception-message        the price is no number
//!                   retry_topic-attempts               00000001
//! ```
//!
//! The names and encodings are those of Spring Kafka, so that its tools read these letters and `kafkalab dlt` reads its
//! own: numbers are big-endian, of 4 bytes (partition, attempts) or 8 (offset, timestamp), the rest is UTF-8. Once the
//! reason is mended the record goes back to its topic without these headers: the very record that failed.
//!
//! # What can go wrong
//!
//! | what | and what is done |
//! |---|---|
//! | A crash between the letter and the commit of the offset | the record is read again and a second letter is written: *at-least-once*; the original's topic, partition and offset tell a repeat |
//! | The offset is committed before the letter is acknowledged | the record is lost; so never that order |
//! | Nobody looks | the topic keeps its letters without end; `kafkalab dlt list` counts them, an alarm should |
//! | A replayed record comes behind newer ones of its key | its order is lost; a handler that needs it has to notice (`ce_sequence`) |
//! | The record fails again after a replay | it is a new letter, with its new place in the topic; nothing goes round by itself |
//!
//! # Try it
//!
//! `kafkalab dlt list`, `kafkalab dlt show orders 0:0`, `kafkalab dlt replay orders --all --dry-run`.
//!
//! # Read next
//!
//! [`inbox`](super::inbox), whose handlers find such records and which drops what a replay repeats. Spring Kafka,
//! `DeadLetterPublishingRecoverer`, `DeadLetterRecordManager`, `KafkaHeaders` and `RetryTopicHeaders`, whose headers these
//! are; Hohpe and Woolf, *Enterprise Integration Patterns*, "Dead Letter Channel".

/// What the topics of dead letters end in.
pub const SUFFIX: &str = ".dlt";

/// The same as others have it: Spring Kafka from 3.3 on, and before.
const SUFFIXES: [&str; 3] = [SUFFIX, "-dlt", ".DLT"];

/// Under which kind of error a handler's refusal is noted.
pub const POISON: &str = "kafkalab::patterns::inbox::Poison";

/// Characters of a reason that are kept. A letter must not be too large for the topic because of it.
pub const LONGEST_REASON: usize = 1000;

const TOPIC: &str = "kafka_dlt-original-topic";
const PARTITION: &str = "kafka_dlt-original-partition";
const OFFSET: &str = "kafka_dlt-original-offset";
const TIMESTAMP: &str = "kafka_dlt-original-timestamp";
const TIMESTAMP_TYPE: &str = "kafka_dlt-original-timestamp-type";
const GROUP: &str = "kafka_dlt-original-consumer-group";
const EXCEPTION: &str = "kafka_dlt-exception-fqcn";
const MESSAGE: &str = "kafka_dlt-exception-message";
const ATTEMPTS: &str = "retry_topic-attempts";

/// A record's headers: names are bytes, values may be missing, and a name may stand there twice.
pub type Pair<'a> = (&'a [u8], Option<&'a [u8]>);

/// The topic of the dead letters of `topic`.
pub fn topic_of(topic: &str) -> String {
    format!("{topic}{SUFFIX}")
}

/// The topics in which dead letters of `topic` may be: kafkalab's own first, then Spring Kafka's.
pub fn topics_of(topic: &str) -> [String; 3] {
    SUFFIXES.map(|suffix| format!("{topic}{suffix}"))
}

/// The topic whose dead letters are in `topic`; `None` where it is no topic of dead letters.
pub fn original_of(topic: &str) -> Option<&str> {
    SUFFIXES.iter().find_map(|suffix| topic.strip_suffix(suffix)).filter(|original| !original.is_empty())
}

/// Who gave a record its time: Kafka's words.
pub fn timestamp_type(timestamp: i64, is_append_time: bool) -> &'static str {
    match timestamp {
        ..0 => "NoTimestampType",
        _ if is_append_time => "LogAppendTime",
        _ => "CreateTime",
    }
}

/// What the headers of a dead letter say of the record that it was. Only the topic is always there: other senders leave
/// out what they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetter {
    pub topic: String,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    /// Milliseconds since the Unix epoch; -1 where it had none.
    pub timestamp: Option<i64>,
    /// `CreateTime`, `LogAppendTime` or `NoTimestampType`.
    pub timestamp_type: Option<String>,
    /// The consumer group that could not handle it.
    pub group: Option<String>,
    /// The kind of error: a class of Java, or a type of Rust.
    pub exception: Option<String>,
    /// The reason, in words.
    pub reason: Option<String>,
    /// How often it was tried; from 1.
    pub attempts: Option<u32>,
}

/// A dead letter, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened<'a> {
    pub letter: DeadLetter,
    /// The headers of the record as it was, in their order.
    pub headers: Vec<Pair<'a>>,
}

impl DeadLetter {
    /// The headers to add behind the record's own, always in this order. A reason is cut at [`LONGEST_REASON`].
    pub fn headers(&self) -> Vec<(&'static str, Vec<u8>)> {
        let text = |text: &Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
        let reason = self.reason.as_ref().map(|reason| super::excerpt(reason, LONGEST_REASON).into_bytes());
        // the topic begins and an exception follows it: by that `open` knows where the record's own headers end
        let exception = self.exception.as_deref().unwrap_or(POISON);
        [
            (TOPIC, Some(self.topic.clone().into_bytes())),
            (PARTITION, self.partition.map(|number| number.to_be_bytes().to_vec())),
            (OFFSET, self.offset.map(|offset| offset.to_be_bytes().to_vec())),
            (TIMESTAMP, self.timestamp.map(|ms| ms.to_be_bytes().to_vec())),
            (TIMESTAMP_TYPE, text(&self.timestamp_type)),
            (GROUP, text(&self.group)),
            (EXCEPTION, Some(exception.as_bytes().to_vec())),
            (MESSAGE, reason),
            (ATTEMPTS, self.attempts.map(|attempts| attempts.to_be_bytes().to_vec())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

/// Takes the note off a dead letter. `None` where there is none: whoever wrote the record was no sender of dead letters.
///
/// Notes of letters that became letters again (`orders.dlt.dlt`) lie one behind the other; the last one is taken off.
pub fn open<'a>(headers: &[Pair<'a>]) -> Option<Opened<'a>> {
    let named =
        |name: &str| headers.iter().rev().find(|(found, _)| *found == name.as_bytes()).and_then(|(_, value)| *value);
    let text = |name: &str| named(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let letter = DeadLetter {
        topic: text(TOPIC)?,
        partition: named(PARTITION).and_then(|value| Some(i32::from_be_bytes(value.try_into().ok()?))),
        offset: named(OFFSET).and_then(|value| Some(i64::from_be_bytes(value.try_into().ok()?))),
        timestamp: named(TIMESTAMP).and_then(|value| Some(i64::from_be_bytes(value.try_into().ok()?))),
        timestamp_type: text(TIMESTAMP_TYPE),
        group: text(GROUP),
        exception: text(EXCEPTION),
        reason: text(MESSAGE),
        attempts: named(ATTEMPTS).and_then(attempts),
    };
    let topic_at = headers.iter().rposition(|(name, _)| *name == TOPIC.as_bytes())?;
    let (before, note) = headers.split_at(topic_at);
    // Spring writes the exception before the topic, kafkalab behind it
    let before = match note.iter().any(|(name, _)| is_exception(name)) {
        true => before,
        false => {
            let exception = before.iter().rev().take_while(|(name, _)| is_exception(name)).count();
            &before[..before.len() - exception]
        }
    };
    let added_later = note.iter().filter(|(name, _)| !is_note(name));
    Some(Opened { letter, headers: before.iter().chain(added_later).copied().collect() })
}

fn is_note(name: &[u8]) -> bool {
    name.starts_with(b"kafka_dlt-") || name.starts_with(b"retry_topic-")
}

fn is_exception(name: &[u8]) -> bool {
    name.starts_with(b"kafka_dlt-exception-") || name.starts_with(b"kafka_dlt-key-exception-")
}

/// Of four bytes; of one from Spring Kafka before 2.7.9.
fn attempts(value: &[u8]) -> Option<u32> {
    match value {
        [one] => Some(u32::from(*one)),
        four => Some(u32::from_be_bytes(four.try_into().ok()?)),
    }
}

#[cfg(test)]
mod tests;
