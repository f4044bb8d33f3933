"""What the program does to its host: what it gives up, what it keeps to itself, what it leaves in files."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import socket
from pathlib import Path

import pytest

from support import ntp
from support.daemons import Chronyd
from support.gateway import NTPGATE, Gateway, client_tunnel, command, server_tunnel, write_config
from support.processes import Process, eventually

CLOCK = {"clock": {"free-running": True}}
NOBODY = "nobody"


def status_of(gateway: Gateway) -> dict[str, str]:
    lines = Path(f"/proc/{gateway.pid}/status").read_text(encoding="ascii").splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def test_it_gives_up_what_it_does_not_need(start, trial_pki):
    server = start(server_tunnel(CLOCK, trial_pki.server()), user=NOBODY)
    status = status_of(server)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {status[name] for name in ("CapEff", "CapPrm", "CapAmb")} == {"0" * 16}, status
    expected = pwd.getpwnam(NOBODY).pw_uid if os.geteuid() == 0 else os.geteuid()
    assert status["Uid"].split() == [str(expected)] * 4
    limits = Path(f"/proc/{server.pid}/limits").read_text(encoding="ascii")
    assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]
    assert server.events("privileges_dropped", outcome="success")
    server.finish()


@pytest.mark.parametrize("option", [0, socket.SO_REUSEADDR, socket.SO_REUSEPORT])
def test_nobody_can_bind_beside_a_client_role(option, start, trial_pki, chronyd):
    """Whoever could would serve false time to some of the clients."""
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), name="server")
    client = start(client_tunnel(server.listen(), trial_pki.client()), name="client")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beside:
        if option:
            beside.setsockopt(socket.SOL_SOCKET, option, 1)
        with pytest.raises(OSError):
            beside.bind(client.address())
    client.finish()
    server.finish()


def test_the_reply_comes_from_the_address_that_was_asked(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), name="server")
    client = start(client_tunnel(server.listen(), trial_pki.client(), listen="0.0.0.0:0", clients=["127.0.0.0/8"]),
                   name="client")
    for host in ("127.0.0.1", "127.0.0.9", "127.3.2.1"):  # the asking socket looks at the sender's address
        assert ntp.ask((host, client.address()[1])) is not None, host
    client.finish()
    server.finish()


def test_everything_works_over_ipv6(start, trial_pki, supervisor, folder, network):
    served = Chronyd(supervisor, folder / "served", network.prefix).serve(11123)
    server = start(server_tunnel(served.text(), trial_pki.server(), listen="[::1]:0"), name="server",
                   prefix=network.prefix)
    target = f"[::1]:{server.address()[1]}"
    client = start(client_tunnel(target, trial_pki.client(), listen="[::1]:0"), name="client", prefix=network.prefix)
    follower = Chronyd(supervisor, folder / "follower", network.prefix).follow(
        f"server ::1 port {client.address()[1]} minpoll -4 maxpoll -4")
    eventually(lambda: any(row[1] == "*" for row in follower.ask("sources")), "selection", 10)
    assert client.events("channel_opened")[0]["peer"] == target
    client.finish()
    server.finish()


def chain_of(path: Path) -> list[dict[str, object]]:
    """The records of an audit file; each must hold the hash of the line before it."""
    records, previous = [], "0" * 64
    for line in path.read_text(encoding="utf-8").splitlines():
        records.append(json.loads(line))
        assert records[-1]["prev"] == previous, line
        previous = hashlib.sha256(line.encode()).hexdigest()
    return records


def run_once(folder: Path, trial_pki, audit: dict[str, object], supervisor) -> Process:
    """An ntpgate whose audit records go to a file: its `started` is not on stderr."""
    config = write_config(folder / "audited.yaml", [server_tunnel(CLOCK, trial_pki.server())], audit=audit)
    return supervisor.start([NTPGATE, "run", "-c", str(config)], "audited")


def test_the_audit_file_is_one_chain_over_restarts(folder, trial_pki, supervisor):
    path = folder / "audit.jsonl"
    for restart in range(1, 4):
        child = run_once(folder, trial_pki, {"file": str(path)}, supervisor)
        eventually(lambda upto=restart: path.exists() and path.read_text().count('"event":"started"') == upto,
                   "the started record")
        assert child.stop() == 0
        assert not [line for line in child.err if line.startswith("{")]
    records = chain_of(path)
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert [record["event"] for record in records].count("stopped") == 3
    assert path.stat().st_mode & 0o007 == 0


def test_a_torn_last_line_is_kept_and_the_chain_begun_anew(folder, trial_pki, supervisor):
    path = folder / "audit.jsonl"
    path.write_text('{"seq":1,"ti')
    child = run_once(folder, trial_pki, {"file": str(path)}, supervisor)
    eventually(lambda: '"event":"started"' in path.read_text(), "the started record")
    assert child.stop() == 0
    lines = path.read_text().splitlines()
    assert lines[0] == '{"seq":1,"ti' and json.loads(lines[1])["event"] == "chain_restarted"


@pytest.mark.parametrize(("on_full", "code"), [("stop", 1), ("continue", None)])
def test_a_full_disk_stops_it_unless_told_otherwise(on_full, code, folder, trial_pki, supervisor):
    child = run_once(folder, trial_pki, {"file": "/dev/full", "on-full": on_full}, supervisor)
    if code is None:
        child.wait_for_line("server role on")
        assert child.alive() and child.stop() == 0
    else:
        assert child.wait() == code
        assert any("audit" in line for line in child.err), child.err


def test_keys_and_trial_files_are_private(folder):
    assert command("keygen", "pki", "--out", str(folder / "pki")).returncode == 0
    for path in (folder / "pki").iterdir():
        assert path.stat().st_mode & 0o777 == (0o600 if path.suffix == ".key" else 0o644), path


def test_the_same_configuration_by_relative_and_by_absolute_paths(folder, trial_pki):
    for name in ("ca.pem", "server.pem", "server.key"):
        shutil.copy(trial_pki.folder / name, folder / name)
    (folder / "server.key").chmod(0o600)
    config = write_config(folder / "relative.yaml", [server_tunnel(CLOCK, {
        "ca": "ca.pem", "certificate": "server.pem", "key": "server.key", "allow": ["DNS:client.test"]})])
    done = command("check", "--json", "-c", str(config))
    assert done.returncode == 0 and json.loads(done.stdout)["valid"] is True, done
