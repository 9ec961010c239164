"""Redis killed, and stopped, under a fixed load: what do clients get?"""

import time

import figures
import peers
from contenders import Check, PeerCheck
from load import Load, read_trace
from machine import Unavailable, wait_until

RATE = 100
CONNECTIONS = 256  # enough for all that a stopped Redis keeps waiting
HEALTHY_S, FAULT_S, AFTER_S = 3, 6, 8


def contenders():
    return [Check("sessgate local cache", None, web="lighttpd", profile="l1", path="/check/l1"),
            Check("sessgate Redis", None, web="lighttpd", profile="redis", path="/check/redis"),
            PeerCheck("php-fpm + phpredis", None, make=peers.Php),
            PeerCheck("express-session", None, make=lambda s: peers.Express(s, 1)),
            PeerCheck("Flask-Session", None, make=peers.Flask)]


def one(contender, fault):
    """The outage of one contender; what was in Redis before is there again after."""
    site = contender.site
    name = next(n for n in contender.processes["store"] if n.endswith("redis"))
    redis = site.redis(name)
    dump = redis.save()
    trace_file = site.machine.path("trace")
    begin = time.monotonic()
    load = Load(site, contender.port, contender.requests, CONNECTIONS, HEALTHY_S + FAULT_S + AFTER_S, RATE,
                trace=trace_file)
    time.sleep(HEALTHY_S)
    began_s = time.monotonic() - begin
    if fault == "killed":
        redis.kill()
    else:
        redis.stop()
    time.sleep(FAULT_S)
    if fault == "killed":
        redis.restart_from(dump)
        site.machine.processes[name] = redis.process
    else:
        redis.go_on()
    ended_s = time.monotonic() - begin
    result = load.result()
    trace = read_trace(trace_file)
    outage = figures.outage(trace, began_s, ended_s)
    outage.update(trace=trace, count=result["count"], began_s=began_s, ended_s=ended_s)
    return outage


def measure(site, _options):
    found = {}
    for contender in contenders():
        try:
            contender.ready(site)
        except (Unavailable, OSError, AssertionError) as e:
            found[contender.name] = {"missing": str(e)}
            continue
        found[contender.name] = {}
        for fault in ("killed", "stopped"):
            # What the fault before has left behind is over.
            wait_until(lambda: contender.measure(1)["errors"] == 0, contender.name + " is well again", 30)
            found[contender.name][fault] = one(contender, fault)
    return found
