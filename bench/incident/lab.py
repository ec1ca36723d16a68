"""What the incident and the table share: programs ended by their pid, HAProxy, nginx, an edge with its validator, and a backend.

Everything is on loopback: clients are 127.10.0.0/16, balancers 127.20.0.0/16, what is behind them 127.30.0.0/16.
"""

import collections
import ctypes
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCH))
from harness.host import COUNTERSIGN, BenchError, find, run  # noqa: E402
from harness.process import free_port  # noqa: E402

BALANCER, EDGE, VALIDATOR, BACKEND = "127.20.0.1", "127.30.0.1", "127.30.0.2", "127.30.0.3"
BALANCERS = "127.20.0.0/16"
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def client(number):
    return f"127.10.{number // 200}.{number % 200 + 1}"


class Lab:
    """A directory and the programs that run in it; leaving it ends them and removes it."""

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="countersign-incident-"))
        self.directory.chmod(0o755)
        self.running = []
        return self

    def __exit__(self, *_):
        for program in reversed(self.running):
            stop(program)
        shutil.rmtree(self.directory, ignore_errors=True)

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return path

    def start(self, name, command, address=None, environment=None):
        """Its standard output and error go to NAME.out; with an address it is waited for until it listens there."""
        output = self.directory / f"{name}.out"
        with open(output, "ab") as file:
            program = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                       cwd=self.directory, env={**os.environ, **(environment or {})},
                                       preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM))
        self.running.append(program)
        if address:
            until = time.monotonic() + 60
            while not is_listening(address):
                if program.poll() is not None or time.monotonic() > until:
                    raise BenchError(f"{name} did not get ready: {output.read_text(errors='replace')[-600:].strip()}")
                time.sleep(0.02)
        return program

    def text(self, name):
        try:
            return (self.directory / name).read_text(errors="replace")
        except OSError:
            return ""


def stop(program):
    if program.poll() is None:
        program.terminate()
        try:
            program.wait(3)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def is_listening(address):
    """From the kernel's table: a connection would be a request that nobody made."""
    wanted = "{}:{:04X}".format("".join(f"{int(part):02X}" for part in reversed(address[0].split("."))), address[1])
    return any(line.split()[1] == wanted and line.split()[3] == "0A" for line in Path("/proc/net/tcp").read_text().splitlines()[1:])


def wait(what, seconds, condition):
    """What the condition comes to once it is true."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise BenchError(f"waited {seconds} s for {what}")
        time.sleep(0.01)
    return value


class Backend(http.server.ThreadingHTTPServer):
    """Links the accounts that share an address, as printers were offered to who shares a public address with them.

    An account is a client's true address, and is in the path; what the backend was told is in the field. Where the two differ,
    the request is misattributed. Each account also has a host of its own, for that is in every log.
    """

    request_queue_size = 512
    daemon_threads = True
    block_on_close = False

    def __init__(self):
        self.seen = []  # (time, account, address that it was told, path)
        self.accounts = collections.defaultdict(set)
        super().__init__((BACKEND, 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A client that is gone is nobody's error."""

    @property
    def address(self):
        return "{}:{}".format(*self.server_address)

    def forget(self):
        self.accounts.clear()

    def since(self, start):
        return [entry for entry in self.seen if entry[0] >= start]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, (path, _, account) = self.server, self.path.partition("?account=")
        told = told_address(self.headers)
        strangers = 0
        if account:
            server.seen.append((time.monotonic(), account, told, path))
            server.accounts[told].add(account)
            strangers = len(server.accounts[told]) - 1
        body = json.dumps({"you": told, "strangers": strangers}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_OPTIONS = do_HEAD = do_GET

    def log_message(self, *_):
        pass


def told_address(headers):
    """X-Real-IP where the proxy writes its own word there; else X-Forwarded-For from the right, behind the balancers' own."""
    if headers["X-Real-IP"]:
        return headers["X-Real-IP"]
    listed = [part.strip() for line in headers.get_all("X-Forwarded-For", []) for part in line.split(",")]
    others = [part for part in listed if not part.startswith("127.20.")]
    return others[-1] if others else listed[-1] if listed else "nobody"


class Crowd:
    """Forty clients that send a hundred requests a second, each on a connection of its own, until it is closed."""

    def __init__(self, address, clients=40, rate=100, threads=20):
        self.address, self.done, self.is_closed = address, [], False  # done: (time, status, or 0 for no answer)
        self.threads = [threading.Thread(target=self._send, args=(number, clients, threads, threads / rate), daemon=True)
                        for number in range(threads)]
        for thread in self.threads:
            thread.start()

    def _send(self, number, clients, step, interval):
        due, turn = time.monotonic() + number * interval / step, 0
        while not self.is_closed:
            time.sleep(max(0, due - time.monotonic()))
            due = max(due + interval, time.monotonic() - 1)
            account = client((number + turn * step) % clients)
            path = "/discovery" if turn % 4 == 3 else "/printers"
            turn += 1
            start = time.monotonic()
            self.done.append((start, get(self.address, f"{path}?account={account}", account, host=f"{account}.app.example")[0]))

    def since(self, start):
        return [entry for entry in self.done if entry[0] >= start]

    def close(self):
        self.is_closed = True
        for thread in self.threads:
            thread.join(5)


def get(address, path, source, before=b"", fields=(), host="app.example"):
    """(status, body); status 0 where there was no answer."""
    try:
        with socket.create_connection(address, timeout=4, source_address=(source, 0)) as connection:
            lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *fields]
            connection.sendall(before + "\r\n".join(lines).encode() + b"\r\n\r\n")
            answer = b""
            while part := connection.recv(65536):
                answer += part
    except OSError:
        answer = b""
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]), body.decode(errors="replace")) if len(words) > 1 and words[0].startswith(b"HTTP/1.") else (0, "")


class HAProxy:
    """`mode tcp` in front of a server, asked for its own idea of that server's health by its socket."""

    def __init__(self, lab, server, address=None):
        self.lab, self.server, self.address = lab, server, address or (BALANCER, free_port(BALANCER))
        self.program, self.turn = None, 0

    def use(self, options, check):
        """Starts it, or reloads it under traffic, as `systemctl reload haproxy` does: a new one that ends the old by its pid."""
        self.turn += 1
        self.socket = self.lab.directory / f"haproxy-{self.turn}.sock"
        configuration = self.lab.write(f"haproxy-{self.turn}.cfg", f"""
global
  stats socket {self.socket} level user
defaults
  mode tcp
  timeout connect 3s
  timeout client 10s
  timeout server 10s
  timeout check 2s
listen balancer
  bind {self.address[0]}:{self.address[1]}
  {check}
  server edge {self.server} source {BALANCER} {options} check inter 500ms fall 2 rise 1
""")
        old = self.program
        finish = ["-sf", old.pid] if old else []
        self.program = self.lab.start(f"haproxy-{self.turn}", [find("haproxy"), "-db", "-f", configuration, *finish],
                                      self.address)
        wait("HAProxy", 10, self.socket.exists)

    def health(self):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall(b"show stat\n")
            text = b""
            while part := connection.recv(65536):
                text += part
        lines = text.decode().splitlines()
        names = lines[0].removeprefix("# ").split(",")
        rows = [dict(zip(names, line.split(","))) for line in lines[1:]]
        return next(row["status"] for row in rows if row["svname"] == "edge")


class Nginx:
    def __init__(self, lab, listen, http, name="nginx"):
        self.lab, self.name, self.address = lab, name, listen
        self.path = lab.directory / f"{name}.conf"
        self.write(http)
        self.program = lab.start(name, [find("nginx"), "-p", lab.directory, "-e", "stderr", "-c", self.path], listen)

    def write(self, http):
        temporary = "\n".join(f"  {kind}_temp_path {self.lab.directory}/{self.name}-{kind};"
                              for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        self.path.write_text(f"""daemon off;
worker_processes 1;
pid {self.lab.directory}/{self.name}.pid;
error_log stderr crit;
events {{ worker_connections 1000; }}
http {{
  access_log off;
{temporary}
{http}
}}
""")

    def reload(self, http):
        self.write(http)
        self.program.send_signal(signal.SIGHUP)


class Countersign:
    """An edge that signs, with its validator in front of the backend."""

    def __init__(self, lab, backend, trust, name="edge", more="", process="", routes="[{ to: app }]"):
        self.lab, self.name = lab, name
        keys = lab.directory / "edge.jwks.json"
        if not COUNTERSIGN.exists():
            raise BenchError(f"{COUNTERSIGN} is not there: make build")
        if not keys.exists():
            run(COUNTERSIGN, "keys", "new", "--kid", "k1", "--out", keys)
            run(COUNTERSIGN, "keys", "export", "--audience", "app-1", "--in", keys, "--out", lab.directory / "app-1.jwks.json")
        self.address, behind = (EDGE, free_port(EDGE)), (VALIDATOR, free_port(VALIDATOR))
        self.admin = f"unix:{lab.directory}/{name}-admin.sock"
        validator = lab.write(f"{name}-validator.yaml", f"""identity: {{ keys: app-1.jwks.json, audience: app-1, edges: [edge-a] }}
listeners: [{{ name: from-edge, listen: "{behind[0]}:{behind[1]}", trust: [{{ from: any, evidence: attested }}] }}]
routes: [{{ to: backend }}]
upstreams: {{ backend: {{ identity: plain, servers: ["{backend.address}"] }} }}
log: {{ access: {name}-validator.log }}
workers: 1
""")
        self.configuration = lab.directory / f"{name}.yaml"
        self.more, self.process, self.routes, self.behind = more, process, routes, behind
        self.configure(self.configuration, trust)
        lab.start(f"{name}-validator", [COUNTERSIGN, "run", "-c", validator], behind)
        self.program = lab.start(name, [COUNTERSIGN, "run", "-c", self.configuration], self.address)

    def configure(self, path, trust, more=None, accept=None):
        path.write_text(f"""identity: {{ edge: edge-a, keys: edge.jwks.json, sign_with: k1 }}
listeners:
  - name: public
    listen: "{self.address[0]}:{self.address[1]}"
    trust:
{trust}
{self.more if more is None else more}
routes: {self.routes}
upstreams: {{ app: {{ identity: attest, audience: app-1, servers: ["{self.behind[0]}:{self.behind[1]}"] }} }}
admin: {{ listen: "{self.admin}" }}
log: {{ access: {self.name}.log }}
workers: 1
""" + (f'accept_weaker: "{accept}"\n' if accept else ""))

    def log(self):
        return [json.loads(line) for line in self.lab.text(f"{self.name}.log").splitlines() if line.endswith("}")]

    def said(self):
        return self.lab.text(f"{self.name}.out").replace(f"{self.lab.directory}/", "").splitlines()

    def command(self, *arguments):
        done = subprocess.run([str(part) for part in (COUNTERSIGN, *arguments)], capture_output=True, text=True, check=False,
                              cwd=self.lab.directory)
        return done.returncode, (done.stdout + done.stderr).replace(f"{self.lab.directory}/", "").strip().splitlines()
