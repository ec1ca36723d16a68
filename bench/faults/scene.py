"""What happens in bench/faults: three servers, of which one becomes bad and good again, under load through every contender at once.

Everything is in a network namespace that the run has made for itself; the bad server is in a second one, at the other end of a
pair of virtual devices. The kernel takes both away with the processes in them.
"""

import ctypes
import errno
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

from harness.host import BenchError, find, run
from harness.process import Process

from contenders import PROXY_HOST

FAULTS = {
    "refuse": "its connections close and it listens no longer, as when its process has ended",
    "reset": "it resets its connections, and new ones once it has read what comes first",
    "hang": "its process is stopped (SIGSTOP): the kernel still accepts for it",
    "blackhole": "nothing that it sends arrives any more; what is sent to it does",
    "slow": "it answers after 2 s",
    "500": "it answers 500, its health path too",
    "flap": "it refuses for 2 s, is good for 2 s, and so on",
}
FLAP_SECONDS = 2.0
GOOD_HOSTS = ["127.0.0.11", "127.0.0.12"]
NEAR, BAD_HOST = "198.18.0.1", "198.18.0.2"  # the range that is reserved for benchmarks
DEVICE, FAR_DEVICE = "faults0", "faults1"
PROBE_PORT, FIRST_PORT, FIRST_PROXY_PORT = 9000, 9001, 8001

# A line of a server's log; `kind` is `h` for a check.
Record = namedtuple("Record", "server at kind port peer number")


def now():
    return time.monotonic()


def sleep_until(moment):
    time.sleep(max(0.0, moment - now()))


def own_network():
    """Starts this program again in a network namespace, and in a user namespace where we are not root. It does not return."""
    as_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    os.environ["COUNTERSIGN_FAULTS_NAMESPACE"] = str(os.stat("/proc/self/ns/net").st_ino)
    os.execv(find("unshare"), ["unshare", "--net", *as_user, "--", sys.executable, *sys.argv])


def is_own_network():
    """Whether `own_network` has been through: the variable has the number of the namespace that it left."""
    left = os.environ.get("COUNTERSIGN_FAULTS_NAMESPACE")
    return left is not None and left != str(os.stat("/proc/self/ns/net").st_ino)


class Network:
    """The loopback of this namespace, and the bad server's namespace with its link."""

    def __init__(self, directory, processor):
        self.is_cut = False
        run("ip", "link", "set", "lo", "up")
        self.holder = Process("namespace", ["unshare", "--net", "--", "sleep", "infinity"], processor, directory)
        ours, until = os.stat("/proc/self/ns/net").st_ino, now() + 10
        while os.stat(f"/proc/{self.holder.pid}/ns/net").st_ino == ours:
            if now() > until:
                raise BenchError("the bad server's namespace did not come up")
            time.sleep(0.01)
        run("ip", "link", "add", DEVICE, "type", "veth", "peer", "name", FAR_DEVICE, "netns", self.holder.pid)
        run("ip", "address", "add", f"{NEAR}/30", "dev", DEVICE)
        run("ip", "link", "set", DEVICE, "up")
        self._far("ip", "link", "set", "lo", "up")
        self._far("ip", "address", "add", f"{BAD_HOST}/30", "dev", FAR_DEVICE)
        self._far("ip", "link", "set", FAR_DEVICE, "up")
        # The kernel must not drop what comes in for want of a way back: the black hole is to be one in one direction.
        self._far("sh", "-c", "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done")

    @property
    def entering(self):
        return [find("nsenter"), f"--net=/proc/{self.holder.pid}/ns/net", "--"]

    def _far(self, *command):
        run(*self.entering, *command)

    def cut(self):
        self._far("ip", "route", "add", "blackhole", f"{NEAR}/32")
        self.is_cut = True

    def mend(self):
        if self.is_cut:
            self._far("ip", "route", "del", "blackhole", f"{NEAR}/32")
        self.is_cut = False


class Connects:
    """The connections that are tried to the bad server, taken or not: (time, from port, to port) of each on its link.

    By their SYNs; one that is sent again has the port and the sequence number that it had."""

    def __init__(self):
        self.seen, self.known, self.is_closed, self.error = [], set(), False, None
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        # IPv4, TCP, to the bad server, SYN without ACK: 64 bytes of it.
        address = struct.unpack("!I", socket.inet_aton(BAD_HOST))[0]
        code = [(0x28, 0, 0, 12), (0x15, 0, 8, 0x0800), (0x30, 0, 0, 23), (0x15, 0, 6, 6), (0x20, 0, 0, 30), (0x15, 0, 4, address),
                (0x30, 0, 0, 47), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 64), (0x06, 0, 0, 0)]
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
        so_attach_filter = 26
        self.socket.setsockopt(socket.SOL_SOCKET, so_attach_filter, struct.pack("HL", len(code), ctypes.addressof(program)))
        so_timestampns = 35
        self.socket.setsockopt(socket.SOL_SOCKET, so_timestampns, 1)
        self.socket.bind((DEVICE, 0))
        self.socket.settimeout(0.2)
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while not self.is_closed:
            try:
                packet, ancillary, _, _ = self.socket.recvmsg(64, 64)
            except TimeoutError:
                continue
            except OSError as error:
                self.error = error
                return
            if packet[34:42] not in self.known:
                self.known.add(packet[34:42])
                # When the kernel sent it, however late we read it; told in the time of day.
                seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
                at = seconds * 10**9 + nanoseconds + time.monotonic_ns() - time.time_ns()
                self.seen.append((at / 1e9, *struct.unpack("!HH", packet[34:38])))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.is_closed = True
        self.thread.join(2)
        self.socket.close()
        if self.error and kind is None:
            raise BenchError(f"connections to the bad server could not be counted: {self.error}")


class Server:
    """bench/load/faulty.c, told by a FIFO what to be."""

    def __init__(self, name, host, ports, work, directory, processor, entering=()):
        self.name, self.control, self.log = name, directory / f"{name}.control", directory / f"{name}.log"
        os.mkfifo(self.control)
        self.process = Process(name, [*entering, work / "faulty", self.control, self.log, host, *ports], processor, directory)
        self.process.wait_listening((host, PROBE_PORT))

    def be(self, mode):
        with open(self.control, "w") as file:
            file.write(f"{mode}\n")

    def records(self):
        """Read once it has ended."""
        found = []
        for line in self.log.read_text().splitlines():
            at, kind, port, peer, number, _ = line.split()
            found.append(Record(self.name, int(at) / 1e9, kind, int(port), int(peer), int(number)))
        return found


def probe(timeout=0.4):
    """What the bad server is like, as one client finds it: refused, reset, silent, unreachable, or a status."""
    try:
        connection = socket.create_connection((BAD_HOST, PROBE_PORT), timeout=timeout)
    except TimeoutError:
        return "unreachable"
    except OSError as error:
        return "refused" if error.errno == errno.ECONNREFUSED else f"error {error.errno}"
    with connection:
        try:
            connection.sendall(b"GET /probe HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n")
            answer = connection.recv(4096)
        except TimeoutError:
            return "silent"
        except ConnectionError:
            return "reset"
    return answer.split()[1].decode() if answer else "ended"


FOUND = {"refuse": "refused", "reset": "reset", "hang": "silent", "blackhole": "unreachable", "slow": "silent", "500": "500",
         "flap": "refused"}


def expect(wanted, fault, seconds=3.0):
    """A fault that is not there would make every contender look good."""
    until = now() + seconds
    while (found := probe()) != wanted:
        if now() > until:
            raise BenchError(f"{fault}: the bad server should be {wanted}, and is {found}")
        time.sleep(0.02)


@dataclass
class Phases:
    healthy: float
    fault: float
    recovery: float

    @property
    def total(self):
        return self.healthy + self.fault + self.recovery


@dataclass
class Cell:
    """One contender under one method in one scene, and what was seen of it."""

    contender: object
    method: str
    port: int = 0
    proxy_port: int = 0
    took_us: list = None
    statuses: list = None
    load: dict = None
    records: list = None
    connects: list = None

    @property
    def name(self):
        return f"{self.contender.name}-{self.method.lower()}"


class Scene:
    """One fault, once: from the start of the servers to their end."""

    def __init__(self, fault, cells, phases, rate, connections, network, proxies, work, directory, processor):
        self.fault, self.cells, self.phases, self.rate, self.connections = fault, cells, phases, rate, connections
        self.network, self.proxies, self.work, self.directory, self.processor = network, proxies, work, directory, processor
        self.start = self.bad_from = self.bad_until = None

    def due(self, number):
        return self.start + number / self.rate

    def play(self):
        """Fills the cells. What it has started is the caller's to end where it fails (`stop_since`)."""
        self.directory.mkdir(parents=True)
        for index, cell in enumerate(self.cells):
            cell.port, cell.proxy_port = FIRST_PORT + index, FIRST_PROXY_PORT + index
        ports = [PROBE_PORT, *(cell.port for cell in self.cells)]
        good = [Server(f"good-{number}", host, ports, self.work, self.directory, self.processor)
                for number, host in enumerate(GOOD_HOSTS, 1)]
        bad = Server("bad", BAD_HOST, ports, self.work, self.directory, self.processor, self.network.entering)
        expect("200", self.fault)
        with Connects() as connects:
            running = [self.proxies.start(cell.contender, f"{self.directory.name}/{cell.name}", cell.proxy_port,
                                          [f"{host}:{cell.port}" for host in (GOOD_HOSTS[0], BAD_HOST, GOOD_HOSTS[1])])
                       for cell in self.cells]
            # Checks have taken the servers in by then, and all connections are open.
            self.start = now() + 2.5
            loads = [self._load(cell) for cell in self.cells]
            self._make_bad(bad)
            sleep_until(self.start + self.phases.total)
            for cell, load in zip(self.cells, loads):
                load.wait_end(15)
                self._read_load(cell)
        for process in (*running, bad.process, *(server.process for server in good)):
            if process.handle.poll() is not None:
                raise BenchError(f"{self.fault}: {process.name} ended by itself: {process.errors.read_text()[-300:].strip()}")
            process.stop()
        records = [record for server in (bad, *good) for record in server.records()]
        for cell in self.cells:
            cell.records = [record for record in records if record.port == cell.port]
            cell.connects = [(at, peer) for at, peer, port in connects.seen if port == cell.port]

    def _load(self, cell):
        command = [self.work / "paced", "--method", cell.method, "--rate", self.rate, "--seconds", self.phases.total,
                   "--connections", self.connections, "--start", int(self.start * 1e9), "--out", self.directory / f"{cell.name}.requests",
                   PROXY_HOST, cell.proxy_port]
        with open(self.directory / f"{cell.name}.load", "wb") as output:
            return Process(f"load-{cell.name}", command, self.processor, self.directory, output)

    def _read_load(self, cell):
        cell.load = json.loads((self.directory / f"{cell.name}.load").read_text())
        lines = [line.split() for line in (self.directory / f"{cell.name}.requests").read_text().splitlines()]
        cell.statuses = [int(status) for status, _ in lines]
        cell.took_us = [int(took) for _, took in lines]

    def _make_bad(self, bad):
        begin, finish = self.start + self.phases.healthy, self.start + self.phases.healthy + self.phases.fault
        sleep_until(begin)
        self.bad_from = now()
        if self.fault == "hang":
            bad.process.handle.send_signal(signal.SIGSTOP)
        elif self.fault == "blackhole":
            self.network.cut()
        else:
            bad.be({"500": "error", "flap": "refuse"}.get(self.fault, self.fault))
        expect(FOUND[self.fault], self.fault)
        if self.fault == "flap":
            turn = 1
            while begin + turn * FLAP_SECONDS < finish:
                sleep_until(begin + turn * FLAP_SECONDS)
                bad.be("good" if turn % 2 else "refuse")
                turn += 1
        sleep_until(finish)
        if self.fault == "hang":
            bad.process.handle.send_signal(signal.SIGCONT)
        elif self.fault == "blackhole":
            self.network.mend()
        else:
            bad.be("good")
        self.bad_until = now()
        expect("200", self.fault)


def needed_tools():
    return [tool for tool in ("nginx", "haproxy", "cc", "ip", "unshare", "nsenter") if not find(tool)] + (
        [] if Path("/proc/self/ns/net").exists() else ["network namespaces"])
