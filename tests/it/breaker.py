"""A store that hangs, or is slow, costs a few waits a host and not one a request;
and a store that is back is used again soon, by one worker after the other.

How fast it was is printed. What is asserted holds on a busy machine as well:
numbers of errors, and bounds far from what is usual. SESSGATE_LONG=1 asserts what
hazards 2.3 promises, which a quiet machine keeps.
"""

import os
import signal
import threading
import time

from harness import case, main, wait_until
from pressure import Load, logged_in, p99_ms, sleep_until
from scenario import LOGINS_WAIT, STORES, hazard, promise
from stores import Fleet, run

LONG = bool(os.environ.get("SESSGATE_LONG"))
WORKERS = 8
CONF = {"gateway": {"workers": WORKERS}}
RATE = 500 if LONG else 200
OUTAGE_S = 10 if LONG else 3
RECOVERED_S = 3.0 if LONG else 10.0
# What one request may take that waits for no store: hazards 2.3.
QUICK_S = 0.06


def breaker(host, store):
    return host.status()[store]["breaker"]


def wait_breaker(host, store, state, seconds=10):
    """How long until it is as said."""
    begin = time.monotonic()
    wait_until(lambda: breaker(host, store) == state,
               "the breaker of %s is %s" % (store, state), seconds)
    return time.monotonic() - begin


def recovered(host, store, since, stall_s=0.0):
    """Closed within what was promised since the store was back."""
    wait_breaker(host, store, "closed", 30)
    took = time.monotonic() - since
    print("# %s: closed %.2f s after it was back" % (store, took))
    promise(took <= RECOVERED_S + 2 * stall_s,
            "%s was back and not asked for %.1f s" % (store, took))


def few(slow, load, what):
    """The workers that were waiting, and three more that had to find out; on a
    busy machine some that waited for it."""
    bound = WORKERS + 3
    if not LONG:
        bound += len(load.asked) // 20
    promise(len(slow) <= bound, "%s: %d requests of %d took more than %d ms" % (
        what, len(slow), len(load.asked), QUICK_S * 1e3))


# ---- a store that hangs --------------------------------------------------------


@hazard(off="breaker")
def a_redis_that_hangs_costs_a_few_requests(t):
    fleet = Fleet(t, hosts=1, conf=CONF, is_direct=True)
    host, = fleet.hosts
    fleet.expect_log(STORES)
    sessions = logged_in(fleet, 40)
    load = Load(t, host, sessions, RATE, 2 * OUTAGE_S + 6)
    begin = time.monotonic()
    sleep_until(begin + 1)
    fleet.redis.stop()
    stopped = time.monotonic()
    try:
        sleep_until(stopped + OUTAGE_S)
    finally:
        woken = time.monotonic()
        fleet.redis.go_on()
    if not t.is_mutant:
        recovered(host, "cache", woken)
    # MySQL alone, as it is when Redis is refused at once.
    sleep_until(begin + OUTAGE_S + 5)
    fleet.redis.kill()
    killed = time.monotonic()
    load.result().only_200(t)
    load.none_late()
    hung = load.latencies(stopped, woken)
    alone = load.latencies(killed + 0.5, killed + OUTAGE_S)
    slow = [s for s in hung if s > QUICK_S]
    found = load.latencies(stopped + 0.5, woken)
    print("# while it hung %d of %d took more than %d ms, the latest %.0f ms; "
          "p99 %.1f ms, of MySQL alone %.1f ms" % (
              len(slow), len(hung), QUICK_S * 1e3, hung[-1] * 1e3,
              p99_ms(found), p99_ms(alone)))
    few(slow, load, "Redis hung")
    if LONG:
        promise(p99_ms(found) <= 1.5 * p99_ms(alone), "p99 %.1f ms, of MySQL "
                "alone %.1f ms" % (p99_ms(found), p99_ms(alone)))


class Updates:
    """All workers are asked to change, all the time: (took, status)."""

    def __init__(self, host, session, seconds):
        self.host, self.session = host, session
        self.end = time.monotonic() + seconds
        self.asked = []
        self.threads = [threading.Thread(target=self.ask)
                        for _ in range(WORKERS)]
        for thread in self.threads:
            thread.start()

    def ask(self):
        while time.monotonic() < self.end:
            begin = time.monotonic()
            status = self.host.update(self.session, {"n": 1},
                                      check=False).status
            self.asked.append((time.monotonic() - begin, status))
            time.sleep(0.02)

    def result(self):
        for thread in self.threads:
            thread.join()
        return self


@hazard(off="breaker")
def a_mysql_that_hangs_costs_a_few_requests(t):
    # So that a look finds its copy on a busy machine, too.
    fleet = Fleet(t, hosts=1, is_direct=True, conf=dict(
        CONF, redis={"timeout": "300 ms"}))
    host, = fleet.hosts
    fleet.expect_log(STORES)
    sessions = logged_in(fleet, 40)
    load = Load(t, host, sessions, 50, OUTAGE_S + 2)
    sleep_until(time.monotonic() + 1)
    fleet.db.server.stop()
    try:
        updates = Updates(host, sessions[0], OUTAGE_S).result()
    finally:
        woken = time.monotonic()
        fleet.db.server.go_on()
    load.result().only_200(t)
    load.none_late()
    slow = [took for took, _ in updates.asked if took > 0.2]
    print("# while it hung %d changes of %d took more than 200 ms" % (
        len(slow), len(updates.asked)))
    t.equal({status for _, status in updates.asked}, {503})
    promise(len(slow) <= WORKERS + 3 + (0 if LONG else
                                        len(updates.asked) // 10),
            "%d changes of %d waited for MySQL" % (
                len(slow), len(updates.asked)))
    if not t.is_mutant:
        recovered(host, "durable", woken, load.stall_s)
        wait_until(lambda: host.update(
            sessions[0], {"n": 2}, check=False).status == 200, "changing", 5)


@case
def without_both_stores_the_answer_is_503_at_once(t):
    fleet = Fleet(t, hosts=1, conf=CONF)
    host, = fleet.hosts
    fleet.expect_log(STORES)
    session = host.create()
    fleet.warm(session)
    host.redis.black_hole()
    host.mysql.black_hole()
    wait_breaker(host, "cache", "open")
    wait_breaker(host, "durable", "open")
    verdicts = [host.check(session) for _ in range(20)]
    t.equal({v.status for v in verdicts}, {503})
    print("# 503 after %.1f ms, the latest after %.1f ms" % (
        sorted(v.took_s for v in verdicts)[10] * 1e3,
        max(v.took_s for v in verdicts) * 1e3))
    t.true(sorted(v.took_s for v in verdicts)[10] < 0.1, verdicts)


# ---- a store that is slow ------------------------------------------------------


@hazard(off="breaker-slow")
def a_slow_redis_is_not_waited_for(t):
    fleet = Fleet(t, hosts=1, conf=CONF)
    host, = fleet.hosts
    fleet.expect_log(STORES)
    sessions = logged_in(fleet, 10)
    host.redis.delay_s = 0.2  # of a time-out of 300 ms
    load = Load(t, host, sessions, 40, 9)
    begin = time.monotonic()
    states = []
    while time.monotonic() < begin + 9:
        states.append(breaker(host, "cache"))
        time.sleep(0.1)
    load.result().only_200(t)
    promise("open" in states, "Redis took 200 ms for every answer, for 9 s")
    opened = states.index("open")
    # What is slow in probes stays open.
    promise(set(states[opened:]) == {"open"}, "it was asked again: %r" % states)
    found = load.latencies(begin + 0.1 * opened + 0.5, begin + 9)
    print("# given up after about %.1f s; then p50 %.1f ms" % (
        0.1 * opened, found[len(found) // 2] * 1e3))
    t.true(found[len(found) // 2] < 0.2, "half of them do not wait")
    t.equal(host.status()["cache"]["up"], True)
    host.redis.heal()
    recovered(host, "cache", time.monotonic(), load.stall_s)
    fleet.warm(sessions[0])


# ---- back again ----------------------------------------------------------------


@case
def workers_come_back_one_after_the_other_with_new_connections(t):
    workers = 24
    fleet = Fleet(t, hosts=1, conf={"gateway": {"workers": workers}})
    host, = fleet.hosts
    fleet.expect_log(STORES)
    sessions = logged_in(fleet, 10)
    # So slow that each of them is used; not so slow as to be given up.
    host.redis.delay_s = 0.1
    load = Load(t, host, sessions, 200, 8)
    time.sleep(1)
    host.redis.black_hole()
    wait_breaker(host, "cache", "open")
    # Connections of before, which nobody has used since.
    before = len(host.redis.accepted)
    host.redis.heal()
    host.redis.delay_s = 0.1
    since = time.monotonic()
    recovered(host, "cache", since)
    closed = time.monotonic()
    load.result().only_200(t)
    made = [at for at in host.redis.accepted[before:] if at > since]
    late = [at - made[0] for at in made if at > closed - 0.2]
    print("# %d connections were made, %d of them when it closed, within "
          "%.0f ms" % (len(made), len(late),
                       (late[-1] - late[0]) * 1e3 if late else 0))
    # Each worker one, and the keeper's few.
    t.true(workers // 2 <= len(made) <= workers + 12, len(made))
    if LONG:
        at_once = max(sum(1 for x in made if at <= x < at + 0.02)
                      for at in made)
        promise(at_once <= workers // 2, "%d at once" % at_once)


@case
def a_keeper_that_is_killed_while_it_is_open_changes_nothing(t):
    fleet = Fleet(t, hosts=1, conf=CONF)
    host, = fleet.hosts
    fleet.expect_log(STORES, r"keeper")
    session = host.create()
    fleet.warm(session)
    host.redis.black_hole()
    wait_breaker(host, "cache", "open")
    for _ in range(3):
        os.kill(host.status()["keeper"]["pid"], signal.SIGKILL)
        t.equal(host.check(session, is_told=False).status, 200)
        wait_until(lambda: host.status()["keeper"]["pid"], "a keeper", 10)
    t.equal(breaker(host, "cache"), "open")
    host.redis.heal()
    recovered(host, "cache", time.monotonic())
    fleet.warm(session)


@case
def without_its_keeper_the_workers_find_out(t):
    fleet = Fleet(t, hosts=1, conf=dict(CONF, **LOGINS_WAIT))
    host, = fleet.hosts
    fleet.expect_log(STORES, r"keeper", r"master")
    session = host.create()
    fleet.warm(session)
    pid = host.status()["keeper"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        host.mysql.cut()
        for _ in range(4):
            t.equal(host.try_create().status, 503)
        host.mysql.heal()
        begin = time.monotonic()
        wait_until(lambda: host.try_create().status == 201, "creating", 15)
        print("# found by the workers after %.1f s" % (
            time.monotonic() - begin))
    finally:
        os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    run(main)
