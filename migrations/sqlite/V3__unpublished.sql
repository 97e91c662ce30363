-- What is not published stands in a narrow table of its own, and a row of the outbox is written once: to publish it deletes
-- a few bytes here, and touches no page of the outbox.
-- The same tables as in migrations/postgres/V3__unpublished.sql.

-- A row of the outbox that is not in here is published. The key begins with the status: what waits is read past nothing else.
CREATE TABLE outbox_unpublished (
    status   INTEGER NOT NULL DEFAULT 0, -- 0 waiting, 2 parked, 3 held, 4 discarded
    shard    INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    reason   TEXT,
    PRIMARY KEY (status, shard, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO outbox_unpublished SELECT status, shard, seq, attempts, reason FROM outbox WHERE status <> 1;

DROP INDEX outbox_status;
ALTER TABLE outbox DROP COLUMN status;
ALTER TABLE outbox DROP COLUMN attempts;
ALTER TABLE outbox DROP COLUMN reason;
ALTER TABLE outbox DROP COLUMN published_at_ms;

-- Whoever inserts, by whatever statement: the row waits.
CREATE TRIGGER outbox_inserted AFTER INSERT ON outbox BEGIN
    INSERT INTO outbox_unpublished (shard, seq) VALUES (new.shard, new.seq);
END;

-- What is no more waits no more.
CREATE TRIGGER outbox_deleted AFTER DELETE ON outbox BEGIN
    DELETE FROM outbox_unpublished WHERE status IN (0, 2, 3, 4) AND shard = old.shard AND seq = old.seq;
END;

-- For people: the outbox, and what became of each row.
CREATE VIEW outbox_status AS
    SELECT o.*, coalesce(u.status, 1) AS status, coalesce(u.attempts, 0) AS attempts, u.reason
    FROM outbox o LEFT JOIN outbox_unpublished u ON u.status IN (0, 2, 3, 4) AND u.shard = o.shard AND u.seq = o.seq;
