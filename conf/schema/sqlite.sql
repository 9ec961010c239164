-- The durable store in SQLite. This file is built into libsessgate and run by
-- `sessgatectl db init`, in one transaction; running it again changes nothing.
--
-- Times are UTC milliseconds (*_ms). Columns are added, never renamed. A change
-- here raises schema_version below and SCHEMA_VERSION in durable_sqlite.c.

CREATE TABLE IF NOT EXISTS store (
  id             INTEGER PRIMARY KEY CHECK (id = 1),
  store_id       BLOB NOT NULL,               -- 16 random bytes
  epoch          INTEGER NOT NULL,            -- raised when a dump is restored
  schema_version INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO store (id, store_id, epoch, schema_version)
  VALUES (1, randomblob(16), 1, 1);

-- Counters: 0 to 15 are the fence groups, 255 the settings.
CREATE TABLE IF NOT EXISTS meta (
  grp   INTEGER PRIMARY KEY,
  seq   INTEGER NOT NULL DEFAULT 0,
  ident BLOB NOT NULL DEFAULT x''
) STRICT;
INSERT OR IGNORE INTO meta (grp) VALUES
  (0), (1), (2), (3), (4), (5), (6), (7),
  (8), (9), (10), (11), (12), (13), (14), (15), (255);

CREATE TABLE IF NOT EXISTS setting (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL,
  seq   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A rowid table on purpose: a row can be 70 KiB, and rows that large make a
-- tree without rowid deep. exports and data stand last, so that a read without
-- them touches no overflow page.
CREATE TABLE IF NOT EXISTS session (
  ref               BLOB PRIMARY KEY NOT NULL, -- 12 bytes; the first: group
  grp               INTEGER NOT NULL,          -- fence group, 0 to 15
  seq               INTEGER NOT NULL,
  version           INTEGER NOT NULL,
  realm             TEXT NOT NULL,
  user_id           TEXT NOT NULL,             -- '' = anonymous
  secret_hash       BLOB NOT NULL,             -- SHA-256, 32 bytes
  prev_hash         BLOB,
  prev_until_ms     INTEGER NOT NULL,
  successor_used_ms INTEGER NOT NULL,
  context_id        TEXT NOT NULL,
  contexts          TEXT NOT NULL,             -- joined by line feeds
  roles             TEXT NOT NULL,             -- joined by commas
  state             INTEGER NOT NULL,          -- 1 live, 2 ended
  end_reason        INTEGER NOT NULL,          -- enum sgate_reason
  ended_ms          INTEGER NOT NULL,
  created_ms        INTEGER NOT NULL,
  auth_ms           INTEGER NOT NULL,
  last_seen_ms      INTEGER NOT NULL,
  idle_ms           INTEGER NOT NULL,          -- a duration
  absolute_ms       INTEGER NOT NULL,          -- a moment
  client_ip         BLOB NOT NULL,             -- 0, 4 or 16 bytes
  user_agent        TEXT NOT NULL,
  format            INTEGER NOT NULL,          -- of exports and data
  exports           TEXT NOT NULL,
  data              TEXT NOT NULL              -- a JSON object
) STRICT;
-- What has changed since a number; a new session (seq 0) is no change.
CREATE INDEX IF NOT EXISTS change_log ON session (grp, seq) WHERE seq > 0;
-- A user's sessions; absolute_ms makes the index enough for the statistics.
CREATE INDEX IF NOT EXISTS user_live
  ON session (realm, user_id, state, created_ms, absolute_ms);
CREATE INDEX IF NOT EXISTS reap ON session (absolute_ms);

-- Only users that are blocked: the lock that orders creates and cleanups is
-- the file's write lock here, so no row is needed for it.
CREATE TABLE IF NOT EXISTS user_state (
  realm          TEXT NOT NULL,
  user_id        TEXT NOT NULL,
  blocked_ms     INTEGER NOT NULL,
  blocked_reason TEXT NOT NULL,
  PRIMARY KEY (realm, user_id)
) STRICT, WITHOUT ROWID;

-- event_id begins with 48 bits of milliseconds: its order is the order of
-- time, so the indexes end with it and not with at_ms.
CREATE TABLE IF NOT EXISTS audit (
  event_id  BLOB PRIMARY KEY NOT NULL,         -- 16 bytes: ms, host, counter
  at_ms     INTEGER NOT NULL,
  host      TEXT NOT NULL,
  actor     TEXT NOT NULL,
  kind      TEXT NOT NULL,
  reason    INTEGER NOT NULL,
  ref       BLOB,
  realm     TEXT NOT NULL,
  user_id   TEXT NOT NULL,
  client_ip BLOB NOT NULL,
  detail    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS audit_user ON audit (realm, user_id, event_id);
CREATE INDEX IF NOT EXISTS audit_ref ON audit (ref, event_id)
  WHERE ref IS NOT NULL;

CREATE TABLE IF NOT EXISTS idempotency (
  id         BLOB PRIMARY KEY NOT NULL,        -- 32 bytes
  body_hash  BLOB NOT NULL,                    -- 32 bytes
  ref        BLOB NOT NULL,
  key_id     INTEGER NOT NULL,
  nonce      BLOB NOT NULL,                    -- 16 bytes
  expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_expires ON idempotency (expires_ms);

CREATE TABLE IF NOT EXISTS service_key (
  name       TEXT PRIMARY KEY NOT NULL,
  key_hash   BLOB NOT NULL UNIQUE,             -- SHA-256, 32 bytes
  scopes     TEXT NOT NULL,
  realm      TEXT,                             -- NULL = all
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL                  -- 0 = never
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS lease (
  name     TEXT PRIMARY KEY NOT NULL,
  holder   TEXT NOT NULL,
  until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
