-- The plugins of workspaces, each pinned to what was in it.
CREATE TABLE plugins (
    workspace TEXT   NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    name      TEXT   NOT NULL,
    digest    TEXT   NOT NULL,
    created   BIGINT NOT NULL,
    PRIMARY KEY (workspace, name)
);
