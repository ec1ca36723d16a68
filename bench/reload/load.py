"""The backend, and the streams through it: what is sent in small pieces is known byte by byte at the other end."""

import asyncio
import random
import time

from harness.listener import Listener
from http2 import Connection, Dropped

CONNECTIONS = 4
PIECE_MAX = 2_000
PAUSE_SECONDS = 0.1
# So long a piece may take.
PATIENCE = 30
BLOCK = 65_521


def pattern(seed):
    """What a stream carries, from its beginning as often as it lasts."""
    return random.Random(seed).randbytes(BLOCK)


def part(block, at, count):
    at %= BLOCK
    return (block[at:] + block)[:count] if at + count > BLOCK else block[at:at + count]


class Check:
    """Compares what comes with what was to come."""

    def __init__(self, seed):
        self.block, self.count, self.wrong_at = pattern(seed), 0, None

    def take(self, data):
        if self.wrong_at is None:
            for at in range(0, len(data), BLOCK):
                piece = data[at:at + BLOCK]
                if piece != part(self.block, self.count + at, len(piece)):
                    self.wrong_at = self.count + at
        self.count += len(data)


class Backend(Listener):
    """HTTP/1.1. `GET /down/SEED` is answered in pieces until the stream is told to end; `POST /up/SEED` is read and compared."""

    def __init__(self):
        super().__init__()
        # By seed: how much was sent, or what was read.
        self.sent, self.ends = {}, {}

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target = head.split(b" ", 2)[:2]
                seed = int(target.rsplit(b"/", 1)[1])
                if target.startswith(b"/down/"):
                    await self.down(writer, seed)
                elif method == b"POST":
                    await self.up(reader, writer, seed)
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def down(self, writer, seed):
        block, at = pattern(seed), 0
        ends = self.ends.setdefault(seed, asyncio.Event())
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not ends.is_set():
            piece = part(block, at, random.randint(1, PIECE_MAX))
            at += len(piece)
            self.sent[seed] = at
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(PAUSE_SECONDS)
        writer.write(b"0\r\n\r\n")

    async def up(self, reader, writer, seed):
        check = Check(seed)
        while size := int(await reader.readline(), 16):
            check.take(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readline()
        text = b"%d %s" % (check.count, b"right" if check.wrong_at is None else b"wrong")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))

    async def end(self):
        self.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Streams:
    """Keeps so many streams open on a few connections, half of them downloads: every second one from first to last, the others for
    some seconds each."""

    def __init__(self, backend, count, seconds, host):
        self.backend, self.count, self.seconds, self.host = backend, count, seconds, host
        self.connections, self.tasks, self.over = [], [], asyncio.Event()
        self.open_now, self.opened, self.ended, self.octets = set(), 0, 0, 0
        # A short request on each connection now and then, which comes under the newest rules.
        self.asked = 0
        self.reopened = 0
        self.dropped, self.wrong = [], []
        self.seed = 0

    async def start(self, port, tls):
        self.port, self.tls = port, tls
        for index in range(CONNECTIONS):
            self.connections.append(await self.connect())
            self.tasks.append(asyncio.create_task(self.ask(index)))
        for number in range(self.count):
            self.tasks.append(asyncio.create_task(self.keep(number)))

    async def connect(self):
        connection = Connection(self.host)
        await connection.open(self.port, self.tls)
        return connection

    async def connection(self, index):
        """The one that takes new streams: a server that ends one in order (GOAWAY) is asked on another, as any client does."""
        if self.connections[index].is_leaving:
            self.connections[index] = await self.connect()
            self.reopened += 1
        return self.connections[index]

    async def keep(self, number):
        while not self.over.is_set():
            seconds = None if number % 4 < 2 else self.seconds * random.uniform(0.5, 1.5)
            self.seed += 1
            try:
                await (self.download if number % 2 else self.upload)(number, self.seed, seconds)
                self.ended += 1
            except (Dropped, TimeoutError) as error:
                kind = "download" if number % 2 else "upload"
                self.dropped.append(f"{kind} {number} after {time.monotonic() - self.began:.0f} s: {error or 'nothing came'}")
                await asyncio.sleep(1)
            finally:
                self.open_now.discard(number)

    began = time.monotonic()

    async def begin(self, number, method, path):
        self.opened += 1
        return (await self.connection(number % CONNECTIONS)).request(method, path, ends=method == "GET")

    def is_time(self, until):
        return self.over.is_set() or (until is not None and time.monotonic() > until)

    async def download(self, number, seed, seconds):
        until = seconds and time.monotonic() + seconds
        ends = self.backend.ends.setdefault(seed, asyncio.Event())
        stream, check = await self.begin(number, "GET", f"/down/{seed}"), Check(seed)
        try:
            while True:
                async with asyncio.timeout(PATIENCE):
                    data = await stream.read()
                if not data:
                    break
                check.take(data)
                self.octets += len(data)
                self.open_now.add(number)
                if self.is_time(until):
                    ends.set()
        finally:
            ends.set()
        if check.wrong_at is not None:
            self.wrong.append(f"download {number}: byte {check.wrong_at}")
        if check.count != self.backend.sent[seed]:
            self.wrong.append(f"download {number}: {check.count} bytes of {self.backend.sent[seed]}")

    async def upload(self, number, seed, seconds):
        until = seconds and time.monotonic() + seconds
        stream, block, at = await self.begin(number, "POST", f"/up/{seed}"), pattern(seed), 0
        while not self.is_time(until):
            piece = part(block, at, random.randint(1, PIECE_MAX))
            async with asyncio.timeout(PATIENCE):
                await stream.send(piece)
            at += len(piece)
            self.octets += len(piece)
            self.open_now.add(number)
            await asyncio.sleep(PAUSE_SECONDS)
        async with asyncio.timeout(PATIENCE):
            await stream.send(b"", ends=True)
            answer = b""
            while data := await stream.read():
                answer += data
        if answer != b"%d right" % at:
            self.wrong.append(f"upload {number}: {answer.decode()}, {at} bytes were sent")

    async def ask(self, index):
        while not self.over.is_set():
            try:
                stream, answer = (await self.connection(index)).request("GET", "/short/0", ends=True), b""
                async with asyncio.timeout(PATIENCE):
                    while data := await stream.read():
                        answer += data
                self.asked += 1
                if answer != b"ok":
                    self.wrong.append(f"a short answer: {answer!r}")
            except (Dropped, TimeoutError) as error:
                self.dropped.append(f"a short request: {error or 'nothing came'}")
                await asyncio.sleep(1)
            await asyncio.sleep(PAUSE_SECONDS / 2)

    async def finish(self):
        """Lets every stream come to its end."""
        self.over.set()
        await asyncio.gather(*self.tasks)
        for connection in self.connections:
            await connection.close()

    def check(self):
        for task in self.tasks:
            if task.done() and not task.cancelled() and task.exception():
                raise task.exception()
