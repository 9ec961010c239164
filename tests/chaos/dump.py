"""How it ended: what MySQL, Redis and the spools have when nobody writes any more,
as lines of the history."""

import json
import os
import re

import harness
from world import unshipped

# How long a record is kept behind the time of its session (protocol 1). One in its
# last minute is believed by nobody, and nobody is told when its session ends.
SPARE_MS = 60000
STATES = {"1": "live", "2": "ended"}


def reasons():
    """The words of enum sgate_reason by their numbers."""
    path = os.path.join(harness.SOURCE, "lib", "sessgate.h")
    with open(path) as f:
        found = re.findall(r"\bSGATE_REASON_([A-Z_]+) = (\d+)", f.read())
    return {number: name.lower() for name, number in found}


def text(column):
    """For a column of bytes: in hex, since they may hold anything."""
    return "HEX(%s)" % column


def unhex(value):
    return bytes.fromhex(value).decode("utf-8", "replace")


def rows(world, columns, table):
    """Tuples of text, of all rows."""
    out = world.database.sql("SELECT %s FROM %s" % (", ".join(columns),
                                                    table))
    for line in out.split("\n"):
        if line:
            yield line.split("\t")


def sessions(world, names):
    columns = [text("ref"), text("user_agent"), text("user_id"), "state",
               "end_reason", "version", "IFNULL(seq, 0)", "grp", text("context_id"),
               text("roles"), text("data")]
    for row in rows(world, columns, "session"):
        (ref, handle, user, state, reason, version, seq, group, context,
         roles, data) = (value.rstrip() for value in
                         (row + [""] * len(columns))[:len(columns)])
        yield {"t": "row", "ref": ref.lower(), "handle": unhex(handle),
               "user": unhex(user), "state": STATES.get(state, state),
               "reason": names.get(reason, reason),
               "version": int(version), "seq": int(seq), "grp": int(group),
               "context": unhex(context),
               "roles": [r for r in unhex(roles).split(",") if r],
               "data": json.loads(unhex(data) or "{}")}


def audits(world, names):
    columns = [text("event_id"), "at_ms", text("kind"), "reason",
               "IFNULL(HEX(ref), '')", text("user_id"), text("detail")]
    for row in rows(world, columns, "audit"):
        event, at_ms, kind, reason, ref, user, detail = (
            row + [""] * len(columns))[:len(columns)]
        line = {"t": "audit", "event_id": event.lower(), "at_ms": int(at_ms),
                "kind": unhex(kind), "reason": names.get(reason, reason),
                "user": unhex(user), "detail": unhex(detail)}
        if ref:
            line["ref"] = ref.lower()
        yield line


def copies(world):
    """Every record. SCAN is for us: nobody else is here now."""
    redis = world.redis.master
    cursor = "0"
    keys = set()
    while True:
        cursor, found = redis.command("SCAN", cursor, "MATCH", "sg:*:s:*",
                                      "COUNT", 1000)
        keys.update(found)
        if cursor == b"0":
            break
    for key in sorted(keys):
        record = redis.command("GET", key)
        if record is None or len(record) < 17:
            continue
        ref = key.rsplit(b":", 1)[1].decode()
        line = {"t": "copy", "ref": ref,
                "state": record[:1].decode("ascii", "replace"),
                "epoch": int(record[1:5]), "version": int(record[5:17])}
        if line["state"] != "T" and redis.command("PTTL", key) < SPARE_MS:
            line["trusted"] = False
        yield line


def groups(world):
    epoch = int(world.database.sql("SELECT epoch FROM store"))
    for group, seq in rows(world, ["grp", "seq"], "meta WHERE grp < 16"):
        line = {"t": "group", "grp": int(group), "seq": int(seq),
                "epoch": epoch, "sync": None}
        sync = world.redis.master.command("GET", "sg:{%s}:sync" % group)
        if sync:
            words = sync.decode().split()
            line["sync"] = int(words[0].split(";")[0])
            line["sync_epoch"] = int(words[-1])
        yield line


def spools(statuses):
    """statuses: of each gateway, before it was stopped."""
    for number, status in enumerate(statuses):
        spool = (status or {}).get("spool") or {}
        yield {"t": "spool", "gw": number, "unshipped": unshipped(status),
               "damaged": spool.get("damaged", 0)}


def everything(world, statuses):
    names = reasons()
    yield from sessions(world, names)
    yield from copies(world)
    yield from groups(world)
    yield from audits(world, names)
    yield from spools(statuses)
