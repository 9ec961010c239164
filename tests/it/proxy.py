"""A relay on a unix socket in front of another one, which a test can spoil.

    proxy = RedisProxy(directory, "redis-0", redis.socket)
    proxy.cut()                 # connections end, new ones are refused
    proxy.black_hole()          # nothing arrives any more, nothing is told
    proxy.heal()                # as before; what is still under way arrives
    rule = proxy.on(b"EVALSHA", HOLD)       # the next requests like that ...
    rule.wait()                             # ... one is here
    rule.release()                          # ... and goes on, late

It reads the requests one by one: a Redis command or a MySQL packet. A rule
says what becomes of those that it matches:

    PASS        relayed, as without a rule (to count, or to wait for one)
    HOLD        kept until release(), also when the client has given up since:
                the late write of a partition. Requests behind it wait too
    HOLD_REPLY  done by the server; its answer is kept until release()
    LOSE_REPLY  done by the server; then the connection ends without an answer
    MUTE_REPLY  done by the server; no answer, the connection stays
    CUT         the connection ends, the server does not hear of it
    bytes       the answer, the server does not hear of it

All proxies of a process live in one thread with an asyncio loop.
"""

import asyncio
import os
import re
import threading
import time

PASS, HOLD, HOLD_REPLY, LOSE_REPLY, MUTE_REPLY, CUT = (
    "pass", "hold", "hold reply", "lose reply", "mute reply", "cut")

# What ends a connection.
BROKEN = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError,
          ValueError)
LINE_MAX = 1 << 24

_loop = None
_loop_pid = None


def _background():
    """The loop of this process, started when it is needed first."""
    global _loop, _loop_pid
    if _loop_pid != os.getpid():
        _loop = asyncio.new_event_loop()
        _loop_pid = os.getpid()
        threading.Thread(target=_loop.run_forever, daemon=True).start()
    return _loop


def _run(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine,
                                            _background()).result(10)


class Rule:
    """What becomes of requests that match; count: of how many."""

    def __init__(self, proxy, match, action, count):
        if isinstance(match, bytes):
            pattern = re.compile(match, re.S)
            match = lambda request: pattern.search(request.text) is not None
        self.proxy, self.match, self.action = proxy, match, action
        self.left = count
        self.hits = 0
        self.requests = []
        self.seen = threading.Event()
        self.gate = asyncio.Event()

    def takes(self, request):
        if self.left == 0 or not self.match(request):
            return False
        if self.left is not None:
            self.left -= 1
        self.hits += 1
        self.requests.append(request)
        self.seen.set()
        return True

    def wait(self, timeout=10):
        """Until a request has met it."""
        if not self.seen.wait(timeout):
            raise AssertionError("no request met the rule in %g s" % timeout)
        return self.requests[0]

    def release(self):
        """Let go what is held, and no longer match."""
        async def let_go():
            if self in self.proxy.rules:
                self.proxy.rules.remove(self)
            self.gate.set()
        _run(let_go())

    remove = release


class Request:
    """raw: as it came. text: what rules look at. args: a command's words."""

    def __init__(self, raw, text, args=()):
        self.raw, self.text, self.args = raw, text, args


class Pair:
    """A client's connection and the one to the server behind it."""

    SETTLE_S = 2  # for what was asked before the client went

    def __init__(self, proxy, client_reader, client):
        self.proxy = proxy
        self.client_reader, self.client = client_reader, client
        self.server = None
        self.waiting = []  # (action, rule, request) of the answers to come
        self.is_answered = True
        self.is_closed = False

    async def run(self):
        try:
            await self.proxy.gate.wait()
            reader, self.server = await asyncio.open_unix_connection(
                self.proxy.target, limit=LINE_MAX)
            back = asyncio.ensure_future(self.relay_replies(reader))
            await self.relay_requests()
            # The client has gone. What it asked for is still done.
            await asyncio.wait([back], timeout=0 if self.is_answered else
                               self.SETTLE_S)
            back.cancel()
        except BROKEN:
            pass
        await self.proxy.gate.wait()
        self.close()

    async def relay_requests(self):
        try:
            while not self.is_closed:
                request = await self.proxy.request(self.client_reader)
                await self.proxy.gate.wait()
                rule = self.proxy.rule_for(request)
                action = rule.action if rule else PASS
                if action == HOLD:
                    await rule.gate.wait()
                    action = PASS
                if action == CUT:
                    return
                if isinstance(action, bytes):
                    await self.answer(request, action)
                    continue
                if not self.proxy.counts_replies:
                    self.waiting.clear()
                self.waiting.append((action, rule, request))
                self.is_answered = False
                self.server.write(request.raw)
                await self.server.drain()
        except BROKEN:
            return

    async def answer(self, request, reply):
        """Our own, in its turn."""
        while self.waiting and not self.is_closed:
            await asyncio.sleep(0.001)
        await self.deliver(request, reply)

    async def relay_replies(self, reader):
        try:
            while not self.is_closed:
                reply = await self.proxy.reply(reader)
                action, rule, request = PASS, None, None
                if self.waiting:
                    action, rule, request = self.waiting[0]
                if action == LOSE_REPLY:
                    break
                if action == HOLD_REPLY:
                    await rule.gate.wait()
                if action != MUTE_REPLY:
                    await self.deliver(request, reply)
                if self.proxy.counts_replies and self.waiting:
                    self.waiting.pop(0)
                self.is_answered = (not self.waiting or
                                    not self.proxy.counts_replies)
        except BROKEN:
            pass
        await self.proxy.gate.wait()
        self.close()

    async def deliver(self, request, reply):
        proxy = self.proxy
        await proxy.gate.wait()
        if proxy.delay_s:
            await asyncio.sleep(proxy.delay_s)
        if proxy.change_reply is not None and request is not None:
            reply = proxy.change_reply(request, reply)
        step = 1 if proxy.trickle_s else max(len(reply), 1)
        for at in range(0, len(reply), step):
            if at and proxy.trickle_s:
                await asyncio.sleep(proxy.trickle_s)
            if self.is_closed:
                return
            self.client.write(reply[at:at + step])
            await self.client.drain()

    def close(self):
        self.is_closed = True
        for writer in (self.client, self.server):
            if writer is not None:
                writer.close()
        self.proxy.pairs.discard(self)


class Proxy:
    """The relay; what a request is the subclasses know."""

    counts_replies = False

    def __init__(self, directory, name, target):
        self.path = os.path.join(directory, name + ".sock")
        self.target = target  # where new connections go
        self.rules = []
        self.pairs = set()
        self.delay_s = 0.0
        self.trickle_s = 0.0
        self.change_reply = None  # function(request, reply): other bytes
        self.connections = 0
        self.accepted = []  # when, time.monotonic()
        self.server = None
        self.gate = asyncio.Event()
        self.gate.set()
        _run(self._listen())

    async def _listen(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.server = await asyncio.start_unix_server(
            self._accept, self.path, limit=LINE_MAX, backlog=512)
        os.chmod(self.path, 0o777)

    async def _accept(self, reader, writer):
        pair = Pair(self, reader, writer)
        self.connections += 1
        self.accepted.append(time.monotonic())
        self.pairs.add(pair)
        await pair.run()

    def rule_for(self, request):
        for rule in self.rules:
            if rule.takes(request):
                return rule
        return None

    def on(self, match, action=PASS, count=None):
        """A rule for requests; match: a pattern or function(request)."""
        rule = Rule(self, match, action, count)

        async def add():
            self.rules.append(rule)
        _run(add())
        return rule

    def cut(self):
        """Refused, as where no server runs."""
        async def stop():
            if self.server is not None:
                self.server.close()
                self.server = None
            await self._drop()
        _run(stop())

    async def _drop(self):
        for pair in list(self.pairs):
            pair.close()
        await asyncio.sleep(0.02)  # So that the ends see it.

    def drop_connections(self):
        """Those there are; new ones are taken."""
        _run(self._drop())

    def black_hole(self):
        """Accepts, and nothing moves."""
        async def close():
            self.gate.clear()
        _run(close())

    def heal(self):
        async def mend():
            if self.server is None:
                await self._listen()
            self.gate.set()
        self.delay_s = self.trickle_s = 0.0
        self.change_reply = None
        _run(mend())

    def half_close(self):
        """Clients see the end of what is answered, the server nothing."""
        async def shut():
            for pair in self.pairs:
                if pair.client.can_write_eof():
                    pair.client.write_eof()
        _run(shut())

    def close(self):
        async def end():
            for rule in list(self.rules):
                rule.gate.set()
            self.gate.set()
            if self.server is not None:
                self.server.close()
            await self._drop()
        _run(end())
        if os.path.exists(self.path):
            os.unlink(self.path)


class MysqlProxy(Proxy):
    """A request is a packet, an answer whatever comes before the next."""

    async def request(self, reader):
        head = await reader.readexactly(4)
        body = await reader.readexactly(int.from_bytes(head[:3], "little"))
        return Request(head + body, body)

    async def reply(self, reader):
        data = await reader.read(65536)
        if not data:
            raise ConnectionResetError("the server has closed")
        return data


class RedisProxy(Proxy):
    """A request is a command; each has one answer."""

    counts_replies = True

    async def request(self, reader):
        line = await reader.readuntil(b"\r\n")
        raw, args = [line], []
        for _ in range(int(line[1:])):
            line = await reader.readuntil(b"\r\n")
            word = await reader.readexactly(int(line[1:]) + 2)
            raw += [line, word]
            args.append(word[:-2])
        return Request(b"".join(raw), b" ".join(args), args)

    async def reply(self, reader):
        line = await reader.readuntil(b"\r\n")
        kind, rest = line[:1], line[1:-2]
        if kind == b"$" and int(rest) >= 0:
            return line + await reader.readexactly(int(rest) + 2)
        if kind == b"*" and int(rest) > 0:
            items = [await self.reply(reader) for _ in range(int(rest))]
            return line + b"".join(items)
        return line
