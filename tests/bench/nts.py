#!/usr/bin/env python3
"""NTS, ntpgate's front and chronyd's own server beside each other in one run: key establishments one after another, and
CPU time per exchange.

    /usr/bin/python3 -B tests/bench/nts.py [ROUNDS]

Rounds alternate between the servers, so that what else the machine does falls on all of them; the median round is
printed with its ratio to chronyd's, beside design section 14's target. NTPGATE names the program, as for the tests.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.daemons import Chronyd, free_tcp_port, wait_for_tcp  # noqa: E402
from support.gateway import NTPGATE, Gateway, write_config  # noqa: E402
from support.nts import UNLIMITED, front, port_of  # noqa: E402
from support.pki import TrialPki  # noqa: E402
from support.processes import Supervisor, run  # noqa: E402

PROGRAMS = Path(NTPGATE).resolve().parents[1] / "tests" / "bench"
KE_SECONDS = 2.0
EXCHANGES = 30000
OUTSTANDING = 16  # as in design section 14


class Server:
    """One server of NTS: the process whose CPU time counts, and where it establishes keys."""

    def __init__(self, name: str, pid: int, ke_port: int) -> None:
        self.name, self.pid, self.ke_port = name, pid, ke_port
        self.rates: dict[str, list[float]] = {"nagle": [], "nodelay": []}
        self.costs: list[float] = []
        self.lost = 0

    def cpu(self) -> float:
        """Seconds on a processor, of all its threads."""
        return sum(int(Path(task, "schedstat").read_text(encoding="ascii").split()[0])
                   for task in Path(f"/proc/{self.pid}/task").iterdir()) / 1e9

    def establish(self, ca: str) -> None:
        for how, rates in self.rates.items():
            rates.append(float(tool("ke_rate", ca, str(self.ke_port), str(KE_SECONDS), how)))

    def exchange(self, ca: str) -> None:
        before = self.cpu()
        self.lost += int(tool("nts_load", ca, str(self.ke_port), str(EXCHANGES), str(OUTSTANDING)))
        self.costs.append((self.cpu() - before) / EXCHANGES * 1e6)


def tool(name: str, *arguments: str) -> str:
    done = run([str(PROGRAMS / name), *arguments], timeout=120)
    assert done.returncode == 0, (name, arguments, done.stderr)
    return done.stdout


def chronyd(supervisor: Supervisor, folder: Path, pki: TrialPki, processes: int) -> tuple[Chronyd, Server]:
    daemon = Chronyd(supervisor, folder / f"chronyd-{processes}")
    ke_port = free_tcp_port()
    daemon.serve(0, f"ntsport {ke_port}", f"ntsserverkey {pki.server_key}", f"ntsservercert {pki.server_certificate}",
                 f"ntsprocesses {processes}")
    wait_for_tcp(ke_port)
    return daemon, Server(f"chronyd, ntsprocesses {processes}", daemon.process.pid, ke_port)


def servers(supervisor: Supervisor, folder: Path, pki: TrialPki) -> list[Server]:
    """chronyd as it comes, chronyd without helpers, and ntpgate in front of the first of them."""
    daemon, first = chronyd(supervisor, folder, pki, 1)
    out = [first, chronyd(supervisor, folder, pki, 0)[1]]
    for name, upstream in (("relaying", daemon.text()), ("mirror", {"mirror": daemon.text()})):
        tunnel = front(pki, upstream, {"keys": str(folder / f"{name}.keys")})
        config = write_config(folder / f"{name}.yaml", [tunnel], log={"level": "error"},
                              limits=UNLIMITED | {"exchanges-per-client": 0})
        gateway = Gateway(supervisor, name, ["run", "-c", str(config)])
        out.append(Server(f"ntpgate, {name}", gateway.pid, port_of(gateway)[1]))
    return out


def row(what: str, name: str, values: list[float], unit: str, base: float) -> None:
    middle = statistics.median(values)
    print(f"{what:<28} {name:<24} {middle:10.1f} {unit}   {middle / base:6.2f} x   "
          f"({min(values):.1f} to {max(values):.1f}, {len(values)} rounds)")


def report(measured: list[Server]) -> None:
    costs = statistics.median(measured[0].costs)
    for server in measured:
        if server.costs:
            row("CPU per exchange", server.name, server.costs, "us", costs)
    for how, what in (("nagle", "sockets as they come"), ("nodelay", "TCP_NODELAY")):
        rates = statistics.median(measured[0].rates[how])
        for server in measured[:3]:
            row(f"NTS-KE, {what}", server.name, server.rates[how], "/s", rates)
    print(f"unanswered: {', '.join(f'{server.name}: {server.lost}' for server in measured)}")
    print("targets: CPU mirror <= 1.0 x, relaying <= 1.6 x; key establishments >= 20 x")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    folder = Path(tempfile.mkdtemp(prefix="ntpgate-bench-"))
    supervisor = Supervisor()
    try:
        pki_folder = folder / "pki"
        pki_folder.mkdir()
        pki = TrialPki(pki_folder)
        measured = servers(supervisor, folder, pki)
        for _ in range(rounds):
            for server in (measured[0], *measured[2:]):
                server.exchange(pki.ca)
        for _ in range(max(3, rounds // 2)):
            for server in measured[:3]:
                server.establish(pki.ca)
        report(measured)
    finally:
        supervisor.end()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
