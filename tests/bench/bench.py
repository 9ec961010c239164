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

USERS = 1000


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

    def start_all(self):
        work, binaries = self.work, os.path.join(self.build, "gateway")
        for name in ("own", "www", "www/static"):
            os.mkdir(os.path.join(work, name))
        with open(os.path.join(work, "www/static/a"), "w", encoding="ascii") as f:
            f.write("a\n")
        user = "" if os.getuid() else 'user = "nobody"; group = "nogroup";'
        with open(os.path.join(work, "sessgate.conf"), "w", encoding="ascii") as f:
            f.write(f'''gateway: {{ runtime_dir = "{work}/run"; workers = {self.workers}; {user} }};
listener: {{ login: {{ mode = "0600"; group = ""; }}; }};
cookie: {{ name = "sid"; secure = false; }};
keys: {{ file = "{work}/keys/keys"; }};
sqlite: {{ file = "{work}/db/sessions.db"; }};
''')
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
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
  "/check" => (( "socket" => "{work}/run/pool.sock", "check-local" => "disable" )),
  "/static" => (( "socket" => "{work}/run/pool.sock", "mode" => "authorizer", "check-local" => "disable" )),
  "/.sessgate/v1/" => (( "socket" => "{work}/run/login.sock", "check-local" => "disable" )) )
''')
        os.chmod(work, 0o755)
        self.start("stock", os.path.join(self.build, "tests/bench/noop_stock"),
                   os.path.join(work, "stock.sock"), str(self.workers))
        self.start("own", os.path.join(self.build, "tests/bench/noop_own"),
                   os.path.join(work, "own"), str(self.workers))
        self.start("sessgate", os.path.join(binaries, "sessgated"), "-c", os.path.join(work, "sessgate.conf"))
        for path in ("stock.sock", "own/pool.sock", "run/pool.sock", "run/login.sock"):
            self.wait_for(os.path.join(work, path))
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

    def create(self, user):
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", "/.sessgate/v1/sessions", json.dumps({"user_id": user}),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        if answer.status != 201:
            raise SystemExit(f"bench: create answered {answer.status}: {body}")
        return body["token"]

    def write_scripts(self):
        tokens = [self.create(f"user{i}") for i in range(USERS)]
        with open(os.path.join(self.work, "check.lua"), "w", encoding="ascii") as f:
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

    def load(self, path, script, connections, seconds, servers):
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


CONTENDERS = [
    # name, path, wrk script, connections, FastCGI processes
    ("do-nothing, stock libfcgi", "/stock", "check.lua", 16, ("stock",)),
    ("do-nothing, our accept", "/own", "check.lua", 16, ("own",)),
    ("sessgate check, SQLite", "/check", "check.lua", 16, ("sessgate",)),
    ("sessgate authorizer + static file", "/static/a", "check.lua", 16, ("sessgate",)),
    ("sessgate creation, SQLite", "/.sessgate/v1/sessions", "create.lua", 16, ("sessgate",)),
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
            for name, path, script, connections, servers in CONTENDERS:
                bench.load(path, script, connections, 1, servers)  # warm up
            for turn in range(options.rounds):
                order = CONTENDERS if turn % 2 == 0 else CONTENDERS[::-1]
                for name, path, script, connections, servers in order:
                    results[name].append(bench.load(path, script, connections, options.seconds, servers))
                print(f"round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
        finally:
            bench.stop()
    floor = results[CONTENDERS[0][0]]
    rows = []
    print(f"{'contender':36} {'req/s (min-max)':>24} {'p50':>9} {'p99':>9} {'CPU us':>7} "
          f"{'req/s ratio':>11} {'CPU ratio':>9} {'errors':>6}")
    for name, *_ in CONTENDERS:
        r = results[name]
        rates = [x["requests_s"] for x in r]
        row = {"name": name, "requests_s": statistics.median(rates),
               "cpu_us": statistics.median(x["cpu_us"] for x in r),
               "requests_ratio": statistics.median(x["requests_s"] / f["requests_s"] for x, f in zip(r, floor)),
               "cpu_ratio": statistics.median(x["cpu_us"] / f["cpu_us"] for x, f in zip(r, floor)),
               "errors": sum(x["bad"] for x in r), "rounds": r}
        rows.append(row)
        middle = sorted(r, key=lambda x: x["requests_s"])[len(r) // 2]
        span = f"{row['requests_s']:.0f} ({min(rates):.0f}-{max(rates):.0f})"
        print(f"{name:36} {span:>24} {middle['p50']:>9} {middle['p99']:>9} {row['cpu_us']:7.1f} "
              f"{row['requests_ratio']:11.2f} {row['cpu_ratio']:9.2f} {row['errors']:6d}")
    print(f"\nlighttpd, {options.workers} workers, new connection a request, 16 connections of wrk, "
          f"{options.rounds} rounds of {options.seconds} s; ratios to the first row, round by round.")
    if options.json:
        with open(options.json, "w", encoding="ascii") as f:
            json.dump(rows, f, indent=1)
    if any(row["errors"] for row in rows):
        raise SystemExit("bench: some requests failed")


main()
