"""Unmodified clients get their time from a chronyd that listens on loopback only; nobody in between is configured for
them."""

from __future__ import annotations

import json
import re

import pytest

from support.daemons import Chronyd
from support.gateway import client_tunnel, server_tunnel
from support.processes import eventually, run


@pytest.fixture
def build(any_channel, start, trial_pki, supervisor, folder, network):
    """chronyd, server role and client role in a network of their own; the address that clients ask, on port 123."""

    def builder(**client_keys: object):
        served = Chronyd(supervisor, folder / "served", network.prefix).serve(11123, "keyfile " + key_file(folder))
        server = start(server_tunnel(served.text(), trial_pki.server()), name="server", prefix=network.prefix)
        asked = network.address(2)
        client = start(client_tunnel(server.listen(), trial_pki.client(), listen=f"{asked}:123", **client_keys),
                       name="client", prefix=network.prefix)
        return network, asked, server, client

    return builder


@pytest.fixture
def world(build):
    return build()


def key_file(folder) -> str:
    path = folder / "chrony.keys"
    path.write_text("7 AES128 HEX:000102030405060708090a0b0c0d0e0f\n")
    path.chmod(0o600)
    return str(path)


def finish(server, client) -> None:
    assert client.finish()["client"]["replies"]["forwarded"] > 0
    server.finish()


@pytest.mark.measures
def test_ntpdate_gets_its_samples(world):
    network, asked, server, client = world
    done = run(["/usr/sbin/ntpdate", "-q", asked], network.prefix)
    found = re.search(r"([+-]\d+\.\d+) \+/- (\d+\.\d+) " + re.escape(asked) + r" s3 no-leap", done.stdout)
    assert done.returncode == 0 and found, done
    assert abs(float(found[1])) < 0.01 and float(found[2]) < 0.05, done.stdout
    finish(server, client)


@pytest.mark.measures
def test_ntpdig_gets_its_samples(world):
    network, asked, server, client = world
    done = run(["/usr/bin/ntpdig", "-j", asked], network.prefix)
    assert done.returncode == 0, done
    said = json.loads(done.stdout)
    assert (said["ip"], said["stratum"], said["leap"]) == (asked, 3, "no-leap")
    assert abs(said["offset"]) < 0.01, said
    finish(server, client)


def follow(world, supervisor, folder, *options: str) -> Chronyd:
    """A chronyd that polls the client role sixteen times a second."""
    network, asked, _, _ = world
    directive = " ".join([f"server {asked} minpoll -4 maxpoll -4", *options])
    return Chronyd(supervisor, folder / "follower", network.prefix).follow(
        directive, "keyfile " + str(folder / "chrony.keys"))


def selected(follower: Chronyd) -> list[str] | None:
    """The row of the source once it is selected and its last eight polls were all answered."""
    row = next(iter(follower.ask("sources")), None)
    return row if row and row[1] == "*" and row[5] == "377" else None


@pytest.mark.measures
def test_chronyd_reaches_377_and_selects_the_source(world, supervisor, folder):
    _, asked, server, client = world
    follower = follow(world, supervisor, folder)
    row = eventually(lambda: selected(follower), "reach 377 and selection", 10)
    assert (row[2], row[3]) == (asked, "3"), row
    assert abs(float(row[7])) < 0.001, row
    finish(server, client)


def test_chronyds_key_is_left_alone_by_the_tunnel(world, supervisor, folder):
    _, _, server, client = world
    follower = follow(world, supervisor, folder, "key 7")
    eventually(lambda: selected(follower), "reach 377 and selection", 10)
    assert "Authenticated   : Yes" in ntpdata(follower, world[0])
    finish(server, client)


def ntpdata(follower: Chronyd, network) -> str:
    return run(["/usr/bin/chronyc", "-n", "-h", str(follower.socket), "ntpdata"], network.prefix).stdout


def test_interleaved_mode_passes_uncorrected(build, supervisor, folder):
    world = build(timing={"correct-hold": False})
    follower = follow(world, supervisor, folder, "xleave")
    eventually(lambda: selected(follower), "reach 377 and selection", 10)
    eventually(lambda: "Interleaved     : Yes" in ntpdata(follower, world[0]), "an interleaved reply", 5)
    finish(world[2], world[3])


@pytest.mark.measures
def test_a_corrected_reply_sends_an_interleaved_client_back_to_basic_mode(world, supervisor, folder):
    """The daemon does not know the receive stamp that the client repeats: less exact, never wrong."""
    follower = follow(world, supervisor, folder, "xleave")
    row = eventually(lambda: selected(follower), "reach 377 and selection", 10)
    assert abs(float(row[7])) < 0.001, row
    finish(world[2], world[3])
