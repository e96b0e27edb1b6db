
-- Truncates every partition whose events all routes have settled and that holds nothing younger than p_keep. Returns how many.
-- The ring has the last word: the slot that the writers enter next is emptied as soon as it is settled, whatever p_keep says.
CREATE FUNCTION outbox_prune(p_keep interval) RETURNS integer LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    p record; done xid8; pending xid8[]; hit integer; pruned integer := 0; next_slot integer;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'outbox_prune needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    next_slot := (outbox_last_seq() >> 20) + 1 & 3;
    FOR p IN
        SELECT i.inhrelid::regclass AS name, i.inhrelid = ('outbox_event_' || next_slot)::regclass AS is_next
          FROM pg_inherits i WHERE i.inhparent = 'outbox_event'::regclass ORDER BY i.inhrelid
    LOOP
        CONTINUE WHEN pg_relation_size(p.name) = 0;
        IF p_keep > interval '0' AND NOT p.is_next THEN
            EXECUTE format(
                'SELECT 1 FROM (SELECT created_at FROM %s ORDER BY xid DESC, seq DESC LIMIT 1) youngest '
                'WHERE created_at > clock_timestamp() - $1', p.name) USING p_keep;
            GET DIAGNOSTICS hit = ROW_COUNT;
            CONTINUE WHEN hit > 0;
        END IF;
        -- ONE statement, so one snapshot, over every open batch and every route: a planner that commits between two
        -- reads would let events go that nobody has delivered.
        SELECT min(x::text::numeric)::text::xid8, coalesce(array_agg(xip) FILTER (WHERE xip IS NOT NULL), '{}')
          INTO done, pending
          FROM (SELECT base FROM outbox_batch WHERE NOT held UNION ALL SELECT base FROM outbox_cursor) s
         CROSS JOIN LATERAL (SELECT pg_snapshot_xmax(s.base) AS x) m
          LEFT JOIN LATERAL pg_snapshot_xip(s.base) AS xip ON true;
        CONTINUE WHEN done IS NULL; -- no route yet: nothing has been delivered to anybody
        EXECUTE format('SELECT 1 FROM %s WHERE xid >= $1 LIMIT 1', p.name) USING done; -- cheap, before the lock
        GET DIAGNOSTICS hit = ROW_COUNT;
        CONTINUE WHEN hit > 0;
        BEGIN
            EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE NOWAIT', p.name);
        EXCEPTION WHEN lock_not_available THEN
            CONTINUE;
        END;
        EXECUTE format(
            'SELECT 1 WHERE EXISTS (SELECT FROM %1$s WHERE xid >= $1) OR EXISTS (SELECT FROM %1$s WHERE xid = ANY ($2))', p.name)
            USING done, pending;
        GET DIAGNOSTICS hit = ROW_COUNT;
        CONTINUE WHEN hit > 0;
        EXECUTE format('TRUNCATE ONLY %s', p.name);
        pruned := pruned + 1;
    END LOOP;
    RETURN pruned;
END $$;
