"""What v1/metrics says: valid in both formats, right to the request, and what
the alerts of conf/prometheus ask for."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import harness
from harness import AUTHORIZER, SOURCE, case, fastcgi, main, needs, wait_until, web_params

DEBIANS_PYTHON = "/usr/bin/python3"
CONF = os.path.join(SOURCE, "conf", "prometheus")
TESTS = os.path.join(SOURCE, "tests", "it", "alerts.yml")

# Debian's module is for Debian's Python, which need not be the first in the PATH.
try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
except ImportError:
    text_string_to_metric_families = None
    if not os.environ.get("SESSGATE_DEBIANS_PYTHON") and os.access(DEBIANS_PYTHON, os.X_OK):
        os.environ["SESSGATE_DEBIANS_PYTHON"] = "1"
        os.execv(DEBIANS_PYTHON, [DEBIANS_PYTHON] + sys.argv)

from stores import Fleet  # noqa: E402
from webserver import free_port  # noqa: E402

PLAIN = {"gateway": {"workers": 2}, "cookie": {"name": "sid", "secure": False},
         "policy": {"staff": {"require_role": ["staff"]}, "open": {"anonymous": True}}}


def parsed(text):
    """Families by name, as the reference parser of OpenMetrics reads them."""
    if text_string_to_metric_families is None:
        raise harness.Skip("python3-prometheus-client is not installed")
    return {f.name: f for f in text_string_to_metric_families(text)}


def fetch(gw, accept=None, address=None):
    params = {} if accept is None else {"HTTP_ACCEPT": accept}
    answer = gw.api("GET", "v1/metrics", address=address or gw.keeper_socket, **params)
    assert answer.status == 200, answer
    return answer


def values(gw):
    """{(name, labels): value} of all that is there."""
    return {(s.name, frozenset(s.labels.items())): s.value
            for f in parsed(fetch(gw).body.decode()).values() for s in f.samples}


def value(found, name, **labels):
    return found.get((name, frozenset(labels.items())), 0)


def promtool(*args, text=None):
    done = subprocess.run([needs("promtool"), *args], input=text, capture_output=True,
                          text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def fleet(t, **more):
    t.has_local_cache = True
    return Fleet(t, hosts=1, **more)


# ---- the format --------------------------------------------------------------


@case
def both_formats_are_valid_and_say_the_same(t):
    gw = fleet(t).hosts[0].gw
    token, _ = gw.create()
    for _ in range(3):
        t.equal(gw.check("sid=" + token).status, 200)
    answer = fetch(gw)
    t.equal(answer.header("Content-Type"),
            "application/openmetrics-text; version=1.0.0; charset=utf-8")
    text = answer.body.decode()
    t.true(text.endswith("\n# EOF\n"), "EOF is last")
    families = parsed(text)
    t.true(len(families) > 80, len(families))
    for family in families.values():
        t.true(family.documentation, family.name + " has HELP")
        t.true(family.type in ("counter", "gauge", "histogram", "info"), family.name)
        t.true(not re.search("_(seconds|bytes)$", family.name) or
               family.name.endswith("_" + family.unit), family.name + " has UNIT")
    classic = fetch(gw, "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
    t.equal(classic.header("Content-Type"), "text/plain; version=0.0.4; charset=utf-8")
    code, out = promtool("check", "metrics", text=classic.body.decode())
    t.equal((code, out), (0, ""))
    names = {re.split(r"[{ ]", line)[0] for line in classic.body.decode().splitlines()
             if not line.startswith("#")}
    t.equal(names, {re.split(r"[{ ]", line)[0] for line in text.splitlines()
                    if not line.startswith("#")})
    # What Prometheus asks for.
    both = fetch(gw, "application/openmetrics-text;version=1.0.0,"
                     "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
    t.match(both.header("Content-Type"), "openmetrics")


@case
def a_name_of_a_visitor_is_no_label(t):
    gw = t.gateway(PLAIN)
    gw.start()
    before = fetch(gw).body.count(b"\n")
    for n in range(30):
        odd = 'x"}%d\\n' % n
        gw.check(FCGI_APACHE_ROLE=odd, SESSGATE_REALM="r%d" % n)
        gw.check(SESSGATE_POLICY=odd, SERVER_SOFTWARE=odd)
    found = values(gw)
    t.equal(value(found, "sessgate_checks_total", verdict="denied", reason="none",
                  mount="other", store="none"), 30)
    after = fetch(gw).body.count(b"\n")
    t.true(after - before < 5, "%d lines more" % (after - before))


# ---- the figures -------------------------------------------------------------


def mounts(gw, cookie, role="staff"):
    """A check by each mount: those of a check's params alone."""
    for params, is_authorizer in (
            ({}, True), ({"SESSGATE_CHECK": "1"}, False),
            ({"FCGI_APACHE_ROLE": "AUTHENTICATOR"}, True),
            ({"FCGI_APACHE_ROLE": "ACCESS_CHECKER"}, True)):
        yield fastcgi(gw.pool, web_params(HTTP_COOKIE=cookie, SESSGATE_POLICY=role, **params),
                      role=AUTHORIZER if is_authorizer else harness.RESPONDER)


MOUNTS = ("lighttpd", "nginx", "apache", "apache-fcgid")


class Expected:
    """What was asked so far, and what must stand in the metrics for it."""

    def __init__(self, t, gw):
        self.t, self.gw, self.wanted = t, gw, {}
        self.before = values(gw)

    def add(self, name, count=1, **labels):
        key = (name, frozenset(labels.items()))
        self.wanted[key] = self.wanted.get(key, 0) + count

    def check(self, verdict, reason, mount, store):
        self.add("sessgate_checks_total", verdict=verdict, reason=reason, mount=mount,
                 store=store)
        self.add("sessgate_check_duration_seconds_count", store=store)
        self.add("sessgate_check_%s_total" % verdict)

    def compare(self):
        """Every figure that this test is about is as wanted, and no other has grown."""
        now = values(self.gw)
        grown = {key: int(n - self.before.get(key, 0)) for key, n in now.items()
                 if n != self.before.get(key, 0) and re.match(
                     r"sessgate_(checks_total|check_(allowed|denied|unavailable)_total|"
                     r"check_duration_seconds_count|operations_total|"
                     r"operation_duration_seconds_count|(created|changed|ended)_total)$",
                     key[0])}
        self.t.equal(grown, self.wanted)
        for key, n in self.before.items():
            self.t.true(not re.search("_(total|count|bucket|sum)$", key[0]) or
                        now.get(key, 0) >= n, "%s has not fallen" % (key,))


def ask_everything(t, gw, expected, store):
    """A table of requests, and what each is counted as."""
    token, session = gw.create(roles=["staff"])
    expected.add("sessgate_created_total")
    expected.add("sessgate_operations_total", operation="create", result="ok")
    expected.add("sessgate_operation_duration_seconds_count", operation="create")
    for verdict, cookie, role, reason, by in (
            ("allowed", "sid=" + token, "staff", "ok", store),
            ("denied", "sid=x", "staff", "malformed", "none"),
            ("denied", "a=b", "staff", "none", "none"),
            ("denied", "sid=%s; sid=%s" % (token, token), "staff", "ambiguous", "none"),
            ("denied", "sid=" + token[:-2] + "AA", "staff", "bad_tag", "none"),
            ("denied", "sid=" + token, "nosuch", "policy", "none")):
        for mount, answer in zip(MOUNTS, mounts(gw, cookie, role)):
            t.equal(answer.status == 200, verdict == "allowed", reason)
            expected.check(verdict, reason, mount, by)
    t.equal(gw.check(SESSGATE_POLICY="open").status, 200)
    expected.check("allowed", "anonymous", "lighttpd", "none")
    ref = session["ref"]
    for method, body, result, operation in (
            ("PATCH", {"data": {"a": 1}}, "ok", "change"),
            ("PATCH", {"user_id": "x"}, "refused", "change"),
            ("DELETE", {}, "ok", "end")):
        gw.api(method, "v1/sessions/" + ref, body, address=gw.control)
        expected.add("sessgate_operations_total", operation=operation, result=result)
        expected.add("sessgate_operation_duration_seconds_count", operation=operation)
    expected.add("sessgate_changed_total")
    expected.add("sessgate_ended_total")
    t.equal(gw.check("sid=" + token).status, 401)
    expected.check("denied", "revoked", "lighttpd", store)


@case
def what_was_asked_is_what_is_counted(t):
    gw = t.gateway(dict(PLAIN, cache={"size": "0"}))
    gw.start()
    expected = Expected(t, gw)
    ask_everything(t, gw, expected, "sqlite")
    expected.compare()


@case
def no_figure_falls_when_workers_die_or_are_replaced(t):
    gw = t.gateway(dict(PLAIN, cache={"size": "0"}))
    gw.expect_log("killed by signal 9")
    gw.start()
    expected = Expected(t, gw)
    for step in range(3):
        ask_everything(t, gw, expected, "sqlite")
        status = gw.api("GET", "v1/status", address=gw.keeper_socket).json()
        if step == 0:
            pids = {w["pid"] for w in status["workers"]}
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda p=pids: is_replaced(gw, p), "other workers")
        elif step == 1:
            gw.signal(signal.SIGHUP)
            gw.wait_log("reload: done")
    expected.compare()
    found = values(gw)
    t.equal(value(found, "sessgate_worker_deaths_total"), 2)
    t.equal(value(found, "sessgate_reloads_total"), 1)


def is_replaced(gw, pids):
    status = gw.api("GET", "v1/status", address=gw.keeper_socket).json()
    idle = [w["pid"] for w in status["workers"] if w["state"] == "idle"]
    return len(idle) == 2 and not set(idle) & pids


@case
def nothing_is_lost_where_workers_count_at_the_same_time(t):
    gw = t.gateway({"gateway": {"workers": 4}})
    gw.start()
    before = values(gw)

    def ask():
        for _ in range(200):
            gw.check("sid=x")
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    now = values(gw)
    for name, count in (("sessgate_check_denied_total", 800),
                        ("sessgate_requests_total", 801)):  # And those for `before`.
        t.equal(value(now, name) - value(before, name), count, name)


@case
def each_store_that_answers_is_named(t):
    a_fleet = fleet(t)
    gw = a_fleet.hosts[0].gw
    token, _ = gw.create()
    for _ in range(5):
        t.equal(gw.check("sid=" + token).status, 200)

    def stores():
        return {dict(key[1])["store"] for key in values(gw)
                if key[0] == "sessgate_checks_total"}
    wait_until(lambda: gw.check("sid=" + token).status == 200 and
               {"redis", "local"} <= stores(), "Redis, then the local cache")
    a_fleet.redis.command("FLUSHALL")
    wait_until(lambda: gw.check("sid=" + token).status == 200 and
               "mysql" in stores(), "MySQL")
    found = values(gw)
    t.true(value(found, "sessgate_stores_durable_writes_total") > 0, "writes into MySQL")
    t.true(value(found, "sessgate_stores_cache_writes_total") > 0, "writes into Redis")
    t.true(value(found, "sessgate_writes_per_thousand_checks", store="mysql") > 0, "for checks")


# ---- alerts ------------------------------------------------------------------


@case
def the_rules_are_rules_and_do_what_they_say(t):
    rules = os.path.join(CONF, "rules.yml")
    code, out = promtool("check", "rules", rules)
    t.equal(code, 0, out)
    code, out = promtool("test", "rules", TESTS)
    t.equal(code, 0, out)
    # Each alert is tried out.
    with open(rules) as f:
        alerts = set(re.findall(r"alert: (\w+)", f.read()))
    with open(TESTS) as f:
        t.equal(set(re.findall(r"alertname: (\w+)", f.read())), alerts)
    code, out = promtool("check", "config", "--syntax-only", os.path.join(CONF, "scrape.yml"))
    t.equal(code, 0, out)


def names_in(rules):
    expressions = re.sub(r"annotations:\n(?: {10}.*\n)+", "", rules)
    made = set(re.findall(r"record: (\S+)", rules))
    return set(re.findall(r"\bsessgate[_:][a-z_0-9:]+", expressions)) - made


@case
def the_rules_ask_for_what_there_is(t):
    with open(os.path.join(CONF, "rules.yml")) as f:
        wanted = names_in(f.read())
    t.true(len(wanted) > 15, wanted)
    gw = fleet(t).hosts[0].gw
    gw.check()
    there = wait_until(lambda: {name for name, _ in values(gw)} >= wanted and wanted,
                       "all that the rules name; missing: %s" % sorted(
                           wanted - {name for name, _ in values(gw)}))
    t.equal(there, wanted)
    # A name that is not there would be noticed.
    t.true("sessgate_no_such_total" in names_in("expr: sessgate_no_such_total > 0"))


@case
def a_web_server_passes_the_metrics_on_to_who_has_the_key(t):
    """The server of gateway/README.md, as it stands there."""
    gw = t.gateway({"listener": {"metrics": {"address": "", "mode": "0666", "allow": ["v1"]}}})
    path = os.path.join(gw.run_dir, "metrics.sock")
    gw.configure({"listener": {"metrics": {"address": "unix:" + path}}})
    gw.start()
    done = subprocess.run([harness.SESSGATECTL, "-c", gw.conf_path, "service", "add", "prometheus",
                           "--scope", "manage", "--json"], capture_output=True, text=True,
                          timeout=60, check=True)
    key = json.loads(done.stdout)["key"]
    with open(os.path.join(SOURCE, "gateway", "README.md")) as f:
        block = re.search(r"       (server \{\n(?:       .*\n)+?       \})\n", f.read()).group(1)
    port = free_port()
    block = block.replace("127.0.0.1:9180", "127.0.0.1:%d" % port).replace(
        "/etc/nginx/sessgate/", os.path.join(SOURCE, "conf", "nginx") + "/").replace(
            "/run/sessgate/metrics.sock", path)
    conf = os.path.join(gw.dir, "nginx.conf")
    with open(conf, "w") as f:
        f.write("daemon off; pid %(d)s/nginx.pid; error_log %(d)s/nginx.log;\nevents {}\nhttp {\n"
                "access_log off; client_body_temp_path %(d)s/nb; proxy_temp_path %(d)s/np;\n"
                "fastcgi_temp_path %(d)s/nf; uwsgi_temp_path %(d)s/nu; scgi_temp_path %(d)s/ns;\n"
                % {"d": gw.dir} + block + "}\n")
    nginx = harness.spawn([needs("nginx"), "-c", conf, "-e", gw.dir + "/nginx.log"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    t.at_end(nginx.wait)
    t.at_end(nginx.terminate)

    def ask(uri="/.sessgate/v1/metrics", **headers):
        request = urllib.request.Request("http://127.0.0.1:%d%s" % (port, uri), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, ""
    wait_until(lambda: nginx.poll() is not None or can_connect(port), "nginx")
    status, text = ask(Authorization="Bearer " + key)
    t.equal(status, 200)
    t.true("sessgate_requests" in parsed(text), text[:200])
    t.equal(ask()[0] in (401, 403), True)
    t.equal(ask(Authorization="Bearer " + key[:-1])[0] in (401, 403), True)
    t.equal(ask("/.sessgate/v1/status", Authorization="Bearer " + key)[0], 404)


def can_connect(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


# ---- health and readiness ----------------------------------------------------


def pulse(gw):
    """(status of v1/health, of v1/ready, why it is not, status of health)."""
    health = gw.api("GET", "v1/health", address=gw.keeper_socket)
    ready = gw.api("GET", "v1/ready", address=gw.keeper_socket)
    assert (health.json()["status"] == "up") == (health.status == 200), health
    assert ready.json()["ready"] == (ready.status == 200), ready
    return (health.status, ready.status, ready.json()["why"], gw.api("GET", "health").status)


@case
def health_and_readiness_in_each_state_of_the_stores(t):
    a_fleet = fleet(t, conf={"fence": {"max_blind": "3 s"}})
    a_fleet.expect_log("")
    host = a_fleet.hosts[0]
    gw = host.gw
    well, down = (200, 200, None, 200), (503, 503, "stores", 503)

    def becomes(wanted, what):
        wait_until(lambda: pulse(gw) == wanted, "%s: %s, is %s" % (what, wanted, pulse(gw)), 20)
    becomes(well, "all is well")
    host.redis.cut()
    wait_until(lambda: value(values(gw), "sessgate_store_up", store="cache") == 0, "no Redis", 20)
    becomes(well, "Redis is away")
    host.redis.heal()
    wait_until(lambda: value(values(gw), "sessgate_store_up", store="cache") == 1 and
               value(values(gw), "sessgate_fence_groups_behind") == 0, "Redis is back", 20)
    host.mysql.cut()
    wait_until(lambda: value(values(gw), "sessgate_store_up", store="durable") == 0, "no MySQL", 20)
    becomes(down, "MySQL has been away for longer than max_blind")
    host.redis.cut()
    becomes(down, "both are away")
    host.mysql.heal()
    becomes(well, "MySQL is back")
    host.redis.heal()
    wait_until(lambda: gw.api("PUT", "v1/maintenance", {"mode": "emergency"},
                              address=gw.control).status == 200, "maintenance is set", 20)
    becomes(well, "maintenance")
    health = gw.api("GET", "v1/health", address=gw.keeper_socket).json()
    t.equal(health["maintenance"]["mode"], "emergency")


main()
