"""Wrong configurations of SSH: every fault in one run, each with file, line and column, before anything is served."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.faults import assert_refused
from support.gateway import command
from support.processes import run
from support.ssh import KEYGEN, Keys

# Each line with a fault ends in a comment: the key, and a pattern that the message must have.
FAULTY = """\
tunnels:
  - name: one
    role: client
    listen: 127.0.0.1:10123
    connect: [gw.example.org]
    channel: ssh
    ssh:
      key: open_key                   #! key: open_key' can be read by others
      known-hosts: none               #! known-hosts: no such file: '.*/none'
      colour: blue                    #! colour: known key
      rekey-time: 2h                  #! rekey-time: expected 2s to 1h
      max-packet: 4095                #! max-packet: expected .* 4096 to 262144
  - name: two
    role: client
    listen: 127.0.0.2:10123
    connect: [gw.example.org]
    channel: ssh
    ssh: {key: closed_key}            #! key: cannot read '.*closed_key': permission denied
  - name: three
    role: client
    listen: 127.0.0.3:10123
    connect: [gw.example.org]
    channel: ssh
    ssh:
      key: id_ed25519
      known-hosts: broken_hosts       #! known-hosts: broken_hosts:2:\\d+:
  - name: four
    role: server
    listen: 127.0.0.1:14461
    upstream: clock
    channel: ssh
    ssh:
      host-keys: [open_key]           #! host-keys: open_key' can be read by others
      authorized-keys: written        #! authorized-keys: written' can be written by others
      known-hosts: known_hosts        #! known-hosts: role client
  - name: five
    role: server
    listen: 127.0.0.1:14462
    upstream: clock
    channel: ssh
    ssh:
      host-keys: [host_ed25519]
      authorized-keys: with_command   #! authorized-keys: with_command:2:1: .*command.*leave it out
  - name: six
    role: server
    listen: 127.0.0.1:14463
    upstream: clock
    channel: ssh
    ssh:
      host-keys: [host_ed25519]
      authorized-keys: with_options   #! authorized-keys: with_options:1:10: .*known option
  - name: seven
    role: server
    listen: 127.0.0.1:14464
    upstream: clock
    channel: ssh
    ssh:
      host-keys: [locked_key]         #! host-keys: locked_key: is no private key .*without a passphrase
      authorized-keys: authorized_keys
  - name: eight
    role: client
    listen: stdio                     #! listen: stdio belongs to the server role
    connect: [gw.example.org]
    channel: ssh
    ssh: {key: id_ed25519, known-hosts: known_hosts}
"""
# Nobody who may read everything finds a file that can not be read.
NO_PRIVILEGE = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


@pytest.fixture
def faulty(keys: Keys) -> Path:
    folder = keys.folder

    def write(name: str, text: str, mode: int) -> None:
        (folder / name).write_text(text, encoding="ascii")
        (folder / name).chmod(mode)

    key, public = (folder / "id_ed25519").read_text(), keys.public("id_ed25519")
    write("open_key", key, 0o644)
    write("closed_key", key, 0o000)
    write("written", f"{public}\n", 0o666)
    write("broken_hosts", f"gw.example.org {keys.public('host_ed25519')}\n@revoked gw.example.org\n", 0o644)
    write("with_command", f'# users\ncommand="/bin/sh" {public} one\n', 0o644)
    write("with_options", f"restrict,unknown-option {public} one\n", 0o644)
    done = run([KEYGEN, "-q", "-t", "ed25519", "-N", "secret", "-f", str(folder / "locked_key")])
    assert done.returncode == 0, done
    write("faulty.yaml", FAULTY, 0o644)
    return folder / "faulty.yaml"


@pytest.mark.parametrize("verb", ["check", "run"])
def test_every_fault_is_reported_with_its_place(verb, faulty):
    said = assert_refused(verb, faulty, prefix=NO_PRIVILEGE)
    (missing,) = [each for each in said if "tunnels[1].ssh.known-hosts" in each[3]]
    assert missing[4].startswith("is missing"), missing
    (closed,) = [each for each in said if "tunnels[1].ssh.key" in each[3]]
    assert missing[1] == closed[1], (missing, closed)


def test_stdio_reports_them_as_well(faulty):
    """Run by hand, where sshd does not throw away what it says."""
    said = assert_refused("stdio", faulty, "--tunnel", "eight", prefix=NO_PRIVILEGE)
    assert len(said) >= 12, said


@pytest.mark.parametrize("verb", ["client", "server"])
def test_one_liners_name_what_is_missing(verb, keys):
    arguments = {"client": ["ssh://127.0.0.1:9", "--listen", "127.0.0.1:0", "--identity", keys.path("id_ed25519")],
                 "server": ["ssh://127.0.0.1:0", "--upstream", "clock", "--identity", keys.path("host_ed25519")]}[verb]
    missing = {"client": "known-hosts", "server": "authorized-keys"}[verb]
    done = command(verb, *arguments)
    assert done.returncode == 2 and missing in done.stderr and "is missing" in done.stderr, done


RIGHT = """\
tunnels:
  - name: one
    role: client
    listen: 127.0.0.1:10123
    connect: [gw.example.org]
    channel: ssh
    ssh: {key: id_ed25519, known-hosts: known_hosts}
  - name: four
    role: server
    listen: 127.0.0.1:14461
    upstream: clock
    channel: ssh
    ssh: {host-keys: [host_ed25519], authorized-keys: authorized_keys}
"""


def test_the_same_without_the_faults_is_accepted(faulty):
    good = faulty.with_name("good.yaml")
    good.write_text(RIGHT)
    done = command("check", "-c", str(good), prefix=NO_PRIVILEGE)
    assert done.returncode == 0, done
