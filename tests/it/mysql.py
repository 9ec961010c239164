"""MySQL: sessgatectl db, a gateway on it, and the session manager's own tests
over a private MariaDB, alone and behind Redis."""

import os
import pwd
import subprocess
import time

import harness
from harness import Skip, case, main, needs, wait_until
from stores import Database, MariaDB, run, schema

# Programs of tests/world.c, and how many seconds each may take.
MANAGER_TESTS = ["manager_memory", "manager_processes", "manager_rotate",
                 "manager_settings", "manager_user", "parity", "session_manager", "spool_stores"]


class Site:
    """A database with both accounts, and a gateway that is set up for it."""

    def __init__(self, t):
        self.db = MariaDB.shared()
        self.gw = t.gateway()
        del self.gw.conf["sqlite"]
        data = os.path.dirname(self.gw.conf["keys"]["file"])
        os.mkdir(data, 0o700)
        if harness.IS_ROOT:
            os.chown(data, pwd.getpwnam(harness.USER).pw_uid, -1)
        self.database = Database(self.db, self.gw.dir)
        self.name = self.database.name
        # What MySQL answers is what is looked at here.
        self.gw.configure({"mysql": self.database.options(),
                           "cache": {"size": 0}})

    def ctl(self, *args, as_root=False):
        """sessgatectl: exit code, output."""
        more = ["-o", "mysql.user=root", "-o", "mysql.password_file="]
        done = subprocess.run(
            [harness.SESSGATECTL] + list(args) +
            ["--config", self.gw.conf_path] + (more if as_root else []),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd="/", timeout=60)
        return done.returncode, done.stdout.decode()

    def accounts(self):
        self.database.accounts()

    def set_up(self, t):
        t.equal(self.ctl("db", "init", as_root=True)[0], 0)
        self.accounts()
        return self


@case
def db_init_check_maintain_and_restored_do_what_they_say(t):
    site = Site(t)
    t.equal(site.ctl("db", "init", as_root=True)[0], 0)
    # The file is what is built in: it runs by hand as well.
    site.db.sql(schema("mysql.sql"), site.name)
    site.db.sql("DROP DATABASE %s; CREATE DATABASE %s" % (
        site.name, site.name))
    code, out = site.ctl("db", "check", as_root=True)
    t.equal(code, 1, out)
    t.match(out, "db init")
    t.equal(site.ctl("db", "init", as_root=True),
            (0, "the tables are there\n"))
    t.equal(site.ctl("db", "init", as_root=True),
            (0, "the tables are there\n"))
    site.accounts()
    t.equal(site.ctl("db", "check"), (0, "the tables are right\n"))
    t.equal(site.db.sql(
        "SELECT COUNT(*) FROM information_schema.PARTITIONS WHERE "
        "TABLE_NAME = 'audit' AND TABLE_SCHEMA = '%s'" % site.name), "7")
    code, out = site.ctl("db", "maintain", as_root=True)
    t.equal((code, out), (0, "audit: 0 weeks made, 0 dropped\n"))
    code, out = site.ctl("db", "maintain")
    t.equal(code, 0, out)
    code, out = site.ctl("db", "restored", as_root=True)
    t.equal(code, 2, out)
    t.match(out, "--yes")
    code, out = site.ctl("db", "restored", "--yes", as_root=True)
    t.equal(code, 0, out)
    t.match(out, "epoch 2")
    t.equal(site.db.sql("SELECT MIN(seq) FROM meta", site.name), "1000000")
    site.db.sql("ALTER USER 'sessgate_maintainer'@'localhost' IDENTIFIED BY "
                "'one' ACCOUNT UNLOCK")
    maintainer = ("-o", "mysql.user=sessgate_maintainer")
    t.equal(site.ctl("db", "maintain", *maintainer)[0], 0)
    t.equal(site.ctl("db", "init", *maintainer)[0], 0)
    for account in ((), maintainer):
        code, out = site.ctl("db", "restored", "--yes", *account)
        t.equal(code, 3, out)
        t.match(out, "mysql-accounts.sql")
    t.equal(site.db.sql("SELECT epoch FROM store", site.name), "2")


@case
def both_stores_in_one_configuration_are_refused(t):
    site = Site(t)
    site.gw.configure({"sqlite": {"file": "/tmp/x.db"}})
    code, out = site.ctl("config", "check")
    t.equal(code, 1, out)
    t.match(out, "sqlite.file: stands beside mysql.hosts or mysql.socket")
    del site.gw.conf["sqlite"]
    site.gw.configure({})


@case
def a_gateway_on_mysql_logs_in_checks_and_logs_out(t):
    site = Site(t).set_up(t)
    site.gw.start()
    token, session = site.gw.create("alice")
    cookie = "__Host-sid=" + token
    answer = site.gw.check(cookie)
    t.equal(answer.status, 200)
    t.equal(answer.header("Variable-REMOTE_USER"), "alice")
    ended = site.gw.api("DELETE", "v1/sessions/" + session["ref"],
                        address=site.gw.control)
    t.true(ended.status in (200, 204), ended)
    t.equal(site.gw.check(cookie).status, 401)
    t.equal(site.db.sql("SELECT GROUP_CONCAT(kind ORDER BY event_id) FROM "
                        "audit", site.name), "create,end")


@case
def a_gateway_whose_server_stops_answers_503_in_time_and_recovers(t):
    site = Site(t).set_up(t)
    site.gw.expect_log(r"mysql|store|unavailable")
    site.gw.start()
    token, _ = site.gw.create("alice")
    cookie = "__Host-sid=" + token
    t.equal(site.gw.check(cookie).status, 200)
    site.db.stop()
    try:
        for _ in range(6):
            begin = time.monotonic()
            t.equal(site.gw.check(cookie).status, 503)
            t.true(time.monotonic() - begin < 1.0, "answered in time")
    finally:
        site.db.go_on()
    wait_until(lambda: site.gw.check(cookie).status == 200, "recovered", 5)
    site.db.kill()
    t.equal(site.gw.check(cookie).status, 503)
    site.db.start()
    # The keeper finds out, within a poll.
    wait_until(lambda: site.gw.check(cookie).status == 200, "recovered", 3)


@case
def a_gateway_whose_tables_are_missing_does_not_start(t):
    site = Site(t)
    site.gw.expect_log(r"db init|mysql|stores")
    site.db.sql("CREATE USER IF NOT EXISTS 'sessgate'@'localhost'; "
                "ALTER USER 'sessgate'@'localhost' IDENTIFIED BY 'one' "
                "ACCOUNT UNLOCK; GRANT USAGE ON *.* TO "
                "'sessgate'@'localhost'; GRANT SELECT ON %s.* TO "
                "'sessgate'@'localhost'" % site.name)
    status, out = site.gw.run(timeout=60)
    t.true(status != 0, out)
    t.match(out, "mysql")


def manager_case(name, stores, **variables):
    def run(t):
        program = os.path.join(harness.BUILD, "tests", "unit", name)
        if not os.access(program, os.X_OK):
            raise Skip("tests/unit/%s is not built" % name)
        if "SESSGATE_TEST_REDIS" in variables:
            needs("redis-server")
        done = subprocess.run(
            [program], env=dict(os.environ, **variables,
                                SESSGATE_TEST_MYSQL=MariaDB.shared().socket),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=400)
        out = done.stdout.decode("utf-8", "replace")
        t.true(done.returncode == 0 and "\nnot ok" not in out,
               "%s over %s:\n%s" % (name, stores, "\n".join(
                   line for line in out.splitlines()
                   if not line.startswith("ok "))))
    run.__name__ = "%s_holds_over_%s" % (name, stores)
    return run


for manager_test in MANAGER_TESTS:
    case(manager_case(manager_test, "mysql"))
    case(manager_case(manager_test, "redis_and_mysql",
                      SESSGATE_TEST_REDIS="1"))

if __name__ == "__main__":
    run(main)
