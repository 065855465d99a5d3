-- What agents say of themselves. It is apart from the workspaces, whose
-- revisions it does not touch: a heartbeat is one update of a narrow row, of
-- which no column is in an index.
CREATE TABLE agents (
    workspace    TEXT             NOT NULL PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
    generation   BIGINT           NOT NULL,
    url          TEXT             NOT NULL,
    card         TEXT             NOT NULL,
    registered   BIGINT           NOT NULL,
    lease_until  BIGINT           NOT NULL,
    active       BIGINT           NOT NULL,
    error_rate   DOUBLE PRECISION NOT NULL,
    active_tasks BIGINT           NOT NULL,
    current_task TEXT             NOT NULL,
    uptime       BIGINT           NOT NULL
);
