"""The arithmetic of the benchmark: medians of rounds, ratios round by round,
and the goals. Nothing here runs anything; tests/bench/arithmetic.py tests it."""

import statistics


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def ratios(rounds, floor, key):
    """Of each round to the floor of the same round, where both are there."""
    return [r[key] / f[key] for r, f in zip(rounds, floor) if r and f and f[key]]


def summary(rounds, floor=None):
    """rounds: what Contender.measure() said, None for a round that failed."""
    good = [r for r in rounds if r]
    if not good:
        return None
    row = {"rounds": len(good), "requests": sum(r["count"] for r in good), "errors": sum(r["errors"] for r in good)}
    for key in ("per_second", "cpu_us"):
        values = [r[key] for r in good]
        row[key] = {"median": median(values), "min": min(values), "max": max(values)}
    for key in ("p50_us", "p99_us", "redis_calls", "sql_calls"):
        row[key] = median([r[key] for r in good])
    # What was asked is the same in each round, but for what happens by itself.
    row["calls"] = good[-1].get("calls", {})
    roles = {role for r in good for role in r["cpu_by"]}
    row["cpu_by"] = {role: median([r["cpu_by"].get(role, 0) for r in good]) for role in sorted(roles)}
    if floor is not None:
        for key, name in (("per_second", "speed_ratio"), ("cpu_us", "cpu_ratio")):
            values = ratios(rounds, floor, key)
            row[name] = {"median": median(values), "min": min(values), "max": max(values)} if values else None
    return row


# What asking for the figures makes by itself.
OWN_REDIS = {"info"}
OWN_SQL = {"Com_show_status"}
SQL_TOTAL = "Questions"


def redis_calls(text):
    """{command: how often so far}, of INFO commandstats."""
    calls = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name.startswith("cmdstat_") and name[8:] not in OWN_REDIS:
            calls[name[8:].replace("|", " ")] = int(rest.split("calls=")[1].split(",")[0])
    return calls


def sql_calls(text):
    """{statement: how often so far}, of SHOW GLOBAL STATUS; and of all together."""
    rows = [line.split() for line in text.splitlines()]
    calls = {row[0].removeprefix("Com_"): int(row[1]) for row in rows
             if len(row) == 2 and row[0] not in OWN_SQL and row[1].isdigit()}
    if SQL_TOTAL in calls:
        calls[SQL_TOTAL] -= next((int(row[1]) for row in rows if row[0] in OWN_SQL), 0)
    return calls


def per_request(before, after, count):
    """Of {name: how often}: how often for each request, of those that rose, most first."""
    if before is None:
        return None
    rose = {name: (n - before.get(name, 0)) / count for name, n in after.items() if n > before.get(name, 0)}
    return dict(sorted(rose.items(), key=lambda c: -c[1]))


def percentile(values, share):
    """The smallest value that at least this share of them does not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(-int(-len(ordered) * share // 1), 1) - 1]


def outage(trace, begin_s, end_s, slow_ms=100):
    """What a fault from begin_s to end_s did; trace: (due s, latency ms, status)."""
    inside = [t for t in trace if begin_s <= t[0] < end_s]
    after = [t for t in trace if t[0] >= end_s]
    by_status = {}
    for _, _, status in inside:
        by_status[status] = by_status.get(status, 0) + 1
    wrong = [due for due, latency, status in after if status != 200 or latency > slow_ms]
    latencies = [latency for _, latency, _ in inside]
    return {"answers": by_status, "p50_ms": percentile(latencies, 0.5), "p99_ms": percentile(latencies, 0.99),
            "max_ms": max(latencies, default=None), "later_wrong": sum(1 for t in after if t[2] != 200),
            "back_s": round(max(wrong) - end_s, 3) if wrong else 0.0}


def value(rows, name, *keys):
    """rows[name][key][key]..., or None where something was not measured."""
    found = rows.get(name)
    for key in keys:
        found = found.get(key) if found else None
    return found


def goal(what, figure, limit, is_upper):
    """(what, figure, limit as text, reached or None if not measured)."""
    text = ("<= " if is_upper else ">= ") + f"{limit:g}"
    if figure is None:
        return {"what": what, "figure": None, "goal": text, "reached": None}
    return {"what": what, "figure": figure, "goal": text,
            "reached": figure <= limit if is_upper else figure >= limit}


def against(rows, round_lists, name, other, key):
    """The median of the ratios round by round of one contender to another."""
    if not rows.get(name) or not rows.get(other):
        return None
    return median(ratios(round_lists[name], round_lists[other], key))


def goals(rows, rounds, special):
    """rows: summaries by contender; rounds: their rounds; special: the other parts."""
    found = []

    def at_most(what, figure, limit):
        found.append(goal(what, figure, limit, True))

    def at_least(what, figure, limit):
        found.append(goal(what, figure, limit, False))

    def cpu(name):
        return value(rows, name, "cpu_ratio", "median")

    def speed(name):
        return value(rows, name, "speed_ratio", "median")

    hit = "sessgate local cache, "
    at_most("hit, lighttpd: CPU of the floor's", cpu(hit + "lighttpd"), 0.85)
    at_least("hit, lighttpd: requests/s of the floor's", speed(hit + "lighttpd"), 1.10)
    calls = special.get("system calls", {}).get("per_request")
    # To a tenth: each worker also looks once a second whether its master lives.
    at_most("hit, lighttpd: system calls of the gateway", None if calls is None else round(calls, 1), 5)
    at_most("hit: commands to Redis a request", value(rows, hit + "lighttpd", "redis_calls"), 0.01)
    at_most("hit: statements to MySQL a request", value(rows, hit + "lighttpd", "sql_calls"), 0.01)
    hits = [row for name, row in rows.items() if name.startswith("sessgate local cache") and row]
    at_most(f"hit, all servers: errors in {sum(r['requests'] for r in hits)} requests",
            sum(r["errors"] for r in hits) if hits else None, 0)
    at_most("hit, nginx: CPU", cpu(hit + "nginx"), 0.85)
    at_most("hit, nginx, kept connections: CPU", cpu(hit + "nginx kept"), 0.45)
    at_least("hit, nginx, kept connections: requests/s", speed(hit + "nginx kept"), 2.3)
    at_most("hit, Apache, kept connections: CPU", cpu(hit + "apache kept"), 0.85)
    at_most("three servers, 64 busy clients: a probe's worst answer, ms", special.get("starvation", {}).get("worst_ms"), 30)
    at_most("the same, asked at the pool's own socket, ms", special.get("starvation", {}).get("pool_ms", {}).get("max"), 30)
    for title, limit in (("Redis", 1.60), ("MySQL", 1.95), ("SQLite", 1.35)):
        at_most(f"{title}, lighttpd: CPU", cpu(f"sessgate {title}, lighttpd"), limit)
    for peer, limit in (("php-fpm + phpredis", 3), ("express-session", 5), ("Flask-Session", 6), ("Perl CGI::Session", 14)):
        at_least(f"hit, lighttpd: requests/s of {peer}'s", against(rows, rounds, hit + "lighttpd", peer, "per_second"), limit)
    mine, bare, php = "create: sessgate, {} connections", "create: own transactions, {} connections", "create: php-fpm + phpredis"
    at_least("creation, 64 connections: requests/s of php-fpm's", against(rows, rounds, mine.format(64), php, "per_second"), 1.2)
    at_most("creation, 64 connections: CPU of php-fpm's", against(rows, rounds, mine.format(64), php, "cpu_us"), 0.65)
    at_least("creation, 64 connections: requests/s of own transactions'",
             against(rows, rounds, mine.format(64), bare.format(64), "per_second"), 1.5)
    for n in (4, 1):
        at_least(f"creation, {n} connection{'s' if n > 1 else ''}: requests/s of own transactions'",
                 against(rows, rounds, mine.format(n), bare.format(n), "per_second"), 0.95)
    ended = special.get("ended", {})
    at_most("ended session refused by another instance: p50, ms", ended.get("p50_ms"), 1)
    at_most("ended session refused by another instance: p99, ms", ended.get("p99_ms"), 20)
    at_most("a hit's own instructions", special.get("instructions", {}).get("own"), 3500)
    memory = special.get("memory", {})
    at_most("bytes a session, Redis", memory.get("redis"), 400)
    at_most("bytes a session, MySQL without audit", memory.get("mysql"), 450)
    at_most("bytes a session, local cache", memory.get("l1"), 320)
    return found
