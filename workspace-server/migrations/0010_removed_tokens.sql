-- The tokens that were good when their workspace was removed, and with it they:
-- whoever still calls with one is told so.
CREATE TABLE removed_tokens (
    hash      TEXT   NOT NULL PRIMARY KEY,
    workspace TEXT   NOT NULL,
    removed   BIGINT NOT NULL
);

CREATE INDEX removed_tokens_by_age ON removed_tokens (removed);
