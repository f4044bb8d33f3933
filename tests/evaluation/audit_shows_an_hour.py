"""FAU_GEN.1 and FAU_STG_EXT.1: the records of a scripted hour hold each event of the documents with the fields these ask
for, and its file verifies against its head, and in no other form."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import factory
from support.evaluated import PROFILE, Pki, hello_for, meet, ping
from support.gateway import NTPGATE, ROOT, Gateway, Json, command, write_config
from support.processes import Supervisor, eventually
from support.tls_peer import Client, Plan

SPECS = ["2.2e", "3.0e", "4.0"]
ALWAYS = ("seq", "time", "event", "outcome", "tunnel", "subject", "peer", "reason", "sfr", "prev")
# The rows of the documents: requirement, event, what its record has to hold beside what every record has.
ROWS: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
    "2.2e": [("FTP_ITC.1", "channel_opened", ()), ("FTP_ITC.1", "channel_closed", ()),
             ("FTP_ITC.1", "channel_failed", ("initiator", "target")),
             ("FCS_TLSS_EXT.1", "channel_failed", ("reason",)), ("FCS_TLSC_EXT.1", "channel_failed", ("reason",)),
             ("FCS_DTLSS_EXT.1", "channel_failed", ("reason",)), ("FCS_DTLSC_EXT.1", "channel_failed", ("reason",)),
             ("FCS_DTLSS_EXT.1", "replay_detected", ("peer",)),
             ("FCS_TLSS_EXT.2", "certificate_rejected", ("reason",)),
             ("FCS_DTLSS_EXT.2", "certificate_rejected", ("reason",)),
             ("FIA_X509_EXT.1/Rev", "certificate_rejected", ("reason", "subject", "issuer", "serial")),
             ("FCS_NTP_EXT.1", "time_server_added", ("subject",)),
             ("FPT_STM_EXT.1", "clock_stepped", ("old", "new", "origin")),
             ("FAU_GEN.1", "started", ()), ("FAU_GEN.1", "stopped", ()),
             ("FAU_GEN.1", "key_loaded", ("subject",)),
             ("FMT_SMF.1", "credentials_reloaded", ("subject", "changed", "issuer", "serial")),
             ("FIA_X509_EXT.1/Rev", "trust_anchor_changed", ("subject", "reason", "issuer", "serial")),
             ("FMT_SMF.1", "config_loaded", ("subject",)), ("FMT_SMF.1", "profile_claim", ("claim",))],
}
ROWS["3.0e"] = [row for row in ROWS["2.2e"]]
ROWS["4.0"] = [(sfr.replace("/Rev", ""), event, fields) for sfr, event, fields in ROWS["2.2e"]
               if sfr not in ("FCS_TLSS_EXT.2", "FCS_DTLSS_EXT.2") and event != "replay_detected"] + [
    ("FCS_TLSC_EXT.1", "identifier_mismatch", ("presented", "reference")),
    ("FCS_DTLSC_EXT.1", "channel_opened", ("peer",)), ("FCS_DTLSC_EXT.1", "channel_closed", ("peer",))]


class Hour:
    """What is done, one after another; and the file that it leaves."""

    def __init__(self, folder: Path, spec: str, owner: Supervisor) -> None:
        self.folder, self.spec = folder, spec
        self.pki = Pki(folder)
        self.path = folder / "audit.jsonl"
        steps, library = folder / "steps", folder / "step_clock.so"
        subprocess.run(["mkfifo", str(steps)], check=True)
        subprocess.run(["c++", "-shared", "-fPIC", "-o", str(library), str(ROOT / "tests/support/step_clock.cpp")],
                       check=True)
        servers = [self.pki.server_tunnel(channel, "p384", channel) for channel in ("tls", "dtls")]
        self.run(owner, "servers", servers, ["env", f"LD_PRELOAD={library}", f"STEP_CLOCK={steps}"])
        ports = {name: int(each["listen"][0].rpartition(":")[2]) for each in self.last("started")["tunnels"]
                 for name in [each["name"]]}
        self.meet_all({name: ("127.0.0.1", port) for name, port in ports.items()})
        with steps.open("wb", buffering=0) as write:
            write.write(b"1800")
        self.wait("clock_stepped")
        self.renew()
        self.stop()
        self.clients(owner, ports)
        self.lines = self.path.read_text(encoding="ascii").splitlines(keepends=True)

    def run(self, owner: Supervisor, name: str, tunnels: list[Json], prefix: list[str]) -> None:
        before = self.count("started")
        config = write_config(self.folder / f"{name}.yaml", tunnels, profile=PROFILE[self.spec],
                              audit={"file": str(self.path)}, limits={"handshakes-per-second-per-source": 0})
        self.child = owner.start([NTPGATE, "run", "-c", str(config)], name, prefix)
        eventually(lambda: self.count("started") > before, f"{name} started: {self.child.err}", 20)

    def stop(self) -> None:
        assert self.child.stop() == 0, self.child.err[-5:]
        self.head = self.child.wait_for_line(r"audit head (\d+:[0-9a-f]{64})").group(1)

    def records(self) -> list[Json]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="ascii").splitlines() if line.endswith("}")]

    def count(self, event: str) -> int:
        return sum(1 for record in self.records() if record["event"] == event)

    def last(self, event: str) -> Json:
        return [record for record in self.records() if record["event"] == event][-1]

    def wait(self, event: str) -> None:
        eventually(lambda: self.count(event), event, 15)

    def meet_all(self, addresses: dict[str, tuple[str, int]]) -> None:
        for version, name in (("TLS1.2", "tls"), ("DTLS1.2", "dtls")):
            right = Plan().show(self.pki.client())
            assert meet(addresses[name], version, right).good
            for plan in (Plan(), Plan().show(self.pki.client(starts=-48.0, ends=-1.0)),
                         Plan().show(self.pki.client(names=("DNS:other.test",)))):
                assert not meet(addresses[name], version, plan).good
            assert not meet(addresses[name], version, right, lambda client, v=version: _old(client, v)).good

        def replay(client: Client) -> None:
            ping(client)
            client.wire.raw(client.wire.sent[-1])
            ping(client)

        assert meet(addresses["dtls"], "DTLS1.2", Plan().show(self.pki.client()), then=replay).good
        self.wait("replay_detected")
        eventually(lambda: self.count("channel_failed") >= 2 and self.count("certificate_rejected") >= 4, "failures", 15)

    def renew(self) -> None:
        """Another certificate, and one more authority."""
        self.pki.server(kind="p384").write(self.folder, "server-p384")
        newer = Path(factory.make(factory.authority("newer")).write(self.folder, "newer")[0])
        anchors = Path(self.pki.ca)
        anchors.write_text(anchors.read_text(encoding="ascii") + newer.read_text(encoding="ascii"), encoding="ascii")
        self.child.send_signal(signal.SIGHUP)
        self.child.wait_for_line("SIGHUP")
        self.wait("credentials_reloaded")
        self.wait("trust_anchor_changed")

    def clients(self, owner: Supervisor, ports: dict[str, int]) -> None:
        """Client roles towards nobody, towards a server of another name, and towards one that is right: in the same
        file, after a restart."""
        servers = Supervisor()
        try:
            config = write_config(self.folder / "peers.yaml", [self.pki.server_tunnel(channel, "p384", channel)
                                                               for channel in ("tls", "dtls")], profile=PROFILE[self.spec])
            peers = Gateway(servers, "peers", ["run", "-c", str(config)])
            of = {name: peers.address(name)[1] for name in ("tls", "dtls")}
            tunnels = [self.pki.client_tunnel(channel, f"{kind}-{channel}", port, **({"server-name": "other.test"}
                                                                                     if kind == "other" else {}))
                       for channel in ("tls", "dtls") for kind, port in
                       (("right", of[channel]), ("other", of[channel]), ("nobody", ports[channel]))]
            for each in tunnels:
                if each["name"].startswith("nobody"):
                    # Not 127.0.0.1, where the port of a server that ended is soon another test's.
                    each["connect"] = each["connect"].replace("127.0.0.1", "127.0.0.9")
            self.run(owner, "clients", tunnels, [])
            self.stop()
        finally:
            servers.end()


def _old(client: Client, version: str) -> object:
    hello = hello_for(version, client)
    hello.version = 0xFEFF if version == "DTLS1.2" else 0x0302
    return hello


@pytest.fixture(scope="module", params=SPECS)
def hour(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hour]:
    owner = Supervisor()
    yield Hour(tmp_path_factory.mktemp("hour"), request.param, owner)
    owner.end()


def verify(path: Path, head: str) -> subprocess.CompletedProcess[str]:
    return command("audit", "verify", str(path), "--head", head)


def test_each_row_of_the_documents_is_there_with_its_fields(hour, evidence):
    records = hour.records()
    for sfr, event, fields in ROWS[hour.spec]:
        found = [record for record in records if record["event"] == event and sfr in record["sfr"].split()]
        assert found, (sfr, event, sorted({(each["event"], each["sfr"]) for each in records}))
        evidence.note(f"{sfr} {event}", found[0])
        whole = [record for record in found if all(record.get(field) not in (None, "", []) for field in fields)]
        assert whole, (sfr, event, fields, found[0])


def test_every_record_says_when_what_who_and_how_it_ended(hour, evidence):
    for record in hour.records():
        assert tuple(key for key in record if key in ALWAYS) == ALWAYS, record
        assert record["outcome"] in ("success", "failure")
        assert len(record["time"]) == len("2026-11-26T19:39:11.123456Z") and record["time"].endswith("Z"), record["time"]
    evidence.note("records", f"{len(hour.records())}, in one chain over a restart")


def test_the_file_verifies_against_its_head(hour, evidence):
    done = verify(hour.path, hour.head)
    evidence.note("audit verify", done.stdout)
    assert done.returncode == 0 and "anchored by the given head" in done.stdout, done


def damages(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each line edited, deleted, written twice, exchanged with the next; and the file cut after it."""
    for at, line in enumerate(lines):
        middle = len(line) // 2
        letter = "x" if line[middle] != "x" else "y"
        yield f"line {at + 1} edited", [*lines[:at], line[:middle] + letter + line[middle + 1:], *lines[at + 1:]]
        yield f"line {at + 1} deleted", [*lines[:at], *lines[at + 1:]]
        yield f"line {at + 1} twice", [*lines[:at], line, *lines[at:]]
        if at + 1 < len(lines):
            yield f"lines {at + 1} and {at + 2} exchanged", [*lines[:at], lines[at + 1], line, *lines[at + 2:]]
            yield f"cut after line {at + 1}", lines[:at + 1]


def test_any_change_is_found(hour, evidence, folder):
    """Of hundreds of changes a hundred, drawn anew each time; the first and the last lines' always."""
    every = list(damages(hour.lines))
    edges = [each for each in every if each[0].startswith(("line 1 ", f"line {len(hour.lines)} "))]
    seed = int.from_bytes(os.urandom(4), "big")
    evidence.note("seed", str(seed))
    path = folder / "changed.jsonl"
    for what, lines in edges + random.Random(seed).sample(every, min(100, len(every))):
        path.write_text("".join(lines), encoding="ascii")
        done = verify(path, hour.head)
        assert done.returncode == 1 and done.stderr, (what, done)
    evidence.note("changes found", f"{min(100, len(every)) + len(edges)} of {len(every)} kinds and places")
