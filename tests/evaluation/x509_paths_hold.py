"""FIA_X509_EXT.1 and .2: NDcPP 2.2e and 3.0e (their supporting documents) and the functional package for X.509 1.0 (NDcPP
4.0). A server role judges the certificates of clients; TLS 1.2 and DTLS 1.2 carry them in the clear. What its OCSP does
is tested beside its implementation."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import factory
from support.evaluated import PROFILE, Heads, Pki, hello_for, meet
from support.factory import Want, authority, make, replace
from support.gateway import Json, command, write_config
from support.tls_peer import Plan, flip

CLIENT = Want(cn="client", names=("DNS:client.test",), usages=(factory.CLIENT,))


class Tree(Pki):
    """More of a PKI: two intermediates in a row, revocation lists, and everything that is wrong with a path."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.second = make(authority("second intermediate"), self.between)
        self.revoked_authority = make(authority("revoked intermediate"), self.root)
        self.no_lists = make(authority("signs no lists", signs_lists=False), self.root)
        self.revoked = make(CLIENT, self.between)
        folder.joinpath("root.crl").write_bytes(self.root.list(self.revoked_authority.certificate))
        folder.joinpath("between.crl").write_bytes(self.between.list(self.revoked.certificate))
        folder.joinpath("revoked.crl").write_bytes(self.revoked_authority.list())
        folder.joinpath("second.crl").write_bytes(self.second.list())
        folder.joinpath("no_lists.crl").write_bytes(self.no_lists.list())
        folder.joinpath("forged.crl").write_bytes(make(authority("evaluation intermediate")).list())
        folder.joinpath("stale.crl").write_bytes(self.between.list(starts=-48.0, ends=-1.0))

    def lists(self, *names: str) -> list[str]:
        return [str(self.folder / f"{name}.crl") for name in names]


def tunnels(pki: Tree, _spec: str) -> list[Json]:
    lists = pki.lists("root", "between", "second", "no_lists", "revoked")
    return [pki.server_tunnel(channel, "p384", f"{channel}-{name}", **more) for channel in ("tls", "dtls")
            for name, more in (("plain", {}), ("lists", {"revocation": "require", "crl": lists}),
                               ("unreachable", {"revocation": "require", "crl": [pki.foreign_list]}),
                               ("tolerant", {"revocation": "soft", "crl": [pki.foreign_list]}),
                               ("forged", {"revocation": "require", "crl": pki.lists("root", "forged")}),
                               ("stale", {"revocation": "require", "crl": pki.lists("root", "stale")}))]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return Tree(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def heads(pki: Tree) -> Iterator[Heads]:
    running = Heads(pki, tunnels)
    yield running
    running.end()


@dataclass
class Case:
    name: str
    numbers: dict[str, str]
    leaf: Callable[[Tree], object]
    refused: tuple[str, ...] = ()  # the reasons; none: admitted
    tunnel: str = "plain"


def below(authority_of: Callable[[Tree], object]) -> Callable[[Tree], object]:
    return lambda pki: make(CLIENT, authority_of(pki))


def odd_authority(**changes: object) -> Callable[[Tree], object]:
    """A leaf below an intermediate that is odd."""
    return lambda pki: make(CLIENT, make(authority("odd", **changes), pki.root))


def without_chain(pki: Tree) -> object:
    leaf = make(CLIENT, pki.between)
    leaf.chain = []
    return leaf


def deep(length: int) -> Callable[[Tree], object]:
    def build(pki: Tree) -> object:
        above = pki.root
        for number in range(length):
            above = make(authority(f"level {number}"), above)
        return make(CLIENT, above)

    return build


def constrained(pki: Tree) -> object:
    first = make(authority("no further", basic=(True, 0)), pki.root)
    return make(CLIENT, make(authority("one too many"), first))


def changed(change: Callable[[bytes], bytes]) -> Callable[[Tree], object]:
    return lambda pki: make(CLIENT, pki.between).damaged(change)


def key_changed(pki: Tree) -> object:
    """One octet of the public key's point."""
    leaf = make(CLIENT, pki.between)
    der = leaf.der()
    point = leaf.certificate.public_key().public_numbers().x.to_bytes(48, "big")
    at = der.index(point) + 20
    return leaf.damaged(lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])


def changed_above(pki: Tree) -> object:
    """One octet of the intermediate's public key."""
    leaf = make(CLIENT, pki.between)
    der = pki.between.der()
    at = der.index(pki.between.certificate.public_key().public_numbers().x.to_bytes(48, "big")) + 20
    leaf.chain = [factory.Damaged(der[:at] + bytes([der[at] ^ 1]) + der[at + 1:])]
    return leaf


BAD = ("bad_signature", "certificate_invalid", "protocol_error", "unknown_ca")
OLD, NEW = ("2.2e", "3.0e"), "4.0"


def both(number: str, new: str = "") -> dict[str, str]:
    return {"2.2e": number, "3.0e": number} | ({NEW: new} if new else {})


CASES = [
    Case("whole-chain", both("1.1-T1a", "6"), below(lambda pki: pki.between)),
    Case("three-below-the-anchor", both("1.1-T1a", "6"), below(lambda pki: pki.second)),
    Case("chain-broken", both("1.1-T1b"), without_chain, ("unknown_ca",)),
    Case("another-anchor", {NEW: "7"}, lambda _pki: make(CLIENT, make(authority("elsewhere"))), ("unknown_ca",)),
    Case("expired", both("1.1-T2", "9"), lambda pki: pki.client(starts=-48.0, ends=-1.0), ("certificate_expired",)),
    Case("not-yet-valid", {NEW: "9"}, lambda pki: pki.client(starts=1.0), ("certificate_not_yet_valid",)),
    Case("authority-expired", both("1.1-T2", "9"), odd_authority(starts=-48.0, ends=-1.0), ("certificate_expired",)),
    Case("not-revoked", both("1.1-T3", "13 16"), below(lambda pki: pki.between), tunnel="lists"),
    Case("not-revoked-deep", both("1.1-T3", "13 16"), below(lambda pki: pki.second), tunnel="lists"),
    Case("revoked-leaf", both("1.1-T3", "13 16"), lambda pki: pki.revoked, ("certificate_revoked",), "lists"),
    Case("revoked-intermediate", both("1.1-T3", "13"), below(lambda pki: pki.revoked_authority), ("issuer_revoked",),
         "lists"),
    Case("list-by-one-that-may-not", {"2.2e": "1.1-T4", "3.0e": "1.1-T4b", NEW: "14"}, below(lambda pki: pki.no_lists),
         ("revocation_undetermined",), "lists"),
    Case("list-forged", {NEW: "14"}, below(lambda pki: pki.between), ("revocation_undetermined",), "forged"),
    Case("list-stale", both("2-T1", "2-default"), below(lambda pki: pki.between), ("crl_stale",), "stale"),
    Case("first-octets", both("1.1-T5"), changed(lambda der: der[:5] + bytes([der[5] ^ 0x40]) + der[6:]), BAD),
    Case("signature", both("1.1-T6"), changed(flip(-4)), BAD),
    Case("public-key", both("1.1-T7"), key_changed, BAD),
    Case("intermediate-public-key", {NEW: "6"}, changed_above, (*BAD, "weak_key")),
    *[Case(f"named-curve-{kind}", both("1.1-T8a"), lambda pki, kind=kind: pki.client(kind=kind))
      for kind in ("p256", "p384", "p521")],
    Case("no-basic-constraints", both("1.2-T1", "2"), odd_authority(basic=None, signs_certificates=True),
         ("invalid_ca", "unknown_ca")),
    Case("not-an-authority", both("1.2-T2", "3"), odd_authority(basic=(False, None), signs_certificates=True),
         ("invalid_ca",)),
    Case("no-cert-sign", {NEW: "4"}, odd_authority(signs_certificates=False), ("invalid_ca", "unknown_ca")),
    Case("path-length", {NEW: "5"}, constrained, ("path_too_long",)),
    Case("path-of-nine", {NEW: "1"}, deep(9), ("path_too_long", "unknown_ca")),
    Case("path-of-eight", {NEW: "1"}, deep(8)),
    Case("signed-with-sha1", {NEW: "8"}, lambda pki: make(replace(CLIENT, digest="sha1"), pki.between),
         ("weak_key", "weak_signature")),
    Case("usage-missing", {NEW: "11"}, lambda pki: pki.client(usages=None), ("eku_missing",)),
    Case("usage-wrong", {NEW: "11"}, lambda pki: pki.client(usages=(factory.SERVER,)), ("eku_wrong",)),
    Case("usage-right", {NEW: "11"}, lambda pki: pki.client()),
    Case("unknown-critical", {NEW: "12"}, lambda pki: pki.client(strange=True), ("certificate_invalid",)),
    Case("revocation-short-lived", {NEW: "15"}, lambda pki: pki.revoked, ("certificate_revoked",), "lists"),
    Case("no-subject-no-names", {NEW: "18"}, lambda pki: pki.client(empty_subject=True, names=None),
         ("no_subject", "certificate_invalid")),
    Case("no-subject-but-names", {NEW: "18 19"}, lambda pki: pki.client(empty_subject=True)),
    Case("name-not-allowed", {NEW: "19"}, lambda pki: pki.client(names=("DNS:other.test",)), ("not_on_allow_list",)),
    Case("unreachable-require", both("2-T1", "2-default"), below(lambda pki: pki.between), ("revocation_undetermined",),
         "unreachable"),
    Case("unreachable-soft", both("2-T1", "2-default"), below(lambda pki: pki.between), tunnel="tolerant"),
]


def params() -> list[object]:
    return [pytest.param(spec, version, case, id=f"{spec}-{version}-{case.name}", marks=pytest.mark.evaluates(
        *[f"{spec}/X509-{number}" for number in case.numbers[spec].split()]))
            for spec in PROFILE for version in ("TLS1.2", "DTLS1.2") for case in CASES if spec in case.numbers]


@pytest.mark.parametrize("spec,version,case", params())
def test_path(heads, pki, spec, version, case, evidence):
    gateway = heads.of(spec)
    name = f"{'dtls' if version == 'DTLS1.2' else 'tls'}-{case.tunnel}"
    before = len(gateway.audit())
    met = meet(gateway.address(name), version, Plan().show(case.leaf(pki)))
    evidence.note(f"{name}", [*met.client.diary, f"result: {met.result}"])
    if not case.refused:
        assert met.good, met.client.diary
        return
    assert not met.good and not met.client.data, met.client.diary

    def recorded() -> list[Json]:
        return [record for record in gateway.audit()[before:] if record["tunnel"] == name and
                record["outcome"] == "failure" and record["peer"].endswith(f":{met.port}")]

    record = gateway.wait_until(recorded, f"{name}: a refusal", 5)[-1]
    evidence.note("recorded", record)
    assert record["reason"] in case.refused, record
    assert "FIA_X509_EXT.1" in record["sfr"] or record["reason"] in ("not_on_allow_list", "protocol_error"), record
    assert record["text"] or record["reason"] == "protocol_error"
    if record["event"] == "certificate_rejected":
        assert {"issuer", "serial", "subject"} <= set(record), record


CNSA = {"p256-authority": ("p256", "sha384", "weak_key"), "sha256-signature": ("p384", "sha256", "weak_signature")}


@pytest.mark.evaluates("4.0/X509-8")
@pytest.mark.parametrize("kind,digest,reason", CNSA.values(), ids=CNSA)
def test_cnsa_takes_no_other_curve_or_hash_anywhere_in_the_chain(kind, digest, reason, start, folder, evidence):
    pki = Pki(folder)
    odd = make(authority("odd", kind=kind), pki.root)
    server = start(pki.server_tunnel("dtls", "p384", "server"), profile="ndcpp-4.0-cnsa1")
    leaf = make(replace(CLIENT, digest=digest), odd)
    met = meet(server.address(), "DTLS1.2", Plan().show(leaf),
               lambda client: hello_for("DTLS1.2", client, groups=[24], suites=[0xC02C]))
    assert not met.good
    record = server.wait_event("certificate_rejected", reason=reason)
    evidence.note("recorded", record)
    server.finish()


def explicit_curve(folder: Path, pki: Pki) -> Path:
    """A sub-authority whose key has its curve written out, by openssl; PEM."""
    key, request, certificate = (folder / f"explicit.{suffix}" for suffix in ("key", "csr", "pem"))
    extensions = folder / "explicit.ext"
    extensions.write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")
    factory.openssl("ecparam", "-name", "secp384r1", "-param_enc", "explicit", "-genkey", "-noout", "-out", key)
    factory.openssl("req", "-new", "-key", key, "-subj", "/CN=explicit", "-out", request)
    factory.openssl("x509", "-req", "-in", request, "-CA", pki.ca, "-CAkey", folder / "root.key", "-sha384", "-days", "1",
                    "-extfile", extensions, "-out", certificate)
    return certificate


@pytest.mark.evaluates("3.0e/X509-1.1-T8b", "2.2e/X509-1.1-T8b", "3.0e/X509-1.1-T8c", "2.2e/X509-1.1-T8c")
def test_explicit_curve_parameters_are_refused_in_a_chain_and_as_an_anchor(start, folder, evidence):
    pki = Pki(folder)
    certificate = explicit_curve(folder, pki)
    # As an anchor: refused when it is loaded, while the named one loads.
    tunnel = pki.server_tunnel("dtls", "p384", "server")
    good = command("check", "--json", "-c", str(write_config(folder / "good.yaml", [tunnel], profile="ndcpp-3.0e")))
    assert good.returncode == 0, good.stdout
    tunnel["tls"] = tunnel["tls"] | {"ca": str(certificate)}
    bad = command("check", "--json", "-c", str(write_config(folder / "bad.yaml", [tunnel], profile="ndcpp-3.0e")))
    (error,) = json.loads(bad.stdout)["errors"]
    evidence.note("loading it", error["message"])
    assert bad.returncode == 2 and "explicit elliptic curve parameters" in error["message"], error
    # In a chain: a leaf below it, made by openssl since python3-cryptography reads no such key.
    leaf_certificate, leaf_key = factory.by_openssl(folder, "below", (str(certificate), str(folder / "explicit.key")),
                                                    ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"])
    chain = folder / "chain.pem"
    chain.write_text(Path(leaf_certificate).read_text() + certificate.read_text())
    server = start(pki.server_tunnel("dtls", "p384", "server"), profile="ndcpp-3.0e")
    host, port = server.address()
    subprocess.run(["openssl", "s_client", "-dtls1_2", "-connect", f"{host}:{port}", "-CAfile", pki.ca, "-cert",
                    leaf_certificate, "-cert_chain", str(chain), "-key", leaf_key, "-alpn", "ntpgate/1", "-mtu", "600"],
                   stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    record = server.wait_event("certificate_rejected")
    evidence.note("in a chain", record)
    assert not server.events("channel_opened")
    server.finish()
