"""Authenticated far ends and clients that edit frames, over DTLS: openssl carries them, one record each."""

from __future__ import annotations

from collections import Counter

from support import ntp, stock_dtls
from support.frames import PING, REPLY, REQUEST, Frame, honest_frame, monotonic_stamp, pong
from support.gateway import client_tunnel, drops, server_tunnel
from support.processes import eventually, free_port
from support.upstream import Daemon
from tls_stops_lies import FRAME_LIES, REQUEST_LIES

LENGTH = 2  # octets before a frame on a stream; a record needs none
HEADER, WITH_PACKET = 32, 80


def next_request(peer: stock_dtls.StockPeer) -> Frame:
    """Pings on the way are answered: the far end lies, but it is alive."""
    while True:
        header = peer.receive(HEADER)
        assert len(header) == HEADER, peer.said()
        if header[0] & 0x0F != PING:
            return Frame.decode(header + peer.receive(WITH_PACKET - HEADER))
        peer.send(pong(Frame.decode(header)).encode())


def test_no_lie_of_a_far_end_is_passed_on(start, trial_pki, folder):
    port = free_port()
    identity = (trial_pki.server_certificate, trial_pki.server_key)
    dropped: Counter[str] = Counter()
    with stock_dtls.s_server(port, trial_pki.ca, folder / "s_server.log", identity) as peer:
        eventually(lambda: stock_dtls.bound(port), "s_server's socket")
        client = start(client_tunnel(f"127.0.0.1:{port}", trial_pki.client(), channel="dtls"),
                       limits={"exchanges-per-client": 0})  # most lies leave their exchange open
        with ntp.Client(client.address()) as asker:
            for lie, (reason, tell) in FRAME_LIES.items():
                asker.send()
                for frame in tell(next_request(peer)):
                    peer.send(frame[LENGTH:])
                dropped[reason] += 1
                client.wait_counters(lambda now, word=reason: drops(now, "replies").get(word) == dropped[word],
                                     f"{lie} dropped as {reason}")
                assert not asker.heard.answers and not asker.heard.wrong, lie
            truth = asker.send()
            while not asker.heard.answers:
                peer.send(honest_frame(next_request(peer)).encode())
                asker.receive(0.5)
            assert asker.heard.answers[0].packet.origin == truth.transmit
            assert not asker.heard.wrong
        client.finish()


def test_no_lie_of_a_client_reaches_the_daemon(start, trial_pki, folder):
    identity = (trial_pki.client_certificate, trial_pki.client_key)
    dropped: Counter[str] = Counter()
    with Daemon() as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server(), channel="dtls"))
        with stock_dtls.s_client(server.address(), trial_pki.ca, folder / "s_client.log", identity) as peer:
            server.wait_event("channel_opened")
            asked = Frame(REQUEST, 5, monotonic_stamp(), packet=ntp.request().encode())
            for lie, (reason, tell) in REQUEST_LIES.items():
                peer.send(tell(asked)[LENGTH:])
                dropped[reason] += 1
                server.wait_counters(lambda now, word=reason: drops(now, "requests").get(word) == dropped[word],
                                     f"{lie} dropped as {reason}")
                assert not daemon.heard, lie
            peer.send(asked.encode())
            assert (peer.frame().kind, len(daemon.heard)) == (REPLY, 1), "the truth, afterwards"
        server.finish()
