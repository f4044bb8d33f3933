"""A system's log of the test's own: what a program writes to /dev/log comes here."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from pathlib import Path

# Facility authpriv, severity warning or notice.
LINE = re.compile(r"<8[45]>\w{3} [ \d]\d \d\d:\d\d:\d\d ntpgate\[\d+\]: (\{.*\})")
SETUP = ('mount -t tmpfs none "$1" && for node in null urandom random; do touch "$1/$node" && '
         'mount --bind /dev/$node "$1/$node"; done; ln -s "$2" "$1/log"; mount --rbind "$1" /dev && shift 2 && '
         'exec "$@"')


class SystemLog:
    """`prefix` starts a program in a mount namespace whose /dev/log is this one."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "log"))
        self._socket.settimeout(15)
        self.lines: list[str] = []
        (folder / "dev").mkdir()
        self.prefix = ["unshare", "-Urm", "sh", "-c", SETUP, "sh", str(folder / "dev"), str(folder / "log")]

    def __enter__(self) -> SystemLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def records(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines]

    def wait_event(self, event: str) -> dict[str, object]:
        """The first record of this event that is still to come; those before it are kept."""
        while True:
            line = self._socket.recv(65536).decode("ascii")
            match = LINE.fullmatch(line)
            assert match, line
            self.lines.append(match.group(1))
            record = json.loads(self.lines[-1])
            if record["event"] == event:
                return record

    def assert_chained(self) -> None:
        """One process has written all of them."""
        previous = "0" * 64
        for number, line in enumerate(self.lines, 1):
            record = json.loads(line)
            assert (record["seq"], record["prev"]) == (number, previous), line
            previous = hashlib.sha256(line.encode()).hexdigest()
