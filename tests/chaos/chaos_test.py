"""The chaos harness itself: that a seed is a plan, that relays do what their mode
says, and that a run finds the mechanisms that are turned off.

A run with gateways is short here; `scripts/test` has one of three minutes.
SESSGATE_LONG=1 looks for every mutant of mutants.py (a minute each).
"""

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(HERE, os.pardir, "it")]

import harness
from chaos import creates_away
from clients import PLAN, Client, Plan
from faults import FAULTS
from harness import case, main
from mutants import MUTANTS
from nemesis import Planned, deck
from proxies import Proxies
from scenario import HAS_MUTANTS
from stores import failpoint_build
from world import role_of

LONG = bool(os.environ.get("SESSGATE_LONG"))


# ---- the seed ----------------------------------------------------------------


@case
def faults_come_from_the_seed_alone(t):
    def plan(seed):
        names = deck(seed, sorted(FAULTS))
        return [(p.kind.name, p.hosts, p.seconds, p.calm_s, p.rng.random())
                for p in (Planned(i, FAULTS[next(names)], seed, 3)
                          for i in range(1, 101))]
    t.equal(plan("7"), plan("7"))
    t.true(plan("7") != plan("8"))
    t.true(len(FAULTS) >= 15)
    t.equal({name for name, *_ in plan("7")}, set(FAULTS),
            "every kind has its turn")


@case
def a_processs_name_tells_its_role(t):
    """So the nemesis finds also those that are not written of anywhere."""
    for name, role in (("sessgated-w0", "worker"), ("sessgated-w12", "worker"),
                       ("sessgated-keep", "keep"),
                       ("sessgated-track", "track"), ("sessgated", None),
                       ("redis-server", None), ("", None)):
        t.equal(role_of(name), role, name)


@case
def half_of_the_seeds_create_without_mysql(t):
    chosen = [creates_away(str(seed)) for seed in range(400)]
    t.equal(chosen, [creates_away(str(seed)) for seed in range(400)])
    t.true(150 < sum(chosen) < 250, "%d of 400" % sum(chosen))


@case
def what_clients_do_comes_from_the_seed_alone(t):
    class Told(Client):
        """Writes down what it would ask; everything succeeds."""

        def ask(self, kind, gateway, params, login=None, body=None, token=None,
                **more):
            self.count += 1
            asked.append((kind, gateway, login and login.handle, body))
            if kind != "create":
                return "ok", {"version": 1}
            return "ok", {"ref": "00", "token": "t" + login.handle}

    def plan(seed):
        asked.clear()
        client = Told(Plan(seed, [None] * 3, None), 0)
        for _ in range(2000):
            client.step()
        return list(asked)

    asked = []
    first = plan("7")
    t.equal(plan("7"), first)
    t.true(plan("8") != first)
    kinds = {kind for kind, *_ in first}
    t.equal(kinds, {kind for kind, _ in PLAN} | {"check"})


# ---- the relays --------------------------------------------------------------


class Echo(threading.Thread):
    """A server that answers what it was sent, behind a word of its own."""

    def __init__(self, path, word):
        super().__init__(daemon=True)
        self.word, self.heard = word, b""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(16)
        self.start()

    def run(self):
        while True:
            sock, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(sock,),
                             daemon=True).start()

    def serve(self, sock):
        with sock:
            while True:
                try:
                    data = sock.recv(65536)
                    if not data:
                        return
                    self.heard += data
                    sock.sendall(self.word + data)
                except OSError:
                    return


class Relayed:
    """Two servers and one relay before them."""

    def __init__(self, t):
        self.dir = tempfile.mkdtemp(prefix="sgchaos.")
        self.paths = [os.path.join(self.dir, name) for name in ("a", "b")]
        self.proxies = Proxies()
        self.address = os.path.join(self.dir, "relay")
        self.proxies.add("relay", self.address, self.paths[0])
        self.proxies.start()
        t.at_end(subprocess.run, ["rm", "-r", self.dir])
        t.at_end(self.proxies.close)
        self.servers = [Echo(path, word) for path, word in
                        zip(self.paths, (b"a:", b"b:"))]

    def set(self, mode, **more):
        self.proxies.set(["relay"], mode, **more)

    def connect(self):
        return harness.connect(self.address, 0.5)

    def ask(self, text, sock=None):
        """The answer; b"" for an end, None for silence, or an error's name."""
        sock = sock or self.connect()
        try:
            sock.sendall(text)
            answer = b""
            while len(answer) < len(text) + 2:
                got = sock.recv(65536)
                if not got:
                    break
                answer += got
            return answer
        except socket.timeout:
            return None
        except OSError as e:
            return type(e).__name__


@case
def relays_do_what_their_mode_says(t):
    r = Relayed(t)
    t.equal(r.ask(b"one"), b"a:one")
    r.set("refuse")
    try:
        r.connect()
        t.true(False, "a connection was refused")
    except ConnectionRefusedError:
        pass
    r.set("pass")
    kept = r.connect()
    t.equal(r.ask(b"two", kept), b"a:two")
    r.set("hole")
    t.equal(r.ask(b"late", kept), None)
    t.true(b"late" not in r.servers[0].heard)
    r.set("pass")
    t.equal(kept.recv(100), b"a:late")
    r.set("delay", ms=60)
    begin = time.monotonic()
    t.equal(r.ask(b"slow", kept), b"a:slow")
    t.true(time.monotonic() - begin >= 0.12, "both ways")
    r.set("trickle", ms=10)
    begin = time.monotonic()
    t.equal(r.ask(b"drops", kept), b"a:drops")
    t.true(time.monotonic() - begin >= 0.06, "byte by byte")
    r.set("lose", match="COMMIT")
    t.equal(r.ask(b"begin", kept), b"a:begin")
    t.equal(r.ask(b"COMMIT 1", kept), b"")
    t.true(b"COMMIT 1" in r.servers[0].heard, "it was done")
    r.set("mute", match="COMMIT")
    kept = r.connect()
    t.equal(r.ask(b"COMMIT 2", kept), None)
    t.equal(r.ask(b"more", kept), None)
    t.true(b"COMMIT 2more" in r.servers[0].heard)
    r.set("half-close")
    t.equal(r.ask(b"half"), b"")
    r.set("reset")
    t.equal(r.ask(b"reset"), "ConnectionResetError")
    t.true(b"reset" not in r.servers[0].heard)
    r.set("pass")
    kept = r.connect()
    t.equal(r.ask(b"three", kept), b"a:three")
    r.proxies.retarget(["relay"], r.paths[1])
    t.equal(r.ask(b"four", kept) in (b"", "ConnectionResetError",
                                     "BrokenPipeError"), True)
    t.equal(r.ask(b"four"), b"b:four")
    large = random.Random(1).randbytes(1 << 20)
    t.true(len(r.ask(large)) > len(large), "it came back")
    t.true(r.servers[1].heard.endswith(large), "and nothing was left out")


# ---- runs --------------------------------------------------------------------


def chaos(*arguments, build=harness.BUILD):
    done = subprocess.run(
        [sys.executable, os.path.join(HERE, "chaos.py")] + list(arguments),
        env=dict(os.environ, SESSGATE_BUILD=build), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=600)
    return done.returncode, done.stdout.decode()


@case
def help_names_every_fault_and_mutant(t):
    code, out = chaos("--help")
    t.equal(code, 0)
    for name in list(FAULTS) + list(MUTANTS):
        t.match(out, r"\b%s\b" % name)
    t.equal(chaos("--fault", "earthquake")[0], 2)


@case
def what_would_find_nothing_is_refused(t):
    for arguments in (("--minutes", "0"), ("--minutes", "nan"),
                      ("--clients", "0"), ("--rate", "-1")):
        code, out = chaos(*arguments)
        t.equal(code, 2, arguments)
        t.match(out, arguments[0])
    with tempfile.TemporaryDirectory() as build:
        with open(os.path.join(build, "config.h"), "w") as f:
            f.write("/* #undef SESSGATE_FAILPOINTS */\n")
        os.mkdir(os.path.join(build, "gateway"))
        os.symlink(harness.SESSGATED,
                   os.path.join(build, "gateway", "sessgated"))
        code, out = chaos("--mutant", "fence", build=build)
    t.equal(code, 2)
    t.match(out, "--enable-failpoints")


def who_is_interrupted_leaves_nothing_behind(t):
    for number in (signal.SIGINT, signal.SIGTERM):
        with tempfile.TemporaryDirectory() as place:
            os.chmod(place, 0o755)
            run = subprocess.Popen(
                [sys.executable, os.path.join(HERE, "chaos.py"), "--fault",
                 "keeper-kill", "--clients", "2"],
                env=dict(os.environ, SESSGATE_BUILD=harness.BUILD,
                         TMPDIR=place),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                while b"keeper-kill" not in run.stdout.readline():
                    t.equal(run.poll(), None)
                run.send_signal(number)
                out = run.communicate(timeout=60)[0].decode()
            finally:
                run.kill()
                run.wait()
            t.equal(run.returncode, 128 + number)
            t.equal(out, "chaos: interrupted\n")
            t.equal(os.listdir(place), [])


def mutant(name):
    def is_found(t):
        begin = time.monotonic()
        code, out = chaos("--mutant", name, "--seed", "5", "--minutes", "0.5",
                          build=failpoint_build())
        print("# %s: %.0f s" % (name, time.monotonic() - begin))
        t.equal(code, 0, out[-2000:])
    is_found.__name__ = "without_%s_a_promise_is_seen_broken" % (
        name.replace("-", "_"))
    case(is_found)


# A sanitizer wants to be loaded before what sets the clocks.
if HAS_MUTANTS:
    case(who_is_interrupted_leaves_nothing_behind)
    for each in sorted(MUTANTS) if LONG else ["idempotency"]:
        mutant(each)


if __name__ == "__main__":
    main()
