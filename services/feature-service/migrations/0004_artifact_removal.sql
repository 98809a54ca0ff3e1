-- When what a step left in the object store was removed from it.
ALTER TABLE execution_steps ADD COLUMN artifacts_removed_at timestamptz;

CREATE INDEX idx_step_artifacts ON execution_steps (started_at)
    WHERE (step_type = 'artifacts' OR step_type = 'verify' AND outcome = 'failed') AND artifacts_removed_at IS NULL;
