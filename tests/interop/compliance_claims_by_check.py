"""`ntpgate check` over every profile, channel and inner seal: what may carry the claim, what is refused and under which
requirement's name, and which channel a profile chooses where the file names none."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from support import factory
from support.gateway import command, write_config
from support.ssh import new_key

FREE = ["modern", "compat", "lab"]
TD0321 = "ndcpp-2.0e-td0321"
LATER = ["ndcpp-2.1", "ndcpp-2.2e", "ndcpp-3.0e", "ndcpp-4.0", "ndcpp-4.0-cnsa1"]
PROFILES = [*FREE, TD0321, *LATER]
CHANNELS = ["tls", "dtls", "ssh", "mac", "nts"]
TLS_OR_DTLS = {"modern": "dtls", "lab": "dtls", "compat": "tls", TD0321: "tls", **dict.fromkeys(LATER, "dtls")}


def requirement(profile: str) -> str:
    return "" if profile in FREE else "FTP_ITC.1 (TD0321)" if profile == TD0321 else "FCS_NTP_EXT.1.2"


def carried_by(profile: str, channel: str, inner: bool) -> str | None:
    """What carries the claim, as the documents have it; None: refused."""
    if channel == "nts":
        return "nts" if profile in FREE and not inner else None
    if profile in FREE:
        return channel
    if profile == TD0321:
        return channel if channel in ("tls", "dtls", "ssh") else None
    if channel in ("dtls", "mac"):
        return channel
    return f"mac inside {channel}" if inner else None


class Blocks:
    """The blocks of a client or server role that loads under every profile which lets it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root = factory.make(factory.authority())
        self.ca = root.write(folder, "root")[0]
        self.certificate, self.key = factory.make(factory.Want(), root).write(folder, "peer")
        public = [new_key(folder / kind, kind, bits).with_suffix(".pub").read_text()
                  for kind, bits in (("rsa", 3072), ("ecdsa", 384))]
        (folder / "known_hosts").write_text("".join(f"gw.test {each}" for each in public))
        (folder / "authorized_keys").write_text("".join(public))
        keys = folder / "ntp.keys"
        keys.write_text(f"7 SHA512 HEX:{'ab' * 64}\n", encoding="ascii")
        keys.chmod(0o600)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def block(self, name: str, role: str) -> dict[str, object]:
        client = role == "client"
        if name == "mac":
            return {"keys": self.path("ntp.keys")} | ({"key": 7} if client else {"trusted": [7]})
        if name == "ssh":
            return {"user": "ntpgate"} | ({"key": self.path("rsa"), "known-hosts": self.path("known_hosts")} if client
                                          else {"host-keys": [self.path("rsa")],
                                                "authorized-keys": self.path("authorized_keys")})
        if name == "nts":
            return {"state": str(self.folder)} if client else {
                "ke-listen": "127.0.0.1:4460", "ntp-server": "127.0.0.1", "keys": self.path("nts.keys")}
        tls = {"ca": self.ca, "certificate": self.certificate, "key": self.key, "revocation": "soft"}
        return tls | ({"server-name": "localhost"} if client else {"allow": ["DNS:localhost"]})

    def tunnel(self, role: str, blocks: list[str], channel: str | None = None) -> dict[str, object]:
        ends = {"connect": "gw.test:4461"} if role == "client" else {"upstream": "clock"}
        keys = {"name": "one", "role": role, "listen": "127.0.0.2:4123", **ends,
                **({"channel": channel} if channel else {})}
        if "nts" in blocks and role == "server":
            plain = {key: value for key, value in self.block("tls", role).items() if key in ("certificate", "key")}
            return keys | {name: self.block(name, role) for name in blocks} | {"tls": plain}
        return keys | {name: self.block(name, role) for name in blocks}


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Blocks:
    return Blocks(tmp_path_factory.mktemp("blocks"))


def checked(blocks: Blocks, profile: str, tunnel: dict[str, object], stem: str) -> tuple[int, dict[str, object]]:
    config = write_config(blocks.folder / f"{stem}.yaml", [tunnel], profile=profile)
    done = command("check", "--json", "-c", str(config))
    return done.returncode, json.loads(done.stdout)


def messages(document: dict[str, object]) -> list[str]:
    return [error["message"] for error in document["errors"]]


OWN_BLOCK = {"tls": ["tls"], "dtls": ["tls"], "ssh": ["ssh"], "mac": ["mac"], "nts": ["nts"]}


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_channel_with_and_without_an_inner_seal(profile, role, blocks):
    def one(case: tuple[str, bool]) -> tuple[int, dict[str, object]]:
        channel, inner = case
        wanted = OWN_BLOCK[channel] + (["mac"] if inner and channel != "mac" else [])
        return checked(blocks, profile, blocks.tunnel(role, wanted, channel), f"{channel}-{inner}")

    cases = list(product(CHANNELS, [False, True]))
    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(cases, pool.map(one, cases), strict=True))
    for (channel, inner), (code, document) in results.items():
        expected = carried_by(profile, channel, inner)
        said = messages(document)
        if expected is None:
            assert code == 2 and document["valid"] is False, (channel, inner, document)
            if channel == "nts" and inner:
                assert any("mac" in text and "nts" in text for text in said), said
            if requirement(profile) and not (channel == "nts" and inner):
                about_claim = [text for text in said if text.startswith(f"{requirement(profile)}: channel {channel} ")]
                assert len(about_claim) == 1, (channel, inner, said)
                assert profile in about_claim[0] and "use " in about_claim[0], about_claim
            continue
        assert code == 0, (channel, inner, said)
        (tunnel,) = document["tunnels"]
        assert tunnel["channel"] == channel and not tunnel["channel-chosen"]
        claim = tunnel["claim"]
        with_mac = " with an inner mac" if inner and channel not in ("mac",) and not expected.startswith("mac") else ""
        assert claim.startswith(f"{expected}{with_mac}, under profile {profile}"), claim
        assert requirement(profile) in claim, claim


def chosen(profile: str, blocks: list[str]) -> str | None:
    """The first in the profile's order that the blocks leave possible (design: claims and automatic choice)."""
    order = {"modern": ["nts", "dtls", "tls", "ssh", "mac"], "lab": ["nts", "dtls", "tls", "ssh", "mac"],
             "compat": ["tls", "mac"], TD0321: ["tls", "dtls", "ssh"]}.get(profile, ["dtls", "mac"])
    possible = {"nts": "nts" in blocks, "tls": "tls" in blocks and "nts" not in blocks,
                "dtls": "tls" in blocks and "nts" not in blocks, "ssh": "ssh" in blocks, "mac": blocks == ["mac"]}
    return next((channel for channel in order if possible[channel]), None)


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_automatic_choice(profile, role, blocks):
    for wanted in (["tls"], ["tls", "mac"], ["ssh"], ["ssh", "mac"], ["mac"], ["nts"], ["tls", "ssh"]):
        code, document = checked(blocks, profile, blocks.tunnel(role, wanted), "-".join(wanted))
        expected = chosen(profile, wanted)
        if expected is None:
            assert code == 2, (wanted, document)
            (text,) = messages(document)
            assert "chooses among" in text and text.startswith(f"{requirement(profile)}: " if requirement(profile) else
                                                              "profile"), (wanted, text)
            continue
        # The choice is by the order alone; whether it may carry the claim is said of it as of any other.
        if carried_by(profile, expected, "mac" in wanted and expected != "mac") is None:
            assert code == 2 and messages(document)[0].startswith(requirement(profile)), (wanted, document)
            continue
        assert code == 0, (wanted, messages(document))
        (tunnel,) = document["tunnels"]
        assert (tunnel["channel"], tunnel["channel-chosen"]) == (expected, True), (wanted, tunnel["channel"])


@pytest.mark.parametrize("profile", PROFILES)
def test_what_the_block_says_can_decide_between_tls_and_dtls(profile, blocks):
    for changes, expected in (({"tls": {"versions": ["TLS1.2"], "revocation": "soft"}}, "tls"),
                              ({"tls": {"versions": ["DTLS1.2"], "revocation": "soft"}}, "dtls"),
                              ({"framing": "raw"}, "tls")):
        tunnel = blocks.tunnel("client", ["tls", "mac"]) | changes
        code, document = checked(blocks, profile, tunnel, expected)
        fits = expected in ("tls", "dtls") and (expected != "tls" or profile not in LATER)
        fits = fits and (expected != "dtls" or profile != "compat")
        if fits:
            assert code == 0 and document["tunnels"][0]["channel"] == expected, (changes, document["errors"])
        else:  # its order does not have the other one
            assert code == 2 and "chooses among" in messages(document)[0], (changes, document)


@pytest.mark.parametrize("profile", LATER)
def test_the_record_of_start_says_what_carries_each_claim(profile, start, blocks):
    tunnels = [blocks.tunnel("server", ["tls"], "dtls") | {"name": "by-dtls", "listen": "127.0.0.1:0"},
               blocks.tunnel("server", ["tls", "mac"], "tls") | {"name": "inside-tls", "listen": "127.0.0.1:0"},
               blocks.tunnel("server", ["mac"], "mac") | {"name": "by-mac", "listen": "127.0.0.1:0"}]
    gateway = start(*tunnels, profile=profile)
    for record in (gateway.started["tunnels"], [{"name": each["tunnel"], **each} for each in
                                                gateway.events("profile_claim")]):
        claims = {each["name"]: each["claim"] for each in record}
        rule = f", under profile {profile}, FCS_NTP_EXT.1.2: a digest of NTP, or DTLS, carries the claim"
        assert claims == {"by-dtls": "dtls" + rule, "inside-tls": "mac inside tls" + rule, "by-mac": "mac" + rule}
    gateway.finish()
