"""The local cache: what it answers asks no store, and what has ended or changed
is never answered by it, whoever did that, and whatever comes between (H4 to H6).

The hosts use MySQL alone, or Redis and MySQL where a case says so.
"""

import os
import signal
import threading
import time

from harness import case, children, main, wait_until
from scenario import (EXPORT, SOON_S, STORES, hazard, never_accepted, promise,
                      refused_within)
from stores import Fleet, run

CHECKS = 1000
Fleet.has_local_cache = True


def alone(t, hosts=2, conf=None):
    return Fleet(t, hosts=hosts, has_redis=False, conf=conf)


def warm(host, session, timeout=5):
    """Until the local cache of that host answers for the session."""
    def is_hit():
        before = host.count("served_local")
        status = host.check(session).status
        return status == 200 and host.count("served_local") > before
    wait_until(is_hit, "a hit at host %d" % host.number, timeout)


def statements(fleet):
    rows = fleet.db.server.sql("SHOW GLOBAL STATUS WHERE Variable_name IN "
                               "('Com_stmt_execute', 'Queries')").split()
    return int(rows[1]) + int(rows[3])


# ---- hits --------------------------------------------------------------------


@case
def hits_ask_no_store(t):
    fleet = alone(t, hosts=1)
    host, = fleet.hosts
    session = host.create("ann")
    warm(host, session)
    before, statements_before = host.counters(), statements(fleet)
    began = time.monotonic()
    for _ in range(CHECKS):
        verdict = host.check(session)
        t.equal((verdict.status, verdict.user), (200, "ann"))
    took_s = time.monotonic() - began
    after, asked = host.counters(), statements(fleet) - statements_before
    print("# %d checks: %d hits; %d statements in %.1f s" % (
        CHECKS, after["served_local"] - before["served_local"], asked, took_s))
    t.true(after["served_local"] - before["served_local"] >= CHECKS - 10,
           "hits")
    # What a keeper asks by itself.
    t.true(asked < 40 + 40 * took_s, "%d statements" % asked)


@case
def with_size_zero_there_is_none(t):
    fleet = alone(t, hosts=1, conf={"cache": {"size": "0"}})
    host, = fleet.hosts
    session = host.create("ann")
    for _ in range(20):
        t.equal(host.check(session).status, 200)
    t.equal(host.count("served_local"), 0)


@case
def a_change_is_seen_at_once_here_and_soon_elsewhere(t):
    fleet = alone(t, conf=EXPORT)
    a, b = fleet.hosts
    session = a.create("ann", data={"n": 0}, roles=["editor"])
    for n in range(1, 11):
        warm(a, session)
        warm(b, session)
        a.update(session, {"n": n}, roles=["editor", "r%d" % n])
        verdict = a.check(session)
        t.equal(verdict.data("n"), str(n))
        t.equal(verdict.answer.header("Variable-SESSION_ROLES"),
                "editor,r%d" % n)
        began = time.monotonic()
        wait_until(lambda: b.check(session).data("n") == str(n),
                   "the change is seen", 2)
        print("# seen by the other host after %.0f ms" % (
            1000 * (time.monotonic() - began)))


@case
def a_new_cookie_is_known_and_the_old_one_gets_it(t):
    fleet = alone(t, hosts=1)
    host, = fleet.hosts
    session = host.create("ann")
    warm(host, session)
    successor = host.rotate(session)
    for _ in range(5):
        verdict = host.check(session)
        t.equal(verdict.status, 200)
        t.true(successor.token in str(verdict.answer.all_headers("Set-Cookie")),
               "the old one is sent the new one")
    warm(host, successor)
    t.equal(host.check(session).status, 200)


@case
def killed_workers_leave_it_usable(t):
    fleet = alone(t, hosts=1)
    host, = fleet.hosts
    host.gw.expect_log(r"worker")
    sessions = [host.create("user%d" % i) for i in range(20)]
    stop, wrong = threading.Event(), []

    def load():
        while not stop.is_set():
            for n, session in enumerate(sessions):
                try:
                    verdict = host.check(session)
                except OSError:
                    continue
                # 0: its worker was killed before it answered.
                if verdict.status not in (0, 200, 503) or (
                        verdict.status == 200 and
                        verdict.user != "user%d" % n):
                    wrong.append(repr(verdict))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    killed = 0
    for _ in range(25):
        for pid in [w["pid"] for w in host.status()["workers"]
                    if w["pid"]][:2]:
            try:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    print("# %d workers killed, %d hits" % (killed,
                                            host.count("served_local")))
    t.equal(wrong, [])
    wait_until(lambda: host.check(sessions[0]).status == 200, "it answers")
    for n, session in enumerate(sessions):
        warm(host, session)
        t.equal(host.check(session).user, "user%d" % n)


# ---- what must not be answered -----------------------------------------------


@hazard(off="local-own")
def an_end_is_known_to_every_worker_at_once(t):
    fleet = alone(t, hosts=1)
    host, = fleet.hosts
    for n in range(10):
        session = host.create("user%d" % n)
        warm(host, session)
        if n % 2:
            host.logout(session)
        else:
            host.end(session)
        never_accepted([host], session, 0.05)


@hazard(off="local-round")
def an_end_at_another_host_is_heard_of(t):
    fleet = alone(t)
    a, b = fleet.hosts
    took = []
    for n in range(6):
        session = a.create("user%d" % n)
        warm(b, session)
        a.end(session)
        took.append(refused_within(b, session, 2.0))
        never_accepted([b], session, 0.1)
    print("# first 401 after %s ms" % ", ".join(
        "%.0f" % (1000 * s) for s in took))


@hazard(off="local-lease")
def a_host_that_hears_nothing_does_not_use_it(t):
    fleet = alone(t)
    a, b = fleet.hosts
    b.gw.expect_log(STORES)
    session = a.create("ann")
    warm(b, session)
    b.mysql.black_hole()
    a.end(session)
    time.sleep(1.2)
    never_accepted([b], session, 1.5)


def stopped(t, host, pids, meanwhile, seconds):
    """Stops those, and meanwhile() says of which sessions the host is asked all
    the time: what was answered before they went on, and in all."""
    asked, is_over = [], threading.Event()

    def ask(session):
        while not is_over.is_set():
            # It is answered when they go on.
            verdict = host.check(session)
            asked.append((session, verdict.status))

    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        sessions = meanwhile()
        threads = [threading.Thread(target=ask, args=(s,)) for s in sessions]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        late = list(asked)
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
        time.sleep(1.5)
    finally:
        is_over.set()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        for thread in threads:
            thread.join(20)
    return late, asked


def stood_still(t, fleet, seconds, choose):
    """As a host that was suspended, or a process that was: what others have
    ended by then it does not accept, from its first answer on."""
    a, b = fleet.hosts
    a.gw.expect_log(STORES, "worker", "keeper", "tracker", "stopped")
    ended, live = a.create("ann"), a.create("bob")
    for session in (ended, live):
        warm(a, session)
    pids = choose(a)

    def end():
        b.end(ended)
        time.sleep(SOON_S)
        return ended, live
    late, asked = stopped(t, a, pids, end, seconds)
    wrong = [status for session, status in asked if session is ended and
             status == 200]
    promise(not wrong, "%d of %d checks were accepted" % (
        len(wrong), len(asked)))
    t.true([status for session, status in asked[len(late):]
            if session is ended and status == 401], "it is refused")
    wait_until(lambda: a.check(live).status == 200, "the other one is there")
    promise(401 not in [status for session, status in asked
                        if session is live], "a live session was refused")


def all_of(host):
    master = host.gw.pid
    return [master] + children(master)


@case
def a_host_that_stood_still_accepts_nothing_of_before(t):
    for has_redis in (True, False):
        fleet = Fleet(t, has_redis=has_redis)
        stood_still(t, fleet, 2.5, all_of)
        fleet.stop()


@case
def nor_one_of_whose_processes_one_stood_still(t):
    fleet = Fleet(t, conf={"gateway": {"workers": 2}})
    count = len(children(fleet.hosts[0].gw.pid))
    for i in range(count):
        stood_still(t, fleet, 1,
                    lambda host: [sorted(children(host.gw.pid))[i]])


@hazard(off="local-idle")
def idle_time_is_judged_at_every_hit(t):
    fleet = alone(t, hosts=1, conf={"session": {
        "idle_timeout": "2 s", "warn_before": "1 s"}})
    host, = fleet.hosts
    session = host.create("ann")
    warm(host, session)
    time.sleep(2.2 + 4.5)
    promise(host.check(session).status == 401,
            "a session is accepted whose idle time is over")


@hazard(off="local-ticket", pause="local-fill=pause:700")
def what_was_read_before_an_end_is_not_filled_after_it(t):
    fleet = alone(t, hosts=1)
    host, = fleet.hosts
    for n in range(3):
        session = host.create("user%d" % n)
        reader = threading.Thread(target=host.check, args=(session,))
        reader.start()
        time.sleep(0.3)
        host.end(session)
        reader.join()
        never_accepted([host], session, 0.3)


@hazard(off="local-epoch")
def nothing_of_an_older_epoch_is_used(t):
    fleet = alone(t, hosts=1)
    host, = fleet.hosts
    host.gw.expect_log(STORES)
    session = host.create("ann")
    warm(host, session)
    # What `db restored` leaves of a dump in which the session had ended.
    fleet.db.sql("START TRANSACTION; UPDATE session SET state = 2, "
                 "end_reason = 6, ended_ms = 1, version = version + 1; "
                 "UPDATE meta SET seq = seq + 1000000; "
                 "UPDATE store SET epoch = epoch + 1; COMMIT")
    refused_within(host, session, 2.0)
    never_accepted([host], session, 0.5)


# ---- with Redis ---------------------------------------------------------------


@case
def with_redis_hits_ask_it_nothing_and_touches_keep_them(t):
    fleet = Fleet(t)
    a, b = fleet.hosts
    session = a.create("ann")
    warm(a, session)
    warm(b, session)
    before = fleet.redis.calls("mget"), a.count("served_local")
    for _ in range(CHECKS):
        t.equal(a.check(session).status, 200)
    asked = fleet.redis.calls("mget") - before[0]
    hits = a.count("served_local") - before[1]
    print("# %d checks: %d hits, %d MGET of both hosts" % (
        CHECKS, hits, asked))
    t.true(hits >= CHECKS - 10, "hits")
    a.end(session)
    t.equal(a.check(session).status, 401)
    took_s = refused_within(b, session, 1.0)
    print("# refused by the other host after %.1f ms" % (1000 * took_s))


@case
def without_it_a_check_fetches_no_data_of_redis(t):
    fleet = Fleet(t, hosts=1, conf={
        "cache": {"size": 0}, "session": {"browser_readable": ["m9"]}})
    host, = fleet.hosts
    data = {"m%d" % i: "x" * 6000 for i in range(10)}
    session = host.create("ann", data=data)

    def sent():
        for line in fleet.redis.command("INFO", "stats").split():
            if line.startswith(b"total_net_output_bytes:"):
                return int(line.split(b":")[1])
        raise AssertionError("INFO does not say what was sent")
    t.equal(host.check(session).status, 200)
    whole = sent()
    for _ in range(100):  # each worker has met it then
        t.equal(host.check(session).status, 200)
    before, reads = sent(), host.count("served_durable")
    for _ in range(100):
        t.equal(host.check(session).status, 200)
    each = (sent() - before) / 100
    print("# %d bytes a check at last; at first %d" % (each, (before - whole) / 100))
    t.true(each < 10000, "it was not fetched whole: %d bytes" % each)
    t.equal(host.count("served_durable"), reads)
    # Who asks for it has it, of Redis.
    served = host.count("served_cache")
    answer = host.gw.api("GET", "session", HTTP_COOKIE=session.cookie)
    t.equal(answer.json()["data"], {"m9": data["m9"]})
    t.true(host.count("served_cache") > served)


@hazard(off="local-order", pause="poll-apply=pause:300")
def a_redis_that_takes_no_writes_leaves_nothing_behind(t):
    fleet = Fleet(t)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    for n in range(3):
        session = a.create("user%d" % n)
        warm(b, session)
        # As after a failover: it can be read, and nobody is told of anything.
        fleet.redis.command("REPLICAOF", "127.0.0.1", "1")
        a.end(session)
        refused_within(b, session, 2.5)
        never_accepted([b], session, 0.5)
        fleet.redis.promote()
        fleet.wait_synced(session)


if __name__ == "__main__":
    run(main)
