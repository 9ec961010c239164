"""Scenarios: what a promise is, and the mechanism without which it is broken.

    @hazard(off="fence")
    def a_restored_redis_is_not_believed(t):
        fleet = Fleet(t)
        ...
        promise(status != 200, "nobody accepts an ended session")

makes two cases. The first runs the scenario and must pass. The second runs the
same with a build of `configure --enable-failpoints`, the mechanism turned off
(SESSGATE_FAILPOINTS="fence=off"), and must end with a broken promise: else the
scenario would hold without the mechanism and show nothing. has_local_cache=True:
the first run has the local cache, which must break no promise; it would hide from
the second what the stores are made to do. An error that is no
broken promise fails both.

off="settle,event-id": each of the two suffices. pause="touch-write=pause:900": a
failpoint more for the second run.
SESSGATE_FAILPOINT_BUILD is its directory; "none": these cases run elsewhere and
are left out here, where without it they are skipped.
"""

import os
import subprocess
import time

from harness import case, children, needs, wait_until
from stores import failpoint_build

HAS_MUTANTS = os.environ.get("SESSGATE_FAILPOINT_BUILD") != "none"
# Two seconds after an acknowledged end nobody accepts the session (one store
# may have failed); a poll is 500 ms.
SOON_S = 2.0
SLOW_POLL = {"fence": {"poll_interval": "10 s"}}
EXPORT = {"session": {"export_data": ["n"]}}
# A login tells whether MySQL has taken it: without it, it is 503.
LOGINS_WAIT = {"session": {"create_without_mysql": False}}
STORES = r"redis|mysql|store|fence"



class BrokenPromise(AssertionError):
    """Something that design.md 4.1 promises did not hold."""


def promise(value, what):
    if not value:
        raise BrokenPromise(what)


def hazard(off, pause="", has_local_cache=None):
    """off: the switches to turn off, with commas. has_local_cache: of the run
    as built; None: as the file says."""
    names = off.split(",")

    def register(scenario):
        def holds(t):
            t.failpoints = ""
            t.is_mutant = False
            if has_local_cache is not None:
                t.has_local_cache = has_local_cache
            scenario(t)

        def is_broken_without(t):
            failpoint_build()
            t.failpoints = ",".join([n + "=off" for n in names] +
                                    ([pause] if pause else []))
            t.is_mutant = True
            try:
                scenario(t)
            except BrokenPromise as e:
                print("# without %s: %s" % (off, str(e).replace("\n", "; ")))
                return
            raise AssertionError(
                "%s: no promise was broken, so the scenario does not test it"
                % t.failpoints)

        holds.__name__ = scenario.__name__
        is_broken_without.__name__ = "%s__not_so_without_%s" % (
            scenario.__name__, off.replace(",", "_and_").replace("-", "_"))
        case(holds)
        if HAS_MUTANTS:
            case(is_broken_without)
        return scenario
    return register


def with_pauses(scenario):
    """A case of a build that has them; it runs elsewhere where that is "none"."""
    if HAS_MUTANTS:
        case(scenario)


def workers_of(host):
    found = []
    for pid in children(host.gw.pid):
        with open("/proc/%d/comm" % pid, encoding="ascii") as name:
            if name.read().startswith("sessgated-w"):
                found.append(pid)
    return found


def is_paused(pid):
    """At a failpoint: nothing else of a worker sleeps."""
    with open("/proc/%d/wchan" % pid, encoding="ascii") as name:
        return "nanosleep" in name.read()


# ---- what scenarios have in common -------------------------------------------


class Operator:
    """Somebody at the server, in a transaction that he has left open."""

    def __init__(self, fleet, *statements):
        self.client = subprocess.Popen(
            [needs("mariadb"), "--no-defaults", "-uroot", "-N", "-B", "-n",
             "-S", fleet.db.server.socket, fleet.db.name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        fleet.t.at_end(self.leave)
        self.say(*statements)

    def say(self, *statements):
        for statement in statements + ("SELECT 'said'",):
            self.client.stdin.write(statement + ";\n")
        self.client.stdin.flush()
        while self.client.stdout.readline().strip() != "said":
            if self.client.poll() is not None:
                raise AssertionError("%s: refused" % (statements,))

    def leave(self):
        """Its end rolls back."""
        if self.client.poll() is None:
            self.client.stdin.close()
            self.client.wait()
        self.client.stdout.close()


def is_script(request, first_key=None):
    """A script; first_key: that works on this key first."""
    return (request.args and request.args[0].upper() in (b"EVAL", b"EVALSHA")
            and (first_key is None or
                 request.args[3] == first_key.encode()))


def is_apply(request):
    """The keeper's script: its first key is a group's sync."""
    return is_script(request) and request.args[3].endswith(b":sync")


def arrived(fleet, function):
    """Runs it, and waits until a script more has been called in Redis."""
    def calls():
        return fleet.redis.calls("evalsha") + fleet.redis.calls("eval")
    before = calls()
    function()
    wait_until(lambda: calls() > before, "a script arrived in Redis")


def answer(host, session, seconds=3):
    """The verdict, once there is one: a store may be late on a busy machine,
    and with the other one away that is 503."""
    end = time.monotonic() + seconds
    while True:
        verdict = host.check(session)
        if verdict.status != 503 or time.monotonic() > end:
            return verdict
        time.sleep(0.05)


def never_accepted(hosts, session, seconds, since=""):
    """Ask all the time; nobody may say yes."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        for host in hosts:
            verdict = host.check(session)
            promise(verdict.status != 200, "host %d accepted an ended "
                    "session%s: %r" % (host.number, since, verdict))
            count += 1
    return count


def refused_within(host, session, seconds):
    """How long until a host that has to learn of an end refuses."""
    begin = time.monotonic()
    while host.check(session).status == 200:
        promise(time.monotonic() - begin < seconds,
                "host %d still accepts an ended session after %.1f s" %
                (host.number, seconds))
        time.sleep(0.005)
    return time.monotonic() - begin
