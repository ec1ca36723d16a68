"""The rows of the table: who contends in each, under what load, and what is held against what. `row` says what they are made of."""

import random
import time

from . import peers
from .host import BenchError
from .load import Client, Counter, CurlDownloads, H2Load, Reading, Wrk, get_once, measure, measure_whole
from .peers import EDGE_HOST, VALIDATOR_HOST
from .process import running, stop_since
from .row import LIBSSL, OURS, PEERS, Cell, Entrant, Figure, Row, builds, check, cpu, http2_hop, loaded_cells, single_hop


def small_get(bench, tls, log=False, optional=False):
    server = peers.backend(bench)
    entrants = single_hop(bench, server, tls, log, optional)
    return loaded_cells(bench, entrants, Counter(server.status), tls)


def bound(bench):
    server = peers.backend(bench)
    entrants = [Entrant(name, peers.countersign(bench, "edge.yaml", EDGE_HOST, server.proxied, program=program, tls=True, proxy="v2"))
                for name, program in builds(bench)]
    entrants.append(Entrant("haproxy", peers.haproxy(bench, "http.cfg", EDGE_HOST, server.proxied, tls=True, bound=True)))
    cells = loaded_cells(bench, entrants, Counter(server.status), True)
    stream = Entrant("nginx stream", peers.nginx(bench, "stream.conf", EDGE_HOST, server.proxied, tls=True))
    return cells + loaded_cells(bench, [stream], Counter(server.status), True, identity=False)


def _second_hops(bench, upstream, variant=""):
    """Only the second hop is measured. The first is the same Countersign edge for all, on the load's processor: it makes each
    request a new one, validly signed, and so the same bytes arrive at each contender."""
    hops = [(name, peers.countersign(bench, "validator.yaml", VALIDATOR_HOST, upstream, program=program))
            for name, program in builds(bench)]
    hops.append(("nginx", peers.nginx(bench, "http.conf", VALIDATOR_HOST, upstream)))
    hops.append(("haproxy", peers.haproxy(bench, "http.cfg", VALIDATOR_HOST, upstream)))
    return [Entrant(name, peers.countersign(bench, "edge.yaml", EDGE_HOST, hop, processor=bench.load_processor), [hop], variant)
            for name, hop in hops]


def validator(bench):
    server = peers.backend(bench)
    return loaded_cells(bench, _second_hops(bench, server), Counter(server.status), False)


def unix_backend(bench):
    server = peers.backend(bench)
    entrants = _second_hops(bench, server, "TCP") + _second_hops(bench, server.unix, "unix socket")
    return loaded_cells(bench, entrants, Counter(server.status), False)


def two_hops(bench):
    server, entrants = peers.backend(bench), []
    for name, program in builds(bench):
        second = peers.countersign(bench, "validator.yaml", VALIDATOR_HOST, server, program=program)
        first = peers.countersign(bench, "edge.yaml", EDGE_HOST, second, program=program, tls=True)
        entrants.append(Entrant(name, first, [first, second]))
    second = peers.nginx(bench, "http.conf", VALIDATOR_HOST, server)
    first = peers.nginx(bench, "http.conf", EDGE_HOST, second, tls=True)
    entrants.append(Entrant("nginx", first, [first, second]))
    return loaded_cells(bench, entrants, Counter(server.status), True)


def handshakes(bench, resumed):
    server = peers.backend(bench)
    counter, cells = Counter(server.status), []
    for entrant in single_hop(bench, server, True):
        check(entrant, True)

        def sample(entrant=entrant):
            client = Client(bench, entrant.entry.address, True, mode="resume" if resumed else "new", connections=32)
            result = measure(bench, entrant.processes, counter, client, warm_units=100)
            share = result["client"]["reused"] / max(1, result["client"]["handshakes"])
            if resumed and share < 0.9 or not resumed and share > 0:
                raise BenchError(f"{share:.0%} of the connections were resumed")
            return result

        cells.append(Cell(entrant.contender, sample))
    return cells


def download(bench):
    server = peers.backend(bench)
    return loaded_cells(bench, single_hop(bench, server, True), Counter(server.status), True, path="/1m", warm_units=100,
                        connections=16)


def upload(bench):
    reader = peers.reading_backend(bench)
    counter = Counter(reader.address, "bytes")
    return loaded_cells(bench, single_hop(bench, reader, True, optional=True), counter, True, identity=False, per=1048576.0,
                        warm_units=100, connections=16, upload=True)


def h2load(bench):
    server = peers.backend(bench)
    entrants = single_hop(bench, server, True, optional=True)
    return loaded_cells(bench, entrants, Counter(server.status), True, load=H2Load)


def http2_get(bench, streams):
    server = peers.backend(bench)
    return loaded_cells(bench, http2_hop(bench, server), Counter(server.status), True, load=H2Load, connections=16, streams=streams)


def http2_download(bench, streams):
    server = peers.backend(bench)
    return loaded_cells(bench, http2_hop(bench, server), Counter(server.status), True, load=H2Load, path="/1m", warm_units=100,
                        connections=4, streams=streams)


def grpc_unary(bench):
    server = peers.backend(bench)
    message = bench.directory / "message"
    message.write_bytes(bytes([0, 0, 0, 0, 64]) + bytes(64))
    return loaded_cells(bench, http2_hop(bench, server, calls=True), Counter(server.status), True, load=H2Load,
                        path="/bench.Service/Unary", connections=16, streams=10, message=message)


def curl(bench):
    """A fixed amount of work, from the first connection to the last byte: curl cannot be asked how far it is."""
    server, cells = peers.backend(bench), []
    downloads = 4 if bench.quick else 16
    for entrant in single_hop(bench, server, True):
        check(entrant, True)

        def sample(entrant=entrant):
            return measure_whole(entrant.processes, CurlDownloads(bench, entrant.entry.address, downloads))

        cells.append(Cell(entrant.contender, sample))
    return cells


def latency(bench):
    """At half of the best peer's peak rate of the same run."""
    server = peers.backend(bench)
    entrants = single_hop(bench, server, True)
    counter, peaks = Counter(server.status), {}
    for entrant in entrants:
        check(entrant, True)
        if entrant.contender in PEERS:
            known = bench.median_of("tls-get", entrant.contender, "per_second")
            peaks[entrant.contender] = known or measure(bench, entrant.processes, counter,
                                                        Wrk(bench, entrant.entry.address, True))["per_second"]
    rate = max(peaks.values()) / 2
    bench.note(f"latency at {rate:.0f} requests/s, half of the best peer's peak")

    def sample(entrant):
        client = Client(bench, entrant.entry.address, True, connections=64, rate=rate, warm=bench.warm_seconds,
                        seconds=bench.round_seconds)
        before = Reading(entrant.processes)
        result = client.end(now=False)
        return {**result, "rate": rate, **before.disturbance(Reading(entrant.processes)),
                "kept_up": result["count"] / max(1.0, rate * result["seconds"])}

    return [Cell(entrant.contender, lambda entrant=entrant: sample(entrant)) for entrant in entrants]


def memory(bench):
    """A new process each round; what it grows by, over what it had after its first few connections."""
    server = peers.backend(bench)
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
            # Idle for long: what the connections' beginning took is given back by then, where a program gives back at all.
            time.sleep(0.5 if bench.quick else 15)
            after = entry.process.pss_bytes()
            client.end()
            return {"bytes": (after - before) / connections, "pss_before": before, "pss_after": after,
                    "connections": connections}
        finally:
            stop_since(mark)

    def cell(name, start, *arguments, **values):
        return Cell(name, lambda: sample(lambda: start(bench, *arguments, tls=True, **values)))

    ours = [cell(name, peers.countersign, "edge.yaml", EDGE_HOST, server, program=program) for name, program in builds(bench)]
    return [*ours, cell("nginx", peers.nginx, "http.conf", EDGE_HOST, server),
            cell("haproxy", peers.haproxy, "http.cfg", EDGE_HOST, server), cell(LIBSSL, peers.floor, EDGE_HOST)]


def connections(bench):
    """Each has a backend of its own, for together their idle connections are more than one may have open."""
    backends = []

    def next_backend():
        backends.append(peers.backend(bench))
        return backends[-1]

    entrants = single_hop(bench, next_backend, True)
    cells = []
    for count in (10, 1000) if bench.quick else (10, 1000, 8000):
        for entrant, server in zip(entrants, backends):
            check(entrant, True)

            def sample(entrant=entrant, count=count, counter=Counter(server.status)):
                return measure(bench, entrant.processes, counter, Client(bench, entrant.entry.address, True, connections=count))

            cells.append(Cell(entrant.contender, sample, f"{count} connections"))
    return cells


def prefixes(bench):
    """Each request's client is found in a table of hops, behind a table of trusted peers, both of that many prefixes."""
    server, cells, chosen = peers.backend(bench), [], random.Random(3)
    counter = Counter(server.status)
    networks = chosen.sample([n for n in range(1 << 16, 223 << 16) if n >> 16 != 127], 100_000)
    for count in (10, 100_000):
        some = [n for n in networks[:count] if n != 198 << 16 | 51 << 8 | 100]
        listed = ", ".join(f"{n >> 16}.{n >> 8 & 255}.{n & 255}.0/24" for n in some)
        hop = f"{some[-1] >> 16}.{some[-1] >> 8 & 255}.{some[-1] & 255}.7"
        trust = (f"trust:\n      - {{ from: [{listed}], evidence: refuse }}\n"
                 f"      - {{ from: 127.0.0.0/8, evidence: forwarded, hops: [{listed}] }}")
        forwarded = f"198.51.100.9, {hop}"
        for name, program in builds(bench):
            ours = peers.countersign(bench, "edge.yaml", EDGE_HOST, server, program=program, trust=trust)
            get_once(ours.address, False, headers={"X-Forwarded-For": forwarded})

            def sample(ours=ours, forwarded=forwarded):
                return measure(bench, [ours.process], counter, Wrk(bench, ours.address, False, headers=[f"X-Forwarded-For: {forwarded}"]))

            cells.append(Cell(name, sample, f"{count:,} prefixes".replace(",", " ")))
    return cells


def routes(bench):
    """The last of them is the one that matches."""
    server, cells = peers.backend(bench), []
    counter = Counter(server.status)
    for count in (10, 1000):
        listed = "".join(f"\n  - {{ path_prefix: /service-{i:04}/, to: app }}" for i in range(count))
        path = f"/service-{count - 1:04}/state"
        for name, program in builds(bench):
            ours = peers.countersign(bench, "edge.yaml", EDGE_HOST, server, program=program, routes=listed)
            get_once(ours.address, False, path=path)

            def sample(ours=ours, path=path):
                return measure(bench, [ours.process], counter, Wrk(bench, ours.address, False, path))

            cells.append(Cell(name, sample, f"{count} routes"))
    return cells


def features(bench):
    """A route that only leads to its upstream, and one that asks five things more of each request."""
    server, cells = peers.backend(bench), []
    counter = Counter(server.status)
    five = ("\n  - { name: api, path_prefix: /api/, to: app, strip_prefix: /api, access: { allow: [127.0.0.0/8] }, hsts: 180d,\n"
            "      request_headers: { set: { X-Kind: api } }, response_headers: { set: { X-Frame-Options: DENY } } }")
    for what, listed, path in (("plain route", "[{ to: app }]", "/"), ("five features", five, "/api/")):
        for name, program in builds(bench):
            ours = peers.countersign(bench, "edge.yaml", EDGE_HOST, server, program=program, routes=listed, tls=True)
            get_once(ours.address, True, path=path)

            def sample(ours=ours, path=path):
                return measure(bench, [ours.process], counter, Wrk(bench, ours.address, True, path))

            cells.append(Cell(name, sample, what))
    return cells


def relay(bench):
    """Bytes there and back, with no HTTP between them: Countersign in a tunnel after an upgrade, the others below HTTP."""
    reader = peers.reading_backend(bench)
    message_bytes = 400
    counter = Counter(reader.address, "bytes")
    servers = [(name, peers.countersign(bench, "edge.yaml", EDGE_HOST, reader, program=program)) for name, program in builds(bench)]
    servers += [("nginx stream", peers.nginx(bench, "stream.conf", EDGE_HOST, reader)),
                ("haproxy tcp", peers.haproxy(bench, "tcp.cfg", EDGE_HOST, reader))]

    def sample(entry):
        client = Client(bench, entry.address, False, mode="tunnel", connections=64, message=message_bytes)
        return measure(bench, [entry.process], counter, client, per=message_bytes)

    return [Cell(contender, lambda entry=entry: sample(entry)) for contender, entry in servers]


def floor(bench):
    """The small GET of `plain-get` and `tls-get` through bench/load/floor.c, which only passes bytes on."""
    server = peers.backend(bench)
    counter, cells = Counter(server.status), []
    for variant, upstream, tls in (("TCP", server, False), ("unix socket to the backend", server.unix, False), ("TLS, TCP", server, True)):
        relay_only = Entrant("bare relay", peers.floor(bench, EDGE_HOST, upstream, tls=tls), variant=variant)
        cells += loaded_cells(bench, [relay_only], counter, tls, identity=False)
    return cells


ROWS = [
    Row("tls-get", [cpu("small GET, TLS 1.3 keep-alive, edge signing, shared", 0.75)], lambda b: small_get(b, True, optional=True)),
    Row("tls-get-log", [cpu("the same, access logs on in all", 0.85)], lambda b: small_get(b, True, log=True)),
    Row("tls-get-bound", [cpu("the same, bound with PROXY v2", 0.90, judged_by=("haproxy",))], bound,
        ["nginx sends PROXY headers (v1) only below HTTP, where it sets no X-Forwarded-For: shown, but not held against."]),
    Row("h2load", [cpu("small GET, TLS 1.3 keep-alive, from h2load --h1", 0.70)], h2load),
    *(Row(f"h2-get-{n}", [cpu(f"small GET over HTTP/2 and TLS, {n} at a time on a connection", 0.90)],
          lambda b, n=n: http2_get(b, n)) for n in (1, 10, 100)),
    *(Row(f"h2-download-{n}", [cpu(f"1 MiB response over HTTP/2 and TLS, {n} at a time on a connection", 0.90, "µs a MiB")],
          lambda b, n=n: http2_download(b, n)) for n in (1, 10, 100)),
    Row("grpc-unary", [cpu("unary calls of gRPC, HTTP/2 on both sides, TLS to the client", 0.90, "µs a call")],
        grpc_unary, ["Without nginx, which answers a few calls in 100,000 with 502 on connections to a server of its own."]),
    Row("plain-get", [cpu("small GET without TLS, edge signing", 0.90)], lambda b: small_get(b, False, optional=True)),
    Row("validator", [cpu("validator hop alone (verify, replay window, rewrite)", 0.90)], validator),
    Row("unix-backend", [cpu("validator hop, by the socket to its backend", 0.80, against="first")], unix_backend),
    Row("two-hops", [cpu("edge and validator together, against nginx → nginx", 0.75)], two_hops, shares_processor=True),
    Row("tls-new", [cpu("new TLS connection per request, ECDSA P-256, full", 0.95)], lambda b: handshakes(b, False)),
    Row("tls-resumed", [cpu("new TLS connection per request, resumed", 0.90)], lambda b: handshakes(b, True)),
    Row("download", [cpu("1 MiB response over TLS", 0.85, "µs a MiB")], download),
    Row("curl", [cpu("64 MiB responses over TLS, 8 at a time, to curl", 0.70, "µs a MiB")], curl),
    Row("upload", [cpu("1 MiB upload over TLS", 0.90, "µs a MiB")], upload),
    Row("latency", [Figure("p50_us", "latency at half of the best peer's peak rate, p50", "µs", 1.0),
                    Figure("p99_us", "latency at half of the best peer's peak rate, p99", "µs", 1.0)], latency),
    Row("memory", [Figure("bytes", "memory per idle TLS connection after one request", "bytes", None),
                   Figure("bytes", "the same, over what libssl alone takes", "bytes", 717, against="floor", judged_by=(LIBSSL,))],
        memory),
    Row("connections", [cpu("small GET over TLS, by connections", 1.0, against="growth")], connections),
    Row("prefixes", [cpu("small GET, by trust prefixes", 1.2, against="first")], prefixes),
    Row("routes", [cpu("small GET, by routes", 1.2, against="first")], routes),
    Row("features", [cpu("small GET over TLS, by what its route asks", 1.05, against="first")], features,
        ["Five features: a prefix stripped, access by address, a field set in the request, one in the response, and HSTS."]),
    Row("relay", [cpu("raw relay, 400 bytes there and back", None, "µs a round trip", against="none")], relay,
        ["Countersign's is a WebSocket's tunnel in the same engine: it has no mode below HTTP."]),
    Row("floor", [cpu("small GET through a relay that only passes bytes on", None, against="none")], floor),
]
