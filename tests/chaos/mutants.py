"""Gateways with a mechanism turned off, and the faults that bring it to light.

Each needs a build with --enable-failpoints (tests/README.md, "Failpoints").
`scripts/chaos --mutant NAME` runs one.
"""


class Mutant:
    def __init__(self, failpoints, faults):
        self.failpoints, self.faults = failpoints, faults


MUTANTS = {
    # A copy counts whatever its sync says: seen where keepers cannot bring what
    # has changed.
    "fence": Mutant("fence=off", ["redis-read-only"]),
    # A host reads a row, another ends the session, the row goes to Redis.
    "put-guard": Mutant("put-guard=off,row-put=pause:300",
                        ["redis-flush", "redis-evict"]),
    # An end leaves no tombstone: another host's keeper brings the session back.
    "tombstone": Mutant("tombstone=off", ["mysql-stop", "partition-mysql",
                                          "mysql-hole"]),
    # The keeper raises sync and brings no rows.
    "apply": Mutant("apply=off", ["redis-old", "partition-redis",
                                  "redis-promote"]),
    # Sessions expire by the host's clock.
    "clock": Mutant("clock=off", ["clock-ahead", "clock-behind"]),
    # A second try is another session.
    "idempotency": Mutant("idempotency=off", ["mysql-lose"]),
}
