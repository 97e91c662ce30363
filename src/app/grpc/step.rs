//! What is told of the run.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::Serialize;

/// One line of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    Part {
        title: &'static str,
    },
    Serves {
        service: &'static str,
        address: SocketAddr,
    },
    /// The relay cannot reach Kafka.
    Away {
        reason: String,
    },
    Called {
        method: &'static str,
        user_id: String,
        product_id: String,
        currency: String,
        amount: f64,
        idempotency_key: Option<String>,
    },
    Answered {
        code: &'static str,
        order_id: String,
        status: &'static str,
        already_done: bool,
    },
    Refused {
        code: &'static str,
        message: String,
        reason: Option<String>,
        fields: BTreeMap<String, String>,
    },
    /// What the outbox has.
    Depth {
        waiting: u64,
        parked: u64,
        held: u64,
    },
    Published {
        event: String,
        topic: String,
        partition: i32,
        offset: Option<i64>,
        key: String,
        message_id: String,
    },
    /// A record, as a consumer met it, and where its group goes on in this partition: that is what it has committed.
    Handled {
        consumer: &'static str,
        group: String,
        what: &'static str,
        topic: String,
        partition: i32,
        offset: i64,
        message_id: String,
        committed: Option<i64>,
    },
    /// Of analytics.
    Counted {
        name: &'static str,
        key: String,
        count: i64,
    },
    /// Of notifications: a line of the file.
    Notified {
        id: String,
        text: String,
    },
    /// Of the search index.
    Found {
        words: &'static str,
        order_id: String,
        status: String,
        price: Option<String>,
    },
    Lesson {
        text: &'static str,
    },
}
