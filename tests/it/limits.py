#!/usr/bin/env python3
"""session.max_sessions: a hundred logins of one user at once, at two hosts."""

import http.client
import json
import sqlite3
import threading
import time

from harness import case, main, wait_until
from stores import COOKIE, Fleet, patient, run

LIMIT = 3
LOGINS = 100
REASON_LIMIT = "12"  # enum sgate_reason


class Login:
    """One try: when it was sent and answered, and what came back."""

    def __init__(self, gw, user):
        self.sent = time.monotonic()
        try:
            answer = gw.api("POST", "v1/sessions", {"user_id": user}, address=gw.control)
            self.status, self.body = answer.status, answer.json()
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.status, self.body = 0, repr(error)
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


def keeps_the_limit(t, gateways, watch, audit):
    """The hundred logins, and what they leave behind."""
    before = [Login(gateways[i % len(gateways)], "alice") for i in range(LIMIT)]
    t.equal(counted(before), {201: LIMIT})
    logins = at_once(gateways, LOGINS)
    most = watch.end()
    print("# %d logins at once: %s, never more than %d live" % (LOGINS, counted(logins), most))
    t.equal(most, LIMIT)
    # 401: it was made, and made room before it was answered. 503: try again.
    t.true(set(counted(logins)) <= {201, 401, 503}, counted(logins))
    told = counted(logins)
    t.true(told.get(201, 0) + told.get(401, 0) > LOGINS // 2, told)
    live, made = each_end_is_told_once(t, audit())
    t.equal(len(live), LIMIT)
    t.true(LIMIT + told.get(201, 0) + told.get(401, 0) <= made <= LIMIT + LOGINS, made)
    the_oldest_made_room(t, before, logins, live)
    for login in before + logins:
        for gw in gateways if login.status == 201 else ():
            wait_until(lambda: is_live(gw, login) == (login.ref in live), login.ref, 2)


def fleet_with(t, has_redis=True, conf=None, **session):
    t.has_local_cache = True
    conf = conf or patient(has_redis)
    conf["gateway"].update({"workers": 12, "expose_reason": True})
    conf["session"] = dict({"max_sessions": LIMIT}, **session)
    fleet = Fleet(t, is_direct=True, has_redis=has_redis, conf=conf)
    # On a machine that stands still a login may wait in vain for the others.
    fleet.expect_log("user_lock: .*max_statement_time exceeded.*; answering")
    return fleet


def mysql_audit(fleet):
    return lambda: [line.split("\t") for line in fleet.db.sql(AUDIT).splitlines()]


@case
def a_hundred_logins_at_two_hosts_evict_the_oldest(t):
    fleet = fleet_with(t)
    keeps_the_limit(t, [host.gw for host in fleet.hosts], watch_mysql(fleet), mysql_audit(fleet))
    t.equal([host.count("created_away") for host in fleet.hosts], [0, 0])


@case
def a_hundred_logins_at_two_hosts_without_redis_evict_the_oldest(t):
    fleet = fleet_with(t, has_redis=False)
    keeps_the_limit(t, [host.gw for host in fleet.hosts], watch_mysql(fleet), mysql_audit(fleet))


@case
def a_hundred_logins_over_sqlite_evict_the_oldest(t):
    gw = t.gateway(dict(COOKIE, gateway={"workers": 8}, session={"max_sessions": LIMIT}))
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
    t.true(set(counted(logins)) <= {201, 403, 503}, counted(logins))
    t.equal(counted(logins)[201], LIMIT)
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
    fleet = fleet_with(t, conf=dict(patient(True), gateway={"request_timeout": "3 s"}, mysql={
        "read_timeout": "1 s", "write_timeout": "1 s"}))
    gateways = [host.gw for host in fleet.hosts]
    t.equal(Login(gateways[0], "alice").status, 201)
    holder = threading.Thread(target=lambda: fleet.db.sql(
        "BEGIN; SELECT COUNT(*) FROM user_lock FOR UPDATE; DO SLEEP(4); COMMIT"))
    holder.start()
    wait_until(lambda: fleet.db.server.sql("SELECT id FROM user_lock WHERE id = 1 FOR UPDATE NOWAIT", fleet.db.name,
                                           check=False) == "", "it is held")
    logins = at_once(gateways, 20)
    holder.join()
    t.equal(counted(logins), {503: 20})
    for host in fleet.hosts:
        status = host.status()
        t.equal((status["durable"]["breaker_opened"], status["stores"]["created_away"]), (0, 0))
    # Some make room for the others before they are answered.
    logins = counted(at_once(gateways, 6))
    t.equal(logins.get(201, 0) + logins.get(401, 0), 6, logins)
    t.equal(fleet.db.sql(Watch.QUERY), str(LIMIT))


if __name__ == "__main__":
    run(main)
