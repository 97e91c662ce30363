-- The event log. Versions are gapless in a stream, positions in the whole log; both begin at 1.
-- The same tables as in migrations/postgres/V1__event_log.sql.

CREATE TABLE events (
    position       INTEGER PRIMARY KEY,
    stream_id      TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    event_id       BLOB    NOT NULL UNIQUE,
    event_type     TEXT    NOT NULL,
    data           BLOB    NOT NULL,
    metadata       BLOB    NOT NULL,
    recorded_at_ms INTEGER NOT NULL, -- for people: order is by version and position
    UNIQUE (stream_id, version)
) STRICT;

-- One row: the store's own id, made when it is opened for the first time.
CREATE TABLE store (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    id       TEXT NOT NULL
) STRICT;

CREATE TABLE snapshots (
    stream_id TEXT    PRIMARY KEY,
    version   INTEGER NOT NULL,
    schema    INTEGER NOT NULL,
    state     BLOB    NOT NULL,
    checksum  INTEGER NOT NULL -- of version, schema and state
) STRICT;

-- A row stays when its lease has ended, so that tokens go on rising.
CREATE TABLE leases (
    name          TEXT    PRIMARY KEY,
    owner         TEXT    NOT NULL,
    token         INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE checkpoints (
    name     TEXT    PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT;
