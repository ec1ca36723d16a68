"""Load, and the measuring of one round: how many requests the backend has answered in a time, and what CPU time the proxy's
processes took for them. Both are read while the load runs steadily, so starting it and ending it do not count."""

import http.client
import json
import re
import signal
import ssl
import subprocess
import time

from . import host
from .host import BenchError
from .process import Process, cpu_of

# What a browser sends: about 380 bytes with request line and Host.
HEADERS = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: application/json, text/plain;q=0.9, */*;q=0.8",
    "Accept-Language: en-GB,en;q=0.7,cs;q=0.3",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: https://printers.example.com/dashboard",
    "Cookie: session=f3b1c2d4e5a697887766554433221100; theme=dark; lang=en",
]
UPLOAD_LUA = 'wrk.method = "POST"\nwrk.body = string.rep("u", 1048576)\n'


class Counter:
    """How many requests (or bytes of bodies and echoes) the backend has seen, asked for over one kept connection."""

    def __init__(self, address, what="requests"):
        self.address, self.what, self.connection, self.asked = address, what, None, 0
        self.accepted = 0  # connections, as of the last reading; only nginx tells

    def read(self):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.address, timeout=20)
        self.connection.request("GET", "/status")
        text = self.connection.getresponse().read().decode()
        if text.startswith("Active"):  # nginx counts the asking, too
            self.asked += 1
            self.accepted = int(text.split("\n")[2].split()[0])
            return int(text.split("\n")[2].split()[2]) - self.asked
        return int(re.search(rf"^{self.what} (\d+)$", text, re.M).group(1))


def get_once(address, tls, path="/", headers=None, seconds=10):
    """One request, tried until it is answered with 200, for a validator that has just started takes nothing for a moment.
    Returns what TLS agreed on."""
    until = time.monotonic() + seconds
    while True:
        try:
            if tls:
                context = ssl.create_default_context(cafile=host.WORK / "certs/ca.pem")
                connection = http.client.HTTPSConnection(*address, timeout=5, context=context)
            else:
                connection = http.client.HTTPConnection(*address, timeout=5)
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            agreed = connection.sock.cipher()[:2] if tls and connection.sock else None
            answer.read()
            connection.close()
            if answer.status == 200:
                return agreed
            problem = f"status {answer.status}"
        except (OSError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
        if time.monotonic() > until:
            raise BenchError(f"no answer from {address[0]}:{address[1]}: {problem}")
        time.sleep(0.1)


class Wrk:
    """wrk, until it is told to end."""

    def __init__(self, bench, address, tls, path="/", connections=64, headers=(), upload=False):
        self.output = bench.directory / "wrk.out"
        command = ["wrk", "-t1", f"-c{connections}", "-d300s", "--timeout", "30s"]
        for header in [*HEADERS, *headers]:
            command += ["-H", header]
        if upload:
            script = bench.directory / "upload.lua"
            script.write_text(UPLOAD_LUA)
            command += ["-s", script]
        command.append(f"{'https' if tls else 'http'}://{address[0]}:{address[1]}{path}")
        with open(self.output, "wb") as output:
            self.process = Process("wrk", command, bench.load_processor, bench.directory, output)

    def end(self):
        self.process.stop(signal.SIGINT, seconds=5)
        text = self.output.read_text()
        problem = re.search(r"(Socket errors: (?!connect 0, read 0, write 0, timeout 0).*|Non-2xx.*)", text)
        if problem or "requests in" not in text:
            raise BenchError(f"wrk: {problem.group(0) if problem else self.process.errors.read_text().strip() or text}")
        return {}


class Client:
    """bench/load/client.c. With `keeps` it opens all connections first, which is waited for."""

    def __init__(self, bench, address, tls, mode="keepalive", connections=64, seconds=300.0, warm=0.0, rate=0.0,
                 path="/", message=400, headers=(), opening_seconds=120):
        command = [host.WORK / "client", "--mode", mode, "--connections", connections, "--seconds", seconds,
                   "--warm", warm, "--rate", rate, "--path", path, "--message", message]
        for header in [*HEADERS, *headers]:
            command += ["--header", header]
        if tls:
            command.append("--tls")
        self.process = Process("client", [*command, address[0], address[1]], bench.load_processor, bench.directory,
                               subprocess.PIPE)
        self.opening_s = None
        if mode not in ("new", "resume"):
            began = time.monotonic()
            guard = _Guard(self.process, opening_seconds)
            line = self.process.handle.stdout.readline()
            guard.cancel()
            if not line.startswith(b"open "):
                raise BenchError(f"client: {self.process.errors.read_text().strip() or 'its connections did not open'}")
            self.opening_s = time.monotonic() - began

    def end(self, now=True):
        if now:
            self.process.handle.send_signal(signal.SIGTERM)
        text = self.process.handle.communicate(timeout=120)[0]
        self.process.stop()
        if self.process.handle.returncode != 0 or not text.strip():
            raise BenchError(f"client: {self.process.errors.read_text().strip() or 'no result'}")
        result = json.loads(text.splitlines()[-1])
        if result["errors"] > 0:
            raise BenchError(f"client: {result['errors']} errors: {self.process.errors.read_text().strip()}")
        return result


class _Guard:
    """Ends a process that takes too long, so that reading from it does."""

    def __init__(self, process, seconds):
        import threading
        self.timer = threading.Timer(seconds, process.handle.kill)
        self.timer.daemon = True
        self.timer.start()

    def cancel(self):
        self.timer.cancel()


def _wait_flowing(counter, units, seconds=30):
    """Until that much has been answered: with TLS the handshakes of a load come first, and they are not what is measured."""
    wanted, until = counter.read() + units, time.monotonic() + seconds
    while counter.read() < wanted:
        if time.monotonic() > until:
            raise BenchError("the load does not flow")
        time.sleep(0.05)


def measure(bench, processes, counter, load, per=1.0, warm_units=1500):
    """One round: CPU microseconds of `processes` for each unit, `per` of the counter's being one."""
    try:
        _wait_flowing(counter, warm_units * per)
        time.sleep(bench.warm_seconds)
        count_before, accepted_before = counter.read(), counter.accepted
        cpu_before, clock_before = cpu_of(processes), time.monotonic()
        time.sleep(bench.round_seconds)
        count_after, accepted_after = counter.read(), counter.accepted
        cpu_after, clock_after = cpu_of(processes), time.monotonic()
    finally:
        ended = load.end()
    units = (count_after - count_before) / per
    if units < 20:
        raise BenchError(f"only {units:.0f} requests in {bench.round_seconds} s")
    seconds = clock_after - clock_before
    ran, waited, user, system = (after - before for before, after in zip(cpu_before, cpu_after))
    return {
        "cpu_us": ran / 1000 / units,
        "user_share": user / (user + system) if user + system else None,
        "busy": ran / 1e9 / seconds,          # of the one processor
        "starved": waited / 1e9 / seconds,    # runnable, but somebody else ran there
        "per_second": units / seconds,
        "units": units,
        "upstream_opened": (accepted_after - accepted_before) / units,  # connections for each request; kept ones: 0
        **({"client": ended} if ended else {}),
    }
