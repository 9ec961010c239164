"""A CGI program of the web server's user turns against the gateway.

It can open the pool socket, as lighttpd must. It tries everything else it can
reach: the other sockets, files, shared memory, processes. Nothing may be
gained. Needs root, because the web server and the gateway must be two users.
"""

import grp
import json
import os
import pwd

import harness
from harness import case, main, needs_root
from webserver import Lighttpd, authorizer, pool_for_web

# The attacker, run by lighttpd as its own user. argv: none; the environment
# says where things are. Prints one JSON object: what each attempt gave.
ATTACKER = r'''#!/usr/bin/python3
import ctypes, glob, json, os, signal, socket, sys
sys.path.insert(0, os.environ["HARNESS"])
sys.dont_write_bytecode = True
import harness
run, data = os.environ["RUN_DIR"], os.environ["DATA_DIR"]
out = {"uid": os.getuid(), "groups": os.getgroups()}

def attempt(name, function):
    try:
        out[name] = function()
    except Exception as e:
        out[name] = "refused: " + type(e).__name__ + ": " + str(e)

def read(path):
    with open(path, "rb") as f:
        return "READ %d bytes" % len(f.read(100))

def write(path):
    with open(path, "r+b") as f:
        return "OPENED for writing"

def call(sock, *args, **kw):
    a = harness.fastcgi(os.path.join(run, sock), *args, **kw)
    return {"status": a.status, "body": a.body.decode("utf-8", "replace")[:300]}

def create(sock, members={"user_id": "root", "roles": ["admin"]}, **more):
    body = json.dumps(members).encode()
    params = harness.web_params("POST", "/.sessgate/v1/sessions", CONTENT_TYPE="application/json",
                                CONTENT_LENGTH=str(len(body)), **more)
    return call(sock, params, body)

for sock in ("login.sock", "control.sock", "keeper.sock"):
    attempt("connect " + sock, lambda: harness.connect(os.path.join(run, sock)) and "CONNECTED")
attempt("create on the pool", lambda: create("pool.sock"))
attempt("create on the pool, pretending", lambda: create("pool.sock", REMOTE_USER="root", AUTH_TYPE="Basic",
        HTTP_AUTHORIZATION="Bearer sgsk_" + "A" * 43, SESSGATE_REALM="", SESSGATE_CHECK=""))
attempt("check with a claimed identity", lambda: call("pool.sock", harness.web_params(
        REMOTE_USER="root", AUTH_TYPE="Session", SESSION_STATE="live", SESSION_REF="0" * 24), role=harness.AUTHORIZER))
for method, route in (("GET", "v1/audit"), ("GET", "v1/users/alice/sessions"), ("DELETE", "v1/users/alice/sessions"),
                      ("GET", "v1/sessions/" + os.environ["REF"]), ("DELETE", "v1/sessions/" + os.environ["REF"]),
                      ("PUT", "v1/users/alice/block"), ("GET", "v1/status"), ("POST", "v1/introspect"),
                      ("POST", "v1/end")):
    attempt("pool: %s %s" % (method, route), lambda: call("pool.sock", harness.web_params(
            method, "/.sessgate/" + route, CONTENT_LENGTH="0")))
attempt("another policy", lambda: call("pool.sock", harness.web_params(SESSGATE_POLICY="none"), role=harness.AUTHORIZER))
for name in os.environ["FILES"].split(":"):
    attempt("read " + name, lambda: read(name))
    attempt("write " + name, lambda: write(name))
attempt("list the data directory", lambda: "LISTED " + str(os.listdir(data)))
attempt("make a file in run_dir", lambda: os.close(os.open(run + "/x", os.O_CREAT | os.O_WRONLY)) or "MADE")
attempt("replace the pool socket", lambda: os.rename(run + "/pool.sock", run + "/gone") or "RENAMED")
attempt("unlink the pool socket", lambda: os.unlink(run + "/pool.sock") or "UNLINKED")
attempt("posix shared memory", lambda: [p for p in glob.glob("/dev/shm/*") if "sessgate" in p] or "none there")
libc = ctypes.CDLL(None, use_errno=True)
for pid in os.environ["PIDS"].split():
    attempt("kill " + pid, lambda: os.kill(int(pid), signal.SIGTERM) or "KILLED")
    attempt("memory of " + pid, lambda: read("/proc/%s/mem" % pid))
    attempt("environment of " + pid, lambda: read("/proc/%s/environ" % pid))
    attempt("descriptors of " + pid, lambda: "LISTED " + str(os.listdir("/proc/%s/fd" % pid)))
    attempt("ptrace " + pid, lambda: "ATTACHED" if libc.ptrace(16, int(pid), 0, 0) == 0 else "refused")
print("Content-Type: application/json\r\n\r\n" + json.dumps(out))
'''


@case
def a_hostile_cgi_program_gains_nothing(t):
    needs_root()
    group = grp.getgrnam("games").gr_name  # stands for sessgate-login
    gw = t.gateway({"cookie": {"name": "sid", "secure": False},
                    "listener": {"login": {"group": group}}})
    pool_for_web(gw)
    gw.start()
    token, session = gw.create("alice")
    data = os.path.dirname(gw.conf["sqlite"]["file"])
    files = [gw.conf["keys"]["file"], gw.conf["sqlite"]["file"], gw.conf["sqlite"]["file"] + "-wal",
             gw.conf["sqlite"]["file"] + "-shm", os.path.join(gw.run_dir, "shared"),
             os.path.join(gw.run_dir, "lock"), gw.log_path]
    for path in files[:2] + files[4:6]:
        t.true(os.path.exists(path), path + " is there")
    os.chmod(gw.log_path, 0o600)
    harness.wait_until(lambda: len(harness.children(gw.pid)) == 3, "keeper and workers are there")
    pids = [gw.pid] + harness.children(gw.pid)
    env = {"HARNESS": os.path.join(harness.SOURCE, "tests", "it"), "RUN_DIR": gw.run_dir, "DATA_DIR": data,
           "FILES": ":".join(files), "PIDS": " ".join(map(str, pids)), "REF": session["ref"]}
    web = Lighttpd(t, authorizer(gw.pool, "setenv.set-environment = ( %s )" % ", ".join(
        '"%s" => "%s"' % item for item in env.items())))
    # The web server's user may not be allowed into the source folder.
    with open(os.path.join(harness.SOURCE, "tests", "it", "harness.py")) as f:
        web.write("harness.py", f.read())
    web.write("attack.cgi", ATTACKER.replace('os.environ["HARNESS"]', "os.path.dirname(os.path.abspath(__file__))"))
    answer = web.ask("GET", "/app/attack.cgi", cookie="sid=" + token)
    t.equal(answer.status, 200, answer)
    gained = json.loads(answer.body)
    t.equal(gained["uid"], pwd.getpwnam("www-data").pw_uid)
    checked = 0
    for name, got in sorted(gained.items()):
        if name in ("uid", "groups"):
            continue
        checked += 1
        if isinstance(got, dict):
            t.true(got["status"] in (400, 401, 403), "%s: %r" % (name, got))
            t.true("token" not in got["body"] and "alice" not in got["body"], "%s: %r" % (name, got))
        elif name == "posix shared memory":
            t.equal(got, "none there")
        else:
            t.true(got.startswith("refused"), "%s: %r" % (name, got))
    t.true(checked >= 40, "all attempts were made: %d" % checked)
    t.equal(sorted([gw.pid] + harness.children(gw.pid)), sorted(pids), "the same processes live")
    t.equal(web.ask("GET", "/app/env.cgi", cookie="sid=" + token).status, 200, "alice is still logged in")
    t.true(token not in gw.log(), "no token in the log")


@case
def the_login_group_can_create_and_nothing_else(t):
    needs_root()
    gw = t.gateway({"listener": {"login": {"group": "games", "roles": ["staff"]}},
                    "session": {"admin_roles": ["boss"]}})
    gw.start()
    mode = os.stat(gw.login)
    t.equal((oct(mode.st_mode & 0o777), grp.getgrgid(mode.st_gid).gr_name), ("0o660", "games"))
    for members, status in (({"user_id": "a"}, 201), ({"user_id": "a", "roles": ["staff"]}, 201),
                            ({"user_id": "a", "roles": ["boss"]}, 403), ({"user_id": "a", "roles": ["other"]}, 403)):
        t.equal(gw.api("POST", "v1/sessions", members, address=gw.login).status, status, members)
    token, session = gw.create("bob")
    for method, route in (("GET", "v1/users/bob/sessions"), ("DELETE", "v1/users/bob/sessions"),
                          ("PUT", "v1/users/bob/block"), ("GET", "v1/audit"), ("GET", "v1/sessions/" + session["ref"]),
                          ("DELETE", "v1/sessions/" + session["ref"])):
        t.equal(gw.api(method, route, address=gw.login).status, 403, route)
    t.equal(gw.api("POST", "v1/introspect", {"token": token}, address=gw.login).json()["active"], True)
    t.equal(gw.api("POST", "v1/end", {"token": token}, address=gw.login).status, 200)
    t.equal(gw.api("POST", "v1/introspect", {"token": token}, address=gw.login).json()["active"], False)
    rows = gw.api("GET", "v1/audit?user=a", address=gw.control).json()["events"]
    t.match(rows[0]["actor"], r"^login.*uid=0 pid=\d+")


if __name__ == "__main__":
    main()
