"""OpenSSH at the other end: a stock client that speaks frames, a stock sshd with the subsystem line, and ssh-audit."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from pathlib import Path

import pytest
import yaml

from support import ntp
from support.frames import PING, PONG, Frame, monotonic_stamp
from support.gateway import MODERN, Gateway, command, query, write_config
from support.processes import run
from support.ssh import (AUDIT, Keys, PipeFrames, Sshd, client_of, frames_through_ssh, new_key, options, server_of,
                         stdio_command, stock_client, wait_exit)


def test_chronyd_is_asked_through_both_roles(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys), name="server")
    client = start(client_of(server.listen(), keys), name="client")
    opened = client.events("channel_opened")[0]
    assert opened["protocol"] == "SSH2" and opened["matched"] == "127.0.0.1", opened
    assert opened["suite"] == "curve25519-sha256 aes256-gcm@openssh.com aead-gcm"
    told = server.wait_event("channel_opened")
    assert (told["subject"], told["matched"]) == ("ntpgate", "ntpgate-client"), told
    with ntp.Client(client.address()) as asker:
        for _ in range(20):
            assert asker.ask(2.0)
    assert client.finish()["client"]["exchanges"]["answered"] == 20
    assert not server.finish()["server"]["requests"]["drops"]


@pytest.mark.measures
def test_the_first_request_is_as_right_as_the_later_ones(start, chronyd, keys):
    """It triggers nothing here, but it and the others go through holds that must come out even."""
    server = start(server_of(chronyd.text(), keys), name="server")
    code, direct = query(f"ntp://{chronyd.text()}", "-n", "2")
    assert code == 0
    code, through = query(f"ssh://ntpgate@{server.listen()}", "-n", "4", "--identity", keys.path("id_ed25519"),
                          "--known-hosts", keys.path("known_hosts"))
    assert code == 0, through
    assert (through["channel"], through["samples"]) == ("ssh", 4)
    assert abs(through["offset"] - direct["offset"]) < 0.005
    assert through["refid"] == direct["refid"]


def test_a_stock_client_exchanges_frames(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys))
    with frames_through_ssh(server.address(), options(keys)) as peer:
        peer.send(Frame(PING, 41, monotonic_stamp()).framed())
        pong = peer.receive()
        assert pong is not None and (pong.kind, pong.id) == (PONG, 41), peer.child.stderr.read()
        for _ in range(5):
            assert peer.ask()
        server.wait_event("channel_opened", subject="ntpgate")
        assert peer.close() == 0
    assert server.wait_event("channel_closed")["reason"] == "peer_closed"
    assert server.finish()["server"]["exchanges"]["answered"] == 5


@pytest.mark.parametrize("kind, bits", [("rsa", 3072)])
def test_a_key_of_openssh_logs_in(kind, bits, start, chronyd, keys, folder):
    key = new_key(folder / "id_stock", kind, bits)
    authorized = Path(keys.path("authorized_keys"))
    authorized.write_text(authorized.read_text() + key.with_suffix(".pub").read_text())
    server = start(server_of(chronyd.text(), keys))
    with frames_through_ssh(server.address(), options(keys, str(key))) as peer:
        assert peer.ask(), peer.child.stderr.read()
    assert server.wait_event("channel_opened")["matched"] == "made-by-openssh"
    server.finish()


def test_a_stock_client_renews_keys_as_it_likes(start, chronyd, keys):
    """RekeyLimit of the client: every 16 kB. Nothing is lost."""
    server = start(server_of(chronyd.text(), keys))
    with frames_through_ssh(server.address(), options(keys, RekeyLimit="16K")) as peer:
        for _ in range(600):
            assert peer.ask()
        server.wait_event("rekeyed")
    counted = server.finish()["server"]
    assert counted["exchanges"]["answered"] == 600 and not counted["replies"]["drops"], counted


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="sshd changes users")


def sshd_with_subsystem(supervisor, folder: Path, chronyd, keys: Keys) -> Sshd:
    config = write_config(folder / "stdio.yaml", [
        {"name": "by-sshd", "role": "server", "listen": "stdio", "upstream": chronyd.text(), "channel": "ssh"}])
    return Sshd(supervisor, folder / "sshd", keys, stdio_command(config))


@needs_root
def test_a_client_role_passes_a_stock_sshd(supervisor, start, folder, chronyd, keys):
    sshd = sshd_with_subsystem(supervisor, folder, chronyd, keys)
    user = pwd.getpwuid(os.getuid()).pw_name
    client = start(client_of("%s:%d" % sshd.address, keys, user=user), name="client")
    assert client.events("channel_opened"), client.err
    with ntp.Client(client.address()) as asker:
        for _ in range(10):
            assert asker.ask(2.0)
    counted = client.finish()["client"]
    assert counted["exchanges"]["answered"] == 10, counted


@needs_root
def test_a_failing_subsystem_is_told_with_its_exit_code(supervisor, start, folder, keys):
    sshd = Sshd(supervisor, folder / "sshd", keys, stdio_command(folder / "missing.yaml"))
    client = start(client_of("%s:%d" % sshd.address, keys, user=pwd.getpwuid(os.getuid()).pw_name), name="client")
    closed = client.wait_event("channel_closed")
    assert closed["reason"] == "peer_closed" and "exit code 2" in closed["text"], closed


def stdio_by_hand(folder: Path, chronyd) -> PipeFrames:
    config = write_config(folder / "stdio.yaml", [
        {"name": "by-sshd", "role": "server", "listen": "stdio", "upstream": chronyd.text(), "channel": "ssh"}])
    return PipeFrames(subprocess.Popen(stdio_command(config).split(), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE))


def test_stdio_by_hand_serves_frames_and_ends_with_its_input(folder, chronyd):
    with stdio_by_hand(folder, chronyd) as peer:
        for _ in range(3):
            assert peer.ask()
        assert peer.close() == 0


def test_stdio_refuses_a_terminal(folder, chronyd):
    config = write_config(folder / "stdio.yaml", [
        {"name": "by-sshd", "role": "server", "listen": "stdio", "upstream": chronyd.text(), "channel": "ssh"}])
    done = run(["script", "-qec", stdio_command(config), "/dev/null"])
    assert done.returncode == 2 and "terminal" in done.stdout, done.stdout
    assert command("stdio", "-c", str(config), "--tunnel", "other").returncode == 2


def test_ssh_audit_finds_what_the_profile_offers_and_no_failure(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys))
    host, port = server.address()
    done = run([AUDIT, "-j", "-p", str(port), host])
    seen = json.loads(done.stdout)
    offered = yaml.safe_load(MODERN.read_text())["ssh"]

    def names(key: str) -> list[str]:
        return [each["algorithm"] if isinstance(each, dict) else each for each in seen[key]]

    markers = {"kex-strict-s-v00@openssh.com", "ext-info-s"}
    assert [name for name in names("kex") if name not in markers] == offered["kex"]
    assert sorted(names("key")) == sorted(offered["public-keys"])
    assert names("enc") == offered["ciphers"]
    assert names("mac") == offered["macs"]
    assert seen["compression"] == ["none"]
    assert seen["banner"]["raw"] == "SSH-2.0-ntpgate"
    text = run([AUDIT, "-p", str(port), host])
    assert "[fail]" not in text.stdout, text.stdout
    server.finish()


def test_stock_keygen_reads_what_keygen_ssh_writes(keys):
    for name in ("host_ed25519", "host_rsa", "id_ed25519"):
        assert Path(keys.path(name)).stat().st_mode & 0o777 == 0o600
        done = run(["/usr/bin/ssh-keygen", "-y", "-f", keys.path(name)])
        assert " ".join(done.stdout.split()[:2]) == keys.public(name), done.stderr
    again = command("keygen", "ssh", "--out", str(keys.folder))
    assert again.returncode == 1 and "exists" in again.stderr


def test_one_liners_are_enough(supervisor, chronyd, keys):
    server = Gateway(supervisor, "server", ["server", "ssh://127.0.0.1:0", "--upstream", chronyd.text(), "--identity",
                                            keys.path("host_ed25519"), "--authorized-keys",
                                            keys.path("authorized_keys")])
    client = Gateway(supervisor, "client", ["client", f"ssh://{server.listen()}", "--listen", "127.0.0.1:0",
                                            "--identity", keys.path("id_ed25519"), "--known-hosts",
                                            keys.path("known_hosts")])
    with ntp.Client(client.address()) as asker:
        assert asker.ask(2.0)
    client.finish()
    server.finish()


def test_a_stranger_host_is_not_talked_to_by_a_stock_client_either(start, chronyd, keys, folder):
    """The known_hosts that we write is one that OpenSSH obeys."""
    server = start(server_of(chronyd.text(), keys))
    (folder / "empty").touch()
    child = stock_client(server.address(), [*options(keys, UserKnownHostsFile=str(folder / "empty")), "-s"], "ntpgate")
    code, said = wait_exit(child)
    assert code == 255 and "Host key verification failed" in said, said
