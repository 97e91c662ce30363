-- Read models.
-- The same tables as in migrations/postgres/V4__cqrs.sql.

-- A view is one making of some models: bits of `models` are those of patterns/projection.rs. Each model is served by the
-- one view that is live and has it; views that are not are being built beside.
CREATE TABLE views (
    generation INTEGER PRIMARY KEY AUTOINCREMENT,
    models     INTEGER NOT NULL,
    is_live    INTEGER NOT NULL
) STRICT;
INSERT INTO views (models, is_live) VALUES (31, 1);

-- One row. Whoever writes into views reads it in its transaction; whoever changes which views there are, raises it.
CREATE TABLE view_epoch (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    epoch    INTEGER NOT NULL
) STRICT;
INSERT INTO view_epoch (only_row, epoch) VALUES (1, 1);

-- What is known of each order, guarded by its revision.
CREATE TABLE view_orders (
    generation INTEGER NOT NULL,
    order_id   TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    status     TEXT    NOT NULL,
    user_id    TEXT    NOT NULL, -- empty until it is known
    known      BLOB    NOT NULL, -- JSON
    PRIMARY KEY (generation, order_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX view_orders_user ON view_orders (generation, user_id, order_id);

CREATE TABLE view_users (
    generation INTEGER NOT NULL,
    user_id    TEXT    NOT NULL,
    orders     INTEGER NOT NULL,
    PRIMARY KEY (generation, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX view_users_orders ON view_users (generation, orders, user_id);

CREATE TABLE view_products (
    generation INTEGER NOT NULL,
    product_id TEXT    NOT NULL,
    orders     INTEGER NOT NULL,
    PRIMARY KEY (generation, product_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX view_products_orders ON view_products (generation, orders, product_id);

CREATE TABLE view_statuses (
    generation INTEGER NOT NULL,
    status     TEXT    NOT NULL,
    orders     INTEGER NOT NULL,
    incomplete INTEGER NOT NULL, -- of these: orders of which an event is missing
    PRIMARY KEY (generation, status)
) STRICT, WITHOUT ROWID;

-- In the currency's smallest unit.
CREATE TABLE view_revenue (
    generation INTEGER NOT NULL,
    currency   TEXT    NOT NULL,
    payments   INTEGER NOT NULL,
    paid       INTEGER NOT NULL,
    refunded   INTEGER NOT NULL,
    PRIMARY KEY (generation, currency)
) STRICT, WITHOUT ROWID;

-- The last 100 by time and id; a few more for a moment.
CREATE TABLE view_recent (
    generation INTEGER NOT NULL,
    time_ms    INTEGER NOT NULL,
    event_id   TEXT    NOT NULL,
    order_id   TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    product_id TEXT    NOT NULL,
    currency   TEXT    NOT NULL,
    amount     INTEGER NOT NULL, -- in the currency's smallest unit
    PRIMARY KEY (generation, time_ms, event_id)
) STRICT, WITHOUT ROWID;

-- How far a view has come. It tells of lag and guards nothing: that is the events' ids' part.
CREATE TABLE view_checkpoints (
    generation  INTEGER NOT NULL,
    topic       TEXT    NOT NULL, -- `(log)`: the event log
    part        INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    time_ms     INTEGER NOT NULL, -- of the newest event
    missing     INTEGER NOT NULL, -- records that retention took before they were read
    PRIMARY KEY (generation, topic, part)
) STRICT, WITHOUT ROWID;

-- Commands that were refused, by their ids: the same one again has the same answer. One that was taken has its events.
CREATE TABLE refused_commands (
    command_id TEXT    PRIMARY KEY,
    order_id   TEXT    NOT NULL,
    code       TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    refused_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
