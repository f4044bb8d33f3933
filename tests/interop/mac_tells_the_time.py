"""What a mac tunnel delivers is the daemon's time, however long a head-end held the packet, and whoever answers it."""

from __future__ import annotations

import signal
import socket
import statistics
import time

import pytest

from support import ntp
from support.gateway import client_tunnel, query, server_tunnel
from support.mac import Key, KeyedDaemon, write_keys
from support.mac_tunnels import UNLIMITED, mac_client, mac_server
from support.processes import eventually
from support.upstream import Daemon

HELD = 0.2


def held_while(process, action):
    """Lets `action` happen while the process is stopped, and go on only after HELD seconds."""
    process.send_signal(signal.SIGSTOP)
    eventually(lambda: open(f"/proc/{process.pid}/stat", encoding="ascii").read().split()[2] == "T", "stopped")
    try:
        result = action()
        time.sleep(HELD)  # this is the hold itself
    finally:
        process.send_signal(signal.SIGCONT)
    return result


def assert_right_though_held(ask, prompt: float = 0.0) -> None:
    """`ask` gives an answer that was held for HELD. A kernel stamp may be unusable after a stop (the loop had polled in
    between), seldom; without correction half of the hold would be offset every time."""
    seen = []
    for _ in range(6):
        answer = ask()
        assert answer and answer.waited > HELD, answer
        seen.append(answer.offset - prompt)
        if abs(seen[-1]) < 0.01 and answer.delay < 0.05:
            return
    raise AssertionError(f"offsets {seen}")


@pytest.mark.measures
def test_a_request_that_either_role_held_is_answered_right(start, folder, chronyd):
    file = write_keys(folder / "shared.keys", [Key.new(7)])
    server = start(mac_server(chronyd.text(), file, [7]), name="server", limits=UNLIMITED)
    host, port = server.address()
    client = start(mac_client("client", f"{host}:{port}", file, 7), name="client", limits=UNLIMITED)
    with ntp.Client(client.address()) as asker:
        prompt = statistics.median(asker.ask().offset for _ in range(9))
        for holder in (client, server):
            assert_right_though_held(lambda: held_while(holder, asker.send) and asker.receive(2.0), prompt)
    client.finish()
    server.finish()


@pytest.mark.measures
def test_a_reply_that_either_role_held_is_right(start, folder):
    key = Key.new(7)
    file = write_keys(folder / "shared.keys", [key])
    with Daemon() as daemon:
        server = start(mac_server(daemon.text(), file, [7]), name="server", limits=UNLIMITED)
        host, port = server.address()
        client = start(mac_client("client", f"{host}:{port}", file, 7), name="client", limits=UNLIMITED)
        with ntp.Client(client.address()) as asker:
            assert asker.ask()
            for holder in (client, server):
                # The daemon answers once the holder is stopped: what is held is the reply.
                def answer_late(daemon, data, asked_by, holder=holder):
                    holder.send_signal(signal.SIGSTOP)
                    daemon.honestly(data, asked_by)
                    time.sleep(HELD)
                    holder.send_signal(signal.SIGCONT)

                daemon.answer = answer_late
                assert_right_though_held(lambda: asker.send() and asker.receive(2.0))
        client.finish()
        server.finish()


def test_what_is_held_longer_than_max_age_is_not_asked(start, folder):
    file = write_keys(folder / "shared.keys", [Key.new(7)])
    with Daemon() as daemon:
        server = start(mac_server(daemon.text(), file, [7]) | {"timing": {"max-age": "100ms"}}, name="server")
        host, port = server.address()
        client = start(mac_client("client", f"{host}:{port}", file, 7), name="client")
        with ntp.Client(client.address()) as asker:
            assert asker.ask()
            held_while(server, asker.send)
            assert asker.receive(0.5) is None
            assert asker.ask(), "the next one is in time"
        assert len(daemon.heard) == 2
        client.finish()
        assert server.finish()["server"]["requests"]["drops"] == {"too_old": 1}


def test_a_silent_target_is_left_for_the_next(start, folder):
    key = Key.new(7)
    file = write_keys(folder / "shared.keys", [key])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, KeyedDaemon(key) as second:
        silent.bind(("127.0.0.1", 0))
        first = f"127.0.0.1:{silent.getsockname()[1]}"
        client = start(mac_client("client", [first, second.text()], file, 7,
                                  timing={"max-age": "100ms", "max-round-trip": "200ms"}), limits=UNLIMITED)
        with ntp.Client(client.address()) as asker:
            answer = eventually(lambda: asker.ask(0.25), "an answer of the second target")
            assert abs(answer.offset) < 0.01
        failed = client.wait_event("channel_failed")
        assert (failed["reason"], failed["peer"]) == ("unanswered", first), failed
        assert client.wait_event("channel_opened")["peer"] == second.text()
        assert client.finish()["client"]["exchanges"]["lost"] == 3


def test_a_target_that_refuses_is_left_at_once_and_names_are_looked_up(start, folder):
    key = Key.new(7)
    file = write_keys(folder / "shared.keys", [key])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        refusing = f"127.0.0.1:{closed.getsockname()[1]}"
    with KeyedDaemon(key) as daemon:
        named = f"localhost:{daemon.address[1]}"
        client = start(mac_client("client", [refusing, "no-such-host.invalid:123", named], file, 7), limits=UNLIMITED)
        with ntp.Client(client.address()) as asker:
            assert eventually(lambda: asker.ask(0.3), "an answer")
        assert client.wait_event("channel_failed", reason="unreachable")["peer"] == refusing
        client.wait_event("channel_failed", reason="resolve_failed")
        client.finish()


def test_an_authenticated_rate_kiss_is_obeyed_and_a_forged_one_is_not(start, folder):
    key = Key.new(7)
    file = write_keys(folder / "shared.keys", [key])
    kissing = {"forged": False, "sealed": False}

    def forge(reply: bytes, _asked: bytes) -> list[bytes]:
        kiss = ntp.Packet.decode(reply[:48]).changed(stratum=0, leap=3, refid=0x52415445).encode()
        return [kiss] if kissing["forged"] else [key.seal(kiss)] if kissing["sealed"] else []

    with KeyedDaemon(key, forge) as daemon:
        client = start(mac_client("client", daemon.text(), file, 7), limits=UNLIMITED)
        kissing["forged"] = True
        assert ntp.ask(client.address())
        kissing.update(forged=False, sealed=True)
        assert ntp.ask(client.address(), 0.3) is None
        kissing["sealed"] = False
        heard = len(daemon.heard)
        assert ntp.ask(client.address(), 0.3) is None and len(daemon.heard) == heard, "asked on after RATE"
        counted = client.finish()["client"]
        assert counted["requests"]["drops"] == {"asked_to_wait": 1}, counted
        assert counted["replies"]["drops"] == {"no_mac": 1, "kiss_of_death": 1, "second_reply": 1}, counted


def test_one_source_port_when_it_is_asked_for(start, folder):
    key = Key.new(7)
    file = write_keys(folder / "shared.keys", [key])
    with KeyedDaemon(key) as daemon, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("0.0.0.0", 0))
        port = probe.getsockname()[1]
        probe.close()
        client = start(mac_client("client", daemon.text(), file, 7, source_port=port), limits=UNLIMITED)
        with ntp.Client(client.address()) as one, ntp.Client(client.address()) as two:
            for _ in range(5):
                one.send()
                assert two.ask() and one.receive(1.0)
        assert {asker[1] for asker in daemon.askers} == {port}
        client.finish()


def test_an_inner_seal_of_both_roles(start, folder, trial_pki, chronyd):
    file = write_keys(folder / "shared.keys", [Key.new(7, "SHA512")])
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), mac={"keys": str(file), "trusted": [7]}),
                   name="server")
    sealed = start(client_tunnel(server.listen(), trial_pki.client(), mac={"keys": str(file), "key": 7}), name="sealed")
    answer = ntp.ask_with(sealed.address(), ntp.request(version=3, poll=8))
    assert answer and (answer.packet.version, answer.packet.poll, answer.packet.stratum) == (3, 8, 3), answer
    assert abs(answer.offset) < 0.01 and not answer.packet.tail
    assert "with an inner mac" in sealed.wait_event("profile_claim")["claim"]
    # Without the seal the channel's peer is not enough.
    bare = start(client_tunnel(server.listen(), trial_pki.client()), name="bare")
    assert ntp.ask(bare.address(), 0.5) is None
    bare.finish()
    sealed.finish()
    assert server.finish()["server"]["requests"]["drops"] == {"no_mac": 1}


def test_an_inner_seal_meets_a_keyed_daemon_through_a_role_without_keys(start, folder, trial_pki):
    key = Key.new(7)
    file = write_keys(folder / "shared.keys", [key])
    lying = {"now": False}
    with KeyedDaemon(key, lambda reply, _: [reply[:-1] + b"x"] if lying["now"] else []) as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server()), name="server")
        client = start(client_tunnel(server.listen(), trial_pki.client(), mac={"keys": str(file), "key": 7}),
                       name="client")
        with ntp.Client(client.address()) as asker:
            assert asker.ask()
            assert_right_though_held(lambda: held_while(server, asker.send) and asker.receive(2.0))
            lying["now"] = True
            assert asker.ask(timeout=0.5) is None, "a changed reply passed"
        assert client.finish()["client"]["replies"]["drops"].get("bad_mac") == 1
        server.finish()


def test_one_liners(start, supervisor, folder, chronyd):
    from support.gateway import Gateway
    file = write_keys(folder / "shared.keys", [Key.new(7)])
    options = ["--mac-keys", str(file), "--mac-key", "7"]
    server = Gateway(supervisor, "server", ["server", "mac://127.0.0.1:0", "--upstream", chronyd.text(), *options])
    host, port = server.address()
    client = Gateway(supervisor, "client", ["client", f"mac://{host}:{port}", "--listen", "127.0.0.1:0", *options])
    assert ntp.ask(client.address())
    code, said = query(f"mac://{host}:{port}", *options, "-n", "1")
    assert code == 0 and said["stratum"] == 3, said
    client.finish()
    server.finish()
