-- The outbox on SQLite, version 1. One writer at a time: the order of seq is the order of the commits.
-- Run this inside one transaction, on a database in WAL mode.
CREATE TABLE outbox_migration (
    version    INTEGER PRIMARY KEY,
    applied_at TEXT    NOT NULL DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO outbox_migration (version) VALUES (1);

CREATE TABLE outbox_event (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT, -- AUTOINCREMENT: a pruned number never comes again
    created_at  INTEGER NOT NULL DEFAULT (CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)), -- ms, UTC
    id          TEXT    NOT NULL,                  -- UUIDv7
    event_type  TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,                  -- microseconds, UTC
    environment TEXT    NOT NULL,
    destination TEXT    NOT NULL,
    key         TEXT,
    headers     TEXT,
    payload     TEXT    NOT NULL,                  -- a JSON object
    bytes       INTEGER NOT NULL
);

CREATE TABLE outbox_cursor (
    route TEXT    PRIMARY KEY,
    pos   INTEGER NOT NULL                         -- every event up to this seq is in a batch of the route
) WITHOUT ROWID;

CREATE TABLE outbox_batch (
    no          INTEGER PRIMARY KEY AUTOINCREMENT,
    route       TEXT    NOT NULL,
    lo          INTEGER NOT NULL,                  -- exclusive
    hi          INTEGER NOT NULL,                  -- inclusive
    n           INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    owner       TEXT,
    attempt     INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER NOT NULL DEFAULT 0,        -- ms, UTC
    parked      INTEGER NOT NULL DEFAULT 0,
    error       TEXT
);
CREATE INDEX outbox_batch_free ON outbox_batch (route, parked, no);

CREATE TABLE outbox_part (
    batch       INTEGER NOT NULL REFERENCES outbox_batch (no),
    no          INTEGER NOT NULL,
    token       TEXT    NOT NULL UNIQUE,
    destination TEXT    NOT NULL,
    ordinals    TEXT    NOT NULL,                  -- positions in the batch: '0-99,105'
    statement   TEXT    NOT NULL,                  -- the sink's: how it is sent
    mark        TEXT    NOT NULL,                  -- the sink's: the destination before the first send
    done        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, no)
) WITHOUT ROWID;
