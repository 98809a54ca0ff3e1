-- States, steps and events follow their order because the database refuses anything else, from whomever it comes.

ALTER TABLE feature_executions ADD COLUMN traceparent text, ADD COLUMN tracestate text;
ALTER TABLE feature_executions_archive ADD COLUMN traceparent text, ADD COLUMN tracestate text;
CREATE INDEX idx_feature_moved ON feature_executions (updated_at) WHERE state < 6;

ALTER TABLE execution_steps
    ADD COLUMN outcome text NOT NULL CHECK (outcome IN ('running', 'done', 'failed')),
    ADD CHECK ((outcome = 'running') = (completed_at IS NULL)),
    ADD CHECK (outcome <> 'done' OR output IS NOT NULL);
ALTER TABLE execution_steps ALTER COLUMN state DROP DEFAULT;

ALTER TABLE execution_events
    DROP COLUMN payload,
    ALTER COLUMN sequence TYPE integer,
    ADD COLUMN state smallint NOT NULL CHECK (state BETWEEN 1 AND 8),
    ADD COLUMN previous_state smallint CHECK (previous_state BETWEEN 1 AND 5),
    ADD COLUMN step_type text,
    ADD COLUMN error text,
    ADD COLUMN traceparent text,
    ADD COLUMN tracestate text,
    -- Given while the feature's row is locked: within a feature it rises with the sequence, over all features it is one order.
    ADD COLUMN position bigint NOT NULL GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX idx_event_position ON execution_events (position);
DROP INDEX idx_event_unpublished;
CREATE INDEX idx_event_outbox ON execution_events (position) WHERE published_at IS NULL;

-- How far the event bus has acknowledged each partition: one that is behind this has lost its log.
CREATE TABLE outbox_offsets (
    partition integer PRIMARY KEY CHECK (partition >= 0),
    highest   bigint  NOT NULL CHECK (highest >= 0)
);

CREATE FUNCTION rfc3339(moment timestamptz) RETURNS text LANGUAGE sql STABLE
    RETURN to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

CREATE FUNCTION state_follows(before smallint, after smallint) RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN before < 6 AND (after = before + 1 OR after IN (7, 8));

CREATE FUNCTION check_feature_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 1 THEN
            RAISE EXCEPTION 'feature % can''t begin in state %', NEW.id, NEW.state USING ERRCODE = 'check_violation';
        END IF;
    ELSIF NEW.state <> OLD.state AND NOT state_follows(OLD.state, NEW.state) THEN
        RAISE EXCEPTION 'feature % can''t go from state % to %', NEW.id, OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_feature_state BEFORE INSERT OR UPDATE OF state ON feature_executions
    FOR EACH ROW EXECUTE FUNCTION check_feature_state();

-- At the end of the transaction the last event must tell of the state: no transition without its event.
CREATE FUNCTION check_feature_told() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    told smallint;
BEGIN
    SELECT state INTO told FROM execution_events WHERE feature_execution_id = NEW.id ORDER BY sequence DESC LIMIT 1;
    IF told IS DISTINCT FROM NEW.state
        AND EXISTS (SELECT FROM feature_executions WHERE id = NEW.id AND state = NEW.state) THEN
        RAISE EXCEPTION 'feature % is in state % without an event of it', NEW.id, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER check_feature_told AFTER INSERT OR UPDATE OF state ON feature_executions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_feature_told();

CREATE FUNCTION check_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    current smallint;
    before smallint;
BEGIN
    SELECT state INTO current FROM feature_executions WHERE id = NEW.feature_execution_id;
    SELECT state INTO before FROM execution_events
        WHERE feature_execution_id = NEW.feature_execution_id AND sequence = NEW.sequence - 1;
    IF current IS DISTINCT FROM NEW.state THEN
        RAISE EXCEPTION 'event % of feature % tells of state %, the feature is in %', NEW.sequence, NEW.feature_execution_id, NEW.state,
            coalesce(current::text, 'none') USING ERRCODE = 'check_violation';
    ELSIF NEW.sequence = 0 AND (NEW.event_type <> 'feature.created' OR NEW.state <> 1) THEN
        RAISE EXCEPTION 'the first event of feature % is not its creation', NEW.feature_execution_id USING ERRCODE = 'check_violation';
    ELSIF NEW.sequence > 0 AND before IS NULL THEN
        RAISE EXCEPTION 'event % of feature % leaves a gap', NEW.sequence, NEW.feature_execution_id USING ERRCODE = 'check_violation';
    ELSIF before >= 6 THEN
        RAISE EXCEPTION 'event % of feature % comes after its end', NEW.sequence, NEW.feature_execution_id USING ERRCODE = 'check_violation';
    ELSIF before <> NEW.state AND NOT state_follows(before, NEW.state)
        OR NEW.previous_state IS DISTINCT FROM nullif(before, NEW.state) THEN
        RAISE EXCEPTION 'event % of feature % does not follow state %', NEW.sequence, NEW.feature_execution_id, before
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_event AFTER INSERT ON execution_events FOR EACH ROW EXECUTE FUNCTION check_event();

CREATE FUNCTION refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'event % of feature % has happened', OLD.sequence, OLD.feature_execution_id USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER refuse_event_change
    BEFORE UPDATE OF id, feature_execution_id, sequence, event_type, state, previous_state, step_type, error, created_at ON execution_events
    FOR EACH ROW EXECUTE FUNCTION refuse_event_change();

-- Wakes the publisher and those who watch; without a text, so that one transaction wakes them once.
CREATE FUNCTION tell_of_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('feature_events', '');
    RETURN NULL;
END $$;
CREATE TRIGGER tell_of_events AFTER INSERT ON execution_events FOR EACH STATEMENT EXECUTE FUNCTION tell_of_events();
