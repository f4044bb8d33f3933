"""Strangers who say hello cost no memory and no signature, and those who also show where they are only their share."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from pathlib import Path

from support.daemons import Chronyd
from support.gateway import Gateway, client_tunnel, query, server_tunnel
from support.hellos import HalfClient
from support.impairment import UDP, Link
from support.prober import Prober
from support.processes import Process, eventually

SPOOFER = Path(__file__).resolve().parents[1] / "support" / "spoofer.py"
WARM_UP, MANY = 5_000, 100_000
ROOM_TO_BREATHE = 256 * 1024  # of the allocator: less than three octets for each


def first_hello(pki, start) -> bytes:
    """What our own client role says first."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(10)
        port = sink.getsockname()[1]
        tunnel = client_tunnel(f"127.0.0.1:{port}", pki.client(), channel="dtls", timing={"connect": "200ms"})
        eager = start(tunnel, name="eager")
        hello = sink.recv(2048)
        eager.finish()
    return hello


def flood(supervisor, link: Link, server: Gateway, hello: bytes, count: int) -> Process:
    host, port = server.address()
    return supervisor.start([sys.executable, "-B", str(SPOOFER), host, str(port), str(count), hello.hex(), Link.LEFT],
                            "spoofer", link.right.prefix)


def outcome(spoofer: Process) -> dict[str, object]:
    assert spoofer.wait(120) == 0, spoofer.err
    return json.loads(spoofer.out[-1])


def newcomers_within(spoofer: Process, client: Gateway, link: Link) -> int:
    """Somebody with the victim's address asks for the time again and again, each time over a channel of its own."""
    count = 0
    while spoofer.alive():
        code, answer = query("-c", str(client.config), "--tunnel", "client", "-n", "2", prefix=link.left.prefix)
        assert code == 0, answer
        count += 1
    return count


def test_spoofed_hellos(start, supervisor, folder, trial_pki, link):
    hello = first_hello(trial_pki, start)
    daemon = Chronyd(supervisor, folder / "chronyd", link.right.prefix).serve()
    server = start(server_tunnel(daemon.text(), trial_pki.server(), channel="dtls", listen=f"{Link.RIGHT}:0"),
                   name="server", prefix=link.right.prefix)
    client = start(client_tunnel(server.listen(), trial_pki.client(), channel="dtls"), name="client",
                   prefix=link.left.prefix)
    assert outcome(flood(supervisor, link, server, hello, WARM_UP))["sent"] == WARM_UP
    before, heard_before = server.resident(), link.report()["down"]["flows"][UDP]["received"]

    own = link.left.socket(socket.SOCK_DGRAM, "127.0.0.1")
    with Prober(client.address(), own=own) as prober:
        eventually(lambda: prober.answered_since(0) >= 5, "the first answers")
        spoofer = flood(supervisor, link, server, hello, MANY)
        newcomers = newcomers_within(spoofer, client, link)
        said = outcome(spoofer)
    assert newcomers >= 2, "the flood was over before somebody came"
    assert not prober.heard.wrong
    assert len(prober.heard.answers) >= prober.asked / 2, prober.asked
    assert server.resident() - before <= ROOM_TO_BREATHE, (before, server.resident())

    assert said["sent"] == MANY and set(said["answers"]) == {"hello_verify_request"}, said
    assert said["answers"]["hello_verify_request"] >= 0.9 * (MANY - said["to_victim"]), said
    heard = link.report()["down"]["flows"][UDP]["received"] - heard_before
    assert heard >= 0.9 * said["to_victim"], "the victim's hellos never came to the server"
    assert said["longest"] < said["length"], "an answer longer than its question is a weapon"
    counted = server.finish()["server"]
    assert counted["listener"]["accepted"] == counted["listener"]["opened"] == 1 + newcomers, counted
    assert client.finish()["client"]["channels"]["opened"] == 1


def test_one_source_cannot_take_every_place(start, trial_pki, chronyd):
    """It shows where it is again and again, and then says no more; somebody else is still let in."""
    hello = first_hello(trial_pki, start)
    each = 5
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), channel="dtls", timing={"handshake": "1s"}),
                   name="server", limits={"half-open": 4 * each, "handshakes-per-second-per-source": each})
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(HalfClient(hello, server.address(), "127.0.0.3")) for _ in range(20 * each)]
        for stranger in strangers:
            stranger.prove()
        newcomer = start(client_tunnel(server.listen(), trial_pki.client(), channel="dtls"), name="newcomer")
        assert len(newcomer.events("channel_opened")) == 1 and not newcomer.events("channel_failed")
        listener = server.counters()["listener"]
        assert listener["refused"].get("handshakes-per-second-per-source", 0) > 0, listener
        server.wait_counters(lambda now: now["listener"]["pending"] == 0, "every place given back")
    listener = server.finish()["server"]["listener"]
    assert listener["opened"] == 1 and set(listener["failed"]) == {"handshake_timeout"}, listener
    newcomer.finish()


def test_many_sources_cannot_take_more_places_than_there_are(start, trial_pki, chronyd):
    hello = first_hello(trial_pki, start)
    places = 8
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), channel="dtls", timing={"handshake": "1s"}),
                   name="server", limits={"half-open": places})
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(HalfClient(hello, server.address(), f"127.0.1.{number}"))
                     for number in range(1, 5 * places)]
        for stranger in strangers:
            stranger.prove()
        server.wait_counters(lambda now: now["listener"]["refused"].get("half-open", 0) > 0, "somebody refused")
        assert server.counters()["listener"]["pending"] <= places
        newcomer = start(client_tunnel(server.listen(), trial_pki.client(), channel="dtls"), name="newcomer")
        newcomer.wait_event("channel_opened")  # at the latest when the strangers' time is over
    newcomer.finish()
    assert server.finish()["server"]["listener"]["opened"] == 1
