"""Redis, MariaDB, and gateways with proxies in front of both, for tests.

    db = MariaDB.shared()               # one server for a whole file
    redis = Redis(t)                    # one of its own, on a unix socket
    fleet = Fleet(t, hosts=2)           # gateways that share db and redis,
    a, b = fleet.hosts                  # each behind its own two proxies
    alice = a.create("alice")
    t.equal(b.check(alice).user, "alice")
    a.redis.cut(); b.mysql.black_hole()

A file that uses them ends with

    if __name__ == "__main__":
        run(main)

Everything is private: a directory under TMPDIR, unix sockets, processes that
are ended by their pid.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import harness
from harness import Skip, needs, wait_until
from proxy import MysqlProxy, RedisProxy

COOKIE = {"cookie": {"name": "sid", "secure": False}}


def patient(has_redis):
    """Options for a test that is not about time: on a busy machine a store is
    late."""
    conf = {"gateway": {"request_timeout": "9 s"},
            "mysql": {"read_timeout": "3 s", "write_timeout": "3 s"}}
    if has_redis:
        conf["redis"] = {"timeout": "2 s"}
    return conf


def directory(t, prefix):
    """For everybody to enter, gone when the case is over (t None: never)."""
    path = tempfile.mkdtemp(prefix=prefix)
    os.chmod(path, 0o755)
    if t is not None:
        t.at_end(shutil.rmtree, path, True)
    return path


# ---- MariaDB ----------------------------------------------------------------


class MariaDB:
    """One private server, on a unix socket alone."""

    _shared = None
    _made = []
    spawn = staticmethod(harness.spawn)

    @classmethod
    def shared(cls):
        """The one of the whole file. Who kills it starts it again."""
        if cls._shared is None:
            cls._shared = cls()
        return cls._shared

    def __init__(self, t=None, is_durable=False):
        """is_durable: each commit is on the disk before it is answered."""
        self.process = None
        self.is_durable = is_durable
        self.program = needs("mariadbd")
        self.client = needs("mariadb")
        self.user = None
        if harness.IS_ROOT:
            try:
                self.user = pwd.getpwnam("mysql")
            except KeyError:
                raise Skip("there is no user mysql")
        self.dir = directory(None, "sgmy.")
        if t is None:
            MariaDB._made.append(self)
        else:
            t.at_end(self.close)
        self.socket = os.path.join(self.dir, "socket")
        if self.user is not None:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        self.data = os.path.join(self.dir, "data")
        self.install()
        self.start()

    def install(self, *more):
        """A server removes the temporary tables that it finds in its tmpdir
        when it starts, and others' too: each needs one of its own."""
        self.run(needs("mariadb-install-db"), "--no-defaults",
                 "--datadir=" + self.data, "--tmpdir=" + self.dir,
                 "--auth-root-authentication-method=normal",
                 "--skip-test-db", "--skip-name-resolve", *more)

    def become(self):
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid,
                "extra_groups": []}

    def run(self, *command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=120, cwd=self.dir,
                       **self.become())

    def start(self):
        self.process = self.spawn(
            [self.program, "--no-defaults", "--datadir=" + self.data,
             "--socket=" + self.socket,
             "--pid-file=" + os.path.join(self.dir, "pid"),
             "--tmpdir=" + self.dir, "--skip-name-resolve",
             "--innodb-buffer-pool-size=32M", "--performance-schema=OFF"] + (
                 [] if self.is_durable else
                 ["--innodb-flush-log-at-trx-commit=2",
                  "--innodb-flush-method=nosync", "--sync-frm=0"]) +
            self.network(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=self.dir, **self.become())
        wait_until(lambda: self.sql("SELECT 1", check=False) == "1",
                   "mariadbd answers", 60)

    def network(self):
        """What it is told about being reached."""
        return ["--skip-networking"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGSTOP: it takes connections and says nothing."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def sql(self, text, database="", check=True):
        done = subprocess.run(
            [self.client, "--no-defaults", "-uroot", "-N", "-B",
             "-S", self.socket] + ([database] if database else []),
            input=text.encode(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError(done.stderr.decode())
        return done.stdout.decode().strip()

    def dump(self, database):
        """All of a database as SQL that replaces it."""
        return subprocess.run(
            [needs("mariadb-dump"), "--no-defaults", "-uroot", "-S",
             self.socket, "--single-transaction", "--hex-blob", database],
            check=True, stdout=subprocess.PIPE, timeout=60).stdout.decode()

    def close(self):
        if self.process is not None:
            self.go_on()
            self.kill()
            self.process = None
        shutil.rmtree(self.dir, ignore_errors=True)


def run(main):
    """main(), and the end of the servers that files share."""
    try:
        main()
    finally:
        for server in MariaDB._made:
            server.close()


def schema(name):
    with open(os.path.join(harness.SOURCE, "conf", "schema", name)) as f:
        return f.read()


class Database:
    """One database with the gateway's account, which has the password 'one'.

    files: where the password file is kept, for sessgated's user to read.
    """

    number = 0

    def __init__(self, server, files):
        Database.number += 1
        self.server = server
        self.name = "site_%d" % Database.number
        server.sql("CREATE DATABASE " + self.name)
        self.password_file = os.path.join(files, "password")
        with open(self.password_file, "w") as f:
            f.write("one\n")
        os.chmod(self.password_file, 0o600)
        if harness.IS_ROOT:
            os.chown(self.password_file, pwd.getpwnam(harness.USER).pw_uid,
                     -1)

    def options(self, path=None):
        return {"socket": path or self.server.socket, "database": self.name,
                "user": "sessgate", "password_file": self.password_file}

    def accounts(self):
        self.sql(schema("mysql-accounts.sql"))
        self.sql("ALTER USER 'sessgate'@'localhost' IDENTIFIED BY 'one' "
                 "ACCOUNT UNLOCK")

    def sql(self, text):
        return self.server.sql(text, self.name)

    def dump(self):
        return self.server.dump(self.name)

    def load(self, dump):
        self.sql(dump)

    def drop(self):
        self.server.sql("DROP DATABASE " + self.name)


# ---- Redis ------------------------------------------------------------------


class RedisError(Exception):
    """The server's error reply."""


class Redis:
    """One private server on a unix socket; is_tcp: also on a loopback port."""

    OPTIONS = {"save": "", "appendonly": "no", "enable-debug-command": "yes",
               "repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0",
               "repl-backlog-size": "1mb"}
    spawn = staticmethod(harness.spawn)

    def __init__(self, t, is_tcp=False, dump=None, start=True, **options):
        self.program = needs("redis-server")
        self.dir = directory(t, "sgre.")
        self.socket = os.path.join(self.dir, "socket")
        self.is_tcp = is_tcp
        self.port = 0
        self.options = dict(self.OPTIONS)
        self.options.update({k.replace("_", "-"): v
                             for k, v in options.items()})
        self.process = None
        self.saved = 0
        t.at_end(self.close)
        if dump is not None:
            shutil.copy(dump, self.dump_path)
        if start:
            self.start()

    @property
    def dump_path(self):
        return os.path.join(self.dir, "dump.rdb")

    def start(self, **options):
        """options: for this run alone, as replicaof='127.0.0.1 1'."""
        if self.is_tcp and not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        chosen = dict(self.options)
        chosen.update({k.replace("_", "-"): v for k, v in options.items()})
        with open(os.path.join(self.dir, "redis.conf"), "w") as f:
            f.write('port %d\nbind 127.0.0.1\nunixsocket "%s"\n'
                    'unixsocketperm 777\ndir "%s"\nlogfile "%s"\n' % (
                        self.port, self.socket, self.dir,
                        os.path.join(self.dir, "log")))
            for name, value in chosen.items():
                f.write("%s %s\n" % (name, value if value != "" else '""'))
        self.process = self.spawn(
            [self.program, os.path.join(self.dir, "redis.conf")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd=self.dir)
        wait_until(self.answers, "redis-server answers", 20)

    def answers(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.dir, "log")) as f:
                raise AssertionError("redis-server ended:\n" + f.read())
        try:
            return self.command("PING") == b"PONG"
        except (OSError, RedisError):
            return False

    def command(self, *args):
        """The answer: bytes, int, None or a list; an error is raised."""
        sock = harness.connect(self.socket)
        with sock, sock.makefile("rb") as answer:
            if "requirepass" in self.options:
                self.send(sock, "AUTH", self.options["requirepass"])
                self.read(answer)
            self.send(sock, *args)
            return self.read(answer)

    @staticmethod
    def send(sock, *args):
        words = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        sock.sendall(b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def read(self, answer):
        line = answer.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("redis went away")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        if int(rest) < 0:
            return None
        if kind == b"$":
            return answer.read(int(rest) + 2)[:-2]
        return [self.read(answer) for _ in range(int(rest))]

    def save(self):
        """A copy of its data set as it is now: a path for start or roll_back."""
        self.command("SAVE")
        self.saved += 1
        path = os.path.join(self.dir, "saved-%d.rdb" % self.saved)
        shutil.copy(self.dump_path, path)
        return path

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart_from(self, dump, **options):
        """Start with an older data set, after kill()."""
        shutil.copy(dump, self.dump_path)
        self.start(**options)

    def roll_back(self, dump):
        """An older data set at once; its connections stay."""
        shutil.copy(dump, self.dump_path)
        self.command("DEBUG", "RELOAD", "NOSAVE")

    def stop(self):
        """SIGSTOP: it takes connections and says nothing."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def follow(self, host, port):
        """Become a replica, and wait until it has everything."""
        self.command("REPLICAOF", host, port)
        wait_until(lambda: b"master_link_status:up" in
                   self.command("INFO", "replication"), "the replica follows")

    def wait_replicas(self, count):
        """Until that many acknowledge what is written here: it may be a while
        after follow() until the master counts one."""
        wait_until(lambda: self.command("WAIT", count, 100) >= count,
                   "%d replicas acknowledge" % count)

    def promote(self):
        self.command("REPLICAOF", "NO", "ONE")

    def calls(self, name):
        """How often a command was called."""
        for line in self.command("INFO", "commandstats").split(b"\r\n"):
            if line.startswith(b"cmdstat_%s:calls=" % name.encode()):
                return int(line.split(b"=")[1].split(b",")[0])
        return 0

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.go_on()
            self.kill()


def record_key(ref, prefix="sg"):
    """The key of a session's record: sg:{g}:s:REF."""
    return "%s:{%d}:s:%s" % (prefix, group_of(ref), ref)


def sync_key(group, prefix="sg"):
    return "%s:{%d}:sync" % (prefix, group)


def group_of(ref):
    return int(ref[:2], 16) % 16


# ---- gateways ---------------------------------------------------------------


class Session:
    """What a login gave."""

    def __init__(self, token, made):
        self.token, self.ref, self.user = token, made["ref"], made["user_id"]
        self.made = made
        self.version = made.get("version", 1)

    @property
    def cookie(self):
        return "sid=" + self.token


class Verdict:
    """A check's answer: status, the user it names, its reason, how long it
    took, which store served it (Host.check(..., is_told=True))."""

    def __init__(self, answer, took_s, served=None):
        self.status = answer.status
        self.user = answer.header("Variable-REMOTE_USER")
        self.reason = answer.header("X-Session-Reason")
        self.answer, self.took_s, self.served = answer, took_s, served

    def data(self, name):
        """An exported member of the session's data, as text."""
        return self.answer.header("Variable-SESSION_DATA_" + name.upper())

    def __repr__(self):
        return "Verdict(%d, user %r, reason %r, served %r, %.3f s)" % (
            self.status, self.user, self.reason, self.served, self.took_s)


# The counters of lib/stores.h that say who answered a look.
SERVED = {"served_local": "local", "served_cache": "redis", "served_blind": "redis, blind",
          "served_durable": "mysql", "unavailable": "nobody",
          "refused_tombstone": "tombstone"}


class Host:
    """A gateway behind two proxies of its own."""

    def __init__(self, fleet, number):
        t = fleet.t
        self.fleet, self.number, self.t = fleet, number, t
        self.gw = t.gateway(COOKIE)
        self.gw.build = fleet.build
        del self.gw.conf["sqlite"]
        self.redis = self.mysql = None
        self.gw.configure({
            "gateway": {"expose_reason": True, "workers": 4},
            "keys": {"file": fleet.keys},
            "mysql": fleet.db.options()})
        if fleet.redis is not None:
            self.gw.configure({
                "redis": {"address": "unix:" + fleet.redis.socket}})
        if not fleet.has_local_cache:
            self.gw.configure({"cache": {"size": "0"}})
        if not fleet.is_direct:
            self.put_proxies(directory(t, "sgpx."))
        self.gw.configure(fleet.conf)
        self.environment = dict(fleet.environment)

    def put_proxies(self, files):
        self.mysql = MysqlProxy(files, "mysql", self.fleet.db.server.socket)
        self.t.at_end(self.mysql.close)
        # A proxy in Python on a busy machine needs more time than a store.
        self.gw.configure({
            "gateway": {"request_timeout": "2 s"},
            "mysql": {"socket": self.mysql.path, "read_timeout": "600 ms",
                      "write_timeout": "600 ms"}})
        if self.fleet.redis is None:
            return
        self.redis = RedisProxy(files, "redis", self.fleet.redis.socket)
        self.t.at_end(self.redis.close)
        self.gw.configure({"redis": {"address": "unix:" + self.redis.path,
                                     "timeout": "300 ms"}})

    def start(self, **more):
        """more: for the environment."""
        environment = dict(os.environ, **self.environment)
        environment.update(more)
        self.gw.start(env=environment)

    def wait_stores(self):
        """Until its keeper has found the stores, and them in order."""
        def is_ready():
            status = self.status()
            counters = status["stores"]
            # A Redis of another database never comes into order.
            return status["durable"]["up"] and counters.get("polls", 0) > 0 and (
                self.fleet.redis is None or
                (status["cache"]["up"] and
                 (status["fence"]["groups_behind"] == 0 or
                  counters.get("foreign_sync", 0) > 0)))
        wait_until(is_ready, "the stores are up for host %d" % self.number)

    def restart(self, is_killed=False):
        """The same host again; is_killed: by SIGKILL."""
        if is_killed:
            self.gw.kill_all()
        else:
            self.gw.stop()
        self.start()

    # -- what stores have to do with it --

    def status(self):
        return self.gw.api("GET", "v1/status",
                           address=self.gw.keeper_socket).json()

    def counters(self):
        """Those of lib/stores.h."""
        return self.status()["stores"]

    def count(self, name):
        return self.counters()[name]

    def served(self, function):
        """(what it returned, the stores that served, in words)."""
        before = self.counters()
        result = function()
        after = self.counters()
        return result, [word for name, word in SERVED.items()
                        if after[name] > before[name]]

    def wait_closed(self):
        """Until everybody here may ask both stores."""
        def is_closed():
            status = self.status()
            return all(status[store]["breaker"] in ("closed", None)
                       for store in ("durable", "cache") if status[store])
        wait_until(is_closed, "the breakers of host %d are closed" %
                   self.number, 30)

    def wait_poll(self, count=1, timeout=10):
        """Until that many complete rounds of the keeper have begun."""
        target = self.count("polls") + count
        wait_until(lambda: self.count("polls") >= target, "a poll", timeout)

    # -- requests --

    def create(self, user="alice", **members):
        return Session(*self.gw.create(user, **members))

    def try_create(self, user="alice", key=None, **members):
        """The answer, whatever it is."""
        more = {"HTTP_IDEMPOTENCY_KEY": key} if key else {}
        return self.gw.api("POST", "v1/sessions",
                           dict(members, user_id=user),
                           address=self.gw.control, **more)

    def check(self, session, is_told=False, **params):
        begin = time.monotonic()
        if is_told:
            answer, served = self.served(
                lambda: self.gw.check(session.cookie, **params))
        else:
            answer, served = self.gw.check(session.cookie, **params), None
        return Verdict(answer, time.monotonic() - begin, served)

    def end(self, session, check=True):
        answer = self.gw.api("DELETE", "v1/sessions/" + session.ref,
                             address=self.gw.control)
        if check and answer.status not in (200, 204):
            raise AssertionError("end: %r" % answer)
        return answer

    def logout(self, session):
        return self.gw.api("POST", "logout", HTTP_COOKIE=session.cookie,
                           HTTP_SEC_FETCH_SITE="same-origin")

    def show(self, session):
        return self.gw.api("GET", "v1/sessions/" + session.ref,
                           address=self.gw.control)

    def update(self, session, data, if_match=None, check=True, **members):
        """A merge patch; if_match: an ETag."""
        more = {"HTTP_IF_MATCH": if_match} if if_match else {}
        answer = self.gw.api("PATCH", "v1/sessions/" + session.ref,
                             dict(members, data=data),
                             address=self.gw.control, **more)
        if check and answer.status != 200:
            raise AssertionError("update: %r" % answer)
        return answer

    def rotate(self, session, check=True):
        """The session under its new token."""
        answer = self.gw.api("POST", "session/rotate",
                             HTTP_COOKIE=session.cookie,
                             HTTP_SEC_FETCH_SITE="same-origin")
        if check and answer.status != 200:
            raise AssertionError("rotate: %r" % answer)
        cookie = answer.header("Set-Cookie")
        token = cookie.split("=", 1)[1].split(";")[0] if cookie else None
        return Session(token or session.token, session.made)

    def cleanup(self, user, keep=None, check=True):
        """How many sessions it ended; check=False: the answer."""
        query = "?except=" + keep.ref if keep else ""
        answer = self.gw.api("DELETE", "v1/users/%s/sessions%s" % (
            user, query), address=self.gw.control)
        if not check:
            return answer
        if answer.status != 200:
            raise AssertionError("cleanup: %r" % answer)
        return answer.json()["ended"]


class Fleet:
    """Gateways on one database, one Redis and one key file.

    Tests of stores ask who served: their gateways have no local cache. A file
    or a case whose promises hold with it as well turns it on for all
    (Fleet.has_local_cache = True), or for the case (t.has_local_cache).

    conf: options for all. is_direct: no proxies, where speed is measured. The
    failpoints of a case (switches.py) go into
    their environment, and they come from the build that has them.
    """

    has_local_cache = False

    def __init__(self, t, hosts=2, conf=None, redis=None, server=None,
                 has_redis=True, is_direct=False, start=True):
        self.t = t
        if hasattr(t, "has_local_cache"):
            self.has_local_cache = t.has_local_cache
        self.is_direct = is_direct
        failpoints = getattr(t, "failpoints", "")
        self.build = failpoint_build() if failpoints else harness.BUILD
        self.environment = {}
        if failpoints:
            self.environment["SESSGATE_FAILPOINTS"] = failpoints
        self.conf = conf or {}
        self.dir = directory(t, "sgfl.")
        data = os.path.join(self.dir, "data")
        os.mkdir(data, 0o700)
        if harness.IS_ROOT:
            os.chown(data, pwd.getpwnam(harness.USER).pw_uid, -1)
        self.keys = os.path.join(data, "keys")
        self.db = Database(server or MariaDB.shared(), self.dir)
        t.at_end(self.db.drop)
        self.redis = redis
        if redis is None and has_redis:
            self.redis = Redis(t)
        self.hosts = [Host(self, n) for n in range(hosts)]
        t.at_end(self.finish)
        self.set_up()
        if getattr(t, "is_mutant", False):
            self.expect_log("")  # Whatever it says without a mechanism.
        if start:
            self.start()

    def set_up(self):
        code, out = self.ctl("db", "init")
        self.t.equal(code, 0, out)
        self.db.accounts()

    def ctl(self, *args):
        """sessgatectl as MySQL's root, past the proxies: exit code, output."""
        more = ["-o", "mysql.user=root", "-o", "mysql.password_file=",
                "-o", "mysql.socket=" + self.db.server.socket]
        if self.redis is not None and "sentinel" not in self.hosts[
                0].gw.conf.get("redis", {}):
            more += ["-o", "redis.address=unix:" + self.redis.socket]
        done = subprocess.run(
            [os.path.join(self.build, "gateway", "sessgatectl")] +
            list(args) + ["--config", self.hosts[0].gw.conf_path] + more,
            env=dict(os.environ, **self.environment),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd="/", timeout=60)
        return done.returncode, done.stdout.decode()

    def expect_log(self, *patterns):
        for host in self.hosts:
            host.gw.expect_log(*patterns)

    def start(self):
        for host in self.hosts:
            host.start()
        for host in self.hosts:
            host.wait_stores()

    def stop(self):
        for host in self.hosts:
            host.gw.stop()

    def warm(self, *sessions):
        """Until every host recognises them by a copy that it trusts."""
        for session in sessions:
            for host in self.hosts:
                wait_until(lambda: host.check(session, is_told=True).served in
                           (["redis"], ["local"]),
                           "a copy serves host %d" % host.number)

    def finish(self):
        """The gateways first, while their stores are still there."""
        for host in self.hosts:
            for proxy in (host.redis, host.mysql):
                if proxy is not None:
                    proxy.heal()
        self.stop()

    # -- the stores as they are, past the gateways --

    def record(self, session):
        """The bytes of its record in Redis, None without one."""
        return self.redis.command("GET", record_key(session.ref))

    def state(self, session):
        """'L', 'T' or None."""
        record = self.record(session)
        return record[:1].decode() if record else None

    def sync(self, session):
        """The number that Redis has for its group; None without one."""
        text = self.redis.command("GET", sync_key(group_of(session.ref)))
        return int(text.split(b" ")[0].split(b";")[0]) if text else None

    def counter(self, session):
        """The number that MySQL has for its group."""
        return int(self.db.sql("SELECT seq FROM meta WHERE grp = %d" %
                               group_of(session.ref)))

    def row(self, session, columns):
        """The row's columns as text."""
        return self.db.sql("SELECT %s FROM session WHERE ref = X'%s'" % (
            columns, session.ref)).split("\t")

    def wait_synced(self, session, timeout=10):
        """Until Redis has everything that MySQL has of its group."""
        wait_until(lambda: self.sync(session) == self.counter(session),
                   "Redis has caught up", timeout)

    def audit(self, session):
        """The kinds of its audit rows, oldest first."""
        return self.db.sql("SELECT kind FROM audit WHERE ref = X'%s' ORDER BY "
                           "event_id" % session.ref).split()


def failpoint_build():
    path = os.environ.get("SESSGATE_FAILPOINT_BUILD", "")
    if not path:
        raise Skip("SESSGATE_FAILPOINT_BUILD names no build that was "
                   "configured with --enable-failpoints")
    path = os.path.abspath(path)
    if not os.access(os.path.join(path, "gateway", "sessgated"), os.X_OK):
        raise Skip("%s has no gateway/sessgated" % path)
    return path
