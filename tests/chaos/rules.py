"""What must hold in a history: rules 1 to 4, 6 and 7, which are about answers.
Rules 5 and 8, about what the stores hold in the end, are in ending.py.

A rule calls found(rule, text, ops): text in plain words, ops those that show it.
One thing that is wrong is told by one rule.
"""

import bisect

from lives import (BY_TOKEN, END_REASONS, is_activity, is_placeholder,
                   shows_life)
from past import FOREVER, MS

NAMES = {
    1: "an acknowledged session is recognised, and 503 only while something "
       "is broken",
    2: "an acknowledged change is kept, and what it replaced is not shown for "
       "long",
    3: "an ended session is refused, and nobody's session expires early",
    4: "the right user always",
    5: "one audit row for each acknowledged event, and none from nowhere",
    6: "rotation: current and graced tokens work, an old one does not",
    7: "idempotent creation; cleanup ends what was there and nothing else",
    8: "Redis, MySQL and the spools agree in the end",
}
# Denials that say nothing about the session's life.
OTHER_DENIALS = ("version",)
NEVER = ("none", "malformed", "bad_tag", "ambiguous", "binding", "role", "csrf",
         "auth_age", "policy", "listener", "rate", "not_writable",
         "role_not_allowed")
# How many sessions a list has that asks for no other number.
LIST_DEFAULT = 100
REFUSABLE = BY_TOKEN + ("show", "update", "end", "logout")


def seconds(ns):
    return "%.3f s" % (ns / 1e9)


def note_stale(past, stale, change, read):
    """stale[change]: {case: the longest that it was not shown}."""
    case, since, _ = past.staleness(change, read)
    ages = stale.setdefault(change, {})
    ages[case] = max(ages.get(case, 0), read.begin - since)


def figures_of(past, stale, change):
    ages = stale.get(change) or {past.case_of(change.begin, change.end): 0}
    return [(ns, case) for case, ns in ages.items()]


class Rules:
    """Judges a World. stale_ends, stale_changes: how long what had ended or
    been replaced was still shown: (ns, one of CASES)."""

    def __init__(self, world, found):
        self.world, self.past, self.found = world, world.past, found
        self.stale_ends, self.stale_changes = [], []
        self.unsound = set()  # handles whose versions were told already

    def run(self):
        for op in self.past.ops:
            if (op.is_maybe and not self.past.is_in_fault(op) and
                    not self.is_held(op)):
                self.unavailable(op)
        for session in self.world.sessions.values():
            self.session(session)
        for user in self.world.users.values():
            self.lists(user)
        self.refs_are_unique()

    def session(self, session):
        self.identity(session)
        self.creates(session)
        self.chain(session)
        stale_end = {}
        busy_until = session.born
        for op in session.ops:
            if op.res == "denied":
                if op.kind in REFUSABLE:
                    self.denial(session, op)
            elif shows_life(op):
                self.life(session, op, stale_end, busy_until)
            if is_activity(op) or op.kind == "create":
                busy_until = max(busy_until, self.past.settled(op) if
                                 op.is_maybe else op.end)
        self.note_stale_ends(session, stale_end)
        Versions(self, session).check()

    # ---- rule 1 ----

    def is_held(self, op):
        """Where Redis has lost what expired before it landed, a gateway cannot
        tell it from what somebody has still to bring to MySQL (H32)."""
        session = self.world.sessions.get(op.s)
        return (op.res == "unavailable" and session is not None and
                session.may_expire_unlanded() and
                op.end >= session.absolute_from and
                session.ref not in self.past.rows)

    def unavailable(self, op):
        said = "503" if op.res == "unavailable" else "no answer"
        self.found(1, "%s to a %s at gateway %d although nothing was broken "
                   "there (margin %d ms)" % (
                       said, op.kind, op.gw,
                       self.past.bounds["margin_ms"]), [op])

    def denial(self, session, op):
        """A refusal needs a reason that the history knows."""
        why = op.why
        if why in OTHER_DENIALS or session.acked is None:
            return
        is_old = (op.tok is not None and
                  session.tokens.may_be_late(op.tok, op.end))
        if why == "expired_absolute":
            if op.end < session.absolute_from and not is_old:
                self.early(session, op, session.absolute_from)
            return
        if why == "expired_idle":
            if not session.may_be_expired(op) and not is_old:
                self.early(session, op, session.idle_from)
            return
        if why in END_REASONS:
            if session.may_have_ended(op.end, why):
                return
        elif why not in NEVER and (is_old or session.may_have_ended(op.end) or
                                   session.may_be_expired(op)):
            return
        if not self.past.is_double(op.begin, op.end):
            self.refused(session, op)

    def refused(self, session, op):
        """Which rule it breaks depends on what should have protected it."""
        why = op.why
        shown = [session.made] + [op]
        if why == "theft":
            self.found(6, "%s was ended as stolen although no token of it was "
                       "presented out of its grace" % session.handle, shown)
            return
        told = "refused (%s)" % why if why else "refused"
        rotation = self.rotation_before(session, op)
        if rotation is not None and why not in END_REASONS:
            self.found(6, "the %s token of %s is %s although nothing ended the "
                       "session" % (self.age(session, op.tok), session.handle,
                                    told), [rotation, op])
            return
        cleanup = self.sparing(session, op, why)
        if cleanup is not None:
            self.found(7, "%s is %s: a cleanup seems to have ended a session "
                       "that %s" % (session.handle, told, cleanup[1]),
                       shown[:1] + [cleanup[0], op])
            return
        self.found(1, "%s was acknowledged and is %s, and nothing that the "
                   "history knows ended it" % (session.handle, told), shown)

    def rotation_before(self, session, op):
        if op.tok is None:
            return None
        for ops in session.tokens.rotates.values():
            for rotate in ops:
                if rotate.begin < op.end and rotate is not op:
                    return rotate
        return None

    @staticmethod
    def age(session, token):
        order = session.tokens.order
        return "current" if order and token == order[-1] else "graced"

    def sparing(self, session, op, why):
        """A cleanup of its user that should have left it alone: (it, why)."""
        if session.user is None or why in ("logged_out", "replaced", "limit"):
            return None
        for cleanup in self.world.users[session.user].cleanups:
            if cleanup.begin >= op.end or cleanup.res == "denied":
                continue
            reason = "blocked" if cleanup.kind == "block" else (
                cleanup.args or {}).get("reason", "revoked")
            if why in END_REASONS and why != reason:
                continue
            if (cleanup.args or {}).get("keep") == session.handle:
                return cleanup, "it was to keep"
            if cleanup.res == "ok" and cleanup.end < session.born:
                return cleanup, "was begun after it"
        return None

    # ---- rule 3 ----

    def early(self, session, op, since):
        self.found(3, "%s was told to have expired (%s) %s before it could "
                   "have" % (session.handle, op.why, seconds(since - op.end)),
                   [session.made, op])

    def life(self, session, op, stale_end, busy_until):
        """An answer that treats the session as live."""
        for end in session.sure:
            if op.begin > end.end:
                note_stale(self.past, stale_end, end, op)
                if self.past.is_late(end, op):
                    self.accepted(session, end.op, op)
                    return
        for end in session.seen:
            if (op.begin > end.end and self.past.is_late(end, op) and
                    not self.past.windows.overlaps(end.begin, op.begin)):
                self.accepted(session, end.op, op)
                return
        self.expiry(session, op, busy_until)
        self.old_token(session, op)

    def accepted(self, session, ending, op):
        what = {"logout": "logged out", "end": "ended", "cleanup":
                "ended by a cleanup", "block": "ended by a block", "create":
                "replaced"}.get(ending.kind, "said to have ended")
        self.found(3, "%s was %s, and %s later a %s at gateway %d still accepts "
                   "it" % (session.handle, what,
                           seconds(op.begin - ending.end), op.kind, op.gw),
                   [ending, op])

    def expiry(self, session, op, busy_until):
        bounds = self.past.bounds
        if session.acked is None:
            return
        over = session.acked + session.life + bounds["absolute_late_ms"] * MS
        if op.begin > over:
            self.found(3, "%s is accepted %s after its absolute expiry" % (
                session.handle, seconds(op.begin - session.acked -
                                        session.life)), [session.made, op])
            return
        idle = session.idle_most
        if op.begin > busy_until + idle + idle // 10 + bounds[
                "idle_late_ms"] * MS:
            self.found(3, "%s is accepted %s after its last activity; it may be "
                       "idle for %s" % (
                           session.handle, seconds(op.begin - busy_until),
                           seconds(idle)), [op])

    def note_stale_ends(self, session, stale_end):
        """One figure for each acknowledged end that somebody asked after."""
        if not session.sure:
            return
        first = min(session.sure, key=lambda end: end.end)
        asked = [op.begin for op in session.ops if op.begin > first.end and
                 (op.kind in BY_TOKEN or op.kind == "show")]
        if asked:
            self.stale_ends += figures_of(self.past, stale_end, first)

    # ---- rule 4 ----

    def identity(self, session):
        for op in session.ops:
            out = op.out
            if op.res != "ok" or not out:
                continue
            ref, user = out.get("ref"), out.get("user", session.user) or None
            if ref is not None and ref != session.ref:
                rule = 7 if op.kind == "create" else 4
                self.found(rule, "a %s of %s was answered with session %s, not "
                           "%s" % (op.kind, session.handle, ref, session.ref),
                           [session.made or op, op])
            elif user != session.user:
                self.found(4, "a %s of %s names %r; the session is of %r" % (
                    op.kind, session.handle, user, session.user),
                    [session.made or op, op])

    def refs_are_unique(self):
        for ref, handles in self.world.refs.items():
            if len(handles) > 1:
                sessions = [self.world.sessions[h] for h in handles]
                self.found(4, "session %s was given to %s" % (
                    ref, " and ".join(handles)),
                    [s.made for s in sessions if s.made])

    def lists(self, user):
        """Who is in a list that should not be, and who is missing. waiting:
        sessions in the order of their beginnings; free: those that nothing
        may have ended yet."""
        own = {s.ref: s for s in user.sessions if s.ref is not None}
        waiting = sorted((s for s in own.values() if s.acked is not None),
                         key=lambda s: s.acked, reverse=True)
        free = []
        for op in user.lists:
            if op.res != "ok":
                continue
            while waiting and waiting[-1].acked < op.begin:
                free.append(waiting.pop())
            free = [s for s in free if min(s.first_end, s.idle_row_from,
                                           s.absolute_from) > op.begin]
            self.listed(user, op, own)
            self.unlisted(op, free)

    def listed(self, user, op, own):
        for ref in op.out.get("refs", ()):
            session = own.get(ref)
            if session is None:
                if ref in self.world.refs:
                    self.found(4, "the list of %r has session %s, which is %s" %
                               (user.name, ref, self.world.refs[ref][0]), [op])
                continue
            for end in session.sure:
                if op.begin > end.end and self.past.is_late(end, op):
                    self.accepted(session, end.op, op)
                    break

    def unlisted(self, op, free):
        there = set(op.out.get("refs", ()))
        if len(there) >= LIST_DEFAULT:
            return  # There are more than fit.
        for session in free:
            if session.lands_until is not None and (
                    op.begin <= session.lands_until):
                continue  # MySQL, which alone is asked, may not have it yet.
            if (session.ref not in there and
                    not session.may_have_ended(op.end) and
                    session.idle_row_from > op.end and
                    session.absolute_from > op.end and
                    not self.past.is_double(session.born, op.end)):
                self.found(1, "%s was acknowledged, nothing ended it, and it is "
                           "not in its user's list" % session.handle,
                           [session.made, op])

    # ---- rule 6 ----

    def chain(self, session):
        tokens = session.tokens
        for token, following in tokens.forks:
            self.found(6, "token %s of %s has two successors: %s" % (
                token, session.handle, ", ".join(following)),
                [tokens.made[t] for t in following])
        for token in tokens.order:
            if tokens.is_unasked(token):
                after = tokens.next(token)
                self.found(6, "%s got a new token though nobody asked for a "
                           "rotation" % session.handle, [tokens.made[after]])

    def old_token(self, session, op):
        if op.tok is None or session.made is None:
            return
        if op.tok not in session.tokens.made:
            self.found(4, "%s is accepted by a token that it never had" %
                       session.handle, [session.made, op])
        if op.tok not in session.tokens.index:
            return
        proof = session.tokens.must_be_late(op.tok, op)
        if proof is not None:
            self.found(6, "an old token of %s is accepted %s after its successor "
                       "was in use" % (session.handle,
                                       seconds(op.begin - proof.end)),
                       [proof, op])

    # ---- rule 7 ----

    def creates(self, session):
        """Repeats give the same; refusals need a reason; who is blocked gets
        none."""
        first = session.made
        if first is not None and session.user is not None:
            self.not_blocked(session, first)
        for op in session.creates:
            if op.res == "ok":
                token = op.out.get("tok")
                if op is not first and token != session.first_token:
                    self.found(7, "the same Idempotency-Key gave another token "
                               "to %s" % session.handle, [first, op])
            elif op.res == "denied":
                self.refused_create(session, op)

    def not_blocked(self, session, made):
        user = self.world.users[session.user]
        for block in user.blocks:
            if (block.res == "ok" and block.end < made.begin and
                    self.past.is_late(block, made) and
                    not any(op.end > block.begin and op.begin < made.end and
                            op.res != "denied" for op in user.unblocks)):
                self.found(7, "%r was blocked, and %s later given session %s" %
                           (user.name, seconds(made.begin - block.end),
                            session.handle), [block, made])
                return

    def refused_create(self, session, op):
        why = op.why
        if why == "blocked":
            user = self.world.users.get(session.user)
            is_right = user is not None and any(
                block.begin < op.end and block.res != "denied"
                for block in user.blocks)
        elif why == "limit":
            is_right = bool(self.past.conf["max_sessions"])
        elif why == "idempotency_used":
            is_right = (session.may_have_ended(op.end) or
                        session.may_be_expired(op) or
                        any(r.begin < op.end for ops in
                            session.tokens.rotates.values() for r in ops))
        elif why == "idempotency_reuse":
            is_right = any(other.args != op.args for other in session.creates
                           if other is not op)
        else:
            is_right = session.may_have_ended(op.end)
        if is_right:
            return
        if op.args and op.args.get("key"):
            self.found(7, "the creation of %s was refused (%s) though nothing "
                       "stood against it" % (session.handle, why),
                       [x for x in (session.made, op) if x])
        else:
            self.found(1, "the creation of %s was refused (%s) though nothing "
                       "stood against it" % (session.handle, why), [op])


# ---- rule 2 ----------------------------------------------------------------


def _roles(value):
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    return tuple(sorted(value or ()))


def _text(value):
    """As an exported variable shows it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def called(member):
    return member if isinstance(member, str) else "data.%s" % member[1]


class Write:
    """A value that a member was given; version None: nobody knows which."""

    __slots__ = ("op", "begin", "end", "version", "value")

    def __init__(self, op, begin, version, value):
        self.op, self.version, self.value = op, version, value
        self.begin, self.end = begin, op.end


class Versions:
    """The values of one session's members, by its versions."""

    def __init__(self, rules, session):
        self.rules, self.past, self.found = rules, rules.past, rules.found
        self.session = session
        self.members = {}   # member: its acknowledged Writes, by version
        self.maybe = {}     # member: Writes that may have happened
        self.acked = []     # (end, version, op) of acknowledged changes
        self.open = []      # changes of which nobody knows
        self._collect()

    def _collect(self):
        session = self.session
        made = session.made or (session.creates[0] if session.creates else None)
        if made is not None:
            is_known = session.made is not None
            self._write(made, 1 if is_known else None, True)
            if is_known:
                self.acked.append((made.end, 1, made))
        for op in session.ops:
            if op.kind not in ("update", "rotate"):
                continue
            version = (op.out or {}).get("version") if op.res == "ok" else None
            if version is not None:
                self.acked.append((op.end, version, op))
            elif op.is_maybe or (op.res == "denied" and
                                 op.why not in OTHER_DENIALS):
                self.open.append(op)
            else:
                continue
            if op.kind == "update":
                self._write(op, version, False)
        self.acked.sort(key=lambda x: x[:2])
        self.ends = [end for end, _, _ in self.acked]
        self.made = {version for _, version, _ in self.acked}
        self.newest, newest = [], 0  # the newest version of acked[:i + 1]
        for _, version, _ in self.acked:
            newest = max(newest, version)
            self.newest.append(newest)
        self.versions, self.first_begins = {}, {}
        for member, writes in self.members.items():
            writes.sort(key=lambda w: w.version)
            self.versions[member] = [w.version for w in writes]
            # [i]: the first beginning of writes[i:].
            first, firsts = FOREVER, []
            for write in reversed(writes):
                first = min(first, write.begin)
                firsts.append(first)
            self.first_begins[member] = firsts[::-1]

    def newer(self, at, version):
        """Changes that were acknowledged before that moment and made a newer
        version, latest first: (end, version, op)."""
        i = bisect.bisect_left(self.ends, at) - 1
        while i >= 0 and self.newest[i] > version:
            if self.acked[i][1] > version:
                yield self.acked[i]
            i -= 1

    def last(self, member, version):
        """The member's last acknowledged write up to that version, or None."""
        i = bisect.bisect_right(self.versions.get(member, ()), version)
        return self.members[member][i - 1] if i > 0 else None

    def _write(self, op, version, is_create):
        args = op.args or {}
        values = {("data", name): value
                  for name, value in (args.get("data") or {}).items()}
        if "context" in args or is_create:
            values["context"] = args.get("context") or ""
        if "roles" in args or is_create:
            values["roles"] = _roles(args.get("roles"))
        into = self.maybe if version is None else self.members
        for member, value in values.items():
            # An earlier try, without an answer, may have made the session.
            begin = self.session.born if is_create else op.begin
            into.setdefault(member, []).append(
                Write(op, begin, version, value))

    @staticmethod
    def shown(out):
        """What an answer or a row shows: (member, value) pairs."""
        if "context" in out:
            yield "context", out["context"] or ""
        if "roles" in out:
            yield "roles", _roles(out["roles"])
        for name, value in (out.get("data") or {}).items():
            yield ("data", name), value

    # ---- judging ----

    def check(self):
        self.winners()
        for op in self.session.ops:
            out = op.out
            if op.res == "denied":
                if op.why == "version":
                    self.lost_race(op)
                continue
            if op.res != "ok" or not out or op.kind in ("logout", "create"):
                continue
            version = out.get("version")
            if version is None:
                self.by_value(op, out)
                continue
            if op.kind == "update":
                self.update(op, version)
            elif not self.is_fresh(op, version):
                continue
            self.at_version(op, out, version)
        self.note_stale()
        self.row()

    def say(self, text, *ops):
        self.rules.unsound.add(self.session.handle)
        self.found(2, "%s: %s" % (self.session.handle, text),
                   [op for op in ops if op is not None])

    def winners(self):
        """No two updates made the same version."""
        by_version = {}
        for _, version, op in self.acked:
            if op.kind == "rotate":
                continue
            other = by_version.setdefault(version, op)
            if other is not op:
                self.say("two changes both made version %d" % version, other,
                         op)

    def update(self, op, version):
        """It comes after all that was acknowledged before it."""
        args = op.args or {}
        wanted = args.get("if_version")
        if wanted is not None and version != wanted + 1:
            self.say("a change if the version is %d made version %d" % (
                wanted, version), op)
            return
        if not any(name in args for name in ("data", "context", "roles",
                                             "contexts", "idle_ms")):
            return
        for _, earlier, other in self.newer(op.begin, version - 1):
            if other is not op:
                self.say("a change made version %d after version %d was "
                         "acknowledged" % (version, earlier), other, op)
                return

    def lost_race(self, op):
        """412 is right if the version may have been another one."""
        wanted = (op.args or {}).get("if_version")
        if wanted is None:
            self.say("412 to a change without If-Match", op)
            return
        if any(o.begin < op.end for o in self.open):
            return
        if wanted not in self.made or any(
                version > wanted and change.begin < op.end
                for _, version, change in self.acked):
            return
        if self.session.may_have_ended(op.end):
            return
        self.say("412 to a change if the version is %d, which it was" % wanted,
                 op)

    def is_fresh(self, op, version):
        """False: told as stale."""
        for end, newer, change in self.newer(op.begin, version):
            if self.past.is_late(change, op):
                self.say("a %s at gateway %d shows version %d, %s after version "
                         "%d was acknowledged" % (
                             op.kind, op.gw, version, seconds(op.begin - end),
                             newer), change, op)
                return False
        return True

    def at_version(self, op, out, version):
        """Each member has the value that it had in that version."""
        for member, value in self.shown(out):
            if not self.fits(member, value, version, op.end):
                self.wrong(member, value, version, op)
                return

    def fits(self, member, value, version, at):
        last = self.last(member, version)
        if last is not None and last.value == value:
            return True
        for write in self.maybe.get(member, ()):
            if write.value == value and write.begin < at:
                return True
        return last is None and value in (None, "", ())

    def wrong(self, member, value, version, op):
        last = self.last(member, version)
        name = called(member)
        if last is None:
            self.say("%s is %r in version %d, which nobody wrote" % (
                name, value, version), op)
        else:
            self.say("%s is %r in version %d, not %r as version %d made it" % (
                name, value, version, last.value, last.version), last.op, op)

    def by_value(self, op, out):
        """An answer without a version: only how old its values are."""
        for member, value in self.shown(out):
            if not self.value(op, member, value, lambda v: v):
                return
        for name, value in (out.get("exports") or {}).items():
            if not self.value(op, ("data", name), value, _text):
                return

    def value(self, op, member, value, form):
        """False: told. Newest first, until one that must be shown."""
        newer = None
        writes = self.members.get(member, ())
        # Those from here on were all begun later than this answer.
        i = bisect.bisect_left(self.first_begins.get(member, ()), op.end)
        while i > 0 and newer is None:
            i -= 1
            write = writes[i]
            if write.begin < op.end and form(write.value) == value:
                return True
            if write.end < op.begin and self.past.is_late(write.op, op):
                newer = write
        for write in self.maybe.get(member, ()):
            if write.begin < op.end and form(write.value) == value:
                return True
        if newer is None and member not in self.members and not value:
            return True
        name = called(member)
        if newer is None:
            self.say("a %s at gateway %d shows %s = %r, which nobody wrote" % (
                op.kind, op.gw, name, value), op)
        else:
            self.say("a %s at gateway %d shows %s = %r, %s after %r was "
                     "acknowledged" % (
                         op.kind, op.gw, name, value,
                         seconds(op.begin - newer.end), newer.value), newer.op,
                     op)
        return False

    def note_stale(self):
        """How long the version before each change was still shown."""
        reads = [op for op in self.session.ops
                 if op.res == "ok" and op.kind in ("get", "show", "extend") and
                 op.out and "version" in op.out]
        if not reads:
            return
        last = reads[-1].begin
        stale = {}
        for op in reads:
            for _, _, change in self.newer(op.begin, op.out["version"]):
                note_stale(self.past, stale, change, op)
        for end, _, change in self.acked:
            if change.kind == "update" and end <= last:
                self.rules.stale_changes += figures_of(self.past, stale,
                                                       change)

    def row(self):
        """What MySQL has in the end."""
        row = self.past.rows.get(self.session.ref)
        if row is None or self.session.made is None:
            return
        if is_placeholder(self.session, row):
            # What has not landed cannot be changed.
            lost = [x for x in self.acked if x[1] > 1]
            if lost:
                self.say("version %d was acknowledged, and MySQL has never had "
                         "the session" % lost[-1][1], lost[-1][2])
            return
        version = row["version"]
        lost = [x for x in self.acked if x[1] > version]
        if lost:
            self.say("version %d was acknowledged, and the row has %d" % (
                lost[-1][1], version), lost[-1][2])
            return
        out = dict(row)
        if row["state"] != "live":
            out.pop("data", None)
        for member, value in self.shown(out):
            if not self.fits(member, value, version, 1 << 62):
                last = self.last(member, version)
                self.say("%s is %r in the end, not %r as it was acknowledged" %
                         (called(member), value, last and last.value),
                         last and last.op)
                return
        if row["state"] == "live" and "data" in row:
            self.missing(row)

    def missing(self, row):
        """A member that was acknowledged and is not there at all."""
        for member, writes in self.members.items():
            if isinstance(member, str) or member[1] in (row["data"] or {}):
                continue
            last = writes[-1]
            if last.value is not None and member not in self.maybe:
                self.say("data.%s was acknowledged as %r and is not there in "
                         "the end" % (member[1], last.value), last.op)
                return
