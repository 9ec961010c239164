"""Redis lost what it had, or was away: before MySQL goes away next, the keeper
brings all live sessions there again."""

import os
import signal
import time

from harness import case, main, wait_until
from scenario import STORES, hazard, promise
from stores import Fleet, run


def keeper_pid(host):
    return host.status()["keeper"]["pid"]


def warming(host):
    return host.status()["warming"]


def wait_warm(host, before):
    """Until a pass has ended that was not there before."""
    begin = time.monotonic()
    wait_until(lambda: host.count("warmed") > before and
               warming(host)["state"] == "done", "Redis is warm", 20)
    print("# warm after %.1f s: %r" % (time.monotonic() - begin,
                                       warming(host)))


def all_live(host, sessions, what):
    gone = [s.ref for s in sessions if host.check(s).status != 200]
    promise(not gone, "%d of %d live sessions are not recognised without "
            "MySQL: %s" % (len(gone), len(sessions), what))


@hazard(off="warm")
def after_a_flush_every_session_survives_an_outage_of_mysql(t):
    fleet = Fleet(t, conf={"redis": {"timeout": "1 s"}})
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    sessions = [a.create("user%d" % i) for i in range(60)]
    ended = a.create("gone")
    fleet.warm(sessions[0], ended)
    a.end(ended)
    before = a.count("warmed") + b.count("warmed")
    fleet.redis.command("FLUSHALL")
    if t.is_mutant:
        time.sleep(3)
    else:
        wait_until(lambda: all(warming(h)["state"] == "done" and
                               h.status()["fence"]["groups_behind"] == 0
                               for h in fleet.hosts) and
                   a.count("warmed") + b.count("warmed") > before,
                   "Redis is warm", 40)
        told = a.count("warmed") + b.count("warmed") - before
        # Not what a round had brought, and nothing twice.
        t.true(len(sessions) - 5 <= told <= len(sessions), told)
        t.true(len([s for s in sessions if fleet.state(s) == "L"]) ==
               len(sessions))
    for host in fleet.hosts:
        host.mysql.black_hole()
    for host in fleet.hosts:
        all_live(host, sessions, "Redis was flushed before")
        promise(host.check(ended).status != 200, "an ended one is accepted")


@case
def what_was_created_while_redis_was_away_is_brought(t):
    fleet = Fleet(t, hosts=1, conf={"redis": {"timeout": "1 s"}})
    host, = fleet.hosts
    fleet.expect_log(STORES)
    fleet.warm(host.create())
    before = host.count("warmed")
    host.redis.cut()
    wait_until(lambda: host.status()["cache"]["breaker"] == "open", "open")
    sessions = [host.create("user%d" % i) for i in range(10)]
    host.redis.heal()
    wait_warm(host, before)
    host.mysql.cut()
    all_live(host, sessions, "Redis was away when they were created")


@case
def a_keeper_that_is_killed_leaves_it_to_the_next(t):
    # 30 rows take some seconds.
    fleet = Fleet(t, hosts=1, conf={"redis": {
        "timeout": "1 s", "warm_rate": 10}})
    host, = fleet.hosts
    fleet.expect_log(STORES, r"keeper")
    sessions = [host.create("user%d" % i) for i in range(30)]
    fleet.warm(sessions[0])
    fleet.redis.command("FLUSHALL")
    wait_until(lambda: warming(host)["state"] == "running" and
               warming(host)["looked"] > 0, "it runs")
    pid = keeper_pid(host)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: keeper_pid(host) not in (0, None, pid), "a keeper")
    wait_until(lambda: warming(host)["state"] == "done" and
               warming(host)["looked"] >= len(sessions), "Redis is warm", 30)
    t.equal([s.ref for s in sessions if fleet.state(s) != "L"], [])


@case
def without_a_rate_nothing_is_brought(t):
    fleet = Fleet(t, hosts=1, conf={"redis": {"warm_rate": 0}})
    host, = fleet.hosts
    session = host.create()
    fleet.warm(session)
    t.equal(warming(host)["state"], "off")
    fleet.redis.command("FLUSHALL")
    host.wait_poll(4)
    t.equal(fleet.state(session), None)
    t.equal(host.count("warmed"), 0)


if __name__ == "__main__":
    run(main)
