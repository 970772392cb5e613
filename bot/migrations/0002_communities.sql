-- What communities set for themselves, appeals and reports, deleted pictures, and images that pictures start from.

ALTER TABLE jobs ADD COLUMN charged INTEGER NOT NULL DEFAULT 1;

-- Images to start from, once each however many pictures use them.
CREATE TABLE sources (
    sha256 TEXT PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;

ALTER TABLE pictures ADD COLUMN source TEXT REFERENCES sources (sha256);
ALTER TABLE pictures ADD COLUMN deleted REAL;

CREATE INDEX pictures_by_generation ON pictures (generation_key) WHERE generation_key IS NOT NULL;
CREATE INDEX pictures_by_source ON pictures (source) WHERE source IS NOT NULL;
CREATE INDEX jobs_by_age ON jobs (created);
CREATE INDEX usage_in_scope ON usage (scope, day);
CREATE INDEX usage_by_day ON usage (day);

-- Values are JSON; names are the fields of bot.community.Community.
CREATE TABLE community_settings (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    actor TEXT NOT NULL,
    updated REAL NOT NULL,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

-- Refusals that a moderator was asked about. They outlive their jobs: an allowed text (`digest`) stays allowed.
CREATE TABLE appeals (
    id TEXT PRIMARY KEY,
    created REAL NOT NULL,
    job TEXT NOT NULL,
    idx INTEGER NOT NULL,
    person TEXT NOT NULL,
    scope TEXT NOT NULL,
    prompt TEXT NOT NULL,
    digest TEXT NOT NULL,
    layer TEXT NOT NULL,
    categories TEXT NOT NULL,
    reason TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'allowed', 'denied')),
    actor TEXT,
    decided REAL,
    told INTEGER NOT NULL DEFAULT 0,
    UNIQUE (job, idx)
) STRICT;

CREATE INDEX appeals_in_scope ON appeals (scope, state, created);
CREATE INDEX appeals_of_person ON appeals (person, scope, state);

CREATE TABLE reports (
    id TEXT PRIMARY KEY,
    created REAL NOT NULL,
    job TEXT NOT NULL,
    idx INTEGER NOT NULL,
    person TEXT NOT NULL,
    scope TEXT NOT NULL,
    reason TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
    UNIQUE (job, idx, person)
) STRICT;

CREATE INDEX reports_in_scope ON reports (scope, state, created);

-- Pictures that moderators withhold; a key is a finished file's or an unmarked picture's, and the scope `*` is every one.
CREATE TABLE quarantine (
    key TEXT NOT NULL,
    scope TEXT NOT NULL,
    owner TEXT NOT NULL,
    prompt TEXT NOT NULL,
    actor TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (key, scope)
) STRICT, WITHOUT ROWID;

-- Makes the names under which bans and the audit log keep somebody who asked to be forgotten.
CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO secrets (name, value) VALUES ('pseudonyms', lower(hex(randomblob(32))));
