"""Bytes a session: what 100,000 more of them take in each store."""

import glob
import os
import re
import sqlite3
import subprocess
import time

from contenders import BODY
from load import file_of, login_requests, run
from machine import Unavailable, ask, wait_until

SESSIONS = 100000
PAGE = 16384  # InnoDB's
TABLES = ("session", "user_state", "user_lock", "audit")
# Of a key at random: its name, the length of its value, what Redis says it takes.
SAMPLE = ("redis.call('SELECT', ARGV[1]); local k = redis.call('RANDOMKEY') "
          "return {k, redis.call('STRLEN', k), redis.call('MEMORY', 'USAGE', k)}")


def grow(site, profile, count_rows):
    """Creates until there are SESSIONS more, each of a user of its own; how many."""
    before = made = count_rows()
    requests = file_of(site.machine, "requests-memory", login_requests(f"/{profile}/v1/sessions", BODY))
    first = 0
    while made - before < SESSIONS:
        result = run(site, site.lighttpd.port, requests, 64, 5, 0, first)
        last, first = made, result["next"]
        created = result["answers"].get("201", 0)
        if created == 0:
            raise Unavailable(f"creations failed: {result['answers']}")
        # What was created while MySQL was too slow is on its way there.
        wait_until(lambda: count_rows() - last >= created, "all that was created is in the store", 120)
        made = count_rows()
    return made - before


def innodb(server, database):
    """{(table, index): bytes} as InnoDB has allocated them; partitions together."""
    server.sql("SET GLOBAL innodb_max_purge_lag_wait = 0; ANALYZE TABLE " + ", ".join(TABLES), database)
    rows = server.sql("SELECT table_name, index_name, stat_value FROM mysql.innodb_index_stats WHERE database_name = "
                      f"'{database}' AND stat_name = 'size'")
    sizes = {}
    for row in rows.splitlines():
        table, index, pages = row.split("\t")
        key = (table.split("#")[0], index)
        sizes[key] = sizes.get(key, 0) + int(pages) * PAGE
    return sizes


def used_memory(redis):
    """When nothing is being rehashed any more."""
    time.sleep(2)
    text = redis.command("INFO", "memory").decode()
    return int(re.search(r"used_memory:(\d+)", text).group(1))


def difference(after, before, count):
    return {key: (size - before.get(key, 0)) / count for key, size in after.items()}


def mysql_and_redis(site):
    site.sessgate("memory")
    server, redis = site.mariadb(), site.redis()
    database = "sessgate_memory"
    rows = innodb(server, database)
    bytes_before = used_memory(redis)
    made = grow(site, "memory", lambda: int(server.sql("SELECT COUNT(*) FROM session", database)))
    per_session = difference(innodb(server, database), rows, made)
    by_size = [redis.command("EVAL", SAMPLE, 0, site.redis_number("memory")) for _ in range(20)]
    key, record_len, entry_len = max(by_size, key=lambda sample: sample[1])
    grown = (used_memory(redis) - bytes_before) / made
    # Rows as densely as they can lie: the rest is room in half-full pages.
    server.sql("OPTIMIZE TABLE session, user_state", database)
    dense = innodb(server, database)
    return {"sessions": made, "redis": grown,
            "redis_by": {"key": len(key), "record": record_len, "both as allocated, with their entry": entry_len,
                         "place in the tables, expiry": grown - entry_len},
            "mysql": without_audit(per_session), "mysql_dense": without_audit(dense) / made,
            "mysql_by": {f"{t}.{i}": v for (t, i), v in per_session.items() if t != "audit" and abs(v) >= 0.5},
            "mysql_audit": sum(v for (t, _), v in per_session.items() if t == "audit")}


def without_audit(sizes):
    return sum(size for (table, _), size in sizes.items() if table in TABLES and table != "audit")


def table_sizes(path):
    """{table or index: bytes} of a database that others have open."""
    db = sqlite3.connect(path)
    try:
        return dict(db.execute("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name"))
    except sqlite3.OperationalError as e:
        raise Unavailable(f"this Python's SQLite cannot tell the sizes of tables: {e}") from None
    finally:
        db.close()


def sqlite(site):
    site.sessgate("sqlite")
    path = site.machine.path("sqlite", "db", "sessions.db")

    def count_rows():
        db = sqlite3.connect(path)
        try:
            return db.execute("SELECT COUNT(*) FROM session").fetchone()[0]
        finally:
            db.close()
    before = table_sizes(path)
    made = grow(site, "sqlite", count_rows)
    per_session = difference(table_sizes(path), before, made)
    audit = sum(v for name, v in per_session.items() if "audit" in name)
    return {"sessions": made, "sqlite": sum(per_session.values()) - audit, "sqlite_audit": audit,
            "sqlite_by": {name: v for name, v in per_session.items() if abs(v) >= 0.5}}


def spool_frame(site, ends=1000):
    """A logout's frame: ends are kept to be told again, also when MySQL has them."""
    site.sessgate("memory")
    port = site.lighttpd.port
    pattern = site.machine.path("memory", "spool", "*")

    def size():
        return sum(os.path.getsize(f) for f in glob.glob(pattern) if os.path.basename(f) != "reserve")
    tokens = []
    while len(tokens) < ends:
        answer = ask(port, "/memory/v1/sessions", "POST", BODY.replace("#" * 8, f"{len(tokens) + 90000000}"),
                     Content_Type="application/json")
        if answer.status == 201:
            tokens.append(answer.body.split('"token":"')[1].split('"')[0])
        elif answer.status != 503:
            raise Unavailable(f"a creation answered {answer.status}")
    before = size()
    for token in tokens:
        answer = ask(port, "/memory/v1/end", "POST", '{"token":"%s"}' % token, Content_Type="application/json")
        if answer.status != 200:
            raise Unavailable(f"an end answered {answer.status}")
    wait_until(lambda: size() > before, "the spool has the ends")
    return {"spool_frame": (size() - before) / ends}


def local_cache(site):
    done = subprocess.run([site.binary("tests/bench/entry")], check=True, capture_output=True, text=True)
    return {"l1": float(done.stdout)}


def measure(site, _options):
    found = {"missing": {}}
    for part in (local_cache, mysql_and_redis, sqlite, spool_frame):
        try:
            found.update(part(site))
        except Unavailable as e:
            found["missing"][part.__name__] = str(e)
    return found
