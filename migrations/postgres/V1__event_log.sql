-- The event log. Versions are gapless in a stream, positions in the whole log; both begin at 1.
-- The same tables as in migrations/sqlite/V1__event_log.sql.

-- A position is given under an advisory lock that is held to the commit (src/store/postgres.rs): whoever sees a
-- position sees all lower ones. Who inserts by hand takes that lock too.
CREATE TABLE events (
    position       bigint PRIMARY KEY,
    stream_id      text   COLLATE "C" NOT NULL,
    version        bigint NOT NULL,
    event_id       uuid   NOT NULL UNIQUE,
    event_type     text   NOT NULL,
    data           bytea  NOT NULL,
    metadata       bytea  NOT NULL,
    recorded_at_ms bigint NOT NULL, -- for people: order is by version and position
    UNIQUE (stream_id, version)
);

-- One row: the store's own id, made when it is opened for the first time.
CREATE TABLE store (
    only_row bigint PRIMARY KEY CHECK (only_row = 1),
    id       text NOT NULL
);

CREATE TABLE snapshots (
    stream_id text   COLLATE "C" PRIMARY KEY,
    version   bigint NOT NULL,
    schema    bigint NOT NULL,
    state     bytea  NOT NULL,
    checksum  bigint NOT NULL -- of version, schema and state
);

-- A row stays when its lease has ended, so that tokens go on rising.
CREATE TABLE leases (
    name          text   COLLATE "C" PRIMARY KEY,
    owner         text   NOT NULL,
    token         bigint NOT NULL,
    expires_at_ms bigint NOT NULL
);

CREATE TABLE checkpoints (
    name     text   COLLATE "C" PRIMARY KEY,
    position bigint NOT NULL
);
