"""The processes of a benchmark: started privately, measured, and ended.

Each is a session of its own, so Ctrl-C in the terminal reaches the benchmark
alone, which then ends them by pid. A guard process ends what is left, and
removes the directory, when the benchmark itself is killed.
"""

import concurrent.futures
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PATIENCE = 20
TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")

# Reads "pid start-time" lines and one "dir PATH"; when they end, so has the
# benchmark: whole sessions are killed whose leader is still the one named.
GUARD = r"""
import os, shutil, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
def began(pid):
    try:
        with open("/proc/%s/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[19]
    except OSError:
        return None
for line in sys.stdin.read().splitlines():
    word, rest = line.split(" ", 1)
    if word == "dir":
        directory = rest
    elif began(word) == rest:
        os.killpg(int(word), signal.SIGKILL)
shutil.rmtree(directory, ignore_errors=True)
"""


class Unavailable(Exception):
    """A contender that cannot run here; the text says why, in one line."""

    def __init__(self, why):
        super().__init__(" ".join(str(why).split())[:500])


def program(*names):
    """The path of the first that is installed, or Unavailable."""
    for name in names:
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path:
            return path
    raise Unavailable(f"{names[0]} is not installed (scripts/packages peers)")


def wait_until(predicate, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise Unavailable(f"waited {seconds} s in vain: {what}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


def ask(port, path, method="GET", body=None, **headers):
    """One request; header names with _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read().decode("utf-8", "replace"))
    finally:
        connection.close()


def stat_fields(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        return f.read().rpartition(")")[2].split()


def pids_below(roots):
    """These and their living descendants."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                children.setdefault(int(stat_fields(name)[1]), []).append(int(name))
            except (OSError, IndexError):
                continue
    found, todo = [], list(roots)
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def cpu_us(roots):
    """What the scheduler has counted for these processes and all below them.

    Each process's own clock is exact and has all its threads, also those that
    have ended (/proc/PID/schedstat is that of the first thread alone). Children
    that have ended are with their parent, in ticks.
    """
    total = 0.0
    for pid in pids_below(roots):
        try:
            total += time.clock_gettime_ns(~pid << 3 | 2) / 1000
            fields = stat_fields(pid)
            total += (int(fields[13]) + int(fields[14])) * TICK_US
        except (OSError, IndexError):
            continue
    return total


def at_once(make, items, threads=8):
    """[make(item)] in their order; logins that wait for a disk wait together."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(make, items))


class Machine:
    """at_end(): as tests/it/harness.py's case, so that its stores can be used."""

    def __init__(self):
        self.processes = {}
        self.ends = []
        self.guard = None
        self.work = tempfile.mkdtemp(prefix="sessgate-bench.")
        os.chmod(self.work, 0o755)
        tempfile.tempdir = self.work
        self.guard = subprocess.Popen([sys.executable, "-c", GUARD], stdin=subprocess.PIPE, text=True, cwd="/",
                                      start_new_session=True)
        self.tell_guard("dir " + self.work)

    def tell_guard(self, line):
        self.guard.stdin.write(line + "\n")
        self.guard.stdin.flush()

    def path(self, *names):
        return os.path.join(self.work, *names)

    def directory(self, *names):
        path = self.path(*names)
        os.makedirs(path, exist_ok=True)
        return path

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def spawn(self, command, **popen):
        process = subprocess.Popen(command, start_new_session=True, **popen)
        self.tell_guard(f"{process.pid} {stat_fields(process.pid)[19]}")
        return process

    def start(self, name, command, ready=None, **popen):
        """In the background; ready: a socket's path, a port, or a predicate."""
        with open(self.path(name + ".log"), "ab") as log:
            process = self.spawn(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **popen)
        self.processes[name] = process

        def is_ready():
            if process.poll() is not None:
                raise Unavailable(f"{name} ended at once: {self.last_words(name)}")
            return answers(ready)
        wait_until(is_ready, f"{name} answers; it said: {self.last_words(name)}")
        return process

    def last_words(self, name):
        with open(self.path(name + ".log"), encoding="utf-8", errors="replace") as f:
            return " / ".join(f.read().strip().splitlines()[-2:])[-400:] or "nothing"

    def pids(self, names):
        return [self.processes[name].pid for name in names if name in self.processes]

    def at_end(self, end, *args):
        self.ends.append((end, args))

    def stop(self):
        """Everything that was started, in the reverse order; always to the end."""
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            try:
                os.killpg(process.pid, signal.SIGKILL)  # what it has left behind
            except ProcessLookupError:
                pass
        for end, args in reversed(self.ends):
            end(*args)
        self.guard.stdin.close()
        self.guard.wait()


def answers(ready):
    """Whether somebody accepts there; a socket's file alone is there earlier."""
    if callable(ready):
        return ready()
    is_path = isinstance(ready, str)
    with socket.socket(socket.AF_UNIX if is_path else socket.AF_INET) as s:
        s.settimeout(1)
        return s.connect_ex(ready if is_path else ("127.0.0.1", ready)) == 0
