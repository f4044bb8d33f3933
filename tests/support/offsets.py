"""Offsets through a tunnel and directly, one median against another: what one host's scheduler does to single samples
is in both."""

from __future__ import annotations

import statistics
import time

from support import ntp

SAMPLES = 101
BOUND = 20e-6


def sample(client: ntp.Client, pause: float) -> float:
    answer = client.ask(1.0)
    assert answer is not None
    time.sleep(pause)
    return answer.offset


def assert_same_median(direct: tuple[str, int], tunnelled: tuple[str, int], pause: float) -> None:
    rounds = []
    with ntp.Client(direct) as one, ntp.Client(tunnelled) as other:
        for _ in range(8):  # a bias shows in every round, a busy machine hardly in all
            pairs = [(sample(one, pause), sample(other, pause)) for _ in range(SAMPLES)]
            told, through = zip(*pairs)
            rounds.append(statistics.median(through) - statistics.median(told))
            if abs(rounds[-1]) < BOUND:
                return
    assert False, [f"{each * 1e6:.1f} us" for each in rounds]
