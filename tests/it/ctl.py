"""sessgatectl: every command against a real sessgated on SQLite, and against
daemons that are silent, gone or talk nonsense."""

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import tempfile
import threading
import time

import harness
import webserver
from harness import case, main, wait_until

REF = re.compile(r"\b[0-9a-f]{24}\b")
TOKEN = re.compile(r"[A-Za-z0-9_-]{50}")


class Done:
    """What a command came to."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return "exit %d\n--stdout\n%s\n--stderr\n%s" % (
            self.code, self.out, self.err)


def ctl(*args, stdin="", env=None, timeout=harness.PATIENCE, **popen):
    done = subprocess.run(
        [harness.SESSGATECTL] + list(args), input=stdin.encode(),
        stdout=popen.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE,
        env=dict({"PATH": os.environ["PATH"], "TZ": "UTC"}, **(env or {})),
        cwd="/", timeout=timeout, **popen)
    return Done(done.returncode, (done.stdout or b"").decode(),
                done.stderr.decode())


class Site:
    """A running gateway with a login socket, and sessgatectl for it."""

    def __init__(self, t, conf=None):
        conf = dict(conf or {})
        conf.setdefault("listener", {"login": {"allow": ["create"]}})
        self.gw = t.gateway(conf)
        self.gw.expect_log(r"login\.sock|listener\.login")

    def start(self):
        self.gw.start()
        return self

    def __call__(self, *args, **more):
        return ctl("-c", self.gw.conf_path, *args, **more)

    def login(self, *args, **more):
        """As a login program: login.sock, no configuration."""
        return ctl("--socket", self.gw.login, *args, **more)

    def new(self, user="alice", *args):
        """(token, ref)"""
        made = self("create", "--user", user, "--json", "--print-token", *args)
        assert made.code == 0, made
        return made.json["token"], made.json["session"]["ref"]


# ---- the command line -------------------------------------------------------


def commands():
    """Names of all commands, from --help."""
    text = ctl("--help").out.partition("\noptions of every")[0]
    names = []
    for line in text.splitlines():
        found = re.match(r"  ([a-z]+(?: [a-z]+)?)(?: [A-Z|.-]+)* +\S", line)
        if found:
            names.append(found.group(1))
    return names


@case
def help_names_every_command_and_each_has_examples(t):
    names = commands()
    t.equal(sorted(names), sorted(
        ["config check", "config show", "config template", "config mount",
         "key new", "key use", "key list", "key retire", "manual", "service add",
         "service list", "service remove", "doctor", "db init", "db check",
         "db maintain", "db restored", "import plan", "create",
         "show", "list", "end", "cleanup", "block", "audit", "explain",
         "flush", "maintenance", "status", "stats"]))
    for name in names:
        done = ctl(*name.split(), "--help")
        t.equal((done.code, done.err), (0, ""), name)
        t.match(done.out, "usage: sessgatectl " + name)
        examples = done.out.partition("\nexamples:\n")[2]
        t.match(examples, "sessgatectl .*" + name)
        for line in done.out.splitlines():
            # The default path is as long as configure was told.
            t.true(len(line) <= 110 or "(default: /" in line, line)


@case
def version_and_help_need_nothing_else(t):
    t.match(ctl("--version").out, r"^sessgatectl \d+\.\d+\.\d+\n$")
    t.equal(ctl("-h").code, 0)
    t.equal(ctl("list", "-h").code, 0)


@case
def wrong_usage_is_exit_2_with_a_hint(t):
    for args, hint in (
            ([], "which command"),
            (["lits"], "did you mean list"),
            (["key"], "key needs one of: list, new, retire, use"),
            (["list"], "list needs USER"),
            (["show", "xyz"], "24 hex digits"),
            (["end", "5c8d"], "24 hex digits"),
            (["explain", "-"], "24 hex digits"),
            (["create"], "--user: needed"),
            (["create", "--user", ""], "--user: empty"),
            (["create", "--user", "a", "--anonymous"], "--user: needed"),
            (["create", "--user", "a", "--idle", "5"], "a number and a unit"),
            (["create", "--user", "a", "--idle", "5ms"], "whole seconds"),
            (["create", "--user", "a", "--data", "[1]"], "--data"),
            (["create", "--user", "a", "--data", '{"a":1,"a":2}'], "--data"),
            (["create", "--user", "a", "--data", "-"], "is empty"),
            (["create", "--user", "a", "--client-ip", "here"],
             "not an address"),
            (["create", "--user", b"\xff\xfe"], "not UTF-8"),
            (["create", "--user", "a", "--data", "-", "--replaces-stdin"],
             "cannot be the data and the token"),
            (["create", "--user", "a", "--replaces-stdin"], "is empty"),
            (["create", "--usr", "a"], "did you mean --user"),
            (["cleanup", "a", "--except", "b"], "24 hex digits"),
            (["block", "a", "--remove", "--reason", "x"], "--reason"),
            (["maintenance", "on"], "normal, emergency or off"),
            (["maintenance", "off", "--reason", "x"], "--reason goes with"),
            (["maintenance", "--role", "x"], "--role goes with"),
            (["maintenance", "normal", "--role", "x", "--nobody"], "one of"),
            (["maintenance", "normal", "--until", "2h"], "--for 2h"),
            (["maintenance", "normal", "--until", "2020-01-01"], "to come"),
            (["maintenance", "normal", "--for", "2h", "--until", "2099-01-01"],
             "one of"),
            (["flush"], "say whom"),
            (["flush", "--all", "--role", "x"], "say whom"),
            (["flush", "--all", "--before", "2099-01-01"], "past"),
            (["list", ""], "a user is"),
            (["list", "a\nb"], "a user is"),
            (["audit", "--limit", "0"], "--limit"),
            (["audit", "--since", "yesterday"], "--since"),
            (["audit", "--ref", "zz"], "24 hex digits"),
            (["list", "a", "--realm", "a b"], "--realm"),
            (["list", "a", "--timeout", "0s"], "--timeout"),
            (["key", "use", "0"], "1 to 255"),
            (["key", "retire", "256"], "1 to 255"),
            (["config", "mount", "iis"], "there is: lighttpd"),
            (["service", "add", "a"], "--scope is needed"),
            (["service", "add", "a", "--scope", "create,root"], "root"),
            (["service", "add", "a", "--scope", "admin", "--scope", "create"], "give it once"),
            (["service", "add", "a/b", "--scope", "create"], "name"),
    ):
        done = ctl("--socket", "/nonexistent", *args)
        t.equal(done.code, 2, "%r %r" % (args, done))
        t.equal(done.out, "", args)
        t.match(done.err, re.escape(hint))
        t.match(done.err, "^sessgatectl: ")


@case
def nothing_in_argv_can_reach_the_terminal_as_a_control(t):
    for args in (["\x1b[31mlist"], ["show", "\x1b[31m"],
                 ["create", "--\x1b[31m"],
                 ["config", "mount", "\x1b[31m"]):
        done = ctl(*args)
        t.equal(done.code, 2)
        t.true("\x1b" not in done.err, done)


# ---- daemons that do not answer ---------------------------------------------


class FakeDaemon:
    """Answers each connection with the same bytes, or never."""

    def __init__(self, t, answer=None):
        self.dir = tempfile.mkdtemp(prefix="sgctl.")
        self.path = os.path.join(self.dir, "s")
        self.answer = answer
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.kept = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        t.at_end(self.close)

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.kept.append(sock)
            if self.answer is None:
                continue
            try:
                sock.recv(65536)
                sock.sendall(self.answer)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        for sock in self.kept + [self.listener]:
            sock.close()
        os.unlink(self.path)
        os.rmdir(self.dir)


def fcgi_answer(text):
    text = text if isinstance(text, bytes) else text.encode()
    return (harness.stream(harness.STDOUT, text) +
            harness.record(harness.END, b"\0" * 8))


@case
def silent_daemon_is_exit_3_when_the_time_is_up(t):
    daemon = FakeDaemon(t)
    began = time.monotonic()
    done = ctl("--socket", daemon.path, "list", "a", "--timeout", "300ms")
    took = time.monotonic() - began
    t.equal((done.code, done.out), (3, ""))
    t.match(done.err, "no answer in time")
    t.true(0.25 < took < 4, took)
    done = ctl("--socket", daemon.path, "create", "--user", "a",
               "--set-cookie", "--timeout", "200ms")
    t.equal((done.code, done.out), (3, ""))
    t.match(done.err, "may have been done")


@case
def daemon_that_talks_nonsense_is_exit_3(t):
    for answer in (
            b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\x01\x06\0\x01\xff\xff\0\0x",
            fcgi_answer(""), fcgi_answer("Status: 200 OK\n\n"),
            fcgi_answer("Status: 200 OK\n\nhello"),
            fcgi_answer("Status: 200 OK\n\n[1]"),
            fcgi_answer("Status: 200 OK\n\n{\"a\":1,\"a\":2}"),
            fcgi_answer("Status: twelve\n\n{}"),
            fcgi_answer("Status: 302 Found\nLocation: /\n\n"),
            fcgi_answer("Status: 503 No\n\n{}"),
            fcgi_answer("Status: 503 No\n\n"),
            harness.record(harness.STDERR, b"x" * 60000) * 3):
        daemon = FakeDaemon(t, answer)
        done = ctl("--socket", daemon.path, "list", "a")
        t.equal((done.code, done.out), (3, ""), "%r" % (answer[:60],))
        t.true(done.err.startswith("sessgatectl: "), done)


@case
def answer_over_the_limit_is_refused(t):
    daemon = FakeDaemon(t, fcgi_answer(
        b"Status: 200 OK\n\n{\"a\":\"" + b"x" * (17 << 20) + b"\"}"))
    done = ctl("--socket", daemon.path, "list", "a")
    t.equal((done.code, done.out), (3, ""))
    t.match(done.err, "larger than")


@case
def what_a_daemon_says_is_shown_without_controls(t):
    evil = "\\u001b[31m\\u009b1m\\u202e"
    daemon = FakeDaemon(t, fcgi_answer(
        'Status: 403 No\n\n{"title":"%s","code":"x","detail":"%s2"}' % (
            evil, evil)))
    done = ctl("--socket", daemon.path, "list", "a")
    t.equal(done.code, 1)
    for bad in ("\x1b", "\x9b", "\u202e"):
        t.true(bad not in done.err, done)
    daemon = FakeDaemon(t, fcgi_answer(
        'Status: 200 OK\n\n{"sessions":[{"ref":"r","user_agent":"%s"}]}' %
        evil))
    done = ctl("--socket", daemon.path, "list", "a")
    t.equal(done.code, 0)
    for bad in ("\x1b", "\x9b", "\u202e"):
        t.true(bad not in done.out, done)


@case
def cookie_that_is_more_than_one_line_is_not_printed(t):
    for cookie in ("", "a=b\\r\\nX: y", "a\\nb"):
        daemon = FakeDaemon(t, fcgi_answer(
            'Status: 201 OK\n\n{"token":"t","set_cookie":"%s","session":{}}' %
            cookie))
        done = ctl("--socket", daemon.path, "create", "--user", "a",
                   "--set-cookie")
        t.equal((done.code, done.out), (3, ""), cookie)


@case
def nobody_there_says_what_to_do(t):
    done = ctl("--socket", "/nonexistent/control.sock", "status")
    t.equal((done.code, done.out), (3, ""))
    t.match(done.err, "is sessgated running")
    directory = tempfile.mkdtemp(prefix="sgctl.")
    t.at_end(os.rmdir, directory)
    path = os.path.join(directory, "s")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    sock.close()
    t.at_end(os.unlink, path)
    done = ctl("--socket", path, "stats")
    t.equal(done.code, 3)
    t.match(done.err, "is sessgated running")
    t.equal(ctl("--socket", "/" + "x" * 200, "stats").code, 2)


@case
def no_permission_names_who_has_it(t):
    harness.needs_root()
    daemon = FakeDaemon(t)
    os.chmod(daemon.dir, 0o755)
    os.chmod(daemon.path, 0o660)
    os.chown(daemon.path, -1, 4)

    def become():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    done = ctl("--socket", daemon.path, "list", "a", preexec_fn=become)
    t.equal(done.code, 3)
    t.match(done.err, "as root, as the user root, or as a member of the group")


@case
def standard_output_that_is_full_is_exit_3(t):
    with open("/dev/full", "wb") as full:
        done = ctl("config", "template", stdout=full)
    t.equal(done.code, 3)
    t.match(done.err, "standard output")


# ---- configuration ----------------------------------------------------------


@case
def config_check_says_yes_or_where_it_is_wrong(t):
    site = Site(t)
    done = site("config", "check")
    t.equal((done.code, done.err), (0, ""))
    t.match(done.out, "is right\nsessions are kept in the file /")
    t.equal(site("config", "check", "--json").json, {"ok": True})
    with open(site.gw.conf_path, "a") as f:
        f.write("nonsense = 3;\n")
    done = site("config", "check")
    t.equal((done.code, done.out), (1, ""))
    t.match(done.err, re.escape(site.gw.conf_path) + r":\d+: ")
    t.equal(ctl("-c", "/nonexistent", "config", "check").code, 1)
    t.equal(ctl("-c", "/nonexistent", "list", "a").code, 2)
    t.equal(site("config", "check", "-o", "session.idle_timeout=x").code, 1)


@case
def config_show_has_values_and_origins(t):
    site = Site(t)
    done = site("config", "show", "-o", "session.idle_timeout=10 min")
    t.equal(done.code, 0, done)
    t.match(done.out, r"(?m)^OPTION +VALUE +FROM$")
    t.match(done.out, r'(?m)^session\.idle_timeout +"?10 min"? +-o$')
    t.match(done.out, r'(?m)^gateway\.runtime_dir +"?%s"? +%s:\d+$' % (
        re.escape(site.gw.run_dir), re.escape(site.gw.conf_path)))
    t.match(done.out, r"(?m)^listener\.login\.allow +.*create")
    t.match(done.out, r'(?m)^cookie\.name +"?__Host-sid"? +default$')
    options = {o["name"]: o for o in site("config", "show", "--json")
               .json["options"]}
    t.match(options["keys.file"]["value"],
            re.escape(site.gw.conf["keys"]["file"]))
    t.equal(options["session.idle_timeout"]["origin"], "default")


@case
def config_template_is_a_right_configuration(t):
    site = Site(t)
    done = ctl("config", "template")
    t.equal((done.code, done.err), (0, ""))
    path = os.path.join(site.gw.dir, "template.conf")
    with open(path, "w") as f:
        f.write(done.out)
    t.equal(ctl("-c", path, "config", "check").code, 0)


@case
def config_mount_prints_the_shipped_file_with_our_values(t):
    with open(os.path.join(harness.SOURCE,
                           "conf/lighttpd/sessgate.conf")) as f:
        shipped = f.read()
    site = Site(t, {"gateway": {"mount": "/auth/",
                                "request_terminate_timeout": "5 s"}})
    empty = os.path.join(site.gw.dir, "empty.conf")
    with open(empty, "w"):
        pass
    done = ctl("-c", empty, "config", "mount", "lighttpd")
    t.equal((done.code, done.err), (0, ""))
    t.equal(done.out, shipped)
    text = site("config", "mount", "lighttpd").out
    t.match(text, 'sessgate_socket = "%s"' % re.escape(site.gw.pool))
    t.match(text, 'sessgate_mount = "/auth/"')
    t.match(text, 'sessgate_read_timeout = 7\n')
    lighttpd = harness.needs("lighttpd")
    whole = os.path.join(site.gw.dir, "lighttpd.conf")
    with open(whole, "w") as f:
        f.write('server.document-root = "/tmp"\n' + text)
    t.equal(subprocess.call([lighttpd, "-tt", "-f", whole],
                            stdout=subprocess.DEVNULL), 0)


MOUNTS = {"lighttpd-bin-path": "lighttpd/bin-path.conf", "lighttpd-cookie": "lighttpd/cookie.conf",
          "lighttpd-cookie.lua": "lighttpd/cookie.lua", "lighttpd-login": "lighttpd/login.conf",
          "lighttpd-admin": "lighttpd/admin.conf", "apache-admin": "apache/admin.conf", "nginx-admin": "nginx/admin.conf",
          "apache": "apache/sessgate.conf", "apache-fcgid": "apache/fcgid.conf", "apache-login": "apache/login.conf",
          "nginx-login": "nginx/login.conf", "nginx-http": "nginx/http.conf", "nginx-server": "nginx/server.conf",
          "nginx-params": "nginx/params.conf", "nginx-protect": "nginx/protect.conf",
          "nginx-fcgiwrap": "nginx/fcgiwrap.conf"}


@case
def config_mount_puts_our_values_in_place_of_the_defaults(t):
    site = Site(t, {"gateway": {"mount": "/auth/", "request_terminate_timeout": "5 s"}, "cookie": {"name": "who"},
                    "listener": {"apache": {"address": "tcp:127.0.0.1:7001", "allow": ["check"]},
                                 "remote": {"allow": ["remote-user"]},
                                 "operator": {"allow": ["admin"]}}})
    remote = os.path.join(site.gw.run_dir, "remote.sock")
    operator = os.path.join(site.gw.run_dir, "operator.sock")
    ours = (("/run/sessgate/pool.sock", site.gw.pool), ("/run/sessgate/remote.sock", remote),
            ("/run/sessgate/admin.sock", operator), ("/.sessgate/", "/auth/"), ("__Host-sid", "who"),
            ("127.0.0.1:9733", "127.0.0.1:7001"), ("/usr/sbin/sessgated", harness.SESSGATED),
            ("/etc/sessgate/sessgate.conf", site.gw.conf_path), ("_read_timeout = 12", "_read_timeout = 7"),
            ("_TIMEOUT 12", "_TIMEOUT 7"), ("_read_timeout 12s", "_read_timeout 7s"))
    for name, path in MOUNTS.items():
        with open(os.path.join(harness.SOURCE, "conf", path)) as f:
            shipped = f.read()
        done = site("config", "mount", name)
        t.equal((done.code, done.err), (0, ""), name)
        for default, value in ours:
            shipped = shipped.replace(default, os.path.realpath(value) if os.path.exists(value) else value)
        t.equal(done.out, shipped, name)


@case
def config_mount_prints_nothing_that_a_server_would_read_otherwise(t):
    site = Site(t)
    for changes, why in (({"gateway": {"mount": "/a{b/"}}, "gateway.mount"),
                         ({"cookie": {"name": "s.d"}}, "cookie.name"),
                         ({"listener": {"pool": {"address": "unix:/tmp/a b.sock"}}}, "listener.pool.address")):
        options = [x for section, values in changes.items() for name, value in flat(section, values)
                   for x in ("-o", name + "=" + value)]
        for name in ("apache", "nginx-http", "lighttpd"):
            done = site("config", "mount", name, *options)
            t.true(done.code != 0 and done.out == "", (why, done))
            t.match(done.err, re.escape(why))
    done = site("config", "mount", "nginx")
    t.equal((done.code, done.out), (2, ""))
    t.match(done.err, "there is: lighttpd, .*nginx-fcgiwrap")
    for name in ("apache", "apache-login", "lighttpd-login", "nginx-login", "apache-admin", "lighttpd-admin",
                 "nginx-admin"):
        done = site("config", "mount", name)
        t.equal(done.code, 0)
        t.match(done.err, "no listener for this mount yet")


@case
def config_mount_prints_several_files_and_the_path_that_is_asked_for(t):
    site = Site(t, {"listener": {"remote": {"allow": ["remote-user"]}}})
    both = [site("config", "mount", name).out for name in ("lighttpd-login", "lighttpd")]
    done = site("config", "mount", "lighttpd-login", "lighttpd", "--protect", "/cgi-bin/")
    t.equal((done.code, done.err), (0, ""))
    t.equal(done.out, "".join(both).replace("/app/", "/cgi-bin/"))
    for path in ("", "/", "cgi-bin/", "/cgi-bin", "//", "/a//b/", "/../", "/a b/", '/a"/', "/a$b/"):
        done = site("config", "mount", "lighttpd", "--protect", path)
        t.equal(done.code == 0, path == "/", path)
        if path != "/":
            t.equal(done.out, "", path)
            t.match(done.err, "--protect")
    done = site("config", "mount", "lighttpd", "nonsense")
    t.equal((done.code, done.out), (2, ""))


def flat(section, values):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(section + "." + name, value)
        else:
            yield section + "." + name, value


@case
def printed_mount_protects_what_a_real_lighttpd_serves(t):
    site = Site(t, {"cookie": {"name": "sid", "secure": False}})
    webserver.pool_for_web(site.gw)
    site.start()
    web = webserver.Lighttpd(t, site("config", "mount", "lighttpd").out)
    token, ref = site.new("alice")
    t.equal(web.ask("GET", "/app/env.cgi").status, 401)
    t.equal(web.ask("GET", "/app/missing").status, 401)
    t.equal(web.runs(), [])
    answer = web.ask("GET", "/app/env.cgi", cookie="sid=" + token)
    t.equal(answer.status, 200)
    t.equal(answer.env["REMOTE_USER"], "alice")
    answer = web.ask("GET", "/.sessgate/session", cookie="sid=" + token)
    t.equal(json.loads(answer.body)["ref"], ref)
    t.true(web.ask("GET", "/.sessgate/v1/status", cookie="sid=" + token)
           .status in (401, 403, 404))


# ---- keys, services, tables -------------------------------------------------


def make_data_dir(site):
    """The directory of keys and store, which a first start makes."""
    data = os.path.join(site.gw.dir, "data")
    os.mkdir(data, 0o700)
    if harness.IS_ROOT:
        import pwd
        os.chown(data, pwd.getpwnam(harness.USER).pw_uid, -1)


@case
def db_init_makes_what_a_gateway_needs(t):
    site = Site(t)
    done = site("db", "init")
    t.true(done.code != 0 and done.err != "", done)
    make_data_dir(site)
    t.true(site("db", "check").code != 0)
    done = site("db", "init")
    t.equal((done.code, done.err), (0, ""), done)
    t.equal(site("db", "init", "--json").json, {"ok": True})
    t.equal(site("db", "check").code, 0)
    t.equal(site("db", "check", "--json").json, {"ok": True})
    mode = os.stat(site.gw.conf["keys"]["file"])
    t.equal(stat.S_IMODE(mode.st_mode) & 0o027, 0)
    site.start()
    t.equal(site("create", "--user", "alice").code, 0)


@case
def keys_are_added_used_and_retired(t):
    site = Site(t).start()
    token, ref = site.new()
    t.equal([(k["id"], k["signs"]) for k in site("key", "list", "--json")
             .json["keys"]], [(1, True)])
    done = site("key", "new")
    t.equal(done.code, 0, done)
    t.match(done.out, "key 2 .*only verifies")
    t.match(done.out, "sessgatectl key use 2")
    t.match(site("key", "list").out, r"(?m)^2 +verifies ")
    # The running gateway has not read it.
    done = site("key", "use", "2")
    t.equal(done.code, 1, done)
    t.match(done.err, "^sessgatectl: ")
    done = site("key", "use", "9")
    t.equal(done.code, 1)
    t.match(done.err, "there is no key 9")
    site.gw.signal(signal.SIGHUP)
    wait_until(lambda: site("key", "use", "2").code == 0, "key 2 is used",
               harness.PATIENCE * 2)
    keys = {k["id"]: k for k in site("key", "list", "--json").json["keys"]}
    t.equal((keys[1]["signs"], keys[2]["signs"]), (False, True))
    t.true(keys[1]["stopped_at"] is not None)
    done = site("key", "retire", "1")
    t.equal(done.code, 1, done)
    t.true(site("key", "retire", "2").code in (1, 2))
    site.gw.signal(signal.SIGHUP)
    t.equal(site("show", "-", stdin=token).code, 0)
    mode = os.stat(site.gw.conf["keys"]["file"])
    t.equal(stat.S_IMODE(mode.st_mode) & 0o027, 0)
    if harness.IS_ROOT:
        import pwd
        t.equal(mode.st_uid, pwd.getpwnam(harness.USER).pw_uid)


@case
def service_keys_are_shown_once_and_listed(t):
    site = Site(t).start()
    done = site("service", "add", "shop", "--scope", "create,introspect",
                "--realm", "shop", "--expires", "90d")
    t.equal(done.code, 0, done)
    t.match(done.out, r"^sgsk_[A-Za-z0-9_-]{43}\n$")
    t.match(done.err, "shown only now")
    t.equal(site("service", "add", "shop", "--scope", "create").code, 1)
    made = site("service", "add", "ops", "--scope", "admin", "--json").json
    t.match(made["key"], "^sgsk_")
    listed = site("service", "list")
    t.match(listed.out, r"(?m)^shop +create,introspect +shop +20")
    t.match(listed.out, r"(?m)^ops +admin +\(all\) ")
    t.true(done.out.strip() not in listed.out)
    rows = {r["name"]: r for r in site("service", "list", "--json")
            .json["services"]}
    t.equal((rows["ops"]["realm"], rows["ops"]["expires_at"]), (None, None))
    t.equal(rows["shop"]["expired"], False)
    t.equal(site("service", "remove", "shop").code, 0)
    done = site("service", "remove", "shop")
    t.equal(done.code, 1)
    t.match(done.err, "there is no service key of that name")
    t.true("shop" not in site("service", "list").out)


# ---- sessions ---------------------------------------------------------------


@case
def create_shows_the_session_and_no_token(t):
    site = Site(t).start()
    done = site("create", "--user", "alice", "--role", "editor", "--role",
                "author", "--context", "c1", "--contexts", "c1", "--contexts",
                "c2", "--data", '{"theme":"dark"}', "--idle", "5 min",
                "--absolute", "1h", "--client-ip", "192.0.2.9",
                "--user-agent", "Mozilla \"x\"")
    t.equal((done.code, done.err), (0, ""), done)
    t.match(done.out, r"(?m)^ref +[0-9a-f]{24}$")
    t.match(done.out, r"(?m)^user_id +alice$")
    t.match(done.out, r"(?m)^roles +editor, author$")
    t.match(done.out, r"(?m)^contexts +c1, c2$")
    t.match(done.out,
            r"(?m)^created_at +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d \+0000 \(")
    t.true(not TOKEN.search(done.out), done)
    ref = REF.search(done.out).group()
    shown = site("show", ref, "--json").json
    t.equal(shown["state"], "live")
    session = shown["session"]
    t.equal(session["data"], {"theme": "dark"})
    t.equal(session["client_ip"], "192.0.2.9")
    t.equal(session["user_agent"], 'Mozilla "x"')
    t.equal(session["idle_timeout"], 300)
    t.equal(session["expires_at"] - session["created_at"], 3600)
    t.match(site("show", ref).out, r'(?m)^data +\{"theme":"dark"\}$')


@case
def create_prints_the_token_only_when_asked(t):
    site = Site(t).start()
    done = site("create", "--user", "alice", "--json")
    t.equal(list(done.json), ["session"])
    t.true(not TOKEN.search(done.out), done)
    done = site("create", "--user", "alice", "--print-token")
    t.match(done.out, r"(?m)^token +[A-Za-z0-9_-]{50}$")
    made = site("create", "--user", "alice", "--json", "--print-token").json
    t.equal(site.gw.check("__Host-sid=" + made["token"]).status, 200)


@case
def create_takes_its_data_from_standard_input(t):
    site = Site(t).start()
    data = {"n": 1, "long": "x" * 60000}
    done = site("create", "--user", "alice", "--data", "-", "--json",
                stdin=json.dumps(data))
    t.equal(done.code, 0, done.err)
    ref = done.json["session"]["ref"]
    t.equal(site("show", ref, "--json").json["session"]["data"], data)
    t.equal(site("create", "--user", "alice", "--data", "-",
                 stdin="{\"a\":\"%s\"}" % ("x" * 70000)).code, 2)


@case
def login_program_prints_the_cookie_header_and_nothing_else(t):
    site = Site(t).start()
    done = site.login("create", "--user", "alice", "--set-cookie")
    t.equal((done.code, done.err), (0, ""), done)
    t.match(done.out, r"^Set-Cookie: __Host-sid=[A-Za-z0-9_-]{50}; [^\n]*\n$")
    cookie = done.out.split(" ", 1)[1].split(";")[0]
    answer = site.gw.check(cookie)
    t.equal(answer.status, 200)
    t.equal(answer.header("Variable-REMOTE_USER"), "alice")


@case
def login_program_runs_as_the_web_server_without_the_configuration(t):
    harness.needs_root()
    site = Site(t, {"listener": {"login": {"allow": ["create"],
                                           "group": "www-data"}}})
    os.chmod(site.gw.conf_path, 0o600)
    site.start()

    def become():
        import grp
        os.setgroups([grp.getgrnam("www-data").gr_gid])
        os.setgid(grp.getgrnam("www-data").gr_gid)
        os.setuid(33)
    done = site.login("create", "--user", "alice", "--set-cookie",
                      preexec_fn=become)
    t.equal((done.code, done.err), (0, ""), done)
    t.match(done.out, "^Set-Cookie: ")
    t.equal(ctl("--socket", site.gw.control, "list", "alice",
                preexec_fn=become).code, 3)


@case
def from_cgi_takes_the_visitor_from_the_environment(t):
    site = Site(t).start()

    def made(**env):
        done = site.login("create", "--user", "alice", "--from-cgi", "--json",
                          env=env)
        t.equal((done.code, done.err), (0, ""), done)
        ref = done.json["session"]["ref"]
        session = site("show", ref, "--json").json["session"]
        return session["client_ip"], session["user_agent"]
    t.equal(made(REMOTE_ADDR="2001:db8::1", HTTP_USER_AGENT="Mozilla/5.0"),
            ("2001:db8::1", "Mozilla/5.0"))
    t.equal(made(), (None, None))
    t.equal(made(REMOTE_ADDR="unix:"), (None, None))
    agent = b"a\xff\x1b[2J\xc3\xa9".decode("utf-8", "surrogateescape")
    t.equal(made(HTTP_USER_AGENT=agent), (None, "a??[2J\u00e9"))
    t.equal(made(HTTP_USER_AGENT="x" + "\u00e9" * 300),
            (None, "x" + "\u00e9" * 127))


@case
def from_cgi_ends_the_session_of_the_cookie_and_no_other(t):
    site = Site(t).start()

    def anonymous():
        made = site("create", "--anonymous", "--json", "--print-token").json
        return made["token"], made["session"]["ref"]

    def login(cookie, *args):
        done = site.login("create", "--user", "bob", "--from-cgi",
                          "--set-cookie", *args, env={"HTTP_COOKIE": cookie})
        t.equal((done.code, done.err), (0, ""), (cookie[:99], done))

    def state(ref):
        shown = site("show", ref, "--json").json
        return shown["state"], shown["end_reason"]
    token, ref = anonymous()
    login("a=b; __Host-sid=%s; c=d" % token)
    t.equal(state(ref), ("ended", "replaced"))
    login("__Host-sid=%s" % token)  # ended meanwhile: no obstacle
    token, ref = anonymous()
    login("__Host-sid=%s; __Host-sid=%s" % (token, token))  # ambiguous
    login("x__Host-sid=%s; __Host-sid2=%s; __Host-sid" % (token, token))
    login("__Host-sid=%s" % token[:-1])
    login("__Host-sid=" + "A" * 50)
    login("__Host-sid=\xff\"; " + "x" * 40000)
    t.equal(state(ref), ("live", None))
    login("other=%s" % token, "--cookie-name", "other")
    t.equal(state(ref), ("ended", "replaced"))
    user_token, user_ref = site.new("alice")
    login("__Host-sid=%s; __Host-sid=%s" % (user_token, user_token))
    t.equal(state(user_ref), ("live", None))
    # A user's, when the new one is there: nobody could log that out any more.
    t.true(site.login("create", "--user", "a\n", "--from-cgi", env={"HTTP_COOKIE": "__Host-sid=" + user_token}).code)
    t.equal(state(user_ref), ("live", None))
    login("__Host-sid=%s" % user_token)
    t.equal(state(user_ref), ("ended", "logged_out"))


@case
def redirect_leads_to_this_site_or_to_its_front_page(t):
    site = Site(t, {"gateway": {"return_to_allow": ["https://other.test/in"]}}).start()

    def location(*args, **env):
        done = site.login("create", "--user", "bob", "--set-cookie", "--redirect", *args, env=env)
        t.equal((done.code, done.err), (0, ""), done)
        found = re.match(r"Set-Cookie: [^\n]*\nStatus: 303 See Other\nLocation: ([^\n]*)\n\Z", done.out)
        t.true(found, done.out)
        return found.group(1)
    t.equal(location(), "/")
    for query, wanted in (("return_to=/app/%3Fa%3Db%26c", "/app/?a=b&c"), ("x=1&return_to=%2Fapp%2F&y", "/app/"),
                          ("return_to=//evil.test/", "/"), ("return_to=https://evil.test/", "/"),
                          ("return_to=/a%0d%0aX:%20y", "/"), ("return_to=/a&return_to=/b", "/"), ("return_to=%ff", "/"),
                          ("return_to=https://other.test/in", "https://other.test/in"), ("return_to=", "/"),
                          ("return_to=https://other.test/in/", "/"), ("return_to=/" + "a" * 5000, "/"),
                          ("return_to=/%c3%ab%22%3C%3E", "/%c3%ab%22%3c%3e"), ("other=/app/", "/")):
        t.equal(location("--from-cgi", QUERY_STRING=query), wanted, query)
        t.equal(location(QUERY_STRING=query), wanted, query)
    t.equal(location("--return-to", "/a", QUERY_STRING="return_to=/b"), "/a")
    t.equal(location("--return-to", "//evil.test", QUERY_STRING="return_to=/b"), "/")
    for args in (["--redirect"], ["--set-cookie", "--return-to", "/a"]):
        t.equal(site.login("create", "--user", "bob", *args).code, 2)


@case
def replaces_stdin_takes_the_token_from_standard_input(t):
    site = Site(t).start()
    made = site("create", "--anonymous", "--json", "--print-token").json
    done = site("create", "--user", "bob", "--replaces-stdin",
                stdin=made["token"] + "\n")
    t.equal(done.code, 0, done)
    t.equal(site("show", made["session"]["ref"]).code, 1)
    t.equal(site("create", "--user", "bob", "--replaces-stdin",
                 stdin="no token").code, 2)


@case
def repeat_with_an_idempotency_key_is_the_same_session(t):
    site = Site(t).start()
    first = site("create", "--user", "a", "--idempotency-key", "k", "--json")
    again = site("create", "--user", "a", "--idempotency-key", "k", "--json")
    t.equal(first.json["session"]["ref"], again.json["session"]["ref"])
    other = site("create", "--user", "b", "--idempotency-key", "k")
    t.equal(other.code, 1, other)
    t.match(other.err, "idempotency")


@case
def show_is_a_question_with_an_exit_code(t):
    site = Site(t).start()
    token, ref = site.new()
    t.equal(site("show", ref).code, 0)
    by_token = site("show", "-", stdin=token + "\n")
    t.equal(by_token.code, 0, by_token)
    t.match(by_token.out, ref)
    t.true(token not in by_token.out)
    t.equal(site.login("show", "-", stdin=token).code, 0)
    t.equal(site.login("show", "-", "--json", stdin=token).json["sid"], ref)
    t.equal(site("show", "0" * 24).code, 1)
    t.match(site("show", "0" * 24).err, "(?i)not found")
    t.equal(site("show", "-", stdin="A" * 50).code, 1)
    t.equal(site("show", "-", stdin="\n").code, 2)
    t.equal(site("show", "-", stdin="x" * 1000).code, 2)
    t.equal(site("show", ref, "--realm", "shop").code, 1)
    t.equal(site("end", ref).code, 0)
    done = site("show", ref)
    t.equal(done.code, 1)
    t.match(done.out, r"(?m)^state +ended$")
    t.match(done.out, r"(?m)^end_reason +revoked$")
    t.equal(site("show", "-", stdin=token).code, 1)
    t.equal(site("show", "-", "--json", stdin=token).json["active"], False)


@case
def list_shows_live_sessions_of_that_user_and_realm(t):
    site = Site(t).start()
    refs = {site.new("a/b.c d")[1] for _ in range(3)}
    site.new("other")
    site.new("a/b.c d", "--realm", "shop")
    done = site("list", "a/b.c d")
    t.equal(done.code, 0, done)
    t.match(done.out, r"^REF +SINCE +LAST SEEN +ADDRESS +ROLES +AGENT\n")
    t.equal(set(REF.findall(done.out)), refs)
    t.equal({s["ref"] for s in site("list", "a/b.c d", "--json")
             .json["sessions"]}, refs)
    t.equal(len(site("list", "a/b.c d", "--realm", "shop", "--json")
                .json["sessions"]), 1)
    done = site("list", "nobody")
    t.equal((done.code, done.out), (0, "no live sessions\n"))
    for user in ("..", ".", "%2f", "a&b=c+d", "\u00e9\U0001f600", "-x"):
        t.equal(site("create", "--user", user).code, 0, user)
        t.equal(len(site("list", "--json", "--", user).json["sessions"]), 1,
                user)


@case
def list_of_many_sessions_with_much_in_them_is_read(t):
    site = Site(t).start()
    for _ in range(120):
        site.gw.create("busy", roles=["r%d" % i for i in range(20)])
    done = site("list", "busy")
    t.equal(done.code, 0, done.err)
    t.equal(len(REF.findall(done.out)), 120)
    token, session = site.gw.create(
        "deep", data={"m%d" % i: i for i in range(1000)})
    t.equal(site("show", session["ref"]).code, 0)


@case
def a_token_in_the_place_of_a_ref_is_not_repeated(t):
    """What is printed may be kept; nothing makes a token more public."""
    site = Site(t).start()
    token, _ = site.new()
    for command in ("show", "end", "explain"):
        done = site(command, token)
        t.equal(done.code, 2, done)
        t.match(done.err, "standard input")
        t.true(token not in done.out + done.err)
    t.match(site("show", "abc").err, "^sessgatectl: abc: .*24 hex digits")


@case
def end_by_ref_and_by_token(t):
    site = Site(t).start()
    token, ref = site.new()
    done = site("end", ref, "--reason", "logged_out")
    t.equal((done.code, done.out), (0, "ended\n"), done)
    t.equal(site("show", ref, "--json").json["end_reason"], "logged_out")
    t.equal(site.gw.check("__Host-sid=" + token).status, 401)
    token, ref = site.new()
    t.equal(site.login("end", "-", stdin=token).code, 0)
    t.equal(site("show", ref).code, 1)
    t.equal(site("end", "0" * 24).code, 1)
    t.equal(site("end", ref, "--reason", "boredom").code, 2)
    t.equal(site("end", "-", "--reason", "revoked", stdin=token).code, 2)
    t.true("ended" in site("end", site.new()[1], "--json").json)


@case
def cleanup_ends_all_but_one_and_counts(t):
    site = Site(t).start()
    refs = [site.new()[1] for _ in range(4)]
    done = site("cleanup", "alice", "--except", refs[0])
    t.equal((done.code, done.out), (0, "3 sessions ended\n"), done)
    t.equal(REF.findall(site("list", "alice").out), [refs[0]])
    t.equal(site("cleanup", "alice", "--json").json["ended"], 1)
    t.equal(site("cleanup", "alice").out, "0 sessions ended\n")


@case
def maintenance_is_set_told_and_ended(t):
    site = Site(t).start()
    t.equal(site("maintenance").out, "off\n")
    t.equal(site("maintenance", "--json").json["mode"], "off")
    token, _ = site.new()
    done = site("maintenance", "normal", "--for", "2h", "--reason", "New <disks>")
    t.equal(done.code, 0, done)
    for text in ("normal", "all realms", "admin", "New <disks>"):
        t.true(text in done.out, done)
    t.equal(site("maintenance").out, done.out)
    done = site("create", "--user", "bob")
    t.equal((done.code, done.out), (3, ""), done)
    t.match(done.err, "New <disks>")
    t.equal(site("create", "--user", "bob", "--role", "admin").code, 0)
    answer = site("maintenance", "emergency", "--nobody", "--realm", "shop", "--json").json
    t.equal((answer["mode"], answer["all_realms"], answer["roles"], answer["until"]),
            ("emergency", False, [], None))
    t.equal(site("maintenance").out.split()[1], "normal")
    # One of a realm alone, then all that there are.
    t.equal(site("maintenance", "off", "--realm", "shop", "--json").json["mode"], "normal")
    t.equal(site("maintenance", "off").out, "off\n")
    t.equal(site("create", "--user", "bob").code, 0)
    t.equal(site("show", "-", stdin=token).code, 0)
    t.equal(site("audit", "--kind", "maintenance", "--json").json["events"][0]["detail"],
            "off; all realms")


@case
def flush_ends_many_and_says_whom(t):
    site = Site(t).start()
    token, ref = site.new()
    done = site("flush", "--but-role", "editor", "--before", "1h")
    t.equal(done.code, 0, done)
    t.match(done.out, "flushed in all realms: created before ")
    t.equal(site("show", "-", stdin=token).code, 0)
    done = site("flush", "--all", "--json").json
    t.equal((done["all_realms"], done["realm"]), (True, None))
    t.equal(site("show", "-", stdin=token).code, 1)
    t.equal(site("show", ref, "--json").json["end_reason"], "flushed")
    t.match(site("explain", ref).out, "an administrator ended many sessions at once")
    t.equal(REF.findall(site("list", "alice").out), [])
    token, ref = site.new()
    t.equal(site("show", "-", stdin=token).code, 0)
    t.equal(site("flush", "--all", "--realm", "shop", "--json").json["realm"], "shop")
    t.equal(site("show", "-", stdin=token).code, 0)
    # The default realm alone.
    t.equal(site("flush", "--all", "--realm", "", "--json").json["realm"], "")
    t.equal(site("show", "-", stdin=token).code, 1)


@case
def block_ends_and_refuses_until_removed(t):
    site = Site(t).start()
    token, ref = site.new()
    done = site("block", "alice", "--reason", "stolen \"laptop\"")
    t.equal((done.code, done.out), (0, "blocked; 1 session ended\n"), done)
    done = site("create", "--user", "alice")
    t.equal((done.code, done.out), (1, ""))
    t.equal(site("block", "alice").code, 0)
    done = site("block", "alice", "--remove")
    t.equal((done.code, done.out), (0, "not blocked any more\n"), done)
    t.equal(site("create", "--user", "alice").code, 0)
    t.equal(site("block", "alice", "--remove", "--json").json["blocked"],
            False)


# ---- audit, explain, status -------------------------------------------------


@case
def audit_can_be_filtered(t):
    site = Site(t).start()
    token, ref = site.new()
    site.new("bob")
    site("end", ref)
    done = site("audit")
    t.equal(done.code, 0, done)
    t.match(done.out, r"^TIME +KIND +REASON +USER +REF +ADDRESS +BY +DETAIL\n")
    t.true(token not in done.out)
    events = site("audit", "--ref", ref, "--json").json["events"]
    t.equal([e["kind"] for e in events], ["end", "create"])
    t.equal(len(site("audit", "--user", "bob", "--json").json["events"]), 1)
    t.equal(len(site("audit", "--kind", "create", "--json")
                .json["events"]), 2)
    t.equal(len(site("audit", "--limit", "1", "--json").json["events"]), 1)
    t.equal(len(site("audit", "--since", "1h", "--json").json["events"]), 3)
    t.equal(site("audit", "--since", "2999-01-01").out, "no events\n")
    t.equal(site("audit", "--realm", "shop").out, "no events\n")


@case
def audit_follow_prints_each_event_once(t):
    site = Site(t).start()
    site.new("before")
    process = subprocess.Popen(
        [harness.SESSGATECTL, "-c", site.gw.conf_path, "audit", "--follow",
         "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    t.at_end(process.stdout.close)
    t.at_end(process.stderr.close)
    t.at_end(process.wait)
    t.at_end(process.kill)
    lines = []

    def read():
        for line in process.stdout:
            lines.append(json.loads(line))
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    wait_until(lambda: len(lines) == 1, "the event before")
    for user in ("x", "y"):
        site.new(user)
    wait_until(lambda: len(lines) >= 3, "two events more")
    # Away, and back; many at once; and what comes to light late.
    site.gw.stop()
    time.sleep(2.5)
    site.gw.start()
    for n in range(30):
        site.new("z%d" % n)
    wait_until(lambda: len(lines) >= 33, "thirty more")
    late = int(time.time() * 1000) - 60000
    db = sqlite3.connect(site.gw.conf["sqlite"]["file"], timeout=10)
    db.execute("INSERT INTO audit SELECT ?, ?, host, actor, kind, reason, ref, realm, 'late', "
               "client_ip, detail FROM audit LIMIT 1",
               (late.to_bytes(6, "big") + b"0123456789", late))
    db.commit()
    db.close()
    wait_until(lambda: len(lines) >= 34, "the late one", 25)
    time.sleep(2.5)
    t.equal([e["user_id"] for e in lines], ["before", "x", "y"] +
            ["z%d" % n for n in range(30)] + ["late"])
    process.send_signal(signal.SIGINT)
    t.equal(process.wait(5), 0)
    thread.join(5)
    t.equal(process.stderr.read().count("trying again"), 1)


@case
def explain_tells_the_story(t):
    site = Site(t).start()
    token, ref = site.new("alice", "--role", "editor", "--client-ip",
                          "192.0.2.9")
    done = site("explain", ref)
    t.equal((done.code, done.err), (0, ""), done)
    t.match(done.out, "It belongs to alice.*editor")
    t.match(done.out, r"it was created.*by control")
    t.match(done.out, "It is live.*unused it ends 20")
    site("end", ref, "--reason", "logged_out")
    done = site("explain", ref)
    t.match(done.out, r"It ended 20.* because the user logged out")
    t.match(done.out, "What to do: log in again")
    t.true(token not in done.out)
    told = site("explain", ref, "--json").json
    t.equal(told["session"]["state"], "ended")
    t.equal([e["kind"] for e in told["events"]], ["end", "create"])
    done = site("explain", "0" * 24)
    t.equal((done.code, done.out), (1, ""))
    made = site("create", "--anonymous", "--json").json["session"]["ref"]
    t.match(site("explain", made).out, "it is anonymous")


@case
def explain_knows_every_reason(t):
    site = Site(t).start()
    denials = site("status", "--json").json["denials"]
    t.true(len(denials) > 20, denials)
    for reason in denials:
        told = site("explain", reason, "--json").json
        t.equal(told["reason"], reason)
        t.true(told["meaning"] and told["todo"], told)
        done = site("explain", reason)
        t.equal((done.code, done.err), (0, ""))
        t.match(done.out, r"^%s: .*\.\nWhat to do: .*\.\n$" % reason)
    t.equal(site("explain", "ok").code, 2)


@case
def status_comes_from_the_keeper_even_when_workers_hang(t):
    site = Site(t).start()
    done = site("status")
    t.equal(done.code, 0, done)
    t.match(done.out, r"(?m)^version +\d")
    t.match(done.out, r"(?m)^workers\.1 +pid \d+, state ")
    status = site("status", "--json").json
    workers = [w["pid"] for w in status["workers"]]
    t.equal(len(workers), 2)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        t.equal(site("status", "--timeout", "1s").code, 0)
        t.equal(site("list", "a", "--timeout", "300ms").code, 3)
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


@case
def status_watch_goes_on_until_interrupted(t):
    site = Site(t).start()
    token, _ = site.new("alice")
    for options in ((), ("--json",)):
        process = subprocess.Popen(
            [harness.SESSGATECTL, "-c", site.gw.conf_path, "status", "--watch", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        t.at_end(process.stdout.close)
        t.at_end(process.stderr.close)
        t.at_end(process.wait)
        t.at_end(process.kill)
        if options:
            for _ in range(2):
                t.true("version" in json.loads(process.stdout.readline()))
        else:
            t.match(process.stdout.readline(), "^TIME +ALLOWED/S +DENIED/S +503/S")
            rates = []
            for _ in range(3):
                for _ in range(20):
                    site.gw.check("sid=" + token)
                    site.gw.check()
                line = process.stdout.readline()
                t.match(line, r"^\d\d:\d\d:\d\d .* [0-2]/2 +sqlite=up$")
                rates.append([int(n) for n in line.split()[1:4]])
            t.true(max(r[0] + r[1] for r in rates) >= 20 and not any(r[2] for r in rates), rates)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        t.equal(process.wait(5), 0)
        t.true(time.monotonic() - began < 2, "at once")
        t.equal(process.stderr.read(), "")


@case
def status_watch_waits_for_a_gateway_that_is_away(t):
    site = Site(t).start()
    process = subprocess.Popen(
        [harness.SESSGATECTL, "-c", site.gw.conf_path, "status", "--watch"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    t.at_end(process.stdout.close)
    t.at_end(process.wait)
    t.at_end(process.kill)
    t.match(process.stdout.readline(), "^TIME")
    site.gw.stop()
    site.gw.start()
    while not re.match(r"\d\d:.* sqlite=up$", process.stdout.readline()):
        pass
    process.terminate()
    t.equal(process.wait(5), 0)


@case
def stats_has_counts(t):
    site = Site(t).start()
    done = site("stats")
    t.equal(done.code, 0, done)
    t.match(done.out, r"(?m)^live +\S")
    t.true("users" in site("stats", "--json").json)


@case
def stopped_gateway_is_exit_3(t):
    site = Site(t).start()
    site.gw.stop()
    for args in (["list", "a"], ["status"], ["create", "--user", "a"]):
        done = site(*args)
        t.equal((done.code, done.out), (3, ""), args)
        t.match(done.err, "is sessgated running")


@case
def another_mount_is_found_or_given(t):
    site = Site(t, {"gateway": {"mount": "/auth/"}}).start()
    t.equal(site("list", "a").code, 0)
    t.true(site.login("create", "--user", "a").code != 0)
    t.equal(site.login("--mount", "/auth/", "create", "--user", "a").code, 0)


main()
