"""Redis behind Sentinels: the gateways find the master, follow a promotion,
and believe nothing that a master of before still holds."""

import os
import pwd
import re
import time

import harness
from harness import case, main, wait_until
from pressure import Load, Watch, sleep_until
from scenario import SOON_S, STORES, never_accepted, promise, refused_within
from sentinels import NAME, Sentinel, Watched
from stores import Fleet, Redis, directory, run

# From the moment at which a Sentinel names the new master.
FOUND_S = 1.0
USED_S = 3.0


def merged(*confs):
    out = {}
    for conf in confs:
        for section, options in conf.items():
            out.setdefault(section, {}).update(options)
    return out


def watched_fleet(t, watched, hosts=2, conf=None, **more):
    fleet = Fleet(t, hosts=hosts, redis=watched.master, is_direct=True,
                  conf=merged({"gateway": {"workers": 4}}, watched.conf(),
                              conf or {}), **more)
    fleet.expect_log(STORES)
    return fleet


def wait_log(fleet, text, timeout=10):
    for host in fleet.hosts:
        host.gw.wait_log(text, timeout)


def named(server):
    return "the primary is 127.0.0.1:%d" % server.port


@case
def a_master_that_is_killed_is_replaced_under_load(t):
    watched = Watched(t)
    fleet = watched_fleet(t, watched)
    a, b = fleet.hosts
    wait_log(fleet, named(watched.master))
    sessions = [fleet.hosts[i % 2].create("user%d" % i) for i in range(20)]
    victim = a.create("victim")
    fleet.warm(victim, *sessions)
    begin = time.monotonic()
    watch = Watch(t, fleet.hosts, victim)
    loads = [Load(t, host, sessions, 50, 9) for host in fleet.hosts]
    sleep_until(begin + 1)
    old = watched.master
    old.kill()
    a.end(victim)  # Nobody has Redis now.
    acked = time.monotonic()
    new = watched.wait_promoted(old)
    promoted = time.monotonic()
    wait_log(fleet, named(new) + " now")
    found_s = time.monotonic() - promoted
    fleet.redis = new
    wait_until(lambda: all(
        h.check(sessions[0], is_told=True).served == ["redis"]
        for h in fleet.hosts), "the new master serves")
    used_s = time.monotonic() - promoted
    print("# promoted %.2f s after the kill; found in %.2f s, used in %.2f s" %
          (promoted - acked, found_s, used_s))
    late = b.create("late")
    old.start()  # As it was, and soon somebody's replica.
    for load in loads:
        load.result().only_200(t)
        load.none_late()
    watch.stop()
    t.true(watch.refused_since(acked) > 50, "it was asked often enough")
    stall = 2 * max(load.stall_s for load in loads)
    promise(found_s < FOUND_S + stall, "found only after %.2f s" % found_s)
    promise(used_s < USED_S + stall, "used only after %.2f s" % used_s)
    t.equal(fleet.state(victim), "T", "the new master knows of the end")
    fleet.warm(late)
    wait_until(lambda: b"role:slave" in old.command("INFO", "replication"),
               "the old master follows")


@case
def a_planned_switch_ends_nobody_and_fails_nothing(t):
    watched = Watched(t)
    fleet = watched_fleet(t, watched)
    a, b = fleet.hosts
    sessions = [fleet.hosts[i % 2].create("user%d" % i) for i in range(10)]
    fleet.warm(*sessions)
    begin = time.monotonic()
    loads = [Load(t, host, sessions, 50, 6) for host in fleet.hosts]
    sleep_until(begin + 1)
    new = watched.fail_over()
    # What is done while the gateways still know the other one, or nobody.
    ended, made = [], []
    for i in range(20):
        made.append(a.create("m%d" % i))
        ended.append(b.create("e%d" % i))
        a.end(ended[-1])
        b.update(made[-1], {"n": i})
        time.sleep(0.05)
    wait_log(fleet, named(new) + " now")
    fleet.redis = new
    for load in loads:
        load.result().only_200(t)
        load.none_late()
    fleet.warm(*made)
    for session in ended:
        for host in fleet.hosts:
            t.equal(host.check(session).status, 401)
    for i, session in enumerate(made):
        t.equal(b.show(session).json()["data"], {"n": i})


@case
def a_master_that_stood_still_is_not_believed_when_it_comes_back(t):
    """It still takes itself for the master, and so does the one Sentinel that
    one host can reach."""
    watched = Watched(t, sentinels=3)
    fleet = watched_fleet(t, watched, start=False)
    a, b = fleet.hosts
    b.gw.configure({"redis": {"sentinel": [watched.sentinels[2].address]}})
    fleet.start()
    victims = [a.create("victim%d" % i) for i in range(4)]
    fleet.warm(*victims)
    old = watched.master
    watched.sentinels[2].process.send_signal(19)  # SIGSTOP
    t.at_end(watched.sentinels[2].process.send_signal, 18)
    old.stop()
    try:
        new = watched.wait_promoted(old)
        a.gw.wait_log(named(new) + " now", 10)
        for victim in victims:
            a.end(victim)
    finally:
        old.go_on()
        watched.sentinels[2].process.send_signal(18)
    for victim in victims:
        refused_within(b, victim, SOON_S)
    count = never_accepted(fleet.hosts, victims[0], 1)
    for victim in victims:
        for host in fleet.hosts:
            t.equal(host.check(victim).status, 401)
    t.true(count > 20, "asked often enough")
    # And the host that knew only that one has found the other.
    b.gw.wait_log(named(new) + " now", 15)
    fleet.redis = new
    session = a.create("after")
    fleet.warm(session)


@case
def passwords_of_sentinels_and_servers_are_used(t):
    watched = Watched(t, sentinels=1, password="sesame", requirepass="open",
                      masterauth="open")
    fleet = Fleet(t, hosts=1, redis=watched.master, is_direct=True,
                  start=False, conf=watched.conf())
    host = fleet.hosts[0]
    paths = []
    for name, text in (("s", "sesame"), ("r", "open")):
        path = os.path.join(fleet.dir, name)
        with open(path, "w") as f:
            f.write(text + "\n")
        os.chmod(path, 0o600)
        if harness.IS_ROOT:
            os.chown(path, pwd.getpwnam(harness.USER).pw_uid, -1)
        paths.append(path)
    host.gw.configure({"redis": {"sentinel_password_file": paths[0],
                                 "password_file": paths[1]}})
    host.start()
    host.gw.wait_log(named(watched.master), 10)
    host.wait_stores()
    session = host.create()
    wait_until(lambda: host.check(session, is_told=True).served == ["redis"],
               "a copy serves")
    # A wrong one is told, and costs nobody his session.
    with open(paths[0], "w") as f:
        f.write("wrong\n")
    host.gw.expect_log("looking for the primary: redis: .*WRONGPASS")
    watched.sentinels[0].kill()
    watched.sentinels[0].start()
    host.gw.wait_log("WRONGPASS", 10)
    t.equal(host.check(session, is_told=True).served, ["redis"])


@case
def sentinels_that_do_not_help_cost_redis_alone_and_say_why(t):
    watched = Watched(t, sentinels=1)
    fleet = Fleet(t, hosts=1, redis=watched.master, is_direct=True,
                  start=False, conf=watched.conf(master_name="nobody"))
    host = fleet.hosts[0]
    fleet.expect_log(STORES)
    host.start()
    host.gw.wait_log('Sentinel knows of no master "nobody": correct '
                     "redis.master_name", 10)
    wait_until(lambda: host.status()["durable"]["up"], "MySQL is up")
    session = host.create()
    verdict = host.check(session, is_told=True)
    t.equal((verdict.status, verdict.served), (200, ["mysql"]))
    # All of them gone: the master stays where it was.
    host.gw.configure({"redis": {"master_name": NAME}})
    host.restart()
    host.wait_stores()
    watched.sentinels[0].kill()
    host.gw.wait_log("looking for the primary: redis: " +
                     watched.sentinels[0].address, 10)
    session = host.create()
    wait_until(lambda: host.check(session, is_told=True).served == ["redis"],
               "a copy serves without a Sentinel")


def readme_block(first_line):
    """What stands between the marks of a block of conf/README.md."""
    with open(os.path.join(harness.SOURCE, "conf", "README.md")) as f:
        return re.search(r"(?ms)^```\n(%s.*?)^```$" % re.escape(first_line),
                         f.read()).group(1)


def passwords(text, path=None):
    """As an operator fills them in."""
    for number in ("3", "2", ""):
        text = text.replace("PASSWORD" + number, "secret" + number)
    if path is not None:
        with open(path, "w") as f:
            f.write(text)
    return text


@case
def the_example_of_the_readme_works_as_it_stands(t):
    files = directory(t, "sgex.")
    with open(os.path.join(harness.SOURCE, "conf", "redis",
                           "sessgate.conf")) as f:
        account = os.path.join(files, "sessgate.conf")
        passwords(f.read().replace("user sessgate off",
                                   "user sessgate on >PASSWORD"), account)
    common = os.path.join(files, "redis.conf")
    passwords(readme_block("# redis.conf of all three").replace(
        "/etc/redis/sessgate.conf", account).replace("10.0.0.5 ", ""), common)
    servers = [Redis(t, is_tcp=True, include=common) for _ in range(3)]
    for server in servers[1:]:
        server.follow("127.0.0.1", servers[0].port)
    text = passwords(readme_block("# /etc/redis/sentinel.conf").replace(
        "bind 10.0.0.5 ", "bind ").replace(
            "10.0.0.5 6379", "127.0.0.1 %d" % servers[0].port))
    # Nobody waits for two seconds here.
    text = text.replace("milliseconds site 2000", "milliseconds site 400")
    sentinels = [Sentinel(t, servers[0], text=text, password="secret3")
                 for _ in range(3)]
    wait_until(lambda: all(s.knows("slaves") == 2 and s.knows("sentinels") == 2
                           for s in sentinels), "they know each other", 30)

    fleet = Fleet(t, hosts=1, redis=servers[0], is_direct=True, start=False)
    host = fleet.hosts[0]
    fleet.expect_log(STORES)
    conf = readme_block("# sessgate.conf of every gateway")
    options = set(re.findall(r"(?m)^\t(\w+) = ", conf))
    chosen = {"sentinel": [s.address for s in sentinels],
              "master_name": "site", "user": "sessgate"}
    for name, password in (("sentinel_password_file", "secret3"),
                           ("password_file", "secret")):
        chosen[name] = os.path.join(files, name)
        with open(chosen[name], "w") as f:
            f.write(password + "\n")
        os.chmod(chosen[name], 0o600)
        if harness.IS_ROOT:
            os.chown(chosen[name], pwd.getpwnam(harness.USER).pw_uid, -1)
    t.equal(options, set(chosen), "the options of the example")
    host.gw.configure({"redis": dict(chosen, address="")})
    host.start()
    host.wait_stores()
    session = host.create()
    wait_until(lambda: host.check(session, is_told=True).served == ["redis"],
               "a copy serves")
    servers[0].kill()
    wait_until(lambda: sentinels[0].master_port() != servers[0].port,
               "another is promoted", 30)
    fleet.redis = next(s for s in servers
                       if s.port == sentinels[0].master_port())
    host.gw.wait_log(named(fleet.redis) + " now", 10)
    later = host.create("later")
    wait_until(lambda: host.check(later, is_told=True).served == ["redis"],
               "the new master takes writes", 20)


if __name__ == "__main__":
    run(main)
