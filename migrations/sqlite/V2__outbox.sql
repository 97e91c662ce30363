-- The outbox, the inbox, and the states of handlers.
-- The same tables as in migrations/postgres/V2__outbox.sql.

-- `id, aggregatetype, aggregateid, type, payload` are Debezium's columns. Rows of one aggregate are of one shard; within
-- a shard they go out in the order of `seq`.
CREATE TABLE outbox (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    shard           INTEGER NOT NULL DEFAULT 0 CHECK (shard BETWEEN 0 AND 15),
    id              BLOB    NOT NULL UNIQUE,
    aggregatetype   TEXT    NOT NULL,
    aggregateid     TEXT    NOT NULL,
    type            TEXT    NOT NULL,
    payload         BLOB    NOT NULL,
    topic           TEXT,            -- none: by the type
    headers         TEXT,            -- a JSON object of texts
    created_at_ms   INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    status          INTEGER NOT NULL DEFAULT 0, -- 0 waiting, 1 published, 2 parked, 3 held, 4 discarded
    attempts        INTEGER NOT NULL DEFAULT 0,
    reason          TEXT,
    published_at_ms INTEGER
) STRICT;
-- Without what was published: the index stays small, and a row leaves it when it goes out.
CREATE INDEX outbox_status ON outbox (status, shard, seq) WHERE status <> 1;

-- Aggregates that are held up by the row `seq`: until a time, or (none) until somebody retries or discards that row.
CREATE TABLE outbox_blocks (
    shard         INTEGER NOT NULL,
    aggregatetype TEXT    NOT NULL,
    aggregateid   TEXT    NOT NULL,
    seq           INTEGER NOT NULL,
    until_ms      INTEGER,
    PRIMARY KEY (shard, aggregatetype, aggregateid)
) STRICT, WITHOUT ROWID;

-- Relays that are alive: the shards are divided among them.
CREATE TABLE relays (
    owner         TEXT    PRIMARY KEY,
    expires_at_ms INTEGER NOT NULL
) STRICT;

-- What a consumer has handled.
CREATE TABLE inbox (
    consumer_id    TEXT    NOT NULL,
    message_id     TEXT    NOT NULL,
    received_at_ms INTEGER NOT NULL,
    PRIMARY KEY (consumer_id, message_id)
) STRICT, WITHOUT ROWID;

-- What handlers know: a state per kind and id, guarded by its version.
CREATE TABLE states (
    kind    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    version INTEGER NOT NULL,
    data    BLOB    NOT NULL, -- JSON
    due_ms  INTEGER,          -- when the handler wants to be asked again if nothing comes
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX states_due ON states (kind, due_ms) WHERE due_ms IS NOT NULL;
