-- One value that the database's secret key has sealed. A server whose keys do not
-- open it does not belong to this database. A server of before knows nothing of it.
CREATE TABLE key_check (
    one    INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    key_id TEXT    NOT NULL,
    box    TEXT    NOT NULL
);
