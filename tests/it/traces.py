"""What goes wrong without each rule of the protocol (protocol.md 11), as far as
it can be shown with gateways from outside; the numbers are those of its list.
tests/README.md says where the others are tested.
"""

import threading
import time

from harness import case, main, wait_until
from proxy import HOLD, PASS
from scenario import (EXPORT, LOGINS_WAIT, SLOW_POLL, SOON_S, STORES, answer,
                      arrived, hazard, is_apply, is_script, never_accepted, promise,
                      refused_within)
from stores import Fleet, MariaDB, group_of, record_key, run, sync_key

OOM = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"


def slow_export(**more):
    """Polls every 10 s: what happens, happens before a poll."""
    return dict(SLOW_POLL, **EXPORT, **more)


# Redis may take its time, so that an answer can be kept back and still counts.
PATIENT = {"redis": {"timeout": "3 s"}, "gateway": {"request_timeout": "8 s"}}


def apply_from(request):
    """What an APPLY takes sync to be."""
    return request.args[3 + int(request.args[2])]


def all_blind(fleet):
    """MySQL is away for every host."""
    for host in fleet.hosts:
        host.mysql.black_hole()


def serves(fleet, session, n, what):
    for host in fleet.hosts:
        verdict = answer(host, session)
        promise(verdict.status == 200 and verdict.data("n") == n,
                "%s: host %d answers %r with n=%r, and %s is right" %
                (what, host.number, verdict, verdict.data("n"), n))


@hazard(off="put-version")
def trace_1_a_slow_put_of_an_older_version_is_refused(t):
    fleet = Fleet(t, conf=slow_export())
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create(data={"n": 1})
    fleet.warm(session)
    key = record_key(session.ref)
    put = a.redis.on(lambda r: is_script(r, key), HOLD, 1)
    a.update(session, {"n": 2})
    b.update(session, {"n": 3})
    arrived(fleet, put.release)
    all_blind(fleet)
    # a does not know what became of its put, and till a round has told it
    # believes nothing of that group.
    verdict = a.check(session)
    promise(verdict.status == 503 or verdict.data("n") == "3",
            "who wrote serves an older version: %r" % verdict)
    verdict = answer(b, session)
    promise(verdict.status == 200 and verdict.data("n") == "3",
            "an older version overwrote a newer one: %r" % verdict)


@hazard(off="touch-field", pause="touch-write=pause:900")
def trace_2_a_touch_writes_nothing_but_the_moment(t):
    fleet = Fleet(t, conf=dict(PATIENT, **EXPORT))
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create(data={"n": 1}, idle_timeout=10)
    fleet.warm(session)
    key = record_key(session.ref).encode()
    time.sleep(1.2)  # Activity is noted once in a tenth of the idle time.
    t.equal(a.check(session).status, 200)
    touch = a.redis.on(lambda r: key in r.args, PASS)
    seen = fleet.record(session)[17:30]
    touch.wait()
    b.update(session, {"n": 2})
    wait_until(lambda: fleet.record(session)[17:30] > seen, "it was touched")
    fleet.wait_synced(session)
    time.sleep(1.0)
    serves(fleet, session, "2", "a touch wrote back what was before")


@hazard(off="apply-order")
def trace_3_the_fence_rises_after_the_rows_were_brought(t):
    fleet = Fleet(t, conf=PATIENT)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    changed, other = a.create("alice"), a.create("alice")
    fleet.warm(changed, other)
    a.redis.cut()
    held = b.redis.on(is_apply, HOLD, 1)
    a.update(changed, {"n": 2})
    held.wait()  # Its rows are read, and not applied yet.
    b.mysql.black_hole()
    verdict = answer(b, other, 0.3)
    promise(verdict.status == 200, "the group is in doubt before its rows were "
            "brought, and MySQL is away: %r" % verdict)


@hazard(off="apply")
def trace_4_a_change_is_brought_to_redis_and_not_only_known(t):
    fleet = Fleet(t, conf=EXPORT)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create(data={"n": 1})
    fleet.warm(session)
    a.redis.cut()
    a.update(session, {"n": 2})
    b.wait_poll(3)
    b.mysql.black_hole()
    verdict = answer(b, session)
    promise(verdict.status == 200, "a live session is %r while MySQL is away"
            % verdict)
    promise(verdict.data("n") == "2", "what was before the change is served")


@hazard(off="tombstone")
def trace_5_an_end_leaves_a_tombstone_that_a_keepers_old_row_cannot_pass(t):
    fleet = Fleet(t)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create()
    fleet.warm(session)
    a.redis.on(is_apply, OOM)
    held = b.redis.on(is_apply, HOLD, 1)
    a.update(session, {"n": 2})
    held.wait()
    b.mysql.black_hole()  # It has read the live row, and learns no more.
    a.end(session)
    arrived(fleet, held.release)
    t.equal(fleet.sync(session), 1)
    never_accepted([b], session, 0.3)


@case
def trace_6_tombstones_of_a_cleanup_go_in_one_script(t):
    # A failover between two scripts is a failover between none of them.
    fleet = Fleet(t)
    a, b = fleet.hosts
    sessions = [a.create() for _ in range(5)]
    fleet.warm(*sessions)
    a.end(a.create("bob"))  # From here on Redis knows the script.
    ends = a.redis.on(lambda r: is_script(r) and b":s:" in r.args[3], PASS)
    t.equal(a.cleanup("alice"), 5)
    t.equal(ends.hits, 1, "scripts of one cleanup")
    for session in sessions:
        t.equal(fleet.state(session), "T")
        t.equal(b.check(session, is_told=True).served, ["tombstone"])


@hazard(off="idle-row")
def trace_7_an_old_dump_does_not_log_active_users_out(t):
    fleet = Fleet(t)
    a, b = fleet.hosts
    session = a.create(idle_timeout=4)
    fleet.warm(session)
    dump = fleet.redis.save()
    made = time.monotonic()
    while time.monotonic() < made + 7.5:
        t.equal(a.check(session).status, 200, "active")
        time.sleep(0.2)
    time.sleep(1.3)  # The keeper writes activity every second.
    fleet.redis.roll_back(dump)
    # Other hosts may hold activity back for four seconds.
    time.sleep(max(0, made + 9.5 - time.monotonic()))
    verdict = b.check(session)
    promise(verdict.status == 200, "an active user is logged out by an old "
            "copy: %r" % verdict)


@hazard(off="seen-later")
def trace_7_an_outage_longer_than_the_idle_time_logs_nobody_out(t):
    fleet = Fleet(t, conf={"reap": {"interval": "1 s"}})
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create(idle_timeout=3)
    fleet.warm(session)
    begin = time.monotonic()
    all_blind(fleet)
    # The idle time, and what other hosts may hold activity back.
    while time.monotonic() < begin + 9:
        t.equal(answer(a, session).status, 200, "active, served by Redis")
        time.sleep(0.2)
    # b has MySQL again. It does not believe the copy, because the sync is gone
    # and cannot be written; what the copy says of activity is true.
    b.redis.on(is_apply, OOM)
    fleet.redis.command("DEL", sync_key(group_of(session.ref)))
    b.mysql.heal()
    end = time.monotonic() + 2.0
    answers = set()
    while time.monotonic() < end:
        verdict = b.check(session)
        answers.add(verdict.status)
        promise(verdict.status != 401, "after an outage of MySQL an active "
                "user is logged out: %r" % verdict)
        time.sleep(0.02)
    t.true(200 in answers, "MySQL has answered")
    t.equal(fleet.audit(session), ["create"], "and the reaper left it alone")


@hazard(off="jump")
def trace_10_a_number_that_a_crash_lost_is_not_given_again(t):
    server = MariaDB(t)
    fleet = Fleet(t, server=server)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    lost, session = a.create(), a.create()
    fleet.warm(lost, session)
    a.end(lost)
    fleet.wait_synced(lost)
    b.wait_poll(2)
    for host in fleet.hosts:
        host.mysql.cut()
    server.kill()
    server.start()
    # The crash has lost the last commit, whose number both hosts have seen.
    fleet.db.sql("UPDATE session SET state = 1, seq = 0, version = 1, "
                 "end_reason = 0, ended_ms = 0 WHERE ref = X'%s';"
                 "UPDATE meta SET seq = seq - 1 WHERE grp = %d;"
                 "DELETE FROM audit WHERE kind = 'end'" % (
                     lost.ref, group_of(lost.ref)))
    a.redis.cut()  # Only the number can tell b.
    a.mysql.heal()
    wait_until(lambda: a.end(session, check=False).status == 200,
               "a has MySQL again")
    b.mysql.heal()
    refused_within(b, session, SOON_S)
    never_accepted([b], session, 0.3)


@hazard(off="theft-row")
def trace_11_the_newest_cookie_meets_an_older_copy(t):
    fleet = Fleet(t, conf=SLOW_POLL)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    old = a.create()
    fleet.warm(old)
    a.redis.cut()
    new = a.rotate(old)
    t.true(new.token != old.token, "rotated")
    verdict = b.check(new)
    promise(verdict.status == 200, "the honest user's newest cookie: %r" %
            verdict)
    t.equal(fleet.row(new, "state"), ["1"])


@hazard(off="grace")
def trace_14_who_never_got_the_new_cookie_is_no_thief(t):
    fleet = Fleet(t, conf={"session": {"rotate_grace": "1 s"}})
    a, b = fleet.hosts
    old = a.create()
    fleet.warm(old)
    a.rotate(old)  # The answer is lost.
    time.sleep(1.6)
    verdict = b.check(old)
    promise(verdict.status == 200, "the honest user's only cookie: %r" %
            verdict)


@hazard(off="mark")
def trace_20_where_the_new_cookie_was_used_the_old_one_runs_out(t):
    fleet = Fleet(t, conf={"session": {"rotate_grace": "1 s"}})
    a, b = fleet.hosts
    old = a.create()
    fleet.warm(old)
    new = a.rotate(old)
    t.equal(b.check(new).status, 200)
    until = time.monotonic() + 10
    while (fleet.row(new, "successor_used_ms") == ["NULL"] and
           time.monotonic() < until):
        time.sleep(0.1)
    time.sleep(1.6)
    verdict = b.check(old)
    promise(verdict.status == 401, "a thief with the old cookie: %r" % verdict)


@case
def trace_11_a_rotated_session_is_ended_by_its_old_token_too(t):
    # One row: there is nothing to turn off.
    fleet = Fleet(t)
    a, b = fleet.hosts
    old = a.create()
    new = a.rotate(old)
    t.equal(b.logout(old).status, 200)
    for session in (old, new):
        never_accepted(fleet.hosts, session, 0.1)


@case
def trace_13_without_mysql_nothing_is_changed_and_nothing_comes_later(t):
    fleet = Fleet(t, conf=EXPORT)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create(data={"n": 1})
    fleet.warm(session)
    before = fleet.record(session)
    all_blind(fleet)
    t.equal(a.update(session, {"n": 2}, check=False).status, 503)
    t.equal(a.rotate(session, check=False).token, session.token)
    t.equal(a.cleanup("alice", check=False).status, 503)
    t.equal(fleet.record(session)[:17], before[:17], "in Redis")
    serves(fleet, session, "1", "while MySQL is away")
    for host in fleet.hosts:
        host.mysql.heal()
    for host in fleet.hosts:
        host.wait_poll(2)
    serves(fleet, session, "1", "after it")
    t.equal(fleet.audit(session), ["create"])


# ---- a restored database -----------------------------------------------------


def restored(t, left_running):
    """A dump is loaded and told of; the host left_running saw nothing."""
    fleet = Fleet(t, conf=EXPORT)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session, ended = a.create(data={"n": 1}), a.create("bob")
    fleet.warm(session, ended)
    dump = fleet.db.dump()
    a.update(session, {"n": 2})
    a.end(ended)
    fleet.warm(session)
    fleet.wait_synced(ended)
    a.gw.stop()
    if left_running:
        b.mysql.black_hole()
    else:
        b.gw.stop()
    fleet.db.load(dump)
    code, out = fleet.ctl("db", "restored", "--yes")
    t.equal(code, 0, out)
    return fleet, session, ended


@hazard(off="epoch")
def trace_16_copies_of_the_time_before_a_restore_are_not_served(t):
    fleet, session, ended = restored(t, False)
    fleet.start()
    serves(fleet, session, "1", "a copy of the lost time is served")
    never_accepted(fleet.hosts, ended, 0.3, " before the restore")
    fleet.warm(session)
    serves(fleet, session, "1", "a copy of the lost time is served")


@hazard(off="epoch")
def trace_16_a_host_blind_to_mysql_does_not_serve_the_lost_time(t):
    fleet, session, ended = restored(t, True)
    b = fleet.hosts[1]
    verdict = b.check(session)
    promise(verdict.status == 503, "a host that cannot see the restored "
            "database answers %r" % verdict)
    never_accepted([b], ended, 0.2)


@hazard(off="placeholder")
def a_logout_ends_a_session_whose_row_was_lost(t):
    # Else it could be on its way to MySQL, and its end comes by the spool.
    fleet = Fleet(t, conf=LOGINS_WAIT)
    a, b = fleet.hosts
    session = a.create()
    fleet.warm(session)
    fleet.db.sql("DELETE FROM session WHERE ref = X'%s'" % session.ref)
    t.equal(a.logout(session).status, 200)
    never_accepted(fleet.hosts, session, 0.2, " whose row was lost")
    # Nor after Redis has forgotten it.
    fleet.redis.command("FLUSHALL")
    fleet.wait_synced(session)
    t.equal(fleet.state(session), "T")
    never_accepted(fleet.hosts, session, 0.1, " whose row was lost")


@case
def a_tombstone_of_the_lost_time_ends_the_row_that_came_back(t):
    fleet, session, ended = restored(t, False)
    t.equal(fleet.row(ended, "state"), ["2"])
    fleet.redis.command("FLUSHALL")
    fleet.start()
    never_accepted(fleet.hosts, ended, 0.3, " before the restore")


@hazard(off="alarm")
def a_database_restored_without_a_word_is_noticed_and_nothing_is_believed(t):
    fleet = Fleet(t)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    first, session = a.create(), a.create()
    fleet.warm(first, session)
    dump = fleet.db.dump()
    a.end(first)
    for host in fleet.hosts:
        host.wait_poll(2)
    fleet.db.load(dump)
    for host in fleet.hosts:
        host.wait_poll(2)
    # The number of the lost end is given again. Only the alarm keeps b from
    # its copy.
    a.redis.cut()
    a.end(session)
    refused_within(b, session, SOON_S)
    never_accepted([b], session, 0.5)
    t.match(b.gw.log(), "db restored")


@case
def trace_15_a_token_younger_than_the_restored_row_accuses_nobody(t):
    fleet = Fleet(t, conf={"session": {"rotate_grace": "1 s"}})
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    old = a.create()
    fleet.warm(old)
    dump = fleet.db.dump()
    new = a.rotate(old)
    t.equal(b.check(new).status, 200)
    fleet.stop()
    fleet.db.load(dump)
    fleet.redis.command("FLUSHALL")
    code, out = fleet.ctl("db", "restored", "--yes")
    t.equal(code, 0, out)
    fleet.start()
    t.equal(b.check(new).status, 401)
    t.equal(fleet.row(old, "state"), ["1"], "nobody is ended")
    t.equal(b.check(old).status, 200, "the token that the row knows")
    t.true(b.count("rows_older") > 0, "and it is counted")


# ---- RETRY, crossing keepers, a rollback in between --------------------------


@hazard(off="create-retry")
def trace_17_a_creation_that_met_a_newer_sync_is_in_redis_all_the_same(t):
    fleet = Fleet(t, conf=PATIENT)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    first = a.create()
    fleet.warm(first)
    known = record_key(first.ref).encode()
    put = a.redis.on(lambda r: is_script(r) and b":s:" in r.args[3] and
                     r.args[3] != known, HOLD, 1)
    made = []
    thread = threading.Thread(target=lambda: made.append(a.create()))
    thread.start()
    put.wait()
    b.end(first)  # The same user, so the same fence group.
    fleet.wait_synced(first)
    put.release()
    thread.join()
    all_blind(fleet)
    for host in fleet.hosts:
        verdict = answer(host, made[0])
        promise(verdict.status == 200, "an acknowledged creation is %r when "
                "MySQL is away" % verdict)


@hazard(off="apply-again")
def trace_17_two_keepers_that_cross_leave_no_group_in_doubt(t):
    fleet = Fleet(t, conf=PATIENT)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session, other = a.create(), a.create()
    fleet.warm(session, other)
    first = a.redis.on(is_apply, HOLD, 1)
    second = b.redis.on(is_apply, HOLD, 1)
    # a's keeper has read number 1, b's waits for its next round.
    b.mysql.black_hole()
    a.update(session, {"n": 1})
    first.wait()
    a.update(session, {"n": 2})
    a.mysql.black_hole()
    b.mysql.heal()
    second.wait()
    t.equal(*[apply_from(rule.requests[0]) for rule in (first, second)])
    b.mysql.black_hole()
    arrived(fleet, first.release)
    arrived(fleet, second.release)
    time.sleep(0.2)
    verdict = answer(b, other)
    promise(verdict.status == 200, "the whole group is in doubt: %r" % verdict)


@hazard(off="apply-from")
def trace_17_an_apply_over_a_rolled_back_redis_is_refused(t):
    fleet = Fleet(t, hosts=1)
    a = fleet.hosts[0]
    fleet.expect_log(STORES)
    ended, other = a.create(), a.create()
    fleet.warm(ended, other)
    a.update(other, {"n": 1})
    fleet.wait_synced(other)
    dump = fleet.redis.save()
    a.end(ended)
    fleet.wait_synced(ended)
    held = a.redis.on(is_apply, HOLD, 1)
    a.update(other, {"n": 2})
    held.wait()
    a.mysql.black_hole()
    fleet.redis.roll_back(dump)
    arrived(fleet, held.release)
    never_accepted([a], ended, 0.3, " after a rollback of Redis")


# ---- what a restart must not forget ------------------------------------------


@hazard(off="fence-file")
def trace_18_a_restart_does_not_forget_the_fence(t):
    fleet = Fleet(t)
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create()
    fleet.warm(session)
    a.redis.cut()
    b.redis.on(is_apply, OOM)
    a.end(session)
    refused_within(b, session, SOON_S)
    b.mysql.black_hole()
    never_accepted([b], session, 0.1)
    b.restart(is_killed=True)
    never_accepted([b], session, 0.5, " before a restart")


@hazard(off="blind-clock")
def trace_18_a_restart_does_not_start_the_blind_time_anew(t):
    fleet = Fleet(t, conf={"fence": {"max_blind": "4 s"}})
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create()
    fleet.warm(session)
    b.mysql.black_hole()
    begin = time.monotonic()
    a.redis.cut()
    a.end(session)
    while time.monotonic() < begin + 2.5:
        t.true(b.check(session).status in (200, 503), "blind")
        time.sleep(0.1)
    b.restart(is_killed=True)
    time.sleep(max(0, begin + 4.6 - time.monotonic()))
    never_accepted([b], session, 0.5, " more than max_blind ago")


@hazard(off="force-bytes")
def trace_19_a_forced_write_replaces_only_the_bytes_that_were_wrong(t):
    fleet = Fleet(t, conf=slow_export())
    a, b = fleet.hosts
    fleet.expect_log(STORES)
    session = a.create(data={"n": 1})
    a.update(session, {"n": 2})
    fleet.warm(session)
    key = record_key(session.ref)
    good = fleet.record(session)
    bad = good[:40] + bytes([good[40] ^ 1]) + good[41:]
    fleet.redis.command("SET", key, bad, "PX", 600000)
    forced = b.redis.on(lambda r: is_script(r, key) and
                        any(bad[40:60] in word for word in r.args), HOLD, 1)
    verdict = b.check(session)
    t.equal((verdict.status, verdict.data("n")), (200, "2"))
    forced.wait()
    a.update(session, {"n": 3})
    t.true(fleet.record(session)[:17] > good[:17], "the newer one is there")
    arrived(fleet, forced.release)
    all_blind(fleet)
    serves(fleet, session, "3", "a forced write overwrote a newer copy")


# ---- a Redis of another database ---------------------------------------------


@hazard(off="store-id")
def a_redis_of_another_database_is_not_taken_over(t):
    theirs = Fleet(t, hosts=1)
    session = theirs.hosts[0].create("alice")
    theirs.warm(session)
    theirs.hosts[0].end(session)
    theirs.wait_synced(session)
    theirs.stop()
    key = sync_key(group_of(session.ref))
    before = theirs.redis.command("GET", key)
    ours = Fleet(t, hosts=1, redis=theirs.redis, start=False)
    a = ours.hosts[0]
    a.start()
    a.wait_poll()
    ours.expect_log(STORES)
    mine = a.create("user")
    while group_of(mine.ref) != group_of(session.ref):
        mine = a.create("user" + mine.ref)
    for _ in range(3):
        verdict = a.check(mine, is_told=True)
        promise(verdict.served == ["mysql"], "a copy in a foreign Redis is "
                "believed: %r" % verdict)
        a.wait_poll(1)
    for n in range(3):
        a.update(mine, {"n": n})
    a.wait_poll(2)
    promise(theirs.redis.command("GET", key) == before,
            "the sync of another database was overwritten")
    t.true(a.count("foreign_sync") > 0, "it is counted")
    t.match(a.gw.log(), r" error .*(another|other|foreign) ")


if __name__ == "__main__":
    run(main)
