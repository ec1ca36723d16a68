"""As much of an HTTP/2 client (RFC 9113) as long streams take: frames by hand, heads without compression. What comes is told to each
stream's queue as it came, so that nothing between the wire and whoever looks at it can make up for a fault."""

import asyncio
import struct

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK, PADDED = 1, 4, 1, 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW = 65_535
# What the server may send of one stream, and of all together: more than a run has.
OWN_WINDOW = 1 << 30
STATUS_200 = 0x88


class Dropped(Exception):
    """A stream, or its connection, ended before it was over."""


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(fields):
    """Literals without indexing (RFC 7541 section 6.2.2), of fewer than 127 bytes."""
    out = bytearray()
    for name, value in fields:
        out += bytes((0, len(name))) + name.encode() + bytes((len(value),)) + value.encode()
    return bytes(out)


class Stream:
    def __init__(self, connection, number):
        self.connection, self.number = connection, number
        self.window = connection.peer_window
        self.parts, self.is_answered, self.is_over = asyncio.Queue(), False, False

    async def read(self):
        """The next bytes of the response; empty at its end."""
        part = await self.parts.get()
        if isinstance(part, Exception):
            self.parts.put_nowait(part)
            raise part
        return part

    async def send(self, data, ends=False):
        sent = 0
        while sent < len(data):
            if self.is_over:
                raise Dropped("the server ended the stream before its request was sent")
            room = min(self.window, self.connection.window, 16_384)
            if room <= 0:
                await self.connection.wait_for_window()
                continue
            piece = data[sent:sent + room]
            sent += len(piece)
            self.window -= len(piece)
            self.connection.window -= len(piece)
            self.connection.write(frame(DATA, 0, self.number, piece))
        if ends:
            self.connection.write(frame(DATA, END_STREAM, self.number))


class Connection:
    def __init__(self, host):
        self.host, self.streams, self.next_number = host, {}, 1
        self.window, self.peer_window = WINDOW, WINDOW
        self.fault, self.is_leaving = None, False
        self.changed = asyncio.Event()

    async def open(self, port, tls):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=self.host)
        if self.writer.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            raise SystemExit("the server does not speak h2")
        # No table of fields (RFC 7541 section 4.2); no push.
        settings = struct.pack(">HIHIHI", 1, 0, 2, 0, 4, OWN_WINDOW)
        self.write(PREFACE + frame(SETTINGS, 0, 0, settings)
                   + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", OWN_WINDOW - WINDOW)))
        self.task = asyncio.create_task(self.run())

    def write(self, data):
        if self.fault:
            raise self.fault
        self.writer.write(data)

    async def wait_for_window(self):
        self.changed.clear()
        await self.changed.wait()
        if self.fault:
            raise self.fault

    def request(self, method, path, ends):
        if self.fault:
            raise self.fault
        stream = Stream(self, self.next_number)
        self.next_number += 2
        self.streams[stream.number] = stream
        fields = ((":method", method), (":scheme", "https"), (":authority", self.host), (":path", path))
        self.write(frame(HEADERS, END_HEADERS | (END_STREAM if ends else 0), stream.number, block(fields)))
        return stream

    async def run(self):
        try:
            while True:
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                self.take(head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFF_FFFF, payload)
        except (asyncio.IncompleteReadError, ConnectionError, OSError, Dropped) as error:
            self.fault = error if isinstance(error, Dropped) else Dropped(f"the connection ended: {type(error).__name__}")
        finally:
            fault = self.fault or Dropped("the run is over")
            for stream in self.streams.values():
                stream.is_over = True
                stream.parts.put_nowait(fault)
            self.changed.set()
            self.writer.close()

    def take(self, kind, flags, number, payload):
        stream = self.streams.get(number)
        if kind == HEADERS and stream:
            self.take_head(stream, flags, payload)
        elif kind == DATA and stream:
            if flags & PADDED:
                raise Dropped("padding, which nobody here sends")
            if payload:
                stream.parts.put_nowait(payload)
        elif kind == RESET and stream:
            self.over(stream, Dropped(f"reset with code {int.from_bytes(payload, 'big')}"))
        elif kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                setting, value = struct.unpack_from(">HI", payload, at)
                if setting == 4:
                    for other in self.streams.values():
                        other.window += value - self.peer_window
                    self.peer_window = value
            self.write(frame(SETTINGS, ACK, 0))
            self.changed.set()
        elif kind == PING and not flags & ACK:
            self.write(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            step = int.from_bytes(payload, "big")
            if number == 0:
                self.window += step
            elif stream:
                stream.window += step
            self.changed.set()
        elif kind == GOAWAY:
            last, code = struct.unpack_from(">II", payload)
            self.is_leaving = True
            if code:
                raise Dropped(f"GOAWAY with code {code}")
            for other in list(self.streams.values()):
                if other.number > last:
                    self.over(other, Dropped("GOAWAY before the stream"))
        if kind in (HEADERS, DATA) and stream and flags & END_STREAM:
            self.over(stream, b"")

    def take_head(self, stream, flags, payload):
        # A change of the table's size (RFC 7541 section 6.3) may stand before it.
        at = 0
        while at < len(payload) and payload[at] & 0xE0 == 0x20:
            at += 1
        if not stream.is_answered and payload[at:at + 1] != bytes((STATUS_200,)):
            self.over(stream, Dropped(f"another status than 200: {payload[at:at + 16]!r}"))
        stream.is_answered = True

    def over(self, stream, last):
        if self.streams.pop(stream.number, None):
            stream.is_over = True
            stream.parts.put_nowait(last)
            self.changed.set()

    async def close(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
