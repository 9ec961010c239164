"""The visitor's pages and sessgate.js in a real Chromium: over TLS behind nginx
with the cookie as it comes (__Host-sid), and over plain http behind lighttpd.

The servers and two browsers, each a profile of its own, are there from the
first case to the last. With SESSGATE_PICTURES=DIRECTORY pictures of the pages
are left there, to be looked at.
"""

import os
import time
import urllib.parse

import chromium
import fronts
import harness
import readme
from chromium import Browser, Certificate, is_accessible, picture, wait_for
from harness import case, main

HOST = "site.test"
PROMISED_S = 2.0
LISTEN_JS = """
window.heard = [];
["state", "login", "logout", "context", "expiring"].forEach(function (name) {
  addEventListener("sessgate:" + name, function (event) {
    window.heard.push({ name: name, at: Date.now(), detail: event.detail });
  });
});
"""
LISTEN_HTML = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'self'; connect-src 'self'">
<title>listens</title>
<script src="/.sessgate/sessgate.js" defer></script>
<script src="/listen.js" defer></script>
<p>listens
"""
FRAME_HTML = """<!DOCTYPE html>
<title>frames</title>
<iframe src="/.sessgate/sessions"></iframe>
"""
# Logs a browser in with the Set-Cookie that the gateway has given.
IN_CGI = """#!/usr/bin/perl
my $cookie = $ENV{QUERY_STRING};
$cookie =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
print "Status: 200 OK\\r\\nSet-Cookie: $cookie\\r\\nContent-Type: text/html\\r\\n\\r\\n";
print "<!DOCTYPE html><title>in</title>in\\n";
"""


class TlsFront(fronts.NginxFront):
    def __init__(self, t, gw, certificate):
        self.certificate = certificate
        super().__init__(t, gw)

    def listen(self):
        return "127.0.0.1:%d ssl" % self.port

    def more(self):
        return ("ssl_certificate %s; ssl_certificate_key %s; access_log %s; default_type text/html;\n"
                "    types { text/javascript js; }\n"
                "    location = /in.cgi { include sessgate/params.conf; fastcgi_param SCRIPT_FILENAME $document_root/in.cgi;"
                " fastcgi_pass unix:%s; }\n"
                "    location = /app/page.html { auth_request /.sessgate-check/; include sessgate/protect.conf; }" % (
                    self.certificate.file, self.certificate.key, self.access_log(),
                    os.path.join(self.data, "fcgiwrap.sock")))

    def access_log(self):
        return os.path.join(self.data, "access.log")


class PlainFront(fronts.LighttpdFront):
    def mounts(self):
        open(self.access_log(), "w").close()
        os.chmod(self.access_log(), 0o666)
        return super().mounts() + (
            'server.modules += ( "mod_accesslog" )\naccesslog.filename = "%s"\n'
            'mimetype.assign += ( ".js" => "text/javascript" )\n' % self.access_log())

    def access_log(self):
        return os.path.join(self.gw.dir, "access.log")


class Site:
    def __init__(self, t, scheme, front, **conf):
        conf = {"gateway": dict({"login_url": "/login.html"}, **conf.get("gateway", {})),
                "session": conf.get("session", {}), "cookie": conf.get("cookie", {}),
                "policy": {"staff": {"require_role": ["staff"]}, "open": {"anonymous": True}}}
        self.gw = t.gateway({k: v for k, v in conf.items() if v})
        if harness.IS_ROOT:
            self.gw.configure({"listener": {"pool": {"group": fronts.WEB_USER}}})
        self.gw.start()
        self.front = front(t, self.gw)
        self.base = "%s://%s:%d" % (scheme, HOST, self.front.port)
        for name, text in (("listen.html", LISTEN_HTML), ("listen.js", LISTEN_JS), ("frame.html", FRAME_HTML),
                           ("in.cgi", IN_CGI), ("favicon.ico", "")):
            self.put(name, text)

    def put(self, name, text):
        path = os.path.join(self.front.root, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o755)

    def url(self, path):
        return self.base + path

    def api(self, method, route, body):
        answer = self.gw.api(method, "v1/" + route, body, address=self.gw.control)
        assert answer.status in (200, 201), answer
        return answer.json()

    def cookie(self, user="alice", **members):
        """(the session, its Set-Cookie)"""
        made = self.api("POST", "sessions", dict({"user_id": user, "client_ip": "192.0.2.7"}, **members))
        return made["session"], made["set_cookie"]

    def login(self, browser, user="alice", **members):
        """Log the browser in, in the tab that it drives."""
        members.setdefault("user_agent", browser.run("return navigator.userAgent"))
        session, cookie = self.cookie(user, **members)
        browser.go(self.url("/in.cgi?" + urllib.parse.quote(cookie, safe="")))
        return session

    def asked(self):
        """How often GET state was asked for."""
        with open(self.front.access_log()) as f:
            return f.read().count("GET /.sessgate/state ")


class House:
    def __init__(self):
        chromium.needs_chromium()
        self.t = harness.Case()
        try:
            begin = time.monotonic()
            self.start()
            print("# started in %.1f s" % (time.monotonic() - begin))
        except BaseException:
            self.close()
            raise

    def start(self):
        holder = self.t.gateway()  # Only its directory.
        certificate = Certificate(holder.dir, HOST)
        self.tls = Site(self.t, "https", lambda t, gw: TlsFront(t, gw, certificate))
        self.plain = Site(self.t, "http", PlainFront, cookie={"name": "sid", "secure": False},
                          session={"self_service_max_auth_age": "1 s"})
        self.a, self.b = [self.browser(os.path.join(holder.dir, name), certificate) for name in ("a", "b")]

    def browser(self, directory, certificate):
        browser = Browser(directory, HOST, certificate)
        self.t.at_end(browser.stop)
        return browser

    def close(self):
        wrong = self.t.finish()
        self.t.remove()
        return wrong


_house = None


def house():
    global _house
    if _house is None:
        try:
            _house = House()
        except (AssertionError, harness.Skip) as e:
            _house = e
    if isinstance(_house, Exception):
        raise type(_house)(str(_house))
    for browser in (_house.a, _house.b):
        browser.only_tab()
        browser.usual_size()
    return _house


def quiet(t, *browsers):
    """The consoles have nothing to say: no violation of a policy, no error."""
    for browser in browsers:
        t.equal(browser.messages(), [], "console")


def heard(browser, name, since=0.0):
    """The first event of that name after a moment (time.time()), or None."""
    found = [e for e in browser.run("return window.heard") if e["name"] == name and e["at"] >= since * 1000]
    return found[0] if found else None


def hears(t, browser, name, since, what):
    """The event, which came as soon as is promised."""
    event, _ = wait_for("%s: %s" % (what, name), lambda: heard(browser, name, since))
    took = event["at"] / 1000 - since
    print("# %s: %s after %.2f s" % (what, name, took))
    t.true(took < PROMISED_S, "%s is known after %.2f s" % (name, took))
    return event["detail"]


def listen(browser, url, is_logged_in):
    """A page with the script that has had its first answer."""
    browser.go(url)
    wait_for("the first state", lambda: browser.run(
        "return window.sessgate && sessgate.state && sessgate.state.authenticated === arguments[0]", is_logged_in))


# ---- the pages -------------------------------------------------------------


@case
def one_profile_ends_the_session_of_the_other(t):
    h = house()
    site, a, b = h.tls, h.a, h.b
    site.login(a, user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
    site.login(b, client_ip="2001:db8::b",
               user_agent="Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
                          "Mobile Safari/537.36")
    cookie, = b.cookies()
    t.equal((cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["path"], cookie["sameSite"]),
            ("__Host-sid", True, True, "/", "Lax"))
    for browser, own in ((a, "Firefox on Linux"), (b, "Chrome on Android")):
        browser.go(site.url("/.sessgate/sessions"))
        text = browser.text()
        for part in ("alice in 2 places", "Firefox on Linux", "Chrome on Android", "192.0.2.7", "2001:db8::b"):
            t.true(part in text, (part, text))
        t.equal([e.text for e in browser.find("li.own h2")], [own + " this one"])
    a.go(site.url("/app/env.cgi"))
    t.true("REMOTE_USER=alice" in a.text(), a.text())
    b.press("End this session")
    t.true("The session has ended." in b.text() and "nowhere else" in b.text(), b.text())
    picture(b, "ended")
    a.go(site.url("/app/env.cgi"))
    t.equal(a.driver.current_url, site.url("/login.html?return_to=/app/env.cgi"), "refused at once")
    a.go(site.url("/.sessgate/sessions"))
    t.true("Session ended" in a.text() and "Log in" in a.text(), a.text())
    t.true(all("401" in m for m in a.messages()), "the console has only the refusal itself")
    picture(a, "refused")
    b.go(site.url("/app/env.cgi"))
    t.true("REMOTE_USER=alice" in b.text())
    quiet(t, b)


@case
def the_pages_need_no_script(t):
    h = house()
    site, a = h.tls, h.a
    for _ in range(3):
        site.cookie("bob")
    site.login(a, "bob")
    a.cdp("Emulation.setScriptExecutionDisabled", value=True)
    a.go(site.url("/.sessgate/sessions"))
    t.true("bob in 4 places" in a.text(), a.text())
    a.press("End this session", 1)
    t.true("The session has ended." in a.text() and "bob in 3 places" in a.text(), a.text())
    a.press("End the other 2 sessions")
    t.true("All other sessions have ended." in a.text(), a.text())
    t.true("on this device and nowhere else" in a.text(), a.text())
    a.go(site.url("/.sessgate/logout"))
    picture(a, "logout")
    a.press("Log out")
    t.true("Logged out" in a.text(), a.text())
    picture(a, "logged-out")
    t.equal(a.cookies(), [])
    a.press("Log in")
    t.equal(a.driver.current_url, site.url("/login.html"))
    quiet(t, a)


@case
def nobody_frames_a_page(t):
    h = house()
    site, a = h.tls, h.a
    site.login(a)
    a.go(site.url("/frame.html"))
    said, _ = wait_for("the frame is refused", a.messages)
    t.true(len(said) == 1 and "frame" in said[0], said)
    a.driver.switch_to.frame(0)
    t.true("logged in" not in a.text(), a.text())
    a.driver.switch_to.default_content()


HOSTILE = ("<img src=x onerror=window.pwned=1>", "</title><script>window.pwned=1</script>",
           "\"'><svg onload=window.pwned=1>", "</style></head><body onload=window.pwned=1>", "javascript:window.pwned=1")


@case
def hostile_values_run_nowhere(t):
    h = house()
    site, a = h.tls, h.a
    for value in HOSTILE:
        site.cookie(value, user_agent=value)
        session = site.login(a, value, user_agent=value, context=value, contexts=[value])
        a.go(site.url("/.sessgate/sessions"))
        t.true(value in a.text(), a.text())
        t.equal(a.run("return [window.pwned, document.scripts.length, document.images.length]"), [None, 0, 0], value)
        quiet(t, a)
        for path in ("/.sessgate/logout?return_to=/" + urllib.parse.quote(value, safe=""),
                     "/.sessgate/sessions?done=" + urllib.parse.quote(value, safe=""),
                     "/.sessgate/" + urllib.parse.quote(value.replace("/", ""), safe=""),
                     "/app/staff/env.cgi?" + value):
            a.go(site.url(path))
            t.equal(a.run("return [window.pwned, document.images.length]"), [None, 0], path)
        t.true(all("404" in m or "403" in m for m in a.messages()), "no more than the refusals themselves")
        listen(a, site.url("/listen.html"), True)
        t.equal(a.run("return [sessgate.state.user_id, sessgate.state.context, window.pwned]"), [value, value, None])
        site.api("DELETE", "sessions/" + session["ref"], {})
    quiet(t, a)


# ---- can everybody use them? -----------------------------------------------

@case
def everybody_can_use_the_list(t):
    h = house()
    site, a = h.tls, h.a
    site.cookie("zoë", user_agent="curl/7.88.1", client_ip="2001:db8:1234:5678:9abc:def0:1234:5678")
    site.cookie("zoë", user_agent="AnUnknownProgramWithAnEndlessNameThatNobodyHasEverHeardOf/1.0")
    site.login(a, "zoë")
    a.go(site.url("/.sessgate/sessions"))
    roles = a.roles()
    t.equal([r[:2] for r in roles if r[0] == "RootWebArea"], [("RootWebArea", "Your sessions")])
    t.equal(a.run("return document.documentElement.lang"), "en")
    headings = [(name, level) for role, name, level in roles if role == "heading"]
    t.equal(headings[0], ("Your sessions", 1))
    t.equal(sorted(headings[1:]), [("AnUnknownProgramWithAnEndlessNameThatNob…", 2),
                                   ("Chrome without a window on Linux this one", 2), ("curl", 2)])
    t.equal(len([r for r in roles if r[0] == "main"]), 1)
    t.equal([len([r for r in roles if r[0] == role]) for role in ("list", "listitem")], [1, 3])
    buttons = [name for role, name, _ in roles if role == "button"]
    t.equal(sorted(buttons), [
        "End the other 2 sessions",
        "End this session (AnUnknownProgramWithAnEndlessNameThatNob…, 192.0.2.7)",
        "End this session (curl, 2001:db8:1234:5678:9abc:def0:1234:5678)",
        "Log out (Chrome without a window on Linux, 192.0.2.7)"])
    # By keyboard: each button in order, and one sees where one is.
    for name in buttons:
        a.find("body")[0].send_keys("\ue004")
        seen = a.run("var e = document.activeElement, s = getComputedStyle(e);"
                     "return [e.textContent, s.outlineStyle, parseFloat(s.outlineWidth)]")
        t.equal(seen, [name, "solid", 3])
    is_accessible(t, a, "sessions")
    quiet(t, a)


@case
def everybody_can_read_a_refusal(t):
    h = house()
    site, a = h.tls, h.a
    a.go(site.url("/.sessgate/sessions"))
    t.equal([(r[0], r[1]) for r in a.roles() if r[0] in ("heading", "link")],
            [("heading", "Not logged in"), ("link", "Log in")])
    is_accessible(t, a, "not-logged-in")
    site.login(a)
    a.go(site.url("/app/staff/env.cgi"))
    t.equal([(r[0], r[1]) for r in a.roles() if r[0] == "heading"], [("heading", "Role missing")])
    is_accessible(t, a, "role-missing")
    a.go(site.url("/.sessgate/logout"))
    t.equal([(r[0], r[1]) for r in a.roles() if r[0] in ("heading", "button")],
            [("heading", "Log out"), ("button", "Log out")])
    is_accessible(t, a, "logout")


# ---- sessgate.js -----------------------------------------------------------


@case
def other_tabs_learn_what_happens_in_one(t):
    h = house()
    site, a = h.tls, h.a
    session = site.login(a, context="c1", contexts=["c1", "c2"])
    first = a.driver.current_window_handle
    listen(a, site.url("/listen.html"), True)
    second = a.new_tab()
    listen(a, site.url("/listen.html"), True)
    begin = time.time()
    site.api("PATCH", "sessions/" + session["ref"], {"context": "c2"})
    detail = hears(t, a, "context", begin, "context changed by a program")
    t.equal((detail["context"], detail["before"]["context"]), ("c2", "c1"))
    a.tab(first)
    hears(t, a, "context", begin, "the same in the other tab")
    a.go(site.url("/.sessgate/logout"))
    begin = time.time()
    a.press("Log out")
    a.tab(second)
    detail = hears(t, a, "logout", begin, "logout in the other tab")
    t.equal((detail["authenticated"], detail["user_id"], detail["before"]["user_id"]), (False, None, "alice"))
    a.tab(first)
    begin = time.time()
    site.login(a, "bob")
    a.tab(second)
    t.equal(hears(t, a, "login", begin, "login in the other tab")["user_id"], "bob")
    a.tab(first)
    begin = time.time()
    site.login(a, "carol", idle_timeout=122)
    a.tab(second)
    detail = hears(t, a, "login", begin, "another user in the other tab")
    t.equal((detail["user_id"], heard(a, "logout", begin)["detail"]["before"]["user_id"]), ("carol", "bob"))
    # warn_before is two minutes.
    detail = hears(t, a, "expiring", begin + 2, "near its end")
    t.true(detail["warn"] and detail["user_id"] == "carol", detail)
    quiet(t, a)


@case
def what_another_device_ends_is_known_here(t):
    h = house()
    site, a, b = h.tls, h.a, h.b
    site.login(a, "dora")
    listen(a, site.url("/listen.html"), True)
    site.login(b, "dora")
    b.go(site.url("/.sessgate/sessions"))
    begin = time.time()
    b.press("End the other session")
    hears(t, a, "logout", begin, "ended from another device")
    quiet(t, a, b)


@case
def a_clock_that_is_set_back_hides_nothing(t):
    h = house()
    site, a = h.tls, h.a
    session = site.login(a, "hana", context="c1", contexts=["c1", "c2"])
    listen(a, site.url("/listen.html"), True)
    a.run("var now = Date.now; Date.now = function () { return now() - 3600000; };")
    for change in ("c2", "c1"):
        site.api("PATCH", "sessions/" + session["ref"], {"context": change})
        begin = time.monotonic()
        wait_for("the context", lambda: a.run("return sessgate.state.context") == change)
        took = time.monotonic() - begin
        print("# %s after %.2f s" % (change, took))
        t.true(took < PROMISED_S, took)
    quiet(t, a)


@case
def many_tabs_ask_as_one(t):
    h = house()
    site, a = h.tls, h.a
    session = site.login(a, "erik", context="c1", contexts=["c1", "c2"])
    tabs = [a.driver.current_window_handle] + [a.new_tab() for _ in range(7)]
    for tab in tabs:
        a.tab(tab)
        listen(a, site.url("/listen.html"), True)
    time.sleep(2)
    before, begin = site.asked(), time.monotonic()
    time.sleep(3)
    asked, took = site.asked() - before, time.monotonic() - begin
    print("# %d tabs asked %d times in %.1f s" % (len(tabs), asked, took))
    t.true(1 <= asked <= took / 1.2 + 2, asked)
    begin = time.time()
    site.api("PATCH", "sessions/" + session["ref"], {"context": "c2"})
    took = []
    for tab in tabs:
        a.tab(tab)
        event, _ = wait_for("context", lambda: heard(a, "context", begin))
        took.append(event["at"] / 1000 - begin)
    print("# known in all %d after %.2f s" % (len(tabs), max(took)))
    t.true(max(took) < PROMISED_S, took)
    quiet(t, a)


@case
def hidden_tabs_do_not_ask_and_are_right_when_shown(t):
    h = house()
    site, a = h.tls, h.a
    session = site.login(a, "fred")
    first = a.driver.current_window_handle
    a.new_tab(kind="window")
    listen(a, site.url("/listen.html"), True)
    hidden = a.driver.current_window_handle
    a.driver.minimize_window()
    wait_for("hidden", lambda: a.run("return document.hidden"))
    a.tab(first)
    time.sleep(0.3)
    before = site.asked()
    time.sleep(2.5)
    t.equal(site.asked() - before, 0, "nobody sees it, nobody asks")
    site.api("DELETE", "sessions/" + session["ref"], {})
    begin = time.time()
    a.tab(hidden)
    a.driver.set_window_size(800, 600)
    hears(t, a, "logout", begin, "shown again")
    quiet(t, a)


@case
def an_outage_logs_nobody_out(t):
    h = house()
    site, a = h.tls, h.a
    session = site.login(a, "greta", context="c1", contexts=["c1", "c2"])
    listen(a, site.url("/listen.html"), True)
    site.gw.stop()
    time.sleep(3)
    t.equal(a.run("return [sessgate.state.user_id, heard.length]"), ["greta", 1])
    site.gw.start()
    site.api("PATCH", "sessions/" + session["ref"], {"context": "c2"})
    wait_for("it goes on", lambda: heard(a, "context"), 15)
    said = a.messages()
    t.true(said and all("50" in m for m in said), said)


@case
def plain_http_works_too(t):
    h = house()
    site, a = h.plain, h.a
    site.login(a)
    t.equal([c["name"] for c in a.cookies()], ["sid"])
    first = a.driver.current_window_handle
    listen(a, site.url("/listen.html"), True)
    t.equal(a.run("return [isSecureContext, 'locks' in navigator]"), [False, False], "there are no locks")
    second = a.new_tab()
    listen(a, site.url("/listen.html"), True)
    time.sleep(2)
    before, begin = site.asked(), time.monotonic()
    time.sleep(3)
    asked, took = site.asked() - before, time.monotonic() - begin
    print("# 2 tabs asked %d times in %.1f s" % (asked, took))
    t.true(1 <= asked <= took / 1.2 + 2, asked)
    a.tab(first)
    a.go(site.url("/.sessgate/logout"))
    begin = time.time()
    a.press("Log out")
    a.tab(second)
    hears(t, a, "logout", begin, "logout over http")
    quiet(t, a)


@case
def an_old_login_goes_by_the_login_page(t):
    h = house()
    site, a = h.plain, h.a
    site.cookie()
    site.login(a)
    a.go(site.url("/.sessgate/sessions"))
    t.true("End the other session" in a.text(), a.text())
    time.sleep(1.1)
    a.press("End the other session")
    t.true("Login too long ago" in a.text(), a.text())
    t.true(all("401" in m for m in a.messages()))
    a.go(site.url("/.sessgate/sessions"))
    t.true("log in again first" in a.text() and "End " not in a.text(), a.text())
    picture(a, "old-login")
    a.press("Log in")
    t.equal(a.driver.current_url, site.url("/login.html?return_to=/.sessgate/sessions"))
    quiet(t, a)


@case
def the_example_of_conf_readme_works(t):
    h = house()
    site, a = h.tls, h.a
    page, = readme.blocks("conf/README.md", "html")
    script, = readme.blocks("conf/README.md", "js")
    site.put("site.js", script)
    site.put("app/page.html", page)
    session = site.login(a, context="north", contexts=["north", "south"])
    a.go(site.url("/app/page.html"))
    wait_for("the context", lambda: "north" in a.text())
    site.api("PATCH", "sessions/" + session["ref"], {"context": "south"})
    wait_for("the other context", lambda: "south" in a.text())
    site.api("PATCH", "sessions/" + session["ref"], {"idle_timeout": 100})
    wait_for("the warning", lambda: "about to end" in a.text())
    site.api("PATCH", "sessions/" + session["ref"], {"idle_timeout": 1000})
    a.press("Stay logged in", goes=False)
    wait_for("no warning", lambda: "about to end" not in a.text())
    site.api("DELETE", "sessions/" + session["ref"], {})
    wait_for("the login page", lambda: a.driver.current_url == site.url("/login.html?return_to=/app/page.html"))
    quiet(t, a)


@case
def the_logs_have_no_surprise(t):
    global _house
    h = house()
    _house = None
    t.equal(h.close(), [])


if __name__ == "__main__":
    chromium.use_debians_python()
    try:
        main()
    finally:
        if isinstance(_house, House):
            _house.close()
