"""Under load: reloads, rolling replacements, kills, memory; nothing is lost."""

import json
import os
import random
import signal
import subprocess
import tempfile
import threading
import time

from harness import (BUILD, case, children, connect, is_alive, main, request_bytes, spawn, stood_still_s, wait_until,
                     web_params)

FCGILOAD = os.path.join(BUILD, "tests", "it", "fcgiload")
SHORT = bool(os.environ.get("SESSGATE_SHORT"))
MANY = 10 if SHORT else 100
COOKIE = {"cookie": {"name": "sid", "secure": False}}


class Load:
    """fcgiload in the background; result() waits, stop() ends it first."""

    def __init__(self, address, tokens, threads, count):
        self.file = tempfile.TemporaryFile("w+")
        self.file.write("".join(t + "\n" for t in tokens))
        self.file.seek(0)
        self.process = spawn([FCGILOAD, address, str(threads), str(count)], stdin=self.file,
                             stdout=subprocess.PIPE, text=True)

    def result(self, timeout=300):
        out, _ = self.process.communicate(timeout=timeout)
        self.file.close()
        return json.loads(out)

    def stop(self):
        self.process.terminate()
        return self.result()


def tokens_of(gw, count):
    return [gw.create("user%d" % i)[0] for i in range(count)]


def workers(gw):
    """The workers' pids: the keeper says who they are."""
    status = gw.api("GET", "v1/status", address=gw.keeper_socket).json()
    return [w["pid"] for w in status["workers"] if w["pid"]]


def keeper(gw):
    return gw.api("GET", "v1/status", address=gw.keeper_socket).json()["keeper"]["pid"]


def rss_anon_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    raise AssertionError("no RssAnon")


def only_200(t, result, at_least=1):
    print("# %s" % json.dumps(result))
    t.equal(set(result["answers"]), {"200"}, "answers")
    t.true(result["count"] >= at_least, "%d requests at least" % at_least)


@case
def a_hundred_reloads_under_load_drop_no_request(t):
    gw = t.gateway(COOKIE)
    gw.start()
    load = Load(gw.pool, tokens_of(gw, 50), 8, 50000000)
    seen = set()
    for i in range(MANY):
        before = set(workers(gw))
        seen |= before
        gw.configure({"session": {"warn_before": "%d s" % (60 + i)}})
        gw.signal(signal.SIGHUP)
        wait_until(lambda: len(workers(gw)) >= 2 and not before & set(workers(gw)) and
                   not any(is_alive(p) for p in before), "reload %d has new workers only" % i)
    only_200(t, load.stop(), MANY)
    t.true(len(seen) >= 2 * MANY, "each reload made new workers")


@case
def a_hundred_rolling_replacements_under_load_drop_no_request(t):
    gw = t.gateway(COOKIE)
    gw.start()
    load = Load(gw.pool, tokens_of(gw, 50), 8, 50000000)
    for i in range(MANY):
        for pid in workers(gw):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue  # Gone since we asked.
            wait_until(lambda: not is_alive(pid), "worker %d has ended" % pid)
            wait_until(lambda: len(workers(gw)) >= 2, "a new worker is there")
    only_200(t, load.stop(), MANY)


@case
def a_worker_that_is_never_idle_still_ends_when_told(t):
    gw = t.gateway(COOKIE)
    gw.configure({"gateway": {"workers": 1}})
    gw.start()
    load = Load(gw.pool, tokens_of(gw, 20), 32, 50000000)
    pid = None
    for _ in range(3 if SHORT else 10):
        # The row of the one that has ended stays until the master has seen it.
        pid = wait_until(lambda: [p for p in workers(gw) if p != pid], "another worker")[0]
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not is_alive(pid), "worker %d has ended" % pid, 5)
    only_200(t, load.stop())


@case
def workers_that_reach_max_requests_are_replaced_and_drop_nothing(t):
    gw = t.gateway(COOKIE)
    gw.configure({"gateway": {"max_requests": 200, "workers": 4}})
    gw.start()
    first = set(workers(gw))
    only_200(t, Load(gw.pool, tokens_of(gw, 20), 8, 5000 if SHORT else 20000).result())
    t.true(not first & set(workers(gw)), "all were replaced")


@case
def a_stop_under_load_answers_what_it_has_taken(t):
    gw = t.gateway(COOKIE)
    tokens = None
    for _ in range(5):
        gw.start()
        tokens = tokens or tokens_of(gw, 20)
        load = Load(gw.pool, tokens, 8, 50000000)
        time.sleep(0.5)
        t.equal(gw.stop(), 0)
        result = load.stop()
        # -1: refused at connect, after the sockets had gone; 0 would be a
        # request that was taken and not answered.
        t.true(set(result["answers"]) <= {"200", "-1"}, result)
        t.true(result["answers"].get("200", 0) > 0, result)


@case
def a_killed_worker_takes_only_its_own_request_with_it(t):
    gw = t.gateway(COOKIE)
    gw.configure({"gateway": {"workers": 4}})
    gw.expect_log(r"worker.*(killed|signal 9|died)")
    gw.start()
    load = Load(gw.pool, tokens_of(gw, 50), 8, 50000000)
    before = stood_still_s()
    rng = random.Random(1)
    kills = 5 if SHORT else 30
    for _ in range(kills):
        pid = rng.choice(wait_until(lambda: workers(gw), "workers"))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        time.sleep(0.2)
    wait_until(lambda: len(workers(gw)) == 4, "4 workers again", 30)
    time.sleep(0.5)
    result = load.stop()
    print("# %d kills: %s" % (kills, json.dumps(result)))
    t.true(set(result["answers"]) <= {"200", "0"}, result)
    # Its own request, and now and then one whose bytes were still on their way.
    t.true(result["answers"].get("0", 0) <= 2 * kills, "two requests a kill at most")
    t.true(result["max_us"] < 5e6 + (stood_still_s() - before) * 1e6, "nothing was stuck")


@case
def a_killed_keeper_is_replaced_and_no_request_fails(t):
    gw = t.gateway(COOKIE)
    gw.expect_log(r"keeper.*(killed|signal 9|died)")
    gw.start()
    load = Load(gw.pool, tokens_of(gw, 50), 4, 50000000)
    for _ in range(3 if SHORT else 10):
        old = keeper(gw)
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: _new_keeper(gw, old), "a new keeper", 30)
    only_200(t, load.stop())


def _new_keeper(gw, old):
    try:
        return keeper(gw) not in (None, old)
    except (OSError, ValueError, KeyError):
        return False


@case
def kill_9_of_everything_loses_nothing_that_was_acknowledged(t):
    gw = t.gateway(COOKIE)
    gw.expect_log("database is locked")  # four writers, and a disk that may be slow
    made, ended = {}, set()
    for turn in range(2 if SHORT else 5):
        gw.start()
        stop = threading.Event()

        def make(number):
            i = 0
            while not stop.is_set():
                user = "user-%d-%d-%d" % (turn, number, i)
                i += 1
                try:
                    token, session = gw.create(user)
                    made[session["ref"]] = (user, token)
                    if i % 3 == 0:
                        if gw.api("POST", "v1/end", {"token": token}, address=gw.control).status == 200:
                            ended.add(session["ref"])
                except (OSError, AssertionError, ValueError):
                    if not stop.is_set():
                        time.sleep(0.01)

        threads = [threading.Thread(target=make, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        victims = [gw.pid] + children(gw.pid)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        stop.set()
        for thread in threads:
            thread.join()
        gw.process.wait()
        wait_until(lambda: not any(is_alive(p) for p in victims), "all are dead")
    gw.start()
    print("# %d sessions, %d of them ended" % (len(made), len(ended)))
    t.true(len(made) > 20 and len(ended) > 5, "there was something to lose")
    for ref, (user, token) in made.items():
        answer = gw.check("sid=" + token)
        if ref in ended:
            t.equal(answer.status, 401, "ended stays ended: " + ref)
        elif answer.status != 200:
            # An end may have been done without its acknowledgement.
            rows = gw.api("GET", "v1/audit?ref=" + ref, address=gw.control).json()["events"]
            t.equal(sorted(r["kind"] for r in rows), ["create", "end"], "acknowledged session lost: " + ref)
        else:
            t.equal(answer.header("Variable-REMOTE_USER"), user)
        rows = gw.api("GET", "v1/audit?ref=" + ref, address=gw.control).json()["events"]
        kinds = [r["kind"] for r in rows]
        t.equal(kinds.count("create"), 1, "one audit row for the creation")
        t.equal(kinds.count("end"), 1 if answer.status == 401 else 0, "and for the end")


@case
def one_worker_serves_others_beside_silent_and_dribbling_peers(t):
    gw = t.gateway(COOKIE)
    gw.configure({"gateway": {"workers": 1}})
    gw.start()
    tokens = tokens_of(gw, 5)
    usual = Load(gw.pool, tokens, 1, 500).result()
    request = request_bytes(web_params(HTTP_COOKIE="sid=" + tokens[0]), keep=True)
    post = request_bytes(web_params("POST", "/.sessgate/logout", CONTENT_LENGTH="2000",
                                    CONTENT_TYPE="application/x-www-form-urlencoded"), b"x" * 2000)

    def silent():
        return [connect(gw.pool) for _ in range(20)]

    def half():
        socks = [connect(gw.pool) for _ in range(20)]
        for sock in socks:
            sock.sendall(request[:len(request) // 2])
        return socks

    def half_body():
        socks = [connect(gw.pool) for _ in range(10)]
        for sock in socks:
            sock.sendall(post[:-1000])
        return socks

    def kept():
        socks = [connect(gw.pool) for _ in range(64)]
        for sock in socks:
            sock.sendall(request)
        return socks

    def dribble():
        sock = connect(gw.pool)
        stop = threading.Event()

        def drop():
            try:
                for i in range(len(request)):
                    if stop.is_set():
                        return
                    sock.sendall(request[i:i + 1])
                    time.sleep(0.02)
            except OSError:
                return  # Cut off at its deadline, as it should be.

        thread = threading.Thread(target=drop)
        thread.start()
        t.at_end(lambda: (stop.set(), thread.join()))
        return [sock]

    for peers in (silent, half, half_body, kept, dribble):
        socks = peers()
        result = Load(gw.pool, tokens, 1, 300).result()
        print("# %s: usual p50 %d us, p99 %d us; beside them p50 %d us, p99 %d us" % (
            peers.__name__, usual["p50_us"], usual["p99_us"], result["p50_us"], result["p99_us"]))
        t.equal(set(result["answers"]), {"200"})
        # A held worker would cost each of them hundreds of ms: the median tells,
        # whatever else the machine does.
        t.true(result["p50_us"] < usual["p50_us"] + 50000, "within 50 ms of the usual time")
        for sock in socks:
            sock.close()


@case
def memory_and_descriptors_do_not_grow(t):
    gw = t.gateway(COOKIE)
    gw.configure({"gateway": {"workers": 1, "max_requests": 0}})
    gw.start()
    tokens = tokens_of(gw, 100) + ["x", "A" * 50]
    step = 10000 if SHORT else 100000

    def measure():
        pid = workers(gw)[0]
        return pid, rss_anon_kib(pid), len(os.listdir("/proc/%d/fd" % pid))

    Load(gw.pool, tokens, 4, 1000).result()
    start = measure()
    Load(gw.pool, tokens, 4, step).result()
    middle = measure()
    Load(gw.pool, tokens, 4, step).result()
    end = measure()
    print("# pid, RssAnon KiB, descriptors: %s, after %d: %s, after %d: %s" % (start, step, middle, 2 * step, end))
    t.equal(middle[0], end[0], "the same worker")
    if os.environ.get("SESSGATE_SANITIZED"):
        print("# the sanitizer keeps freed memory back: its size says nothing")
    else:
        t.true(middle[1] <= 3072, "RssAnon <= 3 MiB")
        t.true(end[1] <= middle[1] + 64, "no growth")
    t.equal((start[2], middle[2]), (middle[2], end[2]), "descriptors")


if __name__ == "__main__":
    main()
