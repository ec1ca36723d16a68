"""The machine: what has to be installed, which processors there are, and what a result must say about where it came from."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
WORK = ROOT / ".build" / "bench"
COUNTERSIGN = Path(os.environ.get("COUNTERSIGN_BIN", ROOT / ".build" / "release" / "countersign"))
FILES_MAX = 20000

# command: Debian package
TOOLS = {"nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk", "h2load": "nghttp2-client", "curl": "curl",
         "openssl": "openssl", "cc": "gcc"}

NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


class BenchError(Exception):
    """Something that keeps the bench, or one row of it, from going on; its text is for whoever runs it."""


class Disturbed(BenchError):
    """A round in which too little happened to be measured, as where other processes hold the processors for seconds."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(*command, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    done = subprocess.run([str(part) for part in command], text=True, check=False, **options)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def find(tool):
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")


def install():
    """Debian's packages, where a command of theirs is missing. No service of theirs is left running."""
    missing = sorted({package for tool, package in TOOLS.items() if not find(tool)})
    if not NGINX_STREAM.exists():
        missing.append("libnginx-mod-stream")
    if missing:
        install_packages(missing)


def install_packages(missing):
    if not shutil.which("apt-get"):
        raise BenchError(f"not a Debian system; needed are: {' '.join(missing)}")
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    say(f"bench: installing {' '.join(missing)}")
    # Run level 1 keeps the packages' services from being started.
    install = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"]
    run(*install, "update", "-qq", stdin=subprocess.DEVNULL)
    run(*install, "install", "-y", "-qq", "--no-install-recommends", *missing, stdin=subprocess.DEVNULL)
    if Path("/run/systemd/system").is_dir():
        for package, service in (("nginx", "nginx"), ("haproxy", "haproxy"), ("nghttp2-proxy", "nghttpx")):
            if package in missing:
                subprocess.run([*as_root, "systemctl", "disable", "--now", "--quiet", service], check=False)


def build(name, *libraries):
    """A program of load/, where it is missing or older than its source."""
    WORK.mkdir(parents=True, exist_ok=True)
    source = BENCH / "load" / f"{name}.c"
    if not (WORK / name).exists() or (WORK / name).stat().st_mtime < source.stat().st_mtime:
        run("cc", "-O2", "-Wall", "-Wextra", "-o", WORK / name, source, *libraries)


def prepare():
    """Load programs, keys, one certificate for all, the large files."""
    build("client", "-lssl", "-lcrypto")
    build("floor", "-lssl", "-lcrypto")
    build("backend")
    if not COUNTERSIGN.exists():
        raise BenchError(f"{COUNTERSIGN} is not there: make build")
    for old in WORK.glob("*.jwks.json"):
        old.unlink()
    run(COUNTERSIGN, "keys", "new", "--kid", "bench", "--algorithm", "hmac", "--out", WORK / "edge.jwks.json")
    run(COUNTERSIGN, "keys", "export", "--audience", "validator", "--in", WORK / "edge.jwks.json",
        "--out", WORK / "validator.jwks.json")
    run(COUNTERSIGN, "certs", "dev", "--out", WORK / "certs")
    both = WORK / "certs" / "server-haproxy.pem"  # HAProxy wants chain and key in one file
    both.touch(mode=0o600)
    both.write_text((WORK / "certs/server.pem").read_text() + (WORK / "certs/server.key").read_text())
    (WORK / "1m").write_bytes(bytes(range(256)) * 4096)
    (WORK / "64m").write_bytes(bytes(range(256)) * 4096 * 64)


def processors():
    """(for the proxy, for load and backend): two that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError("two processors are needed: one for the proxy, one for the load and the backend")
    return allowed[-1], allowed[0]


def commit():
    try:
        name = run("git", "-C", ROOT, "rev-parse", "--short=10", "HEAD").strip()
        # The bench's own results do not make the tree another one.
        changed = run("git", "-C", ROOT, "status", "--porcelain", "--", ".", ":!bench/results").strip()
        return name + ("-dirty" if changed else "")
    except (BenchError, FileNotFoundError):
        return "unknown"


def version(*command):
    """The first line of what a program says of itself."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    return ((done.stdout + done.stderr).strip() or "unknown").splitlines()[0].strip()


def machine():
    def read(path):
        try:
            return Path(path).read_text().strip()
        except OSError:
            return "unknown"

    model = next((line.split(":", 1)[1].strip() for line in read("/proc/cpuinfo").splitlines()
                  if line.startswith("model name")), "unknown")
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "virtual": "hypervisor" in read("/proc/cpuinfo"),
        "kernel": platform.release(),
        "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "load_average_before": os.getloadavg(),
        "python": platform.python_version(),
    }


def facts():
    """The machine, and the programs of the bench."""
    return {
        **machine(),
        "countersign": version(str(COUNTERSIGN), "--version"),
        "nginx": version(find("nginx"), "-v"),
        "haproxy": version(find("haproxy"), "-v"),
        "wrk": version(find("wrk"), "-v").split(" Copyright")[0],
        "h2load": version(find("h2load"), "--version"),
        "curl": version(find("curl"), "--version").split(" (")[0],
        "openssl": version("openssl", "version"),
    }


def matplotlib_python():
    """The interpreter of a venv with matplotlib; None, with the reason told, where it cannot be had."""
    python = BENCH / ".venv" / "bin" / "python3"
    if not python.exists() or subprocess.run([python, "-c", "import matplotlib"], capture_output=True, check=False).returncode:
        try:
            say("bench: installing matplotlib in bench/.venv, for the plots")
            run(sys.executable, "-m", "venv", BENCH / ".venv", timeout=120)
            run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "matplotlib", timeout=300)
        except (BenchError, OSError, subprocess.TimeoutExpired) as error:
            say(f"bench: no plots, for matplotlib could not be installed: {error}")
            return None
    return python
