"""conf/README.md on MySQL and Redis: what it tells an administrator to run and
to write is run and written here, and a gateway works on what comes of it."""

import os
import pwd
import re
import socket
import subprocess
import time

import harness
from harness import case, main, wait_until
from readme import blocks, runtime_files
from scenario import STORES
from stores import MariaDB, Redis, directory, run

PAGE = "conf/README.md"
ACCOUNT = "conf/redis/sessgate.conf"


class Site:
    """One host as the page has it: our paths stand for /etc and /run."""

    def __init__(self, t):
        self.t = t
        self.db = MariaDB.shared()
        self.redis = Redis(t, is_tcp=True, start=False)
        with socket.socket() as probe:  # The configuration names it first.
            probe.bind(("127.0.0.1", 0))
            self.redis.port = probe.getsockname()[1]
        self.gw = t.gateway({"listener": {"login": {"mode": "0600"}}})
        self.gw.expect_log(r"listener\.login")
        self.etc = directory(t, "sgetc.")
        self.bin = os.path.join(self.etc, "bin")
        os.mkdir(self.bin)
        self.program("mariadb", 'exec %s --no-defaults -uroot -S %s "$@"' % (
            self.db.client, self.db.socket))
        self.program("sessgatectl", 'exec %s -c %s "$@"' % (
            harness.SESSGATECTL, self.gw.conf_path))
        for name in ("chgrp", "systemctl"):  # There is no system here.
            self.program(name, "exit 0")
        data = os.path.dirname(self.gw.conf["keys"]["file"])
        os.mkdir(data, 0o700)
        for path in (data, self.write("mysql-password", "PASSWORD\n"),
                     self.write("redis-password", "PASSWORD\n")):
            if harness.IS_ROOT:
                os.chown(path, pwd.getpwnam(harness.USER).pw_uid, -1)
        t.at_end(lambda: self.db.sql("DROP DATABASE IF EXISTS sessgate; DROP "
                                     "USER IF EXISTS sessgate@localhost"))
        t.at_end(self.gw.stop)  # before that

    def write(self, name, text, mode=0o600):
        path = os.path.join(self.etc, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def program(self, name, line):
        self.write(os.path.join("bin", name), "#!/bin/sh\n%s\n" % line, 0o755)

    def ours(self, text):
        for theirs, ours in (
                ("/run/mysqld/mysqld.sock", self.db.socket),
                ("127.0.0.1:6379", "127.0.0.1:%d" % self.redis.port),
                ("/etc/sessgate", self.etc), ("/etc/redis", self.etc)):
            text = text.replace(theirs, ours)
        return text

    def shell(self, block):
        done = subprocess.run(
            ["sh", "-euc", self.ours(block)], cwd=harness.SOURCE, timeout=60,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
            env={"PATH": self.bin + ":" + os.environ["PATH"]})
        self.t.equal(done.returncode, 0, done.stdout)
        return done.stdout

    def set_up(self):
        """Everything that the page says, in its order."""
        shown = [b for b in blocks(PAGE, "conf") if "mysql: {" in b]
        self.t.equal(len(shown), 1)
        del self.gw.conf["sqlite"]
        # Every look is a touch, so that those are seen as well.
        self.gw.configure({"session": {"idle_timeout": "10 s"}})
        with open(self.gw.conf_path, "a") as f:
            f.write(self.ours(shown[0]))
        mysql, redis, updated, self.restored = blocks(PAGE, "sh")
        self.t.match(self.shell(mysql), "the tables are right")
        self.shell(updated)  # Of tables that are as they should be: nothing.
        self.shell(redis)
        self.redis.start(include=os.path.join(self.etc, "sessgate.conf"))
        with open(os.path.join(self.etc, "redis.conf")) as f:
            self.t.equal(f.read(), "include %s/sessgate.conf\n" % self.etc)
        self.gw.start()
        return self

    def status(self):
        return self.gw.api("GET", "v1/status", address=self.gw.control).json()

    def served_by_redis(self):
        """Or by what the local cache had from there."""
        stores = self.status()["stores"]
        return stores["served_cache"] + stores["served_local"]


def commands_of_account():
    """What the file in conf/ lets the gateway's account do."""
    with open(os.path.join(harness.SOURCE, ACCOUNT)) as f:
        line = re.search(r"^user sessgate .*$", f.read(), re.M).group(0)
    return set(re.findall(r" \+([a-z|]+)", line))


def called(redis):
    found = re.findall(rb"cmdstat_([a-z|]+):calls", redis.command("INFO", "commandstats"))
    return {name.decode() for name in found}


# On a busy machine a store is late, and that is not what this is about.
PATIENT = [("gateway.request_timeout", "9 s"), ("redis.timeout", "1 s"),
           ("mysql.read_timeout", "1 s"), ("mysql.write_timeout", "1 s")]


def log_in_without_mysql(site):
    """Once for a replica, which there is not, once without: the first who meets
    an outage is answered for good."""
    site.gw.expect_log(STORES)
    for replicas, status in ((1, 503), (0, 201)):
        site.gw.stop()
        site.gw.start(*[word for name, value in PATIENT +
                        [("redis.replicas", replicas)]
                        for word in ("-o", "%s=%s" % (name, value))])
        wait_until(lambda: site.status()["stores"]["polls"] > 1, "rounds")
        site.db.stop()
        try:
            made = site.gw.api("POST", "v1/sessions", {"user_id": "bob"},
                               address=site.gw.control)
        finally:
            site.db.go_on()
        site.t.equal(made.status, status, repr(made))
        if status == 503:
            site.gw.wait_log("create: mysql does not answer, and without it: "
                             "0 replicas have it in time, not 1")
        wait_until(lambda: site.status()["durable"]["breaker"] == "closed",
                   "MySQL is back", 30)
    wait_until(lambda: "srem" in called(site.redis), "it has landed", 20)
    # What Redis has of the one that no replica has taken ends, too.
    ended = site.gw.api("DELETE", "v1/users/bob/sessions",
                        address=site.gw.control)
    site.t.equal(ended.json()["ended"], 2)


@case
def a_site_that_is_set_up_as_told_works_and_its_account_may_no_more(t):
    site = Site(t).set_up()
    redis = site.redis
    redis.command("CONFIG", "RESETSTAT")
    redis.command("ACL", "LOG", "RESET")
    site.gw.stop()
    site.gw.start()

    # Of so much data a check takes the head alone.
    token, session = site.gw.create("alice", data={"long": "x" * 3000})
    cookie = "__Host-sid=" + token
    before = site.served_by_redis()
    wait_until(lambda: site.gw.check(cookie).status == 200 and
               site.served_by_redis() > before, "Redis serves")
    # Not from the local cache, which knows another browser.
    wait_until(lambda: site.gw.check(cookie, HTTP_USER_AGENT=str(
        time.monotonic())).status == 200 and "exec" in called(redis),
               "the head alone is taken")
    wait_until(lambda: site.gw.check(cookie).status == 200 and
               "setrange" in called(redis), "a touch reaches Redis")
    # A Redis that has lost everything, its scripts too.
    redis.command("SCRIPT", "FLUSH")
    redis.command("FLUSHALL")
    before = site.served_by_redis()
    wait_until(lambda: site.gw.check(cookie).status == 200 and
               site.served_by_redis() > before, "Redis serves again")
    changed = site.gw.api("PATCH", "v1/sessions/" + session["ref"],
                          {"data": {"a": 1}}, address=site.gw.control)
    t.equal(changed.status, 200)
    ended = site.gw.api("DELETE", "v1/users/alice/sessions",
                        address=site.gw.control)
    t.equal(ended.status, 200)
    t.equal(site.gw.check(cookie).status, 401)
    log_in_without_mysql(site)

    t.equal(set(os.listdir(site.gw.run_dir)), runtime_files())
    t.equal(redis.command("ACL", "LOG"), [], "what Redis has refused")
    ours = {"acl|log", "acl", "config|resetstat", "config", "info",
            "script|flush", "script", "flushall", "auth", "client"}
    # For Sentinel and the doctor; and this test itself asks for it.
    t.equal(called(redis) - ours, commands_of_account() - {"info"})

    site.gw.stop()
    t.match(site.shell(site.restored), "epoch 2: .* and Redis knows it")
    for group in range(16):
        sync = redis.command("GET", "sg:{%d}:sync" % group)
        t.match(sync.decode(), r"^[1-9]\d{6,} [0-9a-f]{32} 2$")
    redis.kill()
    done = subprocess.run([os.path.join(site.bin, "sessgatectl"), "db",
                           "restored", "--yes", "-o", "mysql.user=root", "-o",
                           "mysql.password_file="], capture_output=True,
                          text=True, timeout=60, check=False)
    t.equal(done.returncode, 3, done)
    t.equal(site.db.sql("SELECT epoch FROM store", "sessgate"), "2")


@case
def the_account_can_do_nothing_else(t):
    site = Site(t)
    with open(os.path.join(harness.SOURCE, ACCOUNT)) as f:
        given = f.read().replace("user sessgate off", "user sessgate on >x")
    path = site.write("sessgate.conf", given)
    redis = site.redis
    redis.start(include=path)
    may = redis.command("ACL", "GETUSER", "sessgate")
    may = dict(zip(may[::2], may[1::2]))
    t.equal(may[b"keys"], b"~sg:*")
    t.equal(may[b"channels"], b"&__redis__:invalidate")
    t.equal({c[1:] for c in may[b"commands"].decode().split() if c[0] == "+"},
            commands_of_account())
    t.match(may[b"commands"].decode(), "^-@all ")
    for command, answer in ((("FLUSHALL",), rb"no permissions"),
                            (("KEYS", "*"), rb"no permissions"),
                            (("CONFIG", "GET", "*"), rb"no permissions"),
                            (("GET", "other"), rb"no permissions"),
                            (("GET", "sg:{0}:sync"), rb"OK")):
        got = redis.command("ACL", "DRYRUN", "sessgate", *command)
        t.match(got.decode(), answer.decode())
    # As it is shipped nobody gets in.
    t.equal(given.count("user sessgate on"), 1)
    with open(os.path.join(harness.SOURCE, ACCOUNT)) as f:
        t.true("\nuser sessgate off " in f.read())


class Locked(Redis):
    """Its user default is off: we have another."""

    def command(self, *args):
        sock = harness.connect(self.socket)
        with sock, sock.makefile("rb") as answer:
            sock.sendall(b"AUTH admin x\r\n*%d\r\n" % len(args) + b"".join(
                b"$%d\r\n%s\r\n" % (len(a), a.encode()) for a in args))
            self.read(answer)
            return self.read(answer)


@case
def nobody_else_comes_in_and_redis_still_finds_all_after_a_restart(t):
    site = Site(t)
    with open(os.path.join(harness.SOURCE, ACCOUNT)) as f:
        given = f.read()
    t.equal(given.count("\n# user default off "), 1)
    path = site.write("sessgate.conf", given.replace(
        "# user default", "user default") + "user admin on >x ~* &* +@all\n")
    redis = Locked(t, start=False)
    del redis.options["appendonly"]  # as the file has it
    redis.start(include=path)
    # Redis keeps the two as one.
    redis.command("EVAL", "redis.call('SET','a',1)redis.call('SET','b',2)",
                  "0")
    redis.kill()
    redis.start(include=path)
    t.equal(redis.command("MGET", "a", "b"), [b"1", b"2"])
    with harness.connect(redis.socket) as sock:
        sock.sendall(b"GET a\r\n")
        t.match(sock.recv(100).decode(), "NOAUTH")


if __name__ == "__main__":
    run(main)
