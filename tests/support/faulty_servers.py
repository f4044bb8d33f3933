"""Servers that are wrong in one thing each, and what a client role has to make of it (tests/evaluation)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from support import factory
from support import tls_codec as codec
from support.evaluated import GROUPS, SCHEMES, Pki
from support.gateway import Json
from support.tls_codec import TLS12, vector
from support.tls_peer import Plan, Server, flip

OPEN = "open"
Change = Callable[[Plan], None]
OLD = ("TLS1.2", "DTLS1.2")


@dataclass
class Case:
    """A server's fault, the numbers it carries out, and what the client role says of it: OPEN, or its reasons, with the
    library's text behind them where one reason covers much."""

    name: str
    tls: dict[str, str]
    expect: tuple[str, ...]
    dtls: dict[str, str] | None = None  # None: as for tls
    only: tuple[str, ...] = ("TLS1.2", "TLS1.3", "DTLS1.2")
    leaf: dict[str, object] = field(default_factory=dict)  # changes of factory.Want
    make_leaf: Callable[[Pki], object] | None = None
    change: Change | None = None  # of the server's plan
    after: Callable[[Server], None] | None = None  # once the channel is open
    tunnel: Json = field(default_factory=dict)  # of the client role's tls block

    def ids(self, spec: str, version: str) -> list[str]:
        datagrams = version.startswith("DTLS")
        numbered = self.tls if not datagrams or self.dtls is None else self.dtls
        prefix = "DTLSC" if datagrams else "TLSC"
        return [f"{spec}/{prefix}-{number}" for number in numbered.get(spec, "").split()]


def plan(**fields: object) -> Change:
    def change(of: Plan) -> None:
        for name, value in fields.items():
            setattr(of, name, value)

    return change


def body_changed(name: str, change: Callable[[bytes], bytes]) -> Change:
    """A message whose body is changed before it is hashed and signed for; its length follows."""

    def apply(of: Plan) -> None:
        of.before[name] = lambda message: codec.message(message[0], change(message[4:]))

    return apply


def server_hello(**fields: object) -> Change:
    def change(body: bytes) -> bytes:
        hello = codec.ServerHello.decode(body)
        extensions = fields.get("extensions")
        hello = replace(hello, **{name: value for name, value in fields.items() if name != "extensions"})
        if extensions is not None:
            hello.extensions = {kind: data for kind, data in (hello.extensions | extensions).items() if data is not None}
        return hello.body()

    return body_changed("ServerHello", change)


def before(name: str, change: Callable[[bytes], bytes]) -> Change:
    return lambda of: of.before.update({name: change})


def after(name: str, change: Callable[[bytes], bytes]) -> Change:
    return lambda of: of.after.update({name: change})


def instead(name: str, act: Callable[[Server], None]) -> Change:
    return lambda of: of.instead.update({name: act})


def garbage(peer: Server) -> None:
    """In a well-formed record, under the keys there are."""
    peer.wire.send(codec.HANDSHAKE, os.urandom(48))


def plaintext_extensions(peer: Server) -> None:
    framed = peer.wire.frame(codec.message(codec.ENCRYPTED_EXTENSIONS, b"\0\0"))
    peer.transcript += framed
    peer.wire.send_message(framed)


def hello_request(peer: Server) -> None:
    """Asks for a new handshake; whatever comes must not be a ClientHello. A second request is then still answered."""
    peer.wire.sent_messages = 0
    framed = peer.wire.frame(codec.message(codec.HELLO_REQUEST, b""))
    peer.wire.send_message(framed)


def late_retry(peer: Server) -> None:
    """TLS 1.3: a HelloRetryRequest after the handshake."""
    retry = codec.ServerHello(TLS12, codec.RETRY, b"", peer.code, {codec.SUPPORTED_VERSIONS: b"\x03\x04",
                                                                   codec.KEY_SHARE: b"\x00\x18"})
    peer.wire.send_message(codec.message(codec.SERVER_HELLO, retry.body()))


def replay_last(peer: Server) -> None:
    peer.send_data(b"a record that is no frame and does nothing")
    peer.wire.raw(peer.wire.sent[-1])


def spoilt_record(peer: Server) -> None:
    peer.wire.raw(flip()(peer.wire.record(codec.APPLICATION_DATA, os.urandom(40))))


def odd_leaf(**changes: object) -> Callable[[Pki], object]:
    return lambda pki: pki.server(**changes)


def signed_with(digest: str) -> Callable[[Pki], object]:
    """A leaf that its authority signed with what the client does not offer."""
    return lambda pki: factory.make(factory.Want(usages=(factory.SERVER,), digest=digest), pki.between)


def uncompressed_off(parameters: bytes) -> bytes:
    return parameters[:-33] + bytes(33)


def explicit_curve(parameters: bytes) -> bytes:
    return b"\x01" + parameters[1:]


def other_share(point: bytes) -> bytes:
    return point[:1] + bytes(len(point) - 1)


def broken(*texts: str) -> tuple[str, ...]:
    """One reason covers much: the library's words tell its cases apart."""
    return tuple(f"protocol_error: {text}" for text in texts)


RSA_LEAF = {"kind": "rsa3072"}
CASES = [
    # suites
    *[Case(f"suite-{name}", {"2.2e": "1.1-T1", "3.0e": "1.1-T1", "4.0": "1"}, (OPEN,), only=OLD,
           leaf=RSA_LEAF if "RSA" in name else {}, change=plan(suite=code))
      for name, code in (("ECDSA-256", 0xC02C), ("ECDSA-128", 0xC02B), ("RSA-256", 0xC030), ("RSA-128", 0xC02F))],
    *[Case(f"suite-{code:04x}", {"3.0e": "1.1-T1", "4.0": "1"}, (OPEN,), only=("TLS1.3",), change=plan(suite=code))
      for code in (0x1302, 0x1301)],
    Case("null-suite", {"2.2e": "1.1-T4a", "3.0e": "1.1-T4i", "4.0": "3.3"}, ("no_common_suite",), only=OLD,
         change=server_hello(suite=0x0000)),
    Case("suite-not-offered", {"2.2e": "1.1-T4b", "3.0e": "1.1-T4ii", "4.0": "3.1"}, ("no_common_suite",), only=OLD,
         change=server_hello(suite=0xC028)),
    Case("suite-not-offered-13", {"3.0e": "1.1-T4ii", "4.0": "3.1 3.5"}, ("no_common_suite", "protocol_error"),
         only=("TLS1.3",), change=server_hello(suite=0x1304)),
    Case("suite-of-13-in-12", {"4.0": "3.2"}, ("no_common_suite", "protocol_error"), only=OLD,
         change=server_hello(suite=0x1301)),
    Case("suite-of-12-in-13", {"4.0": "3.2"}, ("no_common_suite", "protocol_error"), only=("TLS1.3",),
         change=server_hello(suite=0xC02C)),
    *[Case(f"deprecated-{code:04x}", {"4.0": "3.5"}, ("no_common_suite",), only=OLD, change=server_hello(suite=code))
      for code in (0x0004, 0x0005, 0x0007, 0x0009, 0x000A, 0x0002, 0xC012)],
    *[Case(f"anonymous-{code:04x}", {"4.0": "3.4"}, ("no_common_suite",), only=OLD, change=server_hello(suite=code))
      for code in (0x0034, 0x00A6, 0xC018)],
    Case("rsa-suite-ecdsa-certificate", {"2.2e": "1.1-T3", "3.0e": "1.1-T3", "4.0": "8c"},
         broken("wrong certificate type"), only=OLD,
         change=server_hello(suite=0xC030)),
    Case("ecdsa-suite-rsa-certificate", {"2.2e": "1.1-T3", "3.0e": "1.1-T3", "4.0": "8c"},
         broken("wrong certificate type"), only=OLD, leaf=RSA_LEAF,
         change=server_hello(suite=0xC02C)),
    # versions
    *[Case(f"version-{code:04x}", {"2.2e": "1.1-T5a", "3.0e": "1.1-T4iii", "4.0": "2.1"}, ("protocol_version",),
           {"2.2e": "1.1-T5a", "3.0e": "1.1-T4iii", "4.0": "2.1"}, only=("TLS1.2",), change=server_hello(version=code))
      for code in (0x0002, 0x0300, 0x0301, 0x0302)],
    Case("version-1.3-unasked", {"2.2e": "1.1-T5a"}, broken("unsolicited extension"), only=("TLS1.2",),
         change=server_hello(extensions={codec.SUPPORTED_VERSIONS: b"\x03\x04"})),
    Case("version-dtls10", {}, ("protocol_version", "protocol_error"),
         {"2.2e": "1.1-T5a", "3.0e": "1.1-T4iii", "4.0": "2.1"}, only=("DTLS1.2",), change=server_hello(version=0xFEFF)),
    Case("version-legacy-0304", {"4.0": "2.2"}, ("protocol_version",), only=("TLS1.2",),
         change=server_hello(version=0x0304)),
    Case("supported-versions-0303", {"4.0": "5.1a"}, broken("bad protocol version number"), only=("TLS1.3",),
         change=server_hello(extensions={codec.SUPPORTED_VERSIONS: b"\x03\x03"})),
    Case("supported-versions-0304", {"4.0": "5.1b"}, (OPEN,), only=("TLS1.3",)),
    Case("plain-tls12", {"4.0": "5.1c"}, (OPEN,), only=("TLS1.2",)),
    # key exchange and signatures
    *[Case(f"group-{group}", {"2.2e": "1.4-T1", "3.0e": "1.4-T2", "4.0": "1 4.4a 5.2a"}, (OPEN,),
           {"2.2e": "1.4-T1", "3.0e": "1.4-T2", "4.0": "1 4.4a"}, change=plan(group=group)) for group in GROUPS],
    Case("group-unclaimed", {"2.2e": "1.1-T4c", "3.0e": "1.4-T3", "4.0": "4.4a"}, ("no_common_group",), only=OLD,
         change=before("parameters", lambda data: b"\x03\x00\x15" + data[3:])),  # secp224r1
    Case("group-192", {"2.2e": "1.1-T4c", "3.0e": "1.4-T3"}, ("no_common_group",), only=OLD,
         change=before("parameters", lambda data: b"\x03\x00\x13" + data[3:])),
    Case("group-unclaimed-13", {"3.0e": "1.4-T3"}, broken("bad key share"), only=("TLS1.3",),
         change=server_hello(extensions={codec.KEY_SHARE: b"\x00\x1d" + vector(os.urandom(32), 2)})),
    Case("group-ffdhe-13", {"3.0e": "1.4-T4a"}, broken("bad key share"), only=("TLS1.3",),
         change=server_hello(extensions={codec.KEY_SHARE: b"\x01\x05" + vector(os.urandom(256), 2)})),
    Case("explicit-curve", {"4.0": "4.4b"}, ("no_common_group",), only=OLD,
         change=before("parameters", explicit_curve)),
    Case("point-off-the-curve", {"4.0": "5.2b"}, broken("point is not on curve; bad ecpoint"), only=OLD,
         change=before("parameters", uncompressed_off)),
    Case("share-off-the-curve", {"4.0": "5.2b"}, broken("point is not on curve; bad ecpoint"), only=("TLS1.3",),
         change=before("share", other_share)),
    Case("key-exchange-signature", {"2.2e": "1.1-T5b", "3.0e": "1.1-T5i", "4.0": "8a"}, broken("bad signature"),
         only=OLD,
         change=before("ServerKeyExchange", flip())),
    Case("certificate-verify-signature", {"3.0e": "1.1-T5ii", "4.0": "8b"}, broken("bad signature"), only=("TLS1.3",),
         change=before("CertificateVerify", flip())),
    *[Case(f"scheme-{name}", {"3.0e": "1.5-T1i 1.5-T1ii"}, (OPEN,),
           leaf={"kind": {"ecdsa_secp256r1_sha256": "p256", "ecdsa_secp521r1_sha512": "p521"}.get(
               name, "p384" if name.startswith("ecdsa") else "rsa3072")},
           only=OLD if name.startswith("rsa_pkcs1") else ("TLS1.2", "TLS1.3", "DTLS1.2"),
           change=plan(scheme=code))
      for name, code in codec.SCHEMES.items() if code in SCHEMES and not name.startswith("rsa_pss_pss")],
    Case("scheme-sha1", {"4.0": "4.1b"}, ("no_common_signature",), only=OLD, leaf=RSA_LEAF,
         change=plan(scheme=codec.SCHEMES["rsa_pkcs1_sha1"])),
    Case("scheme-pkcs1-in-13", {"4.0": "4.1c"}, ("no_common_signature", "protocol_error"), only=("TLS1.3",),
         leaf=RSA_LEAF,
         change=plan(scheme=codec.SCHEMES["rsa_pkcs1_sha256"])),
    Case("chain-signed-with-sha1", {"4.0": "4.1d"}, ("weak_signature", "weak_key", "certificate_invalid"),
         make_leaf=signed_with("sha1")),
    # the end of the handshake
    Case("server-random", {"2.2e": "1.1-T6c", "3.0e": "1.1-T6iv"}, broken("bad signature"), only=OLD,
         change=after("ServerHello", lambda data: data)),  # replaced below: the octet is in the random
    Case("finished", {"2.2e": "1.1-T6a", "3.0e": "1.1-T6i", "4.0": "6"}, broken("digest check failed"),
         change=after("Finished", flip())),
    Case("garbage-for-finished", {"2.2e": "1.1-T6b", "3.0e": "1.1-T6ii", "4.0": "7"},
         ("protocol_error",),
         change=instead("Finished", garbage)),
    Case("plaintext-extensions", {"3.0e": "1.1-T6iii"}, broken("bad record type"), only=("TLS1.3",),
         change=instead("EncryptedExtensions", plaintext_extensions)),
    Case("empty-certificate", {"4.0": "11"}, broken("length mismatch"), change=lambda of: setattr(of, "chain", [])),
    # extended master secret
    Case("with-ems", {"4.0": "4.3.1"}, (OPEN,), only=OLD),
    Case("without-ems", {"4.0": "4.3.2"}, ("no_extended_master_secret",), only=OLD, change=plan(ems=False)),
    # renegotiation and resumption
    Case("renegotiation-info-full", {"3.0e": "1.9-T2", "4.0": "15"}, broken("renegotiation mismatch"), only=OLD,
         change=server_hello(extensions={codec.RENEGOTIATION_INFO: vector(os.urandom(12), 1)})),
    Case("renegotiation-info-proper", {"3.0e": "1.9-T2", "4.0": "15"}, (OPEN,), only=OLD),
    Case("hello-request", {"3.0e": "1.9-T4", "4.0": "15"}, (OPEN,), only=OLD, after=hello_request),
    Case("late-retry-request", {"3.0e": "1.9-T4", "4.0": "15"}, (OPEN,), only=("TLS1.3",), after=late_retry),
    Case("session-echo", {"4.0": "16"}, broken("invalid session id"), only=("TLS1.3",),
         change=server_hello(session=os.urandom(32))),
    # certificates
    Case("right-certificate", {"2.2e": "1.1-T2 1.3-T1", "3.0e": "1.1-T2 1.3-T1", "4.0": "9"}, (OPEN,)),
    Case("no-server-auth", {"2.2e": "1.1-T2 1.3-T3", "3.0e": "1.1-T2", "4.0": "9"}, ("eku_wrong",),
         leaf={"usages": (factory.CLIENT,)}),
    Case("no-usage", {"2.2e": "1.1-T2"}, ("eku_missing",), leaf={"usages": None}),
    Case("common-name-wrong", {"2.2e": "1.2-T1", "3.0e": "1.2-T1"}, ("name_only_in_subject", "name_mismatch"),
         leaf={"cn": "other.test", "names": None}),
    Case("common-name-address-wrong", {"2.2e": "1.2-T1", "3.0e": "1.2-T1"}, ("name_only_in_subject", "name_mismatch"),
         leaf={"cn": "127.0.0.2", "names": None}, tunnel={"server-name": "127.0.0.1"}),
    *[Case(f"name-wrong-{number}", {"2.2e": "1.2-T2", "3.0e": "1.2-T2", "4.0": "10.2 10.9b"}, ("name_mismatch",),
           leaf={"cn": "localhost", "names": (name,)})
      for number, name in enumerate(("DNS:other.test", "IP:192.0.2.1", "IP:2001:db8::1", "URI:https://localhost/"))],
    *[Case(f"name-right-{number}", {"2.2e": "1.2-T4", "3.0e": "1.2-T4", "4.0": "10.1 10.9a"}, (OPEN,),
           leaf={"cn": "other.test", "names": (name,)}, tunnel={"server-name": wanted})
      for number, (name, wanted) in enumerate((("DNS:localhost", "localhost"), ("DNS:LocalHost", "localhost"),
                                               ("IP:127.0.0.1", "127.0.0.1"), ("IP:2001:db8::1", "2001:db8::1")))],
    *[Case(f"wildcard-{number}", {"2.2e": numbers, "3.0e": numbers, "4.0": new}, ("name_mismatch",),
           leaf={"names": (f"DNS:{name}",)}, tunnel={"server-name": wanted})
      for number, (name, wanted, numbers, new) in enumerate((
          ("foo.*.example.com", "foo.bar.example.com", "1.2-T5.1", "10.5c"),
          ("*.example.com", "foo.example.com", "1.2-T5.2a", "10.4"), ("*.example.com", "example.com", "1.2-T5.2b", "10.5b"),
          ("*.example.com", "bar.foo.example.com", "1.2-T5.2c", "10.4"), ("*.com", "example.com", "1.2-T5.2a", "10.5a")))],
    *[Case(f"address-wildcard-{number}", {"2.2e": "1.2-T6", "3.0e": "1.2-T6", "4.0": "10.8"},
           ("name_only_in_subject", "name_mismatch"), leaf={"cn": cn, "names": None}, tunnel={"server-name": "127.0.0.1"})
      for number, cn in enumerate(("127.0.0.*", "*.0.0.1"))],
    Case("expired", {"2.2e": "1.3-T2", "3.0e": "1.3-T3", "4.0": "12"}, ("certificate_expired",),
         leaf={"starts": -48.0, "ends": -1.0}),
    Case("unknown-authority", {"2.2e": "1.3-T2", "3.0e": "1.3-T3", "4.0": "12"}, ("unknown_ca",),
         make_leaf=lambda _pki: factory.make(factory.Want(usages=(factory.SERVER,)),
                                             factory.make(factory.authority("somebody else")))),
    Case("revocation-unknown", {"2.2e": "1.3-T2", "3.0e": "1.3-T2", "4.0": "12"}, ("revocation_undetermined",),
         tunnel={"revocation": "require"}),
    # mutual authentication
    Case("certificate-asked-for", {"2.2e": "2", "3.0e": "2.1-T1", "4.0": "13"}, (OPEN,),
         {"2.2e": "2.1", "3.0e": "2.1-T1", "4.0": "13"}, change=plan(asks=True)),
    Case("certificate-not-asked-for", {"4.0": "13"}, (OPEN,)),
    # datagrams
    Case("record-changed", {}, (OPEN,), {"2.2e": "2.2-T1", "3.0e": "1.10-T1"}, only=("DTLS1.2",), after=spoilt_record),
    Case("replay", {}, (OPEN,), {"2.2e": "2.3-T1", "3.0e": "1.11-T1"}, only=("DTLS1.2",), after=replay_last),
]


def random_changed(data: bytes) -> bytes:
    """One octet of the server's random, on its way only; behind a header of 4 or 12 octets."""
    return flip(12 + 2 + 5 if data[4:9] == data[4:6] + bytes(3) and data[9:12] == data[1:4] else 4 + 2 + 5)(data)


next(case for case in CASES if case.name == "server-random").change = after("ServerHello", random_changed)
