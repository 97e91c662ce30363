//! The event log: append under an expected version, read a stream, read everything in order of position.
//!
//! ```text
//! stream order-1:   v1 ─ v2 ─────── v3
//! stream order-2:        │    v1    │
//! position:         1    2    3     4     one order for all readers
//! ```
//!
//! - An append is one transaction: all of its events or none, with the versions that follow the stream's.
//! - Who is answered has its events on disk: `synchronous=FULL` on SQLite, `synchronous_commit` on PostgreSQL.
//! - Sent again with the same ids it is answered as the first time. So whoever got no answer may always repeat.
//! - Positions are given in the order of the commits, without gaps: a reader that has seen position n has seen all
//!   before it, and none of them appears later. (Numbers from a sequence do not do that: one that is given first may be
//!   committed last, behind the reader's back.)

use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{
    AppendError, Store, StoreError,
    snapshot::Latest,
    sql::{Access, Database},
};
use crate::patterns::{
    event_sourcing::{ExpectedVersion, NewEvent, RecordedEvent, Snapshot},
    outbox::NewMessage,
};

/// What an append has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub first_version: u64,
    pub last_version: u64,
    /// The position of the last event.
    pub last_position: u64,
    /// These events were in the log already: nothing was written now.
    pub duplicate: bool,
}

/// A stream in the list of streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    pub stream: String,
    /// The version of its last event, which is also the number of its events.
    pub version: u64,
    pub last_position: u64,
    pub last_recorded_at_ms: i64,
}

/// Events of a page at most, unless asked for otherwise.
pub const PAGE: usize = 2000;
/// A page ends with the event that reaches this many bytes.
pub(super) const PAGE_BYTES: usize = 16 << 20;

/// Which events, from which on (inclusive for a version, exclusive for a position).
#[derive(Clone, Debug)]
pub(super) enum Scope {
    Stream { stream: String, from: u64 },
    All { after: u64 },
}

/// The events of a stream or of the log, page by page: at most two pages are in memory. While one is looked at the next
/// is read.
pub struct Pages {
    store: Store,
    scope: Scope,
    size: usize,
    ahead: Option<Ahead>,
    is_end: bool,
}

/// A page that nobody has asked for yet.
enum Ahead {
    Read(Vec<RecordedEvent>),
    Reading(AbortOnDropHandle<Result<Vec<RecordedEvent>, StoreError>>),
}

/// A stream from its snapshot on.
pub struct FromSnapshot {
    pub snapshot: Option<Snapshot>,
    /// The stream has come to this version at least.
    pub version: u64,
    /// From the snapshot's last event on; without a snapshot from the first.
    pub pages: Pages,
}

const HEAD: &str = "SELECT coalesce(max(position), 0) FROM events";
const VERSION: &str = "SELECT coalesce(max(version), 0) FROM events WHERE stream_id = $1";

const EVENT: &str = "
    SELECT position, stream_id, version, event_type, data, metadata, recorded_at_ms FROM events WHERE event_id = $1";

// From each stream to the next by the index: as many steps as streams, however many events they have.
const STREAMS: &str = "
    WITH RECURSIVE next (stream_id, nth) AS (
        SELECT (SELECT min(stream_id) FROM events WHERE stream_id > $1), CAST(1 AS bigint)
        UNION ALL
        SELECT (SELECT min(e.stream_id) FROM events e WHERE e.stream_id > next.stream_id), nth + 1
        FROM next WHERE next.stream_id IS NOT NULL AND nth < $2
    )
    SELECT e.stream_id, e.version, e.position, e.recorded_at_ms
    FROM next JOIN events e ON e.stream_id = next.stream_id
        AND e.version = (SELECT max(l.version) FROM events l WHERE l.stream_id = next.stream_id)
    ORDER BY e.stream_id";

impl Store {
    /// Appends all events or none, durably. Idempotent by event id: the same ids again, whatever is expected now, are
    /// answered as the first time with `duplicate` set.
    ///
    /// A caller that stops waiting may find its events written.
    pub async fn append(
        &self,
        stream: &str,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        self.append_with(stream, expected, events, Vec::new()).await
    }

    /// The same, with messages that go into the outbox in the same transaction: both or neither. A repeat that is answered
    /// as the first time adds none.
    pub async fn append_with(
        &self,
        stream: &str,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
        messages: Vec<NewMessage>,
    ) -> Result<Appended, AppendError> {
        let has_messages = !messages.is_empty();
        let appended = match self.database() {
            Database::Sqlite(database) => database.appends.append(stream, expected, events, messages).await,
            Database::Postgres(database) => database.appends.append(stream, expected, events, messages).await,
        };
        if has_messages && appended.is_ok() {
            self.outbox_changed();
        }
        appended
    }

    /// At most `limit` events of a stream, in order, from that version on. It may be fewer where they are large; none
    /// is the end.
    pub async fn read_stream(
        &self,
        stream: &str,
        from_version: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.page(Scope::Stream { stream: stream.to_owned(), from: from_version }, limit).await
    }

    /// At most `limit` events of all streams, in order of position, after that position. It may be fewer where they are
    /// large; none is the end for now. Never skips a position that is committed later.
    pub async fn read_all(&self, after_position: u64, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        self.page(Scope::All { after: after_position }, limit).await
    }

    /// The event with this id, if it is in the log.
    pub async fn event(&self, id: Uuid) -> Result<Option<RecordedEvent>, StoreError> {
        let Some(mut row) = self.database().row(Access::Read, EVENT, [id.into()]).await? else { return Ok(None) };
        Ok(Some(RecordedEvent {
            position: row.count(0)?,
            stream: row.take_text(1)?,
            version: row.count(2)?,
            id,
            event_type: row.take_text(3)?,
            data: row.take_bytes(4)?,
            metadata: row.take_bytes(5)?,
            recorded_at_ms: row.int(6)?,
        }))
    }

    /// A stream of any length, page by page.
    pub fn stream_pages(&self, stream: &str, from_version: u64) -> Pages {
        let scope = Scope::Stream { stream: stream.to_owned(), from: from_version };
        self.pages(scope)
    }

    /// A log of any length, page by page.
    pub fn all_pages(&self, after_position: u64) -> Pages {
        self.pages(Scope::All { after: after_position })
    }

    fn pages(&self, scope: Scope) -> Pages {
        Pages { store: self.clone(), scope, size: PAGE, ahead: None, is_end: false }
    }

    /// A stream's snapshot, if it has one, and its events from there on; one way there and back where these are few.
    pub async fn from_snapshot(&self, stream: &str) -> Result<FromSnapshot, StoreError> {
        let Latest { snapshot, events } = match self.database() {
            Database::Sqlite(database) => database.latest(stream, PAGE).await?,
            Database::Postgres(database) => database.latest(stream, PAGE).await?,
        };
        let version = match (events.last(), &snapshot) {
            (Some(last), _) => last.version,
            (None, None) => 0,
            (None, Some(_)) => self.stream_version(stream).await?,
        };
        let from = events.first().map_or(1, |first| first.version);
        let mut pages = self.stream_pages(stream, from);
        pages.ahead = Some(Ahead::Read(events));
        Ok(FromSnapshot { snapshot, version, pages })
    }

    async fn page(&self, scope: Scope, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        match self.database() {
            Database::Sqlite(database) => database.page(scope, limit).await,
            Database::Postgres(database) => database.page(scope, limit).await,
        }
    }

    /// The last position of the log; 0 where it is empty.
    pub async fn head(&self) -> Result<u64, StoreError> {
        self.number(HEAD, Vec::new()).await
    }

    /// The version of a stream's last event; 0 where it has none.
    pub async fn stream_version(&self, stream: &str) -> Result<u64, StoreError> {
        self.number(VERSION, vec![stream.into()]).await
    }

    async fn number(&self, sql: &'static str, values: Vec<super::sql::Value>) -> Result<u64, StoreError> {
        self.database().row(Access::Read, sql, values).await?.map_or(Ok(0), |row| row.count(0))
    }

    /// At most `limit` streams in the order of their names' bytes, after that name (`""`: from the first).
    pub async fn streams(&self, after: &str, limit: usize) -> Result<Vec<StreamInfo>, StoreError> {
        let rows = self.database().rows(Access::Read, STREAMS, [after.into(), (limit as u64).into()]).await?;
        let info = |row: super::sql::Row| {
            let stream = row.text(0)?.to_owned();
            let (version, last_position, last_recorded_at_ms) = (row.count(1)?, row.count(2)?, row.int(3)?);
            Ok(StreamInfo { stream, version, last_position, last_recorded_at_ms })
        };
        rows.into_iter().take(limit).map(info).collect()
    }
}

impl Pages {
    /// At most so many events in a page.
    pub fn of(mut self, size: usize) -> Self {
        self.size = size.max(1);
        self
    }

    /// The next page; empty at the end. Asked again later it goes on with what was appended meanwhile. After an error
    /// the same page may be asked for again.
    pub async fn next(&mut self) -> Result<Vec<RecordedEvent>, StoreError> {
        let page = match self.ahead.take() {
            Some(Ahead::Read(page)) => page,
            Some(Ahead::Reading(task)) => match task.await {
                // read when there was nothing: it may be there now
                Ok(Ok(page)) if page.is_empty() => self.read().await?,
                Ok(outcome) => outcome?,
                Err(_) => self.read().await?,
            },
            None => self.read().await?,
        };
        if let Some(last) = page.last() {
            match &mut self.scope {
                Scope::Stream { from, .. } => *from = last.version + 1,
                Scope::All { after } => *after = last.position,
            }
        }
        let bytes = |event: &RecordedEvent| event.data.len() + event.metadata.len();
        self.is_end = page.len() < self.size && page.iter().map(bytes).sum::<usize>() < PAGE_BYTES;
        if !self.is_end {
            self.ahead = Some(Ahead::Reading(AbortOnDropHandle::new(tokio::spawn(self.read()))));
        }
        Ok(page)
    }

    /// Is the last page that was given the end, as far as it was there when it was read? Who knows that need not ask for
    /// the empty page behind it.
    pub fn is_end(&self) -> bool {
        self.is_end
    }

    fn read(&self) -> impl Future<Output = Result<Vec<RecordedEvent>, StoreError>> + Send + 'static {
        let (store, scope, size) = (self.store.clone(), self.scope.clone(), self.size);
        async move { store.page(scope, size).await }
    }
}
