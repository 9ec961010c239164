"""The hazards of two stores (H1 to H30): several gateways on one machine, a
proxy in front of each one's Redis and MySQL, and a switch for each mechanism.

What is called a promise here is one of design 4.1: no ended session is
accepted, no live one is refused, an outage is no logout, nobody gets another's
session. tests/README.md says which hazard and which trace is tested where.
"""

import functools
import glob
import os
import re
import subprocess
import threading
import time

from harness import SOURCE, Skip, case, main, wait_until
from proxy import CUT, HOLD, HOLD_REPLY, LOSE_REPLY, PASS
from scenario import (EXPORT, LOGINS_WAIT, SLOW_POLL, SOON_S, STORES, answer,
                      arrived, hazard, is_script, never_accepted, promise,
                      refused_within)
from stores import Fleet, group_of, patient, record_key, run, sync_key

# As built they hold with the local cache, too, but for those that count or change
# what a store is asked.
hazard = functools.partial(hazard, has_local_cache=True)

# ---- H1, H2: an end that Redis has not heard of ------------------------------


@hazard(off="fence")
def h1_a_redis_from_an_old_dump_is_not_believed(t):
    fleet = Fleet(t)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create()
    fleet.warm(session)
    dump = fleet.redis.save()
    fleet.redis.kill()
    a.end(session)
    for host in fleet.hosts:
        host.wait_poll(2)
    # It takes no writes, as a replica whose master is gone: nobody can bring
    # it up to date, and its copies can be read.
    before = b.count("distrusted")
    fleet.redis.restart_from(dump, replicaof="127.0.0.1 1")
    never_accepted(fleet.hosts, session, 2.0, " of an old dump")
    wait_until(lambda: b.count("distrusted") > before,
               "the old copy was read and not believed")
    # It takes writes again: the keepers bring it what is missing.
    fleet.redis.promote()
    fleet.wait_synced(session)
    t.equal(fleet.state(session), "T")
    never_accepted(fleet.hosts, session, 0.2)


@hazard(off="apply")
def h2_an_end_at_a_host_without_redis_reaches_the_others(t):
    fleet = Fleet(t)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    sessions = [a.create("user%d" % i) for i in range(8)]
    fleet.warm(*sessions)
    a.redis.cut()
    took = []
    for session in sessions:
        a.end(session)
        took.append(refused_within(b, session, SOON_S))
        time.sleep(0.07)
    print("# first 401 after %s ms" % ", ".join(
        "%.0f" % (1000 * s) for s in took))
    never_accepted(fleet.hosts, sessions[0], 0.2)


@hazard(off="fence")
def h2_an_end_is_seen_by_the_fence_when_rows_cannot_be_brought(t):
    fleet = Fleet(t)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create()
    fleet.warm(session)
    a.redis.cut()
    # At b no row of the change log can be read, and nothing applied.
    b.mysql.on(rb"^\x16.*change_log", CUT)
    b.mysql.drop_connections()
    a.end(session)
    print("# first 401 after %.0f ms" % (
        1000 * refused_within(b, session, SOON_S)))
    never_accepted([b], session, 1.0)


# ---- H10: between the two stores ---------------------------------------------


@hazard(off="publish")
def h10_redis_is_told_before_a_change_is_acknowledged(t):
    fleet = Fleet(t, conf=dict(SLOW_POLL, **EXPORT))
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create(data={"n": 1})
    fleet.warm(session)
    a.update(session, {"n": 2})
    for host in fleet.hosts:  # No keeper has polled since.
        host.mysql.black_hole()
    verdict = answer(b, session)
    promise(verdict.data("n") == "2", "what was before the change is served")


@hazard(off="fence-untold")
def h10_who_changed_what_redis_did_not_take_knows_it_at_once(t):
    fleet = Fleet(t, hosts=1, conf=dict(SLOW_POLL, **EXPORT))
    a, = fleet.hosts
    fleet.expect_log(STORES)
    # It can be read, and takes no writes.
    for refuse, take in ((("CONFIG", "SET", "min-replicas-to-write", "1"),
                          ("CONFIG", "SET", "min-replicas-to-write", "0")),
                         (("REPLICAOF", "127.0.0.1", "1"),
                          ("REPLICAOF", "NO", "ONE"))):
        session = a.create("alice", data={"n": 1})
        changed = a.create("bob", data={"n": 1})
        fleet.warm(session, changed)
        fleet.redis.command(*refuse)
        a.update(changed, {"n": 2})
        a.end(session)
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            promise(a.check(session).status != 200,
                    "its own end is not known to this host")
            promise(a.check(changed).data("n") == "2",
                    "its own change is not known to this host")
        fleet.redis.command(*take)
        fleet.wait_synced(session, 30)


# ---- H3: read repair ---------------------------------------------------------


def late_repair(t, is_tombstone_kept):
    """b reads the row, a ends the session, b's PUT arrives then."""
    fleet = Fleet(t)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create()
    fleet.warm(session)
    key = record_key(session.ref)
    put = b.redis.on(lambda r: is_script(r, key), HOLD, 1)

    def is_repairing():
        # Where Redis is late on a busy machine, b answers without a repair.
        fleet.redis.command("DEL", key)
        t.equal(answer(b, session).status, 200)
        return put.seen.wait(0.1)

    wait_until(is_repairing, "b repairs what it did not find")
    a.end(session)
    fleet.wait_synced(session)
    if not is_tombstone_kept:
        fleet.redis.command("DEL", key)
    arrived(fleet, put.release)
    promise(fleet.state(session) != "L",
            "a late read repair brought an ended session back to Redis")
    never_accepted(fleet.hosts, session, 0.5)


@hazard(off="put-guard")
def h3_a_late_read_repair_does_not_write_over_a_tombstone(t):
    late_repair(t, True)


@hazard(off="put-guard")
def h3_h13_a_late_read_repair_does_nothing_where_the_tombstone_was_evicted(t):
    late_repair(t, False)


# ---- H8: clocks --------------------------------------------------------------


def faketime(offset):
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not found:
        raise Skip("libfaketime is not installed")
    return {"LD_PRELOAD": found[0], "FAKETIME": offset,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # A sanitizer wants to be the first library.
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") +
                            ":verify_asan_link_order=0"}


def remove_faketime(hosts):
    """What it leaves in /dev/shm when a process has given root up."""
    for host in hosts:
        for kind in ("faketime_shm_%d", "sem.faketime_sem_%d"):
            path = os.path.join("/dev/shm", kind % host.gw.pid)
            if os.path.exists(path):
                os.unlink(path)


@hazard(off="seen-late")
def h7_what_another_host_has_seen_and_not_told_yet_counts(t):
    fleet = Fleet(t)
    a, b = fleet.hosts
    plan = []
    for i in range(6):
        session = a.create("user%d" % i, idle_timeout=2)
        made = time.monotonic()
        # Over after 2.2 s, but for what a has seen. Its keeper writes that
        # every second: not between the two questions, for most of them.
        plan += [(made + 2.05, a, session), (made + 2.35, b, session)]
        time.sleep(0.17)
    for at, host, session in sorted(plan, key=lambda x: x[0]):
        time.sleep(max(0, at - time.monotonic()))
        verdict = host.check(session)
        promise(verdict.status == 200, "an active user is logged out by a host "
                "that has not heard of it: %r" % verdict)


@hazard(off="clock")
def h8_a_host_with_a_wrong_clock_judges_expiry_by_the_databases(t):
    fleet = Fleet(t, hosts=3, start=False)
    fleet.expect_log("this host's clock is")
    a, fast, slow = fleet.hosts
    a.start()
    fast.start(**faketime("+3600"))
    slow.start(**faketime("-3600"))
    t.at_end(remove_faketime, (fast, slow))
    t.at_end(fleet.finish)
    for host in fleet.hosts:
        host.wait_stores()
    made = time.monotonic()
    sessions = [host.create(absolute_timeout=3) for host in fleet.hosts]
    late = time.monotonic()

    def asked(status, what):
        for session in sessions:
            for host in fleet.hosts:
                verdict = host.check(session)
                promise(verdict.status == status, "%s: host %d answers %r" % (
                    what, host.number, verdict))

    asked(200, "just made")
    time.sleep(max(0, made + 2 - time.monotonic()))
    asked(200, "1 s before its end")
    time.sleep(max(0, late + 4 - time.monotonic()))
    asked(401, "1 s after its end")


# ---- H12, H13: Redis forgets -------------------------------------------------


@hazard(off="apply,warm")
def h12_an_emptied_redis_is_filled_again_and_carries_the_next_outage(t):
    fleet = Fleet(t)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    live, ended = a.create("alice"), a.create("bob")
    a.update(live, {"x": 1})
    fleet.warm(live, ended)
    a.end(ended)
    fleet.wait_synced(live)
    fleet.wait_synced(ended)
    fleet.redis.command("FLUSHALL")
    for host in fleet.hosts:
        t.equal(host.check(live).status, 200, "from MySQL")
        t.equal(host.check(ended).status, 401, "from MySQL")
    for host in fleet.hosts:
        host.wait_poll(2)
    fleet.redis.command("FLUSHALL")
    for host in fleet.hosts:
        host.wait_poll(2)
    for host in fleet.hosts:
        host.mysql.black_hole()
    for host in fleet.hosts:
        # Nobody has looked at it since: the keepers have brought it.
        promise(answer(host, live).status == 200,
                "a changed session is not in Redis after FLUSHALL")
        promise(answer(host, ended).status == 401,
                "the tombstone is not in Redis after FLUSHALL")


@case
def h13_an_evicted_record_comes_back_with_the_next_look(t):
    # A miss is asked of MySQL: there is nothing that could be turned off.
    fleet = Fleet(t)
    a, b = fleet.hosts
    session = a.create()
    fleet.warm(session)
    fleet.redis.command("DEL", record_key(session.ref))
    t.equal(b.check(session, is_told=True).served, ["mysql"])
    t.equal(fleet.state(session), "L")
    t.equal(a.check(session, is_told=True).served, ["redis"])


@case
def h13_an_evicted_sync_costs_questions_and_comes_back(t):
    # Without a sync no copy is believed: there is no store id to check a seal
    # with. Nothing to turn off either.
    fleet = Fleet(t)
    a, b = fleet.hosts
    session = a.create()
    fleet.warm(session)
    fleet.redis.command("DEL", sync_key(group_of(session.ref)))
    verdict = b.check(session, is_told=True)
    t.equal(verdict.status, 200)
    wait_until(lambda: b.check(session, is_told=True).served == ["redis"],
               "a keeper has written the sync again")
    a.end(session)
    promise(b.check(session).status == 401, "refused")


@hazard(off="allow-oom")
def h13_an_end_is_written_although_redis_is_full(t):
    fleet = Fleet(t, conf=SLOW_POLL)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session, other = a.create("alice"), a.create("bob")
    fleet.warm(session, other)
    fleet.redis.command("CONFIG", "SET", "maxmemory", "1")
    a.end(session)
    t.equal(b.check(other).status, 200, "a live one")
    t.equal(a.create("carol").version, 1, "creating needs no Redis")
    b.mysql.black_hole()
    # b has not polled since the end: the tombstone is all there is.
    promise(answer(b, session).status == 401,
            "the tombstone was not written because memory was short")


# ---- H14, H15, H16: MySQL in the middle of a change --------------------------


def commits(request):
    return request.text == b"\x03COMMIT"


def all_rows(fleet):
    """(sessions, audit rows of creations)."""
    return (int(fleet.db.sql("SELECT COUNT(*) FROM session")),
            int(fleet.db.sql("SELECT COUNT(*) FROM audit WHERE "
                             "kind = 'create'")))


@hazard(off="idempotency")
def h14_a_creation_that_is_repeated_makes_one_session(t):
    fleet = Fleet(t, conf=LOGINS_WAIT)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    # The answer of COMMIT is lost, the next connection is refused at once: the
    # caller is told nothing, tries again, and at the other host.
    lost = a.mysql.on(commits, LOSE_REPLY, 1)
    refused = a.mysql.on(lambda r: lost.hits > 0, CUT)
    first = a.try_create("alice", key="form-17")
    t.equal(first.status, 503)
    refused.remove()
    # Until its keeper has found MySQL there again.
    a.wait_closed()
    t.equal(a.try_create("bob").status, 201)
    tokens = []
    for host in (a, b, a):
        answer = host.try_create("alice", key="form-17")
        t.equal(answer.status, 201)
        tokens.append(answer.json()["token"])
    promise(len(set(tokens)) == 1, "one key, several tokens")
    promise(all_rows(fleet) == (2, 2), "one key, several sessions: %r" %
            (all_rows(fleet),))
    t.equal(b.gw.check("sid=" + tokens[0]).status, 200)


@hazard(off="settle,event-id")
def h14_a_commit_without_an_answer_is_settled_and_done_once(t):
    # Asking the audit table whether it happened, or a second try that meets
    # its own audit row: each is enough.
    fleet = Fleet(t)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create()
    lost = a.mysql.on(commits, LOSE_REPLY, 1)
    answer = a.update(session, {"n": 1}, check=False)
    t.equal(lost.hits, 1)
    promise(answer.status == 200, "a change that was done is told as failed")
    promise(fleet.audit(session) == ["create", "update"] and
            fleet.row(session, "version") == ["2"], "done twice")
    a.mysql.on(commits, LOSE_REPLY, 1)
    answer = a.try_create("alice")
    promise(answer.status == 201, "a creation that was done is told as failed")
    promise(all_rows(fleet) == (2, 2), "done twice")


@hazard(off="reconnect")
def h15_a_server_that_was_started_again_costs_no_request(t):
    fleet = Fleet(t, conf=patient(True))
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create()
    for _ in range(4):
        # Redis does not know it: each look is a row.
        fleet.redis.command("DEL", record_key(session.ref))
        t.equal(a.check(session).status, 200)
    a.mysql.drop_connections()
    for i in range(8):
        fleet.redis.command("DEL", record_key(session.ref))
        promise(a.check(session).status == 200,
                "a look after the server was started again failed")
    a.mysql.drop_connections()
    for i in range(8):
        promise(a.try_create("user%d" % i).status == 201,
                "a creation after the server was started again failed")
    promise(all_rows(fleet) == (9, 9), "sessions and audit differ")


@case
def h15_a_transaction_that_loses_its_connection_happens_whole_or_not(t):
    # No switch: what would be turned off is the transaction itself.
    fleet = Fleet(t, hosts=1, conf=dict(patient(True), **LOGINS_WAIT))
    a = fleet.hosts[0]
    fleet.expect_log(STORES)
    a.create("warm")
    made = 1
    for at in range(1, 16):
        seen = {"begun": False, "count": 0}

        def is_the_one(request):
            if re.search(rb"^\x03(BEGIN|START TRANSACTION)", request.text):
                seen["begun"] = True
            if not seen["begun"]:
                return False
            seen["count"] += 1
            return seen["count"] == at

        rule = a.mysql.on(is_the_one, CUT, 1)
        answer = a.try_create("user%d" % at)
        rule.remove()
        t.true(answer.status in (201, 503), answer)
        made += answer.status == 201
        sessions, audits = all_rows(fleet)
        t.equal(sessions, audits, "cut at packet %d" % at)
        t.equal(sessions, made, "cut at packet %d" % at)
    print("# %d of 15 creations were acknowledged" % (made - 1))


def late_commit(t, change, kind, status=503):
    """change(host, session) whose COMMIT arrives after the caller gave up."""
    fleet = Fleet(t, conf=EXPORT)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create(data={"n": 1})
    fleet.warm(session)
    late = a.mysql.on(commits, HOLD)
    answer = change(a, session)
    late.wait()
    promise(answer.status == status,
            "%s: nobody knows whether it happened, and it is told as %d" %
            (kind, answer.status))
    late.release()
    wait_until(lambda: fleet.row(session, "version") == ["2"],
               "the late COMMIT was done")
    t.equal(fleet.audit(session), ["create", kind], "one audit row")
    fleet.wait_synced(session)
    return fleet, session


@case
def h16_an_end_whose_commit_comes_late_is_done_once_and_reaches_redis(t):
    # The spool has it, under the event id of the change whose fate nobody knew.
    fleet, session = late_commit(
        t, lambda a, s: a.end(s, check=False), "end", 200)
    t.equal(fleet.state(session), "T")
    never_accepted(fleet.hosts, session, 0.2)
    # The caller asks again.
    t.true(fleet.hosts[1].end(session, check=False).status in (200, 404))
    t.equal(fleet.audit(session), ["create", "end"])


@hazard(off="apply")
def h16_an_update_whose_commit_comes_late_is_served_everywhere(t):
    fleet, session = late_commit(
        t, lambda a, s: a.update(s, {"n": 2}, check=False), "update")
    for host in fleet.hosts:
        verdict = host.check(session)
        promise(verdict.data("n") == "2", "host %d serves what was before: "
                "%r" % (host.number, verdict.data("n")))
    # A repeat with the version that it knew cannot win.
    again = fleet.hosts[1].update(session, {"n": 2}, check=False,
                                  if_match='"%s.1"' % session.ref)
    t.equal(again.status, 412)


# ---- H17: cleanup and block against create -----------------------------------


@hazard(off="user-lock")
def h17_two_logins_at_once_keep_the_limit(t):
    fleet = Fleet(t, conf={"session": {"max_sessions": 1,
                                       "on_limit": "refuse"}})
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    a.end(a.create("alice"))
    slow = a.mysql.on(commits, HOLD, 1)
    answers = []

    def login(host):
        answers.append(host.try_create("alice"))

    threads = [threading.Thread(target=login, args=(h,)) for h in (a, b)]
    threads[0].start()
    slow.wait()
    commit = b.mysql.on(commits, PASS)
    threads[1].start()
    commit.seen.wait(0.45)  # It should wait for a's.
    slow.release()
    for thread in threads:
        thread.join()
    live = fleet.db.sql("SELECT COUNT(*) FROM session WHERE state = 1")
    promise(live == "1", "%s sessions where 1 is the limit: %r" % (
        live, answers))
    t.equal(sorted(x.status for x in answers), [201, 403])


@case
def h17_a_creation_that_overlaps_a_block_does_not_survive_it(t):
    # No switch: without the lock the block's own UPDATE waits for the creation.
    fleet = Fleet(t)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    a.create("alice")
    slow = a.mysql.on(commits, HOLD, 1)
    answers = {}

    def create():
        answers["create"] = a.try_create("alice")

    def block():
        answers["block"] = b.gw.api(
            "PUT", "v1/users/alice/block", {"reason": "test"},
            address=b.gw.control)

    threads = [threading.Thread(target=f) for f in (create, block)]
    threads[0].start()
    slow.wait()
    threads[1].start()
    time.sleep(0.1)
    slow.release()
    for thread in threads:
        thread.join()
    t.equal(answers["block"].status, 200, answers["block"])
    live = fleet.db.sql("SELECT COUNT(*) FROM session WHERE state = 1")
    promise(live == "0", "a blocked user has %s live sessions" % live)
    if answers["create"].status == 201:
        token = answers["create"].json()["token"]
        promise(b.gw.check("sid=" + token).status == 401,
                "a session of a blocked user is accepted")


# ---- H24: the answer of another question -------------------------------------


def neighbours(host, **members):
    """Two users' sessions in one fence group: the sync beside the record is
    the right one for both. members: of the second."""
    alice, bob = host.create("alice"), host.create("bob", **members)
    while group_of(bob.ref) != group_of(alice.ref):
        bob = host.create("bob" + bob.ref, **members)
    return alice, bob


@hazard(off="seal-ref", has_local_cache=False)
def h24_an_answer_to_another_question_is_not_believed(t):
    fleet = Fleet(t, hosts=1)
    a = fleet.hosts[0]
    fleet.expect_log(STORES)
    made = time.monotonic()
    alice, bob = neighbours(a, absolute_timeout=3)
    fleet.warm(alice, bob)
    alices, bobs = [record_key(s.ref).encode() for s in (alice, bob)]
    answers = {}

    def lie(request, reply):
        if bobs in request.args:
            answers["bob"] = reply
        return answers.get("bob", reply) if alices in request.args else reply

    a.redis.change_reply = lie
    t.equal(a.check(bob).user, bob.user)
    t.true("bob" in answers, "the proxy has bob's record")
    verdict = a.check(alice)
    promise(verdict.user == "alice", "alice is taken for %r" % verdict.user)
    # That it has expired may be believed of any copy with the right seal.
    time.sleep(max(0, made + 4 - time.monotonic()))
    verdict = a.check(alice)
    promise(verdict.user == "alice", "alice is refused for bob: %r" % verdict)


@hazard(off="drop-context")
def h24_a_late_answer_is_not_read_as_the_next_one(t):
    fleet = Fleet(t, hosts=1, conf={"gateway": {"workers": 1}})
    a = fleet.hosts[0]
    fleet.expect_log(STORES)
    alice, bob = neighbours(a)
    fleet.warm(alice, bob)
    a.end(bob)
    key = record_key(bob.ref).encode()
    late = a.redis.on(lambda r: key in r.args, HOLD_REPLY, 1)
    t.equal(a.check(bob).status, 401)  # After 50 ms, from MySQL.
    late.wait()
    late.release()
    time.sleep(0.05)
    for _ in range(3):
        verdict = a.check(alice)
        promise(verdict.user == "alice", "the answer about bob, a tombstone, "
                "is taken for alice's: %r" % verdict)
        t.equal(a.check(bob).status, 401)


# ---- H25: a connection belongs to the process that made it -------------------


@hazard(off="fork")
def h25_a_forked_process_does_not_use_its_parents_connections(t):
    fleet = Fleet(t, hosts=1, conf={"redis": {"timeout": "500 ms"}})
    a = fleet.hosts[0]
    program = os.path.join(fleet.build, "tests", "it", "forker")
    if not os.access(program, os.X_OK):
        raise Skip("%s is not built" % program)
    sessions = [a.create("alice"), a.create("bob")]
    fleet.warm(*sessions)
    done = subprocess.run(
        [program, a.gw.conf_path, "100"],
        input="".join(s.token + "\n" for s in sessions).encode(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
        env=dict(os.environ, **fleet.environment))
    out = done.stdout.decode()
    print("# " + out.strip().replace("\n", "\n# "))
    promise(done.returncode == 0, "two processes on one connection: " + out)


# ---- H27: an error is no miss ------------------------------------------------

ERRORS = [b"-LOADING Redis is loading the dataset in memory",
          b"-READONLY You can't write against a read only replica.",
          b"-MASTERDOWN Link with MASTER is down and "
          b"replica-serve-stale-data is set to 'no'.",
          b"-BUSY Redis is busy running a script.",
          b"-MISCONF Redis is configured to save RDB snapshots, but ...",
          b"-OOM command not allowed when used memory > 'maxmemory'.",
          b"-NOAUTH Authentication required.",
          b"-NOPERM this user has no permissions to run the command",
          b"-ERR something that nobody has thought of"]


@hazard(off="error-is-miss", has_local_cache=False)
def h27_each_error_reply_is_an_error_and_no_miss(t):
    fleet = Fleet(t, hosts=1)
    a = fleet.hosts[0]
    fleet.expect_log(STORES + "|left out")
    live, ended = a.create("alice"), a.create("bob")
    fleet.warm(live, ended)
    a.end(ended)
    for error in ERRORS:
        name = error.split()[0].decode()
        everything = a.redis.on(lambda r: True, error + b"\r\n")
        before = a.counters()
        # A MySQL that was just back (the error before) is not enough alone.
        wait_until(lambda: a.check(live).status == 200, name)
        t.equal(a.check(ended).status, 401, name)
        changed = a.create("carol")
        a.update(changed, {"x": 1})
        a.end(changed)
        after = a.counters()
        promise(after["cache_misses"] == before["cache_misses"],
                "%s is counted as a miss" % name)
        promise(after["cache_errors"] > before["cache_errors"],
                "%s is not counted as an error" % name)
        a.mysql.black_hole()
        promise(a.check(live).status == 503,
                "%s with MySQL away is not 'unavailable'" % name)
        a.mysql.heal()
        everything.remove()
        a.wait_closed()
        fleet.warm(live)


# ---- H30: garbage costs nothing ----------------------------------------------


@hazard(off="tag", has_local_cache=False)
def h30_garbage_cookies_ask_no_store(t):
    fleet = Fleet(t, hosts=1)
    a = fleet.hosts[0]
    session = a.create()
    fleet.warm(session)
    looks = a.redis.on(lambda r: b":s:" in r.text and
                       r.args[0].upper() in (b"MGET", b"GET"), PASS)
    # Reads of rows: what the workers ask of MySQL; they have no connection
    # of their own before the first.
    before = (looks.hits, fleet.redis.calls("mget"))
    questions = a.count("served_durable") + a.count("cache_misses")
    # Right in form, wrong in its tag: every other character of the secret.
    alphabet = ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                "0123456789-_")
    for i in range(200):
        at = 20 + i % 20
        bad = (session.token[:at] + alphabet[i % 64] + alphabet[i // 3 % 64] +
               session.token[at + 2:])
        if bad == session.token:
            continue
        verdict = a.gw.check("sid=" + bad)
        promise(verdict.status == 401, "a forged token is answered %d" %
                verdict.status)
    for garbage in ("x", "A" * 50, "A" * 4000, session.token[:-1],
                    session.token + "A", "%00", "../../etc/passwd"):
        t.equal(a.gw.check("sid=" + garbage).status, 401, garbage[:20])
    promise(looks.hits == before[0], "%d questions to Redis for garbage" %
            (looks.hits - before[0]))
    promise(a.count("served_durable") + a.count("cache_misses") == questions,
            "questions to MySQL for garbage")
    # And it would have been seen.
    t.equal(a.check(session).status, 200)
    t.true(looks.hits > before[0], "a look is seen by the proxy")


# ---- the switches ------------------------------------------------------------


@case
def every_switch_is_explained_and_turned_off_somewhere(t):
    def text(*path):
        with open(os.path.join(SOURCE, *path)) as f:
            return f.read()
    code = "".join(text(folder, name) for folder in ("lib", "gateway")
                   for name in sorted(os.listdir(os.path.join(
                       SOURCE, folder))) if name.endswith(".c"))
    switches = set(re.findall(r'failpoint_is_off\(\s*"([^"]+)"', code))
    pauses = set(re.findall(r'[^_]failpoint\(\s*"([^"]+)"', code))
    t.true(len(switches) > 20 and len(pauses) > 2, "they are found")
    table = text("tests", "README.md").partition("## Failpoints")[2]
    told = re.findall(r"`([a-z0-9-]+)=(?:off|pause:MS)`", table)
    t.equal(sorted(told), sorted(switches | pauses), "told once each")
    used = ",".join(re.findall(r'@hazard\(off="([^"]+)"', "".join(
        text("tests", "it", name) for name in (
            "away.py", "breaker.py", "hazards.py", "local.py", "locks.py",
            "maintenance.py", "spool.py", "tracker.py", "traces.py",
            "warm.py"))))
    t.equal(switches - set(used.split(",")), set(), "never turned off")


if __name__ == "__main__":
    run(main)
