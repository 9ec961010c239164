#!/usr/bin/env python3
"""Checks the protocol's models with spin, and that each mechanism in them is
needed.

    tests/model/run.py                    all, as `make check` does
    tests/model/run.py --only fence       one model; or one run: fence/ends
    tests/model/run.py --only put-guard   one mechanism: what goes wrong without
    tests/model/run.py --list             what there is
    tests/model/run.py --tags             the table of mechanisms alone
    tests/model/run.py --trace --only put-guard   with the steps, in words

Prints TAP: a line for each run that must hold (states, depth, seconds) and for
each mechanism that is turned off and must be missed (steps of the shortest way
to where it is missed). SESSGATE_MODEL=tags checks the table of mechanisms
alone. What the models are, and what they are not: README.md beside this file.
"""

import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
MEMORY_MB = 3000
LIMIT_S = 900
# Tables of README.md.
NOT_IN_A_MODEL = "Not in a model"
WITHOUT_A_SWITCH = "Without a switch in the code"


def read(*path):
    with open(os.path.join(*path)) as f:
        return f.read()


def tags_in(text):
    return {tag.replace("_", "-")
            for tag in re.findall(r"\boff\((\w+)\)", text)} - {"tag"}


class Model:
    """A .pml file and what is written at its top for us:

        run NAME: -DFLAGS     a run that must hold
        long NAME: -DFLAGS    the same, with SESSGATE_LONG=1 alone
        mutant TAG: -DFLAGS   with the mechanism TAG turned off it must not
    """

    def __init__(self, path):
        self.path = path
        self.name = os.path.basename(path)[:-len(".pml")]
        text = read(path)
        self.tags = tags_in(text)
        for name in re.findall(r'^#include "(.+)"$', text, re.M):
            self.tags |= tags_in(read(HERE, name))
        self.runs = re.findall(r"^ \* run ([\w-]+): *(.*)$", text, re.M)
        if os.environ.get("SESSGATE_LONG"):
            self.runs += re.findall(r"^ \* long ([\w-]+): *(.*)$", text, re.M)
        self.mutants = re.findall(r"^ \* mutant ([\w-]+): *(.*)$", text, re.M)


class Job:
    """One run of spin's verifier."""

    def __init__(self, model, name, flags, is_mutant):
        self.model, self.name, self.is_mutant = model, name, is_mutant
        self.flags = flags.split()
        if is_mutant:
            self.flags.append("-DOFF=" + name.replace("-", "_"))

    def __str__(self):
        return "%s/%s" % (self.model.name, self.name)

    def title(self):
        return "%s: %s" % (self, "is missed when it is off"
                           if self.is_mutant else "holds")

    def is_wanted(self, only):
        return not only or any(
            o in (self.model.name, self.name, str(self)) for o in only)

    # Mutants breadth first: the first way found to the violation is a
    # shortest one. It takes more memory, so what must hold goes depth first.
    def check(self, is_traced):
        began = time.monotonic()
        folder = tempfile.mkdtemp(prefix="model-")
        try:
            return self._check(folder, is_traced) + (
                time.monotonic() - began,)
        finally:
            shutil.rmtree(folder)

    def _check(self, folder, is_traced):
        def call(*command):
            return subprocess.run(
                command, cwd=folder, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=LIMIT_S).stdout.decode()
        # spin writes beside what it reads.
        for path in [self.model.path] + glob.glob(os.path.join(HERE, "*.inc")):
            shutil.copy(path, folder)
        source = os.path.basename(self.model.path)
        out = call("spin", "-a", *self.flags, source)
        if not os.path.exists(os.path.join(folder, "pan.c")):
            return False, out
        out = call("gcc", "-w", "-O1" if self.is_mutant else "-O2",
                   "-DSAFETY", "-DNOCLAIM", "-DMEMLIM=%d" % MEMORY_MB,
                   *(["-DBFS"] if self.is_mutant else []),
                   "-o", "pan", "pan.c")
        if not os.path.exists(os.path.join(folder, "pan")):
            return False, out
        out = call("./pan", "-m1000000", "-E")
        errors = re.search(r"errors: (\d+)", out)
        states = re.search(r"(\d+) states, stored", out)
        depth = re.search(r"depth reached (\d+)", out)
        whole = not re.search(r"max search depth too small|not completed|"
                              r"out of memory", out, re.I)
        if not errors or not states or not depth:
            return False, out
        failed = re.search(r"assertion violated (.*) \(at depth", out)
        text = "%s states, depth %s" % (states.group(1), depth.group(1))
        if errors.group(1) == "0":
            return not self.is_mutant and whole, text + (
                "" if whole else ", not finished:\n" + out)
        steps = call("spin", "-T", "-t", *self.flags, source)
        steps = steps.partition("spin: trail ends")[0]
        steps = [line.strip() for line in steps.split("\n")
                 if line and not line.startswith(("spin:", "#", "proc"))]
        if self.is_mutant:
            text = "%s states, missed after %d steps" % (
                states.group(1), len(steps))
        if is_traced or not self.is_mutant:
            text += "".join("\n" + step for step in steps) + "\nviolated: " + (
                failed.group(1) if failed else out)
        # Only our assertions count: not an index or a deadlock of the model's.
        return self.is_mutant and failed is not None, text


# ---- the mechanisms ----------------------------------------------------------


def switches_of_the_code():
    found = set()
    for folder in ("lib", "gateway"):
        for path in glob.glob(os.path.join(SOURCE, folder, "*.c")):
            found |= set(re.findall(r'failpoint_is_off\(\s*"([^"]+)"',
                                    read(path)))
    return found


def reasons(title):
    """The table of that title in README.md: a mechanism and why, each."""
    table = read(HERE, "README.md").partition("## %s\n" % title)[2]
    return dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$",
                           table.partition("\n## ")[0], re.M))


def check_tags(models):
    """What is wrong with the table, in words."""
    wrong = []
    code, told = switches_of_the_code(), reasons(NOT_IN_A_MODEL)
    bare = reasons(WITHOUT_A_SWITCH)
    modelled = {tag for model in models for tag in model.tags}
    if len(code) < 20:
        wrong.append("hardly a switch found in the code")
    for tag in sorted(code - modelled - set(told)):
        wrong.append("%s: in the code, in no model, and no reason is given"
                     % tag)
    for tag in sorted(modelled - code - set(bare)):
        wrong.append("%s: in a model, no switch in the code, and no reason is "
                     "given" % tag)
    for tag in sorted(set(bare) & code | set(bare) - modelled):
        wrong.append("%s: told to have no switch, and it %s" % (
            tag, "has one" if tag in code else "is in no model"))
    for tag in sorted(set(told) & modelled):
        wrong.append("%s: in a model, and in the table of those that are not"
                     % tag)
    for tag in sorted(set(told) - code):
        wrong.append("%s: a reason for what is not in the code" % tag)
    for model in models:
        mutants = {tag for tag, _ in model.mutants}
        if not model.runs or not mutants:
            wrong.append("%s: finds nothing: no run or no mutant" % model.name)
        for tag in sorted(mutants - model.tags):
            wrong.append("%s: %s is turned off and is not in it" % (
                model.name, tag))
    needed = {tag for model in models for tag, _ in model.mutants}
    for tag in sorted(modelled - needed):
        wrong.append("%s: in a model, and never turned off" % tag)
    return wrong


def print_tags(models):
    told = reasons(NOT_IN_A_MODEL)
    for tag in sorted(switches_of_the_code()):
        where = [model.name for model in models if tag in model.tags]
        print("%-20s %s" % (tag, ", ".join(where) if where
                            else "- " + told.get(tag, "?")))


# ---- all of it ---------------------------------------------------------------


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def test(self, is_ok, title, details=""):
        self.count += 1
        self.failed += not is_ok
        lines = details.split("\n")
        print("%s %d - %s%s" % ("ok" if is_ok else "not ok", self.count,
                                title, " # " + lines[0] if lines[0] else ""))
        for line in lines[1:]:
            print("#   " + line)
        sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--tags", action="store_true")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    models = [Model(path)
              for path in sorted(glob.glob(os.path.join(HERE, "*.pml")))]
    jobs = [job for model in models for job in
            [Job(model, name, flags, False) for name, flags in model.runs] +
            [Job(model, tag, flags, True) for tag, flags in model.mutants]
            if job.is_wanted(args.only)]
    if args.tags:
        return print_tags(models)
    if args.list:
        for job in jobs:
            print(job, *job.flags)
        return None
    if not jobs:
        sys.exit("run.py: there is nothing of that name; see --list")
    tap = Tap()
    if not args.only:
        wrong = check_tags(models)
        tap.test(not wrong, "every mechanism is in a model and in the code",
                 "\n".join([""] + wrong) if wrong else "")
    if os.environ.get("SESSGATE_MODEL") == "tags":
        jobs = []
    elif not shutil.which("spin") or not shutil.which("gcc"):
        print("ok %d - the models # SKIP spin and gcc are needed: "
              "scripts/packages test" % (tap.count + 1))
        tap.count += 1
        jobs = []
    # Long ones first; they are told in order all the same.
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        results = {job: pool.submit(job.check, args.trace)
                   for job in sorted(jobs, key=lambda job: job.is_mutant)}
        for job in jobs:
            is_ok, text, took_s = results[job].result()
            head, _, rest = text.partition("\n")
            tap.test(is_ok, job.title(), "%s, %.1f s%s" % (
                head, took_s, "\n" + rest if rest else ""))
    print("1..%d" % tap.count)
    sys.exit(1 if tap.failed else 0)


if __name__ == "__main__":
    main()
