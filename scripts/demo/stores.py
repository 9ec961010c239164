#!/usr/bin/env python3
"""The private Redis and MariaDB of `scripts/quickstart --with redis,mysql`.

    store start redis|mysql     make it if it is not there yet, and start it
    store kill redis|mysql      SIGKILL, as in a crash
    store save redis            keep a copy of its files as they are now
    store restore redis         go back to that copy, as from an old dump
    store stop                  end all of them
    store conf STORES           their sections of sessgate.conf; STORES: redis,mysql or mysql
    store hints STORES          what a person can try

scripts/quickstart copies this to WORK/bin/store. Everything is in WORK: each
server has a directory there and listens on a unix socket in it, nowhere else.
They belong to the owner of WORK; root becomes that user. What has been started
stays when the terminal goes away: `store stop` ends it.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time

WORK = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
START_SECONDS = 60
STEP = 0.02

interrupted = []  # the signal that told us to give up


class Failed(Exception):
    pass


def wait_until(predicate, seconds, what):
    """Ask until it is true; Failed when it takes too long or we are told to end."""
    end = time.monotonic() + seconds
    while not predicate():
        if interrupted:
            raise Failed("interrupted")
        if time.monotonic() > end:
            raise Failed("%s: not within %d s" % (what, seconds))
        time.sleep(STEP)


def write(path, text):
    """A file that only we can read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
        f.write(text)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def program(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        raise Failed("%s is not installed; see scripts/packages --help" % name)
    return path


class Server:
    """One server. What differs is in the two classes below."""

    def __init__(self):
        self.dir = os.path.join(WORK, self.name)
        self.socket = os.path.join(self.dir, self.name + ".sock")
        self.log = os.path.join(WORK, self.name + ".log")
        self.pid_file = os.path.join(self.dir, "pid")

    def spawn(self, command, stdin=subprocess.DEVNULL):
        """In a session of its own: no key and no terminal ends it."""
        with open(self.log, "ab") as log:
            return subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log, cwd=self.dir,
                                    env=dict(os.environ, TMPDIR=self.dir), start_new_session=True)

    def run(self, what, command, stdin=subprocess.DEVNULL):
        """A command that ends by itself; all of it is killed if it does not."""
        process = self.spawn(command, stdin)
        try:
            wait_until(lambda: process.poll() is not None, START_SECONDS, what)
        except Failed:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if process.returncode != 0:
            raise Failed("%s: exit status %d, see %s" % (what, process.returncode, self.log))

    def pid(self):
        """Of the server that runs; None if none does."""
        try:
            pid = int(read(self.pid_file))
            with open("/proc/%d/stat" % pid, encoding="utf-8") as f:
                state = f.read().rpartition(")")[2].split()[0]
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                is_ours = os.fsencode(WORK) in f.read()  # a pid may have gone to another
        except (OSError, ValueError):
            return None
        return pid if is_ours and state not in "ZX" else None

    def answers(self):
        """Whether it says on its socket that it is ready."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(1)
                s.connect(self.socket)
                return self.is_greeted(s)
        except OSError:
            return False

    def start(self):
        if self.pid() is not None:
            return
        process = self.spawn(self.command())
        write(self.pid_file, "%d\n" % process.pid)
        try:
            wait_until(lambda: process.poll() is not None or self.answers(), START_SECONDS, "start " + self.name)
        except Failed:
            self.kill()
            raise
        if process.poll() is not None:
            raise Failed("%s did not start, see %s" % (self.name, self.log))

    def kill(self):
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + 10
            while self.pid() is not None and time.monotonic() < deadline:
                time.sleep(STEP)


class Redis(Server):
    name = "redis"
    conf = """redis: {
	address = "unix:WORK/redis/redis.sock";
	user = "sessgate";
	password_file = "WORK/data/redis-password";
	timeout = "300 ms";    # A desk that is busy with other things is slow.
};"""

    def is_made(self):
        return os.path.exists(os.path.join(self.dir, "redis.conf"))

    def make(self):
        """conf/redis/sessgate.conf with a password and nobody else, and a few lines for this place."""
        password = secrets.token_hex(16)
        write(os.path.join(WORK, "data", "redis-password"), password + "\n")
        expected = read(os.path.join(WORK, "conf", "redis.conf"))
        write(os.path.join(self.dir, "redis.conf"), expected.replace(
            "user sessgate off", "user sessgate on >" + password).replace(
            "# user default", "user default") + """
port 0
unixsocket {dir}/redis.sock
unixsocketperm 700
dir {dir}
maxmemory 32mb
save ""
# So that a copy of the files is a whole one at any time.
auto-aof-rewrite-percentage 0
""".format(dir=self.dir))

    def command(self):
        return [program("redis-server"), os.path.join(self.dir, "redis.conf")]

    def is_greeted(self, s):
        s.sendall(b"AUTH sessgate %s\r\nPING\r\n" % read(os.path.join(WORK, "data", "redis-password")).strip().encode())
        said = b""
        while said.count(b"\n") < 2:
            got = s.recv(512)
            if not got:
                return False
            said += got
        return said == b"+OK\r\n+PONG\r\n"

    def files(self, place):
        return os.path.join(self.dir, place)

    def save(self):
        """Every acknowledged write is in the append-only files: a copy is a dump."""
        shutil.rmtree(self.files("old"), ignore_errors=True)
        shutil.copytree(self.files("appendonlydir"), self.files("old"))

    def restore(self):
        if not os.path.exists(self.files("old")):
            raise Failed("nothing has been saved: `store save redis` comes first")
        self.kill()
        shutil.rmtree(self.files("appendonlydir"))
        shutil.copytree(self.files("old"), self.files("appendonlydir"))
        self.start()


class MariaDB(Server):
    name = "mysql"
    conf = """mysql: {
	socket = "WORK/mysql/mysql.sock";
	database = "sessgate";
	user = "sessgate";
	password_file = "WORK/data/mysql-password";
};
spool: { dir = "WORK/data/spool"; };"""

    def is_made(self):
        return os.path.exists(os.path.join(self.dir, "made"))

    def make(self):
        """As conf/README.md tells, the owner of WORK being the administrator."""
        me = pwd.getpwuid(os.geteuid()).pw_name
        password = secrets.token_hex(16)
        write(os.path.join(WORK, "data", "mysql-password"), password + "\n")
        self.run("mariadb-install-db", [
            program("mariadb-install-db"), "--no-defaults", "--datadir=" + os.path.join(self.dir, "data"),
            # A server removes the temporary tables that it finds there when it starts, and others' too.
            "--tmpdir=" + self.dir,
            "--auth-root-authentication-method=socket", "--auth-root-socket-user=" + me,
            "--skip-test-db", "--skip-name-resolve"])
        self.start()
        self.sql("CREATE DATABASE sessgate", "")
        self.run("sessgatectl db init", [
            os.path.join(WORK, "bin", "sessgatectl"), "-c", os.path.join(WORK, "sessgate.conf"),
            "-o", "mysql.user=" + me, "-o", "mysql.password_file=", "db", "init"])
        self.sql(read(os.path.join(WORK, "conf", "mysql-accounts.sql")))
        self.sql("ALTER USER 'sessgate'@'localhost' IDENTIFIED BY '%s' ACCOUNT UNLOCK" % password)
        write(os.path.join(self.dir, "made"), "")

    def command(self):
        return [program("mariadbd"), "--no-defaults", "--datadir=" + os.path.join(self.dir, "data"),
                "--socket=" + self.socket, "--skip-networking", "--skip-name-resolve",
                "--tmpdir=" + self.dir, "--pid-file=" + os.path.join(self.dir, "mariadbd.pid"),
                # Small: it serves one desk.
                "--performance-schema=OFF", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=16M",
                "--key-buffer-size=1M", "--aria-pagecache-buffer-size=1M", "--max-connections=50"]

    def is_greeted(self, s):
        return s.recv(5)[4:] == b"\x0a"  # its protocol's version: no error

    def sql(self, text, database="sessgate"):
        path = os.path.join(self.dir, "input.sql")
        write(path, text)
        with open(path, "rb") as f:
            self.run("mariadb", [program("mariadb"), "--no-defaults", "--socket=" + self.socket] +
                     ([database] if database else []), f)
        os.unlink(path)


SERVERS = {"redis": Redis, "mysql": MariaDB}
CAN = {"redis": ("start", "kill", "save", "restore"), "mysql": ("start", "kill")}
HINTS = {
    "redis,mysql": """
  Kill the stores while you are logged in, and look at the page again:
    WORK/bin/store kill redis      still logged in, from MySQL
    WORK/bin/store start redis     and from Redis again
    WORK/bin/store kill mysql      still logged in, from Redis; log out, and in again
    WORK/bin/store start mysql     the audit tells of that logout and that login
    WORK/bin/store save redis      then log alice out with `cleanup alice`, as above, and
    WORK/bin/store restore redis   Redis is as before; she is still logged out
  Which store served how often: the counters served_... in the status above.""",
    "mysql": """
  Kill the store while you are logged in, and look at the page again:
    WORK/bin/store kill mysql      "unavailable", not "logged out"
    WORK/bin/store start mysql     still logged in"""}


def do(verb, name):
    server = SERVERS[name]()
    if verb == "start":
        os.makedirs(server.dir, 0o700, exist_ok=True)
        if not server.is_made():
            server.make()
    if not server.is_made():
        raise Failed("there is no %s here" % name)
    getattr(server, verb)()


def become_owner():
    owner = pwd.getpwuid(os.stat(WORK).st_uid)
    if os.geteuid() == 0 and owner.pw_uid != 0:
        os.setgroups([])
        os.setgid(owner.pw_gid)
        os.setuid(owner.pw_uid)


def main(words):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: interrupted.append(number))
    become_owner()
    if words == ["stop"]:
        for server in SERVERS.values():
            server().kill()
        return 0
    if len(words) == 2 and words[1] in HINTS and words[0] in ("conf", "hints"):
        texts = [HINTS[words[1]]] if words[0] == "hints" else [SERVERS[n].conf for n in words[1].split(",")]
        print("\n".join(texts).replace("WORK", WORK))
        return 0
    if len(words) != 2 or words[0] not in CAN.get(words[1], ()):
        print("\n".join(__doc__.splitlines()[2:9]), file=sys.stderr)
        return 2
    try:
        do(*words)
    except (Failed, OSError) as e:
        print("store: %s" % e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
