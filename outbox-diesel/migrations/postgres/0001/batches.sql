
-- Takes a batch that nobody holds: first the oldest parked one of each destination, when its time has come (one that goes
-- through frees the others behind it), then the oldest that is not parked. On an ordered route, only when no other batch of it
-- is in anybody's hands. p_floor: any number up to the smallest open batch's that is not parked; it skips index entries of
-- settled batches that VACUUM cannot remove while an old snapshot is open. Not durable: a lost claim is made again.
CREATE FUNCTION outbox_claim(p_route text, p_owner uuid, p_lease interval, p_floor bigint)
RETURNS SETOF outbox_batch LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    chosen bigint; in_order boolean;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT ordered INTO in_order FROM outbox_cursor WHERE route = p_route;
    IF in_order THEN
        -- Then look with a snapshot that is younger than the lock.
        IF NOT pg_try_advisory_xact_lock('outbox_batch'::regclass::oid::integer, hashtext(p_route)) THEN RETURN; END IF;
        PERFORM 1 FROM outbox_batch
          WHERE route = p_route AND owner IS NOT NULL AND lease_until >= clock_timestamp() AND NOT dead;
        IF FOUND THEN RETURN; END IF;
    END IF;
    SELECT b.no INTO chosen FROM outbox_batch b
     WHERE b.no = ANY (ARRAY(
            SELECT min(no) FROM outbox_batch WHERE route = p_route AND parked AND NOT dead GROUP BY destination))
       AND b.lease_until < clock_timestamp()
     ORDER BY b.no LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF chosen IS NULL AND in_order THEN
        -- The oldest or none: while it waits for its next try, so does what comes after it.
        SELECT b.no INTO chosen FROM outbox_batch b
         WHERE b.no = (SELECT min(no) FROM outbox_batch WHERE route = p_route AND NOT parked AND NOT dead AND no >= p_floor)
           AND b.lease_until < clock_timestamp()
           FOR UPDATE SKIP LOCKED;
    ELSIF chosen IS NULL THEN
        SELECT b.no INTO chosen FROM outbox_batch b
         WHERE b.route = p_route AND NOT b.parked AND NOT b.dead AND b.no >= p_floor AND b.lease_until < clock_timestamp()
         ORDER BY b.no LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;
    RETURN QUERY
    UPDATE outbox_batch SET owner = p_owner, attempt = attempt + 1, lease_until = clock_timestamp() + p_lease
     WHERE no = chosen RETURNING *;
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
DECLARE
    b outbox_batch;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    -- Its parts and held events go with it.
    DELETE FROM outbox_batch WHERE no = p_no AND owner = p_owner AND attempt = p_attempt RETURNING * INTO b;
    IF NOT FOUND THEN RETURN false; END IF;
    IF b.parked THEN -- what stood in the way is gone: the next one behind it may go at once
        UPDATE outbox_batch SET lease_until = '-infinity'
         WHERE no = (SELECT min(no) FROM outbox_batch o
                      WHERE o.route = b.route AND o.parked AND NOT o.dead AND o.destination IS NOT DISTINCT FROM b.destination)
           AND owner IS NULL;
    END IF;
    RETURN true;
END $$;

-- Both in one round trip. settled = false: the lease is lost, and nothing was claimed.
CREATE FUNCTION outbox_settle_and_claim(
    p_no bigint, p_owner uuid, p_attempt integer, p_route text, p_lease interval, p_floor bigint
) RETURNS TABLE (settled boolean, claimed outbox_batch) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT outbox_settle(p_no, p_owner, p_attempt) THEN
        RETURN QUERY SELECT false, NULL::outbox_batch;
        RETURN;
    END IF;
    RETURN QUERY SELECT true, b FROM (SELECT 1) one LEFT JOIN outbox_claim(p_route, p_owner, p_lease, p_floor) b ON true;
END $$;

CREATE FUNCTION outbox_renew(p_no bigint, p_owner uuid, p_attempt integer, p_lease interval)
RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE outbox_batch SET lease_until = clock_timestamp() + p_lease
     WHERE no = p_no AND owner = p_owner AND attempt = p_attempt;
    RETURN FOUND;
END $$;

-- A held batch that is parked stays so, that its order and its turn stay what they are.
CREATE FUNCTION outbox_release(
    p_no bigint, p_owner uuid, p_attempt integer, p_delay interval, p_parked boolean, p_error text
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE outbox_batch
       SET owner = NULL, lease_until = clock_timestamp() + p_delay, parked = p_parked OR (held AND parked), error = coalesce(p_error, error)
     WHERE no = p_no AND owner = p_owner AND attempt = p_attempt;
    RETURN FOUND;
END $$;
