"""The second part of the story: the stores are killed, restored, started again.

Each step asks as a browser does, and tells which store served: the gateway
counts that (`sessgatectl status`). Everything that is waited for has an end.
"""

import time

from browser import Browser, Failed, expect, expect_in, step

VIEWS = 20          # page views a step
BACK_SECONDS = 15   # how long a store may take to serve again


def wait_until(predicate, what):
    """How long it took, in words."""
    begin = time.monotonic()
    while not predicate():
        if time.monotonic() - begin > BACK_SECONDS:
            raise Failed(f"{what}: not within {BACK_SECONDS} s")
        time.sleep(0.1)
    return f"{time.monotonic() - begin:.1f} s"


def logged_in(address, user):
    browser = Browser(address)
    browser.log_in(user)
    return browser


def try_log_in(address):
    """What a visitor sees who logs in now: (status, text)."""
    answer = Browser(address).ask("POST", "/login.cgi", "user=bob&password=bob-secret",
                                  Content_Type="application/x-www-form-urlencoded")
    return answer.status, answer.body.strip()


def served(site, look):
    """Which store answered while look() looked: {"redis": 20, "mysql": 0}."""
    before = site.counters()
    look()
    after = site.counters()

    def grown(*names):
        return sum(after[n] - before[n] for n in names)

    return {"redis": grown("served_cache", "served_blind"), "mysql": grown("served_durable")}


def view(*browsers):
    """Page views, each of which must show the page."""
    for i in range(VIEWS):
        expect("the page is shown", browsers[i % len(browsers)].open_book().status, 200)


def view_from(site, store, *browsers):
    """Page views that this store serves, as served() tells it. A machine that is busy with other things
    can be late with an answer, and then the other store is asked: so it may take more than one row."""
    for _ in range(5):
        by = served(site, lambda: view(*browsers))
        if by[store] == VIEWS and sum(by.values()) == VIEWS:
            return by
    raise Failed(f"{store} does not serve every page view: of the last {VIEWS}, {by}")


def serves(site, store, browser):
    """Whether a page view is answered by this store."""
    return served(site, browser.open_book)[store] > 0


def try_again(address):
    status, text = try_log_in(address)
    expect("a new login is told to try again", status, 503)
    expect_in("in words", "try again", text)
    return text


def with_redis(address, site):
    alice, phone, bob = (logged_in(address, user) for user in ("alice", "alice", "bob"))

    wait_until(lambda: serves(site, "redis", alice), "Redis serves")
    by = view_from(site, "redis", alice, phone, bob)
    step(f"sessions are read from Redis first: of {VIEWS} page views {by['redis']} were served by redis, "
         f"{by['mysql']} by mysql")

    site.run("store", "kill", "redis")
    by = view_from(site, "mysql", alice, phone, bob)
    expect("a new login works", try_log_in(address)[0], 303)
    step(f"Redis killed: everybody is still logged in, {by['mysql']} page views served by mysql; a new login worked")

    site.run("store", "start", "redis")
    took = wait_until(lambda: serves(site, "redis", alice), "Redis serves again")
    step(f"Redis started again: it serves again after {took}")

    ended = restored_from_an_old_dump(address, site, alice, phone, bob)

    site.run("store", "kill", "mysql")
    view_from(site, "redis", alice, bob)
    time.sleep(2)  # Several polls that fail: now the gateway knows that it is blind.
    by = view_from(site, "redis", alice, bob)
    expect("logged out stays logged out", ended.open_book().status, 302)
    late = logged_in(address, "bob")
    expect("a new login is recognised", late.open_book().status, 200)
    step(f"MySQL killed: everybody is still recognised, {by['redis']} page views served by redis; a new login worked")
    return alice, late


def restored_from_an_old_dump(address, site, alice, phone, bob):
    """Returns the browser that goes on with the cookie of the session that was logged out."""
    view(alice, phone, bob)
    before = site.counters()
    site.run("store", "save", "redis")
    late = Browser(address)
    late.cookie = phone.cookie
    expect("the phone logs out", phone.ask("POST", "/.sessgate/logout").status, 200)
    time.sleep(2)  # Until then a host may not have heard of it, if Redis forgets it, too.
    site.run("store", "restore", "redis")
    refused = 0

    def redis_is_trusted():
        nonlocal refused
        expect("logged out stays logged out", late.open_book().status, 302)
        refused += 1
        expect("another is still logged in", bob.open_book().status, 200)
        return serves(site, "redis", alice)

    took = wait_until(redis_is_trusted, "Redis serves again")
    for _ in range(VIEWS):
        time.sleep(0.1)
        redis_is_trusted()
    if site.counters()["reconciled"] <= before["reconciled"]:
        raise Failed("Redis had not forgotten the logout: this has shown nothing")
    step(f"Redis restored from a copy of before a logout: the logged-out session was refused all {refused} times, "
         f"the others were served, from redis again after {took}")
    return late


def mysql_alone(address, site):
    alice = logged_in(address, "alice")
    view_from(site, "mysql", alice)
    step(f"sessions are read from MySQL: {VIEWS} page views served by mysql")
    site.run("store", "kill", "mysql")
    for _ in range(VIEWS):
        expect("nobody is taken for logged out", alice.open_book().status, 503)
    text = try_again(address)
    step(f"MySQL killed, and no Redis: {VIEWS} page views said \"unavailable\" (503), none \"logged out\"; "
         f"a new login says \"{text}\"")
    site.run("store", "start", "mysql")
    took = wait_until(lambda: try_log_in(address)[0] == 303, "a new login works again")
    wait_until(lambda: alice.open_book().status == 200, "who was logged in still is")
    step(f"MySQL started again: a new login worked after {took}, who was logged in still is")


def mysql_is_back(site, *stayed):
    """It gets what it has missed."""
    site.run("store", "start", "mysql")
    took = wait_until(lambda: site.counters()["landed"] > 0, "MySQL gets the new login")
    for browser in stayed:
        wait_until(lambda: browser.open_book().status == 200, "who was logged in still is")
    step(f"MySQL started again: it had the login made without it after {took}, who was logged in still is")


def tell(address, site, stores):
    names = stores.split(",")
    if "mysql" not in names:
        return
    if "redis" in names:
        mysql_is_back(site, *with_redis(address, site))
    else:
        mysql_alone(address, site)
