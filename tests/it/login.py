"""POST login behind real web servers that authenticate their own users, with the
files login.conf of conf/, as `sessgatectl config mount` prints them.

A case is a row that is put to lighttpd, Apache and nginx.
"""

import base64
import os
import pwd
import subprocess
import sys
import tempfile
import threading
import time

import fronts
import harness
from fronts import ApacheFront, LighttpdFront, NginxFront, adjust, printed
from harness import case, main, wait_until
from webserver import WEB_USER

ONLY = sys.argv[2] if len(sys.argv) > 2 else ""
LOGIN = "/.sessgate/login"
SAME = {"Sec_Fetch_Site": "same-origin", "Content_Type": "application/x-www-form-urlencoded"}
USERS = {"alice": "right", "bob": "b:o b\"", "zoë": "z"}
# The proxy whom the gateway trusts is this host; who is behind it is limited.
CONF = dict(fronts.CONF, limit={"login_per_minute": 10})
CONF["gateway"] = dict(CONF["gateway"], trusted_proxies=["127.0.0.1"])


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()}


def hashed(password):
    """As the files of conf/ say."""
    done = subprocess.run([harness.needs("openssl"), "passwd", "-6", "-stdin"], input=password, capture_output=True,
                          text=True, check=True, timeout=20)
    return done.stdout.strip()


class LoginFront:
    """Mixed into one of fronts.py: its login.conf beside the others. change: what
    is done to its text first. whole: the whole site needs a session."""

    def __init__(self, t, gw, users, change=None, whole=False):
        self.users, self.change, self.whole = users, change, whole
        super().__init__(t, gw)
        self.name = type(self).server

    def login_conf(self, name):
        text = printed(self.gw, name)
        if self.change is not None:
            changed = self.change(text)
            assert changed != text, "there is something to change"
            text = changed
        return text

    def logs_in(self, user="alice", password="right", body="return_to=/app/env.cgi", **headers):
        given = dict(basic(user, password), **SAME)
        given.update(headers)
        return self.ask("POST", LOGIN, body, **given)


class LighttpdLogin(LoginFront, LighttpdFront):
    server = "lighttpd"

    def mounts(self):
        main_conf = super().mounts()
        if self.whole:
            main_conf = adjust(main_conf, sessgate_protect="/")
        return adjust(self.login_conf("lighttpd-login"), sessgate_users=self.users) + main_conf


class ApacheLogin(LoginFront, ApacheFront):
    server = "apache"
    modules = ApacheFront.modules + ("auth_basic", "authn_file")

    def more(self):
        return "" if self.whole else self.own()

    def own(self):
        return adjust(self.login_conf("apache-login"), SESSGATE_USERS=self.users)

    def write_conf(self, name, text):
        # Of two Locations for one path the later one counts.
        if self.whole and name == "mount.conf":
            text = adjust(text, SESSGATE_PROTECT="/") + self.own()
        super().write_conf(name, text)


class NginxLogin(LoginFront, NginxFront):
    server = "nginx"

    def more(self):
        with open(os.path.join(self.dir, "sessgate", "login.conf"), "w") as f:
            f.write(self.login_conf("nginx-login").replace("/etc/sessgate/users", self.users))
        return ("auth_request /.sessgate-check/; " if self.whole else "") + "include sessgate/login.conf;"


SERVERS = {front.server: front for front in (LighttpdLogin, ApacheLogin, NginxLogin)}


class Site:
    """One gateway, the users, and a front when it is asked for."""

    def __init__(self, t, conf=None):
        self.t, self.fronts = t, {}
        self.gw = t.gateway(conf or CONF)
        self.gw.configure({"listener": {
            "remote": {"allow": ["remote-user"]},
            "apache": {"address": "tcp:127.0.0.1:%d" % fronts.free_port(), "allow": ["check"]}}})
        if harness.IS_ROOT:
            self.gw.configure({"listener": {"pool": {"group": WEB_USER}, "remote": {"group": WEB_USER}}})
        self.gw.expect_log(r"listener\.remote: a program that runs as the web server's user can log in as anybody")
        self.users = os.path.join(tempfile.mkdtemp(prefix="sgusers."), "users")
        t.at_end(subprocess.run, ["rm", "-rf", os.path.dirname(self.users)])
        with open(self.users, "w") as f:
            f.write("".join("%s:%s\n" % (user, hashed(word)) for user, word in USERS.items()))
        # The web server alone reads it.
        if harness.IS_ROOT:
            for path in (os.path.dirname(self.users), self.users):
                os.chown(path, pwd.getpwnam(WEB_USER).pw_uid, -1)
        os.chmod(self.users, 0o400)
        self.gw.start()

    def front(self, server, change=None, whole=False):
        """change None: the one that all rows share."""
        if change is not None or whole:
            return SERVERS[server](self.t, self.gw, self.users, change, whole)
        if server not in self.fronts:
            self.fronts[server] = SERVERS[server](self.t, self.gw, self.users)
        return self.fronts[server]

    def created(self):
        counters = self.gw.api("GET", "v1/status", address=self.gw.keeper_socket).json()["counters"]
        return counters["created"]


site = harness.Shared(Site)


def row(function):
    """A case that asks each server, and tells of each what was wrong."""
    def over_all(t):
        wrong = []
        for server in SERVERS:
            if ONLY not in server:
                continue
            try:
                function(t, server, site())
            except (AssertionError, OSError) as e:
                wrong.append("%s: %s: %s" % (server, type(e).__name__, e))
        t.true(not wrong, "\n" + "\n".join(wrong))
    over_all.__name__ = function.__name__
    return case(over_all)


def is_closed(answer, status=None):
    """No session came of it."""
    assert answer.status >= 400 and (status is None or answer.status == status), answer
    assert answer.headers.get_all("Set-Cookie") is None, answer


def cookie_of(answer):
    lines = answer.headers.get_all("Set-Cookie")
    assert lines is not None and len(lines) == 1, answer
    return lines[0].split(";")[0]


@row
def the_right_password_is_a_session(t, server, site):
    front = site.front(server)
    for user, password in USERS.items():
        answer = front.logs_in(user, password, "return_to=%2Fapp%2Fenv.cgi%3Fa%3D1")
        t.equal((answer.status, answer.header("Location")), (303, "/app/env.cgi?a=1"))
        t.match(answer.header("Set-Cookie"), r"^sid=[\w-]{50}; Path=/; HttpOnly; SameSite=Lax$")
        cookie = cookie_of(answer)
        env = front.ask("GET", "/app/env.cgi", cookie=cookie).env
        t.equal((env.get("REMOTE_USER"), env.get("AUTH_TYPE"), env.get("SESSION_STATE")), (user, "Session", "live"))
        # The session is enough, and it is the session's user whatever Basic says.
        env = front.ask("GET", "/app/env.cgi", cookie=cookie, **basic("bob", "wrong")).env
        t.equal(env.get("REMOTE_USER"), user)
    answer = front.logs_in(body="{}", Content_Type="application/json")
    t.equal(answer.status, 200)
    t.match(answer.body.decode(), '"user_id":"alice"')
    audit = site.gw.api("GET", "v1/audit?user=alice&kind=create&limit=1", address=site.gw.control).json()
    t.match(str(audit), "'actor': 'remote-user'")


@row
def the_page_asks_for_the_password_and_has_a_button(t, server, site):
    front = site.front(server)
    is_closed(front.ask("GET", LOGIN + "?return_to=/app/", Accept="text/html"), 401)
    answer = front.ask("GET", LOGIN + "?return_to=/app/", Accept="text/html", **basic("alice", "right"))
    t.equal((answer.status, answer.headers.get_all("Set-Cookie")), (200, None))
    t.match(answer.body.decode(), '(?s)As <strong><bdi>alice<.*action="%s".*name="return_to" value="/app/".*<button ' % LOGIN)


@row
def a_wrong_password_is_closed(t, server, site):
    front = site.front(server)
    before = site.created()
    for user, password in (("alice", "wrong"), ("alice", ""), ("alice", "b:o b\""), ("nobody", "right"), ("", "right"),
                           ("", ""), ("alice\0", "right"), ("ALICE", "right"), ("alice ", "right")):
        answer = front.logs_in(user, password)
        is_closed(answer)
        t.true(answer.status in (400, 401), repr((user, password, answer)))
    for value in ("Basic", "Basic x", "Basic " + "A" * 3000, "basic YWxpY2U=", "Bearer YWxpY2U6cmlnaHQ=", "Negotiate x",
                  "Digest username=\"alice\""):
        is_closed(front.ask("POST", LOGIN, "return_to=/", Authorization=value, **SAME))
    answer = front.ask("POST", LOGIN, "return_to=/", **SAME)
    is_closed(answer, 401)
    t.match(answer.header("WWW-Authenticate"), "^Basic ")
    t.equal(site.created(), before)


SPOOFS = ["Remote-User: mallory", "REMOTE_USER: mallory", "Remote_User: mallory", "X-Remote-User: mallory",
          "X-Forwarded-User: mallory", "X_Remote_User: mallory", "HTTP_REMOTE_USER: mallory",
          "Redirect-Remote-User: mallory", "REDIRECT_REMOTE_USER: mallory", "Variable-REMOTE_USER: mallory",
          "Auth-Type: Basic", "AUTH_TYPE: Basic", "Auth_Type: Session", "REDIRECT_AUTH_TYPE: Basic",
          "Proxy: http://evil.test/", "Proxy-Authorization: Basic YWxpY2U6cmlnaHQ=", "Sessgate-Check: 1",
          "SESSGATE_REALM: x", "Sessgate-Realm: x", "X-Forwarded-For: 127.0.0.1", "X-HTTP-Method-Override: GET",
          "X-Original-URL: " + LOGIN, "Authorization : Basic YWxpY2U6cmlnaHQ=", "Connection: Authorization"]


def post(front, lines, path=LOGIN):
    body = b"return_to=/app/"
    head = ["POST %s HTTP/1.1" % path, "Host: site.test", "Connection: close", "Sec-Fetch-Site: same-origin",
            "Content-Type: application/x-www-form-urlencoded", "Content-Length: %d" % len(body)] + lines
    return front.raw(("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body)


def user_of(t, front, data):
    """Whom the answer has logged in; None: nobody."""
    lines = [line for line in data.split(b"\r\n") if line.lower().startswith(b"set-cookie:")]
    if not lines:
        return None
    t.equal(len(lines), 1)
    cookie = lines[0].split(b":", 1)[1].split(b";")[0].strip().decode()
    return front.ask("GET", "/app/env.cgi", cookie=cookie).env["REMOTE_USER"]


@row
def no_header_names_the_user(t, server, site):
    front = site.front(server)
    before = site.created()
    for spoof in SPOOFS:
        data = post(front, [spoof])
        t.true(data.startswith(b"HTTP/1.1 4"), "%s: %r" % (spoof, data[:80]))
        t.equal(user_of(t, front, data), None, spoof)
    t.equal(site.created(), before)
    right = "Authorization: " + basic("alice", "right")["Authorization"]
    through = 0
    for spoof in SPOOFS:
        data = post(front, [spoof, right])
        user = user_of(t, front, data)
        t.true(user in (None, "alice"), "%s: %r" % (spoof, data[:80]))
        through += user == "alice"
    t.true(through > len(SPOOFS) // 2, "most are let through: %d" % through)


@row
def two_answers_to_who_it_is_are_none_or_the_right_one(t, server, site):
    front = site.front(server)
    right, wrong = (("Authorization: " + basic(*who)["Authorization"]) for who in (("alice", "right"), ("bob", "x")))
    for lines in ([right, wrong], [wrong, right], [right, right]):
        t.true(user_of(t, front, post(front, lines)) in (None, "alice"), lines)


@row
def another_way_to_write_the_path_is_no_way_around(t, server, site):
    front = site.front(server)
    before = site.created()
    for path in ("/.sessgate/%6cogin", "//.sessgate/login", "/.sessgate//login", "/.sessgate/login/", "/.sessgate/LOGIN",
                 "/.sessgate/x/../login", "/.sessgate/./login", "/%2esessgate/login", "/.sessgate%2flogin",
                 "/.sessgate/login;x", "/.sessgate/login%00", "/.sessgate/login?x", "/.sessgate/login#x",
                 "/app/../.sessgate/login", "http://site.test/.sessgate/login", "/.sessgate/login%20", "/.sessgate/login."):
        for lines in ([], ["Remote-User: alice"], ["Authorization: Basic eDp5"]):
            data = post(front, lines, path)
            t.true(data.startswith(b"HTTP/1.1 4") and b"et-Cookie" not in data, "%s: %r" % (path, data[:80]))
    t.equal(site.created(), before)


@row
def another_site_logs_nobody_in(t, server, site):
    front = site.front(server)
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
                    {"Origin": "http://evil.test", "Sec_Fetch_Site": ""}, {"Origin": "null", "Sec_Fetch_Site": ""},
                    {"Sec_Fetch_Site": ""}):
        is_closed(front.logs_in(**headers), 403)
    own = {"Origin": "http://127.0.0.1:%d" % front.port, "Sec_Fetch_Site": ""}
    t.equal(front.logs_in(**own).status, 303)


def without(*words):
    """These words are left out; of "a -> b" there is b in their place."""
    def change(text):
        for word in words:
            old, _, new = word.partition(" -> ")
            assert old in text, (old, text)
            text = text.replace(old, new)
        return text
    return change


def without_part(begin, end, new=""):
    return lambda text: text[:text.index(begin)] + new + text[text.index(end):]


CLOSED = {
    "lighttpd": [without_part("    auth.backend", "    fastcgi.server")],
    "apache": [without("    Require valid-user"), without("    Require valid-user ->     Require all granted"),
               without_part("    AuthType", "    # In a Location", "    Require all granted\n")],
    "nginx": [without('    auth_basic "Log in";'), without("    auth_basic_user_file /etc/sessgate/users;"),
              without('auth_basic "Log in"; -> auth_basic off;'), without("    satisfy any;"),
              without("    satisfy any;", '    auth_basic "Log in";'),
              without("AUTH_TYPE Basic -> AUTH_TYPE Session"), without("    fastcgi_param AUTH_TYPE Basic;"),
              without("    fastcgi_param REMOTE_USER $remote_user;"),
              without('REMOTE_USER $remote_user; -> REMOTE_USER "";'), without('AUTH_TYPE Basic -> AUTH_TYPE ""'),
              without("    fastcgi_param REMOTE_USER $remote_user; -> "
                      "    fastcgi_param REMOTE_USER mallory; fastcgi_param REMOTE_USER $remote_user;")],
}


@row
def where_nobody_is_authenticated_it_is_closed(t, server, site):
    before = site.created()
    for change in CLOSED[server]:
        front = site.front(server, change)
        right = "Authorization: " + basic("alice", "right")["Authorization"]
        for lines in [[right], ["Authorization: " + basic("mallory", "x")["Authorization"]], []] + [[s] for s in SPOOFS]:
            data = post(front, lines)
            t.true(data[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5") and b"et-Cookie" not in data,
                   "%s: %r" % (lines, data[:80]))
        front.stop()
    t.equal(site.created(), before)


@row
def another_listener_is_closed(t, server, site):
    remote = os.path.join(site.gw.run_dir, "remote.sock")
    front = site.front(server, lambda text: text.replace(remote, site.gw.pool))
    is_closed(front.logs_in(), 403)
    answer = front.ask("GET", LOGIN, Accept="text/html", **basic("alice", "right"))
    is_closed(answer, 403)
    t.match(answer.body.decode(), "does not log in users here")
    front.stop()


@row
def the_session_before_ends(t, server, site):
    front = site.front(server)
    first = cookie_of(front.logs_in())
    answer = front.logs_in("bob", USERS["bob"], Cookie=first)
    second = cookie_of(answer)
    t.true(first != second, "a new token")
    t.equal(front.ask("GET", "/app/env.cgi", cookie=first).status, 401)
    t.equal(front.ask("GET", "/app/env.cgi", cookie=second).env["REMOTE_USER"], "bob")
    planted = "sid=" + "A" * 50
    t.true(cookie_of(front.logs_in(Cookie=planted)) != planted, "never the one that was sent")


@row
def a_session_stands_for_no_password(t, server, site):
    """Also where the whole site needs one, and so the login does."""
    front = site.front(server, whole=True)
    cookie = cookie_of(site.front(server).logs_in("bob", USERS["bob"]))
    t.equal(front.ask("GET", "/app/env.cgi", cookie=cookie).env["REMOTE_USER"], "bob")
    before = site.created()
    for user, password in (("alice", "wrong"), ("alice", ""), ("root", "x"), ("bob", "wrong")):
        is_closed(front.logs_in(user, password, Cookie=cookie))
    is_closed(front.ask("POST", LOGIN, "return_to=/", cookie=cookie, **SAME))
    t.equal(site.created(), before)
    # Who has none comes to the login all the same, and in nginx to the API.
    t.equal(front.logs_in().status, 303)
    if server == "nginx":
        t.equal(front.ask("GET", "/.sessgate/state").status, 200)
        answer = front.ask("GET", "/app/env.cgi", Accept="text/html")
        t.equal((answer.status, answer.header("Location")), (302, "/login.html?return_to=/app/env.cgi"))
    front.stop()


@row
def remember_survives_the_browsers_end(t, server, site):
    """curl's -j is that end: cookies without a lifetime are thrown away."""
    front, curl = site.front(server), harness.needs("curl")
    for remember, status in (("&remember=1", "200"), ("", "401")):
        jar = os.path.join(front.dir, "jar")
        url = "http://127.0.0.1:%d" % front.port
        common = [curl, "-s", "-o", "/dev/null", "-w", "%{http_code}"]
        for wanted, more in (
                ("303", ["-c", jar, "-u", "alice:right", "-H", "Sec-Fetch-Site: same-origin", "-d",
                         "return_to=/" + remember, url + LOGIN]),
                ("200", ["-b", jar, url + "/app/env.cgi"]),
                (status, ["-j", "-b", jar, "-c", jar, url + "/app/env.cgi"])):
            done = subprocess.run(common + more, capture_output=True, text=True, timeout=20, check=True)
            t.equal(done.stdout, wanted, more)
        os.unlink(jar)


@row
def one_address_may_log_in_so_often_by_all_workers(t, server, site):
    """At once, by four workers: ten get through, of IPv6 a network of 64 bits."""
    front = site.front(server)
    number = list(SERVERS).index(server)
    for addresses in (["203.0.113.%d" % number], ["2001:db8:%d::%d" % (number, n) for n in range(25)]):
        statuses = []

        def ask(address):
            statuses.append(front.logs_in(X_Forwarded_For="192.0.2.1, " + address))
        # Not over the end of a minute, by which it is counted.
        wait_until(lambda: time.clock_gettime(time.CLOCK_MONOTONIC) % 60 < 50, "a minute begins", 15)
        threads = [threading.Thread(target=ask, args=(addresses[n % len(addresses)],)) for n in range(25)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        through = [a for a in statuses if a.status == 303]
        refused = [a for a in statuses if a.status == 429]
        t.equal((len(through), len(refused)), (10, 15), [a.status for a in statuses])
        for answer in refused:
            is_closed(answer, 429)
            t.true(1 <= int(answer.header("Retry-After")) <= 60, answer.header("Retry-After"))
    t.equal(front.logs_in(X_Forwarded_For="203.0.113.%d" % (100 + number)).status, 303)


@case
def all_of_it_was_as_it_should_be(t):
    """What the shared gateway and servers have logged, and their end."""
    t.equal(site.end(), [])


try:
    if __name__ == "__main__":
        main()
finally:
    site.end()
