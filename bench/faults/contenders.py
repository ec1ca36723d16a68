"""The three proxies of bench/faults, configured alike: who they are, their configurations, what they run as.

Timeouts, tries and intervals are the same for all: connecting 1 s, an answer's head 3 s, a check each second that may take
500 ms, two of them to take a server out or back, five failures within ten seconds to leave it alone for ten.
"""

import re
import subprocess
from dataclasses import dataclass

from harness.host import BenchError, find
from harness.process import Process

PROXY_HOST = "127.0.0.2"  # clients are 127.0.0.1, which no proxy listens on
RESPONSE_SECONDS, EJECT_SECONDS = 3, 10

# What Countersign may know, and what it is then told: with no such key its own default holds.
OPTIONAL_KEYS = {
    "health": "health: { path: /healthz, interval: 1s, timeout: 500ms, rise: 2, fall: 2 }",
    "passive": f"passive: {{ failures: 5, window: 10s, eject: {EJECT_SECONDS}s, max_ejected: 50%, status: [500-599] }}",
    "retries.budget": "budget: 20%",
    "retries.on": "on: [connect, reset, timeout]",
}


@dataclass(frozen=True)
class Contender:
    """A proxy with or without active checks; `checks` is None for nginx, whose open version has none."""

    program: str
    checks: bool | None

    @property
    def name(self):
        return self.program + {None: "", True: "-active", False: "-passive"}[self.checks]

    def stands_for(self, mode):
        """Whether it is the one to show in the rows of this mode: passive or active."""
        return self.checks is None or self.checks == (mode == "active")


CONTENDERS = [Contender("countersign", False), Contender("countersign", True), Contender("nginx", None),
              Contender("haproxy", False), Contender("haproxy", True)]


def countersign(listen, servers, checks, keys):
    """`keys`: those of OPTIONAL_KEYS that this program knows."""
    retries = ", ".join(["count: 2", *(OPTIONAL_KEYS[key] for key in ("retries.budget", "retries.on") if key in keys)])
    more = [OPTIONAL_KEYS["passive"]] if "passive" in keys else []
    if checks and "health" in keys:
        more.append(OPTIONAL_KEYS["health"])
    lines = "\n".join(f"    {line}" for line in [f"retries: {{ {retries} }}", *more])
    listed = ", ".join(f'"{server}"' for server in servers)
    return f"""listeners:
  - {{ name: web, listen: "{listen}", trust: [{{ from: any, evidence: socket }}] }}
routes: [{{ to: app }}]
upstreams:
  app:
    identity: plain
    servers: [{listed}]
    balance: round-robin
{lines}
timeouts: {{ upstream_connect: 1s, upstream_response: {RESPONSE_SECONDS}s }}
log: {{ access: off }}
workers: 1
"""


def known_keys(program, directory):
    """(the keys of OPTIONAL_KEYS that the program knows, what `check` warns of when it is given those). What it says against a key
    that it does know is an error: a configuration that is quietly a lesser one would be measured."""
    path = directory / "known.yaml"

    def check(keys):
        path.write_text(countersign(f"{PROXY_HOST}:8000", ["127.0.0.3:8000"], True, keys))
        done = subprocess.run([program, "check", "-c", path], capture_output=True, text=True, check=False)
        return done.returncode == 0, [line for line in done.stderr.splitlines() if line.startswith(f"{path}:")]

    unknown = set()
    for line in check(set(OPTIONAL_KEYS))[1]:
        found = re.search(r": unknown key `([a-z_]+)` in `upstreams\.app(\.retries)?`", line)
        name = found and (f"retries.{found[1]}" if found[2] else found[1])
        if name in OPTIONAL_KEYS:
            unknown.add(name)
    known = set(OPTIONAL_KEYS) - unknown
    is_good, lines = check(known)
    if not is_good:
        raise BenchError(f"{program} does not take the configuration: {' '.join(lines)}")
    return known, [re.sub(r"^.*?: warning: ", "", line) for line in lines]


def nginx(listen, servers, directory):
    temporary = "\n".join(f"  {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    listed = "\n".join(f"    server {server} max_fails=5 fail_timeout={EJECT_SECONDS}s;" for server in servers)
    return f"""user root;
worker_processes 1;
daemon off;
pid {directory}/pid;
error_log stderr crit;
events {{ worker_connections 8000; }}
http {{
  access_log off;
{temporary}
  keepalive_requests 1000000;
  keepalive_timeout 1h;
  upstream app {{
    zone app 256k;
{listed}
    keepalive 64;
    keepalive_requests 1000000;
    keepalive_timeout 60s;
  }}
  server {{
    listen {listen} backlog=4096;
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_connect_timeout 1s;
      proxy_send_timeout {RESPONSE_SECONDS}s;
      proxy_read_timeout {RESPONSE_SECONDS}s;
      proxy_next_upstream error timeout;
      proxy_next_upstream_tries 3;
    }}
  }}
}}
"""


def haproxy(listen, servers, checks):
    """Without active checks a server that `observe` has taken out comes back by a connection that can be made, tried every 10 s:
    HAProxy has no other way back. `redispatch 1`: each further try goes to another server, at once."""
    if checks:
        check = "option httpchk\n  http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host app.example"
        options = "check inter 1s fall 2 rise 2"
    else:
        check, options = "# no requests as checks", f"check inter {EJECT_SECONDS}s fall 1 rise 1"
    listed = "\n".join(f"  server s{number} {server} {options} observe layer7 error-limit 5 on-error mark-down"
                       for number, server in enumerate(servers, 1))
    return f"""global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 1s
  timeout client 1h
  timeout http-keep-alive 1h
  timeout server {RESPONSE_SECONDS}s
  timeout queue 1s
  timeout check 500ms
  option http-keep-alive
  option forwardfor
  option redispatch 1
  retries 3
  retry-on conn-failure empty-response response-timeout
listen web
  bind {listen} backlog 4096
  balance roundrobin
  http-request disable-l7-retry unless {{ method GET HEAD }}
  {check}
{listed}
"""


class Proxies:
    """Starts contenders; each gets a directory of its own below `directory`."""

    def __init__(self, program, keys, directory, processor):
        self.program, self.keys, self.directory, self.processor = program, keys, directory, processor

    def start(self, contender, name, port, servers):
        directory = self.directory / name
        directory.mkdir(parents=True)
        listen = f"{PROXY_HOST}:{port}"
        if contender.program == "countersign":
            text, suffix = countersign(listen, servers, contender.checks, self.keys), "yaml"
        elif contender.program == "nginx":
            text, suffix = nginx(listen, servers, directory), "conf"
        else:
            text, suffix = haproxy(listen, servers, contender.checks), "cfg"
        path = directory / f"{contender.program}.{suffix}"
        path.write_text(text)
        command = {"countersign": [self.program, "run", "-c", path],
                   "nginx": [find("nginx"), "-p", directory, "-e", "stderr", "-c", path],
                   "haproxy": [find("haproxy"), "-db", "-f", path]}[contender.program]
        process = Process(contender.program, command, self.processor, directory)
        process.wait_listening((PROXY_HOST, port))
        if contender.program == "nginx":
            process.wait_child()
        return process
