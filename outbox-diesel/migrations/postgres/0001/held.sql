
-- Moves events of a claimed batch into a batch of their own that does not hold up pruning. NULL: the lease is lost.
-- p_ordinals: where they are in the claimed batch; p_all: where they are in the new one, which is 0 to the last.
CREATE FUNCTION outbox_hold(
    p_no bigint, p_owner uuid, p_attempt integer, p_part integer, p_destination text, p_ordinals text, p_all text,
    p_dead boolean, p_code integer, p_error text, p_delay interval,
    p_seqs bigint[], p_ids uuid[], p_types text[], p_versions integer[], p_occurred timestamptz[], p_environments text[],
    p_keys text[], p_headers text[], p_payloads text[], p_bytes integer[]
) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    b outbox_batch; moved outbox_part; new_no bigint;
BEGIN
    SELECT * INTO b FROM outbox_batch WHERE no = p_no AND owner = p_owner AND attempt = p_attempt FOR UPDATE;
    IF NOT FOUND THEN RETURN NULL; END IF;
    PERFORM outbox_durable();
    INSERT INTO outbox_batch (
        route, n, bytes, oldest, replay, lease_until, parked, error, held, held_at, destination, dead, code)
    VALUES (b.route, cardinality(p_ids), (SELECT coalesce(sum(x), 0) FROM unnest(p_bytes) x), b.oldest, b.replay,
            clock_timestamp() + p_delay, true, p_error, true, clock_timestamp(), p_destination, p_dead, p_code)
    RETURNING no INTO new_no;
    INSERT INTO outbox_held (
        batch, ordinal, seq, id, event_type, version, occurred_at, environment, destination, key, headers, payload, bytes)
    SELECT new_no, i - 1, s, e, t, v, o, n, p_destination, k, h, p, y
      FROM unnest(p_seqs, p_ids, p_types, p_versions, p_occurred, p_environments, p_keys, p_headers, p_payloads, p_bytes)
           WITH ORDINALITY AS u (s, e, t, v, o, n, k, h, p, y, i);
    -- A token is one part's: it goes with the part, and what stays behind only says that nothing is left to do.
    SELECT * INTO moved FROM outbox_part WHERE batch = p_no AND no = p_part;
    UPDATE outbox_part SET token = gen_random_uuid(), done = true WHERE batch = p_no AND no = p_part;
    IF moved.batch IS NULL THEN -- whoever claims the batch again must not freeze them
        INSERT INTO outbox_part (batch, no, destination, ordinals, statement, mark, done)
        SELECT p_no, coalesce(max(no) + 1, 0), p_destination, p_ordinals, '', '', true FROM outbox_part WHERE batch = p_no;
    ELSIF NOT p_dead THEN
        INSERT INTO outbox_part (batch, no, token, destination, ordinals, statement, mark)
        VALUES (new_no, 0, moved.token, moved.destination, p_all, moved.statement, moved.mark);
    END IF;
    RETURN new_no;
END $$;

-- Lets a held batch be tried now. A dead one gets new tokens, because its own were refused or replaced, so the sink looks
-- first whether its events have arrived since.
CREATE FUNCTION outbox_retry_held(p_no bigint) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    was_dead boolean;
BEGIN
    SELECT dead INTO was_dead FROM outbox_batch
     WHERE no = p_no AND held AND (owner IS NULL OR lease_until < clock_timestamp()) FOR UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    PERFORM outbox_durable();
    UPDATE outbox_batch SET dead = false, replay = replay OR was_dead, owner = NULL, lease_until = '-infinity' WHERE no = p_no;
    IF was_dead THEN
        DELETE FROM outbox_part WHERE batch = p_no;
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION outbox_discard_held(p_no bigint) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM outbox_durable();
    DELETE FROM outbox_batch WHERE no = p_no AND held AND (owner IS NULL OR lease_until < clock_timestamp());
    RETURN FOUND;
END $$;
