"""Starts sessgated in a directory of its own and talks FastCGI to it.

A test file is a row of functions, each a case whose name is a sentence:

    from harness import case, main

    @case
    def a_check_without_a_cookie_is_denied(t):
        gw = t.gateway()
        gw.start()
        t.equal(gw.check().status, 401)

    main()

main() prints TAP; `python3 master.py word` runs the cases whose name contains
word. Environment: SESSGATE_BUILD (where gateway/sessgated was built; default:
the current directory), SKIPS_AS_FAILS=1 (a skipped case fails),
KEEP=1 (leave the directories of the cases, their names are printed).

Every gateway of a case is stopped at its end, and the case fails when the log
has an error or warning line that no gw.expect_log() announced. Nothing here
needs a fixed port, and everything that waits has an end.
"""

import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BUILD = os.path.abspath(os.environ.get("SESSGATE_BUILD", "."))
SOURCE = os.path.abspath(
    os.environ.get("SESSGATE_SOURCE",
                   os.path.join(os.path.dirname(__file__), "..", "..")))
SESSGATED = os.path.join(BUILD, "gateway", "sessgated")
SESSGATECTL = os.path.join(BUILD, "gateway", "sessgatectl")
# Under a sanitizer or valgrind everything takes longer.
PATIENCE = float(os.environ.get("SESSGATE_TEST_PATIENCE", "10"))
IS_ROOT = os.geteuid() == 0
# Whom the gateway becomes when the tests run as root.
USER = "nobody" if IS_ROOT else pwd.getpwuid(os.geteuid()).pw_name


CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL,
           signal.SIGFPE)


class Skip(Exception):
    """This case cannot run here; the text says why."""


class Machine:
    """How long it stood still: by how much a thread that only sleeps was late.
    What hangs in a program of ours does not keep that thread from running."""

    BEAT_S, USUAL_S = 0.05, 0.2

    def __init__(self):
        self.pid, self.took_s = os.getpid(), 0.0
        self.beat = time.monotonic()
        threading.Thread(target=self.run, daemon=True).start()

    def late_s(self):
        late = time.monotonic() - self.beat - self.BEAT_S
        return late if late > self.USUAL_S else 0.0

    def run(self):
        while True:
            time.sleep(self.BEAT_S)
            self.took_s += self.late_s()
            self.beat = time.monotonic()

    def stood_still_s(self):
        """Since this began; the one that it is in at the moment too."""
        return self.took_s + self.late_s()


_machine = None


def stood_still_s():
    global _machine
    if _machine is None or _machine.pid != os.getpid():
        _machine = Machine()
    return _machine.stood_still_s()


def wait_until(predicate, what, timeout=PATIENCE):
    """Ask until the answer is true, and return it; AssertionError if late. Time
    in which the machine stood still does not count."""
    end = time.monotonic() + timeout - stood_still_s()
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() > end + stood_still_s():
            raise AssertionError("waited %g s in vain: %s" % (timeout, what))
        time.sleep(0.02)


def is_alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid):
    """Pids of the direct children, without the guard of spawn()."""
    found = []
    guard = str(_guard.pid) if _guard is not None else None
    for name in os.listdir("/proc"):
        if not name.isdigit() or name == guard:
            continue
        try:
            with open("/proc/%s/stat" % name) as f:
                fields = f.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] not in "ZX":
            found.append(int(name))
    return sorted(found)


# ---- FastCGI, as a web server speaks it ------------------------------------

RESPONDER, AUTHORIZER = 1, 2
BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = 1, 2, 3, 4, 5, 6, 7


def record(kind, content=b"", request_id=1):
    return struct.pack(">BBHHBx", 1, kind, request_id, len(content),
                       0) + content


def stream(kind, content):
    """Records of a stream, the closing empty one included."""
    parts = [record(kind, content[i:i + 65535])
             for i in range(0, len(content), 65535)]
    return b"".join(parts) + record(kind)


def pair(name, value):
    def length(n):
        return struct.pack(">B", n) if n < 128 else struct.pack(
            ">I", n | 0x80000000)
    name, value = encoded(name), encoded(value)
    return length(len(name)) + length(len(value)) + name + value


def encoded(text):
    return text if isinstance(text, bytes) else text.encode()


def request_bytes(params, body=b"", role=RESPONDER, keep=False):
    """The whole request; an authorizer has no stdin, not even an empty one."""
    items = params.items() if isinstance(params, dict) else params
    content = b"".join(pair(k, v) for k, v in items)
    out = record(BEGIN, struct.pack(">HB5x", role, 1 if keep else 0))
    out += stream(PARAMS, content)
    return out if role == AUTHORIZER else out + stream(STDIN, body)


class Answer:
    """What came back. status 0: the connection closed with no END_REQUEST."""

    def __init__(self, stdout, stderr, ended):
        self.stdout, self.stderr, self.ended = stdout, stderr, ended
        head, _, self.body = stdout.replace(b"\r\n", b"\n").partition(b"\n\n")
        self.headers = []
        for line in head.decode("utf-8", "replace").split("\n"):
            if line:
                name, _, value = line.partition(":")
                self.headers.append((name.strip(), value.strip()))
        self.status = 0
        if ended and stdout:
            self.status = int((self.header("Status") or "200").split()[0])

    def header(self, name):
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return None

    def all_headers(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    def json(self):
        import json
        return json.loads(self.body)

    def __repr__(self):
        return "Answer(%d, %r)" % (self.status, self.stdout[:300])


def connect(address, timeout=PATIENCE):
    """A socket to a path or a (host, port)."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def read_answer(sock):
    data = b""
    stdout, stderr, ended = b"", b"", False
    while not ended:
        while len(data) >= 8:
            _, kind, _, length, padding = struct.unpack(">BBHHBx", data[:8])
            if len(data) < 8 + length + padding:
                break
            content = data[8:8 + length]
            data = data[8 + length + padding:]
            if kind == STDOUT:
                stdout += content
            elif kind == STDERR:
                stderr += content
            elif kind == END:
                ended = True
        if ended:
            break
        try:
            got = sock.recv(65536)
        except ConnectionResetError:
            break
        if not got:
            break
        data += got
    return Answer(stdout, stderr, ended)


def fastcgi(address, params, body=b"", role=RESPONDER, timeout=PATIENCE):
    """One request on a connection of its own."""
    sock = connect(address, timeout)
    try:
        try:
            sock.sendall(request_bytes(params, body, role))
        except BrokenPipeError:
            pass  # An early answer may be there to read.
        return read_answer(sock)
    finally:
        sock.close()


def web_params(method="GET", uri="/app/", **more):
    """What a web server sends; `more` adds and replaces, None removes."""
    path, _, query = uri.partition("?")
    params = {
        "REQUEST_METHOD": method, "REQUEST_URI": uri, "SCRIPT_NAME": path,
        "QUERY_STRING": query, "SERVER_PROTOCOL": "HTTP/1.1",
        "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_NAME": "site.test",
        "SERVER_PORT": "443", "HTTPS": "on", "HTTP_HOST": "site.test",
        "REMOTE_ADDR": "192.0.2.7", "REMOTE_PORT": "40000",
    }
    params.update(more)
    return {k: v for k, v in params.items() if v is not None}


# ---- sessgated -------------------------------------------------------------


def conf_text(sections):
    """Dictionaries as libconfig text."""
    def value(v, indent):
        pad = "\t" * indent
        if isinstance(v, dict):
            lines = "".join("%s\t%s = %s;\n" % (pad, k, value(w, indent + 1))
                            for k, w in v.items())
            return "{\n%s%s}" % (lines, pad)
        if isinstance(v, bool):
            return "true" if v else "false"
        if isinstance(v, int):
            return str(v)
        if isinstance(v, (list, tuple)):
            return "[" + ", ".join(value(w, indent) for w in v) + "]"
        return '"%s"' % str(v).replace("\\", "\\\\").replace('"', '\\"')
    return "".join("%s = %s;\n" % (k, value(v, 0))
                   for k, v in sections.items())


# Reads "pid start-time" lines until its standard input ends, which is when the
# test has, and kills what is still there. (PR_SET_PDEATHSIG does not outlive a
# change of the user, and goes by the thread.)
GUARD_PY = r"""
import os, signal, sys
def began(pid):
    try:
        with open("/proc/%s/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[19]
    except OSError:
        return None
for line in sys.stdin.read().splitlines():
    pid, start = line.split()
    if began(pid) == start:
        os.kill(int(pid), signal.SIGKILL)
"""
_guard = None


def spawn(command, **popen):
    """As Popen, of a program that is killed when the test ends, however that
    is: one that is killed itself leaves no servers."""
    global _guard
    if _guard is None:
        _guard = subprocess.Popen(
            [sys.executable, "-c", GUARD_PY], stdin=subprocess.PIPE, text=True,
            cwd="/", start_new_session=True)
    process = subprocess.Popen(command, **popen)
    with open("/proc/%d/stat" % process.pid) as f:
        start = f.read().rpartition(")")[2].split()[19]
    _guard.stdin.write("%d %s\n" % (process.pid, start))
    _guard.stdin.flush()
    return process


class Gateway:
    """One sessgated with its directory: sessgate.conf, run/, data/, log."""

    spawn = staticmethod(spawn)

    def __init__(self, conf=None, directory=None):
        self.dir = directory or tempfile.mkdtemp(prefix="sgit.")
        os.chmod(self.dir, 0o755)
        self.run_dir = os.path.join(self.dir, "run")
        self.conf_path = os.path.join(self.dir, "sessgate.conf")
        self.log_path = os.path.join(self.dir, "log")
        self.pool = os.path.join(self.run_dir, "pool.sock")
        self.control = os.path.join(self.run_dir, "control.sock")
        self.login = os.path.join(self.run_dir, "login.sock")
        self.keeper_socket = os.path.join(self.run_dir, "keeper.sock")
        self.process = None
        self.build = BUILD
        self.expected = []
        self.conf = {
            "gateway": {"runtime_dir": self.run_dir, "workers": 2},
            "keys": {"file": os.path.join(self.dir, "data", "keys")},
            "sqlite": {"file": os.path.join(self.dir, "data", "db")},
            # Not a tenth of 1 GiB for each of many gateways, in memory.
            "spool": {"dir": os.path.join(self.dir, "data", "spool"),
                      "max": "16 MiB"},
        }
        if IS_ROOT:
            self.conf["gateway"]["user"] = USER
        self.configure(conf or {})

    def configure(self, changes):
        """Merge options in and write the file. None removes an option."""
        for section, options in changes.items():
            merged = self.conf.setdefault(section, {})
            for name, value in options.items():
                if value is None:
                    merged.pop(name, None)
                elif isinstance(value, dict):
                    merged[name] = dict(merged.get(name, {}), **value)
                else:
                    merged[name] = value
        with open(self.conf_path, "w") as f:
            f.write(conf_text(self.conf))

    def command(self, *args):
        return [os.path.join(self.build, "gateway", "sessgated"), "-c",
                self.conf_path] + list(args)

    def start(self, *args, wait=True, **popen):
        """Start it; ready when a request is answered. popen: for Popen()."""
        with open(self.log_path, "ab") as log:
            self.process = self.spawn(
                self.command(*args), stdout=log, stderr=log, cwd="/",
                stdin=popen.pop("stdin", subprocess.DEVNULL), **popen)
        if wait:
            self.wait_ready()

    def wait_ready(self, address=None, timeout=PATIENCE):
        def answers():
            if self.process.poll() is not None:
                raise AssertionError("sessgated ended with %d:\n%s" % (
                    self.process.returncode, self.log()))
            try:
                # Not a worker of an instance before it, which still answers.
                with open(os.path.join(self.run_dir, "lock")) as f:
                    if f.read().strip() != str(self.pid):
                        return False
                return self.check(address=address).status in (200, 401, 403)
            except OSError:
                return False
        wait_until(answers, "sessgated answers\n" + self.log(), timeout)

    def run(self, *args, timeout=PATIENCE):
        """Run it to its end: (exit status, what it printed)."""
        done = subprocess.run(
            self.command(*args), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
            timeout=timeout)
        return done.returncode, done.stdout.decode("utf-8", "replace")

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        os.kill(self.pid, number)

    def stop(self, timeout=PATIENCE):
        """SIGTERM and wait; the exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("did not stop in %g s" % timeout)

    def kill_all(self):
        """Whatever is left, by pid; for the end of a case only."""
        if self.process is None:
            return
        left = children(self.pid)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    # -- requests --

    def check(self, cookie=None, address=None, **params):
        """The authorizer's question."""
        if cookie is not None:
            params["HTTP_COOKIE"] = cookie
        return fastcgi(address or self.pool, web_params(**params),
                       role=AUTHORIZER)

    def api(self, method, route, body=b"", address=None, **params):
        """A request below the mount. A dict as body is sent as JSON."""
        if isinstance(body, dict):
            import json
            body = json.dumps(body).encode()
            params.setdefault("CONTENT_TYPE", "application/json")
        if body:
            params.setdefault("CONTENT_LENGTH", str(len(body)))
        mount = self.conf["gateway"].get("mount", "/.sessgate/")
        return fastcgi(address or self.pool,
                       web_params(method, mount + route, **params), body)

    def create(self, user="alice", **members):
        """A session by control.sock: (token, session as JSON)."""
        answer = self.api("POST", "v1/sessions",
                          dict(members, user_id=user), address=self.control)
        assert answer.status == 201, answer
        made = answer.json()
        return made["token"], made["session"]

    # -- the log --

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def wait_log(self, pattern, timeout=PATIENCE):
        wait_until(lambda: re.search(pattern, self.log()),
                   "log has %r" % pattern, timeout)

    def expect_log(self, *patterns):
        """Error and warning lines that match any of these are fine."""
        self.expected += [re.compile(p) for p in patterns]

    def surprises(self):
        """Error and warning lines that nobody expected."""
        bad = re.compile(
            r"^\S+Z (error|warning) |AddressSanitizer|runtime error|"
            r"LeakSanitizer|stack smashing")
        return [line for line in self.log().splitlines()
                if bad.search(line) and
                not any(p.search(line) for p in self.expected)]


# ---- cases and TAP ---------------------------------------------------------


def listening_socket(path, mode=0o666):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    os.chmod(path, mode)
    sock.listen(64)
    return sock


LISTEN_PY = """
import fcntl, os, sys
fds = [int(x) for x in sys.argv[1].split(",")]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
os.environ["LISTEN_FDS"] = str(len(fds))
os.environ["LISTEN_PID"] = str(os.getpid() + int(os.environ.get("OFF", "0")))
os.execv(sys.argv[2], sys.argv[2:])
"""


def start_with_listen_fds(gw, socks, names, **env):
    """As systemd does: descriptors from 3 on, LISTEN_PID is its own pid."""
    fds = [s.fileno() for s in socks]
    more = {"LISTEN_FDNAMES": names} if names is not None else {}
    with open(gw.log_path, "ab") as log:
        gw.process = subprocess.Popen(
            [sys.executable, "-c", LISTEN_PY, ",".join(map(str, fds))] +
            gw.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            cwd="/", pass_fds=fds, env=dict(os.environ, **more, **env))


def end_process(process):
    """Of a program that may not listen to SIGTERM."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Shared:
    """What all cases of a program ask: made, in a Case of its own, by the first
    who calls it; what it wanted is told to all. The last case ends it."""

    def __init__(self, make):
        self.make, self.house, self.made, self.error = make, None, None, None

    def __call__(self):
        if self.error is not None:
            raise self.error
        if self.made is None:
            self.house = Case()
            try:
                self.made = self.make(self.house)
            except (AssertionError, Skip) as e:
                self.error = e
                self.end()
                raise
        return self.made

    def end(self):
        """The lines of what was wrong; none when it is not there."""
        house, self.house, self.made = self.house, None, None
        if house is None:
            return []
        wrong = house.finish()
        house.remove()
        return wrong


class Case:
    """What a case function gets as `t`."""

    def __init__(self):
        self.gateways = []
        self.cleanups = []

    def gateway(self, conf=None):
        gw = Gateway(conf)
        self.gateways.append(gw)
        return gw

    def at_end(self, function, *args):
        """Called when the case is over, the last one first."""
        self.cleanups.append((function, args))

    def equal(self, got, wanted, what=""):
        if got != wanted:
            raise AssertionError("%sgot %r, wanted %r" % (
                what + ": " if what else "", got, wanted))

    def true(self, value, what="is true"):
        if not value:
            raise AssertionError("not so: %s" % (what,))

    def match(self, text, pattern):
        if not re.search(pattern, text):
            raise AssertionError("%r is not in: %s" % (pattern, text))

    def finish(self):
        """Stop everything; the lines of what was wrong."""
        wrong = []
        for function, args in reversed(self.cleanups):
            try:
                function(*args)
            except Exception as e:
                wrong.append("cleanup: %r" % (e,))
        for gw in self.gateways:
            try:
                status = gw.stop()
                if status in [-n for n in CRASHES]:
                    wrong.append("the master died by signal %d" % -status)
            except AssertionError as e:
                wrong.append(str(e))
            gw.kill_all()
            wrong += ["unexpected in the log: " + s for s in gw.surprises()]
        return wrong

    def remove(self):
        for gw in self.gateways:
            if os.environ.get("KEEP"):
                print("# kept: %s" % gw.dir)
            else:
                shutil.rmtree(gw.dir, ignore_errors=True)


CASES = []


def case(function):
    CASES.append(function)
    return function


def needs(program):
    """The path of a program, or Skip."""
    path = shutil.which(program, path=os.environ.get("PATH", "") +
                        ":/usr/sbin:/sbin")
    if path is None:
        raise Skip("%s is not installed" % program)
    return path


def needs_root():
    if not IS_ROOT:
        raise Skip("needs root")


def run_case(function):
    """(is ok, reason of a skip or None, lines to explain)."""
    t = Case()
    skip, wrong = None, []
    try:
        function(t)
    except Skip as e:
        skip = str(e)
    except Exception:
        wrong += traceback.format_exc().splitlines()
    wrong += t.finish()
    if wrong:
        for gw in t.gateways:
            wrong += ["log: " + line for line in gw.log().splitlines()[-40:]]
    t.remove()
    return not wrong, skip, wrong


def main():
    # A shell starts its background jobs with SIGINT ignored, nohup with SIGHUP,
    # and what they start inherits that; with a handler, or the default, here
    # it is the default there.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [c for c in CASES if word in c.__name__]
    print("1..%d" % len(chosen))
    failed = 0
    for number, function in enumerate(chosen, 1):
        is_ok, skip, wrong = run_case(function)
        if skip and os.environ.get("SKIPS_AS_FAILS") == "1":
            is_ok, wrong = False, wrong + ["skipped: " + skip]
            skip = None
        print("%sok %d - %s%s" % ("" if is_ok else "not ", number,
                                  function.__name__,
                                  " # SKIP " + skip if skip else ""))
        for line in wrong:
            print("# " + line)
        sys.stdout.flush()
        failed += 0 if is_ok else 1
    sys.exit(1 if failed else 0)
