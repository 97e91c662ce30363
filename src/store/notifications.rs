//! What somebody outside is told: a queue in the store.
//!
//! ```text
//! waiting --claim--> somebody's, until a time --sent--> sent
//!    ^                          |
//!    +-- again after a pause ---+-- too often --> dead --retry--> waiting
//! ```
//!
//! A claim is a time by the database's clock before which nobody else takes the row: who dies frees it by doing nothing. Rows
//! that others are just taking are passed by, so several senders share the work.

use std::time::Duration;

use uuid::Uuid;

use super::{
    Store, StoreError,
    outbox::age,
    sql::{Access, Column, Each, Row, Step, Value},
};
use crate::patterns::inbox::Notification;

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotificationStatus {
    Waiting,
    Sent,
    /// Refused too often: kept until somebody says that it is to be sent again.
    Dead,
}

/// One that is to be sent, by whoever has claimed it and for so long.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: Uuid,
    pub body: Vec<u8>,
    /// That failed.
    pub attempts: u64,
    /// By which the claim is known: until when it holds, in milliseconds since the Unix epoch.
    until_ms: i64,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Sent,
    /// `again` after this time; `None`: it is dead.
    Failed {
        reason: String,
        again: Option<Duration>,
    },
}

/// One as it lies in the queue.
#[derive(Clone, Debug)]
pub struct NotificationRow {
    pub id: Uuid,
    pub status: NotificationStatus,
    /// The order's id.
    pub subject: String,
    pub body: Vec<u8>,
    pub created_at_ms: i64,
    pub sent_at_ms: Option<i64>,
    pub attempts: u64,
    pub reason: Option<String>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    pub waiting: u64,
    pub dead: u64,
    /// When the oldest that waits was queued, in milliseconds since the Unix epoch.
    pub oldest_ms: Option<i64>,
}

impl NotificationStatus {
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Sent, Self::Dead];

    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Dead => "dead",
        }
    }

    fn number(self) -> i64 {
        self as i64
    }
}

/// One whose id is there is the same once more.
pub(super) const QUEUE: [&str; 2] = [
    "INSERT INTO notifications (consumer_id, id, subject, body) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
    "INSERT INTO notifications (consumer_id, id, subject, body)
     SELECT $1, n.id, n.subject, n.body FROM unnest($2::uuid[], $3::text[], $4::bytea[]) n (id, subject, body)
     ORDER BY n.id ON CONFLICT (id) DO NOTHING",
];
// (SELECT now_ms()): once, so that the index finds what is due
const CLAIM: &str = "
    UPDATE notifications SET due_ms = now_ms() + $1 WHERE id IN (
        SELECT id FROM notifications WHERE status = 0 AND due_ms <= (SELECT now_ms())
        ORDER BY due_ms LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING id, body, attempts, due_ms";
// Whoever sent it: it was sent, and a claim that is over changes nothing in that.
const SENT: [&str; 2] = [
    "UPDATE notifications SET status = 1, sent_at_ms = now_ms(), reason = NULL WHERE id = $1 AND status <> 1",
    "UPDATE notifications SET status = 1, sent_at_ms = now_ms(), reason = NULL
     WHERE id = ANY ($1::uuid[]) AND status <> 1",
];
const FAILED: &str = "
    UPDATE notifications SET attempts = attempts + 1, reason = $3,
        status = CASE WHEN CAST($4 AS bigint) IS NULL THEN 2 ELSE 0 END, due_ms = coalesce(now_ms() + CAST($4 AS bigint), 0)
    WHERE id = $1 AND due_ms = $2 AND status = 0";
const NEXT_DUE: &str = "SELECT min(due_ms) - now_ms() FROM notifications WHERE status = 0";
const DEPTH: &str = "
    SELECT (SELECT count(*) FROM notifications WHERE status = 0), (SELECT count(*) FROM notifications WHERE status = 2),
           (SELECT min(created_at_ms) FROM notifications WHERE status = 0)";
const LIST: &str = "
    SELECT id, status, subject, body, created_at_ms, sent_at_ms, attempts, reason FROM notifications
    WHERE status = $1 ORDER BY created_at_ms, id LIMIT $2";
const RETRY: &str = "
    UPDATE notifications SET status = 0, attempts = 0, due_ms = 0 WHERE id = $1 AND status = 2 RETURNING id";
const RETRY_ALL: &str = "
    UPDATE notifications SET status = 0, attempts = 0, due_ms = 0 WHERE status = 2 RETURNING id";
const PURGE: &str = "
    DELETE FROM notifications WHERE id IN (
        SELECT id FROM notifications WHERE status = 1 AND sent_at_ms <= now_ms() - $1 LIMIT 20000) RETURNING id";

pub(super) fn columns(notifications: Vec<Notification>) -> Vec<Column> {
    let mut rows = (Vec::new(), Vec::new(), Vec::new());
    for notification in notifications {
        rows.0.push(notification.id);
        rows.1.push(notification.subject);
        rows.2.push(notification.body);
    }
    vec![Column::Uuids(rows.0), Column::Texts(rows.1), Column::Bytes(rows.2)]
}

impl Store {
    /// At most `limit` notifications that are due, for whoever asks, and for so long: then others may have them.
    pub async fn claim_notifications(&self, limit: usize, ttl: Duration) -> Result<Vec<Claimed>, StoreError> {
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 2);
        let rows = self.database().rows(Access::Write, CLAIM, [ttl.into(), (limit as u64).into()]).await?;
        let claimed = |mut row: Row| {
            Ok(Claimed { id: row.uuid(0)?, body: row.take_bytes(1)?, attempts: row.count(2)?, until_ms: row.int(3)? })
        };
        rows.into_iter().map(claimed).collect()
    }

    /// What became of them, all at once. May be said again.
    pub async fn mark_notifications(&self, outcomes: &[(Claimed, Outcome)]) -> Result<(), StoreError> {
        let [sqlite, postgres] = SENT;
        let sent: Vec<Uuid> =
            outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Sent).map(|(claimed, _)| claimed.id).collect();
        let mut steps = Vec::new();
        if !sent.is_empty() {
            steps.push(Step::Each(Each { sqlite, postgres, values: Vec::new(), columns: vec![Column::Uuids(sent)] }));
        }
        for (claimed, outcome) in outcomes {
            let Outcome::Failed { reason, again } = outcome else { continue };
            let again = again.map_or(Value::Null, |again| Value::Int(i64::try_from(again.as_millis()).unwrap_or(0)));
            let reason = reason.replace('\0', " ");
            let values = vec![claimed.id.into(), claimed.until_ms.into(), reason.as_str().into(), again];
            steps.push(Step::One { sql: FAILED, values });
        }
        if steps.is_empty() {
            return Ok(());
        }
        self.database().transaction(None, steps, Box::new(|_| Ok(()))).await.map(drop)
    }

    /// How long it is until a notification is due that waits or is claimed; `None` where there is none.
    pub async fn next_notification(&self) -> Result<Option<Duration>, StoreError> {
        let row = self.database().row(Access::Read, NEXT_DUE, []).await?;
        let left = row.map_or(Ok(None), |row| row.optional_int(0))?;
        Ok(left.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or(0))))
    }

    /// How many wait and how many are dead.
    pub async fn notifications(&self) -> Result<Notifications, StoreError> {
        let Some(row) = self.database().row(Access::Read, DEPTH, []).await? else {
            return Ok(Notifications::default());
        };
        Ok(Notifications { waiting: row.count(0)?, dead: row.count(1)?, oldest_ms: row.optional_int(2)? })
    }

    /// At most `limit` of a status, the oldest first.
    pub async fn list_notifications(
        &self,
        status: NotificationStatus,
        limit: usize,
    ) -> Result<Vec<NotificationRow>, StoreError> {
        let values = vec![status.number().into(), (limit as u64).into()];
        self.database().read([LIST, LIST], values, listed, |row| row.body.len()).await
    }

    /// Lets a dead one be sent again, with all its attempts. False: there is no dead one of that id.
    pub async fn retry_notification(&self, id: Uuid) -> Result<bool, StoreError> {
        Ok(self.database().row(Access::Write, RETRY, [id.into()]).await?.is_some())
    }

    /// The same for all that are dead. Gives their ids.
    pub async fn retry_notifications(&self) -> Result<Vec<Uuid>, StoreError> {
        self.database().rows(Access::Write, RETRY_ALL, []).await?.iter().map(|row| row.uuid(0)).collect()
    }

    /// Forgets what was sent so long ago, some at a time so that nobody waits long. Gives how many. The inbox still knows
    /// their orders, so they are not queued again.
    pub async fn purge_notifications(&self, older_than: Duration) -> Result<u64, StoreError> {
        self.purge(PURGE, vec![age(older_than)]).await
    }
}

fn listed(mut row: Row) -> Result<NotificationRow, StoreError> {
    let status = row.count(1)? as usize;
    Ok(NotificationRow {
        id: row.uuid(0)?,
        status: NotificationStatus::ALL.get(status).copied().unwrap_or(NotificationStatus::Waiting),
        subject: row.take_text(2)?,
        body: row.take_bytes(3)?,
        created_at_ms: row.int(4)?,
        sent_at_ms: row.optional_int(5)?,
        attempts: row.count(6)?,
        reason: row.take_optional_text(7)?,
    })
}
