"""Whether what several clients saw at once could have happened one by one.

    h = History()
    with h.call("create") as op:         # from any thread
        op.value, op.result = "r1", True
    h.check(UserSessions)                # raises NotLinearizable

Each call has a moment when it began and one when it was answered; somewhere in
between it happened at once. check() looks for an order of all calls in which
each gives what it gave, by going through time with the set of all states that
are possible (Lowe's just-in-time linearization). A call whose outcome nobody
knows (op.is_known = False) may have happened at any time after it began, or
never.
"""

import contextlib
import threading
import time


class NotLinearizable(AssertionError):
    pass


class Op:
    def __init__(self, kind, value=None, result=None, begin=0.0, end=0.0,
                 is_known=True):
        self.kind, self.value, self.result = kind, value, result
        self.begin, self.end, self.is_known = begin, end, is_known

    def __repr__(self):
        return "%s(%s) = %r [%.6f, %.6f]%s" % (
            self.kind, self.value, self.result, self.begin, self.end,
            "" if self.is_known else " unknown")


class History:
    def __init__(self, ops=()):
        self.ops = list(ops)
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def call(self, kind, value=None):
        """What raises is left out of the history and passed on."""
        op = Op(kind, value, begin=time.monotonic())
        yield op
        op.end = time.monotonic()
        with self.lock:
            self.ops.append(op)

    def events(self):
        """(moment, 0 for a call and 1 for an answer, op), in order."""
        found = []
        for op in self.ops:
            found.append((op.begin, 0, id(op), op))
            if op.is_known:
                found.append((op.end, 1, id(op), op))
        return [(is_answer, op) for _, is_answer, _, op in sorted(found)]

    def check(self, model):
        """How many states were possible at most."""
        possible = {(model.START, frozenset())}
        pending = set()
        most = 1
        for is_answer, op in self.events():
            if not is_answer:
                pending.add(op)
                continue
            reached = self._until(op, possible, pending, model)
            if not reached:
                raise NotLinearizable(
                    "%r fits no order; possible before it: %s; under way: %s" %
                    (op, [sorted(s) for s, _ in list(possible)[:5]],
                     sorted(pending, key=lambda o: o.begin)))
            pending.discard(op)
            possible = reached
            most = max(most, len(possible))
        return most

    @staticmethod
    def _until(op, possible, pending, model):
        """The states in which op has happened; done: ops that have happened
        and are not answered yet."""
        reached, seen, todo = set(), set(possible), list(possible)
        while todo:
            state, done = todo.pop()
            if op in done:
                reached.add((state, done - {op}))
                continue
            for other in pending - done:
                after = model.step(state, other)
                if after is not None:
                    new = (after, done | {other})
                    if new not in seen:
                        seen.add(new)
                        todo.append(new)
        return reached


class UserSessions:
    """The live sessions of one user, by their refs.

    create: value the ref. cleanup: value the ref that stays or None, result
    how many ended. end: value the ref. sessions: result the refs. lives: value
    a ref, result whether.
    """

    START = frozenset()

    @staticmethod
    def step(state, op):
        """The state after op, None if it could not have given its result."""
        if op.kind == "create":
            return state | {op.value}
        if op.kind == "cleanup":
            kept = state & {op.value}
            is_right = op.result == len(state) - len(kept)
            return kept if is_right or not op.is_known else None
        if op.kind == "end":
            return state - {op.value}
        if op.kind == "sessions":
            return state if frozenset(op.result) == state else None
        if op.kind == "lives":
            return state if (op.value in state) == op.result else None
        raise ValueError(op.kind)
