"""Sessions as the history shows them: when each was made, what may have ended it,
when it may have expired, which tokens it had.

"Sure" is what was acknowledged. "May" includes what had no answer, and what ran
at the same time: where the history does not say, it is held to be in order.
"""

import bisect
import itertools

from past import FOREVER, MS

# Reasons with which something ends a session.
END_REASONS = ("logged_out", "revoked", "replaced", "theft", "limit", "blocked",
               "flushed", "binding")
# What asks by token and is answered with the session or with a refusal.
BY_TOKEN = ("check", "get", "extend", "introspect", "rotate")
SHOWS = BY_TOKEN + ("show", "update")


def is_activity(op):
    return op.kind in BY_TOKEN or (op.kind == "update" and op.tok is not None)


def shows_life(op):
    """An answer that treats the session as live."""
    return op.res == "ok" and op.kind in SHOWS


def is_placeholder(session, row):
    """The row of a session that was created without MySQL and ended before it
    had landed there: of what it was, at most its user is in it."""
    return (session.lands_until is not None and row["state"] != "live" and
            not row.get("handle"))


class End:
    """Something that ends a session, or may.

    is_sure: its effect was acknowledged by op. is_seen: somebody was told of
    the end; that proves it, but only while nothing breaks.
    """

    def __init__(self, op, reason, is_sure=False, is_seen=False):
        self.op, self.reason = op, reason
        self.is_sure, self.is_seen = is_sure, is_seen
        self.begin, self.end, self.gw = op.begin, op.end, op.gw


class User:
    """cleanups: those that end sessions, blocks too."""

    def __init__(self, name):
        self.name = name
        self.sessions, self.creates = [], []
        self.cleanups, self.blocks, self.lists = [], [], []
        self.unblocks = []

    def prepare(self):
        """_over[i]: when all of the first i + 1 cleanups were over."""
        self._over, latest = [], 0
        for op in self.cleanups:
            latest = max(latest, FOREVER if op.is_maybe else op.end)
            self._over.append(latest)

    def cleanups_since(self, at):
        """Those that may have been under way at that moment or later."""
        first = bisect.bisect_right(self._over, at)
        return itertools.islice(self.cleanups, first, None)


class Tokens:
    """The chain of a session's tokens: each is the successor of the one before.

    order: fingerprints. forks: (token, its successors) of which there are more
    than one. uses: the operations that presented each. made: the first
    operation that showed each.
    """

    def __init__(self, past, session):
        self.past, self.order, self.forks = past, [], []
        self.uses, self.made, self.rotates = {}, {}, {}
        after = {}
        for op in session.ops:
            if op.tok is not None:
                self.uses.setdefault(op.tok, []).append(op)
                if op.kind == "rotate" and op.res != "denied":
                    self.rotates.setdefault(op.tok, []).append(op)
            shown = (op.out or {}).get("tok") if op.res == "ok" else None
            if shown is None:
                continue
            made = self.made.get(shown)
            if made is None or op.end < made.end:
                self.made[shown] = op
            if op.tok is not None and op.tok != shown:
                after.setdefault(op.tok, []).append(shown)
        self._follow(session.first_token, after)
        self.index = {token: i for i, token in enumerate(self.order)}

    def _follow(self, token, after):
        while token is not None and token not in self.order:
            self.order.append(token)
            following = sorted(set(after.get(token, ())))
            if len(following) > 1:
                self.forks.append((token, following))
            token = following[0] if following else None

    def next(self, token):
        i = self.index.get(token)
        if i is None or i + 1 == len(self.order):
            return None
        return self.order[i + 1]

    def is_unasked(self, token):
        """It has a successor though nobody asked for a rotation."""
        return self.next(token) is not None and token not in self.rotates

    def may_be_late(self, token, at):
        """Whether it may have been out of its grace at that moment."""
        if token not in self.index:
            return True
        following = self.next(token)
        used = self.uses.get(following, ())
        if not used or token not in self.rotates:
            return False
        grace = (self.past.conf["rotate_grace_ms"] -
                 self.past.bounds["clock_ms"]) * MS
        rotated = min(op.begin for op in self.rotates[token])
        return at > max(rotated, used[0].begin) + grace

    def must_be_late(self, token, op):
        """The operation that shows that its grace was over when op began, or
        None. The first use of the successor is noted by the keeper; one whose
        host was killed then may not have been."""
        following = self.next(token)
        if following is None:
            return None
        second = self.next(following)
        if second is not None and self.past.is_late(self.made[second], op):
            return self.made[second]
        past, bounds = self.past, self.past.bounds
        wait = (past.conf["rotate_grace_ms"] + bounds["touch_ms"] +
                bounds["faulty_ms"]) * MS
        for use in self.uses.get(following, ()):
            if use.end + wait >= op.begin:
                break
            if use.res != "ok" or not is_activity(use) or past.killed[
                    use.gw].overlaps(use.begin, use.end +
                                     bounds["touch_ms"] * MS):
                continue
            since = max(use.end, self.made[following].end)
            window = past.windows.last(since, op.begin)
            if window is not None:
                since = max(since, window)
            if op.begin > since + wait:
                return use
        return None


class Session:
    def __init__(self, handle):
        self.handle, self.ops, self.creates = handle, [], []
        self.user = self.ref = self.first_token = self.made = None
        self.lands_until = None
        self.born = self.acked = None
        self.ends, self.sure, self.seen, self.earliest = [], [], [], {}
        self.first_end = FOREVER

    def prepare(self, past):
        """From the creates; False if none may have made it."""
        conf = past.conf
        tries = [op for op in self.creates if op.res != "denied" or
                 op.why not in ("blocked", "limit", "idempotency_reuse")]
        if not tries:
            return False
        args = tries[0].args or {}
        self.user = args.get("user") or None
        self.born = tries[0].begin
        made = [op for op in tries if op.res == "ok"]
        if made:
            self.made = min(made, key=lambda op: op.end)
            self.acked = self.made.end
            self.ref = self.made.out.get("ref")
            self.first_token = self.made.out.get("tok")
        life = args.get("absolute_ms") or conf["absolute_ms"]
        idle = args.get("idle_ms") or conf["idle_ms"]
        if self.user is None:
            life = min(life, idle)
        self.life, self.idle = life * MS, min(idle, life) * MS
        changed = [op.args["idle_ms"] for op in self.ops if op.kind == "update"
                   and op.args and op.args.get("idle_ms")]
        self.idle_most = max([self.idle] + [ms * MS for ms in changed])
        self.idle_least = min([self.idle] + [ms * MS for ms in changed])
        self.tokens = Tokens(past, self)
        for op in tries:
            self._may_have_to_land(past, op)
        return True

    def _may_have_to_land(self, past, op):
        """lands_until: by when a session that may have been created without
        MySQL is there; None: it was there from the beginning. A creation with
        a key waits for MySQL."""
        if past.conf["create_without_mysql"] and not (
                op.args or {}).get("key"):
            until = past.mysql_away(op)
            if until is not None:
                self.lands_until = max(self.lands_until or 0,
                                       until + past.faulty)

    # ---- expiry ----

    def set_expiry(self, past):
        """idle_from, absolute_from: from when on it may have expired."""
        clock = past.bounds["clock_ms"] * MS
        touch = past.bounds["touch_ms"] * MS
        self.absolute_from = self.born + self.life - clock
        idle = self.idle_least - clock
        since = self.born
        for op in self.ops:
            if op.res != "ok" or not is_activity(op):
                continue
            if op.end >= since + idle:
                break
            if not past.killed[op.gw].overlaps(op.begin, op.end + touch):
                since = max(since, op.begin)
        self.idle_from = since + idle
        self.idle_row_from = self.born + idle

    def may_be_expired(self, op):
        """A row alone does not know of the touches that are on their way."""
        idle = self.idle_from if op.tok is not None else self.idle_row_from
        return op.end >= idle or op.end >= self.absolute_from

    def may_expire_unlanded(self):
        """Its time may have been over before it landed: then it gets no row."""
        return (self.lands_until is not None and
                self.absolute_from <= self.lands_until)

    def is_surely_live(self, op):
        """Nothing may have ended it, and op's token is its current one."""
        if (self.acked is None or self.acked >= op.begin or
                self.may_be_expired(op) or self.may_have_ended(op.end)):
            return False
        following = self.tokens.next(op.tok)
        return op.tok in self.tokens.index and (
            following is None or self.tokens.made[following].begin > op.end)

    # ---- ends ----

    def add_end(self, end):
        self.ends.append(end)
        if end.is_sure:
            self.sure.append(end)
        first = self.earliest.get(end.reason)
        if first is None or end.begin < first:
            self.earliest[end.reason] = end.begin
        self.first_end = min(self.first_end, end.begin)

    def may_have_ended(self, at, reason=None):
        """Before that moment; for that reason, if one is given."""
        if reason is None:
            return self.first_end < at
        return self.earliest.get(reason, FOREVER) < at


def _own_ends(past, session):
    for op in session.ops:
        if op.res == "denied":
            continue
        if op.kind == "logout":
            # 200 also if it found nothing: whoever reads it is logged out.
            session.add_end(End(op, "logged_out", op.res == "ok"))
        elif op.kind == "end":
            reason = (op.args or {}).get("reason", "revoked")
            session.add_end(End(op, reason, op.res == "ok"))


def _user_ends(past, session, user):
    """Cleanup and block: of those that were acknowledged before, none is
    left; of those that were begun after, all; what ran beside it is open."""
    last = max(op.end for op in session.ops)
    over = FOREVER
    for op in user.cleanups_since(session.born):
        if op.begin > over:
            break
        args = op.args or {}
        if op.res == "denied" or args.get("keep") == session.handle:
            continue
        if op.res == "ok" and session.born > op.end:
            continue
        is_sure = (op.res == "ok" and session.acked is not None and
                   session.acked < op.begin)
        reason = ("blocked" if op.kind == "block" else
                  args.get("reason", "revoked"))
        session.add_end(End(op, reason, is_sure))
        if is_sure and op.begin > last:
            over = min(over, op.end)  # Nobody asks any more.
    if past.conf["max_sessions"]:
        for op in user.creates:
            if op.s != session.handle and op.res != "denied":
                session.add_end(End(op, "limit"))


def _thefts(past, session):
    """Tokens that were presented when their grace may have been over."""
    tokens = session.tokens
    if len(tokens.order) < 2:
        return
    for op in session.ops:
        if (op.tok in tokens.index and op.res != "ok" and is_activity(op) and
                tokens.may_be_late(op.tok, FOREVER if op.is_maybe
                                   else op.end)):
            session.add_end(End(op, "theft"))


def _seen_ends(session):
    """The first to be told of an end that somebody may have made."""
    told = set()
    for op in session.ops:
        if (op.res == "denied" and op.why in END_REASONS and
                op.why not in told and
                session.may_have_ended(op.end, op.why)):
            told.add(op.why)
            session.seen.append(End(op, op.why, is_seen=True))


def second_of(ref):
    """In ns; its second to fifth byte (lib/token.c)."""
    return int(ref[2:10], 16) * 1000 * MS


class World:
    """sessions by handle, users by name; refs: handles by ref."""

    def __init__(self, past):
        self.past = past
        self.sessions, self.users, self.refs = {}, {}, {}
        self.loose = []  # about no session that was ever made
        replacing = {}
        for op in past.ops:
            self._sort_in(op, replacing)
        for handle in list(self.sessions):
            session = self.sessions[handle]
            if not session.prepare(past):
                self.loose += [op for op in session.ops
                               if op.kind != "create"]
                del self.sessions[handle]
                continue
            if session.ref is not None:
                self.refs.setdefault(session.ref, []).append(handle)
            self._adopt(session)
            if session.user is not None:
                self.user(session.user).sessions.append(session)
        for user in self.users.values():
            user.prepare()
        for session in self.sessions.values():
            self._find_ends(session, replacing.get(session.handle, ()))
        self._adopt_nameless()

    def user(self, name):
        user = self.users.get(name)
        if user is None:
            user = self.users[name] = User(name)
        return user

    def _sort_in(self, op, replacing):
        args = op.args or {}
        if op.s is not None:
            session = self.sessions.get(op.s)
            if session is None:
                session = self.sessions[op.s] = Session(op.s)
            session.ops.append(op)
            if op.kind == "create":
                session.creates.append(op)
                if args.get("replaces"):
                    replacing.setdefault(args["replaces"], []).append(op)
        if op.kind == "create" and args.get("user"):
            self.user(args["user"]).creates.append(op)
        elif op.kind == "cleanup":
            self.user(args["user"]).cleanups.append(op)
        elif op.kind in ("block", "unblock"):
            user = self.user(args["user"])
            if op.kind == "block":
                user.blocks.append(op)
                user.cleanups.append(op)
            else:
                user.unblocks.append(op)
        elif op.kind == "list":
            self.user(args["user"]).lists.append(op)

    def _adopt(self, session):
        """The row of a create whose answer was lost tells its ref."""
        if session.ref is None:
            if not hasattr(self, "_handles"):
                self._handles = {row.get("handle"): ref for ref, row in
                                 self.past.rows.items() if row.get("handle")}
            session.ref = self._handles.get(session.handle)
            if session.ref is not None:
                self.refs.setdefault(session.ref, []).append(session.handle)

    def _adopt_nameless(self):
        """A session that was created without MySQL, and whose answer was lost,
        may have a placeholder that a cleanup made, and audit rows: they have
        its ref and its user, but not its handle. Of several it is one that
        something may have ended so, and of these the nearest."""
        owners = {ref: row.get("user") for ref, row in self.past.rows.items()
                  if not row.get("handle")}
        for event in self.past.audit:
            if event.get("ref") and event["ref"] not in self.past.rows:
                owners.setdefault(event["ref"], event.get("user"))
        for ref, name in sorted(owners.items()):
            user = self.users.get(name)
            if ref in self.refs or user is None:
                continue
            lost = [s for s in user.sessions if s.ref is None and
                    s.lands_until is not None]
            if lost:
                reason = self.past.rows.get(ref, {}).get("reason")
                at = self._moment_of(ref)
                session = min(lost, key=lambda s: (
                    reason is not None and reason not in s.earliest,
                    abs(at - s.born)))
                session.ref = ref
                self.refs[ref] = [session.handle]

    def _moment_of(self, ref):
        """A ref tells the second of its creation, of the database's clock. The
        difference to the clock of the history is that of all others."""
        if not hasattr(self, "_wall_offset"):
            offsets = sorted(second_of(s.ref) - s.made.begin for s in
                             self.sessions.values() if s.made and s.ref)
            self._wall_offset = offsets[len(offsets) // 2] if offsets else 0
        return second_of(ref) - self._wall_offset

    def _find_ends(self, session, replacing):
        past = self.past
        _own_ends(past, session)
        if session.user is not None:
            _user_ends(past, session, self.users[session.user])
        for op in replacing:
            if op.res != "denied":
                is_sure = op.res == "ok" and len(session.tokens.order) == 1
                session.add_end(End(op, "replaced", is_sure))
        _thefts(past, session)
        _seen_ends(session)
        session.set_expiry(past)
