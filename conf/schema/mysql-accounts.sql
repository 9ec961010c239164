-- The two accounts of a MySQL store, and what each may do. As the server's
-- administrator:
--
--   mariadb -e 'CREATE DATABASE sessgate'
--   mariadb sessgate < mysql.sql
--   mariadb sessgate < mysql-accounts.sql
--
-- The grants are for the current database. The accounts are made locked and
-- without a password; give each one, and 'localhost' another name where the
-- server is another machine:
--
--   ALTER USER 'sessgate'@'localhost' IDENTIFIED BY '...' ACCOUNT UNLOCK;

-- The gateway. It cannot change or delete what audit says, and makes no tables.
CREATE USER IF NOT EXISTS 'sessgate'@'localhost' ACCOUNT LOCK;
GRANT SELECT ON store TO 'sessgate'@'localhost';
GRANT SELECT, UPDATE ON meta TO 'sessgate'@'localhost';
GRANT SELECT, INSERT ON audit TO 'sessgate'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE ON setting TO 'sessgate'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE ON session TO 'sessgate'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE ON user_state TO 'sessgate'@'localhost';
GRANT SELECT, UPDATE ON user_lock TO 'sessgate'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency TO 'sessgate'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE ON service_key TO 'sessgate'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE ON lease TO 'sessgate'@'localhost';

-- The maintainer, for `sessgatectl db init` and `db maintain`: it makes tables,
-- and makes and drops partitions of audit. It sees and writes no sessions; `db
-- restored`, which does, is for the administrator who loaded the dump, and so
-- is the `db init` that converts the tables of an older version.
CREATE USER IF NOT EXISTS 'sessgate_maintainer'@'localhost' ACCOUNT LOCK;
GRANT CREATE ON * TO 'sessgate_maintainer'@'localhost';
GRANT SELECT, INSERT, CREATE ON store
  TO 'sessgate_maintainer'@'localhost';
GRANT SELECT, INSERT, UPDATE, CREATE ON meta
  TO 'sessgate_maintainer'@'localhost';
GRANT SELECT, INSERT, CREATE ON user_lock
  TO 'sessgate_maintainer'@'localhost';
GRANT SELECT, INSERT, CREATE, ALTER, DROP ON audit
  TO 'sessgate_maintainer'@'localhost';
