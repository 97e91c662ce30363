//! The outbox: messages that were committed beside what they tell of, and what became of them.
//!
//! ```text
//!   waiting --> published
//!      |  ^
//!      |  +---- a retry (by its time, or by somebody)
//!      v  |
//!    parked ---> discarded             the rows of its aggregate behind it: held, until it is retried or discarded
//! ```
//!
//! A row of `outbox` is written once. What became of it stands in the narrow table `outbox_unpublished`, into which a trigger
//! puts whatever is inserted: published is what has left it. To mark a batch deletes some bytes a row, and a published row
//! costs a relay nothing.
//!
//! Relays ask for what waits, by `(status, shard, seq)`; none keeps a cursor, so a row that is committed late is found like
//! any other. All that a relay writes is guarded by its lease's token, in the same transaction.

use std::time::Duration;

use uuid::Uuid;

use super::{
    Lease, Store, StoreError,
    sql::{Access, Column, Each, Row, Step, Value},
};
use crate::patterns::outbox::{self, NewMessage};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Waiting,
    Published,
    /// Cannot be published; somebody has to look at it.
    Parked,
    /// Behind a row of its aggregate that is parked, or that is to be tried again later.
    Held,
    /// Given up by somebody.
    Discarded,
}

impl Status {
    pub const ALL: [Status; 5] = [Status::Waiting, Status::Published, Status::Parked, Status::Held, Status::Discarded];

    pub fn name(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Published => "published",
            Status::Parked => "parked",
            Status::Held => "held",
            Status::Discarded => "discarded",
        }
    }

    fn code(self) -> Value {
        Value::Int(match self {
            Status::Waiting => 0,
            Status::Published => 1,
            Status::Parked => 2,
            Status::Held => 3,
            Status::Discarded => 4,
        })
    }
}

/// A message with its place in the outbox.
#[derive(Clone, Debug)]
pub struct OutboxRow {
    pub shard: u64,
    /// Rises; within a shard rows go out in this order.
    pub seq: i64,
    pub row: outbox::Row,
    pub status: Status,
    /// How often it was refused for what it is.
    pub attempts: u64,
    /// What was said the last time.
    pub reason: Option<String>,
    /// Its aggregate is held up by a row before it. Only where it was asked for what waits.
    pub is_blocked: bool,
}

/// A row that was refused for what it is.
#[derive(Clone, Debug)]
pub struct SetAside {
    pub seq: i64,
    pub reason: String,
    /// Tried again after this time; `None` parks it.
    pub again: Option<Duration>,
}

/// What a relay has done with the rows of a shard.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    pub published: Vec<i64>,
    /// Rows whose aggregate is held up.
    pub held: Vec<i64>,
    pub set_aside: Vec<SetAside>,
}

/// How many rows of each status there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub waiting: u64,
    pub published: u64,
    pub parked: u64,
    pub held: u64,
    pub discarded: u64,
    /// When the oldest row that is not published was written, in milliseconds since the Unix epoch.
    pub oldest_ms: Option<i64>,
}

// A row as `outbox_row` decodes it: what it says, from the outbox by its key, beside what is known of it while it is not
// published. PostgreSQL is left no other way to join (LATERAL .. LIMIT): by a plan of when the tables were small it would
// walk over all that was published. SQLite joins in the order that is written.
macro_rules! not_published {
    ($where:literal, $limit:literal) => {
        [
            concat!(
                "SELECT u.shard, u.seq, o.id, o.aggregatetype, o.aggregateid, o.type, o.payload, o.topic, o.headers,
                    o.created_at_ms, u.status, u.attempts, u.reason,
                    (SELECT min(b.seq) FROM outbox_blocks b WHERE b.shard = u.shard
                        AND b.aggregatetype = o.aggregatetype AND b.aggregateid = o.aggregateid)
                 FROM outbox_unpublished u CROSS JOIN outbox o ON o.seq = u.seq
                 WHERE ",
                $where,
                " ORDER BY u.status, u.shard, u.seq LIMIT ",
                $limit
            ),
            concat!(
                "SELECT u.shard, u.seq, o.id, o.aggregatetype, o.aggregateid, o.type, o.payload, o.topic, o.headers,
                    o.created_at_ms, u.status, u.attempts, u.reason,
                    (SELECT min(b.seq) FROM outbox_blocks b WHERE b.shard = u.shard
                        AND b.aggregatetype = o.aggregatetype AND b.aggregateid = o.aggregateid)
                 FROM (SELECT * FROM outbox_unpublished u WHERE ",
                $where,
                " ORDER BY status, shard, seq LIMIT ",
                $limit,
                ") u, LATERAL (SELECT * FROM outbox WHERE shard = u.shard AND seq = u.seq LIMIT 1) o
                 ORDER BY u.status, u.shard, u.seq"
            ),
        ]
    };
}

const WAITING: [&str; 2] = not_published!("u.status = 0 AND u.shard = $1", "$2");
const LIST: [&str; 2] = not_published!("u.status = $1 AND (u.shard, u.seq) > ($2, $3)", "$4");
// A scalar: as EXISTS it could be planned as a walk over all that waits.
const BUSY: &str = "
    WITH shards (n) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15))
    SELECT CAST(n AS bigint) FROM shards
    WHERE (SELECT seq FROM outbox_unpublished WHERE status = 0 AND shard = n LIMIT 1) IS NOT NULL";
const HELD: &str = "SELECT name FROM leases WHERE name = $1 AND owner = $2 AND token = $3 FOR SHARE";
// Rows of an array, on PostgreSQL: each is found by the key (LIMIT leaves the planner no other way). Of a table that was
// small when the statement was planned it would walk the whole shard instead, and hold each row against the array.
macro_rules! waiting_of {
    ($array:literal) => {
        concat!(
            "ctid = ANY (ARRAY (SELECT u.at FROM unnest(",
            $array,
            "::bigint[]) s (seq), LATERAL (SELECT ctid FROM outbox_unpublished
                WHERE status = 0 AND shard = $1 AND seq = s.seq LIMIT 1) u (at)))"
        )
    };
}
const PUBLISHED: [&str; 2] = [
    "DELETE FROM outbox_unpublished WHERE status = 0 AND shard = $1 AND seq = $2",
    concat!("DELETE FROM outbox_unpublished WHERE ", waiting_of!("$2")),
];
// FOR SHARE: whoever retries waits, and then finds the rows that are held.
const BLOCKS: &str = "SELECT seq FROM outbox_blocks WHERE shard = $1 FOR SHARE";
macro_rules! hold {
    ($rows:expr) => {
        concat!(
            "UPDATE outbox_unpublished SET status = 3 WHERE ",
            $rows,
            " AND (SELECT EXISTS (SELECT 1 FROM outbox_blocks b WHERE b.shard = o.shard
                  AND b.aggregatetype = o.aggregatetype AND b.aggregateid = o.aggregateid)
                FROM outbox o WHERE o.shard = $1 AND o.seq = outbox_unpublished.seq)"
        )
    };
}
const HOLD: [&str; 2] = [hold!("status = 0 AND shard = $1 AND seq = $2"), hold!(waiting_of!("$2"))];
const SET_ASIDE: &str = "
    UPDATE outbox_unpublished SET status = CASE WHEN CAST($4 AS bigint) IS NULL THEN 2 ELSE 3 END, attempts = attempts + 1,
        reason = $3
    WHERE status = 0 AND shard = $1 AND seq = $2 RETURNING seq";
const BLOCK: &str = "
    INSERT INTO outbox_blocks (shard, aggregatetype, aggregateid, seq, until_ms)
    SELECT shard, aggregatetype, aggregateid, seq, now_ms() + CAST($3 AS bigint)
    FROM outbox WHERE shard = $1 AND seq = $2
    ON CONFLICT (shard, aggregatetype, aggregateid) DO UPDATE SET seq = excluded.seq, until_ms = excluded.until_ms";

// Letting an aggregate go again: the block first, so that a relay that is just holding rows is waited for.
const UNBLOCK: &str = "DELETE FROM outbox_blocks WHERE shard = $1 AND seq = $2 RETURNING seq";
const DUE: &str = "
    SELECT shard, seq, aggregatetype, aggregateid FROM outbox_blocks WHERE until_ms <= now_ms() LIMIT 1000";
const LET_GO: &str = "
    UPDATE outbox_unpublished SET status = 0 WHERE status = 3 AND shard = $1
        AND (SELECT o.aggregatetype = $2 AND o.aggregateid = $3 FROM outbox o
             WHERE o.shard = outbox_unpublished.shard AND o.seq = outbox_unpublished.seq)";
const NEXT_DUE: &str = "SELECT min(until_ms) - now_ms() FROM outbox_blocks WHERE until_ms IS NOT NULL";

const SET_STATUS: &str = "
    UPDATE outbox_unpublished SET status = CAST($3 AS bigint),
        attempts = CASE WHEN CAST($3 AS bigint) = 0 THEN 0 ELSE attempts END
    WHERE status = $4 AND shard = $1 AND seq = $2 RETURNING seq";
const ROW_BY_ID: &str = "
    SELECT shard, seq, id, aggregatetype, aggregateid, type, payload, topic, headers, created_at_ms, status, attempts,
        reason, NULL
    FROM outbox_status WHERE id = $1";
const LIST_PUBLISHED: &str = "
    SELECT shard, seq, id, aggregatetype, aggregateid, type, payload, topic, headers, created_at_ms, status, attempts,
        reason, NULL
    FROM outbox_status WHERE status = 1 AND (shard, seq) > ($1, $2) ORDER BY shard, seq LIMIT $3";
const DEPTH: &str = "
    SELECT u.status, count(*), min((SELECT o.created_at_ms FROM outbox o WHERE o.shard = u.shard AND o.seq = u.seq))
    FROM outbox_unpublished u GROUP BY u.status
    UNION ALL
    SELECT 1, (SELECT count(*) FROM outbox) - (SELECT count(*) FROM outbox_unpublished), NULL";
const UNPUBLISHED: &str = "
    SELECT (SELECT count(*) FROM outbox_unpublished WHERE status = 0),
           (SELECT count(*) FROM outbox_unpublished WHERE status = 2),
           (SELECT count(*) FROM outbox_unpublished WHERE status = 3)";
// The first of each shard and status, by the index: nearly the oldest, since `seq` rises with time.
const OLDEST: &str = "
    WITH shards (n) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15)),
    statuses (s) AS (VALUES (0), (2), (3)),
    firsts (shard, seq) AS (
        SELECT n, (SELECT seq FROM outbox_unpublished WHERE status = s AND shard = n ORDER BY seq LIMIT 1)
        FROM shards CROSS JOIN statuses)
    SELECT now_ms() - min((SELECT o.created_at_ms FROM outbox o WHERE o.shard = f.shard AND o.seq = f.seq))
    FROM firsts f WHERE f.seq IS NOT NULL";
// The outbox and what is known of a row change together: what is not published is not taken for it. Row by row, so that it
// ends with the last one that goes.
const PURGE: [&str; 2] = [
    "DELETE FROM outbox WHERE (shard, seq) IN (SELECT o.shard, o.seq FROM outbox o
        WHERE o.created_at_ms <= now_ms() - $2 AND coalesce((SELECT u.status FROM outbox_unpublished u
            WHERE u.status IN (0, 2, 3, 4) AND u.shard = o.shard AND u.seq = o.seq), 1) = $1 LIMIT 20000) RETURNING seq",
    "DELETE FROM inbox WHERE (consumer_id, message_id) IN (SELECT consumer_id, message_id FROM inbox
        WHERE received_at_ms <= now_ms() - $1 LIMIT 20000) RETURNING message_id",
];

const ALIVE: &str = "
    INSERT INTO relays (owner, expires_at_ms) VALUES ($1, now_ms() + $2)
    ON CONFLICT (owner) DO UPDATE SET expires_at_ms = excluded.expires_at_ms";
const GONE: &str = "DELETE FROM relays WHERE expires_at_ms <= now_ms() OR owner = $1";
const EXPIRED: &str = "DELETE FROM relays WHERE expires_at_ms <= now_ms()";
const RELAYS: &str = "SELECT owner FROM relays ORDER BY owner";

/// The statement that adds messages; `$1` is the time. One whose id is there is the same message once more.
pub(super) fn insert(messages: &[NewMessage], now_ms: i64) -> Each {
    let texts = |of: fn(&NewMessage) -> &str| messages.iter().map(|message| of(message).to_owned()).collect();
    Each {
        sqlite: "INSERT INTO outbox (created_at_ms, shard, id, aggregatetype, aggregateid, type, payload, topic, headers)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING",
        // in this order seq is given
        postgres: "
            INSERT INTO outbox (created_at_ms, shard, id, aggregatetype, aggregateid, type, payload, topic, headers)
            SELECT $1, o.shard, o.id, o.aggregatetype, o.aggregateid, o.type, o.payload, o.topic, o.headers
            FROM unnest($2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[], $9::text[])
                WITH ORDINALITY o (shard, id, aggregatetype, aggregateid, type, payload, topic, headers, nth) ORDER BY nth
            ON CONFLICT (id) DO NOTHING",
        values: vec![Value::Int(now_ms)],
        columns: vec![
            Column::Ints(messages.iter().map(|message| message.shard() as i64).collect()),
            Column::Uuids(messages.iter().map(|message| message.id).collect()),
            Column::Texts(texts(|message| &message.aggregate_type)),
            Column::Texts(texts(|message| &message.aggregate_id)),
            Column::Texts(texts(|message| &message.event_type)),
            Column::Bytes(messages.iter().map(|message| message.payload.clone()).collect()),
            Column::Options(messages.iter().map(|message| message.topic.clone()).collect()),
            Column::Texts(texts(|message| &message.headers)),
        ],
    }
}

fn each(sql: [&'static str; 2], shard: u64, seqs: Vec<i64>) -> Step {
    let [sqlite, postgres] = sql;
    Step::Each(Each { sqlite, postgres, values: vec![shard.into()], columns: vec![Column::Ints(seqs)] })
}

fn one(sql: &'static str, values: impl Into<Vec<Value>>) -> Step {
    Step::One { sql, values: values.into() }
}

/// For a relay.
impl Store {
    /// At most `limit` rows of the shard that wait, in order. Asked for after the shard's fence.
    pub async fn outbox_waiting(&self, shard: u64, limit: usize) -> Result<Vec<OutboxRow>, StoreError> {
        let values = vec![shard.into(), (limit as u64).into()];
        self.database().read(WAITING, values, outbox_row, |row| row.row.payload.len()).await
    }

    /// The shards in which something waits.
    pub async fn outbox_busy(&self) -> Result<Vec<u64>, StoreError> {
        self.database().rows(Access::Read, BUSY, []).await?.iter().map(|row| row.count(0)).collect()
    }

    /// Says what became of rows, all at once, while the lease is the newest of its name.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`]; nothing is marked then.
    pub async fn outbox_mark(&self, shard: u64, marks: Marks, lease: &Lease) -> Result<(), StoreError> {
        let mut steps = vec![one(HELD, lease.values())];
        if !marks.published.is_empty() {
            steps.push(each(PUBLISHED, shard, marks.published));
        }
        for aside in marks.set_aside {
            let again = aside.again.map_or(Value::Null, |pause| Value::Int(pause.as_millis() as i64));
            let (place, reason) = ([Value::from(shard), Value::Int(aside.seq)], aside.reason.replace('\0', " "));
            let [of, seq] = place;
            steps.push(one(SET_ASIDE, [of.clone(), seq.clone(), reason.as_str().into(), again.clone()]));
            steps.push(one(BLOCK, [of, seq, again]));
        }
        if !marks.held.is_empty() {
            steps.push(one(BLOCKS, [shard.into()]));
            steps.push(each(HOLD, shard, marks.held));
        }
        let lost = lease.lost();
        let check = move |answers: &[Vec<Row>]| match answers.first() {
            Some(rows) if rows.len() == 1 => Ok(()),
            _ => Err(lost),
        };
        self.database().transaction(None, steps, Box::new(check)).await.map(drop)
    }

    /// Lets aggregates go whose time has come. Gives how long it is until the next one's.
    pub async fn outbox_unblock(&self) -> Result<Option<Duration>, StoreError> {
        let due = self.database().row(Access::Read, NEXT_DUE, []).await?;
        let Some(left) = due.map_or(Ok(None), |row| row.optional_int(0))? else { return Ok(None) };
        if left > 0 {
            return Ok(Some(Duration::from_millis(left.unsigned_abs())));
        }
        for row in self.database().rows(Access::Read, DUE, []).await? {
            let (shard, seq) = (Value::from(row.int(0)?), Value::from(row.int(1)?));
            let names = [shard.clone(), row.text(2)?.into(), row.text(3)?.into()];
            // one by one: a row that is held in the moment is waited for, and several could wait for each other
            let steps = vec![one(UNBLOCK, [shard, seq]), one(LET_GO, names)];
            self.database().transaction(None, steps, Box::new(|_| Ok(()))).await?;
        }
        Ok(Some(Duration::ZERO))
    }

    /// Says that this relay is there, and gives all that are, in one order for all of them.
    pub async fn relay_is_alive(&self, owner: &str, ttl: Duration) -> Result<Vec<String>, StoreError> {
        let millis = Value::Int(ttl.as_millis() as i64);
        let steps = vec![one(EXPIRED, []), one(ALIVE, [owner.into(), millis]), one(RELAYS, [])];
        let answers = self.database().transaction(None, steps, Box::new(|_| Ok(()))).await?;
        answers.last().map_or(Ok(Vec::new()), |rows| rows.iter().map(|row| row.text(0).map(str::to_owned)).collect())
    }

    /// This relay is there no more.
    pub async fn relay_is_gone(&self, owner: &str) -> Result<(), StoreError> {
        self.database().rows(Access::Write, GONE, [owner.into()]).await.map(drop)
    }
}

/// For people.
impl Store {
    /// At most `limit` rows of a status in order, after that place.
    pub async fn outbox_list(
        &self,
        status: Status,
        after: (u64, i64),
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let mut values = vec![status.code(), after.0.into(), Value::Int(after.1), (limit as u64).into()];
        if status == Status::Published {
            values.remove(0);
            return self.outbox_rows(LIST_PUBLISHED, values).await;
        }
        self.database().read(LIST, values, outbox_row, |_| 0).await
    }

    pub async fn outbox_row(&self, id: Uuid) -> Result<Option<OutboxRow>, StoreError> {
        Ok(self.outbox_rows(ROW_BY_ID, vec![id.into()]).await?.pop())
    }

    /// How much there is. Counts the whole table.
    pub async fn outbox_depth(&self) -> Result<Depth, StoreError> {
        let mut depth = Depth::default();
        for row in self.database().rows(Access::Read, DEPTH, []).await? {
            let count = row.count(1)?;
            match row.int(0)? {
                0 => depth.waiting = count,
                1 => depth.published = count,
                2 => depth.parked = count,
                3 => depth.held = count,
                _ => depth.discarded = count,
            }
            if matches!(row.int(0)?, 0 | 2 | 3) {
                depth.oldest_ms = [depth.oldest_ms, row.optional_int(2)?].into_iter().flatten().min();
            }
        }
        Ok(depth)
    }

    /// Rows that wait, are parked, are held: by the index alone.
    pub async fn outbox_unpublished(&self) -> Result<(u64, u64, u64), StoreError> {
        let row = self.database().row(Access::Read, UNPUBLISHED, []).await?;
        row.map_or(Ok((0, 0, 0)), |row| Ok((row.count(0)?, row.count(1)?, row.count(2)?)))
    }

    /// How long the oldest row has waited that is not published, in milliseconds by the store's clock: by the index alone.
    pub async fn outbox_oldest_ms(&self) -> Result<Option<i64>, StoreError> {
        let row = self.database().row(Access::Read, OLDEST, []).await?;
        row.map_or(Ok(None), |row| row.optional_int(0))
    }

    /// Lets a parked row be tried again, and its aggregate behind it. False: it is not parked.
    pub async fn outbox_retry(&self, row: &OutboxRow) -> Result<bool, StoreError> {
        self.unpark(row, Status::Waiting).await
    }

    /// Gives a parked row up, and lets its aggregate go on without it. False: it is not parked.
    pub async fn outbox_discard(&self, row: &OutboxRow) -> Result<bool, StoreError> {
        self.unpark(row, Status::Discarded).await
    }

    async fn unpark(&self, row: &OutboxRow, to: Status) -> Result<bool, StoreError> {
        let place = [Value::from(row.shard), Value::Int(row.seq)];
        let [shard, seq] = place.clone();
        let names = [row.shard.into(), row.row.aggregate_type.as_str().into(), row.row.aggregate_id.as_str().into()];
        let steps = vec![
            one(UNBLOCK, place),
            one(SET_STATUS, [shard, seq, to.code(), Status::Parked.code()]),
            one(LET_GO, names),
        ];
        let answers = self.database().transaction(None, steps, Box::new(|_| Ok(()))).await?;
        Ok(answers.get(1).is_some_and(|rows| !rows.is_empty()))
    }

    /// Removes published (or discarded) rows that were written so long ago, some at a time so that nobody waits long. Gives
    /// how many.
    pub async fn outbox_purge(&self, status: Status, older_than: Duration) -> Result<u64, StoreError> {
        self.purge(PURGE[0], vec![status.code(), age(older_than)]).await
    }

    /// The same for 20,000 rows at most.
    pub async fn outbox_purge_some(&self, status: Status, older_than: Duration) -> Result<u64, StoreError> {
        let values = [status.code(), age(older_than)];
        Ok(self.database().rows(Access::Write, PURGE[0], values).await?.len() as u64)
    }

    /// Forgets what was handled earlier. What comes again from before that is handled twice.
    pub async fn inbox_purge(&self, older_than: Duration) -> Result<u64, StoreError> {
        self.purge(PURGE[1], vec![age(older_than)]).await
    }

    /// Again and again until nothing goes.
    pub(super) async fn purge(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let gone = self.database().rows(Access::Write, sql, values.clone()).await?.len();
            all += gone as u64;
            if gone == 0 {
                return Ok(all);
            }
        }
    }

    async fn outbox_rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<OutboxRow>, StoreError> {
        self.database().rows(Access::Read, sql, values).await?.into_iter().map(outbox_row).collect()
    }
}

pub(super) fn age(age: Duration) -> Value {
    Value::Int(i64::try_from(age.as_millis()).unwrap_or(i64::MAX).min(100 * 365 * 86_400_000))
}

fn outbox_row(mut row: Row) -> Result<OutboxRow, StoreError> {
    let status = match row.int(10)? {
        0 => Status::Waiting,
        1 => Status::Published,
        2 => Status::Parked,
        3 => Status::Held,
        _ => Status::Discarded,
    };
    Ok(OutboxRow {
        shard: row.count(0)?,
        seq: row.int(1)?,
        status,
        attempts: row.count(11)?,
        reason: row.optional_text(12)?,
        is_blocked: row.optional_int(13)?.is_some(),
        row: message(&mut row)?,
    })
}

/// The columns behind shard and seq.
fn message(row: &mut Row) -> Result<outbox::Row, StoreError> {
    Ok(outbox::Row {
        id: row.uuid(2)?,
        aggregate_type: row.take_text(3)?,
        aggregate_id: row.take_text(4)?,
        event_type: row.take_text(5)?,
        payload: row.take_bytes(6)?,
        topic: row.take_optional_text(7)?,
        headers: row.take_optional_text(8)?,
        created_at_ms: row.int(9)?,
    })
}
