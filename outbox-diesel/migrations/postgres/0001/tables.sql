-- The outbox on PostgreSQL 13 or later, version 1.
--
-- Events live in an insert-only ring of four partitions. Batches are sealed by comparing snapshots ("visible now, not
-- visible then"), so that a long transaction delays its own events only, and no event row is ever updated or deleted:
-- a partition whose events are all settled is truncated. Run this inside one transaction, in the schema of your choice.
--
-- A service that only emits needs INSERT on outbox_event, SELECT on outbox_limit, and USAGE on outbox_event_seq. A relay needs
-- everything on the tables, and USAGE on the sequences; it truncates partitions, so it has to own them or have TRUNCATE on them.

CREATE TABLE outbox_migration (
    version    integer     PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO outbox_migration (version) VALUES (1);

-- CACHE 1, so that the order of seq respects row locks: raising it breaks ordered routes.
CREATE SEQUENCE outbox_event_seq;

CREATE TABLE outbox_event (
    xid         xid8        NOT NULL DEFAULT pg_current_xact_id(),
    seq         bigint      NOT NULL DEFAULT nextval('outbox_event_seq'),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    id          uuid        NOT NULL, -- UUIDv7, by the application
    event_type  text        NOT NULL,
    version     integer     NOT NULL,
    occurred_at timestamptz NOT NULL,
    environment text        NOT NULL,
    destination text        NOT NULL,
    key         text,
    headers     text,
    payload     text        NOT NULL, -- a JSON object
    bytes       integer     NOT NULL
) PARTITION BY LIST (((seq >> 20) & 3));
-- Never vacuumed on purpose: TRUNCATE leaves nothing behind.
CREATE TABLE outbox_event_0 PARTITION OF outbox_event FOR VALUES IN (0) WITH (autovacuum_enabled = false);
CREATE TABLE outbox_event_1 PARTITION OF outbox_event FOR VALUES IN (1) WITH (autovacuum_enabled = false);
CREATE TABLE outbox_event_2 PARTITION OF outbox_event FOR VALUES IN (2) WITH (autovacuum_enabled = false);
CREATE TABLE outbox_event_3 PARTITION OF outbox_event FOR VALUES IN (3) WITH (autovacuum_enabled = false);
CREATE INDEX outbox_event_xid_seq ON outbox_event (xid, seq);

-- The small tables are vacuumed as soon as there is something to gain: a claim walks their indexes.
CREATE TABLE outbox_cursor (
    route        text        PRIMARY KEY,
    sysid        bigint      NOT NULL, -- the cluster whose transaction ids the snapshots are made of
    base         pg_snapshot NOT NULL, -- everything visible in base is in a batch of the route, or was passed over by its filter
    tick         pg_snapshot,          -- the window (base, tick] that is being cut; NULL: take a new tick
    tick_ordered boolean     NOT NULL DEFAULT false, -- whether the window is cut in the order of seq
    pos_xid      xid8        NOT NULL DEFAULT '0',   -- how far the window is cut
    pos_seq      bigint      NOT NULL DEFAULT 0,
    ordered      boolean     NOT NULL DEFAULT false,
    types        text[],               -- only events of these types; NULL: all
    tick_seq     bigint      NOT NULL DEFAULT 0, -- where the sequence stood when the tick was taken
    anchor_seq   bigint      NOT NULL DEFAULT 0, -- where it stood at base, and
    sealed       bigint      NOT NULL DEFAULT 0  -- how many events were sealed since: what waits, without counting
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

CREATE TABLE outbox_batch (
    no          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route       text        NOT NULL,
    base        pg_snapshot,          -- its events are visible in tick and not in base,
    tick        pg_snapshot,
    lo_xid      xid8,                 -- and in these bounds. By (xid, seq): after lo, up to and with hi.
    lo_seq      bigint,               -- In the order of seq: from lo_xid to hi_xid, after lo_seq, up to and with hi_seq.
    hi_xid      xid8,
    hi_seq      bigint,
    ordered     boolean     NOT NULL DEFAULT false,
    types       text[],               -- and of these types,
    since       timestamptz,          -- and written in this time
    until       timestamptz,
    n           integer     NOT NULL,
    bytes       bigint      NOT NULL,
    oldest      timestamptz NOT NULL,
    replay      boolean     NOT NULL DEFAULT false, -- its events may have arrived under other tokens
    owner       uuid,
    attempt     integer     NOT NULL DEFAULT 0,
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    parked      boolean     NOT NULL DEFAULT false,
    error       text,
    held        boolean     NOT NULL DEFAULT false, -- its events are in outbox_held
    held_at     timestamptz,
    destination text,                 -- of a held batch
    dead        boolean     NOT NULL DEFAULT false, -- waits for a person
    code        integer,
    CHECK (held = (base IS NULL) AND (base IS NULL) = (hi_seq IS NULL) AND (held OR NOT dead))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- A claim is a range of it, so that p_floor bounds what is walked.
CREATE INDEX outbox_batch_free ON outbox_batch (route, no) WHERE NOT parked AND NOT dead;
CREATE INDEX outbox_batch_parked ON outbox_batch (route, destination, no) WHERE parked AND NOT dead;

CREATE TABLE outbox_part (
    batch       bigint  NOT NULL REFERENCES outbox_batch (no) ON DELETE CASCADE,
    no          integer NOT NULL,
    token       uuid    NOT NULL DEFAULT gen_random_uuid() UNIQUE, -- random: a number can come again after a restore
    destination text    NOT NULL,
    ordinals    text    NOT NULL, -- positions in the batch: '0-99,105'
    statement   text    NOT NULL, -- the sink's: how it is sent
    mark        text    NOT NULL, -- the sink's: the destination before the first send
    done        boolean NOT NULL DEFAULT false,
    PRIMARY KEY (batch, no)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- The events of held batches: copies, so that their partition can be truncated.
CREATE TABLE outbox_held (
    batch       bigint      NOT NULL REFERENCES outbox_batch (no) ON DELETE CASCADE,
    ordinal     integer     NOT NULL,
    seq         bigint      NOT NULL,
    id          uuid        NOT NULL,
    event_type  text        NOT NULL,
    version     integer     NOT NULL,
    occurred_at timestamptz NOT NULL,
    environment text        NOT NULL,
    destination text        NOT NULL,
    key         text,
    headers     text,
    payload     text        NOT NULL,
    bytes       integer     NOT NULL,
    PRIMARY KEY (batch, ordinal)
);

-- Whether emit refuses events. One row.
CREATE TABLE outbox_limit (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    is_full  boolean NOT NULL DEFAULT false
);
INSERT INTO outbox_limit DEFAULT VALUES;

-- What the types of events look like, for a relay that does not know them.
CREATE TABLE outbox_schema (
    event_type text    NOT NULL,
    version    integer NOT NULL,
    schema     text    NOT NULL, -- JSON
    PRIMARY KEY (event_type, version)
);

-- Makes the current transaction's commit durable, whatever the session's default is.
CREATE FUNCTION outbox_durable() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END $$;

-- The number that the last event got, whether it was committed or not. 0 before the first.
CREATE FUNCTION outbox_last_seq() RETURNS bigint LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM outbox_event_seq
$$;

-- Registers a route, or changes what it asks for. A new one starts at the oldest event that is kept, or now.
CREATE FUNCTION outbox_open(p_route text, p_now boolean, p_types text[], p_ordered boolean)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM 1 FROM outbox_cursor WHERE route = p_route AND types IS NOT DISTINCT FROM p_types AND ordered = p_ordered;
    IF FOUND THEN RETURN; END IF;
    PERFORM outbox_durable();
    INSERT INTO outbox_cursor (route, sysid, base, anchor_seq, types, ordered)
    SELECT p_route, system_identifier,
           CASE WHEN p_now THEN pg_current_snapshot() ELSE '1:1:'::pg_snapshot END,
           CASE WHEN p_now THEN outbox_last_seq() ELSE 0 END, p_types, p_ordered
      FROM pg_control_system()
    ON CONFLICT (route) DO UPDATE SET types = excluded.types, ordered = excluded.ordered;
END $$;

-- Forgets a route with all its batches. Takes the planner's lock, so that none is sealed meanwhile.
CREATE FUNCTION outbox_remove_route(p_route text) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM outbox_durable();
    PERFORM pg_advisory_xact_lock('outbox_cursor'::regclass::oid::integer, hashtext(p_route));
    DELETE FROM outbox_batch WHERE route = p_route;
    DELETE FROM outbox_cursor WHERE route = p_route;
    RETURN FOUND;
END $$;
