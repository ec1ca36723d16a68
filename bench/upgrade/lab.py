"""Edge, validator and what is around them, the load, and what is counted of it."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from ends import CLOSE, ENDED, GOING_AWAY, TEXT, Backend, Tap, close_status, frame, read_frame

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("COUNTERSIGN_BIN", str(ROOT / ".build/release/countersign"))
HOST = "app.example.com"
# So long an answer may take.
PATIENCE = 20
EXAMPLES_MAX = 5


class Counts:
    """Of one phase."""

    def __init__(self, tunnels):
        self.requests = self.refused = self.failed = self.presented = self.replayed = 0
        # Tunnels: those there were when it began, what came and went, and what went on in a process that had been replaced.
        self.before, self.opened, self.away, self.lost, self.lived_on, self.after = tunnels, 0, 0, 0, 0, 0
        self.why, self.examples = {}, []

    def fail(self, why, path):
        self.failed += 1
        self.why[why] = self.why.get(why, 0) + 1
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(path)


class Lab:
    def __init__(self, directory):
        self.directory, self.counts = Path(directory), Counts(0)
        self.backend, self.tap = Backend(), Tap()
        self.tunnels, self.is_over, self.ports = 0, False, {}
        # How often a process was replaced; how many requests were sent.
        self.generation, self.number = 0, 0
        self.pids = []

    # Countersign.

    def run(self, *arguments):
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, cwd=self.directory)
        if done.returncode != 0:
            raise SystemExit(f"countersign {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def start(self, name):
        errors = open(self.directory / f"{name}.err", "wb")
        process = subprocess.Popen([PROGRAM, "run", "-c", f"{name}.yaml"], cwd=self.directory, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=errors)
        self.pids.append(process.pid)
        until = time.monotonic() + 20
        while True:
            text = (self.directory / f"{name}.err").read_text()
            if found := re.search(r"ready listeners=(\S+)", text):
                break
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{name} did not get ready: {text}")
            time.sleep(0.05)
        for entry in found[1].split(","):
            listener, address = entry.split("=", 1)
            if not address.startswith("unix:"):
                self.ports[listener] = int(address.rsplit(":", 1)[1])
        return process

    async def prepare(self):
        """Starts everything; returns the two processes' ids."""
        self.ports["backend"] = await self.backend.start()
        self.ports["tap"] = await self.tap.start()
        self.configure()
        pids = {"validator": self.start("validator").pid}
        self.tap.behind_port = self.ports["from-edge"]
        pids["edge"] = self.start("edge").pid
        return pids

    def configure(self):
        self.run("keys", "new", "--kid", "k1", "--out", "edge.jwks.json")
        self.run("keys", "export", "--audience", "monitor-1", "--in", "edge.jwks.json", "--out", "validator.jwks.json")
        common = "workers: 2\ntimeouts: { drain: 30s, drain_tunnels: 3s }\n"
        (self.directory / "validator.yaml").write_text(f"""identity:
  keys: validator.jwks.json
  audience: monitor-1
  edges: [edge-a]
  clock_skew: 1s
listeners:
  - name: from-edge
    listen: "127.0.0.1:0"
    trust: [ {{ from: any, evidence: attested }} ]
routes: [ {{ to: backend }} ]
upstreams:
  backend: {{ identity: plain, servers: ["127.0.0.1:{self.ports['backend']}"] }}
admin: {{ listen: "unix:{self.directory}/validator.sock" }}
log: {{ access: ./validator.log }}
{common}""")
        (self.directory / "edge.yaml").write_text(f"""identity:
  edge: edge-a
  keys: edge.jwks.json
  sign_with: k1
listeners:
  - {{ name: public, listen: "127.0.0.1:0" }}
routes: [ {{ to: monitor }} ]
upstreams:
  monitor: {{ identity: attest, audience: monitor-1, proxy_protocol: off, servers: ["127.0.0.1:{self.ports['tap']}"] }}
admin: {{ listen: "unix:{self.directory}/edge.sock" }}
log: {{ access: ./edge.log }}
{common}""")

    async def end(self):
        """Ends the load and what it runs through. What is cut off by that is of no interest."""
        self.is_over = True
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        self.backend.close()
        self.tap.close()
        self.kill()
        # Connections that end begin no new tasks once there is nobody to accept them.
        while rest := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            await asyncio.sleep(0.05)

    def kill(self):
        """Ends every process of the lab."""
        for pid in self.pids:
            try:
                if str(self.directory) in os.readlink(f"/proc/{pid}/cwd"):
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass

    def log_lines(self, path):
        """What edge and validator have logged of a request."""
        found = []
        for name in ("edge", "validator"):
            with open(self.directory / f"{name}.log", encoding="ascii") as lines:
                found += [f"{name}: {line.strip()}" for line in lines if f'"path":"{path}"' in line]
        return found

    # The load.

    def fail(self, why, path):
        # The end of the lab ends what is under way.
        if not self.is_over:
            self.counts.fail(why, path)

    def new_path(self, kind):
        self.number += 1
        return f"/{kind}/{self.number}"

    async def open(self, number, request):
        """A new connection, on which a request has been sent. At once, not in a later turn of the event loop: a process that drains
        gives a connection that has just come a second for its first request."""
        connection = socket.socket()
        try:
            connection.setblocking(False)
            connection.bind((f"127.10.{number // 250}.{number % 250 + 1}", 0))
            # Over loopback it is there at once, unless the queue is full; what is in its way, sending says.
            connection.connect_ex(("127.0.0.1", self.ports["public"]))
            await asyncio.get_running_loop().sock_sendall(connection, request)
            return await asyncio.open_connection(sock=connection)
        except ConnectionError:
            connection.close()
            if not self.is_over:
                self.counts.refused += 1
            # Not as fast as the processor can.
            await asyncio.sleep(0.05)
            raise

    async def answer(self, reader):
        """(status, whether the connection goes on); 0: it ended without a byte of an answer, -1: within it, -2: no end in time."""
        try:
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head.lower())
                try:
                    await reader.readexactly(int(length[1]) if length else 0)
                except ENDED:
                    return -1, False
        except asyncio.IncompleteReadError as error:
            return (-1 if error.partial else 0), False
        except ConnectionError:
            return 0, False
        except TimeoutError:
            return -2, False
        return int(head.split(b" ", 2)[1]), b"connection: close" not in head.lower()

    async def fresh(self, number):
        """Requests on a connection each."""
        while not self.is_over:
            path = self.new_path("fresh")
            try:
                reader, writer = await self.open(
                    number, f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            except ConnectionError:
                continue
            self.counts.requests += 1
            status, _ = await self.answer(reader)
            if status != 200:
                self.fail(f"fresh {status}", path)
            writer.close()

    async def kept(self, number):
        """Requests on a kept connection. One that ended without a byte of an answer is sent again on a new one."""
        reader = writer = None
        while not self.is_over:
            self.counts.requests += 1
            path = self.new_path("kept")
            request = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
            while True:
                is_new = writer is None
                if is_new:
                    try:
                        reader, writer = await self.open(number, request)
                    except ConnectionError:
                        self.fail("refused", path)
                        break
                else:
                    writer.write(request)
                status, goes_on = await self.answer(reader)
                if not goes_on:
                    writer.close()
                    writer = None
                if status == 0 and not is_new:
                    continue
                if status != 200:
                    self.fail(f"kept {status}", path)
                break
            await asyncio.sleep(0.005)

    async def tunnel(self, number):
        """A WebSocket that is opened again when it has ended."""
        while not self.is_over:
            path = self.new_path("ws")
            request = (f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
            try:
                reader, writer = await self.open(number, request.encode())
            except ConnectionError:
                continue
            self.counts.requests += 1
            try:
                async with asyncio.timeout(PATIENCE):
                    head = await reader.readuntil(b"\r\n\r\n")
                status = int(head.split(b" ", 2)[1])
                if status == 101:
                    await self.converse(reader, writer)
                else:
                    self.fail(f"websocket {status}", path)
            except (*ENDED, TimeoutError) as error:
                self.fail(f"websocket, no answer: {type(error).__name__}", path)
            finally:
                writer.close()

    async def converse(self, reader, writer):
        """A tunnel from its 101 to its end, which is counted."""
        self.tunnels += 1
        self.counts.opened += 1
        born, has_lived_on, sent = self.generation, False, 0
        timer = None

        def send():
            nonlocal timer, sent
            sent += 1
            writer.write(frame(TEXT, str(sent).encode(), masked=True))
            timer = None

        send()
        ending = "lost"
        try:
            while True:
                async with asyncio.timeout(PATIENCE):
                    opcode, payload, is_masked = await read_frame(reader)
                if opcode == CLOSE:
                    if close_status(payload) == GOING_AWAY and not is_masked:
                        ending = "away"
                    writer.write(frame(CLOSE, payload[:2], masked=True))
                    return
                # Each frame comes back once, as the backend has sent it.
                if opcode != TEXT or is_masked or payload != str(sent).encode() or timer:
                    return
                if self.generation > born and not has_lived_on:
                    has_lived_on = True
                    self.counts.lived_on += 1
                timer = asyncio.get_running_loop().call_later(1, send)
        except (*ENDED, TimeoutError):
            pass
        finally:
            if timer:
                timer.cancel()
            self.tunnels -= 1
            if not self.is_over:
                setattr(self.counts, ending, getattr(self.counts, ending) + 1)

    # What is done.

    async def command(self, *arguments):
        process = await asyncio.create_subprocess_exec(PROGRAM, *arguments, cwd=self.directory, stdout=subprocess.PIPE,
                                                       stderr=subprocess.PIPE)
        out, error = await process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"countersign {' '.join(arguments)}: {error.decode().strip()}")
        return out.decode()

    async def upgrade(self, name):
        pid = int((await self.command("upgrade", "--admin", f"unix:{self.directory}/{name}.sock")).split()[1])
        self.pids.append(pid)
        self.generation += 1
        return pid

    async def reload(self, name, pid):
        errors = self.directory / f"{name}.err"
        before = errors.read_text().count("reloaded generation=")
        os.kill(pid, signal.SIGHUP)
        until = time.monotonic() + 20
        while errors.read_text().count("reloaded generation=") == before:
            if time.monotonic() > until:
                raise SystemExit(f"{name} did not reload: {errors.read_text()[-600:]}")
            await asyncio.sleep(0.02)

    async def hold(self, message):
        """A connection to the present validator, with all of a message but its last byte: it is kept over a drain."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["from-edge"])
        writer.write(message[:-1])
        return reader, writer

    async def present(self, message, held=None):
        try:
            reader, writer = held or await asyncio.open_connection("127.0.0.1", self.ports["from-edge"])
        except ConnectionError:
            return
        writer.write(message[-1:] if held else message)
        status, _ = await self.answer(reader)
        writer.close()
        # One that was not answered shows nothing.
        if status > 0:
            self.counts.presented += 1
        if status == 200:
            self.counts.replayed += 1

    async def replace(self):
        copies = self.tap.copies[-32:]
        held = [await self.hold(message) for message in copies]
        # So that its workers have accepted them all.
        await asyncio.sleep(0.2)
        pid = await self.upgrade("validator")
        await asyncio.gather(*(self.present(message, one) for message, one in zip(copies, held)),
                             *(self.present(message) for message in copies))
        await asyncio.gather(*(self.present(message) for message in self.tap.copies[-64:]))
        return pid
