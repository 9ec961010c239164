-- The durable store in MariaDB 10.11 (or newer). This file is built into
-- libsessgate and run by `sessgatectl db init`, a statement after the other;
-- running it again changes nothing. Each statement ends with a semicolon at
-- the end of a line.
--
-- Times are UTC milliseconds (*_ms). All text is VARBINARY or a blob: it is
-- compared byte by byte, where utf8mb4_bin would take 'anna' and 'anna ' for
-- one user. Columns are added, never renamed. A change here raises
-- schema_version below and SCHEMA_VERSION in durable_mysql.h, and needs a
-- conversion in durable_mysql_schema.c.
--
-- Versions: 1 had a row in user_state for every user, and no user_lock; in
-- session nothing but prev_hash could be NULL.

CREATE TABLE IF NOT EXISTS store (
  id             TINYINT NOT NULL PRIMARY KEY CHECK (id = 1),
  store_id       BINARY(16) NOT NULL,         -- random
  epoch          INT NOT NULL,                -- raised by `db restored`
  schema_version INT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Counters: 0 to 15 are the fence groups, 255 the settings. ident: the server,
-- and the start of it, that gave the last number.
CREATE TABLE IF NOT EXISTS meta (
  grp   SMALLINT NOT NULL PRIMARY KEY,
  seq   BIGINT NOT NULL DEFAULT 0,
  ident VARBINARY(32) NOT NULL DEFAULT ''
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT IGNORE INTO meta (grp) VALUES
  (0), (1), (2), (3), (4), (5), (6), (7),
  (8), (9), (10), (11), (12), (13), (14), (15), (255);

CREATE TABLE IF NOT EXISTS setting (
  name  VARBINARY(64) NOT NULL PRIMARY KEY,
  value BLOB NOT NULL,
  seq   BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- NULL is what is not set, and takes no room; 0 there means the same.
-- change_log: what has changed since a number (a new session, without seq, is
-- no change). user_live: absolute_ms makes the index enough for the statistics.
CREATE TABLE IF NOT EXISTS session (
  ref               BINARY(12) NOT NULL PRIMARY KEY, -- the first byte: group
  grp               SMALLINT NOT NULL,        -- fence group, 0 to 15
  seq               BIGINT,
  version           BIGINT NOT NULL,
  realm             VARBINARY(64) NOT NULL,
  user_id           VARBINARY(128) NOT NULL,  -- '' = anonymous
  secret_hash       BINARY(32) NOT NULL,      -- SHA-256
  prev_hash         BINARY(32),
  prev_until_ms     BIGINT,
  successor_used_ms BIGINT,
  context_id        VARBINARY(128) NOT NULL,
  contexts          BLOB NOT NULL,            -- joined by line feeds
  roles             BLOB NOT NULL,            -- joined by commas
  state             TINYINT NOT NULL,         -- 1 live, 2 ended
  end_reason        SMALLINT NOT NULL,        -- enum sgate_reason
  ended_ms          BIGINT,
  created_ms        BIGINT NOT NULL,
  auth_ms           BIGINT NOT NULL,
  last_seen_ms      BIGINT NOT NULL,
  idle_ms           BIGINT NOT NULL,          -- a duration
  absolute_ms       BIGINT NOT NULL,          -- a moment
  client_ip         VARBINARY(16) NOT NULL,   -- 0, 4 or 16 bytes
  user_agent        VARBINARY(255) NOT NULL,
  format            SMALLINT NOT NULL,        -- of exports and data
  exports           BLOB NOT NULL,
  data              MEDIUMBLOB NOT NULL,      -- a JSON object
  KEY change_log (grp, seq),
  KEY user_live (realm, user_id, state, created_ms, absolute_ms),
  KEY reap (absolute_ms)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4
  COLLATE=utf8mb4_bin;

-- Users that are blocked; read under their lock, of table user_lock.
CREATE TABLE IF NOT EXISTS user_state (
  realm          VARBINARY(64) NOT NULL,
  user_id        VARBINARY(128) NOT NULL,
  blocked_ms     BIGINT NOT NULL DEFAULT 0,
  blocked_reason VARBINARY(128) NOT NULL DEFAULT '',
  PRIMARY KEY (realm, user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Locks that order creates and cleanups: 4096 rows for all users, who share
-- them by a hash of realm and user (mydb_user_place()). Never changed.
CREATE TABLE IF NOT EXISTS user_lock (
  id SMALLINT NOT NULL PRIMARY KEY
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT IGNORE INTO user_lock (id)
  SELECT a.grp * 256 + b.grp * 16 + c.grp
  FROM meta a, meta b, meta c
  WHERE a.grp < 16 AND b.grp < 16 AND c.grp < 16;

-- event_id begins with 48 bits of milliseconds: its order is the order of
-- time, so it makes the partitions and ends the keys. `sessgatectl db
-- maintain` cuts weeks off `future` and drops those that are too old.
CREATE TABLE IF NOT EXISTS audit (
  event_id  BINARY(16) NOT NULL PRIMARY KEY,  -- ms, host, counter
  at_ms     BIGINT NOT NULL,
  host      VARBINARY(64) NOT NULL,
  actor     VARBINARY(64) NOT NULL,
  kind      VARBINARY(16) NOT NULL,
  reason    SMALLINT NOT NULL,
  ref       BINARY(12),
  realm     VARBINARY(64) NOT NULL,
  user_id   VARBINARY(128) NOT NULL,
  client_ip VARBINARY(16) NOT NULL,
  detail    VARBINARY(256) NOT NULL,
  KEY audit_user (realm, user_id, event_id),
  KEY audit_ref (ref, event_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
  PARTITION BY RANGE COLUMNS (event_id) (
    PARTITION future VALUES LESS THAN (MAXVALUE)
  );

CREATE TABLE IF NOT EXISTS idempotency (
  id         BINARY(32) NOT NULL PRIMARY KEY,
  body_hash  BINARY(32) NOT NULL,
  ref        BINARY(12) NOT NULL,
  key_id     SMALLINT NOT NULL,
  nonce      BINARY(16) NOT NULL,
  expires_ms BIGINT NOT NULL,
  KEY idempotency_expires (expires_ms)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS service_key (
  name       VARBINARY(64) NOT NULL PRIMARY KEY,
  key_hash   BINARY(32) NOT NULL UNIQUE,      -- SHA-256
  scopes     VARBINARY(64) NOT NULL,
  realm      VARBINARY(64),                   -- NULL = all
  created_ms BIGINT NOT NULL,
  expires_ms BIGINT NOT NULL                  -- 0 = never
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS lease (
  name     VARBINARY(128) NOT NULL PRIMARY KEY,
  holder   VARBINARY(128) NOT NULL,
  until_ms BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Last: a store without this row is not made yet.
INSERT IGNORE INTO store (id, store_id, epoch, schema_version)
  VALUES (1, RANDOM_BYTES(16), 1, 2);
