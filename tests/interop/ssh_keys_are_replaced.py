"""Keys, and the files that say who is trusted, come and go while time is asked for over SSH."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support import ntp
from support.gateway import Gateway
from support.mac_tunnels import UNLIMITED
from support.prober import Prober
from support.processes import eventually
from support.ssh import Keys, client_of, new_key, server_of

PATIENT = {"max-age": "900ms", "max-round-trip": "1100ms"}


class Site:
    def __init__(self, start, keys: Keys, upstream: str) -> None:
        self.keys = keys
        self.server: Gateway = start(server_of(upstream, keys) | {"timing": PATIENT}, name="server", limits=UNLIMITED)
        self.client: Gateway = start(client_of(self.server.listen(), keys) | {"timing": PATIENT}, name="client",
                                     limits=UNLIMITED)
        eventually(lambda: ntp.ask(self.client.address()), "time")

    def change(self, name: str, text: str) -> None:
        """As editors do it: another file, of the same mode, in the place of the old one."""
        path = Path(self.keys.path(name))
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(text, encoding="ascii")
        fresh.chmod(path.stat().st_mode & 0o777)
        fresh.rename(path)

    def text(self, name: str) -> str:
        return Path(self.keys.path(name)).read_text(encoding="ascii")


@pytest.fixture
def site(start, keys, chronyd) -> Site:
    return Site(start, keys, chronyd.text())


def reloaded(side: Gateway, *changed: str) -> None:
    side.wait_until(lambda: [record for record in side.events("credentials_reloaded", outcome="success")
                             if record["changed"] == list(changed)], f"{changed} reloaded")


def same_as_before(side: Gateway) -> None:
    side.wait_until(lambda: any("the files hold the same credentials as before" in line for line in side.err), "a look")


def answered_more(prober: Prober, count: int = 20) -> None:
    before = len(prober.heard.answers)
    eventually(lambda: len(prober.heard.answers) >= before + count, "answers under load", 20)


def test_a_user_who_is_struck_off_loses_the_channel_and_comes_back_when_let_in(site):
    lines = site.text("authorized_keys")
    site.change("authorized_keys", "# nobody\n")
    closed = site.server.wait_event("channel_closed", reason="user_key_unknown")
    assert closed["outcome"] == "failure" and closed["subject"] == "ntpgate", closed
    site.client.wait_event("channel_failed", reason="refused_by_peer")
    assert ntp.ask(site.client.address(), 0.3) is None
    site.change("authorized_keys", lines)
    eventually(lambda: ntp.ask(site.client.address()), "time again", 20)


def test_a_user_whose_key_has_ended_loses_the_channel(site):
    site.change("authorized_keys", f'expiry-time="20200101Z" {site.keys.public("id_ed25519")}\n')
    site.server.wait_event("channel_closed", reason="user_key_expired")
    assert ntp.ask(site.client.address(), 0.3) is None


def test_a_host_key_that_is_revoked_ends_the_channel(site):
    lines = site.text("known_hosts")
    revoked = "".join(f"@revoked * {site.keys.public(name)}\n" for name in ("host_ed25519", "host_rsa"))
    site.change("known_hosts", lines + revoked)
    closed = site.client.wait_event("channel_closed", reason="host_key_revoked")
    assert closed["outcome"] == "failure", closed
    site.client.wait_event("channel_failed", reason="host_key_revoked")
    assert ntp.ask(site.client.address(), 0.3) is None
    site.change("known_hosts", lines)
    eventually(lambda: ntp.ask(site.client.address()), "time again", 40)


@pytest.mark.parametrize("name, side, text", [
    ("authorized_keys", "server", 'command="date" ssh-ed25519 AAAA\n'),
    ("known_hosts", "client", "localhost ssh-ed25519 !\n"),
    ("id_ed25519", "client", "-----BEGIN NOTHING-----\n"),
    ("host_ed25519", "server", "")])
def test_a_file_that_cannot_be_used_leaves_everything_as_it_is(name, side, text, site):
    kept = site.text(name)
    gateway = getattr(site, side)
    site.change(name, text)
    failure = gateway.wait_event("credentials_reloaded", outcome="failure", reason="unusable_file")
    assert name in failure["text"], failure
    assert ntp.ask(site.client.address())
    site.change(name, kept)
    same_as_before(gateway)
    assert len(site.client.events("channel_opened")) == 1


def test_a_file_that_others_may_write_is_not_taken(site):
    path = Path(site.keys.path("authorized_keys"))
    path.chmod(0o666)
    failure = site.server.wait_event("credentials_reloaded", outcome="failure", reason="unusable_file")
    assert "can be written by others" in failure["text"], failure
    assert ntp.ask(site.client.address())


def test_hanging_up_reads_the_files_again(site):
    site.server.send_signal(signal.SIGHUP)
    same_as_before(site.server)


def test_keys_of_both_sides_are_replaced_under_load_without_a_lost_exchange(site, folder):
    user, host = new_key(folder / "user2"), new_key(folder / "host2")
    own = {name: site.text(name) for name in ("authorized_keys", "known_hosts", "id_ed25519", "host_ed25519")}
    known = own["known_hosts"].splitlines()[0].split()[0]
    with Prober(site.client.address(), 0.01) as prober:
        # Each new key is trusted first, then used, and the old one is struck off at the end.
        second_user = f"{Path(f'{user}.pub').read_text(encoding='ascii')}"
        site.change("authorized_keys", own["authorized_keys"] + second_user)
        reloaded(site.server, "authorized-keys")
        second_host = f"{known} {Path(f'{host}.pub').read_text(encoding='ascii')}"
        site.change("known_hosts", own["known_hosts"] + second_host)
        reloaded(site.client, "known-hosts")
        answered_more(prober)
        site.change("host_ed25519", host.read_text(encoding="ascii"))
        reloaded(site.server, "host-keys")
        answered_more(prober)
        site.change("id_ed25519", user.read_text(encoding="ascii"))
        reloaded(site.client, "key")
        site.client.wait_event("channel_closed", reason="credentials_replaced")
        answered_more(prober)
        site.change("authorized_keys", second_user)
        site.change("known_hosts", second_host)
        eventually(lambda: len(site.server.events("credentials_reloaded", outcome="success")) == 3, "at the server")
        eventually(lambda: len(site.client.events("credentials_reloaded", outcome="success")) == 3, "at the client")
        answered_more(prober)
        prober.stop()
    for side in (site.client, site.server):
        (counted,) = side.finish().values()
        exchanges = counted["exchanges"]
        assert exchanges["opened"] == exchanges["answered"] == 1 + prober.asked == 1 + len(prober.heard.answers), counted
        assert not counted["requests"]["drops"] and not counted["replies"]["drops"], counted
        loaded = [record["fingerprint"] for record in side.events("key_loaded")]
        destroyed = [record["fingerprint"] for record in side.events("key_destroyed")]
        assert len(loaded) == {"client": 2, "server": 3}[side.name], loaded
        assert sorted(loaded) == sorted(destroyed), (loaded, destroyed)
