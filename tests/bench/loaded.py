"""Instances that share stores with very many sessions, and what requests cost
there. For scale.py."""

import random
import re
import subprocess
import tempfile
import time

from bench import say  # first: the directory that place adds has a load, too
import harness
from contenders import Check, Creation, Floor
from curves import FLOOR
from figures import median
from load import HEAD, Load, file_of
from machine import Machine, Unavailable, ask, cpu_us, wait_until
from place import PROFILES, Profile, Site

SAMPLE = 20000  # tokens that are presented, at random from all that were loaded
FILLERS = 4  # each has fence groups of its own, so pages of its own
CHUNK = 500000  # loaded between two lines of progress
VERIFIED = 100  # of what was loaded is asked for by each instance
WORKERS = (1, 2, 4, 8, 16, 32, 64)

LONG = 'session: { idle_timeout = "10 h"; absolute_timeout = "20 h"; };'
WITH_EXPORTS = LONG.replace("};", 'export_data = [ "shown" ]; };')
BOTH = Profile(mysql=True, redis=True, cache=True, workers=None, more=LONG)
# None begins as another: lighttpd takes the first route that a path begins with.
PROFILES.update({
    "hit": BOTH, "second": BOTH, "third": BOTH, "fourth": BOTH,
    "copy": BOTH._replace(cache=False),
    "row": BOTH._replace(redis=False, cache=False),
    "file": Profile(mysql=False, redis=False, cache=False, workers=None, more=LONG),
    "shown": BOTH._replace(cache=False, more=WITH_EXPORTS),
    **{f"w{n:02d}": BOTH._replace(workers=n) for n in WORKERS},
    **{f"c{n:02d}": BOTH._replace(workers=n, cache=False) for n in WORKERS}})
TITLES = {"hit": "local cache", "copy": "Redis", "row": "MySQL", "file": "SQLite"}
STORES = {"file": []}  # else both


class OutOfTime(Exception):
    pass


def split(names):
    """{role: names}: each store by itself."""
    return {{"redis": "Redis", "mariadb": "MySQL"}[name]: [name] for name in names}


class PatientSite(Site):
    """What things cost is asked here, also on a busy machine: not what becomes of a store that is late. Half of a
    time-out is slow, and a store that was slow is told anew of all sessions."""

    def stores_of(self, name, like, profile):
        text = super().stores_of(name, like, profile)
        text = text.replace('"; };\nspool:', '"; read_timeout = "5 s"; write_timeout = "5 s"; };\nspool:')
        return re.sub(r"(database = \d+;)", r'\1 timeout = "700 ms";', text)


class Place:
    """The servers of one axis, and what was loaded there."""

    def __init__(self, options):
        self.options, self.box = options, Machine()
        self.site = PatientSite(self.box, options.build, options.workers)
        self.loaded = {}  # by profile: (how many, [(token, user)] at random)
        self.next_user = 0
        self.creations = {}

    def stop(self):
        self.box.stop()
        tempfile.tempdir = None  # the next one's is elsewhere

    def start(self, name, like=None):
        return self.site.sessgate(name, like)

    def stop_instance(self, name):
        process = self.box.processes.pop("sessgate-" + name)
        process.terminate()
        process.wait(20)
        del self.site.started["sessgate-" + name]

    def check_time(self):
        if time.monotonic() > self.options.until:
            raise OutOfTime("the time that --minutes allows is over")

    # ---- loading ----

    def fill(self, profile, prefix, first, count, each=1, age_s=0, every=1):
        """[(token, user)]; several at once where the store takes several."""
        parts = FILLERS if PROFILES[profile].mysql and count >= 10000 and each == 1 else 1
        command = [self.site.binary("tests/bench/fill"), self.site.started["sessgate-" + profile], prefix,
                   *map(str, (first, count, each, age_s, every))]
        running = [self.box.spawn([*command, str(part), str(parts)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) for part in range(parts)]
        found = []
        for process in running:
            out, err = process.communicate()
            if process.returncode != 0:
                raise Unavailable(err)
            found += [tuple(line.split(" ", 1)) for line in out.splitlines()]
        return found

    def load(self, profile, wanted):
        """Sessions of a user each, until there are so many; commits need not be on the disk meanwhile."""
        have, sample = self.loaded.get(profile, (0, []))
        if have >= wanted:
            return
        keep = SAMPLE * have // wanted  # what is there already stays as likely as what comes
        sample = random.sample(sample, min(keep, len(sample)))
        every = max((wanted - have) // max(SAMPLE - keep, 1), 1)
        mysql = self.site.mariadb() if PROFILES[profile].mysql else None
        if mysql:
            mysql.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
        begin, at_first = time.monotonic(), have
        while have < wanted:
            self.check_time()
            count = min(CHUNK, wanted - have)
            sample += self.fill(profile, "user", have, count, every=every)
            have += count
            per_second = (have - at_first) / (time.monotonic() - begin)
            say(f"{TITLES.get(profile, profile)}: {have} of {wanted} sessions, {per_second:.0f} a second")
        if mysql:
            mysql.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
            self.settle(mysql)
        random.shuffle(sample)
        self.loaded[profile] = (have, sample)
        self.verify(profile)

    @staticmethod
    def settle(mysql):
        """Until InnoDB has written out what was loaded: else what is measured next pays for it."""
        mysql.sql("SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0; SET GLOBAL innodb_max_dirty_pages_pct = 0; "
                  "SET GLOBAL innodb_io_capacity_max = 20000; SET GLOBAL innodb_io_capacity = 10000")
        wait_until(lambda: int(mysql.sql("SELECT variable_value FROM information_schema.global_status "
                                         "WHERE variable_name = 'Innodb_buffer_pool_pages_dirty'")) < 200,
                   "what was loaded is written", 300)
        mysql.sql("SET GLOBAL innodb_io_capacity = DEFAULT; SET GLOBAL innodb_io_capacity_max = DEFAULT; "
                  "SET GLOBAL innodb_max_dirty_pages_pct = DEFAULT; SET GLOBAL innodb_max_dirty_pages_pct_lwm = DEFAULT")

    def verify(self, profile):
        """What was loaded is there, and is what creations would have left: each instance of these stores names the
        right user for some of it."""
        wanted, sample = self.loaded[profile]
        if PROFILES[profile].redis:
            found = int(re.search(rf"db{self.site.redis_number(profile)}:keys=(\d+)",
                                  self.site.redis().command("INFO", "keyspace").decode()).group(1))
            if found < wanted:
                raise Unavailable(f"Redis has {found} keys of {wanted} sessions")
        if PROFILES[profile].mysql:
            found = int(self.site.mariadb().sql("SELECT COUNT(*) FROM session", "sessgate_" + profile))
            if found < wanted:
                raise Unavailable(f"MySQL has {found} rows of {wanted} sessions")
        for name in (n for n in TITLES if (n == "file") == (profile == "file") and "sessgate-" + n in self.site.started):
            for token, user in random.sample(sample, min(VERIFIED, len(sample))):
                answer = ask(self.site.nginx.port, f"/check/{name}", Cookie="sid=" + token)
                if answer.status != 200 or answer.headers.get(Check.shows_user) != user:
                    raise Unavailable(f"{name} answers {answer.status} for a session of {user}")

    def fresh(self, profile, count, age_s=0, each=1):
        """New ones that nobody has looked up yet."""
        self.next_user += count
        return self.fill(profile, "more", self.next_user - count, count, each, age_s)

    def sample(self, profile):
        return self.loaded[profile][1]

    # ---- what is measured ----

    def stores_of(self, profile):
        return STORES.get(profile, ["redis", "mariadb"])

    def check(self, profile, tokens, web="nginx", kept="-ka"):
        contender = LoadedCheck(profile, None, web=web, profile=profile, path=f"/check/{profile}{kept}", tokens=tokens,
                                store=self.stores_of(profile))
        contender.site = self.site
        self.make_ready(contender)
        return contender

    @staticmethod
    def make_ready(contender):
        """A machine that was busy may have made one answer late."""
        for last in (False, False, True):
            try:
                return contender.ready(contender.site)
            except Unavailable:
                if last:
                    raise
                time.sleep(1)

    def creation(self, profile):
        """The same one all along: each creation is of another user."""
        if profile not in self.creations:
            contender = LoadedCreation("create " + profile, None, profile=profile, connections=16, store=self.stores_of(profile))
            contender.site = self.site
            self.make_ready(contender)
            self.creations[profile] = contender
        return self.creations[profile]

    def roots(self, profile="hit", others=()):
        names = {"gateway": ["sessgate-" + profile], "the other gateways": ["sessgate-" + o for o in others],
                 **split(self.stores_of(profile))}
        return {role: self.box.pids(those) for role, those in names.items()}

    def used(self, roots, work):
        """({role: CPU us}, what work() answers)."""
        before = {role: cpu_us(pids) for role, pids in roots.items()}
        answer = work()
        return {role: cpu_us(pids) - before[role] for role, pids in roots.items()}, answer

    def background(self, profile="hit", others=()):
        """CPU us a second when nobody asks anything, by role; warming is over by then."""
        if PROFILES[profile].redis:
            wait_until(lambda: self.api(profile, "GET", "v1/status")[1].json()["warming"]["state"] == "done",
                               "Redis has all sessions", 600)
        used, _ = self.used(self.roots(profile, others), lambda: time.sleep(3))
        return {role: us / 3 for role, us in used.items()}

    def once_each(self, title, requests, rate, roots, idle, settle_s=0):
        """Each request once at a fixed rate: ({role: CPU us a request}, httpload's result)."""
        seconds = max(len(requests) // rate, 1)
        path = file_of(self.box, "requests-once", requests)
        port = self.site.lighttpd.port

        def work():
            result = Load(self.site, port, path, 16, seconds, rate).result()
            time.sleep(settle_s)
            return result
        used, result = self.used(roots, work)
        if result["errors"]:
            raise Unavailable(f"{title}: {result['answers']}")
        return {role: max(us - idle[role] * (seconds + settle_s), 0) / result["count"] for role, us in used.items()}, result

    def ends(self, profile, count):
        return [end_request(profile, token) for token, _ in self.fresh(profile, count)]

    def api(self, profile, method, route, body=b"", listener="control.sock"):
        """(seconds, answer) of the program API, straight to the gateway."""
        params = harness.web_params(method, f"/{profile}/{route}", CONTENT_TYPE="application/json" if body else None,
                                    CONTENT_LENGTH=str(len(body)) if body else None)
        begin = time.monotonic()
        answer = harness.fastcgi(self.box.path(profile, "run", listener), params, body)
        return time.monotonic() - begin, answer

    def calls(self, profile, requests, wanted=200, tries=1):
        """(CPU us a call, median milliseconds, answers) of [(method, route, body, listener)]. tries: what is
        done in parts is asked for again, as its 503 says."""
        idle = sum(self.background(profile).values())

        def one(request):
            total = 0
            for _ in range(tries):
                seconds, answer = self.api(profile, *request)
                total += seconds
                if answer.status == wanted:
                    return total, answer
            raise Unavailable(f"{request[:2]} answered {answer}")
        begin = time.monotonic()
        used, answers = self.used(self.roots(profile), lambda: [one(request) for request in requests])
        total = sum(used.values()) - idle * (time.monotonic() - begin)
        return max(total, 0) / len(requests), 1000 * median([s for s, _ in answers]), [a for _, a in answers]


class Loaded:
    """Of an instance that was started already."""
    web = "lighttpd"

    def begin(self):
        self.port = getattr(self.site, self.web).port
        self.processes = {"web": [self.web], "gateway": ["sessgate-" + self.profile], "store": self.store}

    def roots(self):
        names = {"web": self.processes["web"], "gateway": self.processes["gateway"], **split(self.store)}
        return {role: self.site.machine.pids(those) for role, those in names.items()}


class LoadedCheck(Loaded, Check):
    """Checks with tokens that were loaded."""

    def floor_of(self):
        """A program that does nothing, behind the same web server: the same one all along."""
        def start():
            floor = Floor(FLOOR, None, web=self.web, backend="stock")
            floor.ready(self.site)
            return floor
        return self.site.once("floor", start)

    def cookies(self):
        return [("sid=" + token, user) for token, user in self.tokens]


class LoadedCreation(Loaded, Creation):
    pass


def end_request(profile, token):
    body = '{"token":"%s"}' % token
    return (f"POST /{profile}/v1/end HTTP/1.1\r\n{HEAD}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}")


def check_request(profile, token):
    return f"GET /check/{profile} HTTP/1.1\r\n{HEAD}Cookie: sid={token}\r\n\r\n"
