"""Children that are started, watched line by line, and ended for certain."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# A child outlives neither the test nor a test runner that is killed. Children must be started from the main thread:
# the signal is sent when the starting *thread* ends.
DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL"]


class Timeout(AssertionError):
    """What was waited for did not come before its deadline."""


def eventually(probe: Callable[[], T | None], what: str, timeout: float = 10.0, every: float = 0.01) -> T:
    """Asks `probe` until it gives something true; the last word on waiting in these tests."""
    deadline = time.monotonic() + timeout
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Timeout(f"not within {timeout:g} s: {what}")
        time.sleep(every)


def held_connections(port: int) -> int:
    """TCP connections of a local port of 127.0.0.1 that a process still holds; a program's own list may be hidden."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    listening = "0A"
    return sum(1 for row in rows if row[1] == f"0100007F:{port:04X}" and row[3] != listening and row[9] != "0")


def free_port(kind: int = socket.SOCK_DGRAM, address: str = "127.0.0.1") -> int:
    """A port that the kernel says is free; for programs that cannot report a port of the kernel's choice."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


class Process:
    """One child in its own process group. Its output is kept whole; waiting for a line has a deadline."""

    def __init__(self, argv: Sequence[str], name: str, prefix: Sequence[str] = (),
                 environment: dict[str, str] | None = None) -> None:
        self.name = name
        self.argv = list(argv)
        self.out: list[str] = []
        self.err: list[str] = []
        self._news = threading.Condition()
        self._child = subprocess.Popen(
            [*prefix, *DIE_WITH_PARENT, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True, text=True, errors="replace",
            env=os.environ | (environment or {}))
        self._readers = [
            threading.Thread(target=self._read, args=(self._child.stdout, self.out), daemon=True),
            threading.Thread(target=self._read, args=(self._child.stderr, self.err), daemon=True)]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines: list[str]) -> None:
        for line in stream:
            with self._news:
                lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        return self._child.poll()

    def alive(self) -> bool:
        return self._child.poll() is None

    def wait_until(self, probe: Callable[[], T | None], what: str, timeout: float = 10.0) -> T:
        """Asks `probe` at every new line of output; fails at once when the child has ended."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                found = probe()
                if found:
                    return found
                left = deadline - time.monotonic()
                ended = not self.alive() and not any(reader.is_alive() for reader in self._readers)
                if left <= 0 or ended:
                    why = f"ended with {self.exit_code}" if ended else f"not within {timeout:g} s"
                    raise Timeout(f"{self.name} {why}: {what}\n" + "\n".join(self.err[-40:]))
                self._news.wait(min(left, 0.2))

    def wait_for_line(self, pattern: str, timeout: float = 10.0, since: int = 0) -> re.Match[str]:
        """The first line of stderr, from number `since` on, that the pattern is found in."""
        compiled = re.compile(pattern)

        def probe() -> re.Match[str] | None:
            return next(filter(None, (compiled.search(line) for line in self.err[since:])), None)

        return self.wait_until(probe, f"line {pattern!r}", timeout)

    def send_signal(self, number: int) -> None:
        if self.alive():
            self._child.send_signal(number)

    def wait(self, timeout: float = 15.0) -> int:
        """The exit code; negative is the signal that ended it."""
        try:
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{self.name} did not end within {timeout:g} s\n" + "\n".join(self.err[-40:])) from None
        self._end_group()
        for reader in self._readers:
            reader.join(5)
        return code

    def stop(self, number: int = signal.SIGTERM, timeout: float = 15.0) -> int:
        self.send_signal(number)
        return self.wait(timeout)

    def kill(self) -> None:
        """For certain: the child, and whatever it forked."""
        self._end_group()
        self._child.wait(10)
        for reader in self._readers:
            reader.join(5)

    def _end_group(self) -> None:
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def resident(self) -> int:
        """Octets of memory in use now."""
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Supervisor:
    """Owns every child of one test and ends them in reverse order, whatever happened."""

    def __init__(self) -> None:
        self._children: list[Process] = []

    def add(self, child: T) -> T:
        self._children.append(child)
        return child

    def start(self, argv: Sequence[str], name: str, prefix: Sequence[str] = ()) -> Process:
        return self.add(Process(argv, name, prefix))

    def children(self) -> list[Process]:
        return list(self._children)

    def end(self) -> None:
        for child in reversed(self._children):
            child.kill()
        self._children.clear()


def run(argv: Sequence[str], prefix: Sequence[str] = (), timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
    """A child that is expected to end by itself."""
    return subprocess.run([*prefix, *DIE_WITH_PARENT, *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, check=False)
