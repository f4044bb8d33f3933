"""A daemon, a far end or a local program may say anything: only the first right answer to an open question passes."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from support import frames, ntp
from support.frames import Connection, Frame, FrameServer, honest_frame
from support.gateway import Gateway, client_tunnel, drops, server_tunnel
from support.processes import eventually
from support.upstream import Address, Daemon

Lie = Callable[[ntp.Packet], list[bytes]]


def altered(**fields: object) -> Lie:
    return lambda asked: [ntp.honest_reply(asked).changed(**fields).encode()]


def honest(asked: ntp.Packet) -> bytes:
    return ntp.honest_reply(asked).encode()


# What a daemon says instead of the answer -> which role drops it, and under which word.
DAEMON_LIES: dict[str, tuple[str, str, Lie]] = {
    "mode 1": ("server", "bad_mode", altered(mode=1)),
    "mode 2": ("server", "bad_mode", altered(mode=2)),
    "mode 3": ("server", "bad_mode", altered(mode=3)),
    "mode 5": ("server", "bad_mode", altered(mode=5)),
    "mode 6": ("server", "bad_mode", altered(mode=6)),
    "mode 7": ("server", "bad_mode", altered(mode=7)),
    "another origin": ("server", "no_exchange", lambda asked: [honest(asked.changed(transmit=asked.transmit ^ 1))]),
    "origin zero": ("server", "no_exchange", altered(origin=0)),
    "another version": ("server", "bad_version", altered(version=3)),
    "version 0": ("server", "bad_version", altered(version=0)),
    "version 5": ("server", "bad_version", altered(version=5)),
    "T2 zero": ("server", "zero_stamp", altered(receive=0)),
    "T3 zero": ("server", "zero_stamp", altered(transmit=0)),
    "47 octets": ("server", "too_short", lambda asked: [honest(asked)[:47]]),
    "empty": ("server", "too_short", lambda asked: [b""]),
    "1025 octets": ("server", "too_long", lambda asked: [honest(asked) + bytes(977)]),
    "longer than its request": ("server", "reply_too_long", lambda asked: [honest(asked) + os.urandom(48)]),
    "leap 3": ("client", "unsynchronised", altered(leap=3)),
    "stratum 16": ("client", "unsynchronised", altered(stratum=16)),
    "stratum 0 without a kiss": ("client", "unsynchronised", altered(stratum=0, refid=0)),
    "kiss RATE": ("client", "kiss_of_death", altered(stratum=0, refid=0x52415445)),
    "kiss DENY with leap 3": ("client", "kiss_of_death", altered(stratum=0, leap=3, refid=0x44454E59)),
    "T3 before T2": ("client", "implausible_hold", lambda asked: [reversed_stamps(asked)]),
    "ten seconds between T2 and T3": ("client", "implausible_hold", lambda asked: [spread_stamps(asked)]),
}


def reversed_stamps(asked: ntp.Packet) -> bytes:
    right = ntp.honest_reply(asked)
    return right.changed(transmit=(right.receive - (1 << 31)) & 0xFFFFFFFFFFFFFFFF).encode()


def spread_stamps(asked: ntp.Packet) -> bytes:
    right = ntp.honest_reply(asked)
    return right.changed(transmit=(right.receive + (10 << 32)) & 0xFFFFFFFFFFFFFFFF).encode()


def both(start, pki, daemon: Daemon, **client_keys: object) -> tuple[Gateway, Gateway]:
    server = start(server_tunnel(daemon.text(), pki.server()), name="server")
    return server, start(client_tunnel(server.listen(), pki.client(), **client_keys), name="client")


def dropped_by(role: Gateway, side: str, reason: str, count: int = 1) -> None:
    role.wait_counters(lambda now: drops(now, side).get(reason) == count, f"{side} dropped as {reason}")


@pytest.mark.usefixtures("any_channel")
@pytest.mark.parametrize("lie", DAEMON_LIES)
def test_a_lying_daemon_is_not_passed_on(lie, start, trial_pki):
    who, reason, tell = DAEMON_LIES[lie]

    def answer(daemon: Daemon, data: bytes, asker: Address) -> None:
        for each in tell(ntp.Packet.decode(data)):
            daemon.say(each, asker)

    with Daemon(answer) as daemon:
        server, client = both(start, trial_pki, daemon)
        with ntp.Client(client.address()) as asker:
            assert asker.ask(0.4) is None
            dropped_by({"server": server, "client": client}[who], "replies", reason)
            daemon.answer = Daemon.honestly
            assert asker.ask() is not None, "the truth, afterwards"
            assert not asker.heard.wrong
        client.finish()
        server.finish()


@pytest.mark.usefixtures("any_channel")
def test_a_second_answer_of_the_daemon_goes_nowhere(start, trial_pki):
    def twice(daemon: Daemon, data: bytes, asker: Address) -> None:
        for _ in range(2):
            daemon.honestly(data, asker)

    with Daemon(twice) as daemon:
        server, client = both(start, trial_pki, daemon)
        with ntp.Client(client.address()) as asker:
            assert asker.ask() is not None
            server.wait_counters(lambda now: sum(drops(now, "replies").values()) == 1, "the second reply dropped")
            assert asker.receive(0.2) is None and not asker.heard.wrong
        assert set(drops(server.finish()["server"], "replies")) <= {"second_reply", "no_exchange"}
        client.finish()


@pytest.mark.usefixtures("any_channel")
def test_an_answer_after_max_round_trip_goes_nowhere(start, trial_pki):
    with Daemon(lambda daemon, data, asker: daemon.say(honest(ntp.Packet.decode(data)), asker, 0.5)) as daemon:
        server, client = both(start, trial_pki, daemon, timing={"max-age": "200ms", "max-round-trip": "300ms"})
        with ntp.Client(client.address()) as asker:
            assert asker.ask(1.0) is None and not asker.heard.wrong
        counted = client.finish()["client"]
        assert (counted["exchanges"]["lost"], counted["replies"]["forwarded"]) == (1, 0), counted
        server.finish()


@pytest.mark.usefixtures("any_channel")
def test_what_nobody_asked_for_goes_nowhere(start, trial_pki):
    askers: list[Address] = []

    def remember(daemon: Daemon, data: bytes, asker: Address) -> None:
        askers.append(asker)
        daemon.honestly(data, asker)

    with Daemon(remember) as daemon:
        server, client = both(start, trial_pki, daemon)
        with ntp.Client(client.address()) as asker:
            assert asker.ask() is not None
            for _ in range(5):
                daemon.say(honest(ntp.request()), askers[0])
            dropped_by(server, "replies", "no_exchange", 5)
            assert asker.receive(0.2) is None and not asker.heard.wrong
        client.finish()
        server.finish()


# What an authenticated far end sends instead of the right frame -> the word that the client role drops it under.
FRAME_LIES: dict[str, tuple[str, Callable[[Frame], list[bytes]]]] = {
    "unknown id": ("no_exchange", lambda asked: [honest_frame(asked).changed(id=asked.id ^ 0x80000000).framed()]),
    "mode 3": ("bad_mode", lambda asked: [honest_frame(asked, mode=3).framed()]),
    "mode 5": ("bad_mode", lambda asked: [honest_frame(asked, mode=5).framed()]),
    "mode 6": ("bad_mode", lambda asked: [honest_frame(asked, mode=6).framed()]),
    "another origin": ("bad_origin", lambda asked: [honest_frame(asked, origin=1).framed()]),
    "another version": ("bad_version", lambda asked: [honest_frame(asked, version=3).framed()]),
    "T2 zero": ("zero_stamp", lambda asked: [honest_frame(asked, receive=0).framed()]),
    "T3 zero": ("zero_stamp", lambda asked: [honest_frame(asked, transmit=0).framed()]),
    "longer than its request": ("reply_too_long", lambda asked: [honest_frame(asked, tail=os.urandom(48)).framed()]),
    "crypto-NAK": ("crypto_nak", lambda asked: [honest_frame(asked, tail=bytes(4)).framed()]),
    "unsynchronised": ("unsynchronised", lambda asked: [honest_frame(asked, leap=3).framed()]),
    "half a second of forward hold": ("implausible_hold", lambda asked: [held(asked, forward=1 << 31)]),
    "half a second of backward hold": ("implausible_hold", lambda asked: [held(asked, backward=1 << 31)]),
    "a hold of a second or more": ("hold_overflow", lambda asked: [held(asked, forward=frames.NO_HOLD)]),
    "a backward hold of a second": ("hold_overflow", lambda asked: [held(asked, backward=frames.NO_HOLD)]),
    "frame version 2": ("bad_frame", lambda asked: [honest_frame(asked).changed(version=2).framed()]),
    "frame type 0": ("bad_frame", lambda asked: [honest_frame(asked).changed(kind=0).framed()]),
    "frame type 6": ("bad_frame", lambda asked: [honest_frame(asked).changed(kind=6).framed()]),
    "flags": ("bad_frame", lambda asked: [honest_frame(asked).changed(flags=1).framed()]),
    "reserved bits": ("bad_frame", lambda asked: [honest_frame(asked).changed(reserved=1).framed()]),
    "a packet of 47 octets": ("bad_frame", lambda asked: [frames.framed(honest_frame(asked).encode()[:79])]),
    "a reply without a packet": ("bad_frame", lambda asked: [honest_frame(asked).changed(packet=b"").framed()]),
    "a pong with a packet": ("bad_frame", lambda asked: [honest_frame(asked).changed(kind=frames.PONG).framed()]),
    "a request": ("unexpected_frame", lambda asked: [asked.framed()]),
    "an unsolicited pong": ("no_exchange", lambda asked: [Frame(frames.PONG, 77).framed()]),
    "a ping": ("unexpected_frame", lambda asked: [Frame(frames.PING, 77).framed()]),
}


def held(asked: Frame, **holds: int) -> bytes:
    return honest_frame(asked).changed(**holds).framed()


@pytest.fixture
def far_end(frame_peers):
    with frame_peers.server() as server:
        yield server


def client_of(start, pki, far_end: FrameServer, **keys: object) -> Gateway:
    return start(client_tunnel(f"127.0.0.1:{far_end.address[1]}", pki.client(), **keys))


@pytest.mark.parametrize("lie", FRAME_LIES)
def test_a_lying_far_end_is_not_passed_on(lie, start, trial_pki, far_end):
    reason, tell = FRAME_LIES[lie]
    truth = far_end.answer

    def answer(connection: Connection, asked: Frame) -> None:
        for each in tell(asked):
            connection.send(each)

    far_end.answer = answer
    client = client_of(start, trial_pki, far_end)
    with ntp.Client(client.address()) as asker:
        assert asker.ask(0.3) is None
        dropped_by(client, "replies", reason)
        far_end.answer = truth
        assert asker.ask() is not None, "the truth, afterwards"
        assert not asker.heard.wrong
    client.finish()


def test_only_the_first_of_two_replies_passes(start, trial_pki, far_end):
    far_end.answer = lambda connection, asked: [connection.reply(honest_frame(asked)) for _ in range(2)]
    client = client_of(start, trial_pki, far_end)
    with ntp.Client(client.address()) as asker:
        assert asker.ask() is not None
        client.wait_counters(lambda now: sum(drops(now, "replies").values()) == 1, "the second reply dropped")
        assert asker.receive(0.2) is None and not asker.heard.wrong
    assert drops(client.finish()["client"], "replies") == {"second_reply": 1}


def test_a_right_reply_after_wrong_ones_still_passes(start, trial_pki, far_end):
    """A forger on the far side must not be able to end an exchange with a wrong answer."""
    def answer(connection: Connection, asked: Frame) -> None:
        connection.reply(honest_frame(asked, origin=1))
        connection.reply(honest_frame(asked, mode=3))
        connection.reply(honest_frame(asked))

    far_end.answer = answer
    client = client_of(start, trial_pki, far_end)
    with ntp.Client(client.address()) as asker:
        assert asker.ask() is not None and not asker.heard.wrong
    client.finish()


def test_a_reply_later_than_max_round_trip_is_dropped(start, trial_pki, far_end):
    far_end.answer = lambda connection, asked: connection.reply(honest_frame(asked), after=0.4)
    client = client_of(start, trial_pki, far_end, timing={"max-age": "200ms", "max-round-trip": "250ms"})
    with ntp.Client(client.address()) as asker:
        assert asker.ask(0.8) is None and not asker.heard.wrong
    counted = client.finish()["client"]
    assert (counted["exchanges"]["lost"], sum(drops(counted, "replies").values())) == (1, 1), counted


def test_a_reply_on_another_channel_is_dropped(start, trial_pki, far_end):
    """The same id and the same origin, but not from whom the question went to."""
    asked: list[Frame] = []
    far_end.answer = lambda connection, frame: asked.append(frame)
    client = client_of(start, trial_pki, far_end)
    with ntp.Client(client.address()) as asker:
        asker.send()
        first = far_end.connection(0)
        client.wait_counters(lambda now: now["exchanges"]["open"] == 1, "an open exchange")
        first.reply(Frame(frames.GOODBYE))
        client.wait_until(lambda: len(client.events("channel_opened")) == 2, "a second channel")
        far_end.connection(1).reply(honest_frame(asked[0]))
        dropped_by(client, "replies", "no_exchange")
        first.reply(honest_frame(asked[0]))
        assert asker.receive(1.0) is not None, "goodbye lets what is open be finished"
    client.finish()


@pytest.mark.parametrize("length", [0, 31, 33, 79, 1057, 65535])
def test_a_broken_stream_length_closes_the_channel(length, start, trial_pki, far_end):
    client = client_of(start, trial_pki, far_end)
    far_end.connection(0).send(length.to_bytes(2, "big") + bytes(64))
    if length in (0, 31, 1057, 65535):
        client.wait_event("channel_closed", reason="bad_framing")
    else:  # within the stream's bounds, but no frame
        far_end.connection(0).send(bytes(max(0, length - 64)))
        dropped_by(client, "replies", "bad_frame")
    client.finish()


# What an authenticated client sends -> the word that the server role drops it under; nothing reaches the daemon.
REQUEST_LIES: dict[str, tuple[str, Callable[[Frame], bytes]]] = {
    **{f"mode {mode}": ("bad_mode", lambda frame, mode=mode: with_packet(frame, mode=mode))
       for mode in (0, 1, 2, 4, 5, 6, 7)},
    "version 0": ("bad_version", lambda frame: with_packet(frame, version=0)),
    "version 5": ("bad_version", lambda frame: with_packet(frame, version=5)),
    "a reply": ("unexpected_frame", lambda frame: frame.changed(kind=frames.REPLY).framed()),
    "a goodbye": ("unexpected_frame", lambda frame: Frame(frames.GOODBYE).framed()),
    "a pong": ("unexpected_frame", lambda frame: Frame(frames.PONG).framed()),
    "frame version 0": ("bad_frame", lambda frame: frame.changed(version=0).framed()),
    "an unknown type": ("bad_frame", lambda frame: frame.changed(kind=15).framed()),
    "flags": ("bad_frame", lambda frame: frame.changed(flags=0x80).framed()),
    "an arrival stamp": ("bad_frame", lambda frame: frame.changed(arrival=1).framed()),
    "holds": ("bad_frame", lambda frame: frame.changed(forward=1, backward=1).framed()),
    "47 octets": ("bad_frame", lambda frame: frames.framed(frame.encode()[:79])),
}


def with_packet(frame: Frame, **fields: object) -> bytes:
    return frame.changed(packet=ntp.request(**fields).encode()).framed()


@pytest.mark.parametrize("lie", REQUEST_LIES)
def test_a_lying_client_reaches_no_daemon(lie, start, trial_pki, frame_peers):
    reason, tell = REQUEST_LIES[lie]
    with Daemon() as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server()))
        with frame_peers.client(server) as client:
            client.send(tell(Frame(frames.REQUEST, 5, frames.monotonic_stamp(), packet=ntp.request().encode())))
            dropped_by(server, "requests", reason)
            assert not daemon.heard
            assert client.ask() is not None, "the truth, afterwards"
        server.finish()


def test_an_id_that_is_open_already_is_refused(start, trial_pki, frame_peers):
    with Daemon(lambda daemon, data, asker: None) as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server()))
        with frame_peers.client(server) as client:
            for _ in range(2):
                client.request(ntp.request().encode(), id=9)
            dropped_by(server, "requests", "duplicate_exchange")
            eventually(lambda: len(daemon.heard) == 1, "one at the daemon")
        server.finish()


def test_more_than_ten_pings_a_second_are_not_answered(start, trial_pki, frame_peers):
    with Daemon() as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server()))
        with frame_peers.client(server) as client:
            client.send(b"".join(Frame(frames.PING, number, frames.monotonic_stamp()).framed() for number in range(30)))
            pongs = 0
            while (frame := client.receive(0.3)) is not None:
                assert frame.kind == frames.PONG
                pongs += 1
        counted = server.finish()["server"]
        assert pongs == 10 and drops(counted, "requests") == {"frame_limit": 20}, (pongs, counted)


def test_the_daemon_sees_a_stamp_that_the_client_did_not_choose(start, trial_pki, frame_peers):
    with Daemon() as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server()))
        with frame_peers.client(server) as client:
            asked = ntp.request(transmit=0)
            client.request(asked.encode())
            reply = ntp.Packet.decode(client.receive().packet)
        assert reply.origin == 0
        sent = ntp.Packet.decode(daemon.heard[0])
        assert sent.transmit != 0 and sent.changed(transmit=0) == asked
        server.finish()
