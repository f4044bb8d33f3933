"""openssl and GnuTLS at the other end of the DTLS channel, with certificates, frames, and things that are wrong."""

from __future__ import annotations

import pytest

from support import ntp, stock_dtls
from support.frames import PING, PONG, REPLY, REQUEST, Frame, honest_frame, monotonic_stamp
from support.gateway import client_tunnel, query, server_tunnel
from support.pki import CLIENT, SERVER, Authority
from support.processes import eventually, free_port


def request_frame(number: int) -> tuple[bytes, ntp.Packet]:
    asked = ntp.request()
    return Frame(REQUEST, number, monotonic_stamp(), packet=asked.encode()).encode(), asked


def exchange(peer: stock_dtls.StockPeer) -> None:
    """One ping and one request, each answered with its own id."""
    peer.send(Frame(PING, 41, monotonic_stamp()).encode())
    pong = peer.frame(32)
    assert (pong.kind, pong.id) == (PONG, 41)
    data, asked = request_frame(7)
    peer.send(data)
    reply = peer.frame(80)
    assert (reply.kind, reply.id) == (REPLY, 7)
    packet = ntp.Packet.decode(reply.packet)
    assert packet.origin == asked.transmit
    assert packet.mode == 4


@pytest.fixture
def server(start, trial_pki, chronyd):
    return start(server_tunnel(chronyd.text(), trial_pki.server(), channel="dtls"))


def test_s_client_with_a_certificate_exchanges_frames(server, trial_pki, folder):
    identity = (trial_pki.client_certificate, trial_pki.client_key)
    with stock_dtls.s_client(server.address(), trial_pki.ca, folder / "s_client.log", identity) as peer:
        opened = server.wait_event("channel_opened")
        assert (opened["protocol"], opened["subject"]) == ("DTLS1.2", "CN=client")
        exchange(peer)
    assert server.finish()["server"]["exchanges"]["answered"] == 1


def test_gnutls_cli_with_a_certificate_exchanges_frames(server, trial_pki, folder):
    identity = (trial_pki.client_certificate, trial_pki.client_key)
    with stock_dtls.gnutls_client(server.address(), trial_pki.ca, folder / "gnutls.log", identity) as peer:
        assert server.wait_event("channel_opened")["protocol"] == "DTLS1.2"
        exchange(peer)
    server.finish()


def test_a_client_role_exchanges_frames_with_s_server(start, trial_pki, folder):
    port = free_port()
    identity = (trial_pki.server_certificate, trial_pki.server_key)
    with stock_dtls.s_server(port, trial_pki.ca, folder / "s_server.log", identity) as peer:
        eventually(lambda: bound(port), "s_server's socket")
        client = start(client_tunnel(f"127.0.0.1:{port}", trial_pki.client(), channel="dtls"))
        opened = client.events("channel_opened")[0]
        assert (opened["protocol"], opened["matched"]) == ("DTLS1.2", "localhost")
        assert peer.frame(32).kind == PING
        with ntp.Client(client.address()) as asker:
            asker.send()
            asked = peer.frame(80)
            assert asked.kind == REQUEST
            peer.send(honest_frame(asked).encode())
            assert asker.receive(2.0), asker.heard
        client.finish()


def bound(port: int) -> bool:
    with open("/proc/net/udp", encoding="ascii") as rows:
        return any(f":{port:04X} " in row.split("rem")[0] for row in rows)


def refused_clients(pki, folder) -> dict[str, tuple[str, dict[str, object]]]:
    """Reason -> how s_client differs from a good one."""
    other = Authority("another CA")
    issue = pki.authority.issue
    good = (pki.client_certificate, pki.client_key)

    def shown(stem: str, leaf) -> dict[str, object]:
        return {"identity": leaf.write(folder, stem)}

    return {
        "no_certificate": {"identity": None},
        "unknown_ca": shown("stranger", other.issue(usages=(CLIENT,))),
        "certificate_expired": shown("old", issue(usages=(CLIENT,), starts=-3, ends=-1)),
        "eku_wrong": shown("server-only", issue(usages=(SERVER,))),
        "eku_missing": shown("no-usage", issue(usages=None)),
        "not_on_allow_list": shown("uninvited", issue(names=("DNS:somebody.else",), usages=(CLIENT,))),
        "no_alpn": {"identity": good, "alpn": ""},
        "protocol_version": {"identity": good, "version": "-dtls1", "more": ("-cipher", "ALL:@SECLEVEL=0")},
        "no_common_suite": {"identity": good, "more": ("-cipher", "AES256-SHA256:ECDHE-ECDSA-AES256-SHA384")},
        "no_common_group": {"identity": good, "more": ("-curves", "X448")},
    }


@pytest.mark.parametrize("reason", ["no_certificate", "unknown_ca", "certificate_expired", "eku_wrong", "eku_missing",
                                    "not_on_allow_list", "no_alpn", "protocol_version", "no_common_suite",
                                    "no_common_group"])
def test_a_server_role_refuses(reason, server, trial_pki, folder):
    wrong = dict(refused_clients(trial_pki, folder)[reason])
    more = wrong.pop("more", ())
    identity = wrong.pop("identity")
    with stock_dtls.s_client(server.address(), trial_pki.ca, folder / "s_client.log", identity, *more, **wrong) as peer:
        refused = server.wait_reason(reason)
        assert refused["outcome"] == "failure"
        assert refused["peer"].startswith("127.0.0.1:"), refused
        assert peer.exit_code() != 0, peer.said()
    assert not server.events("channel_opened")
    counted = server.finish()["server"]
    assert counted["listener"]["failed"] == {reason: 1}, counted
    assert counted["requests"]["received"] == 0


BAD_SERVERS = {
    "unknown_ca": lambda pki: Authority("another CA").issue(usages=(SERVER,)),
    "name_mismatch": lambda pki: pki.authority.issue(names=("DNS:elsewhere",), usages=(SERVER,)),
    "certificate_expired": lambda pki: pki.authority.issue(usages=(SERVER,), starts=-3, ends=-1),
    "eku_wrong": lambda pki: pki.authority.issue(usages=(CLIENT,)),
}


@pytest.mark.parametrize("reason", [*BAD_SERVERS, "no_alpn", "no_common_suite"])
def test_a_client_role_refuses(reason, trial_pki, folder):
    port = free_port()
    identity = (trial_pki.server_certificate, trial_pki.server_key)
    if reason in BAD_SERVERS:
        identity = BAD_SERVERS[reason](trial_pki).write(folder, "bad")
    alpn = "" if reason == "no_alpn" else stock_dtls.ALPN
    # A server of DTLS 1.0 alone: every suite that we offer belongs to 1.2, so it finds none to choose.
    old = reason == "no_common_suite"
    more = ["-cipher", "ALL:@SECLEVEL=0"] if old else []
    with stock_dtls.s_server(port, trial_pki.ca, folder / "s_server.log", identity, *more, alpn=alpn,
                             version="-dtls1" if old else "-dtls1_2"):
        eventually(lambda: bound(port), "s_server's socket")
        code, document = query(f"dtls://127.0.0.1:{port}", "--ca", trial_pki.ca, "--certificate",
                               trial_pki.client_certificate, "--key", trial_pki.client_key, "--server-name",
                               "localhost", "--timeout", "3s")
    assert code == 1
    assert document["error"]["reason"] == reason, document


def test_a_changed_cookie_is_answered_as_if_there_were_none(server, trial_pki, folder):
    """NDcPP FCS_DTLSS_EXT.1.3: one octet of the cookie is changed; the message is rejected."""
    hello = stock_dtls.captured_hello(trial_pki.ca, folder / "hello.log")
    with stock_dtls.DatagramSocket(server.address()) as peer:
        peer.send(hello)
        verify = peer.receive()
        assert verify is not None
        cookie = stock_dtls.cookie_of(verify)
        assert len(verify) < len(hello)
        wrong = bytes([cookie[0] ^ 1]) + cookie[1:]
        peer.send(stock_dtls.with_cookie(hello, wrong))
        again = peer.receive()
        assert again is not None and stock_dtls.cookie_of(again) == cookie
        assert server.counters()["listener"]["accepted"] == 0
        peer.send(stock_dtls.with_cookie(hello, cookie))
        flight = peer.receive()
        assert flight is not None and len(flight) > len(verify)
        server.wait_counters(lambda counted: counted["listener"]["accepted"] == 1, "an accepted hello")


def test_a_client_that_speaks_later_versions_alone_is_refused(server, trial_pki, folder):
    """Its legacy version says 1.2, and only an extension tells: OpenSSL would answer what it does not understand."""
    first = stock_dtls.captured_hello(trial_pki.ca, folder / "hello.log")
    hello = stock_dtls.with_extension(first, 43, b"\x02\xfe\xfc")  # supported_versions: DTLS 1.3
    with stock_dtls.DatagramSocket(server.address()) as peer:
        peer.send(hello)
        verify = peer.receive()
        assert verify is not None
        peer.send(stock_dtls.with_cookie(hello, stock_dtls.cookie_of(verify)))
        alert = peer.receive()
        assert alert is not None and (alert[0], alert[stock_dtls.RECORD:]) == (21, b"\x02\x46"), alert
    assert server.wait_event("channel_failed")["reason"] == "protocol_version"


def test_a_renegotiation_ends_the_channel(server, trial_pki, folder):
    identity = (trial_pki.client_certificate, trial_pki.client_key)
    with stock_dtls.s_client(server.address(), trial_pki.ca, folder / "s_client.log", identity, quiet=False) as peer:
        server.wait_event("channel_opened")
        peer.send(b"R\n")
        assert server.wait_event("channel_closed")["reason"] == "renegotiation"
