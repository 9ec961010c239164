"""Rules 5 and 8, and what the rows say of rules 1, 3, 6 and 7: what MySQL, Redis
and the spools hold when everything is well again, against what was answered.
"""

import collections

from lives import END_REASONS, is_placeholder

# Changes of a session that raise its version and leave an audit row.
CHANGES = ("update", "rotate")
EXPIRED = ("expired_idle", "expired_absolute")
KINDS = ("create", "end", "cleanup", "block", "unblock") + CHANGES


class Ending:
    """Judges the dumps of a World. unsound: handles of sessions whose versions
    were found to be wrong: they are not counted with."""

    def __init__(self, world, found, unsound):
        self.world, self.past, self.found = world, world.past, found
        self.unsound = unsound
        self.told_ends = set()  # refs whose end or life was told already
        self.by_ref = {}
        for session in world.sessions.values():
            if session.ref is not None:
                self.by_ref.setdefault(session.ref, session)

    def run(self):
        if not self.past.has_dumps:
            return
        for ref in self.past.twice:
            self.found(8, "MySQL has two rows of session %s" % ref, [])
        for session in self.by_ref.values():
            self.row(session)
        self.audit()
        self.copies()
        self.stores()

    # ---- rows against answers ----

    def row(self, session):
        row = self.past.rows.get(session.ref)
        if row is None:
            if session.acked is not None and not (
                    session.may_expire_unlanded()):
                self.found(8, "%s was acknowledged and has no row in the end" %
                           session.handle, [session.made])
            return
        user = row.get("user") or None
        if user != session.user and (
                user is not None or not is_placeholder(session, row)):
            self.found(4, "the row of %s names %r; the session is of %r" % (
                session.handle, row.get("user"), session.user),
                [op for op in [session.made] if op])
        if row["state"] == "live":
            self.still_live(session)
        else:
            self.ended(session, row)

    def still_live(self, session):
        """Who logs out of what is over by then is told so, and nothing ends;
        its row is swept some time."""
        sure = [end.op for end in session.sure
                if end.end < session.absolute_from]
        if not sure:
            return
        end = sure[0]
        self.told_ends.add(session.ref)
        if end.kind in ("cleanup", "block"):
            self.found(7, "%s was there before a %s began, which was "
                       "acknowledged, and its row is live in the end" % (
                           session.handle, end.kind), [session.made, end])
        else:
            self.found(3, "the end of %s was acknowledged and its row is live "
                       "in the end" % session.handle, [end])

    def ended(self, session, row):
        reason = row.get("reason")
        if reason in EXPIRED:
            since = (session.absolute_from if reason == "expired_absolute"
                     else session.idle_from)
            if since <= self.past.tail["at"]:
                return
            self.told_ends.add(session.ref)
            self.found(3, "the row of %s has ended (%s) before it could have "
                       "expired" % (session.handle, reason),
                       [op for op in [session.made] if op])
        elif reason not in END_REASONS or reason not in session.earliest:
            self.told_ends.add(session.ref)
            self.ended_by_nobody(session, reason)

    def ended_by_nobody(self, session, reason):
        shown = [op for op in [session.made] if op]
        if reason == "theft":
            self.found(6, "the row of %s has ended as stolen although no token "
                       "of it was presented out of its grace" %
                       session.handle, shown)
            return
        kept = [op for op in self.cleanups(session)
                if (op.args or {}).get("keep") == session.handle or
                (op.res == "ok" and op.end < session.born)]
        if reason in ("revoked", "blocked") and kept:
            self.found(7, "the row of %s has ended (%s): a cleanup should have "
                       "left it alone" % (session.handle, reason),
                       shown + kept[:1])
            return
        self.found(1, "the row of %s has ended (%s), and nothing that the "
                   "history knows ended it" % (session.handle, reason), shown)

    def cleanups(self, session):
        if session.user is None:
            return ()
        return self.world.users[session.user].cleanups

    # ---- rule 5 ----

    def audit(self):
        counts = collections.Counter()
        reasons, users = {}, {}
        for event in self.past.audit:
            kind, ref = event["kind"], event.get("ref")
            if kind not in KINDS:
                self.found(5, "an audit row of kind %r, which nobody caused" %
                           kind, [])
            elif kind in ("cleanup", "block", "unblock"):
                key = event.get("user"), kind
                if not (event.get("detail") or "").startswith("continued"):
                    users[key] = users.get(key, 0) + 1
            elif ref not in self.by_ref:
                self.found(5, "an audit row %r of session %s, which nobody "
                           "made" % (kind, ref), [])
            else:
                self.event(event, counts, reasons)
        for session in self.by_ref.values():
            self.session(session, counts, reasons.get(session.ref, []))
        self.user_events(users)
        self.cleanup_counts()

    def event(self, event, counts, reasons):
        session = self.by_ref[event["ref"]]
        row = self.past.rows.get(session.ref)
        if (event.get("user") or None) != session.user and not (
                event["kind"] == "end" and not event.get("user") and
                row is not None and is_placeholder(session, row)):
            self.found(5, "the audit row %r of %s names %r; the session is of "
                       "%r" % (event["kind"], session.handle,
                               event.get("user"), session.user), [])
        counts[session.ref, event["kind"]] += 1
        if event["kind"] == "end":
            reasons.setdefault(session.ref, []).append(event.get("reason"))

    def session(self, session, counts, reasons):
        self.creations(session, counts[session.ref, "create"])
        self.updates(session, counts[session.ref, "update"])
        self.rotations(session, counts[session.ref, "rotate"])
        self.ends(session, reasons)
        row = self.past.rows.get(session.ref)
        if (row is None or session.ref in self.told_ends or
                session.handle in self.unsound):
            return
        changes = (counts[session.ref, "update"] +
                   counts[session.ref, "rotate"] + (row["state"] != "live"))
        if row["version"] != 1 + changes:
            self.count(session, "changes, going by the version %d of its row" %
                       row["version"], changes, row["version"] - 1,
                       row["version"] - 1, [])

    def count(self, session, what, there, least, most, ops):
        """True if it is right; else it is told."""
        if least <= there <= most:
            return True
        wanted = str(least) if least == most else "%d to %d" % (least, most)
        self.found(5, "%s has %d audit rows of %s; %s should be there" % (
            session.handle, there, what, wanted), ops[:3])
        return False

    def creations(self, session, there):
        row = self.past.rows.get(session.ref)
        least = 1 if session.acked is not None or (
            row is not None and not is_placeholder(session, row)) else 0
        self.count(session, "its creation", there, least, 1, session.creates)

    def updates(self, session, there):
        acked, maybe = [], []
        for op in session.ops:
            if op.kind != "update" or not op.args or not (
                    set(op.args) - {"if_version"}):
                continue
            if op.res == "ok":
                acked.append(op)
            elif op.is_maybe or (op.res == "denied" and op.why != "version"):
                maybe.append(op)
        self.count(session, "updates", there, len(acked),
                   len(acked) + len(maybe), acked + maybe)

    def rotations(self, session, there):
        """A rotation made a token; an answer in the grace made none."""
        asked = [op for ops in session.tokens.rotates.values() for op in ops]
        least = max(0, len(session.tokens.order) - 1)
        most = least + sum(op.is_maybe for op in asked) + sum(
            op.kind == "rotate" and op.res == "denied" for op in session.ops)
        if session.made is None:
            most = len(asked)  # Its first token is not known.
        self.count(session, "rotations", there, least, most, asked)

    def ends(self, session, reasons):
        """One for the end; one more for each end that went through a spool,
        for its frame leaves its row whatever became of the session."""
        if session.ref in self.told_ends:
            return
        row = self.past.rows.get(session.ref)
        candidates = session.ends
        least = 1 if row is not None and row["state"] != "live" else 0
        spooled = sum(1 for end in candidates if end.op.kind in (
            "logout", "end") and self.past.mysql_windows.overlaps(
                end.begin, self.past.settled(end.op)))
        others = len(candidates) - (row is not None) + any(
            r in EXPIRED for r in reasons)
        most = least + min(spooled, max(0, others))
        ops = [end.op for end in candidates]
        if not self.count(session, "its end", len(reasons), least, most, ops):
            return
        there = collections.Counter(reasons)
        may = collections.Counter(end.reason for end in candidates)
        for reason, number in there.items():
            if reason in EXPIRED:
                may[reason] = 1
            if number > may[reason]:
                self.found(5, "%s has %d audit rows of an end for the reason "
                           "%r; %d should be there at most" % (
                               session.handle, number, reason, may[reason]),
                           ops[:3])
                return
        if least and row.get("reason") not in there:
            self.found(5, "%s has ended for the reason %r; its audit rows say "
                       "%s" % (session.handle, row.get("reason"),
                               ", ".join(map(repr, there))), ops[:3])

    def user_events(self, there):
        asked = {}
        for op in self.past.ops:
            if op.kind in ("cleanup", "block", "unblock"):
                ops = asked.setdefault((op.args["user"], op.kind), [])
                if op.res != "denied":
                    ops.append(op)
        for key in sorted(set(there) | set(asked), key=str):
            user, kind = key
            ops, number = asked.get(key, []), there.get(key, 0)
            least = 0 if kind == "unblock" else sum(
                op.res == "ok" for op in ops)
            if not least <= number <= len(ops):
                self.found(5, "%r has %d audit rows of a %s; %d to %d should be "
                           "there" % (user, number, kind, least, len(ops)),
                           ops[:3])

    def cleanup_counts(self):
        """What cleanups said that they ended, against the rows that say so.
        An end that was asked for beside them may have the same reason."""
        for user in self.world.users.values():
            for kind, default in (("cleanup", "revoked"), ("block", "blocked")):
                ops = [op for op in user.cleanups if op.kind == kind]
                for reason in {(op.args or {}).get("reason", default)
                               for op in ops}:
                    self.cleanup_count(user, reason, [
                        op for op in user.cleanups if op.res != "denied" and (
                            op.args or {}).get("reason", (
                                "blocked" if op.kind == "block" else "revoked"))
                        == reason])

    def cleanup_count(self, user, reason, ops):
        if not ops or any("ended" not in (op.out or {}) for op in ops
                          if op.res == "ok"):
            return
        said = sum(op.out["ended"] for op in ops if op.res == "ok")
        most = least = 0
        for session in user.sessions:
            row = self.past.rows.get(session.ref)
            if session.ref in self.told_ends:
                return
            if row is None or row["state"] == "live" or (
                    row.get("reason") != reason):
                continue
            most += 1
            if not any(end.reason == reason and end.op not in ops
                       for end in session.ends):
                least += 1
        if any(op.res != "ok" for op in ops):
            least = 0
        if not least <= said <= most:
            self.found(7, "the cleanups of %r say that they ended %d sessions; "
                       "%d to %d rows have ended so (%s)" % (
                           user.name, said, least, most, reason), ops[:3])

    # ---- rule 8 ----

    def copies(self):
        for ref, copy in self.past.copies.items():
            row = self.past.rows.get(ref)
            session = self.by_ref.get(ref)
            name = session.handle if session is not None else ref
            if copy["state"] == "T":
                if row is not None and row["state"] == "live" and (
                        ref not in self.told_ends):
                    self.found(8, "Redis has a tombstone of %s, and its row is "
                               "live" % name, [])
            elif copy.get("trusted", True):
                self.copy(name, copy, row)

    def copy(self, name, copy, row):
        if row is None:
            self.found(8, "Redis has a copy of %s, and MySQL no row" % name, [])
        elif row["state"] != "live":
            self.found(8, "Redis has a live copy of %s, which has ended" % name,
                       [])
        elif copy["state"] == "U":
            self.found(8, "Redis holds that MySQL does not know %s yet, and it "
                       "does" % name, [])
        elif copy["version"] != row["version"]:
            self.found(8, "the copy of %s has version %d, its row %d" % (
                name, copy["version"], row["version"]), [])
        else:
            for member in ("user", "context", "roles", "data"):
                if member in copy and member in row and (
                        (copy[member] or None) != (row[member] or None)):
                    self.found(8, "the copy of %s has %s = %r, its row %r" % (
                        name, member, copy[member], row[member]), [])
                    return

    def stores(self):
        for group in self.past.groups:
            if group.get("sync") != group["seq"]:
                self.found(8, "group %d: sync is %s in Redis, the counter in "
                           "MySQL is %d" % (group["grp"], group.get("sync"),
                                            group["seq"]), [])
            elif group.get("sync_epoch") != group.get("epoch"):
                self.found(8, "group %d: sync has epoch %s, MySQL has %s" % (
                    group["grp"], group.get("sync_epoch"),
                    group.get("epoch")), [])
        for spool in self.past.spools:
            for what in ("unshipped", "damaged"):
                if spool.get(what):
                    self.found(8, "the spool of gateway %s has %d %s" % (
                        spool["gw"], spool[what],
                        "frames that a store has not got"
                        if what == "unshipped" else "damaged bytes"), [])
