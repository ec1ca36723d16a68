"""The application that the browser asks, by HTTP/1.1: a page, its resources, a WebSocket that echoes (RFC 6455), and the page's report."""

import asyncio
import base64
import hashlib
import json
import struct
import zlib

IMAGES, SCRIPTS, STYLES = 40, 30, 30
RESOURCES = IMAGES + SCRIPTS + STYLES
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

# What each resource does is looked at, not that it came: images have a width of their own, scripts add a number, styles set a colour.
PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>loading</title>
<script>window.sum = [];</script>
%(styles)s
</head><body>
%(images)s
%(marks)s
%(scripts)s
<script>
window.addEventListener("load", async () => {
  const broken = [];
  for (const image of document.images)
    if (image.naturalWidth !== Number(image.dataset.width)) broken.push(image.src);
  for (let i = 0; i < %(script_count)d; i++) if (!window.sum.includes(i)) broken.push("script " + i);
  for (let i = 0; i < %(style_count)d; i++)
    if (getComputedStyle(document.getElementById("mark" + i)).color !== `rgb(1, 2, ${i})`) broken.push("style " + i);
  const entries = performance.getEntriesByType("resource").map(e => ({name: e.name, protocol: e.nextHopProtocol}));
  const page = performance.getEntriesByType("navigation")[0];
  const report = {broken, entries, page: page.nextHopProtocol, milliseconds: page.loadEventStart, messages: 0, bytes: 0};
  report.socket = await new Promise(done => {
    const socket = new WebSocket(`wss://${location.host}/echo`);
    socket.binaryType = "arraybuffer";
    const sizes = [0, 1, 125, 126, 65535, 65536, 300000];
    let sent;
    const next = () => {
      const size = sizes[report.messages >> 1];
      if (size === undefined) { socket.close(1000); return; }
      sent = report.messages %% 2 ? "x".repeat(size) : new Uint8Array(size).map((_, i) => i * 31 + size);
      socket.send(sent);
    };
    socket.onopen = next;
    socket.onmessage = event => {
      const got = typeof sent === "string" ? event.data : new Uint8Array(event.data);
      if (got.length !== sent.length || !(typeof sent === "string" ? got === sent : got.every((b, i) => b === sent[i]))) {
        done(`message ${report.messages} came back otherwise`);
        return;
      }
      report.messages++;
      report.bytes += got.length;
      next();
    };
    socket.onclose = event => done(event.wasClean && event.code === 1000 ? "echoed" : `closed with ${event.code}`);
  });
  document.title = report.socket;
  await fetch("/report", {method: "POST", body: JSON.stringify(report)});
});
</script></body></html>
"""


def page():
    def lines(count, text):
        return "\n".join(text % {"i": i} for i in range(count))

    return PAGE % {
        "styles": lines(STYLES, '<link rel="stylesheet" href="/style/%(i)d.css">'),
        "images": "\n".join(f'<img src="/image/{i}.png" data-width="{i + 1}" alt="">' for i in range(IMAGES)),
        "marks": lines(STYLES, '<i id="mark%(i)d"></i>'),
        "scripts": lines(SCRIPTS, '<script src="/script/%(i)d.js"></script>'),
        "script_count": SCRIPTS, "style_count": STYLES,
    }


def image(width):
    """A PNG of one line."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, 1, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" + bytes(width)))
            + chunk(b"IEND", b""))


class Backend:
    def __init__(self):
        self.asked, self.tasks = set(), set()

    async def start(self):
        self.report = asyncio.get_running_loop().create_future()
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0, backlog=256)
        return self.server.sockets[0].getsockname()[1]

    async def accept(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, path = head.split(" ", 2)[:2]
                fields = {name.lower(): value.strip() for name, value in
                          (line.split(":", 1) for line in head.split("\r\n")[1:] if ":" in line)}
                self.asked.add(path)
                if path == "/echo" and fields.get("upgrade", "").lower() == "websocket":
                    await self.echo(reader, writer, fields)
                    return
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                await self.answer(writer, method, path, body)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    async def answer(self, writer, method, path, body):
        kind, _, name = path[1:].partition("/")
        number = int(name.split(".")[0]) if name.split(".")[0].isdigit() else 0
        status = "200 OK"
        if path == "/":
            media, content = "text/html", page().encode()
        elif kind == "image":
            media, content = "image/png", image(number + 1)
        elif kind == "script":
            media, content = "text/javascript", f"window.sum.push({number}); // {'.' * number * 300}".encode()
        elif kind == "style":
            media, content = "text/css", f"#mark{number} {{ color: rgb(1, 2, {number}) }} /* {'.' * number * 100} */".encode()
        elif path == "/report" and method == "POST":
            media, content = "text/plain", b"thanks"
        else:
            status, media, content = "404 Not Found", "text/plain", b""
        writer.write(f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\nCache-Control: no-store\r\nContent-Length: {len(content)}\r\n\r\n".encode()
                     + content)
        await writer.drain()
        if path == "/report" and not self.report.done():
            self.report.set_result(json.loads(body))

    async def echo(self, reader, writer, fields):
        accept = base64.b64encode(hashlib.sha1(fields["sec-websocket-key"].encode() + GUID).digest()).decode()
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        while True:
            first, second = await reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await reader.readexactly(8), "big")
            if not second & 0x80:
                raise ConnectionError("a client masks its frames (section 5.1)")
            mask = await reader.readexactly(4)
            payload = await reader.readexactly(length)
            repeated = (mask * (length // 4 + 1))[:length]
            payload = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big") if length else b""
            opcode = first & 0x0F
            if opcode == PONG:
                continue
            if opcode == PING:
                first = first & 0xF0 | PONG
            size = bytes((length,)) if length < 126 else (b"\x7e" + struct.pack(">H", length)) if length < 65536 else (b"\x7f" + struct.pack(">Q", length))
            writer.write(bytes((first,)) + size + payload)
            await writer.drain()
            if opcode == CLOSE:
                return

    async def close(self):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
