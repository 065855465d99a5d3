-- What the server does to bring a workspace where it is wanted. Nothing of it
-- is in memory: any server goes on where another stopped.
ALTER TABLE workspaces ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE workspaces ADD COLUMN provisioned BIGINT NOT NULL DEFAULT 0 CHECK (provisioned <= generation);
ALTER TABLE workspaces ADD COLUMN provisioned_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE workspaces ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE workspaces ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0;

-- When it is looked at next; NULL: there is nothing to do.
ALTER TABLE workspaces ADD COLUMN due BIGINT;

-- Which server works on it, and until when nobody else does. The epoch grows
-- with each claim, so that a server that lost its claim is recognised.
ALTER TABLE workspaces ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE workspaces ADD COLUMN owner_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE workspaces ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;

CREATE INDEX workspaces_by_due ON workspaces (due) WHERE due IS NOT NULL;

-- Workspaces that are gone, of which something may still run.
CREATE TABLE removals (
    id          TEXT   NOT NULL PRIMARY KEY,
    keep_data   BIGINT NOT NULL CHECK (keep_data IN (0, 1)),
    due         BIGINT NOT NULL,
    attempts    BIGINT NOT NULL DEFAULT 0,
    owner       TEXT   NOT NULL DEFAULT '',
    owner_until BIGINT NOT NULL DEFAULT 0,
    epoch       BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX removals_by_due ON removals (due);

-- What happened to a workspace. One that is older than this table has none.
CREATE TABLE transitions (
    workspace  TEXT   NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    revision   BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    from_state TEXT   NOT NULL,
    to_state   TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    message    TEXT   NOT NULL,
    by_whom    TEXT   NOT NULL,
    PRIMARY KEY (workspace, revision)
);

-- The token of an agent belongs to one start of its workspace; 0: people made it.
ALTER TABLE tokens ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;

-- What the resources of this database's workspaces are labelled with.
CREATE TABLE installation (
    singleton BIGINT NOT NULL PRIMARY KEY CHECK (singleton = 1),
    id        TEXT   NOT NULL
);
