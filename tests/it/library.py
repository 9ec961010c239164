"""The installed library: what lib/README.md says, done.

make install into a directory, the example compiled with pkg-config against
what is there, and run.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile

import harness
from harness import case, main, needs
from readme import blocks


def run(*command, env=None, cwd="/"):
    # A make that runs the tests would give its flags to the make in here.
    clean = {k: v for k, v in os.environ.items()
             if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, env=dict(clean, **(env or {})), cwd=cwd,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120, text=True)
    if done.returncode != 0:
        raise AssertionError("%s: exit %d\n%s" % (
            " ".join(command), done.returncode, done.stdout))
    return done.stdout


class Installed:
    """make install DESTDIR=..., and how to compile against it."""

    def __init__(self, t):
        self.dir = tempfile.mkdtemp(prefix="sginst.")
        t.at_end(shutil.rmtree, self.dir)
        run("make", "-s", "install", "DESTDIR=" + self.dir, cwd=harness.BUILD)
        self.pc = os.path.dirname(self.find("sessgate.pc"))
        self.lib = os.path.dirname(self.pc)

    def find(self, name):
        for folder, _, files in os.walk(self.dir):
            if name in files:
                return os.path.join(folder, name)
        raise AssertionError("make install did not install " + name)

    def flags(self, *what):
        return shlex.split(run(needs("pkg-config"), *what, "sessgate", env={
            "PKG_CONFIG_PATH": self.pc, "PKG_CONFIG_SYSROOT_DIR": self.dir}))

    def compile(self, source, out):
        sanitize = shlex.split(os.environ.get("SESSGATE_SANITIZED", ""))
        run("cc", "-Wall", "-Wextra", "-Werror", "-o", out, source,
            *self.flags("--cflags", "--libs"), *sanitize)


@case
def the_example_compiles_and_prints_what_it_says(t):
    installed = Installed(t)
    source, = blocks("lib/README.md", "c")
    console, = blocks("lib/README.md", "console")
    wanted = re.search(r"sessgate\.conf\n(.*?)\n\$", console, re.S).group(1)
    gw = t.gateway({"gateway": {"user": None}})
    os.mkdir(os.path.join(gw.dir, "data"))
    path = os.path.join(gw.dir, "example.c")
    with open(path, "w") as f:
        f.write(source)
    example = os.path.join(gw.dir, "example")
    installed.compile(path, example)
    ctl = [installed.find("sessgatectl"), "-c", gw.conf_path]
    env = {"LD_LIBRARY_PATH": installed.lib}
    run(*ctl, "db", "init", env=env)
    t.equal(run(example, gw.conf_path, env=env).strip(), wanted)
    # A program that has no such file gets a sentence, not a crash.
    done = subprocess.run([example, "/nowhere/x.conf"], env=dict(
        os.environ, **env), capture_output=True, timeout=60, text=True)
    t.equal(done.returncode, 1)
    t.match(done.stderr, "/nowhere/x.conf")


@case
def the_header_is_all_that_is_installed_and_exported(t):
    installed = Installed(t)
    header = installed.find("sessgate.h")
    folder = os.path.dirname(header)
    t.equal(os.listdir(folder), ["sessgate.h"])
    names = run("nm", "-D", "--defined-only", "-f", "posix",
                installed.find("libsessgate.so")).splitlines()
    names = {line.split()[0] for line in names}
    others = [n for n in names if not n.startswith("sgate_")]
    if not os.environ.get("SESSGATE_SANITIZED"):
        t.equal(others, [])
    with open(header) as f:
        declared = set(re.findall(r"^(?!typedef)[^/\n]*?\b(sgate_[a-z_]+)\(",
                                  f.read(), re.M))
    t.equal(sorted(n for n in names if n.startswith("sgate_")),
            sorted(declared))


main()
