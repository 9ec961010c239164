"""Sessions as others keep them: what people would use in sessgate's place.

Each class starts one, on Redis or MySQL as its makers document it, with as many
processes as sessgate has workers. All keep the user's name in the session and
answer a check with 200 and the header X-User, or 401.
"""

import hashlib
import os
import subprocess
import uuid

import machine
from machine import Unavailable, ask, program
from load import users

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
NODE_PACKAGES = ["connect-redis@7", "express@4", "express-session@1", "redis@4"]


def new_cookie(answer):
    """What the browser sends back."""
    if answer.status != 201:
        raise Unavailable(f"a login answered {answer.status}: {answer.body[:80]}")
    return answer.headers["Set-Cookie"].split(";")[0]


class Peer:
    """check_path, login_path (None: it has no login), processes, port."""
    login_path = "/login?user="
    check_path = "/check"
    processes = {}
    is_durable = False

    def __init__(self, site):
        self.site = site
        site.once(self.name, self.start)

    name = None
    port = 0

    def start(self):
        raise NotImplementedError

    def login(self, user):
        return new_cookie(ask(self.port, self.login_path + user, "POST"))

    def cookies(self, count):
        return machine.at_once(lambda user: (self.login(user), user), users(count))


class Php(Peer):
    """php-fpm with phpredis' session handler, as it is by default (no lock)."""
    name = "php"
    check_path, login_path = "/php/check.php", "/php/login.php?user="
    processes = {"gateway": ["php"], "store": ["peers-redis"]}

    def __init__(self, site):
        super().__init__(site)
        self.port = site.lighttpd.port
        self.processes = {"web": ["lighttpd"], **Php.processes}

    def start(self):
        box = self.site.machine
        binaries = [f"php-fpm8.{n}" for n in range(9, -1, -1)]
        fpm = program("php-fpm", *binaries)
        if "redis" not in subprocess.run([fpm, "-m"], capture_output=True, text=True, check=True).stdout.split():
            raise Unavailable("PHP's redis extension is not installed (scripts/packages peers)")
        redis = self.site.redis("peers-redis")
        www = self.site.directory("www/php")
        for name in ("check.php", "login.php"):
            with open(os.path.join(HERE, name), encoding="utf-8") as f:
                box.write("www/php/" + name, f.read())
        path = box.path("php.sock")
        conf = box.write("php-fpm.conf", f'''[global]
error_log = {box.path("php-fpm.err")}
daemonize = no
[www]
{"user = www-data" + chr(10) + "group = www-data" if os.geteuid() == 0 else ""}
listen = {path}
listen.mode = 0666
pm = static
pm.max_children = {self.site.workers}
php_admin_value[session.save_handler] = redis
php_admin_value[session.save_path] = "unix://{redis.socket}?persistent=1&timeout=2&read_timeout=2"
''')
        box.start("php", [fpm, "-F", "-y", conf], path)
        return www


class Express(Peer):
    """Without a web server in front of it, which is to its advantage."""

    def __init__(self, site, processes=1):
        self.name = f"express-{processes}"
        self.count = processes
        self.port = site.once(f"port-{self.name}", machine.free_port)
        self.processes = {"gateway": [self.name], "store": ["peers-redis"]}
        super().__init__(site)

    def start(self):
        node = program("node", "nodejs")
        modules = self.site.once("node-modules", self.modules)
        redis = self.site.redis("peers-redis")
        self.site.machine.start(self.name, [node, os.path.join(HERE, "express.js"), str(self.port), redis.socket,
                                            str(self.count)], self.port,
                                env=dict(os.environ, NODE_PATH=modules, NODE_ENV="production"))
        machine.wait_until(lambda: ask(self.port, "/login?user=first", "POST").status == 201, "express takes logins")

    def modules(self):
        """Kept in the build directory: fetched once."""
        place = os.path.join(self.site.build, "peers-node")
        modules = os.path.join(place, "node_modules")
        if all(os.path.isdir(os.path.join(modules, p.split("@")[0])) for p in NODE_PACKAGES):
            return modules
        npm = program("npm")
        os.makedirs(place, exist_ok=True)
        try:
            done = subprocess.run([npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", place,
                                   *NODE_PACKAGES], capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            raise Unavailable("npm could not fetch express-session in 120 s") from None
        if done.returncode != 0:
            raise Unavailable("npm could not fetch express-session: " + " ".join(done.stderr.split())[-200:])
        return modules


class Flask(Peer):
    """gunicorn's default kind of worker, without a web server in front."""
    name = "flask"
    processes = {"gateway": ["flask"], "store": ["peers-redis"]}

    def __init__(self, site):
        self.port = site.once("port-flask", machine.free_port)
        super().__init__(site)

    def start(self):
        gunicorn = program("gunicorn")
        # Debian's packages belong to Debian's Python.
        python = "/usr/bin/python3"
        have = subprocess.run([python, "-c", "import flask, flask_session, redis, gunicorn"], capture_output=True,
                              text=True)
        if have.returncode != 0:
            raise Unavailable("Flask-Session is not installed (scripts/packages peers): "
                              + have.stderr.strip().splitlines()[-1])
        redis = self.site.redis("peers-redis")
        self.site.machine.start("flask", [python, gunicorn, "-w", str(self.site.workers), "-b",
                                          f"127.0.0.1:{self.port}", "--chdir", HERE, "flask_app:app"], self.port,
                                env=dict(os.environ, REDIS_SOCKET=redis.socket, PYTHONDONTWRITEBYTECODE="1"))


class CgiSession(Peer):
    """Perl's CGI::Session on MySQL; it writes at each look."""
    name = "cgi-session"
    check_path, login_path = "/perl/check", "/perl/login?user="
    is_durable = True

    def __init__(self, site):
        super().__init__(site)
        self.port = site.lighttpd.port
        self.processes = {"web": ["lighttpd"], "gateway": ["cgi-session"], "store": ["mariadb"]}

    def start(self):
        perl = program("perl")
        have = subprocess.run([perl, "-MCGI::Session", "-MFCGI", "-MDBD::mysql", "-e", "1"], capture_output=True)
        if have.returncode != 0:
            raise Unavailable("CGI::Session, FCGI or DBD::mysql is not installed (scripts/packages peers)")
        server = self.site.mariadb()
        server.sql("CREATE DATABASE perl; CREATE TABLE perl.sessions (id CHAR(32) CHARACTER SET ascii PRIMARY KEY, "
                   "a_session TEXT NOT NULL) ENGINE=InnoDB")
        path = self.site.plain["perl"]
        self.site.machine.start("cgi-session", [perl, os.path.join(HERE, "cgi_session.pl"), path,
                                                str(self.site.workers), server.socket], path)
        self.site.open_to_all(path)


class SessionDbd(Peer):
    """Apache's mod_session_dbd with mod_auth_form; it has no login of its own here."""
    name = "mod_session_dbd"
    check_path, login_path = "/dbd/a", None

    def __init__(self, site):
        super().__init__(site)
        self.port = site.apache.port
        self.processes = {"web": ["apache"], "store": ["mariadb"]}

    def start(self):
        site = self.site
        if not site.dbd_conf():
            raise Unavailable("Apache's MySQL driver is not installed (scripts/packages peers)")
        os.makedirs(site.machine.path("www/dbd"), exist_ok=True)
        site.machine.write("www/dbd/a", "a\n")

    def cookies(self, count):
        made, rows = [], []
        for user in users(count):
            key = str(uuid.uuid4())
            site_hash = hashlib.md5(f"{user}:{self.site.DBD_SITE}".encode()).hexdigest()
            rows.append(f"('{key}', 'bench-user={user}&bench-pw=none&bench-site={site_hash}', 0)")
            made.append(("dbd=" + key, user))
        self.site.mariadb().sql("INSERT INTO dbd.session VALUES " + ", ".join(rows))
        return made
