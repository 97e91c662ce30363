-- What is not published stands in a narrow table of its own, and a row of the outbox is written once: to publish it deletes
-- a few bytes here, and makes no new version of the whole row.
-- The same tables as in migrations/sqlite/V3__unpublished.sql.

-- A row of the outbox that is not in here is published. The key begins with the status: what waits is read past nothing else.
CREATE TABLE outbox_unpublished (
    status   bigint NOT NULL DEFAULT 0, -- 0 waiting, 2 parked, 3 held, 4 discarded
    shard    bigint NOT NULL,
    seq      bigint NOT NULL,
    attempts bigint NOT NULL DEFAULT 0,
    reason   text,
    PRIMARY KEY (status, shard, seq)
);
INSERT INTO outbox_unpublished SELECT status, shard, seq, attempts, reason FROM outbox WHERE status <> 1;

DROP INDEX outbox_status;
ALTER TABLE outbox DROP COLUMN status, DROP COLUMN attempts, DROP COLUMN reason, DROP COLUMN published_at_ms;

-- Whoever inserts, by whatever statement: the rows wait, and whoever listens is woken at the commit. With the rights of the
-- tables' owner, and in their schema: who may insert into the outbox needs no more than that.
DROP TRIGGER outbox_notify ON outbox;
DROP FUNCTION outbox_notify();
CREATE FUNCTION outbox_inserted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO outbox_unpublished (shard, seq) SELECT shard, seq FROM fresh;
    PERFORM pg_notify('kafkalab_outbox_' || TG_RELID, '');
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_inserted AFTER INSERT ON outbox REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION outbox_inserted();

-- What is no more waits no more. Row by row: each is found by the key, however many go.
CREATE FUNCTION outbox_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM outbox_unpublished WHERE status IN (0, 2, 3, 4) AND shard = OLD.shard AND seq = OLD.seq;
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_deleted AFTER DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION outbox_deleted();

-- For people: the outbox, and what became of each row.
CREATE VIEW outbox_status AS
    SELECT o.*, coalesce(u.status, 1) AS status, coalesce(u.attempts, 0) AS attempts, u.reason
    FROM outbox o LEFT JOIN outbox_unpublished u ON u.status IN (0, 2, 3, 4) AND u.shard = o.shard AND u.seq = o.seq;
