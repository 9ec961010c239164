"""The failpoint matrix (failpoints.c): every failpoint, crash, pause and error,
with every operation. Needs a build of `configure --enable-failpoints`, named by
SESSGATE_FAILPOINT_BUILD, as hazards.py does; "none": it runs elsewhere."""

import os
import re
import subprocess

from harness import SOURCE, Skip, case, main, needs
from scenario import HAS_MUTANTS
from stores import failpoint_build, run

SECONDS = 240
# Far fewer would mean that places or operations are not found.
CELLS_MIN = 1500
# Mechanisms whose absence the matrix sees, and in which operations.
MUTANTS = [("event-id=off,settle=off", "change_alone"),
           ("apply=off", "round_end"), ("fence=off", "validate_stale"),
           ("idempotency=off", "create")]


def matrix(*arguments):
    """Exit code and lines."""
    needs("redis-server")
    needs("mariadbd")
    program = os.path.join(failpoint_build(), "tests", "it", "failpoints")
    if not os.access(program, os.X_OK):
        raise Skip("%s is not built" % program)
    done = subprocess.run([program] + list(arguments), timeout=SECONDS,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode("utf-8", "replace")


@case
def every_function_of_a_store_has_its_places(t):
    def text(name):
        with open(os.path.join(SOURCE, "lib", name)) as f:
            return f.read()
    wrapped = re.findall(r"WRAP\(table, (\w+), (\w+)\)",
                         text("failpoint_stores.c"))
    for kind in ("durable", "cache"):
        table = re.search(r"\nstruct %s_ops \{\n(.*?)\n\};" % kind,
                          text(kind + ".h"), re.S).group(1)
        names = re.findall(r"\(\*(\w+)\)\(struct %s \*|"
                           r"\(\*(\w+)\)\(\s*struct %s \*" % (kind, kind),
                           table)
        # Those two ask other servers than the handle's: it/promotion.py,
        # it/sentinel.py and it/doctor.py have them fail.
        names = sorted(set(a or b for a, b in names) -
                       {"close", "locate", "examine"})
        t.true(len(names) > 5, "they are found")
        t.equal(sorted(n for k, n in wrapped if k == kind), names)


def every_failpoint_with_every_operation_loses_nothing(t):
    code, out = matrix()
    for line in out.splitlines():
        if line.startswith("#") and "failed" in line or "cells" in line:
            print(line)
    t.equal(code, 0, out)
    cells = re.search(r"^# (\d+) cells: (\d+) failpoints", out, re.M)
    t.true(cells and int(cells.group(1)) >= CELLS_MIN, out)


def mutant_case(off, operation):
    def check(t):
        code, out = matrix(operation, off)
        t.equal(code, 1, "%s without %s:\n%s" % (operation, off, out))
        t.match(out, r"(?m)^not ok")
    check.__name__ = "the_matrix_notices_%s_in_%s" % (
        off.replace("=off", "").replace(",", "_and_").replace("-", "_"),
        operation)
    return check


if HAS_MUTANTS:
    case(every_failpoint_with_every_operation_loses_nothing)
    for mutant in MUTANTS:
        case(mutant_case(*mutant))

if __name__ == "__main__":
    run(main)
