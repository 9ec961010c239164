"""The operator's page: by every web server's mount, and in a real Chromium, with
traffic, stores that go away and come back, and nobody who touches it.

The page draws samples of ten seconds, so what happens is given time to be in one.
With SESSGATE_PICTURES=DIRECTORY pictures of the page are left there.
"""

import os
import signal
import threading
import time
import xml.etree.ElementTree as ElementTree

import chromium
import fronts
import harness
from chromium import Browser, is_accessible, picture, wait_for
from fronts import ApacheFront, LighttpdFront, NginxFront, printed
from harness import case, main
from stores import Fleet, run

PAGE = "/.sessgate/admin/"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
HOST = "site.test"
# A sample and the next one, and what a busy machine adds.
SAMPLES_S = 30


# ---- mounts ------------------------------------------------------------------


class LighttpdAdmin(LighttpdFront):
    def mounts(self):
        return super().mounts() + printed(self.gw, "lighttpd-admin")


class ApacheAdmin(ApacheFront):
    def more(self):
        return printed(self.gw, "apache-admin")


class NginxAdmin(NginxFront):
    def more(self):
        with open(os.path.join(self.dir, "sessgate", "admin.conf"), "w") as f:
            f.write(printed(self.gw, "nginx-admin"))
        return "include sessgate/admin.conf;"


def open_to_web(gw, **listeners):
    """These listeners, for the web server."""
    group = {"group": fronts.WEB_USER} if harness.IS_ROOT else {}
    gw.configure({"listener": {name: dict(conf, **group) for name, conf in listeners.items()}})


@case
def every_web_server_has_the_page_by_its_mount(t):
    gw = t.gateway(fronts.CONF)
    open_to_web(gw, pool={}, admin={"allow": ["admin"]})
    gw.configure({"listener": {"apache": {"address": "tcp:127.0.0.1:%d" % fronts.free_port(), "allow": ["check"]}}})
    gw.start()
    olga, _ = gw.create("olga", roles=["admin"])
    anna, _ = gw.create("anna", roles=["staff"])
    for front in (LighttpdAdmin(t, gw), ApacheAdmin(t, gw), NginxAdmin(t, gw)):
        def ask(cookie, path=PAGE, method="GET", front=front):
            return front.ask(method, path, Accept=HTML, **({"Cookie": "sid=" + cookie} if cookie else {}))
        harness.wait_until(lambda: ask(olga).status == 200, front.name)
        seen = ask(olga)
        t.equal([seen.header(h) for h in ("Refresh", "Cache-Control", "X-Frame-Options", "X-Content-Type-Options")],
                ["10", "no-store", "DENY", "nosniff"], front.name)
        t.match(seen.header("Content-Security-Policy"), "^default-src 'none'; style-src 'sha256-")
        t.true(b"<h1>sessgate</h1>" in seen.body and b"olga" not in seen.body, seen.body)
        t.equal(ask(olga, PAGE + "?still").header("Refresh"), None, front.name)
        unknown = ask(None, "/.sessgate/nothing/")
        t.equal(unknown.status, 404)
        for cookie, path, method in ((None, PAGE, "GET"), (anna, PAGE, "GET"), (anna, PAGE + "?still", "GET"),
                                     (olga, PAGE, "DELETE"), (olga, PAGE + "more", "GET"), (olga, PAGE[:-1], "GET")):
            seen = ask(cookie, path, method)
            t.equal((seen.status, seen.body), (404, unknown.body), "%s: %s %s" % (front.name, method, path))
        # The listener is for that page alone, and the others are not for it.
        t.equal(ask(olga, "/.sessgate/session").status, 200, front.name)
    t.equal(gw.api("GET", "admin/", HTTP_COOKIE="sid=" + olga).status, 404)


# ---- in a browser ------------------------------------------------------------


class Traffic(threading.Thread):
    """Checks of a session and of nobody, until it is stopped."""

    def __init__(self, host, cookie):
        super().__init__(daemon=True)
        self.host, self.cookie = host, cookie
        self.is_stopped = threading.Event()

    def run(self):
        while not self.is_stopped.wait(0.02):
            self.host.gw.check(self.cookie)
            self.host.gw.check("sid=none")

    def stop(self):
        self.is_stopped.set()
        self.join()


class House:
    """A host between proxies, lighttpd before it, an operator's browser."""

    def __init__(self, t, **conf):
        chromium.needs_chromium()
        self.t = t
        self.fleet = Fleet(t, hosts=1, conf=conf, start=False)
        self.host, = self.fleet.hosts
        gw = self.host.gw
        open_to_web(gw, pool={}, admin={"allow": ["admin"]})
        self.fleet.expect_log(r"redis|mysql|store|fence|keeper")
        self.fleet.start()
        self.front = LighttpdAdmin(t, gw)
        with open(os.path.join(self.front.root, "favicon.ico"), "w"):
            pass
        self.url = "http://%s:%d%s" % (HOST, self.front.port, PAGE)
        self.browser = Browser(os.path.join(gw.dir, "browser"), HOST)
        t.at_end(self.browser.stop)
        self.operator = self.host.create("olga", roles=["admin"])
        self.visitor = self.host.create("vera")
        self.browser.go("http://%s:%d/login.html" % (HOST, self.front.port))
        self.browser.run("document.cookie = arguments[0] + '; path=/'", self.operator.cookie)
        self.browser.go(self.url)

    def text(self):
        return self.browser.text()

    def look(self):
        """The page again, and it is well-formed."""
        self.browser.go(self.url)
        answer = self.front.ask("GET", PAGE, Accept=HTML, Cookie=self.operator.cookie)
        self.t.equal(answer.status, 200)
        text = answer.body.decode()
        return ElementTree.fromstring(text[text.index("<main>"):text.index("</body>")])

    def list_of(self, picture_id):
        """What the list below a picture of bands says."""
        return [" ".join(e.itertext()) for s in self.look().iter("section")
                if s.get("aria-labelledby") == picture_id for d in s.iter("details") for e in d.iter("li")]

    def rest(self):
        """The page as it is now, while it is measured."""
        self.browser.go(self.url + "?still")

    def moment(self):
        """Of when the page is that is shown."""
        return self.browser.find("time")[0].get_attribute("datetime")

    def waits_for(self, what, check):
        return wait_for(what, check, SAMPLES_S)


def what_was_outlives_workers_keepers_and_reloads(t, h):
    def outages():
        return [line for line in h.list_of("stores") if line.startswith(("MySQL", "Redis"))]

    gw, before = h.host.gw, outages()
    t.true(len(before) >= 2, before)
    status = h.host.status()
    gw.expect_log("killed by signal 9")
    for pid in (status["keeper"]["pid"], status["workers"][0]["pid"]):
        os.kill(pid, signal.SIGKILL)
    harness.wait_until(lambda: gw.check(h.visitor.cookie).status == 200, "another worker")
    gw.process.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: h.host.status()["generation"] > status["generation"], "another generation")
    # The oldest lines are the last, and stand.
    t.true(set(before) <= set(outages()), (before, outages()))
    facts = {e.find("dt").text: e.find("dd").text for e in h.look().iter("div") if e.find("dt") is not None}
    t.equal((facts["Reloads since then"], facts["Keepers that died"]), ("1", "1"))


@case
def outages_are_seen_by_who_looks_and_does_nothing(t):
    h = House(t, gateway={"workers": 1})
    b, host = h.browser, h.host
    h.waits_for("the keeper has looked", lambda: "All is well." in h.text())
    first = b.driver.current_window_handle
    second = b.new_tab(h.url)
    b.press("Stop refreshing")
    t.true("This page stays as it is." in b.text(), b.text())
    still = h.moment()
    b.tab(first)
    b.cdp("Emulation.setScriptExecutionDisabled", value=True)
    b.go(h.url)
    b.run("scrollTo(0, 700)")
    traffic = Traffic(host, h.visitor.cookie)
    traffic.start()
    try:
        # It comes by itself, and says what status says.
        host.redis.cut()
        h.waits_for("redis is told to be down", lambda: "redis is down" in h.text())
        t.true(b.run("return scrollY") > 300, "one stays where one was")
        t.true("1 thing is wrong" in h.text(), h.text())
        problem, = host.status()["problems"]
        t.equal(problem.split(" for ")[0], "redis is down")
        h.waits_for("redis in the list", lambda: any("Redis" in line and "down" in line for line in h.list_of("stores")))
        host.redis.heal()
        h.waits_for("all is well", lambda: "All is well." in h.text())
        host.mysql.cut()
        h.waits_for("mysql is told to be down", lambda: "mysql is down" in h.text())
        h.waits_for("mysql in the list", lambda: any("MySQL" in line and "down" in line for line in h.list_of("stores")))
        t.true(any("Lookups" in line and "from Redis alone" in line for line in h.list_of("stores")))
        picture(b, "operator-outage")
        host.mysql.heal()
        h.waits_for("all is well", lambda: "All is well." in h.text())
    finally:
        traffic.stop()
    page = h.look()
    figures = {e.find("dt").text: e.find("dd").text for e in page.iter("div") if e.find("dt") is not None}
    t.match(figures["Checks allowed"], r"^[0-9.]+k?/s$")
    t.true(figures["Checks allowed"] != "0/s", figures)
    t.match(figures["Workers busy"], "^[01] of 1$")
    reasons = [row.find("th").text for row in page.iter("tr") if row.find("th").get("scope") == "row"]
    t.true(any(r.startswith("malformed: ") for r in reasons), reasons)
    t.match(figures["99 of 100 within"], r"^[0-9.]+ (.s|ms|s)$")
    # Both stand in the picture, and what was before the start is no line.
    worst = {e.find("title").text.split(",")[0]: [r.get("class") for r in e.iter("rect")] for e in page.iter("svg")
             if e.find("title") is not None and next(e.iter("rect"), None) is not None}
    t.true("b3" in worst["MySQL"] and "b3" in worst["Redis"] and worst["MySQL"][0] == "gap", worst)
    b.tab(second)
    t.equal(h.moment(), still, "the page that was told to stay")
    b.press("Go on refreshing")
    t.true("refreshes itself every ten seconds" in b.text(), b.text())
    t.true(h.moment() != still)
    t.equal(b.messages(), [], "console")
    h.rest()
    is_accessible(t, b, "operator")
    what_was_outlives_workers_keepers_and_reloads(t, h)


@case
def who_does_not_see_the_pictures_hears_them(t):
    h = House(t)
    b = h.browser
    h.waits_for("two samples", lambda: "not known" not in " ".join(
        e.get_attribute("textContent") for e in h.browser.find("#checks ~ ul b")) or b.go(h.url))
    roles = b.roles()
    t.equal([r[:2] for r in roles if r[0] == "RootWebArea"], [("RootWebArea", "sessgate")])
    headings = [(name, level) for role, name, level in roles if role == "heading"]
    t.equal(headings[0], ("sessgate", 1))
    t.true(len(headings) > 8 and all(level == 2 for _, level in headings[1:]), headings)
    images = [name for role, name, _ in roles if role == "image"]
    t.true("Checks a second, the last hour" in images and "MySQL, the last hour" in images, images)
    t.equal(len(images), len(set(images)), "each is told from the others")
    t.equal([name for role, name, _ in roles if role == "link"], ["Stop refreshing"])
    described = b.run("return Array.from(document.querySelectorAll('svg[role=img]')).map(function (e) {"
                      " return document.getElementById(e.getAttribute('aria-describedby')).textContent; })")
    t.equal(len(described), len(images))
    t.true(all(described), described)
    h.rest()
    tables = b.run("return Array.from(document.querySelectorAll('details')).map(function (e) {"
                   " e.open = true; return e.querySelectorAll('tbody tr').length; })")
    t.true(len(tables) >= 7 and set(tables) <= {0, 12}, tables)
    t.equal(len([1 for role, _, _ in b.roles() if role == "table"]), len(b.find("table")))
    is_accessible(t, b, "operator-tables")


@case
def a_page_that_meets_both_outages_comes_back_by_itself(t):
    h = House(t, cache={"size": "0"})
    b = h.browser
    h.host.redis.cut()
    h.host.mysql.cut()
    h.waits_for("503", lambda: "Unavailable" in h.text())
    t.true("sessgatectl status" in h.text(), h.text())
    h.host.redis.heal()
    h.host.mysql.heal()
    h.waits_for("the page again", lambda: "The last minute" in h.text())
    t.true(all("503" in m for m in b.messages()))


if __name__ == "__main__":
    chromium.use_debians_python()
    run(main)
