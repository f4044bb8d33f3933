"""For every profile, a scan of the head-ends finds what `profile show` says: nothing is missing, and nothing beside it.

The server roles are asked with hellos that offer everything IANA has assigned, and with stock programs; of the client
roles the ClientHello is read.
"""

from __future__ import annotations

import json
import socket
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import factory, tls_codec as codec
from support.gateway import Gateway, command, write_config
from support.processes import Supervisor
from support.tls_codec import ClientHello, TLS12, TLS13, DTLS12, names_of
from support.tls_peer import Alert, Client, Plan
from support.tls_wires import Ended

PROFILES = sorted(path.stem for path in (Path(__file__).parents[2] / "configs/profiles").glob("*.yaml"))
# Kind of the server's key -> a scheme that the profile must offer for it to be of use.
KINDS = {"rsa3072": "rsa_pss_rsae_sha384", "p256": "ecdsa_secp256r1_sha256", "p384": "ecdsa_secp384r1_sha384",
         "p521": "ecdsa_secp521r1_sha512", "rsapss": "rsa_pss_pss_sha384", "ed25519": "ed25519"}
EVERY_SUITE = (*codec.ALL_SUITES, 0xCCA8, 0xCCA9)
CLOCK = {"clock": {"free-running": True}}


class Bench:
    """One authority, one certificate of each kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root = factory.make(factory.authority())
        self.ca = root.write(folder, "root")
        self.identity = {kind: factory.make(factory.Want(kind=kind), root).write(folder, kind)
                         for kind in KINDS if kind != "rsapss"}
        self.identity["rsapss"] = factory.by_openssl(folder, "rsapss", self.ca, [
            "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:3072"])
        keys = folder / "ntp.keys"
        keys.write_text(f"7 SHA512 HEX:{'ab' * 64}\n", encoding="ascii")
        keys.chmod(0o600)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


class Scene:
    """A profile, and its head-ends: a server for each kind of key, a client for each channel."""

    def __init__(self, bench: Bench, profile: str, supervisor: Supervisor, ears: dict[str, socket.socket]) -> None:
        self.bench, self.profile = bench, profile
        self.shown = json.loads(command("profile", "show", profile, "--json").stdout)
        self.kinds = [kind for kind, scheme in KINDS.items() if scheme in self.shown["tls"]["signatures"]]
        self.channels = [channel for channel in ("tls", "dtls") if channel not in self.shown["claim"]["forbidden"]]
        tunnels = []
        for channel in self.channels:
            tunnels += [self.server(channel, kind) for kind in self.kinds if self.serves(channel, kind)]
            tunnels.append(self.client(channel, ears[channel]))
        tunnels += [self.server("tls", kind, "raw") for kind in ("rsa3072", "p384")] if "tls" in self.channels else []
        config = write_config(bench.folder / f"{profile}.yaml", tunnels, profile=profile,
                              limits={"handshakes-per-second-per-source": 0})
        self.gateway = Gateway(supervisor, profile, ["run", "-c", str(config)])

    def suits(self, version: str, kind: str) -> bool:
        """Below TLS 1.3 the certificate's curve is one of the groups (RFC 8422 section 5.3); in DTLS, OpenSSL 3.0 signs
        with no RSA-PSS or Ed25519 key."""
        if version == "DTLS1.2" and kind in ("rsapss", "ed25519"):
            return False
        curve = {"p256": "secp256r1", "p384": "secp384r1", "p521": "secp521r1"}.get(kind)
        return version == "TLS1.3" or curve is None or curve in self.shown["tls"]["groups"]

    def serves(self, channel: str, kind: str) -> list[str]:
        return [version for version in self.versions(channel) if self.suits(version, kind)]

    def seal(self, channel: str) -> dict[str, object]:
        needs = channel in self.shown["claim"]["supplementary"]
        return {"mac": {"keys": str(self.bench.folder / "ntp.keys")}} if needs else {}

    def server(self, channel: str, kind: str, framing: str = "v1") -> dict[str, object]:
        certificate, key = self.bench.identity[kind]
        raw = framing == "raw"
        tls = {"ca": self.bench.ca[0], "certificate": certificate, "key": key, "revocation": "soft"}
        return {"name": f"{framing}-{channel}-{kind}", "role": "server", "listen": "127.0.0.1:0", "channel": channel,
                "framing": framing, "upstream": CLOCK, "tls": tls | ({"client-certificate": "none"} if raw else {}),
                **self.seal(channel)}

    def client(self, channel: str, ear: socket.socket) -> dict[str, object]:
        host, port = ear.getsockname()
        seal = {"mac": self.seal(channel)["mac"] | {"key": 7}} if self.seal(channel) else {}
        return {"name": f"to-{channel}", "role": "client", "listen": "127.0.0.1:0", "channel": channel,
                "connect": f"{host}:{port}", "tls": {"ca": self.bench.ca[0], "revocation": "soft",
                                                     "server-name": "localhost"},
                "timing": {"connect": "1s", "handshake": "1s"}, **seal}

    def versions(self, channel: str) -> list[str]:
        return self.shown[channel]["versions"]

    def suites(self, version: str, kind: str = "") -> list[str]:
        """In the profile's order, as far as they are of this version and for this kind of key."""
        listed = self.shown["dtls" if version.startswith("DTLS") else "tls"]["suites"]
        older = [suite for suite in listed if "_WITH_" in suite]
        if version == "TLS1.3":
            return [suite for suite in listed if "_WITH_" not in suite]
        if not kind:
            return older
        return [suite for suite in older if ("_RSA_" if kind.startswith("rsa") else "_ECDSA_") in suite]


# One worker for each profile: its head-ends are started once.
@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in PROFILES])
def scene(request: pytest.FixtureRequest, bench: Bench) -> Iterator[Scene]:
    owner = Supervisor()
    ears = {"tls": socket.create_server(("127.0.0.1", 0)), "dtls": socket.socket(socket.AF_INET, socket.SOCK_DGRAM)}
    ears["dtls"].bind(("127.0.0.1", 0))
    scene = None
    hellos: dict[str, ClientHello] = {}
    with ThreadPoolExecutor(2) as pool:
        tasks = {channel: pool.submit(hear_hello, ear, channel == "dtls") for channel, ear in ears.items()}
        try:
            scene = Scene(bench, request.param, owner, ears)
            hellos = {channel: tasks[channel].result(10) for channel in scene.channels}
            scene.hellos = hellos
            yield scene
        finally:
            for ear in ears.values():
                ear.close()
            owner.end()


def hear_hello(ear: socket.socket, datagrams: bool) -> ClientHello | None:
    """The first ClientHello that comes; None when the test ends without one."""
    ear.settimeout(15)
    try:
        if datagrams:
            data = ear.recv(65536)
            return ClientHello.decode(data[13 + 12:], True)
        connection, _ = ear.accept()
        with connection:
            connection.settimeout(5)
            head = connection.recv(5, socket.MSG_WAITALL)
            data = connection.recv(int.from_bytes(head[3:], "big"), socket.MSG_WAITALL)
        return ClientHello.decode(data[4:], False)
    except OSError:
        return None


def ask(address: tuple[str, int], hello: ClientHello) -> Client | str:
    """The client after the server's first flight, or the alert that came instead of it."""
    datagrams = hello.cookie is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM) as own:
        own.settimeout(2)
        own.connect(address)
        client = Client(own, Plan(), datagrams)
        try:
            client.offer(hello)
            if client.answer.real_version() != TLS13:
                client.hear(codec.CERTIFICATE)
                client.hear(codec.SERVER_KEY_EXCHANGE)
        except Alert as alert:
            return alert.word
        except Ended as ended:
            return str(ended)
        return client


VERSION_CODES = {"TLS1.2": TLS12, "TLS1.3": TLS13, "DTLS1.2": DTLS12}


def hello_of(version: int, suites: object = EVERY_SUITE, groups: object = codec.ALL_GROUPS,
             schemes: object = codec.ALL_SCHEMES) -> ClientHello:
    return codec.client_hello([version], suites, groups, schemes)


def chosen_in_turn(address: tuple[str, int], make_hello: object, read: object) -> list[int]:
    """What the server picks, then what it picks when that is not offered any more, until it picks nothing."""
    found: list[int] = []
    while True:
        client = ask(address, make_hello(found))
        if isinstance(client, str):
            assert found, (client, address)
            return found
        pick = read(client)
        assert pick not in found, (pick, found)
        found.append(pick)


def without(codes: object, gone: list[int]) -> list[int]:
    return [code for code in codes if code not in gone]


def parameters(client: Client) -> codec.Reader:
    return codec.Reader(client.heard["ServerKeyExchange"])


def group_picked(client: Client) -> int:
    if client.answer.real_version() == TLS13:
        return int.from_bytes(client.answer.extensions[codec.KEY_SHARE][:2], "big")
    reader = parameters(client)
    assert reader.number(1) == 3
    return reader.number(2)


def scheme_picked(client: Client) -> int:
    reader = parameters(client)
    reader.take(3)
    reader.vector(1)
    return reader.number(2)


def places(scene: Scene) -> Iterator[tuple[str, str, tuple[str, int]]]:
    """Version, kind of key, address: of every server role that speaks frames."""
    for channel in scene.channels:
        for kind in scene.kinds:
            for version in scene.serves(channel, kind):
                yield version, kind, scene.gateway.address(f"v1-{channel}-{kind}")


def test_suites_are_served_in_the_profiles_order_and_no_others(scene):
    for version, kind, address in places(scene):
        code = VERSION_CODES[version]
        picks = chosen_in_turn(address, lambda gone: hello_of(code, without(EVERY_SUITE, gone)),
                               lambda client: client.answer.suite)
        assert names_of(picks, codec.SUITES) == scene.suites(version, kind), (version, kind)


def test_groups_are_served_as_listed_and_no_others(scene):
    for version, kind, address in places(scene):
        if kind != "rsa3072":
            continue  # with another key TLS 1.2 needs the certificate's curve as well
        code = VERSION_CODES[version]
        picks = chosen_in_turn(address, lambda gone: hello_of(code, groups=without(codec.ALL_GROUPS, gone)),
                               group_picked)
        assert sorted(names_of(picks, codec.GROUPS)) == sorted(scene.shown["tls"]["groups"]), version


def test_signatures_are_made_as_listed_and_no_others(scene):
    offered = scene.shown["tls"]["signatures"]
    allowed = [codec.SCHEMES[name] for name in offered]
    made: dict[str, set[str]] = {}
    for version, kind, address in places(scene):
        code = VERSION_CODES[version]
        seen = made.setdefault(version, set())
        if version == "TLS1.3":  # signed under keys: each scheme is offered alone
            seen |= {name for name in offered
                     if not isinstance(ask(address, hello_of(code, schemes=[codec.SCHEMES[name]])), str)}
            nothing = ask(address, hello_of(code, schemes=without(codec.ALL_SCHEMES, allowed)))
            assert nothing == "handshake_failure", (kind, nothing)
        else:
            picks = chosen_in_turn(address, lambda gone: hello_of(code, schemes=without(codec.ALL_SCHEMES, gone)),
                                   scheme_picked)
            seen |= set(names_of(picks, codec.SCHEMES))
    for version, seen in made.items():
        left_out = ("rsa_pss_pss", "ed25519") if version == "DTLS1.2" else ("rsa_pkcs1",) if version == "TLS1.3" else ()
        expected = {name for name in offered if not name.startswith(left_out)}
        assert seen == expected, version


def test_versions_are_served_as_listed_and_no_others(scene):
    if "tls" not in scene.channels:
        pytest.fail("every profile has tls")
    address = scene.gateway.address("v1-tls-rsa3072")
    served = []
    for code in (0x0300, codec.TLS10, codec.TLS11, TLS12, TLS13, 0x0305):
        hello = hello_of(TLS12)
        hello.version = min(code, TLS12)
        if code > TLS12:
            hello = hello_of(TLS13)
            hello.extensions[codec.SUPPORTED_VERSIONS] = codec.numbers([code], prefix=1)
        answer = ask(address, hello)
        if not isinstance(answer, str):
            served.append(answer.answer.real_version())
        else:
            assert answer == "protocol_version" or code == 0x0300, (hex(code), answer)
    assert sorted(served) == sorted(codec.VERSIONS[name] for name in scene.versions("tls"))
    older = hello_of(DTLS12)
    older.version = 0xFEFF
    assert ask(scene.gateway.address("v1-dtls-rsa3072"), older) == "protocol_version"


def test_a_hello_without_extended_master_secret_is_served_only_where_it_may(scene):
    required = scene.shown["tls"]["extended-master-secret"] == "required"
    for channel, code in (("tls", TLS12), ("dtls", DTLS12)):
        hello = hello_of(code)
        assert codec.MASTER_SECRET in hello.extensions
        answer = ask(scene.gateway.address(f"v1-{channel}-rsa3072"), hello)
        assert not isinstance(answer, str), (channel, answer)
        assert answer.answer.extensions.get(codec.MASTER_SECRET) == b"", channel  # taken up whenever it is offered
        del hello.extensions[codec.MASTER_SECRET]
        answer = ask(scene.gateway.address(f"v1-{channel}-rsa3072"), hello)
        if required:
            assert answer == "handshake_failure", (channel, answer)
        else:
            assert not isinstance(answer, str), (channel, answer)
            assert codec.MASTER_SECRET not in answer.answer.extensions, channel
    if required:
        scene.gateway.wait_event("channel_failed", tunnel="v1-tls-rsa3072", reason="no_extended_master_secret")
        scene.gateway.wait_event("channel_failed", tunnel="v1-dtls-rsa3072", reason="no_extended_master_secret")


def test_client_roles_offer_the_lists_and_nothing_else(scene):
    for channel, hello in scene.hellos.items():
        shown = scene.shown[channel]
        assert names_of([code for code in hello.suites if code != codec.SCSV], codec.SUITES) == shown["suites"], channel
        assert names_of(hello.list(codec.SUPPORTED_GROUPS), codec.GROUPS) == shown["groups"], channel
        assert names_of(hello.list(codec.SIGNATURE_ALGORITHMS), codec.SCHEMES) == shown["signatures"], channel
        versions = hello.list(codec.SUPPORTED_VERSIONS, prefix=1) or [hello.version]
        assert names_of(versions, codec.VERSIONS) == shown["versions"], channel
        assert codec.MASTER_SECRET in hello.extensions and codec.SCSV in hello.suites, channel
        for absent in (codec.EARLY_DATA, codec.POST_HANDSHAKE_AUTH, codec.SESSION_TICKET, codec.PRE_SHARED_KEY,
                       codec.SIGNATURE_ALGORITHMS_CERT, codec.SERVER_CERTIFICATE_TYPE):
            assert absent not in hello.extensions, (channel, absent)
        assert not hello.session or channel == "tls"  # RFC 8446 appendix D.4


def library_names() -> dict[str, str]:
    """IANA's name -> OpenSSL's."""
    rows = factory.openssl("ciphers", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").splitlines()
    return {row.split()[0]: row.split()[2] for row in rows if " - " in row}


def stock_handshake(scene: Scene, version: str, kind: str, suite: str, name: str) -> tuple[str, str]:
    """What openssl agrees on with the server role when it offers this suite alone: version and suite."""
    channel = "dtls" if version.startswith("DTLS") else "tls"
    host, port = scene.gateway.address(f"v1-{channel}-{kind}")
    certificate, key = scene.bench.identity["p384" if "secp384r1" in scene.shown["tls"]["groups"] else "p256"]
    flag = {"TLS1.3": "-tls1_3", "TLS1.2": "-tls1_2", "DTLS1.2": "-dtls1_2"}[version]
    done = subprocess.run(
        ["openssl", "s_client", "-brief", flag, "-ciphersuites" if version == "TLS1.3" else "-cipher", name, "-connect",
         f"{host}:{port}", "-CAfile", scene.bench.ca[0], "-cert", certificate, "-key", key, "-alpn", "ntpgate/1",
         "-verify_return_error", *(["-mtu", "600"] if channel == "dtls" else [])],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    said = dict(line.split(": ", 1) for line in done.stderr.splitlines() if ": " in line)
    assert "CONNECTION ESTABLISHED" in done.stderr, (version, kind, suite, done.stderr)
    return said["Protocol version"], said["Ciphersuite"]


def test_stock_clients_shake_hands_over_each_suite(scene):
    names = library_names()
    jobs = [(version, kind, suite) for channel in scene.channels for version in scene.versions(channel)
            for kind in ("rsa3072", "p384") for suite in scene.suites(version, kind)]
    with ThreadPoolExecutor(4) as pool:
        for (version, kind, suite), agreed in zip(jobs, pool.map(
                lambda job: stock_handshake(scene, *job, names.get(job[2], job[2])), jobs), strict=True):
            assert agreed == (version.replace("TLS", "TLSv"), names.get(suite, suite)), (kind, suite)


@pytest.mark.parametrize("kind", ["rsa3072", "p384"])
def test_sslscan_finds_the_same(scene, kind):
    host, port = scene.gateway.address(f"raw-tls-{kind}")
    report = subprocess.run(["sslscan", "--xml=-", "--no-check-certificate", "--no-compression", "--no-heartbleed",
                             "--no-fallback", "--no-cipher-details", f"{host}:{port}"], capture_output=True, text=True,
                            timeout=60, check=True).stdout
    found = ElementTree.fromstring(report).find("ssltest")
    assert found is not None, report
    enabled = [f"{row.get('type').upper()}{row.get('version')}" for row in found.iter("protocol")
               if row.get("enabled") == "1"]
    served = list(scene.versions("tls"))
    if scene.shown["tls"]["extended-master-secret"] == "required":
        served.remove("TLS1.2")  # sslscan's hello of TLS 1.2 does not offer it
    assert sorted(enabled) == sorted(served)
    names = library_names()
    for version in served:
        accepted = {row.get("cipher") for row in found.iter("cipher") if row.get("sslversion") == version.replace("S", "Sv")}
        assert accepted == {names.get(suite, suite) for suite in scene.suites(version, kind)}, version
    renegotiation = found.find("renegotiation")
    assert renegotiation.get("supported") == "0", ElementTree.tostring(renegotiation)
    groups = {row.get("name") for row in found.iter("group")}
    assert {name.split()[0] for name in groups if name} <= set(scene.shown["tls"]["groups"]) | {"NIST", "prime256v1"}
