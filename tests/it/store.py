"""Trouble with the SQLite file while requests run: nobody is logged out."""

import resource
import sqlite3
import time

from harness import case, children, main

COOKIE = {"cookie": {"name": "sid", "secure": False}}


def held(gw):
    """Another program's write transaction; close it to let go."""
    db = sqlite3.connect(gw.conf["sqlite"]["file"], isolation_level=None,
                         check_same_thread=False)
    db.execute("BEGIN IMMEDIATE")
    return db


def visit(gw, token, seconds):
    """Statuses of a visitor who asks every few milliseconds."""
    end = time.monotonic() + seconds
    seen = set()
    while time.monotonic() < end:
        seen.add(gw.check("sid=" + token).status)
        time.sleep(0.005)
    return seen


@case
def a_visitor_stays_while_the_store_is_locked_for_longer_than_idle_timeout(t):
    gw = t.gateway(COOKIE)
    gw.configure({"session": {"idle_timeout": "2 s", "warn_before": "1 s"},
                  "reap": {"interval": "1 s"}})
    gw.expect_log("database is locked")
    gw.start()
    token, _ = gw.create()
    left, _ = gw.create("left")
    db = held(gw)
    t.at_end(db.close)
    t.equal(visit(gw, token, 5), {200})
    db.close()
    t.equal(visit(gw, token, 3), {200})
    t.equal(gw.check("sid=" + left).status, 401)


@case
def a_visitor_stays_when_idle_timeout_is_as_short_as_can_be(t):
    """Reaping begins on a row whose last activity is still to be written."""
    gw = t.gateway(COOKIE)
    gw.configure({"session": {"idle_timeout": "1 s", "warn_before": "1 s"},
                  "reap": {"interval": "1 s"}})
    gw.start()
    token, _ = gw.create()
    t.equal(visit(gw, token, 6), {200})
    time.sleep(1.2)
    t.equal(gw.check("sid=" + token).status, 401)


@case
def a_limit_of_the_file_size_is_a_full_store_and_kills_nobody(t):
    gw = t.gateway(COOKIE)
    gw.expect_log("sqlite: ", "is down", "store")
    # The store's -wal file gets there first.
    gw.start(preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_FSIZE, (8 << 20, 8 << 20)))
    gw.wait_log("ready: ")
    token, _ = gw.create()
    workers = children(gw.pid)
    db = sqlite3.connect(gw.conf["sqlite"]["file"])
    t.at_end(db.close)
    # A reader keeps the -wal file from starting anew.
    db.execute("BEGIN")
    db.execute("SELECT count(*) FROM session").fetchone()
    statuses = []
    for i in range(400):
        statuses.append(gw.api(
            "POST", "v1/sessions", {"user_id": "u%d" % i, "data": {
                "x": "y" * 30000}}, address=gw.control).status)
        if statuses[-1] != 201:
            break
    t.equal(statuses[-1], 503)
    t.equal(gw.check("sid=" + token).status, 200)
    t.equal(gw.check("sid=" + token[:-2] + "AA").status, 401)
    t.equal(children(gw.pid), workers)


main()
