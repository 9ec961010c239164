"""What one figure each is measured for: see PARTS in bench.py."""

import os
import signal
import subprocess
import sys
import time

import figures
from contenders import Check, sessgate_token
from load import Load, run
from machine import Unavailable, program, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "it"))
import harness  # pylint: disable=wrong-import-position


def hit(site, web="lighttpd", kept=""):
    """A contender with the local cache, or with Redis where there is none yet."""
    for profile in ("l1", "redis"):
        contender = Check(f"hit {profile} {web}{kept}", None, web=web, profile=profile, path=f"/check/{profile}{kept}")
        try:
            contender.ready(site)
            return contender
        except Unavailable:
            if profile == "redis":
                raise
    raise AssertionError("not reached")


def starvation(site, options):
    """64 busy clients of three servers in front of one instance, and a probe through each."""
    contenders = [hit(site, "lighttpd"), hit(site, "nginx", "-ka"), hit(site, "apache", "-ka")]
    seconds = max(options.seconds, 3)
    for c in contenders:
        c.measure(1)
    loads = [Load(site, c.port, c.requests, n, seconds + 1) for c, n in zip(contenders, (22, 21, 21))]
    time.sleep(0.5)
    probes = [Load(site, c.port, c.requests, 4, seconds, 50) for c in contenders]
    probed = [p.result() for p in probes]
    busy = [l.result() for l in loads]
    return {"profile": contenders[0].profile, "worst_ms": max(p["max_us"] for p in probed) / 1000,
            "p50_ms": {c.web: p["p50_us"] / 1000 for c, p in zip(contenders, probed)},
            "max_ms": {c.web: p["max_us"] / 1000 for c, p in zip(contenders, probed)},
            "per_second": {c.web: b["count"] / b["seconds"] for c, b in zip(contenders, busy)},
            "machine_late_ms": max(p["late_us"] for p in probed) / 1000,
            "errors": sum(r["errors"] for r in probed + busy)}


def ended(site, _options, count=200):
    """From the acknowledged end at one instance to the first refusal by another that had it in its cache."""
    contender = hit(site)
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
    return {"profile": profile, "ends": count, "p50_ms": figures.percentile(delays, 0.5),
            "p99_ms": figures.percentile(delays, 0.99), "max_ms": max(delays)}


def workers_of(site, profile):
    status = harness.fastcgi(site.machine.path(profile, "run", "keeper.sock"),
                             harness.web_params("GET", f"/{profile}/v1/status")).json()
    return [w["pid"] for w in status["workers"] if w["pid"]]


def system_calls(site, _options):
    """What strace counts of the workers while they answer checks."""
    strace = program("strace")
    contender = hit(site)
    counts = site.machine.path("strace")
    pids = workers_of(site, contender.profile)
    command = [strace, "-c", "-f", "-o", counts]
    for pid in pids:
        command += ["-p", str(pid)]
    tracer = site.machine.spawn(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)
    wait_until(lambda: all(traced(pid) for pid in pids), "strace has attached itself")
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
        raise Unavailable("strace counted nothing (is ptrace allowed here?)")
    return {"profile": contender.profile, "per_request": sum(calls.values()),
            "calls": dict(sorted(calls.items(), key=lambda c: -c[1])), "requests": result["count"]}


def traced(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return "TracerPid:\t0\n" not in f.read()
