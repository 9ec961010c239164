"""The web servers, the stores, the do-nothing responders and sessgate itself.

What is named in a route is started when a contender first needs it; the web
servers know all routes from the start.
"""

import collections
import os
import pwd
import subprocess
import sys

import machine
from machine import Unavailable, ask, program

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "it"))
import stores  # pylint: disable=wrong-import-position

IS_ROOT = os.geteuid() == 0
# What sessgate keeps its sessions in; each is an instance of its own. cache:
# with its local cache. workers: None is what the command line says. more: lines
# of its configuration. scheduling: gateway.scheduling, "" for the default.
Profile = collections.namedtuple("Profile", "mysql redis cache workers more scheduling", defaults=("", ""))
PROFILES = {
    "l1": Profile(mysql=True, redis=True, cache=True, workers=None),
    "normal": Profile(mysql=True, redis=True, cache=True, workers=None, scheduling="normal"),
    "redis": Profile(mysql=True, redis=True, cache=False, workers=None),
    "mysql": Profile(mysql=True, redis=False, cache=False, workers=None),
    "sqlite": Profile(mysql=False, redis=False, cache=False, workers=None),
    "hitsqlite": Profile(mysql=False, redis=False, cache=True, workers=None),
    "creation": Profile(mysql=True, redis=True, cache=True, workers=None),
    "memory": Profile(mysql=True, redis=True, cache=True, workers=16),
}
WEB_USER = "www-data"
KEPT = 32  # connections that nginx and Apache keep to an instance


class DurableMariaDB(stores.MariaDB):
    """As on a site: each commit is on the disk before it is acknowledged, and
    the pages that are used fit into memory."""
    pool, log = "512M", "256M"

    def network(self):
        return ["--skip-networking", "--innodb-buffer-pool-size=" + self.pool, "--innodb-log-file-size=" + self.log,
                "--max-connections=400"]


class Lighttpd:
    name = "lighttpd"

    def __init__(self, site):
        self.site, self.port = site, machine.free_port()
        work = site.work
        routes = [f'"/{n}" => (( "socket" => "{s}", "check-local" => "disable" ))' for n, s in site.plain.items()]
        for p in PROFILES:
            routes += [f'"/check/{p}" => (( "socket" => "{work}/{p}/run/pool.sock", "check-local" => "disable" ))',
                       # The first that a path begins with.
                       f'"/{p}/v1/sessions/" => (( "socket" => "{work}/{p}/run/control.sock", "check-local" => "disable" ))',
                       f'"/{p}/v1/" => (( "socket" => "{work}/{p}/run/login.sock", "check-local" => "disable" ))',
                       f'"/static/{p}/" => (( "socket" => "{work}/{p}/run/pool.sock", "mode" => "authorizer", '
                       '"check-local" => "disable" ))']
        conf = site.machine.write("lighttpd.conf", f'''server.port = {self.port}
server.bind = "127.0.0.1"
server.document-root = "{work}/www"
server.max-keep-alive-requests = 10000
server.modules = ( "mod_setenv", "mod_fastcgi" )
mimetype.assign = ( "" => "text/plain" )
$HTTP["url"] =~ "^/check" {{ setenv.set-environment = ( "SESSGATE_CHECK" => "1" ) }}
fastcgi.server = (
''' + ",\n".join(routes) + ",\n" + f'''"/php/" => (( "socket" => "{work}/php.sock", "check-local" => "disable" )) )
''')
        site.machine.start(self.name, [program("lighttpd"), "-D", "-f", conf], self.port)


class Nginx:
    """One process, as lighttpd has; the machine is shared with the load."""
    name = "nginx"

    def __init__(self, site):
        self.port = machine.free_port()
        work = site.directory("nginx")
        upstreams, locations = [], []
        pools = {n: s for n, s in site.plain.items()}
        pools.update({f"check/{p}": f"{site.work}/{p}/run/pool.sock" for p in PROFILES})
        for name, path in pools.items():
            for keeps in (False, True):
                upstream = name.replace("/", "-") + ("-ka" if keeps else "")
                keep = f" keepalive {KEPT}; keepalive_requests 1000000;" if keeps else ""
                upstreams.append(f"upstream {upstream} {{ server unix:{path};{keep} }}")
                locations.append(
                    f"location /{name}{'-ka' if keeps else ''} {{ include {work}/params; "
                    + ("fastcgi_param SESSGATE_CHECK 1; " if name.startswith("check") else "")
                    + f"fastcgi_keep_conn {'on' if keeps else 'off'}; fastcgi_pass {upstream}; }}")
        # A page that asks first: what a site behind nginx pays for each of its pages.
        for name in PROFILES:
            for keeps in ("", "-ka"):
                locations.append(
                    f"location = /ask/{name}{keeps} {{ internal; include {work}/params; fastcgi_param SESSGATE_CHECK 1; "
                    f"fastcgi_pass_request_body off; fastcgi_keep_conn {'on' if keeps else 'off'}; "
                    f"fastcgi_pass check-{name}{keeps}; }}")
                locations.append(
                    f"location /page/{name}{keeps} {{ auth_request /ask/{name}{keeps}; "
                    "auth_request_set $user $upstream_http_variable_remote_user; add_header X-User $user; "
                    f"include {work}/params; fastcgi_param REMOTE_USER $user; fastcgi_pass stock; }}")
        site.machine.write("nginx/params", "\n".join(
            f"fastcgi_param {k} {v};" for k, v in (
                ("QUERY_STRING", "$query_string"), ("REQUEST_METHOD", "$request_method"),
                ("CONTENT_TYPE", "$content_type"), ("CONTENT_LENGTH", "$content_length"),
                ("SCRIPT_NAME", "$fastcgi_script_name"), ("REQUEST_URI", "$request_uri"),
                ("DOCUMENT_URI", "$document_uri"), ("DOCUMENT_ROOT", "$document_root"),
                ("SERVER_PROTOCOL", "$server_protocol"), ("REQUEST_SCHEME", "$scheme"),
                ("GATEWAY_INTERFACE", "CGI/1.1"), ("SERVER_SOFTWARE", "nginx/$nginx_version"),
                ("REMOTE_ADDR", "$remote_addr"), ("REMOTE_PORT", "$remote_port"),
                ("SERVER_ADDR", "$server_addr"), ("SERVER_PORT", "$server_port"),
                ("SERVER_NAME", "$server_name"))))
        temporary = " ".join(f"{t}_temp_path {work}/{t};" for t in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf = site.machine.write("nginx/conf", f'''daemon off; worker_processes 1; pid {work}/pid; error_log {work}/error;
{"user root;" if IS_ROOT else ""}
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000; {temporary}
''' + "\n".join(upstreams) + f'''
server {{ listen 127.0.0.1:{self.port}; root {site.work}/www;
''' + "\n".join(locations) + "\n} }\n")
        site.machine.start(self.name, [program("nginx"), "-e", f"{work}/error", "-c", conf], self.port)


class Apache:
    """Event MPM, one process of threads."""
    name = "apache"
    MODULES = ("mpm_event", "authz_core", "authz_user", "authn_core", "authn_file", "auth_form", "request", "session",
               "session_dbd", "dbd", "alias", "env", "headers", "proxy", "proxy_fcgi")

    def __init__(self, site):
        self.port = machine.free_port()
        binary = program("apache2")
        places = [d for d in ("/usr/lib/apache2/modules",) if os.path.isdir(d)]
        if not places:
            raise Unavailable("Apache's modules are not in /usr/lib/apache2/modules")
        work = site.directory("apache")
        routes = []
        pools = dict(site.plain)
        pools.update({f"check/{p}": f"{site.work}/{p}/run/pool.sock" for p in PROFILES})
        # Longer paths first: the first ProxyPass that fits is taken.
        for name, path in pools.items():
            host = name.replace("/", "-")
            routes += [f'ProxyPass "/{name}-ka" "unix:{path}|fcgi://{host}-ka/" enablereuse=on max={KEPT}',
                       f'ProxyPass "/{name}" "unix:{path}|fcgi://{host}/" enablereuse=off']
        conf = site.machine.write("apache/conf", f'''ServerRoot "{work}"
ServerName bench.test
Listen 127.0.0.1:{self.port}
PidFile "{work}/pid"
ErrorLog "{work}/error"
LogLevel warn
DefaultRuntimeDir "{work}"
''' + "\n".join(f"LoadModule {m}_module {places[0]}/mod_{m}.so" for m in self.MODULES) + f'''
{f"User {WEB_USER}" + chr(10) + f"Group {WEB_USER}" if IS_ROOT else ""}
ServerLimit 1
StartServers 1
ThreadsPerChild 100
ThreadLimit 100
MaxRequestWorkers 100
MaxConnectionsPerChild 0
MaxKeepAliveRequests 0
DocumentRoot "{site.work}/www"
<Location "/check">
SetEnv SESSGATE_CHECK 1
</Location>
''' + "\n".join(routes) + "\n" + site.dbd_conf())
        os.chmod(work, 0o777)
        site.machine.start(self.name, [binary, "-DFOREGROUND", "-f", conf], self.port)


class Site:
    """Everything that contenders share. Each get_ starts on the first call."""

    def __init__(self, box, build, workers):
        self.machine, self.build, self.workers = box, os.path.abspath(build), workers
        self.work = box.work
        self.started, self.failed = {}, {}
        stores.MariaDB.spawn = stores.Redis.spawn = staticmethod(box.spawn)
        self.plain = {n: box.path(n + ".sock") for n in ("stock", "perl", "transaction-whole", "transaction-bare")}
        self.plain["own"] = box.path("own/pool.sock")
        for name in ("www", "www/static"):
            self.directory(name)
        for p in PROFILES:
            self.directory("www/static/" + p)
            box.write(f"www/static/{p}/a", "a\n")

    def directory(self, name):
        return self.machine.directory(name)

    def once(self, name, start):
        """start() the first time; a failure is remembered with its reason."""
        if name in self.failed:
            raise Unavailable(self.failed[name])
        if name not in self.started:
            try:
                self.started[name] = start()
            except (Unavailable, OSError, AssertionError, stores.Skip, subprocess.SubprocessError) as e:
                self.failed[name] = str(e)
                raise Unavailable(str(e)) from e
        return self.started[name]

    def web(self, kind):
        return self.once(kind.name, lambda: kind(self))

    @property
    def lighttpd(self):
        return self.web(Lighttpd)

    @property
    def nginx(self):
        return self.web(Nginx)

    @property
    def apache(self):
        return self.web(Apache)

    def mariadb(self):
        def start():
            server = DurableMariaDB(self.machine, is_durable=True)
            self.machine.processes["mariadb"] = server.process
            return server
        return self.once("mariadb", start)

    def redis(self, name="redis", **options):
        def start():
            server = stores.Redis(self.machine, **options)
            self.machine.processes[name] = server.process
            return server
        return self.once(name, start)

    def open_to_all(self, path):
        """A web server that has given root up must reach it."""
        if IS_ROOT:
            os.chmod(path, 0o666)
            os.chmod(os.path.dirname(path), 0o755)

    def binary(self, *names):
        """The first that was built; libtool's are scripts that run those in .libs."""
        for name in names:
            path = os.path.join(self.build, name)
            if os.path.exists(path):
                return path
        raise Unavailable(f"{names[0]} was not built")

    @staticmethod
    def user():
        return 'user = "nobody"; group = "nogroup";' if IS_ROOT else ""

    def responder(self, name, command, path):
        def start():
            self.machine.start(name, command(), path)
            self.open_to_all(path)
        self.once(name, start)

    def stock(self):
        path = self.plain["stock"]
        self.responder("stock", lambda: [self.binary("tests/bench/noop_stock"), path, str(self.workers)], path)

    def own(self):
        path = self.plain["own"]
        self.directory("own")
        self.responder("own", lambda: [self.binary("tests/bench/noop_own"), os.path.dirname(path),
                                       str(self.workers)], path)

    def database(self, name):
        self.mariadb().sql(f"CREATE DATABASE IF NOT EXISTS {name}")
        return f'mysql: {{ socket = "{self.mariadb().socket}"; user = "root"; database = "{name}"; }};'

    def ctl(self, conf, *args):
        subprocess.run([self.binary("gateway/sessgatectl"), "-c", conf, *args], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def stores_of(self, name, like, profile):
        if not profile.mysql:
            return f'sqlite: {{ file = "{self.work}/{name}/db/sessions.db"; }};'
        text = self.database("sessgate_" + like)
        spool = self.directory(f"{name}/spool")
        os.chmod(spool, 0o700)
        if IS_ROOT:
            os.chown(spool, pwd.getpwnam("nobody").pw_uid, -1)
        text += f'\nspool: {{ dir = "{spool}"; max = "64 MiB"; }};'
        if profile.redis:
            text += (f'\nredis: {{ address = "unix:{self.redis().socket}"; '
                     f'database = {self.redis_number(like)}; }};')
        return text

    @staticmethod
    def redis_number(name):
        """Each MySQL database has a Redis database of its own."""
        return list(PROFILES).index(name)

    def sessgate(self, name, like=None):
        """An instance of a profile; its routes are below /NAME/.

        like: the profile whose stores and keys it shares, if it is a second one;
        it is like that in all else, unless it has a profile of its own.
        """
        return self.once("sessgate-" + name, lambda: self.start_sessgate(name, like or name))

    def start_sessgate(self, name, like):
        profile = PROFILES.get(name, PROFILES[like])
        place = self.directory(name)
        cache = "" if profile.cache else 'cache: { size = "0 B"; };'
        scheduling = f'scheduling = "{profile.scheduling}"; ' if profile.scheduling else ""
        conf = self.machine.write(f"{name}/sessgate.conf", f'''
gateway: {{ runtime_dir = "{place}/run"; workers = {profile.workers or self.workers}; mount = "/{name}/";
  {scheduling}{self.user()} }};
listener: {{ login: {{ mode = "0600"; group = ""; }}; }};
cookie: {{ name = "sid"; secure = false; }};
keys: {{ file = "{self.work}/{like}/keys/keys"; }};
{self.stores_of(name, like, profile)}
{cache}
{profile.more}
''')
        self.machine.start("sessgate-" + name, [self.binary("gateway/sessgated"), "-c", conf],
                           place + "/run/pool.sock")
        machine.wait_until(lambda: os.path.exists(place + "/run/login.sock"), "login.sock is there")
        if profile.mysql and name == like:  # its first start made the keys
            self.ctl(conf, "db", "init")
        self.open_to_all(place + "/run/pool.sock")
        if name in PROFILES:
            self.wait_for_login(name)
        return conf

    def wait_for_login(self, profile):
        """With Redis, until the keeper has seen both stores."""
        machine.wait_until(lambda: ask(self.lighttpd.port, f"/{profile}/v1/sessions", "POST", '{"user_id":"first"}',
                                       Content_Type="application/json").status == 201, profile + " takes logins")

    # Apache's own sessions: mod_session_dbd and mod_auth_form. A session with
    # the site's passphrase is believed without asking a provider, which is the
    # documented way for "high traffic sites".
    DBD_SITE = "benchmark"

    def dbd_conf(self):
        try:
            self.mariadb().sql(
                "CREATE DATABASE IF NOT EXISTS dbd; CREATE TABLE IF NOT EXISTS dbd.session (sessionkey VARCHAR(64) "
                "CHARACTER SET ascii PRIMARY KEY, sessionvalue VARCHAR(4096), expiry BIGINT) ENGINE=InnoDB")
        except (Unavailable, stores.Skip):
            return ""
        if not os.path.exists("/usr/lib/x86_64-linux-gnu/apr-util-1/apr_dbd_mysql.so") and not any(
                "apr_dbd_mysql" in f for _, _, fs in os.walk("/usr/lib") for f in fs):
            return ""
        return f'''
DBDriver mysql
DBDParams "sock={self.mariadb().socket},user=root,dbname=dbd"
DBDMax 16
DBDKeep 16
DBDPrepareSQL "select sessionvalue from session where sessionkey = %s and (expiry = 0 or expiry > %lld)" selectsession
DBDPrepareSQL "delete from session where sessionkey = %s" deletesession
DBDPrepareSQL "insert into session (sessionvalue, expiry, sessionkey) values (%s, %lld, %s)" insertsession
DBDPrepareSQL "update session set sessionvalue = %s, expiry = %lld, sessionkey = %s where sessionkey = %s" updatesession
DBDPrepareSQL "delete from session where expiry != 0 and expiry < %lld" cleansession
<Location "/dbd">
AuthType form
AuthName bench
AuthFormProvider file
AuthUserFile /dev/null
AuthFormSitePassphrase {self.DBD_SITE}
Session On
SessionDBDCookieName dbd path=/
Require valid-user
Header always set X-User "expr=%{{REMOTE_USER}}"
</Location>
'''
