-- Who may call. Of a token only its hash is kept.
CREATE TABLE tokens (
    id        TEXT   NOT NULL PRIMARY KEY,
    hash      TEXT   NOT NULL UNIQUE,
    prefix    TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    role      TEXT   NOT NULL CHECK (role IN ('admin', 'workspace')),
    workspace TEXT   REFERENCES workspaces (id) ON DELETE CASCADE,
    created   BIGINT NOT NULL,
    -- 0 is never.
    expires   BIGINT NOT NULL,
    revoked   BIGINT NOT NULL,
    last_used BIGINT NOT NULL,
    CHECK ((role = 'workspace') = (workspace IS NOT NULL))
);

CREATE UNIQUE INDEX tokens_by_age ON tokens (created, id);
CREATE INDEX tokens_by_workspace ON tokens (workspace);

-- What the events of one workspace are read by.
CREATE INDEX events_by_workspace ON events (workspace, seq);
