"""Stolen cookies: a secret that was replaced turns up again, or a session in
another browser; and nothing that is kept has a token that could be stolen. Two
hosts with their local caches, and each kind of store."""

import base64
import os
import sqlite3
import subprocess
import threading
import time

import harness
from harness import case, main, wait_until
from stores import COOKIE, Fleet, Session, patient, run

GRACE_S = 1
SOON_S = 2.0
THEFT, BINDING = "11", "15"  # enum sgate_reason


class Site:
    """Gateways on one store, whichever it is. folders: what they keep."""

    def __init__(self, gateways, sql, folders, save=None):
        self.gateways, self.sql, self.save = gateways, sql, save
        self.folders = [gw.dir for gw in gateways] + folders

    def create(self, user="alice", **members):
        return Session(*self.gateways[0].create(user, **dict({"client_ip": "192.0.2.7"}, **members)))

    def ends(self, session):
        """Of the audit trail: reasons, and whose request it was."""
        return self.sql("SELECT reason, hex(client_ip) FROM audit WHERE kind = 'end' AND hex(ref) = '%s'" %
                        session.ref.upper())

    def rotations(self, session):
        return len(self.sql("SELECT reason FROM audit WHERE kind = 'rotate' AND hex(ref) = '%s'" %
                            session.ref.upper()))

    def was_used(self, session):
        """Whether it is known that the user has his new cookie."""
        return self.sql("SELECT version FROM session WHERE hex(ref) = '%s' AND successor_used_ms > 0" %
                        session.ref.upper())

    def explained(self, session):
        done = subprocess.run([harness.SESSGATECTL, "-c", self.gateways[0].conf_path, "explain", session.ref],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/", timeout=30,
                              check=True)
        return done.stdout


def over_mysql(t, conf, has_redis):
    t.has_local_cache = True
    for section, options in patient(has_redis).items():
        conf[section] = dict(options, **conf.get(section, {}))
    fleet = Fleet(t, is_direct=True, has_redis=has_redis, conf=conf)
    return Site([host.gw for host in fleet.hosts],
                lambda text: [line.split("\t") for line in fleet.db.sql(text).splitlines()],
                [fleet.db.server.data] + ([fleet.redis.dir] if has_redis else []),
                fleet.redis.save if has_redis else None)


def over_sqlite(t, conf):
    gw = t.gateway(COOKIE)
    gw.configure(conf)
    gw.start()

    def sql(text):
        database = sqlite3.connect(gw.conf["sqlite"]["file"], timeout=10)
        try:
            return [[str(value) for value in row] for row in database.execute(text)]
        finally:
            database.close()
    return Site([gw], sql, [])


STORES = {"redis_and_mysql": lambda t, conf: over_mysql(t, conf, True),
          "mysql": lambda t, conf: over_mysql(t, conf, False),
          "sqlite": over_sqlite}


def over_each_store(**session):
    """A case for each: with a Site and these options."""
    def register(scenario):
        for name, site in STORES.items():
            def one(t, site=site):
                scenario(t, site(t, {"gateway": {"expose_reason": True, "workers": 6}, "log": {"level": "debug"},
                                     "session": dict({"rotate_grace": "%d s" % GRACE_S}, **session)}))
            one.__name__ = "%s__over_%s" % (scenario.__name__, name)
            case(one)
        return scenario
    return register


def rotate(gw, session):
    return gw.api("POST", "session/rotate", HTTP_COOKIE=session.cookie, HTTP_SEC_FETCH_SITE="same-origin")


def successor(answer, session):
    """The session under the cookie that came with the answer."""
    cookie = answer.header("Set-Cookie")
    assert cookie is not None, answer
    return Session(cookie.split("=", 1)[1].split(";")[0], session.made)


def at_once(count, function):
    """What function(i) returned, of so many at the same moment."""
    answers = [None] * count
    gate = threading.Barrier(count)

    def one(i):
        gate.wait()
        answers[i] = function(i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def refused(t, site, session, reason):
    """At every host, within the time that is promised, and from then on."""
    for gw in site.gateways:
        wait_until(lambda: gw.check(session.cookie).status == 401, "it is refused", SOON_S)
        for _ in range(3):
            answer = gw.check(session.cookie)
            t.equal((answer.status, answer.header("X-Session-Reason")), (401, reason))


@over_each_store()
def tabs_that_rotate_at_once_get_one_new_cookie(t, site):
    for _ in range(3):
        session = site.create()
        answers = at_once(20, lambda i: rotate(site.gateways[i % len(site.gateways)], session))
        t.equal([a.status for a in answers], [200] * 20, [a for a in answers if a.status != 200][:1])
        new = {successor(a, session).token for a in answers}
        t.equal(len(new), 1, "of all tabs")
        t.equal(site.rotations(session), 1)
        # Each tab goes on, with whichever it has.
        both = at_once(20, lambda i: site.gateways[i % len(site.gateways)].check(
            session.cookie if i % 4 < 2 else "sid=" + min(new)))
        t.equal([a.status for a in both], [200] * 20)
        t.equal(site.ends(session), [])


@over_each_store()
def an_old_cookie_is_no_theft_in_its_grace_and_one_behind_it(t, site):
    session = site.create()
    new = successor(rotate(site.gateways[0], session), session)
    for gw in site.gateways * 2:
        answer = gw.check(session.cookie)
        t.equal(answer.status, 200, "a replayed cookie in its grace")
        t.equal(successor(answer, session).token, new.token)
    # The new one is used, from the local caches too, and the old one runs out.
    for gw in site.gateways * 4:
        t.equal(gw.check(new.cookie).status, 200)
    wait_until(lambda: site.was_used(session), "that it was used is noted")
    time.sleep(GRACE_S + 0.2)
    for gw in site.gateways * 4:
        t.equal(gw.check(new.cookie).status, 200)
    t.equal(site.ends(session), [])
    thieves = at_once(12, lambda i: site.gateways[i % len(site.gateways)].check(
        session.cookie, REMOTE_ADDR="203.0.113.9"))
    t.equal({(a.status, a.header("X-Session-Reason")) for a in thieves}, {(401, "theft")})
    t.equal({len([k for k, _ in a.headers if k.startswith("Variable-")]) for a in thieves}, {0})
    for one in (new, session):
        refused(t, site, one, "theft")
    t.equal(site.ends(session), [[THEFT, "CB007109"]], "one event, and the thief's address")
    t.match(site.explained(session), "somebody had copied the\\s+cookie")
    # The user himself logs in again.
    t.equal(site.gateways[0].check(site.create().cookie).status, 200)


@over_each_store(bind_agent="strict", bind_address="strict")
def a_bound_session_ends_where_another_browser_has_it(t, site):
    mine = {"HTTP_USER_AGENT": "Lynx/2.9", "REMOTE_ADDR": "192.0.2.7"}
    for theirs in ({"HTTP_USER_AGENT": "Lynx/2.8"}, {"HTTP_USER_AGENT": None}, {"REMOTE_ADDR": "203.0.113.9"},
                   {"REMOTE_ADDR": "2001:db8::7"}, {"REMOTE_ADDR": None}, {"REMOTE_ADDR": "unix:"}):
        session = site.create(user_agent="Lynx/2.9")
        for gw in site.gateways * 3:  # The local caches have it then.
            t.equal(gw.check(session.cookie, **mine).status, 200)
            t.equal(gw.check(session.cookie, **dict(mine, REMOTE_ADDR="::ffff:192.0.2.7")).status, 200)
        other = dict(mine, **theirs)
        answers = at_once(6, lambda i: site.gateways[i % len(site.gateways)].check(session.cookie, **other))
        t.equal({(a.status, a.header("X-Session-Reason")) for a in answers}, {(401, "binding")}, theirs)
        for gw in site.gateways:
            wait_until(lambda: gw.check(session.cookie, **mine).status == 401, "ended for its owner, too", SOON_S)
        t.equal([row[0] for row in site.ends(session)], [BINDING], theirs)
    t.match(site.explained(session), "another address or browser")


@over_each_store(bind_agent="log", bind_address="log")
def a_binding_that_only_tells_lets_in_and_tells_so_often(t, site):
    gw = site.gateways[0]
    session = site.create(user_agent="Lynx/2.9")
    for i in range(200):
        answer = gw.check(session.cookie, HTTP_USER_AGENT="Lynx/%d" % i, REMOTE_ADDR="203.0.113.%d" % (i % 250))
        t.equal((answer.status, answer.header("Variable-REMOTE_USER")), (200, "alice"))
    gw.wait_log("session %s: used with another user agent and address than it was made with" % session.ref)
    told = gw.log().count("used with another")
    t.true(told <= 6 * 12, "%d lines for 200 requests" % told)  # 10 a minute and worker, and that some were not told.
    t.equal(site.ends(session), [])


def found(folders, needles):
    """(needle, path) of each file that has one of them; how many were read."""
    where, count = [], 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for path in (os.path.join(parent, name) for name in names):
                if not os.path.isfile(path):
                    continue
                with open(path, "rb") as f:
                    data = f.read()
                count += 1
                where += [(name, path) for name, needle in needles.items() if needle in data]
    return where, count


def traces(session):
    """How a token could stand somewhere, and as what it does stand there."""
    raw = base64.urlsafe_b64decode(session.token + "==")
    secret = raw[13:29]  # behind the id of the key and the ref
    return {"the token": session.token.encode(), "its bytes": raw, "its secret": secret,
            "the secret in hex": secret.hex().encode(), "in capitals": secret.hex().upper().encode()}


@over_each_store()
def no_token_stands_in_a_store_or_a_log(t, site):
    if not harness.IS_ROOT:
        raise harness.Skip("the stores' files are others'")
    session, ended = site.create("alice", data={"note": "written"}), site.create("bob")
    new = successor(rotate(site.gateways[0], session), session)
    for gw in site.gateways:
        for one in (session, new, ended):
            t.equal(gw.check(one.cookie).status, 200)
        gw.api("GET", "state?" + new.token, HTTP_COOKIE="sid=" + new.token + "x")
    gw.api("POST", "logout", HTTP_COOKIE=ended.cookie, HTTP_SEC_FETCH_SITE="same-origin")
    if site.save is not None:
        site.save()
    where, count = found(site.folders, {"the ref": session.ref.encode(), "its bytes": bytes.fromhex(session.ref),
                                        "what was written": b"written"})
    t.true(count > 3 and where, "%d files were read, and the session is in some: %r" % (count, where))
    for one in (session, new, ended):
        t.equal(found(site.folders, traces(one))[0], [])


if __name__ == "__main__":
    run(main)
