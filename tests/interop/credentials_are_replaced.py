"""Certificates, keys, lists and authorities come and go while time is asked for."""

from __future__ import annotations

import os
import signal
import ssl
from pathlib import Path

import pytest

from support import gateway as gateways
from support import ntp
from support.gateway import client_tunnel, command, server_tunnel
from support.mac import Key, write_keys
from support.mac_tunnels import UNLIMITED
from support.pki import CLIENT, SERVER, Authority, Leaf, Wish
from support.prober import Prober
from support.processes import eventually
from support.renewal import MountedSecret, chain_of, reloaded, serial
from support.tls import Peer, connect


def server_leaf(authority: Authority, **changes: object) -> Leaf:
    return authority.issue(Wish(common_name="server", usages=(SERVER,)), **changes)


def client_leaf(authority: Authority, **changes: object) -> Leaf:
    return authority.issue(Wish(common_name="client", names=("DNS:client.test",), usages=(CLIENT,)), **changes)


# What a busy machine delays is another matter than what a replacement loses.
PATIENT = {"max-age": "900ms", "max-round-trip": "1100ms"}


class Site:
    """Both ends of a tunnel with their secrets mounted, and the authority of both."""

    def __init__(self, start, folder: Path, upstream: str, lists: bool = True, **more: dict[str, object]) -> None:
        self.authority = Authority("first")
        self.server_leaf, self.client_leaf = server_leaf(self.authority), client_leaf(self.authority)
        self.at_server, self.at_client = MountedSecret(folder / "at-server"), MountedSecret(folder / "at-client")
        for secret, leaf in ((self.at_server, self.server_leaf), (self.at_client, self.client_leaf)):
            secret.show(leaf)
            secret.trust(self.authority)
            if lists:
                secret.lists(self.authority.crl())
        allow = {"allow": ["DNS:client.test"]}
        self.server = start(server_tunnel(upstream, self.at_server.block() | allow, **more.get("server", {})),
                            name="server", limits=UNLIMITED)
        self.client = start(client_tunnel(self.server.listen(), self.at_client.block() | {"server-name": "localhost"},
                                          **more.get("client", {})), name="client", limits=UNLIMITED)

    def finish(self) -> None:
        self.client.finish()
        self.server.finish()


def answered_more(prober: Prober, count: int = 20) -> None:
    before = len(prober.heard.answers)
    eventually(lambda: len(prober.heard.answers) >= before + count, "answers under load", 20)


def renew_certificates(site: Site) -> None:
    """The server's serves whoever comes; the client's makes the channel anew."""
    renewed = server_leaf(site.authority)
    site.at_server.show(renewed)
    record = reloaded(site.server, {"certificate", "key"})
    assert record["serial"] == serial(renewed.certificate), record
    assert len(site.server.events("channel_opened")) == 1
    site.at_client.show(client_leaf(site.authority))
    reloaded(site.client, {"certificate", "key"})
    site.client.wait_event("channel_closed", reason="credentials_replaced")
    assert site.client.events("channel_opened")[-1]["serial"] == serial(renewed.certificate)


def revoke_old_ones(site: Site) -> None:
    """Nobody shows these any more."""
    lists = site.authority.crl(site.server_leaf.certificate, site.client_leaf.certificate)
    site.at_server.lists(lists)
    site.at_client.lists(lists)
    reloaded(site.server, {"crl"})
    reloaded(site.client, {"crl"})


def change_authority(site: Site) -> None:
    """Trusted first, then used, then alone."""
    second = Authority("second")
    both = ((site.at_server, site.server), (site.at_client, site.client))
    for secret, side in both:
        secret.trust(site.authority, second)
        reloaded(side, {"ca"})
        side.wait_event("trust_anchor_changed", reason="added", subject="CN=second")
    site.at_server.show(server_leaf(second))
    reloaded(site.server, {"certificate", "key"}, 1)
    site.at_client.show(client_leaf(second))
    client = site.client
    client.wait_until(lambda: client.events("channel_opened")[-1]["issuer"] == "CN=second", "a channel under second")
    client.wait_until(lambda: len(client.events("channel_closed", reason="credentials_replaced")) == 2, "the old one's end")
    for secret, side in both:
        secret.trust(second)
        side.wait_event("trust_anchor_changed", reason="removed", subject="CN=first")


def test_replacement_under_load_loses_no_exchange(either_channel, start, folder, chronyd):
    old, new = Key.new(7, "SHA256"), Key.new(8, "AES128")
    server_keys, client_keys = write_keys(folder / "s.keys", [old]), write_keys(folder / "c.keys", [old])
    site = Site(start, folder, chronyd.text(),
                server={"mac": {"keys": str(server_keys), "trusted": [7, 8]}, "timing": PATIENT},
                client={"mac": {"keys": str(client_keys), "key": [8, 7]}, "timing": PATIENT})
    with Prober(site.client.address(), 0.01) as prober:
        for change in (lambda _: None, renew_certificates, revoke_old_ones, change_authority):
            change(site)
            answered_more(prober)
        for keys, event, subject in (([old, new], "key_loaded", "key 8"), ([new], "key_destroyed", "key 7")):
            for file, side in ((server_keys, site.server), (client_keys, site.client)):
                write_keys(file, keys)
                side.wait_until(lambda side=side: [record for record in side.events(event)
                                                   if record["subject"].startswith(subject)], f"{event} {subject}")
                answered_more(prober)
        prober.stop()
    for side in (site.client, site.server):
        (counted,) = side.finish().values()
        exchanges = counted["exchanges"]
        assert exchanges["opened"] == exchanges["answered"] == prober.asked == len(prober.heard.answers), counted
        assert not counted["requests"]["drops"] and not counted["replies"]["drops"], counted
        loaded = [record["spki-sha256"] for record in side.events("key_loaded") if "spki-sha256" in record]
        destroyed = [record["spki-sha256"] for record in side.events("key_destroyed") if "spki-sha256" in record]
        assert len(loaded) == 3 and sorted(loaded) == sorted(destroyed), (loaded, destroyed)


@pytest.mark.parametrize("judge", ["client", "server"])
@pytest.mark.parametrize("cause", ["revoked", "no anchor"])
def test_a_peer_admitted_no_longer_loses_its_channel(judge, cause, either_channel, start, folder, chronyd):
    site = Site(start, folder, chronyd.text())
    eventually(lambda: ntp.ask(site.client.address()), "time")
    side, secret, peer = {"client": (site.client, site.at_client, site.server_leaf),
                          "server": (site.server, site.at_server, site.client_leaf)}[judge]
    if cause == "revoked":
        secret.lists(site.authority.crl(peer.certificate))
        reason = "certificate_revoked"
    else:
        secret.trust(Authority("another"))
        reason = "unknown_ca"
    closed = side.wait_event("channel_closed", reason=reason)
    assert closed["outcome"] == "failure" and closed["subject"].startswith("CN="), closed
    rejected = side.wait_event("certificate_rejected", reason=reason)
    assert rejected["serial"] == serial(peer.certificate) and "FIA_X509_EXT.1" in rejected["sfr"], rejected
    assert ntp.ask(site.client.address(), 0.3) is None
    if cause == "revoked":  # and back: what was wrong is not remembered
        secret.lists(site.authority.crl())
    else:
        secret.trust(site.authority)
    eventually(lambda: ntp.ask(site.client.address(), 0.3), "time again", 40)
    site.finish()


def test_files_that_cannot_be_used_change_nothing(either_channel, start, folder, chronyd):
    site = Site(start, folder, chronyd.text())
    eventually(lambda: ntp.ask(site.client.address()), "time")
    kept = site.at_server.kept()
    other = server_leaf(site.authority)
    broken = {
        "broken": lambda: site.at_server.put(own_pem=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "does not belong to": lambda: site.at_server.put(own_key=key_of(other, folder)),
        "expired on": lambda: site.at_server.show(server_leaf(site.authority, starts=-48, ends=-1)),
        "lacks extendedKeyUsage serverAuth": lambda: site.at_server.show(client_leaf(site.authority)),
        "holds no PEM revocation list": lambda: site.at_server.lists(b""),
        "not a certificate authority": lambda: site.at_server.put(ca_pem=chain_of(site.server_leaf)),
    }
    failures = lambda: site.server.events("credentials_reloaded", outcome="failure")
    said_again = lambda line: sum(line in each for each in site.server.err)
    for count, (said, spoil) in enumerate(broken.items(), 1):
        spoil()
        site.server.wait_until(lambda: len(failures()) == count, said)
        record = failures()[-1]
        assert record["reason"] == "unusable_file" and said in record["text"], record
        kept_old = "the credentials loaded before stay in use"
        site.server.wait_until(lambda: said_again(kept_old) == count, kept_old)
        assert ntp.ask(site.client.address()), said
        site.at_server.restore(kept)
        site.server.wait_until(lambda: said_again("the same credentials as before") == count, "good files again")
    assert not site.server.events("credentials_reloaded", outcome="success")
    assert not site.server.events("key_destroyed") and len(site.server.events("channel_opened")) == 1
    site.finish()


def key_of(leaf: Leaf, folder: Path) -> bytes:
    return Path(leaf.write(folder, "scratch")[1]).read_bytes()


def test_a_signal_reloads_at_once_and_files_written_in_place_are_seen(start, folder, chronyd):
    site = Site(start, folder, chronyd.text())
    eventually(lambda: ntp.ask(site.client.address()), "time")
    renewed = client_leaf(site.authority)
    certificate, key = Path(site.at_client.path("own.pem")), Path(site.at_client.path("own.key"))
    key.write_bytes(key_of(renewed, folder))
    certificate.write_bytes(chain_of(renewed))
    site.client.send_signal(signal.SIGHUP)
    record = reloaded(site.client, {"certificate", "key"})
    assert record["serial"] == serial(renewed.certificate)
    site.server.wait_until(lambda: site.server.events("channel_opened")[-1]["serial"] == serial(renewed.certificate),
                           "a channel with the renewed certificate")
    site.finish()


def test_key_establishment_shows_the_new_certificate(start, folder, chronyd, trial_pki):
    secret = MountedSecret(folder / "secret")
    first = server_leaf(trial_pki.authority)
    secret.show(first)
    front = start({"name": "front", "role": "server", "channel": "nts", "listen": "127.0.0.1:0",
                   "upstream": chronyd.text(),
                   "nts": {"ke-listen": "127.0.0.1:0", "ntp-server": "localhost", "keys": str(folder / "nts.keys")},
                   "tls": {"certificate": secret.path("own.pem"), "key": secret.path("own.key")}})
    addresses = front.started["tunnels"][0]["listen"]
    assert shown_at(addresses[-1], trial_pki.ca) == first.certificate.serial_number
    second = server_leaf(trial_pki.authority)
    secret.show(second)
    reloaded(front, {"certificate", "key"})
    assert shown_at(addresses[-1], trial_pki.ca) == second.certificate.serial_number
    front.finish()


def shown_at(address: str, ca: str) -> int:
    host, _, port = address.rpartition(":")
    with connect(Peer(ca, alpn=("ntske/1",), oldest=ssl.TLSVersion.TLSv1_3), (host, int(port))) as peer:
        return int(peer.getpeercert()["serialNumber"], 16)


@pytest.mark.parametrize("role", ["client", "server"])
def test_an_expired_certificate_at_start_is_refused_clearly(role, either_channel, folder, trial_pki):
    leaf = (client_leaf if role == "client" else server_leaf)(trial_pki.authority, starts=-48, ends=-1)
    certificate, key = leaf.write(folder, "old")
    block = {"ca": trial_pki.ca, "certificate": certificate, "key": key}
    tunnel = (client_tunnel("127.0.0.1:9", block) if role == "client" else server_tunnel("127.0.0.1:9", block))
    config = gateways.write_config(folder / "old.yaml", [tunnel])
    for verb in ("run", "check"):
        done = command(verb, "-c", str(config))
        assert done.returncode == 2, done
        assert f"{certificate}: CN={role}: expired on " in done.stdout + done.stderr, done


@pytest.mark.parametrize("days", [29, 31])
def test_the_end_of_a_certificate_is_told_thirty_days_ahead(days, start, folder, trial_pki, chronyd):
    certificate, key = server_leaf(trial_pki.authority, starts=-24 * 100, ends=24 * days + 1).write(folder, "ending")
    block = trial_pki.server() | {"certificate": certificate, "key": key}
    server = start(server_tunnel(chronyd.text(), block))
    done = command("check", "--json", "-c", str(server.config))
    told = [warning for warning in gateways.json.loads(done.stdout)["warnings"]
            if warning["key"].endswith("tls.certificate")]
    server.wait_for_line("tunnel server: server role on")
    logged = [line for line in server.err if "tls.certificate: CN=server ends " in line]
    assert (len(told), len(logged)) == ((1, 1) if days < 30 else (0, 0)), (told, server.err)
    assert days > 30 or f"in {days} days" in told[0]["message"], told
    server.finish()


def test_a_key_out_of_reach_needs_a_restart(start, folder, chronyd):
    """Root gives its rights up, and says at once what it can no longer read; from others the key is taken away."""
    authority = Authority("first")
    secret = MountedSecret(folder / "secret")
    secret.show(server_leaf(authority))
    secret.trust(authority)
    folder.chmod(0o755)
    for path in [*secret.folder.rglob("*"), secret.folder]:
        if path.is_dir():
            path.chmod(0o755)
        elif path.suffix != ".key":
            path.chmod(0o644)
    root = os.geteuid() == 0
    server = start(server_tunnel(chronyd.text(), secret.block()), **({"user": "nobody"} if root else {}))
    if root:
        server.wait_for_line(r"needs_restart: .*own\.key cannot be read any more")
    else:
        os.chmod(secret.path("own.key"), 0)
    server.send_signal(signal.SIGHUP)
    record = server.wait_event("credentials_reloaded", outcome="failure")
    assert record["reason"] == "needs_restart" and "own.key" in record["text"], record
    server.wait_for_line("needs_restart: .*own.key cannot be read after privileges were dropped")
    server.finish()
    os.chmod(secret.path("own.key"), 0o600)
