"""scripts/quickstart: its story holds, and it leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import tempfile

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


def start(folder, *arguments, **popen):
    needs("lighttpd")
    return subprocess.Popen(["bash", QUICKSTART, "--build", BUILD] + list(arguments), cwd="/",
                            env=dict(os.environ, TMPDIR=folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True, **popen)


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
    needs_root()  # else the case above was it
    folder = place(t)
    # The tree may lie where that user may not look: give it a copy.
    tree = tempfile.mkdtemp(prefix="sgtree.")
    t.at_end(shutil.rmtree, tree, True)
    shutil.copytree(os.path.join(SOURCE, "scripts"), os.path.join(tree, "scripts"))
    os.makedirs(os.path.join(tree, "build", "gateway"))
    for name in ("sessgated", "sessgatectl"):
        shutil.copy(os.path.join(BUILD, "gateway", name), os.path.join(tree, "build", "gateway"))
    subprocess.run(["chmod", "-R", "a+rX", tree], check=True)
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "bash",
         os.path.join(tree, "scripts", "quickstart"), "--build", os.path.join(tree, "build"), "--check"], cwd="/", env=dict(os.environ, TMPDIR=folder, HOME=folder), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20 * PATIENCE, check=False)
    t.equal(done.returncode, 0, done.stdout)
    leaves_nothing(t, folder)


@case
def ctrl_c_ends_everything(t):
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        folder = place(t)
        process = start(folder)
        wait_until(lambda: any(processes_with(os.path.join(folder, name)) for name in os.listdir(folder)) and
                   _says(process, "Ctrl-C ends everything"), "it is up", 6 * PATIENCE)
        os.killpg(process.pid, number)  # as a terminal does
        t.equal(process.wait(6 * PATIENCE), status)
        leaves_nothing(t, folder)


def _says(process, text):
    """Read lines until one has the text."""
    for line in process.stdout:
        if text in line:
            return True
    raise AssertionError("quickstart ended early: %s" % process.wait())


@case
def wrong_options_are_told(t):
    for arguments in (["--prot", "1"], ["--port"], ["--port", "x"], ["--build", "/nonexistent"]):
        done = subprocess.run(["bash", QUICKSTART] + arguments, capture_output=True, text=True, timeout=PATIENCE,
                              check=False)
        t.equal(done.returncode, 2, arguments)
        t.match(done.stderr, "quickstart: ")


if __name__ == "__main__":
    main()
