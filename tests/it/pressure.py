"""Load and questions without end, for tests in which a store fails.

    load = Load(t, host, sessions, 100, 10)   # 100 a second for 10 s
    watch = Watch(t, fleet.hosts, victim)     # every host about one session
    ...
    load.result().only_200(t)
    watch.stop(); watch.refused_since(acked)
"""

import json
import os
import subprocess
import tempfile
import threading
import time

from harness import BUILD, spawn
from scenario import promise

FCGILOAD = os.path.join(BUILD, "tests", "it", "fcgiload")
REQUEST_S = 0.8
SOON_S = 2.0


class Load:
    """fcgiload at a fixed rate against one host; result() waits for its end."""

    def __init__(self, t, host, sessions, rate, seconds):
        self.host, self.sessions = host, sessions
        self.file = tempfile.TemporaryFile("w+")
        self.file.write("".join(s.token + "\n" for s in sessions))
        self.file.seek(0)
        self.process = spawn(
            [FCGILOAD, host.gw.pool, "128", str(int(rate * seconds)),
             str(rate)], stdin=self.file, stdout=subprocess.PIPE, text=True)
        t.at_end(self.end)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.file.close()

    def result(self):
        out, _ = self.process.communicate(timeout=120)
        lines = out.splitlines()
        self.summary = json.loads(lines[-1])
        # Seconds of time.monotonic(), status.
        self.asked = [(int(sent) / 1e6, int(done) / 1e6, int(status))
                      for _, sent, done, status, _ in
                      (line.split() for line in lines[:-1])]
        self.stall_s = self.summary["stall_us"] / 1e6
        print("# host %d: %s, started at most %.1f ms late, the machine took "
              "%.1f ms" % (self.host.number, self.summary["answers"],
                           self.summary["late_us"] / 1e3,
                           self.stall_s * 1e3))
        return self

    def latencies(self, begin, end):
        return sorted(done - sent for sent, done, _ in self.asked
                      if begin <= sent < end)

    def is_stalled(self, sent, done):
        """The machine stood still for longer than a store may take, and a
        store that was late is not asked for half a second."""
        return any(begin / 1e6 - 0.1 < done and sent < end / 1e6 + 1.0
                   for begin, end in self.summary["stalls"])

    def only_200(self, t):
        bad = [(sent, done, status) for sent, done, status in self.asked
               if status != 200]
        stalled = [x for x in bad if x[2] == 503 and self.is_stalled(*x[:2])]
        if stalled:
            print("# %d times 503 when the machine stood still" % len(stalled))
        promise(len(bad) == len(stalled) and
                len(stalled) <= len(self.asked) // 20,
                "%d live sessions were not recognised: %r" % (
                    len(bad), bad[:5]))
        t.equal(len(self.asked), self.summary["count"])

    def none_late(self):
        """800 ms, and twice what a thread that only sleeps was kept waiting:
        gateway and client both had to run."""
        latest = max(done - sent for sent, done, _ in self.asked)
        promise(latest <= REQUEST_S + 2 * self.stall_s + 0.02,
                "an answer took %.0f ms" % (latest * 1e3))
        return latest


class Watch:
    """Asks every host about one session all the time."""

    def __init__(self, t, hosts, session):
        self.seen = []  # (asked at, host, status)
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(h, session))
                        for h in hosts]
        for thread in self.threads:
            thread.start()
        t.at_end(self.stop)

    def ask(self, host, session):
        while not self.is_over.is_set():
            at = time.monotonic()
            try:
                status = host.check(session).status
            except OSError:
                status = -1
            self.seen.append((at, host.number, status))
            time.sleep(0.01)

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join()

    def refused_since(self, acked):
        """Nobody said yes to a question later than the promise."""
        late = [(round(at - acked, 3), host) for at, host, status in self.seen
                if status == 200 and at > acked + SOON_S]
        promise(not late, "an ended session is accepted, seconds after its "
                "end, host: %r" % late[:5])
        last = max([at for at, _, status in self.seen if status == 200],
                   default=acked)
        after = [s for s in self.seen if s[0] > acked + SOON_S]
        print("# last accepted %.0f ms after the end was acknowledged; asked "
              "%d times after %g s" % (max(0, last - acked) * 1e3, len(after),
                                       SOON_S))
        return len(after)


def sleep_until(moment):
    time.sleep(max(0, moment - time.monotonic()))


def logged_in(fleet, count):
    sessions = [fleet.hosts[i % len(fleet.hosts)].create("user%d" % i)
                for i in range(count)]
    fleet.warm(*sessions)
    return sessions


def p99_ms(latencies):
    """Of sorted ones, in seconds."""
    return latencies[len(latencies) * 99 // 100] * 1e3 if latencies else 0.0
