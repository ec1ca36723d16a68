"""What a row is made of: figures, entrants, cells; and what the rows have in common.

A row's `cells` starts its entrants; each cell is then measured in turn, round after round (A B C A B C). Entrants that are not
being loaded sleep, and cost nothing.
"""

from dataclasses import dataclass, field
from typing import Callable

from . import host, peers
from .host import BenchError
from .load import Wrk, check_tls, get_once, measure
from .peers import EDGE_HOST

OURS, BEFORE = "countersign", "countersign before"
PEERS = ("nginx", "haproxy")
LIBSSL = "libssl"


@dataclass
class Figure:
    key: str        # what a sample calls it
    title: str
    unit: str
    target: float | None
    # peers: a ratio to the best of `judged_by`; first: to the contender's own first variant; growth: how the ratio to the own
    # first variant compares with the best peer's; floor: the difference to `judged_by[0]`; none: only reported.
    against: str = "peers"
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


@dataclass
class Entrant:
    contender: str
    entry: peers.Server          # the one under load
    measured: list | None = None  # servers whose CPU time counts; None: the one under load
    variant: str = ""

    @property
    def processes(self):
        return [server.process for server in self.measured or [self.entry]]


def cpu(title, target, unit="µs a request", **more):
    return Figure("cpu_us", title, unit, target, **more)


def builds(bench):
    """(name, program) of Countersign: the one that is measured and, where it was given, the one from before."""
    return [(OURS, host.COUNTERSIGN)] + ([(BEFORE, bench.before)] if bench.before else [])


def http2_hop(bench, server, calls=False):
    """Each as the one proxy between a client of HTTP/2, over TLS, and the backend, to which HTTP/1.1 is spoken, or HTTP/2 for `calls` of
    gRPC."""
    upstream, protocol = (server.http2, "http2") if calls else (str(server), "http1")
    entrants = [Entrant(name, peers.countersign(bench, "edge.yaml", EDGE_HOST, upstream, program=program, tls=True, protocol=protocol))
                for name, program in builds(bench)]
    if not calls:
        entrants.append(Entrant("nginx", peers.nginx(bench, "http.conf", EDGE_HOST, upstream, tls=True, ssl="ssl http2")))
    entrants.append(Entrant("haproxy", peers.haproxy(bench, "http.cfg", EDGE_HOST, upstream, tls=True, http2=True, server_http2=calls)))
    if "nghttpx" in bench.optional_peers:
        entrants.append(Entrant("nghttpx", peers.nghttpx(bench, EDGE_HOST, upstream, http2=calls)))
    return entrants


def single_hop(bench, upstreams, tls, log=False, optional=False):
    """Each as the one proxy between client and backend. `upstreams` is one for all, or gives the next entrant's own."""
    next_upstream = upstreams if callable(upstreams) else lambda: upstreams
    access_log = "./access.log" if log else "off"
    entrants = [Entrant(name, peers.countersign(bench, "edge.yaml", EDGE_HOST, next_upstream(), program=program, tls=tls,
                                                access_log=access_log))
                for name, program in builds(bench)]
    access_log = "access.log json buffer=64k flush=1s" if log else "off"
    entrants.append(Entrant("nginx", peers.nginx(bench, "http.conf", EDGE_HOST, next_upstream(), tls=tls, access_log=access_log)))
    entrants.append(Entrant("haproxy", peers.haproxy(bench, "http.cfg", EDGE_HOST, next_upstream(), tls=tls, log=log)))
    for name in [name for name in bench.optional_peers if name in peers.OPTIONAL] if optional else ():
        entrants.append(Entrant(name, peers.OPTIONAL[name](bench, EDGE_HOST, next_upstream(), tls)))
    return entrants


def check(entrant, tls, identity=True):
    """One request before anything is measured: it is answered, TLS agrees on what all agree on, and the client's address
    arrives at the backend (which nginx tells, and the other backend does not). For a client on loopback Envoy names an address
    of the machine instead of the client's."""
    get_once(entrant.entry.address, tls)
    if tls:
        check_tls(entrant.entry.address)
    if identity:
        text = get_once(entrant.entry.address, tls, "/seen")
        forwarded, _, signed = text.partition("|")
        signs = signed and entrant.contender in (OURS, BEFORE)
        if forwarded != "127.0.0.1" and not signs and not (forwarded and entrant.contender == "envoy"):
            raise BenchError(f"{entrant.contender} does not tell the backend who the client is: {text!r}")


def loaded_cells(bench, entrants, counter, tls, load=Wrk, per=1.0, warm_units=1500, identity=True, **options):
    """A cell for each entrant, under `load`."""
    cells = []
    for entrant in entrants:
        check(entrant, tls, identity)

        def sample(entrant=entrant):
            started = load(bench, entrant.entry.address, tls, **options)
            return measure(bench, entrant.processes, counter, started, per, warm_units)

        cells.append(Cell(entrant.contender, sample, entrant.variant))
    return cells
