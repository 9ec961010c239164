"""What one figure each is measured for: see PARTS in bench.py."""

import os
import signal
import subprocess
import sys
import time

import figures
from contenders import Check, Floor, sessgate_token
from load import Load, run, run_first, run_in_turn
from machine import Unavailable, pids_below, program, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "it"))
import harness  # pylint: disable=wrong-import-position


def check(site, profile="l1", web="lighttpd", kept=""):
    """A contender of its own, ready."""
    contender = Check(f"{profile} {web}{kept}", None, web=web, profile=profile, path=f"/check/{profile}{kept}")
    contender.ready(site)
    return contender


def ask_the_pool(site, contender, seconds, per_second=50):
    """The latencies in ms of checks at the pool's own socket, each begun when it is due."""
    pool = site.machine.path(contender.profile, "run", "pool.sock")
    cookies = contender.cookies()
    latencies = []
    begin = time.monotonic()
    run_first(0)
    try:
        for i in range(int(seconds * per_second)):
            due = begin + i / per_second
            time.sleep(max(due - time.monotonic(), 0))
            answer = harness.fastcgi(pool, harness.web_params(HTTP_COOKIE=cookies[i % len(cookies)][0]),
                                     role=harness.AUTHORIZER)
            latencies.append((time.monotonic() - due) * 1000)
            if answer.status != 200:
                raise Unavailable(f"a probe of the pool was answered {answer.status}")
    finally:
        run_in_turn(0)
    return latencies


def starvation(site, options):
    """64 busy clients of three servers in front of one instance, and a probe through each.

    Beside each probe goes another one through the same server to a program that
    does nothing and has nobody else to serve: what that has to wait is for the
    web server, the load and the machine. One more asks the pool itself.
    """
    contenders = [check(site), check(site, web="nginx", kept="-ka"), check(site, web="apache", kept="-ka")]
    idle = [Floor("idle", None, web=c.web, backend="stock") for c in contenders]
    for floor in idle:
        floor.ready(site)
    seconds = max(options.seconds, 3)
    for c in contenders:
        c.measure(1)
    loads = [Load(site, c.port, c.requests, n, seconds + 1) for c, n in zip(contenders, (22, 21, 21))]
    time.sleep(0.5)
    probes = [Load(site, c.port, c.requests, 4, seconds, 50, is_prompt=True) for c in contenders + idle]
    asked = ask_the_pool(site, contenders[0], seconds)
    probed = [p.result() for p in probes]
    busy = [l.result() for l in loads]
    beside = {c.web: p["max_us"] / 1000 for c, p in zip(idle, probed[len(contenders):])}
    return {"worst_ms": max(p["max_us"] for p in probed[:len(contenders)]) / 1000, "worst_beside_ms": max(beside.values()),
            "p50_ms": {c.web: p["p50_us"] / 1000 for c, p in zip(contenders, probed)},
            "p99_ms": {c.web: p["p99_us"] / 1000 for c, p in zip(contenders, probed)},
            "max_ms": {c.web: p["max_us"] / 1000 for c, p in zip(contenders, probed)}, "beside_ms": beside,
            "pool_ms": {"p50": figures.percentile(asked, 0.5), "p99": figures.percentile(asked, 0.99), "max": max(asked)},
            "per_second": {c.web: b["count"] / b["seconds"] for c, b in zip(contenders, busy)},
            "machine_late_ms": max(p["late_us"] for p in probed) / 1000,
            "errors": sum(r["errors"] for r in probed + busy)}


def ended(site, _options, count=200):
    """From the acknowledged end at one instance to the first refusal by another that had it in its cache."""
    contender = check(site)
    profile = contender.profile
    site.sessgate("second", profile)
    second = site.machine.path("second", "run", "pool.sock")
    login = site.machine.path(profile, "run", "login.sock")
    load = Load(site, contender.port, contender.requests, contender.connections, 60)
    delays = []

    def status(token):
        return harness.fastcgi(second, harness.web_params(HTTP_COOKIE="sid=" + token),
                               role=harness.AUTHORIZER).status
    try:
        for i in range(count):
            token = sessgate_token(contender.port, profile, f"ender-{i:010d}")
            for _ in range(20):
                if status(token) != 200:
                    raise Unavailable("the other instance refuses a live session")
            body = ('{"token":"%s"}' % token).encode()
            answer = harness.fastcgi(login, harness.web_params(
                "POST", f"/{profile}/v1/end", CONTENT_TYPE="application/json", CONTENT_LENGTH=str(len(body))), body)
            begin = time.monotonic()
            if answer.status != 200:
                raise Unavailable(f"an end answered {answer.status}")
            # An answer that was asked for before is no answer to this.
            while status(token) == 200:
                if time.monotonic() - begin > 5:
                    raise Unavailable("an ended session is accepted after 5 s")
            delays.append((time.monotonic() - begin) * 1000)
    finally:
        load.process.send_signal(signal.SIGKILL)
        load.process.communicate()
    return {"ends": count, "p50_ms": figures.percentile(delays, 0.5),
            "p99_ms": figures.percentile(delays, 0.99), "max_ms": max(delays)}


def workers_of(site, profile):
    status = harness.fastcgi(site.machine.path(profile, "run", "keeper.sock"),
                             harness.web_params("GET", f"/{profile}/v1/status")).json()
    return [w["pid"] for w in status["workers"] if w["pid"]]


def count_calls(site, contender, pids):
    """{system call: how many a request} of these processes under load, by strace."""
    counts = site.machine.path("strace")
    command = [program("strace"), "-c", "-f", "-o", counts]
    for pid in pids:
        command += ["-p", str(pid)]
    tracer = site.machine.spawn(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)
    wait_until(lambda: all(traced(pid) for pid in pids), "strace has attached itself (is ptrace allowed here?)")
    result = run(site, contender.port, contender.requests, contender.connections, 2)
    tracer.send_signal(signal.SIGINT)
    tracer.communicate(timeout=20)
    calls = {}
    with open(counts, encoding="ascii") as f:
        for line in f:
            words = line.split()
            if len(words) >= 5 and words[0].replace(".", "").isdigit() and words[-1] != "total":
                calls[words[-1]] = int(words[3]) / result["count"]
    if not calls:
        raise Unavailable("strace counted nothing")
    return dict(sorted(calls.items(), key=lambda c: -c[1]))


def system_calls(site, _options):
    """Of the do-nothing responder's processes, and of the workers of each profile."""
    found = {}
    floor = Floor("floor", None, web="lighttpd", backend="stock")
    floor.ready(site)
    found["do-nothing"] = count_calls(site, floor, pids_below(site.machine.pids(["stock"]))[1:])
    for profile in ("l1", "hitsqlite", "redis", "mysql", "sqlite"):
        contender = check(site, profile)
        contender.measure(1)  # each session is in the cache
        found[profile] = count_calls(site, contender, workers_of(site, profile))
    return {"per_request": sum(found["l1"].values()), "by": found}


def traced(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return "TracerPid:\t0\n" not in f.read()
