"""The server roles of channels tls and dtls against the numbered tests of FCS_TLSS_EXT.1 and FCS_DTLSS_EXT.1: NDcPP 2.2e
and 3.0e (their supporting documents) and the functional package for TLS 2.1 (NDcPP 4.0)."""

from __future__ import annotations

import os
import socket

from support import factory
from support import tls_codec as codec
from support.evaluated import GROUPS, SCHEMES, SUITES, each, hello_for, ping
from support.tls_codec import TLS12, TLS13
from support.tls_peer import Alert, Client, Plan, flip
from support.tls_site import RSA_SIZES, heads, pki, site  # noqa: F401: fixtures
from support.tls_wires import Ended

# Suites


@each("S", tls={"2.2e": "1.1-T1", "3.0e": "1.1-T1", "4.0": "1"}, dtls={"2.2e": "1.1-T1", "3.0e": "1.1-T1", "4.0": "1"})
def test_each_claimed_suite_connects(site, version):
    for suite in SUITES[version]:
        kind = "rsa3072" if suite in (0xC030, 0xC02F) else "p384"
        met = site.meet(make_hello=site.hello(suites=[suite]), kind=kind)
        assert met.good and met.client.answer.suite == suite, met.client.diary


@each("S", tls={"2.2e": "1.1-T2", "3.0e": "1.1-T2i", "4.0": "3.1 3.5"}, dtls={"2.2e": "1.1-T2", "3.0e": "1.1-T2i",
                                                                         "4.0": "3.1 3.5"})
def test_no_unclaimed_suite_connects(site, version):
    """Everything IANA has assigned but the claim: NULL, RC2, RC4, DES, 3DES, IDEA, anonymous and the rest included."""
    every = [suite for suite in (*codec.ALL_SUITES, 0xCCA8, 0xCCA9) if suite not in SUITES["TLS1.2"] + SUITES["TLS1.3"]]
    site.refused(site.meet(make_hello=site.hello(suites=every)), "no_common_suite")


@each("S", tls={"2.2e": "1.1-T2", "3.0e": "1.1-T2ii", "4.0": "3.3"}, dtls={"2.2e": "1.1-T2", "3.0e": "1.1-T2ii",
                                                                     "4.0": "3.3"}, only=("TLS1.2", "DTLS1.2"))
def test_the_null_suite_alone_does_not_connect(site):
    site.refused(site.meet(make_hello=site.hello(suites=[0x0000])), "no_common_suite")


@each("S", tls={"4.0": "3.4"}, dtls={"4.0": "3.4"})
def test_anonymous_suites_and_raw_public_keys_do_not_connect(site, version):
    if version != "TLS1.3":
        anonymous = [0x0018, 0x0034, 0x003A, 0x006C, 0x006D, 0x00A6, 0x00A7, 0xC016, 0xC018, 0xC019]
        site.refused(site.meet(make_hello=site.hello(suites=anonymous)), "no_common_suite")
        return

    def raw_keys(client: Client) -> codec.ClientHello:
        hello = hello_for(version, client)
        hello.extensions[codec.SERVER_CERTIFICATE_TYPE] = b"\x01\x02"
        return hello

    met = site.meet(make_hello=raw_keys)
    assert met.good  # ignored: what came was an X.509 certificate
    shown = codec.Reader(codec.Reader(met.client.heard["Certificate"][1:]).vector(3)).vector(3)
    assert factory.x509.load_der_x509_certificate(shown).subject, shown[:16]


@each("S", tls={"4.0": "3.2"}, only=("TLS1.2", "TLS1.3"))
def test_suites_of_the_other_version_do_not_connect(site, version):
    other = SUITES["TLS1.2" if version == "TLS1.3" else "TLS1.3"]
    site.refused(site.meet(make_hello=site.hello(suites=other)), "no_common_suite")


# Versions


@each("S", tls={"2.2e": "1.2", "3.0e": "1.1-T4", "4.0": "2.1"}, dtls={"3.0e": "1.1-T4", "4.0": "2.1"},
      only=("TLS1.2", "DTLS1.2"))
def test_denied_versions_are_refused(site, spec):
    if site.channel == "dtls":
        def dtls10(client: Client) -> codec.ClientHello:
            hello = hello_for("DTLS1.2", client)
            hello.version = 0xFEFF
            return hello

        site.refused(site.meet(make_hello=dtls10), "protocol_version")
        return
    denied = [0x0300, 0x0301, 0x0302, *([0x0304] if spec == "2.2e" else [])]
    for code in denied:
        def older(client: Client, code: int = code) -> codec.ClientHello:
            hello = hello_for("TLS1.2", client)
            hello.version = min(code, TLS12)
            if code == TLS13:
                hello.extensions[codec.SUPPORTED_VERSIONS] = b"\x02\x03\x04"
            return hello

        met = site.meet(make_hello=older)
        site.refused(met, "protocol_version")
    with socket.create_connection(site.gateway.address("tls-p384"), 2) as old:  # SSL 2.0: CLIENT-HELLO, two suites
        old.sendall(bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0") + os.urandom(16))
        answer = old.recv(100)
        site.evidence.note("SSL 2.0 hello answered with", answer.hex())
        assert not answer or answer[0] == codec.ALERT, answer.hex()


@each("S", tls={"4.0": "2.2"}, only=("TLS1.2",))
def test_a_legacy_version_of_0304_is_answered_with_the_highest_below(site):
    def newer(client: Client) -> codec.ClientHello:
        hello = hello_for("TLS1.2", client)
        hello.version = 0x0304
        return hello

    met = site.meet(make_hello=newer)
    assert met.good and met.client.answer.version == TLS12, met.client.diary


# Finished


@each("S", tls={"2.2e": "1.1-T3a", "3.0e": "1.1-T3i", "4.0": "5.2"}, dtls={"2.2e": "1.1-T3a", "3.0e": "1.1-T3i",
                                                                     "4.0": "5.2"})
def test_a_changed_client_finished_ends_it(site, version):
    """Changed before it is encrypted."""
    met = site.meet(site.right(after={"Finished": flip()}))
    assert met.result in (("alert decrypt_error",) if version != "DTLS1.2" else ("alert decrypt_error", "closed")), \
        met.client.diary
    site.refused(met)


@each("S", tls={"2.2e": "1.1-T3b", "3.0e": "1.1-T3ii"}, dtls={"2.2e": "1.1-T3b", "3.0e": "1.1-T3ii"},
      only=("TLS1.2", "DTLS1.2"))
def test_the_servers_finished_follows_its_change_at_once_and_encrypted(site, version):
    firsts = []
    for _ in range(3):
        met = site.meet()
        records = met.client.raw_records
        at = next(place for place, (kind, _) in enumerate(records) if kind == codec.CHANGE_CIPHER_SPEC)
        kind, payload = records[at + 1]
        assert met.good and kind == codec.HANDSHAKE, (kind, met.client.diary)
        firsts.append(payload[0])
    site.evidence.note("first octets after the ChangeCipherSpec", firsts)
    assert any(first != codec.FINISHED for first in firsts)


@each("S", tls={"4.0": "6"}, dtls={"4.0": "6"})
def test_data_instead_of_finished_ends_it(site):
    def random_data(peer: Client) -> None:
        peer.wire.send(codec.APPLICATION_DATA, os.urandom(64))

    met = site.meet(site.right(instead={"Finished": random_data}))
    site.refused(met)


# Groups and keys


@each("S", tls={"2.2e": "1.3-T1a", "3.0e": "1.3-T1i", "4.0": "5.3d 5.4a"}, dtls={"2.2e": "1.4-T1a", "3.0e": "1.3-T1i",
                                                                          "4.0": "5.3d"})
def test_each_claimed_group_connects_and_is_the_one_used(site, version):
    for group in GROUPS:
        plan = Plan().show(site.pki.client(kind="rsa3072"))  # whose certificate is on no curve
        met = site.meet(plan, make_hello=site.hello(groups=[group]), kind="rsa3072")
        assert met.good and met.client.group == group, met.client.diary


@each("S", tls={"2.2e": "1.3-T1b", "3.0e": "1.3-T1ii 1.1-T3iii", "4.0": "5.3f"},
      dtls={"2.2e": "1.4-T1b", "3.0e": "1.3-T1ii", "4.0": "5.3f"})
def test_an_unclaimed_group_alone_brings_no_server_hello(site, version):
    for group in (19, 21, 29, 256):  # secp192r1, secp224r1, x25519, ffdhe2048
        met = site.meet(make_hello=site.hello(groups=[group]), kind="rsa3072")
        site.refused(met, "no_common_group", "rsa3072")
        assert met.client.answer is None, met.client.diary


@each("S", tls={"3.0e": "1.1-T3iv"}, only=("TLS1.3",))
def test_a_group_without_a_share_is_asked_for(site):
    def shares_nothing_of_use(client: Client) -> codec.ClientHello:
        hello = hello_for("TLS1.3", client, groups=[29, 19, 24])
        given = client.shares([29])
        hello.extensions[codec.KEY_SHARE] = codec.vector((29).to_bytes(2, "big") + codec.vector(given[29], 2), 2)
        return hello

    met = site.meet(make_hello=shares_nothing_of_use, kind="rsa3072")
    assert met.good and met.client.group == 24, met.client.diary
    assert met.client.retries == [24], met.client.retries


@each("S", tls={"4.0": "5.3e 5.4b"}, dtls={"4.0": "5.3e"})
def test_a_point_off_the_curve_is_refused(site, version):
    def off(point: bytes) -> bytes:
        return point[:1] + point[1:33] + bytes(len(point) - 33)

    if version == "TLS1.3":
        def wrong_share(client: Client) -> codec.ClientHello:
            hello = hello_for(version, client, groups=[24])
            point = off(client.shares([24])[24])
            hello.extensions[codec.KEY_SHARE] = codec.vector((24).to_bytes(2, "big") + codec.vector(point, 2), 2)
            return hello

        site.refused(site.meet(make_hello=wrong_share))
    else:
        site.refused(site.meet(site.right(before={"point": off})))


@each("S", tls={"2.2e": "1.3-T3", "3.0e": "1.3-T3", "4.0": "5.1a"}, dtls={"2.2e": "1.4-T3", "3.0e": "1.3-T3",
                                                                   "4.0": "5.1a"})
def test_each_rsa_size_is_that_of_the_certificate(site, version):
    for kind in RSA_SIZES:
        met = site.meet(kind=kind)
        body = met.client.heard["Certificate"]
        reader = codec.Reader(body[1:] if version == "TLS1.3" else body)
        certificate = codec.Reader(reader.vector(3)).vector(3)
        size = factory.x509.load_der_x509_certificate(certificate).public_key().key_size
        assert met.good and size == int(kind[3:]), (kind, size)


@each("S", tls={"4.0": "4.1"}, dtls={"4.0": "4.1"})
def test_each_signature_scheme_is_used_when_it_is_the_only_one(site, version):
    curves = {0x0403: "p256", 0x0503: "p384", 0x0603: "p521"}
    for name, code in codec.SCHEMES.items():
        if code not in SCHEMES or name.startswith("rsa_pss_pss") or (version == "TLS1.3" and name.startswith("rsa_pkcs1")):
            continue
        # The chain is signed with ECDSA and SHA-384, and the client's schemes are not asked about it.
        met = site.meet(make_hello=site.hello(schemes=[code]), kind=curves.get(code, "rsa3072"))
        assert met.good and met.client.server_scheme == code, (name, met.client.diary)


@each("S", tls={"4.0": "4.3"}, dtls={"4.0": "4.3"}, only=("TLS1.2", "DTLS1.2"))
def test_a_suite_whose_signature_is_not_offered_does_not_connect(site):
    ecdsa_suites, rsa_only = [0xC02C, 0xC02B], [codec.SCHEMES["rsa_pss_rsae_sha384"]]
    site.refused(site.meet(make_hello=site.hello(suites=ecdsa_suites, schemes=rsa_only)), "no_common_signature")


@each("S", tls={"4.0": "4.4"}, dtls={"4.0": "4.4"}, only=("TLS1.2", "DTLS1.2"))
def test_a_hello_without_extended_master_secret_is_refused(site):
    met = site.meet(make_hello=site.hello(ems=False))
    assert met.result == "alert handshake_failure" and met.client.answer is None, met.client.diary
    site.refused(met, "no_extended_master_secret")


# Resumption and renegotiation


@each("S", tls={"2.2e": "1.4-T1", "3.0e": "1.4-T1", "4.0": "10 11"}, dtls={"2.2e": "1.7-T1", "3.0e": "1.7-T1",
                                                                    "4.0": "10"})
def test_nothing_can_be_resumed(site, version):
    def asks_for_a_ticket(client: Client) -> codec.ClientHello:
        hello = hello_for(version, client)
        hello.session = b""
        hello.extensions[codec.SESSION_TICKET] = b""
        return hello

    met = site.meet(make_hello=asks_for_a_ticket)
    assert met.good and not met.client.answer.session, met.client.diary
    assert codec.SESSION_TICKET not in met.client.answer.extensions
    assert not any("NewSessionTicket" in line or "after the handshake" in line for line in met.client.diary)

    def shows_a_session(client: Client) -> codec.ClientHello:
        hello = hello_for(version, client)
        hello.session = os.urandom(32)
        if version != "TLS1.3":
            hello.extensions[codec.SESSION_TICKET] = os.urandom(160)
        else:  # a pre-shared key that nobody gave out, and both ways to use it (psk_ke included)
            hello.extensions[codec.PSK_MODES] = b"\x02\x00\x01"
            hello.extensions[codec.EARLY_DATA] = b""
            identity = codec.vector(codec.vector(os.urandom(64), 2) + bytes(4), 2)
            hello.extensions[codec.PRE_SHARED_KEY] = identity + codec.vector(codec.vector(os.urandom(32), 1), 2)
        return hello

    again = site.meet(make_hello=shows_a_session)
    assert again.good and "Certificate" in again.client.heard, again.client.diary  # a whole handshake
    assert codec.PRE_SHARED_KEY not in again.client.answer.extensions
    if version != "TLS1.3":
        assert not again.client.answer.session


@each("S", tls={"3.0e": "1.8-T1 1.8-T2", "4.0": "9"}, dtls={"3.0e": "1.11-T1 1.11-T2", "4.0": "9"},
      only=("TLS1.2", "DTLS1.2"))
def test_renegotiation_info_is_given_and_an_initial_one_must_be_empty(site, version):
    met = site.meet()
    assert met.good and met.client.answer.extensions[codec.RENEGOTIATION_INFO] == b"\0"

    def not_empty(client: Client) -> codec.ClientHello:
        hello = hello_for(version, client)
        hello.extensions[codec.RENEGOTIATION_INFO] = codec.vector(os.urandom(12), 1)
        return hello

    site.refused(site.meet(make_hello=not_empty))


@each("S", tls={"3.0e": "1.8-T4", "4.0": "9"}, dtls={"3.0e": "1.11-T4", "4.0": "9"})
def test_a_new_hello_on_the_channel_is_not_renegotiated(site, version):
    heard: list[str] = []

    def asks_again(client: Client) -> None:
        ping(client)
        client.wire.sent_messages = 0  # RFC 6347 section 4.2.2: every handshake counts anew
        client.say(codec.CLIENT_HELLO, hello_for(version, client).body())
        try:
            while True:
                kind, payload = client.record()
                heard.append(f"{kind}:{payload[:1].hex()}")
        except Alert as alert:
            heard.append(str(alert))
            if not alert.fatal:
                raise Ended("end of stream") from None
            raise

    met = site.meet(then=asks_again)
    site.evidence.note("after the second hello", heard)
    assert not met.good and not any(each.startswith("22:02") for each in heard), heard  # no ServerHello
    if version != "TLS1.3":
        site.gateway.wait_event("channel_closed", tunnel=f"{site.channel}-p384", reason="renegotiation")
