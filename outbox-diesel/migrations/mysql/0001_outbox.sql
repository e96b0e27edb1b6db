-- The outbox on MySQL 8.0.13 or MariaDB 10.6, or later, version 1.
--
-- Events are only ever inserted and, once delivered, deleted. A batch says which numbers it holds as ranges, so sealing writes
-- one row per batch and none per event. AUTO_INCREMENT leaves gaps, and a gap may fill late, when a long transaction commits:
-- the numbers that are in no batch are looked for again, the young gaps at every plan, all others now and then.
--
-- Times are microseconds since 1970 in UTC, which no session's time zone changes. Names and ids compare as bytes.
-- Here every CREATE commits by itself: the version is written last, and what exists is left alone.
--
-- A service that only emits needs INSERT on outbox_event and SELECT on outbox_limit. A relay needs SELECT, INSERT, UPDATE and
-- DELETE on all tables.

CREATE TABLE IF NOT EXISTS outbox_migration (
    version    INT      NOT NULL PRIMARY KEY,
    applied_at DATETIME NOT NULL DEFAULT (UTC_TIMESTAMP())
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS outbox_event (
    seq         BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    created_at  BIGINT       NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))),
    id          CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL, -- UUIDv7, by the application
    event_type  VARCHAR(255) NOT NULL,
    version     INT          NOT NULL,
    occurred_at BIGINT       NOT NULL,
    environment VARCHAR(255) NOT NULL,
    destination VARCHAR(255) NOT NULL,
    `key`       VARCHAR(255),
    headers     MEDIUMTEXT,
    payload     MEDIUMTEXT   NOT NULL, -- a JSON object
    bytes       INT          NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS outbox_cursor (
    route     VARCHAR(255) NOT NULL PRIMARY KEY,
    pos       BIGINT       NOT NULL DEFAULT 0, -- every number up to it was looked at
    gaps      MEDIUMTEXT   NOT NULL,           -- numbers up to pos that were not there: looked for at every plan, until
    old_gaps  MEDIUMTEXT   NOT NULL,           -- they are so old that only a sweep looks for them
    turned_at BIGINT       NOT NULL DEFAULT 0, -- when gaps became old_gaps
    ordered   BOOLEAN      NOT NULL DEFAULT FALSE,
    types     MEDIUMTEXT                       -- a JSON array: only events of these types; NULL: all
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS outbox_batch (
    no          BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    route       VARCHAR(255) NOT NULL,
    ranges      MEDIUMTEXT   NOT NULL,               -- its events: '100-199,205'. Of a batch without rows: what a filter passed over
    n           INT          NOT NULL,
    bytes       BIGINT       NOT NULL,
    oldest      BIGINT       NOT NULL,
    newest      BIGINT       NOT NULL,
    replay      BOOLEAN      NOT NULL DEFAULT FALSE, -- its events may have arrived under other tokens
    settled     BOOLEAN      NOT NULL DEFAULT FALSE, -- kept until its events are pruned, to tell them from late ones
    owner       CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin,
    attempt     INT          NOT NULL DEFAULT 0,
    lease_until BIGINT       NOT NULL DEFAULT 0,
    parked      BOOLEAN      NOT NULL DEFAULT FALSE,
    error       TEXT,
    held        BOOLEAN      NOT NULL DEFAULT FALSE, -- its events are in outbox_held
    held_at     BIGINT,
    destination VARCHAR(255),                        -- of a held batch
    dead        BOOLEAN      NOT NULL DEFAULT FALSE, -- waits for a person
    code        INT,
    KEY free (route, settled, dead, parked, no)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS outbox_part (
    batch       BIGINT       NOT NULL,
    no          INT          NOT NULL,
    token       CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE, -- random: a number can come again after a restore
    destination VARCHAR(255) NOT NULL,
    ordinals    MEDIUMTEXT   NOT NULL, -- positions in the batch: '0-99,105'
    statement   MEDIUMTEXT   NOT NULL, -- the sink's: how it is sent
    mark        MEDIUMTEXT   NOT NULL, -- the sink's: the destination before the first send
    done        BOOLEAN      NOT NULL DEFAULT FALSE,
    PRIMARY KEY (batch, no)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The events of held batches: copies, so that the originals can be pruned.
CREATE TABLE IF NOT EXISTS outbox_held (
    batch       BIGINT       NOT NULL,
    ordinal     INT          NOT NULL,
    seq         BIGINT       NOT NULL,
    id          CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    event_type  VARCHAR(255) NOT NULL,
    version     INT          NOT NULL,
    occurred_at BIGINT       NOT NULL,
    environment VARCHAR(255) NOT NULL,
    destination VARCHAR(255) NOT NULL,
    `key`       VARCHAR(255),
    headers     MEDIUMTEXT,
    payload     MEDIUMTEXT   NOT NULL,
    bytes       INT          NOT NULL,
    PRIMARY KEY (batch, ordinal)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Whether emit refuses events. One row, and its lock: what takes events away and what promises them to a route happens one
-- at a time.
CREATE TABLE IF NOT EXISTS outbox_limit (
    only_one BOOLEAN NOT NULL PRIMARY KEY DEFAULT TRUE CHECK (only_one),
    is_full  BOOLEAN NOT NULL DEFAULT FALSE
) ENGINE = InnoDB;
INSERT IGNORE INTO outbox_limit (only_one) VALUES (TRUE);

-- What the types of events look like, for a relay that does not know them.
CREATE TABLE IF NOT EXISTS outbox_schema (
    event_type VARCHAR(255) NOT NULL,
    version    INT          NOT NULL,
    `schema`   MEDIUMTEXT   NOT NULL, -- JSON
    PRIMARY KEY (event_type, version)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT IGNORE INTO outbox_migration (version) VALUES (1);
