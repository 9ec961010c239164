#!/usr/bin/env python3
"""Says whether a history (README.md) keeps the promises.

    checker.py HISTORY [--json FILE] [--most N] [--quiet]

HISTORY "-" is standard input. Violations first, each with the operations that
show it and the faults next to them, then the table. Exit status: 0 none, 3
violations; 2 the history cannot be read, 1 the checker itself is broken.
"""

import argparse
import collections
import gc
import json
import sys
import time

from ending import Ending
from lives import World
from past import CASES, FOREVER, MS, STALL, BadHistory, read_file
from rules import NAMES, Rules


# Not 1, with which Python ends when a program of it fails.
FOUND = 3


class Violation:
    def __init__(self, rule, text, ops):
        self.rule, self.text, self.ops = rule, text, ops

    def __repr__(self):
        return "rule %d: %s" % (self.rule, self.text)


class Verdict:
    """violations; stale_ends, stale_changes: (ns, case) of each."""

    def __init__(self, past):
        self.past, self.violations = past, []
        world = self.world = World(past)
        rules = Rules(world, self.found)
        rules.run()
        Ending(world, self.found, rules.unsound).run()
        self.violations.sort(key=lambda v: v.rule)
        self.stale_ends = rules.stale_ends
        self.stale_changes = rules.stale_changes
        self.sessions = sum(s.acked is not None
                            for s in world.sessions.values())

    def found(self, rule, text, ops):
        self.violations.append(Violation(rule, text, ops))


def check(past):
    return Verdict(past)


# ---- figures ---------------------------------------------------------------


def percentile(ordered, share):
    """The smallest value that this share of all does not exceed."""
    if not ordered:
        return None
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def spread(values):
    """count, p50, p99 and max, in milliseconds."""
    ordered = sorted(values)
    return {"count": len(ordered),
            "p50_ms": _ms(percentile(ordered, 50)),
            "p99_ms": _ms(percentile(ordered, 99)),
            "max_ms": _ms(ordered[-1] if ordered else None)}


def _ms(ns):
    return None if ns is None else round(ns / MS, 1)


def operations(past):
    """{kind: {result: count}}"""
    table = {}
    for op in past.ops:
        table.setdefault(op.kind, collections.Counter())[op.res] += 1
    return {kind: dict(table[kind]) for kind in sorted(table)}


def fault_table(past):
    """{kind: how often, how long until it was over, until recovered}"""
    table = {}
    for fault in past.faults:
        table.setdefault(fault.kind, []).append(fault)
    return {kind: {
        "count": len(faults),
        "lasted": spread([f.end - f.begin for f in faults
                          if f.end is not None]),
        "recovered": spread([f.recovered - f.end for f in faults
                             if f.end is not None and
                             f.recovered != FOREVER]),
        "not_recovered": sum(f.recovered == FOREVER for f in faults),
    } for kind, faults in sorted(table.items())}


def staleness(verdict):
    table = {}
    for what, values in (("ends", verdict.stale_ends),
                         ("changes", verdict.stale_changes)):
        for case in CASES:
            table["%s, %s" % (what, case)] = spread(
                [ns for ns, its_case in values if its_case == case])
    return table


def stalls(past):
    """How often, and for how long, the machine stood still."""
    return spread([f.end - f.begin for f in past.faults
                   if f.kind == STALL and f.end is not None])


VALIDATIONS = ("check", "get", "introspect")
INSIDE, THOSE, LIVE, OUTSIDE = ("inside fault windows", "  validations",
                                "  of live sessions",
                                "outside fault windows")


def unavailability(verdict):
    """503 among all, inside and outside of the gateways' fault windows. Inside
    also among validations, and among those of sessions that surely were live:
    with one store left these should be hardly any."""
    past, sessions = verdict.past, verdict.world.sessions
    table = {name: [0, 0, 0] for name in (INSIDE, THOSE, LIVE, OUTSIDE)}
    for op in past.ops:
        is_inside = past.is_in_fault(op)
        rows = [table[INSIDE if is_inside else OUTSIDE]]
        if is_inside and op.kind in VALIDATIONS:
            rows.append(table[THOSE])
            if op.s in sessions and sessions[op.s].is_surely_live(op):
                rows.append(table[LIVE])
        for row in rows:
            row[0] += 1
            row[1] += op.res == "unavailable"
            row[2] += op.res == "unknown"
    return {name: {"operations": n, "503": unavailable, "no answer": unknown,
                   "503_percent": round(100 * unavailable / n, 3) if n else 0}
            for name, (n, unavailable, unknown) in table.items()}


def figures(verdict):
    past = verdict.past
    return {
        "seed": past.head.get("seed"), "mode": past.head.get("mode", "single"),
        "seconds": round((past.tail["at"] - past.ops[0].begin) / 1e9, 1)
        if past.ops else 0,
        "sessions": verdict.sessions,
        "bounds": past.bounds,
        "has_dumps": past.has_dumps,
        "operations": operations(past),
        "faults": fault_table(past),
        "staleness": staleness(verdict),
        "stalls": stalls(past),
        "unavailable": unavailability(verdict),
        "violations_by_rule": dict(collections.Counter(
            v.rule for v in verdict.violations)),
    }


# ---- in words --------------------------------------------------------------


class Text:
    """Moments as seconds since the first operation."""

    def __init__(self, past):
        self.past = past
        first = [op.begin for op in past.ops[:1]]
        first += [f.begin for f in past.faults[:1]]
        self.start = min(first, default=0)

    def at(self, ns):
        return "%.3f" % ((ns - self.start) / 1e9)

    def op(self, op):
        parts = ["%s..%s" % (self.at(op.begin), self.at(op.end)),
                 "op %s" % op.id, "client %s" % op.client, "gateway %s" % op.gw,
                 op.kind, str(op.s or (op.args or {}).get("user"))]
        if op.tok is not None:
            parts.append("token %s" % op.tok)
        if op.args:
            parts.append(json.dumps(op.args, sort_keys=True))
        parts.append("->")
        parts.append(op.res)
        if op.why:
            parts.append("(%s)" % op.why)
        if op.by:
            parts.append("by %s" % op.by)
        if op.out:
            parts.append(json.dumps(op.out, sort_keys=True))
        return " ".join(parts)

    def violation(self, number, violation):
        lines = ["%d. rule %d: %s" % (number, violation.rule, violation.text)]
        lines += ["     " + self.op(op) for op in violation.ops]
        if violation.ops:
            for at, event, fault in self.past.near(
                    min(op.begin for op in violation.ops),
                    max(op.end for op in violation.ops)):
                lines.append("     %s fault %s: %s of %s (%s), gateways %s" % (
                    self.at(at), fault.id, event, fault.kind, fault.target,
                    ", ".join(map(str, fault.hosts))))
        return "\n".join(lines)


def columns(rows):
    """Aligned; the first column to the left, numbers to the right."""
    rows = [[str("-" if cell is None else cell) for cell in row]
            for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  " + "  ".join(
        [row[0].ljust(widths[0])] +
        [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])])
        for row in rows)


def spread_row(name, s):
    return [name, s["count"], s["p50_ms"], s["p99_ms"], s["max_ms"]]


def print_violations(verdict, most):
    text = Text(verdict.past)
    shown = collections.Counter()
    for number, violation in enumerate(verdict.violations, 1):
        shown[violation.rule] += 1
        if shown[violation.rule] <= most:
            print(text.violation(number, violation))
    for rule, count in sorted(shown.items()):
        if count > most:
            print("... and %d more of rule %d" % (count - most, rule))
    print("%d violations" % len(verdict.violations))
    for rule, count in sorted(shown.items()):
        print("  rule %d, %d times: %s" % (rule, count, NAMES[rule]))


def print_figures(f):
    print("\nseed %s, mode %s, %s s, %d sessions" % (
        f["seed"], f["mode"], f["seconds"], f["sessions"]))
    print("bounds: " + ", ".join(
        "%s %d ms" % (name[:-3], ms) for name, ms in f["bounds"].items()))
    if not f["has_dumps"]:
        print("no dumps: what the stores hold was not judged")
    results = ("ok", "denied", "unavailable", "unknown")
    rows = [["operations"] + list(results)]
    for kind, counts in f["operations"].items():
        rows.append([kind] + [counts.get(r, 0) for r in results])
    rows.append(["all"] + [sum(c.get(r, 0) for c in f["operations"].values())
                           for r in results])
    print(columns(rows))
    rows = [["faults", "count", "lasted p50", "max", "recovered p50 ms", "max",
             "not"]]
    for kind, row in f["faults"].items():
        rows.append([kind, row["count"], row["lasted"]["p50_ms"],
                     row["lasted"]["max_ms"], row["recovered"]["p50_ms"],
                     row["recovered"]["max_ms"], row["not_recovered"]])
    done = [row for kind, row in f["faults"].items() if kind != STALL]
    rows.append(["all but stalls", sum(row["count"] for row in done), "", "",
                 "", "", sum(row["not_recovered"] for row in done)])
    print(columns(rows))
    rows = [["staleness of", "count", "p50 ms", "p99", "max"]]
    rows += [spread_row(name, s) for name, s in f["staleness"].items()]
    rows.append(spread_row("(how long it stood still)", f["stalls"]))
    print(columns(rows))
    rows = [["answers", "count", "503", "%", "no answer"]]
    for name, row in f["unavailable"].items():
        rows.append([name, row["operations"], row["503"],
                     row["503_percent"], row["no answer"]])
    print(columns(rows))


def as_json(verdict):
    text = Text(verdict.past)
    return dict(figures(verdict), violations=[
        {"rule": v.rule, "text": v.text, "ops": [op.id for op in v.ops],
         "shown": [text.op(op) for op in v.ops]}
        for v in verdict.violations])


def main(argv):
    parser = argparse.ArgumentParser(
        description="Check a history of a chaos run.")
    parser.add_argument("history")
    parser.add_argument("--json", metavar="FILE",
                        help="write everything that was found there")
    parser.add_argument("--most", type=int, default=10, metavar="N",
                        help="how many violations of each rule to print")
    parser.add_argument("--quiet", action="store_true",
                        help="no table")
    args = parser.parse_args(argv)
    began = time.monotonic()
    gc.disable()  # A million objects that all stay: nothing to collect.
    try:
        past = read_file(args.history)
    except (BadHistory, OSError) as e:
        print("checker: %s: %s" % (args.history, e), file=sys.stderr)
        return 2
    verdict = check(past)
    print_violations(verdict, args.most)
    if not args.quiet:
        print_figures(figures(verdict))
        print("\nchecked in %.1f s" % (time.monotonic() - began))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(as_json(verdict), f, indent=1)
            f.write("\n")
    return FOUND if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
