"""The rows of the table: who contends in each, under what load, and what is held against what.

A row's `cells` starts its contenders; each cell is then measured in turn, round after round (A B C A B C). Contenders that are not
being loaded sleep, and cost nothing.
"""

import random
import time
from dataclasses import dataclass, field
from typing import Callable

from . import load, peers
from .host import BenchError
from .load import Client, Counter, Wrk, get_once, measure
from .peers import BACKEND_HOST, EDGE_HOST, VALIDATOR_HOST
from .process import cpu_of, running, stop_since

OURS = "countersign"
PEERS = ("nginx", "haproxy")


@dataclass
class Figure:
    key: str        # what a sample calls it
    title: str
    unit: str
    target: float | None
    against: str = "peers"   # peers: the best of them; first: the contender's own first variant; none: only reported
    judged_by: tuple = PEERS


@dataclass
class Cell:
    contender: str
    sample: Callable
    variant: str = ""

    @property
    def name(self):
        return f"{self.contender} {self.variant}".strip()


@dataclass
class Row:
    key: str
    figures: list
    cells: Callable
    notes: list = field(default_factory=list)
    shares_processor: bool = False  # two measured processes wait for each other there; that is no disturbance


def cpu(title, target, unit="µs a request", **more):
    return Figure("cpu_us", title, unit, target, **more)


def _agree(agreed, name, found):
    """What TLS agreed on must be the same for all of a row, or they are not compared."""
    if found is None:
        return
    agreed.setdefault("tls", found)
    if agreed["tls"] != found:
        raise BenchError(f"{name} agrees on {found}, the others on {agreed['tls']}")


def _wrk_cells(bench, servers, counter, tls, per=1.0, path="/", warm_units=1500, **load_options):
    """A cell for each of (contender, servers measured, server under load)."""
    agreed, cells = {}, []
    for contender, measured, entry in servers:
        _agree(agreed, contender, get_once(entry.address, tls))
        processes = [server.process for server in measured]

        def sample(processes=processes, entry=entry):
            return measure(bench, processes, counter, Wrk(bench, entry.address, tls, path, **load_options), per, warm_units)

        cells.append(Cell(contender, sample))
    return cells


def _single_hop(bench, upstream, tls, log=False):
    """The three as the one proxy between client and backend, which may be one for all or one for each."""
    first, second, third = upstream if isinstance(upstream, list) else [upstream] * 3
    ours = peers.countersign(bench, "edge.yaml", EDGE_HOST, first, tls=tls, access_log="./access.log" if log else "off")
    nginx = peers.nginx(bench, "http.conf", EDGE_HOST, second, tls=tls,
                        access_log="access.log json buffer=64k flush=1s" if log else "off")
    haproxy = peers.haproxy(bench, "http.cfg", EDGE_HOST, third, tls=tls, log=log)
    return [(OURS, [ours], ours), ("nginx", [nginx], nginx), ("haproxy", [haproxy], haproxy)]


def small_get(bench, tls, log=False):
    server, _, status = peers.backend(bench)
    return _wrk_cells(bench, _single_hop(bench, server, tls, log), Counter(status), tls)


def bound(bench):
    _, proxied, status = peers.backend(bench)
    ours = peers.countersign(bench, "edge.yaml", EDGE_HOST, proxied, tls=True, proxy="v2")
    haproxy = peers.haproxy(bench, "http.cfg", EDGE_HOST, proxied, tls=True, bound=True)
    stream = peers.nginx(bench, "stream.conf", EDGE_HOST, proxied, tls=True)
    servers = [(OURS, [ours], ours), ("haproxy", [haproxy], haproxy), ("nginx stream", [stream], stream)]
    return _wrk_cells(bench, servers, Counter(status), True)


def validator(bench):
    """Only the second hop is measured. The first is the same Countersign edge for all, on the load's processor: it makes each
    request a new one, validly signed, and so the same bytes arrive at each contender."""
    server, _, status = peers.backend(bench)
    second = [
        (OURS, peers.countersign(bench, "validator.yaml", VALIDATOR_HOST, server)),
        ("nginx", peers.nginx(bench, "http.conf", VALIDATOR_HOST, server)),
        ("haproxy", peers.haproxy(bench, "http.cfg", VALIDATOR_HOST, server)),
    ]
    servers = [(name, [hop], peers.countersign(bench, "edge.yaml", EDGE_HOST, hop, processor=bench.load_processor))
               for name, hop in second]
    return _wrk_cells(bench, servers, Counter(status), False)


def two_hops(bench):
    server, _, status = peers.backend(bench)
    ours = peers.countersign(bench, "validator.yaml", VALIDATOR_HOST, server)
    ours_edge = peers.countersign(bench, "edge.yaml", EDGE_HOST, ours, tls=True)
    nginx = peers.nginx(bench, "http.conf", VALIDATOR_HOST, server)
    nginx_edge = peers.nginx(bench, "http.conf", EDGE_HOST, nginx, tls=True)
    servers = [(OURS, [ours_edge, ours], ours_edge), ("nginx", [nginx_edge, nginx], nginx_edge)]
    return _wrk_cells(bench, servers, Counter(status), True)


def handshakes(bench, resumed):
    server, _, status = peers.backend(bench)
    counter, agreed, cells = Counter(status), {}, []
    for contender, _, entry in _single_hop(bench, server, True):
        _agree(agreed, contender, get_once(entry.address, True))

        def sample(entry=entry):
            client = Client(bench, entry.address, True, mode="resume" if resumed else "new", connections=32)
            result = measure(bench, [entry.process], counter, client, warm_units=100)
            share = result["client"]["reused"] / max(1, result["client"]["handshakes"])
            if resumed and share < 0.9 or not resumed and share > 0:
                raise BenchError(f"{share:.0%} of the connections were resumed")
            return result

        cells.append(Cell(contender, sample))
    return cells


def download(bench):
    server, _, status = peers.backend(bench)
    return _wrk_cells(bench, _single_hop(bench, server, True), Counter(status), True, path="/1m", warm_units=100, connections=16)


def upload(bench):
    reader = peers.reading_backend(bench)
    counter = Counter(reader.address, "bytes")
    return _wrk_cells(bench, _single_hop(bench, reader, True), counter, True, per=1048576.0, warm_units=100, connections=16, upload=True)


def latency(bench):
    """At half of the best peer's peak rate of the same run."""
    server, _, status = peers.backend(bench)
    servers = _single_hop(bench, server, True)
    counter, peaks = Counter(status), {}
    for contender, measured, entry in servers:
        get_once(entry.address, True)
        if contender in PEERS:
            known = bench.median_of("tls-get", contender, "per_second")
            peaks[contender] = known or measure(bench, [entry.process], counter, Wrk(bench, entry.address, True))["per_second"]
    rate = max(peaks.values()) / 2
    bench.note(f"latency at {rate:.0f} requests/s, half of the best peer's peak")

    def sample(entry):
        client = Client(bench, entry.address, True, connections=64, rate=rate, warm=bench.warm_seconds,
                        seconds=bench.round_seconds)
        before, began = cpu_of([entry.process]), time.monotonic()
        result = client.end(now=False)
        waited = cpu_of([entry.process])[1] - before[1]
        return {**result, "rate": rate, "starved": waited / 1e9 / (time.monotonic() - began),
                "kept_up": result["count"] / max(1.0, rate * result["seconds"])}

    return [Cell(contender, lambda entry=entry: sample(entry)) for contender, _, entry in servers]


def memory(bench):
    """A new process each round; what it grows by, over what it had after its first few connections."""
    server, _, _ = peers.backend(bench)
    connections = 500 if bench.quick else 5000

    def sample(start):
        mark = running()
        try:
            entry = start()
            get_once(entry.address, True)
            Client(bench, entry.address, True, mode="hold", connections=10).end()
            time.sleep(0.3)
            before = entry.process.pss_bytes()
            client = Client(bench, entry.address, True, mode="hold", connections=connections)
            time.sleep(0.5 if bench.quick else 1.5)
            after = entry.process.pss_bytes()
            client.end()
            return {"bytes": (after - before) / connections, "pss_before": before, "pss_after": after,
                    "connections": connections}
        finally:
            stop_since(mark)

    def ours():
        return peers.countersign(bench, "edge.yaml", EDGE_HOST, server, tls=True)

    def nginx():
        return peers.nginx(bench, "http.conf", EDGE_HOST, server, tls=True)

    def haproxy():
        return peers.haproxy(bench, "http.cfg", EDGE_HOST, server, tls=True)

    return [Cell(name, lambda start=start: sample(start)) for name, start in ((OURS, ours), ("nginx", nginx), ("haproxy", haproxy))]


def connections(bench):
    """Each has a backend of its own, for together their idle connections are more than one may have open."""
    backends = [peers.backend(bench) for _ in range(3)]
    servers = _single_hop(bench, [server for server, _, _ in backends], True)
    counters = [Counter(status) for _, _, status in backends]
    cells = []
    for count in (10, 1000) if bench.quick else (10, 1000, 8000):
        for (contender, _, entry), counter in list(zip(servers, counters))[:1 if bench.quick else 3]:
            def sample(entry=entry, count=count, counter=counter):
                return measure(bench, [entry.process], counter, Client(bench, entry.address, True, connections=count))

            cells.append(Cell(contender, sample, f"{count} connections"))
    return cells


def prefixes(bench):
    """Each request's client is found in a table of hops, behind a table of trusted peers, both of that many prefixes."""
    server, _, status = peers.backend(bench)
    counter, cells, chosen = Counter(status), [], random.Random(3)
    networks = chosen.sample([n for n in range(1 << 16, 223 << 16) if n >> 16 != 127], 100_000)
    header = "X-Forwarded-For: 198.51.100.9, {}"
    for count in (10, 100_000):
        some = [n for n in networks[:count] if n != 198 << 16 | 51 << 8 | 100]
        listed = ", ".join(f"{n >> 16}.{n >> 8 & 255}.{n & 255}.0/24" for n in some)
        hop = f"{some[-1] >> 16}.{some[-1] >> 8 & 255}.{some[-1] & 255}.7"
        trust = (f"trust:\n      - {{ from: [{listed}], evidence: refuse }}\n"
                 f"      - {{ from: 127.0.0.0/8, evidence: forwarded, hops: [{listed}] }}")
        ours = peers.countersign(bench, "edge.yaml", EDGE_HOST, server, trust=trust)
        forwarded = header.format(hop)
        get_once(ours.address, False, headers=dict([forwarded.split(": ", 1)]))

        def sample(ours=ours, forwarded=forwarded):
            return measure(bench, [ours.process], counter, Wrk(bench, ours.address, False, headers=[forwarded]))

        cells.append(Cell(OURS, sample, f"{count:,} prefixes".replace(",", " ")))
    return cells


def routes(bench):
    """The last of them is the one that matches."""
    server, _, status = peers.backend(bench)
    counter, cells = Counter(status), []
    for count in (10, 1000):
        listed = "".join(f"\n  - {{ path: '/service-{i:04}/.*', to: app }}" for i in range(count))
        path = f"/service-{count - 1:04}/state"
        ours = peers.countersign(bench, "edge.yaml", EDGE_HOST, server, routes=listed)
        get_once(ours.address, False, path=path)

        def sample(ours=ours, path=path):
            return measure(bench, [ours.process], counter, Wrk(bench, ours.address, False, path))

        cells.append(Cell(OURS, sample, f"{count} routes"))
    return cells


def relay(bench):
    """Bytes there and back, with no HTTP between them: Countersign in a tunnel after an upgrade, the others below HTTP."""
    reader = peers.reading_backend(bench)
    message_bytes = 400
    counter = Counter(reader.address, "bytes")
    servers = [(OURS, peers.countersign(bench, "edge.yaml", EDGE_HOST, reader)),
               ("nginx stream", peers.nginx(bench, "stream.conf", EDGE_HOST, reader)),
               ("haproxy tcp", peers.haproxy(bench, "tcp.cfg", EDGE_HOST, reader))]

    def sample(entry):
        client = Client(bench, entry.address, False, mode="tunnel", connections=64, message=message_bytes)
        return measure(bench, [entry.process], counter, client, per=message_bytes)

    return [Cell(contender, lambda entry=entry: sample(entry)) for contender, entry in servers]


ROWS = [
    Row("tls-get", [cpu("small GET, TLS 1.3 keep-alive, edge signing, shared", 0.85)], lambda b: small_get(b, True)),
    Row("tls-get-log", [cpu("the same, access logs on in all", 0.85)], lambda b: small_get(b, True, log=True)),
    Row("tls-get-bound", [cpu("the same, bound with PROXY v2", 0.90, judged_by=("haproxy",))], bound,
        ["nginx sends PROXY headers (v1) only below HTTP, where it sets no X-Forwarded-For: shown, but not held against."]),
    Row("plain-get", [cpu("small GET without TLS, edge signing", 0.90)], lambda b: small_get(b, False)),
    Row("validator", [cpu("validator hop alone (verify, replay window, rewrite)", 0.90)], validator),
    Row("two-hops", [cpu("edge and validator together, against nginx → nginx", 0.85)], two_hops, shares_processor=True),
    Row("tls-new", [cpu("new TLS connection per request, ECDSA P-256, full", 0.95)], lambda b: handshakes(b, False)),
    Row("tls-resumed", [cpu("new TLS connection per request, resumed", 0.95)], lambda b: handshakes(b, True)),
    Row("download", [cpu("1 MiB response over TLS", 0.85, "µs a MiB")], download),
    Row("upload", [cpu("1 MiB upload over TLS", 0.85, "µs a MiB")], upload),
    Row("latency", [Figure("p50_us", "latency at half of the best peer's peak rate, p50", "µs", 1.0),
                    Figure("p99_us", "latency at half of the best peer's peak rate, p99", "µs", 1.0)], latency),
    Row("memory", [Figure("bytes", "memory per idle TLS connection after one request", "bytes", 0.75)], memory),
    Row("connections", [cpu("small GET over TLS, by connections", 1.2, against="first")], connections),
    Row("prefixes", [cpu("small GET, by trust prefixes", 1.2, against="first")], prefixes),
    Row("routes", [cpu("small GET, by routes", 1.2, against="first")], routes),
    Row("relay", [cpu("raw relay as the floor, 400 bytes there and back", None, "µs a round trip", against="none")], relay,
        ["Countersign's is a WebSocket's tunnel in the same engine: it has no mode below HTTP."]),
]
