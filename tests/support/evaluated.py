"""Head-ends as an evaluation sets them up, and the instrumented peers that meet them (tests/evaluation)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import factory
from support import tls_codec as codec
from support.frames import PING, PONG, Frame
from support.gateway import Gateway, Json, write_config
from support.processes import Supervisor
from support.tls_codec import DTLS12, TLS12, TLS13
from support.tls_peer import Client, Plan, outcome

PROFILE = {"2.2e": "ndcpp-2.2e", "3.0e": "ndcpp-3.0e", "4.0": "ndcpp-4.0"}
VERSIONS = {"2.2e": ("TLS1.2", "DTLS1.2"), "3.0e": ("TLS1.2", "TLS1.3", "DTLS1.2"), "4.0": ("TLS1.2", "TLS1.3", "DTLS1.2")}
CODES = {"TLS1.2": TLS12, "TLS1.3": TLS13, "DTLS1.2": DTLS12}
GROUPS = [23, 24, 25]
SUITES = {"TLS1.3": [0x1302, 0x1301], "TLS1.2": [0xC02C, 0xC030, 0xC02B, 0xC02F]}
SUITES["DTLS1.2"] = SUITES["TLS1.2"]
SCHEMES = [code for name, code in codec.SCHEMES.items() if "sha1" not in name and not name.startswith("ed")]
CLOCK = {"clock": {"free-running": True}}
CLIENT_NAME = "DNS:client.test"


def channel_of(version: str) -> str:
    return "dtls" if version.startswith("DTLS") else "tls"


def each(role: str, *, tls: dict[str, str] | None = None, dtls: dict[str, str] | None = None,
         only: tuple[str, ...] = ("TLS1.2", "TLS1.3", "DTLS1.2")) -> pytest.MarkDecorator:
    """Parametrizes a test with `spec` and `version`: once for every document and version in which it is numbered.

    `role` is C or S; the numbers of one document are separated by spaces.
    """
    params = []
    for prefix, numbered in (("TLS", tls or {}), ("DTLS", dtls or {})):
        for spec, numbers in numbered.items():
            for version in VERSIONS[spec]:
                if version in only and version.startswith("DTLS") == (prefix == "DTLS"):
                    ids = [f"{spec}/{prefix}{role}-{number}" for number in numbers.split()]
                    params.append(pytest.param(spec, version, id=f"{spec}-{version}", marks=pytest.mark.evaluates(*ids)))
    return pytest.mark.parametrize("spec,version", params)


class Pki:
    """A root, an intermediate authority, and ordinary leaves; what is odd a test makes from `root` or `between`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = factory.make(factory.authority("evaluation root"))
        self.between = factory.make(factory.authority("evaluation intermediate"), self.root)
        self.ca = self.root.write(folder, "root")[0]
        # Of an authority that issued nothing here: it settles nothing.
        foreign = folder / "foreign.crl"
        foreign.write_bytes(factory.make(factory.authority("foreign")).list())
        self.foreign_list = str(foreign)
        keys = folder / "ntp.keys"
        keys.write_text(f"7 SHA512 HEX:{'ab' * 64}\n", encoding="ascii")
        keys.chmod(0o600)
        self.keys = str(keys)

    def client(self, **changes: object) -> factory.Node:
        return self.leaf(factory.Want(cn="client", names=(CLIENT_NAME,), usages=(factory.CLIENT,)), **changes)

    def server(self, **changes: object) -> factory.Node:
        return self.leaf(factory.Want(cn="server", usages=(factory.SERVER,)), **changes)

    def leaf(self, want: factory.Want, **changes: object) -> factory.Node:
        return factory.make(factory.replace(want, **changes), self.between)

    def seal(self, channel: str, role: str) -> Json:
        """A mac: block where the digest has to carry the claim."""
        if channel == "dtls":
            return {}
        return {"mac": {"keys": self.keys} | ({"trusted": [7]} if role == "server" else {"key": 7})}

    def server_tunnel(self, channel: str, kind: str, name: str = "", **tls: object) -> Json:
        stem = f"server-{kind}"
        if not (self.folder / f"{stem}.pem").exists():
            self.server(kind=kind).write(self.folder, stem)
        block = {"ca": self.ca, "certificate": str(self.folder / f"{stem}.pem"), "key": str(self.folder / f"{stem}.key"),
                 "revocation": "soft", "allow": [CLIENT_NAME]} | {key.replace("_", "-"): value for key, value in tls.items()}
        return {"name": name or f"{channel}-{kind}", "role": "server", "listen": "127.0.0.1:0", "upstream": CLOCK,
                "channel": channel, "tls": block, **self.seal(channel, "server")}

    def client_tunnel(self, channel: str, name: str, port: int, **tls: object) -> Json:
        stem = "client"
        if not (self.folder / f"{stem}.pem").exists():
            self.client().write(self.folder, stem)
        block = {"ca": self.ca, "certificate": str(self.folder / "client.pem"), "key": str(self.folder / "client.key"),
                 "revocation": "soft", "server-name": "localhost"} | {key.replace("_", "-"): value
                                                                        for key, value in tls.items()}
        return {"name": name, "role": "client", "listen": "127.0.0.1:0", "connect": f"127.0.0.1:{port}",
                "channel": channel, "tls": block, "timing": {"connect": "5s", "handshake": "8s"},
                **self.seal(channel, "client")}


class Heads:
    """Running server roles, one ntpgate for each document; started when they are first needed."""

    def __init__(self, pki: Pki, tunnels: Callable[[Pki, str], list[Json]]) -> None:
        self.pki, self._tunnels = pki, tunnels
        self._owner = Supervisor()
        self._running: dict[str, Gateway] = {}

    def of(self, spec: str) -> Gateway:
        if spec not in self._running:
            config = write_config(self.pki.folder / f"heads-{spec}.yaml", self._tunnels(self.pki, spec),
                                  profile=PROFILE[spec], limits={"handshakes-per-second-per-source": 0})
            self._running[spec] = Gateway(self._owner, spec, ["run", "-c", str(config)])
        return self._running[spec]

    def end(self) -> None:
        for gateway in self._running.values():
            gateway.finish()
        self._owner.end()


def hello_for(version: str, client: Client, groups: list[int] | None = None, suites: list[int] | None = None,
              schemes: list[int] | None = None, **more: object) -> codec.ClientHello:
    """What a right client of the version offers, narrowed as told; the shares are of the first group."""
    wanted = GROUPS if groups is None else groups
    shares = client.shares(wanted[:1]) if version == "TLS1.3" and wanted[0] in GROUPS else {}
    return codec.client_hello([CODES[version]], SUITES[version] if suites is None else suites, wanted,
                              SCHEMES if schemes is None else schemes, shares=shares, **more)


@dataclass
class Met:
    """How a meeting went: "done" with a pong in return, or how the head-end ended it."""

    client: Client
    result: str
    port: int  # of ours

    @property
    def good(self) -> bool:
        return self.result == "done"


def ping(client: Client) -> None:
    """A frame there and one back: application data flows."""
    frame = Frame(PING, id=77, send=1)
    client.send_data(frame.encode() if client.wire.datagrams else frame.framed())
    data = client.read_data()
    answer = Frame.decode(data if client.wire.datagrams else data[2:])
    assert (answer.kind, answer.id) == (PONG, 77), answer


def meet(address: tuple[str, int], version: str, plan: Plan, make_hello: Callable[[Client], codec.ClientHello] | None = None,
         then: Callable[[Client], None] = ping, timeout: float = 2.0) -> Met:
    """One client that offers `make_hello`'s hello, shakes hands as `plan` says, and then does `then`."""
    datagrams = version.startswith("DTLS")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM) as own:
        own.settimeout(timeout)
        own.connect(address)
        port = own.getsockname()[1]
        client = Client(own, plan, datagrams)
        hello = make_hello(client) if make_hello else hello_for(version, client)

        def act() -> None:
            client.connect(hello)
            then(client)

        return Met(client, outcome(act), port)
