"""`certificate-time: bootstrap`: a host whose clock is decades off gets the time through a channel, and from nobody whose
certificate is not valid at that very time."""

from __future__ import annotations

import time

import pytest

from support import ntp
from support.gateway import client_tunnel, query, server_tunnel
from support.nts import UNLIMITED, front, port_of, sidecar
from support.pki import SERVER, Authority, TrialPki
from support.processes import eventually
from support.stepped_clock import SteppedClock
from support.upstream import Daemon

YEARS = 365.25 * 86400
CHANNELS = pytest.mark.parametrize("channel", ["tls", "dtls", "nts"])


@pytest.fixture
def clock(folder) -> SteppedClock:
    return SteppedClock(folder / "step")


class Site:
    """A server role in front of `daemon`, and client roles whose clocks are wrong."""

    def __init__(self, start, folder, channel: str, daemon) -> None:
        self._start, self._folder, self._channel = start, folder, channel
        self._daemon = daemon
        self.pki = TrialPki(folder / "pki")
        self.server = self._serve(self.pki.server_leaf, 0)
        self.port = port_of(self.server)[1] if channel == "nts" else self.server.address()[1]
        self._clients = 0

    def _serve(self, leaf, port: int):
        certificate, key = leaf.write(self._folder, f"server{time.monotonic_ns()}")
        own = {"certificate": certificate, "key": key, "certificate-time": "unchecked"}  # else it would not start
        if self._channel == "nts":
            tunnel = front(self.pki, self._daemon.text(), {"keys": str(self._folder / "nts.keys"),
                                                           "ke-listen": f"127.0.0.1:{port}"}, tls=own)
        else:
            tunnel = server_tunnel(self._daemon.text(), self.pki.server() | own, channel=self._channel,
                                   listen=f"127.0.0.1:{port}")
        return self._start(tunnel, name=f"server{time.monotonic_ns()}", limits=UNLIMITED)

    def serve_with(self, leaf) -> None:
        """The same address, another certificate."""
        self.server.finish()
        self.server = self._serve(leaf, self.port)

    def client(self, clock: SteppedClock | None, how: str = "bootstrap", good: bool = True):
        """Strict, it has no certificate of its own: a program whose own is not valid now would not start."""
        rules: dict[str, object] = {"certificate-time": how}
        if good and how == "bootstrap":
            rules["last-good-time"] = str(self._folder / "good-time")
        if self._channel == "nts":
            tunnel = sidecar(self.pki, f"localhost:{self.port}", tls={"ca": self.pki.ca} | rules, name="client")
        else:
            own = self.pki.client() if how == "bootstrap" else {"ca": self.pki.ca, "server-name": "localhost"}
            tunnel = client_tunnel(f"127.0.0.1:{self.port}", own | rules, channel=self._channel)
        self._clients += 1
        return self._start(tunnel, name=f"client{self._clients}", limits=UNLIMITED,
                           environment=clock.environment if clock else None)


@pytest.fixture
def site(start, folder, daemon, channel) -> Site:
    (folder / "pki").mkdir()
    return Site(start, folder, channel, daemon)


@pytest.fixture
def daemon():
    with Daemon() as running:
        yield running


def asked(client, timeout: float = 0.5):
    return ntp.ask(client.address(), timeout)


def remember(folder, seconds_ago: float) -> None:
    file = folder / "good-time"
    file.write_text(f"ntpgate-time 1\n{int(time.time() - seconds_ago)}\n", encoding="ascii")
    file.chmod(0o600)


@CHANNELS
@pytest.mark.parametrize("years", [-20, 20])
def test_a_clock_that_is_decades_off_gets_the_time(site, folder, clock, years):
    clock.step(years * YEARS)
    strict = site.client(clock, "strict")
    reason = "certificate_not_yet_valid" if years < 0 else "certificate_expired"
    assert strict.wait_reason(reason)["outcome"] == "failure"
    assert asked(strict, 0.3) is None
    client = site.client(clock)
    answer = eventually(lambda: asked(client), "an answer")
    assert abs(answer.offset) < 0.05, answer
    records = client.events("certificate_time")
    assert [record["reason"] for record in records] == ["provisional", "verified"], records
    verified = records[1]
    assert verified["outcome"] == "success"
    assert verified["learnt"][:4] == time.strftime("%Y", time.gmtime()), verified
    assert verified["local"][:4] != verified["learnt"][:4], verified
    kept = int((folder / "good-time").read_text(encoding="ascii").split()[2])
    assert abs(kept - time.time()) < 60
    assert (folder / "good-time").stat().st_mode & 0o777 == 0o600
    assert asked(client) is not None, "the channel did not last"
    client.finish()


@CHANNELS
def test_nobody_but_the_own_query_asks_before_the_time_is_proven(site, daemon, clock):
    clock.step(-20 * YEARS)
    heard: list[bytes] = []
    honest = daemon.answer
    daemon.answer = lambda _, data, asker: heard.append(data)
    client = site.client(clock)
    client.wait_event("certificate_time", reason="provisional")
    for _ in range(5):
        assert asked(client, 0.2) is None
    counted = client.wait_counters(lambda now: now["requests"]["drops"].get("no_channel", 0) == 5, "five refusals")
    assert counted["certificate-time"] == "unproven" and counted["replies"]["forwarded"] == 0, counted
    own = counted["requests"]["received"] - 5
    assert len(heard) <= own, "a client's request reached the daemon"
    daemon.answer = honest
    assert eventually(lambda: asked(client, 0.3), "an answer", 20) is not None
    assert client.counters()["certificate-time"] == "proven"
    client.finish()


@CHANNELS
def test_a_certificate_that_is_not_valid_at_the_time_learnt_is_refused(site, clock):
    site.serve_with(site.pki.authority.issue(usages=(SERVER,), starts=-1.9, ends=-0.5))
    clock.step(-1 * 3600)  # at which the certificate looks valid
    client = site.client(clock)
    record = client.wait_event("certificate_time", outcome="failure")
    assert record["reason"] == "certificate_expired", record
    assert asked(client, 0.5) is None
    # Each attempt waits longer than the one before: 0.1 s, 0.2 s and so on, with jitter.
    assert len(client.events("certificate_time", outcome="failure")) < 8
    assert not client.events("certificate_time", reason="verified")
    # Not given up: with another certificate it is tried again.
    site.serve_with(site.pki.authority.issue(usages=(SERVER,)))
    assert eventually(lambda: asked(client, 0.3), "an answer", 40) is not None
    client.finish()


@CHANNELS
def test_a_time_below_the_last_good_one_is_refused(site, folder, daemon, clock):
    site.serve_with(site.pki.authority.issue(usages=(SERVER,), starts=-1.9, ends=-0.5))
    remember(folder, 60)
    clock.step(-20 * YEARS)
    daemon.offset = -3600.0  # when the stolen certificate was still valid
    client = site.client(clock)
    record = client.wait_event("certificate_time", outcome="failure")
    assert record["reason"] == "time_too_early", record
    assert asked(client, 0.5) is None
    client.finish()
    assert int((folder / "good-time").read_text(encoding="ascii").split()[2]) > time.time() - 120


@CHANNELS
def test_a_time_below_the_build_date_is_refused(site, daemon, clock):
    clock.step(-20 * YEARS)
    daemon.offset = -15 * YEARS
    client = site.client(clock, good=False)
    record = client.wait_event("certificate_time", outcome="failure")
    assert record["reason"] == "time_too_early", record
    assert asked(client, 0.3) is None
    client.finish()


@CHANNELS
def test_what_was_proven_binds_the_next_start(site, folder, daemon, clock):
    clock.step(-20 * YEARS)
    client = site.client(clock)
    assert eventually(lambda: asked(client), "an answer") is not None
    client.finish()
    kept = (folder / "good-time").read_text(encoding="ascii")
    daemon.offset = -7200.0
    second = site.client(clock)
    assert second.wait_event("certificate_time", outcome="failure")["reason"] == "time_too_early"
    second.finish()
    assert (folder / "good-time").read_text(encoding="ascii") == kept


@CHANNELS
def test_later_channels_are_judged_by_the_time_that_was_proven(site, clock):
    """Not by the clock, which is as wrong as before."""
    clock.step(-20 * YEARS)
    client = site.client(clock)
    assert eventually(lambda: asked(client), "an answer") is not None
    if site._channel == "nts":
        (site._folder / "nts.keys").unlink()  # the cookies are of no use any more
    site.serve_with(site.pki.authority.issue(usages=(SERVER,), starts=-1.9, ends=-0.5))

    def refused():
        asked(client, 0.1)
        return [record for record in client.audit() if record.get("reason") == "certificate_expired"]

    assert eventually(refused, "a refusal", 30)
    assert asked(client, 0.3) is None
    client.finish()


@CHANNELS
def test_query_proves_the_time_for_itself(site, folder, clock):
    """Under the host's true clock, since a query that is preloaded would ask its own: the same road all the same."""
    client = site.client(None)
    code, said = query("-c", str(client.config), "--tunnel", "client", "-n", "1")
    assert code == 0 and abs(said["offset"]) < 0.05, said
    client.finish()


def test_every_other_check_is_made_at_once(start, folder, clock, daemon):
    """A name or an issuer that is wrong is wrong at any time: no provisional channel is opened."""
    (folder / "pki").mkdir()
    site = Site(start, folder, "tls", daemon)
    site.serve_with(site.pki.authority.issue(usages=(SERVER,), names=("DNS:other.test",)))
    clock.step(-20 * YEARS)
    client = site.client(clock)
    assert client.wait_reason("name_mismatch")["outcome"] == "failure"
    assert not client.events("certificate_time")
    site.serve_with(Authority("somebody else").issue(usages=(SERVER,)))
    assert client.wait_reason("unknown_ca", timeout=40)
    assert not client.events("certificate_time")
    client.finish()
