-- States: 1 PENDING, 2 ANALYZING, 3 PLANNING, 4 EXECUTING, 5 VERIFYING, 6 COMPLETED, 7 FAILED, 8 CANCELLED.

CREATE TABLE feature_executions (
    id                     uuid        PRIMARY KEY,
    repository_url         text        NOT NULL,
    instruction_ciphertext bytea       NOT NULL,
    instruction_lookup     bytea       NOT NULL,
    idempotency_key        text        UNIQUE,
    state                  smallint    NOT NULL DEFAULT 1 CHECK (state BETWEEN 1 AND 8),
    branch                 text,
    error                  text,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    completed_at           timestamptz,
    CHECK ((completed_at IS NOT NULL) = (state IN (6, 7, 8)))
);

CREATE INDEX idx_feature_created ON feature_executions (created_at);
CREATE INDEX idx_feature_state ON feature_executions (state) WHERE state < 6;
CREATE INDEX idx_feature_completed ON feature_executions (completed_at) WHERE completed_at IS NOT NULL;

-- The same columns in the same order, so that rows can be moved as they are.
CREATE TABLE feature_executions_archive (LIKE feature_executions INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
ALTER TABLE feature_executions_archive ADD PRIMARY KEY (id);
CREATE INDEX idx_feature_archive_completed ON feature_executions_archive (completed_at);
