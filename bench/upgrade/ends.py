"""What stands behind Countersign and between its hops: the backend, and the tap that copies requests. And WebSocket frames (RFC 6455)."""

import asyncio
import os
import struct

from harness.listener import Listener

TEXT, CLOSE = 1, 8
GOING_AWAY = 1001
COPIES_MAX = 400
# What a connection that has ended, or is refused, comes to.
ENDED = (asyncio.IncompleteReadError, ConnectionError)


def frame(opcode, payload, masked):
    """A frame of at most 125 bytes. Section 5.1: a client masks its frames, a server must not."""
    head = bytes((0x80 | opcode, len(payload) | (0x80 if masked else 0)))
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


async def read_frame(reader):
    """(opcode, payload, whether it was masked)"""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length > 125 or not first & 0x80:
        raise ConnectionError("a frame that nobody here sends")
    mask = await reader.readexactly(4) if second & 0x80 else b""
    payload = await reader.readexactly(length)
    if mask:
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return first & 0x0F, payload, bool(mask)


def close_status(payload):
    return struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else None


class Backend(Listener):
    """Answers 200, and sends back what comes in a WebSocket."""

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"upgrade: websocket" in head.lower():
                    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
                    await self.echo(reader, writer)
                    return
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (*ENDED, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def echo(self, reader, writer):
        while True:
            opcode, payload, is_masked = await read_frame(reader)
            # A tunnel that ends so counts as lost.
            if not is_masked:
                return
            writer.write(frame(opcode, payload, masked=False))
            if opcode == CLOSE:
                return


class Tap(Listener):
    """Stands between edge and validator, passes on what comes and how it ends, and keeps copies of the requests that were answered 200."""

    def __init__(self):
        super().__init__()
        self.copies, self.behind_port = [], None

    async def serve(self, reader, writer):
        try:
            behind_reader, behind = await asyncio.open_connection("127.0.0.1", self.behind_port)
        except OSError:
            writer.transport.abort()
            return
        noted = TapNotes(self.copies)
        try:
            await asyncio.gather(self.relay(reader, behind, noted.request), self.relay(behind_reader, writer, noted.response))
            behind.close()
            writer.close()
        except (ConnectionError, asyncio.CancelledError):
            # What one side has broken off is broken off for the other one.
            behind.transport.abort()
            writer.transport.abort()

    async def relay(self, reader, writer, note):
        """One direction. Its end is passed on by itself: what the other direction still carries arrives."""
        while data := await reader.read(65536):
            note(data)
            writer.write(data)
            await writer.drain()
        # OSError: that side is closed already.
        if not writer.is_closing():
            try:
                writer.write_eof()
            except OSError:
                pass


class TapNotes:
    """One connection's requests, of which none is sent before the last one is answered."""

    def __init__(self, copies):
        self.copies, self.held, self.waiting, self.is_tunnel = copies, b"", None, False

    def request(self, data):
        if self.is_tunnel:
            return
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            message, self.held = self.held[:end + 4], self.held[end + 4:]
            self.waiting = message if b"signature-input:" in message.lower() else None

    def response(self, data):
        if data.startswith(b"HTTP/1.1 101 "):
            self.is_tunnel, self.held = True, b""
        if self.waiting and data.startswith(b"HTTP/1.1 200 "):
            self.copies.append(self.waiting)
            del self.copies[:-COPIES_MAX]
            self.waiting = None
