"""`sessgatectl doctor`: what it says of stores that are right, and of each thing
that is wrong with them."""

import json
import os
import subprocess

import harness
from harness import case, main, needs, wait_until
from primaries import Pair
from sentinels import Watched
from stores import Fleet, Redis, run

# Without it nobody listens.
Fleet.has_local_cache = True

DURABLE = ["--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"]
RIGHT = {"appendonly": "yes", "maxmemory": "64mb",
         "maxmemory_policy": "volatile-lru", "min_replicas_to_write": "1"}

OF_HOST = {"configuration", "keys", "password", "file", "cookie", "runtime_dir", "stores"}


class Doctor:
    def __init__(self, t, host):
        self.t, self.host = t, host
        if "spool" in host.gw.conf:
            # On a small disk, too.
            host.gw.configure({"spool": {"max": "1 MiB"}})

    def run(self, *args, before=()):
        done = subprocess.run(
            list(before) + [
                os.path.join(harness.BUILD, "gateway", "sessgatectl"),
                "doctor", "--config", self.host.gw.conf_path] + list(args),
            env=dict(os.environ, ASAN_OPTIONS=os.environ.get(
                "ASAN_OPTIONS", "") + ":verify_asan_link_order=0"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd="/", timeout=60)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def findings(self, code, is_host=False, **more):
        """{(where, check): (state, text, todo)}: of the stores and the spool, or of
        all else of this host."""
        got, out, err = self.run("--json", **more)
        self.t.equal((got, err), (code, ""), out)
        answer = json.loads(out)
        found = {(f["where"], f["check"]): (f["state"], f["text"], f["todo"])
                 for f in answer["findings"]}
        self.t.equal(len(found), len(answer["findings"]), "each check once")
        states = [state for state, _, _ in found.values()]
        self.t.equal((answer["errors"], answer["warnings"], answer["unseen"]),
                     tuple(states.count(s) for s in
                           ("error", "warning", "unseen")))
        return {key: value for key, value in found.items()
                if is_host == (key[0].split()[0] in OF_HOST)}

    def bad(self, code, **more):
        """Those that are not ok."""
        return {key: value[:2] for key, value in
                self.findings(code, **more).items() if value[0] != "ok"}

    def expect(self, code, where, check, state, text):
        """That one is as told, and what to do is said."""
        found = self.findings(code)
        got = found.get((where, check), ("missing", "", ""))
        self.t.equal(got[:2], (state, text), repr(found))
        self.t.true(got[2] or state == "unseen", "it says what to do")


@case
def servers_that_are_right_and_each_thing_that_is_wrong(t):
    pair = Pair(t, lines=DURABLE)
    watched = Watched(t, **RIGHT)
    fleet = pair.fleet(start=False, hosts=1, redis=watched.master,
                       conf=watched.conf())
    doctor = Doctor(t, fleet.hosts[0])
    db, replica = pair.primary, pair.replica
    first, second = "mysql " + db.address, "mysql " + replica.address
    redis = "redis 127.0.0.1:%d" % watched.master.port
    # As the doctor sees all of it: nothing to do.
    t.equal(doctor.bad(0), {})
    found = doctor.findings(0)
    t.equal(found[(first, "replication")],
            ("ok", "semi-synchronous, 1 acknowledge", ""))
    t.equal(found[(second, "replication")],
            ("ok", "a replica that acknowledges", ""))
    t.equal(found[("mysql", "primary")][0], "ok")
    t.equal(sorted(c for w, c in found if w == redis),
            ["answers", "appendonly", "clock", "disk", "listening",
             "maxmemory", "maxmemory-policy", "peeking", "replicas",
             "role"])
    t.equal(sum(w.startswith("sentinel ") for w, _ in found), 3)
    fleet.hosts[0].gw.configure({"cookie": {"name": "__Host-sid", "secure": True}})
    code, out, err = doctor.run()
    t.equal((code, err), (0, ""))
    t.match(out, r"^STATE +WHERE +CHECK +HOW IT IS\n")
    t.true("What to do" not in out, out)
    before = db.sql("SELECT GROUP_CONCAT(seq) FROM meta", fleet.db.name)

    # And what is wrong, one at a time.
    db.sql("SET GLOBAL innodb_flush_log_at_trx_commit=2")
    doctor.expect(1, first, "innodb_flush_log_at_trx_commit", "error", "is 2")
    code, out, _ = doctor.run()
    t.equal(code, 1)
    t.match(out, r"(?m)^error +%s +innodb_flush_log_at_trx_commit +is 2$" %
            first)
    t.match(out, r"What to do:\n%s: innodb_flush_log_at_trx_commit: set " %
            first)
    db.sql("SET GLOBAL innodb_flush_log_at_trx_commit=1")
    replica.sql("SET GLOBAL sync_binlog=0")
    doctor.expect(1, second, "sync_binlog", "error", "is 0")
    replica.sql("SET GLOBAL sync_binlog=1")
    db.sql("SET GLOBAL rpl_semi_sync_master_wait_point=AFTER_COMMIT")
    doctor.expect(1, first, "replication", "error", "waits AFTER_COMMIT")
    db.sql("SET GLOBAL rpl_semi_sync_master_wait_point=AFTER_SYNC")
    db.sql("SET GLOBAL rpl_semi_sync_master_enabled=0")
    doctor.expect(1, first, "replication", "error", "is not semi-synchronous")
    db.sql("SET GLOBAL rpl_semi_sync_master_enabled=1")
    replica.sql("STOP SLAVE")
    wait_until(lambda: db.value("Rpl_semi_sync_master_clients") == "0",
               "the primary notices")
    doctor.expect(1, second, "replication", "error", "it does not replicate")
    doctor.expect(1, first, "replication", "error",
                  "is semi-synchronous, and 0 replicas acknowledge")
    replica.sql("START SLAVE")
    replica.sql("SET GLOBAL read_only=0")
    doctor.expect(1, "mysql", "primary", "error",
                  "2 of mysql.hosts take writes")
    replica.sql("SET GLOBAL read_only=1")
    db.sql("SET GLOBAL read_only=1")
    doctor.expect(1, "mysql", "primary", "error",
                  "0 of mysql.hosts take writes")
    db.sql("SET GLOBAL read_only=0")
    account = "'sessgate'@'127.0.0.1'"
    fleet.db.sql("GRANT DELETE ON audit TO " + account)
    doctor.expect(0, first, "account", "warning",
                  '"sessgate" may more than sessgate needs')
    fleet.db.sql("REVOKE DELETE ON audit FROM %s; REVOKE UPDATE ON session "
                 "FROM %s" % (account, account))
    doctor.expect(1, first, "account", "error",
                  '"sessgate" lacks some of its grants')
    fleet.db.sql("GRANT UPDATE ON session TO " + account)
    master = watched.master
    master.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    doctor.expect(1, redis, "maxmemory-policy", "error", "is allkeys-lru")
    master.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    master.command("CONFIG", "SET", "appendonly", "no")
    doctor.expect(0, redis, "appendonly", "warning", "is no")
    master.command("CONFIG", "SET", "appendonly", "yes")
    master.command("CONFIG", "SET", "maxmemory", "0")
    doctor.expect(0, redis, "maxmemory", "warning", "is 0 bytes")
    master.command("CONFIG", "SET", "maxmemory", "64mb")
    master.command("CONFIG", "SET", "min-replicas-to-write", "0")
    doctor.expect(0, redis, "replicas", "warning",
                  "1 replicas, and it would write without them")
    master.command("CONFIG", "SET", "min-replicas-to-write", "2")
    t.equal(doctor.bad(0), {}, "one of two is near: it is the server's to say")
    master.command("CONFIG", "SET", "min-replicas-to-write", "1")
    gone = watched.sentinels[0]
    gone.kill()
    found = doctor.bad(0)
    t.equal(list(found), [("sentinel " + gone.address, "sentinel")])
    t.equal(found[("sentinel " + gone.address, "sentinel")][0], "warning")
    t.equal(db.sql("SELECT GROUP_CONCAT(seq) FROM meta", fleet.db.name),
            before, "nothing was written")
    # Stores that do not answer at all.
    replica.kill()
    found = doctor.bad(3)
    t.equal(found[(second, "answers")][0], "error")
    t.true((first, "answers") not in found, "the other one is looked at")
    # Nobody is told to promote one because the network is down here.
    db.kill()
    found = doctor.findings(3)
    t.equal(found[("mysql", "primary")][:2],
            ("error", "none of mysql.hosts that answer takes writes"))
    t.match(found[("mysql", "primary")][2], "^start those that do not answer")
    db.start()


@case
def what_the_account_may_not_see_is_told_as_that(t):
    redis = Redis(t, **RIGHT)
    fleet = Fleet(t, hosts=1, redis=redis, is_direct=True, start=False)
    doctor = Doctor(t, fleet.hosts[0])
    host = fleet.hosts[0]
    redis.command("ACL", "SETUSER", "default", "-info")
    found = doctor.bad(1)
    where = "redis unix:" + redis.socket
    t.equal(found[(where, "settings")][0], "unseen")
    t.match(found[(where, "settings")][1], "NOPERM")
    t.equal([key for key in found if key[0] == where], [(where, "settings")])
    # One server without a replica, not as it should be.
    mysql = "mysql " + fleet.db.server.socket
    t.equal(found[(mysql, "innodb_flush_log_at_trx_commit")],
            ("error", "is 2"))
    t.equal({check for w, check in found if w == mysql},
            {"innodb_flush_log_at_trx_commit"})
    # A replica that nobody should have named.
    redis.command("ACL", "SETUSER", "default", "+info")
    redis.command("REPLICAOF", "127.0.0.1", "1")
    doctor.expect(1, where, "role", "error", "is a replica")
    redis.kill()
    t.equal(doctor.bad(3)[(where, "answers")][0], "error")
    # Tables of nobody.
    fleet.db.sql("DROP TABLE store")
    found = doctor.bad(3)
    t.equal(found[(mysql, "schema")][0], "error")
    t.match(found[(mysql, "schema")][1], "sessgatectl db init")
    host.gw.configure({"mysql": {"user": "nobody"}})
    t.match(doctor.bad(3)[(mysql, "answers")][1],
            "correct mysql.user, mysql.password_file or the account")


@case
def what_the_local_cache_may_not_hear_is_told(t):
    redis = Redis(t, **RIGHT)
    fleet = Fleet(t, hosts=1, redis=redis, is_direct=True, start=False)
    host = fleet.hosts[0]
    doctor = Doctor(t, host)
    key = ("redis unix:" + redis.socket, "listening")
    t.equal(doctor.findings(1)[key],
            ("ok", "the local cache can hear what is written", ""))
    for lacks, gives in (("-client|id", "+client|id"),
                         ("-client|tracking", "+client|tracking"),
                         ("-subscribe", "+subscribe"),
                         ("-getrange", "+getrange"),
                         ("resetchannels", "&__redis__:invalidate")):
        redis.command("ACL", "SETUSER", "default", lacks)
        state, text, todo = doctor.findings(1)[key]
        t.equal(state, "warning", lacks)
        t.match(text, "NOPERM")
        t.true(gives in todo, todo)
        redis.command("ACL", "SETUSER", "default", gives)
    t.equal(doctor.findings(1)[key][0], "ok")
    host.gw.configure({"cache": {"size": 0}})
    t.true(key not in doctor.findings(1), "there is none")


@case
def that_checks_have_to_fetch_data_is_told(t):
    redis = Redis(t, **RIGHT)
    fleet = Fleet(t, hosts=1, redis=redis, is_direct=True, start=False)
    doctor = Doctor(t, fleet.hosts[0])
    key = ("redis unix:" + redis.socket, "peeking")
    t.equal(doctor.findings(1)[key],
            ("ok", "a check does not fetch a session's data", ""))
    for lacks in ("multi", "exec"):
        redis.command("ACL", "SETUSER", "default", "-" + lacks)
        state, text, todo = doctor.findings(1)[key]
        t.equal(state, "warning", lacks)
        t.match(text, "NOPERM")
        t.true("+" + lacks in todo, todo)
        redis.command("ACL", "SETUSER", "default", "+" + lacks)
    t.equal(doctor.findings(1)[key][0], "ok")


@case
def each_thing_that_is_wrong_with_the_spool_is_told(t):
    fleet = Fleet(t, hosts=1, is_direct=True)
    host = fleet.hosts[0]
    host.gw.stop()
    doctor = Doctor(t, host)
    path = host.gw.conf["spool"]["dir"]
    where = "spool " + path
    owner = os.stat(path).st_uid

    def of_spool(**more):
        return {check: value[:2] for (w, check), value in
                doctor.findings(1, **more).items() if w == where}

    found = of_spool()
    t.equal(found["directory"], ("ok", "is the gateway's"))
    t.equal(found["room"][0], "ok")
    os.chmod(path, 0o750)
    doctor.expect(1, where, "directory", "error", "belongs to uid %d with "
                  "mode 0750, and the gateway is uid %d" % (owner, owner))
    os.chmod(path, 0o700)
    os.rename(path, path + ".old")
    t.equal(of_spool(), {"directory": (
        "ok", "is not there: the first start makes it")})
    os.symlink(path + ".old", path)
    doctor.expect(1, where, "directory", "error",
                  "is a symbolic link, which is not followed")
    os.unlink(path)
    os.rename(path + ".old", path)
    if not harness.IS_ROOT:
        return
    # A disk of its own, which nobody else sees.
    small = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=512k,mode="
             "0700,uid=%d none %s && exec \"$@\"" % (owner, path), "sh"]
    t.equal(of_spool(before=small)["room"],
            ("warning", "0 MiB, of which it may take 1"))


@case
def clocks_that_are_apart_are_told(t):
    needs("faketime")
    fleet = Fleet(t, hosts=1, redis=Redis(t, **RIGHT), is_direct=True,
                  start=False)
    doctor = Doctor(t, fleet.hosts[0])
    found = {key: value for key, value in doctor.findings(1).items()
             if key[1] == "clock"}
    t.equal({value[0] for value in found.values()}, {"ok"})
    t.equal(len(found), 2)
    found = {key: value for key, value in doctor.findings(
        1, before=["faketime", "-f", "+1h"]).items() if key[1] == "clock"}
    t.equal({value[0] for value in found.values()}, {"warning"})
    for _, text, _ in found.values():
        t.match(text, r"^(3599|3600)\.\d\d\d s from this host's$")


@case
def a_file_needs_its_tables_alone(t):
    gw = t.gateway()
    gw.start()
    gw.stop()

    class Host:
        pass

    host = Host()
    host.gw = gw
    t.equal(Doctor(t, host).findings(0),
            {("sqlite", "schema"): ("ok", "its tables are there", "")})


# ---- this host -----------------------------------------------------------------


def a_host(t, conf=None):
    """One that is right: a gateway on SQLite, as a site would have it."""
    gw = t.gateway(dict({"cookie": {"name": "__Host-sid", "secure": True}}, **(conf or {})))
    gw.start()
    gw.stop()

    class Host:
        pass

    host = Host()
    host.gw = gw
    return Doctor(t, host), gw


def states(found):
    return {(where.split()[0], check): state for (where, check), (state, _, _) in found.items()}


@case
def a_host_that_is_right_has_no_finding(t):
    doctor, _ = a_host(t)
    found = doctor.findings(0, is_host=True)
    t.equal(set(states(found).values()), {"ok"}, found)
    t.equal({check for check in states(found)}, {
        ("configuration", "rights"), ("keys", "file"), ("keys", "number"), ("keys", "age"),
        ("file", "rights"), ("cookie", "secure"), ("cookie", "prefix"), ("cookie", "samesite"),
        ("runtime_dir", "directory")})


@case
def each_thing_that_is_wrong_with_a_host_is_told(t):
    doctor, gw = a_host(t)
    keys, db = gw.conf["keys"]["file"], gw.conf["sqlite"]["file"]

    def expect(code, where, check, state, text, conf=None):
        if conf:
            before = {section: {name: gw.conf.get(section, {}).get(name) for name in options}
                      for section, options in conf.items()}
            gw.configure(conf)
        found = doctor.findings(code, is_host=True)
        got = {(w.split()[0], c): value for (w, c), value in found.items()}[(where, check)]
        t.equal(got[0], state, got)
        t.match(got[1], text)
        t.true(got[2] or where == "keys", "what to do is said")
        if conf:
            gw.configure(before)

    def with_mode(path, mode, *more):
        right = os.stat(path).st_mode & 0o7777
        os.chmod(path, mode)
        expect(*more)
        os.chmod(path, right)

    with_mode(gw.conf_path, 0o666, 1, "configuration", "rights", "error", "0666")
    with_mode(db, 0o644, 1, "file", "rights", "error", "0644")
    with_mode(gw.run_dir, 0o777, 1, "runtime_dir", "directory", "error", "with mode 0777")
    with_mode(keys, 0o644, 1, "keys", "file", "error", "chmod")
    expect(0, "cookie", "secure", "warning", "plain http",
           {"cookie": {"name": "sid", "secure": False}})
    expect(0, "cookie", "prefix", "warning", "another host", {"cookie": {"name": "sid"}})
    expect(0, "cookie", "samesite", "warning", "other sites", {"cookie": {"samesite": "None"}})
    with open(keys) as f:
        right = f.read()
    needs("faketime")
    for by, text in (("+400d", "is 400 days old"), ("-2d", "in the future")):
        code, out, err = doctor.run("--json", before=["faketime", "-f", by])
        t.equal((code, err), (0, ""), out)
        told = {(f["where"].split()[0], f["check"]): f for f in json.loads(out)["findings"]}
        t.equal(told[("keys", "age")]["state"], "warning")
        t.match(told[("keys", "age")]["text"], text)
    # A second key that has signed, and that nobody needs any more.

    def ctl(*args):
        return subprocess.run([harness.SESSGATECTL, "-c", gw.conf_path, *args],
                              capture_output=True, text=True, timeout=60,
                              check=False).returncode == 0
    t.true(ctl("key", "new"))
    gw.start()
    wait_until(lambda: ctl("key", "use", "2"), "the host has the key")
    gw.stop()
    code, out, err = doctor.run("--json", before=["faketime", "-f", "+40d"])
    told = {(f["where"].split()[0], f["check"]): f for f in json.loads(out)["findings"]}
    t.equal(told[("keys", "number")]["state"], "warning", out)
    t.match(told[("keys", "number")]["text"], "2 keys, of which 1 verify no session")
    t.match(told[("keys", "number")]["todo"], "key retire")
    with open(keys, "w") as f:
        f.write(right)
    with open(keys, "w") as f:
        f.write("no keys\n")
    expect(1, "keys", "file", "error", "keys:1")
    expect(1, "stores", "asked", "error", "no store was asked")
    os.rename(keys, keys + ".away")
    expect(1, "keys", "file", "warning", "is not there")


@case
def passwords_that_others_read_are_told(t):
    fleet = Fleet(t, hosts=1, is_direct=True, start=False)
    gw = fleet.hosts[0].gw
    path = os.path.join(gw.dir, "password")
    with open(path, "w") as f:
        f.write("secret\n")
    gw.configure({"mysql": {"password_file": path}})
    doctor = Doctor(t, fleet.hosts[0])

    def found():
        _, out, _ = doctor.run("--json")
        return {f["check"]: (f["state"], f["text"]) for f in json.loads(out)["findings"]
                if f["where"] == "password " + path}
    for mode, rights in ((0o644, "error"), (0o660, "error"), (0o640, "ok")):
        os.chmod(path, mode)
        t.equal(found()["rights"], (rights, "its mode is %04o" % mode))
    if harness.IS_ROOT:
        os.chown(path, 0, 0)
        t.equal(found()["readable"], ("error", "Permission denied"))
    os.unlink(path)
    t.equal(found(), {"readable": ("error", "No such file or directory")})


if __name__ == "__main__":
    run(main)
