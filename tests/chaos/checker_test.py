"""The checker of histories: what is right is accepted, what is broken is found,
by the right rule and no other.

SESSGATE_LONG=1: ten times as many histories. SESSGATE_SEED=N: another row of
them.
"""

import json
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(HERE, os.pardir, "it")]

import checker
import simulated
from broken import BROKEN, Story
from harness import case, main
from past import BadHistory, Past

SEED = int(os.environ.get("SESSGATE_SEED", "1"))
TIMES = 10 if os.environ.get("SESSGATE_LONG") else 1


def judge(lines):
    return checker.check(Past.read(simulated.text(lines)))


def accept(t, lines, what):
    verdict = judge(lines)
    told = [repr(v) for v in verdict.violations[:3]]
    t.equal(told, [], what)
    return verdict


# ---- right ones --------------------------------------------------------------


@case
def a_system_that_keeps_its_promises_is_accepted(t):
    sessions = ops = faults = 0
    for seed in range(SEED, SEED + 6 * TIMES):
        verdict = accept(t, simulated.history(seed), "seed %d" % seed)
        ops += len(verdict.past.ops)
        faults += len(verdict.past.faults)
        sessions += verdict.sessions
        t.true(verdict.stale_ends and verdict.stale_changes, "measured")
    print("# %d operations, %d sessions, %d faults" % (ops, sessions, faults))


@case
def overlapping_faults_are_accepted(t):
    for seed in range(SEED, SEED + 4 * TIMES):
        accept(t, simulated.history(seed, mode="overlap"), "seed %d" % seed)


@case
def no_faults_and_no_operations_are_accepted(t):
    accept(t, simulated.history(SEED, seconds=20, has_faults=False), "calm")
    accept(t, simulated.history(SEED, clients=0), "nobody asks")


# ---- broken ones -------------------------------------------------------------


def tell(rule, mode, function, seed):
    """What is wrong with how the checker judges a broken history, or None."""
    story = Story(seed, mode)
    steps = function(story)
    next(steps)
    story.finish_story()
    told = judge(story.lines).violations
    if told:
        return "right, but told: %r" % told[:3]
    next(steps, None)
    told = judge(story.lines).violations
    if {v.rule for v in told} != {rule}:
        return "told: %r" % told[:4]
    return None


@case
def each_broken_promise_is_found_by_its_rule_alone(t):
    wrong, count = [], 0
    for number, (rule, mode, function) in enumerate(BROKEN):
        for turn in range(TIMES):
            seed = SEED * 1000 + number * 10 + turn
            count += 1
            problem = tell(rule, mode, function, seed)
            if problem is not None:
                wrong.append("rule %d, %s, seed %d: %s" % (
                    rule, function.__name__, seed, problem))
    print("# %d broken histories" % count)
    t.true(len(BROKEN) >= 60, "enough of them")
    t.equal(sorted({rule for rule, _, _ in BROKEN}), list(range(1, 9)))
    if wrong:
        raise AssertionError("\n".join(wrong))


# ---- exactly at the bound ----------------------------------------------------


def told(story, mode="single"):
    """The rules that a story, a function of Story, breaks."""
    st = Story(SEED, mode)
    falsify = story(st)
    st.finish_story()
    falsify()
    return sorted({v.rule for v in judge(st.lines).violations})


def at_bound(t, rule, story):
    """story(st, ns) is right for 0 and wrong one nanosecond later."""
    t.equal(told(lambda st: story(st, 0)), [], "at the bound")
    t.equal(told(lambda st: story(st, 1)), [rule], "a nanosecond later")


@case
def an_ended_session_may_be_accepted_for_one_second(t):
    def story(st, ns):
        h = st.create()
        before, ending = st.check(h), st.logout(h)
        st.now = ending["at"][1] + simulated.S + ns
        op = st.check(h, gw=1, after=0)
        return lambda: st.accept(op, before)
    at_bound(t, 3, story)


@case
def in_a_fault_two_seconds_count_from_its_last_event(t):
    for event in ("begin", "step", "end"):
        def story(st, ns):
            h = st.create()
            before = st.check(h)
            if event != "begin":
                st.begin("redis")
            st.logout(h)
            if event == "begin":
                st.begin("redis", after=0.9)
            else:
                st.event(event, 1.5)
            st.now += 2 * simulated.S + ns
            op = st.check(h, gw=1, after=0)
            if event != "end":
                st.event("end")
            st.event("recovered", 0.1)
            return lambda: st.accept(op, before)
        at_bound(t, 3, story)


@case
def where_no_store_loses_anything_two_seconds_count_from_the_acknowledgement(t):
    for last in ("begin", "step", "end"):
        def story(st, ns):
            h = st.create()
            before = st.check(h)
            st.begin("mysql", loses=False)
            ending = st.logout(h)
            if last != "begin":
                st.event(last, 1.5)
            st.now = ending["at"][1] + 2 * simulated.S + ns
            op = st.check(h, gw=1, after=0)
            if last != "end":
                st.event("end")
            st.event("recovered", 0.1)
            return lambda: st.accept(op, before)
        at_bound(t, 3, story)


@case
def where_the_machine_stood_still_two_seconds_count_from_its_going_on(t):
    def story(st, ns):
        h = st.create()
        before = st.check(h)
        st.begin("mysql", loses=False)
        mysql = st.open_fault
        ending = st.logout(h)
        st.begin("redis", "mysql", kind="machine-stall")
        st.event("end", 0.3)
        st.now += 2 * simulated.S + ns
        op = st.check(h, gw=1, after=0)
        st.event("recovered")
        st.open_fault = mysql
        st.over(1)

        def falsify():
            st.accept(op, before)
            if ns == 0:
                late = judge(st.lines).stale_ends
                t.equal([round(age / 1e9, 1) for age, case in late
                         if case == "the machine stood still" and age > 0],
                        [2.4], "its age from the acknowledgement")
            return ending
        return falsify
    at_bound(t, 3, story)


@case
def what_is_shown_from_rows_alone_waits_for_the_spool(t):
    def story(st, ns):
        h = st.create()
        before = st.show(h)
        st.begin("mysql", hosts=[0], loses=False)
        st.end(h, gw=0)
        st.event("end", 4)
        st.event("recovered", 0.1)
        st.now += (1 + 2) * simulated.S + ns  # the margin
        op = st.show(h, gw=1, after=0)
        return lambda: st.accept(op, before)
    at_bound(t, 3, story)


@case
def ages_are_told_apart_by_what_was_promised(t):
    ages = {}

    def story(name, begin):
        def steps(st):
            h = st.create()
            before = st.check(h)
            begin(st)
            ending = st.logout(h)
            st.now = ending["at"][1] + 900 * simulated.MS
            op = st.check(h, gw=1, after=0)
            if st.open_fault is not None:
                st.over()

            def falsify():
                st.accept(op, before)
                found = judge(st.lines)
                t.equal(found.violations, [], name)
                ages[name] = [case for age, case in found.stale_ends
                              if age >= 900 * simulated.MS]
            return falsify
        told(steps)

    story("nothing", lambda st: None)
    story("store", lambda st: st.begin("redis", loses=False))
    story("stall", lambda st: st.begin("redis", "mysql",
                                       kind="machine-stall"))
    t.equal(ages, {"nothing": ["healthy"],
                   "store": ["one store or process faulty"],
                   "stall": ["the machine stood still"]})


@case
def a_second_is_enough_again_when_the_margin_is_over(t):
    def story(st, ns):
        h = st.create()
        before = st.check(h)
        st.begin("redis")
        st.over(1)
        # The window is a second longer, and includes its last moment.
        st.now += simulated.S + ns
        ending = st.logout(h, after=0)
        st.now = ending["at"][1] + 1500 * simulated.MS
        op = st.check(h, gw=1, after=0)
        return lambda: st.accept(op, before)
    at_bound(t, 3, story)


@case
def both_blind_is_bounded_by_max_blind(t):
    def story(st, ns):
        h = st.create()
        before = st.check(h)
        st.begin("redis", hosts=[0])
        st.end(h, gw=0)
        redis = st.open_fault
        st.begin("mysql", hosts=[1])  # Blind from here on.
        st.now += 300 * simulated.S + ns
        op = st.check(h, gw=1, after=0)
        st.over()
        st.open_fault = redis
        st.over()
        return lambda: st.accept(op, before)
    at_bound(t, 3, story)


@case
def what_a_change_replaced_may_be_shown_for_one_second(t):
    for kind in ("get", "check"):
        def story(st, ns):
            h = st.create()
            before = st.by_token(kind, h)
            change = st.update(h, data={"m0": 3})
            st.now = change["at"][1] + simulated.S + ns
            op = st.by_token(kind, h, gw=1, after=0)
            return lambda: st.accept(op, before)
        at_bound(t, 2, story)


@case
def a_503_may_touch_a_window(t):
    def after(st, ns):
        h = st.create()
        st.begin("redis")
        st.over(1)
        st.now += simulated.S + ns  # the margin
        op = st.check(h, after=0)
        return lambda: st.lose(op, "unavailable")

    def before(st, ns):
        h = st.create()
        op = st.check(h)
        st.now = op["at"][1] + ns
        st.begin("redis", after=0)
        st.over(1)
        return lambda: st.lose(op, "unavailable")
    at_bound(t, 1, after)
    at_bound(t, 1, before)


@case
def absolute_expiry_is_at_most_a_second_late(t):
    def story(st, ns):
        h = st.create(absolute_ms=5000)
        before = st.check(h)
        st.now = st.lines_of(h)[0]["at"][1] + 6 * simulated.S + ns
        op = st.check(h, after=0)
        return lambda: st.accept(op, before)
    at_bound(t, 3, story)


@case
def absolute_expiry_is_not_early_but_for_the_clock(t):
    def story(st, ns):
        h = st.create(absolute_ms=5000)
        st.now = st.lines_of(h)[0]["at"][0] + (
            5000 - 250 - 4) * simulated.MS - ns
        op = st.check(h, after=0)
        return lambda: st.deny(op, "expired_absolute")
    at_bound(t, 3, story)


@case
def idle_expiry_is_late_by_a_tenth_and_five_seconds(t):
    def story(st, ns):
        h = st.create(idle_ms=4000)
        before = st.check(h)
        st.now = before["at"][1] + 9400 * simulated.MS + ns
        op = st.check(h, after=0)
        return lambda: st.accept(op, before)
    at_bound(t, 3, story)


@case
def idle_expiry_is_not_early_but_for_the_clock(t):
    def story(st, ns):
        h = st.create(idle_ms=4000)
        last = st.check(h, after=2)
        st.now = last["at"][0] + (4000 - 250 - 4) * simulated.MS - ns
        op = st.check(h, after=0)
        return lambda: st.deny(op, "expired_idle")
    at_bound(t, 3, story)


@case
def a_theft_is_one_only_after_the_grace(t):
    def story(st, ns):
        h = st.create()
        old = st.token(h)
        st.rotate(h)
        use = st.check(h)
        # Nothing is late before the successor has been used that long.
        st.now = use["at"][0] + (4000 - 250 - 4) * simulated.MS + 1 - ns
        op = st.check(h, tok=old, after=0)
        return lambda: st.deny(op, "theft")
    at_bound(t, 6, story)


# ---- what nobody knows -------------------------------------------------------


def is_open(t, story, mode="single"):
    t.equal(told(story, mode), [])


@case
def an_end_without_an_answer_may_have_happened_or_not(t):
    for kind, res in (("logout", "unknown"), ("end", "unavailable")):
        def refused(st):
            h = st.create()
            st.begin("mysql")
            ending = getattr(st, kind)(h)
            st.over(1)
            st.check(h, after=20)
            return lambda: st.lose(ending, res)

        def lives(st):
            h = st.create()
            st.begin("mysql")
            seen = st.check(h)
            ending = getattr(st, kind)(h)
            st.over(1)
            after = [st.check(h, after=20), st.get(h, gw=1)]

            def falsify():
                st.lose(ending, res)
                like = dict(out=dict(seen["out"], version=1,
                                     data={"m0": 0, "m1": 0}))
                for op in after:
                    st.accept(op, like)
                st.make_live(h, like)
                st.drop(*st.audits(h, "end"))
            return falsify
        is_open(t, refused)
        is_open(t, lives)


@case
def a_change_without_an_answer_may_show_at_any_time(t):
    def shown(st):
        h = st.create()
        st.begin("mysql")
        change = st.update(h, data={"m0": 5})
        st.over(1)
        st.check(h, after=30)
        st.get(h, gw=1)
        return lambda: st.lose(change)

    def late(st):
        h = st.create()
        st.begin("mysql")
        seen = st.get(h)
        change = st.update(h, data={"m0": 5})
        st.over(1)
        op = st.get(h, after=2)
        st.get(h, gw=2)

        def falsify():
            st.lose(change)
            st.accept(op, seen)
        return falsify
    is_open(t, shown)
    is_open(t, late)


@case
def a_change_without_an_answer_explains_a_412(t):
    def story(st):
        h = st.create()
        st.begin("mysql")
        change = st.update(h, data={"m0": 5})
        st.over(1)
        st.update(h, data={"m1": 6}, if_version=1)
        return lambda: st.lose(change)
    is_open(t, story)


@case
def a_creation_without_an_answer_is_repeated_or_not(t):
    def repeated(st):
        st.begin("mysql")
        h = st.create(key="k")
        st.over(1)
        st.repeat(h, gw=1, after=2)
        st.check(h)
        return lambda: st.lose(st.lines_of(h)[0])

    def forgotten(st):
        st.begin("mysql")
        h = st.create()
        st.over(1)
        return lambda: st.lose(st.lines_of(h)[0])

    def never_made(st):
        st.begin("mysql")
        h = st.create()
        st.over(1)

        def falsify():
            st.lose(st.lines_of(h)[0], "unavailable")
            st.drop_copy(h)
            st.drop(st.row(h), *st.audits(h, "create"))
        return falsify
    for story in (repeated, forgotten, never_made):
        is_open(t, story)


@case
def a_cleanup_without_an_answer_may_end_later_sessions(t):
    def story(st):
        st.create()
        st.begin("mysql")
        cleanup = st.cleanup()
        st.over(1)
        h = st.create(after=3)
        op = st.check(h, after=2)

        def falsify():
            st.lose(cleanup)
            st.deny(op, "revoked")
            st.make_ended(h, "revoked")
            st.event_row("end", h, reason="revoked")
        return falsify
    is_open(t, story)


@case
def a_rotation_without_an_answer_keeps_the_old_token(t):
    def story(st):
        h = st.create()
        old = st.token(h)
        st.begin("mysql")
        rotation = st.rotate(h)
        st.over(1)
        st.check(h, tok=old, after=30)
        st.check(h, gw=1, after=1)
        return lambda: st.lose(rotation)
    is_open(t, story)


@case
def what_runs_at_the_same_time_may_come_before_or_after(t):
    def story(st):
        h = st.create()
        before = st.check(h)
        ending = st.logout(h)
        op = st.check(h, gw=1, after=0)
        op["at"] = [ending["at"][0], ending["at"][1]]
        return lambda: st.accept(op, before)
    is_open(t, story)


@case
def ends_through_a_spool_have_a_row_each(t):
    def story(st):
        h = st.create()
        st.begin("mysql")
        st.end(h)
        st.end(h, gw=1)
        st.over(1)

        def falsify():
            if len(st.audits(h, "end")) < 2:
                st.event_row("end", h, reason="revoked")
        return falsify
    is_open(t, story)


@case
def a_session_that_ended_before_mysql_knew_it_leaves_a_placeholder(t):
    def of(user, ending):
        def story(st):
            st.begin("mysql")
            h = st.create()
            ending(st, h)
            st.over(1)

            def falsify():
                st.make_placeholder(h, user)
                st.audits(h, "end")[0]["user"] = user
            return falsify
        return story
    is_open(t, of("", lambda st, h: st.logout(h)))
    is_open(t, of("z", lambda st, h: st.end(h)))
    is_open(t, of("z", lambda st, h: st.cleanup()))


@case
def a_placeholder_of_a_creation_without_an_answer_has_no_handle(t):
    def story(st):
        st.create()
        st.begin("mysql")
        h = st.create()
        other = st.create()
        st.cleanup()
        st.over(1)

        def falsify():
            st.make_placeholder(h)
            st.lose(st.lines_of(h)[0])
            st.make_placeholder(other)
            st.lose(st.lines_of(other)[0], "unavailable")
            # Its frame was never written: only its record in Redis.
            st.drop(*st.audits(other, "create"))
        return falsify
    is_open(t, story)


@case
def an_end_after_the_expiry_ends_nothing(t):
    def story(st, wait):
        h = st.create(absolute_ms=2000)
        st.begin("mysql")
        st.logout(h, after=wait)
        st.over(3)

        def falsify():
            st.make_live(h, {"out": {"data": {"m0": 0, "m1": 0}}})
            st.drop(*st.audits(h, "end"))
        return falsify
    t.equal(told(lambda st: story(st, 2)), [])
    t.equal(told(lambda st: story(st, 1)), [3], "before it")


@case
def a_session_that_expired_before_it_landed_has_no_row(t):
    def story(st):
        st.begin("mysql")
        h = st.create(absolute_ms=2000)
        st.end(h, after=1)
        st.over(2)
        op = st.check(h, after=5)

        def falsify():
            st.drop(st.row(h))
            st.drop_copy(h)
            st.lose(op, "unavailable")
        return falsify
    is_open(t, story)


@case
def a_list_has_what_was_created_without_mysql_when_it_has_landed(t):
    """As with ends: two seconds after the window, a second after the fault."""
    for wait, rules in ((3, []), (3.1, [1])):
        def story(st):
            st.begin("mysql", hosts=[0])
            h = st.create(gw=0)
            op = st.list(gw=1, after=5)
            st.over(1)
            late = st.list(gw=1, after=wait)

            def falsify():
                op["out"]["refs"].remove(st.ref(h))
                late["out"]["refs"].remove(st.ref(h))
            return falsify
        t.equal(told(story), rules, "%g s after the fault" % wait)


@case
def a_list_knows_of_ends_when_the_spool_has_been_shipped(t):
    """They are answered from MySQL alone."""
    for wait, rules in ((1.9, []), (2.1, [3])):
        def story(st):
            h = st.create()
            st.begin("mysql", hosts=[0])
            st.end(h, gw=0)
            op = st.list(gw=1, after=5)
            st.over(1)
            # The window is over a second after that.
            late = st.list(gw=1, after=1 + wait)

            def falsify():
                op["out"]["refs"].append(st.ref(h))
                late["out"]["refs"].append(st.ref(h))
            return falsify
        t.equal(told(story), rules, "%g s after the fault" % wait)


@case
def double_failures_excuse_until_both_are_over(t):
    def story(st, wait):
        h = st.create()
        before = st.check(h)
        st.begin("mysql")
        first = st.open_fault
        st.end(h)
        st.begin("redis")
        op = st.check(h, gw=1, after=wait)
        st.over(1 if wait < 10 else 0)
        st.open_fault = first
        st.over()
        return lambda: st.accept(op, before)
    t.equal(told(lambda st: story(st, 5), "overlap"), [])
    t.equal(told(lambda st: story(st, 5)), [3], "one at a time")


# ---- properties --------------------------------------------------------------


READS = ("check", "get", "introspect", "show", "extend", "list")


@case
def removing_reads_leaves_a_history_right(t):
    """But those that are activity of a session with a short idle time, and of
    rotated ones, where a token's use matters."""
    for seed in range(SEED, SEED + 4 * TIMES):
        rng = random.Random(seed)
        lines = simulated.history(seed, seconds=60)
        bound = {x["s"] for x in lines if x["t"] == "op" and (
            x["kind"] == "rotate" or "idle_ms" in x.get("args", {}))}
        kept = [x for x in lines if x["t"] != "op" or x["kind"] not in READS or
                x.get("s") in bound or rng.random() < 0.5]
        t.true(len(kept) < len(lines), "some are gone")
        accept(t, kept, "seed %d" % seed)


@case
def an_answer_that_gets_lost_leaves_a_history_right(t):
    """As long as a fault explains that; else just that is told. Not those that
    gave a token: whoever did not hear it could not have used it."""
    for seed in range(SEED, SEED + 4 * TIMES):
        rng = random.Random(seed)
        lines = simulated.history(seed, seconds=60)
        past = Past.read(simulated.text(lines))
        excused = {op.id for op in past.ops if past.is_in_fault(op)}
        lost, unexcused = 0, 0
        for line in lines:
            if (line["t"] != "op" or "tok" in line.get("out", ()) or
                    rng.random() < 0.7):
                continue
            if line["id"] in excused:
                Story.lose(line)
                lost += 1
        accept(t, lines, "seed %d, %d answers lost" % (seed, lost))
        for line in lines:
            if (line["t"] == "op" and line["id"] not in excused and
                    "tok" not in line.get("out", ()) and
                    rng.random() < 0.1):
                Story.lose(line)
                unexcused += 1
        verdict = judge(lines)
        t.equal({v.rule for v in verdict.violations}, {1})
        t.equal(len(verdict.violations), unexcused)


@case
def removing_a_whole_session_leaves_a_history_right(t):
    for seed in range(SEED, SEED + 4 * TIMES):
        lines = simulated.history(seed, seconds=60)
        rng = random.Random(seed)
        bound = {h for x in lines if x.get("args", {}).get("replaces")
                 for h in (x["s"], x["args"]["replaces"])}
        gone = {x["handle"]: x["ref"] for x in lines if x["t"] == "row" and
                x["reason"] in (None, "logged_out") and
                x["handle"] and x["handle"] not in bound and rng.random() < 0.5}
        refs = set(gone.values())
        kept = [x for x in lines if x.get("s") not in gone and
                x.get("ref") not in refs]
        t.true(gone, "some are gone")
        accept(t, kept, "seed %d" % seed)


@case
def the_order_of_the_lines_does_not_matter(t):
    lines = simulated.history(SEED, seconds=40)
    first = judge(lines)
    rest = lines[1:]
    random.Random(SEED).shuffle(rest)
    second = judge(lines[:1] + rest)
    t.equal(second.violations, [])
    t.equal(checker.figures(second), checker.figures(first))


@case
def without_dumps_the_answers_are_judged(t):
    lines = [x for x in simulated.history(SEED, seconds=40)
             if x["t"] in ("head", "op", "fault", "tail")]
    verdict = accept(t, lines, "no dumps")
    t.equal(checker.figures(verdict)["has_dumps"], False)


# ---- the command -------------------------------------------------------------


def command(lines, *args):
    """(exit status, output, what it wrote with --json)"""
    with tempfile.TemporaryDirectory(prefix="sgchk.") as place:
        path = os.path.join(place, "history")
        with open(path, "w") as f:
            f.write("\n".join(lines) + "\n")
        out = os.path.join(place, "json")
        done = subprocess.run(
            [sys.executable, os.path.join(HERE, "checker.py"), path,
             "--json", out] + list(args), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=60)
        found = None
        if os.path.exists(out):
            with open(out) as f:
                found = json.load(f)
        return done.returncode, done.stdout, found


@case
def the_table_has_everything_and_the_exit_status_tells(t):
    lines = simulated.history(SEED, seconds=40)
    status, out, found = command(simulated.text(lines))
    t.equal(status, 0, out)
    for pattern in (r"^0 violations", r"margin 1000 ms", r"check +\d+ +\d+",
                    r"ends, healthy +\d+ +[\d.]+ +[\d.]+ +[\d.]+",
                    r"changes, one store or process faulty",
                    r"how long it stood still",
                    r"inside fault windows +\d+ +\d+",
                    r"  of live sessions +\d+ +\d+", r"recovered p50"):
        t.match(out, "(?m)" + pattern)
    t.equal(found["violations"], [])
    t.equal(found["operations"]["check"]["ok"] > 50, True)
    t.equal(found["staleness"]["ends, healthy"]["max_ms"] <= 1000, True)


@case
def a_violation_is_told_with_operations_and_faults(t):
    st = Story(SEED)
    h = st.create()
    before = st.check(h)
    st.begin("redis")
    ending = st.end(h)
    op = st.check(h, gw=1, after=2.5)
    st.over(1)
    st.finish_story()
    st.accept(op, before)
    status, out, found = command(simulated.text(st.lines))
    t.equal(status, checker.FOUND, out)
    t.match(out, r"1\. rule 3: %s was ended, and 2\.500 s later a check at "
            r"gateway 1 still accepts it" % h)
    t.match(out, r"op %d client 99 gateway 0 end" % ending["id"])
    t.match(out, r"op %d client 99 gateway 1 check" % op["id"])
    t.match(out, r"begin of story-fault \(something\), gateways 0, 1, 2")
    t.equal(found["violations"][0]["ops"], [ending["id"], op["id"]])
    t.equal(found["violations_by_rule"], {"3": 1})


@case
def what_is_no_history_is_refused(t):
    good = simulated.text(simulated.history(SEED, seconds=5))
    for what, lines, pattern in (
            ("cut short", good[:-1], "no tail"),
            ("cut in a line", good[:20] + [good[20][:30]], "line 21: "),
            ("nothing", [], "no head"),
            ("another format", [good[0].replace('"format": 1', '"format": 2')] +
             good[1:], "format 2"),
            ("an unknown line", good + ['{"t":"noise"}'], "'noise'"),
            ("an unknown kind", good + [
                '{"t":"op","id":1,"gw":0,"kind":"chek","res":"ok",'
                '"at":[1,2]}'], "'chek'"),
            ("time runs backwards", good + [
                '{"t":"op","id":1,"gw":0,"kind":"check","res":"ok",'
                '"at":[2,1]}'], "ends before"),
            ("a fault without a begin", good + [
                '{"t":"fault","id":77,"kind":"x","event":"end","at":5,'
                '"hosts":[0]}'], "no begin"),
            ("an unknown bound", [good[0].replace(
                '"gateways"', '"bounds":{"healty_ms":1},"gateways"')] +
             good[1:], "healty_ms")):
        try:
            Past.read(lines)
        except BadHistory as e:
            t.match(str(e), pattern)
        else:
            raise AssertionError("%s: accepted" % what)
    t.equal(command(good[:-1])[0], 2)


@case
def bounds_of_the_head_replace_the_checkers_own(t):
    def story(healthy_ms):
        st = Story(SEED)
        st.lines[0]["bounds"] = {"healthy_ms": healthy_ms}
        h = st.create()
        before = st.check(h)
        st.logout(h)
        op = st.check(h, gw=1, after=3)
        st.finish_story()
        st.accept(op, before)
        return [v.rule for v in judge(st.lines).violations]
    t.equal(story(2000), [3])
    t.equal(story(4000), [])


if __name__ == "__main__":
    main()
