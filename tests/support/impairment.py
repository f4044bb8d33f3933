"""A network as bad as a test wants it, datagram by datagram: the program tests/support/impair.cpp, started and told."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.gateway import NTPGATE
from support.netns import Network
from support.processes import DIE_WITH_PARENT, run

# Built beside the program under test.
SUPPORT = Path(NTPGATE).resolve().parents[1] / "tests" / "support"
Address = tuple[str, int]
DIRECTIONS = ("up", "down")
DURATIONS = {"delay", "jitter", "reorder_by"}  # seconds here, nanoseconds there
UDP, TCP = "17", "6"  # the flows of a link, which are IP protocols


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


class Impairment:
    """Common to both kinds; `seed` decides every fate, and a failing test shows it."""

    def __init__(self, arguments: Sequence[str], prefix: Sequence[str] = (), seed: int | None = None) -> None:
        self.seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
        self._child = subprocess.Popen(
            [*prefix, *DIE_WITH_PARENT, str(SUPPORT / "impair"), str(self.seed), *arguments], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
        assert self._child.stdout is not None and self._child.stderr is not None
        first = self._child.stdout.readline().split()
        assert first[:1] == ["ready"], self._child.stderr.read()
        self.where = first[1]

    def __enter__(self) -> Impairment:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _tell(self, line: str) -> str:
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(line + "\n")
        said = self._child.stdout.readline().strip()
        assert said and not said.startswith("error"), (line, said)
        return said

    def set(self, *directions: str, **what: float) -> None:
        """What is not named is off. No direction means both."""
        words = [f"{key}={nanoseconds(value) if key in DURATIONS else value}" for key, value in what.items()]
        for direction in directions or DIRECTIONS:
            self._tell(" ".join(["set", direction, *words]))

    def hook(self, direction: str, number: int, act: str, delay: float = 0.0) -> None:
        """`act` on the datagram of that number: drop, duplicate, delay, or swap with the one behind it."""
        self._tell(f"hook {direction} {number} {act} {nanoseconds(delay) if act == 'delay' else ''}")

    def renumber(self) -> None:
        """The next datagram of each direction is number 1; hooks are forgotten."""
        self._tell("renumber")

    def report(self) -> dict[str, dict[str, object]]:
        return json.loads(self._tell("report"))

    def stop(self) -> None:
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            assert stream is not None
            stream.close()
        code = self._child.wait(5)
        assert code == 0, code


class UdpPath(Impairment):
    """A UDP relay on loopback, for runs without privilege."""

    def __init__(self, server: Address, seed: int | None = None) -> None:
        super().__init__(["udp", server[0], str(server[1])], seed=seed)
        host, _, port = self.where.rpartition(":")
        self.address: Address = (host, int(port))

    def rebind(self) -> None:
        """As a NAT does that has forgotten its mapping: the server sees every client at another port from now on."""
        self._tell("rebind")

    def hand_over(self) -> None:
        """The next client that is new gets the last one's port, as a program does that starts again on a fixed one."""
        self._tell("hand-over")


class Link(Impairment):
    """A link between two networks of the test's own, for every protocol; IP packets are what is lost."""

    LEFT, RIGHT = "10.9.0.1", "10.9.0.2"

    def __init__(self, left: Network, right: Network, seed: int | None = None) -> None:
        self.left, self.right = left, right
        super().__init__(["tun", left.space(), right.space()], left.user_prefix, seed)
        for network, own, other in ((left, self.LEFT, self.RIGHT), (right, self.RIGHT, self.LEFT)):
            done = run(["sh", "-ec", f"ip address add {own} peer {other} dev path; ip link set path up"],
                       network.prefix)
            assert done.returncode == 0, done.stderr
