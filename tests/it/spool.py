"""Ends while MySQL is away: acknowledged by what the spool and Redis have, and
brought to MySQL when it is back, whoever is killed in between.

design.md 4.1: an acknowledged end is refused everywhere within a second or two,
has exactly one audit row, and is not lost with any single failure. What is
turned off in the second run of a scenario: tests/README.md, Failpoints.

With SESSGATE_LONG=1 a hundred thousand frames are shipped, else a few thousand.
"""

import glob
import os
import shutil
import signal
import subprocess
import time

import harness
from harness import BUILD, PATIENCE, USER, case, main, wait_until
from proxy import CUT, LOSE_REPLY
from scenario import (SOON_S, STORES, hazard, never_accepted, promise,
                      refused_within)
from stores import (Fleet, MariaDB, Redis, directory, failpoint_build,
                    record_key, run)

EXPECTED = STORES + "|spool|api|killed by signal 9"
HAS_MUTANTS = os.environ.get("SESSGATE_FAILPOINT_BUILD") != "none"
# request_timeout of a fleet with proxies, a Redis that is asked beyond it, and
# a busy machine.
BUDGET_S = 2.0 + 0.3 + 0.5
# A breaker closes within three seconds after its store is back; then the keeper
# ships.
SHIPPED_S = 5.0


def fleet_of(t, server=None, hosts=2, **more):
    fleet = Fleet(t, hosts=hosts, server=server, **more)
    fleet.expect_log(EXPECTED)
    return fleet


def spool_of(host):
    return host.status()["spool"]


def spool_dir(host):
    return host.gw.conf["spool"]["dir"]


def end_by_v1(host, session):
    return host.gw.api("POST", "v1/end", {"token": session.token},
                       address=host.gw.control)


def ways(host):
    """Everything that ends one session, by what it is called."""
    return {"logout": host.logout,
            "revoke": lambda s: host.end(s, check=False),
            "v1/end": lambda s: end_by_v1(host, s)}


def blind(fleet):
    for host in fleet.hosts:
        host.mysql.black_hole()


def heal(fleet):
    for host in fleet.hosts:
        host.mysql.heal()


def has_ended(fleet, session):
    return fleet.row(session, "state") == ["2"]


def wait_ended(fleet, sessions, timeout=SHIPPED_S):
    """Until MySQL has them as ended, once each; how long that took."""
    begin = time.monotonic()
    for session in sessions:
        wait_until(lambda: has_ended(fleet, session), "MySQL has the end",
                   timeout)
        audit = fleet.audit(session)
        promise(audit == ["create", "end"],
                "an acknowledged end has the audit rows %r" % audit)
    return time.monotonic() - begin


def wait_shipped(host, timeout=PATIENCE):
    wait_until(lambda: spool_of(host)["to_durable"] == 0 and
               spool_of(host)["to_cache"] == 0, "the spool is empty", timeout)


def is_recorded(answer):
    return (answer.status == 503 and answer.json().get("detail") ==
            "recorded, takes effect as soon as a store is back")


# ---- MySQL is away -----------------------------------------------------------


def outage(t, begin, finish):
    server = MariaDB(t)
    fleet = fleet_of(t, server)
    a, b = fleet.hosts
    sessions = {name: a.create(name) for name in ways(a)}
    fleet.warm(*sessions.values())
    begin(fleet)
    longest = 0.0
    for name, end in ways(a).items():
        session = sessions[name]
        began = time.monotonic()
        answer = end(session)
        longest = max(longest, time.monotonic() - began)
        t.equal(answer.status, 200, name)
        promise(b.check(session).status == 401,
                "%s was acknowledged, and another host accepts the session" %
                name)
        # Again, by token and by ref: nothing more happens.
        t.equal(end_by_v1(b, session).status, 200, name + " again")
        t.equal(b.end(session, check=False).status, 200, name + " again")
    t.true(longest < BUDGET_S, "an end took %.3f s" % longest)
    t.equal(a.count("spooled"), 3)
    never_accepted(fleet.hosts, sessions["logout"], 0.3)
    finish(fleet)
    took = wait_ended(fleet, sessions.values())
    wait_until(lambda: a.count("spool_applied") >= 3, "they are shipped")
    wait_shipped(a)
    a.gw.wait_log(r"keeper: spool: mysql has got all 3 events that waited for "
                  r"it, within \d+ ms", PATIENCE)
    wait_until(lambda: not any(h.status()["problems"] for h in fleet.hosts),
               "all is well", SHIPPED_S)
    print("# an end took %.3f s at most, MySQL had all %.3f s after it was "
          "back" % (longest, took))


@case
def ends_while_mysql_stands_still_are_acknowledged_and_come_true(t):
    outage(t, lambda f: f.db.server.stop(), lambda f: f.db.server.go_on())


@case
def ends_while_mysql_is_killed_are_acknowledged_and_come_true(t):
    outage(t, lambda f: f.db.server.kill(), lambda f: f.db.server.start())


@case
def ends_while_mysql_is_a_black_hole_are_acknowledged_and_come_true(t):
    outage(t, blind, heal)


@case
def who_and_why_are_in_the_row_and_in_the_audit(t):
    fleet = fleet_of(t)
    a = fleet.hosts[0]
    sessions = [a.create("ann"), a.create("ann")]
    fleet.warm(*sessions)
    # Of the second there is no copy that would say who it is.
    fleet.redis.command("DEL", record_key(sessions[1].ref))
    blind(fleet)
    for session in sessions:
        t.equal(a.logout(session).status, 200)
    heal(fleet)
    wait_ended(fleet, sessions)
    for session in sessions:
        t.equal(fleet.row(session, "user_id, end_reason, data"),
                ["ann", "8", "{}"])
        t.equal(fleet.db.sql(
            "SELECT user_id, reason, kind FROM audit WHERE ref = X'%s' AND "
            "kind = 'end'" % session.ref), "ann\t8\tend")


@case
def a_ref_that_nobody_has_a_copy_of_is_not_acknowledged_while_mysql_is_away(t):
    fleet = fleet_of(t)
    a = fleet.hosts[0]
    session = a.create()
    elsewhere = a.gw.api("POST", "v1/sessions",
                         {"user_id": "bob", "realm": "shop"},
                         address=a.gw.control).json()["session"]
    fleet.warm(session)
    fleet.redis.command("DEL", "sg:{%d}:s:%s" % (
        int(session.ref[:2], 16) % 16, session.ref))
    blind(fleet)
    made_up = session.ref[:-4] + "abcd"
    for ref in (session.ref, made_up, elsewhere["ref"]):
        answer = a.gw.api("DELETE", "v1/sessions/" + ref,
                          address=a.gw.control)
        t.equal(answer.status, 503)
        t.true(not is_recorded(answer), "it says that it is recorded")
    t.equal(spool_of(a)["to_durable"], 0)
    # The tag of its token is enough.
    t.equal(a.logout(session).status, 200)
    t.equal(a.gw.api("POST", "v1/end", {"token": session.token[:-1] + (
        "A" if session.token[-1] != "A" else "B")},
        address=a.gw.control).json()["ended"], 0)
    heal(fleet)
    wait_ended(fleet, [session])
    t.equal(fleet.db.sql("SELECT COUNT(*) FROM session WHERE state = 2"), "1")


@case
def an_end_whose_commit_was_made_and_not_answered_has_one_audit_row(t):
    fleet = fleet_of(t)
    a, b = fleet.hosts
    session = a.create()
    fleet.warm(session)

    # The server hears the COMMIT; nobody hears the server, then or later.
    lost = a.mysql.on(rb"^\x03COMMIT", LOSE_REPLY, 1)
    deaf = a.mysql.on(lambda request: lost.hits > 0, CUT)
    answer = a.logout(session)
    t.equal(answer.status, 200)
    t.equal(lost.hits, 1, "commits that were sent")
    t.equal(fleet.audit(session), ["create", "end"], "it was made")
    t.equal(a.count("spooled"), 1)
    deaf.remove()
    wait_until(lambda: a.count("spool_applied") > 0, "it is shipped")
    t.equal(fleet.audit(session), ["create", "end"])
    t.equal(b.check(session).status, 401)


# ---- both stores are away ----------------------------------------------------


def both_away(fleet):
    blind(fleet)
    for host in fleet.hosts:
        host.redis.cut()


@case
def an_end_that_no_store_hears_is_recorded_and_comes_true_with_redis(t):
    fleet = fleet_of(t)
    a, b = fleet.hosts
    session = a.create()
    fleet.warm(session)
    both_away(fleet)
    answer = a.logout(session)
    t.true(is_recorded(answer), answer)
    t.equal(answer.header("Set-Cookie"), None, "the cookie stays")
    promise(a.check(session).status == 401, "this host does not refuse it")
    for host in fleet.hosts:
        host.redis.heal()
    wait_until(lambda: fleet.state(session) == "T", "Redis has it", SHIPPED_S)
    refused_within(b, session, 1.0)
    t.equal(fleet.audit(session), ["create"], "MySQL is away")
    heal(fleet)
    wait_ended(fleet, [session])


@case
def an_end_that_no_store_hears_comes_true_with_mysql_alone(t):
    fleet = fleet_of(t)
    a, b = fleet.hosts
    session = a.create()
    fleet.warm(session)
    both_away(fleet)
    t.true(is_recorded(a.logout(session)))
    # A ref alone is not enough: nobody can tell whose it is.
    t.true(not is_recorded(b.end(session, check=False)))
    heal(fleet)
    wait_until(lambda: has_ended(fleet, session), "MySQL has it", SHIPPED_S)
    wait_until(lambda: b.check(session).status == 401, "it is refused")
    for host in fleet.hosts:
        host.redis.heal()
    wait_until(lambda: fleet.state(session) == "T", "Redis has it", SHIPPED_S)


@hazard(off="spool-refuse")
def what_is_recorded_is_refused_here_before_any_store_has_it(t):
    fleet = fleet_of(t, hosts=1)
    a = fleet.hosts[0]
    session = a.create()
    fleet.warm(session)
    both_away(fleet)
    t.true(is_recorded(a.logout(session)))
    # Nobody ships: what the workers do now they do by themselves.
    keeper = a.status()["keeper"]["pid"]
    os.kill(keeper, signal.SIGSTOP)
    try:
        a.redis.heal()
        # They wait for a keeper as long as it may only be late.
        never_accepted([a], session, 5.0)
    finally:
        os.kill(keeper, signal.SIGCONT)
    heal(fleet)
    wait_ended(fleet, [session])


def refused_until_mysql_has_it(fleet, hosts, session):
    """Nobody says yes, also while MySQL is back and has not got it yet."""
    begin = time.monotonic()
    while not has_ended(fleet, session):
        never_accepted(hosts, session, 0.05)
        promise(time.monotonic() - begin < 2 * SHIPPED_S,
                "MySQL does not hear of an acknowledged end")
    wait_ended(fleet, [session])


@hazard(off="row-alone", pause="ship=pause:1500")
def mysql_that_is_just_back_is_not_believed_where_redis_does_not_answer(t):
    fleet = fleet_of(t)
    a, b = fleet.hosts
    session = a.create()
    fleet.warm(session)
    blind(fleet)
    t.equal(a.logout(session).status, 200)
    t.equal(b.check(session).status, 401)
    b.redis.cut()
    heal(fleet)
    refused_until_mysql_has_it(fleet, [a, b], session)
    t.equal(answered(b, session), 401)


@hazard(off="spool-refuse", pause="ship=pause:4000")
def who_has_spooled_an_end_refuses_though_mysql_has_it_not_yet(t):
    fleet = fleet_of(t, hosts=1)
    a = fleet.hosts[0]
    session = a.create()
    fleet.warm(session)
    blind(fleet)
    t.equal(a.logout(session).status, 200)
    a.redis.cut()
    heal(fleet)
    refused_until_mysql_has_it(fleet, [a], session)


# ---- a store loses what it had -----------------------------------------------


@hazard(off="spool-again")
def h11_a_redis_from_an_old_dump_refuses_again_while_mysql_is_away(t):
    fleet = fleet_of(t)
    a, b = fleet.hosts
    session = a.create()
    fleet.warm(session)
    dump = fleet.redis.save()
    blind(fleet)
    t.equal(a.logout(session).status, 200)
    t.equal(b.check(session).status, 401)
    wait_until(lambda: spool_of(a)["to_cache"] == 0, "it was shipped to Redis")
    fleet.redis.kill()
    fleet.redis.restart_from(dump)
    took = refused_within(b, session, SOON_S)
    never_accepted(fleet.hosts, session, 1.0, " of an old dump")
    print("# refused again %.3f s after Redis was back" % took)
    heal(fleet)
    wait_ended(fleet, [session])


@hazard(off="spool")
def an_end_that_redis_has_forgotten_is_in_mysql_all_the_same(t):
    fleet = fleet_of(t)
    a, b = fleet.hosts
    session = a.create()
    fleet.warm(session)
    blind(fleet)
    t.equal(a.logout(session).status, 200)
    fleet.redis.command("FLUSHALL")
    heal(fleet)
    begin = time.monotonic()
    while not has_ended(fleet, session):
        promise(time.monotonic() - begin < SHIPPED_S,
                "MySQL does not hear of an acknowledged end")
        time.sleep(0.02)
    wait_ended(fleet, [session])
    refused_within(b, session, SOON_S)


@hazard(off="spool-remember")
def h26_an_end_that_a_crash_of_mysql_has_lost_is_told_again(t):
    server = MariaDB(t)
    fleet = fleet_of(t, server)
    a = fleet.hosts[0]
    session = a.create()
    fleet.warm(session)
    t.equal(a.logout(session).status, 200)
    t.equal(a.count("spooled"), 0)
    # A server is known by the second in which it was started.
    wait_until(lambda: int(server.sql("SHOW STATUS LIKE 'Uptime'").split()[1])
               > 1, "it runs for more than a second")
    for host in fleet.hosts:
        host.mysql.cut()
    server.kill()
    server.start()
    # The crash has lost the last commit.
    fleet.db.sql("UPDATE session SET state = 1, seq = 0, version = 1, "
                 "end_reason = 0, ended_ms = 0 WHERE ref = X'%s';"
                 "DELETE FROM audit WHERE kind = 'end'" % session.ref)
    heal(fleet)
    begin = time.monotonic()
    while not has_ended(fleet, session):
        promise(time.monotonic() - begin < SHIPPED_S,
                "MySQL has lost an acknowledged end for good")
        time.sleep(0.02)
    wait_ended(fleet, [session])


# ---- somebody is killed ------------------------------------------------------


def pauses(t, what):
    """A fleet of one host that waits at that place."""
    failpoint_build()
    t.failpoints = what + "=pause:1500"
    return fleet_of(t, hosts=1, conf={"gateway": {"workers": 1}})


def kill_worker(t, place, is_refused):
    """Ends a session while MySQL is away, and kills its worker at `place`."""
    fleet = pauses(t, place)
    a = fleet.hosts[0]
    session = a.create()
    fleet.warm(session)
    blind(fleet)
    worker = a.status()["workers"][0]["pid"]
    sock = harness.connect(a.gw.pool)
    sock.sendall(harness.request_bytes(harness.web_params(
        "POST", "/.sessgate/logout", HTTP_COOKIE=session.cookie,
        HTTP_SEC_FETCH_SITE="same-origin")))
    # It is at the place when it has given MySQL up and told nobody.
    time.sleep(1.4)
    os.kill(worker, signal.SIGKILL)
    t.equal(harness.read_answer(sock).status, 0, "nothing was acknowledged")
    sock.close()
    if is_refused:
        wait_until(lambda: fleet.state(session) == "T", "Redis has it",
                   SHIPPED_S)
    heal(fleet)
    if is_refused:
        wait_ended(fleet, [session])
    else:
        a.wait_poll(4)
        t.equal(fleet.audit(session), ["create"])
        t.equal(answered(a, session), 200)
        t.equal(a.logout(session).status, 200)
        t.equal(fleet.audit(session), ["create", "end"])


def answered(host, session):
    return wait_until(lambda: [s for s in [host.check(session).status]
                               if s != 503], "it is answered")[0]


def kill_keeper(t, place, store):
    """Kills the keeper while it brings an end to a store."""
    fleet = pauses(t, place)
    a = fleet.hosts[0]
    sessions = [a.create("user%d" % i) for i in range(3)]
    fleet.warm(*sessions)
    both_away(fleet)
    for session in sessions:
        t.true(is_recorded(a.logout(session)))
    for proxy in (a.redis, a.mysql) if store == "both" else (a.mysql,):
        proxy.heal()
    for _ in range(3):
        keeper = a.status()["keeper"]["pid"]
        time.sleep(0.7)
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: a.status()["keeper"]["pid"] not in (None, keeper),
                   "there is another keeper")
    a.redis.heal()
    wait_ended(fleet, sessions, 20)
    for session in sessions:
        wait_until(lambda: fleet.state(session) == "T", "Redis has it", 20)


if HAS_MUTANTS:
    @case
    def a_worker_that_dies_before_it_writes_has_ended_nothing(t):
        kill_worker(t, "end-spool", False)

    @case
    def a_worker_that_dies_before_it_tells_redis_has_ended_it(t):
        kill_worker(t, "end-publish", True)

    @case
    def a_worker_that_dies_before_it_answers_has_ended_it_once(t):
        kill_worker(t, "end-acknowledge", True)

    @case
    def a_keeper_that_dies_before_it_ships_is_followed_by_one_that_does(t):
        kill_keeper(t, "ship", "both")

    @case
    def a_keeper_that_dies_before_it_notes_what_it_shipped_ships_it_once(t):
        kill_keeper(t, "shipped", "mysql")


@case
def what_a_killed_gateway_has_acknowledged_is_shipped_by_the_next_one(t):
    fleet = fleet_of(t)
    a, b = fleet.hosts
    sessions = [a.create("user%d" % i) for i in range(5)]
    fleet.warm(*sessions)
    blind(fleet)
    for session in sessions[:3]:
        t.equal(a.logout(session).status, 200)
    a.gw.kill_all()
    t.true(glob.glob(spool_dir(a) + "/*.spool"), "its files are there")
    a.start()
    for session in sessions[3:]:
        t.equal(a.logout(session).status, 200)
    a.gw.stop()
    a.start()
    never_accepted([b], sessions[0], 0.2)
    heal(fleet)
    wait_ended(fleet, sessions)


@case
def a_reload_and_a_stop_lose_nothing(t):
    fleet = fleet_of(t, hosts=1)
    a = fleet.hosts[0]
    sessions = [a.create("user%d" % i) for i in range(4)]
    fleet.warm(*sessions)
    blind(fleet)
    t.equal(a.logout(sessions[0]).status, 200)
    generation = a.status()["generation"]
    a.gw.signal(signal.SIGHUP)
    wait_until(lambda: a.status()["generation"] > generation, "it reloads")
    t.equal(a.logout(sessions[1]).status, 200)
    heal(fleet)
    wait_ended(fleet, sessions[:2])
    blind(fleet)
    wait_until(lambda: not a.status()["durable"]["up"], "MySQL is away")
    t.equal(a.logout(sessions[2]).status, 200)
    t.equal(a.gw.stop(), 0)
    heal(fleet)
    a.start()
    wait_ended(fleet, sessions[:3])


@case
def another_instance_gets_a_directory_of_its_own(t):
    fleet = fleet_of(t, hosts=1)
    a = fleet.hosts[0]
    other = [harness.SESSGATED, "-c", a.gw.conf_path, "-o",
             "gateway.runtime_dir=" + a.gw.run_dir + "2"]
    done = subprocess.run(other, capture_output=True, text=True, timeout=30)
    t.equal(done.returncode, 1, done.stderr)
    t.match(done.stderr, "spool.dir: %s is another instance's" % spool_dir(a))
    # As long as a process of that one lives; a reload does not let go.
    generation = a.status()["generation"]
    a.gw.signal(signal.SIGHUP)
    wait_until(lambda: a.status()["generation"] > generation, "it reloads")
    t.equal(subprocess.run(other, stderr=subprocess.DEVNULL,
                           timeout=30).returncode, 1)
    t.equal(a.gw.stop(), 0)
    with subprocess.Popen(other, stderr=subprocess.PIPE, text=True) as run:
        try:
            while " ready: " not in run.stderr.readline():
                t.equal(run.poll(), None)
        finally:
            run.terminate()
    t.equal(run.returncode, 0)


# ---- the file and the disk ---------------------------------------------------


@case
def damage_in_the_middle_of_a_file_loses_one_end_and_invents_none(t):
    fleet = fleet_of(t, hosts=1, conf={"gateway": {"workers": 1}})
    a = fleet.hosts[0]
    sessions = [a.create("user%d" % i) for i in range(3)]
    fleet.warm(*sessions)
    blind(fleet)
    for session in sessions:
        t.equal(a.logout(session).status, 200)
    a.gw.stop()
    path, = glob.glob(spool_dir(a) + "/*.spool")
    with open(path, "r+b") as f:
        text = f.read()
        at = text.index(b"user1")
        f.seek(at)
        f.write(b"\xff" * 5)
    for name in glob.glob(spool_dir(a) + "/*.done"):
        os.unlink(name)
    fleet.redis.command("FLUSHALL")
    heal(fleet)
    a.start()
    wait_ended(fleet, [sessions[0], sessions[2]])
    wait_shipped(a)
    t.equal(fleet.audit(sessions[1]), ["create"], "that one is lost")
    t.equal(spool_of(a)["damaged"], 1)
    t.match(" ".join(a.status()["problems"]), "1 damaged places in the spool")
    t.match(a.gw.log(), "damaged places were passed over")


@case
def a_full_spool_keeps_its_reserve_for_ends_and_then_says_so(t):
    fleet = fleet_of(t, hosts=1, conf={
        "gateway": {"workers": 1},
        "spool": {"max": "64 KiB", "reserve": 20}})
    a = fleet.hosts[0]
    confirmed = 0
    while a.count("spool_failed") == 0:
        # What MySQL has fills all but the reserve.
        t.equal(a.logout(a.create()).status, 200)
        confirmed += 1
        t.true(confirmed < 1000, "it is never full for what is not needed")
    sessions = [a.create("user%d" % i) for i in range(100)]
    fleet.warm(sessions[-1])
    blind(fleet)
    statuses = [a.logout(s).status for s in sessions]
    kept = statuses.count(200)
    t.true(20 < kept < 100, "%d ends had room in the reserve" % kept)
    t.equal(statuses, [200] * kept + [503] * (100 - kept))
    last = a.logout(sessions[-1])
    t.true(not is_recorded(last), "it says that it is recorded")
    t.match(" ".join(a.status()["problems"]), "cannot be written")
    t.equal(a.check(sessions[-1]).status, 200, "nothing was recorded")
    heal(fleet)
    wait_ended(fleet, sessions[:kept])
    t.equal(fleet.audit(sessions[-1]), ["create"])


@case
def an_event_of_another_database_holds_up_no_other(t):
    fleet = fleet_of(t, hosts=1)
    a = fleet.hosts[0]
    foreign, session = a.create("ann"), a.create("bob")
    fleet.warm(foreign, session)
    blind(fleet)
    t.equal(a.logout(foreign).status, 200)
    a.gw.stop()
    other = Fleet(t, hosts=1, redis=fleet.redis, conf={
        "redis": {"prefix": "other"},
        "spool": {"dir": spool_dir(a)}})
    other.expect_log(EXPECTED)
    c = other.hosts[0]
    wait_until(lambda: spool_of(c)["refused"] > 0, "it is told")
    t.match(c.gw.log(), "events are not taken by .*another database")
    mine = c.create("cid")
    other.warm(mine)
    c.mysql.black_hole()
    t.equal(c.logout(mine).status, 200)
    c.mysql.heal()
    wait_ended(other, [mine])
    t.equal(other.db.sql("SELECT COUNT(*) FROM audit WHERE ref = X'%s'" %
                         foreign.ref), "0")
    t.match(" ".join(c.status()["problems"]), "do not take 1 events")


# ---- many ----


def many_rows(fleet, count):
    """Live sessions like the one that is there, made in MySQL: their refs."""
    fleet.db.sql(
        "SET @columns = (SELECT GROUP_CONCAT(column_name ORDER BY "
        "ordinal_position) FROM information_schema.columns WHERE table_schema "
        "= DATABASE() AND table_name = 'session' AND column_name <> 'ref' AND "
        "column_name <> 'grp');"
        "SET @text = CONCAT('INSERT INTO session (ref, grp, ', @columns, ') "
        "SELECT CONCAT(CHAR(n.seq %% 16 USING binary), SUBSTR(s.ref, 2, 4), "
        "UNHEX(LPAD(HEX(n.seq), 14, ''0''))), n.seq %% 16, ', "
        "REPLACE(@columns, 'seq', 's.seq'), ' FROM session s, seq_1_to_%d "
        "n');"
        "EXECUTE IMMEDIATE @text" % count)
    return fleet.db.sql("SELECT HEX(ref) FROM session WHERE ref LIKE "
                        "CONCAT('_____', UNHEX('0000'), '%'); ").lower()


@case
def many_events_are_shipped_in_time(t):
    count = 100000 if os.environ.get("SESSGATE_LONG") == "1" else 3000
    fleet = fleet_of(t, hosts=1, is_direct=True,
                     conf={"spool": {"max": "256 MiB"}})
    a = fleet.hosts[0]
    other = a.create()
    fleet.warm(other)
    refs = many_rows(fleet, count)
    t.equal(len(refs.split()), count)
    a.gw.stop()
    made = os.path.join(directory(t, "sgsp."), "spool")
    subprocess.run([os.path.join(BUILD, "tests", "it", "spoolfill"), made],
                   input=refs.encode() + b"\n", check=True)
    for path in glob.glob(made + "/*.spool"):
        shutil.chown(path, USER)
        shutil.move(path, spool_dir(a))
    begin = time.monotonic()
    a.start()
    late, last = 0.0, a.status()
    while last["stores"]["spool_applied"] < count:
        t.true(time.monotonic() - begin < 120, "after 120 s %d of %d" % (
            last["stores"]["spool_applied"], count))
        time.sleep(0.2)
        now = a.status()
        late = max(late, (now["fence"]["age_ms"] or 0) / 1000)
        last = now
    took = time.monotonic() - begin
    wait_shipped(a)
    t.equal(fleet.db.sql("SELECT COUNT(*) FROM session WHERE state = 2"),
            str(count))
    t.equal(fleet.db.sql("SELECT COUNT(*) FROM audit WHERE kind = 'end'"),
            str(count))
    t.equal(fleet.redis.command("DBSIZE") >= count, True, "tombstones")
    t.equal(a.check(other).status, 200)
    # Three polls, and Redis would not be believed any more.
    t.true(late < 1.5, "a round was %.1f s late" % late)
    print("# %d events in %.1f s, %.0f a second; the oldest round was %.2f s "
          "old" % (count, took, count / took, late))


# ---- replicas ----------------------------------------------------------------


@case
def with_redis_replicas_an_end_waits_for_them(t):
    master = Redis(t, is_tcp=True)
    replica = Redis(t, is_tcp=True)
    replica.follow("127.0.0.1", master.port)
    master.wait_replicas(1)
    # Redis and its replica have three quarters of it: enough on a busy machine,
    # and with MySQL's time less than request_timeout.
    fleet = fleet_of(t, redis=master, hosts=1,
                     conf={"redis": {"replicas": 1, "timeout": "1 s"}})
    a = fleet.hosts[0]
    first, second = a.create("ann"), a.create("bob")
    fleet.warm(first, second)
    blind(fleet)
    t.equal(a.logout(first).status, 200)
    t.equal(replica.command("GET", "sg:{%d}:s:%s" % (
        int(first.ref[:2], 16) % 16, first.ref))[:1], b"T")
    replica.stop()
    answer = a.logout(second)
    t.true(is_recorded(answer), answer)
    t.true(is_recorded(a.logout(second)), "a second time neither")
    t.equal(a.check(second).status, 401)
    replica.go_on()
    wait_until(lambda: a.logout(second).status == 200, "the replica has it")
    heal(fleet)
    wait_until(lambda: has_ended(fleet, second), "MySQL has the end")
    t.equal(fleet.audit(second), ["create", "end"])


if __name__ == "__main__":
    run(main)
