"""The unmodified programs of Debian 12 that ntpgate has to get on with, set up to run beside the host's own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
from pathlib import Path

from support import ntp
from support.processes import Process, Supervisor, eventually, free_port, run

CHRONYD = "/usr/sbin/chronyd"
STUNNEL = "/usr/bin/stunnel4"
SOCAT = "/usr/bin/socat"


def chronyd_as(inside: bool) -> list[str]:
    """`inside` a user namespace we are root; outside, chronyd must be told to run as whom we are."""
    if inside or os.geteuid() == 0:
        return ["-u", "root"]
    return ["-U", "-u", getpass.getuser()]


class Chronyd:
    """chronyd in `folder`, never touching the clock. `start` again after `kill`: same port, same files."""

    def __init__(self, supervisor: Supervisor, folder: Path, prefix: list[str] | None = None) -> None:
        self._supervisor = supervisor
        self._prefix = prefix or []
        self.folder = folder
        self.folder.mkdir(mode=0o770)
        self.folder.chmod(0o770)  # chronyd wants exactly this of the folder of its command socket
        # A copy: the host's AppArmor profile for chronyd would not let it read our folder.
        self.program = Path(shutil.copy(CHRONYD, folder / "chronyd"))
        self.config = folder / "chrony.conf"
        self.socket = folder / "chronyd.sock"
        self.process: Process | None = None

    def _lines(self, *more: str) -> str:
        return "\n".join(["cmdport 0", f"bindcmdaddress {self.socket}", f"pidfile {self.folder}/chronyd.pid",
                          f"driftfile {self.folder}/drift", *more, ""])

    def serve(self, port: int = 0, *more: str) -> Chronyd:
        """A stratum 3 server on 127.0.0.1 only; `more` are further directives."""
        self.address = ("127.0.0.1", port or free_port())
        self.config.write_text(self._lines(f"port {self.address[1]}", "bindaddress 127.0.0.1", "allow 127.0.0.0/8",
                                           "local stratum 3", *more))
        return self.start()

    def follow(self, *directives: str) -> Chronyd:
        """A client of the sources that `directives` name."""
        self.config.write_text(self._lines("port 0", *directives))
        return self.start()

    def start(self) -> Chronyd:
        command = [str(self.program), "-x", "-d", *chronyd_as(bool(self._prefix)), "-f", str(self.config)]
        self.process = self._supervisor.add(Process(command, "chronyd", self._prefix))
        self.process.wait_for_line("chronyd version 4")
        eventually(lambda: self.socket.exists(), "chronyd's command socket")
        if not self._prefix and hasattr(self, "address"):
            eventually(lambda: ntp.ask(self.address, 0.2), "chronyd's first answer")
        return self

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    def text(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def ask(self, *command: str) -> list[list[str]]:
        """What chronyc says, as rows of fields."""
        done = run(["/usr/bin/chronyc", "-n", "-c", "-h", str(self.socket), *command], self._prefix)
        return [line.split(",") for line in done.stdout.splitlines()]


def stunnel(supervisor: Supervisor, folder: Path, service: dict[str, object]) -> Process:
    """One stunnel service in the foreground; `service` are its options."""
    config = folder / f"stunnel-{free_port()}.conf"
    lines = ["foreground = yes", f"pid = {config}.pid", "[ntp]"]
    lines += [f"{key} = {value}" for key, value in service.items()]
    config.write_text("\n".join(lines) + "\n")
    child = supervisor.start([STUNNEL, str(config)], "stunnel")
    child.wait_for_line("Configuration successful")
    return child


def wait_for_tcp(port: int) -> None:
    """Until something listens; looks at the kernel's table, since a connection would already be a use of it."""
    eventually(lambda: f"0100007F:{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text(encoding="ascii"),
               f"TCP listener on {port}")


def wait_for_udp(port: int) -> None:
    eventually(lambda: f"0100007F:{port:04X} " in Path("/proc/net/udp").read_text(encoding="ascii"),
               f"UDP socket on {port}")


def free_tcp_port() -> int:
    return free_port(socket.SOCK_STREAM)
