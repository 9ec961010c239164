"""Relays between the gateways and their stores, all in one process.

    proxies = Proxies()
    proxies.add("redis-0", "/tmp/x/redis-0.sock", "/tmp/x/redis/socket")
    proxies.start()                       # forks; ends with its parent
    proxies.set(["redis-0"], "hole")      # back: proxies.set([...], "pass")
    proxies.retarget(["redis-0"], other)  # connections end, new ones go there

An address is the path of a unix socket or the number of a loopback port. What
a relay does is its mode:

    pass        nothing
    delay       every piece arrives `ms` later, both ways
    trickle     answers come byte by byte, `ms` between two
    refuse      connections end, new ones are refused
    hole        nothing moves any more, nothing is told; what was sent before
                and during it arrives when it is over
    reset       a connection on which something is asked is reset unread
    half-close  the end of the answers comes at once, the server goes on
    lose        done by the server; then the connection ends without an answer.
                match: only where a request contains this (COMMIT)
    mute        as lose, but the connection stays open and silent

tests/it/proxy.py is the other one: with rules for single requests, for tests of
one thing. This one knows no protocol and is cheap.
"""

import errno
import heapq
import json
import os
import selectors
import signal
import socket
import struct
import time

from processes import fork

PIECE = 65536
# What a side that does not read may leave here.
BACKLOG_MAX = 8 << 20
GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF)
MODES = ("pass", "delay", "trickle", "refuse", "hole", "reset", "half-close",
         "lose", "mute")


def family(address):
    return socket.AF_UNIX if isinstance(address, str) else socket.AF_INET


def place(address):
    return address if isinstance(address, str) else ("127.0.0.1", address)


def listen(address):
    if isinstance(address, str) and os.path.exists(address):
        os.unlink(address)
    sock = socket.socket(family(address), socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(place(address))
    if isinstance(address, str):
        os.chmod(address, 0o777)
    sock.listen(512)
    sock.setblocking(False)
    return sock


class Side:
    """One socket of a connection: what is still to be written to it, and since
    when each piece may."""

    def __init__(self, sock):
        self.sock = sock
        self.pieces = []  # [moment, bytes]
        self.size = 0
        self.is_ended = False  # No more is read from it.
        self.events = 0

    def put(self, moment, data):
        self.pieces.append([moment, data])
        self.size += len(data)


class Link:
    """A client's connection and the one to the server behind it."""

    def __init__(self, relay, sock):
        self.relay = relay
        self.client = Side(sock)
        self.server = None
        self.is_doomed = False  # Its next answer is lost.
        self.is_silent = False  # All further answers are.
        self.is_closed = False

    def connect(self):
        sock = socket.socket(family(self.relay.target), socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(place(self.relay.target))
        except BlockingIOError:
            if isinstance(self.relay.target, str):
                sock.close()
                raise  # A unix socket whose backlog is full.
        except OSError:
            sock.close()
            raise
        self.server = Side(sock)

    def other(self, side):
        return self.server if side is self.client else self.client

    # -- what the loop calls --

    def readable(self, side):
        relay = self.relay
        if side is self.client and relay.mode == "reset":
            self.close(is_reset=True)
            return
        try:
            data = side.sock.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            # A client that goes has asked all it wants; a server that goes has
            # told all. What is under way still arrives.
            side.is_ended = True
            if not self.other(side).pieces:
                self.close()
            return
        if side is self.client:
            self.asked(data)
        else:
            self.answered(data)

    def asked(self, data):
        relay = self.relay
        if relay.mode in ("lose", "mute") and (
                relay.match is None or relay.match in data):
            self.is_doomed = True
        self.server.put(self.moment(), data)
        self.flush(self.server)
        if relay.mode == "half-close":
            self.half_close()

    def answered(self, data):
        if self.is_doomed and self.relay.mode == "lose":
            self.close()
            return
        if self.is_doomed:
            self.is_silent = True
        if self.is_silent:
            return
        if self.relay.mode == "trickle":
            step = self.relay.seconds
            begin = max([time.monotonic()] +
                        [p[0] for p in self.client.pieces[-1:]])
            for i in range(len(data)):
                self.client.put(begin + i * step, data[i:i + 1])
        else:
            self.client.put(self.moment(), data)
        self.flush(self.client)

    def half_close(self):
        try:
            self.client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self.is_silent = True

    def moment(self):
        """When what came now may go on."""
        if self.relay.mode == "delay":
            return time.monotonic() + self.relay.seconds
        return 0.0

    def flush(self, side):
        """Write what may be written now."""
        if self.is_closed or self.relay.mode == "hole":
            return
        now = time.monotonic()
        while side.pieces and side.pieces[0][0] <= now:
            data = side.pieces[0][1]
            try:
                sent = side.sock.send(data)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            side.size -= sent
            if sent < len(data):
                side.pieces[0][1] = data[sent:]
                break
            side.pieces.pop(0)
        if side.pieces:
            if side.pieces[0][0] > now:
                self.relay.loop.at(side.pieces[0][0], self, side)
        elif self.other(side).is_ended:
            self.close()
            return
        self.watch()

    def watch(self):
        """What the loop waits for."""
        if self.is_closed:
            return
        now = time.monotonic()
        for side in (self.client, self.server):
            events = 0
            if self.relay.mode != "hole":
                if not side.is_ended and self.other(side).size < BACKLOG_MAX:
                    events |= selectors.EVENT_READ
                if side.pieces and side.pieces[0][0] <= now:
                    events |= selectors.EVENT_WRITE
            self.relay.loop.want(side, events, self)

    def close(self, is_reset=False):
        if self.is_closed:
            return
        self.is_closed = True
        for side in (self.client, self.server):
            if side is None:
                continue
            self.relay.loop.want(side, 0, self)
            if is_reset and side.sock.family == socket.AF_INET:
                side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                     struct.pack("ii", 1, 0))
            # A unix socket with unread bytes in it resets its peer.
            side.sock.close()
        self.relay.links.discard(self)


class Relay:
    def __init__(self, loop, name, address, target):
        self.loop, self.name = loop, name
        self.address, self.target = address, target
        self.mode, self.seconds, self.match = "pass", 0.0, None
        self.links = set()
        self.listener = None
        self.open()

    def open(self):
        self.listener = listen(self.address)
        self.loop.selector.register(self.listener, selectors.EVENT_READ,
                                    (self, None))

    def shut(self):
        """Refuse: the name stays, nobody listens."""
        if self.listener is not None:
            self.loop.selector.unregister(self.listener)
            self.listener.close()
            self.listener = None

    def accept(self):
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        link = Link(self, sock)
        try:
            link.connect()
        except OSError:
            sock.close()
            return
        self.links.add(link)
        link.watch()

    def drop(self):
        for link in list(self.links):
            link.close()

    def set(self, mode, ms, match):
        self.mode, self.seconds = mode, ms / 1000.0
        self.match = match.encode() if match else None
        if mode == "refuse":
            self.shut()
            self.drop()
            return
        if self.listener is None:
            self.open()
        for link in list(self.links):
            if link.is_closed:
                continue
            if mode == "pass" and link.is_silent:
                link.close()
            elif mode == "half-close":
                link.half_close()
            else:
                link.is_doomed = False
                link.flush(link.client)
                link.flush(link.server)
            link.watch()


class Loop:
    """The process: waits for sockets and moments, and takes orders."""

    def __init__(self, orders, relays):
        self.selector = selectors.EpollSelector()
        self.moments = []
        self.count = 0
        self.orders = orders
        self.unread = b""
        self.relays = {}
        for name, address, target in relays:
            self.relays[name] = Relay(self, name, address, target)
        self.selector.register(orders, selectors.EVENT_READ, None)
        orders.sendall(b"ready\n")

    def want(self, side, events, link):
        if events == side.events:
            return
        if events == 0:
            self.selector.unregister(side.sock)
        elif side.events == 0:
            self.selector.register(side.sock, events, (link, side))
        else:
            self.selector.modify(side.sock, events, (link, side))
        side.events = events

    def at(self, moment, link, side):
        self.count += 1
        heapq.heappush(self.moments, (moment, self.count, link, side))

    def run(self):
        while True:
            timeout = None
            if self.moments:
                timeout = max(0.0, self.moments[0][0] - time.monotonic())
            for key, events in self.selector.select(timeout):
                self.happened(key, events)
            now = time.monotonic()
            while self.moments and self.moments[0][0] <= now:
                _, _, link, side = heapq.heappop(self.moments)
                link.flush(side)

    def happened(self, key, events):
        if key.data is None:
            self.take_orders()
            return
        owner, side = key.data
        if side is None:
            if owner.listener is key.fileobj:
                owner.accept()
            return
        if owner.is_closed:
            return
        if events & selectors.EVENT_WRITE:
            owner.flush(side)
        if events & selectors.EVENT_READ and not owner.is_closed:
            owner.readable(side)

    def take_orders(self):
        got = self.orders.recv(PIECE)
        if not got:
            os._exit(0)
        self.unread += got
        while b"\n" in self.unread:
            line, self.unread = self.unread.split(b"\n", 1)
            order = json.loads(line)
            for name in order["names"]:
                relay = self.relays[name]
                if order.get("target") is not None:
                    relay.target = order["target"]
                    relay.drop()
                else:
                    relay.set(order["mode"], order["ms"], order["match"])
            self.orders.sendall(b"done\n")


class Proxies:
    """Their side of the harness."""

    def __init__(self):
        self.relays = []
        self.pid = None

    def add(self, name, address, target):
        self.relays.append((name, address, target))

    def start(self):
        ours, theirs = socket.socketpair()
        self.pid = fork(self.serve, ours, theirs)
        theirs.close()
        ours.settimeout(30)
        self.orders = ours
        self.replies = ours.makefile("rb")
        self.answer()

    def serve(self, ours, theirs):
        ours.close()
        Loop(theirs, self.relays).run()

    def answer(self):
        if not self.replies.readline():
            raise AssertionError("the proxies have ended")

    def order(self, **what):
        self.orders.sendall(json.dumps(what).encode() + b"\n")
        self.answer()

    def set(self, names, mode, ms=0, match=None):
        if mode not in MODES:
            raise ValueError("%s: no mode of a proxy" % mode)
        self.order(names=list(names), mode=mode, ms=ms, match=match)

    def retarget(self, names, target):
        self.order(names=list(names), target=target)

    def close(self):
        if self.pid is not None:
            self.orders.close()
            self.replies.close()
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None
