"""A lock in MySQL that somebody holds is no MySQL that is away: the server says
so before anybody's patience ends, so no breaker hears of it, and nobody is
created without it.
"""

import collections
import threading
import time

from harness import case, main, wait_until
from scenario import Operator, hazard, promise
from stores import Fleet, run

USER_LOCKS = 4096
# What it says of a lock that it could not have.
REFUSED = "max_statement_time exceeded"


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def place_of(user, realm=""):
    """lib/durable_mysql_rows.c, mydb_user_place()."""
    return crc32c(realm.encode() + b"\0" + user.encode()) % USER_LOCKS


def breaker_opened(host):
    return host.status()["durable"]["breaker_opened"]


# A quarter of a second for the server's word to come, on a busy machine, too:
# that much of the time is ours alone.
PATIENT = {"mysql": {"read_timeout": "1 s", "write_timeout": "1 s"},
           "gateway": {"request_timeout": "3 s"}}


def fleet_of(t, **conf):
    fleet = Fleet(t, hosts=1, is_direct=True, conf=conf)
    fleet.expect_log(REFUSED, "redis")
    return fleet


def mysql_was_there_all_the_time(host):
    promise(breaker_opened(host) == 0, "its breaker has opened")
    promise(host.count("created_away") == 0, "created without MySQL")


class Logins:
    """One after the other, till stopped: (user, began, ended, status), or, of a
    401, the reason."""

    def __init__(self, t, host, users):
        self.host, self.users, self.made = host, users, []
        self.is_over = False
        self.thread = threading.Thread(target=self.go, daemon=True)
        t.at_end(self.stop)
        self.thread.start()

    def go(self):
        number = 0
        while not self.is_over:
            user = self.users[number % len(self.users)]
            begin = time.monotonic()
            told = self.host.try_create(user)
            status = told.header("X-Session-Reason") if told.status == 401 \
                else told.status
            self.made.append((user, begin, time.monotonic(), status))
            number += 1

    def stop(self):
        self.is_over = True
        self.thread.join(30)
        return self.made


def counted(made):
    return collections.Counter(status for _, _, _, status in made)


def held(t, statements, victim, seconds=2.0, **conf):
    """The victim's logins while it is held, and other people's; then its
    own again."""
    fleet = fleet_of(t, **conf)
    host, = fleet.hosts
    t.equal(host.try_create(victim).status, 201)
    operator = Operator(fleet, *statements)
    hers = [Logins(t, host, [victim]) for _ in range(2)]
    others = Logins(t, host, ["user%d" % i for i in range(40)
                              if place_of("user%d" % i) != place_of(victim)])
    time.sleep(seconds)
    tried = [one for logins in hers for one in logins.stop()]
    made = others.stop()
    print("# %d of hers, %d others, at most %.0f and %.0f ms" % (
        len(tried), len(made), 1e3 * max(e - b for _, b, e, _ in tried),
        1e3 * max(e - b for _, b, e, _ in made)))
    promise(list(counted(tried)) == [503], "hers: %r" % counted(tried))
    promise(list(counted(made)) == [201], "others: %r" % counted(made))
    mysql_was_there_all_the_time(host)
    operator.leave()
    t.equal(host.try_create(victim).status, 201, "when it is let go")
    t.equal(int(fleet.db.sql(
        "SELECT COUNT(*) FROM session WHERE user_id = '%s'" % victim)), 2)
    t.equal(int(fleet.db.sql(
        "SELECT COUNT(*) FROM audit WHERE user_id = '%s'" % victim)), 2,
        "what was refused has left nothing")
    mysql_was_there_all_the_time(host)


@hazard(off="server-time")
def a_users_lock_that_an_operator_holds_is_that_users_trouble_alone(t):
    held(t, ["BEGIN", "SELECT id FROM user_lock WHERE id = %d FOR UPDATE" %
             place_of("victim")], "victim")


@case
def a_login_that_meets_a_lock_waits_for_it_twice_and_no_more(t):
    """Twice by itself, and not before that in the transaction of many."""
    fleet = fleet_of(t, mysql={"write_timeout": "400 ms"}, gateway={"request_timeout": "4 s"})
    host, = fleet.hosts
    t.equal(host.try_create("victim").status, 201)
    Operator(fleet, "BEGIN", "SELECT id FROM user_lock WHERE id = %d FOR UPDATE" %
             place_of("victim"))
    for _ in range(3):
        begin = time.monotonic()
        t.equal(host.try_create("victim").status, 503)
        took = time.monotonic() - begin
        print("# %.0f ms" % (1e3 * took))
        promise(0.55 < took < 0.9, "two waits of 300 ms: %.0f" % (1e3 * took))
    mysql_was_there_all_the_time(host)


@case
def and_so_with_a_limit_of_sessions(t):
    """Another transaction, of prepared statements."""
    held(t, ["BEGIN", "SELECT id FROM user_lock WHERE id = %d FOR UPDATE" %
             place_of("victim")], "victim", session={"max_sessions": 50})


@case
def a_session_that_an_operator_holds_can_be_ended_and_no_breaker_opens(t):
    fleet = fleet_of(t, **PATIENT)
    host, = fleet.hosts
    session, other = host.create("alice"), host.create("bob")
    operator = Operator(fleet, "BEGIN", "SELECT state FROM session "
                        "WHERE ref = X'%s' FOR UPDATE" % session.ref)
    for _ in range(4):
        t.equal(host.update(session, {"n": 1}, check=False).status, 503)
        t.equal(host.cleanup("alice", check=False).status, 503)
        t.equal(host.update(other, {"n": 1}).status, 200)
    t.equal(host.check(session).status, 200)
    t.equal(host.logout(session).status, 200, "by the spool")
    t.equal(host.check(session).status, 401)
    mysql_was_there_all_the_time(host)
    operator.leave()
    wait_until(lambda: fleet.row(session, "state") == ["2"], "it has ended")
    t.equal(fleet.audit(session), ["create", "end"])


@case
def counters_that_an_operator_holds_are_no_end_of_mysql(t):
    """All changes wait; creations do not."""
    fleet = fleet_of(t, **PATIENT)
    host, = fleet.hosts
    session = host.create("alice")
    operator = Operator(fleet, "BEGIN", "SELECT seq FROM meta FOR UPDATE")
    for i in range(4):
        t.equal(host.update(session, {"n": 1}, check=False).status, 503)
        t.equal(host.try_create("user%d" % i).status, 201)
    mysql_was_there_all_the_time(host)
    operator.leave()
    t.equal(host.update(session, {"n": 1}).status, 200)


@hazard(off="away-now")
def commits_that_a_backup_holds_are_no_end_of_mysql(t):
    """Whether one was made is not known till it is asked."""
    fleet = fleet_of(t)
    fleet.expect_log("no answer of who had it in hand")
    host, = fleet.hosts
    operator = Operator(fleet, "BACKUP STAGE START", "BACKUP STAGE FLUSH",
                        "BACKUP STAGE BLOCK_DDL", "BACKUP STAGE BLOCK_COMMIT")
    for i in range(4):
        promise(host.try_create("user%d" % i).status == 503, "created")
    mysql_was_there_all_the_time(host)
    operator.say("BACKUP STAGE END")
    t.equal(host.try_create("alice").status, 201)
    t.equal(fleet.db.sql("SELECT COUNT(*) FROM session"), "1")
    t.equal(fleet.db.sql("SELECT COUNT(*) FROM audit"), "1")


# ---- one lock for many ---------------------------------------------------------


class Blockers:
    """Block and unblock the same users; when each was surely blocked."""

    def __init__(self, t, host, users, count):
        self.host, self.users = host, users
        self.is_over = False
        self.blocked = {user: [] for user in users}
        self.unavailable = 0
        self.threads = [threading.Thread(target=self.go, args=(
            users[i::count],), daemon=True) for i in range(count)]
        t.at_end(self.stop)
        for thread in self.threads:
            thread.start()

    def call(self, method, user, what):
        answer = self.host.gw.api(method, "v1/users/%s/%s" % (user, what), {},
                                  address=self.host.gw.control)
        if answer.status == 503:
            self.unavailable += 1
        return answer.status in (200, 204)

    def go(self, users):
        number = 0
        while not self.is_over:
            user = users[number % len(users)]
            number += 1
            if self.call("PUT", user, "block"):
                since = time.monotonic()
                if number % 2 == 0:
                    self.call("DELETE", user, "sessions")
                    time.sleep(0.02)
                self.blocked[user].append((since, time.monotonic()))
                while not self.call("DELETE", user, "block"):
                    if self.is_over:
                        return

    def stop(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(30)


@case
def a_user_who_was_blocked_stays_out_while_many_log_in(t):
    """And one whose lock is held all the time never gets in."""
    # Waiting for each other takes a while with so many on a busy machine.
    fleet = fleet_of(t, gateway={"workers": 16, "request_timeout": "4 s",
                                 "expose_reason": True},
                     mysql={"read_timeout": "2 s", "write_timeout": "2 s"},
                     redis={"timeout": "1 s"})
    fleet.expect_log("mysql")
    host, = fleet.hosts
    users = ["user%d" % i for i in range(48)
             if place_of("user%d" % i) != place_of("victim")]
    operator = Operator(fleet, "BEGIN", "SELECT id FROM user_lock "
                        "WHERE id = %d FOR UPDATE" % place_of("victim"))
    blockers = Blockers(t, host, users, 4)
    hers = Logins(t, host, ["victim"])
    clients = [Logins(t, host, users[i:] + users[:i]) for i in range(40)]
    time.sleep(4)
    made = [one for client in clients for one in client.stop()]
    blockers.stop()
    tried = counted(hers.stop())
    operator.leave()
    count = counted(made)
    print("# logins %r, hers %r, %d blocks" % (
        count, tried, sum(map(len, blockers.blocked.values()))))
    wrong = [one for one in made if one[3] == 201 and
             any(since <= one[1] and one[2] <= until
                 for since, until in blockers.blocked[one[0]])]
    promise(wrong == [], "logins of users who were blocked: %r" % wrong[:9])
    promise(list(tried) == [503], "hers: %r" % tried)
    # Whom a block has ended before he was answered is not told that he is in.
    promise(set(count) - {"blocked", "revoked"} == {201, 403},
            "all others are told: %r" % count)
    promise(blockers.unavailable == 0, "a block was not done")
    mysql_was_there_all_the_time(host)


if __name__ == "__main__":
    run(main)
