"""Three gateways, two Redis servers and two MariaDB servers in a directory of
their own, and a relay between each gateway and each store.

    world = World(directory, failpoints="")
    world.start()
    world.gateways[0].redis            # the name of a relay, for world.proxies
    world.redis.master.kill()
    world.stop()

The gateways know one address a store: their relay. Where it leads is moved
when a replica is promoted.
"""

import glob
import os
import pwd
import re
import shutil
import socket
import subprocess

import harness
import processes
import stores
from harness import IS_ROOT, wait_until
from proxies import Proxies

# How long whatever was done to a server may take on a machine that is busy.
PATIENCE_S = 60.0
# Members of a session's data: what programs write and checks export, and what
# browsers write.
EXPORTED, BROWSERS = ["m0", "m1", "m2"], ["b0", "b1"]
CONF = {
    "gateway": {"workers": 3, "expose_reason": True, "request_timeout": "2 s"},
    "cookie": {"name": "sid", "secure": False},
    "session": {"export_data": EXPORTED, "browser_writable": BROWSERS,
                "browser_readable": EXPORTED + BROWSERS, "bind_agent": "off",
                "idle_timeout": "10 min", "absolute_timeout": "2 h",
                "rotate_grace": "3 s"},
    "fence": {"max_blind": "300 s"},
}
# The relays and the clients share two cores with the servers.
REDIS_TIMEOUT, MYSQL_TIMEOUT = "100 ms", "400 ms"
SPOOL_DISK, SPOOL_MAX = 64 << 20, 48 << 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---- servers -----------------------------------------------------------------


class MariaServer(stores.MariaDB):
    """One of the two. Its data directory is a copy of `pristine`."""

    spawn = staticmethod(processes.spawn)

    def __init__(self, world, number):
        self.process = None
        self.is_durable = False
        self.program = harness.needs("mariadbd")
        self.client = harness.needs("mariadb")
        self.user = pwd.getpwnam("mysql") if IS_ROOT else None
        self.number, self.port = number, free_port()
        self.role = "MASTER"
        self.dir = os.path.join(world.dir, "mysql-%d" % number)
        os.mkdir(self.dir, 0o755)
        if self.user is not None:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        self.socket = os.path.join(self.dir, "socket")
        self.data = os.path.join(self.dir, "data")
        world.at_end(self.close)

    def copy_from(self, other):
        """The data directory of a server that does not run."""
        shutil.rmtree(self.data, ignore_errors=True)
        subprocess.run(["cp", "-a", other, self.data], check=True)

    def network(self):
        return ["--bind-address=127.0.0.1", "--port=%d" % self.port,
                "--server-id=%d" % (self.number + 1), "--log-bin=binlog",
                "--log-slave-updates", "--binlog-format=ROW",
                "--sync-binlog=0", "--innodb-log-file-size=16M",
                "--skip-slave-start", "--init-rpl-role=" + self.role,
                "--rpl-semi-sync-master-enabled=ON",
                "--rpl-semi-sync-slave-enabled=ON",
                "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
                "--rpl-semi-sync-master-wait-no-slave=OFF",
                "--rpl-semi-sync-master-timeout=150",
                "--slave-net-timeout=4", "--relay-log=relay",
                "--log-error=" + os.path.join(self.dir, "log")]

    def follow(self, primary, is_demoted=False):
        self.sql("STOP SLAVE; CHANGE MASTER TO MASTER_HOST='127.0.0.1', "
                 "MASTER_PORT=%d, MASTER_USER='replication', "
                 "MASTER_PASSWORD='one', MASTER_CONNECT_RETRY=1, %s; "
                 "SET GLOBAL read_only=1; START SLAVE" % (
                     primary.port, "MASTER_DEMOTE_TO_SLAVE=1" if is_demoted
                     else "MASTER_USE_GTID=slave_pos"))

    def replica_state(self):
        """The lines of SHOW SLAVE STATUS that matter."""
        text = self.sql("SHOW SLAVE STATUS\\G", check=False)
        lines = (line.strip().partition(": ") for line in text.split("\n"))
        return {name.rstrip(":"): value for name, _, value in lines}

    def is_following(self):
        state = self.replica_state()
        return (state.get("Slave_IO_Running") == "Yes" and
                state.get("Slave_SQL_Running") == "Yes")

    def is_broken(self):
        """It cannot follow by itself any more."""
        state = self.replica_state()
        return (state.get("Last_SQL_Errno", "0") != "0" or
                state.get("Last_IO_Errno", "0") in ("1236",))

    def position(self):
        return self.sql("SELECT @@gtid_binlog_pos", check=False)

    def sql(self, text, database="", check=True):
        # -N would leave the names away that \G lines begin with.
        names = [] if text.endswith("\\G") else ["-N", "-B"]
        done = subprocess.run(
            [self.client, "--no-defaults", "-uroot", "-S", self.socket] +
            names + ([database] if database else []),
            input=text.encode(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError(done.stderr.decode())
        return done.stdout.decode().strip()


class RedisServer(stores.Redis):
    spawn = staticmethod(processes.spawn)
    OPTIONS = dict(stores.Redis.OPTIONS, **{
        "appendonly": "yes", "appendfsync": "everysec",
        "maxmemory-policy": "volatile-lru", "repl-timeout": "10"})

    def has_followers(self):
        text = self.command("INFO", "replication")
        return b"state=online" in text

    def forget(self):
        """All that is on its disk, after kill()."""
        shutil.rmtree(os.path.join(self.dir, "appendonlydir"),
                      ignore_errors=True)
        if os.path.exists(self.dump_path):
            os.unlink(self.dump_path)

    def restart_old(self, dump):
        """With the data set of a dump; with an append-only file it would not
        be read."""
        self.forget()
        self.restart_from(dump, appendonly="no")
        self.command("CONFIG", "SET", "appendonly", "yes")


class Pair:
    """Who is master of two, and who may become it."""

    def __init__(self, servers):
        self.servers = servers
        self.master, self.replica = servers

    def swap(self):
        self.master, self.replica = self.replica, self.master


# ---- gateways ----------------------------------------------------------------


class ChaosGateway(harness.Gateway):
    """A sessgated that has its account from the start, so that it can be told
    to end with the harness."""

    spawn = staticmethod(processes.spawn)

    def __init__(self, world, number):
        directory = os.path.join(world.dir, "gateway-%d" % number)
        os.mkdir(directory)
        super().__init__(directory=directory)
        self.world, self.number = world, number
        self.redis, self.mysql = "redis-%d" % number, "mysql-%d" % number
        self.launched = []  # Pids, also of those that have ended.
        self.environment = dict(os.environ)
        self.environment.pop("SESSGATE_FAILPOINTS", None)
        del self.conf["sqlite"]
        self.conf["gateway"].pop("user", None)
        self.clock_file = os.path.join(directory, "clock")
        self.spool_dir = os.path.join(directory, "spool")
        if world.has_disks:
            disk = os.path.join(directory, "disk")
            os.mkdir(disk)
            if processes.mount_memory(disk, SPOOL_DISK):
                world.at_end(processes.unmount, disk)
                self.spool_dir = os.path.join(disk, "spool")
                world.own(disk)
        self.disk = os.path.dirname(self.spool_dir)
        world.own(directory)

    def set_clock(self, offset_s):
        """Takes effect within a second."""
        with open(self.clock_file + ".new", "w") as f:
            f.write("%+d\n" % offset_s)
        os.chmod(self.clock_file + ".new", 0o644)
        os.replace(self.clock_file + ".new", self.clock_file)

    def use_clock_file(self):
        """Its clock is what set_clock() says. False: no libfaketime."""
        found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
        if not found:
            return False
        self.set_clock(0)
        self.environment.update({
            "LD_PRELOAD": found[0], "FAKETIME_TIMESTAMP_FILE": self.clock_file,
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
        return True

    def launch(self, wait=True):
        more = {}
        if self.world.account is not None:
            more = {"user": self.world.account.pw_uid,
                    "group": self.world.account.pw_gid, "extra_groups": []}
        # A master that was killed leaves children that end a moment later.
        self.start(wait=wait, env=self.environment, **more)
        self.launched.append(self.pid)

    def remove_clock(self):
        """What libfaketime leaves of a process that was killed."""
        for pid in self.launched:
            for kind in ("faketime_shm_%d", "sem.faketime_sem_%d"):
                try:
                    os.unlink("/dev/shm/" + kind % pid)
                except FileNotFoundError:
                    pass

    def status(self):
        """What v1/status says; None without an answer."""
        try:
            answer = harness.fastcgi(
                self.keeper_socket,
                harness.web_params("GET", "/.sessgate/v1/status"), timeout=2)
            return answer.json() if answer.status == 200 else None
        except (OSError, ValueError):
            return None

    def pids(self, role):
        """Of its processes of that role; a master has not all of them at every
        moment."""
        return self.roles().get(role, [])

    def roles(self):
        """{role: pids}: worker, and each other process by what it calls itself
        (`sessgated-keep`). So one that comes to be is in it by itself."""
        found = {}
        for pid in harness.children(self.pid):
            role = role_of(process_name(pid))
            if role is not None:
                found.setdefault(role, []).append(pid)
        return found


def process_name(pid):
    try:
        with open("/proc/%d/comm" % pid) as f:
            return f.read().strip()
    except OSError:
        return ""


def role_of(name):
    """Of `sessgated-w3`, `sessgated-keep`; None: it has not said yet."""
    own = re.fullmatch(r"sessgated-(?:(w)\d+|(\w+))", name)
    if own is None:
        return None
    return "worker" if own.group(1) else own.group(2)


# ---- all of it ---------------------------------------------------------------


class World:
    def __init__(self, directory, failpoints="", conf=None):
        self.dir = directory
        self.ends = []
        self.failpoints = failpoints
        self.has_disks = processes.private_mounts()
        self.account = pwd.getpwnam(harness.USER) if IS_ROOT else None
        os.chmod(directory, 0o755)
        self.sockets = os.path.join(directory, "relays")
        os.mkdir(self.sockets)
        self.gateways = [ChaosGateway(self, n) for n in range(3)]
        for gateway in self.gateways:
            gateway.configure(CONF)
            gateway.configure(conf or {})
        self.proxies = Proxies()

    def at_end(self, function, *args):
        self.ends.append((function, args))

    def own(self, path):
        """Give it to whom the gateways are."""
        if self.account is not None:
            for place, _, files in os.walk(path):
                for name in [place] + [os.path.join(place, f) for f in files]:
                    os.chown(name, self.account.pw_uid, self.account.pw_gid)

    # -- start --

    def start(self):
        self.start_mysql()
        self.start_redis()
        self.start_proxies()
        self.set_up()
        for gateway in self.gateways:
            if self.failpoints:
                gateway.environment["SESSGATE_FAILPOINTS"] = self.failpoints
        self.has_clock = self.gateways[2].use_clock_file()
        for gateway in self.gateways:
            gateway.launch(wait=False)
        for gateway in self.gateways:
            gateway.wait_ready(timeout=PATIENCE_S)
        wait_until(lambda: not self.complaints(), "the stores are up",
                   PATIENCE_S)

    def start_mysql(self):
        first, second = MariaServer(self, 0), MariaServer(self, 1)
        first.install("--innodb-log-file-size=16M")
        second.copy_from(first.data)
        self.mysql = Pair([first, second])
        second.role = "SLAVE"
        for server in self.mysql.servers:
            server.start()
        first.sql("CREATE USER replication@'127.0.0.1' IDENTIFIED BY 'one'; "
                  "GRANT REPLICATION SLAVE ON *.* TO "
                  "replication@'127.0.0.1'")
        second.follow(first)
        wait_until(second.is_following, "the replica of MySQL follows",
                   PATIENCE_S)

    def start_redis(self):
        servers = [RedisServer(self, is_tcp=True) for _ in range(2)]
        self.redis = Pair(servers)
        servers[1].follow("127.0.0.1", servers[0].port)

    def start_proxies(self):
        for gateway in self.gateways:
            for name, target in ((gateway.redis, self.redis.master.socket),
                                 (gateway.mysql, self.mysql.master.socket)):
                self.proxies.add(name, os.path.join(
                    self.sockets, name + ".sock"), target)
        self.proxies.start()
        self.at_end(self.proxies.close)

    def set_up(self):
        """The database, the accounts, the keys, the configurations."""
        keys = os.path.join(self.dir, "keys")
        os.mkdir(keys, 0o700)
        self.own(keys)
        self.database = stores.Database(self.mysql.master, self.dir)
        for gateway in self.gateways:
            gateway.configure({
                "keys": {"file": os.path.join(keys, "keys")},
                "spool": {"dir": gateway.spool_dir,
                          "max": "%d KiB" % (SPOOL_MAX // 1024)},
                "mysql": dict(self.database.options(os.path.join(
                    self.sockets, gateway.mysql + ".sock")),
                    read_timeout=MYSQL_TIMEOUT, write_timeout=MYSQL_TIMEOUT),
                "redis": {"address": "unix:" + os.path.join(
                    self.sockets, gateway.redis + ".sock"),
                    "timeout": REDIS_TIMEOUT}})
        code, out = self.ctl("db", "init")
        if code != 0:
            raise AssertionError("sessgatectl db init: " + out)
        self.own(keys)
        self.database.accounts()

    def ctl(self, *args):
        done = subprocess.run(
            [harness.SESSGATECTL] + list(args) +
            ["--config", self.gateways[0].conf_path, "-o", "mysql.user=root",
             "-o", "mysql.password_file=",
             "-o", "mysql.socket=" + self.mysql.master.socket],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd="/", timeout=60)
        return done.returncode, done.stdout.decode()

    # -- how it is --

    def complaints(self):
        """What keeps a gateway from being well, as lines; none: it is."""
        found = []
        for gateway in self.gateways:
            status = gateway.status()
            if status is None:
                found.append("gateway %d: no status" % gateway.number)
                continue
            gateway.last_status = status
            found += ["gateway %d: %s" % (gateway.number, what)
                      for what in unwell(status)]
        return found

    # -- MySQL's replica --

    def mysql_is_safe(self):
        """Whether the replica can take over without a loss. One that cannot
        follow any more is made anew."""
        primary, replica = self.mysql.master, self.mysql.replica
        if not replica.is_following():
            if replica.is_broken():
                self.renew_replica()
            return False
        # 1: some replica acknowledges. A commit more switches it on again
        # after it has timed out.
        primary.sql("CREATE DATABASE IF NOT EXISTS chaos; "
                    "CREATE OR REPLACE TABLE chaos.ping (n INT)")
        state = primary.sql("SHOW STATUS LIKE 'Rpl_semi_sync_master_status'")
        return (state.endswith("ON") and
                replica.position() == primary.position())

    def promote_mysql(self, is_lost):
        """The replica applies what it has been told, then it is the primary."""
        old, new = self.mysql.master, self.mysql.replica
        if is_lost:
            new.sql("STOP SLAVE IO_THREAD")
        target = (new.sql("SELECT @@gtid_slave_pos") if is_lost
                  else old.position())
        if is_lost:
            wait_until(lambda: "has read all relay log" in
                       new.replica_state().get("Slave_SQL_Running_State", ""),
                       "the relay log is applied", PATIENCE_S)
        else:
            wait_until(lambda: new.position() == target,
                       "the replica has caught up", PATIENCE_S)
        new.sql("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only=0")
        new.role = "MASTER"
        self.mysql.swap()
        self.database.server = new
        self.proxies.retarget([g.mysql for g in self.gateways], new.socket)

    def demote_mysql(self, old, was_lost):
        """What was the primary follows now. What it had written and not told
        its replica is cut off when it starts (init-rpl-role)."""
        old.role = "SLAVE"
        if was_lost:
            old.start()
        old.follow(self.mysql.master, is_demoted=True)

    def renew_replica(self):
        """From a dump of the primary."""
        primary, replica = self.mysql.master, self.mysql.replica
        replica.sql("STOP SLAVE; SET GLOBAL read_only=0; RESET MASTER")
        dump = subprocess.run(
            [harness.needs("mariadb-dump"), "--no-defaults", "-uroot", "-S",
             primary.socket, "--single-transaction", "--hex-blob", "--gtid",
             "--master-data=1", "--databases", self.database.name],
            check=True, stdout=subprocess.PIPE, timeout=60).stdout.decode()
        replica.sql("SET SESSION sql_log_bin=0; DROP DATABASE IF EXISTS %s;"
                    % self.database.name + dump)
        replica.follow(primary)

    # -- end --

    def stop(self):
        """Everything, the gateways first; nothing is asked whether it ends
        well."""
        for gateway in self.gateways:
            gateway.kill_all()
        self.gateways[2].remove_clock()
        for function, args in reversed(self.ends):
            function(*args)
        self.ends = []


def unwell(status):
    """Why a gateway that says this is not well yet."""
    found = []
    for store in ("durable", "cache"):
        if not status[store]["up"]:
            found.append("%s is away" % store)
        if status[store]["breaker"] != "closed":
            found.append("the breaker of %s is %s" % (
                store, status[store]["breaker"]))
    fence = status["fence"]
    if fence["age_ms"] is None or fence["age_ms"] > 1500:
        found.append("its last round of MySQL's changes is old")
    if fence["groups_behind"] != 0:
        found.append("%d groups are behind" % fence["groups_behind"])
    if fence["alarmed"]:
        found.append("the numbers of MySQL have fallen")
    if unshipped(status):
        found.append("%d frames of the spool are not shipped" %
                     unshipped(status))
    return found


def unshipped(status):
    """Frames of its spool that a store has not got, as far as is known."""
    spool = (status or {}).get("spool") or {}
    return spool.get("to_durable", 0) + spool.get("to_cache", 0)
