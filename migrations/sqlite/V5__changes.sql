-- What handlers change beside their states, in the transaction of the inbox: counts, what can be searched, notifications.
-- The same tables as in migrations/postgres/V5__changes.sql.

CREATE TABLE counts (
    consumer_id TEXT    NOT NULL,
    name        TEXT    NOT NULL, -- what is counted: `user`
    key         TEXT    NOT NULL, -- of which one: `user-123`
    count       INTEGER NOT NULL,
    PRIMARY KEY (consumer_id, name, key)
) STRICT, WITHOUT ROWID;

-- `words` are those of patterns/search.rs, with a blank between them; `data` is what is shown.
CREATE TABLE documents (
    seq         INTEGER PRIMARY KEY,
    consumer_id TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    time_ms     INTEGER NOT NULL,
    words       TEXT    NOT NULL,
    data        BLOB    NOT NULL, -- JSON
    UNIQUE (consumer_id, id)
) STRICT;

-- The words' index. They are made by us: whatever is no blank belongs to a word, and no position is asked for.
CREATE VIRTUAL TABLE document_words USING fts5 (
    words, content = 'documents', content_rowid = 'seq', detail = 'none', tokenize = "ascii tokenchars '_'"
);
CREATE TRIGGER document_inserted AFTER INSERT ON documents BEGIN
    INSERT INTO document_words (rowid, words) VALUES (new.seq, new.words);
END;
CREATE TRIGGER document_deleted AFTER DELETE ON documents BEGIN
    INSERT INTO document_words (document_words, rowid, words) VALUES ('delete', old.seq, old.words);
END;
CREATE TRIGGER document_updated AFTER UPDATE ON documents BEGIN
    INSERT INTO document_words (document_words, rowid, words) VALUES ('delete', old.seq, old.words);
    INSERT INTO document_words (rowid, words) VALUES (new.seq, new.words);
END;

-- An effect outside of the database: it is queued with what caused it, and sent at least once by its id.
CREATE TABLE notifications (
    id            BLOB    PRIMARY KEY,
    consumer_id   TEXT    NOT NULL,
    subject       TEXT    NOT NULL, -- the order's id
    body          BLOB    NOT NULL, -- JSON
    created_at_ms INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    status        INTEGER NOT NULL DEFAULT 0, -- 0 waiting, 1 sent, 2 dead
    attempts      INTEGER NOT NULL DEFAULT 0, -- that failed
    due_ms        INTEGER NOT NULL DEFAULT 0, -- not before this; of one that is being sent: until when it is somebody's
    sent_at_ms    INTEGER,
    reason        TEXT
) STRICT;
-- Without what was sent: the index stays small.
CREATE INDEX notifications_due ON notifications (status, due_ms) WHERE status <> 1;
