-- The outbox on PostgreSQL 13 or later, version 1.
--
-- Events live in an insert-only ring of four partitions. Batches are sealed by comparing snapshots ("visible now, not
-- visible then"), so that a long transaction delays its own events only, and no event row is ever updated or deleted:
-- a partition whose events are all settled is truncated. Run this inside one transaction, in the schema of your choice.

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

CREATE TABLE outbox_cursor (
    route   text        PRIMARY KEY,
    sysid   bigint      NOT NULL, -- the cluster whose transaction ids the snapshots are made of
    base    pg_snapshot NOT NULL, -- everything visible in base is in a batch of the route
    tick    pg_snapshot,          -- the window (base, tick] that is being cut; NULL: take a new tick
    pos_xid xid8        NOT NULL DEFAULT '0', -- how far the window is cut
    pos_seq bigint      NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

CREATE TABLE outbox_batch (
    no          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route       text        NOT NULL,
    base        pg_snapshot NOT NULL,
    tick        pg_snapshot NOT NULL,
    lo_xid      xid8        NOT NULL, -- exclusive
    lo_seq      bigint      NOT NULL,
    hi_xid      xid8        NOT NULL, -- inclusive
    hi_seq      bigint      NOT NULL,
    n           integer     NOT NULL,
    bytes       bigint      NOT NULL,
    oldest      timestamptz NOT NULL,
    owner       uuid,
    attempt     integer     NOT NULL DEFAULT 0,
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    parked      boolean     NOT NULL DEFAULT false,
    error       text
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Each half of outbox_claim is a range of it, so that p_floor bounds what is walked.
CREATE INDEX outbox_batch_free ON outbox_batch (route, parked, no);

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

-- Makes the current transaction's commit durable, whatever the session's default is.
CREATE FUNCTION outbox_durable() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END $$;

-- Registers a route. A new one starts at the oldest event that is kept.
CREATE FUNCTION outbox_open(p_route text) RETURNS void LANGUAGE sql SET search_path FROM CURRENT AS $$
    INSERT INTO outbox_cursor (route, sysid, base)
    VALUES (p_route, (SELECT system_identifier FROM pg_control_system()), '1:1:')
    ON CONFLICT (route) DO NOTHING
$$;

-- Seals what is waiting into batches. state: 0 done, -1 another session is planning. An idle call writes nothing.
CREATE FUNCTION outbox_plan(
    p_route text, p_rows integer, p_linger interval, p_rows_max integer, p_bytes_max bigint, p_batches integer,
    OUT state integer, OUT sealed_rows bigint, OUT sealed_batches integer
) LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    c outbox_cursor; fresh boolean := false; waiting bigint; since timestamptz;
    hx xid8; hs bigint; lx xid8; ls bigint; lim bigint := p_rows_max::bigint * p_batches; probe bigint;
BEGIN
    state := 0; sealed_rows := 0; sealed_batches := 0;
    -- A snapshot older than the lock would miss what the previous planner sealed.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'outbox_plan needs READ COMMITTED, this transaction is %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
    -- An advisory lock, because a row lock would cost an idle poll a transaction id and a WAL flush.
    IF NOT pg_try_advisory_xact_lock('outbox_cursor'::regclass::oid::integer, hashtext(p_route)) THEN
        state := -1; RETURN;
    END IF;
    -- A statement of its own: its snapshot is younger than the lock.
    SELECT * INTO c FROM outbox_cursor WHERE route = p_route;
    IF NOT FOUND THEN
        RAISE 'the outbox has no route %', quote_literal(p_route) USING ERRCODE = 'OB001';
    END IF;
    IF c.sysid <> (SELECT system_identifier FROM pg_control_system()) THEN
        RAISE 'the outbox was restored into another database cluster: its transaction ids mean nothing here'
            USING ERRCODE = 'OB002';
    END IF;
    IF c.tick IS NULL THEN
        fresh := true;
        c.tick := pg_current_snapshot();
        IF pg_snapshot_xmax(c.tick) < pg_snapshot_xmax(c.base) THEN
            RAISE 'the transaction ids of this database went backwards: it was restored' USING ERRCODE = 'OB002';
        END IF;
        c.pos_xid := '0'; c.pos_seq := 0;
    END IF;
    -- Where the second arm starts: one row comparison, because the index may start at the worse of two bounds.
    IF c.pos_xid < pg_snapshot_xmax(c.base) THEN
        lx := pg_snapshot_xmax(c.base); ls := -1;
    ELSE
        lx := c.pos_xid; ls := c.pos_seq;
    END IF;
    IF fresh AND p_rows > 1 AND p_linger > interval '0' THEN
        probe := p_rows;
        SELECT count(*), min(u.created_at) INTO waiting, since FROM (
            (SELECT e.created_at
               FROM (SELECT x FROM pg_snapshot_xip(c.base) x WHERE pg_visible_in_snapshot(x, c.tick)) l
              CROSS JOIN LATERAL (SELECT created_at FROM outbox_event WHERE xid = l.x ORDER BY seq LIMIT probe) e
              LIMIT probe)
            UNION ALL
            (SELECT e.created_at FROM outbox_event e
              WHERE e.xid < pg_snapshot_xmax(c.tick) AND (e.xid, e.seq) > (lx, ls)
                AND pg_visible_in_snapshot(e.xid, c.tick)
              ORDER BY e.xid, e.seq LIMIT probe)
        ) u;
        -- An event from the future is one from before the clock was set back: no reason to wait.
        IF waiting = 0
           OR (waiting < p_rows AND since BETWEEN clock_timestamp() - p_linger AND clock_timestamp()) THEN
            RETURN;
        END IF;
    END IF;
    PERFORM outbox_durable(); -- a plan is durable before anything of it is sent
    WITH cut AS (
        SELECT xid, seq, rn, cum,
               lag(xid, 1, c.pos_xid) OVER w AS pxid, lag(seq, 1, c.pos_seq) OVER w AS pseq,
               lag(rn, 1, 0::bigint) OVER w AS prn, lag(cum, 1, 0::numeric) OVER w AS pcum,
               lag(next_at, 1, first_at) OVER w AS oldest
        FROM (
            SELECT xid, seq, rn, cum, lead(cum) OVER n AS ncum,
                   lead(created_at) OVER n AS next_at, first_value(created_at) OVER n AS first_at FROM (
                SELECT xid, seq, created_at, row_number() OVER o AS rn, sum(bytes::numeric) OVER o AS cum FROM (
                    SELECT * FROM (
                        (SELECT e.xid, e.seq, e.bytes, e.created_at -- in flight at base, finished by tick
                           FROM (SELECT x FROM pg_snapshot_xip(c.base) x
                                  WHERE x >= c.pos_xid AND pg_visible_in_snapshot(x, c.tick) ORDER BY x) l
                          CROSS JOIN LATERAL (
                                SELECT xid, seq, bytes, created_at FROM outbox_event
                                 WHERE xid = l.x AND seq > CASE WHEN l.x = c.pos_xid THEN c.pos_seq ELSE -1 END
                                 ORDER BY seq LIMIT lim) e
                          ORDER BY l.x, e.seq LIMIT lim)
                        UNION ALL
                        (SELECT e.xid, e.seq, e.bytes, e.created_at FROM outbox_event e -- started after base
                          WHERE e.xid < pg_snapshot_xmax(c.tick) AND (e.xid, e.seq) > (lx, ls)
                            AND pg_visible_in_snapshot(e.xid, c.tick)
                          ORDER BY e.xid, e.seq LIMIT lim)
                    ) u ORDER BY xid, seq LIMIT lim
                ) v WINDOW o AS (ORDER BY xid, seq)
            ) s WINDOW n AS (ORDER BY rn)
        ) r
        -- A batch ends at rows_max rows, where its bytes pass a multiple of bytes_max, and at the end of the window.
        WHERE rn % p_rows_max = 0 OR ncum IS NULL OR div(cum, p_bytes_max) <> div(ncum, p_bytes_max)
        WINDOW w AS (ORDER BY rn)
    ), ins AS (
        INSERT INTO outbox_batch (route, base, tick, lo_xid, lo_seq, hi_xid, hi_seq, n, bytes, oldest)
        SELECT p_route, c.base, c.tick, pxid, pseq, xid, seq, rn - prn, cum - pcum, oldest FROM cut ORDER BY rn
        RETURNING no, hi_xid, hi_seq, n
    )
    SELECT sum(n) OVER (), count(*) OVER (), hi_xid, hi_seq INTO sealed_rows, sealed_batches, hx, hs
      FROM ins ORDER BY no DESC LIMIT 1;
    IF sealed_rows IS NULL THEN
        sealed_rows := 0; sealed_batches := 0;
        IF NOT fresh THEN -- the window was cut to its end by the call before
            UPDATE outbox_cursor SET base = c.tick, tick = NULL WHERE route = p_route;
        END IF;
        RETURN;
    END IF;
    UPDATE outbox_cursor
       SET base = CASE WHEN sealed_rows < lim THEN c.tick ELSE c.base END,
           tick = CASE WHEN sealed_rows < lim THEN NULL ELSE c.tick END,
           pos_xid = hx, pos_seq = hs
     WHERE route = p_route;
END $$;

-- Takes the oldest batch that nobody holds, a parked one only when there is no other. p_floor: any number up to the route's smallest open batch's; it skips index entries
-- of settled batches that VACUUM cannot remove while an old snapshot is open. Not durable: a lost claim is made again.
CREATE FUNCTION outbox_claim(p_route text, p_owner uuid, p_lease interval, p_floor bigint)
RETURNS SETOF outbox_batch LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    RETURN QUERY
    UPDATE outbox_batch SET owner = p_owner, attempt = attempt + 1, lease_until = clock_timestamp() + p_lease
     WHERE no = coalesce(
        (SELECT b.no FROM outbox_batch b
          WHERE b.route = p_route AND NOT b.parked AND b.no >= p_floor AND b.lease_until < clock_timestamp()
          ORDER BY b.no LIMIT 1 FOR UPDATE SKIP LOCKED),
        (SELECT b.no FROM outbox_batch b
          WHERE b.route = p_route AND b.parked AND b.no >= p_floor AND b.lease_until < clock_timestamp()
          ORDER BY b.no LIMIT 1 FOR UPDATE SKIP LOCKED))
    RETURNING *;
END $$;

-- Freezes parts, each under a random token, and marks the part that they replace as done. No row: the lease is lost.
CREATE FUNCTION outbox_freeze(
    p_no bigint, p_owner uuid, p_attempt integer, p_replaces integer,
    p_destinations text[], p_ordinals text[], p_statements text[], p_marks text[]
) RETURNS TABLE (part_no integer, part_token uuid) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    first integer;
BEGIN
    PERFORM 1 FROM outbox_batch WHERE no = p_no AND owner = p_owner AND attempt = p_attempt FOR UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    PERFORM outbox_durable();
    UPDATE outbox_part SET done = true WHERE batch = p_no AND no = p_replaces;
    SELECT coalesce(max(no) + 1, 0) INTO first FROM outbox_part WHERE batch = p_no;
    RETURN QUERY
    INSERT INTO outbox_part (batch, no, destination, ordinals, statement, mark)
    SELECT p_no, first + i::integer - 1, d, o, s, m
      FROM unnest(p_destinations, p_ordinals, p_statements, p_marks) WITH ORDINALITY AS u (d, o, s, m, i) ORDER BY i
    RETURNING no, token;
END $$;

CREATE FUNCTION outbox_settle_part(p_no bigint, p_owner uuid, p_attempt integer, p_part integer)
RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM 1 FROM outbox_batch WHERE no = p_no AND owner = p_owner AND attempt = p_attempt FOR UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE outbox_part SET done = true WHERE batch = p_no AND no = p_part;
    RETURN true;
END $$;

-- Not durable: losing it delivers the same parts again under the same tokens.
CREATE FUNCTION outbox_settle(p_no bigint, p_owner uuid, p_attempt integer)
RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    DELETE FROM outbox_batch WHERE no = p_no AND owner = p_owner AND attempt = p_attempt; -- its parts go with it
    RETURN FOUND;
END $$;

CREATE FUNCTION outbox_renew(p_no bigint, p_owner uuid, p_attempt integer, p_lease interval)
RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE outbox_batch SET lease_until = clock_timestamp() + p_lease
     WHERE no = p_no AND owner = p_owner AND attempt = p_attempt;
    RETURN FOUND;
END $$;

CREATE FUNCTION outbox_release(
    p_no bigint, p_owner uuid, p_attempt integer, p_delay interval, p_parked boolean, p_error text
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE outbox_batch
       SET owner = NULL, lease_until = clock_timestamp() + p_delay, parked = p_parked, error = coalesce(p_error, error)
     WHERE no = p_no AND owner = p_owner AND attempt = p_attempt;
    RETURN FOUND;
END $$;

-- Truncates every partition whose events all routes have settled. Returns how many.
CREATE FUNCTION outbox_prune() RETURNS integer LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    p regclass; done xid8; pending xid8[]; hit integer; pruned integer := 0;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'outbox_prune needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    FOR p IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'outbox_event'::regclass ORDER BY inhrelid LOOP
        CONTINUE WHEN pg_relation_size(p) = 0;
        -- ONE statement, so one snapshot, over every open batch and every route: a planner that commits between two
        -- reads would let events go that nobody has delivered.
        SELECT min(x::text::numeric)::text::xid8, coalesce(array_agg(xip) FILTER (WHERE xip IS NOT NULL), '{}')
          INTO done, pending
          FROM (SELECT base FROM outbox_batch UNION ALL SELECT base FROM outbox_cursor) s
         CROSS JOIN LATERAL (SELECT pg_snapshot_xmax(s.base) AS x) m
          LEFT JOIN LATERAL pg_snapshot_xip(s.base) AS xip ON true;
        CONTINUE WHEN done IS NULL; -- no route yet: nothing has been delivered to anybody
        EXECUTE format('SELECT 1 FROM %s WHERE xid >= $1 LIMIT 1', p) USING done; -- cheap, before the lock
        GET DIAGNOSTICS hit = ROW_COUNT;
        CONTINUE WHEN hit > 0;
        BEGIN
            EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE NOWAIT', p);
        EXCEPTION WHEN lock_not_available THEN
            CONTINUE;
        END;
        EXECUTE format(
            'SELECT 1 WHERE EXISTS (SELECT FROM %1$s WHERE xid >= $1) OR EXISTS (SELECT FROM %1$s WHERE xid = ANY ($2))', p)
            USING done, pending;
        GET DIAGNOSTICS hit = ROW_COUNT;
        CONTINUE WHEN hit > 0;
        EXECUTE format('TRUNCATE ONLY %s', p);
        pruned := pruned + 1;
    END LOOP;
    RETURN pruned;
END $$;

-- One row per route: what waits and since when.
CREATE FUNCTION outbox_status() RETURNS TABLE (
    route text, unsealed bigint, sealed bigint, open_batches bigint, parked bigint, oldest_ms bigint
) LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT c.route, u.n, coalesce(b.n, 0)::bigint, coalesce(b.batches, 0), coalesce(b.parked, 0),
           (extract(epoch FROM clock_timestamp() - least(u.oldest, b.oldest)) * 1000)::bigint
      FROM outbox_cursor c
     CROSS JOIN LATERAL (
        SELECT count(*) AS n, min(e.created_at) AS oldest FROM outbox_event e
         WHERE e.xid >= pg_snapshot_xmin(c.base) AND NOT pg_visible_in_snapshot(e.xid, c.base)
           AND NOT (c.tick IS NOT NULL AND pg_visible_in_snapshot(e.xid, c.tick)
                    AND (e.xid, e.seq) <= (c.pos_xid, c.pos_seq))) u
      LEFT JOIN LATERAL (
        SELECT sum(n) AS n, count(*) AS batches, count(*) FILTER (WHERE parked) AS parked, min(oldest) AS oldest
          FROM outbox_batch WHERE outbox_batch.route = c.route) b ON true
     ORDER BY c.route
$$;
