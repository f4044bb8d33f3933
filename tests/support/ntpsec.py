"""NTPsec's daemon, whose package cannot be installed beside chrony's: unpacked, and run in a network of its own, since
it knows no port but 123."""

from __future__ import annotations

import os
from pathlib import Path

from support.processes import Process, Supervisor, run


def unpack(folder: Path) -> Path:
    """The package's files below `folder`; NTPSEC_ROOT names a place where they are already."""
    given = os.environ.get("NTPSEC_ROOT")
    if given:
        return Path(given)
    folder.mkdir()
    done = run(["sh", "-c", 'cd "$1" && apt-get download -q ntpsec && dpkg -x ntpsec_*.deb root', "sh", str(folder)],
               timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "root"


class Ntpsec:
    """ntpd at stratum 4 or so, on port 123 of every address of the network; it may not touch the clock."""

    def __init__(self, supervisor: Supervisor, root: Path, folder: Path, prefix: list[str]) -> None:
        assert prefix, "NTPsec needs port 123 of a network of its own"
        self._supervisor = supervisor
        self._prefix = prefix
        self.folder = folder
        self.folder.mkdir()
        self.program = root / "usr/sbin/ntpd"
        self.process: Process | None = None

    def serve(self, keys: Path, trusted: list[int]) -> Ntpsec:
        config = self.folder / "ntpd.conf"
        config.write_text("\n".join([
            f"driftfile {self.folder}/drift", "refclock local unit 0 stratum 3 minpoll 3 maxpoll 3",
            "tos minsane 1 orphanwait 1", f"keys {keys}", "trustedkey " + " ".join(map(str, trusted)), ""]))
        command = ["setpriv", "--bounding-set=-sys_time,-sys_resource", str(self.program), "-n", "-c", str(config), "-p",
                   f"{self.folder}/ntpd.pid"]
        self.process = self._supervisor.add(Process(command, "ntpd", self._prefix))
        return self
