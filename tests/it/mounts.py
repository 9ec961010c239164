"""One table of cases over every mount: lighttpd, Apache and nginx with the files
of conf/, as `sessgatectl config mount` prints them.

A case is a row: it is put to every mount (fronts.py), which are all there from
the first case to the last. What a row has seen of a mount (saw()) is what
conf/README.md says of it: the last case compares the two.

`mounts.py WORD MOUNT` runs the rows whose name contains WORD on the mounts
whose name contains MOUNT.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time

import harness
import readme
from fronts import FRONTS, FcgidFront, House
from harness import case, children, main, wait_until

ONLY = sys.argv[2] if len(sys.argv) > 2 else ""
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
SAME = {"Sec_Fetch_Site": "same-origin"}

_house = None
SEEN = {}


def open_house(only):
    global _house
    try:
        _house = House(only)
    except (AssertionError, harness.Skip) as e:
        _house = e


def close_house():
    global _house
    if isinstance(_house, House):
        _house.t.finish()
        _house.t.remove()
    _house = None


def house():
    """Started by the first who asks; what it wanted is told to all."""
    if _house is None:
        open_house(ONLY)
    if isinstance(_house, Exception):
        raise _house
    return _house


def row(function):
    """A case that asks every mount, and tells of each what was wrong."""
    def over_all(t):
        wrong = []
        for front in house().fronts:
            try:
                function(t, front)
            except (AssertionError, OSError, http.client.HTTPException) as e:
                wrong.append("%s: %s: %s" % (front.name, type(e).__name__, e))
        t.true(not wrong, "\n" + "\n".join(wrong))
    over_all.__name__ = function.__name__
    return case(over_all)


def saw(what, front, text):
    """For the table in conf/README.md."""
    SEEN.setdefault(what, {})[front.name] = text


class Session:
    def __init__(self, front, user="alice", **members):
        self.token, self.made = front.gw.create(user, **members)
        self.ref, self.cookie = self.made["ref"], "sid=" + self.token


def checks(front):
    """How many checks the gateway has answered."""
    counters = front.gw.api("GET", "v1/status", address=front.gw.keeper_socket).json()["counters"]
    return sum(counters[k] for k in ("check_allowed", "check_denied", "check_unavailable"))


def bytes_of(lines, method="GET", path="/app/env.cgi", body=b""):
    head = "%s %s HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n" % (method, path)
    return (head + "".join(line + "\r\n" for line in lines) + "\r\n").encode("latin-1") + body


def raw_env(data):
    return dict(line.split("=", 1) for line in data.decode("utf-8", "replace").splitlines() if "=" in line)


def ran(front, function):
    """How often the program ran meanwhile."""
    before = len(front.runs())
    function()
    return len(front.runs()) - before


# ---- what a program gets ---------------------------------------------------


@row
def the_program_gets_the_identity(t, front):
    session = Session(front, "zoë ö=&", roles=["staff", "boss"], context="c1", contexts=["c1"],
                      data={"theme": "dark"})
    answer = front.ask("GET", "/app/env.cgi/extra?q=1", cookie=session.cookie)
    t.equal((answer.status, answer.header("X-Program")), (200, "ran"))
    env = answer.env
    for name, wanted in (("REMOTE_USER", "zoë ö=&"), ("AUTH_TYPE", "Session"), ("SESSION_STATE", "live"),
                         ("SESSION_REF", session.ref), ("SESSION_ROLES", "staff,boss"), ("SESSION_CONTEXT", "c1"),
                         ("SESSION_CREATED", str(session.made["created_at"])),
                         ("SESSION_AUTH_TIME", str(session.made["auth_at"])),
                         ("SESSION_EXPIRES", str(session.made["expires_at"])),
                         ("PATH_INFO", "/extra"), ("QUERY_STRING", "q=1"), ("TWICE", "")):
        t.equal(env.get(name), wanted, name)
    t.equal([k for k in answer.headers if k.lower().startswith("variable-")], [], "variables in the browser")
    own = (bool(env.get("SESSION_CSRF")), env.get("SESSION_DATA_THEME") == "dark")
    t.true(own in ((True, True), (False, False)), own)
    saw("`SESSION_CSRF`, `SESSION_DATA_*`", front, "yes" if own[0] else "no")


@row
def the_program_gets_its_body(t, front):
    session = Session(front)
    for size in (1, 20000, 200000):
        answer = front.ask("POST", "/app/env.cgi", b"x" * size, session.cookie, Content_Type="text/x-test")
        t.equal((answer.status, answer.env.get("BODY_LENGTH"), answer.env.get("CONTENT_TYPE")),
                (200, str(size), "text/x-test"))
    data = front.raw(bytes_of(["Cookie: " + session.cookie, "Content-Length: 5", "Expect: 100-continue"], "POST",
                              body=b"hello"))
    t.equal(raw_env(data).get("BODY_LENGTH"), "5", "with Expect: 100-continue")
    answer = front.ask("HEAD", "/app/env.cgi", cookie=session.cookie)
    t.equal((answer.status, answer.header("X-Program"), answer.body), (200, "ran", b""))


@row
def what_the_program_answers_stays_as_it_is(t, front):
    session = Session(front)
    for status in (401, 403, 404, 500, 503):
        answer = front.ask("GET", "/app/env.cgi?status=%d" % status, cookie=session.cookie, Accept=HTML)
        t.equal((answer.status, answer.header("X-Program")), (status, "ran"))
        t.equal(answer.env.get("REMOTE_USER"), "alice")


@row
def the_session_cookie_is_cut_out_where_it_can_be(t, front):
    session = Session(front)
    cookies = {"a=b; %s; c=d": "a=b; c=d", "%s": "", "%s; c=d": "c=d", "a=b; %s": "a=b",
               "a=b;%s;c=d": None, "sidx=1; %s; xsid=2; a=sid=3": "sidx=1; xsid=2; a=sid=3", " %s ; q=r": None}
    found = set()
    for pattern, wanted in cookies.items():
        answer = front.ask("GET", "/app/env.cgi", cookie=pattern % session.cookie)
        if answer.status == 401 and wanted is None:
            continue
        t.equal(answer.status, 200, pattern)
        got = answer.env.get("HTTP_COOKIE", "")
        found.add(session.token in answer.body.decode("utf-8", "replace"))
        if session.token not in got and wanted is not None:
            t.equal(got, wanted, pattern)
    t.equal(len(found), 1, "always or never")
    saw("the session's cookie is cut out of `HTTP_COOKIE`", front, "no" if True in found else "yes")


@row
def a_renewed_cookie_reaches_the_browser_where_it_can(t, front):
    session = Session(front)
    answer = front.ask("POST", "/.sessgate/session/rotate", cookie=session.cookie, **SAME)
    t.equal(answer.status, 200)
    renewed = answer.header("Set-Cookie")
    t.match(renewed, r"^sid=[\w-]{50}; Path=/; HttpOnly; SameSite=Lax$")
    # Another tab still has the old one: the answer brings it the new one, beside
    # the program's own.
    answer = front.ask("GET", "/app/env.cgi?own", cookie=session.cookie)
    t.equal((answer.status, answer.env.get("REMOTE_USER")), (200, "alice"))
    got = answer.headers.get_all("Set-Cookie")
    t.true("own=1; Path=/" in got, got)
    t.true(renewed.split(";")[0][4:] not in answer.body.decode(), "the program is not told the new token")
    got.remove("own=1; Path=/")
    t.true(got in ([], [renewed]), got)
    saw("a cookie that is renewed on the way reaches the browser", front, "yes" if got else "no")
    answer = front.ask("GET", "/app/env.cgi", cookie=renewed.split(";")[0])
    t.equal((answer.status, answer.headers.get_all("Set-Cookie")), (200, None))


@row
def path_info_runs_the_program_once(t, front):
    session = Session(front)
    most = 0
    for path in ("/app/env.cgi", "/app/env.cgi/x/y", "/app/env.cgi/app/env.cgi", "/app/env.cgi/app/staff/env.cgi"):
        before = checks(front)
        runs = ran(front, lambda: t.equal(front.ask("GET", path, cookie=session.cookie).header("X-Program"), "ran"))
        t.equal(runs, 1, path)
        asked = checks(front) - before
        t.true(1 <= asked <= 3, "%s: %d checks" % (path, asked))
        most = max(most, asked)
        t.equal(front.ask("GET", path).status, 401)
    saw("checks for one request: the most, with a path behind the program", front, str(most))


@row
def a_local_redirect_keeps_the_identity(t, front):
    session = Session(front)
    answer = front.ask("GET", "/app/env.cgi?go", cookie=session.cookie)
    if answer.status == 302:  # The browser goes, and is asked again.
        t.equal(answer.header("Location"), "/app/env.cgi?gone")
        return
    t.equal((answer.status, answer.env.get("QUERY_STRING")), (200, "gone"))
    for name, wanted in (("REMOTE_USER", "alice"), ("AUTH_TYPE", "Session"), ("SESSION_REF", session.ref),
                         ("SESSION_STATE", "live"), ("TWICE", "")):
        t.equal(answer.env.get(name), wanted, name)
    t.true(session.token not in answer.body.decode(), "the cookie is still cut out")


# ---- refusals --------------------------------------------------------------


def ended_session(front):
    session = Session(front, "bob")
    answer = front.gw.api("DELETE", "v1/sessions/" + session.ref, address=front.gw.control)
    assert answer.status == 200, answer
    return session


def dead_cookies(front, token):
    """Each with a name."""
    ended = ended_session(front)
    tampered = token[:-1] + ("A" if token[-1] != "A" else "Q")
    return {"none": None, "empty": "", "no value": "sid=", "short": "sid=x", "a wrong tag": "sid=" + tampered,
            "another name": "other=" + token, "two": "sid=%s; sid=%s" % (token, token), "upper case": "SID=" + token,
            "quoted": 'sid="%s"' % token, "ended": ended.cookie, "too long": "sid=" + token * 100}


@row
def a_refusal_is_one_and_the_program_does_not_run(t, front):
    live = Session(front)

    def refused():
        for name, cookie in dead_cookies(front, live.token).items():
            for path in ("/app/env.cgi", "/app/page.html", "/app/missing", "/app/"):
                answer = front.ask("GET", path, cookie=cookie)
                t.equal(answer.status, 401, "%s %s" % (name, path))
            t.equal(answer.headers.get_all("Set-Cookie"), None, "a denial clears no cookie")
            t.true("no-store" in (answer.header("Cache-Control") or ""), name)
            t.match(answer.header("Content-Type"), "^text/html")
            t.match(answer.body.decode(), "Session ended" if name == "ended" else "Not logged in")
            t.equal([k for k in answer.headers if k.lower().startswith("variable-")], [], name)
        for method in ("POST", "PUT", "DELETE", "PATCH", "HEAD", "PROPFIND", "TRACE", "X"):
            answer = front.ask(method, "/app/env.cgi", b"x" * 5000 if method == "POST" else None)
            t.true(answer.status in (401, 405, 501), "%s: %d" % (method, answer.status))
    t.equal(ran(front, refused), 0)
    saw("no session", front, "401")


@row
def a_browser_is_sent_to_the_login_page(t, front):
    def sent():
        answer = front.ask("GET", "/app/env.cgi?a=1&b=%2F", Accept=HTML)
        t.equal((answer.status, answer.header("Location")),
                (302, "/login.html?return_to=/app/env.cgi%3Fa%3D1%26b%3D%252F"))
        t.equal([k for k in answer.headers if k.lower().startswith("variable-")], [])
        t.equal(front.ask("HEAD", "/app/env.cgi", Accept=HTML).status, 302)
        t.equal(front.ask("POST", "/app/env.cgi", b"a=b", Accept=HTML).status, 401)
        t.equal(front.ask("GET", "/app/env.cgi", Accept="*/*").status, 401)
        t.equal(front.ask("GET", "/login.html").body, b"log in here\n")
    t.equal(ran(front, sent), 0)
    saw("no session, and a browser asks for a page", front, "302 to the login")


@row
def policies_are_the_servers(t, front):
    staff, bob = Session(front, roles=["staff"]), Session(front, "bob")
    answer = front.ask("GET", "/app/staff/env.cgi", cookie=staff.cookie)
    t.equal((answer.status, answer.header("X-Program")), (200, "staff"))

    def refused():
        answer = front.ask("GET", "/app/staff/env.cgi", cookie=bob.cookie, Accept=HTML)
        t.equal(answer.status, 403)
        t.match(answer.body.decode(), "Role missing")
        t.equal(answer.header("Cache-Control"), "no-store")
        # A page for people comes whole, and under its own policy.
        t.true(answer.body.endswith(b"</html>\n"), answer)
        t.match(answer.header("Content-Security-Policy"), "default-src 'none'; style-src 'sha256-")
        t.equal(answer.header("X-Frame-Options"), "DENY")
        saw("a role is missing, CSRF, an unknown policy", front, "403")
        t.equal(front.ask("GET", "/app/unknown/env.cgi", cookie=staff.cookie).status, 403, "an unknown policy")
        for header in ("SESSGATE_POLICY: open", "Sessgate-Policy: open", "HTTP_SESSGATE_POLICY: open"):
            for path in ("/app/env.cgi", "/app/staff/env.cgi"):
                data = front.raw(bytes_of([header], path=path))
                t.true(data.startswith(b"HTTP/1.1 401"), "%s: %r" % (header, data[:60]))
        t.equal(front.ask("POST", "/app/form/env.cgi", b"a=b", staff.cookie, Sec_Fetch_Site="cross-site").status, 403)
    t.equal(ran(front, refused), 0)
    answer = front.ask("POST", "/app/form/env.cgi", b"a=b", staff.cookie, **SAME)
    t.equal((answer.status, answer.header("X-Program"), answer.env.get("BODY_LENGTH")), (200, "form", "3"))


@row
def an_anonymous_visitor_has_no_name(t, front):
    answer = front.ask("GET", "/app/open/env.cgi", Authorization="Basic bWFsbG9yeTp4")
    if answer.status == 401:
        saw("an anonymous visitor (policy)", front, "401")
    else:
        t.equal((answer.status, answer.header("X-Program")), (200, "open"))
        t.equal((answer.env.get("SESSION_STATE"), answer.env.get("REMOTE_USER", ""), answer.env.get("AUTH_TYPE", "")),
                ("anonymous", "", ""))
        saw("an anonymous visitor (policy)", front, "empty `REMOTE_USER`")
    session = Session(front)
    t.equal(front.ask("GET", "/app/open/env.cgi", cookie=session.cookie).env.get("REMOTE_USER"), "alice")
    t.equal(front.ask("GET", "/app/open/env.cgi", cookie="sid=x").status, 401, "a forged cookie is not anonymous")


# ---- attackers -------------------------------------------------------------

SPOOFS = ["Remote-User: mallory", "REMOTE_USER: mallory", "Remote_User: mallory", "remote-user: mallory",
          "Variable-REMOTE_USER: mallory", "Variable-Remote-User: mallory", "X-Remote-User: mallory",
          "X-Forwarded-User: mallory", "X_Auth_User: mallory", "X-Auth-User: mallory", "HTTP_REMOTE_USER: mallory",
          "Auth-Type: Basic", "AUTH_TYPE: Basic", "Session-Roles: admin", "SESSION_ROLES: admin",
          "Session-State: live", "SESSION_STATE: live", "SESSION_REF: 000000000000000000000000",
          "Redirect-Remote-User: mallory", "REDIRECT_REMOTE_USER: mallory", "REDIRECT_SESSION_STATE: live",
          "Sessgate-Check: 1", "SESSGATE_CHECK: page", "SESSGATE_SET_COOKIE: 1", "FCGI_ROLE: RESPONDER",
          "FCGI_APACHE_ROLE: ACCESS_CHECKER", "Authorization: Basic bWFsbG9yeTp4", "Authorization: Bearer x",
          "Proxy: http://evil.test/", "X-Original-URL: /login.html", "X-Rewrite-URL: /login.html",
          "X-HTTP-Method-Override: OPTIONS", "Connection: Cookie", "Content-Length: 0", "Status: 200",
          "X-Forwarded-For: 127.0.0.1", "X-Sendfile: /etc/passwd", "X-Accel-Redirect: /app/env.cgi"]


NAMES = {"Remote-User": "mallory", "Auth-Type": "Session", "Session-State": "live", "Session-Ref": "0" * 24,
         "Session-Roles": "admin", "Session-Context": "c", "Session-Csrf": "x", "Session-Expires": "9999999999",
         "Session-Data-Theme": "evil", "Session-Set-Cookie": "sid=x", "Variable-Remote-User": "mallory",
         "Variable-Session-Roles": "admin", "Redirect-Remote-User": "mallory", "Redirect-Session-State": "live",
         "Redirect-Request-Method": "OPTIONS", "Redirect-Status": "200", "Sessgate-Check": "page",
         "Sessgate-Policy": "open", "Sessgate-Realm": "x", "Sessgate-Set-Cookie": "1", "Fcgi-Role": "RESPONDER",
         "Fcgi-Apache-Role": "ACCESS_CHECKER", "Request-Uri": "/login.html", "Request-Method": "OPTIONS",
         "Script-Filename": "/bin/sh", "X-Remote-User": "mallory", "X-Forwarded-User": "mallory"}
SPELLINGS = (str.lower, str.upper, lambda n: n.replace("-", "_"), lambda n: n.upper().replace("-", "_"),
             lambda n: n.replace("-", "_", 1), lambda n: "HTTP_" + n.upper().replace("-", "_"), lambda n: "X-" + n,
             lambda n: n + "\t", lambda n: n.replace("-", "."))


def spoofs():
    """Each name in each spelling."""
    return ["%s: %s" % (spelling(name), value) for name, value in NAMES.items() for spelling in SPELLINGS]


@row
def no_header_is_a_session(t, front):
    def asked():
        for spoof in spoofs():
            data = front.raw(bytes_of([spoof]))
            t.true(data.startswith(b"HTTP/1.1 4") and b"X-Program" not in data, "%s: %r" % (spoof, data[:80]))
    t.true(len(spoofs()) >= 200, len(spoofs()))
    t.equal(ran(front, asked), 0)


@row
def a_spoofed_name_is_nobodys(t, front):
    session = Session(front, roles=["editor"])
    programs = 0
    for spoof in SPOOFS + (spoofs() if os.environ.get("SESSGATE_LONG") else []):
        data = front.raw(bytes_of([spoof]))
        t.true(data.startswith(b"HTTP/1.1 4") and b"X-Program" not in data, "%s: %r" % (spoof, data[:80]))
        data = front.raw(bytes_of(["Cookie: " + session.cookie, spoof]))
        if b"X-Program: ran" not in data:
            t.true(data.startswith(b"HTTP/1.1 4"), "%s: %r" % (spoof, data[:80]))
            continue
        programs += 1
        env = raw_env(data)
        t.equal((env.get("REMOTE_USER"), env.get("AUTH_TYPE"), env.get("SESSION_ROLES"), env.get("SESSION_STATE"),
                 env.get("SESSION_REF")), ("alice", "Session", "editor", "live", session.ref), spoof)
        t.equal(env.get("TWICE"), "", spoof)
        t.equal(env.get("HTTP_PROXY", ""), "", spoof)
    t.true(programs >= len(SPOOFS) - 4, "most go through: %d" % programs)


@row
def what_is_there_twice_does_not_count(t, front):
    session, bob = Session(front), Session(front, "bob")

    def asked():
        for lines in (["Cookie: " + session.cookie, "Cookie: " + bob.cookie],
                      ["Cookie: %s; %s" % (session.cookie, bob.cookie)],
                      ["Cookie: %s; %s" % (session.cookie, session.cookie)],
                      ["Cookie: sid=; " + session.cookie]):
            data = front.raw(bytes_of(lines))
            t.true(data.startswith(b"HTTP/1.1 4"), "%r: %r" % (lines, data[:80]))
    t.equal(ran(front, asked), 0)
    # The other header of two is no session: refused, or one of the two cookies
    # counts, and the program sees what the gateway saw.
    data = front.raw(bytes_of(["Cookie: a=b", "Cookie: " + session.cookie]))
    t.true(data.startswith(b"HTTP/1.1 401") or raw_env(data).get("REMOTE_USER") == "alice", data[:80])
    for name in ("Host: other.test", "Sec-Fetch-Site: same-origin", "X-CSRF-Token: x"):
        data = front.raw(bytes_of(["Cookie: " + session.cookie, name, name], "POST", "/app/form/env.cgi"))
        t.true(b"X-Program" not in data or name.startswith("Sec"), "%s: %r" % (name, data[:80]))


PATHS = ["/app/env.cgi", "/%61pp/env.cgi", "//app/env.cgi", "/app//env.cgi", "/x/../app/env.cgi", "/app/./env.cgi",
         "/app/%2e/env.cgi", "/x/%2e%2e/app/env.cgi", "/app/env.cgi/", "/app/env.cgi%00", "/app%2fenv.cgi",
         "/app/env.cgi;x", "/app/env.cgi?/login.html", "/./app/env.cgi", "/login.html/../app/env.cgi",
         "/login.html%2f..%2fapp/env.cgi", "/app\\env.cgi", "\\app\\env.cgi", "/app/env.cgi%20", "/app/env.cgi.",
         "/APP/env.cgi", "/app/ENV.CGI", "/app/env.cgi%0a", "/app/%65nv.cgi", "/.sessgate/../app/env.cgi",
         "/.sessgate/%2e%2e/app/env.cgi", "/.sessgate-check/../app/env.cgi", "/.sessgate-check/",
         "/.sessgate-check/open", "/.sessgate-refused", "/.sessgate-refused/../app/env.cgi", "/app/env.cgi#x",
         "http://site.test/app/env.cgi", "http://site.test//app/env.cgi", "/app/../app/env.cgi", "/app/%252e/env.cgi",
         "///app///env.cgi", "/app/.%2e/app/env.cgi", "/;x/../app/env.cgi", "/app;/env.cgi"]


@row
def path_tricks_do_not_get_past(t, front):
    def tried():
        for path in PATHS:
            data = front.raw(bytes_of([], path=path))
            t.true(not data.startswith(b"HTTP/1.1 2") and b"X-Program" not in data, "%s: %r" % (path, data[:80]))
            t.true(b"Variable-" not in data, path)
    t.equal(ran(front, tried), 0)
    # Nor past a policy: bob may run the others.
    bob = Session(front, "bob")
    for path in PATHS:
        path = path.replace("env.cgi", "staff/env.cgi").replace("ENV.CGI", "STAFF/ENV.CGI")
        for trick in (path, path.replace("staff", "%73taff"), path.replace("staff/", "staff%2f"),
                      path.replace("staff/", "open/../staff/"), path.replace("staff", "./staff"),
                      path.replace("staff", "/staff"), path.replace("staff/", "staff//")):
            data = front.raw(bytes_of(["Cookie: " + bob.cookie], path=trick))
            t.true(b"X-Program: staff" not in data, "%s: %r" % (trick, data[:80]))


@row
def the_api_is_there_and_no_more_of_it(t, front):
    session = Session(front, data={"theme": "dark"})
    answer = front.ask("GET", "/.sessgate/session", cookie=session.cookie)
    got = json.loads(answer.body)
    t.equal((answer.status, got["user_id"], got["ref"], got["data"]),
            (200, "alice", session.ref, {"theme": "dark"}))
    t.equal((answer.header("Cache-Control"), answer.header("Vary")), ("no-store", "Cookie"))
    etag = answer.header("ETag")
    patch = json.dumps({"data": {"note": "x"}})
    for tag, wanted in (('"%s.99"' % session.ref, 412), (etag, 200)):
        answer = front.ask("PATCH", "/.sessgate/session", patch, session.cookie, If_Match=tag,
                           Content_Type="application/json", **SAME)
        t.equal(answer.status, wanted, "If-Match")
    answer = front.ask("GET", "/.sessgate/state", cookie=session.cookie)
    t.equal(front.ask("GET", "/.sessgate/state", cookie=session.cookie,
                      If_None_Match=answer.header("ETag")).status, 304)
    answer = front.ask("PATCH", "/.sessgate/session", b'{"data":{"x":"' + b"y" * 100000 + b'"}}', session.cookie,
                       Content_Type="application/json", **SAME)
    t.equal(answer.status, 403, "a body of 100 kB is read, and says what may not be written")
    t.equal(answer.header("Content-Type"), "application/problem+json")
    t.equal(front.ask("PATCH", "/.sessgate/session", b"{}", session.cookie, Content_Type="application/json",
                      Sec_Fetch_Site="cross-site").status, 403)
    for path in ("v1/users/alice/sessions", "v1/status", "v1/audit"):
        t.equal(front.ask("GET", "/.sessgate/" + path, cookie=session.cookie).status, 403, path)
    t.equal(front.ask("POST", "/.sessgate/v1/sessions", b'{"user_id":"root"}',
                      Content_Type="application/json").status, 403)
    for path in ("/.sessgate/../.sessgate/session", "/.sessgate//session", "/.sessgate/%2e/session"):
        answer = front.ask("GET", path, cookie=session.cookie)
        t.true(answer.status in (400, 404), "%s: %d" % (path, answer.status))
    t.equal(front.ask("GET", "/.sessgate/session").status, 401)
    answer = front.ask("POST", "/.sessgate/logout", b"return_to=/login.html", session.cookie,
                       Content_Type="application/x-www-form-urlencoded", Accept=HTML, **SAME)
    t.equal((answer.status, answer.header("Location")), (303, "/login.html"))
    t.match(answer.header("Set-Cookie"), "^sid=;.*Max-Age=0")
    t.equal(front.ask("GET", "/app/env.cgi", cookie=session.cookie).status, 401)


@row
def mutated_requests_never_reach_the_program(t, front):
    seed = int(os.environ.get("SESSGATE_SEED", "20261123"))
    rng = random.Random(seed)
    # Of a token that is live a mutation could make a cookie that is.
    dead = [c for c in dead_cookies(front, ended_session(front).token).values() if c]
    alphabet = [bytes([c]) for c in b"\0\r\n\t;,= \"%&/.\\\xffAa0"] + [b"sid=", b"\r\nCookie: ", b"\r\n\r\n", b"%2e"]

    def mutated():
        for i in range(count):
            lines = ["Cookie: " + rng.choice(dead)] + rng.sample(SPOOFS, 2)
            data = bytearray(bytes_of(lines, path=rng.choice(PATHS)))
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(4, len(data))
                data[at:at + rng.randrange(3)] = rng.choice(alphabet)
            answer = front.raw(bytes(data), 0.15)
            t.true(b"X-Program" not in answer and b"Variable-" not in answer, "seed %d, %d: %r" % (seed, i, data))
    count = 10000 if os.environ.get("SESSGATE_LONG") else 150
    t.equal(ran(front, mutated), 0)
    print("# %s: none of %d mutated requests was let in, seed %d" % (front.name, count, seed))


@case
def the_listener_that_everybody_can_reach_answers_checks_alone(t):
    session = Session(house().fronts[0])
    for method, path, more in (("GET", "session", {}), ("GET", "state", {}), ("POST", "logout", {}),
                               ("POST", "login", {"REMOTE_USER": "root", "AUTH_TYPE": "Basic"}),
                               ("POST", "v1/sessions", {}), ("GET", "v1/status", {}), ("GET", "v1/audit", {})):
        answer = house().pool.api(method, path, address=("127.0.0.1", house().port),
                                  HTTP_COOKIE=session.cookie, HTTP_SEC_FETCH_SITE="same-origin", **more)
        t.true(answer.status in (403, 404), "%s %s: %r" % (method, path, answer))
    answer = house().pool.check(session.cookie, ("127.0.0.1", house().port))
    t.equal((answer.status, answer.header("Variable-REMOTE_USER")),
            (200 if house().fronts[0].gw is house().pool else 401, "alice" if answer.status == 200 else None))


# ---- when something fails --------------------------------------------------


@case
def a_missing_policy_is_refused_where_one_is_required(t):
    for gw in house().gateways():
        reload_with(gw, {"gateway": {"policy_required": True}})
    try:
        for front in house().fronts:
            session = Session(front, roles=["staff"])
            wait_until(lambda: front.ask("GET", "/app/env.cgi", cookie=session.cookie).status == 403, front.name)
            t.equal(front.ask("GET", "/app/staff/env.cgi", cookie=session.cookie).status, 200, front.name)
            t.equal(front.ask("GET", "/.sessgate/session", cookie=session.cookie).status, 200, front.name)
    finally:
        for gw in house().gateways():
            reload_with(gw, {"gateway": {"policy_required": None}})


def master(gw):
    with open(os.path.join(gw.run_dir, "lock")) as f:
        return int(f.read())


def reload_with(gw, changes):
    done = gw.log().count("reload: done")
    gw.configure(changes)
    os.kill(master(gw), signal.SIGHUP)
    wait_until(lambda: gw.log().count("reload: done") > done, "reloaded\n" + gw.log()[-2000:])


@contextlib.contextmanager
def options(**sections):
    """The gateways with these options, for as long as the block takes."""
    for gw in house().gateways():
        reload_with(gw, sections)
    try:
        yield
    finally:
        for gw in house().gateways():
            reload_with(gw, {name: dict.fromkeys(values) for name, values in sections.items()})


# ---- whose request it is -----------------------------------------------------

# Header lines, and whose address they make it when who is on this machine is a
# trusted proxy.
FORWARDED = [
    ([], "127.0.0.1"),
    (["X-Forwarded-For: 198.51.100.7"], "198.51.100.7"),
    (["x-forwarded-for:198.51.100.7"], "198.51.100.7"),
    (["X-Forwarded-For: 6.6.6.6, 198.51.100.7"], "198.51.100.7"),
    (["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 198.51.100.7"], "198.51.100.7"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 127.0.0.1"], "198.51.100.7"),
    (["X-Forwarded-For: 127.0.0.1, 198.51.100.7:4711"], "198.51.100.7"),
    (["X-Forwarded-For: [2001:db8::7]:4711"], "2001:db8::7"),
    (["X-Forwarded-For: ::ffff:198.51.100.7"], "198.51.100.7"),
    (["X-Forwarded-For: 198.51.100.7, unknown"], "127.0.0.1"),
    (["X-Forwarded-For: 198.51.100.7;"], "127.0.0.1"),
    (["X-Forwarded-For: for=198.51.100.7"], "127.0.0.1"),
    (["X-Forwarded-For: "], "127.0.0.1"),
    (["Forwarded: for=198.51.100.7", "X-Real-IP: 198.51.100.7", "Client-IP: 198.51.100.7",
      "True-Client-IP: 198.51.100.7", "X-Client-IP: 198.51.100.7", "X-Forwarded: 198.51.100.7",
      "Remote-Addr: 198.51.100.7"], "127.0.0.1"),
]
STRICT = {"bind_agent": "strict", "bind_address": "strict"}


def asked(front, session, lines, path="/app/env.cgi"):
    """The status of a request with these header lines."""
    data = front.raw(bytes_of(["Cookie: " + session.cookie] + lines, path=path))
    return int(data.split(b" ", 2)[1])


def is_bound(t, front, lines, **members):
    """Such a session is for who sends these lines, and ended by anybody else."""
    session = Session(front, **dict({"client_ip": "127.0.0.1"}, **members))
    t.equal(asked(front, session, lines), 200, "%s: %s %s" % (front.name, lines, members))
    t.equal(asked(front, session, lines, "/.sessgate/session"), 200, lines)


def is_not(t, front, lines, path="/app/env.cgi", **members):
    session = Session(front, **dict({"client_ip": "127.0.0.1"}, **members))
    t.equal(asked(front, session, lines, path), 401, "%s: %s %s" % (front.name, lines, members))
    answer = front.gw.api("GET", "v1/sessions/" + session.ref, address=front.gw.control)
    t.equal(answer.status, 404, "it has been ended: %r" % answer)


@case
def the_visitors_address_is_what_a_trusted_proxy_says(t):
    with options(gateway={"trusted_proxies": ["127.0.0.1"]}, session=STRICT):
        for front in house().fronts:
            for lines, address in FORWARDED:
                is_bound(t, front, lines, client_ip=address)
                is_not(t, front, lines, client_ip="203.0.113.1")
            # "_" is "-" to CGI. Where the server passes both on, it is refused.
            session = Session(front, client_ip="203.0.113.1")
            lines = ["X_Forwarded_For: 203.0.113.1", "X-Forwarded-For: 198.51.100.7"]
            t.equal([asked(front, session, either) for either in (lines, lines[::-1])], [401, 401], front.name)
    with options(session=STRICT):
        for front in house().fronts:
            for lines, _ in FORWARDED:
                is_bound(t, front, lines)
            is_not(t, front, ["X-Forwarded-For: 198.51.100.7"], client_ip="198.51.100.7")
            is_not(t, front, ["X-Forwarded-For: 198.51.100.7"], "/.sessgate/session", client_ip="198.51.100.7")


@case
def a_session_is_for_the_browser_that_it_was_made_for(t):
    long = "Mozilla/5.0 " + "x" * 500
    with options(session=STRICT):
        for front in house().fronts:
            is_bound(t, front, ["User-Agent: Lynx/2.9"], user_agent="Lynx/2.9")
            is_bound(t, front, ["User-Agent: " + long], user_agent=long)
            is_bound(t, front, ["User-Agent: L\xc3\xb6we/1"], user_agent="L\xf6we/1")
            is_bound(t, front, [])
            for path in ("/app/env.cgi", "/.sessgate/session", "/.sessgate/csrf"):
                is_not(t, front, ["User-Agent: Lynx/2.8"], path, user_agent="Lynx/2.9")
                is_not(t, front, [], path, user_agent="Lynx/2.9")
                is_not(t, front, ["User-Agent:"], path, user_agent="Lynx/2.9")
            session = Session(front, user_agent="Lynx/2.9", client_ip="127.0.0.1")
            for _ in range(3):  # From the local cache, too.
                t.equal(asked(front, session, ["User-Agent: Lynx/2.9"]), 200)
            t.equal(asked(front, session, ["User-Agent: Lynx/2.8"]), 401)
            t.equal(asked(front, session, ["User-Agent: Lynx/2.9"]), 401, "it was ended")


# What browsers send with a form, and whether that is one of our pages. {own}:
# the site itself; {token}, {other}: this session's and another one's.
FORMS = [
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Sec-Fetch-Site": "none"}, True),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "{own}", "Referer": "{own}/", "X-CSRF-Token": "{token}"}, False),
    ({"Sec-Fetch-Site": "same-site", "Origin": "https://listed.test"}, True),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "https://listed.test"}, True),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://listed.test"}, False),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "null", "Referer": "https://listed.test/"}, False),
    ({"Sec-Fetch-Site": "x"}, False),
    ({"Origin": "{own}"}, True),
    ({"Origin": "{own}", "Referer": "http://evil.test/"}, True),
    ({"Origin": "https://listed.test"}, True),
    ({"Origin": "https://listed.test:8443"}, False),
    ({"Origin": "http://site.test:1"}, False),
    ({"Origin": "http://evil.test", "Referer": "{own}/"}, False),
    ({"Origin": "{own}.evil.test"}, False),
    ({"Origin": "null"}, False),
    ({"Origin": "null", "Referer": "{own}/app/"}, True),
    ({"Origin": "null", "X-CSRF-Token": "{token}"}, True),
    ({"Referer": "{own}/app/?x=http://evil.test/"}, True),
    ({"Referer": "http://evil.test/?{own}/"}, False),
    ({"Referer": "about:blank"}, False),
    ({"X-CSRF-Token": "{token}"}, True),
    ({"X-CSRF-Token": "{other}"}, False),
    ({"X-CSRF-Token": "{token}x"}, False),
    ({"X-CSRF-Token": "x"}, False),
    ({}, False),
]


def send_form(front, path, session, headers, body=b"", **values):
    """Whether it is let in."""
    lines = ["%s: %s" % (name, text.format(**values)) for name, text in headers.items()]
    lines += ["Cookie: " + session.cookie, "Content-Length: %d" % len(body)]
    lines += ["Content-Type: application/x-www-form-urlencoded"] if body else []
    data = front.raw(bytes_of(lines, "POST", path, body).replace(b"site.test", values["own"][7:].encode(), 1))
    return int(data.split(b" ", 2)[1])


@case
def a_form_of_another_site_does_nothing(t):
    with options(session={"origins": ["https://listed.test"]}):
        for front in house().fronts:
            session, other = Session(front), Session(front, "bob")
            values = {"own": "http://site.test:%d" % front.port}
            for name, one in (("token", session), ("other", other)):
                values[name] = json.loads(front.ask("GET", "/.sessgate/csrf", cookie=one.cookie).body)["csrf"]
            for headers, is_ours in FORMS:
                for path in ("/app/form/env.cgi", "/.sessgate/session/extend"):
                    t.equal(send_form(front, path, session, headers, **values), 200 if is_ours else 403,
                            "%s %s: %s" % (front.name, path, headers))
                # On our own routes the token may be a field.
                for field, wanted in ((values["token"], headers == {} or is_ours), (values["other"], is_ours)):
                    if "X-CSRF-Token" not in headers and headers.get("Origin") != "null":
                        t.equal(send_form(front, "/.sessgate/sessions/end-others", session, headers,
                                          b"csrf=" + field.encode(), **values) < 400, wanted,
                                "%s, a field: %s" % (front.name, headers))
            t.equal(asked(front, session, []), 200)
    with options(session={"csrf_unknown": "allow"}):
        for front in house().fronts:
            session, values = Session(front), {"own": "http://site.test:%d" % front.port}
            for headers, wanted in (({}, 200), ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Origin": "null"}, 200),
                                    ({"Origin": "http://evil.test"}, 403), ({"X-CSRF-Token": "x"}, 403)):
                for path in ("/app/form/env.cgi", "/.sessgate/session/extend"):
                    t.equal(send_form(front, path, session, headers, **values), wanted,
                            "%s %s: %s" % (front.name, path, headers))


@contextlib.contextmanager
def store_away(gw):
    """Its tables cannot be found, for as long as the block takes."""
    def rename(old, new):
        database = sqlite3.connect(gw.conf["sqlite"]["file"], timeout=10)
        database.execute("PRAGMA busy_timeout = 10000")
        database.execute("ALTER TABLE %s RENAME TO %s" % (old, new))
        database.commit()
        database.close()
    gw.expect_log("no such table: session:", "has 8 of sessgate's 9 tables")
    rename("session", "session_away")
    try:
        yield
    finally:
        rename("session_away", "session")


@case
def a_store_that_is_away_is_closed_and_says_try_again(t):
    with contextlib.ExitStack() as away:
        sessions = {front: Session(front) for front in house().fronts}
        runs = {front: len(front.runs()) for front in house().fronts}
        for gw in house().gateways():
            away.enter_context(store_away(gw))
        for front, session in sessions.items():
            for accept in (HTML, "*/*"):
                answer = front.ask("GET", "/app/env.cgi", cookie=session.cookie, Accept=accept)
                t.equal((answer.status, answer.header("Retry-After")), (503, "2"), front.name)
                t.match(answer.body.decode(), "Unavailable")
                t.equal(answer.header("Set-Cookie"), None, front.name)
            t.equal(front.ask("GET", "/.sessgate/session", cookie=session.cookie).status, 503, front.name)
            t.equal(front.ask("GET", "/app/open/env.cgi", cookie=session.cookie).status, 503, front.name)
            saw("a store is away", front, "503, `Retry-After`")
            t.equal(len(front.runs()), runs[front], front.name)
    for front, session in sessions.items():
        wait_until(lambda: front.ask("GET", "/app/env.cgi", cookie=session.cookie).status == 200,
                   front.name + ": nobody was logged out")


class Crowd:
    """Many at once, at every mount: half with a session, half with a dead
    cookie; until() they are told to stop, or once."""

    def __init__(self, threads, rounds=None):
        self.stop = threading.Event()
        self.rounds = rounds
        self.statuses = {front: {True: [], False: []} for front in house().fronts}
        self.wrong = []
        self.runs = {front: len(front.runs()) for front in house().fronts}
        self.threads = [threading.Thread(target=self.visit, args=(front, i % 2 == 0, session.cookie), daemon=True)
                        for front in house().fronts for session in (Session(front),) for i in range(threads)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def visit(self, front, is_live, cookie):
        done = 0
        while not self.stop.is_set() and done != self.rounds:
            done += 1
            time.sleep(0.01)
            try:
                answer = front.ask("GET", "/app/env.cgi", cookie=cookie if is_live else "sid=x")
            except (OSError, http.client.HTTPException) as e:
                self.statuses[front][is_live].append(type(e).__name__)
                continue
            self.statuses[front][is_live].append(answer.status)
            if (answer.header("X-Program") is not None) != (answer.status == 200) or (
                    answer.status == 200 and (not is_live or answer.env.get("REMOTE_USER") != "alice")):
                self.wrong.append((front.name, is_live, answer))

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "an answer takes more than a minute"
        return self.statuses

    def closed(self, t):
        """Nobody without a session came through, and the program ran for none
        but those that were answered."""
        t.equal(self.wrong, [])
        for front, both in self.statuses.items():
            t.true(200 not in both[False], front.name)
            wait_until(lambda: len(front.runs()) - self.runs[front] == both[True].count(200),
                       "%s: %d runs, %r" % (front.name, len(front.runs()) - self.runs[front], both))


def counted(both):
    return {"live" if is_live else "dead": {str(s): statuses.count(s) for s in statuses}
            for is_live, statuses in both.items()}


@case
def too_much_to_do_is_closed(t):
    # The processes of the gateways stand still: the queues fill, some wait, some
    # are refused at once.
    crowd = Crowd(24, rounds=1)
    stopped = [pid for gw in house().gateways() for pid in children(master(gw))]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        crowd.start()
        time.sleep(2)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    crowd.end()
    crowd.closed(t)
    for front, both in crowd.statuses.items():
        print("# overload, %s: %s" % (front.name, counted(both)))
    for front in house().fronts:
        session = Session(front)
        wait_until(lambda: front.ask("GET", "/app/env.cgi", cookie=session.cookie).status == 200, front.name)


@case
def a_pool_that_is_down_is_closed_and_comes_back(t):
    sessions = {front: Session(front) for front in house().fronts}
    runs = {front: len(front.runs()) for front in house().fronts}
    pool = [front for front in house().fronts if front.gw is house().pool]
    house().pool.stop()
    for front in pool:
        for cookie in (sessions[front].cookie, None):
            answer = front.ask("GET", "/app/env.cgi", cookie=cookie, Accept=HTML)
            t.true(answer.status >= 500, "%s: %r" % (front.name, answer))
            t.true("Set-Cookie" not in answer.headers, front.name)
        saw("the gateway does not run", front, "%d%s" % (
            answer.status, ", `Retry-After`" if answer.header("Retry-After") else ""))
        t.true(front.ask("GET", "/.sessgate/session", cookie=sessions[front].cookie).status >= 500, front.name)
        t.equal(len(front.runs()), runs[front], front.name)
    if house().own in house().gateways():
        os.kill(master(house().own), signal.SIGTERM)
    for front in set(house().fronts) - set(pool):
        saw("the gateway does not run", front, "is started again")
    house().pool.start()
    for front in house().fronts:
        wait_until(lambda: front.ask("GET", "/app/env.cgi", cookie=sessions[front].cookie).status == 200,
                   front.name + " works again")


@case
def a_reload_under_load_drops_nothing_and_a_restart_lets_nobody_in(t):
    crowd = Crowd(4).start()
    time.sleep(0.3)
    for gw in house().gateways():
        reload_with(gw, {"session": {"warn_before": "90 s"}})
    time.sleep(0.3)
    for front, both in crowd.end().items():
        t.equal(({*both[True]}, {*both[False]}), ({200}, {401}), front.name)
    crowd.closed(t)
    crowd = Crowd(4).start()
    time.sleep(0.2)
    house().pool.stop()
    if house().own in house().gateways():
        os.kill(master(house().own), signal.SIGTERM)
    time.sleep(0.5)
    house().pool.start()
    for front, both in crowd.statuses.items():
        wait_until(lambda: both[True][-1] == 200, front.name + " works again, under load")
    crowd.end()
    crowd.closed(t)
    for front, both in crowd.statuses.items():
        print("# restart, %s: %s" % (front.name, counted(both)))
        t.true(set(both[False]) <= {401, 500, 502, 503, 504}, both[False])


def relays(front):
    """Those that this Apache has started."""
    found = 0
    for pid in [p for child in children(front.process.pid) for p in [child] + children(child)]:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            found += b"--relay" in f.read().split(b"\0")
    return found


@row
def apache_starts_no_more_relays_than_it_was_told(t, front):
    if isinstance(front, FcgidFront):
        t.true(1 <= relays(front) <= 8, "%d relays" % relays(front))
        return
    t.equal(relays(front), 0)


# ---- the end ---------------------------------------------------------------


def table():
    """What was seen, as conf/README.md has it."""
    names = [front.name for front in FRONTS]
    lines = ["| | " + " | ".join(names) + " |", "| --- " * (len(names) + 1) + "|"]
    for what, cells in SEEN.items():
        lines.append("| %s | %s |" % (what, " | ".join(cells.get(name, "?") for name in names)))
    return "\n".join(lines)


def told():
    """What conf/README.md tells: {what: {mount: text}}."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in readme.text("conf/README.md").splitlines() if line.startswith("| ")]
    names = [front.name for front in FRONTS]
    begin = rows.index([""] + names)
    found = {}
    for row_cells in rows[begin + 2:]:
        if len(row_cells) != len(names) + 1:
            break
        found[row_cells[0]] = dict(zip(names, row_cells[1:]))
    return found


@case
def conf_readme_tells_what_was_seen(t):
    tells = told()
    for what, cells in SEEN.items():
        for name, text in cells.items():
            t.equal(tells.get(what, {}).get(name), text, "%s: %s" % (what, name))
    if not ONLY and len(sys.argv) < 2:  # All rows, all mounts: there is nothing else in it.
        t.equal(tells, SEEN, "this is what was seen:\n" + table())


@case
def the_logs_have_no_surprise(t):
    wrong = house().t.finish()
    t.equal(wrong, [])


if __name__ == "__main__":
    try:
        main()
    finally:
        close_house()
