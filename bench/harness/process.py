"""Processes: started on one processor, found ready, asked for their CPU time and memory, ended by their pid.

CPU time is the scheduler's own sum for each process (its CPU clock, in nanoseconds), with the threads that have ended; the split into user
and system time is that of `/proc/PID/stat`, which counts ticks. What happens in a thread's name in the kernel, such as the
loopback's receive side behind a send, counts as its time, for every proxy alike.
"""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import host
from .host import BenchError

TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
CPUCLOCK_SCHED = 2  # in the number of a process's CPU clock, as clock_getcpuclockid(3) makes it
_libc = ctypes.CDLL(None)
_running = []


class Process:
    def __init__(self, name, command, processor, directory, output=subprocess.DEVNULL, environment=None):
        directory.mkdir(parents=True, exist_ok=True)
        self.name, self.directory = name, directory
        self.errors = directory / f"{name}.err"

        def pin():
            os.sched_setaffinity(0, {processor})
            limit = min(host.FILES_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # nothing outlives the bench

        with open(self.errors, "wb") as errors:
            self.handle = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output,
                                           stderr=errors, cwd=directory, preexec_fn=pin,
                                           env={**os.environ, **(environment or {})})
        self.pid = self.handle.pid
        _running.append(self)

    def wait_listening(self, address, seconds=20):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.handle.poll() is not None:
                break
            try:
                with socket.create_connection(address, timeout=1):
                    return self
            except OSError:
                time.sleep(0.03)
        raise BenchError(f"{self.name} did not get ready: {self.errors.read_text()[-600:].strip()}")

    def wait_child(self, seconds=20):
        until = time.monotonic() + seconds
        while len(self.pids()) < 2:
            if time.monotonic() > until:
                raise BenchError(f"{self.name} has no worker: {self.errors.read_text()[-600:].strip()}")
            time.sleep(0.03)

    def pids(self):
        """Its own and its children's: nginx has a master and a worker."""
        found = [self.pid]
        try:
            found += map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split())
        except OSError:
            pass
        return found

    def cpu(self):
        """(CPU nanoseconds, nanoseconds runnable without a processor, user ticks, system ticks)."""
        ran = waited = user = system = 0
        for pid in self.pids():
            ran += time.clock_gettime_ns(~pid << 3 | CPUCLOCK_SCHED)
            for task in Path(f"/proc/{pid}/task").iterdir():
                try:
                    waited += int((task / "schedstat").read_text().split()[1])
                except OSError:  # it has ended meanwhile
                    continue
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user, system = user + int(fields[11]), system + int(fields[12])
        return ran, waited, user, system

    def pss_bytes(self):
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def wait_end(self, seconds):
        """Until it ends by itself; one that does not is killed."""
        try:
            self.handle.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self.name} did not end within {seconds} s") from None
        finally:
            self.stop(signal.SIGKILL)

    def stop(self, number=signal.SIGTERM, seconds=2.0):
        if self.handle.poll() is None:
            self.handle.send_signal(number)
            try:
                self.handle.wait(seconds)
            except subprocess.TimeoutExpired:
                self.handle.kill()
                self.handle.wait()
        if self in _running:
            _running.remove(self)


def running():
    return len(_running)


def stop_since(mark=0):
    """Ends, newest first, what was started since `running()` was `mark`."""
    while len(_running) > mark:
        _running[-1].stop()


def cpu_of(processes):
    return [sum(column) for column in zip(*(process.cpu() for process in processes))]


def others_seconds():
    """CPU time that the machine has spent on what is no process of the bench, or that its host kept for others. By ticks."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = fields
    own = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = sum(usage.ru_utime + usage.ru_stime for usage in own) + sum(process.cpu()[0] for process in _running) / 1e9
    return (user + nice + system + irq + softirq + steal) / TICKS - ours


def free_port(host_address):
    with socket.socket() as s:
        s.bind((host_address, 0))
        return s.getsockname()[1]
