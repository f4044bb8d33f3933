"""Raw framing against what it replaces: stunnel + socat and socat alone, at either end of our own roles."""

from __future__ import annotations

import socket
import threading

import pytest

from support import ntp, pipelines
from support.gateway import client_tunnel, drops, server_tunnel
from support.processes import eventually
from support.tls import Peer, connect
from support.upstream import Daemon

STUNNEL_AND_SOCAT, SOCAT_ALONE = "stunnel+socat", "socat"


@pytest.mark.measures
@pytest.mark.parametrize("far_end", [STUNNEL_AND_SOCAT, SOCAT_ALONE])
def test_our_client_role_asks_through_their_server(far_end, start, trial_pki, chronyd, supervisor, folder):
    if far_end == STUNNEL_AND_SOCAT:
        port = pipelines.stunnel_socat_server(supervisor, folder, trial_pki, chronyd.address)
    else:
        port = pipelines.socat_tls_server(supervisor, trial_pki, chronyd.address)
    client = start(client_tunnel(f"127.0.0.1:{port}", trial_pki.client(), framing="raw"))
    with ntp.Client(client.address()) as asker:
        answers = [asker.ask() for _ in range(10)]
        assert all(answers), answers
        assert not asker.heard.wrong
    assert {answer.packet.stratum for answer in answers} == {3}
    # Their forwarding is in it, but no handshake: the pipeline alone shows five milliseconds and more.
    assert abs(sorted(answer.offset for answer in answers)[5]) < 0.002, answers
    assert client.finish()["client"]["exchanges"]["answered"] == 10


@pytest.mark.parametrize("near_end", [STUNNEL_AND_SOCAT, SOCAT_ALONE])
def test_their_client_asks_through_our_server_role(near_end, start, trial_pki, chronyd, supervisor, folder):
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), framing="raw"))
    if near_end == STUNNEL_AND_SOCAT:
        port = pipelines.stunnel_socat_client(supervisor, folder, trial_pki, server.address())
    else:
        port = pipelines.socat_tls_client(supervisor, trial_pki, server.address())
    for _ in range(5):  # one TCP connection and one handshake each, half-closed before the answer
        answer = ntp.ask(("127.0.0.1", port), 5.0)
        assert answer is not None and answer.packet.stratum == 3
    counted = server.finish()["server"]
    assert (counted["exchanges"]["answered"], counted["channels"]["opened"]) == (5, 5), counted


def test_both_our_roles_speak_raw_to_each_other(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), framing="raw"), name="server")
    client = start(client_tunnel(server.listen(), trial_pki.client(), framing="raw"), name="client")
    for _ in range(5):
        assert ntp.ask(client.address()).packet.stratum == 3
    client.finish()
    server.finish()


def raw_channel(server, pki, **peer: object):
    identity = (pki.client_certificate, pki.client_key)
    return connect(Peer(pki.ca, identity, **({"alpn": ()} | peer)), server.address())


def read_packets(channel, count: int) -> list[ntp.Packet]:
    data = b""
    while len(data) < 48 * count:
        more = channel.recv(4096)
        assert more, f"ended after {len(data)} octets"
        data += more
    assert len(data) == 48 * count
    return [ntp.Packet.decode(data[at:at + 48]) for at in range(0, len(data), 48)]


def test_three_requests_in_one_record_get_three_replies(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), framing="raw"))
    asked = [ntp.request() for _ in range(3)]
    with raw_channel(server, trial_pki) as channel:
        channel.sendall(b"".join(each.encode() for each in asked))
        replies = read_packets(channel, 3)
    assert {reply.origin for reply in replies} == {each.transmit for each in asked}
    assert server.finish()["server"]["exchanges"]["answered"] == 3


def test_a_peer_that_half_closes_still_gets_its_reply(start, trial_pki):
    with Daemon(lambda daemon, data, asker: daemon.say(
            ntp.honest_reply(ntp.Packet.decode(data)).encode(), asker, after=0.2)) as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server(), framing="raw"))
        asked = ntp.request()
        with raw_channel(server, trial_pki) as channel:
            channel.sendall(asked.encode())
            channel.settimeout(5)
            half_close(channel)
            assert read_packets(channel, 1)[0].origin == asked.transmit
        server.finish()


def half_close(channel) -> None:
    """close_notify now, while the answer is still to come; Python has no call that does only this."""
    channel.setblocking(False)
    try:
        channel.unwrap()
    except OSError:
        pass  # it wants the peer's close_notify, which comes after the reply
    channel.settimeout(5)


def test_the_rest_of_a_packet_is_waited_for_50_ms(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), framing="raw"))
    with raw_channel(server, trial_pki) as channel:
        data = ntp.request().encode()
        channel.sendall(data[:20])
        channel.sendall(data[20:])
        assert read_packets(channel, 1)
        channel.sendall(data[:20])
        server.wait_counters(lambda now: drops(now, "requests").get("raw_partial") == 1, "raw_partial")
        channel.sendall(ntp.request().encode())
        assert read_packets(channel, 1)
    server.finish()


def test_a_server_role_refuses_a_peer_that_offers_alpn(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), framing="raw"))
    with pytest.raises(OSError, match="(?i)no.application.protocol"):
        raw_channel(server, trial_pki, alpn=("ntpgate/1",))
    assert server.wait_reason("unexpected_alpn")["outcome"] == "failure"
    server.finish()


def test_nine_at_once_are_one_too_many_for_eight_channels(start, trial_pki):
    held: list[tuple[bytes, tuple[str, int]]] = []
    with Daemon(lambda daemon, data, asker: held.append((data, asker))) as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server(), framing="raw"), name="server")
        client = start(client_tunnel(server.listen(), trial_pki.client(), framing="raw"), name="client",
                       limits={"exchanges-per-client": 0, "requests-per-second-per-client": 0})
        with ntp.Client(client.address()) as asker:
            for _ in range(9):
                asker.send()
            eventually(lambda: len(held) == 8, f"eight requests at the daemon, not {len(held)}")
            client.wait_counters(lambda now: drops(now, "requests") == {"raw_busy": 1}, "raw_busy")
            for data, address in held:
                daemon.say(ntp.honest_reply(ntp.Packet.decode(data)).encode(), address)
            for _ in range(8):
                assert asker.receive(2) is not None
            assert asker.receive(0.1) is None
        client.finish()
        server.finish()


def test_three_unanswered_requests_close_the_channel(start, trial_pki):
    """A stunnel whose daemon is gone looks alive for ever otherwise."""
    with Daemon(lambda daemon, data, asker: None) as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server(), framing="raw"), name="server")
        client = start(client_tunnel(server.listen(), trial_pki.client(), framing="raw",
                                     timing={"max-age": "100ms", "max-round-trip": "100ms"}), name="client")
        with ntp.Client(client.address()) as asker:
            for _ in range(3):
                assert asker.ask(0.2) is None
        assert client.wait_event("channel_closed", reason="unanswered")["peer"] == server.listen()
        client.finish()
        server.finish()


def test_raw_replies_are_matched_by_origin(start, trial_pki):
    """A raw far end may say anything; only the answer to the open request passes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        liar = threading.Thread(target=lie_once, args=(listener, trial_pki), daemon=True)
        liar.start()
        client = start(client_tunnel(f"127.0.0.1:{listener.getsockname()[1]}", trial_pki.client(), framing="raw"))
        with ntp.Client(client.address()) as asker:
            assert asker.ask() is not None
            assert not asker.heard.wrong
        counted = client.finish()["client"]
        liar.join(5)
    assert counted["replies"]["forwarded"] == 1 and sum(counted["replies"]["drops"].values()) == 3, counted


def lie_once(listener: socket.socket, pki) -> None:
    """Serves one channel: three wrong answers, and then the right one, to its first request."""
    identity = (pki.server_certificate, pki.server_key)
    with Peer(pki.ca, identity, alpn=()).context(server=True).wrap_socket(listener.accept()[0], True) as channel:
        right = ntp.honest_reply(ntp.Packet.decode(channel.recv(4096)))
        for wrong in (right.changed(origin=right.origin ^ 1), right.changed(mode=3), right.changed(receive=0)):
            channel.sendall(wrong.encode())
        channel.sendall(right.encode())
        channel.recv(4096)
