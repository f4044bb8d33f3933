"""The client roles of channels tls and dtls against the numbered tests of FCS_TLSC_EXT and FCS_DTLSC_EXT: NDcPP 2.2e and
3.0e and the functional package for TLS 2.1 (NDcPP 4.0). Each case is a server of its own that is wrong in one thing; one
ntpgate for each document and version meets all of them."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from support import ntp
from support import tls_codec as codec
from support.evaluated import CODES, GROUPS, PROFILE, SCHEMES, SUITES, VERSIONS, Pki, channel_of
from support.faulty_servers import CASES, OPEN, Case
from support.gateway import Gateway, Json, write_config
from support.processes import Supervisor
from support.tls_codec import TLS12, TLS13
from support.tls_peer import Plan, Server, outcome


class Stage:
    """The server of one case: meets the first client that comes, and keeps what happened. Its port stays its own until
    the end: the client goes on knocking there, and would be the first one of another case."""

    def __init__(self, case: Case, pki: Pki, spec: str, version: str) -> None:
        self.case, self.version = case, version
        self.datagrams = version.startswith("DTLS")
        if self.datagrams:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.bind(("127.0.0.1", 0))
        else:
            self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        leaf = case.make_leaf(pki) if case.make_leaf else pki.server(**case.leaf)
        self.plan = Plan(version=TLS13 if version == "TLS1.3" else TLS12).show(leaf)
        if case.change:
            case.change(self.plan)
        self.server: Server | None = None
        self.result = "nobody came"
        self.client_hellos_after = 0
        self.asked = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            # All stages are set before the first client comes.
            if not select.select([self.socket], [], [], 60)[0]:
                return
            own = self.socket
            if not self.datagrams:
                own, _ = self.socket.accept()
            own.settimeout(8)
            self.server = Server(own, self.plan, self.datagrams)
            self.result = outcome(self._talk)
            if own is not self.socket:
                own.close()
        except OSError as error:
            self.result = f"socket: {error}"
        except Exception as error:  # the case's own fault may confuse its server: that is no channel, too
            self.result = f"{type(error).__name__}: {error}"

    def _talk(self) -> None:
        assert self.server is not None
        self.server.accept()
        self.server.read_data()
        self.asked.set()
        if self.case.after:
            self.case.after(self.server)
        while True:  # frames of the client's, until it goes
            self.server.read_data()

    def end(self) -> None:
        self.socket.close()
        self._thread.join(5)


class Play:
    """All cases of one document and version, met by one ntpgate."""

    def __init__(self, pki: Pki, spec: str, version: str) -> None:
        self.spec, self.version = spec, version
        self._owner = Supervisor()
        cases = [case for case in CASES if version in case.only and case.ids(spec, version)]
        self.stages = {case.name: Stage(case, pki, spec, version) for case in cases}
        versions = {} if version == "DTLS1.2" else {"versions": [version]}
        tunnels = [pki.client_tunnel(channel_of(version), case.name, self.stages[case.name].port,
                                     **(versions | case.tunnel | (
                                         {"crl": [pki.foreign_list]} if "revocation" in case.tunnel else {})))
                   for case in cases]
        config = write_config(pki.folder / f"clients-{spec}-{version}.yaml", tunnels, profile=PROFILE[spec])
        self.gateway = Gateway(self._owner, f"{spec}-{version}", ["run", "-c", str(config)])

    def end(self) -> None:
        """The ports are given back last: whoever has them next must not be knocked at by these clients."""
        self.gateway.finish()
        for stage in self.stages.values():
            stage.end()
        self._owner.end()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def plays(pki: Pki) -> Iterator[Callable[[str, str], Play]]:
    running: dict[tuple[str, str], Play] = {}

    def play(spec: str, version: str) -> Play:
        if (spec, version) not in running:
            running[spec, version] = None  # one failure is enough
            running[spec, version] = Play(pki, spec, version)
        assert running[spec, version], "its ntpgate did not start"
        return running[spec, version]

    yield play
    for each in filter(None, running.values()):
        each.end()


def params() -> list[object]:
    found = []
    for spec, versions in VERSIONS.items():
        for version in versions:
            for case in CASES:
                ids = case.ids(spec, version)
                if ids and version in case.only:
                    found.append(pytest.param(spec, version, case, id=f"{spec}-{version}-{case.name}",
                                              marks=pytest.mark.evaluates(*ids)))
    return found


def verdicts(gateway: Gateway, tunnel: str) -> list[Json]:
    words = ("channel_opened", "channel_failed", "certificate_rejected", "identifier_mismatch")
    return [record for record in gateway.audit() if record["tunnel"] == tunnel and record["event"] in words]


@pytest.mark.parametrize("spec,version,case", params())
def test_client(plays, spec, version, case, evidence):
    play = plays(spec, version)
    stage = play.stages[case.name]
    first = play.gateway.wait_until(lambda: verdicts(play.gateway, case.name), f"{case.name}: an outcome", 15)[0]
    evidence.note("recorded", first)
    evidence.note("server", [*(stage.server.diary if stage.server else []), stage.result])
    if stage.server and stage.server.hello:
        hello = stage.server.hello
        evidence.note("signature_algorithms", codec.names_of(hello.list(codec.SIGNATURE_ALGORITHMS), codec.SCHEMES))
        evidence.note("supported_groups", codec.names_of(hello.list(codec.SUPPORTED_GROUPS), codec.GROUPS))
    if OPEN in case.expect:
        assert first["event"] == "channel_opened", (first, stage.server and stage.server.diary, stage.result)
        flows(play, case.name, stage, evidence)
        after_opening(play, case, stage, evidence)
        return
    assert first["event"] != "channel_opened" and first["outcome"] == "failure", first
    said = {first["reason"], f'{first["reason"]}: {first.get("text", "")}'}
    assert said & set(case.expect), (first, stage.server and stage.server.diary, stage.result)
    assert first["sfr"], first
    assert not stage.server or not stage.server.data, "data left before the refusal"


def flows(play: Play, name: str, stage: Stage, evidence: object) -> None:
    """A local request leaves as application data."""
    with ntp.Client(play.gateway.address(name)) as asker:
        play.gateway.wait_until(lambda: asker.send() and stage.asked.wait(0.3), f"{name}: data flows", 6)
    assert stage.server is not None
    evidence.note("data", f"{len(stage.server.data)} records, the first of {len(stage.server.data[0])} octets")


def after_opening(play: Play, case: Case, stage: Stage, evidence: object) -> None:
    gateway, server = play.gateway, stage.server
    assert server is not None
    if case.change is not None and stage.plan.asks:
        assert "Certificate" in server.heard and "CertificateVerify" in server.heard, server.diary
    if case.name == "certificate-not-asked-for":
        assert "Certificate" not in server.heard, server.diary
    if case.name == "replay":
        record = gateway.wait_event("replay_detected", tunnel=case.name)
        evidence.note("recorded", record)
        assert record["peer"] == f"127.0.0.1:{stage.port}" and record["sfr"] == "FCS_DTLSC_EXT.2", record
    if case.name == "record-changed":
        gateway.wait_counters(lambda seen: seen["channels"]["discarded"].get("bad_record"), "bad_record", case.name)
    if case.name in ("hello-request", "late-retry-request"):
        reason = gateway.wait_event("channel_closed", tunnel=case.name)["reason"]
        evidence.note("closed", reason)
        assert reason == ("renegotiation" if case.name == "hello-request" else "protocol_error"), reason
        assert not any(line.endswith("type 22 after the handshake, first octet 1") for line in server.diary), server.diary


# What a ClientHello says


def hello_of(play: Play) -> codec.ClientHello:
    stage = play.stages["right-certificate"]
    play.gateway.wait_until(lambda: stage.server is not None and stage.server.hello, "a ClientHello", 10)
    return stage.server.hello


def said(spec: str, version: str, numbers: dict[str, str]) -> object:
    prefix = "DTLSC" if version == "DTLS1.2" else "TLSC"
    return pytest.param(spec, version, id=f"{spec}-{version}",
                        marks=pytest.mark.evaluates(*[f"{spec}/{prefix}-{number}" for number in numbers[spec].split()]))


@pytest.mark.parametrize("spec,version", [said(spec, version, {"3.0e": "1.4-T1 1.5-T1i 1.7 1.9-T1", "4.0": "4.1a 5.3 15"})
                                          for spec in ("3.0e", "4.0") for version in VERSIONS[spec]])
def test_the_hello_says_what_is_claimed_and_nothing_else(plays, spec, version, evidence):
    hello = hello_of(plays(spec, version))
    schemes = codec.names_of(hello.list(codec.SIGNATURE_ALGORITHMS), codec.SCHEMES)
    evidence.note("signature_algorithms", schemes)
    evidence.note("extensions", sorted(hello.extensions))
    assert sorted(schemes) == sorted(codec.names_of(SCHEMES, codec.SCHEMES))
    assert sorted(hello.list(codec.SUPPORTED_GROUPS)) == GROUPS
    assert codec.SCSV in hello.suites or codec.RENEGOTIATION_INFO in hello.extensions
    assert sorted(code for code in hello.suites if code != codec.SCSV) == sorted(SUITES[version])
    assert codec.SIGNATURE_ALGORITHMS_CERT not in hello.extensions
    for absent in (codec.EARLY_DATA, codec.POST_HANDSHAKE_AUTH, codec.PRE_SHARED_KEY, codec.SERVER_CERTIFICATE_TYPE):
        assert absent not in hello.extensions, absent
    versions = hello.list(codec.SUPPORTED_VERSIONS, prefix=1) or [hello.version]
    assert versions == [CODES[version]], versions
