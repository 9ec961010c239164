"""What the nemesis can do, by name.

A fault is a function that yields twice: what stands before the first yield is
preparation (a dump that is taken, a replica that is waited for), then it does
something, then, when it has lasted, it undoes it.

    @fault("redis-stop", stores=["redis"])
    def redis_stop(w, f):
        yield
        w.redis.master.stop()
        yield
        w.redis.master.go_on()

w is the World. f.rng decides about details, f.hosts are the gateways that it
touches, f.seconds how long it lasts. w.step(...) tells of a moment in between.
"""

import os
import signal
import time

import harness
from harness import wait_until
from stores import RedisError
from world import PATIENCE_S

FAULTS = {}
# What it calls itself: sessgated-keep.
KEEPER = "keep"
ALL, ONE, SOME = "all", "one", "some"


# What can leave a transaction half done while its connection lives on: its locks
# hold up the other gateways until MySQL ends it (idle_transaction_timeout).
HOLDS_LOCKS = {"disk-full", "helper-stop", "keeper-stop", "mysql-delay",
               "mysql-mute", "mysql-trickle", "partition-mysql", "worker-stop"}


# What a store may have lost at its moments, so that it tells what was again.
LOSES = {"mysql-promote", "redis-evict", "redis-flush", "redis-kill",
         "redis-old", "redis-promote", "redis-rollback"}


class Kind:
    def __init__(self, function, name, stores, hosts, process, seconds,
                 needs):
        self.run, self.name = function, name
        self.loses = name in LOSES
        self.stores, self.hosts, self.process = stores, hosts, process
        self.seconds, self.needs = seconds, needs
        self.holds_locks = name in HOLDS_LOCKS


def fault(name, stores=(), hosts=ALL, process="", seconds=(1.0, 4.0),
          needs=""):
    """hosts: how many gateways it touches. needs: `clock` or `disk`, which not
    every machine has, or `helper`, which not every gateway has."""
    def register(function):
        FAULTS[name] = Kind(function, name, list(stores), hosts, process,
                            seconds, needs)
        return function
    return register


# ---- the relays --------------------------------------------------------------


def relay_fault(store, mode, hosts, variants):
    """store-mode: every variant is (ms, match) of Proxies.set()."""
    def run(w, f):
        names = [getattr(w.gateways[n], store) for n in f.hosts]
        ms, match = f.rng.choice(variants)
        yield
        w.proxies.set(names, mode, ms=ms, match=match)
        yield
        w.proxies.set(names, "pass")
    fault("%s-%s" % (store, mode), stores=[store], hosts=hosts)(run)


for store, slow, late in (("redis", 130, None), ("mysql", 450, "COMMIT")):
    relay_fault(store, "delay", SOME, [(slow, None), (slow // 4, None)])
    relay_fault(store, "trickle", SOME, [(2, None), (20, None)])
    relay_fault(store, "refuse", ALL, [(0, None)])
    relay_fault(store, "hole", ALL, [(0, None)])
    relay_fault(store, "reset", SOME, [(0, None)])
    relay_fault(store, "half-close", SOME, [(0, None)])
    relay_fault(store, "lose", SOME, [(0, late), (0, late), (0, None)])
    relay_fault(store, "mute", SOME, [(0, late), (0, None)])


def partition(store):
    def run(w, f):
        names = [getattr(w.gateways[n], store) for n in f.hosts]
        mode = f.rng.choice(["hole", "refuse"])
        yield
        w.proxies.set(names, mode)
        yield
        w.proxies.set(names, "pass")
    fault("partition-" + store, stores=[store], hosts=ONE)(run)


partition("redis")
partition("mysql")


# ---- Redis -------------------------------------------------------------------


@fault("redis-kill", stores=["redis"])
def redis_kill(w, f):
    yield
    w.redis.master.kill()
    yield
    w.redis.master.start()


@fault("redis-stop", stores=["redis"])
def redis_stop(w, f):
    yield
    w.redis.master.stop()
    yield
    w.redis.master.go_on()


@fault("redis-old", stores=["redis"])
def redis_old(w, f):
    """Killed, and back with a data set of some seconds ago."""
    dump = w.redis.master.save()
    time.sleep(f.rng.uniform(0.5, 3))
    yield
    w.redis.master.kill()
    yield
    w.redis.master.restart_old(dump)
    os.unlink(dump)


@fault("redis-rollback", stores=["redis"], seconds=(0.2, 0.5))
def redis_rollback(w, f):
    """The same between two commands: no connection is lost."""
    dump = w.redis.master.save()
    time.sleep(f.rng.uniform(0.5, 3))
    yield
    w.redis.master.roll_back(dump)
    yield
    os.unlink(dump)


@fault("redis-flush", stores=["redis"], seconds=(0.2, 0.5))
def redis_flush(w, f):
    yield
    w.redis.master.command("FLUSHALL")
    yield


@fault("redis-evict", stores=["redis"])
def redis_evict(w, f):
    """Memory for half of what there is."""
    master = w.redis.master
    policy = f.rng.choice(["volatile-lru", "volatile-lru", "allkeys-random"])
    yield
    master.command("CONFIG", "SET", "maxmemory-policy", policy)
    keys = master.command("DBSIZE")
    master.command("CONFIG", "SET", "maxmemory", 1)
    wait_until(lambda: evict(master) <= keys // 2, "Redis evicts", 5)
    master.command("CONFIG", "SET", "maxmemory", 0)
    yield
    master.command("CONFIG", "SET", "maxmemory-policy", "volatile-lru")


def evict(server):
    """Makes it evict, and says how many keys are left."""
    try:
        server.command("SET", "sg:chaos", "1", "PX", "1")
    except RedisError:
        return 0  # OOM: there is nothing left that may be evicted.
    return server.command("DBSIZE")


@fault("redis-full", stores=["redis"])
def redis_full(w, f):
    master = w.redis.master
    yield
    master.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    master.command("CONFIG", "SET", "maxmemory", 1)
    yield
    master.command("CONFIG", "SET", "maxmemory", 0)
    master.command("CONFIG", "SET", "maxmemory-policy", "volatile-lru")


@fault("redis-promote", stores=["redis"])
def redis_promote(w, f):
    """The master is lost, and with it what its replica had not got yet."""
    wait_until(w.redis.master.has_followers, "the replica of Redis follows",
               PATIENCE_S)
    old, new = w.redis.master, w.redis.replica
    lag_s = f.rng.choice([0, 0.3, 1.5])
    is_killed = f.rng.random() < 0.5
    new.promote()  # From here on it hears nothing more.
    time.sleep(lag_s)
    yield
    if is_killed:
        old.kill()
    w.redis.swap()
    time.sleep(f.rng.uniform(0, 1))
    w.step("promoted")
    w.proxies.retarget([g.redis for g in w.gateways], new.socket)
    yield
    if is_killed:
        old.start()
    old.command("REPLICAOF", "127.0.0.1", new.port)


@fault("redis-read-only", stores=["redis"])
def redis_read_only(w, f):
    """The gateways' master has become a replica of nobody."""
    yield
    w.redis.master.command("REPLICAOF", "127.0.0.1", 1)
    yield
    w.redis.master.promote()


# ---- MySQL -------------------------------------------------------------------


@fault("mysql-kill", stores=["mysql"])
def mysql_kill(w, f):
    yield
    w.mysql.master.kill()
    yield
    w.mysql.master.start()


@fault("mysql-stop", stores=["mysql"])
def mysql_stop(w, f):
    yield
    w.mysql.master.stop()
    yield
    w.mysql.master.go_on()


@fault("mysql-restart", stores=["mysql"], seconds=(0.1, 1.0))
def mysql_restart(w, f):
    """Told to end, as by an administrator."""
    yield
    server = w.mysql.master
    server.process.terminate()
    server.process.wait(PATIENCE_S)
    yield
    server.start()


@fault("mysql-read-only", stores=["mysql"])
def mysql_read_only(w, f):
    yield
    w.mysql.master.sql("SET GLOBAL read_only=1")
    yield
    w.mysql.master.sql("SET GLOBAL read_only=0")


@fault("mysql-promote", stores=["mysql"])
def mysql_promote(w, f):
    """The primary is lost; its replica, which semi-synchronous replication has
    told every commit, takes over. The old one comes back as its replica."""
    wait_until(w.mysql_is_safe, "MySQL's replica has everything", PATIENCE_S)
    old, new = w.mysql.master, w.mysql.replica
    is_killed = f.rng.random() < 0.7
    yield
    if is_killed:
        old.kill()
    else:
        old.sql("SET GLOBAL read_only=1")
    time.sleep(f.rng.uniform(0, 0.5))
    w.promote_mysql(is_killed)
    w.step("promoted")
    yield
    w.demote_mysql(old, is_killed)


# ---- a gateway ---------------------------------------------------------------


def signal_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


@fault("worker-kill", hosts=SOME, process="worker", seconds=(0.2, 1.0))
def worker_kill(w, f):
    yield
    for number in f.hosts:
        pids = w.gateways[number].pids("worker")
        signal_all(f.rng.sample(pids, f.rng.randint(min(1, len(pids)),
                                                    len(pids))),
                   signal.SIGKILL)
    yield


@fault("worker-stop", hosts=ONE, process="worker")
def worker_stop(w, f):
    pids = w.gateways[f.hosts[0]].pids("worker")
    f.rng.shuffle(pids)
    yield
    signal_all(pids[:1], signal.SIGSTOP)
    yield
    signal_all(pids[:1], signal.SIGCONT)


def process_faults(name, roles, needs=""):
    """name-kill, name-stop: every process of one of these roles, which may not
    be known before the gateways run."""
    def kill(w, f):
        role = f.rng.choice(roles(w))
        yield
        for number in f.hosts:
            signal_all(w.gateways[number].pids(role), signal.SIGKILL)
        yield

    def stop(w, f):
        pids = w.gateways[f.hosts[0]].pids(f.rng.choice(roles(w)))
        yield
        signal_all(pids, signal.SIGSTOP)
        yield
        signal_all(pids, signal.SIGCONT)
    fault(name + "-kill", hosts=SOME, process=name, seconds=(0.2, 1.0),
          needs=needs)(kill)
    fault(name + "-stop", hosts=ONE, process=name, needs=needs)(stop)


def helpers(w):
    """What a gateway has beside its master, workers and keeper: names."""
    return sorted({role for gateway in w.gateways
                   for role in gateway.roles()} - {"worker", KEEPER})


process_faults("keeper", lambda w: [KEEPER])
# Just now there may be none: a master was killed.
process_faults("helper", lambda w: helpers(w) or [KEEPER], needs="helper")


@fault("master-kill", hosts=ONE, process="master", seconds=(0.1, 2.0))
def master_kill(w, f):
    gateway = w.gateways[f.hosts[0]]
    yield
    gateway.process.kill()
    gateway.process.wait()
    yield
    gateway.launch()


@fault("host-kill", hosts=ONE, process="host", seconds=(0.1, 2.0))
def host_kill(w, f):
    """Every process of it at once."""
    gateway = w.gateways[f.hosts[0]]
    yield
    pids = [gateway.pid] + harness.children(gateway.pid)
    signal_all(pids, signal.SIGKILL)
    gateway.process.wait()
    yield
    gateway.launch()


@fault("host-restart", hosts=ONE, process="host", seconds=(0.1, 1.0))
def host_restart(w, f):
    gateway = w.gateways[f.hosts[0]]
    yield
    gateway.stop(PATIENCE_S)
    yield
    gateway.launch()


@fault("host-reload", hosts=ONE, process="host", seconds=(0.1, 1.0))
def host_reload(w, f):
    yield
    w.gateways[f.hosts[0]].signal(signal.SIGHUP)
    yield


def clock(name, offset_s):
    def run(w, f):
        gateway = w.gateways[f.hosts[0]]
        yield
        gateway.set_clock(offset_s)
        yield
        gateway.set_clock(0)
    # libfaketime looks at its file once a second.
    fault(name, hosts="clock", process="clock", seconds=(2.0, 5.0),
          needs="clock")(run)


clock("clock-ahead", 3600)
clock("clock-behind", -3600)


@fault("disk-full", stores=["mysql"], hosts=ONE, process="disk", needs="disk")
def disk_full(w, f):
    """No room for the spool, while MySQL is away for this host: only then is
    the spool needed."""
    gateway = w.gateways[f.hosts[0]]
    filler = os.path.join(gateway.disk, "filler")
    yield
    with open(filler, "wb", buffering=0) as file:
        try:
            while file.write(bytes(65536)):
                pass
        except OSError:
            pass  # Full, as it was meant to be.
    w.proxies.set([gateway.mysql], "hole")
    yield
    w.proxies.set([gateway.mysql], "pass")
    os.unlink(filler)
