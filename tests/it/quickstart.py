"""scripts/quickstart: its story holds, and it leaves nothing behind."""

import fcntl
import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import termios

from harness import BUILD, PATIENCE, SOURCE, case, main, needs, needs_root, wait_until

QUICKSTART = os.path.join(SOURCE, "scripts", "quickstart")


def place(t):
    """A TMPDIR of its own: what is in it afterwards was left behind."""
    folder = tempfile.mkdtemp(prefix="sgquick.")
    os.chmod(folder, 0o777)
    t.at_end(shutil.rmtree, folder, True)
    return folder


def processes_with(text):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/cmdline" % name, "rb") as f:
                    if text.encode() in f.read() and int(name) != os.getpid():
                        found.append(int(name))
            except (OSError, ProcessLookupError):
                continue
    return found


def start(folder, *arguments, terminal=None):
    """In a session of its own, with a terminal if one is given."""
    needs("lighttpd")

    def take_terminal():
        if terminal is not None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    return subprocess.Popen(["bash", QUICKSTART, "--build", BUILD] + list(arguments), cwd="/",
                            env=dict(os.environ, TMPDIR=folder),
                            stdin=subprocess.DEVNULL if terminal is None else terminal,
                            stdout=subprocess.PIPE if terminal is None else terminal,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True, preexec_fn=take_terminal)


def lines_until(stream, text):
    """What it prints until a line has the text."""
    lines = []
    for line in stream:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError("quickstart ended early:\n" + "".join(lines))


def leaves_nothing(t, folder):
    t.equal(os.listdir(folder), [], "the temporary directory")
    wait_until(lambda: not processes_with(folder), "no process is left: %r" % processes_with(folder))


@case
def the_story_holds_and_leaves_nothing(t):
    folder = place(t)
    process = start(folder, "--check")
    out, _ = process.communicate(timeout=20 * PATIENCE)
    t.equal(process.returncode, 0, out)
    t.match(out, "The whole story holds")
    leaves_nothing(t, folder)


@case
def an_ordinary_user_can_do_the_same(t):
    check_as_ordinary_user(t)


def check_as_ordinary_user(t, *arguments):
    needs_root()  # else the case above was it
    needs("lighttpd")
    folder = place(t)
    # The tree may lie where that user may not look: give it a copy.
    tree = tempfile.mkdtemp(prefix="sgtree.")
    t.at_end(shutil.rmtree, tree, True)
    for part in ("conf", "scripts"):
        shutil.copytree(os.path.join(SOURCE, part), os.path.join(tree, part))
    os.makedirs(os.path.join(tree, "build", "gateway"))
    for name in ("sessgated", "sessgatectl"):
        shutil.copy(os.path.join(BUILD, "gateway", name), os.path.join(tree, "build", "gateway"))
    subprocess.run(["chmod", "-R", "a+rX", tree], check=True)
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "bash",
         os.path.join(tree, "scripts", "quickstart"), "--build", os.path.join(tree, "build"), "--check",
         *arguments], cwd="/", env=dict(os.environ, TMPDIR=folder, HOME=folder), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20 * PATIENCE, check=False)
    t.equal(done.returncode, 0, done.stdout)
    leaves_nothing(t, folder)
    return done.stdout


def needs_stores():
    for program in ("redis-server", "mariadb-install-db", "mariadbd", "mariadb"):
        needs(program)


# What --check prints of the stores, in this order.
OUTAGES = (r"read from Redis first: of 20 page views 20 were served by redis, 0 by mysql",
           r"Redis killed: .* 20 page views served by mysql",
           r"Redis started again",
           r"Redis restored from a copy of before a logout: the logged-out session was refused all \d+ times",
           r"MySQL killed: .* 20 page views served by redis; a new login worked",
           r"MySQL started again: it had the login made without it after")


@case
def the_story_holds_with_redis_and_mysql_and_when_they_fail(t):
    needs_stores()
    folder = place(t)
    process = start(folder, "--check", "--with", "redis,mysql")
    out, _ = process.communicate(timeout=20 * PATIENCE)
    t.equal(process.returncode, 0, out)
    t.match(out, "(?s)" + ".*".join(OUTAGES))
    leaves_nothing(t, folder)


@case
def an_ordinary_user_can_do_that_too(t):
    needs_stores()
    t.match(check_as_ordinary_user(t, "--with", "mysql,redis"), "(?s)" + ".*".join(OUTAGES))


@case
def the_story_holds_with_mysql_alone(t):
    needs_stores()
    folder = place(t)
    process = start(folder, "--check", "--with", "mysql")
    out, _ = process.communicate(timeout=20 * PATIENCE)
    t.equal(process.returncode, 0, out)
    t.match(out, "MySQL killed, and no Redis: 20 page views said")
    leaves_nothing(t, folder)


@case
def the_printed_commands_kill_and_start_the_stores(t):
    needs_stores()
    folder = place(t)
    process = start(folder, "--with", "redis,mysql")
    lines = lines_until(process.stdout, "Ctrl-C ends everything")
    commands = [match.group(0) for match in
                (re.search(r"/\S+/bin/store( [a-z]+)+(?=  )", line) for line in lines) if match]
    t.equal([" ".join(c.split()[1:]) for c in commands],
            ["kill redis", "start redis", "kill mysql", "start mysql", "save redis", "restore redis"])
    store = commands[0].split()[0]
    for command in commands:
        done = subprocess.run(command.split(), capture_output=True, text=True, timeout=6 * PATIENCE, check=False)
        t.equal((done.returncode, done.stdout, done.stderr), (0, "", ""), command)
        name = command.split()[2]
        running = processes_with(os.path.join(os.path.dirname(os.path.dirname(store)), name, name + ".sock"))
        t.equal(len(running), 0 if "kill" in command else 1, command)
    done = subprocess.run([store, "kill", "disk"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    t.equal(done.returncode, 2)
    t.match(done.stderr, "store start redis")
    process.send_signal(signal.SIGTERM)
    t.equal(process.wait(6 * PATIENCE), 143)
    leaves_nothing(t, folder)


@case
def it_ends_when_the_terminal_goes_away(t):
    needs_stores()
    folder = place(t)
    terminal, slave = pty.openpty()
    process = start(folder, "--with", "redis,mysql", terminal=slave)
    os.close(slave)
    with open(terminal, encoding="utf-8", newline="\n") as screen:
        lines_until(screen, "Ctrl-C ends everything")
    t.equal(process.wait(6 * PATIENCE), 129)
    leaves_nothing(t, folder)


@case
def a_signal_while_the_stores_are_made_leaves_nothing(t):
    needs_stores()
    for name in ("redis", "mysql"):
        folder = place(t)
        process = start(folder, "--with", "redis,mysql")
        lines_until(process.stdout, "Starting a private " + name)
        process.send_signal(signal.SIGTERM)  # to it alone, not to what it started
        t.equal(process.wait(6 * PATIENCE), 143)
        leaves_nothing(t, folder)


@case
def ctrl_c_ends_everything(t):
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        folder = place(t)
        process = start(folder)
        lines_until(process.stdout, "Ctrl-C ends everything")
        os.killpg(process.pid, number)  # as a terminal does
        t.equal(process.wait(6 * PATIENCE), status)
        leaves_nothing(t, folder)


@case
def wrong_options_are_told(t):
    for arguments in (["--prot", "1"], ["--port"], ["--port", "x"], ["--build", "/nonexistent"], ["--with"],
                      ["--with", "disk"], ["--with", "redis"]):
        done = subprocess.run(["bash", QUICKSTART] + arguments, capture_output=True, text=True, timeout=PATIENCE,
                              check=False)
        t.equal(done.returncode, 2, arguments)
        t.match(done.stderr, "quickstart: ")
    t.match(done.stderr, "Try --with redis,mysql")


if __name__ == "__main__":
    main()
