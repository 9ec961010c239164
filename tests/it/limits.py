#!/usr/bin/env python3
"""session.max_sessions: a hundred logins of one user at once, at two hosts."""

import http.client
import json
import os
import signal
import sqlite3
import threading
import time

from harness import case, main, wait_until
from scenario import Operator, is_paused, with_pauses, workers_of
from stores import COOKIE, Fleet, failpoint_build, run

LIMIT = 3
LOGINS = 100
# On a machine that stands still nobody waits in vain for the others.
PATIENT = {"request_timeout": "60 s", "request_terminate_timeout": "90 s"}
PATIENT_MYSQL = {"read_timeout": "8 s", "write_timeout": "8 s"}
REASON_LIMIT = "12"  # enum sgate_reason


class Login:
    """One try: when it was sent and answered, and what came back."""

    def __init__(self, gw, user):
        self.sent = time.monotonic()
        try:
            answer = gw.api("POST", "v1/sessions", {"user_id": user}, address=gw.control)
            self.status, self.body = answer.status, answer.json()
            self.reason = answer.header("X-Session-Reason")
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.status, self.body, self.reason = 0, repr(error), None
        self.answered = time.monotonic()
        made = self.status == 201
        self.ref = self.body["session"]["ref"] if made else None
        self.token = self.body["token"] if made else None


def at_once(gateways, count, user="alice"):
    """That many logins, all at once, by turns at the gateways."""
    logins = []
    gate = threading.Barrier(count)

    def login(gw):
        gate.wait()
        logins.append(Login(gw, user))

    threads = [threading.Thread(target=login, args=(gateways[i % len(gateways)],)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return logins


class Watch:
    """How many live rows the user has, all the time until end()."""

    QUERY = "SELECT COUNT(*) FROM session WHERE user_id = 'alice' AND state = 1"

    def __init__(self, count):
        self.count, self.seen, self.is_over = count, [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.is_over:
            self.seen += self.count()

    def end(self):
        self.is_over = True
        self.thread.join(30)
        return max(self.seen)


def watch_mysql(fleet):
    return Watch(lambda: [int(n) for n in fleet.db.sql((Watch.QUERY + "; DO SLEEP(0.003);") * 50).split()])


def watch_sqlite(path):
    def count():
        time.sleep(0.003)
        database = sqlite3.connect(path, timeout=10)
        try:
            return [database.execute(Watch.QUERY).fetchone()[0]]
        finally:
            database.close()
    return Watch(count)


def counted(logins):
    statuses = [login.status for login in logins]
    return {status: statuses.count(status) for status in sorted(set(statuses))}


def is_live(gw, login):
    return gw.check("sid=" + login.token).status == 200


def the_oldest_made_room(t, before, logins, live):
    """Nobody stayed who had logged in before one that was ended did so."""
    made = [login for login in before + logins if login.status == 201]
    stayed = [login for login in made if login.ref in live]
    t.equal(len(stayed), LIMIT, "of those that stayed somebody has the token")
    for gone in [login for login in made if login.ref not in live]:
        for login in stayed:
            t.true(login.answered >= gone.sent, "%s stayed, and %s, who came later, was ended" % (
                login.ref, gone.ref))


def each_end_is_told_once(t, rows):
    """rows: (ref, kind, reason, state) of the audit trail and the sessions."""
    events = {}
    for ref, kind, reason, state in rows:
        events.setdefault((ref, state), []).append((kind, reason))
    for (ref, state), told in events.items():
        wanted = [("create", "0")] + ([] if state == "1" else [("end", REASON_LIMIT)])
        t.equal(sorted(told), wanted, ref)
    return {ref for ref, state in events if state == "1"}, len(events)


AUDIT = ("SELECT lower(hex(a.ref)), a.kind, a.reason, s.state FROM audit a JOIN session s ON s.ref = a.ref "
         "WHERE a.user_id = 'alice'")


def made_room(login):
    return login.status == 401 and login.reason == "limit"


def keeps_the_limit(t, gateways, watch, audit, has_redis=False):
    """The hundred logins, and what they leave behind."""
    before = [Login(gateways[i % len(gateways)], "alice") for i in range(LIMIT)]
    t.equal(counted(before), {201: LIMIT})
    logins = at_once(gateways, LOGINS)
    most = watch.end()
    print("# %d logins at once: %s, never more than %d live" % (LOGINS, counted(logins), most))
    t.equal(most, LIMIT)
    # Where its copy meets the tombstone that another host has left, who made
    # room before he was answered is not told that he is logged in.
    refused = [login for login in logins if login.status != 201]
    t.true(has_redis or not refused, counted(logins))
    t.equal([login.body for login in refused if not made_room(login)], [])
    live, made = each_end_is_told_once(t, audit())
    t.equal((len(live), made), (LIMIT, LIMIT + LOGINS))
    the_oldest_made_room(t, before, logins, live)
    for login in before + logins:
        for gw in gateways if login.status == 201 else ():
            wait_until(lambda: is_live(gw, login) == (login.ref in live), login.ref, 2)


def fleet_with(t, has_redis=True, workers=12, timeout="60 s", mysql=None, **session):
    t.has_local_cache = True
    conf = {"gateway": dict(PATIENT, request_timeout=timeout, workers=workers, expose_reason=True),
            "mysql": mysql or PATIENT_MYSQL, "session": dict({"max_sessions": LIMIT}, **session)}
    if has_redis:
        conf["redis"] = {"timeout": "2 s"}
    return Fleet(t, is_direct=True, has_redis=has_redis, conf=conf)


def mysql_audit(fleet):
    return lambda: [line.split("\t") for line in fleet.db.sql(AUDIT).splitlines()]


@case
def a_hundred_logins_at_two_hosts_evict_the_oldest(t):
    fleet = fleet_with(t)
    keeps_the_limit(t, [host.gw for host in fleet.hosts], watch_mysql(fleet), mysql_audit(fleet), has_redis=True)
    t.equal([host.count("created_away") for host in fleet.hosts], [0, 0])


@case
def a_hundred_logins_at_two_hosts_without_redis_evict_the_oldest(t):
    fleet = fleet_with(t, has_redis=False)
    keeps_the_limit(t, [host.gw for host in fleet.hosts], watch_mysql(fleet), mysql_audit(fleet))


@case
def a_hundred_logins_over_sqlite_evict_the_oldest(t):
    gw = t.gateway(dict(COOKIE, gateway=dict(PATIENT, workers=8), session={"max_sessions": LIMIT}))
    gw.conf["sqlite"]["busy_timeout"] = "30 s"
    gw.start()

    def audit():
        database = sqlite3.connect(gw.conf["sqlite"]["file"], timeout=10)
        try:
            return [[str(value) for value in row] for row in database.execute(AUDIT)]
        finally:
            database.close()
    keeps_the_limit(t, [gw], watch_sqlite(gw.conf["sqlite"]["file"]), audit)


@case
def where_the_limit_refuses_it_says_so(t):
    fleet = fleet_with(t, on_limit="refuse")
    gateways = [host.gw for host in fleet.hosts]
    watch = watch_mysql(fleet)
    logins = at_once(gateways, LOGINS)
    t.equal(watch.end(), LIMIT)
    print("# %d logins at once: %s" % (LOGINS, counted(logins)))
    t.equal(counted(logins), {201: LIMIT, 403: LOGINS - LIMIT})
    for login in logins:
        if login.status == 403:
            t.equal(login.body["code"], "limit", json.dumps(login.body))
            t.match(login.body["detail"], "as many sessions as")
        elif login.status == 201:
            for gw in gateways:
                t.true(is_live(gw, login), "who was first stays")
    live, made = each_end_is_told_once(t, mysql_audit(fleet)())
    t.equal((len(live), made), (LIMIT, LIMIT))
    # Whoever logs out makes room.
    first = next(login for login in logins if login.status == 201)
    gateways[0].api("POST", "logout", HTTP_COOKIE="sid=" + first.token, HTTP_SEC_FETCH_SITE="same-origin")
    t.equal([Login(gateways[1], "alice").status for _ in range(2)], [201, 403])


@case
def who_waits_for_the_users_lock_does_not_pass_the_limit(t):
    # A lock that is held for longer than a statement may take is no MySQL that
    # is away: nobody is created past it, and nobody else is held up.
    fleet = fleet_with(t, timeout="3 s", mysql={"read_timeout": "1 s", "write_timeout": "1 s"})
    fleet.expect_log("user_lock: .*max_statement_time exceeded.*; answering")
    gateways = [host.gw for host in fleet.hosts]
    t.equal(Login(gateways[0], "alice").status, 201)
    operator = Operator(fleet, "BEGIN", "SELECT COUNT(*) FROM user_lock FOR UPDATE")
    t.equal(counted(at_once(gateways, 20)), {503: 20})
    operator.leave()
    for host in fleet.hosts:
        status = host.status()
        t.equal((status["durable"]["breaker_opened"], status["stores"]["created_away"]), (0, 0))
    # As many as there is room for, when the one from before has made room: none
    # of them ends another one of them before it is answered.
    t.equal(counted(at_once(gateways, LIMIT)), {201: LIMIT})
    t.equal([Login(gateways[i % 2], "alice").status for i in range(6)], [201] * 6)
    t.equal(fleet.db.sql(Watch.QUERY), str(LIMIT))


@with_pauses
def who_makes_room_before_he_is_answered_is_not_told_that_he_is_logged_in(t):
    failpoint_build()
    # Between its commit and Redis, where each worker stands still once.
    t.failpoints = "commit-publish=pause:1500:1"
    fleet = fleet_with(t, workers=1)
    slow, other = [host.gw for host in fleet.hosts]
    t.equal(Login(other, "bob").status, 201)
    (worker,) = workers_of(fleet.hosts[0])
    logins = []
    login = threading.Thread(target=lambda: logins.append(Login(slow, "alice")))
    login.start()
    wait_until(lambda: is_paused(worker), "it is committed")
    os.kill(worker, signal.SIGSTOP)
    try:
        made = [Login(other, "alice") for _ in range(LIMIT)]
    finally:
        os.kill(worker, signal.SIGCONT)
    login.join()
    t.equal([one.status for one in made], [201] * LIMIT)
    t.equal((logins[0].status, logins[0].reason), (401, "limit"))
    live, count = each_end_is_told_once(t, mysql_audit(fleet)())
    t.equal((live, count), ({one.ref for one in made}, LIMIT + 1))


if __name__ == "__main__":
    run(main)
