-- The number of the newest event that was removed: those up to it are gone,
-- those above it are all there.
INSERT INTO counters (name, n) VALUES ('forgotten events', 0);
