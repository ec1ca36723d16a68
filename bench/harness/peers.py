"""Contenders: fills the configurations in bench/peers and starts the program. What stands between @ signs is filled in."""

import re
from dataclasses import dataclass

from . import host, optional
from .host import BENCH, COUNTERSIGN, WORK, BenchError, find
from .process import Process, free_port

# Each in its own place; clients come from 127.0.0.1, which no proxy listens on.
EDGE_HOST, VALIDATOR_HOST, BACKEND_HOST = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@dataclass
class Server:
    """A running one: where it listens, and what it runs as."""

    process: Process
    address: tuple

    def __str__(self):
        return "{}:{}".format(*self.address)


@dataclass
class Backend(Server):
    """Also where it takes PROXY headers, its unix socket, where it speaks HTTP/2 without TLS, and where it tells its count of requests."""

    proxied: str
    unix: str
    status: tuple
    http2: str


def fill(template, **values):
    text = (BENCH / "peers" / template).read_text()
    tls = values.pop("tls", False)
    values.setdefault("ssl", "ssl" if tls else "")
    values.setdefault("certificate", WORK / "certs/server.pem")
    values.setdefault("key", WORK / "certs/server.key")
    values.setdefault("files", host.FILES_MAX)
    values.setdefault("stream_module", host.NGINX_STREAM)
    lines = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        if re.match(r"^\s*@TLS@", line):
            if not tls:
                continue
            line = line.replace("@TLS@ ", "", 1)
        line = re.sub(r"@([A-Z_]+)@", lambda found: str(values[found.group(1).lower()]), line)
        lines.append(line)
    return "\n".join(lines) + "\n"


def nginx(bench, template, at, upstream="", processor=None, **values):
    address = (at, free_port(at))
    values.setdefault("access_log", "off")
    name = bench.new_name("nginx")
    directory = bench.directory / name
    directory.mkdir(parents=True)
    text = fill(f"nginx/{template}", listen="{}:{}".format(*address), upstream=upstream, dir=directory, **values)
    path = directory / "nginx.conf"
    path.write_text(text)
    process = Process("nginx", [find("nginx"), "-p", directory, "-e", "stderr", "-c", path],
                      bench.proxy_processor if processor is None else processor, directory)
    process.wait_listening(address)
    process.wait_child()  # the master listens before its worker runs
    return Server(process, address)


def haproxy(bench, template, at, upstream, tls=False, bound=False, log=False, http2=False, server_http2=False):
    address = (at, free_port(at))
    directory = bench.directory / bench.new_name("haproxy")
    directory.mkdir(parents=True)
    # One file for chain and key; groups are set where it binds.
    bind = f"ssl crt {WORK / 'certs/server-haproxy.pem'} curves X25519:P-256:P-384{' alpn h2,http/1.1' if http2 else ''}" if tls else ""
    text = fill(f"haproxy/{template}", listen="{}:{}".format(*address), upstream=str(upstream).replace("unix:", "unix@"), ssl=bind,
                scheme="https" if tls else "http", proxy="send-proxy-v2" if bound else "proto h2" if server_http2 else "",
                reuse="never" if bound else "always",
                log_global="log stdout format raw local0" if log else "", log="log global\n  option httplog" if log else "")
    path = directory / "haproxy.cfg"
    path.write_text(text)
    with open(directory / "access.log", "wb") as output:
        process = Process("haproxy", [find("haproxy"), "-db", "-f", path], bench.proxy_processor, directory, output)
    process.wait_listening(address)
    return Server(process, address)


def countersign(bench, template, at, upstream, processor=None, program=COUNTERSIGN, tls=False, **values):
    address = (at, free_port(at))
    directory = bench.directory / bench.new_name("countersign")
    directory.mkdir(parents=True)
    for keys in ("edge.jwks.json", "validator.jwks.json"):
        copy = directory / keys
        copy.touch(mode=0o600)
        copy.write_bytes((WORK / keys).read_bytes())
    values = {"access_log": "off", "proxy": "off", "trust": "trust: []", "routes": "[{ to: app }]", "protocol": "http1", **values}
    path = directory / "countersign.yaml"
    path.write_text(fill(f"countersign/{template}", listen="{}:{}".format(*address), upstream=upstream, tls=tls, **values))
    process = Process("countersign", [program, "run", "-c", path],
                      bench.proxy_processor if processor is None else processor, directory)
    process.wait_listening(address, seconds=60)
    return Server(process, address)


def envoy(bench, at, upstream, tls):
    host_name, _, port = str(upstream).rpartition(":")
    return _optional(bench, "envoy", "envoy.yaml", at, tls, ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart", "-c"],
                     upstream_host=host_name, upstream_port=port)


def caddy(bench, at, upstream, tls):
    return _optional(bench, "caddy", "Caddyfile", at, tls, ["run", "--adapter", "caddyfile", "--config"], upstream=upstream,
                     scheme="https" if tls else "http")


def traefik(bench, at, upstream, tls):
    """Its configuration is two files: what is read at its start, and the routes that the first one names."""
    return _optional(bench, "traefik", "traefik.yaml", at, tls, ["--configFile"], upstream=upstream, other="routes.yaml")


OPTIONAL = {"envoy": envoy, "caddy": caddy, "traefik": traefik}


def nghttpx(bench, at, upstream, http2=False):
    """The proxy of libnghttp2's author, in C++ and by the same library, over TLS. One worker, as it has by itself."""
    address = (at, free_port(at))
    directory = bench.directory / bench.new_name("nghttpx")
    directory.mkdir(parents=True)
    host_name, _, port = str(upstream).rpartition(":")
    path = directory / "nghttpx.conf"
    path.write_text(fill("nghttpx/nghttpx.conf", listen_host=address[0], listen_port=address[1], upstream_host=host_name,
                         upstream_port=port, proto="h2" if http2 else "http/1.1", dir=directory))
    process = Process("nghttpx", [optional.program("nghttpx"), f"--conf={path}"], bench.proxy_processor, directory)
    process.wait_listening(address)
    process.wait_child()  # the main process listens before its worker runs
    return Server(process, address)


def _optional(bench, name, template, at, tls, arguments, other=None, **values):
    """Those that Debian has no package of, or an old one. One thread does the work, as everywhere: Envoy by its option, what is
    written in Go by the number of threads that run Go at once."""
    address = (at, free_port(at))
    directory = bench.directory / bench.new_name(name)
    directory.mkdir(parents=True)
    for file in filter(None, (template, other)):
        (directory / file).write_text(fill(f"{name}/{file}", tls=tls, listen="{}:{}".format(*address), listen_host=address[0],
                                           listen_port=address[1], dir=directory, **values))
    environment = {"GOMAXPROCS": "1", "HOME": str(directory), "XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    process = Process(name, [optional.program(name), *arguments, directory / template], bench.proxy_processor, directory,
                      environment=environment)
    process.wait_listening(address)
    return Server(process, address)


def floor(bench, at, upstream=None, tls=False):
    """bench/load/floor.c: passes bytes on, or answers by itself."""
    address = (at, free_port(at))
    certificate = ["--tls", WORK / "certs/server.pem", WORK / "certs/server.key"] if tls else []
    to = [] if upstream is None else [upstream] if isinstance(upstream, str) else list(upstream.address)
    process = Process("floor", [WORK / "floor", *certificate, *address, *to], bench.proxy_processor, bench.directory)
    process.wait_listening(address)
    return Server(process, address)


def backend(bench):
    """nginx with the small answer."""
    proxy, status, http2 = ((BACKEND_HOST, free_port(BACKEND_HOST)) for _ in range(3))
    server = nginx(bench, "backend.conf", BACKEND_HOST, processor=bench.load_processor, files_directory=WORK,
                   listen_proxy="{}:{}".format(*proxy), listen_status="{}:{}".format(*status), listen_calls="{}:{}".format(*http2))
    return Backend(server.process, server.address, "{}:{}".format(*proxy), f"unix:{server.process.directory}/socket", status,
                   "{}:{}".format(*http2))


def reading_backend(bench):
    """bench/load/backend.c: reads uploads, echoes after an upgrade."""
    address = (BACKEND_HOST, free_port(BACKEND_HOST))
    process = Process("backend", [WORK / "backend", *address], bench.load_processor, bench.directory)
    process.wait_listening(address)
    return Server(process, address)
