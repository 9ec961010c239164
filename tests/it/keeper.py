"""The keeper between two stores: what it tells, what a restart knows, and that
nothing holds up its rounds. What must never happen is in hazards.py."""

import os
import re
import signal
import time

from harness import case, main, wait_until
from scenario import LOGINS_WAIT
from stores import Fleet, Redis, run

# Proxies in Python on a machine that is busy: late is not down.
PATIENT = {"redis": {"timeout": "400 ms"}, "mysql": {"read_timeout": "500 ms"}}

DOWN = (r"(redis|mysql) is down: ", r"fence: ")


def keeper_pid(host):
    return host.gw.api("GET", "v1/status",
                       address=host.gw.keeper_socket).json()["keeper"]["pid"]


def status(host):
    return host.gw.api("GET", "v1/status",
                       address=host.gw.keeper_socket).json()


def fence_file(host):
    return os.path.join(os.path.dirname(host.gw.keeper_socket), "fence")


def lines(host, pattern):
    return re.findall("(?m)^.*%s.*$" % pattern, host.gw.log())


def wait_blind(host, session):
    """Copies count for three polls more as if nothing were."""
    wait_until(lambda: host.check(session, is_told=True).served ==
               ["redis, blind"], "served blind")


def wait_store(host, store, is_up):
    wait_until(lambda: status(host)[store]["up"] is is_up,
               "%s is %s" % (store, "up" if is_up else "down"))


@case
def redis_that_goes_and_comes_is_told_once_each(t):
    fleet = Fleet(t, hosts=1, conf=PATIENT)
    host, = fleet.hosts
    host.gw.expect_log(r"redis is down: ")
    session = host.create()
    fleet.warm(session)
    host.redis.cut()
    wait_store(host, "cache", False)
    t.equal(host.check(session, is_told=True).served, ["mysql"])
    told = status(host)
    t.equal(told["cache"]["breaker"], "open")
    t.equal(told["durable"]["breaker"], "closed")
    t.equal(told["fence"]["groups_behind"], 16)
    t.true(told["fence"]["age_ms"] < 3000, told["fence"])
    t.true(abs(told["cache"]["since_at"] - time.time()) < 10)
    time.sleep(3)
    found = lines(host, "redis is down: ")
    t.equal(len(found), 1, found)
    t.match(found[0], r"error keeper: .*; sessions are looked up in mysql$")
    host.redis.heal()
    wait_store(host, "cache", True)
    fleet.warm(session)
    t.equal(len(lines(host, "notice keeper: redis is up again$")), 1)
    t.equal(lines(host, "mysql is"), [])


@case
def redis_that_refuses_every_question_is_told_once(t):
    fleet = Fleet(t, hosts=1, conf=PATIENT)
    host, = fleet.hosts
    host.gw.expect_log(r"redis is down: ", r"round of the fence: redis: ")
    session = host.create()
    fleet.warm(session)
    fleet.redis.command("ACL", "SETUSER", "default", "-mget")
    wait_store(host, "cache", False)
    told = len(lines(host, "round of the fence"))
    time.sleep(2)
    t.equal(len(lines(host, "round of the fence")), told)
    t.true(told <= 2, told)
    found = lines(host, "redis is down: ")
    t.equal(len(found), 1, found)
    t.match(found[0], "NOPERM .*; sessions are looked up in mysql$")
    t.equal(host.check(session).status, 200)


@case
def mysql_that_goes_and_comes_is_told_with_what_it_means(t):
    fleet = Fleet(t, hosts=1, conf=PATIENT)
    host, = fleet.hosts
    host.gw.expect_log(r"mysql is down: ", r"answering \"unavailable\"")
    session = host.create()
    fleet.warm(session)
    host.mysql.cut()
    wait_store(host, "durable", False)
    found = lines(host, "mysql is down: ")
    t.equal(len(found), 1, found)
    t.match(found[0], r"error keeper: .*; validation goes on from redis for at "
                      r"most (299|300) s more, logging out and creating go on, "
                      r"changing answers 503$")
    t.equal(host.check(session).status, 200)
    t.equal(host.try_create().status, 201)
    health = host.gw.api("GET", "v1/health", address=host.gw.keeper_socket)
    t.equal(health.status, 200)
    t.equal(health.json()["durable"]["up"], False)
    host.redis.cut()
    wait_until(lambda: host.gw.api(
        "GET", "v1/health", address=host.gw.keeper_socket).status == 503,
        "neither store")
    host.gw.expect_log(r"redis is down: ")
    t.match(lines(host, "redis is down: ")[0], "; requests are answered 503$")
    problems = status(host)["problems"]
    t.equal(len(problems), 2, problems)
    t.match(problems[0], r"^mysql is down for \d+ s: requests are answered 503")
    t.equal(host.try_create().status, 503)
    host.redis.heal()
    wait_store(host, "cache", True)
    wait_until(lambda: lines(host, "redis is up again; validation goes on"),
               "that is told")
    host.mysql.heal()
    wait_store(host, "durable", True)
    wait_until(lambda: host.try_create().status == 201, "creating again")
    fleet.warm(session)


@case
def each_unavailable_answer_is_counted_and_few_are_told(t):
    """One line a second of each kind, whoever of the workers comes first, and
    what is left when it is over."""
    fleet = Fleet(t, hosts=1, conf=dict(PATIENT, log={"denials_per_minute": 20}))
    host, = fleet.hosts
    host.gw.expect_log(r"(redis|mysql) is down: ", r"answering \"unavailable\"")
    session = host.create()
    host.redis.cut()
    host.mysql.cut()
    wait_store(host, "cache", False)
    wait_store(host, "durable", False)
    since = host.gw.log().count("\n")
    begin = time.monotonic()
    asked = 0
    while time.monotonic() - begin < 3 or asked < 500:
        asked += host.check(session).status == 503
    seconds = time.monotonic() - begin
    workers = []

    def counted():
        log = "\n".join(host.gw.log().split("\n")[since:])
        told = re.findall(r'(?m)^.* (worker \d+): .*; answering "unavailable"'
                          r"(?: \(and (\d+) times since the line before\))?$", log)
        workers[:] = [who for who, _ in told]
        rest = re.findall(r'(?m)^.* notice keeper: (\d+) more requests were answered "unav', log)
        return len(told) + sum(int(more or 0) for _, more in told) + sum(map(int, rest))
    wait_until(lambda: counted() == asked, "all are told, %d of %d" % (counted(), asked))
    denied = len(lines(host, "notice worker .*denied: "))
    print("# %d in %.1f s: %d lines, %d denials" % (asked, seconds, len(workers), denied))
    t.true(len(workers) <= 4 * (seconds + 1), "at most four kinds: %d" % len(workers))
    t.true(denied <= 20 * (1 + seconds // 60), denied)
    host.redis.heal()
    host.mysql.heal()


@case
def logins_wait_for_mysql_where_that_is_asked_for(t):
    fleet = Fleet(t, hosts=1, conf=dict(PATIENT, **LOGINS_WAIT))
    host, = fleet.hosts
    host.gw.expect_log(r"mysql is down: ", r"answering \"unavailable\"")
    session = host.create()
    fleet.warm(session)
    host.mysql.cut()
    wait_store(host, "durable", False)
    t.match(lines(host, "mysql is down: ")[0],
            "logging out goes on, creating and changing answer 503$")
    answer = host.try_create()
    t.equal(answer.status, 503)
    t.true(answer.header("Retry-After"))
    t.equal(host.check(session).status, 200)
    host.mysql.heal()
    wait_until(lambda: host.try_create().status == 201, "creating again")


@case
def a_restart_while_mysql_is_away_goes_on_from_redis(t):
    fleet = Fleet(t, hosts=1, conf=dict(
        PATIENT, fence={"max_blind": "20 s"}))
    host, = fleet.hosts
    host.gw.expect_log(r"mysql is down: ", r"answering \"unavailable\"",
                       r"starting without it")
    session, ended = host.create(), host.create()
    fleet.warm(session, ended)
    host.end(ended)
    host.wait_poll(2)
    host.mysql.cut()
    cut_at = time.monotonic()
    for is_killed in (False, True):
        host.restart(is_killed=is_killed)
        wait_store(host, "durable", False)
        t.equal(host.check(session).status, 200)
        wait_blind(host, session)
        t.equal(host.check(ended).status, 401)
    # The blind time began with the last poll, not with the restart.
    wait_until(lambda: host.check(session).status == 503, "max_blind", 30)
    wait_until(lambda: lines(host, "mysql is down: fence.max_blind is over; "
                             "requests are answered 503$"), "its end is told")
    t.true(time.monotonic() - cut_at < 25)
    host.restart()
    t.equal(host.check(session).status, 503)
    host.mysql.heal()
    wait_store(host, "durable", True)
    fleet.warm(session)


def restart_blind_with(t, spoil):
    """The file of a stopped instance is spoilt while MySQL is away."""
    fleet = Fleet(t, hosts=1, conf=PATIENT)
    host, = fleet.hosts
    host.gw.expect_log(r"mysql is down: ", r"answering \"unavailable\"",
                       r"starting without it", r"no copy in redis is believed")
    session = host.create()
    fleet.warm(session)
    host.mysql.cut()
    host.gw.stop()
    spoil(fence_file(host))
    host.start()
    t.equal(host.check(session).status, 503)
    host.mysql.heal()
    wait_store(host, "durable", True)
    fleet.warm(session)
    return host


@case
def a_damaged_fence_file_is_nothing_known(t):
    def spoil(path):
        with open(path, "r+b") as f:
            f.seek(100)
            f.write(b"9")

    host = restart_blind_with(t, spoil)
    t.equal(len(lines(host, "no copy in redis is believed")), 1)


@case
def no_fence_file_is_nothing_known(t):
    host = restart_blind_with(t, os.unlink)
    t.equal(lines(host, "no copy in redis is believed"), [])


@case
def a_keeper_that_is_killed_forgets_nothing(t):
    fleet = Fleet(t, hosts=1, conf=PATIENT)
    host, = fleet.hosts
    host.gw.expect_log(r"mysql is down: ", r"keeper .*killed by signal 9",
                       r"answering \"unavailable\"")
    session = host.create()
    fleet.warm(session)
    host.mysql.cut()
    wait_store(host, "durable", False)
    os.unlink(fence_file(host))  # What is in shared memory is enough.
    before = keeper_pid(host)
    os.kill(before, signal.SIGKILL)

    def is_replaced():
        try:
            return keeper_pid(host) not in (None, before)
        except OSError:
            return False
    wait_until(is_replaced, "another keeper")
    t.equal(host.check(session).status, 200)
    wait_blind(host, session)
    host.mysql.heal()
    wait_store(host, "durable", True)
    host.wait_poll(2)
    wait_until(lambda: os.path.exists(fence_file(host)), "the file", 15)


@case
def rounds_go_on_while_a_store_hangs(t):
    fleet = Fleet(t, hosts=1, conf=PATIENT)
    host, = fleet.hosts
    host.gw.expect_log(*DOWN)
    host.gw.expect_log(r"answering \"unavailable\"", r"write touches")
    session = host.create()
    fleet.warm(session)
    for proxy in (host.mysql, host.redis):
        proxy.black_hole()
        wait_store(host, "durable" if proxy is host.mysql else "cache", False)
        before = host.count("polls")
        time.sleep(5)
        # 500 ms apart, and both time-outs may come behind each other.
        t.true(host.count("polls") - before >= 4,
               host.count("polls") - before)
        t.true(status(host)["keeper"]["heartbeat_age_ms"] < 2000)
        proxy.heal()
        wait_store(host, "durable" if proxy is host.mysql else "cache", True)
    t.equal(status(host)["keeper"]["deaths"], 0)
    fleet.warm(session)


@case
def another_host_s_end_is_brought_to_redis_by_any_keeper(t):
    fleet = Fleet(t, hosts=2, conf=PATIENT)
    a, b = fleet.hosts
    a.gw.expect_log(r"redis is down: ")
    session = a.create()
    fleet.warm(session)
    a.redis.cut()
    a.end(session)
    fleet.wait_synced(session)
    t.equal(fleet.state(session), "T")
    t.equal(b.check(session).status, 401)
    t.true(b.count("reconciled") >= 1)
    t.equal(a.check(session).status, 401)
    a.redis.heal()


@case
def a_logout_ends_what_mysql_has_lost(t):
    """The last second of a primary is gone; Redis has it, and is believed."""
    fleet = Fleet(t, hosts=2, conf=PATIENT)
    a, b = fleet.hosts
    session = a.create()
    fleet.warm(session)
    fleet.db.sql("DELETE FROM session WHERE ref = X'%s'" % session.ref)
    t.equal(b.check(session).status, 200)
    t.equal(a.logout(session).json()["ended"], 1)
    for host in a, b:
        t.equal(host.check(session).status, 401)
    # A host that has just started cannot know whether it was made while MySQL
    # was away and is on its way there: the end comes by the spool.
    wait_until(lambda: fleet.row(session, "state, user_id") == ["2", "alice"],
               "MySQL has its end")
    fleet.redis.command("FLUSHALL")
    fleet.wait_synced(session)
    t.equal(fleet.state(session), "T")
    t.equal(b.check(session).status, 401)


@case
def the_redis_of_another_database_is_left_alone(t):
    redis = Redis(t)
    one = Fleet(t, hosts=1, redis=redis, conf=PATIENT)
    session = one.hosts[0].create()
    one.warm(session)
    keys = [k for k in redis.command("KEYS", "*")]
    before = {k: redis.command("GET", k) for k in keys}
    other = Fleet(t, hosts=1, redis=redis, conf=PATIENT)
    other.hosts[0].gw.expect_log(r"fence: redis holds copies of another ")
    stranger = other.hosts[0].create()
    other.hosts[0].wait_poll(3)
    for _ in range(3):
        t.equal(other.hosts[0].check(stranger, is_told=True).served, ["mysql"])
    t.equal(len(lines(other.hosts[0], "holds copies of another")), 1)
    t.match(other.hosts[0].gw.log(), r"redis\.prefix or redis\.database")
    t.true(other.hosts[0].count("foreign_sync") >= 16)
    for key, value in before.items():
        t.equal(redis.command("GET", key), value)
    t.equal(one.hosts[0].check(session, is_told=True).served, ["redis"])


@case
def a_counter_that_falls_is_an_alarm(t):
    fleet = Fleet(t, hosts=1, conf=PATIENT)
    host, = fleet.hosts
    host.gw.expect_log(r"the numbers in mysql have fallen")
    session = host.create()
    host.update(session, {"a": 1})
    fleet.warm(session)
    host.wait_poll(2)
    fleet.db.sql("UPDATE meta SET seq = 0")
    wait_until(lambda: status(host)["fence"]["alarmed"], "the alarm")
    t.equal(host.check(session, is_told=True).served, ["mysql"])
    t.equal(len(lines(host, "have fallen")), 1)
    t.match(host.gw.log(), r"sessgatectl db restored")
    host.restart()
    t.equal(host.check(session, is_told=True).served, ["mysql"])
    t.equal(status(host)["fence"]["alarmed"], True)
    host.gw.stop()
    code, out = fleet.ctl("db", "restored", "--yes")
    t.equal(code, 0, out)
    host.start()
    host.wait_poll(2)
    t.equal(status(host)["fence"]["alarmed"], False)
    fleet.warm(session)


@case
def a_reload_changes_keepers_without_a_word(t):
    fleet = Fleet(t, hosts=1, conf=PATIENT)
    host, = fleet.hosts
    session = host.create()
    fleet.warm(session)
    for _ in range(5):
        before = keeper_pid(host)
        host.gw.signal(signal.SIGHUP)
        wait_until(lambda: keeper_pid(host) != before, "the new keeper")
        host.end(host.create())
        t.equal(host.check(session, is_told=True).served, ["redis"])
    host.wait_poll(2)
    t.true(os.path.exists(fence_file(host)))
    t.equal(status(host)["fence"]["groups_behind"], 0)


@case
def a_keeper_that_hangs_leaves_no_store_shut(t):
    """Who closes the breaker does not come: the workers ask by themselves."""
    fleet = Fleet(t, hosts=1, conf=LOGINS_WAIT)
    host, = fleet.hosts
    host.gw.expect_log(r"(mysql|redis) is down: ", r"fence: ",
                       r"answering \"unavailable\"", r"keeper \(pid \d+\)")
    session = host.create()
    fleet.warm(session)
    pid = keeper_pid(host)
    os.kill(pid, signal.SIGSTOP)
    try:
        host.mysql.cut()
        for _ in range(6):
            t.equal(host.try_create().status, 503)
        host.mysql.heal()
        began = time.monotonic()
        wait_until(lambda: host.try_create().status == 201, "creating", 6)
        t.true(time.monotonic() - began < 5)
        t.equal(host.check(session).status, 200)
    finally:
        os.kill(pid, signal.SIGCONT)


@case
def the_tables_for_people_have_the_stores(t):
    fleet = Fleet(t, hosts=1, conf=PATIENT)
    host, = fleet.hosts
    session = host.create()
    fleet.warm(session)
    code, out = fleet.ctl("status")
    t.equal(code, 0, out)
    t.match(out, r"(?m)^durable\.name +mysql$")
    t.match(out, r"(?m)^cache\.up +(yes|true)$")
    t.match(out, r"(?m)^cache\.since_at +20\d\d-")
    t.match(out, r"(?m)^problems +none$")
    t.match(out, r"(?m)^fence\.groups_behind +0$")
    t.match(out, r"(?m)^stores\.served_cache +[1-9]")
    t.true("stores.bad_seals" not in out, out)
    code, out = fleet.ctl("stats")
    t.equal(code, 0, out)
    t.match(out, r"(?m)^stores\.served_cache +[1-9]")


if __name__ == "__main__":
    run(main)
