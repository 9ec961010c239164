"""What a hit costs in instructions: callgrind counts those of a real worker.

Each time that a check has been decided callgrind writes down what was used
since the time before. That is one request, from there to there: the end of one,
the wait, and the beginning of the next. Nearly all of them are alike to the
instruction, and that is the figure: nothing of it depends on what else the
machine does. A few have something besides that goes by time.
"""

import glob
import os
import re
import sys

from machine import Unavailable, program, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "it"))
import harness  # pylint: disable=wrong-import-position

REQUESTS = 60
# The first ones fill caches.
FIRST = 10
# Records and params of a plain request (gateway/plain.c), without what these
# call: what libfcgi does for a program that is written with it.
FCGI_WORK = ("plain_read", "plain_begin", "plain_end")
NAME = re.compile(r"\((\d+)\)(?: (.*))?$")


def parse(lines):
    """(of each (object, function) what it used itself; and with what it called;
    what the calls from elsewhere into libfcgi used, with all that libfcgi called)."""
    names = {"ob": {}, "fn": {}}
    own, inclusive, libfcgi = {}, {}, 0
    state = {"ob": "", "fn": "", "cob": None, "cfn": ""}
    called = False

    def name_of(kind, text):
        number, name = NAME.match(text).groups()
        if name is not None:
            names[kind][number] = name
        return names[kind][number]
    for line in lines:
        line = line.rstrip("\n")
        key, is_pair, text = line.partition("=")
        if is_pair and key in ("ob", "cob"):
            state[key] = name_of("ob", text)
        elif is_pair and key in ("fn", "cfn"):
            state[key] = name_of("fn", text)
        elif is_pair and key == "calls":
            called = True
        elif line[:1].isdigit() or line[:1] in "+-*":
            words = line.split()
            if len(words) < 2:
                continue
            cost = int(words[1])
            caller = (os.path.basename(state["ob"]), state["fn"])
            inclusive[caller] = inclusive.get(caller, 0) + cost
            if called:
                # A call within the same object has no cob line.
                target = state["cob"] if state["cob"] is not None else state["ob"]
                if "libfcgi" in target and "libfcgi" not in state["ob"]:
                    libfcgi += cost
                called, state["cob"] = False, None
            else:
                own[caller] = own.get(caller, 0) + cost
    return own, inclusive, libfcgi


def profile_of(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return parse(f)


def requests_of(directory):
    """The profiles of single requests, in their order, of the process that answered."""
    by_process = {}
    for path in glob.glob(os.path.join(directory, "out.*.*")):
        pid, number = (int(n) for n in path.rsplit(".", 2)[1:])
        by_process.setdefault(pid, []).append((number, path))
    dumps = max(by_process.values(), key=len, default=[])
    if len(dumps) < REQUESTS:
        raise Unavailable("callgrind wrote no profile of a worker")
    return [profile_of(path) for _, path in sorted(dumps)[FIRST:REQUESTS]]


def usual(profiles):
    """One of those that are most, and how many they are."""
    sums = [sum(own.values()) for own, _, _ in profiles]
    most = max(sorted(set(sums)), key=sums.count)
    return profiles[sums.index(most)], sums.count(most)


def stop(process):
    process.terminate()
    process.wait(60)


def run(site):
    """An instance of one worker on SQLite, under callgrind.

    The session is there before. A worker that has written into SQLite (or the
    spool) has a second thread, and the C library's system calls then cost 31
    instructions more each; one on MySQL and Redis has none.
    """
    place = site.directory("callgrind")
    os.chmod(place, 0o777)
    conf = site.machine.write("callgrind/sessgate.conf", f'''
gateway: {{ runtime_dir = "{place}/run"; workers = 1; request_terminate_timeout = "1 min"; read_timeout = "30 s";
  request_timeout = "30 s"; {site.user()} }};
cookie: {{ name = "sid"; secure = false; }};
keys: {{ file = "{place}/keys/keys"; }};
sqlite: {{ file = "{place}/db/sessions.db"; }};
''')
    pool, control = place + "/run/pool.sock", place + "/run/control.sock"
    gateway = [site.binary("gateway/.libs/sessgated", "gateway/sessgated"), "-c", conf]
    process = site.machine.start("before callgrind", gateway, lambda: os.path.exists(pool))

    def created():
        body = b'{"user_id":"user-00000000001"}'
        try:
            answer = harness.fastcgi(control, harness.web_params(
                "POST", "/.sessgate/v1/sessions", CONTENT_TYPE="application/json", CONTENT_LENGTH=str(len(body))), body, timeout=60)
            return answer.json()["token"] if answer.status == 201 else None
        except OSError:
            return None
    token = wait_until(created, "the instance takes logins", 60)
    stop(process)
    process = site.machine.start("callgrind", [
        program("valgrind"), "--tool=callgrind", "--quiet", "--vgdb=no", "--dump-after=check_serve",
        f"--callgrind-out-file={place}/out.%p"] + gateway,
        lambda: os.path.exists(pool), env=dict(os.environ, LD_LIBRARY_PATH=os.path.join(site.build, "lib/.libs")))
    params = harness.web_params(HTTP_COOKIE="theme=dark; sid=" + token, SESSGATE_CHECK="1")
    for _ in range(REQUESTS):
        answer = harness.fastcgi(pool, params, timeout=60)
        if answer.status != 200 or answer.header("Variable-REMOTE_USER") != "user-00000000001":
            raise Unavailable(f"under callgrind a check answered {answer.status}")
    stop(process)
    return requests_of(place)


def largest(costs, least):
    """[(name, instructions)] of those that use so many, the largest first."""
    return sorted(((f"{name} ({place})", n) for (place, name), n in costs.items() if n >= least), key=lambda c: -c[1])


def measure(site, _options):
    profiles = run(site)
    (each, inclusive, libfcgi), alike = usual(profiles)
    ours = {key: n for key, n in inclusive.items() if "sessgate" in key[0]}
    user_space = sum(each.values())
    fcgi_work = libfcgi + sum(n for (_, function), n in each.items() if function in FCGI_WORK)
    written = sum(n for (place, _), n in each.items() if "sessgate" in place)
    asked = sum(n for (place, _), n in each.items() if "sqlite" in place)
    return {"user_space": user_space, "fcgi_work": fcgi_work, "own": user_space - fcgi_work, "written": written, "is_hit": asked < 50,
            "alike": alike, "of": len(profiles), "functions": largest(each, 8)[:90], "inclusive": largest(ours, 20)[:60]}
