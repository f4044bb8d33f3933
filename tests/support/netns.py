"""A network of one test's own: port 123 without privilege, and no clash with a second run."""

from __future__ import annotations

import os
import random
import socket
import subprocess

from support.processes import DIE_WITH_PARENT, eventually


class Network:
    """`prefix` starts a program inside; `address(n)` is a loopback address that nobody else uses.

    Where the kernel or a container forbids new namespaces, a privileged run uses the host's loopback with an address
    picked at random, which needs port 123 of that address only.

    `beside` another network makes one that the same user namespace owns, so that the two can be joined.
    """

    def __init__(self, beside: Network | None = None) -> None:
        self._keeper: subprocess.Popen[bytes] | None = None
        self._random = random.SystemRandom()
        self.prefix: list[str] = []
        self.user_prefix: list[str] = []  # with the rights of the user namespace, outside of the network
        self.isolated = self._isolate(beside)
        assert self.isolated or beside is None, "two networks that can be joined need user namespaces"

    def _isolate(self, beside: Network | None) -> bool:
        script = "ip link set lo up && echo ready && exec sleep infinity"
        new = [*beside.user_prefix, "unshare", "-n"] if beside else ["unshare", "-Urn"]
        self._keeper = subprocess.Popen(
            [*DIE_WITH_PARENT, *new, *DIE_WITH_PARENT, "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != b"ready\n":
            self.end()
            assert os.geteuid() == 0, "neither user namespaces nor root: port 123 cannot be had"
            return False
        eventually(lambda: os.path.exists(f"/proc/{self._keeper.pid}/ns/net"), "namespace", 5)
        enter = ["nsenter", "-t", str(self._keeper.pid), "-U", "--preserve-credentials"]
        self.prefix, self.user_prefix = [*enter, "-n"], enter
        return True

    def space(self) -> str:
        """The network as a file."""
        assert self._keeper is not None
        return f"/proc/{self._keeper.pid}/ns/net"

    def socket(self, kind: int, address: str) -> socket.socket:
        """A bound socket of that network, for this process: a socket stays where it was made."""
        near, far = socket.socketpair()
        with near, far:
            make = ("import socket, sys; made = socket.socket(socket.AF_INET, int(sys.argv[2])); "
                    "made.bind((sys.argv[3], 0)); "
                    "socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b'.'], [made.fileno()])")
            command = [*self.prefix, "/usr/bin/python3", "-c", make, str(far.fileno()), str(kind), address]
            subprocess.run(command, check=True, timeout=30, pass_fds=[far.fileno()])
            return socket.socket(fileno=socket.recv_fds(near, 1, 1)[1][0])

    def setting(self, name: str) -> str:
        """A kernel parameter of that network, as below /proc/sys/net."""
        done = subprocess.run([*self.prefix, "cat", f"/proc/sys/net/{name}"], check=True, timeout=30,
                              capture_output=True, text=True)
        return done.stdout.strip()

    def lose(self, share: float) -> None:
        """Drops that share of all UDP and TCP packets at random, where they arrive; nothing decides which."""
        rule = f"meta l4proto {{ tcp, udp }} numgen random mod 10000 < {round(share * 10000)} counter drop"
        chain = f"chain arriving {{\n type filter hook input priority 0\n {rule}\n }}"
        subprocess.run([*self.prefix, "/usr/sbin/nft", "-f", "-"], check=True, timeout=30, text=True,
                       input=f"table ip lossy {{\n {chain}\n}}\n")

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
