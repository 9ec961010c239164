"""scripts/bench: the benchmark. See scripts/bench and README.md here."""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time

import failure
import figures
import hitpath
import memory
import report
import special
from contenders import all_contenders
from machine import Machine, Unavailable
from place import Site

PARTS = {
    "checks": "contenders that look a session up, in turns, each connection asking as soon as it is answered",
    "creations": "contenders that make sessions, likewise",
    "fixed": "the checks again at a fixed offered load: latencies as clients see them",
    "failures": "Redis killed, and stopped, under a fixed load",
    "starvation": "one instance behind lighttpd, nginx and Apache at once, with more connections than workers",
    "ended": "how soon an ended session is refused by another instance, under load",
    "system calls": "the gateway's system calls of a hit",
    "instructions": "the instructions of a hit, by callgrind",
    "memory": "bytes a session in each store (100,000 sessions; minutes)",
}
NOT_BY_DEFAULT = {"memory"}
QUICK = ("do-nothing, lighttpd", "do-nothing, nginx", "sessgate local cache, lighttpd", "sessgate local cache, nginx kept",
         "sessgate auth_request + do-nothing, nginx", "sessgate Redis, lighttpd", "sessgate MySQL, lighttpd",
         "sessgate SQLite, lighttpd", "php-fpm + phpredis",
         "express-session", "create: php-fpm + phpredis", "create: own transactions, 64 connections",
         "create: sessgate, 64 connections")
QUICK_PARTS = {"checks", "creations", "system calls", "instructions"}


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def read_options():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(
        "Measures what sessgate costs, as ratios to a program that does nothing and beside what others use."))
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="three minutes: the figures that matter most")
    parser.add_argument("--only", metavar="WORD[,WORD]", help="contenders and parts with one of these in their names")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each contender (5)")
    parser.add_argument("--seconds", type=int, metavar="N", help="length of each turn (3)")
    parser.add_argument("--rate", type=int, default=1000, metavar="N", help="requests a second of the fixed load (1000)")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="processes of each contender (4)")
    parser.add_argument("--json", metavar="FILE", help="all figures of all rounds")
    parser.add_argument("--svg", metavar="DIRECTORY", help="pictures: checks.svg, creations.svg, failures.svg")
    parser.add_argument("--list", action="store_true", help="the parts and the contenders")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 3)
    for name in ("rounds", "seconds", "rate", "workers"):
        if not 1 <= getattr(options, name) <= 100000:
            parser.error(f"--{name} must be 1 or more")
    return options


def is_named(name, words):
    return any(word.strip().lower() in name.lower() for word in words)


def choose(options):
    """(contenders, parts)."""
    contenders = all_contenders()
    if options.only:
        # Names have a comma and a blank in them.
        words = [w for w in re.split(r",(?! )", options.only) if w.strip()]
        parts = {p for p in PARTS if p in [w.strip() for w in words]}
        named = [c for c in contenders if is_named(c.name, words)]
        # A part that is named brings all of its contenders.
        for kind in ("check", "creation"):
            if kind + "s" in parts:
                named += [c for c in contenders if c.kind == kind and c not in named and not getattr(c, "is_extra", False)]
        floors = {c.floor for c in named}
        chosen = [c for c in contenders if c in named or c.name in floors]
        parts |= {c.kind + "s" for c in named}
        if not chosen and not parts:
            raise SystemExit(f"bench: nothing is called {options.only}; see --list")
        return chosen, parts
    if options.quick:
        return [c for c in contenders if c.name in QUICK], QUICK_PARTS
    return [c for c in contenders if not getattr(c, "is_extra", False)], set(PARTS) - NOT_BY_DEFAULT


def make_ready(site, contenders):
    """(those that can run, {name: why not})."""
    ready, missing = [], {}
    for contender in contenders:
        say("starting " + contender.name)
        try:
            contender.ready(site)
            contender.measure(1)
            ready.append(contender)
        except (Unavailable, OSError, subprocess.SubprocessError, AssertionError) as e:
            missing[contender.name] = str(e)
            say(f"left out: {contender.name}: {e}")
    return ready, missing


def in_turns(contenders, rounds, measure, what):
    """{name: [a result a round]}; the order turns round every second round."""
    results = {c.name: [] for c in contenders}
    for turn in range(rounds):
        for contender in contenders if turn % 2 == 0 else contenders[::-1]:
            try:
                results[contender.name].append(measure(contender))
            except (Unavailable, OSError, subprocess.SubprocessError) as e:
                say(f"{contender.name}: {e}")
                results[contender.name].append(None)
        say(f"{what}: round {turn + 1} of {rounds}")
    return results


def summaries(contenders, results):
    return {c.name: figures.summary(results[c.name], results.get(c.floor)) for c in contenders}


def at_fixed_rate(contenders, rows, options):
    """Those that are fast enough for it, and {name: why not}."""
    fast, slow = [], {}
    for c in contenders:
        best = figures.value(rows, c.name, "per_second", "median")
        if best and best >= 1.25 * options.rate:
            fast.append(c)
        else:
            slow[c.name] = f"its best is {best or 0:.0f} a second, too near to {options.rate}"
    results = in_turns(fast, max(options.rounds // 2, 1), lambda c: c.measure(options.seconds, options.rate), "fixed load")
    return summaries(fast, results), slow, results


def run(site, options, contenders, parts):
    found = {"special": {}, "missing": {}}
    ready, found["missing"] = make_ready(site, contenders)
    found["rounds"], found["rows"] = {}, {}
    for kind in ("check", "creation"):
        these = [c for c in ready if c.kind == kind]
        results = in_turns(these, options.rounds, lambda c: c.measure(options.seconds), kind + "s") if these else {}
        found["rounds"].update(results)
        found["rows"].update(summaries(these, results))
    if "fixed" in parts:
        checks = [c for c in ready if c.kind == "check"]
        found["fixed"], found["too_slow"], found["fixed_rounds"] = at_fixed_rate(checks, found["rows"], options)
    others = {"failures": failure.measure, "starvation": special.starvation, "ended": special.ended,
              "system calls": special.system_calls, "instructions": hitpath.measure, "memory": memory.measure}
    for part, measure in others.items():
        if part not in parts:
            continue
        say(part)
        try:
            found["special"][part] = measure(site, options)
        except (Unavailable, OSError, subprocess.SubprocessError, AssertionError) as e:
            found["missing"][part] = str(e)
            say(f"left out: {part}: {e}")
    found["goals"] = figures.goals(found["rows"], found["rounds"], found["special"])
    return found


def about(options, seconds):
    def version(*command):
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError:
            return "not installed"
        text = (done.stdout or done.stderr).strip().splitlines()[0]
        found = re.search(r"\d+(\.\d+)+", text)
        return found.group(0) if found and done.returncode == 0 else "not installed"
    path = os.environ["PATH"] + ":/usr/sbin"
    return {"machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} processors",
            "load_before": options.load_before, "is_chosen": bool(options.only), "rounds": options.rounds, "seconds": options.seconds,
            "workers": options.workers, "rate": options.rate, "took_s": round(seconds),
            "versions": {name: name + " " + version("/usr/bin/env", "PATH=" + path, *command) for name, command in {
                "lighttpd": ["lighttpd", "-v"], "nginx": ["nginx", "-v"], "apache": ["apache2", "-v"],
                "redis": ["redis-server", "--version"], "mariadb": ["mariadbd", "--version"], "php": ["php", "--version"],
                "node": ["node", "--version"], "gunicorn": ["gunicorn", "--version"]}.items()}}


def main():
    options = read_options()
    contenders, parts = choose(options)
    if options.list:
        for name, text in PARTS.items():
            print(f"{name:20} {text}")
        print()
        for c in all_contenders():
            print(c.name + (" (only when named)" if getattr(c, "is_extra", False) else ""))
        return
    options.load_before = os.getloadavg()[0]
    begin = time.monotonic()
    # SIGTERM ends like Ctrl-C: everything is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    box = Machine()
    try:
        found = run(Site(box, options.build, options.workers), options, contenders, parts)
    except KeyboardInterrupt:
        raise SystemExit("bench: interrupted") from None
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        box.stop()
    found["about"] = about(options, time.monotonic() - begin)
    report.table(found, [c.name for c in contenders])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(found, f, indent=1)
    if options.svg:
        os.makedirs(options.svg, exist_ok=True)
        report.pictures(found, [c.name for c in contenders], options.svg)


if __name__ == "__main__":
    main()
