"""The processes of sessgated: start, stop, reload, deaths, scaling, relay."""

import ctypes
import errno
import os
import signal
import socket
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

from harness import (AUTHORIZER, IS_ROOT, PATIENCE, SESSGATED, USER, Gateway,
                     Skip, case, children, connect, fastcgi, is_alive,
                     listening_socket, main, needs_root, read_answer, record,
                     request_bytes, start_with_listen_fds, wait_until,
                     web_params, BEGIN)


def workers_of(gw):
    """Pids of the workers and of the keeper, as the log has them."""
    return children(gw.pid)


def settled(gw):
    """As workers_of(), when all have been started."""
    gw.wait_log("ready: ")
    return workers_of(gw)


def name_of(pid):
    with open("/proc/%d/comm" % pid) as f:
        return f.read().strip()


def leftovers(gw):
    return sorted(os.listdir(gw.run_dir)) if os.path.isdir(gw.run_dir) else []


SLOW = {"gateway": {"request_timeout": "8 s",
                    "request_terminate_timeout": "20 s"},
        "sqlite": {"busy_timeout": "8 s"}}


class StoreLock:
    """Another program's write transaction: creates wait while it lasts."""

    def __init__(self, t, gw):
        self.db = sqlite3.connect(gw.conf["sqlite"]["file"],
                                  isolation_level=None,
                                  check_same_thread=False)
        self.db.execute("BEGIN IMMEDIATE")
        t.at_end(self.release)

    def release(self):
        if self.db is not None:
            self.db.close()
        self.db = None


def begin_slow_request(t, gw):
    """A create that waits for the StoreLock: it keeps a worker busy."""
    body = b'{"user_id": "slow"}'
    sock = connect(gw.control)
    t.at_end(sock.close)
    sock.sendall(request_bytes(web_params(
        "POST", "/.sessgate/v1/sessions", CONTENT_TYPE="application/json",
        CONTENT_LENGTH=str(len(body))), body))
    return sock


def as_user(t):
    """Popen arguments for a process of the user that the gateway becomes."""
    return {"user": USER, "group": "nogroup",
            "extra_groups": []} if IS_ROOT else {}


def own_directory(t, gw):
    """Let the gateway's user make its directories by itself."""
    if IS_ROOT:
        gw.configure({"gateway": {"user": None}})
        import shutil
        shutil.chown(gw.dir, USER, "nogroup")


# ---- start and stop ----


@case
def a_start_answers_and_a_stop_leaves_nothing(t):
    gw = t.gateway()
    gw.start()
    pids = [gw.pid] + settled(gw)
    t.equal(len(pids), 4, "master, two workers, keeper")
    t.equal(gw.check().status, 401)
    t.equal(gw.stop(), 0)
    t.equal([p for p in pids if is_alive(p)], [])
    t.equal(leftovers(gw), [])


@case
def a_hundred_starts_and_stops_leave_nothing(t):
    gw = t.gateway({"gateway": {"workers": 1}})
    count = int(os.environ.get("SESSGATE_TEST_STARTS", "100"))
    for i in range(count):
        # Not waiting for it to be ready makes stops at any moment.
        gw.start(wait=i % 4 == 0)
        if i % 4 != 0:
            time.sleep(0.004 * (i % 25))
        # SIGTERM by itself: before main() was reached.
        t.true(gw.stop() in (0, -signal.SIGTERM), "stop %d" % i)
        t.equal(leftovers(gw), [], "after stop %d" % i)
    t.equal(children(os.getpid()), [])


@case
def files_have_the_modes_that_the_manual_says(t):
    gw = t.gateway()
    gw.start()
    for name, mode in (("pool.sock", 0o660), ("control.sock", 0o600),
                       ("keeper.sock", 0o600), ("lock", 0o600),
                       ("shared", 0o600)):
        st = os.lstat(os.path.join(gw.run_dir, name))
        t.equal(stat.S_IMODE(st.st_mode), mode, name)
    t.equal(stat.S_IMODE(os.lstat(gw.run_dir).st_mode), 0o755)
    data = os.path.join(gw.dir, "data")
    t.equal(stat.S_IMODE(os.lstat(data).st_mode), 0o700)
    t.equal(os.lstat(os.path.join(data, "db")).st_mode & 0o077, 0)
    t.equal(os.lstat(os.path.join(data, "keys")).st_mode & 0o027, 0)


@case
def workers_are_scheduled_as_is_said(t):
    gw = t.gateway()
    gw.start()
    settled(gw)
    must_be_scheduled(t, gw, os.SCHED_BATCH, "by default")
    for word, policy in (("normal", os.SCHED_OTHER), ("batch", os.SCHED_BATCH)):
        before = settled(gw)
        gw.configure({"gateway": {"scheduling": word}})
        gw.signal(signal.SIGHUP)
        wait_until(lambda: len(workers_of(gw)) == 3 and not set(before) & set(workers_of(gw)), "a new generation")
        must_be_scheduled(t, gw, policy, word)


def must_be_scheduled(t, gw, of_workers, why, of_others=os.SCHED_OTHER):
    """Master and keeper never wait behind others."""
    t.equal(os.sched_getscheduler(gw.pid), of_others, why + ": the master")
    for pid in workers_of(gw):
        is_worker = name_of(pid).startswith("sessgated-w")
        t.equal(os.sched_getscheduler(pid), of_workers if is_worker else of_others, f"{why}: {name_of(pid)}")


@case
def a_class_that_was_given_from_outside_stays(t):
    gw = t.gateway()
    gw.start(preexec_fn=lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)))
    settled(gw)
    must_be_scheduled(t, gw, os.SCHED_IDLE, "idle", os.SCHED_IDLE)


def forbid_scheduling():
    """A seccomp filter, as systemd's SystemCallFilter: sched_setscheduler() is EPERM."""
    number = {"x86_64": 144, "aarch64": 119}[os.uname().machine]
    allow, refuse = 0x7fff0000, 0x00050000 | errno.EPERM
    program = b"".join(struct.pack("=HBBI", *step) for step in (
        (0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, refuse), (0x06, 0, 0, allow)))
    filters = ctypes.create_string_buffer(program)
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(filters))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, ctypes.create_string_buffer(header)) != 0:
        raise OSError(ctypes.get_errno(), "no seccomp filter can be set")


@case
def where_the_kernel_refuses_a_class_workers_go_on_without(t):
    if os.uname().machine not in ("x86_64", "aarch64"):
        raise Skip("the number of sched_setscheduler() here is not known to this test")
    gw = t.gateway()
    gw.expect_log("gateway.scheduling")
    gw.start(preexec_fn=forbid_scheduling)
    settled(gw)
    must_be_scheduled(t, gw, os.SCHED_OTHER, "refused")
    token, _ = gw.create()
    t.equal(gw.check("__Host-sid=" + token).status, 200)
    t.match(gw.log(), 'gateway.scheduling = "batch": Operation not permitted')


@case
def the_keeper_answers_health_on_its_socket(t):
    gw = t.gateway()
    gw.start()
    t.equal(gw.api("GET", "v1/health", address=gw.keeper_socket).status, 200)


@case
def sigint_stops_too(t):
    gw = t.gateway()
    gw.start()
    gw.signal(signal.SIGINT)
    t.equal(gw.process.wait(PATIENCE), 0)
    t.equal(leftovers(gw), [])


@case
def a_stop_answers_what_has_begun(t):
    gw = t.gateway()
    gw.start()
    token, _ = gw.create()
    stopped = threading.Event()
    wrong, answered = [], [0]

    def ask():
        while True:
            try:
                status = gw.check("__Host-sid=" + token).status
            except OSError:
                # Nobody to connect to: only after the stop.
                if not stopped.is_set():
                    wrong.append("refused before the stop")
                return
            if status != 200:
                wrong.append(status)
                return
            answered[0] += 1
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    stopped.set()
    t.equal(gw.stop(), 0)
    for thread in threads:
        thread.join(PATIENCE)
    t.equal(wrong, [])
    t.true(answered[0] > 10, "some were answered")


# ---- lock ----


@case
def a_second_master_refuses_and_names_the_first(t):
    gw = t.gateway()
    gw.start()
    began = time.monotonic()
    status, text = gw.run()
    t.equal(status, 1)
    t.match(text, r"already running, pid %d\b" % gw.pid)
    t.true(time.monotonic() - began < 3, "it refuses at once")
    t.equal(gw.check().status, 401, "the first one still answers")
    with open(os.path.join(gw.run_dir, "lock")) as f:
        t.equal(int(f.read()), gw.pid)


@case
def children_end_when_the_master_is_killed_and_a_new_one_starts(t):
    gw = t.gateway()
    gw.start()
    pids = settled(gw)
    gw.process.kill()
    gw.process.wait()
    gw.start()
    wait_until(lambda: not any(map(is_alive, pids)), "the old ones ended", 1)
    t.equal(gw.check().status, 401)


@case
def a_new_master_waits_for_workers_of_a_killed_one(t):
    gw = t.gateway(SLOW)
    gw.start()
    gw.expect_log("sqlite")
    lock = StoreLock(t, gw)
    sock = begin_slow_request(t, gw)
    time.sleep(0.3)
    gw.process.kill()
    gw.process.wait()
    began = time.monotonic()
    threading.Timer(1.5, lock.release).start()
    gw.start()
    took = time.monotonic() - began
    t.true(1 < took < 6, "it took %g s" % took)
    t.equal(read_answer(sock).status, 201, "what had begun was answered")


@case
def a_stopped_worker_of_a_killed_master_keeps_the_lock(t):
    gw = t.gateway()
    gw.start()
    pids = settled(gw)
    os.kill(pids[0], signal.SIGSTOP)
    t.at_end(lambda: is_alive(pids[0]) and os.kill(pids[0], signal.SIGKILL))
    gw.process.kill()
    gw.process.wait()
    status, text = gw.run(timeout=20)
    t.equal(status, 1)
    t.match(text, "whose master is gone")
    os.kill(pids[0], signal.SIGKILL)
    gw.start()


# ---- deaths ----


@case
def a_killed_worker_is_replaced(t):
    gw = t.gateway()
    gw.start()
    gw.expect_log("killed by signal 9")
    before = settled(gw)
    time.sleep(1.1)
    os.kill(before[0], signal.SIGKILL)
    os.kill(before[1], signal.SIGKILL)
    wait_until(lambda: len(workers_of(gw)) == 3, "all are back")
    for pid in before[:2]:
        gw.wait_log(r"\(pid %d\) killed by signal 9" % pid)
    t.equal(gw.check().status, 401)


@case
def a_killed_keeper_is_replaced_and_answers(t):
    gw = t.gateway()
    gw.start()
    gw.expect_log("killed by signal 9")
    before = settled(gw)
    time.sleep(1.1)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(workers_of(gw)) == 3, "all are back")
    wait_until(lambda: gw.api("GET", "v1/health",
                              address=gw.keeper_socket).status == 200,
               "the new keeper answers")


@case
def workers_that_cannot_run_do_not_make_a_fork_circle(t):
    gw = t.gateway()
    gw.start()
    gw.expect_log(r"worker \d+", "keeper", "keys")
    keys = gw.conf["keys"]["file"]
    pids = settled(gw)
    os.rename(keys, keys + ".away")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    time.sleep(4)
    deaths = gw.log().count("could not run")
    t.true(2 <= deaths <= 12, "%d tries in 4 s" % deaths)
    os.rename(keys + ".away", keys)
    wait_until(lambda: len(workers_of(gw)) == 3, "all are back", 15)
    gw.wait_ready()


@case
def a_worker_past_its_time_is_killed(t):
    gw = t.gateway({"gateway": {"request_timeout": "900 ms",
                                "request_terminate_timeout": "1 s"},
                    "sqlite": {"busy_timeout": "900 ms"}})
    gw.start()
    gw.expect_log("request_terminate_timeout", "killed by signal 9", "sqlite")
    lock = StoreLock(t, gw)
    socks = [begin_slow_request(t, gw) for _ in range(2)]
    time.sleep(0.3)
    workers = [p for p in workers_of(gw) if name_of(p).find("-w") > 0]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    lock.release()
    gw.wait_log("longer than gateway.request_terminate_timeout")
    wait_until(lambda: len(set(workers_of(gw)) - set(workers)) == 3,
               "they are replaced")
    t.equal([read_answer(s).status for s in socks], [0, 0])
    t.equal(gw.check().status, 401)


@case
def a_keeper_without_a_heartbeat_is_replaced(t):
    gw = t.gateway({"gateway": {"workers": 1}})
    gw.start()
    gw.expect_log("no heartbeat", "killed by signal 9")
    wait_until(lambda: os.path.exists(gw.keeper_socket), "keeper.sock")
    pids = settled(gw)
    # The keeper is forked before the workers.
    os.kill(pids[0], signal.SIGSTOP)
    gw.wait_log("keeper .*no heartbeat", 15)
    wait_until(lambda: len(workers_of(gw)) == 2, "it is replaced")


# ---- reload ----


@case
def a_reload_takes_the_new_configuration_over(t):
    gw = t.gateway()
    gw.start()
    before = settled(gw)
    gw.configure({"gateway": {"workers": 4}})
    gw.signal(signal.SIGHUP)
    gw.wait_log("reload: done")
    wait_until(lambda: len(workers_of(gw)) == 5, "four workers, a keeper")
    t.equal([p for p in before if p in workers_of(gw)], [])


@case
def an_invalid_configuration_is_logged_and_changes_nothing(t):
    gw = t.gateway()
    gw.start()
    gw.expect_log("reload: .*the old configuration stays")
    before = settled(gw)
    gw.configure({"gateway": {"workrs": 4}})
    gw.signal(signal.SIGHUP)
    gw.wait_log("reload: .*workrs.*the old configuration stays")
    time.sleep(0.3)
    t.equal(workers_of(gw), before)
    t.equal(gw.check().status, 401)


@case
def a_reload_with_which_workers_cannot_run_changes_nothing(t):
    gw = t.gateway()
    gw.start()
    gw.expect_log("keys", "could not run", "reload: the new processes")
    before = settled(gw)
    keys = gw.conf["keys"]["file"]
    os.rename(keys, keys + ".away")
    gw.signal(signal.SIGHUP)
    gw.wait_log("reload: the new processes cannot run")
    wait_until(lambda: workers_of(gw) == before, "the new ones are gone")
    t.equal(gw.check().status, 401)
    os.rename(keys + ".away", keys)
    gw.signal(signal.SIGHUP)
    gw.wait_log("reload: done")


@case
def options_that_need_a_restart_keep_their_values_with_one_warning(t):
    gw = t.gateway()
    gw.start()
    gw.expect_log("change with a restart only")
    gw.configure({"gateway": {"mount": "/other/", "workers": 3},
                  "listener": {"pool": {"mode": "0666"},
                               "more": {"allow": ["check"]}}})
    gw.signal(signal.SIGHUP)
    gw.wait_log("reload: done")
    warnings = [x for x in gw.log().splitlines() if "restart only" in x]
    t.equal(len(warnings), 1)
    for name in ("gateway.mount", "listener.pool.mode", "listener.more"):
        t.true(name in warnings[0], name + " is named")
    wait_until(lambda: len(workers_of(gw)) == 4, "three workers, a keeper")
    gw.conf["gateway"]["mount"] = "/.sessgate/"
    t.equal(gw.api("GET", "health").status, 200, "the old mount")
    # Removing a section that has a socket must keep that socket's rules.
    gw.conf["listener"] = {}
    gw.configure({})
    gw.signal(signal.SIGHUP)
    wait_until(lambda: gw.log().count("reload: done") == 2, "reloaded twice")
    t.equal(gw.check().status, 401)


@case
def a_listener_section_that_is_removed_keeps_its_socket(t):
    gw = t.gateway({"listener": {"login": {"allow": ["create"],
                                           "mode": "0600"}}})
    gw.start()
    gw.expect_log("change with a restart only", "listener.login")
    gw.conf["listener"] = {}
    gw.configure({})
    gw.signal(signal.SIGHUP)
    gw.wait_log("reload: done")
    answer = gw.api("POST", "v1/sessions", {"user_id": "alice"},
                    address=gw.login)
    t.equal(answer.status, 201)


@case
def reloads_drop_no_request(t):
    gw = t.gateway()
    gw.start()
    token, _ = gw.create()
    end = threading.Event()
    statuses = {}

    def ask():
        while not end.is_set():
            try:
                status = gw.check("__Host-sid=" + token).status
            except OSError as e:
                status = repr(e)
            statuses[status] = statuses.get(status, 0) + 1
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(5):
        gw.signal(signal.SIGHUP)
        wait_until(lambda: gw.log().count("reload: done") > i, "reloaded")
    end.set()
    for thread in threads:
        thread.join(PATIENCE)
    t.equal(list(statuses), [200])


@case
def many_reloads_at_once_end_with_the_last_configuration(t):
    gw = t.gateway()
    gw.start()
    for workers in (3, 4, 5, 3):
        gw.configure({"gateway": {"workers": workers}})
        gw.signal(signal.SIGHUP)
        time.sleep(0.03)
    wait_until(lambda: len(workers_of(gw)) == 4, "three workers, a keeper")
    time.sleep(0.5)
    t.equal(len(workers_of(gw)), 4)


@case
def sigusr1_reopens_the_log(t):
    gw = t.gateway()
    log = os.path.join(gw.dir, "data", "gw.log")
    gw.configure({"log": {"destination": "file:" + log, "level": "info"}})
    gw.start()
    os.rename(log, log + ".1")
    gw.signal(signal.SIGUSR1)
    wait_until(lambda: os.path.exists(log) and
               "reload: done" in open(log).read(), "a new log is there")
    gw.stop()
    t.match(open(log).read(), "stopped in")
    t.equal([x for x in open(log).read().splitlines()
             if "Z error" in x], [])


# ---- how many ----


@case
def sigttin_and_sigttou_add_and_take_away_one(t):
    gw = t.gateway()
    gw.start()
    gw.signal(signal.SIGTTIN)
    wait_until(lambda: len(workers_of(gw)) == 4, "one more")
    gw.signal(signal.SIGTTOU)
    gw.wait_log("SIGTTOU: 2 workers")
    gw.signal(signal.SIGTTOU)
    gw.wait_log("SIGTTOU: 1 workers")
    wait_until(lambda: len(workers_of(gw)) == 2, "two less")
    gw.signal(signal.SIGTTOU)
    time.sleep(0.5)
    t.equal(len(workers_of(gw)), 2, "never none")
    t.equal(gw.check().status, 401)


@case
def dynamic_workers_come_under_load_and_go_when_idle(t):
    gw = t.gateway({"gateway": {
        "workers": None, "workers_min": 1, "workers_max": 6, "spare_min": 1,
        "spare_max": 2, "request_timeout": "8 s",
        "request_terminate_timeout": "20 s"},
        "sqlite": {"busy_timeout": "8 s"}})
    gw.start()
    gw.expect_log("workers_max .* is reached", "sqlite")
    few = len(settled(gw))
    lock = StoreLock(t, gw)
    socks = [begin_slow_request(t, gw) for _ in range(7)]
    wait_until(lambda: len(workers_of(gw)) == 7, "six workers, a keeper", 15)
    gw.wait_log(r"workers_max \(6\) is reached")
    lock.release()
    t.equal([read_answer(s).status for s in socks], [201] * 7)
    wait_until(lambda: len(workers_of(gw)) <= 3, "spares went", 15)
    t.true(few <= 3, "few at the start")
    t.equal(gw.log().count("is reached"), 1)
    t.equal(gw.check().status, 401)


@case
def workers_end_after_max_requests_and_are_replaced(t):
    gw = t.gateway({"gateway": {"workers": 2, "max_requests": 5}})
    gw.start()
    before = settled(gw)
    for _ in range(60):
        t.equal(gw.check().status, 401)
    wait_until(lambda: len(workers_of(gw)) == 3, "all are there")
    t.true(len(set(workers_of(gw)) & set(before)) <= 2, "others by now")


# ---- inherited sockets ----


@case
def sockets_of_systemd_are_used_and_stay(t):
    gw = t.gateway()
    path = os.path.join(gw.dir, "systemd.sock")
    sock = listening_socket(path)
    t.at_end(sock.close)
    start_with_listen_fds(gw, [sock], "pool")
    gw.wait_ready(path)
    t.true(not os.path.exists(gw.pool), "pool.sock was not made")
    t.true(os.path.exists(gw.control), "control.sock was")
    t.equal(gw.stop(), 0)
    t.true(os.path.exists(path), "the path is systemd's")


@case
def unnamed_and_unknown_sockets_of_systemd_are_refused(t):
    for names in (None, "", "unknown", "pool:nonsense", "inherited"):
        gw = t.gateway()
        gw.expect_log("LISTEN_FDNAMES")
        socks = [listening_socket(os.path.join(gw.dir, n)) for n in "ab"]
        start_with_listen_fds(gw, socks, names)
        t.equal(gw.process.wait(PATIENCE), 1, repr(names))
        t.match(gw.log(), "LISTEN_FDNAMES: socket")
        t.equal(leftovers(gw), [])
        for sock in socks:
            sock.close()


@case
def sockets_that_are_for_another_process_are_closed(t):
    gw = t.gateway()
    sock = listening_socket(os.path.join(gw.dir, "other.sock"))
    start_with_listen_fds(gw, [sock], "pool", OFF="1")
    gw.wait_ready()
    sock.close()
    try:
        connect(os.path.join(gw.dir, "other.sock")).close()
        raise AssertionError("somebody still listens")
    except ConnectionRefusedError:
        pass


@case
def fd_0_is_served_and_warned_about(t):
    gw = t.gateway()
    own_directory(t, gw)
    path = os.path.join(gw.dir, "zero.sock")
    sock = listening_socket(path)
    t.at_end(sock.close)
    gw.expect_log("every CGI program of that user can read the keys")
    gw.start(wait=False, stdin=sock, **as_user(t))
    gw.wait_ready(path)
    warnings = [x for x in gw.log().splitlines() if "Z warning" in x]
    t.equal(len(warnings), 1)
    t.equal(gw.stop(), 0)
    t.true(os.path.exists(path), "the path is the web server's")
    t.equal(leftovers(gw), [])


@case
def a_login_socket_that_the_web_server_can_open_is_warned_about(t):
    gw = t.gateway({"listener": {"login": {"allow": ["create"]}}})
    gw.expect_log("listener.login: the web server can open it")
    gw.start()
    t.equal(gw.log().count("the web server can open it"), 1)
    gw.stop()
    gw = t.gateway({"listener": {"login": {"allow": ["create"],
                                           "mode": "0600"}}})
    gw.start()


# ---- relay ----


def start_relay(t, gw, *args):
    path = os.path.join(tempfile.mkdtemp(prefix="sgit.relay."), "s")
    sock = listening_socket(path)
    log = open(gw.log_path, "ab")
    process = subprocess.Popen([SESSGATED, "--relay"] + list(args),
                               stdin=sock, stdout=log, stderr=log, cwd="/")
    sock.close()
    log.close()

    def end():
        if process.poll() is None:
            process.terminate()
        t.equal(process.wait(PATIENCE), 0, "exit status of the relay")
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
    t.at_end(end)
    return path, process


@case
def a_relay_passes_requests_on(t):
    gw = t.gateway()
    gw.start()
    token, session = gw.create()
    path, _ = start_relay(t, gw, "-c", gw.conf_path)
    t.equal(gw.check(address=path).status, 401)
    answer = gw.check("__Host-sid=" + token, address=path)
    t.equal(answer.status, 200)
    t.equal(answer.header("Variable-REMOTE_USER"), "alice")
    for _ in range(50):
        answer = gw.api("GET", "session", address=path,
                        HTTP_COOKIE="__Host-sid=" + token)
        t.equal(answer.status, 200)
        t.equal(answer.json()["ref"], session["ref"])
    answer = gw.api("PATCH", "session", b"{" + b" " * 100000 + b"}",
                    address=path, HTTP_COOKIE="__Host-sid=" + token,
                    HTTP_SEC_FETCH_SITE="same-origin",
                    CONTENT_TYPE="application/json")
    t.equal(answer.status, 200)


@case
def a_relay_without_an_instance_answers_503(t):
    gw = t.gateway()
    gw.expect_log("answering 503")
    path, _ = start_relay(t, gw, "--socket", gw.pool)
    for role in (AUTHORIZER, 1):
        answer = fastcgi(path, web_params(), role=role)
        t.equal(answer.status, 503)
        t.true(answer.header("Retry-After"), "has Retry-After")
    big = fastcgi(path, web_params("POST", CONTENT_LENGTH="200000"),
                  b"x" * 200000)
    t.equal(big.status, 503)
    gw.start()
    t.equal(gw.check(address=path).status, 401)
    gw.stop()
    t.equal(gw.check(address=path).status, 503)


@case
def a_relay_survives_whatever_is_sent_to_it(t):
    gw = t.gateway()
    gw.expect_log("answering 503")
    path, process = start_relay(t, gw, "--socket", gw.pool)
    for data in (b"", b"\0" * 100, os.urandom(5000),
                 record(BEGIN, b"\0\1\0\0\0\0\0\0"),
                 request_bytes(web_params())[:-30]):
        sock = connect(path)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        t.equal(read_answer(sock).status, 0)
        sock.close()
    t.equal(fastcgi(path, web_params()).status, 503)
    t.true(process.poll() is None, "it lives")


@case
def a_relay_finishes_its_connection_before_it_ends(t):
    gw = t.gateway()
    gw.start()
    path, process = start_relay(t, gw, "-c", gw.conf_path)
    whole = request_bytes(web_params(), role=AUTHORIZER)
    sock = connect(path)
    sock.sendall(whole[:50])
    time.sleep(0.2)
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.2)
    t.true(process.poll() is None, "it waits")
    sock.sendall(whole[50:])
    t.equal(read_answer(sock).status, 401)
    sock.close()
    t.equal(process.wait(PATIENCE), 0)


@case
def a_relay_without_a_listening_socket_says_so(t):
    gw = t.gateway()
    status, text = gw.run("--relay")
    t.equal(status, 2)
    t.match(text, "fd 0 is no listening socket")


# ---- options and refusals ----


@case
def wrong_usage_exits_2_and_says_what_would_be_right(t):
    for args, words in ((["--nonsense"], "unknown option --nonsense"),
                        (["-x"], "unknown option -x"),
                        (["-c"], "needs a value: -c"),
                        (["-o", "nonsense"], "section.name=value"),
                        (["extra"], "takes no argument such as extra"),
                        (["--socket", "/x"], "--socket is for --relay")):
        done = subprocess.run([SESSGATED] + args, stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, timeout=PATIENCE)
        t.equal(done.returncode, 2, str(args))
        t.match(done.stderr.decode(), words)
        t.match(done.stderr.decode(), "usage: ")


@case
def help_and_version_print_and_exit_0(t):
    for option, words in (("--help", "usage: sessgated"),
                          ("--version", r"sessgated \d+\.\d+")):
        done = subprocess.run([SESSGATED, option], stdout=subprocess.PIPE,
                              timeout=PATIENCE)
        t.equal(done.returncode, 0)
        t.match(done.stdout.decode(), words)


@case
def the_configuration_can_be_tested(t):
    gw = t.gateway()
    t.equal(gw.run("-t")[0], 0)
    t.equal(leftovers(gw), [])
    status, text = gw.run("-t", "-o", "gateway.workers=many")
    t.equal(status, 1)
    t.match(text, "gateway.workers")
    status, text = gw.run("-t", "-o", "listener.login.group=sessgate-no")
    t.equal(status, 1)
    t.match(text, 'there is no group "sessgate-no"')
    t.equal(gw.run("-t", "-c", gw.dir + "/missing")[0], 1)


def refused(t, gw, pattern, *args):
    status, text = gw.run(*args)
    t.equal(status, 1, text)
    t.match(text, pattern)
    t.true("starts: pid" not in text or "error" in text)


@case
def users_and_groups_that_cannot_be_are_refused(t):
    gw = t.gateway()
    refused(t, gw, "gateway.user: ", "-o", "gateway.user=nobody-at-all")
    refused(t, gw, "gateway.group: ", "-o", "gateway.group=no-group-at-all")
    refused(t, gw, 'there is no group "sessgate-no".*addgroup', "-o",
            "listener.login.group=sessgate-no")
    refused(t, gw, 'there is no user "sessgate-no"', "-o",
            "listener.pool.owner=sessgate-no")
    t.equal(leftovers(gw), [])


@case
def root_without_a_user_is_refused(t):
    needs_root()
    gw = t.gateway()
    gw.configure({"gateway": {"user": None}})
    refused(t, gw, "running as root needs a user to become")
    refused(t, gw, "is root", "-o", "gateway.user=root")


@case
def root_is_given_up_for_good(t):
    needs_root()
    gw = t.gateway()
    gw.start()
    import pwd
    uid = pwd.getpwnam(USER).pw_uid
    for pid in [gw.pid] + settled(gw):
        with open("/proc/%d/status" % pid) as f:
            fields = dict(x.split(":", 1) for x in f.read().splitlines())
        t.equal(fields["Uid"].split(), [str(uid)] * 4)
        t.true("0" not in fields["Gid"].split(), "group is not root's")
        t.true("0" not in fields["Groups"].split(), "no group of root")
        t.equal(int(fields["CapEff"], 16), 0)
        t.equal(int(fields["CapPrm"], 16), 0)


@case
def sockets_get_the_owner_and_group_that_are_asked_for(t):
    needs_root()
    import grp
    import pwd
    gw = t.gateway({"listener": {
        "pool": {"group": "www-data", "owner": "daemon", "mode": "0640"},
        "login": {"allow": ["create"], "group": "mail"}}})
    gw.start(wait=False)
    wait_until(lambda: os.path.exists(gw.keeper_socket), "keeper.sock")
    st = os.lstat(gw.pool)
    t.equal((st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)),
            (pwd.getpwnam("daemon").pw_uid, grp.getgrnam("www-data").gr_gid,
             0o640))
    st = os.lstat(gw.login)
    t.equal((st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)),
            (pwd.getpwnam(USER).pw_uid, grp.getgrnam("mail").gr_gid, 0o660))
    gw.wait_log("ready: ")


@case
def an_ordinary_user_cannot_become_another(t):
    gw = t.gateway()
    own_directory(t, gw)
    for option, pattern in (
            ("gateway.user=daemon", "only root can become"),
            ("gateway.group=daemon", "only root can become group"),
            ("listener.pool.group=daemon", "may not give a socket to")):
        done = subprocess.run(
            gw.command("-o", option), stdin=subprocess.DEVNULL, cwd="/",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=PATIENCE, **as_user(t))
        t.equal(done.returncode, 1)
        t.match(done.stdout.decode(), pattern)
    gw.start(**as_user(t))


@case
def paths_that_are_not_ours_are_refused(t):
    gw = t.gateway()
    plain = os.path.join(gw.dir, "plain")
    with open(plain, "w") as f:
        f.write("keep me\n")
    refused(t, gw, "is there and is no socket", "-o",
            "listener.pool.address=unix:" + plain)
    t.equal(open(plain).read(), "keep me\n")
    other = os.path.join(gw.dir, "other")
    sock = listening_socket(other)
    refused(t, gw, "another program listens", "-o",
            "listener.pool.address=unix:" + other)
    sock.close()
    t.true(os.path.exists(other), "the other's socket is still there")
    refused(t, gw, "No such file", "-o",
            "listener.pool.address=unix:%s/none/x" % gw.dir)
    t.equal(leftovers(gw), [])
    refused(t, gw, "is no directory", "-o", "gateway.runtime_dir=" + plain)
    refused(t, gw, "cannot make", "-o",
            "gateway.runtime_dir=%s/none/run" % gw.dir)
    open_dir = os.path.join(gw.dir, "open")
    os.mkdir(open_dir)
    os.chmod(open_dir, 0o777)
    refused(t, gw, "others may write|belongs to", "-o",
            "gateway.runtime_dir=" + open_dir)


@case
def the_longest_path_of_a_socket_works(t):
    gw = t.gateway()
    gw.start()
    gw.stop()
    path = os.path.join(gw.run_dir, "x" * (106 - len(gw.run_dir)))
    t.equal(len(path), 107)
    gw.configure({"listener": {"pool": {"address": "unix:" + path}}})
    gw.start(wait=False)
    gw.wait_ready(path)
    refused(t, gw, "107", "-o", "listener.pool.address=unix:%sx" % path)


@case
def a_stale_socket_is_replaced(t):
    gw = t.gateway()
    gw.start()
    gw.stop()
    listening_socket(gw.pool).close()
    t.true(os.path.exists(gw.pool))
    gw.start()


@case
def a_tcp_listener_on_loopback_serves_checks(t):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    gw = t.gateway({"listener": {"tcp": {
        "address": "tcp:127.0.0.1:%d" % port, "allow": ["check"]}}})
    gw.start()
    t.equal(gw.check(address=("127.0.0.1", port)).status, 401)
    gw.stop()
    gw.start()
    t.equal(gw.check(address=("127.0.0.1", port)).status, 401)


@case
def keys_and_store_are_made_at_the_first_start_alone(t):
    gw = t.gateway()
    gw.start()
    t.match(gw.log(), "made key file")
    keys = open(gw.conf["keys"]["file"]).read()
    token, _ = gw.create()
    gw.stop()
    gw.start()
    t.equal(open(gw.conf["keys"]["file"]).read(), keys)
    t.equal(gw.check("__Host-sid=" + token).status, 200)
    t.equal(gw.log().count("made key file"), 1)


@case
def a_store_that_cannot_be_made_refuses_the_start(t):
    gw = t.gateway()
    refused(t, gw, "cannot make directory", "-o",
            "sqlite.file=%s/none/none/db" % gw.dir)
    t.equal(leftovers(gw), [])
    with open(os.path.join(gw.dir, "garbage"), "wb") as f:
        f.write(os.urandom(8192))
    os.chmod(f.name, 0o666)
    refused(t, gw, "error", "-o", "sqlite.file=" + f.name)


# ---- the keeper's work ----


@case
def activity_is_written_by_the_keeper_and_at_the_stop(t):
    gw = t.gateway({"session": {"idle_timeout": "5 s"}})
    gw.start()
    token, session = gw.create()

    def last_seen():
        answer = gw.api("GET", "v1/sessions/" + session["ref"],
                        address=gw.control)
        return answer.json()["last_seen_at"]
    first = last_seen()
    time.sleep(1.2)
    t.equal(gw.check("__Host-sid=" + token).status, 200)
    wait_until(lambda: last_seen() != first, "the touch is written")
    time.sleep(1.2)
    second = last_seen()
    t.equal(gw.check("__Host-sid=" + token).status, 200)
    gw.stop()
    gw.start()
    t.true(last_seen() != second, "the last touch is written too")


@case
def activity_is_written_at_a_stop_without_a_keeper(t):
    """As when somebody tells all processes to end, the keeper first."""
    gw = t.gateway({"session": {"idle_timeout": "5 s"}})
    gw.expect_log("killed by signal 9")
    gw.start()
    token, _ = gw.create()

    def last_seen():
        db = sqlite3.connect(gw.conf["sqlite"]["file"])
        try:
            return db.execute("SELECT last_seen_ms FROM session").fetchone()
        finally:
            db.close()
    first = last_seen()
    time.sleep(0.6)
    # It is young, so the next one is a second away.
    for pid in settled(gw):
        if name_of(pid) == "sessgated-keep":
            os.kill(pid, signal.SIGKILL)
    t.equal(gw.check("__Host-sid=" + token).status, 200)
    t.equal(gw.stop(), 0)
    t.true(last_seen() > first, "it is written")


@case
def the_keeper_reaps(t):
    gw = t.gateway({"session": {"idle_timeout": "1 s",
                                "absolute_timeout": "1 s"},
                    "reap": {"interval": "1 s"}})
    gw.start()
    for i in range(5):
        gw.create("user%d" % i)

    def ended():
        answer = gw.api("GET", "v1/status", address=gw.keeper_socket)
        return b'"ended"' in answer.body and answer.status == 200 and \
            "expired" in gw.api("GET", "v1/audit", address=gw.control
                                ).body.decode()
    wait_until(ended, "expired sessions are ended", 15)


@case
def the_keeper_deletes_what_is_there_to_delete(t):
    """A round deletes a row in each of its hundred chunks, so 250 would be gone
    in the third interval; they are in the seconds behind the first."""
    gw = t.gateway({"reap": {"interval": "8 s", "chunk": 1}})
    gw.start()
    for i in range(250):
        gw.create("user%d" % i)
    db = sqlite3.connect(gw.conf["sqlite"]["file"], isolation_level=None)
    t.at_end(db.close)
    # An event id begins with its time.
    db.execute("UPDATE audit SET event_id = CAST(x'0000' || substr(event_id, 3) AS BLOB)")

    def count():
        return db.execute("SELECT count(*) FROM audit").fetchone()[0]
    t.equal(count(), 250)
    wait_until(lambda: count() == 0, "all are deleted", 22)


main()
