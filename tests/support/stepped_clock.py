"""Another wall clock for one program, stepped while it runs; see stepped_clock.cpp."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from support.impairment import SUPPORT, nanoseconds


class SteppedClock:
    """`environment` is what the program has to be started with; `step` moves its clock, in seconds from the true one."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(SUPPORT / "stepped_clock.so"), "STEPPED_CLOCK": str(path)}
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    def step(self, seconds: float) -> None:
        self._memory[:8] = struct.pack("=q", nanoseconds(seconds))
