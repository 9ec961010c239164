"""The main job through a real lighttpd: identity in, everything else out."""

import json
import os
import random
import re
import threading

from harness import SESSGATED, case, main, wait_until, children
from webserver import Lighttpd, authorizer, pool_for_web

COOKIE = {"cookie": {"name": "sid", "secure": False}}


def site(t, conf=None, extra=""):
    """A running gateway and a lighttpd with /app/ and /.sessgate/ on its pool."""
    gw = t.gateway(COOKIE)
    gw.configure(conf or {})
    pool_for_web(gw)
    gw.start()
    return gw, Lighttpd(t, authorizer(gw.pool, extra))


@case
def the_program_gets_the_identity_and_its_post_body(t):
    gw, web = site(t, {"session": {"export_data": ["theme"]}})
    token, session = gw.create("alice", roles=["staff", "editor"], data={"theme": "dark"})
    answer = web.ask("POST", "/app/env.cgi/extra?q=1", b"x" * 200000, "sid=" + token)
    t.equal(answer.status, 200)
    for name, wanted in (("REMOTE_USER", "alice"), ("AUTH_TYPE", "Session"), ("SESSION_REF", session["ref"]),
                         ("SESSION_ROLES", "staff,editor"), ("SESSION_STATE", "live"),
                         ("SESSION_DATA_THEME", "dark"), ("BODY_LENGTH", "200000"),
                         ("PATH_INFO", "/extra"), ("QUERY_STRING", "q=1")):
        t.equal(answer.env.get(name), wanted, name)
    t.true(not any(k.lower().startswith("variable-") for k in answer.headers), "no Variable-* reaches the browser")


@case
def without_a_session_the_program_does_not_run(t):
    gw, web = site(t)
    token, _ = gw.create()
    tampered = token[:-1] + ("A" if token[-1] != "A" else "Q")
    for cookie in (None, "", "sid=", "sid=x", "sid=" + tampered, "other=" + token,
                   "sid=%s; sid=%s" % (token, token), "SID=" + token, "sid=\"%s\"" % token):
        answer = web.ask("GET", "/app/env.cgi", cookie=cookie)
        t.equal(answer.status, 401, cookie)
        t.equal(answer.header("Set-Cookie"), None, "a denial clears no cookie")
    t.equal(web.ask("GET", "/app/page.html").status, 401, "a static file is protected too")
    t.equal(web.ask("GET", "/app/missing").status, 401, "and so is what is not there")
    t.equal(web.runs(), [])


@case
def a_browser_is_sent_to_the_login_page(t):
    gw, web = site(t, {"gateway": {"login_url": "/login.cgi"}})
    answer = web.ask("GET", "/app/env.cgi?a=1&b=%2F", Accept="text/html,*/*")
    t.equal(answer.status, 302)
    t.equal(answer.header("Location"), "/login.cgi?return_to=/app/env.cgi%3Fa%3D1%26b%3D%252F")
    t.equal(web.ask("POST", "/app/env.cgi", b"a", Accept="text/html").status, 401)
    t.equal(web.runs(), [])


@case
def spoofed_names_do_not_reach_the_program_as_identity(t):
    gw, web = site(t)
    token, _ = gw.create("alice")
    for name in ("Remote-User", "REMOTE_USER"):  # both at once are one name twice: refused
        raw = web.raw(("GET /app/env.cgi HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: sid=%s\r\n"
                       "%s: mallory\r\nVariable-REMOTE_USER: mallory\r\n"
                       "X-Remote-User: mallory\r\nAuth-Type: Basic\r\nSession-Roles: admin\r\n"
                       "Authorization: Basic bWFsbG9yeTp4\r\n\r\n" % (token, name)).encode())
        env = dict(line.split("=", 1) for line in raw.decode().splitlines() if "=" in line)
        t.equal((env.get("REMOTE_USER"), env.get("AUTH_TYPE"), env.get("SESSION_ROLES")), ("alice", "Session", ""))
    t.equal(web.ask("GET", "/app/env.cgi", REMOTE_USER="mallory", Remote_User="mallory").status, 401)


@case
def path_tricks_do_not_get_past_the_authorizer(t):
    gw, web = site(t)
    for path in ("/app/env.cgi", "/%61pp/env.cgi", "//app/env.cgi", "/app//env.cgi", "/x/../app/env.cgi",
                 "/app/./env.cgi", "/app/%2e/env.cgi", "/x/%2e%2e/app/env.cgi", "/app/env.cgi/", "/app/env.cgi%00",
                 "/app%2fenv.cgi", "/app/env.cgi;x", "/app/env.cgi?/open/", "/./app/env.cgi"):
        raw = web.raw(("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path).encode())
        t.true(not raw.startswith(b"HTTP/1.1 200"), "%s: %r" % (path, raw[:60]))
    t.equal(web.runs(), [])


@case
def policies_are_chosen_by_the_web_server(t):
    extra = ('$HTTP["url"] =~ "^/app/.*staff" { setenv.set-environment = ( "SESSGATE_POLICY" => "staff" ) }\n'
             '$HTTP["url"] =~ "^/app/.*nobody" { setenv.set-environment = ( "SESSGATE_POLICY" => "missing" ) }\n'
             '$HTTP["url"] =~ "^/app/.*all" { setenv.set-environment = ( "SESSGATE_POLICY" => "all" ) }\n')
    gw, web = site(t, {"policy": {"staff": {"require_role": ["staff"]}, "all": {"anonymous": True}}}, extra)
    alice, _ = gw.create("alice", roles=["staff"])
    bob, _ = gw.create("bob")
    t.equal(web.ask("GET", "/app/env.cgi/staff", cookie="sid=" + alice).status, 200)
    t.equal(web.ask("GET", "/app/env.cgi/staff", cookie="sid=" + bob).status, 403)
    t.equal(web.ask("GET", "/app/env.cgi/nobody", cookie="sid=" + alice).status, 403)
    answer = web.ask("GET", "/app/env.cgi/all")
    t.equal((answer.status, answer.env.get("SESSION_STATE"), answer.env.get("REMOTE_USER")), (200, "anonymous", ""))


@case
def the_browser_api_works_through_lighttpd(t):
    gw, web = site(t, {"session": {"browser_readable": ["theme"], "browser_writable": ["theme"]}})
    token, session = gw.create("alice")
    cookie = "sid=" + token
    same = {"Sec_Fetch_Site": "same-origin"}
    answer = web.ask("PATCH", "/.sessgate/session", json.dumps({"data": {"theme": "x"}}), cookie,
                     Content_Type="application/merge-patch+json", **same)
    t.equal(answer.status, 200)
    answer = web.ask("GET", "/.sessgate/session", cookie=cookie)
    got = json.loads(answer.body)
    t.equal((got["user_id"], got["ref"], got["data"]), ("alice", session["ref"], {"theme": "x"}))
    t.equal(answer.header("Cache-Control"), "no-store")
    etag = answer.header("ETag")
    t.equal(web.ask("PATCH", "/.sessgate/session", json.dumps({"data": {"theme": "y"}}), cookie, If_Match='"%s.1"' %
                    session["ref"], Content_Type="application/json", **same).status, 412)
    t.equal(web.ask("PATCH", "/.sessgate/session", json.dumps({"data": {"theme": "y"}}), cookie, If_Match=etag,
                    Content_Type="application/json", **same).status, 200)
    t.equal(web.ask("PATCH", "/.sessgate/session", json.dumps({"data": {"theme": "z"}}), cookie,
                    Content_Type="application/json", Sec_Fetch_Site="cross-site").status, 403)
    t.equal(web.ask("GET", "/.sessgate/../.sessgate/session", cookie=cookie).status, 400)
    for path in ("/.sessgate/v1/users/alice/sessions", "/.sessgate/v1/status", "/.sessgate/v1/audit"):
        t.equal(web.ask("GET", path, cookie=cookie).status, 403, path)
    t.equal(web.ask("POST", "/.sessgate/v1/sessions", b'{"user_id":"root"}',
                    Content_Type="application/json").status, 403)
    answer = web.ask("POST", "/.sessgate/logout", cookie=cookie, **same)
    t.equal(answer.status, 200)
    t.match(answer.header("Set-Cookie"), r"^sid=;.*Max-Age=0")
    t.equal(web.ask("GET", "/app/env.cgi", cookie=cookie).status, 401)


@case
def a_stopped_gateway_is_closed_and_comes_back(t):
    gw, web = site(t)
    token, _ = gw.create("alice")
    gw.stop()
    t.true(web.ask("GET", "/app/env.cgi", cookie="sid=" + token).status >= 500, "closed while the pool is down")
    t.equal(web.runs(), [])
    gw.start()
    wait_until(lambda: web.ask("GET", "/app/env.cgi", cookie="sid=" + token).status == 200, "the session lives on")


@case
def a_store_that_fails_says_try_again_and_logs_nobody_out(t):
    gw, web = site(t)
    gw.expect_log(".*")
    token, _ = gw.create("alice")
    database = gw.conf["sqlite"]["file"]
    gw.stop()
    os.rename(database, database + ".away")
    os.mkdir(database)
    gw.start("-o", "gateway.workers=1", wait=False)
    answer = wait_until(lambda: _answered(web, token), "an answer")
    t.equal(web.runs(), [], "the program did not run; answer %r" % answer)
    gw.process.kill()
    gw.process.wait()
    os.rmdir(database)
    os.rename(database + ".away", database)
    gw.start()
    wait_until(lambda: web.ask("GET", "/app/env.cgi", cookie="sid=" + token).status == 200, "recognised again")


def _answered(web, token):
    answer = web.ask("GET", "/app/env.cgi", cookie="sid=" + token)
    return answer if answer.status >= 500 else None


@case
def lighttpd_can_start_the_gateway_itself_on_fd_0(t):
    gw = t.gateway(COOKIE)
    gw.expect_log("can read the keys", "can log in as anybody")
    gw.configure({"gateway": {"user": None, "workers": 2}, "listener": {"inherited": {"allow": ["check", "api"]}}})
    os.chmod(gw.dir, 0o777)
    os.chmod(gw.conf_path, 0o644)
    sock = os.path.join(gw.dir, "fd0.sock")
    web = Lighttpd(t, """
fastcgi.server = (
  "/app/" => (( "bin-path" => "%s -c %s -o log.destination=file:%s", "socket" => "%s", "mode" => "authorizer",
                "check-local" => "disable", "min-procs" => 1, "max-procs" => 1 )) )
""" % (SESSGATED, gw.conf_path, gw.log_path, sock))
    wait_until(lambda: web.ask("GET", "/app/env.cgi").status == 401, "a refusal")
    # The control socket belongs to the web server's user here; root may use it.
    token, _ = gw.create("alice")
    t.equal(web.ask("GET", "/app/env.cgi", cookie="sid=" + token).env.get("REMOTE_USER"), "alice")
    t.equal(web.ask("GET", "/app/env.cgi", cookie="sid=x").status, 401)
    t.match(gw.log(), "can read the keys")
    web.stop()
    wait_until(lambda: not os.path.exists(gw.control), "the gateway ends with lighttpd")


@case
def lighttpd_can_start_relays_that_need_no_keys(t):
    gw = t.gateway(COOKIE)
    pool_for_web(gw)
    gw.start()
    token, _ = gw.create("alice")
    mounts = """
fastcgi.server = (
  "/app/" => (( "bin-path" => "%s --relay --socket %s", "socket" => "%s", "mode" => "authorizer",
                "check-local" => "disable", "min-procs" => 1, "max-procs" => 3 )),
  "/.sessgate/" => (( "bin-path" => "%s --relay --socket %s", "socket" => "%s",
                "check-local" => "disable", "min-procs" => 1, "max-procs" => 2 )) )
"""
    folder = os.path.join(gw.dir, "relay")
    os.mkdir(folder)
    os.chmod(folder, 0o777)
    web = Lighttpd(t, mounts % (SESSGATED, gw.pool, folder + "/a", SESSGATED, gw.pool, folder + "/b"))
    wrong = []

    def visit(number):
        for i in range(25):
            cookie = "sid=" + token if (number + i) % 2 else "sid=x"
            answer = web.ask("POST", "/app/env.cgi", b"y" * 5000, cookie)
            if answer.status != (200 if (number + i) % 2 else 401):
                wrong.append(answer)

    threads = [threading.Thread(target=visit, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    t.equal(wrong, [])
    t.equal(json.loads(web.ask("GET", "/.sessgate/session", cookie="sid=" + token).body)["user_id"], "alice")
    gw.stop()
    runs = len(web.runs())
    answer = web.ask("GET", "/app/env.cgi", cookie="sid=" + token)
    t.equal((answer.status, answer.header("Retry-After") is not None), (503, True))
    t.equal(len(web.runs()), runs)
    gw.start()
    wait_until(lambda: web.ask("GET", "/app/env.cgi", cookie="sid=" + token).status == 200, "works again")


# ---- mutations -------------------------------------------------------------


def mutate(rng, text):
    """A few random byte edits."""
    data = bytearray(text)
    for _ in range(rng.randrange(1, 5)):
        where = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0 and data:
            data[where % len(data)] = rng.randrange(256)
        elif kind == 1:
            data[where:where] = bytes([rng.choice(b"\0\r\n;,= \"%&/.\\\xffAa0")])
        elif kind == 2 and data:
            del data[where % len(data)]
        elif kind == 3:
            data[where:where] = data[where:where + rng.randrange(1, 20)]
        else:
            data[where:where] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 6)))
    return bytes(data)


TRICKS = [b"Remote-User: alice", b"REMOTE_USER: alice", b"Variable-REMOTE_USER: alice", b"X-Forwarded-User: alice",
          b"Authorization: Basic YWxpY2U6eA==", b"X-Original-URL: /open/env.cgi", b"X-Rewrite-URL: /open/env.cgi",
          b"Transfer-Encoding: chunked", b"Content-Length: 0", b"Connection: Cookie", b"SESSGATE_POLICY: all",
          b"Sessgate-Check: 1", b"Status: 200", b"Expect: 100-continue", b"Range: bytes=0-1"]


@case
def of_10000_mutated_requests_none_without_a_session_reaches_the_program(t):
    seed = int(os.environ.get("SESSGATE_SEED", "20261122"))
    count = 1000 if os.environ.get("SESSGATE_SHORT") else 10000
    print("# seed %d, %d requests" % (seed, count))
    rng = random.Random(seed)
    gw, web = site(t)
    live, _ = gw.create("alice")
    ended, session = gw.create("bob")
    t.equal(gw.api("DELETE", "v1/sessions/" + session["ref"], address=gw.control).status, 200)
    forged = [live[:i] + rng.choice("ABCDEFabcdef0123-_") + live[i + 1:] for i in range(len(live))]
    dead = [ended, "", "x", "A" * 50, live[:-1], live + "A", live[1:], live.lower(), live.swapcase(), live[::-1]]
    dead += [f for f in forged if f != live]
    ran_before, allowed, statuses = 0, 0, {}
    for i in range(count):
        path = rng.choice([b"/app/env.cgi", b"/app/env.cgi/x?y", b"/app/page.html", b"/app/"])
        is_live = i % 20 == 0
        # A mutation of a live cookie could stay live (another cookie beside it):
        # so the live token stands only in requests that are sent as they are.
        token = live if is_live else rng.choice(dead)
        lines = [b"Host: site.test", b"Connection: close", b"Cookie: a=b; sid=" + token.encode() + b"; c=d"]
        lines += rng.sample(TRICKS, rng.randrange(4)) if not is_live else []
        if not is_live:
            if rng.random() < 0.3:
                lines.append(b"Cookie: sid=" + rng.choice(dead).encode())
            if rng.random() < 0.5:
                path = mutate(rng, path)
            which = rng.randrange(len(lines))
            if rng.random() < 0.7:
                lines[which] = mutate(rng, lines[which])
            rng.shuffle(lines)
        method = b"GET" if is_live else rng.choice([b"GET", b"HEAD", b"POST", b"OPTIONS", b"TRACE", b"PUT", b"get"])
        raw = web.raw(method + b" " + path + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n",
                      # What was mutated may never be answered; the others are, however busy the host.
                      10 if is_live else 0.3)
        status = raw[9:12].decode("ascii", "replace")
        statuses[status] = statuses.get(status, 0) + 1
        if is_live:
            allowed += 1 if raw.startswith(b"HTTP/1.1 200") and b"env.cgi" in path else 0
        else:
            t.true(b"X-Program: ran" not in raw, "request %d reached the program: %r %r" % (i, path, lines))
            t.true(not re.match(rb"HTTP/1\.[01] 200", raw) or method == b"OPTIONS",
                   "request %d: 200 without a session: %r %r %r" % (i, method, path, lines))
    print("# answers: %s" % json.dumps(statuses, sort_keys=True))
    t.equal(len(web.runs()) - ran_before, allowed, "the program ran only for live sessions")
    t.true(allowed > 0, "some requests were allowed")
    t.true(len(children(gw.pid)) >= 3, "the workers live")


if __name__ == "__main__":
    main()
