-- The web page: who may sign in, what its cookies are signed with, and what guests had on a day (YYYY-MM-DD, UTC).
-- A session names its account and `version`, which changes with the password, so that old sessions end.

CREATE TABLE web_accounts (
    name TEXT PRIMARY KEY,
    password TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('member', 'moderator', 'operator')),
    version TEXT NOT NULL,
    created REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE web_secrets (
    name TEXT PRIMARY KEY,
    secret TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- `address` is a keyed hash: nobody's address is kept.
CREATE TABLE web_guests (
    address TEXT NOT NULL,
    day TEXT NOT NULL,
    pictures INTEGER NOT NULL,
    PRIMARY KEY (address, day)
) STRICT, WITHOUT ROWID;
