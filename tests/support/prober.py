"""A client that asks all the time, to see when time stops and when it comes back."""

from __future__ import annotations

import socket
import threading
import time

from support import ntp


class Prober:
    """Asks every `every` seconds from one socket in a thread of its own, until `stop`."""

    def __init__(self, server: tuple[str, int], every: float = 0.04, own: socket.socket | None = None) -> None:
        self._client = ntp.Client(server, own=own)
        self._every = every
        self._stopping = False
        self.asked = 0
        self._answered: list[float] = []  # when, on the monotonic clock
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def heard(self) -> ntp.Heard:
        return self._client.heard

    def _work(self) -> None:
        due = time.monotonic()
        while not self._stopping:
            self._client.send()
            self.asked += 1
            due += self._every
            while (left := due - time.monotonic()) > 0:
                if self._client.receive(left) is not None:
                    self._answered.append(time.monotonic())
        while self._client.receive(1.2) is not None:  # longer than max-round-trip: whatever is still under way
            self._answered.append(time.monotonic())

    def answered_since(self, moment: float) -> int:
        return sum(1 for each in list(self._answered) if each >= moment)

    def ask_no_more(self) -> None:
        """What is still under way is waited for by `stop`, so that several may wait at once."""
        self._stopping = True

    def stop(self) -> None:
        self.ask_no_more()
        self._thread.join(10)
        self._client.socket.close()
