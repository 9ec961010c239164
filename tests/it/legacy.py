"""`sessgatectl import plan` over sessions that the real programs have made."""

import hashlib
import json
import os
import subprocess
import time
import urllib.parse

import harness
from harness import Skip, case, main, needs
from stores import Redis
import stores

NODE_PACKAGES = ["connect-redis@7", "express-session@1", "redis@4"]
HERE = os.path.join(harness.SOURCE, "tests", "it")


def ctl(*args):
    return subprocess.run(
        [os.path.join(harness.BUILD, "gateway", "sessgatectl"), *args],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=60)


def node_modules():
    """Kept in the build directory: fetched once."""
    place = os.path.join(harness.BUILD, "legacy-node")
    modules = os.path.join(place, "node_modules")
    if all(os.path.isdir(os.path.join(modules, p.split("@")[0]))
           for p in NODE_PACKAGES):
        return modules
    npm = needs("npm")
    os.makedirs(place, exist_ok=True)
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts",
         "--prefer-offline", "--prefix", place] + NODE_PACKAGES,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=120)
    if done.returncode != 0:
        raise Skip("npm could not fetch express-session: " +
                   " ".join(done.stdout.decode().split())[-200:])
    return modules


def made_by(command, **env):
    """What the old program printed."""
    done = subprocess.run(command, env=dict(os.environ, **env),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)
    if done.returncode != 0:
        raise AssertionError("%s: %s" % (command[0], done.stderr.decode()))
    return done.stdout.decode()


def id_hash(session_id):
    return hashlib.blake2b(session_id.encode(), digest_size=32).hexdigest()[:12]


def plan(t, *args, code=0):
    """What `import plan --json` says; no id and no data is among it."""
    done = ctl("import", "plan", "-o", "session.absolute_timeout=8h", *args,
               "--json")
    t.equal((done.returncode, done.stderr), (code, ""))
    return json.loads(done.stdout)


def live(t, answer, user, key):
    """That user's example. It has come along."""
    found = [e for e in answer["examples"] if e.get("user_id") == user]
    t.equal([(e["verdict"], e["user_key"]) for e in found], [("live", key)],
            repr(answer))
    return found[0]


def counts(t, answer, **wanted):
    got = {name: n for name, n in answer["sessions"].items() if n}
    t.equal(got, wanted, repr(answer))


def says(t, *args, code=2):
    """What it says to a person."""
    done = ctl("import", "plan", *args)
    t.equal(done.returncode, code, done.stdout + done.stderr)
    return done.stdout + done.stderr


# ---- Redis ----

@case
def sessions_of_express_are_told_apart(t):
    node, modules = needs("node"), node_modules()
    redis = Redis(t)
    hour = {"maxAge": 3600000}
    cookies = json.loads(made_by(
        [node, os.path.join(HERE, "legacy_express.js"), redis.socket,
         json.dumps([[{"passport": {"user": 42}, "cart": [1, None]}, hour],
                     [{"user_id": "\u00e4nn", "odd": "a\0b"}, {}],
                     [{"user_id": "late"}, {"maxAge": 200}],
                     [{"cart": []}, hour]])], NODE_PATH=modules))
    ids = [urllib.parse.unquote(c)[2:].split(".")[0] for c in cookies]
    redis.command("SET", "sess:broken", "{\"cookie\":")
    redis.command("SET", "other:1", "{}")
    redis.command("LPUSH", "sess:list", "x")
    # Their time is over, and the store has not noticed yet.
    redis.command("PERSIST", "sess:" + ids[2])
    time.sleep(0.3)
    before = redis.command("DEBUG", "DIGEST")
    place = "redis:0@" + redis.socket
    answer = plan(t, "connect-redis", place)
    counts(t, answer, live=2, expired=1, without_user=1, undecodable=2)
    t.equal(answer["user_keys"], {"passport.user": 1, "user_id": 1})
    t.equal(answer["left_out"]["not_text"], 1)
    # One of a day, one of an hour; ours may last 8 hours.
    t.equal(answer["would_end_sooner"], 1)
    first = live(t, answer, "42", "passport.user")
    t.equal(first["id_hash"], id_hash(ids[0]))
    t.true(3500 < first["expires_at"] - time.time() <= 3600, repr(first))
    live(t, answer, "\u00e4nn", "user_id")
    t.equal(sorted(e.get("why") for e in answer["examples"]
                   if e["verdict"] == "undecodable"),
            ["it is no JSON", "its key is neither a text nor a hash"])
    text = says(t, "connect-redis", place, code=0)
    t.true("The user stands in: user_id (1), passport.user (1)" in text, text)
    for cookie, name in zip(cookies, ids):
        t.true(name not in text and name not in json.dumps(answer), "no id")
    t.true("cart" not in text, "no data")
    answer = plan(t, "connect-redis", place, "--user-key", "cart.0")
    counts(t, answer, live=1, expired=1, without_user=2, undecodable=2)
    live(t, answer, "1", "cart.0")
    t.equal(redis.command("DEBUG", "DIGEST"), before, "nothing was written")


@case
def sessions_of_the_old_managers_are_read(t):
    redis = Redis(t, requirepass="old")
    secret = os.path.join(redis.dir, "password")
    with open(secret, "w") as f:
        f.write("old\n")
    os.chmod(secret, 0o600)
    iso = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    prefix = "vedfolnir:session:"
    redis.command("SETEX", prefix + "a", 7200, json.dumps(
        {"user_id": 1, "created_at": iso, "last_activity": iso}))
    redis.command("HSET", prefix + "b", "user_id", "2", "role", "admin",
                  "expires_at", "2020-01-01T00:00:00")
    redis.command("HSET", prefix + "c", "user_id", "3", "created_at", iso)
    redis.command("EXPIRE", prefix + "c", 60)
    redis.command("SADD", "vedfolnir:user_sessions:1", "a")
    redis.command("HSET", prefix + "d",
                  *(word for n in range(300) for word in ("f%d" % n, "x")))
    redis.command("SET", prefix + "e", "x" * (1024 * 1024 + 1))
    place = "redis:" + redis.socket
    answer = plan(t, "old-redis", place, "--password-file", secret)
    counts(t, answer, live=2, expired=1, undecodable=2)
    live(t, answer, "1", "user_id")
    t.true(live(t, answer, "3", "user_id")["expires_at"] <= time.time() + 60)
    t.equal(sorted(e.get("why") for e in answer["examples"]
                   if e["verdict"] == "undecodable"),
            ["it has too many fields", "it is over 1 MiB"])
    t.match(says(t, "old-redis", place, code=3), "NOAUTH")


@case
def many_are_each_counted_once(t):
    redis = Redis(t)
    for n in range(3000):
        redis.command("SET", "s[*]:%d" % n, json.dumps(
            {"cookie": {"expires": None}, "user_id": n}), "EX", 600)
        redis.command("SET", "sX:%d" % n, "no")
    answer = plan(t, "connect-redis", "redis:" + redis.socket, "--prefix", "s[*]:")
    counts(t, answer, live=3000)
    t.equal(len(answer["examples"]), 3)


# ---- the command line ----

@case
def what_is_wrong_is_said_with_what_would_be_right(t):
    t.match(says(t, "connect", "redis:x"), "there are:\n  connect-redis +express")
    t.match(says(t, "connect-redis", "/tmp"), r"give redis:\[NUMBER@\]HOST:PORT")
    t.match(says(t, "connect-redis", "redis:/nonexistent/socket", code=3), "No such file")
    t.match(says(t, "connect-redis", "redis:/x", "--password-file", "/nonexistent"),
            "--password-file /nonexistent: No such file")
    t.match(says(t, "connect-redis", "redis:/x", "--user-key", ""), "--user-key: give")
    redis = Redis(t)
    t.match(says(t, "connect-redis", "redis:" + redis.socket, code=1),
            "begins with \"sess:\"; if they have another prefix: --prefix")
    plan(t, "connect-redis", "redis:" + redis.socket, code=1)


@case
def the_help_names_each_reader(t):
    names = [line.split()[0] for line in
             says(t, "none", "/").split("there are:\n")[1].splitlines()]
    text = ctl("import", "plan", "--help").stdout
    t.equal([name for name in names if name not in text], [])


stores.run(main)
