"""Raw FastCGI peers that do not behave as a web server does."""

import os
import random
import socket
import struct
import time

from harness import (ABORT, AUTHORIZER, BEGIN, PARAMS, RESPONDER, STDIN, case, connect, fastcgi, main, pair, read_answer,
                     record, request_bytes, stream, wait_until, web_params)

SHORT = bool(os.environ.get("SESSGATE_SHORT"))
COOKIE = {"cookie": {"name": "sid", "secure": False}, "gateway": {"workers": 2, "read_timeout": "1 s"}}
GET_VALUES, FILTER = 9, 3
AUTHORIZER_BEGIN = record(BEGIN, struct.pack(">HB5x", AUTHORIZER, 0))


def ready(t, **gateway):
    gw = t.gateway(COOKIE)
    gw.configure({"gateway": gateway})
    gw.start()
    return gw, gw.create("alice")[0]


def send(gw, data, close_after=False, timeout=5):
    """All bytes in; what came back, as far as it came."""
    sock = connect(gw.pool, timeout)
    try:
        try:
            sock.sendall(data)
            if close_after:
                sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # Closed on us: that is an answer too.
        return read_answer(sock)
    except socket.timeout:
        return None
    finally:
        sock.close()


def still_serves(t, gw, token):
    answer = gw.check("sid=" + token)
    t.equal((answer.status, answer.header("Variable-REMOTE_USER")), (200, "alice"))


def worker_pids(gw):
    return sorted(w["pid"] for w in gw.api("GET", "v1/status", address=gw.keeper_socket).json()["workers"] if w["pid"])


@case
def a_request_cut_at_any_byte_is_never_allowed(t):
    gw, token = ready(t, workers=8)
    whole = request_bytes(web_params(HTTP_COOKIE="sid=" + token), role=AUTHORIZER)
    t.equal(send(gw, whole).status, 200)
    for cut in range(0, len(whole), 7 if SHORT else 1):
        answer = send(gw, whole[:cut], close_after=True)
        t.true(answer is None or answer.stdout == b"", "cut at %d of %d: %r" % (cut, len(whole), answer))
    still_serves(t, gw, token)


@case
def params_cut_between_two_pairs_are_not_taken_for_whole(t):
    gw, token = ready(t)
    params = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/app/"), ("HTTP_COOKIE", "sid=" + token)]
    content = b"".join(pair(k, v) for k, v in params)
    for end in (b"", record(ABORT), record(STDIN), record(PARAMS, b"", 2)):
        answer = send(gw, AUTHORIZER_BEGIN + record(PARAMS, content) + end, close_after=True)
        t.equal((answer.status, answer.stdout), (0, b""), "ended by %r" % end)
    still_serves(t, gw, token)


@case
def records_that_libfcgi_breaks_on_do_not_reach_it(t):
    gw, token = ready(t)
    before = worker_pids(gw)
    names = [b"FCGI_MAX_CONNS", b"FCGI_MAX_REQS", b"FCGI_MPXS_CONNS"] * 2
    get_values = record(GET_VALUES, b"".join(pair(n, b"") for n in names), 0)
    huge = [struct.pack(">II", 0x80000000 | n, 0x80000000 | v) for n, v in
            ((0x7fffffff, 0x7fffffff), (0x7ffffffe, 0x7ffffffe), (0x7ffffffe, 1), (1, 0x7fffffff))]
    tries = [get_values, AUTHORIZER_BEGIN + get_values, get_values * 50, record(77, b"x", 0)]
    tries += [AUTHORIZER_BEGIN + record(PARAMS, h + b"x" * 100) + record(PARAMS) for h in huge]
    for data in tries:
        answer = send(gw, data)
        t.true(answer is None or answer.stdout == b"", "%r: %r" % (data[:40], answer))
    t.equal(worker_pids(gw), before, "no worker died")
    still_serves(t, gw, token)


@case
def what_stands_behind_a_body_that_is_too_long_reaches_nobody(t):
    gw, token = ready(t)
    before = worker_pids(gw)
    names = [b"FCGI_MAX_CONNS", b"FCGI_MAX_REQS", b"FCGI_MPXS_CONNS"] * 2
    get_values = record(GET_VALUES, b"".join(pair(n, b"") for n in names), 0)
    params = web_params("POST", "/.sessgate/session/extend", CONTENT_LENGTH="100000", HTTP_COOKIE="sid=" + token,
                        HTTP_SEC_FETCH_SITE="same-origin", CONTENT_TYPE="application/json")
    head = record(BEGIN, struct.pack(">HB5x", RESPONDER, 0)) + stream(PARAMS, b"".join(
        pair(k, v) for k, v in params.items()))
    for _ in range(3):
        answer = send(gw, head + record(STDIN, b" " * 65535) + record(STDIN, b" " * 30000) + get_values)
        t.true(answer is None or answer.status != 200, answer)
    t.equal(worker_pids(gw), before, "no worker died")
    still_serves(t, gw, token)


@case
def wrong_records_get_no_answer(t):
    gw, token = ready(t)
    content = b"".join(pair(k, v) for k, v in web_params(HTTP_COOKIE="sid=" + token).items())
    whole = AUTHORIZER_BEGIN + record(PARAMS, content) + record(PARAMS)
    tries = {
        "version 0": b"\0" + whole[1:], "version 2": b"\2" + whole[1:],
        "role 0": record(BEGIN, struct.pack(">HB5x", 0, 0)) + whole[16:],
        "filter": record(BEGIN, struct.pack(">HB5x", FILTER, 0)) + whole[16:],
        "request id 0": record(BEGIN, struct.pack(">HB5x", AUTHORIZER, 0), 0) + record(PARAMS, content, 0) +
        record(PARAMS, b"", 0),
        "no begin": whole[16:], "begin twice": AUTHORIZER_BEGIN + whole,
        "other request's params": AUTHORIZER_BEGIN + record(PARAMS, content, 7) + record(PARAMS, b"", 7),
        "short begin": record(BEGIN, b"\0\2") + whole[16:],
        "params in the middle of a pair": AUTHORIZER_BEGIN + record(PARAMS, content[:-3]) + record(PARAMS),
        "noise": b"GET / HTTP/1.0\r\n\r\n", "nothing but zeros": b"\0" * 4096,
    }
    for name, data in tries.items():
        answer = send(gw, data, close_after=True)
        t.true(answer is None or answer.stdout == b"", "%s: %r" % (name, answer))
    still_serves(t, gw, token)


@case
def malformed_params_are_refused(t):
    gw, token = ready(t)
    good = list(web_params(HTTP_COOKIE="sid=" + token).items())
    bad = {
        "the cookie twice": good + [("HTTP_COOKIE", "sid=" + token)],
        "the method twice": good + [("REQUEST_METHOD", "GET")],
        "NUL in a value": good + [("HTTP_X", b"a\0b")], "NUL in a name": good + [(b"HTTP\0X", "a")],
        "= in a name": good[:-1] + [("HTTP_COOKIE=sid", token)], "an empty name": good + [("", "a")],
        "policy twice": good + [("SESSGATE_POLICY", ""), ("SESSGATE_POLICY", "")],
        "no method": [p for p in good if p[0] != "REQUEST_METHOD"],
        "no uri": [p for p in good if p[0] != "REQUEST_URI"],
        "empty method": [(k, "" if k == "REQUEST_METHOD" else v) for k, v in good],
    }
    for name, params in bad.items():
        for role in (AUTHORIZER, RESPONDER):
            more = [] if role == AUTHORIZER else [("SESSGATE_CHECK", "1")]
            answer = send(gw, request_bytes(params + more, role=role))
            t.true(answer is None or answer.status in (0, 400, 401, 403), "%s: %r" % (name, answer))
    still_serves(t, gw, token)


@case
def oversized_params_are_refused_without_memory(t):
    gw, token = ready(t)
    base = list(web_params(HTTP_COOKIE="sid=" + token).items())
    for extra in ([("HTTP_A", "x" * 70000)], [("HTTP_A", "x" * 1000000)],
                  [("HTTP_%d" % i, "x") for i in range(60000)], [("HTTP_%d" % i, "") for i in range(300)]):
        answer = send(gw, request_bytes(base + extra, role=AUTHORIZER))
        t.true(answer is None or answer.status in (0, 400, 401, 403), answer)
    pid = worker_pids(gw)[0]
    with open("/proc/%d/status" % pid) as f:
        peak = int(next(line for line in f if line.startswith("VmHWM")).split()[1])
    if not os.environ.get("SESSGATE_SANITIZED"):
        t.true(peak < 40000, "peak memory %d KiB" % peak)
    still_serves(t, gw, token)


@case
def a_body_that_breaks_off_changes_nothing(t):
    gw, token = ready(t)
    gw.configure({"session": {"browser_readable": ["a"], "browser_writable": ["a"]}})
    gw.stop()
    gw.start()
    body = b'{"data":{"a":"changed"}}'
    params = web_params("PATCH", "/.sessgate/session", HTTP_COOKIE="sid=" + token, CONTENT_TYPE="application/json",
                        CONTENT_LENGTH=str(len(body)), HTTP_SEC_FETCH_SITE="same-origin")
    head = record(BEGIN, struct.pack(">HB5x", RESPONDER, 0)) + stream(PARAMS, b"".join(
        pair(k, v) for k, v in params.items()))
    for tail in (record(STDIN, body[:-1]) + record(STDIN), record(STDIN, body[:5]) + record(ABORT), record(STDIN, body),
                 record(STDIN), record(STDIN, body + b" ") + record(STDIN)):
        answer = send(gw, head + tail, close_after=True)
        t.true(answer is None or answer.status in (0, 400), "%r: %r" % (tail, answer))
        got = gw.api("GET", "session", HTTP_COOKIE="sid=" + token).json()
        t.equal((got["version"], got["data"]), (1, {}))
    t.equal(send(gw, head + stream(STDIN, body)).status, 200)


@case
def of_many_mutated_records_none_is_allowed_without_a_session(t):
    seed, count = int(os.environ.get("SESSGATE_SEED", "20261123")), 500 if SHORT else 5000
    print("# seed %d, %d requests" % (seed, count))
    rng = random.Random(seed)
    gw, token = ready(t, workers=8, read_timeout="200 ms")
    gw.expect_log(".*")
    ended, session = gw.create("bob")
    t.equal(gw.api("DELETE", "v1/sessions/" + session["ref"], address=gw.control).status, 200)
    answered = 0
    for i in range(count):
        dead = rng.choice([ended, "x", "A" * 50, token[:20] + "AAAA" + token[24:], ""])
        role = rng.choice([AUTHORIZER, RESPONDER])
        data = bytearray(request_bytes(web_params(HTTP_COOKIE="sid=" + dead, SESSGATE_CHECK="1"), role=role))
        for _ in range(rng.randrange(1, 6)):
            where = rng.randrange(len(data))
            if rng.random() < 0.6:
                data[where] = rng.randrange(256)
            elif rng.random() < 0.5:
                del data[where:where + rng.randrange(1, 9)]
            else:
                data[where:where] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
        answer = send(gw, bytes(data), close_after=True)
        if answer is not None and answer.stdout:
            answered += 1
            # A mutation may turn the check into an API request: what is then
            # served without a session is an error, never an identity.
            t.true(b"Variable-REMOTE_USER" not in answer.stdout and b"Status: 200" not in answer.stdout,
                   "request %d: %r -> %r" % (i, bytes(data), answer.stdout))
    print("# %d were answered" % answered)
    t.true(answered > count // 20, "some were whole enough for an answer")
    still_serves(t, gw, token)


def odd_pairs(rng, token):
    """Most of what a check has, and something that does not belong there."""
    names = ["REQUEST_URI", "HTTP_COOKIE", "REQUEST_METHOD", "SESSGATE_CHECK", "SESSGATE_REALM", "SESSGATE_POLICY",
             "REMOTE_ADDR", "REMOTE_USER", "CONTENT_LENGTH", "FCGI_ROLE", "FCGI_APACHE_ROLE", "HTTP_X_FORWARDED_FOR", "A"]
    pairs = [(b"REQUEST_METHOD", rng.choice([b"GET", b"GET", b"GET", b"POST", b"X Y"])),
             (b"REQUEST_URI", rng.choice([b"/a", b"/a", b"/a?b", b""])),
             (b"HTTP_COOKIE", b"sid=" + rng.choice([token, token, b"x"])),
             (b"REMOTE_ADDR", b"192.0.2.1"), (b"SESSGATE_CHECK", rng.choice([b"1", b"1", b"page", b""]))]
    pairs = [one for one in pairs if rng.random() > 0.05]
    for _ in range(rng.randrange(3)):
        name = rng.choice(names).encode()
        value = rng.choice([b"", b"1", b"x" * rng.randrange(300), token, b"ACCESS_CHECKER", b"a\0b"])
        name = rng.choice([name, name, name.lower(), name[:-1], name + b"=", name + bytes([rng.randrange(256)])])
        for _ in range(rng.choice([1, 1, 1, 2])):
            pairs.insert(rng.randrange(len(pairs) + 1), (name, value))
    return pairs


@case
def params_in_one_record_are_judged_as_in_two(t):
    seed, count = int(os.environ.get("SESSGATE_SEED", "20261124")), 500 if SHORT else 3000
    print("# seed %d, %d requests" % (seed, count))
    rng = random.Random(seed)
    gw, token = ready(t)
    told = {}
    for i in range(count):
        # Those in one record are read where they lie, others by libfcgi.
        content = b"".join(pair(*one) for one in odd_pairs(rng, token.encode()))
        if rng.random() < 0.1:
            where = rng.randrange(len(content))
            content = content[:where] + bytes([rng.randrange(256)]) + content[where + 1:]
        begin = record(BEGIN, struct.pack(">HB5x", rng.choice([AUTHORIZER, RESPONDER]), rng.randrange(2)))
        cut, end = rng.randrange(1, len(content)), record(PARAMS) + record(STDIN)
        one = send(gw, begin + record(PARAMS, content) + end)
        two = send(gw, begin + record(PARAMS, content[:cut]) + record(PARAMS, content[cut:]) + end)
        t.equal(one.stdout, two.stdout, "request %d: %r" % (i, content))
        told[one.status] = told.get(one.status, 0) + 1
    print("# answers: %r" % told)
    t.true(min(told.get(status, 0) for status in (0, 200, 400, 401)) > 0, "of each kind")


@case
def a_pipelined_second_request_does_not_hurt(t):
    gw, token = ready(t)
    one = request_bytes(web_params(HTTP_COOKIE="sid=" + token), role=AUTHORIZER, keep=True)
    answer = send(gw, one + one)
    t.equal(answer.status, 200)
    still_serves(t, gw, token)


@case
def a_tcp_listener_answers_checks_and_nothing_else(t):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    gw = t.gateway(COOKIE)
    gw.configure({"listener": {"apache": {"address": "tcp:127.0.0.1:%d" % port, "allow": ["check"]}}})
    gw.start()
    token, _ = gw.create("alice")
    address = ("127.0.0.1", port)
    t.equal(gw.check("sid=" + token, address=address).header("Variable-REMOTE_USER"), "alice")
    t.equal(gw.check("sid=x", address=address).status, 401)
    t.equal(gw.api("GET", "session", address=address, HTTP_COOKIE="sid=" + token).status, 403)
    t.equal(gw.api("POST", "v1/sessions", {"user_id": "x"}, address=address).status, 403)
    whole = request_bytes(web_params(HTTP_COOKIE="sid=" + token), role=AUTHORIZER)
    for cut in range(0, len(whole), 40):
        with connect(address) as sock:
            sock.sendall(whole[:cut])
    silent = [connect(address) for _ in range(30)]
    begin = time.monotonic()
    t.equal(gw.check("sid=" + token, address=address).status, 200)
    t.true(time.monotonic() - begin < 0.5, "not held up by silent peers")
    for sock in silent:
        sock.close()


@case
def an_unwanted_body_of_a_check_is_not_waited_for(t):
    gw, token = ready(t)
    begin = time.monotonic()
    answer = fastcgi(gw.pool, web_params("POST", HTTP_COOKIE="sid=" + token, CONTENT_LENGTH="100000"),
                     role=AUTHORIZER)
    t.equal(answer.status, 200)
    t.true(time.monotonic() - begin < 0.5, "at once")


if __name__ == "__main__":
    main()
