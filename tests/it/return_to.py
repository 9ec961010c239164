"""No return_to leads to another site: each line of return_to.txt goes through each
route that sends a browser somewhere, and a browser's URL parser (Node.js', which
is WHATWG's) judges where it would come to."""

import html
import json
import os
import re
import subprocess
import urllib.parse

import harness
from harness import AUTHORIZER, case, fastcgi, main, web_params
from readme import text

SITE = "https://site.test"
ALLOWED = "https://app.test/in?x=1"
FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded", "HTTP_SEC_FETCH_SITE": "same-origin"}
WEB_SERVER = {"REMOTE_USER": "alice", "AUTH_TYPE": "Basic"}
PAGE = "text/html,application/xhtml+xml,*/*;q=0.8"


def corpus():
    """(section, payload as bytes)"""
    section, found = None, []
    for line in text("tests/it/return_to.txt").splitlines()[1:]:
        if line.startswith("# "):
            section = line[2:].split(":")[0]
        else:
            found.append((section, b"" if line == "%EMPTY%" else urllib.parse.unquote_to_bytes(line)))
    return found


def judge(locations, base=SITE + "/.sessgate/login"):
    """bytes -> what the browser makes of them"""
    done = subprocess.run([harness.needs("node"), os.path.join(harness.SOURCE, "tests/it/return_to.js")],
                          input=json.dumps({"base": base, "locations": [b.decode("latin-1") for b in locations]}),
                          capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def location_of(answer):
    """As bytes; None: there is none."""
    head = answer.stdout.partition(b"\r\n\r\n")[0]
    found = [line[10:] for line in head.split(b"\r\n") if line.lower().startswith(b"location: ")]
    assert len(found) <= 1, answer
    assert all(0x20 < byte < 0x7f for line in found for byte in line), answer
    return found[0] if found else None


class Routes:
    """Each takes a payload and gives (name, Location or None) of what it does."""

    def __init__(self, t, login_url="/login.html"):
        self.gw = t.gateway({"gateway": {"login_url": login_url, "return_to_allow": [ALLOWED]},
                             "limit": {"login_per_minute": 0}, "log": {"denials_per_minute": 0},
                             "listener": {"remote": {"allow": ["remote-user"]}, "login": {"mode": "0600"}}})
        self.gw.expect_log(r"listener\.")
        self.gw.start()
        self.remote = os.path.join(self.gw.run_dir, "remote.sock")

    def login(self, payload):
        return location_of(self.gw.api("POST", "login", b"return_to=" + quoted(payload), address=self.remote,
                                       **FORM, **WEB_SERVER))

    def logout(self, payload):
        return location_of(self.gw.api("POST", "logout", b"return_to=" + quoted(payload), **FORM))

    def login_page(self, payload):
        return self.field(self.gw.api("GET", "login?return_to=" + quoted(payload).decode(), address=self.remote,
                                      **WEB_SERVER))

    def logout_page(self, payload):
        return self.field(self.gw.api("GET", "logout?return_to=" + quoted(payload).decode(),
                                      HTTP_COOKIE="__Host-sid=x"))

    @staticmethod
    def field(answer):
        """What the page's form would send on; it must be a good one already."""
        assert answer.status == 200, answer
        page = answer.body.decode()
        assert re.findall(r'(?:action|href|src)="([^"]*)"', page), page
        for link in re.findall(r'(?:action|href|src)="([^"]*)"', page):
            assert link.startswith("/") and not link.startswith("//"), link
        found = re.findall(r'name="return_to" value="([^"]*)"', page)
        assert len(found) <= 1, page
        return html.unescape(found[0]).encode() if found else None

    def create(self, payload):
        try:
            body = {"user_id": "alice", "return_to": payload.decode()}
        except UnicodeDecodeError:
            return None
        answer = self.gw.api("POST", "v1/sessions", body, address=self.gw.login)
        if answer.status == 400 and b"\0" in payload:
            return None
        assert answer.status == 201, answer
        where = answer.json()["return_to"]
        return None if where is None else where.encode()

    ALL = (login, logout, login_page, logout_page, create)


def quoted(payload):
    return urllib.parse.quote(payload, safe="").encode()


def is_ours(found, payload):
    return found is not None and (found["origin"] == SITE or payload == ALLOWED.encode())


@case
def the_list_is_long_and_most_of_it_would_lead_away(t):
    payloads = [payload for _, payload in corpus()]
    t.equal(len(payloads), len(set(payloads)))
    t.true(len(payloads) >= 300, len(payloads))
    away = [p for p, found in zip(payloads, judge(payloads)) if not is_ours(found, b"")]
    t.true(len(away) >= 200, "%d lead away" % len(away))


@case
def no_route_leads_to_another_site(t):
    routes, wrong = Routes(t), []
    payloads = corpus()
    for route in Routes.ALL:
        where = [route(routes, payload) for _, payload in payloads]
        told = [w for w in where if w is not None]
        judged = iter(judge(told))
        for (section, payload), location in zip(payloads, where):
            found = next(judged) if location is not None else None
            if location is not None and not is_ours(found, payload):
                wrong.append("%s: %r: leads to %r: %s" % (route.__name__, payload, location, found))
            if location is not None and re.search(rb"[\0-\x20\x7f\\]", payload):
                wrong.append("%s: %r: is taken" % (route.__name__, payload))
            if location is None and section == "stays":
                wrong.append("%s: %r: leads nowhere" % (route.__name__, payload))
        t.true(len(told) >= 40, "%s: only %d are taken" % (route.__name__, len(told)))
    t.equal(wrong, [])


@case
def what_is_allowed_leads_there(t):
    routes = Routes(t)
    payloads = [p for section, p in corpus() if section == "stays"] + [ALLOWED.encode()]
    for route in (Routes.login, Routes.logout, Routes.create):
        where = [route(routes, p) for p in payloads]
        for payload, meant, found in zip(payloads, judge(utf8(payloads)), judge(where)):
            # A percent sign that begins nothing is written as one.
            wanted = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", meant["href"])
            t.equal(same_case(found["href"]), same_case(wanted), repr(payload))


def utf8(payloads):
    """As a browser has them: text. judge() takes a character a byte."""
    return [urllib.parse.quote(p, safe="/:?#[]@!$&'()*+,;=%~^|{}`<>\"").encode() for p in payloads]


def same_case(href):
    """%c3 and %C3 are one, and so are what a parser encodes and what it leaves."""
    return urllib.parse.unquote_to_bytes(href)


@case
def a_refusal_leads_to_the_login_page_and_brings_all_of_it_there(t):
    for login_url in ("/login.html", "/login.html?realm=x"):
        routes, wrong, asked = Routes(t, login_url), [], []
        for _, payload in corpus():
            if b"\0" in payload or payload == b"":
                continue  # Malformed: tests/unit/head.c.
            answer = fastcgi(routes.gw.pool, web_params(uri="/x", REQUEST_URI=payload, HTTP_ACCEPT=PAGE),
                             role=AUTHORIZER)
            t.equal(answer.status, 302, repr(payload))
            asked.append((payload, location_of(answer)))
        for (payload, location), found in zip(asked, judge([location for _, location in asked])):
            if found is None or found["origin"] != SITE or not found["href"].startswith(SITE + login_url):
                wrong.append("%r: %r: %s" % (payload, location, found))
                continue
            brought = [] if len(payload) > 2048 else [payload.decode("utf-8", "replace")]
            if found["return_to"] != brought:
                wrong.append("%r: the login page gets %s" % (payload, found["return_to"]))
        t.equal(wrong, [])


main()
