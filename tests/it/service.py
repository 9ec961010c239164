"""The gateway as a service of systemd: the units in conf/systemd, what it tells
the service manager, and what its processes have given up."""

import os
import pwd
import re
import socket
import subprocess

from harness import (SOURCE, USER, case, children, listening_socket, main,
                     needs, needs_root, start_with_listen_fds, wait_until)

UNITS = os.path.join(SOURCE, "conf", "systemd")
EXPOSURE_MAX = 2.0


class Manager:
    """Hears what a service says, as systemd does."""

    def __init__(self, t, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        t.at_end(self.sock.close)
        self.sock.bind(path)
        os.chmod(path, 0o777)
        self.sock.settimeout(0.02)
        self.heard = []

    def hear(self):
        try:
            while True:
                self.heard.append(
                    dict(line.split("=", 1) for line in
                         self.sock.recv(4096).decode().splitlines()))
        except socket.timeout:
            return self.heard

    def wait(self, count):
        """The messages, when there are so many."""
        return wait_until(
            lambda: len(self.hear()) >= count and self.heard,
            "%d messages, not %r" % (count, self.heard))


def analyze(*args):
    done = subprocess.run(("systemd-analyze",) + args, text=True,
                          capture_output=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@case
def the_service_exposes_little(t):
    needs("systemd-analyze")
    status, text = analyze("security", "--offline=true", "--no-pager",
                           os.path.join(UNITS, "sessgate.service"))
    found = re.search(r"Overall exposure level for sessgate.service: "
                      r"([0-9.]+)", text)
    t.true(found is not None, text)
    print("# exposure %s" % found.group(1))
    t.true(float(found.group(1)) <= EXPOSURE_MAX, text)


@case
def the_units_have_no_mistake(t):
    """systemd says nothing of them, with the programs where they were built."""
    needs("systemd-analyze")
    directory = os.path.join(t.gateway().dir, "units")
    os.mkdir(directory)
    for name in os.listdir(UNITS):
        if not name.endswith((".service", ".socket")):
            continue
        with open(os.path.join(UNITS, name)) as f:
            text = f.read().replace("/usr/sbin/sessgated", "/bin/true")
        with open(os.path.join(directory, name), "w") as f:
            f.write(text)
    status, text = analyze("verify", "--man=no", *[
        os.path.join(directory, n) for n in sorted(os.listdir(directory))])
    t.equal([x for x in text.splitlines() if "sessgate" in x], [])
    t.equal(status, 0, text)


@case
def the_service_manager_is_told_how_it_is(t):
    gw = t.gateway()
    path = os.path.join(gw.dir, "notify")
    manager = Manager(t, path)
    gw.start(env=dict(os.environ, NOTIFY_SOCKET=path))
    said = manager.wait(1)[0]
    t.equal(said["READY"], "1")
    t.match(said["STATUS"], r"^\d+ workers$")
    gw.signal(1)
    reloading, ready = manager.wait(3)[1:3]
    t.equal((reloading["RELOADING"], ready["READY"]), ("1", "1"))
    t.true(int(reloading["MONOTONIC_USEC"]) > 0)
    t.equal(gw.stop(), 0)
    t.equal(manager.wait(4)[3]["STOPPING"], "1")
    t.equal(len(manager.heard), 4, manager.heard)


@case
def a_reload_that_changes_nothing_is_over_too(t):
    gw = t.gateway()
    path = os.path.join(gw.dir, "notify")
    manager = Manager(t, path)
    gw.start(env=dict(os.environ, NOTIFY_SOCKET=path))
    manager.wait(1)
    gw.expect_log("the old configuration stays")
    with open(gw.conf_path, "a") as f:
        f.write("nonsense = 1;\n")
    gw.signal(1)
    t.equal(["READY" in m for m in manager.wait(3)], [True, False, True])


@case
def who_listens_to_nobody_is_no_matter(t):
    for path in ("/nowhere/notify", "@sessgate-nobody", "x" * 200, ""):
        gw = t.gateway()
        gw.start(env=dict(os.environ, NOTIFY_SOCKET=path))
        t.equal(gw.stop(), 0, path)


@case
def every_process_has_given_up_what_it_does_not_need(t):
    """Seccomp's mode 2 is a filter (proc(5))."""
    gw = t.gateway()
    gw.start()
    pids = [gw.pid] + children(gw.pid)
    t.true(len(pids) >= 3, "master, keeper, worker")
    for pid in pids:
        with open("/proc/%d/status" % pid) as f:
            status = dict(line.split(":", 1) for line in f)
        t.equal(status["Seccomp"].strip(), "2", status["Name"])
        t.equal(status["NoNewPrivs"].strip(), "1", status["Name"])


@case
def the_sockets_of_the_units_are_sections_of_the_configuration(t):
    """What systemd passes by the shipped units is what the gateway takes."""
    gw = t.gateway({"listener": {"login": {"allow": ["create"]}}})
    gw.expect_log("listener.login: the web server can open it")
    names, socks = [], {}
    for unit in sorted(os.listdir(UNITS)):
        if not unit.endswith(".socket"):
            continue
        with open(os.path.join(UNITS, unit)) as f:
            options = dict(re.findall(r"^(\w+)=(.*)$", f.read(), re.M))
        name = options["FileDescriptorName"]
        names.append(name)
        t.equal(options["ListenStream"], "/run/sessgate/%s.sock" % name)
        path = os.path.join(gw.dir, name + ".systemd")
        socks[name] = listening_socket(path)
        t.at_end(socks[name].close)
    start_with_listen_fds(gw, [socks[n] for n in names], ":".join(names))
    gw.wait_ready(os.path.join(gw.dir, "pool.systemd"))
    answer = gw.api("POST", "v1/sessions", {"user_id": "alice"},
                    address=os.path.join(gw.dir, "login.systemd"))
    t.equal(answer.status, 201)
    cookie = "__Host-sid=%s" % answer.json()["token"]
    t.equal(gw.check(cookie, os.path.join(gw.dir, "pool.systemd")).header(
        "Variable-REMOTE_USER"), "alice")


LOGIN_PROGRAM = 12345  # its user, whom nobody else knows


def log_in_as(user, group, gw):
    """By the login socket, in a process of that user's; its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([group])
            os.setuid(user)
            made = gw.api("POST", "v1/sessions", b'{"user_id":"alice"}',
                          address=gw.login, CONTENT_TYPE="application/json")
            os._exit(0 if made.status == 201 else 1)
        finally:
            os._exit(2)
    return os.waitpid(pid, 0)[1]


@case
def the_audit_names_whose_program_has_logged_somebody_in(t):
    """With the view of users that the unit gives the gateway."""
    needs_root()
    needs("unshare")
    needs("setpriv")
    with open(os.path.join(UNITS, "sessgate.service")) as f:
        is_private = re.search(r"^PrivateUsers=(yes|true|1|on)$", f.read(),
                               re.M)
    user = pwd.getpwnam(USER)
    gw = t.gateway({"gateway": {"user": None},
                    "listener": {"login": {"allow": ["create"]}}})
    gw.expect_log("listener.login: the web server can open it")
    os.chown(gw.dir, user.pw_uid, user.pw_gid)
    command = ["setpriv", "--reuid=%d" % user.pw_uid,
               "--regid=%d" % user.pw_gid, "--clear-groups"]
    if is_private:
        command += ["unshare", "--user", "--map-user=%d" % user.pw_uid,
                    "--map-group=%d" % user.pw_gid]
    command += gw.command()
    gw.command = lambda *args: command
    gw.start()
    t.equal(log_in_as(LOGIN_PROGRAM, user.pw_gid, gw), 0)
    rows = gw.api("GET", "v1/audit?kind=create", address=gw.control).json()
    t.match(rows["events"][0]["actor"],
            r"^login\.sock uid=%d pid=\d+$" % LOGIN_PROGRAM)


main()
