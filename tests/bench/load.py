"""Requests for httpload, and what it says."""

import json
import os
import subprocess

import machine

COOKIES = 1000  # sessions that are looked up in turn
HEAD = "Host: bench.test\r\nUser-Agent: bench\r\nAccept: */*\r\n"


def users(count):
    """Ids of 16 bytes."""
    return [f"user-{i:011d}" for i in range(count)]


def check_requests(path, cookies):
    return [f"GET {path} HTTP/1.1\r\n{HEAD}Cookie: theme=dark; {cookie}\r\n\r\n" for cookie, _ in cookies]


def login_requests(path, body, method="POST"):
    """One request with eight '#', which httpload replaces by its number."""
    if body is None:
        return [f"POST {path} HTTP/1.1\r\n{HEAD}Content-Length: 0\r\n\r\n"]
    return [f"{method} {path} HTTP/1.1\r\n{HEAD}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"]


def file_of(box, name, requests):
    return box.write(name, "".join(f"{len(r)}\n{r}" for r in requests))


def run_first(pid):
    """It never waits for a processor: what it measures is others' waiting. Only
    root may; without, it takes its turn."""
    try:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        pass


def run_in_turn(pid):
    """As others do, again."""
    os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


class Load:
    """One run of httpload, begun; result() waits for its end."""

    def __init__(self, site, port, requests_file, connections, seconds, rate=0, first=0, trace=None, is_prompt=False):
        command = [site.binary("tests/bench/httpload"), str(port), str(connections), str(seconds), str(rate), str(first)]
        self.seconds = seconds
        with open(requests_file, "rb") as requests:
            self.process = site.machine.spawn(command + ([trace] if trace else []), stdin=requests,
                                              stdout=subprocess.PIPE, text=True)
        if is_prompt:
            run_first(self.process.pid)

    def result(self):
        out, _ = self.process.communicate(timeout=self.seconds + 30)
        if self.process.returncode != 0:
            raise machine.Unavailable(f"httpload ended with {self.process.returncode}")
        result = json.loads(out)
        result["errors"] = sum(n for status, n in result["answers"].items() if not 200 <= int(status) < 400)
        return result


def run(*args, **more):
    return Load(*args, **more).result()


def read_trace(path):
    """[(due in s, latency in ms, status)] in the order of due."""
    with open(path, encoding="ascii") as f:
        rows = [line.split() for line in f]
    os.unlink(path)
    return sorted((int(d) / 1e6, int(l) / 1e3, int(s)) for d, l, s in rows)
