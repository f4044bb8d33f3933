"""The audit records of a running ntpgate: one chain through restarts, rotation and crashes, that shows every change."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from support.gateway import NTPGATE, ROOT, command, client_tunnel, server_tunnel, write_config
from support.processes import Process, eventually
from support.system_log import SystemLog

CLOCK = {"clock": {"free-running": True}}


def audited(folder: Path, supervisor, *tunnels, name: str = "audited", prefix: list[str] | None = None,
            **audit: object) -> tuple[Process, Path]:
    """An ntpgate that writes its records to a file, when it has written `started`."""
    path = folder / "audit.jsonl"
    before = count(path, "started")
    config = write_config(folder / f"{name}.yaml", list(tunnels), audit={"file": str(path)} | audit)
    child = supervisor.start([NTPGATE, "run", "-c", str(config)], name, prefix or [])
    eventually(lambda: count(path, "started") > before, "the started record", 15)
    return child, path


def records(path: Path) -> list[dict[str, object]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines() if line.startswith('{"seq":')]


def count(path: Path, event: str) -> int:
    return sum(1 for line in (path.read_text(encoding="ascii").splitlines() if path.exists() else [])
               if f'"event":"{event}"' in line and line.endswith("}"))


def head_of(child: Process) -> str:
    """The head that the log tells at the end."""
    return child.wait_for_line(r"audit head (\d+:[0-9a-f]{64})").group(1)


def verify(*arguments: object) -> subprocess.CompletedProcess[str]:
    return command("audit", "verify", *[str(argument) for argument in arguments])


def listening(path: Path) -> tuple[str, int]:
    started = [record for record in records(path) if record["event"] == "started"][-1]
    host, _, port = started["tunnels"][0]["listen"][0].rpartition(":")
    return host, int(port)


def test_restart_rotation_and_crash_leave_one_chain_with_a_head(folder, trial_pki, supervisor):
    server = server_tunnel(CLOCK, trial_pki.server())
    first, path = audited(folder, supervisor, server)
    assert first.stop() == 0
    second, _ = audited(folder, supervisor, server)
    old = folder / "audit.jsonl.1"
    path.rename(old)
    second.send_signal(signal.SIGHUP)
    eventually(lambda: count(path, "settings_changed") == 1, "the first record of the new file")
    assert second.stop() == 0
    done = verify(old, path, "--head", head_of(second))
    assert done.returncode == 0 and "anchored by the given head" in done.stdout, done

    third, _ = audited(folder, supervisor, server)
    third.send_signal(signal.SIGKILL)
    third.wait()
    with path.open("a", encoding="ascii") as file:
        file.write('{"seq":99,"time":"20')
    broken = verify(path)
    assert broken.returncode == 1 and re.search(r"audit\.jsonl:\d+: is torn", broken.stderr), broken
    fourth, _ = audited(folder, supervisor, server)
    assert fourth.stop() == 0
    assert count(path, "chain_restarted") == 1
    done = verify(old, path, "--head", head_of(fourth))
    assert done.returncode == 0 and "anchored by the given head" in done.stdout, done

    text = path.read_text(encoding="ascii")
    path.write_text(text.replace('"event":"stopped"', '"event":"started"', 1), encoding="ascii")
    changed = verify(old, path)
    assert changed.returncode == 1 and re.search(r"audit\.jsonl:\d+: does not name the hash", changed.stderr), changed


class Room:
    """How large the files of a child that ignores SIGXFSZ may become."""

    PREFIX = ["env", "--ignore-signal=XFSZ"]

    def __init__(self, child: Process) -> None:
        self._command = ["prlimit", f"--pid={child.pid}"]

    def limit(self, octets: int | str) -> None:
        subprocess.run([*self._command, f"--fsize={octets}:"], check=True)

    def back(self) -> None:
        self.limit("unlimited")


def fail_handshakes(address: tuple[str, int], times: int) -> None:
    """Each is a record; that of one is written, or lost, before the next is answered."""
    for _ in range(times):
        with socket.create_connection(address, 5) as raw:
            raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
            raw.settimeout(5)
            while raw.recv(1024):
                pass


def test_nothing_is_served_when_the_first_records_are_lost(folder, trial_pki, supervisor):
    """Every write to this file fails: there is no listener, and no word of being ready."""
    config = write_config(folder / "full.yaml", [server_tunnel(CLOCK, trial_pki.server())], audit={"file": "/dev/full"})
    trace = folder / "trace"
    child = supervisor.start([NTPGATE, "run", "-c", str(config)], "full",
                             ["strace", "-f", "-o", str(trace), "-e", "trace=bind"])
    assert child.wait() == 1, child.err
    assert "bind(" not in trace.read_text() and not any("server role on" in line for line in child.err), child.err
    assert any("audit file /dev/full: No space left on device; not started, since audit.on-full is stop" in line
               for line in child.err), child.err


def test_one_lost_record_stops_it_even_if_the_next_can_be_written(folder, trial_pki, supervisor):
    child, path = audited(folder, supervisor, server_tunnel(CLOCK, trial_pki.server()),
                          prefix=Room.PREFIX)
    address, room = listening(path), Room(child)
    room.limit(path.stat().st_size)
    fail_handshakes(address, 2)
    room.back()
    fail_handshakes(address, 1)
    assert child.wait() == 1, child.err
    assert any("File too large; stopping, since audit.on-full is stop" in line for line in child.err), child.err
    (lost,) = [record for record in records(path) if record["event"] == "limit_reached"]
    assert lost["reason"] == "audit.on-full" and lost["count"] >= 1, lost
    assert records(path)[-1]["event"] == "stopped" and records(path)[-1]["outcome"] == "failure"
    assert verify(path, "--head", head_of(child)).returncode == 0


def test_rotation_after_a_failed_write_leaves_one_chain(folder, trial_pki, supervisor):
    """The disk is full, the file is moved away, there is room again: nothing but what was lost is missing."""
    child, path = audited(folder, supervisor, server_tunnel(CLOCK, trial_pki.server()),
                          prefix=Room.PREFIX, **{"on-full": "continue"})
    room = Room(child)
    room.limit(path.stat().st_size + 10)
    fail_handshakes(listening(path), 3)
    old = folder / "audit.jsonl.1"
    path.rename(old)
    room.back()
    child.send_signal(signal.SIGHUP)
    eventually(lambda: count(path, "settings_changed") == 1, "the first record of the new file")
    assert child.stop() == 0
    kinds = [record["event"] for record in records(path)]
    assert kinds[:2] == ["settings_changed", "limit_reached"] and records(path)[1]["count"] >= 2, kinds
    for files in ([old, path], [path]):
        done = verify(*files, "--head", head_of(child))
        assert done.returncode == 0 and "anchored by the given head" in done.stdout, done


def test_a_second_ntpgate_on_the_same_file_is_refused(folder, trial_pki, supervisor):
    first, path = audited(folder, supervisor, server_tunnel(CLOCK, trial_pki.server()))
    lines = path.read_text(encoding="ascii")
    second = supervisor.start(first.argv, "second")
    assert second.wait() == 1
    assert any(f"audit file {path}: another process writes it" in line for line in second.err), second.err
    assert path.read_text(encoding="ascii") == lines
    assert first.stop() == 0 and verify(path, "--head", head_of(first)).returncode == 0


def test_a_step_of_the_clock_is_recorded_with_the_old_and_the_new_time(folder, trial_pki, supervisor):
    fifo, library = folder / "steps", folder / "step_clock.so"
    subprocess.run(["mkfifo", str(fifo)], check=True)
    subprocess.run(["c++", "-shared", "-fPIC", "-o", str(library), str(ROOT / "tests/support/step_clock.cpp")],
                   check=True)
    child, path = audited(folder, supervisor, server_tunnel(CLOCK, trial_pki.server()),
                          prefix=["env", f"LD_PRELOAD={library}", f"STEP_CLOCK={fifo}"])
    for number, seconds in enumerate((3600, -7200, 1), 1):
        with fifo.open("wb", buffering=0) as steps:
            steps.write(str(seconds).encode())
        eventually(lambda upto=number: count(path, "clock_stepped") == upto, "the step's record")
        step = [record for record in records(path) if record["event"] == "clock_stepped"][-1]
        told = datetime.fromisoformat(step["new"]) - datetime.fromisoformat(step["old"])
        assert abs(told.total_seconds() - seconds) < 0.5 and abs(step["by"] - seconds) < 0.5, step
        assert (step["sfr"], step["origin"], step["outcome"]) == ("FPT_STM_EXT.1", "local", "success")
    assert child.stop() == 0 and verify(path, "--head", head_of(child)).returncode == 0


@pytest.mark.parametrize("beside_a_file", [True, False])
def test_records_go_to_the_systems_log(beside_a_file, folder, trial_pki, supervisor):
    audit = {"syslog": True} | ({"file": str(folder / "audit.jsonl")} if beside_a_file else {})
    config = write_config(folder / "logged.yaml", [server_tunnel(CLOCK, trial_pki.server())], audit=audit)
    with SystemLog(folder) as log:
        child = supervisor.start([*log.prefix, NTPGATE, "run", "-c", str(config)], "logged")
        log.wait_event("started")
        assert child.stop() == 0
    events = [record["event"] for record in log.records()]
    assert events[0] == "config_loaded" and "privileges_dropped" in events
    log.assert_chained()
    assert not [line for line in child.err if line.startswith('{"seq":')]
    if beside_a_file:
        assert (folder / "audit.jsonl").read_text(encoding="ascii").splitlines()[:len(log.lines)] == log.lines


def refuse_in_every_way(address: tuple[str, int], pki, times: int) -> None:
    """Failures that anybody can cause: no TLS, no certificate, no common version, a hang-up."""
    for _ in range(times):
        with socket.create_connection(address, 5) as raw:
            raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with socket.create_connection(address, 5):
            pass
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=str(pki.folder / "ca.pem"))
            context.check_hostname = False
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols(["ntpgate/1"])
            try:
                with socket.create_connection(address, 5) as raw, context.wrap_socket(raw) as session:
                    session.recv(1)
            except OSError:
                pass


def test_a_flood_of_failures_grows_the_file_by_a_bounded_amount(folder, trial_pki, supervisor):
    server = server_tunnel(CLOCK, trial_pki.server())
    config = {"handshakes-per-second-per-source": 0}
    path = folder / "audit.jsonl"
    write = write_config(folder / "flooded.yaml", [server], audit={"file": str(path)}, limits=config)
    child = supervisor.start([NTPGATE, "run", "-c", str(write)], "flooded")
    eventually(lambda: count(path, "started") == 1, "the started record", 15)
    refuse_in_every_way(listening(path), trial_pki, 100)
    assert child.stop() == 0
    failures = [record for record in records(path) if record["event"] in ("channel_failed", "certificate_rejected")]
    kinds = {(record["event"], record["reason"]) for record in failures}
    assert 2 <= len(kinds) <= 8, kinds
    # Ten of a kind, and one sum for each of the few intervals that the flood took.
    assert len(failures) <= 14 * len(kinds), len(failures)
    told = sum(record.get("count", 1) for record in failures)
    stopped = records(path)[-1]["counters"]["tunnels"]["server"]
    assert told == sum(stopped["listener"]["failed"].values()) >= 300, (told, stopped["listener"])
    assert verify(path, "--head", head_of(child)).returncode == 0


def test_a_client_role_records_the_time_servers_it_was_given(start, trial_pki):
    server = start(server_tunnel(CLOCK, trial_pki.server()), name="server")
    client = start(client_tunnel([server.listen(), "127.0.0.1:9"], trial_pki.client()), name="client")
    added = client.events("time_server_added")
    assert [(record["peer"], record["sfr"]) for record in added] == [
        (server.listen(), "FCS_NTP_EXT.1"), ("127.0.0.1:9", "FCS_NTP_EXT.1")]
    client.finish()
    server.finish()
