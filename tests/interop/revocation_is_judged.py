"""Who is revoked, by whatever source, gets no time; and what happens when the sources fail, under each setting."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import ntp
from support.gateway import Json, client_tunnel, server_tunnel
from support.ocsp import REVOKED, UNKNOWN, Responder, Says, StockResponder, flip_signature, unwilling
from support.pki import CLIENT, OCSP, SERVER, Authority, Leaf, Wish
from support.processes import eventually, free_port
from support.stock_dtls import StockPeer
from support.upstream import Daemon

WORDS = ("none", "soft", "require")


@dataclass
class Case:
    """A peer of root -> between -> leaf, and what is known of it. Nothing of it is wrong until a case spoils it."""

    folder: Path
    responder: Responder
    usage: object
    url: str = ""

    def __post_init__(self) -> None:
        self.root = Authority("root")
        self.between = Authority("between", self.root, self.url or self.responder.url)
        self.leaf = self.issue(self.between)
        self.judge: Json = {"ca": self.root.write(self.folder / "root.pem"), "ocsp": "fetch"}
        self.about_leaf = Says(self.leaf.certificate, self.between)
        self.about_between = Says(self.between.certificate, self.root)

    def issue(self, authority: Authority) -> Leaf:
        return authority.issue(Wish(common_name="peer", names=("DNS:localhost", "DNS:client.test"),
                                    usages=(self.usage,), responder=self.url or self.responder.url))

    def by_lists(self, *lists: bytes) -> None:
        self.judge["ocsp"] = "none"
        self.add_lists(*lists)

    def add_lists(self, *lists: bytes) -> None:
        paths = []
        for number, text in enumerate(lists):
            path = self.folder / f"{number}.crl"
            path.write_bytes(text)
            paths.append(str(path))
        self.judge["crl"] = paths


@dataclass
class Expected:
    """`soft` and `require`: the reason of the refusal, or empty; `doubt`: what soft tolerates, as channel_opened says."""

    spoil: Callable[[Case], None]
    soft: str = ""
    require: str = ""
    doubt: str = ""
    asks: bool = True  # the responder


def say(**changes: object) -> Callable[[Case], None]:
    """What the responder says of the leaf."""
    def spoil(case: Case) -> None:
        for key, value in changes.items():
            setattr(case.about_leaf, key, value)
    return spoil


def say_of_between(**changes: object) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        for key, value in changes.items():
            setattr(case.about_between, key, value)
    return spoil


def unauthorised(case: Case) -> None:
    """A delegated responder whose certificate does not say that it is one."""
    case.about_leaf.signer = case.between.issue(Wish(common_name="no responder", usages=(CLIENT,)))


def by_stranger(case: Case) -> None:
    case.about_leaf.signer = Authority("stranger")


def without_responder(case: Case) -> None:
    case.leaf = case.between.issue(Wish(common_name="peer", names=("DNS:localhost", "DNS:client.test"),
                                        usages=(case.usage,)))


def revoked_though_listed_clear(case: Case) -> None:
    case.about_leaf.status = REVOKED
    case.add_lists(case.root.crl(), case.between.crl())


def unreachable_but_listed_clear(case: Case) -> None:
    case.responder.silent.set()
    case.add_lists(case.root.crl(), case.between.crl())


def lists(leaf: bool = False, between: bool = False, ends: float = 24) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        root = case.root.crl(*([case.between.certificate] if between else []))
        case.by_lists(root, case.between.crl(*([case.leaf.certificate] if leaf else []), ends=ends))
    return spoil


def tolerated(reason: str, spoil: Callable[[Case], None], **more: object) -> Expected:
    return Expected(spoil, "", reason, reason, **more)


def refused(reason: str, spoil: Callable[[Case], None], **more: object) -> Expected:
    return Expected(spoil, reason, reason, "", **more)


CASES: dict[str, Expected] = {
    "all good by OCSP": Expected(lambda case: None),
    "all good by lists": Expected(lists(), asks=False),
    "leaf revoked by list": refused("certificate_revoked", lists(leaf=True), asks=False),
    "intermediate revoked by list": refused("issuer_revoked", lists(between=True), asks=False),
    "leaf revoked by OCSP": refused("certificate_revoked", say(status=REVOKED)),
    "intermediate revoked by OCSP": refused("issuer_revoked", say_of_between(status=REVOKED)),
    "revoked by OCSP, clear by list": refused("certificate_revoked", revoked_though_listed_clear),
    "stale list": tolerated("crl_stale", lists(ends=-1), asks=False),
    "silent responder": tolerated("ocsp_unreachable", lambda case: case.responder.silent.set()),
    "silent responder, clear by list": Expected(unreachable_but_listed_clear),
    "stale OCSP": tolerated("ocsp_stale", say(starts=-4.0, ends=-1.0)),
    "OCSP of the future": tolerated("ocsp_stale", say(starts=1.0, ends=2.0)),
    "stale OCSP that says revoked": tolerated("ocsp_stale", say(status=REVOKED, starts=-4.0, ends=-1.0)),
    "altered OCSP signature": tolerated("ocsp_bad_signature", say(spoil=flip_signature)),
    "altered OCSP that says revoked": tolerated("ocsp_bad_signature", say(status=REVOKED, spoil=flip_signature)),
    "OCSP signed by a stranger": tolerated("ocsp_bad_signature", by_stranger),
    "OCSP delegate without the right": tolerated("ocsp_bad_signature", unauthorised),
    "unknown to the responder": tolerated("ocsp_unknown", say(status=UNKNOWN)),
    "responder says try later": tolerated("ocsp_invalid", say(spoil=unwilling)),
    "broken OCSP": tolerated("ocsp_invalid", say(spoil=lambda response: b"\x30\x05\x0c\x03abc")),
    "intermediate unknown to the responder": tolerated("ocsp_unknown", say_of_between(status=UNKNOWN)),
    "no responder named": tolerated("revocation_undetermined", without_responder),
}


class Bench:
    """One judging head-end with a tunnel for each word, and a head-end on the other side for it to judge."""

    def __init__(self, start, folder: Path, trial_pki, daemon: Daemon, role: str) -> None:
        self.start, self.folder, self.pki, self.daemon, self.role = start, folder, trial_pki, daemon, role

    def run(self, case: Case) -> None:
        certificate, key = case.leaf.write(self.folder, "peer")
        shown = {"certificate": certificate, "key": key}
        judging = [dict(case.judge, revocation=word) for word in WORDS]
        for block in judging:
            if block["revocation"] == "require" and block["ocsp"] == "none":
                assert "crl" in block
        if self.role == "client":
            peer = self.start(server_tunnel(self.daemon.text(), self.pki.server() | shown), name="peer")
            tunnels = [client_tunnel(peer.listen(), self.pki.client() | block | {"server-name": "localhost"}) |
                       {"name": block["revocation"]} for block in judging]
            self.judge = self.clients = self.start(*tunnels, name="judge")
        else:
            tunnels = [server_tunnel(self.daemon.text(), self.pki.server() | block) | {"name": block["revocation"]}
                       for block in judging]
            self.judge = self.start(*tunnels, name="judge")
            tunnels = [client_tunnel(self.judge.listen(word), self.pki.client() | shown) | {"name": word}
                       for word in WORDS]
            self.clients = self.start(*tunnels, name="peer")

    def expect(self, word: str, refusal: str, doubt: str) -> None:
        if refusal:
            record = self.judge.wait_event("certificate_rejected", tunnel=word, reason=refusal)
            assert record["outcome"] == "failure" and record["text"] and record["serial"], record
            assert not self.judge.events("channel_opened", tunnel=word)
            assert ntp.ask(self.clients.address(word), 0.2) is None
        else:
            opened = self.judge.wait_event("channel_opened", tunnel=word)
            assert opened.get("undetermined", "") == doubt, opened
            eventually(lambda: ntp.ask(self.clients.address(word), 0.5), f"time under {word}")
            assert not self.judge.events("certificate_rejected", tunnel=word)


@pytest.fixture
def responder():
    with Responder() as answering:
        yield answering


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("name", CASES)
def test_each_source_under_each_word(name, role, either_channel, start, folder, trial_pki, responder):
    expected = CASES[name]
    case = Case(folder, responder, SERVER if role == "client" else CLIENT)
    expected.spoil(case)
    responder.say(case.about_leaf, case.about_between)
    with Daemon() as daemon:
        bench = Bench(start, folder, trial_pki, daemon, role)
        bench.run(case)
        bench.expect("none", "", "")
        bench.expect("soft", expected.soft, expected.doubt)
        bench.expect("require", expected.require, "")
        bench.clients.finish()
        bench.judge.finish()
    assert bool(responder.asked) == expected.asks


def test_a_responder_that_is_not_there(either_channel, start, folder, trial_pki, responder):
    """A closed port is told at once, by its own words."""
    url = f"http://127.0.0.1:{free_port(socket.SOCK_STREAM)}/"
    case = Case(folder, responder, SERVER, url)
    with Daemon() as daemon:
        bench = Bench(start, folder, trial_pki, daemon, "client")
        bench.run(case)
        bench.expect("soft", "", "ocsp_unreachable")
        bench.expect("require", "ocsp_unreachable", "")
        assert url in bench.judge.events("certificate_rejected", tunnel="require")[0]["text"]
        bench.clients.finish()
        bench.judge.finish()


def test_stock_responders_answer_and_what_they_said_is_kept(start, folder, trial_pki, supervisor, either_channel):
    """`openssl ocsp`, one for each authority; the second by a delegate. A peer that comes again is not asked about."""
    root = Authority("root")
    first, second = StockResponder(supervisor, folder / "first"), StockResponder(supervisor, folder / "second")
    first.serve(root)
    between = Authority("between", root, first.url)
    second.serve(between)
    leaf = between.issue(Wish(usages=(CLIENT,), names=("DNS:client.test",), responder=second.url))
    delegate = between.issue(Wish(common_name="delegate", usages=(OCSP,)))
    first.serve(root, (between.certificate, False))
    second.serve(between, (leaf.certificate, False), signer=delegate)
    certificate, key = leaf.write(folder, "peer")
    judging = trial_pki.server() | {"ca": root.write(folder / "root.pem"), "ocsp": "fetch", "revocation": "require"}
    with Daemon() as daemon:
        server = start(server_tunnel(daemon.text(), judging), name="server")
        tunnel = client_tunnel(server.listen(), trial_pki.client() | {"certificate": certificate, "key": key})
        client = start(tunnel, name="client")
        eventually(lambda: ntp.ask(client.address(), 0.5), "time")
        client.finish()
        first.stop()
        second.stop()
        again = start(tunnel, name="again")
        eventually(lambda: ntp.ask(again.address(), 0.5), "time from what was kept")
        assert not server.events("certificate_rejected")
        again.finish()
        server.finish()


@pytest.mark.parametrize("role", ["client", "server"])
def test_an_open_channel_is_asked_about_again(role, either_channel, start, folder, trial_pki, responder):
    """When what the responder said is over; who was revoked meanwhile loses the channel, and nobody reloads anything."""
    case = Case(folder, responder, SERVER if role == "client" else CLIENT)
    case.about_leaf.ends = (8 - 60) / 3600  # with the minute that is allowed, eight seconds from now
    responder.say(case.about_leaf, case.about_between)
    with Daemon() as daemon:
        bench = Bench(start, folder, trial_pki, daemon, role)
        bench.run(case)
        bench.expect("require", "", "")
        asked = responder.asked.count(case.leaf.certificate.serial_number)
        eventually(lambda: responder.asked.count(case.leaf.certificate.serial_number) > asked, "the next question", 20)
        assert not bench.judge.events("channel_closed")
        case.about_leaf.status, case.about_leaf.ends = REVOKED, 24.0
        for word in ("soft", "require"):
            bench.judge.wait_event("channel_closed", 30, tunnel=word, reason="certificate_revoked")
        bench.expect("none", "", "")
        bench.clients.finish()
        bench.judge.finish()


def staple_file(folder: Path, says: Says) -> str:
    path = folder / "staple.der"
    path.write_bytes(says.response())
    return str(path)


STAPLES: dict[str, tuple[str, dict[str, object]]] = {
    "good": ("", {}),
    "revoked": ("certificate_revoked", {"status": REVOKED}),
    "stale": ("ocsp_stale", {"starts": -4.0, "ends": -1.0}),
    "altered": ("ocsp_bad_signature", {"spoil": flip_signature}),
    "unknown": ("ocsp_unknown", {"status": UNKNOWN}),
    "none": ("ocsp_missing", {}),
}


@pytest.mark.parametrize("version", ["TLS1.2", "TLS1.3", "DTLS1.2"])
@pytest.mark.parametrize("name", STAPLES)
def test_a_staple_is_demanded_and_judged(name, version, start, folder, trial_pki):
    """By `openssl s_server`, which sends whatever it is given."""
    reason, changes = STAPLES[name]
    leaf = trial_pki.authority.issue(Wish(common_name="peer", usages=(SERVER,)))
    says = Says(leaf.certificate, trial_pki.authority, **changes)
    certificate, key = leaf.write(folder, "peer")
    datagrams = version == "DTLS1.2"
    port = free_port(socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
    argv = ["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{port}", "-cert", certificate, "-key", key, "-alpn",
            "ntpgate/1", {"TLS1.2": "-tls1_2", "TLS1.3": "-tls1_3", "DTLS1.2": "-dtls1_2"}[version]]
    if name != "none":
        argv += ["-status", "-status_file", staple_file(folder, says)]
    block = trial_pki.client() | {"ocsp": "staple", "revocation": "require"}
    if not datagrams:
        block["versions"] = [version]
    with StockPeer(argv, folder / "s_server.log"):
        client = start(client_tunnel(f"127.0.0.1:{port}", block) | {"channel": "dtls" if datagrams else "tls"})
        if reason:
            record = client.wait_event("certificate_rejected", reason=reason)
            assert record["subject"] == "CN=peer" and not client.events("channel_opened"), record
        else:
            opened = client.wait_event("channel_opened")
            assert "undetermined" not in opened and not client.events("certificate_rejected"), opened
        client.stop()


def test_who_promises_a_staple_must_show_one(start, folder, trial_pki):
    """RFC 7633: even soft settles for no less."""
    leaf = trial_pki.authority.issue(Wish(common_name="peer", usages=(SERVER,), must_staple=True))
    certificate, key = leaf.write(folder, "peer")
    with Daemon() as daemon:
        shown = trial_pki.server() | {"certificate": certificate, "key": key}
        server = start(server_tunnel(daemon.text(), shown), name="server")
        soft = trial_pki.client() | {"ocsp": "staple", "revocation": "soft"}
        client = start(client_tunnel(server.listen(), soft), name="client")
        assert client.wait_event("certificate_rejected")["reason"] == "ocsp_missing"
        client.finish()
        server.finish()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3", "-dtls1_2"])
def test_the_server_role_staples_and_renews_its_own(version, start, folder, trial_pki, responder):
    """Read by `openssl s_client`; asked for in the background, and anew in the middle of its time."""
    leaf = trial_pki.authority.issue(Wish(common_name="server", usages=(SERVER,), responder=responder.url))
    says = Says(leaf.certificate, trial_pki.authority, starts=-1.0)
    responder.say(says)
    says.ends = 6 / 3600 - 60 / 3600  # with the tolerance, it ends in six seconds
    certificate, key = leaf.write(folder, "server")
    block = trial_pki.server() | {"certificate": certificate, "key": key, "ocsp": "staple"}
    with Daemon() as daemon:
        server = start(server_tunnel(daemon.text(), block) |
                       {"channel": "dtls" if version == "-dtls1_2" else "tls"})
        server.wait_for_line("stapling a response about our certificate")
        host, port = server.address()

        def seen() -> str:
            argv = ["openssl", "s_client", "-connect", f"{host}:{port}", version, "-status", "-alpn", "ntpgate/1",
                    "-cert", trial_pki.client_certificate, "-key", trial_pki.client_key, "-CAfile", trial_pki.ca]
            done = subprocess.run(argv, input=b"", capture_output=True, timeout=20, check=False)
            return done.stdout.decode(errors="replace")

        text = seen()
        assert "OCSP Response Status: successful" in text and "Cert Status: good" in text, text
        says.ends = 24.0
        says.status = REVOKED
        eventually(lambda: "Cert Status: revoked" in seen(), "the renewed response", 30, every=0.5)
        server.wait_for_line("the response about our certificate: revoked")
        server.finish()
    assert len(responder.asked) >= 2


def test_both_roles_by_staple_alone(either_channel, start, folder, trial_pki, responder):
    """ntpgate on both sides: what one fetches for itself is all that the other one requires."""
    leaf = trial_pki.authority.issue(Wish(common_name="server", usages=(SERVER,), responder=responder.url))
    responder.say(Says(leaf.certificate, trial_pki.authority))
    certificate, key = leaf.write(folder, "server")
    block = trial_pki.server() | {"certificate": certificate, "key": key, "ocsp": "staple"}
    with Daemon() as daemon:
        server = start(server_tunnel(daemon.text(), block), name="server")
        server.wait_for_line("stapling a response about our certificate")
        client = start(client_tunnel(server.listen(), trial_pki.client() | {"ocsp": "staple", "revocation": "require"}),
                       name="client")
        assert "undetermined" not in client.wait_event("channel_opened")
        eventually(lambda: ntp.ask(client.address(), 0.5), "time")
        client.finish()
        server.finish()


def test_nothing_is_fetched_for_a_chain_that_nobody_trusts(start, folder, trial_pki, responder):
    """Else whoever reaches the server could send it anywhere."""
    stranger = Authority("stranger between", Authority("stranger"), responder.url)
    leaf = stranger.issue(Wish(usages=(CLIENT,), names=("DNS:client.test",), responder=responder.url))
    certificate, key = leaf.write(folder, "peer")
    with Daemon() as daemon:
        block = trial_pki.server() | {"ocsp": "fetch", "revocation": "require"}
        server = start(server_tunnel(daemon.text(), block), name="server")
        client = start(client_tunnel(server.listen(), trial_pki.client() | {"certificate": certificate, "key": key}),
                       name="client")
        assert server.wait_event("certificate_rejected")["reason"] == "unknown_ca"
        client.finish()
        server.finish()
    assert not responder.asked
