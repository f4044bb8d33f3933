"""Two hosts, 20 ms and one lost packet in a hundred apart each way: what a channel makes of it, counted and printed."""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from dataclasses import dataclass, field

import pytest

from support import ntp
from support.daemons import Chronyd
from support.gateway import Gateway, client_tunnel, drops, server_tunnel, total
from support.impairment import UDP, Link, UdpPath
from support.prober import Prober
from support.processes import eventually

CHANNELS = ("tls", "dtls")
DELAY = 0.02
LOSS = 0.01
EVERY = 1 / 150
LONG, SHORT = 8.0, 2.0  # seconds of asking, with loss and without
MAX_ROUND_TRIP = 1.0
LIMITS = {"requests-per-second-per-client": 0, "exchanges-per-client": 1000}


@dataclass
class Outcome:
    """What became of the questions of one client."""

    asked: int
    answers: list[ntp.Answer] = field(repr=False)
    wrong: list[bytes] = field(repr=False)

    @property
    def lost(self) -> int:
        return self.asked - len(self.answers)

    def line(self, what: str) -> str:
        waits = sorted(answer.waited * 1000 for answer in self.answers)
        at = {name: waits[min(int(len(waits) * share), len(waits) - 1)]
              for name, share in (("p50", .5), ("p90", .9), ("p99", .99), ("max", 1))}
        slow = sum(1 for wait in waits if wait > 60)
        offsets = [abs(answer.offset) * 1000 for answer in self.answers]
        return (f"{what:22} {self.asked:5} asked, {self.lost:3} lost ({100 * self.lost / self.asked:4.1f} %), ms: "
                + ", ".join(f"{name} {value:.2f}" for name, value in at.items())
                + f", {slow} over 60, offset p50 {statistics.median(offsets):.3f} max {max(offsets):.3f}")


class FarApart:
    """On the right chronyd and a server role for each channel, on the left one ntpgate with their client roles."""

    def __init__(self, start, supervisor, folder, pki, link: Link) -> None:
        self.link = link
        daemon = Chronyd(supervisor, folder / "chronyd", link.right.prefix).serve()
        servers = [server_tunnel(daemon.text(), pki.server(), name=channel, channel=channel,
                                 listen=f"{Link.RIGHT}:0") for channel in CHANNELS]
        self.server = start(*servers, name="server", prefix=link.right.prefix, limits=LIMITS)
        clients = [client_tunnel(self.server.listen(channel), pki.client(), name=channel, channel=channel)
                   for channel in CHANNELS]
        self.client = start(*clients, name="client", prefix=link.left.prefix, limits=LIMITS)

    def ask_all(self, seconds: float) -> dict[str, Outcome]:
        """Through every channel at once, so that all of them have the same weather."""
        with contextlib.ExitStack() as stack:
            probers = {channel: stack.enter_context(self._prober(channel)) for channel in CHANNELS}
            until = time.monotonic() + seconds
            eventually(lambda: time.monotonic() > until, "the end of the run", seconds + 5)
            for prober in probers.values():
                prober.ask_no_more()
        return {channel: Outcome(prober.asked, prober.heard.answers, prober.heard.wrong)
                for channel, prober in probers.items()}

    def _prober(self, channel: str) -> Prober:
        own = self.link.left.socket(socket.SOCK_DGRAM, "127.0.0.1")
        return Prober(self.client.address(channel), EVERY, own)


def assert_promises(outcome: Outcome) -> None:
    assert not outcome.wrong, outcome.wrong[:3]
    for answer in outcome.answers:
        assert answer.waited <= MAX_ROUND_TRIP, answer
        # Both clocks are one, and each way takes 20 ms at least: half of the rest is all that can be wrong.
        assert abs(answer.offset) <= (answer.delay - 2 * DELAY) / 2 + 0.0005, answer


@pytest.mark.measures
def test_loss_costs_what_was_lost(start, supervisor, folder, trial_pki, link, capsys):
    link.set(delay=DELAY)
    world = FarApart(start, supervisor, folder, trial_pki, link)
    quiet = world.ask_all(SHORT)
    before = link.report()
    link.set(delay=DELAY, loss=LOSS)
    lossy = world.ask_all(LONG)
    after = link.report()
    counted = world.client.finish()
    served = world.server.finish()

    with capsys.disabled():
        control = link.left.setting("ipv4/tcp_congestion_control")
        print(f"\n20 ms each way, 1 % lost each way; TCP congestion control {control}, seed {link.seed}")
        for channel in CHANNELS:
            print(quiet[channel].line(f"  {channel} without loss"))
            print(lossy[channel].line(f"  {channel} with loss"))
            print(f"  {channel} drops {counted[channel]['requests']['drops']} {counted[channel]['replies']['drops']}, "
                  f"channels {counted[channel]['channels']}")
        print(f"  the link was behind by {max(after[side]['latest'] for side in after) / 1e6:.2f} ms at most")

    assert sum(after[side]["lost"] for side in after) > 0
    for outcome in (*quiet.values(), *lossy.values()):
        assert_promises(outcome)
    for channel in CHANNELS:
        assert counted[channel]["channels"]["opened"] == 1, counted[channel]
        answers = len(quiet[channel].answers) + len(lossy[channel].answers)
        assert counted[channel]["exchanges"]["answered"] == answers, counted[channel]
    # One packet for a question, one for its answer: a datagram channel loses what the network takes, and no more.
    gone = sum(after[side]["flows"][UDP]["dropped"] - before[side]["flows"][UDP]["dropped"] for side in after)
    refused = sum(total(drops(role["dtls"], side)) for role in (counted, served) for side in ("requests", "replies"))
    assert 0 < lossy["dtls"].lost + quiet["dtls"].lost <= gone + refused, "more was lost than the network took"


def test_what_the_network_repeats_and_turns_round_is_answered_once(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), channel="dtls"), name="server", limits=LIMITS)
    with UdpPath(server.address()) as path:
        client = start(client_tunnel(path.where, trial_pki.client(), channel="dtls"), name="client", limits=LIMITS)
        path.set(duplicate=0.3, reorder=0.3, reorder_by=0.012, jitter=0.001)
        with Prober(client.address(), 0.005) as prober:
            eventually(lambda: prober.answered_since(0) >= 400, "answers", 20)
        assert not prober.heard.wrong, prober.heard.wrong[:3]
        for answer in prober.heard.answers:
            assert answer.waited <= MAX_ROUND_TRIP and abs(answer.offset) <= answer.delay / 2 + 0.0005, answer
        # Both ends are there until all is counted: what comes after a channel's end belongs to none.
        path.set(duplicate=0.0, reorder=0.0)
        for direction, role in {"down": client, "up": server}.items():
            repeated = path.report()[direction]["duplicated"]
            # Each repeated record is known for one by the side that it came to, and audited without flooding the file.
            eventually(lambda role=role, repeated=repeated: noticed(role) == {"replay_detected": repeated},
                       f"{repeated} records known for repeated ones by the {role.name}, which saw {noticed(role)}")
            audited = role.events("replay_detected")
            assert audited and len(audited) < 20, len(audited)
        for role in (client, server):
            assert role.finish()[role.name]["channels"]["opened"] == 1


def noticed(role: Gateway) -> dict[str, int]:
    discarded = role.counters()["channels"]["discarded"]
    discarded.pop("no_cookie", None)  # of the first ClientHello
    return discarded


@pytest.mark.measures
def test_a_slower_way_out_than_back_shows_as_half_of_the_difference(start, trial_pki, chronyd):
    """NTP's blind spot: what only one way takes longer cannot be seen, and so must not be corrected by anybody."""
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), channel="dtls"), name="server")
    with UdpPath(server.address()) as path:
        client = start(client_tunnel(path.where, trial_pki.client(), channel="dtls"), name="client")
        path.set("up", delay=0.03)
        path.set("down", delay=0.01)
        with ntp.Client(client.address()) as asker:
            answers = [asker.ask() for _ in range(20)]
        assert all(answers) and not asker.heard.wrong
        for answer in answers:
            assert answer.delay >= 0.04 and abs(answer.offset - 0.01) <= (answer.delay - 0.04) / 2 + 0.0005, answer
        client.finish()
    server.finish()
