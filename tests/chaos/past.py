"""A history as README.md describes it, read and sorted for the rules.

Moments are nanoseconds. What an operation without an answer did is not known: it
may have happened at any time after it began, or never. So may one that was
answered 503: its transaction may have been committed without anybody hearing
of it, or stand in a spool.
"""

import bisect
import itertools
import json
import sys

MS = 1000000
FORMAT = 1
FOREVER = 1 << 62

# How long things may take, in milliseconds; `bounds` of a head replaces them.
BOUNDS = {
    # An ended session, or a version that was overtaken, is served no longer:
    "healthy_ms": 1000,
    "faulty_ms": 2000,
    # A fault counts until this long after it was seen to be over.
    "margin_ms": 1000,
    "absolute_late_ms": 1000,
    # Besides a tenth of the idle timeout.
    "idle_late_ms": 5000,
    # Touches and first uses of a successor wait for the keeper.
    "touch_ms": 6000,
    # What a gateway's idea of the database's clock may be wrong by.
    "clock_ms": 250,
}

KINDS = ("create", "check", "get", "extend", "introspect", "show", "update",
         "rotate", "logout", "end", "cleanup", "list", "block", "unblock")
RESULTS = ("ok", "denied", "unavailable", "unknown")
EVENTS = ("begin", "step", "end", "recovered")
DUMPS = ("row", "copy", "group", "audit", "spool")
STORES = ("redis", "mysql")

# No fault of the nemesis: the machine stood still.
STALL = "machine-stall"
# What may be promised of how old an answer is; the rows of the table.
HEALTHY, FAULTY = "healthy", "one store or process faulty"
ROWS = "shown from MySQL alone"
BOTH, STALLED = "two failures at once", "the machine stood still"
CASES = (HEALTHY, FAULTY, ROWS, BOTH, STALLED)

CONF = {"idle_ms": 1800000, "absolute_ms": 28800000, "rotate_grace_ms": 10000,
        "max_blind_ms": None, "max_sessions": 0, "create_without_mysql": False}


class BadHistory(Exception):
    """It cannot be read: nothing can be said about the gateways."""


class Op:
    __slots__ = ("id", "client", "gw", "kind", "s", "tok", "args", "begin",
                 "end", "res", "why", "by", "out")

    @property
    def is_maybe(self):
        """Nobody knows whether it happened."""
        return self.res == "unknown" or self.res == "unavailable"

    def __repr__(self):
        return "Op(%r, %s, %s, %s)" % (self.id, self.kind, self.s, self.res)


class Fault:
    def __init__(self, number, kind, target):
        self.id, self.kind, self.target = number, kind, target
        self.begin, self.end, self.recovered = None, None, FOREVER
        self.stores, self.hosts, self.process = (), (), ""
        self.is_loss = True
        self.moments = []


class Windows:
    """Moments [begin, end], both included; those that meet are one."""

    def __init__(self, pairs):
        self.begins, self.ends = [], []
        for begin, end in sorted(pairs):
            if self.ends and begin <= self.ends[-1]:
                self.ends[-1] = max(self.ends[-1], end)
            else:
                self.begins.append(begin)
                self.ends.append(end)

    def last(self, begin, end):
        """The end of the last one that overlaps [begin, end], or None."""
        i = bisect.bisect_right(self.begins, end)
        if i > 0 and self.ends[i - 1] >= begin:
            return self.ends[i - 1]
        return None

    def overlaps(self, begin, end):
        return self.last(begin, end) is not None


def doubles(pairs):
    """Where two of them are at once, on to the end of both."""
    found, running = [], []
    for begin, end in sorted(pairs):
        running = [x for x in running if x >= begin]
        if running:
            found.append((begin, max(running + [end])))
        running.append(end)
    return found


# What is answered from MySQL, without a look into Redis.
ROWS_ALONE = ("list", "show")


def _last(moments, at):
    """The last one up to then, or 0."""
    i = bisect.bisect_right(moments, at)
    return moments[i - 1] if i > 0 else 0


class Past:
    """Everything of one history.

    ops, faults: in the order of their beginnings. rows, copies, groups, audit,
    spools: the dumps, rows and copies by ref. has_dumps: whether there are any.
    """

    def __init__(self):
        self.head, self.tail = None, None
        self.ops, self.faults = [], []
        self.rows, self.copies, self.groups = {}, {}, []
        self.audit, self.spools = [], []
        self.has_dumps = False
        self.twice = []  # refs of which there are two rows
        self._faults = {}
        self._texts = {}

    # ---- reading ----

    @classmethod
    def read(cls, lines):
        past = cls()
        add = {"op": past._add_op, "fault": past._add_fault,
               "head": past._add_head, "tail": past._add_tail}
        number = 0
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                item = json.loads(line)
                kind = item["t"]
                if kind in add:
                    add[kind](item)
                elif kind in DUMPS:
                    past._add_dump(kind, item)
                else:
                    raise ValueError("t: %r is not known" % kind)
            except (KeyError, TypeError, ValueError) as e:
                raise BadHistory("line %d: %s: %s" % (
                    number, type(e).__name__, e)) from e
        if past.head is None:
            raise BadHistory("no head: is it a history?")
        if past.tail is None:
            raise BadHistory("no tail after line %d: the run that wrote it was "
                             "cut short" % number)
        past._sort()
        return past

    def _add_head(self, item):
        if item["format"] != FORMAT:
            raise ValueError("format %r; this checker reads %d" % (
                item["format"], FORMAT))
        unknown = set(item.get("bounds", {})) - set(BOUNDS)
        if unknown:
            raise ValueError("bounds: %s: there is no such bound" %
                             ", ".join(sorted(unknown)))
        self.head = item
        self.conf = dict(CONF, **item.get("conf", {}))
        self.bounds = dict(BOUNDS, **item.get("bounds", {}))
        self.is_overlap = item.get("mode") == "overlap"

    def _add_tail(self, item):
        self.tail = item

    def _shared(self, text):
        """One string for all that are equal: a million operations name few."""
        return self._texts.setdefault(text, text)

    def _add_op(self, item):
        op = Op()
        shared = self._shared
        op.id, op.client, op.gw = item["id"], item.get("client"), item["gw"]
        op.kind, op.res = shared(item["kind"]), shared(item["res"])
        if op.kind not in KINDS:
            raise ValueError("kind: %r is not known" % op.kind)
        if op.res not in RESULTS:
            raise ValueError("res: %r is not known" % op.res)
        op.begin, op.end = item["at"]
        if not 0 <= op.begin <= op.end:
            raise ValueError("at: ends before it begins")
        op.s, op.tok = shared(item.get("s")), shared(item.get("tok"))
        op.args = item.get("args") or None
        op.why, op.by = shared(item.get("why")), shared(item.get("by"))
        out = item.get("out") or None
        if out is not None:
            for name in ("ref", "user", "tok", "context"):
                if name in out:
                    out[name] = shared(out[name])
        op.out = out
        self.ops.append(op)

    def _add_fault(self, item):
        fault = self._faults.get(item["id"])
        if fault is None:
            fault = Fault(item["id"], item["kind"], item.get("target", ""))
            self._faults[item["id"]] = fault
        event, at = item["event"], int(item["at"])
        if event not in EVENTS:
            raise ValueError("event: %r is not known" % event)
        if set(item.get("stores", ())) - set(STORES):
            raise ValueError("stores: %r" % item["stores"])
        if event == "recovered":
            fault.recovered = at
            return
        if event == "begin":
            fault.begin = at
            fault.stores = tuple(item.get("stores", ()))
            fault.hosts = tuple(item["hosts"])
            fault.process = item.get("process", "")
            fault.is_loss = item.get("loses", True)
        elif event == "end":
            fault.end = at
        fault.moments.append(at)

    def _add_dump(self, kind, item):
        self.has_dumps = True
        if kind == "row":
            if item["ref"] in self.rows:
                self.twice.append(item["ref"])
            self.rows[item["ref"]] = item
        elif kind == "copy":
            self.copies[item["ref"]] = item
        elif kind == "group":
            self.groups.append(item)
        elif kind == "audit":
            self.audit.append(item)
        else:
            self.spools.append(item)

    def _sort(self):
        self.ops.sort(key=lambda op: (op.begin, op.end))
        for fault in self._faults.values():
            if fault.begin is None:
                raise BadHistory("fault %r has no begin" % fault.id)
        self.faults = sorted(self._faults.values(), key=lambda f: f.begin)
        self._texts = {}
        self._set_windows()

    # ---- faults ----

    def _set_windows(self):
        b = self.bounds
        self.healthy, self.faulty = b["healthy_ms"] * MS, b["faulty_ms"] * MS
        margin = b["margin_ms"] * MS
        pairs = [(f.begin, min(f.recovered + margin, FOREVER))
                 for f in self.faults]

        def those(is_wanted):
            return Windows([p for f, p in zip(self.faults, pairs)
                            if is_wanted(f)])

        def of_hosts(is_wanted):
            return {g: those(lambda f: g in f.hosts and is_wanted(f))
                    for g in hosts}
        hosts = set(range(self.head.get("gateways", 1)))
        hosts.update(op.gw for op in self.ops)
        for fault in self.faults:
            hosts.update(fault.hosts)
        self.windows = Windows(pairs)
        self.stalls = those(lambda f: f.kind == STALL)
        self.host_windows = of_hosts(lambda f: True)
        # Without one store alone: who is without both answers 503.
        self.blind = of_hosts(lambda f: f.stores == ("mysql",))
        self.redisless = of_hosts(lambda f: f.stores == ("redis",))
        self.killed = of_hosts(lambda f: f.process not in ("", "clock"))
        self.mysql_windows = those(lambda f: "mysql" in f.stores)
        # Of each, by its begin: when it and all before it were over.
        mysql = sorted(p for f, p in zip(self.faults, pairs)
                       if "mysql" in f.stores)
        self.mysql_begins = [begin for begin, _ in mysql]
        self.mysql_ends = list(itertools.accumulate(
            (end for _, end in mysql), max))
        self.double = Windows(doubles(pairs) if self.is_overlap else [])
        self.moments = sorted(m for f in self.faults for m in f.moments)
        self.losses = sorted(m for f in self.faults for m in f.moments
                             if f.is_loss and f.kind != STALL)
        self.stall_ends = sorted(f.end for f in self.faults
                                 if f.kind == STALL and f.end is not None)

    def is_in_fault(self, op):
        """A fault touches its gateway while it runs."""
        return self.host_windows[op.gw].overlaps(op.begin, op.end)

    def is_late(self, change, read):
        """Whether the read began so long after the change was acknowledged
        that it must show it."""
        return read.begin > self.staleness(change, read)[2]

    def staleness(self, change, read):
        """(case, since, until): what is promised of a read that does not show
        a change, from which moment on its age counts, and the last at which
        it may begin (README.md, "Bounds")."""
        at, acked = read.begin, change.end
        if at <= acked + self.healthy:
            return (self.case_of(change.begin, at), acked,
                    acked + self.healthy)
        if not self.windows.overlaps(change.begin, at):
            return HEALTHY, acked, acked + self.healthy
        case, since = FAULTY, max(acked, _last(self.losses, at))
        until = since + self.faulty
        if self.stalls.overlaps(change.begin, at):
            case = STALLED
            until = max(until, _last(self.stall_ends, at) + self.faulty)
        shipped = self.blind[change.gw].last(change.begin, change.end)
        if read.kind in ROWS_ALONE and shipped is not None:
            case, until = ROWS, max(until, shipped + self.faulty)
        last = _last(self.moments, at)
        double = self.double.last(change.begin, at)
        if double is not None:
            case, until = BOTH, max(until, max(last, double) + self.faulty)
        if (self.redisless[change.gw].overlaps(change.begin, change.end) and
                self.blind[read.gw].overlaps(at, at)):
            blind = self.conf["max_blind_ms"]
            case, until = BOTH, FOREVER if blind is None else max(
                until, max(acked, last) + blind * MS)
        return case, since if case == FAULTY else acked, until

    def case_of(self, begin, end):
        """The case of what is shown at once."""
        if self.double.overlaps(begin, end):
            return BOTH
        if self.stalls.overlaps(begin, end):
            return STALLED
        return FAULTY if self.windows.overlaps(begin, end) else HEALTHY

    def mysql_away(self, op):
        """The end of the last of MySQL's faults that the operation fell into,
        or None. What came after that one is another matter."""
        i = bisect.bisect_right(self.mysql_begins, op.end)
        if i > 0 and self.mysql_ends[i - 1] >= op.begin:
            return self.mysql_ends[i - 1]
        return None

    def is_double(self, begin, end):
        return self.double.overlaps(begin, end)

    def settled(self, op):
        """The last moment at which an operation without an answer is thought
        to have been under way."""
        last = self.windows.last(op.begin, op.end)
        return op.end if last is None else max(op.end, last)

    def near(self, begin, end, most=3):
        """The fault events next to a span of time, in order."""
        found = []
        for fault in self.faults:
            events = [(fault.begin, "begin"), (fault.end, "end"),
                      (fault.recovered, "recovered")]
            for at, event in events:
                if at is None or at == FOREVER:
                    continue
                away = max(0, begin - at, at - end)
                found.append((away, at, event, fault))
        found.sort(key=lambda x: x[:3])
        return sorted(((at, event, fault) for _, at, event, fault in
                       found[:most]), key=lambda x: x[:2])


def read_file(path):
    if path == "-":
        return Past.read(sys.stdin)
    with open(path, encoding="utf-8") as f:
        return Past.read(f)
