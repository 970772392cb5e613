-- What pictures cost where GPUs are rented, and what the cache saved. Kept when jobs are forgotten: a month's budget
-- has to add up. `month` is YYYY-MM (UTC). A drawn picture has `spent`, one from the cache `saved`: what the work on it
-- had cost when it was drawn.

CREATE TABLE costs (
    id INTEGER PRIMARY KEY,
    month TEXT NOT NULL,
    scope TEXT NOT NULL,
    job TEXT NOT NULL,
    idx INTEGER NOT NULL,
    generation_key TEXT,
    gpu TEXT NOT NULL,
    gpu_seconds REAL NOT NULL,
    idle_seconds REAL NOT NULL,
    spent REAL NOT NULL,
    saved REAL NOT NULL
) STRICT;

CREATE INDEX costs_by_month ON costs (month, scope);
CREATE INDEX costs_by_generation ON costs (generation_key) WHERE spent > 0;
CREATE INDEX costs_of_job ON costs (job, idx);
