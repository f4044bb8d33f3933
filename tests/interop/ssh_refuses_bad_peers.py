"""Every refusal over SSH with its own reason, and nothing else affected."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import paramiko
import pytest
import yaml

from support import ntp
from support.frames import REQUEST, Frame, Stream, monotonic_stamp
from support.gateway import MODERN, query
from support.processes import eventually, free_port, run
from support.ssh import (Keys, client_of, frames_through_ssh, is_open, new_key, options, server_of, stock_client,
                         wait_exit)

def refused_query(address: str, keys: Keys, known_hosts: Path) -> dict[str, object]:
    code, document = query(f"ssh://{address}", "--identity", keys.path("id_ed25519"), "--known-hosts",
                           str(known_hosts), "--timeout", "5s")
    assert code == 1, document
    return document["error"]


def known_hosts_of(kind: str, keys: Keys, folder: Path, port: int) -> Path:
    good = keys.public("host_ed25519")
    other = " ".join(new_key(folder / "other_host").with_suffix(".pub").read_text().split()[:2])
    lines = {
        "unknown": f"elsewhere.example {good}",
        "unknown_port": f"127.0.0.1 {good}",  # of port 22
        "changed": f"[127.0.0.1]:{port} {other}",
        "revoked": f"[127.0.0.1]:{port} {good}\n@revoked * {good}\n@revoked * {keys.public('host_rsa')}",
        "authority": f"@cert-authority * {other}",
    }
    path = folder / "known_hosts"
    path.write_text(lines[kind] + "\n", encoding="ascii")
    return path


@pytest.mark.parametrize("kind, reason", [("unknown", "host_key_unknown"), ("unknown_port", "host_key_unknown"),
                                          ("changed", "host_key_changed"), ("revoked", "host_key_revoked"),
                                          ("authority", "host_key_unknown")])
def test_a_client_role_refuses_a_host(kind, reason, start, chronyd, keys, folder):
    server = start(server_of(chronyd.text(), keys))
    error = refused_query(server.listen(), keys, known_hosts_of(kind, keys, folder, server.address()[1]))
    assert error["reason"] == reason and error["step"] == "handshake", error
    if kind == "unknown":
        assert "SHA256:" in error["text"]  # what an operator compares
    assert not server.events("channel_opened")
    server.finish()


def test_hashed_hosts_are_known(start, chronyd, keys, folder):
    server = start(server_of(chronyd.text(), keys))
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.address()[1]} {keys.public('host_rsa')}\n", encoding="ascii")
    assert run(["/usr/bin/ssh-keygen", "-q", "-H", "-f", str(known)]).returncode == 0
    assert known.read_text().startswith("|1|")
    code, document = query(f"ssh://{server.listen()}", "--identity", keys.path("id_ed25519"), "--known-hosts",
                           str(known), "-n", "1")
    assert code == 0, document  # and the host is asked for the key that is known, not for the one we like best
    assert server.wait_event("channel_opened")


class Refusal:
    """How a stock client differs from a good one, and what becomes of it."""

    def __init__(self, reason: str, flags: tuple[str, ...] = (), what: tuple[str, ...] = (), user: str = "ntpgate",
                 **options: object) -> None:
        self.reason, self.flags, self.what, self.user, self.options = reason, flags, what, user, options


SUBSYSTEM = {"flags": ("-s",), "what": ("ntpgate",)}
REFUSALS = {
    "user": Refusal("user_unknown", **SUBSYSTEM, user="root"),
    "shell": Refusal("shell_refused"),
    "exec": Refusal("exec_refused", (), ("id",)),
    "pty": Refusal("pty_refused", ("-tt",)),
    "sftp": Refusal("subsystem_refused", ("-s",), ("sftp",)),
    "remote_forward": Refusal("forwarding_refused", ("-N", "-R", "0:127.0.0.1:9")),
    "stdio_forward": Refusal("forwarding_refused", ("-W", "127.0.0.1:9")),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_server_role_refuses(name, start, chronyd, keys, folder):
    refusal = REFUSALS[name]
    server = start(server_of(chronyd.text(), keys))
    with frames_through_ssh(server.address(), options(keys)) as witness:
        assert witness.ask()
        child = stock_client(server.address(), [*options(keys, **refusal.options), *refusal.flags], *refusal.what,
                             user=refusal.user)
        record = server.wait_reason(refusal.reason)
        assert record["outcome"] == "failure" and record["peer"].startswith("127.0.0.1:"), record
        code, said = wait_exit(child)
        assert code != 0, said
        assert witness.ask()  # nothing else is affected
    server.wait_event("channel_closed")
    counted = server.finish()["server"]
    assert counted["listener"]["failed"] == {refusal.reason: 1}, counted
    assert len(server.events("channel_opened")) == 1


@pytest.fixture
def profile(folder: Path) -> str:
    """As modern, with a cipher that paramiko has."""
    data = yaml.safe_load(MODERN.read_text(encoding="utf-8"))
    data["ssh"] |= {"ciphers": ["aes256-ctr"], "macs": ["hmac-sha2-256-etm@openssh.com"]}
    data["left-out"] = []
    data["name"] = "paramiko"
    path = folder / "profile.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return str(path)


def login(server, keys: Keys) -> paramiko.Transport:
    """A client that may ask for what a stock one would not: encrypted, and not logged in yet."""
    transport = paramiko.Transport(socket.create_connection(server.address()))
    transport.start_client(timeout=10)
    return transport


def test_a_password_is_refused_even_unasked(start, chronyd, keys, profile):
    """The server offers public keys alone; this client tries all the same."""
    server = start(server_of(chronyd.text(), keys), profile=profile)
    transport = login(server, keys)
    with pytest.raises(paramiko.BadAuthenticationType) as refused:
        transport.auth_password("ntpgate", "not-in-any-log", fallback=False)
    assert refused.value.allowed_types == ["publickey"]
    transport.close()
    record = server.wait_reason("password_refused")
    assert record["subject"] == "ntpgate" and "not-in-any-log" not in "\n".join(server.err)
    server.finish()


def test_another_method_is_refused(start, chronyd, keys, profile):
    server = start(server_of(chronyd.text(), keys), profile=profile)
    transport = login(server, keys)
    with pytest.raises(paramiko.SSHException):
        transport.auth_interactive("ntpgate", lambda *_: ["x"])
    transport.close()
    server.wait_reason("auth_method_refused")
    server.finish()


def test_six_attempts_are_the_end(start, chronyd, keys, profile):
    server = start(server_of(chronyd.text(), keys), profile=profile)
    transport = login(server, keys)
    for _ in range(6):
        with pytest.raises((paramiko.SSHException, EOFError)):
            transport.auth_password("ntpgate", "x", fallback=False)
    assert "attempt 6" in server.wait_reason("password_refused")["text"]
    eventually(lambda: not transport.is_active(), "the end of the connection")
    server.finish()


def answer(channel: paramiko.Channel) -> Frame | None:
    """What comes back for one question."""
    asked = Frame(REQUEST, int.from_bytes(os.urandom(4), "big"), monotonic_stamp(), packet=ntp.request().encode())
    channel.sendall(asked.framed())
    stream = Stream()
    while data := channel.recv(4096):
        for frame in stream.feed(data):
            if frame.id == asked.id:
                return frame
    return None


def logged_in(server, keys: Keys) -> paramiko.Transport:
    transport = login(server, keys)
    transport.auth_publickey("ntpgate", paramiko.Ed25519Key.from_private_key_file(keys.path("id_ed25519")))
    return transport


def test_who_is_in_cannot_become_another(start, chronyd, keys, profile):
    """A second login, by a key that stays, would save a channel whose own key is struck off."""
    going, staying = (paramiko.RSAKey.generate(2048) for _ in range(2))
    admitted = "".join(f"ssh-rsa {key.get_base64()} paramiko\n" for key in (going, staying))
    Path(keys.path("authorized_keys")).write_text(admitted, encoding="ascii")
    server = start(server_of(chronyd.text(), keys), profile=profile)
    transport = login(server, keys)
    transport.auth_publickey("ntpgate", going)
    channel = transport.open_session(timeout=10)
    channel.settimeout(10)
    channel.invoke_subsystem("ntpgate")
    assert answer(channel)
    with pytest.raises(paramiko.SSHException):
        transport.auth_publickey("ntpgate", staying)
    assert server.wait_event("channel_closed", outcome="failure")["reason"] == "protocol_error"
    transport.close()
    server.finish()


def test_data_before_the_subsystem_is_a_breach(start, chronyd, keys, profile):
    server = start(server_of(chronyd.text(), keys), profile=profile)
    transport = logged_in(server, keys)
    channel = transport.open_session()
    channel.send(bytes(100))
    assert "before the subsystem" in server.wait_reason("protocol_error")["text"]
    eventually(lambda: not transport.is_active(), "the end of the connection")
    server.finish()


def test_a_second_session_on_one_connection_is_refused(start, chronyd, keys, profile):
    server = start(server_of(chronyd.text(), keys), profile=profile)
    transport = logged_in(server, keys)
    transport.open_session().invoke_subsystem("ntpgate")
    server.wait_event("channel_opened")
    with pytest.raises((paramiko.SSHException, EOFError)):
        transport.open_session()
    assert server.wait_event("channel_closed")["reason"] == "channel_refused"
    server.finish()


def test_packets_above_the_cap_are_refused_and_those_below_pass(start, chronyd, keys, profile):
    """An SSH packet that nobody needs: SSH_MSG_IGNORE with so much in it."""
    server = start(server_of(chronyd.text(), keys, max_packet=8192), profile=profile)
    transport = logged_in(server, keys)
    transport.open_session().invoke_subsystem("ntpgate")
    server.wait_event("channel_opened")
    transport.send_ignore(8192 - 1)  # and the octet that says what it is
    with frames_through_ssh(server.address(), options(keys)) as witness:
        assert witness.ask()
        assert not server.events("channel_closed")
        transport.send_ignore(8192)
        assert server.wait_event("channel_closed")["reason"] == "packet_too_large"
        assert witness.ask()
    transport.close()
    server.finish()


def test_an_unauthenticated_peer_meets_the_cap_as_well(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys, max_packet=8192))
    with socket.create_connection(server.address()) as peer:
        peer.sendall(b"SSH-2.0-large\r\n" + (200_000).to_bytes(4, "big") + bytes(100_000))
        server.wait_reason("packet_too_large")
    server.finish()


def test_an_unknown_key_is_refused_and_the_peer_is_not_told_why(start, chronyd, keys, folder):
    server = start(server_of(chronyd.text(), keys))
    stranger = new_key(folder / "stranger")
    code, said = wait_exit(stock_client(server.address(), [*options(keys, str(stranger)), "-s"], "ntpgate"))
    assert code == 255 and "Permission denied" in said, said
    record = server.wait_reason("user_key_unknown")
    assert record["subject"] == "ntpgate" and record["fingerprint"].startswith("SHA256:"), record
    assert "authorized" not in said.lower()
    server.finish()


def test_x11_and_agent_are_refused(start, supervisor, chronyd, keys, folder):
    server = start(server_of(chronyd.text(), keys))
    agent = folder / "agent"
    supervisor.start(["/usr/bin/ssh-agent", "-D", "-a", str(agent)], "ssh-agent")
    eventually(agent.exists, "the agent's socket")
    environment = os.environ | {"SSH_AUTH_SOCK": str(agent), "DISPLAY": "127.0.0.1:9"}
    for flag, reason in (("-A", "agent_refused"), ("-Y", "x11_refused")):
        arguments = [*options(keys, IdentityAgent="SSH_AUTH_SOCK"), flag, "-s"]
        child = stock_client(server.address(), arguments, "ntpgate", env=environment)
        server.wait_reason(reason)
        wait_exit(child)
    assert not server.events("channel_opened")
    server.finish()


@pytest.mark.parametrize("option, reason", [('from="192.0.2.0/24"', "user_key_wrong_address"),
                                            ('expiry-time="20200101Z"', "user_key_expired")])
def test_options_of_a_key_are_honoured(option, reason, start, chronyd, keys):
    authorized = Path(keys.path("authorized_keys"))
    authorized.write_text(f"{option} {keys.public('id_ed25519')} restricted\n")
    server = start(server_of(chronyd.text(), keys))
    code, _ = wait_exit(stock_client(server.address(), [*options(keys), "-s"], "ntpgate"))
    assert code == 255
    assert server.wait_reason(reason)["outcome"] == "failure"
    authorized.write_text(f'restrict,from="127.0.0.0/8" {keys.public("id_ed25519")} restricted\n')
    again = start(server_of(chronyd.text(), keys), name="again")
    with frames_through_ssh(again.address(), options(keys)) as peer:
        assert peer.ask()
    assert again.wait_event("channel_opened")["matched"] == "restricted"


ALGORITHMS = {
    "no_common_kex": {"KexAlgorithms": "diffie-hellman-group14-sha256"},
    "no_common_host_key": {"HostKeyAlgorithms": "ecdsa-sha2-nistp256"},
    "no_common_cipher": {"Ciphers": "aes128-ctr"},
}


@pytest.mark.parametrize("reason", ALGORITHMS)
def test_other_algorithms_are_refused(reason, start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys))
    code, said = wait_exit(stock_client(server.address(), [*options(keys, **ALGORITHMS[reason]), "-s"], "ntpgate"))
    assert code == 255, said
    assert server.wait_reason(reason)["outcome"] == "failure"
    server.finish()


def test_500_peers_that_never_log_in_do_not_stop_one_that_does(start, chronyd, keys):
    """Silent, garbage, and one octet a second: all of them are closed at the deadline, and none before it matters."""
    server = start(server_of(chronyd.text(), keys, login_grace="6s"),
                   limits={"handshakes-per-second-per-source": 0, "half-open": 600})
    crowd = [socket.create_connection(server.address()) for _ in range(500)]
    try:
        for number, peer in enumerate(crowd):
            if number % 3 == 1:
                peer.sendall(b"SSH-2.0-garbage\r\n" + os.urandom(600))
            elif number % 3 == 2:
                peer.sendall(b"S")
        dripping = crowd[2::3]
        client = start(client_of(server.listen(), keys), name="client")
        with ntp.Client(client.address()) as asker:
            for _ in range(5):
                assert asker.ask(2.0)

        def all_ended() -> bool:
            for peer in dripping:
                try:
                    peer.sendall(b"S")
                except OSError:
                    pass  # closed already
            counted = server.counters()["listener"]
            return counted["pending"] == 0 and sum(counted["failed"].values()) == 500

        eventually(all_ended, "500 closed at their deadline", 30, every=1.0)
        failed = server.counters()["listener"]["failed"]
        assert set(failed) <= {"handshake_timeout", "protocol_error", "packet_too_large"}, failed
        assert failed["handshake_timeout"] >= 333, failed
        with ntp.Client(client.address()) as asker:
            assert asker.ask(2.0)
    finally:
        for peer in crowd:
            peer.close()
    client.finish()
    server.finish()


def test_a_server_without_ssh_is_no_server(keys, folder):
    port = free_port(socket.SOCK_STREAM)
    child = subprocess.Popen(["/usr/bin/socat", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork",
                              "SYSTEM:echo HTTP/1.1 400 Bad Request"], start_new_session=True)
    try:
        eventually(lambda: is_open(("127.0.0.1", port)), "socat")
        error = refused_query(f"127.0.0.1:{port}", keys, Path(keys.path("known_hosts")))
        assert error["reason"] in ("protocol_error", "connection_lost", "handshake_timeout"), error
    finally:
        child.terminate()
        child.wait(5)
