"""Chooses faults by its seed, does them one after the other, and measures how long
the gateways need to be well again."""

import random
import time

from faults import ALL, FAULTS, ONE, SOME

# The longest that a recovery may take: 3 s are promised, on a machine that has
# nothing else to do. Above this the run has failed.
RECOVERY_MAX_S = 25.0
CALM_S = (0.5, 2.5)
# Where the ids of what a fault does to other gateways begin.
LOCKS = 500000


class Planned:
    """One fault of the plan: everything about it that chance decides."""

    def __init__(self, number, kind, seed, gateways):
        self.number, self.kind = number, kind
        self.rng = random.Random("%s fault %d %s" % (seed, number, kind.name))
        count = {ALL: gateways, ONE: 1, "clock": 1,
                 SOME: self.rng.choice([1, 1, gateways])}[kind.hosts]
        self.hosts = sorted(self.rng.sample(range(gateways), count))
        if kind.hosts == "clock":
            self.hosts = [gateways - 1]  # The one whose clock can be set.
        self.seconds = self.rng.uniform(*kind.seconds)
        if self.rng.random() < 0.08 and kind.seconds[1] > 2:
            self.seconds = 8.0
        self.calm_s = self.rng.uniform(*CALM_S)


def deck(seed, names):
    """Without end: each of the names once, in an order of its own each time."""
    rng = random.Random("%s nemesis" % seed)
    while True:
        hand = list(names)
        rng.shuffle(hand)
        yield from hand


class DidNotRecover(Exception):
    """Why, in words."""


class Nemesis:
    def __init__(self, world, history, seed, names, is_overlapping=False,
                 say=print):
        self.world, self.history, self.seed = world, history, seed
        self.names = names
        self.is_overlapping = is_overlapping
        self.say = say
        self.count = 0
        self.open = []  # Those that have not recovered: (planned, ended at)
        self.recovery_s = {}  # of each kind
        self.begun_at = time.monotonic()
        world.step = self.step

    def run(self, seconds, is_wanted=lambda: True):
        """Until then, and until all is well again."""
        end = time.monotonic() + seconds
        for name in deck(self.seed, self.names):
            if time.monotonic() >= end or not is_wanted():
                break
            self.count += 1
            self.one(Planned(self.count, FAULTS[name], self.seed,
                             len(self.world.gateways)))
        self.recover()
        self.say("all has recovered after %d faults" % self.count)

    def one(self, planned):
        self.planned = planned
        steps = planned.kind.run(self.world, planned)
        time.sleep(planned.calm_s)
        next(steps)
        self.write("begin")
        begin = time.monotonic()
        next(steps)
        time.sleep(planned.seconds)
        if next(steps, "over") != "over":
            raise AssertionError("%s yields too often" % planned.kind.name)
        self.write("end")
        ended = time.monotonic()
        self.open.append((planned, ended))
        self.note_rounds()
        if self.is_overlapping and planned.rng.random() < 0.8:
            self.tell(planned, begin, ended, None)
            return
        self.recover()
        self.tell(planned, begin, ended, time.monotonic())

    def step(self, what):
        self.write("step", what=what)

    def write(self, event, planned=None, **more):
        planned = planned or self.planned
        kind = planned.kind
        line = dict({
            "t": "fault", "id": planned.number, "kind": kind.name,
            "target": "+".join(kind.stores) or kind.process, "event": event,
            "at": time.monotonic_ns(), "stores": kind.stores,
            "hosts": planned.hosts, "process": kind.process,
            "loses": kind.loses}, **more)
        everybody = [g.number for g in self.world.gateways]
        if kind.holds_locks and planned.hosts != everybody:
            self.history.write(dict(
                line, id=LOCKS + planned.number, kind="held-locks",
                target="mysql", stores=["mysql"], process="", loses=False,
                hosts=[n for n in everybody if n not in planned.hosts]))
        self.history.write(line, is_now=True)

    def tell(self, planned, begin, ended, recovered):
        self.say("%4d  %6.1f s  %-18s hosts %-8s for %4.1f s, %s" % (
            planned.number, begin - self.begun_at, planned.kind.name,
            ",".join(map(str, planned.hosts)), ended - begin,
            "the next begins" if recovered is None else
            "recovered after %.1f s" % (recovered - ended)))

    # -- recovery --

    def recover(self):
        """Until every gateway is well."""
        if not self.open:
            return
        begin = time.monotonic()
        while True:
            complaints = self.complaints()
            now = time.monotonic()
            if not complaints:
                break
            if now > begin + RECOVERY_MAX_S:
                raise DidNotRecover(
                    "%.0f s after the end of %s: %s" % (
                        now - begin, self.open[-1][0].kind.name,
                        "; ".join(complaints)))
            time.sleep(0.05)
        for planned, ended in self.open:
            self.write("recovered", planned)
            self.recovery_s.setdefault(planned.kind.name, []).append(
                now - ended)
        self.open = []

    def note_rounds(self):
        """From now on keepers have to go through two rounds to be well."""
        self.bases = [poll_count(g.status()) for g in self.world.gateways]

    def complaints(self):
        """Also that a gateway has not been through two rounds since."""
        found = self.world.complaints()
        if found:
            return found
        for gateway in self.world.gateways:
            n = gateway.number
            polls = poll_count(gateway.last_status)
            if polls < self.bases[n]:
                self.bases[n] = 0  # Started anew since.
            if polls < self.bases[n] + 2:
                found.append("gateway %d: no two rounds since" % n)
        return found


def poll_count(status):
    return status["stores"]["polls"] if status is not None else 0
