"""Breaks gateways and stores under load, and asks the checker whether every
promise held. scripts/chaos runs it; tests/chaos/README.md says how.
"""

import argparse
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(HERE, os.pardir, "it")]

import dump
import harness
import processes
from checker import FOUND
from clients import History, Plan
from faults import FAULTS, helpers
from harness import wait_until
from mutants import MUTANTS
from nemesis import DidNotRecover, Nemesis
from world import CONF, World

CHECKER = os.path.join(HERE, "checker.py")
SPOOLS_S = 10.0
# A machine on which a thread that only sleeps is late by this much stands
# still: stores and gateways are late too, and nobody broke them.
STALL_S = 0.1
STALL_AFTER_S = 1.0


def above_zero(kind):
    """A number of that kind: with none of them nothing would be tried, and
    so nothing found."""
    def parse(text):
        number = kind(text)
        if not 0 < number < float("inf"):
            raise argparse.ArgumentTypeError("%s is not above 0" % text)
        return number
    parse.__name__ = "number"
    return parse


def options(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__.split("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="kinds of fault:\n  " + "\n  ".join(
            " ".join(sorted(FAULTS)[i:i + 5])
            for i in range(0, len(FAULTS), 5)) +
        "\n\nmutants: " + " ".join(sorted(MUTANTS)) +
        "\n\nexit status: 0 no promise was broken, 1 one was, 2 wrong usage "
        "or it could not run,\n128 + N ended by signal N")
    parser.add_argument("--minutes", type=above_zero(float), default=3.0, metavar="N",
                        help="how long faults are begun (default: 3)")
    parser.add_argument("--seed", metavar="S",
                        default=os.environ.get("SESSGATE_SEED"),
                        help="decides about faults and clients (default: "
                        "SESSGATE_SEED, or another one each time; it is "
                        "printed)")
    parser.add_argument("--overlap", action="store_true",
                        help="do not wait for recovery before the next fault")
    parser.add_argument("--fault", action="append", metavar="NAME",
                        choices=sorted(FAULTS), default=[],
                        help="only this kind; may be given again")
    parser.add_argument("--mutant", metavar="NAME", choices=sorted(MUTANTS),
                        help="gateways with a mechanism turned off: exit "
                        "status 0 if that is found")
    parser.add_argument("--create-without-mysql", default=None,
                        action=argparse.BooleanOptionalAction,
                        help="whether that option of all gateways is on "
                        "(default: the seed decides; a mutant: as it needs)")
    parser.add_argument("--clients", type=above_zero(int), default=12,
                        metavar="N",
                        help="how many ask at once (default: 12)")
    parser.add_argument("--rate", type=above_zero(float), default=150,
                        metavar="N",
                        help="requests a second of all clients (default: 150)")
    parser.add_argument("--keep", metavar="DIR",
                        help="where history and logs are put, always")
    return parser.parse_args(arguments)


class Run:
    def __init__(self, chosen):
        self.chosen = chosen
        self.seed = chosen.seed or str(time.time_ns() // 1000000 % 1000000000)
        self.mutant = MUTANTS.get(chosen.mutant)
        self.creates_away = chosen.create_without_mysql
        if self.creates_away is None:
            self.creates_away = (self.mutant.creates_away if self.mutant
                                 else creates_away(self.seed))
        self.dir = tempfile.mkdtemp(prefix="sgchaos.")
        self.path = os.path.join(self.dir, "history")
        self.world = None
        self.is_stuck = False  # something did not recover
        self.children = []
        self.begin = time.monotonic()

    def say(self, what):
        print("chaos: " + what, flush=True)

    def command(self):
        """What does the same again."""
        words = ["scripts/chaos", "--minutes", "%g" % self.chosen.minutes,
                 "--seed", self.seed]
        if self.chosen.overlap:
            words.append("--overlap")
        for name in self.chosen.fault:
            words += ["--fault", name]
        if self.chosen.mutant:
            words += ["--mutant", self.chosen.mutant]
        if self.chosen.create_without_mysql is not None:
            words.append("--create-without-mysql" if self.creates_away
                         else "--no-create-without-mysql")
        for name, default in (("clients", 12), ("rate", 150)):
            if getattr(self.chosen, name) != default:
                words += ["--" + name, "%g" % getattr(self.chosen, name)]
        return " ".join(map(shlex.quote, words))

    def names(self):
        """The kinds of fault that this run has."""
        chosen = self.chosen.fault or (self.mutant and self.mutant.faults)
        there = {"": True, "clock": self.world.has_clock,
                 "disk": self.world.has_disks,
                 "helper": bool(helpers(self.world))}
        why = {"helper": "there is no process beside workers and keeper"}
        names = [n for n in sorted(FAULTS) if not chosen or n in chosen]
        for name in names:
            needs = FAULTS[name].needs
            if not there[needs]:
                self.say("%s is left out: %s" % (name, why.get(
                    needs, "this machine cannot do it")))
        return [n for n in names if there[FAULTS[n].needs]]

    def head(self):
        session = CONF["session"]
        return {"t": "head", "format": 1, "seed": self.seed,
                "mode": "overlap" if self.chosen.overlap else "single",
                "gateways": len(self.world.gateways),
                "conf": {"idle_ms": ms(session["idle_timeout"]),
                         "absolute_ms": ms(session["absolute_timeout"]),
                         "rotate_grace_ms": ms(session["rotate_grace"]),
                         "max_blind_ms": ms(CONF["fence"]["max_blind"]),
                         "max_sessions": 0, "create_without_mysql":
                         self.creates_away}}

    # -- the run --

    def work(self):
        """Whether the faults could be done and all recovered."""
        self.say("seed %s, create_without_mysql %s" % (
            self.seed, "on" if self.creates_away else "off"))
        failpoints = self.mutant.failpoints if self.mutant else ""
        self.world = World(self.dir, failpoints, {"session": {
            "create_without_mysql": self.creates_away}})
        self.world.start()
        history = History(self.path)
        history.write(self.head(), is_now=True)
        stop_clients = self.background(self.clients)
        stop_watch = self.background(self.watch)
        # Sessions to lose.
        time.sleep(2)
        nemesis = Nemesis(self.world, history, self.seed, self.names(),
                          self.chosen.overlap, self.say)
        failure = None
        try:
            nemesis.run(self.chosen.minutes * 60, self.clients_are_well)
        except DidNotRecover as e:
            self.is_stuck = True
            failure = "did not recover: %s" % e
        except (AssertionError, OSError, subprocess.SubprocessError) as e:
            failure = "fault %d (%s): %s" % (
                nemesis.count, nemesis.planned.kind.name, e)
        time.sleep(2)
        if stop_clients() != 0:
            failure = failure or "a client ended with an error"
        stop_watch()
        self.finish(nemesis, history)
        if failure:
            self.say(failure)
        return failure is None

    def background(self, function):
        """A process that runs until the function that is returned is called,
        which says how it ended."""
        reads, writes = os.pipe()
        pid = processes.fork(self.in_background, function, reads, writes)
        os.close(reads)
        self.children.append(pid)

        def stop():
            os.write(writes, b"!")
            os.close(writes)
            self.children.remove(pid)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return stop

    def in_background(self, function, reads, writes):
        os.close(writes)
        function(reads)

    def clients_are_well(self):
        """False: one has ended before it was told to."""
        pid = self.children[0]
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG |
                         os.WNOWAIT) is None

    def clients(self, stop):
        places = [{"pool": g.pool, "control": g.control}
                  for g in self.world.gateways]
        Plan(self.seed, places, History(self.path), self.chosen.clients,
             self.chosen.rate).run(stop)

    def watch(self, stop):
        """Writes down when the machine stood still, as a fault."""
        history = History(self.path)
        os.set_blocking(stop, False)
        count, late = 1000000, time.monotonic()
        while True:
            time.sleep(0.01)
            now = time.monotonic()
            if now - late > STALL_S:
                count += 1
                for event, at in (("begin", late), ("end", now),
                                  ("recovered", now + STALL_AFTER_S)):
                    history.write({
                        "t": "fault", "id": count, "kind": "machine-stall",
                        "target": "machine", "event": event,
                        "at": int(at * 1e9), "stores": ["redis", "mysql"],
                        "hosts": [g.number for g in self.world.gateways],
                        "process": ""})
            late = time.monotonic()
            try:
                os.read(stop, 1)
                break
            except BlockingIOError:
                continue
        history.close()

    def finish(self, nemesis, history):
        """Wait for the keepers and the spools, stop the gateways, write down
        what is left."""
        nemesis.note_rounds()
        try:
            wait_until(lambda: not nemesis.complaints(), "all is shipped",
                       SPOOLS_S)
        except AssertionError:
            self.say("the last complaints: " +
                     "; ".join(nemesis.complaints()))
        statuses = [g.status() for g in self.world.gateways]
        for gateway in self.world.gateways:
            gateway.stop(30)
        for line in dump.everything(self.world, statuses):
            history.write(line)
        history.write({"t": "tail", "at": time.monotonic_ns()})
        history.close()

    # -- the end --

    def check(self):
        """The checker's table. 0: no promise was broken, 1: one was, 2: the
        checker cannot tell."""
        status = subprocess.run([sys.executable, CHECKER,
                                 self.path]).returncode
        return {0: 0, FOUND: 1}.get(status, 2)

    def stop(self):
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if self.world is not None:
            self.world.stop()

    def keep(self, is_wanted):
        """What tells how it went, and nothing else."""
        place = self.chosen.keep
        if not is_wanted and not place:
            return
        if not place:
            place = tempfile.mkdtemp(prefix="sgchaos.")
        os.makedirs(place, exist_ok=True)
        if os.path.exists(self.path):
            shutil.copy(self.path, os.path.join(place, "history"))
        for gateway in self.world.gateways if self.world else []:
            if os.path.exists(gateway.log_path):
                shutil.copy(gateway.log_path, os.path.join(
                    place, "gateway-%d.log" % gateway.number))
        self.say("history and logs: %s" % place)


def creates_away(seed):
    """With every other seed, the gateways create without MySQL, all of them as
    an operator would have it."""
    return random.Random("%s conf" % seed).random() < 0.5


def ms(text):
    number, unit = text.split()
    return int(number) * {"ms": 1, "s": 1000, "min": 60000,
                          "h": 3600000}[unit]


def has_failpoints():
    """Whether the build can turn a mechanism off."""
    path = os.path.join(harness.BUILD, "config.h")
    with open(path, encoding="utf-8") as f:
        return "#define SESSGATE_FAILPOINTS" in f.read()


def on_signal(number, _):
    sys.exit(128 + number)


def main():
    chosen = options(sys.argv[1:])
    if not os.access(harness.SESSGATED, os.X_OK):
        print("chaos: there is no %s: build first, or set SESSGATE_BUILD" %
              harness.SESSGATED, file=sys.stderr)
        return 2
    if chosen.mutant and not has_failpoints():
        print("chaos: --mutant needs a build of configure --enable-failpoints, "
              "and %s is none: build one, or set SESSGATE_BUILD" %
              harness.BUILD, file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    run = Run(chosen)
    is_done = False
    status = 2
    try:
        is_done = run.work()
        status = run.check() if is_done else 1
    except harness.Skip as e:
        run.say("cannot run: %s" % e)
    except SystemExit as e:
        status = e.code
        run.say("interrupted")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        run.stop()
        run.keep(status in (1, 2) and not run.mutant)
        shutil.rmtree(run.dir, ignore_errors=True)
    if run.mutant is not None and status < 128:
        was_found = status == 1 and (is_done or run.is_stuck)
        run.say("the mutant %s was %sfound" % (chosen.mutant,
                                              "" if was_found else "NOT "))
        return 0 if was_found else 1
    if status == 1:
        run.say("again: " + run.command())
    return status


if __name__ == "__main__":
    sys.exit(main())
