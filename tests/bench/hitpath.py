"""What a hit costs in instructions: callgrind counts those of a real worker.

The same instance is run twice, with few and with many requests; the difference
is what requests cost, without the start and what happens once. Nothing of it
depends on what else the machine does, so it is the figure for comparing
versions.
"""

import glob
import os
import re
import sys

from machine import Unavailable, program, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "it"))
import harness  # pylint: disable=wrong-import-position

FEW, MANY = 200, 1200
# Records and params of a plain request (gateway/plain.c), without what these call.
FCGI_WORK = {"plain_read", "plain_begin", "plain_end"}
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


def served(profile):
    return sum(n for (_, function), n in profile[1].items() if function == "check_serve")


def worker_profile(directory):
    """Of the process that answered: it alone decided checks."""
    found = []
    for path in glob.glob(os.path.join(directory, "out.*")):
        with open(path, encoding="utf-8", errors="replace") as f:
            found.append(parse(f))
    best = max(found, key=served, default=None)
    if best is None or served(best) == 0:
        raise Unavailable("callgrind wrote no profile of a worker")
    return best


def one_run(site, count):
    """An instance of one worker on SQLite, under callgrind, for that many requests."""
    name = f"callgrind-{count}"
    place = site.directory(name)
    os.chmod(place, 0o777)
    conf = site.machine.write(f"{name}/sessgate.conf", f'''
gateway: {{ runtime_dir = "{place}/run"; workers = 1; request_terminate_timeout = "1 min"; read_timeout = "30 s";
  request_timeout = "30 s"; {site.user()} }};
cookie: {{ name = "sid"; secure = false; }};
keys: {{ file = "{place}/keys/keys"; }};
sqlite: {{ file = "{place}/db/sessions.db"; }};
''')
    pool, control = place + "/run/pool.sock", place + "/run/control.sock"
    process = site.machine.start(name, [
        program("valgrind"), "--tool=callgrind", "--quiet", f"--callgrind-out-file={place}/out.%p",
        site.binary("gateway/.libs/sessgated", "gateway/sessgated"), "-c", conf],
        lambda: os.path.exists(pool), env=dict(os.environ, LD_LIBRARY_PATH=os.path.join(site.build, "lib/.libs")))

    def created():
        body = b'{"user_id":"user-00000000001"}'
        try:
            answer = harness.fastcgi(control, harness.web_params(
                "POST", "/.sessgate/v1/sessions", CONTENT_TYPE="application/json", CONTENT_LENGTH=str(len(body))), body, timeout=60)
            return answer.json()["token"] if answer.status == 201 else None
        except OSError:
            return None
    token = wait_until(created, "an instance under callgrind takes logins", 60)
    params = harness.web_params(HTTP_COOKIE="theme=dark; sid=" + token, SESSGATE_CHECK="1")
    for _ in range(count):
        answer = harness.fastcgi(pool, params, timeout=60)
        if answer.status != 200 or answer.header("Variable-REMOTE_USER") != "user-00000000001":
            raise Unavailable(f"under callgrind a check answered {answer.status}")
    process.terminate()
    process.wait(60)
    return worker_profile(place)


def largest(costs, least):
    """[(name, instructions)] of those that use so many, the largest first."""
    return sorted(((f"{name} ({place})", n) for (place, name), n in costs.items() if n >= least), key=lambda c: -c[1])


def difference(many, few):
    return {key: (cost - few.get(key, 0)) / (MANY - FEW) for key, cost in many.items()}


def measure(site, _options):
    few, few_inclusive, few_libfcgi = one_run(site, FEW)
    many, many_inclusive, many_libfcgi = one_run(site, MANY)
    each = difference(many, few)
    libfcgi = (many_libfcgi - few_libfcgi) / (MANY - FEW)
    ours = {key: n for key, n in difference(many_inclusive, few_inclusive).items() if "sessgate" in key[0]}
    # Without the C library and libsodium; and of it what libfcgi would do else.
    written = sum(n for (place, _), n in each.items() if "sessgate" in place)
    reads = sum(n for (place, function), n in each.items() if "sessgate" in place and function in FCGI_WORK)
    asked = sum(n for (place, _), n in each.items() if "sqlite" in place)
    return {"own": sum(each.values()) - libfcgi, "libfcgi": libfcgi, "written": written, "fcgi_work": reads, "is_hit": asked < 50,
            "functions": largest(each, 8)[:90], "inclusive": largest(ours, 20)[:60]}
