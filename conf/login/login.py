#!/usr/bin/python3
# A login page in Python: conf/README.md, "Logging in". Change what is below.
import hmac
import os
import subprocess
import sys
import urllib.parse

SESSGATECTL = "/usr/bin/sessgatectl"
SOCKET = "/run/sessgate/login.sock"
USERS = "/etc/sessgate/users"  # NAME:HASH lines of "openssl passwd -6"


def page(status, sentence):
    print("Status: %s\nContent-Type: text/html; charset=utf-8\nCache-Control: no-store\n" % status)
    # To this same address: where the visitor wants to go stays in its query.
    print("""<!DOCTYPE html><html lang="en"><title>Log in</title><h1>Log in</h1><p>%s</p>
<form method="post"><p><label>Name <input name="user" autocomplete="username" required></label>
<p><label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<p><label><input name="remember" type="checkbox"> Stay logged in on this device</label>
<p><button>Log in</button></form></html>""" % sentence)
    sys.exit()


def is_right(user, password):
    with open(USERS, encoding="utf-8") as file:
        known = dict(line.rstrip("\n").split(":", 1) for line in file)
    wanted = known.get(user, "$6$none$")
    given = subprocess.run(["openssl", "passwd", "-6", "-salt", wanted[3:].rpartition("$")[0], "-stdin"],
                           input=password, capture_output=True, text=True, check=True).stdout.strip()
    return hmac.compare_digest(given, wanted)


if os.environ["REQUEST_METHOD"] != "POST":
    page("200 OK", "")
# No other site may log visitors in here: browsers say which sent the form.
sender = os.environ.get("HTTP_SEC_FETCH_SITE") or os.environ.get("HTTP_ORIGIN") or "none"
if (sender.partition("://")[2] or sender) not in ("same-origin", "none", os.environ["HTTP_HOST"]):
    page("403 Forbidden", "Please use this form.")
length = int(os.environ.get("CONTENT_LENGTH") or 0)
if length > 4096:
    page("413 Content Too Large", "That is too long.")
field = dict(urllib.parse.parse_qsl(sys.stdin.buffer.read(length).decode("ascii", "replace")))
user = field.get("user", "")
if not is_right(user, field.get("password", "")):
    page("403 Forbidden", "Wrong name or password.")

# It prints the header lines: the cookie, and where the visitor wanted to go.
made = subprocess.run([SESSGATECTL, "--socket", SOCKET, "create", "--from-cgi", "--set-cookie", "--redirect",
                       *(["--remember"] if "remember" in field else []), "--user", user], capture_output=True, text=True)
if made.returncode != 0:
    page("503 Service Unavailable", "Please try again later.")
print(made.stdout)
