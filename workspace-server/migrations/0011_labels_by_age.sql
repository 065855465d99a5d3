-- When the workspace was created, again, so that those with a label are found in
-- the order in which they are listed. A server of before writes 0.
ALTER TABLE labels ADD COLUMN created BIGINT NOT NULL DEFAULT 0;
UPDATE labels SET created = (SELECT w.created FROM workspaces w WHERE w.id = labels.workspace);
DROP INDEX labels_by_name;
CREATE INDEX labels_by_age ON labels (name, value, created, workspace);
CREATE INDEX labels_without_age ON labels (created) WHERE created = 0;
