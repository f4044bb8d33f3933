"""The sidecar's key establishment with servers that answer whatever they like: what RFC 8915 makes of each answer."""

from __future__ import annotations

import time

import pytest

from support import ntp
from support.gateway import command, query
from support.nts import END, NEXT_PROTOCOL, UNLIMITED, KeServer, front, new_cookie, port_of, records, server_records
from support.nts import sidecar
from support.processes import eventually, run
from support.upstream import Daemon


@pytest.fixture
def daemon():
    with Daemon() as running:
        yield running


@pytest.fixture
def server(trial_pki, daemon):
    """Good in all it says, until a test changes `answer`; its NTP server is `daemon`, which knows no NTS."""
    with KeServer(trial_pki, KeServer.GOOD + server_records("127.0.0.1", daemon.address[1]) + END) as running:
        yield running


def test_rfc8915_4_one_request_with_an_end_and_then_close_notify(start, trial_pki, server):
    client = start(sidecar(trial_pki, f"localhost:{server.port}"), limits=UNLIMITED)
    client.wait_event("ke_succeeded")
    assert eventually(lambda: server.ended_in_order, "the end of the connection") == [True]
    request = records(server.asked[0])
    assert request[0] == (True, 1, b"\0\0") and request[1][:2] == (True, 4) and request[-1] == (True, 0, b"")
    assert len(request) in (3, 4) and len(server.asked) == 1, request
    client.finish()


@pytest.mark.parametrize("record,text", [
    ("800200020000", "record: error_record 0"), ("800200020001", "record: error_record 1"),
    ("800200020002", "record: error_record 2"),   # section 4.1.3: MUST NOT proceed
    ("800300020007", "record: warning_record 7"),  # section 4.1.4: unrecognized ones are errors
    ("8fff0000", "record: critical_unknown"), ("80040002001e", "record: malformed"), ("800100020000", "record: malformed")],
    ids=["error-0", "error-1", "error-2", "warning", "critical", "second-aead", "second-protocol"])
def test_rfc8915_4_1_no_answer_with_such_a_record_is_proceeded_with(start, trial_pki, server, daemon, record, text):
    server.answer = server.answer[:-4] + bytes.fromhex(record) + END
    client = start(sidecar(trial_pki, f"localhost:{server.port}"), limits=UNLIMITED)
    failed = client.wait_event("ke_failed")
    assert failed["text"] == text, failed
    for _ in range(3):
        assert ntp.ask(client.address(), 0.2) is None
    assert not daemon.heard, "it went on to the NTP server"
    client.finish()


def test_rfc8915_4_2_failed_attempts_keep_their_distance(start, trial_pki, server):
    """Ten seconds at least before the next, however much is asked meanwhile."""
    server.answer = bytes.fromhex("800200020002") + END
    client = start(sidecar(trial_pki, f"localhost:{server.port}"), limits=UNLIMITED)
    client.wait_event("ke_failed")
    until = time.monotonic() + 4
    while time.monotonic() < until:
        ntp.ask(client.address(), 0.1)
    assert len(server.asked) == 1
    client.finish()


@pytest.mark.parametrize("host,port,where", [
    (None, None, "127.0.0.1:123"), (None, 11123, "127.0.0.1:11123"), ("127.0.0.7", None, "127.0.0.7:123"),
    ("127.0.0.7", 11123, "127.0.0.7:11123"), ("localhost", 11123, "127.0.0.1:11123")])
def test_rfc8915_4_1_7_and_4_1_8_the_server_that_is_named_or_that_of_the_key_establishment(
        start, trial_pki, server, host, port, where):
    server.answer = KeServer.GOOD + server_records(host, port) + END
    client = start(sidecar(trial_pki, f"localhost:{server.port}"), limits=UNLIMITED)
    assert client.wait_event("ke_succeeded")["text"].endswith(f"NTP server {where}")
    client.finish()


@pytest.mark.parametrize("host", ["0.0.0.0", "224.0.1.1", "255.255.255.255"])
def test_addresses_that_nobody_has_are_refused(start, trial_pki, server, host):
    server.answer = KeServer.GOOD + server_records(host, 123) + END
    client = start(sidecar(trial_pki, f"localhost:{server.port}"), limits=UNLIMITED)
    assert client.wait_event("ke_failed")["text"] == (
        f"record: the NTP server named is {host}:123 no address that can be asked")
    client.finish()


@pytest.mark.parametrize("whose", ["own", "another client's", "a server's", "a server's on every address"])
def test_no_listener_of_the_process_is_asked(start, folder, trial_pki, server, whose):
    """A loop through any tunnel would answer a client with its own question."""
    clock = {"clock": {"free-running": True}}
    other = sidecar(trial_pki, f"localhost:{server.port}") | {"name": "other"}
    serving = front(trial_pki, clock, {"keys": str(folder / "nts.keys")},
                    listen="0.0.0.0:0" if whose == "a server's on every address" else "127.0.0.1:0")
    state = folder / "state"
    state.mkdir()
    client = start(sidecar(trial_pki, f"localhost:{server.port}", state), other, serving, limits=UNLIMITED)
    address = {"own": client.address("sidecar"), "another client's": client.address("other"),
               "a server's": client.address("front"), "a server's on every address": client.address("front")}[whose]
    # The port is known by now: a second sidecar of the same process is told of it once it has to ask again.
    server.answer = KeServer.GOOD + server_records("127.0.0.1", address[1]) + END
    before = len(client.events("ke_failed"))

    def refused():
        ntp.ask(client.address("sidecar"), 0.05)
        return client.events("ke_failed")[before:]

    record = eventually(refused, "a refusal", 30)[0]
    assert record["text"] == f"record: the NTP server named is 127.0.0.1:{address[1]} where we listen", record


def test_a_server_elsewhere_cannot_send_us_to_ourselves(start, folder, network, trial_pki):
    """Key establishment on 10.9.8.7, which is not loopback, names an NTP server on 127.0.0.1."""
    assert network.isolated, "an address is added, which must be nobody else's"
    added = run(["ip", "address", "add", "10.9.8.7/32", "dev", "lo"], network.prefix)
    assert added.returncode == 0, added.stderr
    start(front(trial_pki, {"clock": {"free-running": True}},
                {"keys": str(folder / "nts.keys"), "ke-listen": "10.9.8.7:4460", "ntp-server": "127.0.0.1"},
                listen="10.9.8.7:11123"), name="front", prefix=network.prefix, limits=UNLIMITED)
    client = start(sidecar(trial_pki, "10.9.8.7:4460", tls={"ca": trial_pki.ca, "server-name": "localhost"}),
                   prefix=network.prefix, limits=UNLIMITED)
    assert client.wait_event("ke_failed")["text"] == (
        "record: the NTP server named is 127.0.0.1:11123 this host, which the key establishment server is not")
    client.finish()


def test_debug_prints_the_records_as_they_came_and_no_key(trial_pki, server):
    cookie = new_cookie(104, 0xC5)
    done = command("query", f"nts://localhost:{server.port}", "--ca", trial_pki.ca, "-n", "1", "--timeout", "3s", "--debug")
    said = done.stderr
    for line in ("next protocol (critical): 0 [800100020000]", "AEAD (critical): 15 [80040002000F]",
                 "new cookie: 104 octets [00050068...]", "NTP server (critical): 127.0.0.1 [",
                 "end of message (critical): empty [80000000]"):
        assert f"answers: {line}" in said, said
    assert cookie[4:12].hex() not in said.lower(), said
    quiet = command("query", f"nts://localhost:{server.port}", "--ca", trial_pki.ca, "-n", "1", "--timeout", "3s")
    assert "answers:" not in quiet.stderr, quiet.stderr


def test_debug_shows_an_answer_that_was_cut_short(trial_pki, server):
    server.answer = NEXT_PROTOCOL + bytes.fromhex("80040004000f")
    done = command("query", f"nts://localhost:{server.port}", "--ca", trial_pki.ca, "-n", "1", "--timeout", "8s", "--debug")
    assert "answers: cut short: a record of 4 octets, 2 there" in done.stderr, done.stderr


def test_the_front_shows_what_it_is_asked(start, folder, trial_pki):
    clock = {"clock": {"free-running": True}}
    serving = start(front(trial_pki, clock, {"keys": str(folder / "nts.keys")}), log={"level": "debug"}, limits=UNLIMITED)
    code, _ = query(f"nts://localhost:{port_of(serving)[1]}", "--ca", trial_pki.ca, "-n", "1")
    assert code == 0
    serving.wait_for_line(r"asks: next protocol \(critical\): 0 \[800100020000\]")
    serving.finish()
