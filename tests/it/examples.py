"""What the README files say is so: their commands run, their configurations
load, what they name is there."""

import os
import re
import stat
import subprocess

import harness
from harness import case, main
from readme import blocks, commands, runtime_files, text

PAGES = ("README.md", "conf/README.md", "gateway/README.md", "lib/README.md",
         "scripts/README.md", "tests/README.md")


def sessgatectl(*args):
    done = subprocess.run([harness.SESSGATECTL] + list(args),
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done
    return done.stdout


class Host:
    """A host as the pages have it: our paths stand for /etc and /run."""

    def __init__(self, t):
        self.gw = t.gateway({"listener": {"login": {"mode": "0600"}}})
        self.gw.expect_log(r"listener\.login")
        self.bin = os.path.join(self.gw.dir, "bin")
        os.mkdir(self.bin)
        for program in (harness.SESSGATED, harness.SESSGATECTL):
            path = os.path.join(self.bin, os.path.basename(program))
            with open(path, "w") as f:
                # --socket says that no configuration is to be read.
                f.write('#!/bin/sh\ncase $1 in --socket) exec %s "$@" ;; esac\n'
                        'exec %s -c %s "$@"\n' % (
                            program, program, self.gw.conf_path))
            os.chmod(path, 0o755)
        self.gw.start()
        self.ref = self.gw.create()[1]["ref"]

    def ours(self, line):
        for theirs, ours in (("/run/sessgate", self.gw.run_dir),
                             ("/etc/sessgate/sessgate.conf", self.gw.conf_path),
                             ("REF", self.ref)):
            line = line.replace(theirs, ours)
        return line

    def run(self, command):
        done = subprocess.run(
            ["sh", "-c", self.ours(command)], cwd=self.gw.dir, timeout=30,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
            env={"PATH": self.bin + ":" + os.environ["PATH"], "TZ": "UTC"})
        if done.returncode != 0:
            raise AssertionError("%s: exit %d: %s" % (
                command, done.returncode, done.stdout))
        return done.stdout


def run_page(t, page):
    host = Host(t)
    for block in blocks(page, "console"):
        for command, shown in commands(block):
            out = host.run(command)
            for line in shown:
                if host.ours(line.strip()) not in out:
                    raise AssertionError("%s: %r is not in: %s" % (
                        command, line, out))


@case
def the_commands_of_the_front_page_do_what_it_shows(t):
    run_page(t, "README.md")


@case
def the_commands_about_configuring_do_what_they_show(t):
    run_page(t, "conf/README.md")


@case
def the_commands_about_the_inside_do_what_they_show(t):
    run_page(t, "gateway/README.md")


@case
def every_configuration_that_is_shown_is_right(t):
    shown = [b for page in PAGES for b in blocks(page, "conf")]
    t.true(len(shown) >= 2, "there are examples")
    for number, block in enumerate(shown):
        path = os.path.join(t.gateway().dir, "example%d.conf" % number)
        with open(path, "w") as f:
            f.write(block)
        t.match(sessgatectl("-c", path, "config", "check"), "is right")


@case
def every_option_that_is_named_is_there(t):
    template = sessgatectl("config", "show", "--json")
    sections = {}
    for name in re.findall(r'"name":"([a-z_.]+)"', template):
        sections.setdefault(name.split(".")[0], set()).add(name.split(".")[-1])
    sections["policy"] = {"require_role", "max_auth_age", "anonymous", "csrf",
                          "login_url"}
    for page in PAGES:
        for span in re.findall(r"`([a-z_.]+)`", text(page)):
            section, _, name = span.partition(".")
            name = name.split(".")[-1]
            if section in sections and name not in ("", "NAME", "h", "c"):
                t.true(name in sections[section], page + ": " + span)


@case
def every_file_that_is_named_is_there(t):
    for page in PAGES:
        folder = os.path.dirname(page)
        for span in re.findall(r"`([A-Za-z_/]+\.(?:c|h|py|md|cgi))`",
                               text(page)):
            paths = [os.path.join(harness.SOURCE, at, span)
                     for at in (folder, "", "lib", "scripts/demo")]
            t.true("NAME" in span or any(os.path.exists(p) for p in paths), page + ": " + span)


# How many items each part of chapter V7 has.
ASVS = {1: 3, 2: 4, 3: 2, 4: 5, 5: 3, 6: 2}


def is_there(kind, name, function):
    """Whether that file of tests has that function."""
    path = "tests/%s/%s.%s" % (kind, name, "py" if kind == "it" else "c")
    if not os.path.exists(os.path.join(harness.SOURCE, path)):
        return False
    begin = r"^def %s\(t\b" if kind == "it" else r"^%s\(void \*\*state\)"
    return not function or re.search(begin % function, text(path), re.M)


@case
def every_item_of_owasp_has_its_test_or_is_open(t):
    page = text("conf/README.md")
    page = page[page.index("## OWASP"):page.index("## MySQL in")]
    rows = [[cell.strip(" |") for cell in line.strip("|").split(" | ")]
            for line in page.splitlines() if line.startswith("| ")]
    rows = [cells for cells in rows
            if cells[0] not in ("---", "ASVS", "cheat sheet")]
    t.equal(sorted(item for cells in rows for item in re.findall(
        r"\b7\.\d\.\d\b", cells[0])),
            ["7.%d.%d" % (part, n + 1) for part in ASVS
             for n in range(ASVS[part])])
    for item, met, tests in [(cells + [""])[:3] for cells in rows]:
        named = re.findall(r"`(it|unit|fuzz)/(\w+)(?: (\w+))?`", tests)
        t.equal(len(named), tests.count("`") // 2, item)
        t.true(named or met.startswith("**Open**"), item + ": neither a test nor open")
        for kind, name, function in named:
            t.true(is_there(kind, name, function),
                   "%s: %s/%s %s" % (item, kind, name, function))
    t.true(not is_there("it", "limits", "a_case") and
           not is_there("unit", "nothing", ""), "what is not there is noticed")


@case
def every_page_that_a_comment_names_is_there(t):
    for folder in ("gateway", "lib", "tests/unit", "tests/contract"):
        for name in os.listdir(os.path.join(harness.SOURCE, folder)):
            if not name.endswith((".c", ".h")):
                continue
            for page in re.findall(r"\b[A-Za-z_/]+\.md\b",
                                   text(os.path.join(folder, name))):
                t.true(page in PAGES, "%s/%s: %s" % (folder, name, page))


@case
def every_route_is_listed_and_no_other(t):
    routes = set()
    for name, prefix in (("api_browser", ""), ("api_programs", "v1/")):
        routes |= {(method, prefix + path) for path, method in re.findall(
            r'^    \{"([a-z/*-]+)", REQUEST_([A-Z]+),',
            text("gateway/%s.c" % name), re.M)}
    # The operator's page is none of a table: it hides.
    hidden = re.findall(r'^#define ROUTE "([a-z]+/)"$', text("gateway/api_admin.c"), re.M)
    t.equal(hidden, ["admin/"])
    routes.add(("GET", hidden[0]))
    t.true(len(routes) > 30, routes)
    page = text("gateway/README.md")
    page = page[page.index("## What it answers"):page.index("## Signals")]
    listed = set(re.findall(r"`(GET|POST|PATCH|PUT|DELETE) ([a-z0-9/*-]+)`",
                            page))
    t.equal(listed, routes)


@case
def every_file_of_a_running_instance_is_listed(t):
    host = Host(t)
    # `fence` is there with Redis alone: tests/it/setup.py.
    t.equal(set(os.listdir(host.gw.run_dir)), runtime_files() - {"fence"})
    page = text("conf/README.md")
    for name, mode in re.findall(
            r"^\| `([a-z]+\.sock)` \|.*\| (0\d+)", page, re.M):
        at = os.stat(os.path.join(host.gw.run_dir, name))
        if name != "login.sock":
            t.equal(oct(stat.S_IMODE(at.st_mode)), oct(int(mode, 8)), name)
    host.gw.stop()
    t.equal(os.listdir(host.gw.run_dir), [])


@case
def every_counter_is_explained(t):
    host = Host(t)
    status = host.gw.api("GET", "v1/status", address=host.gw.control).json()
    counters = set(status["counters"]) | set(status["stores"])
    page = text("gateway/README.md")
    page = page[page.index("## What is measured"):]
    listed = set()
    for table in re.findall(r"^\| counter \|.*?\n\n", page, re.M | re.S):
        for row in re.findall(r"^\| (`.*?`) \|", table, re.M):
            listed |= set(re.findall(r"`([a-z_]+)`", row))
    t.equal(listed, counters)
    metrics = host.gw.api("GET", "v1/metrics", address=host.gw.keeper_socket)
    t.equal(metrics.status, 200)
    for name in list(status["counters"]) + ["stores_" + name for name in
                                            status["stores"]]:
        t.match(metrics.body.decode(), r"\nsessgate_%s_total \d+\n|^# TYPE "
                r"sessgate_%s counter\n" % (name, name))


main()
