"""`ntpgate stdio`, as the subsystem of a stock sshd and by hand: who is served, who is not, and where records go."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from pathlib import Path

from support import ntp
from support.frames import GOODBYE
from support.gateway import command, write_config
from support.processes import DIE_WITH_PARENT, run
from support.ssh import Keys, PipeFrames, Sshd, client_of, own_user, stdio_command
from support.system_log import SystemLog

CLOCK = {"clock": {"free-running": True}}


def stdio_config(folder: Path, upstream: object, **top: object) -> Path:
    return write_config(folder / "stdio.yaml", [
        {"name": "by-sshd", "role": "server", "listen": "stdio", "upstream": upstream, "channel": "ssh"}], **top)


def unrecorded(folder: Path, upstream: object) -> Path:
    """Also where this machine has no log."""
    return stdio_config(folder, upstream, audit={"on-full": "continue"})


def login(sshd: Sshd, keys: Keys) -> dict[str, object]:
    return client_of("%s:%d" % sshd.address, keys, user=own_user())


def by_hand(config: Path, prefix: list[str] | None = None) -> PipeFrames:
    return PipeFrames(subprocess.Popen([*(prefix or []), *DIE_WITH_PARENT, *stdio_command(config).split()],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE))


def test_a_client_role_passes_a_stock_sshd(supervisor, start, folder, chronyd, keys):
    sshd = Sshd(supervisor, folder / "sshd", keys, stdio_command(unrecorded(folder, chronyd.text())))
    client = start(login(sshd, keys), name="client")
    assert client.events("channel_opened"), client.err
    with ntp.Client(client.address()) as asker:
        for _ in range(10):
            assert asker.ask(2.0)
    counted = client.finish()["client"]
    assert counted["exchanges"]["answered"] == 10, counted


def test_a_failing_subsystem_is_told_with_its_exit_code(supervisor, start, folder, keys):
    sshd = Sshd(supervisor, folder / "sshd", keys, stdio_command(folder / "missing.yaml"))
    client = start(login(sshd, keys), name="client")
    closed = client.wait_event("channel_closed")
    assert closed["reason"] == "peer_closed" and "exit code 2" in closed["text"], closed


def test_records_of_a_channel_under_sshd_go_to_the_systems_log(supervisor, start, folder, chronyd, keys):
    """With the peer that sshd has let in, and nothing of them on the streams, which are the peer's."""
    with SystemLog(folder) as log:
        subsystem = folder / "subsystem"
        command_line = [*log.prefix, *stdio_command(stdio_config(folder, chronyd.text())).split()]
        subsystem.write_text(f"#!/bin/sh\nexec {shlex.join(command_line)}\n", encoding="ascii")
        subsystem.chmod(0o755)
        sshd = Sshd(supervisor, folder / "sshd", keys, str(subsystem))
        client = start(login(sshd, keys), name="client")
        opened = log.wait_event("channel_opened")
        assert (opened["tunnel"], opened["subject"], opened["protocol"]) == ("by-sshd", own_user(), "sshd"), opened
        assert opened["peer"].startswith("127.0.0.1:") and int(opened["peer"].rpartition(":")[2]) > 0, opened
        with ntp.Client(client.address()) as asker:
            for _ in range(3):
                assert asker.ask(2.0)
        client.finish()
        closed = log.wait_event("channel_closed")
        assert (closed["reason"], closed["peer"]) == ("peer_closed", opened["peer"]), closed
        counted = log.wait_event("stopped")["counters"]
        assert counted["exchanges"]["answered"] == 3, counted
    started = next(record for record in log.records() if record["event"] == "started")
    assert (started["tunnel"], started["config"]) == ("by-sshd", str(folder / "stdio.yaml")), started
    log.assert_chained()


def test_each_connection_is_a_chain_of_its_own(folder):
    config = stdio_config(folder, CLOCK)
    with SystemLog(folder) as log:
        for _ in range(2):
            log.lines.clear()
            with by_hand(config, log.prefix) as peer:
                assert peer.ask()
                log.wait_event("channel_opened")
                peer.child.stdin.close()
                assert peer.child.stdout.read() == b"" and peer.child.stderr.read() == b""
                assert peer.child.wait(10) == 0
            log.wait_event("stopped")
            log.assert_chained()


def test_what_a_peer_breaks_is_in_the_systems_log(folder):
    config = stdio_config(folder, CLOCK)
    with SystemLog(folder) as log:
        with by_hand(config, log.prefix) as peer:
            assert peer.ask()
            peer.send(b"\xff\xff" + bytes(100))
            assert log.wait_event("channel_closed")["reason"] == "bad_framing"
            assert peer.child.wait(10) == 0


def test_without_a_log_nobody_is_served_unless_told_so(folder):
    """A record that can not be written ends it, as `on-full` says of every ntpgate."""
    with SystemLog(folder) as log:
        (folder / "log").unlink()
        with by_hand(stdio_config(folder, CLOCK), log.prefix) as peer:
            assert peer.child.wait(10) == 1
            assert peer.child.stdout.read() == b""
            assert b"audit record not written" in peer.child.stderr.read()
        with by_hand(unrecorded(folder, CLOCK), log.prefix) as peer:
            assert peer.ask()
            assert peer.close() == 0


def test_a_log_that_ends_ends_the_channel(folder):
    with SystemLog(folder) as log, by_hand(stdio_config(folder, CLOCK), log.prefix) as peer:
        log.wait_event("channel_opened")
        assert peer.ask()
        log.close()
        peer.send(b"\xff\xff")  # what breaks the channel would be a record
        assert peer.child.wait(10) == 1
        assert b"on-full is stop" in peer.child.stderr.read()


def test_stdio_by_hand_serves_frames_and_ends_with_its_input(folder, chronyd):
    with by_hand(unrecorded(folder, chronyd.text())) as peer:
        for _ in range(3):
            assert peer.ask()
        assert peer.close() == 0


def test_a_reader_that_is_gone_ends_it_in_order(folder):
    with by_hand(unrecorded(folder, CLOCK)) as peer:
        assert peer.ask()
        peer.child.stdout.close()
        peer.request(ntp.request().encode())
        assert peer.child.wait(10) == 0, "neither SIGPIPE nor a hang"


def test_the_end_of_the_session_lets_what_is_open_be_finished(folder):
    """SIGHUP is sshd's word for it; a goodbye comes before the end."""
    with by_hand(unrecorded(folder, CLOCK)) as peer:
        assert peer.ask()
        peer.child.send_signal(signal.SIGHUP)
        frame = peer.receive()
        assert frame is not None and frame.kind == GOODBYE, frame
        assert peer.child.wait(10) == 0


def test_stdio_refuses_a_terminal_and_other_tunnels(folder):
    config = stdio_config(folder, CLOCK)
    done = run(["script", "-qec", stdio_command(config), "/dev/null"])
    assert done.returncode == 2 and "terminal" in done.stdout, done.stdout
    other = command("stdio", "-c", str(config), "--tunnel", "other")
    assert other.returncode == 2 and f"{config} has no tunnel named other" in other.stderr, other


def test_stdio_refuses_streams_that_can_not_be_waited_for(folder):
    config = stdio_config(folder, CLOCK)
    with (folder / "file").open("w+b") as file:
        done = subprocess.run(stdio_command(config).split(), stdin=file, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=30, check=False)
    assert done.returncode == 1 and b"standard input: is neither a pipe nor a socket" in done.stderr, done


def test_run_serves_the_other_tunnels_and_refuses_to_be_idle(folder, start, keys):
    config = stdio_config(folder, CLOCK)
    text = config.read_text().splitlines()
    line = next(number for number, each in enumerate(text, 1) if "listen: stdio" in each)
    column = text[line - 1].index("stdio") + 1
    assert command("check", "-c", str(config)).returncode == 0
    done = command("run", "-c", str(config))
    assert done.returncode == 2 and not done.stdout, done
    assert f"{config}:{line}:{column}: tunnels[0].listen: stdio is not for run" in done.stderr, done.stderr
    rejected = [json.loads(each) for each in done.stderr.splitlines() if each.startswith('{"seq":')]
    assert [record["event"] for record in rejected] == ["config_rejected"], rejected
    stdio = {"name": "by-sshd", "role": "server", "listen": "stdio", "upstream": CLOCK, "channel": "ssh"}
    beside = {"name": "server", "role": "server", "listen": "127.0.0.1:0", "upstream": CLOCK, "channel": "ssh",
              "ssh": keys.server()}
    server = start(stdio, beside)
    assert [tunnel["name"] for tunnel in server.started["tunnels"]] == ["server"]
    server.finish()
