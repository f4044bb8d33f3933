"""SSH on both ends without ntpgate: trial keys, stock clients that speak frames or ask for too much, a stock sshd."""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path

from support import ntp
from support.frames import REPLY, REQUEST, Frame, Stream, monotonic_stamp
from support.gateway import NTPGATE, Json, command
from support.processes import DIE_WITH_PARENT, Process, Supervisor, free_port, run

SSH = "/usr/bin/ssh"
SSHD = "/usr/sbin/sshd"
KEYGEN = "/usr/bin/ssh-keygen"
AUDIT = "/usr/bin/ssh-audit"


class Keys:
    """What `keygen ssh` makes, and blocks of a configuration that use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        done = command("keygen", "ssh", "--out", str(folder))
        assert done.returncode == 0, done.stderr

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def public(self, name: str) -> str:
        """Type and key, without the comment."""
        return " ".join((self.folder / f"{name}.pub").read_text(encoding="ascii").split()[:2])

    def server(self, **more: object) -> Json:
        return {"host-keys": [self.path("host_ed25519"), self.path("host_rsa")],
                "authorized-keys": self.path("authorized_keys")} | dashed(more)

    def client(self, **more: object) -> Json:
        return {"key": self.path("id_ed25519"), "known-hosts": self.path("known_hosts")} | dashed(more)


def server_of(upstream: str, keys: Keys, **block: object) -> Json:
    """A server role named `server`; keyword arguments are keys of its ssh block, with _ for -."""
    return {"name": "server", "role": "server", "listen": "127.0.0.1:0", "upstream": upstream, "channel": "ssh",
            "ssh": keys.server(**block)}


def client_of(connect: str, keys: Keys, **block: object) -> Json:
    return {"name": "client", "role": "client", "listen": "127.0.0.1:0", "connect": [connect], "channel": "ssh",
            "ssh": keys.client(**block)}


def dashed(keys: dict[str, object]) -> Json:
    return {key.replace("_", "-"): value for key, value in keys.items()}


def new_key(path: Path, kind: str = "ed25519", bits: int = 0) -> Path:
    """A key of OpenSSH's own making."""
    size = ["-b", str(bits)] if bits else []
    done = run([KEYGEN, "-q", "-t", kind, *size, "-N", "", "-C", "made-by-openssh", "-f", str(path)])
    assert done.returncode == 0, done.stderr
    return path


def options(keys: Keys, identity: str | None = None, **more: object) -> list[str]:
    """Of a stock client that uses nothing of this host's own configuration, agent or terminal."""
    given = {"UserKnownHostsFile": keys.path("known_hosts"), "GlobalKnownHostsFile": "/dev/null",
             "StrictHostKeyChecking": "yes", "IdentitiesOnly": "yes", "IdentityAgent": "none", "BatchMode": "yes",
             "PasswordAuthentication": "no", "LogLevel": "VERBOSE", "ConnectTimeout": "10"} | more
    arguments = ["-F", "/dev/null", "-i", identity or keys.path("id_ed25519")]
    for name, value in given.items():
        arguments += ["-o", f"{name}={value}"]
    return arguments


def stock_client(address: tuple[str, int], arguments: list[str], *what: str, user: str = "ntpgate",
                 prefix: tuple[str, ...] = (), **popen: object) -> subprocess.Popen[bytes]:
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | popen
    return subprocess.Popen([*prefix, *DIE_WITH_PARENT, SSH, *arguments, "-p", str(address[1]), f"{user}@{address[0]}",
                             *what], start_new_session=True, **given)


class PipeFrames:
    """Frames on the standard streams of a child: `ssh -s HOST ntpgate`, or `ntpgate stdio` itself."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child
        self._stream = Stream()
        self._frames: list[Frame] = []
        self._next_id = int.from_bytes(os.urandom(4), "big")

    def __enter__(self) -> PipeFrames:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> int:
        with contextlib.suppress(BrokenPipeError):  # what could not be sent any more
            self.child.stdin.close()
        try:
            code = self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            code = self.child.wait(10)
        self.child.stdout.close()
        if self.child.stderr:
            self.child.stderr.close()
        return code

    def send(self, data: bytes) -> None:
        self.child.stdin.write(data)
        self.child.stdin.flush()

    def request(self, packet: bytes, **fields: object) -> Frame:
        """Sends one request frame; `fields` are those that shall differ from the right ones."""
        self._next_id = (self._next_id + 1) & 0xFFFFFFFF
        frame = Frame(REQUEST, self._next_id, monotonic_stamp(), packet=packet).changed(**fields)
        self.send(frame.framed())
        return frame

    def receive(self, timeout: float = 10.0) -> Frame | None:
        deadline = time.monotonic() + timeout
        while not self._frames:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.child.stdout], [], [], left)[0]:
                return None
            data = os.read(self.child.stdout.fileno(), 16384)
            if not data:
                return None
            self._frames += self._stream.feed(data)
        return self._frames.pop(0)

    def ask(self, timeout: float = 10.0) -> Frame | None:
        sent = self.request(ntp.request().encode())
        while (frame := self.receive(timeout)) is not None:
            if frame.kind == REPLY and frame.id == sent.id:
                return frame
        return None


def frames_through_ssh(address: tuple[str, int], arguments: list[str], user: str = "ntpgate") -> PipeFrames:
    """A stock `ssh -s` client that speaks frames."""
    return PipeFrames(stock_client(address, [*arguments, "-s"], "ntpgate", user=user, stdin=subprocess.PIPE))


class Sshd:
    """A stock sshd on a port of its own, all of it in `folder`: host keys, users' keys, the subsystem."""

    def __init__(self, supervisor: Supervisor, folder: Path, keys: Keys, subsystem: str, *directives: str) -> None:
        self.folder = folder
        folder.mkdir()
        folder.chmod(0o755)
        self.address = ("127.0.0.1", free_port(socket.SOCK_STREAM))
        host = folder / "host_ed25519"
        shutil.copy(keys.path("host_ed25519"), host)
        host.chmod(0o600)
        lines = [f"Port {self.address[1]}", "ListenAddress 127.0.0.1", f"HostKey {host}", f"PidFile {folder}/sshd.pid",
                 f"AuthorizedKeysFile {keys.path('authorized_keys')}", "StrictModes no", "UsePAM no",
                 "PasswordAuthentication no", "KbdInteractiveAuthentication no", "LogLevel VERBOSE", "UseDNS no",
                 f"Subsystem ntpgate {subsystem}", *directives]
        config = folder / "sshd_config"
        config.write_text("\n".join(lines) + "\n", encoding="ascii")
        self.process = supervisor.add(Process(sshd_command(config), "sshd"))
        self.process.wait_for_line("Server listening")


def sshd_command(config: Path) -> list[str]:
    daemon = [SSHD, "-D", "-e", "-f", str(config)]
    if os.geteuid() != 0:
        return daemon  # which then lets in its own user alone, and separates no privileges
    # The directory for the unprivileged child is made by the host's own unit, which is not there: one in a mount
    # namespace of this daemon alone.
    start = 'mount -t tmpfs -o mode=0755 none /run && mkdir /run/sshd && exec "$@"'
    return ["unshare", "-m", "sh", "-c", start, "sh", *daemon]


def own_user() -> str:
    """The one whom an sshd lets in, whoever starts it."""
    return pwd.getpwuid(os.getuid()).pw_name


def stdio_command(config: Path, tunnel: str = "by-sshd") -> str:
    return f"{NTPGATE} stdio -c {config} --tunnel {tunnel}"


def wait_exit(child: subprocess.Popen[bytes], timeout: float = 20.0) -> tuple[int, str]:
    """Exit code and what it said on standard error."""
    _, said = child.communicate(timeout=timeout)
    return child.returncode, said.decode(errors="replace")


def is_open(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0
