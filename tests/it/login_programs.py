"""The login programs of conf/login/, run by a real lighttpd as CGI programs, as
they are but for the three settings at their top."""

import os
import pwd
import re
import subprocess
import urllib.parse

import harness
from fronts import CONF, LighttpdFront
from harness import case, main
from readme import text
from webserver import WEB_USER

NAMES = ("login.sh", "login.pl", "login.py", "login.php")
SETTINGS = {"/usr/bin/sessgatectl": "sessgatectl", "/run/sessgate/login.sock": "login", "/etc/sessgate/users": "users"}
USERS = {"alice": "right", "zoë": "pass wörd&=+%\\x41:\"'$(id)", "o'brien": "a+b", "-h": "dash"}
FORM = {"Content_Type": "application/x-www-form-urlencoded", "Sec_Fetch_Site": "same-origin"}
# What the programs start tells what it was started with, and for whom.
TELLER = """#!/bin/sh
{ printf '%%s\\n' %s "$@"; } >>%s
exec %s "$@"
"""


class Site(LighttpdFront):
    """lighttpd, with the four programs below /login/."""

    def __init__(self, t):
        self.programs_dir = None
        gw = t.gateway(CONF)
        gw.configure({"listener": {"login": {}}, "limit": {"login_per_minute": 0}})
        if harness.IS_ROOT:
            gw.configure({"listener": {"pool": {"group": WEB_USER}, "login": {"group": WEB_USER}}})
        gw.expect_log(r"listener\.login: the web server can open it")
        gw.start()
        self.argv = os.path.join(gw.dir, "argv")
        self.places = {"users": os.path.join(gw.dir, "users"), "login": gw.login,
                       "sessgatectl": self.teller(gw.dir, "sessgatectl", harness.SESSGATECTL)}
        self.teller(gw.dir, "openssl", harness.needs("openssl"))
        self.bin = os.path.join(gw.dir, "bin")
        self.programs_dir = os.path.join(gw.dir, "programs")
        os.mkdir(self.programs_dir)
        for name in NAMES:
            self.copy(name)
        with open(self.places["users"], "w") as f:
            for user, password in USERS.items():
                f.write("%s:%s\n" % (user, hashed(password)))
        with open(self.argv, "w"):
            pass
        if harness.IS_ROOT:
            for path in (self.argv, self.places["users"]):
                os.chown(path, pwd.getpwnam(WEB_USER).pw_uid, -1)
        super().__init__(t, gw)

    def teller(self, directory, name, program):
        folder = os.path.join(directory, "bin")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, name)
        with open(path, "w") as f:
            f.write(TELLER % (name, self.argv, program))
        os.chmod(path, 0o755)
        return path

    def copy(self, name):
        program = text("conf/login/" + name)
        for default, ours in SETTINGS.items():
            assert program.count(default) == 1, (name, default)
            program = program.replace(default, self.places[ours])
        path = os.path.join(self.programs_dir, name)
        with open(path, "w") as f:
            f.write(program)
        os.chmod(path, 0o755)

    def mounts(self):
        return """
alias.url += ( "/login/" => "%s/" )
cgi.assign += ( ".sh" => "", ".pl" => "", ".py" => "", ".php" => "%s" )
server.modules += ( "mod_setenv" )
$HTTP["url"] =^ "/login/" { setenv.set-environment = ( "PATH" => "%s:/usr/bin:/bin" ) }
""" % (self.programs_dir, harness.needs("php-cgi"), self.bin) + super().mounts()

    def log_in(self, name, user="alice", password="right", query="?return_to=/app/env.cgi", **more):
        fields = {"user": user, "password": password}
        fields.update({k: v for k, v in more.items() if k.islower()})
        headers = dict(FORM, **{k: v for k, v in more.items() if not k.islower()})
        return self.ask("POST", "/login/" + name + query, urllib.parse.urlencode(fields), **headers)


def hashed(password):
    return subprocess.run([harness.needs("openssl"), "passwd", "-6", "-stdin"], input=password, capture_output=True,
                          text=True, check=True, timeout=20).stdout.strip()


site = harness.Shared(Site)


def each(function):
    """A case for each of the programs."""
    def over_all(t):
        wrong = []
        for name in NAMES:
            try:
                function(t, site(), name)
            except AssertionError as e:
                wrong.append("%s: %s" % (name, e))
        t.true(not wrong, "\n" + "\n".join(wrong) + "\n" + site().log())
    over_all.__name__ = function.__name__
    return case(over_all)


def cookie_of(answer):
    lines = answer.headers.get_all("Set-Cookie")
    assert lines is not None and len(lines) == 1, answer
    return lines[0].replace("__Host-", "").split(";")[0]


@each
def the_form_is_shown_and_sets_nothing(t, site, name):
    answer = site.ask("GET", "/login/" + name + '?return_to=/app/"><script>')
    t.equal((answer.status, answer.headers.get_all("Set-Cookie")), (200, None))
    t.match(answer.header("Content-Type"), "(?i)^text/html; ?charset=utf-8$")
    t.equal(answer.header("Cache-Control"), "no-store")
    page = answer.body.decode()
    t.match(page, '(?s)^<!DOCTYPE html><html lang="en">.*<form method="post">.*name="user".*type="password".*</html>')
    t.true("script" not in page, "nothing of the address stands in the page")


@each
def the_right_password_is_a_session_and_leads_back(t, site, name):
    for user, password in USERS.items():
        answer = site.log_in(name, user, password, "?return_to=/app/env.cgi%3Fa%3D1")
        t.equal((answer.status, answer.header("Location")), (303, "/app/env.cgi?a=1"), user)
        t.match(answer.header("Set-Cookie"), r"^sid=[\w-]{50}; Path=/; HttpOnly; SameSite=Lax$")
        env = site.ask("GET", "/app/env.cgi", cookie=cookie_of(answer), User_Agent="x").env
        t.equal(env.get("REMOTE_USER"), user)
        shown = site.gw.api("GET", "v1/sessions/" + env["SESSION_REF"], address=site.gw.control).json()
        t.equal(shown["session"]["client_ip"] if "session" in shown else shown["client_ip"], "127.0.0.1")


@each
def no_password_and_no_token_is_in_an_argument(t, site, name):
    with open(site.argv, "w"):
        pass
    answer = site.log_in(name, "zoë", USERS["zoë"])
    t.equal(answer.status, 303)
    with open(site.argv, encoding="utf-8") as f:
        told = f.read()
    t.match(told, "(?s)^(openssl\n.*)?sessgatectl\n.*--user\nzoë\n")
    for secret in ("wörd", "pass", cookie_of(answer)[4:]):
        t.true(secret not in told.replace("passwd", ""), told)


@each
def a_wrong_password_is_refused(t, site, name):
    for user, password in (("alice", "wrong"), ("alice", ""), ("", ""), ("", "right"), ("nobody", "right"),
                           ("alice", "right "), (".*", "right"), ("alic[e]", "right"),
                           ("zoë", "right"), ("zo", "right"), ("alice:", "right"), ("$6$none$", "")):
        answer = site.log_in(name, user, password)
        t.equal((answer.status, answer.headers.get_all("Set-Cookie")), (403, None), repr((user, password)))
        t.match(answer.body.decode(), "Wrong name or password")
    for body in ("", "user=alice", "password=right", "user=alice&password", "&&=&", "user=%zz&password=%"):
        answer = site.ask("POST", "/login/" + name, body, **FORM)
        t.equal((answer.status, answer.headers.get_all("Set-Cookie")), (403, None), body)


@each
def it_leads_to_no_other_site(t, site, name):
    for query in ("", "?return_to=//evil.test/", "?return_to=https://evil.test/", "?return_to=/%5Cevil.test",
                  "?return_to=%252F%252Fevil.test", "?return_to=%2F%2Fevil.test", "?return_to=javascript:x",
                  "?return_to=/a&return_to=/b", "?RETURN_TO=/a"):
        answer = site.log_in(name, query=query)
        t.equal((answer.status, answer.header("Location")), (303, "/"), query)
        cookie_of(answer)


@each
def another_site_logs_nobody_in(t, site, name):
    own = "127.0.0.1:%d" % site.port
    for fetched, origin in (("cross-site", "http://" + own), ("same-site", ""), ("x", ""), ("", "https://evil.test"),
                            ("", "http://127.0.0.1:1"), ("", "null"), ("", "http://evil.test/://" + own),
                            ("", "http://%s.evil.test" % own), ("", "http://evil.test@" + own)):
        answer = site.log_in(name, Sec_Fetch_Site=fetched, Origin=origin)
        t.equal((answer.status, answer.headers.get_all("Set-Cookie")), (403, None), fetched + origin)
    for fetched, origin in (("same-origin", ""), ("none", ""), ("", "http://" + own), ("", "")):
        t.equal(site.log_in(name, Sec_Fetch_Site=fetched, Origin=origin).status, 303, fetched + origin)


@each
def stay_logged_in_is_a_checkbox(t, site, name):
    t.match(site.log_in(name, remember="on").header("Set-Cookie"), "; Max-Age=(2592000|25919\d\d); ")
    t.true("Max-Age" not in site.log_in(name).header("Set-Cookie"))


@each
def the_session_before_ends(t, site, name):
    first = cookie_of(site.log_in(name))
    # cookie.name is not the default here, so sessgatectl is not told of it.
    second = cookie_of(site.log_in(name, Cookie=first.replace("sid=", "__Host-sid=")))
    t.equal(site.ask("GET", "/app/env.cgi", cookie=first).status, 401)
    t.equal(site.ask("GET", "/app/env.cgi", cookie=second).status, 200)


@each
def when_nobody_can_be_logged_in_it_says_so(t, site, name):
    blocked = site.gw.api("PUT", "v1/users/alice/block", {}, address=site.gw.control)
    t.equal(blocked.status, 200)
    answer = site.log_in(name)
    t.equal((answer.status, answer.headers.get_all("Set-Cookie")), (503, None))
    t.match(answer.body.decode(), "try again later")
    site.gw.api("DELETE", "v1/users/alice/block", address=site.gw.control)
    t.equal(site.log_in(name).status, 303)


@case
def the_page_names_each_of_them(t):
    page = text("conf/README.md")
    for name in NAMES:
        t.match(page, re.escape("(login/%s)" % name))


@case
def all_of_it_was_as_it_should_be(t):
    """What the shared gateway and servers have logged, and their end."""
    t.equal(site.end(), [])


try:
    if __name__ == "__main__":
        main()
finally:
    site.end()
