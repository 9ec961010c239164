"""The whole story of the quickstart, told by requests and checked.

    story.py ADDRESS WORK    every step; exit 0 when all held
    story.py --ping ADDRESS  prints "up" when web server and gateway answer

ADDRESS is the lighttpd that scripts/quickstart started, WORK its directory
(for sessgatectl, and for the marker that the old program writes when it runs).
"""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse


class Browser:
    """Keeps one cookie, follows nothing."""

    def __init__(self, address):
        self.host = urllib.parse.urlsplit(address).netloc
        self.cookie = None

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection(self.host, timeout=10)
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        headers.setdefault("User-Agent", "quickstart")
        headers.setdefault("Sec-Fetch-Site", "same-origin")
        if self.cookie:
            headers["Cookie"] = self.cookie
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.body = answer.read().decode("utf-8", "replace")
        connection.close()
        set_cookie = answer.headers.get("Set-Cookie")
        if set_cookie:
            self.cookie = set_cookie.split(";")[0]
        return answer

    def log_in(self, user):
        form = urllib.parse.urlencode({"user": user, "password": user + "-secret"})
        answer = self.ask("POST", "/login.cgi", form,
                          Content_Type="application/x-www-form-urlencoded")
        expect("the login program sends the visitor on", answer.status, 303)

    def open_book(self):
        return self.ask("GET", "/app/addressbook.cgi", Accept="text/html")


class Failed(Exception):
    pass


def expect(what, got, wanted):
    if got != wanted:
        raise Failed(f"{what}: expected {wanted!r}, got {got!r}")


def expect_in(what, part, text):
    if part not in text:
        raise Failed(f"{what}: expected {part!r} in {text!r}")


def step(text):
    print(f"ok - {text}", flush=True)


def tell(address, work):
    ctl = [os.path.join(work, "bin", "sessgatectl"), "-c", os.path.join(work, "sessgate.conf")]

    def sessgatectl(*arguments):
        done = subprocess.run(ctl + list(arguments), capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise Failed(f"sessgatectl {' '.join(arguments)}: exit {done.returncode}: {done.stderr}")
        return done.stdout

    def visits():
        """How often the old program has run: it writes a line each time."""
        try:
            with open(os.path.join(work, "data", "book.txt.visits"), encoding="utf-8") as f:
                return len(f.readlines())
        except FileNotFoundError:
            return 0

    alice = Browser(address)
    answer = alice.open_book()
    expect("a visitor without a session is sent to the login page", answer.status, 302)
    expect("and comes back after it", answer.headers["Location"],
           "/login.cgi?return_to=/app/addressbook.cgi")
    expect("a program without a session is refused",
           alice.ask("GET", "/app/addressbook.cgi", Accept="*/*").status, 401)
    expect("the old program did not run", visits(), 0)
    step("refused before login; the old program did not run")

    wrong = Browser(address)
    answer = wrong.ask("POST", "/login.cgi", "user=alice&password=wrong",
                       Content_Type="application/x-www-form-urlencoded")
    expect("a wrong password is refused", (answer.status, wrong.cookie), (403, None))
    alice.log_in("alice")
    step("logged in by a login program of twenty lines; a wrong password was refused")

    answer = alice.open_book()
    expect("the old program answers", answer.status, 200)
    expect_in("it knows who it is", "Address book of alice", answer.body)
    answer = alice.ask("POST", "/app/addressbook.cgi", "name=Zoe&phone=555-0199",
                       Content_Type="application/x-www-form-urlencoded")
    expect_in("and takes her entry", "Zoe: 555-0199", answer.body)
    step("recognised by the old program, which got its POST body too")

    session = json.loads(alice.ask("GET", "/.sessgate/session").body)
    ref, rounds = session["ref"], 20
    failures = []

    def tab(member):
        own = Browser(address)
        own.cookie = alice.cookie
        for i in range(rounds):
            answer = own.ask("PATCH", "/.sessgate/session", json.dumps({"data": {member: f"{member}-{i}"}}),
                             Content_Type="application/merge-patch+json")
            if answer.status != 200:
                failures.append((answer.status, answer.body))

    tabs = [threading.Thread(target=tab, args=(m,)) for m in ("theme", "draft")]
    for t in tabs:
        t.start()
    for t in tabs:
        t.join()
    expect("all changes of both tabs are taken", failures, [])
    data = json.loads(alice.ask("GET", "/.sessgate/session").body)["data"]
    expect("both stay", data, {"theme": f"theme-{rounds - 1}", "draft": f"draft-{rounds - 1}"})
    step("two tabs changed different members at once, 20 times each; both stayed")

    old_cookie = alice.cookie
    answer = alice.ask("POST", "/.sessgate/session/rotate")
    expect("rotated", answer.status, 200)
    if alice.cookie == old_cookie:
        raise Failed("rotation sent no new cookie")
    expect("the new cookie is good", alice.open_book().status, 200)
    late = Browser(address)
    late.cookie = old_cookie
    answer = late.ask("GET", "/.sessgate/session")
    expect("a late request with the old cookie is let through", answer.status, 200)
    expect("and gets the new one", late.cookie, alice.cookie)
    expect("same session", json.loads(answer.body)["ref"], ref)
    step("rotated: new cookie, same session; a late request with the old one got the new one")

    # The grace of this configuration is 1 s, counted from the new cookie's first use,
    # which is written with the next batch of touches.
    time.sleep(4)
    thief = Browser(address)
    thief.cookie = old_cookie
    before = visits()
    expect("the stolen old cookie is refused", thief.ask("GET", "/app/addressbook.cgi").status, 401)
    expect("the theft ends the session for both", alice.ask("GET", "/app/addressbook.cgi").status, 401)
    expect("the old program did not run", visits(), before)
    expect_in("explain tells it", "theft", sessgatectl("explain", ref))
    step("a stolen old cookie, used after the grace, was refused and ended the session")

    phone = Browser(address)
    alice.log_in("alice")
    phone.log_in("alice")
    bob = Browser(address)
    bob.log_in("bob")
    for who in (alice, phone, bob):
        expect("logged in again", who.open_book().status, 200)
    expect("two sessions are listed",
           len(json.loads(alice.ask("GET", "/.sessgate/sessions", Accept="application/json").body)["sessions"]), 2)
    before = visits()
    sessgatectl("cleanup", "alice")
    for who in (alice, phone):
        expect("logged out everywhere: refused on the next request",
               who.ask("GET", "/app/addressbook.cgi").status, 401)
    expect("the old program did not run", visits(), before)
    expect("bob is still there", bob.open_book().status, 200)
    step("logged out everywhere: both browsers refused on the next request, another user was not")

    kinds = [row["kind"] for row in json.loads(sessgatectl("--json", "audit", "--user", "alice"))["events"]]
    for kind in ("create", "update", "rotate", "end", "cleanup"):
        expect_in("the audit tells of it", kind, kinds)
    expect("one row for each creation", kinds.count("create"), 3)
    expect("one row for each change", kinds.count("update"), 2 * rounds)
    step(f"audit and explain tell it all ({len(kinds)} events of alice)")

    answer = bob.ask("POST", "/.sessgate/logout")
    expect("bob logs out", answer.status, 200)
    expect("and is out", bob.ask("GET", "/app/addressbook.cgi").status, 401)
    step("logged out by the visitor; served by the embedded store (SQLite)")


def main():
    if sys.argv[1] == "--ping":
        try:
            answer = Browser(sys.argv[2]).ask("GET", "/.sessgate/health")
        except OSError:
            return
        print("up" if answer.status == 200 else "down")
        return
    try:
        tell(sys.argv[1], sys.argv[2])
    except (Failed, OSError, subprocess.TimeoutExpired, KeyError, ValueError) as e:
        print(f"not ok - {e}", flush=True)
        sys.exit(1)
    print("The whole story holds.")


main()
