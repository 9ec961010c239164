"""`sessgatectl import plan` over sessions that the real programs have made."""

import base64
import contextlib
import fcntl
import glob
import hashlib
import http.client
import json
import os
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.parse

import harness
from harness import Skip, case, main, needs
from stores import MariaDB, Redis
import stores
import webserver

NODE_PACKAGES = ["connect-redis@7", "express-session@1", "redis@4"]
HERE = os.path.join(harness.SOURCE, "tests", "it")


def ctl(*args):
    return subprocess.run(
        [os.path.join(harness.BUILD, "gateway", "sessgatectl"), *args],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=60)


def node_modules():
    """Kept in the build directory: fetched once."""
    place = os.path.join(harness.BUILD, "legacy-node")
    modules = os.path.join(place, "node_modules")
    if all(os.path.isdir(os.path.join(modules, p.split("@")[0]))
           for p in NODE_PACKAGES):
        return modules
    npm = needs("npm")
    os.makedirs(place, exist_ok=True)
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts",
         "--prefer-offline", "--prefix", place] + NODE_PACKAGES,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=120)
    if done.returncode != 0:
        raise Skip("npm could not fetch express-session: " +
                   " ".join(done.stdout.decode().split())[-200:])
    return modules


def made_by(command, **env):
    """What the old program printed."""
    done = subprocess.run(command, env=dict(os.environ, **env),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)
    if done.returncode != 0:
        raise AssertionError("%s: %s" % (command[0], done.stderr.decode()))
    return done.stdout.decode()


def id_hash(session_id):
    return hashlib.blake2b(session_id.encode(), digest_size=32).hexdigest()[:12]


def plan(t, *args, code=0):
    """What `import plan --json` says; no id and no data is among it."""
    done = ctl("import", "plan", "-o", "session.absolute_timeout=8h", *args,
               "--json")
    t.equal((done.returncode, done.stderr), (code, ""))
    return json.loads(done.stdout)


def live(t, answer, user, key):
    """That user's example. It has come along."""
    found = [e for e in answer["examples"] if e.get("user_id") == user]
    t.equal([(e["verdict"], e["user_key"]) for e in found], [("live", key)],
            repr(answer))
    return found[0]


def counts(t, answer, **wanted):
    got = {name: n for name, n in answer["sessions"].items() if n}
    t.equal(got, wanted, repr(answer))


def says(t, *args, code=2):
    """What it says to a person."""
    done = ctl("import", "plan", *args)
    t.equal(done.returncode, code, done.stdout + done.stderr)
    return done.stdout + done.stderr


# ---- Redis ----

@case
def sessions_of_express_are_told_apart(t):
    node, modules = needs("node"), node_modules()
    redis = Redis(t)
    hour = {"maxAge": 3600000}
    cookies = json.loads(made_by(
        [node, os.path.join(HERE, "legacy_express.js"), redis.socket,
         json.dumps([[{"passport": {"user": 42}, "cart": [1, None]}, hour],
                     [{"user_id": "\u00e4nn", "odd": "a\0b"}, {}],
                     [{"user_id": "late"}, {"maxAge": 200}],
                     [{"cart": []}, hour]])], NODE_PATH=modules))
    ids = [urllib.parse.unquote(c)[2:].split(".")[0] for c in cookies]
    redis.command("SET", "sess:broken", "{\"cookie\":")
    redis.command("SET", "other:1", "{}")
    redis.command("LPUSH", "sess:list", "x")
    # Their time is over, and the store has not noticed yet.
    redis.command("PERSIST", "sess:" + ids[2])
    time.sleep(0.3)
    before = redis.command("DEBUG", "DIGEST")
    place = "redis:0@" + redis.socket
    answer = plan(t, "connect-redis", place)
    counts(t, answer, live=2, expired=1, without_user=1, undecodable=2)
    t.equal(answer["user_keys"], {"passport.user": 1, "user_id": 1})
    t.equal(answer["left_out"]["not_text"], 1)
    # One of a day, one of an hour; ours may last 8 hours.
    t.equal(answer["would_end_sooner"], 1)
    first = live(t, answer, "42", "passport.user")
    t.equal(first["id_hash"], id_hash(ids[0]))
    t.true(3500 < first["expires_at"] - time.time() <= 3600, repr(first))
    live(t, answer, "\u00e4nn", "user_id")
    t.equal(sorted(e.get("why") for e in answer["examples"]
                   if e["verdict"] == "undecodable"),
            ["it is no JSON", "its key is neither a text nor a hash"])
    text = says(t, "connect-redis", place, code=0)
    t.true("The user stands in: user_id (1), passport.user (1)" in text, text)
    for cookie, name in zip(cookies, ids):
        t.true(name not in text and name not in json.dumps(answer), "no id")
    t.true("cart" not in text, "no data")
    answer = plan(t, "connect-redis", place, "--user-key", "cart.0")
    counts(t, answer, live=1, expired=1, without_user=2, undecodable=2)
    live(t, answer, "1", "cart.0")
    t.equal(redis.command("DEBUG", "DIGEST"), before, "nothing was written")


@case
def sessions_of_the_old_managers_are_read(t):
    redis = Redis(t, requirepass="old")
    secret = os.path.join(redis.dir, "password")
    with open(secret, "w") as f:
        f.write("old\n")
    os.chmod(secret, 0o600)
    iso = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    prefix = "vedfolnir:session:"
    redis.command("SETEX", prefix + "a", 7200, json.dumps(
        {"user_id": 1, "created_at": iso, "last_activity": iso}))
    redis.command("HSET", prefix + "b", "user_id", "2", "role", "admin",
                  "expires_at", "2020-01-01T00:00:00")
    redis.command("HSET", prefix + "c", "user_id", "3", "created_at", iso)
    redis.command("EXPIRE", prefix + "c", 60)
    redis.command("SADD", "vedfolnir:user_sessions:1", "a")
    redis.command("HSET", prefix + "d",
                  *(word for n in range(300) for word in ("f%d" % n, "x")))
    redis.command("SET", prefix + "e", "x" * (1024 * 1024 + 1))
    place = "redis:" + redis.socket
    answer = plan(t, "old-redis", place, "--password-file", secret)
    counts(t, answer, live=2, expired=1, undecodable=2)
    live(t, answer, "1", "user_id")
    t.true(live(t, answer, "3", "user_id")["expires_at"] <= time.time() + 60)
    t.equal(sorted(e.get("why") for e in answer["examples"]
                   if e["verdict"] == "undecodable"),
            ["it has too many fields", "it is over 1 MiB"])
    t.match(says(t, "old-redis", place, code=3), "NOAUTH")


@case
def many_are_each_counted_once(t):
    redis = Redis(t)
    for n in range(3000):
        redis.command("SET", "s[*]:%d" % n, json.dumps(
            {"cookie": {"expires": None}, "user_id": n}), "EX", 600)
        redis.command("SET", "sX:%d" % n, "no")
    answer = plan(t, "connect-redis", "redis:" + redis.socket, "--prefix", "s[*]:")
    counts(t, answer, live=3000)
    t.equal(len(answer["examples"]), 3)


# ---- tables ----

DEBIAN_PYTHON = "/usr/bin/python3"


def secret_file(t, text):
    path = os.path.join(t.gateway().dir, "secret")
    with open(path, "w") as f:
        f.write(text + "\n")
    os.chmod(path, 0o600)
    return path


class Tables:
    """A database of a MariaDB, and an account that may only read it."""

    def __init__(self, t, name):
        self.server = MariaDB.shared()
        self.name = name
        self.server.sql("CREATE OR REPLACE DATABASE %s; CREATE OR REPLACE USER "
                        "'%s'@'localhost' IDENTIFIED BY 'read'; GRANT SELECT ON "
                        "%s.* TO '%s'@'localhost'" % ((name,) * 4))
        self.place = "mysql:%s@%s" % (name, self.server.socket)
        self.account = ["--account", name, "--password-file",
                        secret_file(t, "read")]

    def sql(self, text):
        return self.server.sql(text, self.name)


USER_SESSIONS = """
CREATE TABLE user_sessions (
  id INTEGER PRIMARY KEY AUTO_INCREMENT, session_id VARCHAR(255) UNIQUE NOT NULL,
  user_id INTEGER NOT NULL, platform_connection_id INTEGER,
  created_at DATETIME NOT NULL, updated_at DATETIME,
  last_activity DATETIME NOT NULL, expires_at DATETIME NOT NULL,
  is_active BOOLEAN DEFAULT 1, session_fingerprint TEXT, user_agent TEXT,
  ip_address VARCHAR(45))"""
ROW = ("INSERT INTO user_sessions (session_id, user_id, created_at, last_activity,"
       " expires_at, is_active) VALUES ('%s', %d, '%s', '%s', '%s', %d)")


def old_rows():
    def moment(offset):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + offset))
    rows = [("many%04d" % n, 3, moment(-9), moment(-9), moment(999), 1)
            for n in range(1203)]
    return ["", *(ROW % row for row in rows + [
        ("one", 1, moment(-9), moment(-9), moment(60), 1),
        ("two", 2, moment(-99), moment(-99), moment(-1), 1),
        ("three", 3, moment(-9), moment(-9), moment(60), 0)])]


@case
def rows_of_the_old_managers_are_read(t):
    tables = Tables(t, "old")
    tables.sql(USER_SESSIONS + ";".join(old_rows()))
    answer = plan(t, "old-table", tables.place, *tables.account)
    counts(t, answer, live=1204, expired=1, ended=1)
    t.equal(answer["user_keys"], {"user_id": 1204})
    for options, words in ((["--table", "nothing"], "doesn't exist"),
                           (["--id-column", "x"], "Unknown column"),
                           (["--account", "nobody"], "Access denied")):
        t.match(says(t, "old-table", tables.place, *tables.account, *options, code=3), words)
    t.match(says(t, "old-table", tables.place, *tables.account, "--table", "a`b"),
            "--table: \"a`b\" is no name")
    path = os.path.join(t.gateway().dir, "old.db")
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(USER_SESSIONS.replace("AUTO_INCREMENT", "AUTOINCREMENT") +
                         ";".join(old_rows()))
    counts(t, plan(t, "old-table", "sqlite:" + path), live=1204, expired=1, ended=1)
    t.match(says(t, "old-table", "sqlite:" + path, "--table", "nothing"), "no such table")
    t.match(says(t, "old-table", "sqlite:/nonexistent"), "unable to open")
    tables.sql("DELETE FROM user_sessions")
    t.match(says(t, "old-table", tables.place, *tables.account, code=1), "there is no session")


DJANGO_LOGINS = """
import sys, django
from django.conf import settings
settings.configure(SECRET_KEY="the old site's secret", USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.sessions"])
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth import get_user_model, login
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest

def visit(name=None, **data):
    request = HttpRequest()
    request.session = SessionStore()
    if name is not None:
        user = get_user_model().objects.create_user(name, password="x")
        login(request, user, "django.contrib.auth.backends.ModelBackend")
    if data.pop("late", False):
        request.session.set_expiry(-10)
    request.session.update(data)
    request.session.save()

visit("ann", cart=[1, None], text="\\u00e4" * 3000)
visit("bob", late=True)
visit(cart=1)
"""


@case
def sessions_of_django_are_read_if_they_are_signed(t):
    if not os.path.isdir("/usr/lib/python3/dist-packages/django"):
        raise Skip("python3-django is not installed")
    path = os.path.join(t.gateway().dir, "django.db")
    made_by([DEBIAN_PYTHON, "-c", DJANGO_LOGINS, path])
    secret = secret_file(t, "the old site's secret")
    answer = plan(t, "django", "sqlite:" + path, "--secret-file", secret)
    counts(t, answer, live=1, expired=1, without_user=1)
    ends = live(t, answer, "1", "_auth_user_id")["expires_at"]
    t.true(13.9 < (ends - time.time()) / 86400 <= 14, ends)
    other = secret_file(t, "another")
    answer = plan(t, "django", "sqlite:" + path, "--secret-file", other)
    counts(t, answer, undecodable=3)
    t.match(answer["examples"][0]["why"], "does not fit the secret")
    t.match(says(t, "django", "sqlite:" + path), "give --secret-file FILE")
    # The same rows where MySQL has them.
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT * FROM django_session").fetchall()
    tables = Tables(t, "dj")
    tables.sql("CREATE TABLE django_session (session_key VARCHAR(40) PRIMARY KEY, "
               "session_data LONGTEXT NOT NULL, expire_date DATETIME(6) NOT NULL)" +
               "".join(";INSERT INTO django_session VALUES ('%s', '%s', '%s')" % row
                       for row in rows))
    answer = plan(t, "django", tables.place, *tables.account, "--secret-file", secret)
    counts(t, answer, live=1, expired=1, without_user=1)
    t.equal(live(t, answer, "1", "_auth_user_id")["expires_at"], ends)


# ---- PHP ----

PHP_LOGIN = """
class Cart { protected $items = [1]; private $pin = "1234"; }
enum Mood { case Happy; }
foreach (json_decode($argv[1], true) as $n => $data) {
    session_id("sid$n");
    session_start();
    $_SESSION = $data;
    if (isset($data["cart"])) {
        $_SESSION["cart"] = new Cart();
        $_SESSION["again"] = &$_SESSION["cart"];
        $_SESSION["mood"] = Mood::Happy;
        $_SESSION["rate"] = 0.1;
        $_SESSION["inf"] = INF;
        $_SESSION["zw\\u{e4}"] = ["\\xff", "\\u{1f600}"];
    }
    session_write_close();
}
"""


def php_sessions(directory, *more):
    """Logins of PHP's command line, as a web server's PHP would store them."""
    logins = [{"user_id": 7, "cart": 1}, {"auth_user": "b|b;"}, {"cart": 1},
              {"user_id": "late"}, {}]
    made_by([needs("php"), "-n", *more, "-d", "session.use_cookies=0",
             "-d", "session.cache_limiter=", "-d",
             "session.save_path=" + directory, "-r", PHP_LOGIN,
             json.dumps(logins)])


def each_php_session(t, answer, **wanted):
    counts(t, answer, **wanted)
    live(t, answer, "7", "user_id")
    live(t, answer, "b|b;", "auth_user")
    # An object, a reference to it, an enum, INF; a byte that is no UTF-8.
    t.equal((answer["left_out"]["unknown"], answer["left_out"]["not_text"]),
            (4, 1))


@case
def sessions_of_php_are_read(t):
    for handler in ("php", "php_serialize"):
        place = tempfile.mkdtemp(dir=t.gateway().dir)
        php_sessions(place, "-d", "session.serialize_handler=" + handler)
        t.equal(len(os.listdir(place)), 5)
        os.utime(os.path.join(place, "sess_sid3"),
                 (time.time(), time.time() - 1441))
        with open(os.path.join(place, "sess_odd"), "w") as f:
            f.write("no|t serialized")
        os.symlink("/etc/passwd", os.path.join(place, "sess_link"))
        os.mkfifo(os.path.join(place, "sess_pipe"))
        each_php_session(t, plan(t, "php", place), live=2, expired=1,
                         without_user=2, undecodable=1)
        counts(t, plan(t, "php", place, "--lifetime", "1h"), live=3,
               without_user=2, undecodable=1)


@case
def a_file_that_is_being_written_is_not_read(t):
    place = t.gateway().dir
    path = os.path.join(place, "sess_busy")
    with open(path, "w") as f:
        f.write("user_id|i:1;")
        f.flush()
        fcntl.flock(f, fcntl.LOCK_EX)
        answer = plan(t, "php", place)
        counts(t, answer, undecodable=1)
        t.match(answer["examples"][0]["why"], "has it locked; try again")
    counts(t, plan(t, "php", place), live=1)


@case
def sessions_of_phpredis_are_read(t):
    redis = Redis(t)
    extension = [path for path in glob.glob("/usr/lib/php/*/redis.so")]
    if not extension:
        raise Skip("php-redis is not installed")
    php_sessions("unix://%s?persistent=0" % redis.socket, "-d",
                 "extension=igbinary", "-d", "extension=redis", "-d",
                 "session.save_handler=redis", "-d", "redis.session.locking_enabled=1")
    redis.command("SET", "PHPREDIS_SESSION:sid1_LOCK", "a-host")
    answer = plan(t, "phpredis", "redis:" + redis.socket)
    each_php_session(t, answer, live=3, without_user=2)
    ends = live(t, answer, "7", "user_id")["expires_at"]
    t.true(1400 < ends - time.time() <= 1440, ends)


# ---- Perl ----

CGI_LOGINS = """
use CGI::Session; use DBI;
my ($where, $serializer, $place) = @ARGV;
my %to = $where eq 'file' ? (Directory => $place)
    : (Handle => DBI->connect(($where eq 'mysql' ? "dbi:mysql:" : "dbi:SQLite:") . $place, $ENV{DB_USER}, $ENV{DB_PASSWORD}, {RaiseError => 1}));
sub visit {
    my ($idle, $expire, %data) = @_;
    my $s = CGI::Session->new("driver:$where;serializer:$serializer", undef, \\%to) or die CGI::Session->errstr;
    $s->param($_, $data{$_}) for sort keys %data;
    $s->expire($idle) if $idle;
    $s->expire($_, $expire->{$_}) for keys %$expire;
    $s->flush(); die $s->errstr if $s->errstr;
    print $s->id, "\\n";
}
my $list = [1, undef, -2.5, 12345678901, 'it\\'s', "\\x{263a} \\"x\\" \\$D\\n"];
visit('+1h', {username => '+10m', secret => '+5m', gone => '+1s'}, username => 'bob', list => $list,
      again => $list, cart => bless({a => {b => 1}}, 'Cart'), secret => 1, deep => {'a b' => [{}, []]});
visit(0, {}, user_id => 7, "odd'\\\\" => "\\xe4");
visit('+1s', {}, username => 'late');
visit('+1h', {}, cart => 1);
"""


def each_cgi_session(t, answer, ids):
    counts(t, answer, live=2, expired=1, without_user=1)
    first = live(t, answer, "bob", "username")
    t.equal(first["id_hash"], id_hash(ids[0]))
    # Less than the hour of the session: the member's own ten minutes.
    t.true(590 < first["expires_at"] - time.time() <= 600, repr(first))
    second = live(t, answer, "7", "user_id")
    t.true("expires_at" not in second, repr(second))
    t.equal(answer["left_out"]["ending"], 1)
    # The object, and the list's second place.
    t.equal(answer["left_out"]["unknown"], 2)
    t.equal(answer["left_out"]["not_text"], 1)


def cgi_sessions(t, where, serializer, place, **env):
    ids = made_by([needs("perl"), "-e", CGI_LOGINS, where, serializer, place],
                  **env).split()
    t.equal(len(ids), 4)
    time.sleep(1.1)
    return ids


@case
def sessions_of_cgi_session_are_read(t):
    for serializer in ("default", "storable"):
        place = tempfile.mkdtemp(dir=t.gateway().dir)
        ids = cgi_sessions(t, "file", serializer, place)
        each_cgi_session(t, plan(t, "cgi-session", place), ids)


@case
def tables_of_cgi_session_are_read(t):
    tables = Tables(t, "cgi")
    create = "CREATE TABLE sessions (id CHAR(32) NOT NULL UNIQUE, a_session BLOB NOT NULL)"
    tables.sql(create)
    tables.sql("CREATE OR REPLACE USER cgi_writer@localhost IDENTIFIED BY 'w';"
               "GRANT ALL ON cgi.* TO cgi_writer@localhost")
    ids = cgi_sessions(t, "mysql", "default", "database=cgi;mysql_socket=" +
                       tables.server.socket, DB_USER="cgi_writer", DB_PASSWORD="w")
    each_cgi_session(t, plan(t, "cgi-session", tables.place, *tables.account), ids)
    path = os.path.join(t.gateway().dir, "cgi.db")
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(create)
        db.commit()
    ids = cgi_sessions(t, "sqlite", "storable", path)
    each_cgi_session(t, plan(t, "cgi-session", "sqlite:" + path), ids)


APACHE_LOGINS = """
use Apache::Session::Flex;
my ($serialize, $store, %more) = @ARGV;
sub visit {
    my (%data) = @_;
    tie my %s, 'Apache::Session::Flex', undef, {Store => $store, Lock => 'Null',
        Generate => 'MD5', Serialize => $serialize, %more} or die;
    $s{$_} = $data{$_} for keys %data;
    print "$s{_session_id}\\n";
    untie %s;
}
visit(user_id => 7, list => [1, undef, -2.5, 12345678901, "\\x{263a}"], big => 'x' x 1000,
      "k\\x{263a}" => {a => [{}]}, cart => bless({}, 'Cart'));
visit(_whatToTrace => 'ann', _utime => time - 100);
visit(cart => 1, neg => -300);
"""


@case
def sessions_of_apache_session_are_read(t):
    tables = Tables(t, "ap")
    tables.sql("CREATE OR REPLACE USER ap_writer@localhost IDENTIFIED BY 'w';"
               "GRANT ALL ON ap.* TO ap_writer@localhost")
    source = "dbi:mysql:database=ap;mysql_socket=" + tables.server.socket
    for serialize in ("Storable", "Base64"):
        tables.sql("CREATE OR REPLACE TABLE sessions (id CHAR(32) NOT NULL PRIMARY KEY, a_session BLOB)")
        ids = made_by([needs("perl"), "-e", APACHE_LOGINS, serialize, "MySQL", "DataSource", source,
                       "UserName", "ap_writer", "Password", "w"]).split()
        answer = plan(t, "apache-session", tables.place, *tables.account)
        counts(t, answer, live=2, without_user=1)
        t.equal(live(t, answer, "7", "user_id")["id_hash"], id_hash(ids[0]))
        t.equal(answer["left_out"]["unknown"], 1)
        answer = plan(t, "apache-session", tables.place, *tables.account, "--lifetime", "1h")
        ends = live(t, answer, "ann", "_whatToTrace")["expires_at"]
        t.true(3490 < ends - time.time() <= 3500, ends)
        place = tempfile.mkdtemp(dir=t.gateway().dir)
        made_by([needs("perl"), "-e", APACHE_LOGINS, serialize, "File", "Directory", place])
        counts(t, plan(t, "apache-session", place), live=2, without_user=1)


# ---- Flask-Session ----

# Debian's is older than MessagePack, which 0.7 puts in the place of pickle: the
# same interface, with the serializer that newer ones have.
FLASK_LOGINS = """
import sys, json, pickle, datetime
import flask, flask_session, msgpack, redis
from flask_session.sessions import RedisSessionInterface
if sys.argv[2] == "msgpack":
    class Serializer:
        dumps = staticmethod(lambda s: msgpack.packb(s, datetime=True))
    RedisSessionInterface.serializer = Serializer
elif sys.argv[2] == "json":
    class Serializer:
        dumps = staticmethod(lambda s: json.dumps(s).encode())
    RedisSessionInterface.serializer = Serializer
app = flask.Flask("site")
app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis.Redis(unix_socket_path=sys.argv[1]))
flask_session.Session(app)

@app.route("/<name>")
def login(name):
    flask.session["cart"] = [1, None, -300, 1.5, {"a": "\\u00e4" * 40}]
    if name != "nobody":
        flask.session["_user_id"] = name
    if name == "ann" and sys.argv[2] == "msgpack":
        flask.session["when"] = datetime.datetime.now(datetime.timezone.utc)
        flask.session["raw"] = b"\\xff"
    return ""

for name in ("ann", "bob", "nobody"):
    assert app.test_client().get("/" + name).status_code == 200
"""


@case
def sessions_of_flask_session_are_read_unless_pickled(t):
    if not os.path.isdir("/usr/lib/python3/dist-packages/flask_session"):
        raise Skip("python3-flask-session is not installed")
    for serializer in ("msgpack", "json", "pickle"):
        redis = Redis(t)
        made_by([DEBIAN_PYTHON, "-W", "ignore", "-c", FLASK_LOGINS, redis.socket, serializer])
        answer = plan(t, "flask-session", "redis:" + redis.socket)
        if serializer == "pickle":
            counts(t, answer, undecodable=3)
            t.match(answer["examples"][0]["why"], "it is pickled")
            continue
        counts(t, answer, live=2, without_user=1)
        ends = live(t, answer, "ann", "_user_id")["expires_at"]
        t.true(30.9 < (ends - time.time()) / 86400 <= 31, ends)
        live(t, answer, "bob", "_user_id")
        left_out = answer["left_out"]
        t.equal((left_out["unknown"], left_out["not_text"]),
                (1, 1) if serializer == "msgpack" else (0, 0))


# ---- Apache's mod_session_dbd ----

APACHE_CONF = """
ServerRoot %(dir)s
ServerName localhost
Listen 127.0.0.1:%(port)d
PidFile %(dir)s/pid
ErrorLog %(dir)s/error.log
DefaultRuntimeDir %(dir)s
Mutex file:%(dir)s
%(modules)s
%(user)s
DocumentRoot %(dir)s/htdocs
DBDriver sqlite3
DBDParams %(dir)s/data/sessions.db
DBDPrepareSQL "delete from session where key = %%s" deletesession
DBDPrepareSQL "update session set value = %%s, expiry = %%lld, key = %%s where key = %%s" updatesession
DBDPrepareSQL "insert into session (value, expiry, key) values (%%s, %%lld, %%s)" insertsession
DBDPrepareSQL "select value from session where key = %%s and (expiry = 0 or expiry > %%lld)" selectsession
DBDPrepareSQL "delete from session where expiry != 0 and expiry < %%lld" cleansession
Session On
SessionMaxAge 3600
SessionDBDCookieName session path=/
<Location />
    AuthFormProvider file
    AuthUserFile %(dir)s/users
    AuthType form
    AuthName "Our Site"
    Require all granted
</Location>
<Location /login>
    SetHandler form-login-handler
    Require all granted
    AuthFormLoginSuccessLocation /
</Location>
"""
APACHE_MODULES = ["mpm_prefork", "authn_core", "authz_core", "authn_file", "authz_user",
                  "request", "session", "session_dbd", "auth_form", "dbd"]


def apache_with_sessions(t):
    """Its port and its store."""
    apache = needs("apache2")
    place = t.gateway().dir
    os.chmod(place, 0o755)
    for name in ("htdocs", "data"):
        os.mkdir(os.path.join(place, name))
        os.chmod(os.path.join(place, name), 0o777)
    path = os.path.join(place, "data", "sessions.db")
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE session (key VARCHAR(64) PRIMARY KEY, value TEXT, expiry BIGINT)")
        db.commit()
    os.chmod(path, 0o666)
    with open(os.path.join(place, "users"), "w") as f:
        f.write("".join("%s:{SHA}%s\n" % (name, base64.b64encode(
            hashlib.sha1(b"pass word").digest()).decode()) for name in ("ann", "b\u00f6b")))
    with open(os.path.join(place, "htdocs", "index.html"), "w") as f:
        f.write("in\n")
    port = webserver.free_port()
    with open(os.path.join(place, "apache.conf"), "w") as f:
        f.write(APACHE_CONF % {
            "dir": place, "port": port, "user": "User www-data\nGroup www-data" if harness.IS_ROOT else "",
            "modules": "\n".join("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so" % (m, m)
                                 for m in APACHE_MODULES)})
    server = harness.spawn([apache, "-f", os.path.join(place, "apache.conf"), "-DFOREGROUND"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL,
                           # It ends all of its process group.
                           start_new_session=True)
    t.at_end(end, server)

    def answers():
        with contextlib.closing(socket.socket()) as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    harness.wait_until(answers, "apache listens")
    return port, path


def end(server):
    server.terminate()
    server.wait(20)


@case
def sessions_of_apache_s_form_login_come_without_passwords(t):
    port, path = apache_with_sessions(t)
    for name in ("ann", "b\u00f6b", "mallory"):
        web = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        web.request("POST", "/login", urllib.parse.urlencode(
            {"httpd_username": name, "httpd_password": "pass word"}),
            {"Content-Type": "application/x-www-form-urlencoded"})
        answer = web.getresponse()
        t.equal(answer.status, 401 if name == "mallory" else 302, name)
        web.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        t.true("pass+word" in "".join(row[0] for row in db.execute(
            "SELECT value FROM session")), "it keeps passwords")
        db.execute("INSERT INTO session VALUES ('late', 'x-user=c', 1)")
        db.commit()
    answer = plan(t, "mod-session", "sqlite:" + path)
    t.equal({k: answer["sessions"][k] for k in ("live", "expired", "undecodable")},
            {"live": 2, "expired": 1, "undecodable": 0}, repr(answer))
    t.equal(answer["left_out"]["passwords"], 2)
    ends = live(t, answer, "b\u00f6b", "*-user")["expires_at"]
    t.true(3500 < ends - time.time() <= 3600, ends)
    t.match(says(t, "mod-session", "sqlite:" + path, code=0), "2 passwords in clear")


# ---- the command line ----

@case
def what_is_wrong_is_said_with_what_would_be_right(t):
    t.match(says(t, "connect", "redis:x"), "there are:\n  connect-redis +express")
    t.match(says(t, "connect-redis", "/tmp"), r"give redis:\[NUMBER@\]HOST:PORT")
    t.match(says(t, "connect-redis", "redis:/nonexistent/socket", code=3), "No such file")
    t.match(says(t, "connect-redis", "redis:/x", "--password-file", "/nonexistent"),
            "--password-file /nonexistent: No such file")
    t.match(says(t, "connect-redis", "redis:/x", "--user-key", ""), "--user-key: give")
    redis = Redis(t)
    t.match(says(t, "connect-redis", "redis:" + redis.socket, code=1),
            "begins with \"sess:\"; if they have another prefix: --prefix")
    plan(t, "connect-redis", "redis:" + redis.socket, code=1)


@case
def the_help_names_each_reader(t):
    names = [line.split()[0] for line in
             says(t, "none", "/").split("there are:\n")[1].splitlines()]
    text = ctl("import", "plan", "--help").stdout
    t.equal([name for name in names if name not in text], [])


stores.run(main)
