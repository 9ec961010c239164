"""Connections that web servers keep open, by real web servers on one pool.

nginx (fastcgi_keep_conn), Apache (enablereuse) and lighttpd (a new connection
each) ask the same few workers at once. wrk counts what is not a 2xx.
"""

import fcntl
import http.client
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time

import harness
from harness import case, connect, main, needs, read_answer, request_bytes, spawn, wait_until, web_params
from scenario import with_pauses
from stores import failpoint_build
from webserver import Lighttpd, WebServer, authorizer, free_port

SHORT = bool(os.environ.get("SESSGATE_SHORT"))
SECONDS = 2 if SHORT else 4
COOKIE = {"cookie": {"name": "sid", "secure": False}}

# The error pages say which answer it was. The workers run as the test's user.
NGINX = """
%(user)s
worker_processes 2; pid %(dir)s/nginx.pid; error_log %(dir)s/nginx.log error; daemon off;
events { worker_connections 1024; }
http {
  access_log off; client_body_temp_path %(dir)s/nb; proxy_temp_path %(dir)s/np; fastcgi_temp_path %(dir)s/nf;
  uwsgi_temp_path %(dir)s/nu; scgi_temp_path %(dir)s/ns;
  keepalive_requests 1000000;
  upstream pool { server unix:%(pool)s; keepalive 64; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:%(port)d;
    fastcgi_param REQUEST_METHOD $request_method; fastcgi_param REQUEST_URI $request_uri;
    fastcgi_param CONTENT_TYPE $content_type; fastcgi_param CONTENT_LENGTH $content_length;
    fastcgi_param REMOTE_ADDR $remote_addr; fastcgi_param SERVER_PROTOCOL $server_protocol;
    fastcgi_keep_conn on; fastcgi_pass_request_headers on;
    location /check { fastcgi_param SESSGATE_CHECK 1; fastcgi_param REQUEST_METHOD GET;
                      fastcgi_param REQUEST_URI $request_uri; fastcgi_param REMOTE_ADDR $remote_addr;
                      fastcgi_pass_request_body off; fastcgi_pass pool; }
    location /.sessgate/ { fastcgi_pass pool; }
  }
}
"""

APACHE = """
ServerRoot %(dir)s
ServerName 127.0.0.1
Listen 127.0.0.1:%(port)d
PidFile %(dir)s/apache.pid
ErrorLog %(dir)s/apache.log
LogLevel error
DefaultRuntimeDir %(dir)s
LoadModule mpm_event_module %(modules)s/mod_mpm_event.so
LoadModule authz_core_module %(modules)s/mod_authz_core.so
LoadModule setenvif_module %(modules)s/mod_setenvif.so
LoadModule proxy_module %(modules)s/mod_proxy.so
LoadModule proxy_fcgi_module %(modules)s/mod_proxy_fcgi.so
%(user)s
MaxKeepAliveRequests 0
StartServers 2
ServerLimit 2
ThreadsPerChild 32
MaxRequestWorkers 64
SetEnvIf Request_URI "^/check" SESSGATE_CHECK=1
ProxyPass "/check" "unix:%(pool)s|fcgi://check/" enablereuse=on max=32
ProxyPass "/.sessgate/" "unix:%(pool)s|fcgi://pool/.sessgate/" enablereuse=on max=32
"""


class Server(WebServer):
    """One with a configuration of these."""

    def __init__(self, t, name, command, conf, **values):
        self.dir = tempfile.mkdtemp(prefix="sgkeep.")
        os.chmod(self.dir, 0o755)
        self.port = free_port()
        self.name = name
        path = os.path.join(self.dir, name + ".conf")
        with open(path, "w") as f:
            f.write(conf % dict(values, dir=self.dir, port=self.port))
        self.log_path = os.path.join(self.dir, name + ".log")
        self.process = spawn(command(path, self.log_path), cwd="/", stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        t.at_end(self.stop)
        wait_until(self.answers, name + " answers; " + self.dir)


def nginx(t, gw):
    program = needs("nginx")
    return Server(t, "nginx", lambda conf, log: [program, "-c", conf, "-e", log], NGINX, pool=gw.pool,
                  user="user www-data;" if harness.IS_ROOT else "")


def apache(t, gw):
    program = needs("apache2")
    modules = "/usr/lib/apache2/modules"
    return Server(t, "apache", lambda conf, log: [program, "-f", conf, "-D", "FOREGROUND"], APACHE, pool=gw.pool,
                  modules=modules, user="User www-data\nGroup www-data" if harness.IS_ROOT else "")


def pool(t, **gateway):
    """A gateway whose pool every web server of the test may ask."""
    gw = t.gateway(COOKIE)
    gw.configure({"gateway": dict({"workers": 2}, **gateway)})
    gw.configure({"listener": {"pool": {"mode": "0666"}}})
    gw.start()
    return gw, gw.create("alice")[0]


class Wrk:
    """Load on one server; result() waits: what was answered, what was not."""

    def __init__(self, port, path, token, connections=16, seconds=SECONDS, script=None):
        command = [needs("wrk"), "-t", "1", "-c", str(connections), "-d", "%ds" % seconds, "--timeout", "10",
                   "-H", "Cookie: sid=" + token]
        if script is not None:
            command += ["-s", script]
        self.process = spawn(command + ["http://127.0.0.1:%d%s" % (port, path)], stdout=subprocess.PIPE, text=True)

    def result(self):
        out, _ = self.process.communicate(timeout=120)

        def number(pattern):
            found = re.search(pattern, out)
            return int(found.group(1)) if found else 0

        sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
        return {"requests": number(r"(\d+) requests in"), "not_2xx": number(r"Non-2xx or 3xx responses: (\d+)"),
                "sockets": sum(map(int, sockets.groups())) if sockets else 0}


def without_errors(t, results):
    for name, result in results.items():
        print("# %s: %s" % (name, result))
        t.equal((result["not_2xx"], result["sockets"]), (0, 0), name)
        t.true(result["requests"] >= 100, name + " was served")
    t.true(sum(r["requests"] for r in results.values()) >= (2000 if SHORT else 20000), "requests in all")


def workers(gw):
    status = gw.api("GET", "v1/status", address=gw.keeper_socket).json()
    return [w["pid"] for w in status["workers"] if w["pid"]]


def kept(gw, token, count):
    """Connections on each of which a check was answered."""
    ask = request_bytes(web_params(HTTP_COOKIE="sid=" + token, SESSGATE_CHECK="1"), keep=True)
    socks = []
    for _ in range(count):
        sock = connect(gw.pool)
        sock.sendall(ask)
        assert read_answer(sock).status == 200
        socks.append(sock)
    return socks, ask


@case
def three_web_servers_share_one_pool_and_nobody_is_starved(t):
    gw, token = pool(t)
    lighttpd = Lighttpd(t, authorizer(gw.pool))
    servers = {"nginx": nginx(t, gw).port, "apache": apache(t, gw).port}
    loads = {name: Wrk(port, "/check", token, 24) for name, port in servers.items()}
    loads["lighttpd"] = Wrk(lighttpd.port, "/app/page.html", token, 16)
    worst = 0.0
    end = time.monotonic() + SECONDS - 1
    while time.monotonic() < end:
        for name, port in servers.items():
            begin = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/check", headers={"Cookie": "sid=" + token})
            t.equal(connection.getresponse().status, 200, name)
            connection.close()
            worst = max(worst, time.monotonic() - begin)
        time.sleep(0.02)
    without_errors(t, {name: load.result() for name, load in loads.items()})
    # A pinned worker would cost seconds; what is shown here is a loaded machine.
    print("# worst answer to a probe: %.1f ms" % (worst * 1000))
    t.true(worst < 1.0, "nobody is starved")


@case
def bodies_are_read_and_connections_kept(t):
    gw, token = pool(t)
    script = os.path.join(gw.dir, "post.lua")
    with open(script, "w") as f:
        f.write('wrk.method = "POST"\nwrk.body = "{}" .. string.rep(" ", 20000)\n'
                'wrk.headers["Content-Type"] = "application/json"\nwrk.headers["Sec-Fetch-Site"] = "same-origin"\n')
    loads = {}
    for make in (nginx, apache):
        server = make(t, gw)
        loads[server.name] = Wrk(server.port, "/.sessgate/session/extend", token, 8, script=script)
    for name, load in loads.items():
        result = load.result()
        print("# %s: %s" % (name, result))
        t.equal((result["not_2xx"], result["sockets"]), (0, 0), name)
        t.true(result["requests"] >= 100, name)


@case
def reloads_under_load_fail_no_request(t):
    gw, token = pool(t)
    loads = {server.name: Wrk(server.port, "/check", token, 16, SECONDS + 2) for server in (nginx(t, gw), apache(t, gw))}
    for i in range(3 if SHORT else 8):
        before = set(workers(gw))
        gw.configure({"session": {"warn_before": "%d s" % (60 + i)}})
        gw.signal(signal.SIGHUP)
        wait_until(lambda: len(workers(gw)) >= 2 and not before & set(workers(gw)), "reload %d has new workers" % i)
    for name, load in loads.items():
        result = load.result()
        print("# %s: %s" % (name, result))
        t.equal((result["not_2xx"], result["sockets"]), (0, 0), name)


@case
def workers_that_reach_max_requests_fail_no_request(t):
    gw, token = pool(t, max_requests=500)
    server = nginx(t, gw)
    first = set(workers(gw))
    result = Wrk(server.port, "/check", token, 32).result()
    print("# %s" % result)
    t.equal((result["not_2xx"], result["sockets"]), (0, 0))
    t.true(not first & set(workers(gw)), "all were replaced")


@case
def a_killed_worker_takes_only_its_own_connections_along(t):
    gw, token = pool(t, workers=4)
    gw.expect_log(r"worker.*(killed|signal 9|died)")
    socks, ask = kept(gw, token, 40)
    kills = 3
    for _ in range(kills):
        os.kill(wait_until(lambda: workers(gw), "workers")[0], signal.SIGKILL)
        time.sleep(0.3)
    wait_until(lambda: len(workers(gw)) == 4, "4 workers again", 30)
    # nginx asks again elsewhere when a kept connection turns out to be closed.
    server = nginx(t, gw)
    load = Wrk(server.port, "/check", token, 16)
    time.sleep(0.5)
    os.kill(workers(gw)[0], signal.SIGKILL)
    result = load.result()
    print("# one kill: %s" % result)
    t.true(result["not_2xx"] <= 16, "at most what was under way")
    t.true(result["requests"] > 100, "and the others went on")
    for sock in socks:
        sock.close()


@case
def connections_outlive_their_worker(t):
    gw, token = pool(t)
    socks, ask = kept(gw, token, 60)
    for _ in range(3):
        for pid in workers(gw):
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not harness.is_alive(pid), "worker %d has ended" % pid)
        wait_until(lambda: len(workers(gw)) >= 2, "new workers are there")
        for sock in socks:
            sock.sendall(ask)
            t.equal(read_answer(sock).status, 200)
    for sock in socks:
        sock.close()


def answered(sock, count):
    """How many of the requests that wait in a connection are answered with 200, in a row."""
    data, ends, good = b"", 0, 0
    while ends < count:
        got = sock.recv(1 << 16)
        if not got:
            break
        data += got
        while len(data) >= 8 and len(data) >= 8 + int.from_bytes(data[4:6], "big") + data[6]:
            size = 8 + int.from_bytes(data[4:6], "big") + data[6]
            good += data[1] == harness.STDOUT and data[8:8 + 15] == b"Status: 200 OK\r"
            ends += data[1] == harness.END
            data = data[size:]
    return good


def unread(sock):
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, b"\0" * 4))[0]


def fill(sock, ask):
    """Ask and never read, one request after the other, until an answer finds no room: how many were asked for."""
    for count in range(1, 5000):
        before = unread(sock)
        sock.sendall(ask)
        end = time.monotonic() + 0.3
        while unread(sock) == before:
            if time.monotonic() > end:
                return count
            time.sleep(0.0005)
    raise AssertionError("it is asked for ever")


@case
def peers_that_do_not_read_pin_nobody(t):
    gw, token = pool(t)
    socks, ask = kept(gw, token, 20)
    deaf = kept(gw, token, 6)[0]
    threads = [threading.Thread(target=fill, args=(sock, ask)) for sock in deaf]
    for thread in threads:
        thread.start()
    worst = 0.0
    while any(thread.is_alive() for thread in threads):
        for sock in socks:
            begin = time.monotonic()
            sock.sendall(ask)
            t.equal(read_answer(sock).status, 200)
            worst = max(worst, time.monotonic() - begin)
    print("# worst answer beside %d that do not read: %.1f ms" % (len(deaf), worst * 1000))
    t.true(worst < 1.0, "nobody is starved")
    for sock in socks + deaf:
        sock.close()


@case
def what_a_peer_does_not_take_at_once_it_gets_when_it_does(t):
    gw, token = pool(t, workers=1)
    (sock,), ask = kept(gw, token, 1)
    count = fill(sock, ask)
    sock.sendall(ask)
    t.equal(answered(sock, count + 1), count + 1)
    sock.sendall(ask)
    t.equal(read_answer(sock).status, 200)
    # And who never does is closed.
    fill(sock, ask)
    time.sleep(2.5)
    try:
        sock.sendall(ask)
    except BrokenPipeError:
        sock.close()
        return
    raise AssertionError("it is still open")


@case
def who_asks_in_the_moment_of_his_end_is_answered(t):
    gw, token = pool(t, workers=1)
    gw.expect_log("too many connections wait")
    socks, ask = kept(gw, token, 512)
    pid, = workers(gw)
    os.kill(pid, signal.SIGSTOP)
    # New ones want the places of the oldest, who ask last.
    new = [connect(gw.pool) for _ in range(64)]
    for sock in new + socks[::-1]:
        sock.sendall(ask)
    os.kill(pid, signal.SIGCONT)
    t.equal(sum(read_answer(sock).status == 200 for sock in socks + new), len(socks + new))
    for sock in socks + new:
        sock.close()


@with_pauses
def a_request_that_comes_while_the_worker_is_busy_does_not_come_too_late(t):
    build = failpoint_build()
    gw = t.gateway(COOKIE)
    gw.build = build
    gw.configure({"gateway": {"workers": 1, "keep_timeout": "800 ms", "request_timeout": "10 s",
                              "request_terminate_timeout": "20 s"},
                  "sqlite": {"busy_timeout": "10 s"}})
    # The keeper's commits are as slow, and stand in the way.
    gw.expect_log(r"keeper: .*database is locked")
    # Each commit takes longer than a kept connection may be idle.
    gw.start(env=dict(os.environ, SESSGATE_FAILPOINTS="durable-commit=pause:1500"))
    token = gw.create("alice")[0]
    (sock,), ask = kept(gw, token, 1)
    login = threading.Thread(target=gw.create, args=("bob",))
    login.start()
    time.sleep(0.2)
    sock.sendall(ask)
    t.equal(read_answer(sock).status, 200)
    login.join()
    sock.close()


@with_pauses
def a_slow_disk_keeps_nobody_waiting_but_who_writes(t):
    build = failpoint_build()
    gw = t.gateway(COOKIE)
    gw.build = build
    gw.configure({"gateway": {"workers": 1, "request_timeout": "10 s", "request_terminate_timeout": "20 s"},
                  "sqlite": {"busy_timeout": "10 s"}})
    # The keeper's commits are as slow, and stand in the way.
    gw.expect_log(r"keeper: .*database is locked")
    gw.start(env=dict(os.environ, SESSGATE_FAILPOINTS="sqlite-commit=pause:900"))
    token, other = gw.create("alice")[0], gw.create("bob")[0]
    # The first worker has them all; then there is a second one.
    socks, ask = kept(gw, token, 30)
    first = workers(gw)
    gw.signal(signal.SIGTTIN)
    wait_until(lambda: len(workers(gw)) == 2 and all(
        w["state"] == "idle" for w in gw.api("GET", "v1/status", address=gw.keeper_socket).json()["workers"] if w["pid"]),
               "another worker")
    writer = socks.pop()
    writer.sendall(request_bytes(web_params("POST", "/.sessgate/logout", HTTP_COOKIE="sid=" + other,
                                            HTTP_SEC_FETCH_SITE="same-origin", CONTENT_LENGTH="0"), keep=True))
    time.sleep(0.2)
    begin = time.monotonic()
    for sock in socks:
        sock.sendall(ask)
    for sock in socks:
        t.equal(read_answer(sock).status, 200)
    took = time.monotonic() - begin
    print("# %d kept connections beside a commit of 0.9 s: %.0f ms" % (len(socks), took * 1000))
    t.true(took < 0.4, "they do not wait for the disk")
    t.equal(read_answer(writer).status, 200)
    t.equal(workers(gw)[0], first[0])
    # And as before when it is over.
    for sock in socks + [writer]:
        sock.sendall(ask)
        t.equal(read_answer(sock).status, 200)
        sock.close()


@case
def a_relay_does_not_keep(t):
    gw, token = pool(t)
    path = os.path.join(gw.dir, "relay.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(16)
        relay = spawn(gw.command("--relay"), stdin=listener, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        t.at_end(lambda: (relay.terminate(), relay.wait(10)))
    ask = request_bytes(web_params(HTTP_COOKIE="sid=" + token, SESSGATE_CHECK="1"), keep=True)
    for cut in (len(ask), 1, 10, 11, 12):
        sock = connect(path)
        sock.sendall(ask[:cut])
        time.sleep(0.02)
        sock.sendall(ask[cut:])
        t.equal(read_answer(sock).status, 200)
        t.equal(sock.recv(1), b"", "closed behind the answer")
        sock.close()


if __name__ == "__main__":
    main()
