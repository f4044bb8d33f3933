"""What stands in deploy/ and configs/ is run or judged as it is: the quickstart, the unit, the examples."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from support import ntp
from support.gateway import NTPGATE, ROOT, Gateway, command, server_tunnel
from support.pki import CLIENT, SERVER, TrialPki
from support.processes import run

UNIT = ROOT / "deploy" / "systemd" / "ntpgate@.service"
EXAMPLES = sorted((ROOT / "configs" / "examples").glob("*.yaml"))
EXPOSURE = 20  # tenths; systemd calls 2.0 and less "OK"


def start_quickstart() -> subprocess.Popen[str]:
    return subprocess.Popen([str(ROOT / "deploy" / "quickstart.sh")], env=os.environ | {"NTPGATE": NTPGATE},
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)


def members_of_group(group: int) -> list[str]:
    """Commands of the processes that belong to a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[1].split()[2] == str(group):
            found.append(fields[0])
    return found


def test_the_quickstart_works_twice_at_once():
    children = [start_quickstart(), start_quickstart()]
    for child in children:
        out, err = child.communicate(timeout=60)
        assert child.returncode == 0, (out, err)
        rows = [line for line in out.splitlines() if line.endswith("  ok")]
        assert len(rows) == 3 and rows[0].startswith("chronyd, asked directly"), out
        assert all(re.search(r"[+-]\d+\.\d{3} ms +-?\d+\.\d{3} ms", row) for row in rows), out
        assert not members_of_group(child.pid)


def test_the_quickstart_says_so_when_a_path_is_wrong(folder):
    """Its verdict comes from the answers: a program that lies about the offset is not ok."""
    liar = folder / "ntpgate"
    liar.write_text('#!/bin/sh\n'
                    f'[ "$1" = query ] || exec {NTPGATE} "$@"\n'
                    f'{NTPGATE} "$@" | sed \'s/"offset":[^,]*/"offset":1.5/\'\n')
    liar.chmod(0o755)
    done = subprocess.run([str(ROOT / "deploy" / "quickstart.sh")], env=os.environ | {"NTPGATE": str(liar)},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "off" in done.stdout, done


@pytest.fixture
def unit(folder) -> str:
    """The unit as it is, but for the place of a program that is not installed here."""
    path = folder / UNIT.name
    path.write_text(UNIT.read_text().replace("/usr/bin/ntpgate", NTPGATE))
    return str(path)


def test_the_unit_is_without_fault(unit):
    done = run(["systemd-analyze", "verify", "--man=no", unit])
    assert done.returncode == 0 and not done.stderr, done


def test_the_unit_is_a_sandbox(unit):
    done = run(["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", unit])
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout


def test_ready_is_told_to_systemd_when_everything_is_bound(start, trial_pki, chronyd, folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.settimeout(5)
        server = start(server_tunnel(chronyd.text(), trial_pki.server()),
                       environment={"NOTIFY_SOCKET": str(folder / "notify")})
        assert b"READY=1" in listener.recv(1000).split(b"\n")
        assert socket.create_connection(server.address(), 5).close() is None
        server.finish()
        assert b"STOPPING=1" in listener.recv(1000).split(b"\n")


def test_there_is_an_example_of_either_role():
    assert {"front.yaml", "sidecar.yaml", "datagrams.yaml"} <= {path.name for path in EXAMPLES}


@pytest.fixture
def adapted(folder):
    """An example in a folder of ours, with certificates of ours where it wants some, and nobody else's user."""
    pki = TrialPki(folder)

    def adapt(example: Path) -> Path:
        document = yaml.safe_load(example.read_text())
        for name in ("user", "audit", "control"):
            document.pop(name, None)
        for tunnel in document["tunnels"]:
            settle(tunnel["tls"], tunnel["role"], pki)
        path = folder / example.name
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    return adapt


def settle(tls: dict[str, object], role: str, pki: TrialPki) -> None:
    leaf = pki.authority.issue(names=("DNS:localhost", "DNS:site1.example.org"),
                               usages=(SERVER if role == "server" else CLIENT,))
    certificate, key = leaf.write(pki.folder, role)
    for name, path in {"ca": pki.ca, "certificate": certificate, "key": key}.items():
        assert name in tls, f"an example without {name}"
        tls[name] = path
    if "crl" in tls:
        crl = pki.folder / "ca.crl"
        crl.write_bytes(pki.authority.crl())
        tls["crl"] = [str(crl)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid(example, adapted):
    done = command("check", "-c", str(adapted(example)))
    assert done.returncode == 0, done


def test_the_examples_of_the_readme_are_valid(folder):
    """Every YAML block of the README, with files where they name some."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    pki = TrialPki(folder)
    made = command("keygen", "ssh", "--out", str(folder / "ssh"))
    assert made.returncode == 0, made
    for file in (folder / "ssh").iterdir():
        shutil.copy(file, folder / file.name)
    for name in ("server", "client"):
        for kind in ("pem", "key"):
            shutil.copy(folder / f"{name}.{kind}", folder / f"{name}-copy.{kind}")
    shutil.copy(pki.ca, folder / "clients-ca.pem")
    for number, block in enumerate(blocks):
        path = folder / f"readme{number}.yaml"
        path.write_text(block)
        done = command("check", "-c", str(path))
        assert done.returncode == 0, done


def test_the_trial_certificates_of_keygen_work(start, folder, chronyd):
    made = command("keygen", "pki", "--out", str(folder / "pki"))
    assert made.returncode == 0, made
    again = command("keygen", "pki", "--out", str(folder / "pki"))
    assert again.returncode == 1, "never overwrites"
    tls = {name: str(folder / "pki" / f"{name}.pem") for name in ("ca",)}
    server = start(server_tunnel(chronyd.text(), tls | {
        "certificate": str(folder / "pki" / "server.pem"), "key": str(folder / "pki" / "server.key")}))
    done = command("query", f"tls://{server.listen()}", "--ca", tls["ca"], "--certificate",
                   str(folder / "pki" / "client.pem"), "--key", str(folder / "pki" / "client.key"), "--server-name",
                   "localhost", "-n", "1")
    assert done.returncode == 0, done
    server.finish()


def test_the_one_liners_carry_time(supervisor, trial_pki, chronyd):
    server = Gateway(supervisor, "server", [
        "server", "tls://127.0.0.1:0", "--upstream", chronyd.text(), "--ca", trial_pki.ca, "--certificate",
        trial_pki.server_certificate, "--key", trial_pki.server_key])
    client = Gateway(supervisor, "client", [
        "client", f"tls://{server.listen()}", "--listen", "127.0.0.1:0", "--ca", trial_pki.ca, "--certificate",
        trial_pki.client_certificate, "--key", trial_pki.client_key, "--server-name", "localhost"])
    assert ntp.ask(client.address()).packet.stratum == 3
    client.finish()
    server.finish()
