-- No foreign keys to feature_executions: steps and events stay readable when their execution moves to the archive.

CREATE TABLE execution_steps (
    id                   uuid        PRIMARY KEY,
    feature_execution_id uuid        NOT NULL,
    sequence             integer     NOT NULL CHECK (sequence >= 0),
    step_type            text        NOT NULL,
    state                smallint    NOT NULL DEFAULT 1 CHECK (state BETWEEN 1 AND 8),
    attempts             integer     NOT NULL DEFAULT 0,
    output               jsonb,
    error                text,
    started_at           timestamptz,
    completed_at         timestamptz
);

CREATE UNIQUE INDEX idx_step_feature_seq ON execution_steps (feature_execution_id, sequence);

CREATE TABLE execution_events (
    id                   uuid        PRIMARY KEY,
    feature_execution_id uuid        NOT NULL,
    sequence             bigint      NOT NULL CHECK (sequence >= 0),
    event_type           text        NOT NULL,
    payload              jsonb       NOT NULL,
    created_at           timestamptz NOT NULL DEFAULT now(),
    published_at         timestamptz
);

CREATE UNIQUE INDEX idx_event_feature_seq ON execution_events (feature_execution_id, sequence);
CREATE INDEX idx_event_unpublished ON execution_events (created_at) WHERE published_at IS NULL;
