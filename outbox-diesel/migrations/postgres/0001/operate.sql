
-- One row per route: what waits and since when. Counts, so it takes its time on a large backlog.
CREATE FUNCTION outbox_status() RETURNS TABLE (
    route text, unsealed bigint, sealed bigint, open_batches bigint, parked bigint, dead bigint, oldest_ms bigint,
    ordered boolean, types text[]
) LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT c.route, u.n, coalesce(b.n, 0)::bigint, coalesce(b.batches, 0), coalesce(b.parked, 0), coalesce(b.dead, 0)::bigint,
           (extract(epoch FROM clock_timestamp() - least(u.oldest, b.oldest)) * 1000)::bigint, c.ordered, c.types
      FROM outbox_cursor c
     CROSS JOIN LATERAL (
        SELECT count(*) AS n, min(e.created_at) AS oldest FROM outbox_event e
         WHERE e.xid >= pg_snapshot_xmin(c.base) AND NOT pg_visible_in_snapshot(e.xid, c.base)
           AND (c.types IS NULL OR e.event_type = ANY (c.types))
           AND NOT (c.tick IS NOT NULL AND pg_visible_in_snapshot(e.xid, c.tick)
                    AND CASE WHEN c.tick_ordered THEN e.seq <= c.pos_seq ELSE (e.xid, e.seq) <= (c.pos_xid, c.pos_seq) END)) u
      LEFT JOIN LATERAL (
        SELECT sum(n) FILTER (WHERE NOT dead) AS n, count(*) FILTER (WHERE NOT dead) AS batches,
               count(*) FILTER (WHERE parked AND NOT dead) AS parked, sum(n) FILTER (WHERE dead) AS dead,
               min(oldest) FILTER (WHERE NOT dead) AS oldest
          FROM outbox_batch WHERE outbox_batch.route = c.route) b ON true
     ORDER BY c.route
$$;

-- What waits for the slowest route, by what is known anyway: looks at no event but the oldest.
CREATE FUNCTION outbox_load() RETURNS TABLE (waiting bigint, stored_bytes bigint, oldest_ms bigint, held_rows bigint)
LANGUAGE sql SET search_path FROM CURRENT SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
    WITH per_route AS (
        SELECT greatest(outbox_last_seq() - c.anchor_seq - c.sealed, 0) + coalesce(b.n, 0) AS n,
               least(b.oldest, late.created_at, young.created_at) AS oldest
          FROM outbox_cursor c
          LEFT JOIN LATERAL (
            SELECT sum(n) AS n, min(oldest) AS oldest FROM outbox_batch WHERE outbox_batch.route = c.route AND NOT dead) b ON true
          LEFT JOIN LATERAL (
            SELECT e.created_at FROM pg_snapshot_xip(c.base) x
             CROSS JOIN LATERAL (SELECT created_at FROM outbox_event WHERE xid = x ORDER BY seq LIMIT 1) e
             ORDER BY e.created_at LIMIT 1) late ON true
          LEFT JOIN LATERAL (
            SELECT e.created_at FROM outbox_event e WHERE e.xid >= pg_snapshot_xmax(c.base)
             ORDER BY e.xid, e.seq LIMIT 1) young ON true
    )
    SELECT coalesce(max(n), 0)::bigint,
           (SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint FROM pg_inherits
             WHERE inhparent = 'outbox_event'::regclass),
           coalesce((extract(epoch FROM clock_timestamp() - min(oldest)) * 1000)::bigint, 0),
           (SELECT coalesce(sum(n), 0)::bigint FROM outbox_batch WHERE held)
      FROM per_route
$$;

-- Recovers an outbox that was restored into another cluster, whose transaction ids mean something else.
--
-- p_upgraded: the transaction ids are those of before (pg_upgrade keeps them): only the identity is noted. Otherwise every event
-- in the table goes into held batches of each route, and the sink looks which of them have arrived: nothing is lost, whoever
-- wrote in between and whatever was delivered after the dump was made. Open batches keep their parts and tokens.
-- Returns how many events are offered again. Relays and producers should be stopped; both are locked out meanwhile.
CREATE FUNCTION outbox_rebase(p_upgraded boolean) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT SET jit = off AS $$
DECLARE
    here bigint := (SELECT system_identifier FROM pg_control_system());
    b outbox_batch; c outbox_cursor; p regclass; rows integer; offered bigint := 0; new_no bigint; last_open bigint;
    last_xid xid8; last_seq bigint; rows_max integer := 10000; bytes_max bigint := 16777216;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'outbox_rebase needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM outbox_durable();
    LOCK TABLE outbox_event, outbox_batch, outbox_cursor IN ACCESS EXCLUSIVE MODE;
    IF p_upgraded THEN
        IF EXISTS (SELECT FROM outbox_cursor WHERE pg_snapshot_xmax(base) > pg_snapshot_xmax(pg_current_snapshot())) THEN
            RAISE 'the transaction ids of this cluster are behind the outbox''s: it was not upgraded but restored'
                USING ERRCODE = 'OB002';
        END IF;
        UPDATE outbox_cursor SET sysid = here;
        RETURN 0;
    END IF;
    -- What was parked may have been delivered after the dump, too. (What is dead is looked for whenever it is retried.)
    UPDATE outbox_batch SET replay = true WHERE held;
    -- The events of open batches, as their bounds say: the stored ids still tell them apart.
    FOR b IN SELECT * FROM outbox_batch WHERE NOT held ORDER BY no LOOP
        INSERT INTO outbox_held
        SELECT b.no, row_number() OVER (ORDER BY CASE WHEN b.ordered THEN NULL ELSE e.xid END, e.seq) - 1,
               e.seq, e.id, e.event_type, e.version, e.occurred_at, e.environment, e.destination, e.key, e.headers, e.payload, e.bytes
          FROM outbox_event e
         WHERE pg_visible_in_snapshot(e.xid, b.tick) AND NOT pg_visible_in_snapshot(e.xid, b.base)
           AND (b.types IS NULL OR e.event_type = ANY (b.types))
           AND (b.since IS NULL OR (e.created_at >= b.since AND e.created_at < b.until))
           AND CASE WHEN b.ordered THEN e.seq > b.lo_seq AND e.seq <= b.hi_seq
                    ELSE (e.xid, e.seq) > (b.lo_xid, b.lo_seq) AND (e.xid, e.seq) <= (b.hi_xid, b.hi_seq) END;
        GET DIAGNOSTICS rows = ROW_COUNT;
        IF rows <> b.n THEN
            -- Producers of the new cluster have written under ids that fall into its window. Their events are offered below.
            DELETE FROM outbox_batch WHERE no = b.no;
        ELSE
            UPDATE outbox_batch
               SET held = true, held_at = clock_timestamp(), base = NULL, tick = NULL, lo_xid = NULL, lo_seq = NULL,
                   hi_xid = NULL, hi_seq = NULL, types = NULL, since = NULL, until = NULL,
                   owner = NULL, lease_until = '-infinity', replay = true
             WHERE no = b.no;
        END IF;
    END LOOP;
    SELECT max(no) INTO last_open FROM outbox_batch;
    FOR c IN SELECT * FROM outbox_cursor LOOP
        last_xid := '0'; last_seq := -1;
        LOOP
            INSERT INTO outbox_batch (route, n, bytes, oldest, replay, held, held_at)
            VALUES (c.route, 0, 0, clock_timestamp(), true, true, clock_timestamp()) RETURNING no INTO new_no;
            WITH taken AS (
                SELECT * FROM (
                    SELECT f.*, sum(f.bytes::bigint) OVER (ORDER BY f.xid, f.seq) - f.bytes AS bytes_before FROM (
                        SELECT e.* FROM outbox_event e
                         WHERE (e.xid, e.seq) > (last_xid, last_seq)
                           AND (c.types IS NULL OR e.event_type = ANY (c.types))
                           AND NOT EXISTS (SELECT FROM outbox_held h JOIN outbox_batch o ON o.no = h.batch
                                            WHERE o.route = c.route AND o.no <= last_open AND h.id = e.id)
                         ORDER BY e.xid, e.seq LIMIT rows_max
                    ) f
                ) g WHERE bytes_before < bytes_max
            ), copied AS (
                INSERT INTO outbox_held
                SELECT new_no, row_number() OVER (ORDER BY t.xid, t.seq) - 1, t.seq, t.id, t.event_type, t.version,
                       t.occurred_at, t.environment, t.destination, t.key, t.headers, t.payload, t.bytes
                  FROM taken t RETURNING bytes
            ), sized AS (
                SELECT count(*) AS n, coalesce(sum(bytes), 0) AS bytes FROM copied
            ), positioned AS (
                SELECT xid, seq FROM taken ORDER BY xid DESC, seq DESC LIMIT 1
            )
            SELECT s.n, p.xid, p.seq INTO rows, last_xid, last_seq FROM sized s LEFT JOIN positioned p ON true;
            IF rows = 0 THEN
                DELETE FROM outbox_batch WHERE no = new_no;
                EXIT;
            END IF;
            UPDATE outbox_batch o
               SET n = rows, bytes = (SELECT sum(h.bytes) FROM outbox_held h WHERE h.batch = new_no),
                   oldest = (SELECT min(h.occurred_at) FROM outbox_held h WHERE h.batch = new_no)
             WHERE o.no = new_no;
            offered := offered + rows;
        END LOOP;
    END LOOP;
    FOR p IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'outbox_event'::regclass LOOP
        EXECUTE format('TRUNCATE ONLY %s', p);
    END LOOP;
    UPDATE outbox_cursor
       SET sysid = here, base = pg_current_snapshot(), tick = NULL, pos_xid = '0', pos_seq = 0,
           anchor_seq = outbox_last_seq(), sealed = 0;
    RETURN offered;
END $$;
