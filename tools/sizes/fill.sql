-- What servers would have written in six days. Each workspace was made and then
-- changed until its revision is :revisions; those changes are the events, by
-- turns of the workspaces. The last changes bring it to the state that it is in.
-- Every :every-th workspace runs.

SELECT CAST(EXTRACT(EPOCH FROM now()) * 1000 AS BIGINT) - 6 * 86400000 AS start,
	6 * 86400000 / (:workspaces * :revisions) AS step \gset

BEGIN;

CREATE TEMP TABLE names AS
SELECT i, 'ws_' || substr(md5(i::text), 1, 26) AS id, 'Agent ' || i AS name,
	(ARRAY['go-service', 'research', 'triage', ''])[1 + i % 4] AS template,
	'stage-' || i % 3 AS stage, 'team-' || i % 20 AS team,
	CASE WHEN i % :every = 0 THEN 'running' WHEN i % 10 = 1 THEN 'paused' WHEN i % 10 = 2 THEN 'hibernated' ELSE 'stopped' END AS kind
FROM generate_series(1, :workspaces) i;

-- How many changes ago a workspace that is now of a kind did what.
CREATE TEMP TABLE steps (kind TEXT, ago INT, before TEXT, state TEXT, desired TEXT, reason TEXT, message TEXT);
INSERT INTO steps VALUES
	('running',    1, 'stopped',     'starting',    'running',    'start',      'The workspace is being started.'),
	('running',    0, 'starting',    'running',     'running',    'ready',      'The agent is ready.'),
	('paused',     3, 'stopped',     'starting',    'running',    'start',      'The workspace is being started.'),
	('paused',     2, 'starting',    'running',     'running',    'ready',      'The agent is ready.'),
	('paused',     1, 'running',     'pausing',     'paused',     'pause',      'The workspace is being paused.'),
	('paused',     0, 'pausing',     'paused',      'paused',     'paused',     'The workspace is paused.'),
	('hibernated', 3, 'stopped',     'starting',    'running',    'start',      'The workspace is being started.'),
	('hibernated', 2, 'starting',    'running',     'running',    'ready',      'The agent is ready.'),
	('hibernated', 1, 'running',     'hibernating', 'hibernated', 'hibernate',  'The workspace is being hibernated.'),
	('hibernated', 0, 'hibernating', 'hibernated',  'hibernated', 'hibernated', 'The workspace is hibernated: a message for it wakes it.');

-- Each workspace at each of its revisions. Nine have no parent, all others
-- have ten children or none.
CREATE TEMP VIEW lives AS
SELECT w.i, w.id, w.name, w.template, COALESCE(p.id, '') AS parent,
	format('{"stage":"%s","team":"%s"}', w.stage, w.team) AS labels,
	r AS revision, (r - 1) * :workspaces + w.i AS seq,
	:start + w.i * :step AS created, at AS updated,
	COALESCE(s.before, '') AS before, s.state IS NOT NULL AS moved,
	COALESCE(s.state, 'stopped') AS state, COALESCE(s.desired, 'stopped') AS desired, COALESCE(s.reason, 'created') AS reason,
	COALESCE(s.message, 'The workspace was created and has not been started.') AS message,
	CASE WHEN s.state IS NULL THEN :start + w.i * :step ELSE at END AS since,
	CASE WHEN s.state IS NULL THEN 0 ELSE 1 END AS generation
FROM names w
LEFT JOIN names p ON p.i = w.i / 10
CROSS JOIN generate_series(1, :revisions) r
LEFT JOIN steps s ON s.kind = w.kind AND s.ago = :revisions - r
CROSS JOIN LATERAL (SELECT :start + ((r - 1) * :workspaces + w.i) * :step) AS moment (at);

INSERT INTO workspaces (id, name, folded, template, parent, labels, desired, state, reason, message, since,
	generation, revision, created, updated, provisioned, provisioned_at, address)
SELECT id, name, lower(name), template, NULLIF(parent, ''), labels, desired, state, reason, message, since,
	generation, revision, created, updated, generation, since * generation, CASE state WHEN 'running' THEN '127.0.0.1:9' ELSE '' END
FROM lives WHERE revision = :revisions ORDER BY i;

INSERT INTO labels (workspace, name, value, created)
SELECT id, key, value, :start + i * :step FROM names CROSS JOIN LATERAL (VALUES ('stage', stage), ('team', team)) AS label (key, value);

INSERT INTO transitions (workspace, revision, generation, at, from_state, to_state, reason, message, by_whom)
SELECT id, revision, generation, updated, before, state, reason, message, 'server'
FROM lives WHERE revision = 1 OR moved;

INSERT INTO events (seq, type, workspace, at, data)
SELECT seq, CASE revision WHEN 1 THEN 'workspace.created' ELSE 'workspace.updated' END, id, updated,
	format('{"id":"%s","name":"%s","template":"%s","parent":"%s","labels":%s,"desired":"%s",'
		'"status":{"state":"%s","reason":"%s","message":"%s","since":%s},"generation":%s,"revision":%s,"created":%s,"updated":%s}',
		id, name, template, parent, labels, desired,
		state, reason, message, since, generation, revision, created, updated)
FROM lives ORDER BY seq;

UPDATE counters SET n = (SELECT MAX(seq) FROM events) WHERE name = 'events';

COMMIT;

-- As the database does by itself within a minute or so.
VACUUM (ANALYZE);
