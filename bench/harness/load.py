"""Load, and the measuring of one round: how many requests the backend has answered in a time, and what CPU time the proxy's
processes took for them. Both are read while the load runs steadily, so starting it and ending it do not count."""

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import time

from . import host
from .host import BenchError, Disturbed
from .process import Process, cpu_of, others_seconds

# What a browser sends: about 380 bytes with request line and Host.
HEADERS = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: application/json, text/plain;q=0.9, */*;q=0.8",
    "Accept-Language: en-GB,en;q=0.7,cs;q=0.3",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: https://printers.example.com/dashboard",
    "Cookie: session=f3b1c2d4e5a697887766554433221100; theme=dark; lang=en",
]
# What every load offers with TLS 1.3, and nothing else.
CIPHER, GROUP = "TLS_AES_128_GCM_SHA256", "X25519"
# wrk takes it from OpenSSL's own configuration.
OPENSSL_CONF = f"""openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = default
[default]
Ciphersuites = {CIPHER}
Groups = {GROUP}
MinProtocol = TLSv1.3
"""
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
    Returns the answer's text."""
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
            text = answer.read().decode(errors="replace")
            connection.close()
            if answer.status == 200:
                return text
            problem = f"status {answer.status}"
        except (OSError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
        if time.monotonic() > until:
            raise BenchError(f"no answer from {address[0]}:{address[1]}: {problem}")
        time.sleep(0.1)


def check_tls(address):
    """One handshake with what the loads offer; a contender that takes none of it cannot be compared."""
    text = host.run("openssl", "s_client", "-brief", "-connect", "{}:{}".format(*address), "-tls1_3", "-ciphersuites", CIPHER,
                    "-groups", GROUP, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, timeout=20)
    if f"Ciphersuite: {CIPHER}" not in text or f"Server Temp Key: {GROUP}" not in text:
        raise BenchError(f"{address[0]}:{address[1]} does not agree on {CIPHER} and {GROUP}: {text}")


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
        configuration = bench.directory / "openssl.cnf"
        configuration.write_text(OPENSSL_CONF)
        with open(self.output, "wb") as output:
            self.process = Process("wrk", command, bench.load_processor, bench.directory, output,
                                   environment={"OPENSSL_CONF": str(configuration)})

    def end(self):
        self.process.stop(signal.SIGINT, seconds=20)
        text = self.output.read_text()
        problem = re.search(r"(Socket errors: (?!connect 0, read 0, write 0, timeout 0).*|Non-2xx.*)", text)
        if problem or "requests in" not in text:
            raise BenchError(f"wrk: {problem.group(0) if problem else self.process.errors.read_text().strip() or text}")
        return {}


class H2Load:
    """h2load for a time that is set beforehand: only when it ends by itself does it say how many failed. With HTTP/1.1, or with so
    many streams on each connection; with `message`, a POST of that file as gRPC would make it."""

    def __init__(self, bench, address, tls, path="/", connections=64, streams=None, message=None):
        self.output = bench.directory / "h2load.out"
        # Beyond what is measured, for the handshakes and for waiting until it flows.
        seconds = bench.warm_seconds + bench.round_seconds + (1.0 if bench.quick else 2.5)
        command = ["h2load", "-t1", f"-c{connections}", f"--duration={seconds:.0f}", f"--tls13-ciphers={CIPHER}",
                   f"--groups={GROUP}", *(["--h1"] if streams is None else [f"-m{streams}"])]
        headers = HEADERS if message is None else ["user-agent: grpc-c++/1.51.1", "content-type: application/grpc", "te: trailers"]
        for header in headers:
            command += ["-H", header]
        if message:
            command += ["-d", message]
        self.protocol = None if streams is None else "h2" if tls else "h2c"
        command.append(f"{'https' if tls else 'http'}://{address[0]}:{address[1]}{path}")
        with open(self.output, "wb") as output:
            self.process = Process("h2load", command, bench.load_processor, bench.directory, output)

    def end(self):
        outlasted = self.process.handle.poll() is None
        self.process.wait_end(30)
        text = self.output.read_text()
        failures = re.search(r"^requests: .* (\d+) failed, (\d+) errored, (\d+) timeout$", text, re.M)
        statuses = re.search(r"^status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx$", text, re.M)
        if not outlasted:
            raise Disturbed("h2load ended before it was measured")
        if self.protocol and f"Application protocol: {self.protocol}\n" not in text:
            raise BenchError(f"h2load does not speak {self.protocol}: {text}")
        if not failures or any(map(int, failures.groups())) or not statuses or int(statuses.group(1)) == 0:
            raise BenchError(f"h2load: {self.process.errors.read_text().strip() or text}")
        return {}


class CurlDownloads:
    """curl, which takes `count` responses of 64 MiB, 8 at a time, and ends."""

    def __init__(self, bench, address, count):
        self.bench, self.address, self.count = bench, address, count
        self.units = count * 64  # MiB

    def run(self):
        output = self.bench.directory / "curl.out"
        host_name = f"localhost:{self.address[1]}"
        command = ["curl", "--silent", "--show-error", "--http1.1", "--parallel", "--parallel-immediate", "--parallel-max", 8,
                   "--tlsv1.3", "--tls13-ciphers", CIPHER, "--curves", GROUP,
                   "--cacert", host.WORK / "certs/ca.pem", "--resolve", f"{host_name}:{self.address[0]}",
                   "--output", "/dev/null", "--write-out", "%{http_code} %{size_download}\n",
                   f"https://{host_name}/64m?[1-{self.count}]"]
        with open(output, "wb") as file:
            process = Process("curl", command, self.bench.load_processor, self.bench.directory, file)
        process.wait_end(120)
        done = output.read_text().split("\n")[:-1]
        if process.handle.returncode != 0 or done != ["200 67108864"] * self.count:
            raise BenchError(f"curl: {process.errors.read_text().strip() or done}")


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


class Reading:
    """What the processes had taken at one moment, and what the machine had spent on others."""

    def __init__(self, processes):
        self.cpu, self.others, self.clock = cpu_of(processes), others_seconds(), time.monotonic()

    def disturbance(self, later):
        """Shares of the time between the two."""
        seconds = later.clock - self.clock
        return {
            "starved": (later.cpu[1] - self.cpu[1]) / 1e9 / seconds,                  # runnable, but somebody else ran there
            "others": max(0.0, later.others - self.others) / seconds / os.cpu_count(),  # of all processors
        }

    def cost(self, later, units):
        ran, _, user, system = (after - before for before, after in zip(self.cpu, later.cpu))
        seconds = later.clock - self.clock
        return {
            "cpu_us": ran / 1000 / units,
            "user_share": user / (user + system) if user + system else None,
            "busy": ran / 1e9 / seconds,  # of the one processor
            "per_second": units / seconds,
            "units": units,
            **self.disturbance(later),
        }


def _wait_flowing(counter, units, seconds=30):
    """Until that much has been answered: with TLS the handshakes of a load come first, and they are not what is measured."""
    wanted, until = counter.read() + units, time.monotonic() + seconds
    while counter.read() < wanted:
        if time.monotonic() > until:
            raise Disturbed("the load does not flow")
        time.sleep(0.05)


def measure(bench, processes, counter, load, per=1.0, warm_units=1500):
    """One round: CPU microseconds of `processes` for each unit, `per` of the counter's being one."""
    try:
        _wait_flowing(counter, warm_units * per)
        time.sleep(bench.warm_seconds)
        count_before, accepted_before = counter.read(), counter.accepted
        before = Reading(processes)
        time.sleep(bench.round_seconds)
        count_after, accepted_after = counter.read(), counter.accepted
        after = Reading(processes)
    finally:
        ended = load.end()
    units = (count_after - count_before) / per
    if units < 20:
        raise Disturbed(f"only {units:.0f} requests in {bench.round_seconds} s")
    return {
        **before.cost(after, units),
        "upstream_opened": (accepted_after - accepted_before) / units,  # connections for each request; kept ones: 0
        **({"client": ended} if ended else {}),
    }


def measure_whole(processes, load):
    """A load with a fixed amount of work, from its start to its end."""
    before = Reading(processes)
    load.run()
    return before.cost(Reading(processes), load.units)
