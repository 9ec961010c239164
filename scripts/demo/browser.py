"""What the stories of the quickstart are told with: a browser, steps, checks."""

import http.client
import json
import os
import subprocess
import urllib.parse


class Browser:
    """Keeps one cookie, follows nothing."""

    def __init__(self, address):
        self.host = urllib.parse.urlsplit(address).netloc
        self.cookie = None

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection(self.host, timeout=10)
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        headers.setdefault("User-Agent", "quickstart")
        headers.setdefault("Sec-Fetch-Site", "same-origin")
        if self.cookie:
            headers["Cookie"] = self.cookie
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.body = answer.read().decode("utf-8", "replace")
        connection.close()
        set_cookie = answer.headers.get("Set-Cookie")
        if set_cookie:
            self.cookie = set_cookie.split(";")[0]
        return answer

    def log_in(self, user):
        form = urllib.parse.urlencode({"user": user, "password": user + "-secret"})
        answer = self.ask("POST", "/login.cgi", form,
                          Content_Type="application/x-www-form-urlencoded")
        expect("the login program sends the visitor on", answer.status, 303)

    def open_book(self):
        return self.ask("GET", "/app/addressbook.cgi", Accept="text/html")


class Failed(Exception):
    pass


def expect(what, got, wanted):
    if got != wanted:
        raise Failed(f"{what}: expected {wanted!r}, got {got!r}")


def expect_in(what, part, text):
    if part not in text:
        raise Failed(f"{what}: expected {part!r} in {text!r}")


def step(text):
    print(f"ok - {text}", flush=True)


class Site:
    """The directory that scripts/quickstart made, and what is in it."""

    def __init__(self, work):
        self.work = work

    def sessgatectl(self, *arguments):
        return self.run("sessgatectl", "-c", os.path.join(self.work, "sessgate.conf"), *arguments)

    def run(self, program, *arguments):
        done = subprocess.run([os.path.join(self.work, "bin", program)] + list(arguments),
                              capture_output=True, text=True, timeout=90)
        if done.returncode != 0:
            raise Failed(f"{program} {' '.join(arguments)}: exit {done.returncode}: {done.stderr}")
        return done.stdout

    def visits(self):
        """How often the old program has run: it writes a line each time."""
        try:
            with open(os.path.join(self.work, "data", "book.txt.visits"), encoding="utf-8") as f:
                return len(f.readlines())
        except FileNotFoundError:
            return 0

    def counters(self):
        return json.loads(self.sessgatectl("status", "--json"))["stores"]
