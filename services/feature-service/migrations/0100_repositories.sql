-- Owned by repository-service; applied with the others, since there is one database and one run that brings it up to date.

CREATE TABLE repositories (
    id             uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    -- Compared byte by byte: pages go on after a URL, in the same order on every machine.
    url            text        COLLATE "C" NOT NULL UNIQUE CHECK (octet_length(url) <= 2048),
    -- A name in the git service's secret; never the secret itself.
    credential     text        CHECK (credential ~ '^[a-z0-9-]{1,63}$'),
    default_branch text        CHECK (default_branch <> ''),
    head           text        CHECK (head ~ '^([0-9a-f]{40}|[0-9a-f]{64})$'),
    head_seen_at   timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CHECK ((head IS NULL) = (head_seen_at IS NULL)),
    CHECK (head IS NULL OR default_branch IS NOT NULL)
);
