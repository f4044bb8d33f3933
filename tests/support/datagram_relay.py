"""A plain UDP relay between two head-ends that remembers what passed, and can say it again."""

from __future__ import annotations

import select
import socket
import threading

UP, DOWN = "up", "down"


class DatagramRelay:
    """One client at a time; `captured` holds every datagram of either direction in order."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.captured: dict[str, list[bytes]] = {UP: [], DOWN: []}
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._near.getsockname()[:2]
        self._far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._far.connect(target)
        self.source: tuple[str, int] = self._far.getsockname()[:2]  # what the target sees
        self._client: tuple[str, int] | None = None
        self._stopping, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> DatagramRelay:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        while True:
            ready = select.select([self._near, self._far, self._stopping], [], [])[0]
            if self._stopping in ready:
                return
            try:
                if self._near in ready:
                    data, self._client = self._near.recvfrom(65536)
                    self.captured[UP].append(data)
                    self._far.send(data)
                if self._far in ready:
                    data = self._far.recv(65536)
                    self.captured[DOWN].append(data)
                    if self._client:
                        self._near.sendto(data, self._client)
            except OSError:
                pass  # nobody listens at the moment, which a datagram does not mind

    def inject(self, direction: str, data: bytes) -> None:
        """As if it came from the other head-end; not captured."""
        if direction == UP:
            self._far.send(data)
        else:
            assert self._client is not None
            self._near.sendto(data, self._client)

    def stop(self) -> None:
        self._stop.send(b"!")
        self._thread.join(5)
        for each in (self._near, self._far, self._stopping, self._stop):
            each.close()
