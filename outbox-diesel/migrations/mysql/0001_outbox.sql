-- The outbox on MySQL 8.0.13 and MariaDB 10.6 or later, version 1. Statements commit one by one: run it when nobody writes yet.
-- Times are microseconds since 1970, UTC: no session's time zone changes them.
-- Names and ids compare as bytes.
CREATE TABLE outbox_event (
    seq         BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY, -- has gaps, and some of them fill late
    created_at  BIGINT       NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))),
    id          CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL, -- UUIDv7
    event_type  VARCHAR(255) NOT NULL,
    version     INT          NOT NULL,
    occurred_at BIGINT       NOT NULL,
    environment VARCHAR(255) NOT NULL,
    destination VARCHAR(255) NOT NULL,
    `key`       VARCHAR(255),
    headers     MEDIUMTEXT,
    payload     MEDIUMTEXT   NOT NULL,                -- a JSON object
    bytes       INT          NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
