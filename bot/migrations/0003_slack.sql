-- What Slack needs remembered: the workspaces that installed the app, installations under way, and requests that were
-- taken by HTTP, so that none is taken twice. Times are seconds since 1970 (UTC).

CREATE TABLE slack_installations (
    team TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    enterprise TEXT,
    bot_token TEXT NOT NULL,
    bot_user TEXT NOT NULL,
    bot_id TEXT,
    installer TEXT NOT NULL,
    installed REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE slack_states (
    state TEXT PRIMARY KEY,
    expires REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX slack_states_by_time ON slack_states (expires);

CREATE TABLE slack_requests (
    digest BLOB PRIMARY KEY,
    seen REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX slack_requests_by_time ON slack_requests (seen);
