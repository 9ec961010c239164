"""Gateways with a mechanism turned off, and the faults that bring it to light.

Each needs a build with --enable-failpoints (tests/README.md, "Failpoints").
`scripts/chaos --mutant NAME` runs one.
"""


class Mutant:
    def __init__(self, failpoints, faults, conf=None):
        self.failpoints, self.faults, self.conf = failpoints, faults, conf


MUTANTS = {
    # A copy counts whatever its sync says.
    "fence": Mutant("fence=off", ["redis-old", "partition-redis",
                                  "redis-rollback"]),
    # A host reads a row, another ends the session, the row goes to Redis.
    "put-guard": Mutant("put-guard=off,row-put=pause:300",
                        ["redis-flush", "redis-evict"]),
    # An end leaves no tombstone: a keeper that is late brings it back.
    "tombstone": Mutant("tombstone=off,poll-apply=pause:20",
                        ["partition-redis", "mysql-stop"]),
    # A new session that could not be put into Redis is acknowledged so.
    "create-retry": Mutant("create-retry=off,commit-publish=pause:300",
                           ["mysql-stop", "mysql-kill"]),
    # The keeper raises sync and brings no rows.
    "apply": Mutant("apply=off", ["redis-old", "partition-redis",
                                  "redis-promote"]),
    # A lost answer to COMMIT counts as failed.
    "settle": Mutant("settle=off,event-id=off", ["mysql-lose"]),
    # An error that Redis replies counts as "nothing there".
    "error-is-miss": Mutant("error-is-miss=off",
                            ["redis-read-only", "redis-full"]),
    # A full Redis takes no tombstones.
    "allow-oom": Mutant("allow-oom=off", ["redis-full"]),
    # Sessions expire by the host's clock.
    "clock": Mutant("clock=off", ["clock-ahead", "clock-behind"]),
    # A second try is another session.
    "idempotency": Mutant("idempotency=off", ["mysql-lose"]),
    # The answer of another question.
    "drop-context": Mutant("drop-context=off", ["redis-delay",
                                                "redis-stop"]),
}
