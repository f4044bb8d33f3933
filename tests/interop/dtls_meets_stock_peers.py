"""openssl and GnuTLS at the other end of the DTLS channel, with certificates, frames, and things that are wrong."""

from __future__ import annotations

import pytest

from support import ntp, stock_dtls
from support.bad_peers import BAD_CLIENTS, BAD_SERVERS, Bench
from support.frames import PING, PONG, REPLY, REQUEST, Frame, honest_frame, monotonic_stamp
from support.gateway import client_tunnel, query, server_tunnel
from support.pki import CLIENT, SERVER
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
        eventually(lambda: stock_dtls.bound(port), "s_server's socket")
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


# What openssl can be told to do wrong in DTLS: the cases of TLS, and what only an option of its own makes.
OWN_VERSION = {"TLS 1.1"}
OPTIONS = {
    "DTLS 1.0": ("protocol_version", ["-cipher", "ALL:@SECLEVEL=0"], "-dtls1"),
    "no common group": ("no_common_group", ["-curves", "X448"], "-dtls1_2"),
}


def shown(bench: Bench) -> tuple[tuple[str, str] | None, dict[str, object]]:
    """A bench's peer in openssl's words."""
    return bench.peer.identity, {"alpn": ",".join(bench.peer.alpn)}


def ciphers_of(bench: Bench) -> list[str]:
    return ["-cipher", bench.peer.ciphers] if bench.peer.ciphers else []


def assert_refused(server, reason: str, peer: stock_dtls.StockPeer) -> None:
    record = server.wait_reason(reason)
    assert (record["outcome"], record["tunnel"]) == ("failure", "server"), record
    assert record["peer"].startswith("127.0.0.1:"), record
    assert peer.exit_code() != 0, peer.said()
    assert not server.events("channel_opened")
    counted = server.finish()["server"]
    assert counted["channels"]["failed"] == counted["listener"]["failed"] == {reason: 1}, counted
    assert counted["requests"]["received"] == 0


@pytest.mark.parametrize("case", sorted(BAD_CLIENTS.keys() - OWN_VERSION))
def test_a_server_role_refuses(case, start, trial_pki, folder, chronyd):
    reason, spoil = BAD_CLIENTS[case]
    bench = Bench(folder, trial_pki, CLIENT)
    spoil(bench)
    settings = {key: value for key, value in trial_pki.server().items() if key != "allow"} | bench.settings
    server = start(server_tunnel(chronyd.text(), settings, channel="dtls"))
    identity, more = shown(bench)
    with stock_dtls.s_client(server.address(), trial_pki.ca, folder / "s_client.log", identity, *ciphers_of(bench),
                             **more) as peer:
        assert_refused(server, reason, peer)


@pytest.mark.parametrize("case", OPTIONS)
def test_a_server_role_refuses_what_is_not_offered(case, server, trial_pki, folder):
    reason, options, version = OPTIONS[case]
    identity = (trial_pki.client_certificate, trial_pki.client_key)
    with stock_dtls.s_client(server.address(), trial_pki.ca, folder / "s_client.log", identity, *options,
                             version=version) as peer:
        assert_refused(server, reason, peer)


def ask_through(port: int, pki, *more: str):
    return query(f"dtls://127.0.0.1:{port}", "--ca", pki.ca, "--certificate", pki.client_certificate, "--key",
                 pki.client_key, "--timeout", "3s", *more)


@pytest.mark.parametrize("case", sorted(BAD_SERVERS.keys() - OWN_VERSION))
def test_a_client_role_refuses(case, trial_pki, folder):
    reason, spoil = BAD_SERVERS[case]
    bench = Bench(folder, trial_pki, SERVER)
    spoil(bench)
    port, (identity, more) = free_port(), shown(bench)
    name = ["--server-name", str(bench.settings.get("server-name", "localhost"))]
    lists = [each for path in bench.settings.get("crl", []) for each in ("--crl", path)]
    with stock_dtls.s_server(port, trial_pki.ca, folder / "s_server.log", identity, *ciphers_of(bench), **more):
        eventually(lambda: stock_dtls.bound(port), "s_server's socket")
        code, document = ask_through(port, trial_pki, *name, *lists)
    assert (code, document["error"]["reason"]) == (1, reason), document


def test_a_client_role_finds_nothing_to_agree_on_with_a_server_of_dtls_1_0(trial_pki, folder):
    """Every suite that we offer belongs to 1.2."""
    port = free_port()
    with stock_dtls.s_server(port, trial_pki.ca, folder / "s_server.log",
                             (trial_pki.server_certificate, trial_pki.server_key), "-cipher", "ALL:@SECLEVEL=0",
                             version="-dtls1"):
        eventually(lambda: stock_dtls.bound(port), "s_server's socket")
        code, document = ask_through(port, trial_pki, "--server-name", "localhost")
    assert (code, document["error"]["reason"]) == (1, "no_common_suite"), document


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
