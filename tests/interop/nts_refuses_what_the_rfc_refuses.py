"""Key establishment on the wire: every error as RFC 8915 section 4 orders it, and nobody kept waiting for another."""

from __future__ import annotations

import socket
import ssl
import struct
import time

import pytest

from support import ntp
from support.gateway import command, query
from support.nts import AEAD_15, END, NEXT_PROTOCOL, UNLIMITED, exchange, front, port_of, records, read_all, sidecar
from support.nts import tls_context
from support.processes import eventually

CLOCK = {"clock": {"free-running": True}}


@pytest.fixture
def server(start, folder, trial_pki):
    running = start(front(trial_pki, CLOCK, {"keys": str(folder / "nts.keys")}, timing={"handshake": "2s"}),
                    name="front", limits=UNLIMITED | {"half-open": 2000, "channels": 4000})
    yield running
    running.finish()


def error_of(answer) -> int:
    assert [(critical, kind) for critical, kind, _ in answer] == [(True, 2), (True, 0)], answer
    return struct.unpack(">H", answer[0][2])[0]


def test_rfc8915_4_1_6_a_good_request_gets_eight_cookies(server, trial_pki):
    answer = exchange(trial_pki.ca, port_of(server)[1], NEXT_PROTOCOL + AEAD_15 + END)
    kinds = [kind for _, kind, _ in answer]
    assert kinds == [1, 4, 7] + [5] * 8 + [0], answer
    assert answer[0] == (True, 1, b"\0\0") and answer[1] == (True, 4, b"\0\x0f") and answer[-1] == (True, 0, b"")
    assert struct.unpack(">H", answer[2][2])[0] == port_of(server)[0]
    cookies = [body for _, kind, body in answer if kind == 5]
    assert len(set(cookies)) == 8 and {len(cookie) for cookie in cookies} == {104}


def test_a_request_may_come_in_any_number_of_pieces(server, trial_pki):
    message = NEXT_PROTOCOL + AEAD_15 + END
    for pieces in (2, len(message)):
        assert len(exchange(trial_pki.ca, port_of(server)[1], message, pieces)) == 12


@pytest.mark.parametrize("message,code", [
    (NEXT_PROTOCOL + AEAD_15 + bytes.fromhex("8fff0000") + END, 0),  # section 4.1.3: critical and not understood
    (END, 1), (NEXT_PROTOCOL + END, 1), (NEXT_PROTOCOL + NEXT_PROTOCOL + AEAD_15 + END, 1),
    (NEXT_PROTOCOL + AEAD_15 + bytes.fromhex("00050000") + END, 1),  # section 4.1.6: cookies are not a client's
    (NEXT_PROTOCOL + AEAD_15 + END + b"\0", 1), (bytes.fromhex("0000000000"), 1)])
def test_rfc8915_4_1_3_errors_as_the_rfc_orders_them(server, trial_pki, message, code):
    assert error_of(exchange(trial_pki.ca, port_of(server)[1], message)) == code


@pytest.mark.parametrize("filler", [1024, 16000])
def test_rfc8915_4_a_long_request_is_answered(server, trial_pki, filler):
    """Section 4: requests of at least 1024 octets MUST be accepted."""
    long = struct.pack(">HH", 0x0FFF, filler) + bytes(filler)
    answer = exchange(trial_pki.ca, port_of(server)[1], NEXT_PROTOCOL + long + AEAD_15 + END)
    assert [kind for _, kind, _ in answer].count(5) == 8


def test_rfc8915_4_the_server_ends_with_close_notify_after_one_response(server, trial_pki):
    with socket.create_connection(("127.0.0.1", port_of(server)[1]), 5) as plain:
        with tls_context(trial_pki.ca).wrap_socket(plain, server_hostname="localhost",
                                                   suppress_ragged_eofs=False) as secure:
            secure.sendall(NEXT_PROTOCOL + AEAD_15 + END)
            received = b""
            while more := secure.recv(65536):  # an end without close_notify would raise
                received += more
    assert [kind for _, kind, _ in records(received)].count(0) == 1


def test_rfc8915_4_1_3_a_server_that_is_unsure_of_its_keys_answers_with_an_internal_error(start, folder, trial_pki):
    """A ratchet whose seed lies before all measure, which no clock is believed to have passed."""
    seed = folder / "seed.keys"
    seed.write_text(f"ntpgate-nts-ratchet 1\nperiod 60\nepoch 100 {'5A' * 32}\n", encoding="ascii")
    seed.chmod(0o600)
    unsure = start(front(trial_pki, CLOCK, {"ratchet": str(seed)}), name="unsure", limits=UNLIMITED)
    assert error_of(exchange(trial_pki.ca, port_of(unsure)[1], NEXT_PROTOCOL + AEAD_15 + END)) == 2
    unsure.finish()


def test_rfc8915_4_1_5_no_common_algorithm_is_an_empty_list(server, trial_pki):
    answer = exchange(trial_pki.ca, port_of(server)[1], NEXT_PROTOCOL + bytes.fromhex("800400020010") + END)
    assert answer == [(True, 1, b"\0\0"), (True, 4, b""), (True, 0, b"")]


def test_rfc8915_4_1_3_a_request_that_does_not_end_is_a_bad_request_at_the_deadline(server, trial_pki):
    """Section 4.1.3: upon the expiration of a timeout; and when the client says that no more will come."""
    assert error_of(exchange(trial_pki.ca, port_of(server)[1], NEXT_PROTOCOL)) == 1
    too_long = bytes.fromhex("0fff4100") + bytes(0x4100) + NEXT_PROTOCOL + AEAD_15 + END
    assert error_of(exchange(trial_pki.ca, port_of(server)[1], too_long)) == 1


def test_rfc8915_3_and_4_only_tls_1_3_and_only_ntske(server, trial_pki):
    """Section 3, section 4: ALPN ntske/1 and nothing else."""
    old = tls_context(trial_pki.ca)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    for context in (old, tls_context(trial_pki.ca, "http/1.1"), tls_context(trial_pki.ca, "")):
        with socket.create_connection(("127.0.0.1", port_of(server)[1]), 5) as plain:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                with context.wrap_socket(plain, server_hostname="localhost") as secure:
                    secure.sendall(NEXT_PROTOCOL + AEAD_15 + END)
                    assert not read_all(secure)
                    raise ConnectionError("closed without an answer")


def test_a_thousand_that_drip_or_say_nothing_do_not_stop_a_real_client(server, trial_pki):
    port = port_of(server)[1]
    silent = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(500)]
    dripping = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(500)]
    try:
        for each in dripping:
            each.send(b"\x16\x03\x01\x02\x00")
        before = time.monotonic()
        assert len(exchange(trial_pki.ca, port, NEXT_PROTOCOL + AEAD_15 + END)) == 12
        assert time.monotonic() - before < 5
        server.wait_counters(lambda counted: counted["listener"]["failed"].get("handshake_timeout", 0) == 1000,
                             "a thousand deadlines", timeout=20)
    finally:
        for each in silent + dripping:
            each.close()


@pytest.mark.parametrize("kind,step,reason", [
    ("name", "connect", "resolve_failed"), ("tcp", "connect", "unreachable"), ("trust", "handshake", "unknown_ca"),
    ("server-name", "handshake", "name_mismatch"), ("alpn", "handshake", "no_alpn")])
def test_the_client_says_which_step_failed(start, folder, server, trial_pki, kind, step, reason):
    port = port_of(server)[1]
    arguments = [f"nts://localhost:{port}", "--ca", trial_pki.ca, "-n", "1", "--timeout", "5s"]
    if kind == "name":
        arguments[0] = f"nts://nobody.invalid:{port}"
    elif kind == "tcp":
        arguments[0] = "nts://127.0.0.1:1"
    elif kind == "trust":
        from support.pki import Authority
        arguments[2] = Authority("stranger").write(folder / "stranger.pem")
    elif kind == "server-name":
        arguments += ["--server-name", "other.example"]
    else:
        other = start({"name": "tls", "role": "server", "listen": "127.0.0.1:0", "upstream": CLOCK, "channel": "tls",
                       "framing": "raw", "tls": {"certificate": trial_pki.server_certificate,
                                                 "key": trial_pki.server_key, "client-certificate": "none"}}, name="tls")
        arguments[0] = f"nts://localhost:{other.address()[1]}"
    code, document = query(*arguments)
    assert code == 1 and document["error"]["step"] == step, document
    assert document["error"]["reason"] in (reason, "refused_by_peer", "unexpected_alpn"), document


def test_requests_without_nts_are_refused_or_served_by_setting(start, folder, server, trial_pki):
    assert ntp.ask(server.address("front", 0), 0.3) is None
    server.wait_counters(lambda counted: counted["requests"]["drops"].get("unprotected") == 1, "a refusal")
    other = start(front(trial_pki, CLOCK, {"keys": str(folder / "other.keys"), "plain": "serve"}), name="serves")
    assert ntp.ask(other.address("front", 0)) is not None
    other.finish()
