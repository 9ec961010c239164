#!/usr/bin/env python3
"""SIGKILL to workers, keepers and masters under load, with Redis and MySQL.

Nothing that was acknowledged is lost, nothing that was ended is accepted, each
event has its audit row, and no lock stays behind: after the last kill every
session can be changed and every worker answers.

With SESSGATE_LONG=1 as often as the promise was made for: a thousand workers,
two hundred keepers and masters (ten minutes); else a small part of that.
"""

import os
import random
import signal
import threading
import time

from harness import case, children, is_alive, main, wait_until
from scenario import SOON_S, STORES, promise
from stores import Fleet, run

Fleet.has_local_cache = True

LONG = bool(os.environ.get("SESSGATE_LONG"))
WORKER_KILLS = 1000 if LONG else 60
OTHER_KILLS = 200 if LONG else 8
CLIENTS = 4
# A worker that was killed says nothing, one that cannot know "try again".
NO_ANSWER = (0, 503)
EXPECTED = STORES + "|killed by signal 9|spool|api|lock"


class Client(threading.Thread):
    """Logs in, looks, changes and ends sessions of its own; remembers what was
    acknowledged. What was not answered may have been done or not."""

    def __init__(self, fleet, number):
        super().__init__()
        self.fleet, self.number = fleet, number
        self.random = random.Random(number)
        self.is_over = threading.Event()
        self.sessions, self.broken = [], []
        self.asked = self.unanswered = 0

    def run(self):
        while not self.is_over.is_set():
            live = [s for s in self.sessions if s.ended_at is None][-20:]
            act = self.random.choice(
                4 * [self.look] + 2 * [self.change] + [self.end])
            if len(live) < 10:
                self.create()
            else:
                self.attempt(act, self.random.choice(live))
            time.sleep(0.01)

    def attempt(self, function, *args):
        """None: nobody answered, or with "try again"."""
        self.asked += 1
        try:
            answer = function(self.random.choice(self.fleet.hosts), *args)
        except (OSError, ValueError, AssertionError):
            answer = None
        if answer is None or answer.status in NO_ANSWER:
            self.unanswered += 1
            return None
        return answer

    def create(self):
        user = "user-%d-%d" % (self.number, self.asked)
        self.asked += 1
        try:
            session = self.random.choice(self.fleet.hosts).create(
                user, data={"n": 0})
        except (OSError, ValueError, AssertionError):
            self.unanswered += 1
            return
        session.acked = session.tried = session.changes = 0
        session.ended_at = session.is_end_acked = None
        self.sessions.append(session)

    def look(self, host, session):
        answer = host.check(session)
        if answer.status not in (200,) + NO_ANSWER or (
                answer.status == 200 and answer.user != session.user):
            self.broken.append((session.ref, answer))
        return answer

    def change(self, host, session):
        session.tried += 1
        number = session.tried
        answer = host.update(session, {"n": number}, check=False)
        if answer.status == 200:
            session.acked = number
            session.changes += 1
        elif answer.status not in NO_ANSWER:
            self.broken.append((session.ref, answer))
        return answer

    def end(self, host, session):
        session.ended_at = time.monotonic()
        answer = host.end(session, check=False)
        session.is_end_acked = answer.status in (200, 204)
        return answer


def under_load(t, fleet, kill, count, pause_s):
    """Kills that often while clients are at it; the clients."""
    clients = [Client(fleet, n) for n in range(CLIENTS)]
    for client in clients:
        client.start()

    def stop():
        for client in clients:
            client.is_over.set()
            client.join()
    t.at_end(stop)
    wait_until(lambda: all(c.sessions for c in clients), "sessions")
    for number in range(count):
        kill(number)
        time.sleep(pause_s)
    stop()
    return clients


def judge(t, fleet, clients):
    """What was acknowledged is so, at every host and in the audit."""
    for host in fleet.hosts:
        host.wait_stores()
        host.wait_closed()
    wait_until(lambda: all(h.status()["spool"]["to_durable"] == 0
                           for h in fleet.hosts), "the spools are shipped", 20)
    time.sleep(SOON_S)
    live = ended = unknown = 0
    for client in clients:
        promise(not client.broken, "a live session: %r" % client.broken[:3])
        for session in client.sessions:
            verdicts = {h.check(session).status for h in fleet.hosts}
            promise(len(verdicts) == 1 and verdicts <= {200, 401},
                    "the hosts answer %r for %s" % (verdicts, session.ref))
            is_live = verdicts == {200}
            if session.ended_at is None:
                promise(is_live, "acknowledged and lost: " + session.ref)
                live += 1
            elif session.is_end_acked:
                promise(not is_live, "ended and accepted: " + session.ref)
                ended += 1
            else:
                unknown += 1
            judge_audit(fleet, session, is_live)
            if is_live:
                judge_change(t, fleet, session)
    asked = sum(c.asked for c in clients)
    lost = sum(c.unanswered for c in clients)
    print("# %d requests, %d without an answer; %d sessions live, %d ended, %d "
          "of which nobody was told" % (asked, lost, live, ended, unknown))
    t.true(live > 10 and ended > 10, "there was something to lose")


def judge_audit(fleet, session, is_live):
    kinds = fleet.audit(session)
    promise(kinds.count("create") == 1, "creations of %s: %r" % (
        session.ref, kinds))
    promise(kinds.count("end") == (0 if is_live else 1), "ends of %s: %r" % (
        session.ref, kinds))
    promise(session.changes <= kinds.count("update") <= 2 * session.tried,
            "%d changes were acknowledged of %s: %r" % (
                session.changes, session.ref, kinds))


def judge_change(t, fleet, session):
    """No lock is left: it can be changed at once. And no change was lost."""
    host = fleet.hosts[0]
    number = host.show(session).json()["data"]["n"]
    promise(session.acked <= number <= session.tried,
            "change %d was acknowledged, %d is there" % (
                session.acked, number))
    t.equal(host.update(session, {"n": -1}, check=False).status, 200)


def gateways(t):
    fleet = Fleet(t, hosts=2, is_direct=True)
    fleet.expect_log(EXPECTED)
    return fleet


@case
def killed_workers_lose_nothing_and_leave_no_lock(t):
    fleet = gateways(t)
    chance = random.Random(1)
    killed = []

    def kill(number):
        host = fleet.hosts[number % 2]
        keeper = host.status()["keeper"]["pid"]
        workers = [p for p in children(host.gw.pid) if p != keeper]
        if workers:
            killed.append(chance.choice(workers))
            os.kill(killed[-1], signal.SIGKILL)
    clients = under_load(t, fleet, kill, WORKER_KILLS, 0.05)
    print("# %d workers were killed" % len(killed))
    t.true(len(killed) > WORKER_KILLS * 9 // 10)
    judge(t, fleet, clients)


@case
def killed_keepers_and_masters_lose_nothing_and_leave_no_lock(t):
    fleet = gateways(t)

    def kill_keeper(host):
        keeper = host.status()["keeper"]["pid"]
        os.kill(keeper, signal.SIGKILL)

        def is_replaced():
            try:
                return host.status()["keeper"]["pid"] not in (None, 0, keeper)
            except (OSError, ValueError):
                return False
        wait_until(is_replaced, "another keeper")

    def kill_master(host):
        left = children(host.gw.pid)
        host.gw.process.kill()
        host.gw.process.wait()
        wait_until(lambda: not any(is_alive(p) for p in left),
                   "its workers end with a master")
        host.start()

    def kill(number):
        (kill_master if number % 2 else kill_keeper)(
            fleet.hosts[number // 2 % 2])
    clients = under_load(t, fleet, kill, OTHER_KILLS, 0.3)
    print("# %d keepers and masters were killed" % OTHER_KILLS)
    judge(t, fleet, clients)


if __name__ == "__main__":
    run(main)
