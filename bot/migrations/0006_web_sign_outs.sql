-- Sessions of the web page that were signed out: a cookie that was copied before must not live on until it expires.
-- `until` (seconds since 1970) is when it would have expired by itself.

CREATE TABLE web_sign_outs (
    session TEXT PRIMARY KEY,
    until REAL NOT NULL
) STRICT, WITHOUT ROWID;
