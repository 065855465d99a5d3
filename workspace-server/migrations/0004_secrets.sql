-- Secrets, sealed. Those for all workspaces have an empty scope and no workspace.
CREATE TABLE secrets (
    scope     TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    workspace TEXT   REFERENCES workspaces (id) ON DELETE CASCADE,
    key_id    TEXT   NOT NULL,
    box       TEXT   NOT NULL,
    created   BIGINT NOT NULL,
    updated   BIGINT NOT NULL,
    PRIMARY KEY (scope, name),
    CHECK (scope = COALESCE(workspace, ''))
);

CREATE INDEX secrets_by_workspace ON secrets (workspace);
