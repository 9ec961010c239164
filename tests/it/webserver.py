"""A real lighttpd in front of a harness Gateway, and a CGI program behind it.

The program (env.cgi) appends a line to a marker file each time it runs, so a
test can tell whether a refused request reached it, and prints its environment.
As root, lighttpd and the program run as www-data and the gateway as nobody, as
on a real site; else all have one user.
"""

import grp
import http.client
import os
import pwd
import socket
import subprocess
import tempfile

import harness

WEB_USER = "www-data"

ENV_CGI = """#!/usr/bin/perl
open(M, '>>', '%(marker)s') or die; print M "$ENV{REQUEST_URI}\\n"; close M;
my $body = ''; read(STDIN, $body, $ENV{CONTENT_LENGTH}) if $ENV{CONTENT_LENGTH};
print "Content-Type: text/plain\\r\\nX-Program: ran\\r\\n\\r\\n";
print map { my $v = $ENV{$_}; $v =~ s/\\n/\\\\n/g; "$_=$v\\n" } sort keys %%ENV;
print 'BODY_LENGTH=', length $body, "\\n";
open(E, '<', '/proc/self/environ') or die; local $/; my %%n; $n{(split /=/)[0]}++ for split /\\0/, <E>;
print 'TWICE=', join(',', grep { $n{$_} > 1 } keys %%n), "\\n";
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        return self.headers.get(name)

    @property
    def env(self):
        """What env.cgi printed."""
        return dict(line.split("=", 1) for line in self.body.decode("utf-8", "replace").splitlines()
                    if "=" in line)

    def __repr__(self):
        return "Answer(%d, %r, %r)" % (self.status, list(self.headers.items()), self.body[:200])


class WebServer:
    """A web server of a test's own, on a loopback port: whoever is one sets
    dir, port, name, log_path and process."""

    def make_site(self):
        """A directory with the program (cgi/), a document root, and data/, which
        is the web server's user's."""
        self.dir = tempfile.mkdtemp(prefix="sgweb.")
        os.chmod(self.dir, 0o755)
        self.cgi = os.path.join(self.dir, "cgi")
        self.data = os.path.join(self.dir, "data")
        self.root = os.path.join(self.dir, "root")
        for folder in (self.cgi, self.data, self.root):
            os.mkdir(folder)
        self.marker = os.path.join(self.data, "marker")
        self.log_path = os.path.join(self.data, "error.log")
        self.write("env.cgi", ENV_CGI % {"marker": self.marker})
        with open(os.path.join(self.cgi, "page.html"), "w") as f:
            f.write("static\n")
        open(self.log_path, "w").close()
        if harness.IS_ROOT:
            web = pwd.getpwnam(WEB_USER)
            for path in (self.data, self.log_path):
                os.chown(path, web.pw_uid, web.pw_gid)
        self.port = free_port()

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("%s ended: %s" % (self.name, self.log()))
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def stop(self):
        harness.end_process(self.process)
        if not os.environ.get("KEEP"):
            subprocess.run(["rm", "-rf", self.dir], check=False)

    def write(self, name, text):
        """A CGI program."""
        path = os.path.join(self.cgi, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o755)

    def ask(self, method, path, body=None, cookie=None, **headers):
        """One request; header names with _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=harness.PATIENCE)
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        if cookie is not None:
            headers["Cookie"] = cookie
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def raw(self, request, timeout=5):
        """Bytes out, all bytes in (the request should say Connection: close)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as sock:
            try:
                sock.sendall(request)
            except (BrokenPipeError, ConnectionResetError):
                pass  # An early refusal; what it says is read below.
            data = b""
            try:
                while True:
                    got = sock.recv(65536)
                    if not got:
                        break
                    data += got
            except (ConnectionResetError, socket.timeout):
                pass
            return data

    def runs(self):
        """The lines of the marker: one for each time the program ran."""
        try:
            with open(self.marker) as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []


class Lighttpd(WebServer):
    """mounts: the text of fastcgi.server and of what else is wanted."""

    def __init__(self, t, mounts, modules=("mod_alias", "mod_setenv", "mod_cgi", "mod_fastcgi")):
        self.name = "lighttpd"
        program = harness.needs("lighttpd")
        harness.needs("perl")
        self.make_site()
        user = ""
        if harness.IS_ROOT:
            user = 'server.username = "%s"\nserver.groupname = "%s"\n' % (WEB_USER, WEB_USER)
        conf = os.path.join(self.dir, "lighttpd.conf")
        with open(conf, "w") as f:
            f.write('server.port = %d\nserver.bind = "127.0.0.1"\nserver.document-root = "%s"\n'
                    'server.errorlog = "%s"\n%s'
                    'server.max-keep-alive-requests = 0\nserver.max-read-idle = 5\n'
                    'server.modules = ( %s )\nmimetype.assign = ( ".html" => "text/html" )\n'
                    'alias.url = ( "/app/" => "%s/" )\n'
                    'cgi.assign = ( ".cgi" => "" )\n%s\n' % (
                        self.port, self.root, self.log_path, user,
                        ", ".join('"%s"' % m for m in modules), self.cgi, mounts))
        self.process = harness.spawn([program, "-D", "-f", conf], cwd="/", stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        t.at_end(self.stop)
        harness.wait_until(self.answers, "lighttpd answers; " + self.dir)


def pool_for_web(gw):
    """Give the pool socket to the web server's group, when it is another."""
    if harness.IS_ROOT:
        gw.configure({"listener": {"pool": {"group": grp.getgrgid(
            pwd.getpwnam(WEB_USER).pw_gid).gr_name}}})


def authorizer(socket_path, extra=""):
    """The mount of conf/lighttpd: /app/ behind the authorizer, the API beside it."""
    return """
fastcgi.server = (
  "/app/" => (( "socket" => "%s", "mode" => "authorizer", "check-local" => "disable",
                "connect-timeout" => 2, "write-timeout" => 3, "read-timeout" => 3 )),
  "/.sessgate/" => (( "socket" => "%s", "check-local" => "disable",
                "connect-timeout" => 2, "write-timeout" => 3, "read-timeout" => 3 )) )
%s
""" % (socket_path, socket_path, extra)
