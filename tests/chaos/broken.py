"""Histories in which one promise is broken: each is a story that is right up to
its `yield`, and what is falsified after it, when the dumps have been made. What
is asked after it has no part in them. The number is the rule that must find it,
and no other may.
"""

import simulated
from simulated import MS, S

BROKEN = []


def broken(rule, mode="single"):
    def register(function):
        BROKEN.append((rule, mode, function))
        return function
    return register


class Story(simulated.Simulation):
    """Some seconds of what anybody does, then, long after, what is asked for:
    each call a question that is answered at once and rightly."""

    def __init__(self, seed, mode="single"):
        super().__init__(seed, seconds=6, clients=3, mode=mode,
                         has_faults=False)
        while self.queue:
            now, _, what, args = simulated.heapq.heappop(self.queue)
            what(now, *args)
        self.now = self.until + 30 * S
        self.teller = simulated.Client(99)
        self.open_fault = None
        self.told = 0

    def lag(self, op, now):
        return now if hasattr(self, "told") else super().lag(op, now)

    # ---- questions ----

    def wait(self, seconds):
        self.now += int(seconds * S)

    def ask(self, kind, s=None, gw=0, tok=None, after=0.1, args=None, took=4):
        """The operation; `after` and `took` say when: s, ms."""
        self.wait(after)
        self.ids += 1
        op = {"t": "op", "id": self.ids, "client": 99, "gw": gw, "kind": kind,
              "at": [self.now, self.now + took * MS]}
        if s is not None:
            op["s"] = s
        if tok is not None:
            op["tok"] = tok
        if args is not None:
            op["args"] = args
        self.lines.append(op)
        self.happen(self.now + took * MS // 2, op, self.teller)
        self.now += took * MS
        return op

    def create(self, user="z", gw=0, after=0.1, **args):
        self.handles += 1
        handle = "z%d" % self.handles
        self.ask("create", handle, gw, None, after, dict(
            {"user": user, "context": "c0", "roles": ["r0"],
             "data": {"m0": 0, "m1": 0}}, **args))
        return handle

    def token(self, handle):
        return self.teller.tokens[handle]

    def by_token(self, kind, handle, gw=0, tok=None, after=0.1, args=None):
        return self.ask(kind, handle, gw, tok or self.token(handle), after,
                        args)

    def check(self, handle, gw=0, tok=None, after=0.1):
        return self.by_token("check", handle, gw, tok, after)

    def get(self, handle, gw=0, tok=None, after=0.1):
        return self.by_token("get", handle, gw, tok, after)

    def rotate(self, handle, gw=0, tok=None, after=0.1):
        return self.by_token("rotate", handle, gw, tok, after)

    def logout(self, handle, gw=0, after=0.1):
        return self.by_token("logout", handle, gw, None, after)

    def end(self, handle, gw=0, after=0.1, reason="revoked"):
        return self.ask("end", handle, gw, None, after, {"reason": reason})

    def show(self, handle, gw=0, after=0.1):
        return self.ask("show", handle, gw, None, after)

    def update(self, handle, gw=0, after=0.1, **args):
        return self.ask("update", handle, gw, None, after, args)

    def cleanup(self, user="z", gw=0, after=0.1, **args):
        return self.ask("cleanup", None, gw, None, after,
                        dict({"user": user, "reason": "revoked"}, **args))

    def list(self, user="z", gw=0, after=0.1):
        return self.ask("list", None, gw, None, after, {"user": user})

    def repeat(self, handle, gw=0, after=0.1):
        """The same creation, with its key."""
        return self.ask("create", handle, gw, None, after,
                        self.by_handle[handle].args)

    # ---- faults ----

    def begin(self, *stores, hosts=(0, 1, 2), process="", after=0.1,
              loses=True, kind="story-fault"):
        self.wait(after)
        self.ids += 1
        self.open_fault = {
            "t": "fault", "id": 1000 + self.ids, "kind": kind,
            "target": "something", "stores": list(stores),
            "hosts": list(hosts), "process": process, "loses": loses}
        self.event("begin")

    def event(self, event, after=0.0):
        self.wait(after)
        self.lines.append(dict(self.open_fault, event=event, at=self.now))

    def over(self, after=0.0):
        self.event("end", after)
        self.event("recovered", 0.2)

    # ---- falsifying ----

    @staticmethod
    def deny(op, why=None):
        op["res"] = "denied"
        op.pop("out", None)
        op.pop("why", None)
        if why is not None:
            op["why"] = why

    @staticmethod
    def accept(op, like):
        """It is answered as another question was."""
        op["res"] = "ok"
        op.pop("why", None)
        op["out"] = dict(like["out"])

    @staticmethod
    def lose(op, res="unknown"):
        op["res"] = res
        op.pop("out", None)
        op.pop("why", None)

    def finish_story(self):
        self.until = max(self.until, self.now + 5 * S)
        self.dump()

    def dumped(self, what, **wanted):
        return [line for line in self.lines if line["t"] == what and
                all(line.get(k) == v for k, v in wanted.items())]

    def lines_of(self, handle):
        return [x for x in self.lines if x["t"] == "op" and
                x.get("s") == handle]

    def ref(self, handle):
        return self.by_handle[handle].ref

    def row(self, handle):
        return self.dumped("row", handle=handle)[0]

    def drop(self, *lines):
        for line in lines:
            self.lines.remove(line)

    def drop_copy(self, handle):
        self.drop(*self.dumped("copy", ref=self.ref(handle)))

    def copy(self, handle, state="L", **members):
        """The one copy of it in Redis."""
        self.drop_copy(handle)
        made = dict({"t": "copy", "ref": self.ref(handle), "state": state,
                     "epoch": 1, "version": self.row(handle)["version"]},
                    **members)
        self.lines.append(made)
        return made

    def audits(self, handle, kind):
        return self.dumped("audit", ref=self.ref(handle), kind=kind)

    def event_row(self, kind, handle=None, user="z", reason=None):
        self.lines.append({
            "t": "audit", "event_id": "f" * 32, "kind": kind,
            "ref": self.ref(handle) if handle else None, "user": user,
            "reason": reason, "detail": None})

    def make_ended(self, handle, reason):
        """Row and copy, as if it had ended."""
        row = self.row(handle)
        row.update(state="ended", reason=reason, data={},
                   version=row["version"] + 1)
        self.copy(handle, "T", version=row["version"])

    def make_placeholder(self, handle, user="z"):
        """The row that an end makes of what has not landed."""
        self.row(handle).update(handle="", user=user, context="", roles=[],
                                data={})

    def make_live(self, handle, like):
        """The row as it was before its end."""
        row = self.row(handle)
        row.update(state="live", reason=None, version=row["version"] - 1,
                   data=dict(like["out"]["data"]))
        self.drop_copy(handle)


# ---- rule 1 ----------------------------------------------------------------


def refusals(rule, kind, *whys):
    """A live session is refused in a way that nothing explains."""
    for why in whys:
        def story(st, why=why):
            h = st.create()
            op = (st.show(h) if kind == "show" else
                  st.by_token(kind, h, gw=1, after=2))
            yield
            st.deny(op, why)
        story.__name__ = "a_%s_is_refused_%s" % (kind, why)
        broken(rule)(story)


refusals(1, "check", None, "none", "unknown", "bad_tag", "logged_out",
         "revoked", "blocked", "limit")
refusals(1, "get", "replaced")
refusals(1, "extend", None)
refusals(1, "introspect", "inactive")
refusals(1, "show", "not_found")


@broken(1)
def an_update_of_a_live_session_finds_nothing(st):
    h = st.create()
    op = st.update(h, context="c1")
    yield
    st.deny(op, "not_found")
    st.drop(*st.audits(h, "update"))
    st.row(h).update(version=1, context="c0")
    st.drop_copy(h)


@broken(1)
def a_logout_of_another_session_ends_this_one(st):
    h, other = st.create(), st.create()
    st.logout(other)
    op = st.check(h)
    yield
    st.deny(op, "logged_out")


@broken(1)
def a_503_long_before_a_fault(st):
    h = st.create()
    op = st.check(h)
    st.begin("redis", after=1)
    st.over(2)
    yield
    st.lose(op, "unavailable")


@broken(1)
def a_503_after_the_margin(st):
    h = st.create()
    st.begin("redis")
    st.over(2)
    op = st.check(h, after=1.1)
    yield
    st.lose(op, "unavailable")


@broken(1)
def a_503_at_a_gateway_that_the_fault_does_not_touch(st):
    h = st.create()
    st.begin("redis", hosts=[1])
    op = st.check(h, gw=0)
    st.over(2)
    yield
    st.lose(op, "unavailable")


@broken(1)
def a_503_to_an_expired_session_that_has_landed(st):
    st.begin("mysql")
    h = st.create(absolute_ms=2000)
    st.over(3)
    op = st.check(h, after=5)
    yield
    st.lose(op, "unavailable")


@broken(1)
def a_cleanup_is_answered_503_for_no_reason(st):
    st.create()
    op = st.cleanup()
    yield
    st.lose(op, "unavailable")


@broken(1)
def no_answer_for_no_reason(st):
    h = st.create()
    op = st.get(h)
    yield
    st.lose(op, "unknown")


@broken(1)
def a_creation_is_refused_for_no_reason(st):
    st.create()
    h = st.create()
    yield
    st.deny(st.lines_of(h)[0], "revoked")
    st.drop(st.row(h), *st.audits(h, "create"))
    st.drop(*[x for x in st.lines if x["t"] == "copy" and
              x["ref"] == st.ref(h)])


@broken(1)
def a_list_misses_a_live_session(st):
    h = st.create()
    st.create()
    op = st.list()
    yield
    op["out"]["refs"].remove(st.ref(h))


@broken(1)
def a_list_misses_what_landed_long_ago(st):
    st.begin("mysql")
    h = st.create()
    st.over(1)
    op = st.list(after=10)
    yield
    op["out"]["refs"].remove(st.ref(h))


@broken(1)
def a_list_misses_what_was_created_before_mysql_went_away(st):
    h = st.create()
    st.begin("mysql", hosts=[0])
    op = st.list(gw=1, after=1)
    st.over(1)
    yield
    op["out"]["refs"].remove(st.ref(h))


@broken(1)
def a_list_misses_a_creation_with_a_key(st):
    """Those wait for MySQL."""
    st.begin("mysql", hosts=[0])
    h = st.create(gw=0, key="key")
    op = st.list(gw=1, after=1)
    st.over(1)
    yield
    op["out"]["refs"].remove(st.ref(h))


@broken(1)
def a_row_has_ended_and_nobody_ended_it(st):
    h = st.create()
    yield
    st.make_ended(h, "logged_out")
    st.event_row("end", h, reason="logged_out")


@broken(1, "overlap")
def refused_while_only_one_fault_goes_on(st):
    h = st.create()
    st.begin("redis")
    op = st.check(h, after=2)
    st.over(1)
    yield
    st.deny(op, "unknown")


# ---- rule 2 ----------------------------------------------------------------


@broken(2)
def a_version_that_was_overtaken_is_shown(st):
    h = st.create()
    before = st.get(h)
    st.update(h, context="c1")
    op = st.get(h, gw=1, after=1.2)
    yield
    st.accept(op, before)


@broken(2)
def an_old_version_three_seconds_after_a_change_in_a_fault(st):
    h = st.create()
    before = st.get(h)
    st.begin("redis")
    st.update(h, context="c1")
    op = st.get(h, gw=1, after=3)
    st.over(3)
    yield
    st.accept(op, before)


@broken(2)
def an_old_version_after_a_rotation(st):
    h = st.create()
    before = st.show(h)
    st.rotate(h)
    op = st.show(h, after=1.5)
    yield
    st.accept(op, before)


def stale(kind, **change):
    """What a change replaced is shown too late, without a version."""
    def story(st):
        h = st.create()
        before = st.by_token(kind, h)
        st.update(h, **change)
        op = st.by_token(kind, h, gw=2, after=1.2)
        yield
        st.accept(op, before)
    story.__name__ = "%s_shows_an_old_%s" % (kind, list(change)[0])
    broken(2)(story)


stale("check", data={"m0": 5})
stale("check", context="c9")
stale("check", roles=["r9"])
stale("introspect", roles=["r9"])


@broken(2)
def a_value_that_nobody_wrote(st):
    h = st.create()
    op = st.check(h)
    yield
    op["out"]["exports"]["m0"] = "4711"


@broken(2)
def a_value_from_the_future(st):
    h = st.create()
    op = st.check(h)
    st.update(h, data={"m0": 5})
    yield
    op["out"]["exports"]["m0"] = "5"


@broken(2)
def a_member_that_another_writer_wrote_is_lost_in_an_answer(st):
    h = st.create()
    st.update(h, data={"m0": 7})
    op = st.update(h, gw=1, data={"m1": 8})
    yield
    op["out"]["data"]["m0"] = 0


@broken(2)
def a_member_that_another_writer_wrote_is_lost_in_the_end(st):
    h = st.create()
    st.update(h, data={"m0": 7})
    st.update(h, gw=1, data={"m1": 8})
    yield
    st.row(h)["data"]["m0"] = 0
    st.drop_copy(h)


@broken(2)
def a_member_is_not_there_in_the_end(st):
    h = st.create()
    st.update(h, data={"m7": 7})
    yield
    del st.row(h)["data"]["m7"]
    st.drop_copy(h)


@broken(2)
def roles_are_lost_in_the_end(st):
    h = st.create()
    st.update(h, roles=["r5"])
    yield
    st.row(h)["roles"] = ["r0"]
    st.drop_copy(h)


@broken(2)
def an_ended_row_has_lost_a_context(st):
    h = st.create()
    st.update(h, context="c5")
    st.logout(h)
    yield
    st.row(h)["context"] = "c0"


@broken(2)
def a_version_is_lost_in_the_end(st):
    h = st.create()
    st.update(h, context="c1")
    yield
    st.row(h)["version"] = 1
    st.drop_copy(h)


@broken(2)
def two_changes_make_the_same_version(st):
    h = st.create()
    st.update(h, data={"m0": 1})
    second = st.update(h, data={"m1": 2})
    yield
    second["out"]["version"] = 2
    st.row(h)["version"] = 2
    st.drop_copy(h)


@broken(2)
def two_win_with_one_if_match(st):
    h = st.create()
    st.update(h, data={"m0": 1}, if_version=1)
    lost = st.update(h, data={"m1": 2}, if_version=1)
    yield
    st.accept(lost, dict(out=dict(st.show(h)["out"], data={"m0": 1, "m1": 2})))
    st.event_row("update", h)


@broken(2)
def if_match_makes_another_version(st):
    h = st.create()
    op = st.update(h, data={"m0": 1}, if_version=1)
    st.update(h, data={"m0": 2})
    yield
    op["out"]["version"] = 4
    st.row(h)["version"] = 4
    st.drop_copy(h)


@broken(2)
def if_match_is_lost_against_nobody(st):
    h = st.create()
    st.update(h, data={"m0": 1})
    yield
    op = st.update(h, data={"m1": 2}, if_version=2)
    st.deny(op, "version")


@broken(2)
def a_412_without_if_match(st):
    h = st.create()
    yield
    st.deny(st.update(h, data={"m1": 2}), "version")


@broken(2)
def a_change_makes_an_older_version_than_one_before(st):
    h = st.create()
    st.update(h, data={"m0": 1})
    second = st.update(h, data={"m0": 2})
    third = st.update(h, data={"m0": 3})
    yield
    second["out"]["version"], third["out"]["version"] = 4, 3
    st.row(h)["data"]["m0"] = 2
    st.drop_copy(h)


@broken(2, "overlap")
def an_old_version_long_after_two_faults(st):
    h = st.create()
    before = st.get(h)
    st.begin("redis")
    st.update(h, context="c1")
    st.over(1)
    op = st.get(h, after=6)
    yield
    st.accept(op, before)


@broken(2)
def a_placeholder_of_a_session_that_mysql_had(st):
    h = st.create()
    st.begin("mysql")
    st.end(h)
    st.over(1)
    yield
    st.make_placeholder(h)


@broken(2)
def a_change_was_acknowledged_before_it_had_landed(st):
    st.begin("mysql")
    h = st.create()
    st.update(h, context="c1")
    st.end(h)
    st.over(1)
    yield
    st.make_placeholder(h)


# ---- rule 3 ----------------------------------------------------------------


def accepted(name, ending, late, fault=False, kind="check"):
    """An ended session is accepted so many seconds after its end."""
    def story(st):
        h = st.create()
        before = st.by_token(kind, h) if kind != "show" else st.show(h)
        if fault:
            st.begin("redis")
        ending(st, h)
        st.wait(late - 0.1)
        op = (st.by_token(kind, h, gw=1) if kind != "show" else
              st.show(h, gw=1))
        if fault:
            st.over(3)
        yield
        st.accept(op, before)
    story.__name__ = "accepted_%s" % name
    broken(3)(story)


accepted("after_a_logout", lambda st, h: st.logout(h), 1.1)
accepted("after_an_end", lambda st, h: st.end(h), 1.1)
accepted("long_after_an_end", lambda st, h: st.end(h), 30)
accepted("after_a_cleanup", lambda st, h: st.cleanup(), 1.1)
accepted("after_a_cleanup_of_others",
         lambda st, h: st.cleanup(keep=st.create()), 1.1)
accepted("after_a_block",
         lambda st, h: st.ask("block", args={"user": "z"}), 1.1)
accepted("in_a_fault", lambda st, h: st.logout(h), 2.2, True)
accepted("to_a_get", lambda st, h: st.end(h), 1.1, kind="get")
accepted("to_an_extend", lambda st, h: st.end(h), 1.1, kind="extend")
accepted("to_introspect", lambda st, h: st.end(h), 1.1, kind="introspect")
accepted("to_a_show", lambda st, h: st.end(h), 1.1, kind="show")


@broken(3)
def accepted_after_it_was_replaced(st):
    h = st.create(user=None)
    before = st.check(h)
    st.create(replaces=h)
    op = st.check(h, gw=2, after=1.2)
    yield
    st.accept(op, before)


@broken(3)
def accepted_by_mysql_that_is_back_and_has_not_got_the_end_yet(st):
    """As an hour of chaos had it, but on a machine that does not stand still:
    within two seconds after the fault, 2.7 s after the acknowledgement."""
    h = st.create()
    before = st.check(h)
    st.begin("mysql", loses=False)
    st.logout(h, gw=1, after=0.5)
    st.event("end", 1.0)
    op = st.check(h, gw=1, after=1.7)
    st.event("recovered", 1)
    yield
    st.accept(op, before)


@broken(3)
def accepted_at_a_host_without_redis_while_another_is_without_mysql(st):
    """Only that the machine stood still would excuse it, and that was long
    before."""
    h = st.create()
    before = st.check(h)
    st.begin("redis", "mysql", kind="machine-stall")
    st.over(0.3)
    st.wait(3)
    st.begin("mysql", hosts=[1], process="disk", loses=False)
    st.logout(h, gw=1)
    op = st.check(h, gw=2, after=2.1)
    st.over(1)
    yield
    st.accept(op, before)


@broken(3)
def accepted_after_somebody_was_told_of_the_end(st):
    """Nobody heard how the end went, but one was told that it had happened."""
    h = st.create()
    before = st.check(h)
    st.begin("mysql")
    ending = st.end(h)
    st.over(1)
    st.check(h, after=2)
    op = st.check(h, gw=1, after=1.2)
    yield
    st.lose(ending)
    st.accept(op, before)


@broken(3)
def a_list_shows_an_ended_session(st):
    h = st.create()
    st.end(h)
    op = st.list(after=1.2)
    yield
    op["out"]["refs"].append(st.ref(h))


@broken(3)
def accepted_after_the_absolute_expiry(st):
    h = st.create(absolute_ms=5000)
    before = st.check(h)
    op = st.check(h, after=6.2)
    yield
    st.accept(op, before)


@broken(3)
def accepted_after_the_idle_time(st):
    h = st.create(idle_ms=4000)
    before = st.check(h)
    op = st.check(h, after=9.6)
    yield
    st.accept(op, before)


@broken(3)
def absolute_expiry_told_early(st):
    h = st.create(absolute_ms=5000)
    op = st.check(h, after=4.5)
    yield
    st.deny(op, "expired_absolute")


@broken(3)
def idle_expiry_told_early(st):
    h = st.create(idle_ms=4000)
    st.check(h, after=3)
    op = st.check(h, after=3)
    yield
    st.deny(op, "expired_idle")


@broken(3)
def idle_expiry_of_a_session_that_was_just_made(st):
    h = st.create()
    op = st.check(h)
    yield
    st.deny(op, "expired_idle")


@broken(3)
def an_acknowledged_end_left_a_live_row(st):
    h = st.create()
    before = st.get(h)
    st.end(h)
    yield
    st.make_live(h, before)


@broken(3)
def an_acknowledged_logout_left_a_live_row(st):
    h = st.create()
    before = st.get(h)
    st.logout(h)["out"]["ended"] = 0
    yield
    st.make_live(h, before)


@broken(3)
def a_row_has_expired_early(st):
    h = st.create()
    yield
    st.make_ended(h, "expired_idle")
    st.event_row("end", h, reason="expired_idle")


@broken(3)
def a_blind_host_without_a_blind_revoker(st):
    """The revoker had Redis, so one store was enough to know."""
    h = st.create()
    before = st.check(h)
    st.begin("mysql", hosts=[1])
    st.end(h, gw=0)
    op = st.check(h, gw=1, after=2.5)
    st.over(1)
    yield
    st.accept(op, before)


@broken(3)
def the_end_of_what_had_not_landed_is_lost(st):
    st.begin("mysql")
    h = st.create()
    st.logout(h)
    st.over(1)
    yield
    st.make_live(h, {"out": {"data": {"m0": 0, "m1": 0}}})
    st.drop(*st.audits(h, "end"))


# ---- rule 4 ----------------------------------------------------------------


def another(kind, member):
    def story(st):
        h, other = st.create(user="z"), st.create(user="y")
        like = st.check(other)
        op = st.show(h) if kind == "show" else st.by_token(kind, h)
        yield
        op["out"][member] = like["out"][member]
    story.__name__ = "a_%s_is_given_another_%s" % (kind, member)
    broken(4)(story)


for _kind in ("check", "get", "introspect", "show"):
    another(_kind, "user")
    another(_kind, "ref")


@broken(4)
def nobody_instead_of_the_user(st):
    h = st.create()
    op = st.check(h)
    yield
    op["out"]["user"] = None


@broken(4)
def a_token_that_it_never_had_is_accepted(st):
    h, other = st.create(), st.create()
    op = st.check(h)
    yield
    op["tok"] = st.token(other)


@broken(4)
def two_logins_are_given_one_session(st):
    h, other = st.create(), st.create()
    yield
    made = st.lines_of(other)[0]
    st.drop(st.row(other), *st.audits(other, "create"))
    st.drop_copy(other)
    made["out"]["ref"] = st.ref(h)


@broken(4)
def a_list_has_a_session_of_another_user(st):
    h, other = st.create(user="z"), st.create(user="y")
    op = st.list("z")
    yield
    op["out"]["refs"].append(st.ref(other))


@broken(4)
def a_row_is_of_another_user(st):
    h = st.create()
    yield
    st.row(h)["user"] = "y"
    st.drop_copy(h)


@broken(4)
def a_placeholder_names_another_user(st):
    st.begin("mysql")
    h = st.create()
    st.end(h)
    st.over(1)
    yield
    st.make_placeholder(h, "y")


# ---- rule 5 ----------------------------------------------------------------


def events(kind, ask):
    """An acknowledged event with no audit row, and with two."""
    def story(st, is_twice):
        h = st.create()
        ask(st, h)
        yield
        there = (st.audits(h, kind) if kind != "cleanup" else
                 st.dumped("audit", kind=kind, user="z"))
        if is_twice:
            st.lines.append(dict(there[0]))
        else:
            st.drop(there[0])
    for is_twice in (False, True):
        def one(st, is_twice=is_twice):
            yield from story(st, is_twice)
        one.__name__ = "%s_audit_rows_of_a_%s" % (
            "two" if is_twice else "no", kind)
        broken(5)(one)


events("create", lambda st, h: st.check(h))
events("update", lambda st, h: st.update(h, context="c1"))
events("rotate", lambda st, h: st.rotate(h))
events("end", lambda st, h: st.logout(h))
events("cleanup", lambda st, h: st.cleanup())


@broken(5)
def a_cleanup_without_the_rows_of_the_sessions(st):
    h = st.create()
    st.create()
    st.cleanup()
    yield
    st.drop(*st.audits(h, "end"))


@broken(5)
def an_audit_row_of_a_session_that_nobody_made(st):
    st.create()
    yield
    st.event_row("create")
    st.lines[-1]["ref"] = "ab" * 12


@broken(5)
def an_audit_row_of_a_kind_that_nobody_knows(st):
    h = st.create()
    yield
    st.event_row("undo", h)


@broken(5)
def an_audit_row_of_a_cleanup_that_nobody_asked_for(st):
    st.create()
    yield
    st.event_row("cleanup", user="y", reason="revoked")


@broken(5)
def an_end_of_a_live_session_in_the_audit(st):
    h = st.create()
    yield
    st.event_row("end", h, reason="logged_out")


@broken(5)
def an_update_in_the_audit_that_was_refused(st):
    h = st.create()
    st.update(h, data={"m0": 1})
    st.update(h, data={"m0": 2}, if_version=1)
    yield
    st.event_row("update", h)
    st.row(h)["version"] += 1
    st.drop_copy(h)


@broken(5)
def an_audit_row_names_another_user(st):
    h = st.create()
    yield
    st.audits(h, "create")[0]["user"] = "y"


@broken(5)
def an_audit_row_tells_another_reason(st):
    h = st.create()
    st.logout(h)
    yield
    st.audits(h, "end")[0]["reason"] = "theft"


@broken(5)
def a_version_that_no_audit_row_explains(st):
    h = st.create()
    yield
    st.row(h)["version"] += 1
    st.drop_copy(h)


@broken(5)
def an_end_and_its_frame_though_mysql_was_there(st):
    h = st.create()
    st.end(h)
    st.end(h)
    yield
    st.event_row("end", h, reason="revoked")


# ---- rule 6 ----------------------------------------------------------------


@broken(6)
def the_new_token_is_refused(st):
    h = st.create()
    st.rotate(h)
    op = st.check(h, gw=1)
    yield
    st.deny(op, "unknown")


@broken(6)
def the_old_token_is_refused_in_its_grace(st):
    h = st.create()
    old = st.token(h)
    st.rotate(h)
    op = st.check(h, tok=old)
    yield
    st.deny(op, "unknown")


@broken(6)
def the_old_token_is_refused_though_the_new_one_was_never_used(st):
    h = st.create()
    old = st.token(h)
    st.rotate(h)
    op = st.check(h, tok=old, after=8)
    yield
    st.deny(op)


@broken(6)
def the_honest_user_is_ended_as_a_thief(st):
    h = st.create()
    old = st.token(h)
    st.rotate(h)
    st.check(h)
    st.check(h, tok=old)
    op = st.check(h, after=9)
    yield
    st.deny(op, "theft")


@broken(6)
def a_session_that_was_never_rotated_is_ended_as_stolen(st):
    h = st.create()
    op = st.check(h)
    yield
    st.deny(op, "theft")


@broken(6)
def the_row_says_theft_and_there_was_none(st):
    h = st.create()
    st.rotate(h)
    yield
    st.make_ended(h, "theft")
    st.event_row("end", h, reason="theft")


@broken(6)
def an_old_token_works_long_after_its_grace(st):
    h = st.create()
    old = st.token(h)
    before = st.check(h)
    st.rotate(h)
    st.check(h)
    st.check(h, after=20)
    yield
    st.accept(st.check(h, tok=old, after=0.2), before)


@broken(6)
def a_token_of_two_rotations_ago_works(st):
    h = st.create()
    old = st.token(h)
    before = st.check(h)
    st.rotate(h)
    st.check(h)
    st.rotate(h, after=9)
    yield
    st.accept(st.check(h, tok=old, after=1.5), before)


@broken(6)
def a_rotation_gives_two_successors(st):
    h = st.create()
    first = st.token(h)
    st.rotate(h)
    second = st.rotate(h, gw=1, tok=first)
    yield
    second["out"]["tok"] = "abcdefabcdef"


@broken(6)
def a_new_token_that_nobody_asked_for(st):
    h = st.create()
    op = st.check(h)
    yield
    op["out"]["tok"] = "abcdefabcdef"
    st.event_row("rotate", h)
    st.row(h)["version"] += 1
    st.drop_copy(h)


# ---- rule 7 ----------------------------------------------------------------


@broken(7)
def a_repeat_gives_another_token(st):
    h = st.create(key="k1")
    op = st.repeat(h, gw=1)
    yield
    op["out"]["tok"] = "abcdefabcdef"


@broken(7)
def a_repeat_gives_another_session(st):
    h = st.create(key="k1")
    op = st.repeat(h, gw=1)
    yield
    op["out"]["ref"] = "cd" * 12


@broken(7)
def a_repeat_is_refused_as_used(st):
    h = st.create(key="k1")
    op = st.repeat(h)
    yield
    st.deny(op, "idempotency_used")


@broken(7)
def a_repeat_is_refused_as_another_creation(st):
    h = st.create(key="k1")
    op = st.repeat(h)
    yield
    st.deny(op, "idempotency_reuse")


@broken(7)
def the_kept_session_is_refused(st):
    kept = st.create()
    st.create()
    st.cleanup(keep=kept)
    op = st.check(kept, after=2)
    yield
    st.deny(op, "revoked")


@broken(7)
def a_session_that_was_begun_after_the_cleanup_is_refused(st):
    st.create()
    st.cleanup()
    h = st.create(after=0.01)
    op = st.check(h, gw=2)
    yield
    st.deny(op, "revoked")


@broken(7)
def the_row_of_the_kept_session_has_ended(st):
    kept = st.create()
    st.cleanup(keep=kept)
    yield
    st.make_ended(kept, "revoked")
    st.event_row("end", kept, reason="revoked")


@broken(7)
def a_session_survives_a_cleanup(st):
    h = st.create()
    before = st.get(h)
    st.cleanup()
    yield
    st.make_live(h, before)


@broken(7)
def a_blocked_user_is_given_a_session(st):
    other = st.create(user="y")
    made = st.lines_of(other)[0]
    st.ask("block", args={"user": "z"})
    op = st.lines_of(st.create(after=1.2))[0]
    yield
    # As if it had not been refused.
    h = op["s"]
    st.accept(op, made)
    op["out"].update(user="z", ref="ba" * 12, tok="badbadbadbad")
    row = dict(st.row(other), handle=h, ref="ba" * 12, user="z")
    st.lines.append(row)
    st.event_row("create", other)
    st.lines[-1]["ref"] = "ba" * 12


@broken(1)
def a_logout_is_refused(st):
    h = st.create()
    op = st.logout(h)
    yield
    st.deny(op, "unknown")
    st.make_live(h, {"out": {"data": {"m0": 0, "m1": 0}}})
    st.drop(*st.audits(h, "end"))


@broken(7)
def a_cleanup_counts_too_many(st):
    st.create()
    op = st.cleanup()
    yield
    op["out"]["ended"] = 2


@broken(7)
def a_cleanup_counts_too_few(st):
    st.create()
    st.create()
    op = st.cleanup()
    yield
    op["out"]["ended"] = 1


@broken(5)
def a_session_that_expired_before_it_landed_has_no_audit_row(st):
    st.begin("mysql")
    h = st.create(absolute_ms=2000)
    st.over(4)
    yield
    st.drop(st.row(h), *st.audits(h, "create"))
    st.drop_copy(h)


@broken(5)
def a_placeholder_of_an_acknowledged_session_without_its_creation(st):
    st.begin("mysql")
    h = st.create()
    st.end(h)
    st.over(1)
    yield
    st.make_placeholder(h)
    st.drop(*st.audits(h, "create"))


@broken(5)
def a_ref_of_nobody_while_no_creation_is_without_an_answer(st):
    st.begin("mysql")
    h = st.create()
    st.over(1)
    yield
    st.lines.append(dict(st.audits(h, "create")[0], ref="ab" * 12))


# ---- rule 8 ----------------------------------------------------------------


@broken(8)
def a_copy_is_older_than_its_row(st):
    h = st.create()
    st.update(h, context="c1")
    yield
    st.copy(h, version=1)


@broken(8)
def a_copy_has_other_data(st):
    h = st.create()
    yield
    st.copy(h, data={"m0": 99, "m1": 0})


@broken(8)
def a_copy_has_other_roles(st):
    h = st.create()
    yield
    st.copy(h, roles=["root"])


@broken(8)
def an_ended_session_has_a_live_copy(st):
    h = st.create()
    st.logout(h)
    yield
    st.copy(h)


@broken(8)
def a_live_session_has_a_tombstone(st):
    h = st.create()
    yield
    st.copy(h, "T")


@broken(8)
def a_copy_without_a_row(st):
    h = st.create()
    yield
    st.copy(h)["ref"] = "ef" * 12


@broken(8)
def a_copy_still_says_that_mysql_does_not_know_it(st):
    h = st.create()
    yield
    st.copy(h, "U")


def groups(name, **members):
    def story(st):
        st.create()
        yield
        st.dumped("group", grp=3)[0].update(members)
    story.__name__ = "a_group_with_" + name
    broken(8)(story)


groups("sync_behind", seq=9, sync=8)
groups("sync_ahead", seq=9, sync=10)
groups("no_sync", sync=None)
groups("another_epoch", sync_epoch=0)


@broken(8)
def a_frame_was_never_shipped(st):
    st.create()
    yield
    st.dumped("spool", gw=1)[0]["unshipped"] = 1


@broken(8)
def a_spool_is_damaged(st):
    st.create()
    yield
    st.dumped("spool", gw=2)[0]["damaged"] = 17


@broken(8)
def an_acknowledged_session_has_no_row(st):
    h = st.create()
    yield
    st.drop(st.row(h))
    st.drop_copy(h)


@broken(8)
def a_session_has_two_rows(st):
    h = st.create()
    yield
    st.lines.append(dict(st.row(h)))


def without_a_row(name, wait=0.1, **args):
    """Created while MySQL was away, and not there in the end."""
    def story(st):
        st.create()
        st.begin("mysql", after=1)
        h = st.create(after=wait, **args)
        st.over(3)
        yield
        st.drop(st.row(h), *st.audits(h, "end"))
        st.drop_copy(h)
    story.__name__ = "a_session_never_landed_" + name
    broken(8)(story)


without_a_row("that_lives")
without_a_row("that_expired_long_after", absolute_ms=9000)
without_a_row("with_a_key", absolute_ms=2000, key="key")


@broken(8)
def an_expired_session_that_mysql_had_has_no_row(st):
    h = st.create(absolute_ms=2000)
    st.begin("mysql", after=0.5)
    st.over(3)
    yield
    st.drop(st.row(h), *st.audits(h, "end"))
    st.drop_copy(h)
