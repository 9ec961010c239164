#!/usr/bin/env python3
"""Creations, changes and ends of many calls in one transaction (lib/README.md,
"Created together", "Changed together"), with MySQL and Redis."""

import json
import os
import signal
import threading
import time

from harness import case, main, wait_until
from scenario import STORES, Operator, is_paused, with_pauses, workers_of
from stores import Fleet, failpoint_build, run

WORKERS = 12


def at_once(host, users, rounds=1):
    """Each user logs in by himself, all at once: the answers by user."""
    answers = {user: [] for user in users}
    gate = threading.Barrier(len(users))

    def login(user):
        gate.wait()
        for _ in range(rounds):
            try:
                answers[user].append(host.try_create(user))
            except (OSError, ValueError, AssertionError) as error:
                answers[user].append(error)

    threads = [threading.Thread(target=login, args=(u,)) for u in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def status(answer):
    return getattr(answer, "status", None)


def users(count):
    return ["user%d" % number for number in range(count)]


def fleet_of(t, workers=WORKERS, **more):
    conf = {"gateway": {"workers": workers}}
    conf.update(more)
    return Fleet(t, hosts=1, is_direct=True, conf=conf)


def commits(fleet):
    return int(fleet.db.sql("SELECT VARIABLE_VALUE FROM "
                            "information_schema.GLOBAL_STATUS WHERE "
                            "VARIABLE_NAME = 'COM_COMMIT'"))


def check_rows(t, fleet, answers):
    """One row and one event for each that was answered 201, and a copy."""
    made = 0
    host = fleet.hosts[0]
    for one in answers.values():
        for answer in one:
            if status(answer) != 201:
                continue
            made += 1
            session = answer.json()["session"]
            ref = session["ref"]
            t.equal(fleet.db.sql("SELECT COUNT(*) FROM session WHERE ref = "
                                 "X'%s' AND state = 1" % ref), "1", ref)
            t.equal(fleet.db.sql("SELECT GROUP_CONCAT(kind) FROM audit WHERE "
                                 "ref = X'%s'" % ref), "create", ref)
            t.equal(host.gw.check("sid=" + answer.json()["token"]).status, 200)
    return made


@case
def many_logins_at_once_cost_fewer_commits(t):
    fleet = fleet_of(t)
    host = fleet.hosts[0]
    host.create("warm")
    before = commits(fleet)
    answers = at_once(host, users(WORKERS), 20)
    spent = commits(fleet) - before
    for user, one in answers.items():
        t.equal([status(a) for a in one], [201] * 20, user)
    t.equal(check_rows(t, fleet, answers), 20 * WORKERS)
    t.equal(fleet.db.sql("SELECT COUNT(DISTINCT event_id) FROM audit WHERE "
                         "kind = 'create'"), str(20 * WORKERS + 1))
    print("# %d logins, %d commits of the server" % (20 * WORKERS, spent))
    t.true(spent < 20 * WORKERS, "%d commits" % spent)


@case
def each_copy_is_in_redis_before_its_answer(t):
    fleet = fleet_of(t)
    host = fleet.hosts[0]
    answers = at_once(host, users(WORKERS), 3)
    refs = [a.json()["session"]["ref"] for one in answers.values()
            for a in one]
    for ref in refs:
        group = int(ref[:2], 16) % 16
        t.equal(fleet.redis.command("GET", "sg:{%d}:s:%s" % (group, ref))[:1],
                b"L", ref)


@case
def a_blocked_user_among_them_fails_alone(t):
    fleet = fleet_of(t)
    host = fleet.hosts[0]
    t.equal(host.gw.api("PUT", "v1/users/user3/block", {"reason": "test"},
                        address=host.gw.control).status, 200)
    answers = at_once(host, users(WORKERS), 5)
    for user, one in answers.items():
        t.equal([status(a) for a in one],
                [403 if user == "user3" else 201] * 5, user)
    check_rows(t, fleet, answers)
    t.equal(fleet.db.sql("SELECT COUNT(*) FROM session WHERE user_id = "
                         "'user3'"), "0")


@case
def one_worker_gathers_what_waits_at_its_door(t):
    fleet = fleet_of(t, workers=1)
    host = fleet.hosts[0]
    t.equal(host.gw.api("PUT", "v1/users/user3/block", {"reason": "test"},
                        address=host.gw.control).status, 200)
    host.create("warm")
    before = commits(fleet)
    answers = at_once(host, users(WORKERS), 10)
    spent = commits(fleet) - before
    for user, one in answers.items():
        t.equal([status(a) for a in one],
                [403 if user == "user3" else 201] * 10, user)
        # Each has his own, although one call is within another.
        for answer in one:
            if status(answer) == 201:
                t.equal(answer.json()["session"]["user_id"], user)
    t.equal(check_rows(t, fleet, answers), 10 * (WORKERS - 1))
    t.equal(fleet.db.sql("SELECT COUNT(*) FROM session WHERE user_id = "
                         "'user3'"), "0")
    print("# %d logins, %d commits of the server" % (10 * WORKERS, spent))
    t.true(spent < 10 * (WORKERS - 1), "%d commits" % spent)
    # With the first one.
    t.equal(host.count("batch_creations"), 10 * (WORKERS - 1) + 1)
    t.true(0 < host.count("batch_commits") <= spent + 1, "counted")


@case
def others_at_the_door_are_served_within_it(t):
    fleet = fleet_of(t, workers=1)
    host = fleet.hosts[0]
    known = host.create("known")
    wrong = []

    def ask():
        for _ in range(40):
            try:
                answer = host.gw.api("POST", "v1/introspect",
                                     {"token": known.token},
                                     address=host.gw.control)
                if answer.json().get("sub") != "known":
                    wrong.append((answer.status, answer.body))
            except (OSError, ValueError) as error:
                wrong.append(error)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    answers = at_once(host, users(6), 10)
    for asker in askers:
        asker.join()
    t.equal(wrong, [])
    for user, one in answers.items():
        t.equal([status(a) for a in one], [201] * 10, user)
    check_rows(t, fleet, answers)


def one_behind_another(host, jobs):
    """What each returns; the workers find them all at the door, in order."""
    answers = [None] * len(jobs)

    def do(number):
        answers[number] = jobs[number]()

    threads = [threading.Thread(target=do, args=(n,))
               for n in range(len(jobs))]
    pids = workers_of(host)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for thread in threads:
            thread.start()
            time.sleep(0.05)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    for thread in threads:
        thread.join()
    return answers


@case
def what_is_slow_within_it_leaves_it_time(t):
    # Two tries of write_timeout would be all of it.
    fleet = fleet_of(t, gateway={"workers": 1, "request_timeout": "500 ms"})
    fleet.expect_log(STORES + "|api")
    host = fleet.hosts[0]
    known = host.create("known")
    Operator(fleet, "BEGIN", "SELECT state FROM session WHERE ref = X'%s' "
             "FOR UPDATE" % known.ref)
    answers = one_behind_another(host, [
        lambda: host.try_create("one"), lambda: host.try_create("two"),
        lambda: host.update(known, {"a": 1}, check=False)])
    t.equal([status(a) for a in answers], [201, 201, 503])
    t.equal(host.count("created_away"), 0)
    check_rows(t, fleet, {"all": answers[:2]})


@case
def a_lock_in_the_way_of_one_user_is_not_in_that_of_others(t):
    fleet = fleet_of(t, workers=1)
    fleet.expect_log(STORES + "|spool|api")
    host = fleet.hosts[0]
    host.create("warm")
    place = "CRC32C(CONCAT(CHAR(0), 'user5')) % 4096"
    Operator(fleet, "BEGIN",
             "SELECT id FROM user_lock WHERE id = %s FOR UPDATE" % place)
    answers = one_behind_another(host, [
        lambda user=user: host.try_create(user) for user in users(WORKERS)])
    # MySQL is there: it alone says who may log in, and it cannot say it of him.
    t.equal([status(a) for a in answers],
            [503 if user == "user5" else 201 for user in users(WORKERS)])
    t.equal(host.count("created_away"), 0)
    t.equal(fleet.db.sql("SELECT COUNT(*) FROM session WHERE user_id <> "
                         "'user5'"), str(WORKERS))
    check_rows(t, fleet, dict(zip(users(WORKERS), [[a] for a in answers])))


@with_pauses
def one_worker_that_is_killed_with_them_loses_no_answered_one(t):
    failpoint_build()
    t.failpoints = "batch-done=pause:200"
    fleet = fleet_of(t, workers=1)
    fleet.expect_log(STORES + "|killed by signal 9|spool|api")
    host = fleet.hosts[0]
    answers, told, turn = {}, [], 0
    while told.count(0) == 0:
        t.true(turn < 10, "the worker had none in hand")
        turn += 1
        more = ["%s-%d" % (user, turn) for user in users(6)]
        thread = threading.Thread(
            target=lambda: answers.update(at_once(host, more, 2)))
        thread.start()
        time.sleep(0.3)
        for pid in workers_of(host):
            os.kill(pid, signal.SIGKILL)
        thread.join()
        told = [status(a) for one in answers.values() for a in one]
        wait_until(lambda: status(host.try_create("after")) == 201, "goes on")
    t.true(told.count(201) > 0, told)
    check_rows(t, fleet, answers)


@with_pauses
def a_worker_that_is_slow_with_them_holds_nobody_up(t):
    failpoint_build()
    # Longer than others have patience, so they go on by themselves.
    t.failpoints = "batch-taken=pause:400"
    fleet = fleet_of(t)
    host = fleet.hosts[0]
    answers = at_once(host, users(WORKERS), 2)
    for user, one in answers.items():
        t.equal([status(a) for a in one], [201] * 2, user)
    check_rows(t, fleet, answers)


@with_pauses
def who_waits_till_his_time_is_over_is_told_to_try_again(t):
    failpoint_build()
    # Longer than request_timeout. There is one worker, so all are in its hands:
    # nobody has time left to ask MySQL, which is there all the same, and nobody
    # is created without it.
    t.failpoints = "batch-taken=pause:1100"
    fleet = fleet_of(t, workers=1)
    fleet.expect_log(STORES + "|spool|api")
    host = fleet.hosts[0]
    answers = one_behind_another(host, [
        lambda user=user: host.try_create(user) for user in users(4)])
    t.equal([status(a) for a in answers], [503] * 4)
    t.equal(host.count("created_away"), 0)
    for table in ("session", "audit"):
        t.equal(fleet.db.sql("SELECT COUNT(*) FROM " + table), "0", table)


@with_pauses
def who_finds_another_at_work_too_long_goes_on_by_himself(t):
    failpoint_build()
    # Each worker with what it takes for the second time: the first one is at
    # work until nobody waits for its answer, the other one takes nothing twice.
    t.failpoints = "batch-taken=pause:2500:2"
    fleet = fleet_of(t, gateway={"workers": 2, "request_timeout": "2 s"},
                     mysql={"read_timeout": "1 s", "write_timeout": "1 s"})
    fleet.expect_log(STORES + "|spool|api")
    host = fleet.hosts[0]
    first, other = workers_of(host)
    os.kill(other, signal.SIGSTOP)
    answers = {}
    try:
        answers["first"] = [host.try_create("first")]
        held = threading.Thread(target=lambda: answers.update(
            at_once(host, ["held"])))
        held.start()
        wait_until(lambda: is_paused(first), "the first one is at work")
    finally:
        os.kill(other, signal.SIGCONT)
    answers.update(at_once(host, ["next"]))
    held.join()
    t.equal({user: status(one) for user, (one,) in answers.items()},
            {"first": 201, "held": 503, "next": 201})
    t.equal(host.count("created_away"), 0)
    t.equal(check_rows(t, fleet, answers), 2)
    t.equal(fleet.db.sql("SELECT COUNT(*) FROM session"), "2")


@with_pauses
def workers_that_are_killed_with_them_in_hand_lose_no_answered_one(t):
    failpoint_build()
    # Between the commit and the answers.
    t.failpoints = "batch-done=pause:300"
    fleet = fleet_of(t)
    fleet.expect_log(STORES + "|killed by signal 9|spool|api")
    host = fleet.hosts[0]
    answers, told = {}, []
    # Until one was hit that had something in hand.
    while told.count(0) == 0:
        t.true(len(answers) < 5 * WORKERS, "no worker had one in hand")
        more = ["%s-%d" % (user, len(answers)) for user in users(WORKERS)]
        thread = threading.Thread(
            target=lambda: answers.update(at_once(host, more, 4)))
        thread.start()
        time.sleep(0.2)
        for pid in workers_of(host):
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        thread.join()
        told = [status(a) for one in answers.values() for a in one]
        wait_until(lambda: status(host.try_create("after")) == 201, "goes on")
    # What was acknowledged without MySQL's answer lands within a second.
    wait_until(lambda: fleet.db.sql("SELECT COUNT(*) FROM session") ==
               fleet.db.sql("SELECT COUNT(*) FROM audit WHERE kind = 'create'"),
               "a row and an event for each")
    print("# %d answered, %d not, %d \"try again\"" % (
        told.count(201), told.count(0), told.count(503)))
    t.true(told.count(201) > 0, told)
    time.sleep(1)
    check_rows(t, fleet, answers)


@case
def what_replaces_has_a_key_or_a_limit_goes_alone(t):
    fleet = fleet_of(t, session={"max_sessions": 2})
    answers = at_once(fleet.hosts[0], users(4), 4)
    for user, one in answers.items():
        t.equal([status(a) for a in one], [201] * 4, user)
        t.equal(fleet.db.sql("SELECT COUNT(*) FROM session WHERE state = 1 "
                             "AND user_id = '%s'" % user), "2")


# ---- changes and ends ----

def each_at_once(jobs, rounds=1):
    """Each job by itself, all at once: what each returned, round by round."""
    answers = [[] for _ in jobs]
    gate = threading.Barrier(len(jobs))

    def do(number):
        gate.wait()
        for turn in range(rounds):
            try:
                answers[number].append(jobs[number](turn))
            except (OSError, ValueError, AssertionError) as error:
                answers[number].append(error)

    threads = [threading.Thread(target=do, args=(n,))
               for n in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def row(fleet, ref):
    """(version, state, data)"""
    version, state, data = fleet.db.sql(
        "SELECT version, state, data FROM session WHERE ref = X'%s'" %
        ref).split("\t")
    return int(version), int(state), json.loads(data)


def check_changes(t, fleet, session, version, data):
    """The row, an event for each change, one number each, and the copy."""
    t.equal(row(fleet, session.ref), (version, 1, data), session.ref)
    t.equal(fleet.db.sql("SELECT COUNT(*) FROM audit WHERE kind = 'update' AND "
                         "ref = X'%s'" % session.ref), str(version - 1))
    group = int(session.ref[:2], 16) % 16
    copy = fleet.redis.command("GET", "sg:{%d}:s:%s" % (group, session.ref))
    t.equal(copy[:17][-12:], b"%012d" % version, "the copy's version")


@case
def many_changes_at_once_cost_fewer_commits_and_none_is_lost(t):
    fleet = fleet_of(t, workers=2)
    host = fleet.hosts[0]
    sessions = [host.create(user) for user in users(WORKERS)]
    before = commits(fleet)
    counters = int(fleet.db.sql("SELECT SUM(seq) FROM meta WHERE grp < 16"))
    answers = each_at_once([
        lambda turn, s=s: host.update(s, {"m%d" % turn: turn}, check=False)
        for s in sessions], 10)
    spent = commits(fleet) - before
    print("# %d changes, %d commits of the server" % (10 * WORKERS, spent))
    t.true(spent < 10 * WORKERS, "%d commits" % spent)
    for number, session in enumerate(sessions):
        t.equal([status(a) for a in answers[number]], [200] * 10)
        # Each was answered with its own.
        t.equal([a.json()["version"] for a in answers[number]],
                list(range(2, 12)))
        check_changes(t, fleet, session, 11,
                      {"m%d" % turn: turn for turn in range(10)})
    # A number for each group of each transaction, and no more.
    t.true(int(fleet.db.sql("SELECT SUM(seq) FROM meta WHERE grp < 16")) -
           counters < 10 * WORKERS, "numbers")
    t.equal(fleet.db.sql("SELECT COUNT(*) FROM session s JOIN meta m USING "
                         "(grp) WHERE s.seq > m.seq"), "0")
    t.true(host.count("batch_changes") > 0, "counted")


@case
def changes_of_the_same_session_at_once_all_survive(t):
    fleet = fleet_of(t, workers=3)
    host = fleet.hosts[0]
    one, two = host.create("one"), host.create("two")
    jobs = [lambda turn, n=n: host.update(one if n % 3 else two,
                                          {"m%d_%d" % (n, turn): 1},
                                          check=False)
            for n in range(WORKERS)]
    answers = each_at_once(jobs, 5)
    for number, mine in enumerate(answers):
        t.equal([status(a) for a in mine], [200] * 5, number)
    for session, mine in ((one, lambda n: n % 3), (two, lambda n: not n % 3)):
        data = {"m%d_%d" % (n, turn): 1 for n in range(WORKERS) if mine(n)
                for turn in range(5)}
        check_changes(t, fleet, session, 1 + len(data), data)


@case
def a_change_that_is_wrong_fails_alone(t):
    fleet = fleet_of(t, workers=1)
    host = fleet.hosts[0]
    sessions = [host.create(user) for user in users(6)]
    host.end(sessions[2])
    path = "v1/sessions/%s"

    def change(number, turn):
        headers = {"HTTP_IF_MATCH": '"%s.7"' % sessions[number].ref} \
            if number == 1 else {}
        ref = sessions[number].ref
        if number == 3:
            ref = "00" * 12
        return host.gw.api("PATCH", path % ref, {"data": {"a": turn}},
                           address=host.gw.control, **headers)

    answers = one_behind_another(host, [
        lambda number=number: change(number, 1) for number in range(6)])
    t.equal([status(a) for a in answers], [200, 412, 404, 404, 200, 200])
    for number in (0, 4, 5):
        check_changes(t, fleet, sessions[number], 2, {"a": 1})
    t.equal(row(fleet, sessions[1].ref), (1, 1, {}))


@case
def a_row_that_is_locked_is_in_the_way_of_its_own_change_alone(t):
    fleet = fleet_of(t, workers=1)
    fleet.expect_log(STORES + "|spool|api")
    host = fleet.hosts[0]
    sessions = [host.create(user) for user in users(6)]
    Operator(fleet, "BEGIN", "SELECT 1 FROM session WHERE ref = X'%s' "
             "FOR UPDATE" % sessions[3].ref)
    answers = one_behind_another(host, [
        lambda s=s: host.update(s, {"a": 1}, check=False) for s in sessions])
    t.equal([status(a) for a in answers], [200, 200, 200, 503, 200, 200])
    for number in (0, 1, 2, 4, 5):
        check_changes(t, fleet, sessions[number], 2, {"a": 1})


@case
def logouts_at_once_share_commits_and_are_refused_at_once(t):
    fleet = fleet_of(t, workers=2)
    host = fleet.hosts[0]
    sessions = [host.create(user) for user in users(3 * WORKERS)]
    before = commits(fleet)
    wrong = []

    def end(session):
        answer = host.gw.api("POST", "v1/end", {"token": session.token},
                             address=host.gw.control)
        check = host.gw.check("sid=" + session.token)
        if (answer.status, check.status) != (200, 401):
            wrong.append((answer, check))

    each_at_once([lambda turn, n=n: end(sessions[3 * n + turn])
                  for n in range(WORKERS)], 3)
    spent = commits(fleet) - before
    print("# %d logouts, %d commits of the server" % (3 * WORKERS, spent))
    t.equal(wrong, [])
    t.true(spent < 3 * WORKERS, "%d commits" % spent)
    for session in sessions:
        t.equal(row(fleet, session.ref), (2, 2, {}))
        group = int(session.ref[:2], 16) % 16
        t.equal(fleet.redis.command(
            "GET", "sg:{%d}:s:%s" % (group, session.ref))[:1], b"T")
        t.equal(fleet.db.sql("SELECT GROUP_CONCAT(kind ORDER BY event_id) FROM "
                             "audit WHERE ref = X'%s'" % session.ref),
                "create,end")


@case
def mysql_that_stops_among_changes_and_ends_loses_no_answered_one(t):
    fleet = fleet_of(t, workers=2)
    fleet.expect_log(STORES + "|spool|api|breaker")
    host = fleet.hosts[0]
    changed = [host.create(user) for user in users(6)]
    ended = [host.create("end%d" % n) for n in range(6 * 12)]
    done = [0] * 6
    told = []

    def change(number, turn):
        answer = host.update(changed[number], {"m%d" % turn: 1}, check=False)
        told.append(answer.status)
        if answer.status == 200:
            done[number] = max(done[number], answer.json()["version"])
        time.sleep(0.05)
        return answer

    def end(number, turn):
        session = ended[12 * number + turn]
        answer = host.gw.api("POST", "v1/end", {"token": session.token},
                             address=host.gw.control)
        time.sleep(0.05)
        return answer.status

    thread = threading.Timer(0.2, fleet.db.server.stop)
    back = threading.Timer(1.2, fleet.db.server.go_on)
    thread.start()
    back.start()
    answers = each_at_once(
        [lambda turn, n=n: change(n, turn) for n in range(6)] +
        [lambda turn, n=n: end(n, turn) for n in range(6)], 12)
    thread.join()
    back.join()
    t.equal(sorted(set(told) - {200, 503}), [])
    t.true(200 in told and 503 in told, told)
    wait_until(lambda: host.try_create("after").status == 201, "goes on")
    for number, session in enumerate(changed):
        version, state, data = row(fleet, session.ref)
        t.true(version >= done[number], (version, done[number]))
        t.equal((state, len(data)), (1, version - 1))
        t.equal(fleet.db.sql("SELECT COUNT(*) FROM audit WHERE kind = 'update' "
                             "AND ref = X'%s'" % session.ref),
                str(version - 1))
    # What was acknowledged without MySQL is there when the spool is shipped.
    for number in range(6):
        for turn, answer in enumerate(answers[6 + number]):
            session = ended[12 * number + turn]
            if answer != 200:
                continue
            t.equal(host.gw.check("sid=" + session.token).status, 401)
            wait_until(lambda s=session: row(fleet, s.ref)[1] == 2, "ended")
            t.equal(fleet.db.sql("SELECT COUNT(*) FROM audit WHERE kind = "
                                 "'end' AND ref = X'%s'" % session.ref), "1")


@with_pauses
def a_worker_that_is_killed_with_changes_in_hand_loses_no_answered_one(t):
    failpoint_build()
    # Between the commit and the answers.
    t.failpoints = "batch-done=pause:200"
    fleet = fleet_of(t, workers=2)
    fleet.expect_log(STORES + "|killed by signal 9|spool|api")
    host = fleet.hosts[0]
    sessions = [host.create(user) for user in users(6)]
    done, told = [0] * 6, []

    def change(number, turn):
        answer = host.update(sessions[number], {"m%d" % turn: 1}, check=False)
        told.append(answer.status)
        if answer.status == 200:
            done[number] = max(done[number], answer.json()["version"])
        return answer

    turn = 0
    while told.count(0) == 0 or told.count(200) == 0:
        t.true(turn < 10, "no worker had one in hand")
        first = turn
        thread = threading.Thread(target=lambda: each_at_once([
            lambda again, n=n: change(n, 2 * first + again)
            for n in range(6)], 2))
        turn += 1
        thread.start()
        time.sleep(0.3)
        for pid in workers_of(host):
            os.kill(pid, signal.SIGKILL)
        thread.join()
        wait_until(lambda: status(host.try_create("after")) == 201, "goes on")
    for number, session in enumerate(sessions):
        version, state, data = row(fleet, session.ref)
        t.true(version >= done[number], (version, done[number]))
        t.equal((state, len(data)), (1, version - 1))
        t.equal(fleet.db.sql("SELECT COUNT(*) FROM audit WHERE kind = 'update' "
                             "AND ref = X'%s'" % session.ref),
                str(version - 1))


if __name__ == "__main__":
    run(main)
