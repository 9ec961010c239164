"""What a newer version of sessgate has left: tables and copies that this one does
not know are refused, with words that say what to do, and left as they are."""

import hashlib
import os
import sqlite3
import subprocess
import time

from harness import SESSGATECTL, case, main, wait_until
from scenario import STORES
from stores import Fleet, record_key

WORDS = "made by a newer sessgate: install that one"
FORMAT_AT = 30  # of a record: lib/record.h


def ctl(gw, *args):
    done = subprocess.run(
        [SESSGATECTL] + list(args) + ["--config", gw.conf_path], cwd="/", timeout=30,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def set_version(path, version):
    base = sqlite3.connect(path)
    with base:
        base.execute("UPDATE store SET schema_version = schema_version + ?", (version,))
    base.close()


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


@case
def a_newer_file_of_sqlite_is_refused_and_left_alone(t):
    gw = t.gateway({"cookie": {"name": "sid", "secure": False}})
    gw.start()
    token, _ = gw.create()
    gw.stop()
    path = gw.conf["sqlite"]["file"]
    set_version(path, 1)
    before = digest(path)
    gw.expect_log(WORDS)
    status, text = gw.run()
    t.equal(status, 1, text)
    t.match(text, WORDS)
    for args, code in ((("db", "check"), 1), (("db", "init"), 2), (("doctor",), 1)):
        status, text = ctl(gw, *args)
        t.equal(status, code, text)
        t.match(text, WORDS)
    t.equal(digest(path), before, "nothing was written")
    set_version(path, -1)
    gw.start()
    t.equal(gw.check("sid=" + token).status, 200)


@case
def newer_tables_of_mysql_are_refused_and_left_alone(t):
    fleet = Fleet(t, hosts=1)
    host, = fleet.hosts
    fleet.expect_log(STORES, "sessions")
    session = host.create()
    host.gw.stop()
    fleet.db.sql("UPDATE store SET schema_version = schema_version + 1")
    tables = "SELECT (SELECT COUNT(*) FROM session), (SELECT COUNT(*) FROM audit), schema_version FROM store"
    before = fleet.db.sql(tables)
    for args, code in ((("db", "check"), 1), (("db", "init"), 3), (("doctor",), 1)):
        status, text = fleet.ctl(*args)
        t.equal(status, code, text)
        t.match(text, WORDS)
    # It goes on as without MySQL, and says why.
    host.gw.start(wait=False)
    wait_until(lambda: WORDS in host.gw.log(), "it is told")
    answer = host.try_create("bob")
    t.equal(answer.status, 503, answer)
    time.sleep(0.5)
    t.equal(fleet.db.sql(tables), before, "nothing was written")
    fleet.db.sql("UPDATE store SET schema_version = schema_version - 1")
    host.wait_closed()
    wait_until(lambda: host.check(session).status == 200, "as before")


@case
def a_copy_of_a_newer_format_is_not_believed_and_nobody_is_logged_out(t):
    fleet = Fleet(t)
    a, b = fleet.hosts
    fleet.expect_log(STORES, "a newer sessgate has written them")
    session = a.create(data={"n": 1})
    fleet.warm(session)
    key = record_key(session.ref)
    good = fleet.record(session)
    newer = good[:FORMAT_AT] + b"\x7f" + good[FORMAT_AT + 1:]
    fleet.redis.command("SET", key, newer, "PX", 600000)
    t.equal(b.check(session, is_told=True).served, ["mysql"])
    t.equal(b.count("newer_copies"), 1)
    wait_until(lambda: "a newer sessgate has written them" in b.gw.log(), "it is told")
    t.equal(b.show(session).json()["data"], {"n": 1})
    # Nobody can tell what it says: "try again", and never "no such session".
    fleet.redis.command("SET", key, newer, "PX", 600000)
    for host in fleet.hosts:
        host.mysql.cut()
    for host in fleet.hosts:
        t.equal(host.check(session).status, 503)
    t.equal(fleet.record(session), newer, "left as it is")
    for host in fleet.hosts:
        host.mysql.heal()
        host.wait_closed()
        wait_until(lambda: host.check(session).status == 200, "as before")


if __name__ == "__main__":
    main()
