"""scripts/bench --scale: cost against size. See scripts/bench and README.md here.

Each axis has servers of its own; along it one thing grows, everything else is at
its base. Sessions are loaded by fill, which writes them as creations would.
"""

import argparse
import base64
import json
import os
import platform
import random
import re
import shutil
import signal
import socket
import subprocess
import time

from bench import about, in_turns, say  # first: the directory that place adds has a load, too
import curves
import place
from curves import stat
from figures import median
from load import Load, file_of
from loaded import SAMPLE, TITLES, WORKERS, OutOfTime, Place, check_request
from machine import Unavailable, pids_below

BASE = 100000  # sessions, where it is not these that are varied
CHANGES = 500  # ends a second: so few that nothing waits
FIRST_LOOKS = 2000
COLD_LOOKS = 4000
COLD = "MySQL, rows at random"
SETTLE_S = 2.2  # in which the keeper has written activity
SIZES = (1000, 10000, 100000, 1000000, 3000000, 10000000)
DATA = (0, 256, 1024, 4096, 16384, 65000)
USERS = (1, 10, 100, 1000, 10000)
BUSY = 64  # connections, on the axis of workers
# Bytes a session, a little more than was measured, to see whether there is room.
DISK_EACH, MEMORY_EACH = 2200, 450
POOL_MAX = 1536  # MiB of InnoDB's pages: with more sessions rows and indexes are larger than it


def panel(title, unit, **more):
    return {"title": title, "unit": unit, "curves": {}, **more}


def note(where, name, x, values):
    if values:  # else each round has failed, and said so
        where["curves"].setdefault(name, []).append([x, stat(values)])


def note_cpu(where, name, x, parts):
    """parts: of each round CPU by role. The web server's share, which is the same all along, is left out of the sum."""
    note(where, name, x, [sum(us for role, us in by.items() if role != "web") for by in parts])
    where["curves"][name][-1][1]["by"] = {role: median([by[role] for by in parts]) for role in parts[0]}


def warm(contender):
    """Until one run, which begins with the first, has presented all tokens: each session is where it will be found."""
    seconds = 2
    while contender.measure(seconds)["count"] < len(contender.tokens) and seconds < 60:
        seconds *= 2


def measure_checks(options, contenders, x, cpu, p50, p99, titles=None):
    """Closed loop for the CPU, a low fixed rate for the latencies; in turns."""
    for c in contenders:
        warm(c)
    closed = in_turns(contenders, options.rounds, lambda c: c.measure(options.seconds), f"{x}: checks")
    floor = contenders[0].floor_of()
    fixed = in_turns([*contenders, floor], options.rounds, lambda c: c.measure(options.seconds, options.rate), f"{x}: fixed load")
    for c in contenders:
        name = (titles or TITLES).get(c.name, c.name)
        good = [r for r in closed[c.name] if r]
        if any(r["errors"] for r in good):
            raise Unavailable(f"{name}: {good}")
        note_cpu(cpu, name, x, [r["cpu_by"] for r in good])
        for kind in ("redis_calls", "sql_calls"):
            cpu["curves"][name][-1][1][kind] = median([r[kind] for r in good])
    for c in [*contenders, floor]:
        name = (titles or TITLES).get(c.name, c.name)
        note(p50, name, x, [r["p50_us"] / 1000 for r in fixed[c.name] if r])
        note(p99, name, x, [r["p99_us"] / 1000 for r in fixed[c.name] if r])
    return closed


# ---- the axes ----------------------------------------------------------------


def size_of(directory, is_wanted=lambda name: True):
    return sum(os.path.getsize(os.path.join(directory, f)) for f in os.listdir(directory) if is_wanted(f))


def sizes(p):
    """Bytes in each store."""
    database = os.path.join(p.site.mariadb().data, "sessgate_hit")
    used = re.search(rb"used_memory:(\d+)", p.site.redis().command("INFO", "memory")).group(1)
    return {"Redis": int(used), "MySQL without audit": size_of(database, lambda f: not f.startswith("audit")),
            "MySQL, audit": size_of(database, lambda f: f.startswith("audit")),
            "SQLite, with audit": size_of(p.box.path("file", "db"))}


def sessions(p, options):
    """How many there are in the stores."""
    cpu, p50, p99 = (panel("check", u) for u in ("CPU us of gateway and stores", "p50 ms", "p99 ms"))
    first, changes, rest = panel("first look", "CPU us"), panel("creation, end", "CPU us"), panel("nobody asks", "CPU us a second")
    # Counts and the reaper's walk have more to do, up to a bound.
    rest["grows"] = ("gateway", "MySQL")
    each = panel("size", "bytes a session", is_log=True)
    p50["grows"] = p99["grows"] = (COLD,)
    panels = [cpu, p50, p99, first, changes, rest, each]
    for name, like in (("hit", None), ("copy", "hit"), ("row", "hit"), ("file", None)):
        p.start(name, like)
    empty = sizes(p)
    for n in (n for n in SIZES if options.min <= n <= options.max):
        profiles = ["hit", "copy", "row"] + (["file"] if n <= options.max_sqlite else [])
        p.load("hit", n)
        if "file" in profiles:
            p.load("file", n)
        for name, size in sizes(p).items():
            if n >= BASE and ("SQLite" not in name or "file" in profiles):
                note(each, name, n, [(size - empty[name]) / n])
        cold_rows(p, n, first, p50, p99)
        measure_checks(options, [p.check(name, p.sample("file" if name == "file" else "hit")) for name in profiles],
                       n, cpu, p50, p99)
        idle = [p.background() for _ in range(options.rounds)]
        for role in ("gateway", "Redis", "MySQL"):
            note(rest, role, n, [i[role] for i in idle])
        first_looks(p, options, n, first, idle[-1])
        made = [p.creation(name) for name in profiles if name in ("hit", "file")]
        closed = in_turns(made, options.rounds, lambda c: c.measure(options.seconds), f"{n}: creations")
        for c in made:
            note_cpu(changes, {"hit": "creation", "file": "creation, SQLite"}[c.profile], n, [r["cpu_by"] for r in closed[c.name] if r])
        ended = [p.once_each("end", p.ends("hit", CHANGES), CHANGES, p.roots(), idle[-1], 1)[0] for _ in range(options.rounds)]
        note_cpu(changes, "end", n, ended)
        yield panels


def cold_rows(p, n, where, p50, p99):
    """Looks in MySQL for sessions at random, whose pages may not be in memory."""
    p.check("row", p.sample("hit")[:4])
    idle = p.background("row")
    tokens = random.sample(p.sample("hit"), min(COLD_LOOKS, len(p.sample("hit"))))
    cost, result = p.once_each("rows at random", [check_request("row", t) for t, _ in tokens], 500, p.roots("row"), idle)
    note_cpu(where, COLD, n, [cost])
    note(p50, COLD, n, [result["p50_us"] / 1000])
    note(p99, COLD, n, [result["p99_us"] / 1000])


def first_looks(p, options, n, where, idle):
    """Of sessions that this host has not seen; and that were last used so long
    ago that it is noted, which the keeper does within the time."""
    for title, age_s in (("first look", 0), ("first look, activity noted", 7200)):
        costs, again = [], []
        for _ in range(options.rounds):
            requests = [check_request("hit", token) for token, _ in p.fresh("hit", FIRST_LOOKS, age_s)]
            for to in (costs, again):
                to.append(p.once_each(title, requests, 1000, p.roots(), idle, SETTLE_S)[0])
        note_cpu(where, title, n, costs)
    note_cpu(where, "the same again, a hit", n, again)


def user(p, options):
    """How many sessions one user has."""
    cpu, p50, p99 = panel("call", "CPU us", is_log=True), panel("call", "p50 ms", is_log=True), panel("check", "CPU us")
    late = panel("check", "p99 ms")
    for where in (cpu, p50):
        where["grows"] = ("list, 100 at most", "list, 1,000 at most", "end all")  # up to what is listed
    p.start("hit")
    p.start("copy", "hit")
    p.load("hit", BASE)
    p50_check = panel("check", "p50 ms")
    for n in USERS:
        found = {}
        for turn in range(options.rounds):
            prefix = f"u{n:05d}{turn}"  # each of its own fence group
            tokens = p.fill("hit", prefix, 0, n, each=n)
            name = tokens[0][1]
            if turn == 0:
                measure_checks(options, [p.check(profile, random.sample(tokens, min(n, 1000)) * (4 if n < 4 else 1))
                                         for profile in ("hit", "copy")], n, p99, p50_check, late)
            body = json.dumps({"user_id": name}).encode()
            for title, requests, wanted, tries in (
                    ("list, 100 at most", [("GET", f"v1/users/{name}/sessions")] * 30, 200, 1),
                    ("list, 1,000 at most", [("GET", f"v1/users/{name}/sessions?limit=1000")] * 10, 200, 1),
                    ("creation", [("POST", "v1/sessions", body)] * 30, 201, 1),
                    ("end all", [("DELETE", f"v1/users/{name}/sessions")], 200, 50)):
                found.setdefault(title, []).append(p.calls("hit", requests, wanted, tries)[:2])
        for title, costs in found.items():
            note(cpu, title, n, [c for c, _ in costs])
            note(p50, title, n, [ms for _, ms in costs])
            if title == "end all":
                note(cpu, "end all, each session", n, [c / (n + 30) for c, _ in costs])
        yield [cpu, p50, p99, p50_check, late]


def data(p, options):
    """Bytes of data that a session has."""
    may = ("creation", "creation, SQLite", "change of a member")  # they have to write it
    cpu, p50, p99 = panel("check", "CPU us", grows=may), panel("check", "p50 ms", grows=may), panel("check", "p99 ms", grows=may)
    calls, late = panel("call", "CPU us", grows=may), panel("call", "p50 ms", grows=may)
    for name, like in (("hit", None), ("copy", "hit"), ("row", "hit"), ("file", None), ("shown", "hit")):
        p.start(name, like)
    p.load("hit", BASE)
    for size in DATA:
        made = {}
        for profile in ("hit", "file", "shown"):
            def one(i, profile=profile):
                content = {"n": 1}
                if profile == "shown":
                    content["shown"] = "s" * min(size, 1000)
                for part in range(0, size - 40 - len(content.get("shown", "")), 8000):
                    content[f"d{part}"] = "x" * min(8000, size - 40 - part)
                return "POST", "v1/sessions", json.dumps({"user_id": f"{profile}-{size}-{i}", "data": content}).encode()
            results = [p.calls(profile, [one(40 * turn + i) for i in range(40)], 201) for turn in range(options.rounds)]
            made[profile] = [a.json() for _, _, answers in results for a in answers]
            title = {"hit": "creation", "file": "creation, SQLite", "shown": None}[profile]
            if title:
                note(calls, title, size, [c for c, _, _ in results])
                note(late, title, size, [ms for _, ms, _ in results])
        tokens = {profile: [(a["token"], a["session"]["user_id"]) for a in answers] for profile, answers in made.items()}
        tokens.update(copy=tokens["hit"], row=tokens["hit"])
        measure_checks(options, [p.check(profile, tokens[profile]) for profile in ("hit", "copy", "row", "file", "shown")],
                       size, cpu, p50, p99, dict(TITLES, shown="Redis, exports of a kilobyte at most"))
        changed = [p.calls("hit", [("PATCH", f"v1/sessions/{a['session']['ref']}", b'{"data":{"n":%d}}' % (turn + 2))
                                   for a in made["hit"][:40]]) for turn in range(options.rounds)]
        note(calls, "change of a member", size, [c for c, _, _ in changed])
        note(late, "change of a member", size, [ms for _, ms, _ in changed])
        yield [cpu, p50, p99, calls, late]


def workers(p, options):
    """Worker processes of the instance."""
    cpu, p50, p99 = panel("check and creation", "CPU us"), panel("check", "p50 ms"), panel("check", "p99 ms")
    speed, memory = panel(f"{BUSY} busy connections", "requests a second"), panel("memory of the instance, shared memory once", "MiB")
    speed["grows"], memory["grows"] = ("local cache", "Redis", "creation"), ("memory",)
    p.start("hit")
    p.load("hit", BASE)
    for n in WORKERS:
        with_cache, without = f"w{n:02d}", f"c{n:02d}"
        p.start(with_cache, "hit")
        p.start(without, "hit")
        titles = {with_cache: "local cache", without: "Redis"}
        checks = [p.check(name, p.sample("hit")) for name in (with_cache, without)]
        for c in checks:
            c.connections = BUSY
        closed = measure_checks(options, checks, n, cpu, p50, p99, titles)
        for c in checks:
            note(speed, titles[c.name], n, [r["per_second"] for r in closed[c.name] if r])
        made = p.creation(with_cache)
        made.connections, made.next = BUSY, 1000000 * n
        results = [made.measure(options.seconds) for _ in range(options.rounds)]
        note_cpu(cpu, "creation", n, [r["cpu_by"] for r in results])
        note(speed, "creation", n, [r["per_second"] for r in results])
        note(memory, "memory", n, [sum(pss_kib(pid) for pid in pids_below(p.box.pids(["sessgate-" + with_cache]))) / 1024])
        p.stop_instance(with_cache)
        p.stop_instance(without)
        yield [cpu, p50, p99, speed, memory]


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))


def instances(p, options):
    """Hosts: gateways that share both stores. What one changes, all hear."""
    cpu, slow = panel("check at all of them", "CPU us"), panel("check at all of them", "p99 ms")
    change = {kind: panel(f"{kind} at one of them", "CPU us") for kind in ("end", "creation")}
    touch, rest = panel("activity written by one of them", "CPU us"), panel("nobody asks", "CPU us a second")
    asked = panel("looks in Redis after activity elsewhere", "a hundred requests")
    for where in list(change.values()) + [touch, rest]:
        where["grows"] = ("the other gateways", "Redis", "MySQL")
    names = ("hit", "second", "third", "fourth")
    for k, name in enumerate(names, 1):
        p.start(name, "hit")
        p.load("hit", BASE)
        path = {n: file_of(p.box, "requests-" + n, [check_request(n, t) for t, _ in p.sample("hit")]) for n in names[:k]}
        others = names[1:k]
        roots = p.roots("hit", others)
        idle = [p.background("hit", others) for _ in range(options.rounds)]
        note(rest, "each gateway", k, [(i["gateway"] + i["the other gateways"]) / k for i in idle])
        for role in ("Redis", "MySQL"):
            note(rest, role, k, [i[role] for i in idle])

        def checks(seconds):
            loads = [Load(p.site, p.site.lighttpd.port, path[n], 8, seconds, max(2000 // k, 1)) for n in names[:k]]
            return [l.result() for l in loads]
        warm_all(p, path)
        costs, late = [], []
        for _ in range(options.rounds):
            used, results = p.used(roots, lambda: checks(options.seconds))
            count = sum(r["count"] for r in results)
            costs.append(sum(used[role] - idle[-1][role] * options.seconds for role in used) / count)
            late.append(max(r["p99_us"] for r in results) / 1000)
        note(cpu, "local cache", k, costs)
        note(slow, "local cache", k, late)
        made = p.creation("hit")
        for kind, where in change.items():
            costs = []
            for _ in range(options.rounds):
                if kind == "end":
                    costs.append(p.once_each(kind, p.ends("hit", CHANGES), CHANGES, roots, idle[-1], 1)[0])
                else:
                    used, result = p.used(roots, lambda: (made.measure(1, CHANGES), time.sleep(1))[0])
                    costs.append({role: (us - 2 * idle[-1][role]) / result["count"] for role, us in used.items()})
            for role in ("gateway", "the other gateways", "Redis", "MySQL"):
                note(where, role, k, [max(c[role], 0) for c in costs])
        warm_all(p, path)  # creations and ends may have taken some
        heard, again = [], []
        for _ in range(options.rounds):
            tokens = random.sample(p.sample("hit"), CHANGES)
            heard.append(heard_activity(p, roots, idle[-1], tokens))
            again.append(looks_again(p, names[:k], tokens))
        note(touch, "each gateway", k, [(c["gateway"] + c["the other gateways"]) / k for c in heard])
        note(touch, "Redis", k, [c["Redis"] for c in heard])
        note(asked, "of those whose activity was written", k, again)
        yield [cpu, slow, *change.values(), touch, asked, rest]


def warm_all(p, path):
    """path: {instance: file of requests}. Until one run has presented all tokens, to each."""
    for requests in path.values():
        seconds = 4
        while Load(p.site, p.site.lighttpd.port, requests, 8, seconds).result()["count"] < SAMPLE and seconds < 60:
            seconds *= 2


def looks_again(p, names, tokens):
    """How many of a hundred requests ask Redis, for sessions that the hosts had before their activity was written."""
    def looks():
        stats = p.site.redis().command("INFO", "commandstats").decode()
        return sum(int(n) for n in re.findall(r"cmdstat_(?:mget|exec):calls=(\d+)", stats))
    before, count = looks(), 0
    for name in names:
        path = file_of(p.box, "requests-again", [check_request(name, t) for t, _ in tokens])
        result = Load(p.site, p.site.lighttpd.port, path, 4, max(len(tokens) // 1000, 1), 1000).result()
        count += result["count"]
    # A keeper's rounds ask for the numbers of all groups, twice a second.
    return max(looks() - before - 2 * len(names) * len(names), 0) * 100 / count


def heard_activity(p, roots, idle, tokens):
    """{role: CPU us} of one session's activity that is written into Redis, where all have the session in their cache:
    as a keeper's round writes it, fifty at a time."""
    begin = time.monotonic()

    def work():
        with Pipeline(p.site.redis().socket) as redis:
            redis.ask([("SELECT", p.site.redis_number("hit"))])
            for first in range(0, len(tokens), 50):
                refs = [base64.urlsafe_b64decode(token + "==")[1:13] for token, _ in tokens[first:first + 50]]
                redis.ask([("SETRANGE", f"sg:{{{ref[0] % 16}}}:s:{ref.hex()}", 17, int(1000 * time.time())) for ref in refs])
                time.sleep(0.05)
        time.sleep(0.5)
    used, _ = p.used(roots, work)
    seconds = time.monotonic() - begin
    return {role: max(us - idle[role] * seconds, 0) / len(tokens) for role, us in used.items()}


class Pipeline:
    """Commands to Redis, sent together."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, commands):
        """None of them has a reply of more than one line."""
        words = [[str(word) for word in command] for command in commands]
        self.socket.sendall("".join(f"*{len(c)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in c) for c in words).encode())
        replies = b""
        while replies.count(b"\r\n") < len(commands):
            got = self.socket.recv(65536)
            if not got:
                raise Unavailable("Redis closed the connection")
            replies += got
        if b"-" in replies:
            raise Unavailable(f"Redis: {replies[:80]}")


AXES = {"sessions": (sessions, "sessions"), "user": (user, "sessions of one user"), "data": (data, "bytes of data"),
        "workers": (workers, "workers"), "instances": (instances, "instances")}


# ---- the whole -----------------------------------------------------------------


def read_options():
    parser = argparse.ArgumentParser(prog="scripts/bench --scale", description="Cost against size.")
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--axis", default=",".join(AXES), metavar="NAME[,NAME]", help="which (all): " + ", ".join(AXES) + "; none: draw alone")
    parser.add_argument("--max", type=int, default=1000000, metavar="N", help="most sessions (1000000)")
    parser.add_argument("--min", type=int, default=SIZES[0], metavar="N", help="least sessions (1000)")
    parser.add_argument("--pool", type=int, default=POOL_MAX, metavar="MIB", help=f"most MiB for InnoDB's pages ({POOL_MAX})")
    parser.add_argument("--max-sqlite", type=int, metavar="N", help="most sessions in SQLite (as --max)")
    parser.add_argument("--minutes", type=float, default=120, metavar="N", help="end after so long with what there is (120)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of each measurement (3)")
    parser.add_argument("--seconds", type=int, default=1, metavar="N", help="length of each turn (1)")
    parser.add_argument("--rate", type=int, default=500, metavar="N", help="requests a second for latencies (500)")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="workers of an instance (4)")
    parser.add_argument("--json", metavar="FILE", help="all figures; axes that it has and that are not measured now stay")
    parser.add_argument("--svg", metavar="DIRECTORY", help="pictures: scale-AXIS.svg")
    options = parser.parse_args()
    options.axes = [a for a in options.axis.split(",") if a and a != "none"]
    unknown = [a for a in options.axes if a not in AXES]
    if unknown:
        parser.error(f"there is no axis {unknown[0]}; there are: {', '.join(AXES)}")
    if not SIZES[0] <= options.max <= SIZES[-1]:
        parser.error(f"--max must be {SIZES[0]} to {SIZES[-1]}")
    options.max_sqlite = options.max if options.max_sqlite is None else options.max_sqlite
    options.load_before, options.only = os.getloadavg()[0], None
    options.until = time.monotonic() + 60 * options.minutes
    return options


def check_room(options):
    """Before anything is loaded: disk for the databases, memory for Redis and InnoDB's pages."""
    most = max(options.max if "sessions" in options.axes else 0, BASE)
    with open("/proc/meminfo", encoding="ascii") as f:
        free_memory = 1024 * int(re.search(r"MemAvailable:\s+(\d+)", f.read()).group(1))
    directory = os.environ.get("TMPDIR", "/tmp")
    pool = min(max(512, most * 700 >> 20), options.pool)
    wanted = {"disk": (most * DISK_EACH + (4 << 30), shutil.disk_usage(directory).free, f"below {directory}"),
              "memory": (most * MEMORY_EACH + (pool << 20) + (1 << 30), free_memory, "")}
    for what, (needed, free, where) in wanted.items():
        say(f"needs about {needed >> 20} MiB of {what}{' ' if where else ''}{where}, {free >> 20} MiB are free")
        if needed > free:
            raise SystemExit(f"bench: too little {what}: choose a smaller --max, or another TMPDIR")
    place.DurableMariaDB.pool = f"{pool}M"
    place.DurableMariaDB.log = "2G" if most > 1000000 else "512M"


def save(options, found):
    if options.json:
        with open(options.json + ".new", "w", encoding="utf-8") as f:
            json.dump(found, f, indent=1)
        os.replace(options.json + ".new", options.json)


def measure(axis, options, found):
    function, x_title = AXES[axis]
    begin = time.monotonic()
    found.pop(axis, None)
    p = None
    try:
        p = Place(options)
        for panels in function(p, options):
            found[axis] = {"title": function.__doc__.split("\n", maxsplit=1)[0], "x": x_title, "panels": panels,
                           "about": about(options, time.monotonic() - begin)}
            save(options, found)
            p.check_time()
    except (Unavailable, OutOfTime, OSError, subprocess.SubprocessError, AssertionError) as e:
        say(f"{axis} ends here: {e}")
        found.setdefault(axis, {"title": function.__doc__, "x": x_title, "panels": []})["ended"] = str(e)
    finally:
        if p is not None:
            p.stop()
    save(options, found)


def is_quiet(axis):
    return axis.get("about", {}).get("load_before", 0) < 1


def note_of(axis):
    """Latencies and requests a second a busy machine makes up: its pictures say so."""
    return "" if is_quiet(axis) else "Others used the machine meanwhile: CPU counts; latencies and requests a second are theirs, too."


def main():
    options = read_options()
    found = {}
    if options.json and os.path.exists(options.json):
        with open(options.json, encoding="utf-8") as f:
            found = json.load(f)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    check_room(options)
    try:
        for axis in options.axes:
            say(f"axis {axis}")
            measure(axis, options, found)
    except KeyboardInterrupt:
        raise SystemExit("bench: interrupted") from None
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} processors, load {options.load_before:.1f} before")
    for axis in AXES:
        if axis not in found:
            continue
        curves.table(found[axis]["title"], found[axis]["x"], found[axis]["panels"])
        if "ended" in found[axis]:
            print(f"not whole: {found[axis]['ended']}")
        if options.svg:
            os.makedirs(options.svg, exist_ok=True)
            curves.draw(os.path.join(options.svg, f"scale-{axis}.svg"), found[axis]["title"], found[axis]["x"],
                        found[axis]["panels"], note_of(found[axis]))


if __name__ == "__main__":
    main()
