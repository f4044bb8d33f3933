"""What the server roles of channels tls and dtls make of their clients' certificates, and of datagrams that are not what
they were: the numbered tests of FCS_TLSS_EXT.2, FCS_DTLSS_EXT.2 and of DTLS alone."""

from __future__ import annotations

import os

from support import factory
from support import tls_codec as codec
from support.evaluated import SCHEMES, each, ping
from support.tls_peer import Client, Plan, flip
from support.tls_site import heads, pki, site  # noqa: F401: fixtures

# Client certificates


@each("S", tls={"2.2e": "2-T1a", "3.0e": "2-T1a", "4.0": "7"}, dtls={"2.2e": "2-T1a", "3.0e": "2-T1a", "4.0": "7"})
def test_a_client_without_a_certificate_is_refused(site):
    site.refused(site.meet(Plan()), "no_certificate")


@each("S", tls={"2.2e": "2-T2"}, dtls={"2.2e": "2-T2"})
def test_a_client_that_signs_with_what_was_not_asked_for_is_refused(site):
    met = site.meet(Plan().show(site.pki.client(kind="ed25519")))
    assert codec.SCHEMES["ed25519"] not in met.client.asked_schemes
    site.refused(met)


@each("S", tls={"2.2e": "2-T3", "3.0e": "2-T2"}, dtls={"2.2e": "2-T3", "3.0e": "2-T2"})
def test_an_impostors_client_certificate_is_refused(site):
    """An authority of the right name with another key."""
    impostor = factory.make(factory.authority("evaluation root"))
    between = factory.make(factory.authority("evaluation intermediate"), impostor)
    leaf = factory.make(factory.Want(cn="client", names=("DNS:client.test",), usages=(factory.CLIENT,)), between)
    met = site.meet(Plan().show(leaf))
    assert not met.good
    site.refused(met)
    name = f"{site.channel}-p384"
    site.gateway.wait_until(lambda: [each for each in site.gateway.events("certificate_rejected", tunnel=name)
                                     if each["reason"] in ("bad_signature", "unknown_ca")], "the impostor's record")


@each("S", tls={"2.2e": "2-T4", "3.0e": "2-T3"}, dtls={"2.2e": "2-T4", "3.0e": "2-T3"})
def test_a_client_certificate_needs_client_auth(site):
    assert site.meet().good
    site.refused(site.meet(Plan().show(site.pki.client(usages=(factory.SERVER,)))), "eku_wrong")
    site.refused(site.meet(Plan().show(site.pki.client(usages=None))), "eku_missing")


@each("S", tls={"2.2e": "2-T5a 2-T6", "3.0e": "2-T4i 2.4-T3"}, dtls={"2.2e": "2-T5a 2-T6", "3.0e": "2-T4i 2.4-T3"})
def test_valid_client_certificates_of_each_kind_connect(site):
    for kind in ("p256", "p384", "p521", "rsa2048", "rsa3072"):
        met = site.meet(Plan().show(site.pki.client(kind=kind)))
        assert met.good, (kind, met.client.diary)


@each("S", tls={"2.2e": "2-T5b", "3.0e": "2-T4ii"}, dtls={"2.2e": "2-T5b", "3.0e": "2-T4ii"})
def test_a_changed_certificate_verify_is_refused(site):
    site.refused(site.meet(site.right(before={"CertificateVerify": flip()})))


@each("S", tls={"2.2e": "2-T7 2-T8", "3.0e": "2-T5"}, dtls={"2.2e": "2-T7 2-T8", "3.0e": "2-T5"})
def test_each_kind_of_failure_refuses_and_nothing_overrides_it(site):
    stranger = factory.make(factory.authority("somebody else"))
    for reason, leaf in (("certificate_expired", site.pki.client(starts=-48.0, ends=-1.0)),
                         ("certificate_not_yet_valid", site.pki.client(starts=1.0)),
                         ("unknown_ca", factory.make(factory.Want(names=("DNS:client.test",)), stranger)),
                         ("eku_wrong", site.pki.client(usages=(factory.SERVER,)))):
        site.refused(site.meet(Plan().show(leaf)), reason)


@each("S", tls={"2.2e": "2.3", "3.0e": "2.3", "4.0": "7"}, dtls={"2.2e": "2.3", "3.0e": "2.3", "4.0": "7"})
def test_another_identifier_is_refused(site):
    site.refused(site.meet(Plan().show(site.pki.client(names=("DNS:other.test",)))), "not_on_allow_list")
    # Several names of which one matches; and a common name beside them counts for nothing.
    assert site.meet(Plan().show(site.pki.client(names=("DNS:other.test", "DNS:client.test")))).good
    site.refused(site.meet(Plan().show(site.pki.client(cn="client.test", names=("DNS:other.test",)))))


@each("S", tls={"3.0e": "2.4-T1a 2.4-T2"}, dtls={"3.0e": "2.4-T2"})
def test_the_certificate_request_asks_for_the_claimed_schemes(site):
    met = site.meet()
    asked = codec.names_of(met.client.asked_schemes, codec.SCHEMES)
    site.evidence.note("asked for", asked)
    assert met.good and sorted(asked) == sorted(codec.names_of(SCHEMES, codec.SCHEMES)), asked


# Of datagrams only


@each("S", dtls={"2.2e": "1.3", "3.0e": "1.2", "4.0": "1.6"})
def test_a_changed_cookie_brings_no_handshake(site):
    met = site.meet(site.right(before={"cookie": flip()}), timeout=0.7)
    assert met.client.answer is None and not met.good, met.client.diary
    again = [line for line in met.client.diary if line.startswith("<-")]
    assert again[0].startswith("<- HelloVerifyRequest"), again


@each("S", dtls={"2.2e": "1.5", "3.0e": "1.5"})
def test_a_changed_record_is_discarded_and_the_channel_lives(site):
    def spoil(client: Client) -> None:
        ping(client)
        record = client.wire.record(codec.APPLICATION_DATA, os.urandom(32))
        client.wire.raw(flip()(record))
        ping(client)

    assert site.meet(then=spoil).good
    counters = site.gateway.counters("dtls-p384")
    site.evidence.note("discarded", counters["channels"]["discarded"])
    assert counters["channels"]["discarded"]["bad_record"] >= 1


@each("S", dtls={"2.2e": "1.6", "3.0e": "1.6"})
def test_replayed_records_do_nothing_and_are_recorded(site):
    def replay(client: Client) -> None:
        ping(client)
        client.wire.raw(client.wire.sent[-1])
        ping(client)

    met = site.meet(then=replay)
    assert met.good and len(met.client.data) == 2, met.client.diary
    record = site.gateway.wait_event("replay_detected", tunnel="dtls-p384")
    site.evidence.note("recorded", record)
    assert record["peer"].startswith("127.0.0.1:") and record["sfr"] == "FCS_DTLSS_EXT.1", record
