"""Real web servers, each with the files of conf/ that `sessgatectl config mount`
prints for a gateway.

The files are used as they come. What an operator changes in them is changed
here by adjust(), which insists that the setting is there once: paths and
sockets, nothing else. Around them stands what a site has besides: where its
programs lie, and which policy is for which path.

The same programs everywhere, below /app/: env.cgi; and in staff/, open/, form/
and unknown/, paths with a policy of that name, another one.
"""

import os
import pwd
import subprocess
import time

import harness
from webserver import ENV_CGI, WEB_USER, Lighttpd, WebServer, free_port

POLICIES = ("staff", "open", "form", "unknown")
MODULES = "/usr/lib/apache2/modules"


def printed(gw, name):
    done = subprocess.run([harness.SESSGATECTL, "-c", gw.conf_path, "config", "mount", name], cwd="/",
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def adjust(text, **settings):
    """Give `NAME = "..."` or `Define NAME ...` another value."""
    for name, value in settings.items():
        lines = text.split("\n")
        found = [i for i, line in enumerate(lines)
                 if line.startswith(("var.%s = " % name, "Define %s " % name))]
        assert len(found) == 1, (name, found)
        line = lines[found[0]]
        lines[found[0]] = ('var.%s = "%s"' if line.startswith("var.") else "Define %s %s") % (name, value)
        text = "\n".join(lines)
    return text


def as_web(command):
    """A command as the web server's user, when that is another."""
    if not harness.IS_ROOT:
        return command
    web = pwd.getpwnam(WEB_USER)
    return ["setpriv", "--reuid", str(web.pw_uid), "--regid", str(web.pw_gid), "--clear-groups"] + command


class Programs:
    """What stands below /app/ at every site; mixed into a WebServer."""

    def write_programs(self):
        program = ENV_CGI % {"marker": self.marker}
        # With ?own the program sets a cookie, too; with ?go it sends the server
        # to another program, as CGI lets it.
        program = program.replace(
            'print "Content-Type:',
            'if ($ENV{QUERY_STRING} eq "go") { print "Location: /app/env.cgi?gone\\r\\n\\r\\n"; exit }\n'
            'print "Set-Cookie: own=1; Path=/\\r\\n" if $ENV{QUERY_STRING} eq "own";\n'
            'print "Status: $1\\r\\n" if $ENV{QUERY_STRING} =~ /^status=(\\d+)/;\n'
            'print "Content-Type:')
        self.write("env.cgi", program)
        for name in POLICIES:
            os.mkdir(os.path.join(self.cgi, name))
            self.write(name + "/env.cgi", program.replace("X-Program: ran", "X-Program: " + name))
        os.symlink(self.cgi, os.path.join(self.root, "app"))
        with open(os.path.join(self.root, "login.html"), "w") as f:
            f.write("log in here\n")


class LighttpdFront(Lighttpd, Programs):
    """lighttpd, authorizer: the pool runs by itself."""

    name = "lighttpd"
    files = ("lighttpd",)
    # As Debian has them, before the files of conf-enabled/ add theirs.
    modules = ("mod_indexfile", "mod_access", "mod_alias", "mod_redirect", "mod_cgi")

    def __init__(self, t, gw):
        self.gw = gw
        super().__init__(t, self.mounts() + self.policies(), self.modules)
        self.name = type(self).name
        self.write_programs()

    def mounts(self):
        return "".join(printed(self.gw, name) for name in self.files)

    @staticmethod
    def policies():
        return 'server.modules += ( "mod_setenv" )\n' + "".join(
            '$HTTP["url"] =~ "^/app/%s/" { setenv.set-environment = ( "SESSGATE_POLICY" => "%s" ) }\n' % (p, p)
            for p in POLICIES)


class CookieFront(LighttpdFront):
    """lighttpd with the script that looks after the cookie."""

    name = "lighttpd cookie.lua"

    def mounts(self):
        self.lua = os.path.join(self.gw.dir, "cookie.lua")
        with open(self.lua, "w") as f:
            f.write(printed(self.gw, "lighttpd-cookie.lua"))
        return adjust(printed(self.gw, "lighttpd-cookie"), sessgate_cookie_lua=self.lua) + super().mounts()


class BinPathFront(LighttpdFront):
    """lighttpd, which starts the gateway itself."""

    name = "lighttpd bin-path"

    def mounts(self):
        return adjust(printed(self.gw, "lighttpd-bin-path"),
                      sessgate_socket=os.path.join(self.gw.dir, "fd0.sock"))


class ApacheFront(WebServer, Programs):
    """Apache, mod_authnz_fcgi."""

    name = "apache"
    file = "apache"
    modules = ("mpm_event", "authn_core", "authz_core", "authz_user", "authnz_fcgi", "cgid", "mime", "alias", "dir",
               "setenvif", "headers", "proxy", "proxy_fcgi")

    def __init__(self, t, gw):
        self.gw = gw
        program = harness.needs("apache2")
        self.make_site()
        self.write_programs()
        for name in self.modules:
            if not os.path.exists("%s/mod_%s.so" % (MODULES, name)):
                raise harness.Skip("Apache's mod_%s is not installed" % name)
        self.write_conf("mount.conf", printed(gw, self.file))
        self.write_conf("apache.conf", """
ServerRoot %(dir)s
ServerName site.test
Listen 127.0.0.1:%(port)d
PidFile %(dir)s/apache.pid
ErrorLog %(log)s
TypesConfig /dev/null
DirectoryIndex env.cgi
DefaultRuntimeDir %(data)s
%(modules)s
%(user)s
StartServers 1
ServerLimit 1
ThreadsPerChild 48
MaxRequestWorkers 48
ScriptSock %(data)s/cgid.sock
DocumentRoot %(root)s
%(more)s
<Directory "%(root)s">
    Require all granted
    Options FollowSymLinks ExecCGI
    AddHandler cgi-script .cgi
</Directory>
<Directory "%(cgi)s">
    Require all granted
    Options FollowSymLinks ExecCGI
    AddHandler cgi-script .cgi
</Directory>
Include %(dir)s/mount.conf
%(policies)s
""" % {"dir": self.dir, "port": self.port, "log": self.log_path, "data": self.data, "root": self.root,
            "cgi": self.cgi, "more": self.more(),
            "user": "User www-data\nGroup www-data" if harness.IS_ROOT else "",
            "modules": "\n".join("LoadModule %s_module %s/mod_%s.so" % (m, MODULES, m) for m in self.modules),
            "policies": "".join('<Location "/app/%s/">\n    SetEnvIf Request_URI "." SESSGATE_POLICY=%s\n</Location>\n'
                                % (p, p) for p in POLICIES)})
        self.process = harness.spawn([program, "-f", os.path.join(self.dir, "apache.conf"), "-D", "FOREGROUND"],
                                     cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
        t.at_end(self.stop)
        harness.wait_until(self.answers, "apache answers; " + self.dir)

    def more(self):
        return ""

    def write_conf(self, name, text):
        with open(os.path.join(self.dir, name), "w") as f:
            f.write(text)


class FcgidFront(ApacheFront):
    """Apache, mod_fcgid: relays that Apache starts and counts."""

    name = "apache fcgid"
    file = "apache-fcgid"
    modules = tuple(m for m in ApacheFront.modules if m not in ("authnz_fcgi", "authz_user")) + ("fcgid",)

    def more(self):
        return "FcgidIPCDir %s/fcgid\nFcgidProcessTableFile %s/fcgid_shm\n" % (self.data, self.data)


class NginxFront(WebServer, Programs):
    """nginx, auth_request; the programs are run by fcgiwrap."""

    name = "nginx"

    def __init__(self, t, gw):
        self.gw = gw
        program = harness.needs("nginx")
        fcgiwrap = harness.needs("fcgiwrap")
        self.make_site()
        self.write_programs()
        wrap = os.path.join(self.data, "fcgiwrap.sock")
        os.mkdir(os.path.join(self.dir, "sessgate"))
        for name in ("http", "server", "params", "protect", "fcgiwrap"):
            text = printed(gw, "nginx-" + name)
            if name == "fcgiwrap":
                assert text.count("unix:/run/fcgiwrap.socket;") == 1
                text = text.replace("/run/fcgiwrap.socket", wrap)
            if name == "protect":
                # As the last lines say: exported data is named member by member.
                text = "".join(line[1:] if line.startswith(("#auth_request_set", "#fastcgi_param")) else line
                               for line in text.splitlines(True))
            with open(os.path.join(self.dir, "sessgate", name + ".conf"), "w") as f:
                f.write(text)
        conf = os.path.join(self.dir, "nginx.conf")
        with open(conf, "w") as f:
            f.write("""
%(user)s
worker_processes 1; pid %(dir)s/nginx.pid; daemon off;
events { worker_connections 1024; }
http {
  access_log off; client_body_temp_path %(data)s/nb; proxy_temp_path %(data)s/np; fastcgi_temp_path %(data)s/nf;
  uwsgi_temp_path %(data)s/nu; scgi_temp_path %(data)s/ns;
  keepalive_timeout 0;
  include sessgate/http.conf;
  server {
    listen %(listen)s; server_name site.test; root %(root)s;
    include sessgate/server.conf;
    %(more)s
    location /app/ { auth_request /.sessgate-check/; include sessgate/fcgiwrap.conf; }
    %(policies)s
  }
}
""" % {"dir": self.dir, "data": self.data, "listen": self.listen(), "root": self.root, "more": self.more(),
                "user": "user www-data;" if harness.IS_ROOT else "",
                "policies": "\n    ".join(
                    "location /app/%s/ { auth_request /.sessgate-check/%s; include sessgate/fcgiwrap.conf; }" % (p, p)
                    for p in POLICIES)})
        # One process: those that it forks with -c outlive it.
        self.wrap = harness.spawn(as_web(["env", "-i", "PATH=/usr/bin:/bin", fcgiwrap, "-s", "unix:" + wrap]), cwd="/",
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        t.at_end(self.stop_wrap)
        self.process = harness.spawn([program, "-c", conf, "-e", self.log_path], cwd="/", stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        t.at_end(self.stop)
        harness.wait_until(self.answers, "nginx answers; " + self.dir)
        harness.wait_until(lambda: os.path.exists(wrap), "fcgiwrap listens")

    def listen(self):
        return "127.0.0.1:%d" % self.port

    def more(self):
        return ""

    def stop_wrap(self):
        self.wrap.terminate()
        self.wrap.wait(10)


FRONTS = (LighttpdFront, BinPathFront, CookieFront, ApacheFront, FcgidFront, NginxFront)

# What the gateway behind them is told.
CONF = {
    "cookie": {"name": "sid", "secure": False},
    "gateway": {"workers": 4, "login_url": "/login.html", "request_terminate_timeout": "4 s"},
    "session": {"export_data": ["theme"], "browser_readable": ["theme"],
                "browser_writable": ["note"], "idle_timeout": "10 min"},
    "policy": {"staff": {"require_role": ["staff"]}, "open": {"anonymous": True}, "form": {"csrf": True}},
}


class House:
    """All of them: one gateway for those that ask a pool, one that lighttpd has
    started. Started once; every row of the table goes through it."""

    def __init__(self, only=""):
        begin = time.monotonic()
        self.t = harness.Case()
        try:
            self.start(only)
        except BaseException:
            self.t.finish()
            self.t.remove()
            raise
        print("# started in %.1f s" % (time.monotonic() - begin))

    def start(self, only):
        self.port = free_port()
        self.pool = self.t.gateway(CONF)
        self.own = self.t.gateway(CONF)
        self.pool.configure({"listener": {
            "pool": {"backlog": 16},
            "apache": {"address": "tcp:127.0.0.1:%d" % self.port, "allow": ["check"], "backlog": 16}}})
        self.own.configure({"gateway": {"user": None}, "log": {"destination": "file:" + self.own.log_path},
                            "listener": {"inherited": {"allow": ["check", "api"]}}})
        if harness.IS_ROOT:
            self.pool.configure({"listener": {"pool": {"group": WEB_USER}}})
            web = pwd.getpwnam(WEB_USER)
            os.chown(self.own.dir, web.pw_uid, web.pw_gid)
        self.own.expect_log("can read the keys", "can log in as anybody")
        self.pool.start()
        self.fronts = [front(self.t, self.own if front is BinPathFront else self.pool)
                       for front in FRONTS if only in front.name]
        for front in self.fronts:
            harness.wait_until(lambda: front.ask("GET", "/app/env.cgi").status < 500,
                               "%s answers\n%s\n%s" % (front.name, front.log(), front.gw.log()))

    def gateways(self):
        """Those that any of the fronts uses."""
        return [gw for gw in (self.pool, self.own) if any(f.gw is gw for f in self.fronts)]
