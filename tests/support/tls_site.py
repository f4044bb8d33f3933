"""Server roles of tls and dtls under each document's profile, for the tests that are numbered after them; to be imported
as fixtures: pki, heads, site."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.evaluated import Heads, Met, Pki, channel_of, hello_for, meet
from support.gateway import Json
from support.tls_peer import Plan

RSA_SIZES = ("rsa2048", "rsa3072", "rsa4096")
CURVES = ("p256", "p384", "p521")


def tunnels(pki: Pki, _spec: str) -> list[Json]:
    return [pki.server_tunnel(channel, kind) for channel in ("tls", "dtls") for kind in (*RSA_SIZES, *CURVES)]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def heads(pki: Pki) -> Iterator[Heads]:
    running = Heads(pki, tunnels)
    yield running
    running.end()


class Site:
    """One head-end, one version, and what is noted of it."""

    def __init__(self, heads: Heads, pki: Pki, spec: str, version: str, evidence: object) -> None:
        self.gateway, self.pki, self.spec, self.version = heads.of(spec), pki, spec, version
        self.channel = channel_of(version)
        self.evidence = evidence
        evidence.note("profile", self.gateway.started["profile"])

    def right(self, **changes: object) -> Plan:
        return replace(Plan(), **changes).show(self.pki.client())

    def meet(self, plan: Plan | None = None, make_hello: object = None, kind: str = "p384", **more: object) -> Met:
        met = meet(self.gateway.address(f"{self.channel}-{kind}"), self.version, plan or self.right(), make_hello, **more)
        self.evidence.note(f"{self.channel}-{kind} {self.version}", [*met.client.diary, f"result: {met.result}"])
        return met

    def hello(self, **more: object) -> object:
        return lambda client: hello_for(self.version, client, **more)

    def refused(self, met: Met, reason: str | None = None, kind: str = "p384") -> None:
        """No handshake, no data; and the head-end recorded why."""
        assert not met.good and not met.client.data, met.client.diary
        if reason:
            name = f"{self.channel}-{kind}"

            def recorded() -> list[Json]:
                return [each for each in self.gateway.audit() if each["tunnel"] == name and
                        each["outcome"] == "failure" and each["reason"] == reason]

            record = self.gateway.wait_until(recorded, f"{name}: {reason}", 5)[-1]
            self.evidence.note("recorded", record)
            assert record["sfr"], record


@pytest.fixture
def site(heads: Heads, pki: Pki, spec: str, version: str, evidence: object) -> Site:
    return Site(heads, pki, spec, version, evidence)
