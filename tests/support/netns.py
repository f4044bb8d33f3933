"""A network of one test's own: port 123 without privilege, and no clash with a second run."""

from __future__ import annotations

import os
import random
import subprocess

from support.processes import DIE_WITH_PARENT, eventually


class Network:
    """`prefix` starts a program inside; `address(n)` is a loopback address that nobody else uses.

    Where the kernel or a container forbids new namespaces, a privileged run uses the host's loopback with an address
    picked at random, which needs port 123 of that address only.
    """

    def __init__(self) -> None:
        self._keeper: subprocess.Popen[bytes] | None = None
        self._random = random.SystemRandom()
        self.prefix: list[str] = []
        self.isolated = self._isolate()

    def _isolate(self) -> bool:
        script = "ip link set lo up && echo ready && exec sleep infinity"
        self._keeper = subprocess.Popen(
            [*DIE_WITH_PARENT, "unshare", "-Urn", *DIE_WITH_PARENT, "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != b"ready\n":
            self.end()
            assert os.geteuid() == 0, "neither user namespaces nor root: port 123 cannot be had"
            return False
        eventually(lambda: os.path.exists(f"/proc/{self._keeper.pid}/ns/net"), "namespace", 5)
        self.prefix = ["nsenter", "-t", str(self._keeper.pid), "-U", "-n", "--preserve-credentials"]
        return True

    def address(self, number: int) -> str:
        if self.isolated:
            return f"127.0.0.{number}"
        return "127." + ".".join(str(self._random.randrange(2, 254)) for _ in range(3))

    def end(self) -> None:
        if self._keeper is not None:
            self._keeper.kill()
            self._keeper.wait()
            if self._keeper.stdout is not None:
                self._keeper.stdout.close()
            self._keeper = None
