-- After how many minutes without anything to do it is hibernated; 0 is never.
ALTER TABLE workspaces ADD COLUMN idle_minutes BIGINT NOT NULL DEFAULT 0 CHECK (idle_minutes >= 0);

-- What old transitions are found by.
CREATE INDEX transitions_by_age ON transitions (at);
