"""Who uses the gateways: threads that log in, ask, change and log out, each by
a plan of its own that its seed decides, and write down what they were told.

What they believe of a session (Login) only steers what is asked next. Whether an
answer was right the checker decides.
"""

import collections
import hashlib
import json
import os
import random
import threading
import time

import harness
from harness import AUTHORIZER, RESPONDER, web_params
from world import BROWSERS, EXPORTED

ANSWER_S = 5.0
USERS = 24
LIVE_MAX = 150
ENDED_MAX = 60
RECENT_MAX = 24
MOUNT = "/.sessgate/"


class History:
    """Lines of JSON, appended by several processes: whole batches at a time."""

    BATCH = 200

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.lock = threading.Lock()
        self.lines = []

    def write(self, line, is_now=False):
        text = json.dumps(line, separators=(",", ":")) + "\n"
        with self.lock:
            self.lines.append(text)
            if is_now or len(self.lines) >= self.BATCH:
                self.flush()

    def flush(self):
        data = "".join(self.lines).encode()
        self.lines = []
        if data and os.write(self.fd, data) != len(data):
            raise OSError("the history cannot be written: the disk is full")

    def close(self):
        with self.lock:
            self.flush()
        os.close(self.fd)


def fingerprint(token):
    return hashlib.sha256(token.encode()).hexdigest()[:12]


class Login:
    """A session as the clients know it."""

    def __init__(self, handle, user, lives_s):
        self.handle, self.user = handle, user
        self.ref = None
        self.tokens = []  # the newest last
        self.version = 1
        self.lives_s = lives_s  # how long it is asked about
        self.born = time.monotonic()
        self.is_over = False


class Sessions:
    """Those that all clients share."""

    def __init__(self):
        self.lock = threading.Lock()
        self.live, self.ended = [], collections.deque(maxlen=ENDED_MAX)
        self.recent = collections.deque(maxlen=RECENT_MAX)

    def add(self, login):
        with self.lock:
            self.live.append(login)
            self.recent.append(login)

    def touch(self, login):
        """Something was changed about it: it is worth a look."""
        with self.lock:
            self.recent.append(login)

    def over(self, login):
        with self.lock:
            if login.is_over:
                return
            login.is_over = True
            if login in self.live:
                self.live.remove(login)
            self.ended.append(login)
            self.recent.append(login)

    def pick(self, rng, source):
        with self.lock:
            there = {"live": self.live, "ended": self.ended,
                     "recent": self.recent}[source] or self.live
            return rng.choice(there) if there else None

    def of_user(self, user):
        with self.lock:
            return [s for s in self.live if s.user == user]

    def too_old(self):
        """One that has lived long enough, or longest where there are many."""
        with self.lock:
            if not self.live:
                return None
            now = time.monotonic()
            for login in self.live:
                if now > login.born + login.lives_s:
                    return login
            return self.live[0] if len(self.live) > LIVE_MAX else None


# Per hundred of what a client does; what is left over are checks.
PLAN = [("create", 9), ("update", 14), ("logout", 3), ("end", 3),
        ("cleanup", 0.7), ("rotate", 4), ("extend", 3), ("get", 5),
        ("show", 3), ("introspect", 3), ("list", 2)]
# Whose sessions checks are about.
SOURCES = ["live"] * 5 + ["recent"] * 3 + ["ended"] * 2


class Client:
    def __init__(self, plan, number):
        self.plan, self.number = plan, number
        self.rng = random.Random("%s client %d" % (plan.seed, number))
        self.sessions = plan.sessions
        self.count = 0

    # -- one request --

    def ask(self, kind, gateway, params, login=None, body=None, token=None,
            role=RESPONDER, is_control=False, args=None, read=None):
        """Sends it, writes it down; (res, out of the line)."""
        self.count += 1
        line = {"t": "op", "id": self.number + self.plan.clients * self.count,
                "client": self.number, "gw": gateway, "kind": kind}
        if login is not None:
            line["s"] = login.handle
        if token is not None:
            line["tok"] = fingerprint(token)
        if args:
            line["args"] = args
        content = b""
        if body is not None:
            content = json.dumps(body).encode()
            params = dict(params, CONTENT_TYPE="application/json",
                          CONTENT_LENGTH=str(len(content)))
        place = self.plan.places[gateway]["control" if is_control else "pool"]
        answer = None
        begin = time.monotonic_ns()
        try:
            answer = harness.fastcgi(place, params, content, role, ANSWER_S)
        except (OSError, ValueError):
            pass  # Nobody there, or no answer in time.
        line["at"] = [begin, time.monotonic_ns()]
        out = self.judge(line, answer, read)
        self.plan.history.write(line)
        return line["res"], out

    def judge(self, line, answer, read):
        if answer is None or answer.status == 0:
            line["res"] = "unknown"
            return {}
        line["status"] = answer.status
        if answer.status in (200, 201, 204):
            try:
                out = read(answer) if read else {}
            except (ValueError, KeyError, TypeError):
                line["res"], line["why"] = "denied", "unreadable"
                return {}
            if out is None:
                line["res"], line["why"] = "denied", "inactive"
                return {}
            line["res"] = "ok"
            hidden = {k: out.pop(k) for k in ("token",) if k in out}
            if "token" in hidden:
                out["tok"] = fingerprint(hidden["token"])
            line["out"] = out
            return dict(out, **hidden)
        line["res"] = "unavailable" if answer.status == 503 else "denied"
        if line["res"] == "denied":
            line["why"] = answer.header("X-Session-Reason") or problem(answer)
        return {}

    # -- what there is to do --

    def step(self):
        rng = self.rng
        login = self.sessions.too_old()
        if login is not None and rng.random() < 0.2:
            self.logout(login) if rng.random() < 0.5 else self.end(login)
            return
        point = rng.random() * 100
        for kind, share in PLAN:
            if point < share:
                break
            point -= share
        else:
            kind = "check"
        if kind in ("create", "cleanup", "list"):
            getattr(self, kind)()
            return
        login = self.sessions.pick(
            rng, rng.choice(SOURCES) if kind == "check" else "live"
            if rng.random() < 0.9 else "recent")
        if login is None:
            self.create()
        elif login.tokens:
            getattr(self, kind)(login)

    def somewhere(self):
        return self.rng.randrange(len(self.plan.places))

    def afterwards(self, login):
        """A look at what was just done, mostly at another gateway."""
        if self.rng.random() < 0.5 and login.tokens:
            self.check(login)

    def token(self, login):
        """Mostly the newest; now and then one from before a rotation."""
        if len(login.tokens) > 1 and self.rng.random() < 0.15:
            return self.rng.choice(login.tokens[-3:-1])
        return login.tokens[-1]

    def browser(self, method, route, token, **more):
        return web_params(method, MOUNT + route, HTTP_COOKIE="sid=" + token,
                          HTTP_SEC_FETCH_SITE="same-origin", **more)

    def learned(self, login, res, out):
        """What an answer about a token tells of the session."""
        if res == "denied":
            self.sessions.over(login)
        if res != "ok":
            return
        login.version = max(login.version, out.get("version", 0))
        token = out.get("token")
        if token is not None and token not in login.tokens:
            login.tokens.append(token)

    def new_data(self, names):
        chosen = self.rng.sample(names, self.rng.randint(1, len(names) - 1))
        # No two writes write the same value.
        number = self.number + self.plan.clients * (self.count + 1)
        return {name: number * 10 + i for i, name in enumerate(chosen)}

    def create(self):
        rng = self.rng
        self.count += 1
        handle = "h%d.%d" % (self.number, self.count)
        user = "u%d" % rng.randrange(USERS)
        args = {"user": user, "data": self.new_data(EXPORTED + BROWSERS)}
        body = {"user_id": user, "data": args["data"], "user_agent": handle}
        login = Login(handle, user, rng.uniform(5, 90))
        kind = rng.random()
        if kind < 0.08:
            body["idle_timeout"] = rng.randint(2, 4)
            args["idle_ms"] = body["idle_timeout"] * 1000
        elif kind < 0.16:
            body["absolute_timeout"] = rng.randint(2, 6)
            args["absolute_ms"] = body["absolute_timeout"] * 1000
        if rng.random() < 0.3:
            args["context"] = body["context"] = "c%d" % rng.randrange(5)
        params = web_params("POST", MOUNT + "v1/sessions")
        if rng.random() < 0.4:
            args["key"] = "k%s.%s" % (self.plan.seed, handle)
            params["HTTP_IDEMPOTENCY_KEY"] = args["key"]
        for attempt in range(3):
            res, out = self.ask("create", self.somewhere(), params, login,
                                body, is_control=True, args=args,
                                read=read_created)
            if res == "ok" and login.ref is None:
                login.ref, login.tokens = out["ref"], [out["token"]]
                self.sessions.add(login)
            if "key" not in args or (
                    res != "unknown" and rng.random() < 0.7):
                break
        if login.ref is not None:
            self.afterwards(login)

    def check(self, login):
        token = self.token(login)
        res, out = self.ask(
            "check", self.somewhere(), web_params(HTTP_COOKIE="sid=" + token),
            login, token=token, role=AUTHORIZER, read=read_checked)
        if token == login.tokens[-1]:
            self.learned(login, res, out)

    def get(self, login):
        token = self.token(login)
        self.learned(login, *self.ask(
            "get", self.somewhere(), self.browser("GET", "session", token),
            login, token=token, read=read_session))

    def extend(self, login):
        token = login.tokens[-1]
        self.learned(login, *self.ask(
            "extend", self.somewhere(),
            self.browser("POST", "session/extend", token), login, token=token,
            read=read_session))

    def introspect(self, login):
        token = self.token(login)
        self.ask("introspect", self.somewhere(),
                 web_params("POST", MOUNT + "v1/introspect"), login,
                 {"token": token}, token, is_control=True,
                 read=read_introspected)

    def show(self, login):
        self.ask("show", self.somewhere(),
                 web_params("GET", MOUNT + "v1/sessions/" + login.ref), login,
                 is_control=True, args={"ref": login.ref}, read=read_session)

    def update(self, login):
        rng = self.rng
        more, args = {}, {}
        if rng.random() < 0.2:
            args["if_version"] = login.version
            more["HTTP_IF_MATCH"] = '"%s.%d"' % (login.ref, login.version)
        if rng.random() < 0.3:
            args["data"] = self.new_data(BROWSERS)
            token = login.tokens[-1]
            res, out = self.ask(
                "update", self.somewhere(),
                self.browser("PATCH", "session", token, **more), login,
                {"data": args["data"]}, token, args=args, read=read_session)
        else:
            args["data"] = self.new_data(EXPORTED + BROWSERS)
            body = {"data": args["data"]}
            if rng.random() < 0.1:
                args["context"] = body["context"] = "c%d" % rng.randrange(5)
            if rng.random() < 0.1:
                gone = rng.choice(EXPORTED)
                args["data"][gone] = None
            res, out = self.ask(
                "update", self.somewhere(),
                web_params("PATCH", MOUNT + "v1/sessions/" + login.ref,
                           **more),
                login, body, is_control=True, args=args, read=read_session)
        if res == "ok":
            login.version = max(login.version, out["version"])
        elif res == "denied" and "if_version" not in args:
            self.sessions.over(login)
        self.sessions.touch(login)
        self.afterwards(login)

    def rotate(self, login):
        token = login.tokens[-1]
        self.learned(login, *self.ask(
            "rotate", self.somewhere(),
            self.browser("POST", "session/rotate", token), login, token=token,
            read=read_session))
        self.sessions.touch(login)
        self.afterwards(login)

    def logout(self, login):
        token = self.token(login)
        if self.rng.random() < 0.7:
            res, _ = self.ask(
                "logout", self.somewhere(),
                self.browser("DELETE", "session", token), login, token=token)
        else:
            res, _ = self.ask(
                "logout", self.somewhere(),
                web_params("POST", MOUNT + "v1/end"), login, {"token": token},
                token, is_control=True)
        if res in ("ok", "denied"):
            self.sessions.over(login)
        self.afterwards(login)

    def end(self, login):
        res, _ = self.ask(
            "end", self.somewhere(),
            web_params("DELETE", MOUNT + "v1/sessions/" + login.ref), login,
            is_control=True, args={"reason": "revoked"})
        if res in ("ok", "denied"):
            self.sessions.over(login)
        self.afterwards(login)

    def cleanup(self):
        user = "u%d" % self.rng.randrange(USERS)
        theirs = self.sessions.of_user(user)
        args, uri = {"user": user}, "%sv1/users/%s/sessions" % (MOUNT, user)
        kept = self.rng.choice(theirs) if theirs else None
        if kept is not None and self.rng.random() < 0.6:
            args["keep"] = kept.handle
            uri += "?except=" + kept.ref
        else:
            kept = None
        res, _ = self.ask("cleanup", self.somewhere(),
                          web_params("DELETE", uri), is_control=True,
                          args=args, read=read_count)
        for login in theirs:
            if login is not kept and res == "ok":
                self.sessions.over(login)
        for login in theirs[:2]:
            self.check(login)

    def list(self):
        user = "u%d" % self.rng.randrange(USERS)
        self.ask("list", self.somewhere(),
                 web_params("GET", "%sv1/users/%s/sessions" % (MOUNT, user)),
                 is_control=True, args={"user": user}, read=read_list)


# ---- answers -----------------------------------------------------------------


def problem(answer):
    try:
        return answer.json().get("code", "")
    except ValueError:
        return ""


def cookie_token(answer):
    cookie = answer.header("Set-Cookie")
    if cookie is None or not cookie.startswith("sid="):
        return {}
    token = cookie[4:].split(";")[0]
    return {"token": token} if token else {}


def present(**members):
    return {name: value for name, value in members.items()
            if value not in (None, "", [])}


def session_members(made):
    return present(ref=made["ref"], user=made["user_id"],
                   version=made.get("version"), context=made.get("context"),
                   roles=made.get("roles"), data=made.get("data"))


def read_created(answer):
    made = answer.json()
    return dict(session_members(made["session"]), token=made["token"])


def read_session(answer):
    return dict(session_members(answer.json()), **cookie_token(answer))


def read_checked(answer):
    names = {"Variable-SESSION_DATA_" + m.upper(): m for m in EXPORTED}
    roles = answer.header("Variable-SESSION_ROLES") or ""
    out = present(ref=answer.header("Variable-SESSION_REF"),
                  user=answer.header("Variable-REMOTE_USER"),
                  context=answer.header("Variable-SESSION_CONTEXT"),
                  roles=[r for r in roles.split(",") if r])
    out["exports"] = {names[key]: value for key, value in answer.headers
                      if key in names}
    return dict(out, **cookie_token(answer))


def read_introspected(answer):
    said = answer.json()
    if not said["active"]:
        return None
    return present(ref=said.get("sid"), user=said.get("sub"),
                   context=said.get("context"), roles=said.get("roles"))


def read_count(answer):
    return {"ended": answer.json()["ended"]}


def read_list(answer):
    return {"refs": [s["ref"] for s in answer.json()["sessions"]]}


# ---- all of them -------------------------------------------------------------


class Plan:
    """clients: how many; rate: requests a second of them all, at most."""

    def __init__(self, seed, places, history, clients=12, rate=150.0):
        self.seed, self.places = seed, places
        self.history = history
        self.clients, self.rate = clients, rate
        self.sessions = Sessions()
        self.is_over = threading.Event()
        self.failed = []

    def run_one(self, number):
        client = Client(self, number)
        pace = self.clients / self.rate
        try:
            while not self.is_over.is_set():
                begin = time.monotonic()
                client.step()
                took = time.monotonic() - begin
                pause = client.rng.expovariate(1 / pace) - took
                if pause > 0:
                    self.is_over.wait(pause)
        except Exception as e:
            self.failed.append(e)
            self.is_over.set()
            raise

    def run(self, stop):
        """Until something can be read from `stop`."""
        threads = [threading.Thread(target=self.run_one, args=(n,))
                   for n in range(self.clients)]
        for thread in threads:
            thread.start()
        os.read(stop, 1)
        self.is_over.set()
        for thread in threads:
            thread.join()
        self.history.close()
        if self.failed:
            raise self.failed[0]
