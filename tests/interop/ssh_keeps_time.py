"""Over SSH: keys renewed again and again without one exchange lost, peers that stop reading, and two hundred at once."""

from __future__ import annotations

import signal
import statistics
import time

import pytest

from support import ntp
from support.gateway import drops, query
from support.processes import eventually
from support.prober import Prober
from support.ssh import client_of, frames_through_ssh, options, server_of

NEVER_BUSY = {"handshakes-per-second-per-source": 0}
EAGER = {"requests-per-second-per-client": 0, "exchanges-per-client": 0}  # one client asks for many


def rekeys(gateway) -> int:
    """Records of renewed keys, those that were folded into one included."""
    return sum(record.get("count", 1) for record in gateway.events("rekeyed"))


@pytest.mark.parametrize("client_time, server_time", [("2s", "1h"), ("1h", "2s"), ("2s", "2s")])
def test_many_renewals_by_time_lose_no_exchange(client_time, server_time, start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys, rekey_time=server_time), name="server")
    client = start(client_of(server.listen(), keys, rekey_time=client_time), name="client", limits=EAGER)
    with Prober(client.address(), every=0.004) as asker:
        eventually(lambda: rekeys(client) >= 4 and rekeys(server) >= 4, "four renewals", 30)
    counted = client.finish()["client"]
    assert counted["exchanges"]["answered"] == asker.asked, (asker.asked, counted)
    assert not asker.heard.wrong and counted["channels"]["opened"] == 1
    assert not server.finish()["server"]["replies"]["drops"]


def test_an_idle_channel_is_held_through_many_renewals(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys, rekey_time="2s"), name="server")
    client = start(client_of(server.listen(), keys, rekey_time="2s"), name="client", limits=EAGER)
    eventually(lambda: rekeys(client) >= 5, "five renewals of an idle channel", 30)
    with ntp.Client(client.address()) as asker:
        assert asker.ask(2.0)
    counted = client.finish()["client"]
    assert (counted["channels"]["opened"], counted["exchanges"]["answered"]) == (1, 1), counted
    server.finish()


def test_renewals_by_data_lose_no_exchange(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys, rekey_data="64KiB"), name="server")
    client = start(client_of(server.listen(), keys), name="client", limits=EAGER)
    with Prober(client.address(), every=0.002) as asker:
        eventually(lambda: rekeys(client) >= 3, "three renewals by data", 60)
    counted = client.finish()["client"]
    assert counted["exchanges"]["answered"] == asker.asked, (asker.asked, counted)
    server.finish()


@pytest.mark.measures
def test_what_a_renewal_holds_comes_out_right(start, chronyd, keys):
    """Offsets through a channel that renews its keys all the time are those of one that never does."""
    server = start(server_of(chronyd.text(), keys), name="server")
    client = start(client_of(server.listen(), keys, rekey_time="2s"), name="client", limits=EAGER)
    with ntp.Client(client.address()) as asker:
        deadline = time.monotonic() + 60
        while rekeys(client) < 4 and time.monotonic() < deadline:
            assert asker.ask(2.0)
        offsets = [answer.offset for answer in asker.heard.answers]
    assert rekeys(client) >= 4 and len(offsets) > 100
    middle = statistics.median(offsets)
    assert max(abs(offset - middle) for offset in offsets) < 0.5, "a renewal's wait came out as an offset"
    client.finish()
    server.finish()


@pytest.mark.measures
def test_a_peer_that_stops_reading_holds_up_nobody(start, chronyd, keys):
    """Its answers are dropped as congested once the path is full; the others' round trips stay what they were."""
    server = start(server_of(chronyd.text(), keys), name="server")
    client = start(client_of(server.listen(), keys), name="client", limits=EAGER)
    with ntp.Client(client.address()) as asker, frames_through_ssh(server.address(), options(keys)) as deaf:
        for _ in range(300):
            assert asker.ask(2.0)
        before = statistics.median(answer.delay for answer in asker.heard.answers)
        # Its input goes on, its output is never read: the pipe fills, then ssh stops reading the connection.
        asked = 0
        deadline = time.monotonic() + 120
        while not drops(server.counters(), "replies").get("congested"):
            assert time.monotonic() < deadline, server.counters()
            for _ in range(200):
                deaf.request(ntp.request().encode())
            asked += 200
            eventually(lambda: asker.ask(0.5), "time for another peer")
        counted = server.counters()
        asker.heard.answers.clear()
        for _ in range(300):
            assert asker.ask(2.0)
        after = statistics.median(answer.delay for answer in asker.heard.answers)
        print(f"median round trip of another peer: {before * 1e6:.0f} us before, {after * 1e6:.0f} us beside a peer "
              f"that does not read ({asked} requests, drops {drops(counted, 'replies')})")
        deaf.child.kill()
        deaf.child.wait(10)
    client.finish()
    server.finish()


def test_a_stopped_server_is_noticed_and_never_blocks_the_client(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys), name="server")
    client = start(client_of(server.listen(), keys), name="client", limits=EAGER)
    with ntp.Client(client.address()) as asker:
        assert asker.ask(2.0)
        server.send_signal(signal.SIGSTOP)
        for _ in range(20):
            asker.send()
        client.wait_event("channel_closed", reason="dead_peer")
        assert client.counters()["requests"]["received"] >= 21  # it answers us: the loop is not blocked
        server.send_signal(signal.SIGCONT)
        eventually(lambda: asker.ask(0.3), "recovery", 10)
    client.finish()
    server.finish()


def test_two_hundred_channels_at_once(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys), name="server", limits=NEVER_BUSY)
    tunnels = [client_of(server.listen(), keys) | {"name": f"client-{number}"} for number in range(200)]
    client = start(*tunnels, name="client", limits={"half-open": 300})
    server.wait_counters(lambda now: now["listener"]["opened"] == 200, "two hundred channels", timeout=60)
    for tunnel in client.started["tunnels"][:200:20]:
        host, _, port = tunnel["listen"][0].rpartition(":")
        with ntp.Client((host, int(port))) as asker:
            assert asker.ask(5.0)
    counted = server.counters()
    assert counted["listener"]["failed"] == {} and counted["exchanges"]["answered"] == 10, counted
    assert all(each["channels"]["opened"] == 1 for each in client.finish().values())
    server.finish()


def test_a_limit_on_channels_holds_and_recovers(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys), name="server", limits={"channels": 2})
    with frames_through_ssh(server.address(), options(keys)) as one:
        assert one.ask()
        with frames_through_ssh(server.address(), options(keys)) as two:
            assert two.ask()
            with frames_through_ssh(server.address(), options(keys)) as three:
                assert three.ask(3.0) is None
            assert server.wait_event("limit_reached")["reason"] == "channels"
            assert one.ask()
        server.wait_event("channel_closed")
        with frames_through_ssh(server.address(), options(keys)) as four:
            assert four.ask()
    server.finish()


def test_a_broken_length_ends_the_channel(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys))
    with frames_through_ssh(server.address(), options(keys)) as peer:
        assert peer.ask()
        peer.send(b"\xff\xff" + bytes(100))
        assert server.wait_event("channel_closed")["reason"] == "bad_framing"
    server.finish()


def test_either_head_end_may_be_killed(start, chronyd, keys, supervisor):
    server = start(server_of(chronyd.text(), keys) | {"listen": "127.0.0.1:0"}, name="server")
    port = server.address()[1]
    client = start(client_of(server.listen(), keys), name="client", limits=EAGER)
    with Prober(client.address()) as asker:
        eventually(lambda: asker.answered_since(0) >= 5, "time")
        server.kill()
        again = start(server_of(chronyd.text(), keys) | {"listen": f"127.0.0.1:{port}"}, name="again")
        back = time.monotonic()
        eventually(lambda: asker.answered_since(back) >= 5, "time after a restart", 5)
    assert not asker.heard.wrong
    client.finish()
    again.finish()


def test_drain_lets_open_exchanges_end(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys), name="server")
    client = start(client_of(server.listen(), keys), name="client", limits=EAGER)
    with ntp.Client(client.address()) as asker:
        assert asker.ask(2.0)
        server.finish()
    client.wait_event("channel_closed")
    client.finish()


def test_query_says_what_is_wrong(keys, folder):
    code, document = query("ssh://127.0.0.1:1", "--identity", keys.path("id_ed25519"), "--known-hosts",
                           keys.path("known_hosts"), "--timeout", "2s")
    assert code == 1 and document["error"]["reason"] == "unreachable", document
