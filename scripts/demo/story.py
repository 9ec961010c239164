"""The whole story of the quickstart, told by requests and checked.

    story.py ADDRESS WORK [STORES]   every step; exit 0 when all held
    story.py --ping ADDRESS          prints "up" when web server and gateway answer

ADDRESS is the lighttpd that scripts/quickstart started, WORK its directory
(for sessgatectl, and for the marker that the old program writes when it runs).
STORES: the servers that there are, as "redis,mysql"; what happens when they
fail is told by outage.py.
"""

import json
import subprocess
import sys
import threading
import time

import outage
from browser import Browser, Failed, Site, expect, expect_in, step


def tell(address, site, stores):
    alice = Browser(address)
    answer = alice.open_book()
    expect("a visitor without a session is sent to the login page", answer.status, 302)
    expect("and comes back after it", answer.headers["Location"],
           "/login.cgi?return_to=/app/addressbook.cgi")
    expect("a program without a session is refused",
           alice.ask("GET", "/app/addressbook.cgi", Accept="*/*").status, 401)
    expect("the old program did not run", site.visits(), 0)
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
    before = site.visits()
    expect("the stolen old cookie is refused", thief.ask("GET", "/app/addressbook.cgi").status, 401)
    expect("the theft ends the session for both", alice.ask("GET", "/app/addressbook.cgi").status, 401)
    expect("the old program did not run", site.visits(), before)
    expect_in("explain tells it", "theft", site.sessgatectl("explain", ref))
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
    before = site.visits()
    site.sessgatectl("cleanup", "alice")
    for who in (alice, phone):
        expect("logged out everywhere: refused on the next request",
               who.ask("GET", "/app/addressbook.cgi").status, 401)
    expect("the old program did not run", site.visits(), before)
    expect("bob is still there", bob.open_book().status, 200)
    step("logged out everywhere: both browsers refused on the next request, another user was not")

    kinds = [row["kind"] for row in json.loads(site.sessgatectl("--json", "audit", "--user", "alice"))["events"]]
    for kind in ("create", "update", "rotate", "end", "cleanup"):
        expect_in("the audit tells of it", kind, kinds)
    expect("one row for each creation", kinds.count("create"), 3)
    expect("one row for each change", kinds.count("update"), 2 * rounds)
    step(f"audit and explain tell it all ({len(kinds)} events of alice)")

    answer = bob.ask("POST", "/.sessgate/logout")
    expect("bob logs out", answer.status, 200)
    expect("and is out", bob.ask("GET", "/app/addressbook.cgi").status, 401)
    step("logged out by the visitor; " + ("the servers behind it are " + stores if stores else
                                          "served by the embedded store (SQLite)"))


def main():
    if sys.argv[1] == "--ping":
        try:
            answer = Browser(sys.argv[2]).ask("GET", "/.sessgate/health")
        except OSError:
            return
        print("up" if answer.status == 200 else "down")
        return
    try:
        address, site = sys.argv[1], Site(sys.argv[2])
        stores = sys.argv[3] if len(sys.argv) > 3 else ""
        tell(address, site, stores)
        outage.tell(address, site, stores)
    except (Failed, OSError, subprocess.TimeoutExpired, KeyError, ValueError) as e:
        print(f"not ok - {e}", flush=True)
        sys.exit(1)
    print("The whole story holds.")


main()
