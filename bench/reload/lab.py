"""Edge, validator and gRPC's server, and the configurations that they go through."""

import asyncio
import os
import re
import signal
import ssl
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAM = os.environ.get("COUNTERSIGN_BIN", str(ROOT / ".build/release/countersign"))
PYTHON = "/usr/bin/python3"
HOST = "app.example.com"
PATIENCE = 60
NAMES = ("edge", "validator")


class Process:
    """One of the two, and what it says."""

    def __init__(self, name, directory):
        self.name, self.errors = name, directory / f"{name}.err"
        self.process = subprocess.Popen([PROGRAM, "run", "-c", f"{name}.yaml"], cwd=directory, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(self.errors, "wb"))
        self.read_to = 0

    @property
    def pid(self):
        return self.process.pid

    def news(self):
        with open(self.errors, "rb") as file:
            file.seek(self.read_to)
            text = file.read()
        return text.decode()

    def wait(self, expression, what):
        until = time.monotonic() + PATIENCE
        while not (found := re.search(expression, self.news())):
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{self.name} {what}: {self.news()[-2000:]}")
            time.sleep(0.02)
        return found

    async def reload(self):
        self.read_to = self.errors.stat().st_size
        os.kill(self.pid, signal.SIGHUP)
        until = time.monotonic() + PATIENCE
        while True:
            news = self.news()
            if "reloaded generation=" in news:
                return
            if "reload refused" in news or self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.name} did not reload: {news[-2000:]}")
            await asyncio.sleep(0.005)

    def memory(self):
        """Resident KiB, descriptors."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]), len(os.listdir(f"/proc/{self.pid}/fd"))


class Lab:
    def __init__(self, directory):
        self.directory, self.ports, self.processes = Path(directory), {}, {}
        self.children = []

    def run(self, *arguments):
        done = subprocess.run(arguments, capture_output=True, text=True, cwd=self.directory)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def certificate(self, name):
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
        if name == "ca":
            self.run("openssl", "req", "-x509", *key, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
            return
        self.run("openssl", "req", "-x509", *key, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{HOST}", "-addext",
                 "basicConstraints=critical,CA:false", "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", f"{name}.key", "-out",
                 f"{name}.pem")

    def start_calls(self, *arguments):
        process = subprocess.Popen([PYTHON, str(HERE / "calls.py"), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=open(self.directory / f"calls-{arguments[0]}.err", "wb"), text=True)
        self.children.append(process)
        return process

    def prepare(self, backend_port):
        for name in ("ca", "one", "two"):
            self.certificate(name)
        self.run(PROGRAM, "keys", "new", "--kid", "k1", "--out", "edge.jwks.json")
        self.run(PROGRAM, "keys", "export", "--audience", "monitor-1", "--in", "edge.jwks.json", "--out", "validator.jwks.json")
        self.ports["backend"] = backend_port
        self.ports["grpc"] = int(self.start_calls("serve").stdout.readline().split()[1])
        for name in reversed(NAMES):
            self.write(name, 0)
            self.processes[name] = process = Process(name, self.directory)
            for entry in process.wait(r"ready listeners=(\S+)", "did not get ready")[1].split(","):
                listener, address = entry.split("=", 1)
                if not address.startswith("unix:"):
                    self.ports[listener] = int(address.rsplit(":", 1)[1])
        tls = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        tls.set_alpn_protocols(["h2"])
        return tls

    def write(self, name, step):
        (self.directory / f"{name}.yaml").write_text(getattr(self, name)(step))

    # Each step differs from the one before in all that its number's digits say, in several parts at once.

    def common(self, step):
        return f"""workers: 2
timeouts: {{ idle: {60 + step % 3}s, upstream_response: 60s, tunnel: 1h }}
limits: {{ streams: {200 + step % 5}, head: {32 + step % 2 * 8}KiB, body: {1 + step % 2}GiB, connections_per_client: {500 + step % 7} }}
"""

    def listener(self, step, name):
        certificates = [("one", "two")[(step + i) % 2] for i in range(1 + step % 2)]
        tls = ", ".join(f"{{ certificate: {c}.pem, key: {c}.key }}" for c in certificates)
        protocols = ("[h2, http/1.1]", "[h2]", "[http/1.1, h2]")[step % 3]
        text = f'  - name: {name}\n    listen: "127.0.0.1:0"\n    protocols: {protocols}\n    tls: [ {tls} ]\n'
        if step % 4 >= 2:
            # One that comes and goes.
            text += f'  - name: {name}-more\n    listen: "unix:{self.directory}/{name}-more.sock"\n    trust: [ {{ from: any, evidence: refuse }} ]\n'
        return text

    def edge(self, step):
        first = f"  - {{ host: other, to: monitor, limits: {{ body: {step}KiB }} }}\n" if step % 2 else ""
        return f"""identity: {{ edge: edge-a, keys: edge.jwks.json, sign_with: k1 }}
listeners:
{self.trusting(self.listener(step, "public"), '{ from: ["127.0.0.1"], evidence: socket }')}routes:
{first}  - {{ to: monitor }}
upstreams:
  monitor:
    identity: attest
    audience: monitor-1
    protocol: http2
    tls: {{ ca: ca.pem, name: {HOST} }}
    idle_connections: {8 + step % 3}
    servers: [ {{ address: "127.0.0.1:{self.ports['from-edge']}", weight: {1 + step % 9} }} ]
log: {{ access: ./edge.log }}
{self.common(step)}"""

    def validator(self, step):
        weights = (1 + step % 4, 1 + step % 5)
        servers = ", ".join(f'{{ address: "{host}:{self.ports["backend"]}", weight: {weight} }}'
                            for host, weight in zip(("127.0.0.1", "localhost"), weights))
        return f"""identity:
  keys: validator.jwks.json
  audience: monitor-1
  edges: [edge-a]
listeners:
{self.trusting(self.listener(step, "from-edge"), "{ from: any, evidence: attested }")}routes:
  - {{ path: "/reload\\\\.Echo/.*", to: calls }}
  - {{ to: backend }}
upstreams:
  backend:
    identity: plain
    balance: {("round-robin", "least-requests", "client-hash")[step % 3]}
    servers: [ {servers} ]
  calls:
    identity: plain
    protocol: http2
    servers: [ {{ address: "127.0.0.1:{self.ports['grpc']}", weight: {1 + step % 6} }} ]
log: {{ access: ./validator.log }}
{self.common(step)}"""

    def trusting(self, text, rule):
        return "".join(line + (f"    trust: [ {rule} ]\n" if line.startswith("    protocols:") else "") for line in text.splitlines(True))

    async def reload(self, step):
        for name in NAMES:
            self.write(name, step)
        await asyncio.gather(*(process.reload() for process in self.processes.values()))

    def kill(self):
        for process in self.children + [one.process for one in self.processes.values()]:
            process.kill()
            process.wait()
