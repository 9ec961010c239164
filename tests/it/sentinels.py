"""A Redis with replicas and Sentinels that watch over them, for tests.

    watched = Watched(t)                 # one master, one replica, 3 Sentinels
    fleet = Fleet(t, redis=watched.master, conf=watched.conf(),
                  is_direct=True)
    old = watched.master
    old.kill()
    new = watched.wait_promoted(old)     # as soon as a Sentinel says so

Everything is on loopback ports, in temporary directories, ended by its pid.
"""

import os
import socket
import subprocess
import time

import harness
from harness import needs, spawn, wait_until
from stores import Redis, RedisError, directory

NAME = "site"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sentinel:
    """One process; lines: more of its configuration, before `monitor`; text:
    all of it but where it is."""

    def __init__(self, t, master, quorum=2, name=NAME, down_after_ms=400,
                 failover_timeout_ms=2000, password=None, lines=(), text=None):
        self.t, self.dir = t, directory(t, "sgse.")
        self.port = free_port()
        self.password = password
        self.path = os.path.join(self.dir, "sentinel.conf")
        self.process = None
        t.at_end(self.close)
        if text is None:
            self.write(master, quorum, name, down_after_ms,
                       failover_timeout_ms, lines)
        else:
            with open(self.path, "w") as f:
                f.write("%s\nport %d\ndir %s\nlogfile %s\n" % (
                    text, self.port, self.dir, os.path.join(self.dir, "log")))
        self.start()

    def write(self, master, quorum, name, down_after_ms, failover_timeout_ms,
              lines):
        password = self.password
        auth = master.options.get("requirepass")
        with open(self.path, "w") as f:
            f.write("port %d\nbind 127.0.0.1\ndir %s\nlogfile %s\n" % (
                self.port, self.dir, os.path.join(self.dir, "log")))
            for line in lines:
                f.write(line + "\n")
            if password:
                f.write("requirepass %s\n" % password)
                f.write("sentinel sentinel-pass %s\n" % password)
            f.write("sentinel monitor %s 127.0.0.1 %d %d\n" % (
                name, master.port, quorum))
            if auth:
                f.write("sentinel auth-pass %s %s\n" % (name, auth))
            f.write("sentinel down-after-milliseconds %s %d\n"
                    "sentinel failover-timeout %s %d\n"
                    "sentinel parallel-syncs %s 1\n" % (
                        name, down_after_ms, name, failover_timeout_ms, name))

    def start(self):
        self.process = spawn(
            [needs("redis-server"), self.path, "--sentinel"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd=self.dir)
        wait_until(self.answers, "the Sentinel answers", 20)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def answers(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.dir, "log")) as f:
                raise AssertionError("the Sentinel ended:\n" + f.read())
        try:
            return self.command("PING") == b"PONG"
        except (OSError, RedisError):
            return False

    def command(self, *words):
        with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
            with sock.makefile("rb") as answer:
                if self.password:
                    Redis.send(sock, "AUTH", self.password)
                    self.read(answer)
                Redis.send(sock, *words)
                return self.read(answer)

    def read(self, answer):
        return Redis.read(self, answer)

    def master_port(self, name=NAME):
        found = self.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        return int(found[1]) if found else None

    def knows(self, what, name=NAME):
        """How many it knows: "slaves" or "sentinels"."""
        return len(self.command("SENTINEL", what, name))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()


class Watched:
    """A master, replicas, Sentinels. options: of every Redis."""

    def __init__(self, t, replicas=1, sentinels=3, password=None,
                 down_after_ms=400, lines=(), **options):
        self.t = t
        self.servers = [Redis(t, is_tcp=True, start=False,
                              **dict({"repl_timeout": "5"}, **options))
                        for _ in range(1 + replicas)]
        for server in self.servers:
            server.start()
        self.master = self.servers[0]
        for server in self.servers[1:]:
            server.follow("127.0.0.1", self.master.port)
        self.sentinels = [
            Sentinel(t, self.master, quorum=sentinels // 2 + 1,
                     password=password, down_after_ms=down_after_ms,
                     lines=lines) for _ in range(sentinels)]
        wait_until(lambda: all(
            s.knows("slaves") == replicas and
            s.knows("sentinels") == sentinels - 1 for s in self.sentinels),
            "the Sentinels know each other", 30)

    def conf(self, **redis):
        """Options for a gateway, to be merged into those of a Fleet."""
        return {"redis": dict({
            "address": "", "master_name": NAME,
            "sentinel": [s.address for s in self.sentinels]}, **redis)}

    def living(self):
        return next(s for s in self.sentinels if s.process.poll() is None)

    def named(self):
        """The server that a Sentinel names."""
        port = self.living().master_port()
        return next(s for s in self.servers if s.port == port)

    def wait_promoted(self, old, timeout=20):
        """The new master, as soon as a Sentinel names another than `old`."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.named() is not old:
                self.master = self.named()
                return self.master
            time.sleep(0.01)
        raise AssertionError("the Sentinels have promoted nobody")

    def fail_over(self, timeout=20):
        """As an operator does it: the new master."""
        old = self.master
        end = time.monotonic() + timeout
        while True:
            try:
                self.living().command("SENTINEL", "FAILOVER", NAME)
                break
            except RedisError:  # It knows too little of the replica yet.
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        return self.wait_promoted(old)
