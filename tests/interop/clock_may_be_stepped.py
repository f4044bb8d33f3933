"""A wall clock stepped by an hour either way is what this program exists for: no timer and no exchange may notice."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import ntp
from support.gateway import Gateway, client_tunnel, server_tunnel
from support.impairment import UdpPath
from support.pki import CLIENT, SERVER, TrialPki
from support.prober import Prober
from support.processes import eventually
from support.stepped_clock import SteppedClock

HOUR = 3600.0
CHANNELS = ("tls", "dtls")
WHO = pytest.mark.parametrize("who", ["client", "server"])
MAX_ROUND_TRIP = 1.0
UNLIMITED = {"requests-per-second-per-client": 0}


@pytest.fixture
def pki(folder) -> TrialPki:
    """Certificates that were valid an hour ago, too."""
    made = TrialPki(folder)
    server = made.authority.issue(usages=(SERVER,), starts=-1.9)
    client = made.authority.issue(names=("DNS:client.test",), usages=(CLIENT,), starts=-1.9)
    made.server_certificate, made.server_key = server.write(folder, "server")
    made.client_certificate, made.client_key = client.write(folder, "client")
    return made


class World:
    """Both roles, and a clock of its own for one of them."""

    def __init__(self, start, pki: TrialPki, daemon, clock: SteppedClock, who: str) -> None:
        self._start, self._pki, self._daemon = start, pki, daemon
        self._environment = {who: clock.environment}
        self._who = who
        self.roles: dict[str, Gateway] = {}

    def server(self, *channels: str) -> Gateway:
        return self._bring("server", [server_tunnel(self._daemon.text(), self._pki.server(), name=channel,
                                                    channel=channel) for channel in channels])

    def client(self, targets: dict[str, str]) -> Gateway:
        return self._bring("client", [client_tunnel(target, self._pki.client(), name=channel, channel=channel)
                                      for channel, target in targets.items()])

    def _bring(self, name: str, tunnels: list[dict[str, object]]) -> Gateway:
        self.roles[name] = self._start(*tunnels, name=name, limits=UNLIMITED, environment=self._environment.get(name))
        return self.roles[name]

    def finish(self, step: float) -> None:
        """Nothing failed and nothing was dropped; and the program did see the other time, or nothing was proven."""
        for counted in [self.roles[name].finish() for name in ("client", "server")]:
            for channel, counters in counted.items():
                assert counters["channels"]["opened"] == 1, (channel, counters)
                assert not counters["channels"]["failed"], (channel, counters)
                assert not counters["requests"]["drops"] and not counters["replies"]["drops"], (channel, counters)
        stopped = datetime.datetime.fromisoformat(self.roles[self._who].events("stopped")[-1]["time"])
        away = (stopped - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
        assert abs(away - step) < 60, away


@pytest.fixture
def clock(folder) -> SteppedClock:
    return SteppedClock(folder / "step")


def assert_right(answers: list[ntp.Answer]) -> None:
    for answer in answers:
        assert answer.waited <= MAX_ROUND_TRIP
        assert abs(answer.offset) <= answer.delay / 2 + 0.0005, answer


@WHO
def test_steps_under_traffic_change_nothing(who, start, pki, chronyd, clock):
    world = World(start, pki, chronyd, clock, who)
    server = world.server(*CHANNELS)
    client = world.client({channel: server.listen(channel) for channel in CHANNELS})
    with contextlib.ExitStack() as stack:
        probers = [stack.enter_context(Prober(client.address(channel), 0.02)) for channel in CHANNELS]
        for step in (0, HOUR, -HOUR):
            clock.step(step)
            known = [prober.answered_since(0) for prober in probers]
            eventually(lambda known=known: all(prober.answered_since(0) >= before + 30
                                               for prober, before in zip(probers, known)), f"answers after {step} s")
        for prober in probers:
            prober.ask_no_more()
    for prober in probers:
        assert not prober.heard.wrong, prober.heard.wrong[:3]
        assert_right(prober.heard.answers)
    world.finish(-HOUR)


@WHO
@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
@pytest.mark.parametrize(("direction", "number"), [("up", 2), ("down", 2), ("up", 3)])
def test_a_step_within_a_handshake_changes_nothing(direction, number, step, who, start, pki, chronyd, clock):
    """The path takes everything of one side from that datagram on; the clock is stepped, and retransmission goes on."""
    world = World(start, pki, chronyd, clock, who)
    with UdpPath(world.server("dtls").address()) as path, ThreadPoolExecutor(1) as pool:
        for each in range(number, number + 100):
            path.hook(direction, each, "drop")
        stepping = pool.submit(step_while_blocked, path, direction, lambda: clock.step(step))
        client = world.client({"dtls": path.where})
        stepping.result(20)
        client.wait_event("channel_opened")
        with ntp.Client(client.address()) as asker:
            assert_right([eventually(lambda: asker.ask(0.5), "an answer")])
        world.finish(step)


def step_while_blocked(path: UdpPath, direction: str, step: Callable[[], None]) -> None:
    def dropped() -> int:
        return path.report()[direction]["hooked_away"]

    eventually(lambda: dropped() >= 1, "a lost datagram")
    step()
    before = dropped()
    eventually(lambda: dropped() > before, "a retransmission after the step", 5)
    path.renumber()
