-- Jobs and what became of them. Times are seconds since 1970 (UTC); a person is `platform:id`, a scope
-- `platform:workspace`. Seeds are text: they reach 2^64 - 1, and SQLite's integers end at 2^63 - 1.

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    platform TEXT NOT NULL,
    event TEXT NOT NULL,
    workspace TEXT NOT NULL,
    channel TEXT NOT NULL,
    thread TEXT,
    person TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    locale TEXT NOT NULL,
    reply_to TEXT NOT NULL,
    command TEXT NOT NULL,
    asked TEXT NOT NULL,
    requests TEXT NOT NULL,
    seeds_free INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'received' CHECK (state IN (
        'received', 'queued', 'running', 'rendered', 'sending',
        'delivered', 'refused', 'failed', 'cancelled', 'dead'
    )),
    attempts INTEGER NOT NULL DEFAULT 0,
    runner TEXT NOT NULL,
    error TEXT,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    UNIQUE (platform, event)
) STRICT;

CREATE INDEX jobs_of_person ON jobs (person, created);
CREATE INDEX jobs_by_state ON jobs (state, runner);

CREATE TABLE pictures (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    idx INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'rendered', 'refused', 'failed', 'cancelled')),
    key TEXT,
    generation_key TEXT,
    seed TEXT,
    cached TEXT,
    seconds TEXT,
    layer TEXT,
    categories TEXT,
    error TEXT,
    PRIMARY KEY (job, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    part INTEGER NOT NULL,
    nonce TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('sending', 'delivered')),
    message_id TEXT,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (job, part)
) STRICT, WITHOUT ROWID;

-- What people asked for, a row per person, day (YYYY-MM-DD, UTC) and scope.
CREATE TABLE usage (
    person TEXT NOT NULL,
    day TEXT NOT NULL,
    scope TEXT NOT NULL,
    pictures INTEGER NOT NULL CHECK (pictures >= 0),
    PRIMARY KEY (person, day, scope)
) STRICT, WITHOUT ROWID;

-- The scope `*` is every community.
CREATE TABLE bans (
    person TEXT NOT NULL,
    scope TEXT NOT NULL,
    reason TEXT NOT NULL,
    until REAL,
    actor TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (person, scope)
) STRICT, WITHOUT ROWID;

CREATE INDEX bans_in_scope ON bans (scope);

CREATE TABLE roles (
    person TEXT NOT NULL,
    scope TEXT NOT NULL,
    role TEXT NOT NULL,
    actor TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (person, scope)
) STRICT, WITHOUT ROWID;

CREATE INDEX roles_in_scope ON roles (scope);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    created REAL NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    scope TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE INDEX audit_in_scope ON audit (scope, id);
