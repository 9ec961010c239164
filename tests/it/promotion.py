"""MySQL with a replica that is promoted: what was acknowledged stays, the
gateways go on by themselves, and an old primary is never used in its place."""

import socket
import threading
import time

from harness import case, main, wait_until
from pressure import Load, sleep_until
from primaries import Pair
from scenario import LOGINS_WAIT, STORES, answer, promise
from stores import Session, run

GONE_ON_S = 3.0
RETRY_S = 15.0


class Writer(threading.Thread):
    """Logs users in, changes and ends sessions; what is refused with 503 is
    asked again, with the same key. Counts only what was acknowledged."""

    def __init__(self, t, host, name):
        super().__init__(daemon=True)
        self.host, self.label = host, name
        self.live, self.ended, self.acked_at, self.wrong = {}, [], [], []
        self.refused = []
        self.is_over = threading.Event()
        t.at_end(self.finish)
        self.start()

    def until_acked(self, function, right, right_again=()):
        """right_again: what a repeat may say, as the first may have been done
        although nobody could tell."""
        end = time.monotonic() + RETRY_S
        while True:
            begin = time.monotonic()
            given = function()
            self.tries += 1
            if given.status in right or (self.tries > 1 and
                                         given.status in right_again):
                self.acked_at.append(time.monotonic())
                return given
            self.refused.append((begin, time.monotonic(), given.status))
            if given.status != 503 or time.monotonic() > end:
                self.wrong.append(given)
                return None
            time.sleep(0.05)

    def run(self):
        number = 0
        self.tries, self.updates = 0, {}
        while not self.is_over.is_set() and not self.wrong:
            number += 1
            time.sleep(0.03)
            key = "%s-%d" % (self.label, number)
            made = self.until_acked(
                lambda: self.host.try_create(key, key=key), (200, 201))
            if made is None:
                return
            session = Session(made.json()["token"], made.json()["session"])
            self.tries = 0
            if self.until_acked(lambda: self.host.update(
                    session, {"n": number}, check=False), (200,)) is None:
                return
            self.updates[session] = self.tries
            if number % 3 != 0:
                self.live[session] = number
                continue
            self.tries = 0
            if self.until_acked(lambda: self.host.end(session, check=False),
                                (200, 204), (404,)) is not None:
                self.ended.append(session)

    def finish(self):
        self.is_over.set()
        self.join(60)
        return self

    def gap_after(self, moment):
        """From there to the next acknowledgement."""
        return min((at for at in self.acked_at if at > moment),
                   default=moment + 99) - moment


def audits(fleet):
    """The kinds of each session's audit rows, by its ref."""
    found = {}
    for line in fleet.db.sql("SELECT LOWER(HEX(ref)), kind FROM audit WHERE "
                             "ref IS NOT NULL").split("\n"):
        ref, kind = line.split("\t")
        found.setdefault(ref, []).append(kind)
    return {ref: sorted(kinds) for ref, kinds in found.items()}


def check_writer(t, fleet, writer):
    t.equal(writer.wrong, [])
    audit = audits(fleet)
    for session in list(writer.live) + writer.ended:
        kinds = audit[session.ref]
        # An update has no key: who repeats it does it once more.
        promise(kinds.count("create") == 1 and
                1 <= kinds.count("update") <= writer.updates[session] and
                kinds.count("end") == (session in writer.ended) and
                set(kinds) <= {"create", "update", "end"},
                "audit: %r" % kinds)
    for session, number in writer.live.items():
        for host in fleet.hosts:
            verdict = answer(host, session)
            promise(verdict.status == 200,
                    "an acknowledged session is lost: %r" % verdict)
        promise(fleet.hosts[0].show(session).json()["data"] == {"n": number},
                "an acknowledged change is lost")
    for session in writer.ended:
        for host in fleet.hosts:
            promise(answer(host, session).status == 401,
                    "an acknowledged end is lost")


def rows(server, fleet):
    return server.sql("SELECT COUNT(*), (SELECT SUM(seq) FROM meta), (SELECT "
                      "COUNT(*) FROM audit) FROM session", fleet.db.name)


def wait_created(host, timeout=10):
    """Until it takes logins again: all of them, as a breaker that is half open
    lets one of eight through."""
    wait_until(lambda: all(host.try_create("again").status == 201
                           for _ in range(16)),
               "host %d takes logins" % host.number, timeout)


def primary_is(server):
    return "the primary is " + server.address


@case
def a_primary_that_is_killed_is_replaced_under_load(t):
    pair = Pair(t)
    fleet = pair.fleet(conf=dict(LOGINS_WAIT, gateway={"workers": 4}))
    fleet.expect_log(STORES)
    a, b = fleet.hosts
    for host in fleet.hosts:
        host.gw.wait_log(primary_is(pair.primary), 10)
    sessions = [fleet.hosts[i % 2].create("user%d" % i) for i in range(10)]
    fleet.warm(*sessions)
    writers = [Writer(t, host, "w%d" % host.number) for host in fleet.hosts]
    loads = [Load(t, host, sessions, 50, 8) for host in fleet.hosts]
    begin = time.monotonic()
    sleep_until(begin + 1)
    old = pair.primary
    killed = time.monotonic()
    old.kill()
    new = pair.promote()
    promoted = time.monotonic()
    fleet.db.server = new
    for host in fleet.hosts:
        host.gw.wait_log(primary_is(new) + " now", 10)
    sleep_until(promoted + 3)
    for writer in writers:
        writer.finish()
    for load in loads:
        load.result().only_200(t)
        load.none_late()
    stall = 2 * max(load.stall_s for load in loads)
    gaps = [writer.gap_after(promoted) for writer in writers]
    print("# promoted %.2f s after the kill, then written after %s s; %d live, "
          "%d ended, %d answers 503" % (
              promoted - killed, ", ".join("%.2f" % g for g in gaps),
              sum(len(w.live) for w in writers),
              sum(len(w.ended) for w in writers),
              sum(len(w.refused) for w in writers)))
    promise(max(gaps) < GONE_ON_S + stall, "gone on only after %r" % gaps)
    outside = [r for w in writers for r in w.refused
               if r[0] > promoted + GONE_ON_S + stall or r[1] < killed]
    promise(not outside, "503 outside the fault: %r" % outside)
    for writer in writers:
        check_writer(t, fleet, writer)

    # The old one comes back and takes writes: told, and not used.
    before = rows_when_up(old, fleet)
    for host in fleet.hosts:
        host.gw.wait_log("%s takes writes beside %s, which is used" % (
            old.address, new.address), 10)
    wait_created(a)
    wait_created(b)
    t.equal(rows(old, fleet), before, "nothing was written to the old one")
    # A gateway that has just started cannot know which one it is.
    made = a.create("kept")
    fleet.warm(made)
    b.restart()
    b.gw.wait_log("both take writes, and nobody knows which is the primary",
                  10)
    t.equal(b.try_create("refused").status, 503)
    t.equal(b.check(made).status in (200, 503), True)
    t.equal(rows(old, fleet), before, "nothing was written to the old one")
    old.sql("SET GLOBAL read_only=1")
    wait_created(b)
    t.equal(answer(b, made).status, 200)
    t.equal(rows(old, fleet), before, "nothing was written to the old one")


def rows_when_up(server, fleet):
    server.start()
    return rows(server, fleet)


@case
def a_planned_promotion_loses_nothing(t):
    pair = Pair(t)
    fleet = pair.fleet(conf=dict(LOGINS_WAIT, gateway={"workers": 4}))
    fleet.expect_log(STORES)
    writers = [Writer(t, host, "p%d" % host.number) for host in fleet.hosts]
    time.sleep(0.7)
    old = pair.primary
    new = pair.promote(is_planned=True)
    promoted = time.monotonic()
    old.follow(new)
    fleet.db.server = new
    sleep_until(promoted + 2.5)
    for writer in writers:
        writer.finish()
    gaps = [writer.gap_after(promoted) for writer in writers]
    print("# written %s s after the promotion" % ", ".join(
        "%.2f" % g for g in gaps))
    promise(max(gaps) < GONE_ON_S, "gone on only after %r" % gaps)
    for writer in writers:
        check_writer(t, fleet, writer)
    # And back again.
    pair.wait_same()
    pair.promote(is_planned=True)
    fleet.db.server = old
    for host in fleet.hosts:
        wait_created(host)
    session = next(iter(writers[0].live))
    for host in fleet.hosts:
        t.equal(answer(host, session).status, 200)


def left_alone(t, leave, come_back):
    """It was replaced, is back, takes writes, and its successor is gone."""
    pair = Pair(t)
    fleet = pair.fleet(hosts=1, conf=LOGINS_WAIT)
    fleet.expect_log(STORES)
    a = fleet.hosts[0]
    old = pair.primary
    wait_created(a)
    leave(old)
    new = pair.promote()
    fleet.db.server = new
    wait_created(a)
    session = a.create("late")  # Which the old one never heard of.
    new.stop()
    try:
        come_back(old)
        before = rows(old, fleet)
        a.gw.wait_log("%s takes writes and lacks what the primary before has "
                      "written last, so it is not used" % old.address, 10)
        t.equal(a.try_create("refused").status, 503)
        verdict = a.check(session)
        promise(verdict.status in (200, 503), "logged out: %r" % verdict)
        t.equal(rows(old, fleet), before, "nothing was written to the old one")
    finally:
        new.go_on()
    wait_created(a)
    t.equal(answer(a, session).status, 200)
    t.equal(rows(old, fleet), before, "nothing was written to the old one")
    return pair, fleet, session


@case
def an_old_primary_that_is_left_alone_is_not_used(t):
    pair, fleet, session = left_alone(t, lambda old: old.kill(),
                                      lambda old: old.start())
    # As it should be done: from the data of the one that is used.
    pair.rebuild()
    pair.primary.kill()
    pair.promote()
    fleet.db.server = pair.primary
    wait_created(fleet.hosts[0])
    t.equal(answer(fleet.hosts[0], session).status, 200)


@case
def an_old_primary_that_was_only_cut_off_is_not_used(t):
    """It was not started anew, and what it has was written last by itself."""
    left_alone(t, lambda old: old.stop(), lambda old: old.go_on())


@case
def a_host_that_says_nothing_costs_no_request(t):
    """One of mysql.hosts takes connections and never answers; the server that
    is the primary is started anew."""
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(0)
    t.at_end(silent.close)
    pair = Pair(t)
    fleet = pair.fleet(hosts=1, conf=LOGINS_WAIT, more_hosts=[
        "127.0.0.1:%d" % silent.getsockname()[1]], has_redis=False)
    fleet.expect_log(STORES)
    a = fleet.hosts[0]
    wait_created(a)
    times = []
    for i in range(100):
        begin = time.monotonic()
        a.create("user%d" % i)
        times.append(time.monotonic() - begin)
    times.sort()
    print("# logins: p50 %.0f ms, max %.0f ms" % (times[50] * 1e3,
                                                   times[-1] * 1e3))
    promise(times[90] < 0.1, "it costs the requests: %r" % times[-10:])
    session = a.create("stays")
    pair.primary.kill()
    pair.primary.start()
    started = time.monotonic()
    wait_created(a)
    print("# written %.2f s after the start" % (time.monotonic() - started))
    t.equal(answer(a, session).status, 200)


if __name__ == "__main__":
    run(main)
