-- What a platform was told has arrived, until it has been answered or is a job: whoever dies in between has a successor
-- who reads it here. `asked` is the adapter's own; `received` is in seconds since 1970.

CREATE TABLE arrivals (
    platform TEXT NOT NULL,
    event TEXT NOT NULL,
    asked TEXT NOT NULL,
    runner TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    received REAL NOT NULL,
    PRIMARY KEY (platform, event)
) STRICT, WITHOUT ROWID;
