"""The Debian packages: built, looked at, and used in a bare Debian 12 root as
an administrator would. There is no systemd there: the test starts and stops
sessgated where the service manager would.

Takes a minute or two: a build, and a root made by debootstrap.
SESSGATE_PACKAGES=DIRECTORY: what scripts/deb has built there."""

import atexit
import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import SOURCE, Skip, case, main, needs, needs_root, wait_until
from readme import blocks

MIRROR = "http://deb.debian.org/debian"
ENTER = """
for place in proc sys dev; do
    mount --rbind "/$place" "$0/$place" || exit 1
done
exec chroot "$0" "$@"
"""
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
                       "/sbin:/bin",
               "HOME": "/root", "LANG": "C.UTF-8",
               "DEBIAN_FRONTEND": "noninteractive"}


def run(*command, **more):
    done = subprocess.run(command, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          **more)
    assert done.returncode == 0, "%s: %d\n%s" % (
        " ".join(command), done.returncode, done.stdout[-4000:])
    return done.stdout


def host_mirror():
    """Where this host's packages come from."""
    for path in (glob.glob("/etc/apt/sources.list.d/*.sources") +
                 glob.glob("/etc/apt/sources.list")):
        with open(path) as f:
            for line in f:
                words = line.split()
                if words[:1] in (["URIs:"], ["deb"]):
                    return next(w for w in words[1:] if "://" in w)
    return MIRROR


class Root:
    """A bare Debian 12 in a directory; what runs there ends with it."""

    def __init__(self):
        needs_root()
        needs("debootstrap")
        self.dir = tempfile.mkdtemp(prefix="sgroot.")
        os.chmod(self.dir, 0o755)
        atexit.register(self.remove)
        self.processes = []
        try:
            run("debootstrap", "--variant=minbase", "bookworm", self.dir,
                host_mirror())
        except AssertionError as e:
            raise Skip("no bare root could be made: %s" % str(e)[-300:])
        # The host's package sources, as they may be a mirror's.
        for name in ("sources.list", "sources.list.d", "apt.conf.d"):
            source, copy = "/etc/apt/" + name, self.path("etc/apt/" + name)
            if os.path.isdir(source):
                shutil.copytree(source, copy, dirs_exist_ok=True)
            elif os.path.exists(source):
                shutil.copy(source, copy)
        if glob.glob("/etc/apt/sources.list.d/*.sources"):
            os.unlink(self.path("etc/apt/sources.list"))
        for name in ("usr/share/keyrings", "etc/ssl/certs"):
            if os.path.isdir("/" + name):
                shutil.copytree("/" + name, self.path(name),
                                dirs_exist_ok=True)
        for name in ("etc/resolv.conf", "etc/hosts"):
            shutil.copyfile("/" + name, self.path(name))
        # As in every container: no package starts anything.
        self.write("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
        self.run("apt-get", "update", "-qq")

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o644):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w") as f:
            f.write(text)
        os.chmod(self.path(name), mode)

    def command(self, *command):
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                ENTER, self.dir] + list(command)

    def environment(self):
        proxies = {k: v for k, v in os.environ.items() if "proxy" in k.lower()}
        return dict(ENVIRONMENT, **proxies)

    def run(self, *command):
        return run(*self.command(*command), env=self.environment())

    def shell(self, line):
        return self.run("sh", "-ec", line)

    def spawn(self, *command):
        with open(self.path("var/log/test.log"), "ab") as log:
            process = subprocess.Popen(
                self.command(*command), env=self.environment(), stdout=log,
                stderr=log, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        status = process.wait(30)
        self.processes.remove(process)
        return status

    def log(self):
        with open(self.path("var/log/test.log")) as f:
            return f.read()

    def remove(self):
        for process in list(self.processes):
            try:
                self.stop(process)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # No file of the host: every mount was in a namespace of its own.
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)


class Shared:
    """What one case makes and the next ones use."""

    packages = root = daemon = None


def packages():
    """The directory of the packages; built once."""
    if Shared.packages is None:
        Shared.packages = os.environ.get("SESSGATE_PACKAGES")
    if Shared.packages is None:
        needs("dpkg-buildpackage")
        needs("lintian")
        directory = tempfile.mkdtemp(prefix="sgdeb.")
        atexit.register(shutil.rmtree, directory, True)
        # The unit tests are run by `make check` already.
        run(os.path.join(SOURCE, "scripts", "deb"), directory, cwd=SOURCE,
            env=dict(os.environ, DEB_BUILD_OPTIONS="nocheck parallel=2"))
        Shared.packages = directory
    return Shared.packages


def package(name):
    found = glob.glob(os.path.join(packages(), name + "_*.deb"))
    assert len(found) == 1, found
    return found[0]


def root():
    if Shared.root is None:
        path = package("sessgate")
        Shared.root = Root()
        shutil.copy(path, Shared.root.path("root/sessgate.deb"))
    return Shared.root


def start(r):
    """As the unit does; ready when it says so."""
    already = r.log().count("ready:") if os.path.exists(
        r.path("var/log/test.log")) else 0
    Shared.daemon = r.spawn("sessgated")
    wait_until(lambda: r.log().count("ready:") > already,
               "sessgated is ready\n" + r.log(), 30)


def stop(r):
    status = r.stop(Shared.daemon)
    Shared.daemon = None
    return status


@case
def packages_are_built_and_lintian_finds_nothing(t):
    names = sorted(os.path.basename(p).split("_")[0]
                   for p in glob.glob(os.path.join(packages(), "*.deb"))
                   if "dbgsym" not in p)
    t.equal(names, ["libsessgate-dev", "libsessgate0", "sessgate"])
    found = run("lintian", *glob.glob(os.path.join(packages(), "*.deb")))
    t.equal([x for x in found.splitlines() if x[:2] in ("E:", "W:")], [])


@case
def in_a_bare_root_it_installs_starts_and_has_sessions(t):
    r = root()
    r.run("apt-get", "install", "-y", "--no-install-recommends",
          "/root/sessgate.deb")
    t.match(r.run("id", "sessgate"), "sessgate")
    t.match(r.run("getent", "group", "sessgate-login"), "sessgate-login")
    t.match(r.run("sessgatectl", "config", "check"), "is right")
    start(r)
    t.match(r.shell("sessgatectl create --user alice"), "alice")
    t.match(r.shell("sessgatectl list alice"), "alice|[0-9a-f]{24}")
    t.match(r.shell("stat -c '%U %G %a' /run/sessgate/login.sock"),
            "sessgate sessgate-login 660")
    t.match(r.shell("stat -c '%U %G %a' /run/sessgate/pool.sock"),
            "sessgate www-data 660")
    t.match(r.shell("stat -c '%U %a' /var/lib/sessgate"), "sessgate 700")


def ask(port, path, *options):
    """(status, body) by the root's own host's curl."""
    text = run("curl", "-s", "-w", "\\n%{http_code}", *options,
               "http://127.0.0.1:%d%s" % (port, path))
    body, _, status = text.rpartition("\n")
    return int(status), body


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@case
def five_commands_protect_a_site_that_is_there(t):
    """Those of the README, as they stand there."""
    commands = blocks("README.md", "sh")[0].strip().splitlines()
    t.equal(len(commands), 5)
    r = root()
    needs("curl")
    r.run("apt-get", "install", "-y", "--no-install-recommends", "lighttpd",
          "openssl")
    port = free_port()
    r.shell("sed -i 's/^server.port .*/server.port = %d/' "
            "/etc/lighttpd/lighttpd.conf && lighttpd-enable-mod cgi" % port)
    r.write("usr/lib/cgi-bin/hello", "#!/bin/sh\nprintf 'Content-Type: text/"
            "plain\\n\\nHello, %s.\\n' \"$REMOTE_USER\"\n", 0o755)
    web = r.spawn("lighttpd", "-D", "-f", "/etc/lighttpd/lighttpd.conf")
    wait_until(lambda: subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "http://127.0.0.1:%d/" % port]
    ).returncode == 0, "lighttpd answers", 30)
    t.equal(ask(port, "/cgi-bin/hello"), (200, "Hello, .\n"))
    restarted = []
    for command in commands:
        if command.startswith("systemctl restart "):
            r.stop(web)
            if Shared.daemon is not None:
                stop(r)
            start(r)
            web = r.spawn("lighttpd", "-D", "-f",
                          "/etc/lighttpd/lighttpd.conf")
            restarted = command.split()[2:]
        else:  # What openssl asks for twice is on standard input.
            r.shell("cd /root && cp -n sessgate.deb sessgate_0.deb; " +
                    command.replace("openssl passwd -6",
                                    "openssl passwd -6 secret").replace(
                        "apt-get install", "apt-get install -y"))
    t.equal(restarted, ["sessgate", "lighttpd"])
    jar = r.path("root/jar")

    def answers():
        return subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "http://127.0.0.1:%d/" % port]
        ).returncode == 0
    wait_until(answers, "lighttpd answers\n" + r.log(), 30)
    t.equal(ask(port, "/cgi-bin/hello")[0], 401)
    login = ("-c", jar, "-H", "Sec-Fetch-Site: same-origin", "-X", "POST",
             "-d", "return_to=/cgi-bin/hello")
    t.equal(ask(port, "/.sessgate/login", "-u", "alice:wrong", *login)[0], 401)
    t.equal(ask(port, "/.sessgate/login", "-u", "alice:secret", *login)[0],
            303)
    # The cookie is for https alone; curl keeps to that, so it is given.
    with open(jar) as f:
        token = next(x.split()[-1] for x in f if "__Host-sid" in x)
    cookie = ("-H", "Cookie: __Host-sid=" + token)
    t.equal(ask(port, "/cgi-bin/hello", *cookie), (200, "Hello, alice.\n"))
    r.shell("sessgatectl cleanup alice")
    t.equal(ask(port, "/cgi-bin/hello", *cookie)[0], 401)
    t.equal(r.stop(web), 0)


@case
def an_upgrade_keeps_sessions_and_what_was_configured(t):
    r = root()
    t.true(Shared.daemon is not None, "it was installed and runs")
    token = r.shell("sessgatectl create --user bob --print-token --json | "
                    "sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/'").strip()
    t.equal(len(token), 50, token)
    conf = r.path("etc/sessgate/sessgate.conf")
    with open(conf, "a") as f:
        f.write('session: { idle_timeout = "11 min"; };\n')
    # The same package with the next version.
    tree = r.path("root/next")
    run("dpkg-deb", "-R", package("sessgate"), tree)
    with open(os.path.join(tree, "DEBIAN", "control")) as f:
        control = f.read()
    with open(os.path.join(tree, "DEBIAN", "control"), "w") as f:
        f.write(control.replace("\nVersion: 0.1.0", "\nVersion: 0.1.1", 1))
    run("dpkg-deb", "--root-owner-group", "-b", tree, r.path("root/next.deb"))
    r.run("dpkg", "-i", "/root/next.deb")
    t.match(r.shell("dpkg-query -W sessgate"), "0.1.1")
    t.equal(stop(r), 0)
    start(r)
    shown = r.shell("printf %%s %s | sessgatectl show -" % token)
    t.match(shown, "bob")
    t.match(r.shell("sessgatectl config show"),
            r"session.idle_timeout +\"11 min\"")


@case
def a_purge_leaves_nothing(t):
    r = root()
    t.true(Shared.daemon is not None, "it runs")
    t.equal(stop(r), 0)
    # What the administrator wrote is not the package's to take away.
    r.shell("rm /etc/sessgate/users "
            "/etc/lighttpd/conf-enabled/50-sessgate.conf")
    r.run("apt-get", "purge", "-y", "sessgate")
    for name in ("etc/sessgate", "var/lib/sessgate", "run/sessgate",
                 "usr/sbin/sessgated", "usr/bin/sessgatectl",
                 "lib/systemd/system/sessgate.service"):
        t.true(not os.path.exists(r.path(name)), name)
    t.equal(r.shell("find / -xdev -name '*sessgate*' -not -path '/root/*' "
                    "-not -path '/proc/*' -not -path '/sys/*' "
                    "-not -path '/dev/*' -not -path '/var/log/*' "
                    "-not -path '/var/cache/*'"), "")


@case
def a_program_is_built_with_the_library_packages(t):
    r = root()
    names = ("libsessgate0", "libsessgate-dev")
    for name in names:
        shutil.copy(package(name), r.path("root/%s.deb" % name))
    r.run("apt-get", "install", "-y", "--no-install-recommends", "gcc",
          "libc6-dev", "pkg-config", *["/root/%s.deb" % n for n in names])
    r.write("root/program.c", """
#include <sessgate.h>
#include <stdio.h>
int main(void) { return puts(sgate_version()) < 0; }
""")
    r.shell("gcc /root/program.c -o /root/program "
            "$(pkg-config --cflags --libs sessgate)")
    t.match(r.run("/root/program"), r"^0\.1\.0$")


main()
