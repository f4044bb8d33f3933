"""A hundred thousand ClientHellos from addresses that nobody has cost no memory, no signature and no real client."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

from support.daemons import Chronyd
from support.gateway import Gateway, client_tunnel, query, server_tunnel
from support.impairment import Link
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
    before = server.resident()

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
    assert said["longest"] < said["length"], "an answer longer than its question is a weapon"
    counted = server.finish()["server"]
    assert counted["listener"]["accepted"] == counted["listener"]["opened"] == 1 + newcomers, counted
    assert client.finish()["client"]["channels"]["opened"] == 1
