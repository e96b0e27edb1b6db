-- The outbox on SQLite, version 1. One writer at a time: the order of seq is the order of the commits, and a batch is a range.
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
    route   TEXT    PRIMARY KEY,
    pos     INTEGER NOT NULL,                      -- every event up to this seq is in a batch, or was passed over by the filter
    ordered INTEGER NOT NULL DEFAULT 0,
    types   TEXT                                   -- a JSON array: only events of these types; NULL: all
) WITHOUT ROWID;

CREATE TABLE outbox_batch (
    no          INTEGER PRIMARY KEY AUTOINCREMENT,
    route       TEXT    NOT NULL,
    lo          INTEGER NOT NULL,                  -- its events: after lo, up to and with hi,
    hi          INTEGER NOT NULL,
    types       TEXT,                              -- of these types,
    since       INTEGER,                           -- and written in this time
    until       INTEGER,
    n           INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    oldest      INTEGER NOT NULL,
    replay      INTEGER NOT NULL DEFAULT 0,        -- its events may have arrived under other tokens
    owner       TEXT,
    attempt     INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER NOT NULL DEFAULT 0,        -- ms, UTC
    parked      INTEGER NOT NULL DEFAULT 0,
    error       TEXT,
    held        INTEGER NOT NULL DEFAULT 0,        -- its events are in outbox_held
    held_at     INTEGER,
    destination TEXT,                              -- of a held batch
    dead        INTEGER NOT NULL DEFAULT 0,        -- waits for a person
    code        INTEGER
);
CREATE INDEX outbox_batch_free ON outbox_batch (route, dead, parked, no);

CREATE TABLE outbox_part (
    batch       INTEGER NOT NULL REFERENCES outbox_batch (no) ON DELETE CASCADE,
    no          INTEGER NOT NULL,
    token       TEXT    NOT NULL UNIQUE,
    destination TEXT    NOT NULL,
    ordinals    TEXT    NOT NULL,                  -- positions in the batch: '0-99,105'
    statement   TEXT    NOT NULL,                  -- the sink's: how it is sent
    mark        TEXT    NOT NULL,                  -- the sink's: the destination before the first send
    done        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, no)
) WITHOUT ROWID;

-- The events of held batches: copies, so that the originals can be pruned.
CREATE TABLE outbox_held (
    batch       INTEGER NOT NULL REFERENCES outbox_batch (no) ON DELETE CASCADE,
    ordinal     INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    id          TEXT    NOT NULL,
    event_type  TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    environment TEXT    NOT NULL,
    destination TEXT    NOT NULL,
    key         TEXT,
    headers     TEXT,
    payload     TEXT    NOT NULL,
    bytes       INTEGER NOT NULL,
    PRIMARY KEY (batch, ordinal)
);

-- Whether emit refuses events. One row.
CREATE TABLE outbox_limit (
    only_one INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_one = 1),
    is_full  INTEGER NOT NULL DEFAULT 0
);
INSERT INTO outbox_limit DEFAULT VALUES;

-- What the types of events look like, for a relay that does not know them.
CREATE TABLE outbox_schema (
    event_type TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    schema     TEXT    NOT NULL,                   -- JSON
    PRIMARY KEY (event_type, version)
);
