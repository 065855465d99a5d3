-- A root has no parent. The reference keeps a server that knows nothing of
-- hierarchy from deleting a parent.
ALTER TABLE workspaces ADD COLUMN parent TEXT REFERENCES workspaces (id);

ALTER TABLE workspaces ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';

-- The name without its case, which the two databases would not fold alike.
-- Rows that are older than this column have none.
ALTER TABLE workspaces ADD COLUMN folded TEXT;

-- The labels again, to be searched.
CREATE TABLE labels (
    workspace TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    name      TEXT NOT NULL,
    value     TEXT NOT NULL,
    PRIMARY KEY (workspace, name)
);

CREATE INDEX labels_by_name ON labels (name, value, workspace);

-- What lists are filtered by, each in the list's order.
CREATE INDEX workspaces_by_parent ON workspaces (parent, created, id);

CREATE INDEX workspaces_by_state ON workspaces (state, created, id);

CREATE INDEX workspaces_by_template ON workspaces (template, created, id);
