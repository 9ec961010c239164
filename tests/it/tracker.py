#!/usr/bin/env python3
"""The tracker: what is written in Redis is known in the local caches of all
hosts, and what cannot be known is not believed.

SESSGATE_LONG=1 measures as often and judges as strictly as the promises were
made, on a quiet machine.
"""

import os
import signal
import socket
import threading
import time

import harness
from harness import case, main, needs, wait_until
from pressure import Load
from scenario import (EXPORT, SLOW_POLL, SOON_S, STORES, hazard, promise,
                      refused_within)
from stores import Fleet, Redis, record_key, run

LONG = bool(os.environ.get("SESSGATE_LONG"))
Fleet.has_local_cache = True
# What cache.lease is: nobody is believed longer without word.
LEASE_S = 1.0
# And what a test may be late by, on a machine that does other things too.
LATE_S = 0.3


def tracker(host):
    return host.status()["tracker"]


def is_hit(host, session):
    """Whether the local cache of that host allows it."""
    before = host.count("served_local")
    return (host.check(session).status == 200 and
            host.count("served_local") > before)


def wait_hit(host, *sessions):
    for session in sessions:
        wait_until(lambda: is_hit(host, session),
                   "host %d has it in its local cache" % host.number)


def wait_listening(host):
    def is_listening():
        status = tracker(host)
        return status["listening"] and status["proved_age_ms"] is not None
    wait_until(is_listening, "host %d listens" % host.number)


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))]


class Flood:
    """Writes records that nobody has, `rate` a second, 100 at a time."""

    def __init__(self, t, redis, rate):
        self.redis, self.rate, self.written = redis, rate, 0
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        t.at_end(self.stop)

    def run(self):
        sock = harness.connect(self.redis.socket)
        with sock, sock.makefile("rb") as answer:
            begin = time.monotonic()
            while not self.is_over.is_set():
                ref = "%024x" % (0xabcdef << 72 | self.written)
                for number in range(100):
                    ref = "%02x" % (number % 16) + "%022x" % (
                        self.written + number)
                    self.redis.send(sock, "SET", record_key(ref), "x", "PX",
                                    "60000")
                for _ in range(100):
                    self.redis.read(answer)
                self.written += 100
                ahead = begin + self.written / self.rate - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)

    def stop(self):
        self.is_over.set()
        self.thread.join()


def hits(fleet, count):
    """Sessions that the second host has in its local cache."""
    sessions = [fleet.hosts[0].create("user%d" % i) for i in range(count)]
    wait_listening(fleet.hosts[1])
    wait_hit(fleet.hosts[1], *sessions)
    return sessions


def ends(fleet, sessions):
    """End them at the first host: how long the second one goes on to accept
    each, from the acknowledgement on, in milliseconds."""
    a, b = fleet.hosts
    took = []
    for session in sessions:
        a.end(session)
        acknowledged = asked = time.monotonic()
        while b.check(session).status == 200:
            asked = time.monotonic()
            promise(asked - acknowledged < SOON_S, "still accepted")
        took.append((asked - acknowledged) * 1000)
    return took


def tell(what, took):
    print("# %s: accepted after its end: p50 %.2f ms, p99 %.2f ms, max %.2f ms "
          "(%d)" % (what, percentile(took, 0.5), percentile(took, 0.99),
                    max(took), len(took)))


@case
def an_end_is_known_at_the_other_host_at_once(t):
    fleet = Fleet(t, is_direct=True, conf=SLOW_POLL)
    count = 200 if LONG else 30
    took = ends(fleet, hits(fleet, count))
    tell("idle", took)
    promise(percentile(took, 0.5) <= (1 if LONG else 20), took)
    promise(max(took) <= 1000 * LEASE_S, took)
    sessions, others = hits(fleet, count), hits(fleet, 20)
    Flood(t, fleet.redis, 2000)
    load = Load(t, fleet.hosts[1], others, 500, 2 + count / 40)
    took = ends(fleet, sessions)
    tell("under load", took)
    load.result().only_200(t)
    promise(percentile(took, 0.99) <= (20 if LONG else 500), took)


# ---- H5 ------------------------------------------------------------------


@hazard(off="track-ping")
def h5_a_pong_proves_what_the_ping_before_it_was_sent_after(t):
    fleet = Fleet(t, hosts=1, is_direct=True)
    host = fleet.hosts[0]
    wait_listening(host)
    time.sleep(0.6)  # The first two follow each other.
    ages = []
    for _ in range(60):
        ages.append(tracker(host)["proved_age_ms"])
        time.sleep(0.017)
    print("# what is proved is %d to %d ms old" % (min(ages), max(ages)))
    promise(min(ages) >= 245, "a PONG proves what came after its own PING")


@case
def h5_what_a_stopped_redis_has_to_tell_is_told(t):
    fleet = Fleet(t, is_direct=True, conf=SLOW_POLL)
    fleet.expect_log(STORES)
    b = fleet.hosts[1]
    session = fleet.hosts[0].create()
    wait_hit(b, session)
    fleet.redis.stop()
    # A PING of the tracker waits there now, and then this.
    time.sleep(0.3)
    with harness.connect(fleet.redis.socket) as sock:
        Redis.send(sock, "SET", record_key(session.ref),
                   "T" + "0000" + "9" * 12 + "01", "PX", "60000")
        fleet.redis.go_on()
        told = time.monotonic()
        while is_hit(b, session):
            promise(time.monotonic() - told < LEASE_S, "still accepted")


# ---- the connection ends -----------------------------------------------------


@hazard(off="track-loss")
def an_end_that_was_not_told_because_nobody_listened_is_found(t):
    fleet = Fleet(t, conf=SLOW_POLL)
    a, b = fleet.hosts
    session = a.create()
    wait_listening(b)
    b.wait_poll()
    wait_hit(b, session)
    rule = b.redis.on(rb"^CLIENT TRACKING")
    rule.action = "hold"
    fleet.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
    rule.wait()
    a.end(session)
    begin = time.monotonic()
    while is_hit(b, session):
        promise(time.monotonic() - begin < LEASE_S + LATE_S, "still accepted")
    rule.release()
    wait_listening(b)
    promise(b.check(session).status != 200,
            "accepted by an entry of before the connection was lost")
    t.true(tracker(b)["connections"] >= 2)


@case
def a_redis_that_is_cut_off_leaves_a_lease_and_no_more(t):
    fleet = Fleet(t, conf=SLOW_POLL)
    fleet.expect_log(STORES, "local cache")
    a, b = fleet.hosts
    for spoil in (b.redis.black_hole, b.redis.cut):
        session = a.create()
        wait_listening(b)
        wait_hit(b, session)
        spoil()
        a.end(session)
        acknowledged = asked = time.monotonic()
        while True:
            begin = time.monotonic()
            if b.check(session).status != 200:
                break
            asked = begin
            promise(asked - acknowledged < LEASE_S + LATE_S,
                    "accepted %.2f s after its end" % (asked - acknowledged))
        print("# %s: accepted for %.2f s" % (spoil.__name__,
                                             asked - acknowledged))
        b.redis.heal()
        b.wait_closed()


@case
def a_redis_that_loses_everything_and_comes_back_is_listened_to_again(t):
    fleet = Fleet(t)
    fleet.expect_log(STORES, "local cache")
    a, b = fleet.hosts
    session, ended = a.create("alice"), a.create("bob")
    wait_listening(b)
    wait_hit(b, session, ended)
    before = tracker(b)["emptied"]
    fleet.redis.command("FLUSHALL")
    wait_until(lambda: tracker(b)["emptied"] > before, "it is told")
    wait_hit(b, session)
    dump = fleet.redis.save()
    a.end(ended)
    refused_within(b, ended, SOON_S)
    fleet.redis.kill()
    wait_until(lambda: not tracker(b)["listening"], "it hears nothing")
    t.equal(b.check(ended).status, 401)
    fleet.redis.restart_from(dump)
    b.wait_closed()
    wait_listening(b)
    t.equal(tracker(b)["mode"], "tracked")
    wait_hit(b, session)
    t.equal(b.check(ended).status, 401)


# ---- the mode ------------------------------------------------------------


@hazard(off="track-mode")
def without_redis_the_polls_are_what_is_heard(t):
    fleet = Fleet(t, is_direct=True)
    fleet.expect_log(STORES, "local cache")
    a, b = fleet.hosts
    session, ended = a.create("alice"), a.create("bob")
    wait_hit(b, session, ended)
    fleet.redis.kill()
    end = time.monotonic() + 8
    while not (is_hit(b, session) and is_hit(b, ended)):
        promise(time.monotonic() < end, "without Redis every look asks MySQL")
        time.sleep(0.05)
    t.equal(tracker(b)["mode"], "polled")
    before = b.count("served_local")
    for _ in range(50):
        t.equal(b.check(session).status, 200)
        time.sleep(0.01)
    t.true(b.count("served_local") - before >= 40, "they are hits")
    a.end(ended)
    print("# without Redis: known after %.2f s" % refused_within(
        b, ended, SOON_S))


# ---- touches -------------------------------------------------------------


@hazard(off="track-touch")
def a_touch_costs_nobody_his_entry(t):
    fleet = Fleet(t, is_direct=True)
    a, b = fleet.hosts
    session = a.create(idle_timeout=5)
    wait_listening(b)
    wait_hit(b, session)
    before, kept = b.count("served_cache"), tracker(b)["kept"]
    end = time.monotonic() + 4
    while time.monotonic() < end:
        t.equal(a.check(session).status, 200)
        t.equal(b.check(session).status, 200)
        time.sleep(0.02)
    looks = b.count("served_cache") - before
    status = tracker(b)
    print("# %d looks, %d touches" % (looks, status["kept"] - kept))
    promise(looks <= 2, "%d touches cost it its entry" % looks)
    t.true(status["kept"] - kept >= 2, status)


@case
def an_entry_stays_as_long_as_another_host_sees_its_session(t):
    fleet = Fleet(t, is_direct=True)
    a, b = fleet.hosts
    session = a.create(idle_timeout=2)
    wait_listening(b)
    wait_hit(b, session)
    end = time.monotonic() + 3.5
    while time.monotonic() < end:
        t.equal(a.check(session).status, 200)
        time.sleep(0.05)
    t.true(is_hit(b, session), "it is of longer ago, and still one")


# ---- much at once --------------------------------------------------------


@case
def many_writes_of_the_fleet_are_kept_up_with(t):
    fleet = Fleet(t, is_direct=True)
    a, b = fleet.hosts
    session = a.create()
    wait_listening(b)
    flood = Flood(t, fleet.redis, 10000)
    begin, ages, hits = time.monotonic(), [], 0
    while time.monotonic() - begin < (20 if LONG else 2.5):
        ages.append(tracker(b)["proved_age_ms"])
        hits += is_hit(b, session)
        time.sleep(0.02)
    flood.stop()
    status = tracker(b)
    print("# %d writes in %.1f s; what is proved is up to %d ms old; %d of %d "
          "are hits" % (flood.written, time.monotonic() - begin, max(ages),
                        hits, len(ages)))
    t.equal(status["connections"], 1)
    t.true(status["changes"] >= flood.written, status)
    t.true(hits >= 0.9 * len(ages), "%d of %d" % (hits, len(ages)))
    # And a thousand ends of one user in one moment.
    sessions = [a.create("many") for _ in range(1000 if LONG else 200)]
    some = sessions[::20]
    wait_hit(b, *some)
    t.equal(a.cleanup("many"), len(sessions))
    for one in some:
        refused_within(b, one, LEASE_S)


@case
def trackers_are_killed_under_load(t):
    fleet = Fleet(t, is_direct=True, conf=SLOW_POLL)
    fleet.expect_log("tracker .*killed", "local cache")
    a, b = fleet.hosts
    Flood(t, fleet.redis, 1000)
    rounds = 20 if LONG else 2
    for number in range(rounds):
        session = a.create()
        wait_listening(b)
        wait_hit(b, session)
        pid = tracker(b)["pid"]
        os.kill(pid, signal.SIGKILL)
        a.end(session)
        print("# killed: known after %.3f s" % refused_within(
            b, session, LEASE_S + LATE_S))
        wait_until(lambda: tracker(b)["pid"] not in (None, pid),
                   "another tracker")
    t.equal(tracker(b)["deaths"], rounds)


@case
def a_reload_and_a_stop_end_the_tracker(t):
    fleet = Fleet(t, hosts=1, is_direct=True)
    host = fleet.hosts[0]
    session = host.create()
    wait_hit(host, session)
    pid = tracker(host)["pid"]
    host.gw.signal(signal.SIGHUP)
    wait_until(lambda: tracker(host)["pid"] not in (None, pid) and
               host.status()["generation"] == 1, "the new one")
    wait_hit(host, session)
    t.equal(tracker(host)["deaths"], 0)
    t.match(host.gw.api("GET", "v1/metrics", address=host.gw.keeper_socket
                        ).body.decode(), r"\nsessgate_tracker_listening 1\n")
    pid = tracker(host)["pid"]
    host.gw.stop()
    t.true(not os.path.exists("/proc/%d" % pid), "it has ended")


# ---- what Redis does not do ------------------------------------------------


@case
def a_change_that_redis_did_not_take_is_found_by_the_poll(t):
    fleet = Fleet(t, is_direct=True, conf=EXPORT)
    fleet.expect_log(STORES)
    a, b = fleet.hosts
    session, ended = a.create("alice", data={"n": 1}), a.create("bob")
    wait_listening(b)
    wait_hit(b, session, ended)
    fleet.redis.command("CONFIG", "SET", "min-replicas-to-write", "1")
    a.update(session, {"n": 2})
    begin = time.monotonic()
    while b.check(session).data("n") != "2":
        promise(time.monotonic() - begin < SOON_S, "still the old one")
    a.end(ended, check=False)
    refused_within(b, ended, SOON_S)
    fleet.redis.command("CONFIG", "SET", "min-replicas-to-write", "0")


@case
def an_account_that_may_not_listen_is_told_once_and_mended(t):
    redis = Redis(t)
    redis.command("ACL", "SETUSER", "default", "-client|tracking")
    fleet = Fleet(t, hosts=1, redis=redis, is_direct=True)
    host = fleet.hosts[0]
    warning = r"local cache: .*NOPERM.*\+client\|tracking"
    fleet.expect_log(warning)
    session = host.create()
    host.gw.wait_log(warning)
    time.sleep(1.5)
    t.equal(host.check(session).status, 200)
    t.true(not is_hit(host, session), "it is asked for")
    t.equal(tracker(host)["mode"], "tracked")
    t.equal(len([line for line in host.gw.log().splitlines()
                 if "NOPERM" in line]), 1)
    redis.command("ACL", "SETUSER", "default", "+client|tracking")
    wait_hit(host, session)
    # Without questions touches cost entries, and no more.
    redis.command("ACL", "SETUSER", "default", "-getrange")
    t.equal(host.check(session).status, 200)


if __name__ == "__main__":
    run(main)
