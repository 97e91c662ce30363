-- What handlers change beside their states, in the transaction of the inbox: counts, what can be searched, notifications.
-- The same tables as in migrations/sqlite/V5__changes.sql.

CREATE TABLE counts (
    consumer_id text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL, -- what is counted: `user`
    key         text COLLATE "C" NOT NULL, -- of which one: `user-123`
    count       bigint NOT NULL,
    PRIMARY KEY (consumer_id, name, key)
);

-- `words` are those of patterns/search.rs, with a blank between them; `data` is what is shown. No parser and no dictionary
-- of the server: both databases are to find the same.
CREATE TABLE documents (
    consumer_id text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    time_ms     bigint NOT NULL,
    words       text   NOT NULL,
    data        bytea  NOT NULL, -- JSON
    lexemes     tsvector GENERATED ALWAYS AS (array_to_tsvector(string_to_array(words, ' '))) STORED,
    PRIMARY KEY (consumer_id, id)
);
CREATE INDEX documents_lexemes ON documents USING gin (lexemes);

-- An effect outside of the database: it is queued with what caused it, and sent at least once by its id.
CREATE TABLE notifications (
    id            uuid   PRIMARY KEY,
    consumer_id   text COLLATE "C" NOT NULL,
    subject       text COLLATE "C" NOT NULL, -- the order's id
    body          bytea  NOT NULL, -- JSON
    created_at_ms bigint NOT NULL DEFAULT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint),
    status        bigint NOT NULL DEFAULT 0, -- 0 waiting, 1 sent, 2 dead
    attempts      bigint NOT NULL DEFAULT 0, -- that failed
    due_ms        bigint NOT NULL DEFAULT 0, -- not before this; of one that is being sent: until when it is somebody's
    sent_at_ms    bigint,
    reason        text
);
-- Without what was sent: the index stays small.
CREATE INDEX notifications_due ON notifications (status, due_ms) WHERE status <> 1;
