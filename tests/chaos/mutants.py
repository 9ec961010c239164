"""Gateways with a mechanism turned off, and the faults that bring it to light.

Each needs a build with --enable-failpoints (tests/README.md, "Failpoints").
`scripts/chaos --mutant NAME` runs one.
"""


class Mutant:
    """creates_away: whether the gateways create without MySQL."""

    def __init__(self, failpoints, faults, creates_away=False):
        self.failpoints, self.faults = failpoints, faults
        self.creates_away = creates_away


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
    # An end without MySQL is told Redis and written nowhere.
    "spool": Mutant("spool=off", ["mysql-stop", "mysql-hole"]),
    # What is created without MySQL never comes there: nothing recovers.
    "u-land": Mutant("u-land=off", ["mysql-stop", "partition-mysql"], True),
    # No row is "no session", though one has just been created. Alone it is
    # covered for by h32.
    "u-state": Mutant("u-state=off,h32=off", ["partition-mysql"], True),
    # A second try is another session.
    "idempotency": Mutant("idempotency=off", ["mysql-lose"]),
}
