"""What a check costs: system calls are counted, nothing is timed."""

import os
import re
import signal
import subprocess
import time

from harness import Skip, case, main, needs, spawn, wait_until

COOKIE = {"cookie": {"name": "sid", "secure": False}}
CHECKS = 200
# The worker looks once a second whether its master lives.
BESIDES = 20
# On a busy machine a peer may connect and be kept from sending: the worker reads
# in vain, asks to be told, and waits.
LATE = "recvfrom in vain"
CALLS_IF_LATE = 3


def traced(t, pid, work):
    """The system calls that a process makes while work() runs, by name."""
    path = os.path.join(t.gateways[0].dir, "strace")
    tracer = spawn([needs("strace"), "-p", str(pid), "-o", path], stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE, text=True)
    line = tracer.stderr.readline()
    if "attached" not in line:
        tracer.wait()
        raise Skip("strace cannot attach: " + line.strip())
    work()
    time.sleep(0.1)
    tracer.send_signal(signal.SIGINT)
    tracer.communicate(timeout=10)
    counts = {}
    with open(path) as f:
        for name, rest in re.findall(r"^(\w+)(\(.*)$", f.read(), re.M):
            if name == "recvfrom" and "EAGAIN" in rest:
                name = LATE
            counts[name] = counts.get(name, 0) + 1
    return counts


def status_of(gw):
    return gw.api("GET", "v1/status", address=gw.keeper_socket).json()


def counted(gw):
    return status_of(gw)["stores"]


def only_worker(gw):
    status = status_of(gw)
    return wait_until(lambda: [w["pid"] for w in status["workers"] if w["pid"]], "a worker")[0]


@case
def a_check_that_asks_no_store_costs_five_system_calls(t):
    gw = t.gateway(COOKIE)
    gw.configure({"gateway": {"workers": 1}})
    gw.start()

    def ask():
        for _ in range(CHECKS):
            t.equal(gw.check().status, 401)

    counts = traced(t, only_worker(gw), ask)
    print("# %d checks: %s" % (CHECKS, counts))
    for name in ("accept4", "recvfrom", "sendto", "close"):
        t.equal(counts.get(name), CHECKS, name)
    late = counts.get(LATE, 0)
    t.true(late <= CHECKS // 4, "nearly all were there when they were read")
    t.true(sum(counts.values()) <= 5 * CHECKS + CALLS_IF_LATE * late + BESIDES, "five a check")


@case
def a_state_that_the_local_cache_knows_costs_as_much(t):
    """Pages ask it every second or so (sessgate.js)."""
    gw = t.gateway(COOKIE)
    gw.configure({"gateway": {"workers": 1}})
    gw.start()
    cookie = "sid=" + gw.create()[0]

    def is_known():
        told = gw.check(cookie)
        t.equal(told.status, 200)
        return counted(gw)["served_local"] > 0
    wait_until(is_known, "the local cache has it")
    before = counted(gw)

    def ask():
        for _ in range(CHECKS):
            state = gw.api("GET", "state", HTTP_COOKIE=cookie)
            t.equal((state.status, state.json()["user_id"]), (200, "alice"))
    counts = traced(t, only_worker(gw), ask)
    print("# %d states: %s" % (CHECKS, counts))
    after = counted(gw)
    # An entry counts for a second and a half, and then the keeper's round renews it.
    t.true(after["served_local"] - before["served_local"] >= CHECKS - BESIDES, after)
    late = counts.get(LATE, 0)
    t.true(sum(counts.values()) <= 5 * CHECKS + CALLS_IF_LATE * late + 5 * BESIDES, "five a state")


if __name__ == "__main__":
    main()
