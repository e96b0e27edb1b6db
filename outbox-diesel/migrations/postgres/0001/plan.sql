
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
    take bigint; looked bigint; cut_rows bigint; cut_bytes bigint; xids xid8[]; seqs bigint[]; sizes integer[]; ended boolean := false;
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
        c.tick_seq := outbox_last_seq();
        c.tick := pg_current_snapshot();
        c.tick_ordered := c.ordered;
        IF pg_snapshot_xmax(c.tick) < pg_snapshot_xmax(c.base) THEN
            RAISE 'the transaction ids of this database went backwards: it was restored' USING ERRCODE = 'OB002';
        END IF;
        c.pos_xid := '0'; c.pos_seq := 0;
    END IF;
    -- Where the second arm starts: one row comparison, because the index may start at the worse of two bounds.
    IF c.tick_ordered OR c.pos_xid < pg_snapshot_xmax(c.base) THEN
        lx := pg_snapshot_xmax(c.base); ls := -1;
    ELSE
        lx := c.pos_xid; ls := c.pos_seq;
    END IF;
    IF fresh AND p_rows > 1 AND p_linger > interval '0' THEN
        probe := p_rows;
        SELECT count(*), min(u.created_at) INTO waiting, since FROM (
            (SELECT e.created_at
               FROM (SELECT x FROM pg_snapshot_xip(c.base) x WHERE pg_visible_in_snapshot(x, c.tick)) l
              CROSS JOIN LATERAL (
                    SELECT created_at FROM outbox_event
                     WHERE xid = l.x AND (c.types IS NULL OR event_type = ANY (c.types)) ORDER BY seq LIMIT probe) e
              LIMIT probe)
            UNION ALL
            (SELECT e.created_at FROM outbox_event e
              WHERE e.xid < pg_snapshot_xmax(c.tick) AND (e.xid, e.seq) > (lx, ls)
                AND pg_visible_in_snapshot(e.xid, c.tick) AND (c.types IS NULL OR e.event_type = ANY (c.types))
              ORDER BY e.xid, e.seq LIMIT probe)
        ) u;
        -- An event from the future is one from before the clock was set back: no reason to wait.
        IF (waiting = 0 AND c.types IS NULL)
           OR (waiting BETWEEN 1 AND p_rows - 1
               AND since BETWEEN clock_timestamp() - p_linger AND clock_timestamp()) THEN
            RETURN;
        END IF;
    END IF;
    PERFORM outbox_durable(); -- a plan is durable before anything of it is sent
    IF c.tick_ordered THEN
        WITH marked AS (
            SELECT xid, seq, bytes, created_at,
                   -- How many batches end before this row.
                   coalesce(sum(ends) OVER (ORDER BY rn ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS batch
            FROM (
                SELECT xid, seq, bytes, created_at, rn,
                       CASE WHEN rn % p_rows_max = 0 OR div(cum, p_bytes_max) <> div(lead(cum) OVER (ORDER BY rn), p_bytes_max)
                            THEN 1 ELSE 0 END AS ends
                FROM (
                    SELECT xid, seq, bytes, created_at, row_number() OVER o AS rn, sum(bytes::numeric) OVER o AS cum FROM (
                        SELECT * FROM (
                            SELECT e.xid, e.seq, e.bytes, e.created_at -- in flight at base, finished by tick
                              FROM (SELECT x FROM pg_snapshot_xip(c.base) x WHERE pg_visible_in_snapshot(x, c.tick)) l
                             CROSS JOIN LATERAL (
                                    SELECT xid, seq, bytes, created_at FROM outbox_event
                                     WHERE xid = l.x AND seq > c.pos_seq
                                       AND (c.types IS NULL OR event_type = ANY (c.types))) e
                            UNION ALL
                            SELECT e.xid, e.seq, e.bytes, e.created_at FROM outbox_event e -- started after base
                             WHERE e.xid < pg_snapshot_xmax(c.tick) AND (e.xid, e.seq) > (lx, ls) AND e.seq > c.pos_seq
                               AND pg_visible_in_snapshot(e.xid, c.tick)
                               AND (c.types IS NULL OR e.event_type = ANY (c.types))
                        ) u ORDER BY seq LIMIT lim
                    ) v WINDOW o AS (ORDER BY seq)
                ) s
            ) r
        ), ins AS (
            INSERT INTO outbox_batch (route, base, tick, lo_xid, lo_seq, hi_xid, hi_seq, ordered, types, n, bytes, oldest)
            SELECT p_route, c.base, c.tick, min(xid::text::numeric)::text::xid8, min(seq) - 1,
                   max(xid::text::numeric)::text::xid8, max(seq), true, c.types, count(*), sum(bytes), min(created_at)
              FROM marked GROUP BY batch ORDER BY min(seq)
            RETURNING no, hi_seq, n
        )
        SELECT sum(ins.n) OVER (), count(*) OVER (), '0'::xid8, hi_seq INTO sealed_rows, sealed_batches, hx, hs
          FROM ins ORDER BY no DESC LIMIT 1;
        ended := sealed_rows < lim;
    ELSE
        sealed_rows := 0; sealed_batches := 0;
        take := p_rows_max;
        -- A batch at a time, so that nothing is sorted and nothing is kept but the keys of one batch. All statements see the same
        -- events: those of the window (base, tick], whose transactions were all over when the tick was taken.
        WHILE sealed_batches < p_batches LOOP
            SELECT count(*), sum(u.bytes), min(u.created_at), array_agg(u.xid), array_agg(u.seq), array_agg(u.bytes)
              INTO looked, cut_bytes, since, xids, seqs, sizes
              FROM (
                SELECT * FROM (
                    (SELECT e.xid, e.seq, e.bytes, e.created_at -- in flight at base, finished by tick
                       FROM (SELECT x FROM pg_snapshot_xip(c.base) x
                              WHERE x >= c.pos_xid AND pg_visible_in_snapshot(x, c.tick) ORDER BY x) l
                      CROSS JOIN LATERAL (
                            SELECT xid, seq, bytes, created_at FROM outbox_event
                             WHERE xid = l.x AND seq > CASE WHEN l.x = c.pos_xid THEN c.pos_seq ELSE -1 END
                               AND (c.types IS NULL OR event_type = ANY (c.types))
                             ORDER BY seq LIMIT take) e
                      ORDER BY l.x, e.seq LIMIT take)
                    UNION ALL
                    (SELECT e.xid, e.seq, e.bytes, e.created_at FROM outbox_event e -- started after base
                      WHERE e.xid < pg_snapshot_xmax(c.tick) AND (e.xid, e.seq) > (lx, ls)
                        AND pg_visible_in_snapshot(e.xid, c.tick)
                        AND (c.types IS NULL OR e.event_type = ANY (c.types))
                      ORDER BY e.xid, e.seq LIMIT take)
                ) w ORDER BY xid, seq LIMIT take
              ) u;
            ended := looked < take;
            -- It ends with the row whose bytes reach the limit.
            IF cut_bytes >= p_bytes_max THEN
                SELECT s.i, s.running INTO cut_rows, cut_bytes FROM (
                    SELECT i, sum(b) OVER (ORDER BY i ROWS UNBOUNDED PRECEDING) AS running
                      FROM unnest(sizes) WITH ORDINALITY AS b (b, i)) s
                 WHERE s.running >= p_bytes_max ORDER BY s.i LIMIT 1;
                ended := ended AND cut_rows = looked;
                take := least(p_rows_max, cut_rows + cut_rows / 4 + 1); -- where bytes rule, looking far ahead would be in vain
            ELSIF ended OR take = p_rows_max THEN
                cut_rows := looked;
            ELSE
                take := least(p_rows_max, 2 * take); -- smaller events than the last ones
                CONTINUE;
            END IF;
            EXIT WHEN looked = 0;
            hx := xids[cut_rows]; hs := seqs[cut_rows];
            INSERT INTO outbox_batch (route, base, tick, lo_xid, lo_seq, hi_xid, hi_seq, types, n, bytes, oldest)
            VALUES (p_route, c.base, c.tick, c.pos_xid, c.pos_seq, hx, hs, c.types, cut_rows, cut_bytes, since);
            sealed_rows := sealed_rows + cut_rows; sealed_batches := sealed_batches + 1;
            c.pos_xid := hx; c.pos_seq := hs;
            IF c.pos_xid >= pg_snapshot_xmax(c.base) THEN
                lx := hx; ls := hs;
            END IF;
            EXIT WHEN ended;
        END LOOP;
        sealed_rows := nullif(sealed_rows, 0);
    END IF;
    IF sealed_rows IS NULL THEN
        sealed_rows := 0; sealed_batches := 0;
        -- The window was cut to its end by the call before; or a filter passed over all of it, and must not do so again.
        IF NOT fresh OR (c.types IS NOT NULL AND (
            EXISTS (SELECT FROM outbox_event e WHERE e.xid < pg_snapshot_xmax(c.tick) AND (e.xid, e.seq) > (lx, ls)
                       AND pg_visible_in_snapshot(e.xid, c.tick))
            OR EXISTS (SELECT FROM pg_snapshot_xip(c.base) x JOIN outbox_event e ON e.xid = x
                        WHERE pg_visible_in_snapshot(x, c.tick)))) THEN
            UPDATE outbox_cursor SET base = c.tick, tick = NULL, anchor_seq = c.tick_seq, sealed = 0 WHERE route = p_route;
        END IF;
        RETURN;
    END IF;
    IF ended THEN -- the window is cut to its end
        UPDATE outbox_cursor SET base = c.tick, tick = NULL, anchor_seq = c.tick_seq, sealed = 0, pos_xid = hx, pos_seq = hs
         WHERE route = p_route;
    ELSE
        UPDATE outbox_cursor
           SET tick = c.tick, tick_ordered = c.tick_ordered, tick_seq = c.tick_seq, sealed = sealed + sealed_rows,
               pos_xid = hx, pos_seq = hs
         WHERE route = p_route;
    END IF;
END $$;

-- Seals events once more that are kept and were sealed before: written from p_from to before p_to. Not on top of a plan:
-- what waits for its first time is not among them. Nor is what goes out anyway, from an open batch or a held one
-- (passed_rows says how much).
CREATE FUNCTION outbox_replay(
    p_route text, p_from timestamptz, p_to timestamptz, p_look boolean, p_rows_max integer, p_bytes_max bigint,
    OUT sealed_rows bigint, OUT sealed_batches integer, OUT passed_rows bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_nestloop = off -- where there is a choice: what is passed over may be much more than the planner thinks
SET jit = off AS $$
DECLARE
    c outbox_cursor;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'outbox_replay needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM pg_advisory_xact_lock('outbox_cursor'::regclass::oid::integer, hashtext(p_route));
    SELECT * INTO c FROM outbox_cursor WHERE route = p_route;
    IF NOT FOUND THEN
        RAISE 'the outbox has no route %', quote_literal(p_route) USING ERRCODE = 'OB001';
    END IF;
    IF c.sysid <> (SELECT system_identifier FROM pg_control_system()) THEN
        RAISE 'the outbox was restored into another database cluster: its transaction ids mean nothing here'
            USING ERRCODE = 'OB002';
    END IF;
    PERFORM outbox_durable();
    -- ONE statement, so one snapshot, and the planner's lock keeps other replays away. Relays settle and put aside
    -- meanwhile, but an event is in a held batch before the batch that it came from is settled: a snapshot sees it in one of
    -- them, or delivered.
    WITH busy AS (
        SELECT h.id FROM outbox_batch b JOIN outbox_held h ON h.batch = b.no WHERE b.route = p_route AND b.held
        UNION
        SELECT e.id FROM outbox_batch b CROSS JOIN LATERAL (
            (SELECT i.* FROM (SELECT x FROM pg_snapshot_xip(b.base) x
                               WHERE NOT b.ordered AND pg_visible_in_snapshot(x, b.tick)) l
              CROSS JOIN LATERAL (SELECT * FROM outbox_event WHERE xid = l.x ORDER BY seq) i -- in flight at base
              WHERE (i.xid, i.seq) > (b.lo_xid, b.lo_seq) AND (i.xid, i.seq) <= (b.hi_xid, b.hi_seq))
            UNION ALL
            (SELECT * FROM outbox_event -- started after it
              WHERE NOT b.ordered AND (xid, seq) <= (b.hi_xid, b.hi_seq) AND pg_visible_in_snapshot(xid, b.tick)
                AND (xid, seq) > (greatest(b.lo_xid, pg_snapshot_xmax(b.base)),
                                  CASE WHEN b.lo_xid < pg_snapshot_xmax(b.base) THEN -1 ELSE b.lo_seq END))
            UNION ALL
            (SELECT * FROM outbox_event -- of a batch in the order of seq
              WHERE b.ordered AND xid >= b.lo_xid AND xid <= b.hi_xid AND seq > b.lo_seq AND seq <= b.hi_seq
                AND pg_visible_in_snapshot(xid, b.tick) AND NOT pg_visible_in_snapshot(xid, b.base))
        ) e
         WHERE b.route = p_route AND NOT b.held AND (b.types IS NULL OR e.event_type = ANY (b.types))
           AND (b.since IS NULL OR (e.created_at >= b.since AND e.created_at < b.until))
    ), marked AS (
        SELECT e.xid, e.seq, e.bytes, e.created_at, busy.id IS NOT NULL AS passed,
               lag(e.xid, 1, '0'::xid8) OVER o AS pxid, lag(e.seq, 1, 0::bigint) OVER o AS pseq,
               count(busy.id) OVER o AS run -- a batch is a range: what is passed over is not to lie within it
          FROM outbox_event e LEFT JOIN busy ON busy.id = e.id
         WHERE pg_visible_in_snapshot(e.xid, c.base) AND e.created_at >= p_from AND e.created_at < p_to
           AND (c.types IS NULL OR e.event_type = ANY (c.types))
        WINDOW o AS (ORDER BY e.xid, e.seq)
    ), cut AS (
        SELECT *, coalesce(sum(ends) OVER (PARTITION BY run ORDER BY rn
                                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS batch
        FROM (
            SELECT *, CASE WHEN rn % p_rows_max = 0
                             OR div(cum, p_bytes_max) <> div(lead(cum) OVER (PARTITION BY run ORDER BY rn), p_bytes_max)
                           THEN 1 ELSE 0 END AS ends
            FROM (
                SELECT *, row_number() OVER r AS rn, sum(bytes::numeric) OVER r AS cum
                  FROM marked WHERE NOT passed WINDOW r AS (PARTITION BY run ORDER BY xid, seq)
            ) s
        ) r
    ), ins AS (
        INSERT INTO outbox_batch (
            route, base, tick, lo_xid, lo_seq, hi_xid, hi_seq, types, since, until, n, bytes, oldest, replay)
        SELECT p_route, '1:1:', c.base, (array_agg(pxid ORDER BY rn))[1], (array_agg(pseq ORDER BY rn))[1],
               (array_agg(xid ORDER BY rn DESC))[1], (array_agg(seq ORDER BY rn DESC))[1], c.types, p_from, p_to,
               count(*), sum(bytes), min(created_at), p_look
          FROM cut GROUP BY run, batch ORDER BY run, batch
        RETURNING n
    )
    SELECT coalesce(sum(n), 0), count(*), (SELECT count(*) FROM marked WHERE passed)
      INTO sealed_rows, sealed_batches, passed_rows FROM ins;
END $$;
