"""ntpgate itself, run as a stranger would run it: a file, a process, its audit records and its counters."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import yaml

from support.processes import Process, Supervisor, eventually, run

ROOT = Path(__file__).resolve().parents[2]
NTPGATE = os.environ.get("NTPGATE", str(ROOT / "build" / "gateway" / "ntpgate"))
MODERN = ROOT / "configs" / "profiles" / "modern.yaml"
Json = dict[str, object]


def command(*arguments: str, prefix: list[str] | None = None, timeout: float = 30.0):
    """Runs one ntpgate command to its end."""
    return run([NTPGATE, *arguments], prefix or [], timeout)


def query(*arguments: str, prefix: list[str] | None = None, timeout: float = 30.0) -> tuple[int, Json]:
    """`ntpgate query --json`: its exit code and its document."""
    done = command("query", "--json", *arguments, prefix=prefix, timeout=timeout)
    return done.returncode, json.loads(done.stdout)


# What tunnels use that name no channel; the fixture `either_channel` runs a test over each.
CHANNEL = "tls"
# Role -> what stands in the place of a tls block under channel ssh, while a test runs over it.
SSH_BLOCKS: dict[str, Json] = {}


def client_tunnel(connect: str | list[str], tls: Json, **more: object) -> Json:
    """A client role named `client`; keyword arguments are further keys, with _ for -."""
    return tunnel({"name": "client", "role": "client", "listen": "127.0.0.1:0",
                   "connect": [connect] if isinstance(connect, str) else connect, "channel": CHANNEL, "tls": tls}, more)


def server_tunnel(upstream: object, tls: Json, **more: object) -> Json:
    return tunnel({"name": "server", "role": "server", "listen": "127.0.0.1:0", "upstream": upstream,
                   "channel": CHANNEL, "tls": tls}, more)


def tunnel(keys: Json, more: dict[str, object]) -> Json:
    whole = keys | {key.replace("_", "-"): value for key, value in more.items()}
    if whole.get("channel") == "ssh" and "tls" in whole and SSH_BLOCKS:
        del whole["tls"]
        whole["ssh"] = SSH_BLOCKS[whole["role"]]
    return whole


class Gateway(Process):
    """A running ntpgate, READY when the constructor returns; `arguments` are those after the program's name."""

    def __init__(self, supervisor: Supervisor, name: str, arguments: list[str], prefix: list[str] | None = None,
                 environment: dict[str, str] | None = None) -> None:
        super().__init__([NTPGATE, *arguments], name, prefix or [], environment)
        supervisor.add(self)
        self.config: Path | None = None
        self.started = self.wait_event("started", timeout=15)

    def audit(self) -> list[Json]:
        return [json.loads(line) for line in list(self.err) if line.startswith('{"seq":')]

    def events(self, event: str, **fields: object) -> list[Json]:
        return [record for record in self.audit() if record["event"] == event
                and all(record.get(key) == value for key, value in fields.items())]

    def wait_event(self, event: str, timeout: float = 10.0, **fields: object) -> Json:
        return self.wait_until(lambda: self.events(event, **fields), f"audit {event} {fields}", timeout)[0]

    def wait_reason(self, reason: str, timeout: float = 10.0) -> Json:
        """The first record with this reason, whichever event it belongs to."""
        return self.wait_until(lambda: [record for record in self.audit() if record.get("reason") == reason],
                               f"an audit record with reason {reason}", timeout)[0]

    def address(self, name: str = "", number: int = 0) -> tuple[str, int]:
        """Where a tunnel listens, the only one unless named."""
        tunnels = [each for each in self.started["tunnels"] if not name or each["name"] == name]
        host, _, port = tunnels[0]["listen"][number].rpartition(":")
        return host.strip("[]"), int(port)

    def listen(self, name: str = "") -> str:
        host, port = self.address(name)
        return f"{host}:{port}"

    def counters(self, name: str = "") -> Json:
        """What it counts now, as it says on SIGUSR1."""
        before = len(self.err)
        self.send_signal(signal.SIGUSR1)
        line = self.wait_for_line(r"counters (\{.*\})", since=before)
        return counters_of(json.loads(line.group(1)), name)

    def wait_counters(self, probe: Callable[[Json], object], what: str, name: str = "", timeout: float = 5.0) -> Json:
        """Asks for the counters until `probe` likes them."""
        seen: list[Json] = []

        def ask() -> bool:
            seen.append(self.counters(name))
            return bool(probe(seen[-1]))

        try:
            eventually(ask, what, timeout, every=0.03)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(seen[-1], indent=1)}") from None
        return seen[-1]

    def finish(self) -> dict[str, Json]:
        """SIGTERM; exit code 0, balanced counters and a silent stdout are part of every test that comes here."""
        code = self.stop()
        assert code == 0, (code, self.err[-30:])
        self.assert_chained()
        stopped = self.events("stopped")[-1]["counters"]["tunnels"]
        for name, counters in stopped.items():
            assert_balanced(name, counters)
        return stopped

    def assert_chained(self) -> None:
        """Each audit record names the hash of the one before; numbers have no gap."""
        lines = [line for line in self.err if line.startswith('{"seq":')]
        previous = "0" * 64
        for number, line in enumerate(lines, 1):
            record = json.loads(line)
            assert (record["seq"], record["prev"]) == (number, previous), line
            previous = hashlib.sha256(line.encode()).hexdigest()


class _WithoutAliases(yaml.SafeDumper):
    """Writes a value that occurs twice twice: configuration files know no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def write_config(path: Path, tunnels: list[Json], **top: object) -> Path:
    """A configuration file; keyword arguments are its other keys, with _ for -."""
    text = yaml.dump(tunnel({}, top) | {"tunnels": tunnels}, Dumper=_WithoutAliases, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    return path


def counters_of(document: Json, name: str) -> Json:
    tunnels = document["tunnels"]
    counters = tunnels[name] if name else next(iter(tunnels.values()))
    assert_balanced(name, counters)
    return counters


def assert_balanced(name: str, counters: Json) -> None:
    """The sums that must hold at every moment (ntp-shim/counters.hpp)."""
    for side in ("requests", "replies"):
        ledger = counters[side]
        known = ledger["forwarded"] + ledger["control"] + ledger["waiting"] + total(ledger["drops"])
        assert ledger["received"] == known, (name, side, ledger)
    exchanges = counters["exchanges"]
    ends = ("answered", "lost", "replaced", "abandoned", "open")
    assert exchanges["opened"] == sum(exchanges[end] for end in ends), (name, exchanges)
    listener = counters.get("listener")
    if listener:
        known = listener["opened"] + listener["pending"] + total(listener["failed"]) + total(listener["refused"])
        assert listener["accepted"] == known, (name, listener)


def total(counts: dict[str, int]) -> int:
    return sum(counts.values())


def drops(counters: Json, side: str) -> dict[str, int]:
    return counters[side]["drops"]
