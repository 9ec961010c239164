"""Who takes part, how each is checked for right answers, and one measurement."""

import base64
import subprocess
import time

import figures
import peers
from load import COOKIES, check_requests, file_of, login_requests, run, users
from machine import Unavailable, ask, at_once, cpu_us

CHECKERS = 16  # connections that ask for checks
CREATORS = 64  # connections that create
CREATING_WORKERS = 16
BODY = '{"user_id":"newuser-########"}'
PATCH = '{"data":{"cart":"########"}}'


class Contender:
    """One row of a table. ready() starts it and makes sure it answers right."""
    kind = "check"
    floor = None  # the name of what its ratios are to
    connections = CHECKERS
    is_durable = None
    note = ""

    def __init__(self, name, floor, **more):
        self.name, self.floor = name, floor
        self.__dict__.update(more)
        self.site = self.requests = None
        self.port = 0
        self.processes = {}
        self.next = 0  # the number of the next creation

    def ready(self, site):
        self.site = site
        self.begin()
        self.requests = file_of(site.machine, "requests-" + "".join(c if c.isalnum() else "-" for c in self.name),
                                self.make_requests())

    def begin(self):
        raise NotImplementedError

    def make_requests(self):
        raise NotImplementedError

    def roots(self):
        return {role: self.site.machine.pids(names) for role, names in self.processes.items()}

    def store_calls(self):
        """{command: how often} of Redis and of MySQL so far; None where it uses none."""
        names = self.processes.get("store", ())
        redis = sql = None
        for name in ("redis", "peers-redis"):
            if name in names:
                redis = figures.redis_calls(self.site.redis(name).command("INFO", "commandstats").decode())
        if "mariadb" in names:
            sql = figures.sql_calls(self.site.mariadb().sql(
                "SHOW GLOBAL STATUS WHERE Variable_name = 'Questions' OR Variable_name LIKE 'Com\\_%'"))
        return redis, sql

    def measure(self, seconds, rate=0, connections=None):
        """One run: what the table and the pictures are made of."""
        calls = self.store_calls()
        roots = self.roots()
        before = {role: cpu_us(pids) for role, pids in roots.items()}
        result = run(self.site, self.port, self.requests, connections or self.connections, seconds, rate, self.next)
        used = {role: cpu_us(pids) - before[role] for role, pids in roots.items()}
        after = self.store_calls()
        count = max(result["count"], 1)
        self.next = result["next"]
        result.update(per_second=result["count"] / result["seconds"], cpu_us=sum(used.values()) / count,
                      cpu_by={role: us / count for role, us in used.items()},
                      calls={store: figures.per_request(first, last, count)
                             for store, first, last in zip(("Redis", "SQL"), calls, after)})
        redis, sql = result["calls"]["Redis"], result["calls"]["SQL"]
        result["redis_calls"] = None if redis is None else sum(redis.values())
        result["sql_calls"] = None if sql is None else sql.pop(figures.SQL_TOTAL, 0)
        return result


class Floor(Contender):
    """A program that does nothing."""

    def begin(self):
        getattr(self.site, self.backend)()
        web = getattr(self.site, self.web)
        self.port = web.port
        self.processes = {"web": [web.name], "gateway": [self.backend]}
        must_be(self, ask(self.port, self.path()), 200)

    def path(self):
        return "/" + self.backend

    def make_requests(self):
        # The same cookies' length as a check's.
        return check_requests(self.path(), [("sid=" + "x" * 60, u) for u in users(COOKIES)])


class Check(Contender):
    """sessgate on one of its profiles, behind one of the web servers."""

    def begin(self):
        self.site.sessgate(self.profile)
        web = getattr(self.site, self.web)
        self.port = web.port
        self.processes = {"web": [web.name], "gateway": ["sessgate-" + self.profile],
                          "store": {"l1": ["redis", "mariadb"], "normal": ["redis", "mariadb"],
                                    "redis": ["redis", "mariadb"], "mysql": ["mariadb"]}.get(self.profile, [])}

    def cookies(self):
        """Sessions of a profile are made once, by its login listener."""
        port = self.site.lighttpd.port
        return self.site.once("cookies-" + self.profile, lambda: at_once(
            lambda user: ("sid=" + sessgate_token(port, self.profile, user), user), users(COOKIES)))

    def make_requests(self):
        cookies = self.cookies()
        judge(self, self.port, self.path, cookies, self.shows_user)
        return check_requests(self.path, cookies)

    shows_user = "Variable-REMOTE_USER"  # the header; None: there is none


class Page(Check):
    """A do-nothing program behind nginx's auth_request, which asks sessgate first."""
    web = "nginx"

    def begin(self):
        super().begin()
        self.site.stock()
        self.processes = dict(self.processes, page=["stock"])

    shows_user = "X-User"


class PeerCheck(Contender):
    def begin(self):
        self.peer = self.make(self.site)
        self.port, self.processes = self.peer.port, self.peer.processes

    def make_requests(self):
        cookies = self.site.once("cookies-" + self.peer.name, lambda: self.peer.cookies(COOKIES))
        judge(self, self.port, self.peer.check_path, cookies, "X-User")
        return check_requests(self.peer.check_path, cookies)


class Creation(Contender):
    kind = "creation"
    connections = CREATORS
    is_durable = True

    def begin(self):
        self.site.sessgate(self.profile)
        self.port = self.site.lighttpd.port
        self.processes = {"web": ["lighttpd"], "gateway": ["sessgate-" + self.profile],
                          "store": {"creation": ["redis", "mariadb"], "mysql": ["mariadb"]}.get(self.profile, [])}

    def make_requests(self):
        token = sessgate_token(self.port, self.profile, users(1)[0])
        path = f"/check/{self.profile}"
        judge(self, self.port, path, [("sid=" + token, users(1)[0])] * 4, "Variable-REMOTE_USER")
        return login_requests(f"/{self.profile}/v1/sessions", BODY)


class OfLoaded(Creation):
    """Sessions that are there already, in the stores of creations: fill puts them there."""

    def fill(self, count):
        """[(token, user)], none of whom was there before."""
        first = self.site.started.get("filled", 0)
        self.site.started["filled"] = first + count
        done = subprocess.run([self.site.binary("tests/bench/fill"), self.site.started["sessgate-" + self.profile],
                               "filled", str(first), str(count), "1", "0", "1"], capture_output=True, text=True)
        if done.returncode != 0:
            raise Unavailable(done.stderr)
        return [tuple(line.split(" ", 1)) for line in done.stdout.splitlines()]


class Change(OfLoaded):
    """A member of the data of each of many sessions, one after another."""

    def make_requests(self):
        refs = [ref_of(token) for token, _ in self.fill(COOKIES)]
        path = f"/{self.profile}/v1/sessions/"
        must_be(self, ask(self.port, path + refs[0], "PATCH", PATCH, Content_Type="application/json"), 200)
        return [request for ref in refs for request in login_requests(path + ref, PATCH, "PATCH")]


class End(OfLoaded):
    """Logouts by token, each of a session that is live until then."""
    ENDS_MAX = 6000  # a second; more would be logouts of who has logged out

    def make_requests(self):
        path = f"/{self.profile}/v1/end"
        token, user = self.fill(1)[0]
        judge(self, self.port, f"/check/{self.profile}", [("sid=" + token, user)], "Variable-REMOTE_USER")
        must_be(self, ask(self.port, path, "POST", '{"token":"%s"}' % token, Content_Type="application/json"), 200)
        must_be(self, ask(self.port, f"/check/{self.profile}", Cookie="sid=" + token), 401)
        return []

    def measure(self, seconds, rate=0, connections=None):
        path = f"/{self.profile}/v1/end"
        self.requests = file_of(self.site.machine, "requests-ends", [
            request for token, _ in self.fill(seconds * self.ENDS_MAX)
            for request in login_requests(path, '{"token":"%s"}' % token)])
        self.next = 0
        return super().measure(seconds, rate, connections)


class Transactions(Contender):
    """A program that makes a transaction a creation, and nothing else. whole: it is that of sessgate's creation, with
    the user's lock, and the counter that the copy in Redis needs; bare: the two rows alone."""
    kind = "creation"
    connections = CREATORS
    is_durable = True
    how = "whole"
    TABLES = ("session", "audit", "user_lock", "user_state", "meta", "store")

    def begin(self):
        site = self.site
        site.sessgate("creation")  # which makes the tables that are copied
        redis, server = site.redis(), site.mariadb()
        name, base = "transaction-" + self.how, "own_" + self.how

        def start():
            server.sql(f"CREATE DATABASE {base}; " + "; ".join(
                f"CREATE TABLE {base}.{table} LIKE sessgate_creation.{table}" for table in self.TABLES))
            server.sql("; ".join(f"INSERT INTO {base}.{table} SELECT * FROM sessgate_creation.{table}"
                                 for table in ("user_lock", "meta", "store")))
            path = site.plain[name]
            site.machine.start(name, [site.binary("tests/bench/transaction"), path, str(CREATING_WORKERS),
                                      server.socket, base, redis.socket, self.how], path)
        site.once(name, start)
        self.port = site.lighttpd.port
        self.processes = {"web": ["lighttpd"], "gateway": [name], "store": ["redis", "mariadb"]}
        must_be(self, ask(self.port, "/" + name, "POST", '{"user_id":"newuser-00000000"}'), 201)
        if int(server.sql(f"SELECT COUNT(*) FROM {base}.session s, {base}.audit a WHERE s.ref = a.ref")) < 1:
            raise Unavailable("the transaction left no row")

    def make_requests(self):
        return login_requests("/transaction-" + self.how, BODY)


class PeerCreation(Contender):
    kind = "creation"
    connections = CREATORS
    is_durable = False

    def begin(self):
        self.peer = self.make(self.site)
        self.port, self.processes = self.peer.port, self.peer.processes

    def make_requests(self):
        user = users(1)[0]
        judge(self, self.port, self.peer.check_path, [(self.peer.login(user), user)] * 4, "X-User")
        return login_requests(self.peer.login_path + "newuser-########", None)


def ref_of(token):
    """Key id, then the ref: sessgate's tokens are base64url."""
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[1:13].hex()


def sessgate_token(port, profile, user):
    """A program would ask again, too, when a busy machine's store is late."""
    for _ in range(4):
        answer = ask(port, f"/{profile}/v1/sessions", "POST", '{"user_id":"%s"}' % user, Content_Type="application/json")
        if answer.status != 503:
            break
        time.sleep(1)
    if answer.status != 201:
        raise Unavailable(f"a creation answered {answer.status}: {answer.body[:200]}")
    return answer.body.split('"token":"')[1].split('"')[0]


def must_be(contender, answer, status):
    if answer.status != status:
        raise Unavailable(f"{contender.name} answers {answer.status}, not {status}")


def judge(contender, port, path, cookies, header):
    """Four known cookies give the right users, a bogus one gives 401."""
    step = max(len(cookies) // 4, 1)
    for cookie, user in cookies[::step][:4]:
        answer = ask(port, path, Cookie="theme=dark; " + cookie)
        must_be(contender, answer, 200)
        if header is not None and answer.headers.get(header) != user:
            raise Unavailable(f"{contender.name} takes {user} for {answer.headers.get(header)}")
    name, _, value = cookies[0][0].partition("=")
    bogus = value[:-4] + ("0000" if value[-4:] != "0000" else "1111")
    must_be(contender, ask(port, path, Cookie=f"{name}={bogus}"), 401)


def all_contenders():
    """By name; the order is that of the table."""
    floors = {web: f"do-nothing, {web}" for web in ("lighttpd", "nginx", "apache")}
    rows = []
    routes = [("lighttpd", "", ""), ("nginx", "", ""), ("nginx", "-ka", " kept"), ("apache", "", ""),
              ("apache", "-ka", " kept")]
    titles = {"l1": "local cache", "normal": "local cache normal", "redis": "Redis", "mysql": "MySQL", "sqlite": "SQLite",
              "hitsqlite": "local cache on SQLite"}
    for web, kept, word in routes:
        if not kept:
            rows.append(Floor(floors[web], floors[web], web=web, backend="stock"))
        for profile, title in titles.items():
            rows.append(Check(f"sessgate {title}, {web}{word}", floors[web], web=web, profile=profile,
                              path=f"/check/{profile}{kept}", is_extra=is_extra(profile, web, kept)))
    rows += [
        Floor("do-nothing, our accept", floors["lighttpd"], web="lighttpd", backend="own"),
        Check("sessgate authorizer + static file", floors["lighttpd"], web="lighttpd", profile="l1",
              path="/static/l1/a", shows_user=None),
        Page("sessgate auth_request + do-nothing, nginx", floors["nginx"], profile="l1", path="/page/l1"),
        Page("sessgate auth_request + do-nothing, nginx kept", floors["nginx"], profile="l1", path="/page/l1-ka",
             is_extra=True),
        PeerCheck("php-fpm + phpredis", floors["lighttpd"], make=peers.Php),
        PeerCheck("express-session", floors["lighttpd"], make=lambda s: peers.Express(s, 1)),
        PeerCheck("express-session, cluster 2", floors["lighttpd"], make=lambda s: peers.Express(s, 2)),
        PeerCheck("Flask-Session", floors["lighttpd"], make=peers.Flask),
        PeerCheck("Perl CGI::Session", floors["lighttpd"], make=peers.CgiSession),
        PeerCheck("mod_session_dbd", floors["apache"], make=peers.SessionDbd),
    ]
    php = "create: php-fpm + phpredis"
    rows += [
        PeerCreation(php, php, make=peers.Php),
        PeerCreation("create: express-session", php, make=lambda s: peers.Express(s, 1)),
        PeerCreation("create: express-session, cluster 2", php, make=lambda s: peers.Express(s, 2)),
        PeerCreation("create: Flask-Session", php, make=peers.Flask),
        PeerCreation("create: Perl CGI::Session", php, make=peers.CgiSession, is_durable=True),
    ]
    for connections in (CREATORS, 4, 1):
        floor = php if connections == CREATORS else f"create: own transactions, {connections} connections"
        rows += [
            Transactions(f"create: own transactions, {connections} connections", floor, connections=connections),
            Transactions(f"create: two rows a transaction, {connections} connections", floor, connections=connections,
                         how="bare"),
            Creation(f"create: sessgate, {connections} connections", floor, profile="creation",
                     connections=connections)]
    for connections in (CREATORS, 4, 1):
        floor, is_extra_row = f"create: sessgate, {connections} connections", connections == 4
        rows += [kind(f"{name}: sessgate, {connections} connections", floor, profile="creation",
                      connections=connections, is_extra=is_extra_row) for name, kind in (("change", Change), ("end", End))]
    rows += [Creation("create: sessgate on MySQL alone", php, profile="mysql"),
             Creation("create: sessgate on SQLite", php, profile="sqlite")]
    return rows


def is_extra(profile, web, kept):
    """Run only when it is asked for by name."""
    if profile == "normal":
        return (web, kept) == ("apache", "")
    if profile == "hitsqlite":
        return (web, kept) not in (("lighttpd", ""), ("nginx", "-ka"))
    return profile in ("mysql", "sqlite") and (web != "lighttpd" or kept != "")
