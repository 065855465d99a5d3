-- Times are epoch milliseconds; documents are JSON as text.

CREATE TABLE workspaces (
    id       TEXT   NOT NULL PRIMARY KEY,
    name     TEXT   NOT NULL,
    template TEXT   NOT NULL,
    desired  TEXT   NOT NULL,
    state    TEXT   NOT NULL,
    reason   TEXT   NOT NULL,
    message  TEXT   NOT NULL,
    since    BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    created  BIGINT NOT NULL,
    updated  BIGINT NOT NULL
);

-- The list's order, newest first, is this index read backwards.
CREATE UNIQUE INDEX workspaces_by_age ON workspaces (created, id);

-- One row for each gapless sequence.
CREATE TABLE counters (
    name TEXT   NOT NULL PRIMARY KEY,
    n    BIGINT NOT NULL
);

INSERT INTO counters (name, n) VALUES ('events', 0);

CREATE TABLE events (
    seq       BIGINT NOT NULL PRIMARY KEY,
    type      TEXT   NOT NULL,
    workspace TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    data      TEXT   NOT NULL
);

-- Creates that a client may send again, by Idempotency-Key.
CREATE TABLE requests (
    id          TEXT   NOT NULL PRIMARY KEY,
    fingerprint TEXT   NOT NULL,
    answer      TEXT   NOT NULL,
    created     BIGINT NOT NULL
);

CREATE INDEX requests_by_age ON requests (created);
