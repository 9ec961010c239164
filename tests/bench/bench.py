"""scripts/bench: the first form of the benchmark (see there).

CPU is what the kernel's scheduler counted for the web server and the FastCGI
processes (schedstat), over the requests answered: the figure that a noisy
machine moves least. The load generator (wrk) is not charged.
"""

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "it"))
import stores  # pylint: disable=wrong-import-position

USERS = 1000
# What sessgate keeps its sessions in; each is an instance of its own.
PROFILES = ("sqlite", "mysql", "redis")


def pids_below(pid):
    """pid and its living descendants."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(name))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def cpu_us(roots):
    total = 0
    for root in roots:
        for pid in pids_below(root):
            try:
                with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
                    total += int(f.read().split()[0])
            except OSError:
                pass
    return total / 1000


class Bench:
    def __init__(self, build, work, workers):
        self.build, self.work, self.workers = os.path.abspath(build), work, workers
        self.processes = {}
        self.ends = []
        self.mariadb = self.redis = None

    def start(self, name, *command):
        with open(os.path.join(self.work, name + ".log"), "wb") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for end, args in reversed(self.ends):
            end(*args)

    def at_end(self, end, *args):
        self.ends.append((end, args))

    def wait_for(self, path):
        end = time.monotonic() + 10
        while not os.path.exists(path):
            if time.monotonic() > end:
                for name in sorted(os.listdir(self.work)):
                    if name.endswith(".log"):
                        with open(os.path.join(self.work, name), encoding="utf-8", errors="replace") as f:
                            sys.stderr.write(f"--- {name}\n{f.read()[-2000:]}")
                raise SystemExit(f"bench: {path} did not appear; see above")
            time.sleep(0.05)

    def store_sections(self, profile):
        if profile == "sqlite":
            return f'sqlite: {{ file = "{self.work}/{profile}/db/sessions.db"; }};'
        database = "sessgate_" + profile
        self.mariadb.sql("CREATE DATABASE " + database)
        text = f'mysql: {{ socket = "{self.mariadb.socket}"; user = "root"; database = "{database}"; }};'
        if profile == "redis":
            text += f'\nredis: {{ address = "unix:{self.redis.socket}"; }};'
        return text

    def start_sessgate(self, profile):
        """An instance on those stores; its routes are below /PROFILE/."""
        place = os.path.join(self.work, profile)
        os.mkdir(place)
        user = "" if os.getuid() else 'user = "nobody"; group = "nogroup";'
        conf = os.path.join(place, "sessgate.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(f'''gateway: {{ runtime_dir = "{place}/run"; workers = {self.workers}; mount = "/{profile}/"; {user} }};
listener: {{ login: {{ mode = "0600"; group = ""; }}; }};
cookie: {{ name = "sid"; secure = false; }};
keys: {{ file = "{place}/keys/keys"; }};
{self.store_sections(profile)}
''')
        binaries = os.path.join(self.build, "gateway")
        self.start("sessgate-" + profile, os.path.join(binaries, "sessgated"), "-c", conf)
        self.wait_for(os.path.join(place, "run/pool.sock"))
        self.wait_for(os.path.join(place, "run/login.sock"))
        if profile != "sqlite":  # its first start made the keys
            subprocess.run([os.path.join(binaries, "sessgatectl"), "-c", conf, "db", "init"], check=True,
                           stdout=subprocess.DEVNULL)

    def start_all(self):
        work = self.work
        for name in ("own", "www", "www/static"):
            os.mkdir(os.path.join(work, name))
        with open(os.path.join(work, "www/static/a"), "w", encoding="ascii") as f:
            f.write("a\n")
        # As on a site: each commit is on disk before it is acknowledged.
        self.mariadb = stores.MariaDB(self, is_durable=True)
        self.redis = stores.Redis(self)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        routes = ",\n".join(
            f'  "/check/{p}" => (( "socket" => "{work}/{p}/run/pool.sock", "check-local" => "disable" )),\n'
            f'  "/{p}/v1/" => (( "socket" => "{work}/{p}/run/login.sock", "check-local" => "disable" ))'
            for p in PROFILES)
        with open(os.path.join(work, "lighttpd.conf"), "w", encoding="ascii") as f:
            f.write(f'''server.port = {self.port}
server.bind = "127.0.0.1"
server.document-root = "{work}/www"
server.modules = ( "mod_setenv", "mod_fastcgi" )
mimetype.assign = ( "" => "text/plain" )
$HTTP["url"] =~ "^/check" {{ setenv.set-environment = ( "SESSGATE_CHECK" => "1" ) }}
fastcgi.server = (
  "/stock" => (( "socket" => "{work}/stock.sock", "check-local" => "disable" )),
  "/own" => (( "socket" => "{work}/own/pool.sock", "check-local" => "disable" )),
  "/static" => (( "socket" => "{work}/sqlite/run/pool.sock", "mode" => "authorizer", "check-local" => "disable" )),
{routes} )
''')
        os.chmod(work, 0o755)
        self.start("stock", os.path.join(self.build, "tests/bench/noop_stock"),
                   os.path.join(work, "stock.sock"), str(self.workers))
        self.start("own", os.path.join(self.build, "tests/bench/noop_own"),
                   os.path.join(work, "own"), str(self.workers))
        for path in ("stock.sock", "own/pool.sock"):
            self.wait_for(os.path.join(work, path))
        for profile in PROFILES:
            self.start_sessgate(profile)
        path = os.environ["PATH"] + ":/usr/sbin"
        self.start("lighttpd", "/usr/bin/env", "PATH=" + path, "lighttpd", "-D", "-f",
                   os.path.join(work, "lighttpd.conf"))
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                if time.monotonic() > end:
                    raise SystemExit("bench: lighttpd does not answer") from None
                time.sleep(0.05)

    def create(self, profile, user):
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", f"/{profile}/v1/sessions", json.dumps({"user_id": user}),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        if answer.status != 201:
            raise SystemExit(f"bench: create answered {answer.status}: {body}")
        return body["token"]

    def write_scripts(self):
        for profile in PROFILES:
            tokens = [self.create(profile, f"user{i}") for i in range(USERS)]
            with open(os.path.join(self.work, f"check-{profile}.lua"), "w", encoding="ascii") as f:
                f.write("local tokens = {" + ",".join(f'"{t}"' for t in tokens) + "}\n"
                        "local n = 0\n"
                        "request = function()\n"
                        "  n = n % #tokens + 1\n"
                        '  return wrk.format("GET", nil, { ["Cookie"] = "theme=dark; sid=" .. tokens[n] })\n'
                        "end\n")
        with open(os.path.join(self.work, "create.lua"), "w", encoding="ascii") as f:
            f.write("local n = 0\n"
                    "request = function()\n"
                    "  n = n + 1\n"
                    '  return wrk.format("POST", nil, { ["Content-Type"] = "application/json" },\n'
                    "    '{\"user_id\":\"maker' .. n .. '\"}')\n"
                    "end\n")

    def bare_transactions(self, seconds):
        """Rows a second, each committed by itself, from as many connections as there are workers."""
        done = subprocess.run(
            [os.path.join(self.build, "tests/bench/transaction"), self.mariadb.socket, "root", "bare",
             str(self.workers), str(seconds)], capture_output=True, text=True, timeout=seconds + 60, check=True)
        return {"requests_s": float(done.stdout), "cpu_us": 0.0, "bad": 0, "count": 0, "p50": "-", "p99": "-"}

    def load(self, path, script, connections, seconds, servers):
        if script is None:
            return self.bare_transactions(seconds)
        roots = [self.processes[s].pid for s in ("lighttpd",) + servers]
        before = cpu_us(roots)
        done = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s",
             os.path.join(self.work, script), f"http://127.0.0.1:{self.port}{path}"],
            capture_output=True, text=True, timeout=seconds + 60, check=True)
        cpu = cpu_us(roots) - before
        text = done.stdout
        count = int(re.search(r"(\d+) requests in", text).group(1))
        bad = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
        for line in re.findall(r"Socket errors: (.*)", text):
            bad += sum(int(n) for n in re.findall(r"\d+", line))
        p = {k: v for k, v in re.findall(r"^\s+(50|99)%\s+(\S+)", text, re.M)}
        return {"requests_s": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
                "cpu_us": cpu / max(count, 1), "bad": bad, "count": count,
                "p50": p.get("50", "?"), "p99": p.get("99", "?")}


FLOOR = "do-nothing, stock libfcgi"
BARE = "bare transaction, MariaDB"
CONTENDERS = [
    # name, path, wrk script, connections, FastCGI processes; what it is compared with
    (FLOOR, "/stock", "check-sqlite.lua", 16, ("stock",), FLOOR),
    ("do-nothing, our accept", "/own", "check-sqlite.lua", 16, ("own",), FLOOR),
    ("sessgate check, Redis", "/check/redis", "check-redis.lua", 16, ("sessgate-redis",), FLOOR),
    ("sessgate check, MySQL", "/check/mysql", "check-mysql.lua", 16, ("sessgate-mysql",), FLOOR),
    ("sessgate check, SQLite", "/check/sqlite", "check-sqlite.lua", 16, ("sessgate-sqlite",), FLOOR),
    ("sessgate authorizer + static file", "/static/a", "check-sqlite.lua", 16, ("sessgate-sqlite",), FLOOR),
    (BARE, "", None, 0, (), BARE),
    ("sessgate creation, Redis + MySQL", "/redis/v1/sessions", "create.lua", 16, ("sessgate-redis",), BARE),
    ("sessgate creation, MySQL", "/mysql/v1/sessions", "create.lua", 16, ("sessgate-mysql",), BARE),
    ("sessgate creation, SQLite", "/sqlite/v1/sessions", "create.lua", 16, ("sessgate-sqlite",), BARE),
]


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sessgate-bench.") as work:
        bench = Bench(options.build, work, options.workers)
        results = {name: [] for name, *_ in CONTENDERS}
        try:
            bench.start_all()
            bench.write_scripts()
            bench.mariadb.sql("CREATE DATABASE bare")
            for name, path, script, connections, servers, _ in CONTENDERS:
                bench.load(path, script, connections, 1, servers)  # warm up
            for turn in range(options.rounds):
                order = CONTENDERS if turn % 2 == 0 else CONTENDERS[::-1]
                for name, path, script, connections, servers, _ in order:
                    results[name].append(bench.load(path, script, connections, options.seconds, servers))
                print(f"round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
        finally:
            bench.stop()
    rows = []
    print(f"{'contender':36} {'req/s (min-max)':>24} {'p50':>9} {'p99':>9} {'CPU us':>7} "
          f"{'req/s ratio':>11} {'CPU ratio':>9} {'errors':>6}")
    for name, *_, other in CONTENDERS:
        r, floor = results[name], results[other]
        rates = [x["requests_s"] for x in r]
        row = {"name": name, "requests_s": statistics.median(rates),
               "cpu_us": statistics.median(x["cpu_us"] for x in r),
               "requests_ratio": statistics.median(x["requests_s"] / f["requests_s"] for x, f in zip(r, floor)),
               "cpu_ratio": statistics.median(x["cpu_us"] / f["cpu_us"] if f["cpu_us"] else 0 for x, f in zip(r, floor)),
               "errors": sum(x["bad"] for x in r), "rounds": r}
        rows.append(row)
        middle = sorted(r, key=lambda x: x["requests_s"])[len(r) // 2]
        span = f"{row['requests_s']:.0f} ({min(rates):.0f}-{max(rates):.0f})"
        print(f"{name:36} {span:>24} {middle['p50']:>9} {middle['p99']:>9} {row['cpu_us']:7.1f} "
              f"{row['requests_ratio']:11.2f} {row['cpu_ratio']:9.2f} {row['errors']:6d}")
    print(f"\nlighttpd, {options.workers} workers, new connection a request, 16 connections of wrk, "
          f"{options.rounds} rounds of {options.seconds} s; ratios round by round: checks to the first row, "
          "creations to bare transactions from as many connections as workers (the server's own time is not in CPU us).")
    if options.json:
        with open(options.json, "w", encoding="ascii") as f:
            json.dump(rows, f, indent=1)
    if any(row["errors"] for row in rows):
        raise SystemExit("bench: some requests failed")


main()
