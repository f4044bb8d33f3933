"""A wrong configuration: every fault at once, each with file, line and column, and exit code 2."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from support.faults import assert_refused, assert_reported
from support.gateway import NTPGATE, command, server_tunnel
from support.pki import TrialPki
from support.processes import run

# Each line with a fault ends in a comment: the key, and a word that the message must have.
FAULTY = """\
profile: modern
colour: blue                          #! colour: known key
log: {{level: info, level: debug}}      #! level: repeated|twice|duplicate
tunnels:
  - name: one
    role: client
    listen: 127.0.0.1:10123
    connect: ["gw.example.org:4461"]
    channel: tls
    timing: {{max-age: 500}}            #! max-age: unit|duration|500ms
    tls:
      ca: missing.pem                 #! ca: missing.pem
      certificate: {certificate}
      key: {readable}                 #! key: readable|others|mode|permission
  - name: two
    role: client
    listen: 127.0.0.1:10123           #! listen: one|clash|also|same|used
    connect: [fe80::1]                #! connect: quote|bracket|port|IPv6
    channel: tls
    tls: {{ca: {ca}, certificate: {certificate}, key: {key}}}
  - name: three
    role: client
    listen: 0.0.0.0:10124             #! clients|listen: clients|loopback
    connect: ["gw.example.org:4461"]
    channel: tls
    tls: {{ca: {ca}, certificate: {certificate}, key: {key}}}
  - name: four
    role: server
    listen: 127.0.0.1:14461
    upstream: 192.0.2.1:123           #! upstream: local|unprotected
    channel: tls
    tls: {{ca: {ca}, certificate: {certificate}, key: {key}}}
  - name: five
    role: server
    listen: 127.0.0.1:14462
    upstream: 127.0.0.1:123
    channel: dtls
    framing: raw                      #! framing: raw|tls
    dtls: {{mtu: 100}}                  #! mtu: range|256
    tls: {{ca: {ca}, certificate: {certificate}, key: {key}}}
"""


@pytest.fixture
def faulty(folder) -> Path:
    pki = TrialPki(folder)
    readable = folder / "readable.key"
    readable.write_bytes(Path(pki.client_key).read_bytes())
    readable.chmod(0o644)
    path = folder / "faulty.yaml"
    path.write_text(FAULTY.format(ca=pki.ca, certificate=pki.client_certificate, key=pki.client_key,
                                  readable=readable))
    return path


@pytest.mark.parametrize("verb", ["check", "run"])
def test_all_faults_are_reported_in_one_run(verb, faulty):
    assert_refused(verb, faulty)


def test_json_has_the_same_in_fields(faulty):
    done = command("check", "--json", "-c", str(faulty))
    document = json.loads(done.stdout)
    assert done.returncode == 2 and document["valid"] is False
    assert_reported(faulty, [(each["file"], each["line"], each["column"], each["key"], each["message"])
                             for each in document["errors"]])


def test_unquoted_ipv6_says_what_to_do(folder):
    path = folder / "ipv6.yaml"
    path.write_text("tunnels:\n  - name: one\n    role: client\n    listen: [::1]:123\n")
    done = command("check", "-c", str(path))
    assert done.returncode == 2
    assert re.search(r":4:\d+: .*quot", done.stdout + done.stderr), done


def test_a_missing_file_is_a_configuration_error(folder):
    done = command("run", "-c", str(folder / "none.yaml"))
    assert done.returncode == 2 and "none.yaml" in done.stderr, done


@pytest.mark.parametrize("arguments", [["run"], ["check", "-c"], ["no-such-command"], ["query"], ["--no-such-option"]])
def test_wrong_usage_is_exit_code_2(arguments):
    done = command(*arguments)
    assert done.returncode == 2 and done.stderr, done


def test_an_address_that_another_process_has_is_exit_code_1(start, trial_pki, chronyd, folder):
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), name="first")
    second = folder / "second.yaml"
    second.write_text(server.config.read_text().replace("127.0.0.1:0", server.listen()))
    done = command("run", "-c", str(second))
    assert done.returncode == 1 and server.listen() in done.stderr, done
    server.finish()


def test_too_few_descriptors_for_the_limits_are_exit_code_2(trial_pki, chronyd, folder):
    path = folder / "many.yaml"
    path.write_text(yaml.safe_dump({"limits": {"channels": 100_000},
                                    "tunnels": [server_tunnel(chronyd.text(), trial_pki.server())]}))
    done = run(["prlimit", "--nofile=1024:4096", NTPGATE, "run", "-c", str(path)])
    assert done.returncode == 2 and "4096" in done.stderr, done


def test_version_names_the_libraries():
    done = command("version")
    assert done.returncode == 0
    for pattern in (r"^ntpgate 0\.1\.0$", r"OpenSSL 3\.", r"libuv +1\."):
        assert re.search(pattern, done.stdout, re.MULTILINE), done.stdout
