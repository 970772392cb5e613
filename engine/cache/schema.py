"""Tables of the cache's index. Seeds are text, since SQLite's integers end at 2^63."""

from __future__ import annotations

APPLICATION_ID = 0x4561_736C
SCHEMA_VERSION = 1
"""An index of another version is deleted and rebuilt from the side-cars."""

SCHEMA = """
CREATE TABLE entries (
    key TEXT PRIMARY KEY,
    tier TEXT NOT NULL,
    scope TEXT NOT NULL,
    owner TEXT NOT NULL,
    family TEXT NOT NULL,
    generation_key TEXT NOT NULL,
    prompt TEXT NOT NULL,
    folded TEXT NOT NULL,
    model TEXT NOT NULL,
    seed TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created REAL NOT NULL,
    last_used REAL NOT NULL,
    uses INTEGER NOT NULL,
    parameters TEXT NOT NULL
);
CREATE INDEX entries_by_use ON entries (last_used);
CREATE INDEX entries_by_scope ON entries (scope, last_used);
CREATE INDEX entries_by_owner ON entries (owner);
CREATE INDEX entries_by_generation ON entries (generation_key);
CREATE INDEX entries_by_family ON entries (family, created) WHERE tier = 'unmarked';
CREATE INDEX entries_by_sha256 ON entries (sha256) WHERE tier = 'finished';

CREATE TABLE served (
    key TEXT NOT NULL REFERENCES entries (key) ON DELETE CASCADE,
    owner TEXT NOT NULL,
    PRIMARY KEY (key, owner)
) WITHOUT ROWID;
CREATE INDEX served_by_owner ON served (owner);

CREATE TABLE pending (key TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;

CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    text_hash TEXT NOT NULL,
    filter_version TEXT NOT NULL,
    verdict TEXT NOT NULL,
    UNIQUE (text_hash, filter_version)
);

CREATE TABLE counters (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (scope, name)
) WITHOUT ROWID;

CREATE TABLE totals (
    scope TEXT NOT NULL,
    tier TEXT NOT NULL,
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (scope, tier)
) WITHOUT ROWID;

CREATE TABLE state (bytes INTEGER NOT NULL, complete INTEGER NOT NULL);
INSERT INTO state VALUES (0, 0);

CREATE TRIGGER entry_added AFTER INSERT ON entries BEGIN
    UPDATE state SET bytes = bytes + new.bytes;
    INSERT INTO totals VALUES (new.scope, new.tier, 1, new.bytes)
        ON CONFLICT DO UPDATE SET entries = entries + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER entry_removed AFTER DELETE ON entries BEGIN
    UPDATE state SET bytes = bytes - old.bytes;
    UPDATE totals SET entries = entries - 1, bytes = bytes - old.bytes
        WHERE scope = old.scope AND tier = old.tier;
    DELETE FROM totals WHERE scope = old.scope AND tier = old.tier AND entries = 0;
END;
"""
