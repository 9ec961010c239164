"""The manual pages: that they say what the programs do, all of it, and that
nothing in them is wrong mdoc(7)."""

import json
import os
import re
import subprocess

from harness import (BUILD, SESSGATECTL, SESSGATED, SOURCE, case, main, needs)

PAGES = {"sessgatectl.1", "sessgate.conf.5", "sessgated.8", "libsessgate.3"}


def page_path(page):
    return os.path.join(BUILD, "man", page)


def rendered(page):
    """As a terminal shows it, without bold and underline, in one line."""
    needs("mandoc")
    text = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=200",
                           page_path(page)], capture_output=True, text=True,
                          check=True).stdout
    return " ".join(re.sub(".\b", "", text).split())


def said(program, *args):
    return subprocess.run([program, *args], capture_output=True, text=True,
                          check=True, timeout=20).stdout


def one_line(text):
    return " ".join(text.split())


def commands():
    """Names of all commands, from the program's own help."""
    found = []
    for line in said(SESSGATECTL, "--help").splitlines():
        match = re.match(r"  ((?:[a-z]+ )?[a-z]+)(?: [A-Z|.-]+)?  +\w", line)
        if match:
            found.append(match.group(1))
    return found


@case
def every_option_of_the_configuration_is_in_the_manual(t):
    text = rendered("sessgate.conf.5")
    template = said(SESSGATECTL, "config", "template")
    options = re.findall(
        r"^#?\t+# ?(.*) \(([^()]*(?:\([^()]*\)[^()]*)*)\)\n#\t+(\w+) = ",
        template, re.M)
    shown = json.loads(said(SESSGATECTL, "--config", t.gateway().conf_path,
                            "config", "show", "--json"))
    names = {o["name"].rpartition(".")[2] for o in shown["options"]}
    t.true(len(names) > 80, "%d options" % len(names))
    t.equal(names - {name for _, _, name in options}, set(),
            "options that the template has not")
    for help_text, kind, name in options:
        pattern = (re.escape(one_line("%s %s" % (
            name, kind.replace("; reload", "")))) +
                   r"; (empty by default|default [^;]{1,120}?)" +
                   ("; a reload takes it over" if "; reload" in kind else "") +
                   r"\. " + re.escape(one_line(help_text)) + r"\.")
        t.true(re.search(pattern, text), "%s, %s: %s" % (
            name, kind, help_text))


@case
def every_command_and_option_is_in_the_manual(t):
    text = rendered("sessgatectl.1")
    names = commands()
    t.true(len(names) > 25, names)
    for name in names:
        usage = said(SESSGATECTL, *name.split(), "--help")
        summary = usage.split("\n\n")[1]
        t.true(one_line(name) + " " in text, name)
        t.true(one_line(summary) in text, summary)
        for option, value, what in re.findall(
                r"^  --([a-z-]+)(?: ([A-Z.=]+))?  +(.*)$", usage, re.M):
            t.true(("--" + option + (" " + value if value else "")) in text,
                   "%s --%s" % (name, option))
            t.true(one_line(what) in text, what)
        for line in usage.split("\nexamples:\n")[1].splitlines():
            t.true(one_line(line) in text, line)


@case
def every_option_of_the_daemon_is_in_the_manual(t):
    text = rendered("sessgated.8")
    options = re.findall(r"^  (-\w|--\w+)", said(SESSGATED, "--help"), re.M)
    t.true(len(options) >= 7, options)
    for option in options:
        t.true(option in text, option)
    for name in ("TERM", "INT", "HUP", "USR1", "TTIN", "TTOU"):
        t.true("SIG" + name in text, name)


@case
def every_function_is_in_the_librarys_manual(t):
    text = rendered("libsessgate.3")
    with open(os.path.join(SOURCE, "lib", "sessgate.h")) as f:
        header = f.read()
    names = set(re.findall(r"\b(sgate_\w+)\(", header))
    t.true(len(names) > 50, "%d functions" % len(names))
    for name in names:
        t.true(name + "(" in text, name)
    for line in re.findall(r"^ \* (?!\s)(.{20,})$", header, re.M):
        t.true(one_line(line) in text, line)


@case
def nothing_in_the_pages_is_wrong(t):
    needs("mandoc")
    t.equal(set(os.listdir(os.path.join(BUILD, "man"))), PAGES)
    for page in PAGES:
        done = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "warning", page_path(page)],
            capture_output=True, text=True)
        t.equal(done.stdout, "", page)
        text = rendered(page)
        t.true("@" not in re.sub(r"@include|\[NUMBER@\]|[\w.]+@[\w./]+", "", text), page)
        for name, section in re.findall(r"\b([a-z]+[a-z.]+)\((\d)\)", text):
            if name.startswith(("sessgate", "libsessgate")):
                t.true("%s.%s" % (name, section) in PAGES, name)


@case
def the_program_prints_its_pages_itself(t):
    for page in sorted(PAGES - {"libsessgate.3"}):
        with open(page_path(page)) as f:
            text = f.read()
        for name in (page, page.rpartition(".")[0]):
            t.equal(said(SESSGATECTL, "manual", name), text, name)
    for name in ("", "nonsense", "sessgate", "sessgatectl.8x"):
        done = subprocess.run([SESSGATECTL, "manual", name],
                              capture_output=True, text=True)
        t.equal(done.returncode, 2, name)
        t.match(done.stderr, "there is no page .*sessgated.8")
        t.equal(done.stdout, "")


main()
