"""Histories of a system that keeps its promises: a small simulation of gateways,
stores and faults in a time of its own, from a seed.

Writes happen at one moment between question and answer; reads show what was
true a while before they are answered, within the bounds. Questions to a gateway
that a fault touches may be answered 503 or not at all, and happen, or happen
later, or not.

What is created without MySQL lands there when the fault is over, or when a
gateway that has MySQL changes it. What has ended by then leaves a placeholder,
what has expired no row at all.
"""

import copy
import hashlib
import heapq
import json
import random

S = 1000000000
MS = 1000000
START = 1000 * S
CONF = {"idle_ms": 600000, "absolute_ms": 3600000, "rotate_grace_ms": 4000,
        "max_blind_ms": 300000, "max_sessions": 0,
        "create_without_mysql": True}
FAULTS = (("redis-kill", "redis", ["redis"], None, "",),
          ("redis-old-rdb", "redis", ["redis"], None, ""),
          ("mysql-stop", "mysql", ["mysql"], None, ""),
          ("mysql-promotion", "mysql", ["mysql"], None, ""),
          ("partition", "redis of one", ["redis"], 1, ""),
          ("partition", "mysql of one", ["mysql"], 1, ""),
          ("worker-kill", "worker", [], 1, "worker"),
          ("keeper-kill", "keeper", [], 1, "keeper"))


def fingerprint(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Truth:
    """A session as MySQL has it; past: (moment, copy) of each state."""

    def __init__(self, handle, ref, user, at, args):
        self.handle, self.ref, self.user = handle, ref, user
        self.state, self.reason, self.version = "live", None, 1
        self.context = args.get("context", "")
        self.roles = args.get("roles", [])
        self.data = dict(args.get("data", {}))
        self.tokens = [fingerprint("%s 0" % ref)]
        self.rotated, self.used = None, None
        self.created = self.seen = at
        self.has_landed, self.is_placeholder = True, False
        self.idle = args.get("idle_ms", CONF["idle_ms"]) * MS
        life = args.get("absolute_ms", CONF["absolute_ms"]) * MS
        if user is None:
            life = min(life, self.idle)
        self.absolute = at + life
        self.past = []

    def note(self, at):
        kept = copy.copy(self)
        kept.data, kept.tokens = dict(self.data), list(self.tokens)
        kept.past = None
        self.past.append((at, kept))

    def as_of(self, at):
        found = self.past[0][1]
        for moment, kept in self.past:
            if moment > at:
                break
            found = kept
        return found

    def expiry(self, now, late):
        if now > self.absolute + min(late, 0.9 * S):
            return "expired_absolute"
        if now > self.seen + self.idle + self.idle // 10 + late:
            return "expired_idle"
        return None

    def in_grace(self, now):
        grace = CONF["rotate_grace_ms"] * MS
        return self.rotated is not None and (
            now <= self.rotated + grace or self.used is None or
            now <= self.used + grace)


class Client:
    """What one client knows of its sessions."""

    def __init__(self, number, is_helper=False):
        self.number, self.is_helper = number, is_helper
        self.handles = []   # of those that it was given a token for
        self.tokens = {}    # handle: the newest; old: those before
        self.old = {}
        self.refs, self.versions, self.keys = {}, {}, {}


class Simulation:
    def __init__(self, seed, seconds=120, clients=6, mode="single",
                 has_faults=True, pace=1.0):
        self.rng = random.Random(seed)
        self.mode, self.pace = mode, pace
        self.until = START + seconds * S
        self.lines = [{"t": "head", "format": 1, "seed": seed, "mode": mode,
                       "gateways": 3, "conf": CONF}]
        self.queue, self.count, self.ids, self.handles = [], 0, 0, 0
        self.truths, self.by_handle = {}, {}
        self.audit, self.users = [], ["u%d" % i for i in range(8)]
        self.blocked = set()
        self.made = {}  # idempotency keys: handle
        self.faults = []
        if has_faults:
            self.plan_faults()
        self.clients = [Client(n) for n in range(clients)]
        for client in self.clients:
            self.at(START + self.rng.randrange(S), self.turn, client)

    def run(self):
        while self.queue:
            now, _, what, args = heapq.heappop(self.queue)
            what(now, *args)
        self.dump()
        return self.lines

    def at(self, moment, what, *args):
        self.count += 1
        heapq.heappush(self.queue, (int(moment), self.count, what, args))

    # ---- faults ----

    def plan_faults(self):
        at = START + 8 * S
        number = 0
        while at < self.until - 12 * S:
            kind, target, stores, hosts, process = self.rng.choice(FAULTS)
            number += 1
            end = at + int(self.rng.uniform(2, 8) * S)
            recovered = end + int(self.rng.uniform(0.2, 2.5) * S)
            hosts = ([0, 1, 2] if hosts is None
                     else [self.rng.randrange(3)])
            for event, moment in (("begin", at), ("end", end),
                                  ("recovered", recovered)):
                self.lines.append({
                    "t": "fault", "id": number, "kind": kind, "event": event,
                    "target": target, "at": moment, "stores": stores,
                    "hosts": hosts, "process": process})
            self.faults.append((at, recovered, hosts, stores))
            gap = 1 if self.mode == "overlap" else 6
            at = (at if self.mode == "overlap" else recovered) + int(
                self.rng.uniform(gap, 2.5 * gap) * S)

    def fault(self, gw, at, store=None):
        return any(begin <= at <= end and gw in hosts and
                   (store is None or store in stores)
                   for begin, end, hosts, stores in self.faults)

    def over_by(self, gw, at):
        """When the last fault of MySQL that the gateway has then is over."""
        return max(end for begin, end, hosts, stores in self.faults
                   if begin <= at <= end and gw in hosts and "mysql" in stores)

    def is_away(self, gw, at):
        """Without MySQL, and with Redis."""
        return self.fault(gw, at, "mysql") and not self.fault(gw, at, "redis")

    def is_broken(self, at):
        return any(begin <= at <= end for begin, end, _, _ in self.faults)

    # ---- clients ----

    def turn(self, now, client):
        if now >= self.until or client.is_helper:
            return
        rng = self.rng
        kind = rng.choices(
            ("create", "check", "get", "show", "introspect", "extend",
             "update", "rotate", "logout", "end", "cleanup", "list", "old",
             "repeat", "others", "block"),
            (12, 60, 12, 8, 6, 3, 14, 5, 3, 2, 1.5, 1.5, 1, 2, 6, 0.2))[0]
        if not client.handles and kind not in ("create", "list"):
            kind = "create"
        getattr(self, "ask_" + kind)(now, client)

    def send(self, now, client, kind, s=None, tok=None, args=None,
             gw=None, then=None):
        """One question: its effect, its answer, the client's next turn."""
        rng = self.rng
        gw = rng.randrange(3) if gw is None else gw
        end = now + int(rng.choice((0.002, 0.004, 0.01, 0.2)) * S *
                        rng.uniform(0.5, 1.5))
        effect = rng.randrange(now, end + 1)
        self.ids += 1
        op = {"t": "op", "id": self.ids, "client": client.number, "gw": gw,
              "kind": kind, "at": [now, end]}
        if s is not None:
            op["s"] = s
        if tok is not None:
            op["tok"] = tok
        if args:
            op["args"] = args
        self.lines.append(op)
        lost = None
        if self.fault(gw, effect) and rng.random() < 0.25:
            lost = rng.choice(("unavailable", "unknown"))
        if lost is None:
            self.at(effect, self.happen, op, client)
        else:
            op["res"] = lost
            if rng.random() < 0.6:
                late = rng.choice((0, 0, 0.5, 3)) * S
                self.at(effect + late, self.happen_unheard, op)
        think = int(rng.expovariate(1 / (0.12 / self.pace)) * S) + 1
        if then is not None:
            self.at(end, then, op, client)
        self.at(end + think, self.turn, client)

    def happen(self, now, op, client):
        res, why, out = getattr(self, "do_" + op["kind"])(now, op)
        op["res"] = res
        if why is not None:
            op["why"] = why
        if out is not None:
            op["out"] = out
        self.learn(op, client)

    def happen_unheard(self, now, op):
        getattr(self, "do_" + op["kind"])(now, op)

    def learn(self, op, client):
        out, s = op.get("out", {}), op.get("s")
        if op["res"] != "ok" or s is None:
            return
        if op["kind"] == "create" and s not in client.handles:
            client.handles.append(s)
            client.old[s] = []
        if "version" in out:
            client.versions[s] = out["version"]
        if "ref" in out:
            client.refs[s] = out["ref"]
        token = out.get("tok")
        if token is not None and s in client.old and (
                token != client.tokens.get(s)):
            if s in client.tokens:
                client.old[s].append(client.tokens[s])
            client.tokens[s] = token

    def pick(self, client):
        """Mostly one of the latest."""
        some = client.handles[-6:] if self.rng.random() < 0.9 else (
            client.handles)
        return self.rng.choice(some)

    def ask_create(self, now, client):
        rng = self.rng
        self.handles += 1
        handle = "h%d" % self.handles
        args = {"user": rng.choice(self.users), "context": "c0",
                "roles": ["r0"], "data": {"m%d" % client.number: 0, "who": 1}}
        if rng.random() < 0.12:
            args["idle_ms"] = 9000
        elif rng.random() < 0.12:
            args["absolute_ms"] = rng.choice((4000, 12000))
        elif rng.random() < 0.1:
            args["user"] = None
        elif rng.random() < 0.2 and client.handles:
            other = rng.choice(client.handles)
            if self.by_handle[other].user is None:
                args["replaces"] = other
        if rng.random() < 0.4:
            args["key"] = "key-%s" % handle
        self.send(now, client, "create", handle, args=args,
                  then=self.again if "key" in args else None)

    def again(self, now, op, client):
        """A create without an answer is sent again with its key."""
        if op["res"] in ("unknown", "unavailable") and self.rng.random() < 0.8:
            self.send(now + 1, Client(100 + self.ids, True), "create", op["s"],
                      args=op["args"])

    def ask_repeat(self, now, client):
        keyed = [h for h in client.handles
                 if self.by_handle[h].args.get("key")]
        if not keyed:
            return self.ask_check(now, client)
        handle = self.rng.choice(keyed)
        self.send(now, client, "create", handle,
                  args=self.by_handle[handle].args)

    def by_token(kind):
        def ask(self, now, client):
            handle = self.pick(client)
            self.send(now, client, kind, handle, client.tokens[handle])
        return ask

    ask_check, ask_get = by_token("check"), by_token("get")
    ask_introspect, ask_extend = by_token("introspect"), by_token("extend")
    ask_rotate, ask_logout = by_token("rotate"), by_token("logout")

    def ask_old(self, now, client):
        """An old token: rarely, for it is a theft."""
        handle = self.pick(client)
        old = client.old[handle]
        token = self.rng.choice(old) if old else client.tokens[handle]
        self.send(now, client, "check", handle, token)

    def ask_show(self, now, client):
        self.send(now, client, "show", self.pick(client))

    def ask_end(self, now, client):
        self.send(now, client, "end", self.pick(client),
                  args={"reason": "revoked"})

    def ask_update(self, now, client):
        rng, handle = self.rng, self.pick(client)
        self.ids += 1
        args = rng.choice((
            {"data": {"m%d" % client.number: self.ids}},
            {"data": {"m%d" % client.number: self.ids}},
            {"context": "c%d" % self.ids}, {"roles": ["r%d" % self.ids]}))
        if rng.random() < 0.3 and handle in client.versions:
            args = dict(args, if_version=client.versions[handle])
        self.send(now, client, "update", handle, args=args)

    def ask_others(self, now, client):
        """Another client's session, which everybody may change."""
        known = [h for c in self.clients for h in c.handles[-2:]]
        handle = self.rng.choice(known)
        self.ids += 1
        self.send(now, client, "update", handle,
                  args={"data": {"m%d" % client.number: self.ids}})

    def ask_cleanup(self, now, client):
        args = {"user": self.rng.choice(self.users), "reason": "revoked"}
        own = [h for h in client.handles
               if self.by_handle[h].user == args["user"]]
        if own and self.rng.random() < 0.6:
            args["keep"] = own[-1]
        self.send(now, client, "cleanup", args=args)

    def ask_list(self, now, client):
        self.send(now, client, "list", args={
            "user": self.rng.choice(self.users)})

    def ask_block(self, now, client):
        user = self.rng.choice(self.users)
        kind = "unblock" if user in self.blocked else "block"
        self.send(now, client, kind, args={"user": user})

    # ---- what happens ----

    def log(self, kind, ref=None, user=None, reason=None, detail=None):
        self.audit.append({
            "t": "audit", "event_id": "%032x" % len(self.audit), "kind": kind,
            "reason": reason, "ref": ref, "user": user, "detail": detail})

    def lag(self, op, now):
        """How old an answer is: seldom much, never more than it may be."""
        rng = self.rng
        begin = op["at"][0]
        most = 1.9 if self.is_broken(begin) else 0.95
        lag = rng.choice((0, 0, 0, 0.01, 0.3, most)) * rng.random()
        return begin - int(lag * S) if lag else now

    def do_create(self, now, op):
        args, handle = op["args"], op["s"]
        user = args["user"]
        truth = self.by_handle.get(handle)
        if truth is not None:
            if (truth.state != "live" or len(truth.tokens) > 1 or
                    truth.expiry(now, 0)):
                return "denied", "idempotency_used", None
            return "ok", None, dict(self.shown(truth), tok=truth.tokens[0])
        if user in self.blocked:
            return "denied", "blocked", None
        name = fingerprint(handle) + fingerprint(handle + "'")
        ref = "%s%08x%s" % (name[:2], now // S, name[2:16])
        truth = Truth(handle, ref, user, now, args)
        truth.args = args
        truth.late = self.rng.choice((0, 0, 0.5, 4)) * S
        self.truths[ref] = self.by_handle[handle] = truth
        self.log("create", ref, user)
        truth.note(now)
        if not args.get("key") and self.is_away(op["gw"], now):
            truth.has_landed = False
            self.at(self.rng.randint(now, self.over_by(op["gw"], now)),
                    self.land, truth)
        if args.get("replaces"):
            self.finish(now, self.by_handle[args["replaces"]], "replaced")
        return "ok", None, dict(self.shown(truth), tok=truth.tokens[0])

    @staticmethod
    def land(now, truth):
        """What has ended has a row already; what has expired gets none."""
        if truth.state != "live":
            return
        if now > truth.absolute:
            truth.state, truth.reason = "gone", "expired_absolute"
        truth.has_landed = truth.state == "live"

    def is_unlanded(self, now, op):
        """A gateway that has MySQL would bring it there."""
        truth = self.by_handle[op["s"]]
        if not truth.has_landed and not self.fault(op["gw"], now, "mysql"):
            self.land(now, truth)
        return truth.state == "live" and not truth.has_landed

    def finish(self, now, truth, reason):
        """Its end; False if it had ended."""
        if truth.state != "live":
            return False
        if not truth.has_landed:
            if reason.startswith("expired"):
                return False
            truth.is_placeholder = True
        truth.state, truth.reason = "ended", reason
        truth.version += 1
        truth.data = {}
        self.log("end", truth.ref, truth.user, reason)
        truth.note(now)
        return True

    @staticmethod
    def shown(view):
        return {"ref": view.ref, "user": view.user, "version": view.version,
                "context": view.context, "roles": list(view.roles),
                "data": dict(view.data)}

    def look(self, now, op, is_activity=True):
        """(view, why): a view of it, or why it is refused."""
        truth = self.by_handle[op["s"]]
        view = truth.as_of(self.lag(op, now))
        token = op.get("tok")
        if view.state != "live":
            return None, view.reason
        why = truth.expiry(now, truth.late)
        if why is not None:
            self.finish(now, truth, why)
            return None, why
        if token is not None and token != view.tokens[-1] and not (
                len(view.tokens) > 1 and token == view.tokens[-2] and
                truth.in_grace(now)):
            view = truth.as_of(now)
            if view.state != "live":
                return None, view.reason
        if token is not None and token != view.tokens[-1]:
            if not (len(view.tokens) > 1 and token == view.tokens[-2] and
                    truth.in_grace(now)):
                if token == truth.tokens[-1]:
                    return self.live(now, truth, truth.as_of(now), token)
                self.finish(now, truth, "theft")
                return None, "theft"
        if not is_activity:
            return view, None
        return self.live(now, truth, view, token)

    def live(self, now, truth, view, token):
        if now - truth.seen >= truth.idle // 10:
            truth.seen = now
        if (token == truth.tokens[-1] and truth.rotated is not None and
                truth.used is None):
            truth.used = now + int(self.rng.choice((0, 1, 4)) * S)
        return view, None

    def do_check(self, now, op):
        view, why = self.look(now, op)
        if view is None:
            return "denied", why, None
        out = self.shown(view)
        out["exports"] = {k: str(v) for k, v in out.pop("data").items()}
        del out["version"]
        return "ok", None, self.with_cookie(out, view, op)

    @staticmethod
    def with_cookie(out, view, op):
        if op.get("tok") is not None and op["tok"] != view.tokens[-1] and (
                op["tok"] in view.tokens):
            out["tok"] = view.tokens[view.tokens.index(op["tok"]) + 1]
        return out

    def do_get(self, now, op):
        view, why = self.look(now, op)
        if view is None:
            return "denied", why, None
        return "ok", None, self.with_cookie(self.shown(view), view, op)

    do_extend = do_get

    def do_introspect(self, now, op):
        view, why = self.look(now, op)
        if view is None:
            return "denied", "inactive", None
        out = self.shown(view)
        del out["version"], out["data"]
        return "ok", None, self.with_cookie(out, view, op)

    def do_show(self, now, op):
        truth = self.by_handle[op["s"]]
        if truth.state != "live" or truth.expiry(now, 0):
            return "denied", "not_found", None
        return "ok", None, self.shown(truth)

    def do_update(self, now, op):
        truth, args = self.by_handle[op["s"]], op["args"]
        if self.is_unlanded(now, op):
            return self.no_row(now, op)
        if truth.state != "live" or truth.expiry(now, 0):
            return "denied", "not_found", None
        if args.get("if_version", truth.version) != truth.version:
            return "denied", "version", None
        truth.data.update(args.get("data", {}))
        truth.context = args.get("context", truth.context)
        truth.roles = args.get("roles", truth.roles)
        truth.version += 1
        self.log("update", truth.ref, truth.user)
        truth.note(now)
        return "ok", None, self.shown(truth)

    def no_row(self, now, op):
        """There will be one, or its time is over."""
        why = self.by_handle[op["s"]].expiry(now, 0)
        if why is not None:
            return "denied", why, None
        return "unavailable", None, None

    def do_rotate(self, now, op):
        truth = self.by_handle[op["s"]]
        if self.is_unlanded(now, op):
            return self.no_row(now, op)
        view, why = self.look(now, op)
        if view is None:
            return "denied", why, None
        if truth.state != "live":
            return "denied", truth.reason, None
        if op["tok"] == truth.tokens[-1] and not (
                len(truth.tokens) > 1 and truth.in_grace(now)):
            truth.tokens.append(fingerprint("%s %d" % (
                truth.ref, len(truth.tokens))))
            truth.rotated, truth.used = now, None
            truth.version += 1
            self.log("rotate", truth.ref, truth.user)
            truth.note(now)
        i = truth.tokens.index(op["tok"])
        after = truth.tokens[min(i + 1, len(truth.tokens) - 1)]
        return "ok", None, dict(self.shown(truth), tok=after)

    def do_logout(self, now, op):
        return self.end_one(now, op, "logged_out", {"ended": 1})

    def do_end(self, now, op):
        return self.end_one(now, op, op["args"]["reason"], None)

    def end_one(self, now, op, reason, out):
        truth = self.by_handle[op["s"]]
        if not self.finish(now, truth, reason) and (
                self.fault(op["gw"], now, "mysql") and
                self.rng.random() < 0.5):
            self.log("end", truth.ref, truth.user, reason)
        return "ok", None, out

    def do_cleanup(self, now, op, reason="revoked"):
        args = op["args"]
        ended = sum([self.finish(now, t, reason)
                     for t in self.truths.values() if t.user == args["user"] and
                     t.handle != args.get("keep")])
        self.log("cleanup" if reason == "revoked" else "block",
                 user=args["user"], reason=reason)
        return "ok", None, {"ended": ended}

    def do_block(self, now, op):
        self.blocked.add(op["args"]["user"])
        return self.do_cleanup(now, op, "blocked")

    def do_unblock(self, now, op):
        if op["args"]["user"] in self.blocked:
            self.blocked.discard(op["args"]["user"])
            self.log("unblock", user=op["args"]["user"])
        return "ok", None, {}

    def do_list(self, now, op):
        refs = [t.ref for t in self.truths.values()
                if t.user == op["args"]["user"] and t.state == "live" and
                t.has_landed and not t.expiry(now, 0)]
        return "ok", None, {"refs": refs[-100:]}

    # ---- the end ----

    def dump(self):
        rng, end = self.rng, self.until + 20 * S
        groups = {}
        for truth in self.truths.values():
            if truth.state == "gone":
                continue
            why = truth.expiry(end - 12 * S, 0)
            if truth.state == "live" and why:
                self.finish(end, truth, why)
            group = int(truth.ref[:2], 16) % 16
            groups[group] = max(groups.get(group, 0), truth.version)
            row = dict(self.shown(truth), t="row", handle=truth.handle,
                       state=truth.state, reason=truth.reason, grp=group,
                       seq=truth.version)
            if truth.is_placeholder:
                row.update(handle="", context="", roles=[])
            self.lines.append(row)
            if rng.random() < 0.9:
                held = {"t": "copy", "ref": truth.ref, "state": "T", "epoch": 1,
                        "version": truth.version, "trusted": True}
                if truth.state == "live":
                    held.update(self.shown(truth), state="L")
                self.lines.append(held)
        self.lines += self.audit
        for group in range(16):
            self.lines.append({
                "t": "group", "grp": group, "seq": groups.get(group, 0),
                "sync": groups.get(group, 0), "epoch": 1, "sync_epoch": 1})
        for gw in range(3):
            self.lines.append({"t": "spool", "gw": gw, "unshipped": 0,
                               "damaged": 0})
        self.lines.append({"t": "tail", "at": end})


def history(seed, **how):
    """Its lines, as objects."""
    return Simulation(seed, **how).run()


def text(lines):
    return [json.dumps(line) for line in lines]
