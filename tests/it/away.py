"""Sessions that are created while MySQL is away, as they are by default:
gateways, a real Redis, a real MariaDB, and the switch of each mechanism, as in
hazards.py.
"""

import os
import signal
import time

from harness import case, main, wait_until
from scenario import (EXPORT, SLOW_POLL, SOON_S, STORES, answer, hazard,
                      never_accepted, promise, with_pauses)
from stores import (Fleet, MariaDB, failpoint_build, group_of, record_key, run,
                    sync_key)

# After MySQL is back a breaker is closed within 3 s; then a second.
LANDED_S = 1.0


def away_fleet(t, hosts=2, conf=None, **more):
    fleet = Fleet(t, hosts=hosts, conf=dict(EXPORT, **(conf or {})), **more)
    fleet.expect_log(STORES, "worker")
    return fleet


def own_server(t):
    """A MariaDB that may be killed."""
    return MariaDB(t)


def without_mysql(*hosts):
    for host in hosts:
        host.mysql.black_hole()
    for host in hosts:
        wait_until(lambda: host.status()["durable"]["breaker"] != "closed",
                   "host %d has found out" % host.number, 20)


def login(host, user="alice", **members):
    """A session, made without MySQL."""
    session = host.create(user, **members)
    host.fleet.t.true(host.count("created_away") > 0, "without MySQL")
    return session


def rows(fleet, *sessions):
    return int(fleet.db.sql("SELECT COUNT(*) FROM session WHERE ref IN (%s)" %
                            ", ".join("X'%s'" % s.ref for s in sessions)))


def has_landed(fleet, *sessions):
    return rows(fleet, *sessions) == len(sessions) and \
        "U" not in [fleet.state(session) for session in sessions]


def landed(fleet, *sessions):
    """How long it takes from now; each has one audit row then. All are looked
    at at once: a client for each would take longer than the gateways do."""
    begin = time.monotonic()
    wait_until(lambda: has_landed(fleet, *sessions), "all have landed", 15)
    took = time.monotonic() - begin
    for session in sessions:
        kinds = fleet.audit(session)
        promise(kinds.count("create") == 1, "audit rows: %r" % kinds)
    return took


# ---- the whole way -----------------------------------------------------------


@case
def logins_go_on_while_mysql_is_down(t):
    fleet = away_fleet(t, server=own_server(t))
    a, b = fleet.hosts
    before = a.create("alice", data={"n": 0})
    fleet.warm(before)
    fleet.db.server.kill()
    t.equal(a.try_create("early").status in (201, 503), True, "at once")
    alice, bob = login(a, "alice", data={"n": 1}), login(b, "bob")
    for host in fleet.hosts:
        verdict = host.check(alice)
        t.equal((verdict.status, verdict.user, verdict.data("n")),
                (200, "alice", "1"), "host %d" % host.number)
        t.equal(host.check(bob).status, 200)
        t.equal(host.check(before).status, 200)
    t.equal(fleet.state(alice), "U")
    t.equal(a.try_create("carol", key="k1").status, 503, "with a key")
    t.equal(a.cleanup("alice", check=False).status, 503)
    t.equal(b.update(alice, {"n": 2}, check=False).status, 503)
    t.equal(b.logout(bob).status, 200)
    for host in fleet.hosts:
        t.equal(host.check(bob).status, 401, "logged out")
    more = [login(fleet.hosts[i % 2], "user%d" % i) for i in range(20)]
    for host in fleet.hosts:
        for session in more:
            t.equal(host.check(session).status, 200)
    fleet.db.server.start()
    for host in fleet.hosts:
        host.wait_closed()
    took = landed(fleet, alice, *more)
    print("# landed %.0f ms after the breakers had closed" % (1000 * took))
    t.true(took <= LANDED_S, "%.1f s" % took)
    wait_until(lambda: fleet.audit(bob) == ["create", "end"],
               "bob's login and logout are in the audit")
    t.equal(fleet.row(bob, "state"), ["2"])
    b.update(alice, {"n": 2})
    for host in fleet.hosts:
        t.equal(answer(host, alice).data("n"), "2")
    t.equal(a.cleanup("alice"), 2)
    never_accepted(fleet.hosts, alice, 0.3)


@case
def a_user_who_was_blocked_before_is_refused(t):
    fleet = away_fleet(t)
    a, b = fleet.hosts
    t.equal(b.gw.api("PUT", "v1/users/mallory/block", {},
                     address=b.gw.control).status in (200, 204), True)
    a.wait_poll(2)
    without_mysql(a)
    answer_ = a.try_create("mallory")
    t.equal(answer_.status, 403, repr(answer_))
    login(a, "alice")
    # A host that has never heard of the list creates nobody.
    a.mysql.heal()


@case
def a_host_that_is_blind_for_too_long_creates_nobody(t):
    fleet = away_fleet(t, conf={"fence": {"max_blind": "10 s"}})
    a = fleet.hosts[0]
    without_mysql(a)
    session = a.try_create("alice")
    t.equal(session.status, 201, repr(session))
    wait_until(lambda: a.try_create("alice").status == 503, "max_blind", 20)


@case
def redis_that_loses_all_while_mysql_is_away_logs_nobody_out(t):
    fleet = away_fleet(t)
    a, b = fleet.hosts
    without_mysql(a, b)
    session = login(a)
    fleet.redis.command("FLUSHALL")
    end = time.monotonic() + 2
    while time.monotonic() < end:
        for host in fleet.hosts:
            verdict = host.check(session)
            promise(verdict.status in (200, 503), repr(verdict))
    wait_until(lambda: fleet.state(session) == "U", "the spool has told it "
               "again")
    for host in fleet.hosts:
        host.mysql.heal()
    end = time.monotonic() + 10
    while time.monotonic() < end and not has_landed(fleet, session):
        for host in fleet.hosts:
            verdict = host.check(session)
            promise(verdict.status in (200, 503), repr(verdict))
    landed(fleet, session)
    for host in fleet.hosts:
        t.equal(answer(host, session, 5).status, 200)


# ---- kills -------------------------------------------------------------------


def killed_at(t, place, is_acknowledged_later):
    """The worker dies there; nobody has the token."""
    failpoint_build()
    t.failpoints = place + "=kill"
    fleet = away_fleet(t, hosts=1)
    a = fleet.hosts[0]
    fleet.expect_log("")
    without_mysql(a)
    status = None
    try:
        status = a.try_create("alice").status
    except (OSError, ValueError, AssertionError):
        pass
    t.true(status != 201, "not acknowledged: %r" % status)
    a.mysql.heal()
    a.wait_closed()
    time.sleep(1.5)
    count = int(fleet.db.sql("SELECT COUNT(*) FROM audit WHERE kind = 'create'"))
    t.equal(count, 1 if is_acknowledged_later else 0)
    t.equal(int(fleet.db.sql("SELECT COUNT(*) FROM session")), count)
    t.equal(a.check(a.create("bob")).status, 200)


@with_pauses
def a_worker_killed_before_its_frame_leaves_nothing(t):
    killed_at(t, "away-spool", False)


@with_pauses
def a_worker_killed_behind_its_frame_leaves_one_whole_event(t):
    killed_at(t, "away-acknowledge", True)


@case
def a_keeper_or_a_gateway_that_is_killed_loses_no_session(t):
    fleet = away_fleet(t)
    a, b = fleet.hosts
    a.gw.expect_log("keeper")
    without_mysql(a)
    first = login(a, "alice")
    keeper = a.status()["keeper"]["pid"]
    os.kill(keeper, signal.SIGKILL)
    second = login(a, "alice")
    a.gw.kill_all()
    for session in (first, second):
        t.equal(b.check(session).status, 200)
    a.mysql.heal()
    a.start()
    landed(fleet, first, second)
    for session in (first, second):
        t.equal(answer(a, session).status, 200)


# ---- what each mechanism is for ----------------------------------------------


@hazard(off="u-state")
def h22_a_session_without_a_row_is_no_logout(t):
    fleet = away_fleet(t, conf=SLOW_POLL)
    a, b = fleet.hosts
    without_mysql(a)
    session = login(a, data={"n": 1})
    # b does not believe Redis for a moment, and MySQL has no row.
    fleet.redis.command("DEL", sync_key(group_of(session.ref)))
    verdict = b.check(session)
    promise(verdict.status == 200 and verdict.data("n") == "1",
            "a live session is %r" % verdict)


@hazard(off="u-land")
def a_session_lands_where_it_is_met_and_needs_its_host_no_more(t):
    fleet = away_fleet(t)
    a, b = fleet.hosts
    without_mysql(a)
    session = login(a)
    a.gw.kill_all()
    t.equal(b.check(session).status, 200)
    promise(rows(fleet, session) == 1, "it is in Redis alone")
    landed(fleet, session)
    b.update(session, {"n": 3})
    a.mysql.heal()
    a.start()
    a.wait_closed()
    time.sleep(1)
    landed(fleet, session)
    t.equal(answer(a, session).data("n"), "3")


@hazard(off="u-set")
def a_cleanup_ends_what_another_host_has_created_meanwhile(t):
    fleet = away_fleet(t)
    a, b = fleet.hosts
    without_mysql(a)
    session, kept = login(a), login(a)
    b.cleanup("alice", keep=kept)
    time.sleep(SOON_S)
    for host in fleet.hosts:
        promise(host.check(session).status != 200,
                "host %d accepts a session after the cleanup of its user" %
                host.number)
        promise(host.check(kept).status == 200, "the kept one is gone")
    a.mysql.heal()
    a.wait_closed()
    wait_until(lambda: "create" in fleet.audit(session), "it is in the audit")
    never_accepted(fleet.hosts, session, 0.5)


@hazard(off="h32")
def h32_a_session_that_nobody_has_any_more_is_held(t):
    fleet = away_fleet(t)
    a, b = fleet.hosts
    without_mysql(a)
    session = login(a)
    a.redis.cut()  # Its spool cannot tell Redis again.
    fleet.redis.command("FLUSHALL")
    verdict = b.check(session)
    promise(verdict.status == 503, "a live session is %r" % verdict)
    t.true(b.count("absent_held") > 0, "it is counted")
    a.redis.heal()
    a.mysql.heal()
    wait_until(lambda: has_landed(fleet, session) or
               rows(fleet, session) == 1, "it has landed", 15)
    t.equal(answer(b, session, 5).status, 200)


@hazard(off="u-guard")
def an_old_creation_is_not_told_again(t):
    fleet = away_fleet(t)
    a, b = fleet.hosts
    without_mysql(a)
    session = login(a, data={"n": 1})
    t.equal(b.check(session).status, 200)  # It lands.
    b.update(session, {"n": 2})
    fleet.wait_synced(session)
    fleet.redis.command("DEL", record_key(session.ref))
    before = a.count("spool_published")
    a.redis.drop_connections()
    wait_until(lambda: a.count("spool_published") > before,
               "the spool has told it again")
    without_mysql(b)
    verdict = b.check(session)
    if verdict.status == 503:
        return  # Its only copy is gone: both stores have failed.
    promise(verdict.data("n") == "2", "what was before a change is served: %r"
            % verdict.data("n"))


if __name__ == "__main__":
    run(main)
