"""An NTP daemon that tells the truth until a test teaches it to lie."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from support import ntp

Address = tuple[str, int]


class Daemon:
    """`answer(daemon, request, from)` may call `say` as often and as late as it likes."""

    def __init__(self, answer: Callable[[Daemon, bytes, Address], None] | None = None, port: int = 0,
                 own: socket.socket | None = None) -> None:
        """`own` is a bound socket to use, of another network perhaps."""
        self.answer = answer or Daemon.honestly
        self.heard: list[bytes] = []
        self.offset = 0.0
        self._socket = own or socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if own is None:
            self._socket.bind(("127.0.0.1", port))
        self._socket.settimeout(0.1)
        self.address: Address = self._socket.getsockname()
        self._stopping = False
        self._timers: list[threading.Timer] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def text(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def say(self, data: bytes, to: Address, after: float = 0.0) -> None:
        if after:
            timer = threading.Timer(after, self._send, (data, to))
            timer.daemon = True
            self._timers.append(timer)
            timer.start()
        else:
            self._send(data, to)

    def _send(self, data: bytes, to: Address) -> None:
        try:
            self._socket.sendto(data, to)
        except OSError:
            pass  # the test is over, or the asker is gone

    def honestly(self, data: bytes, asker: Address) -> None:
        asked = ntp.Packet.decode(data)
        self.say(ntp.honest_reply(asked, time.time_ns(), self.offset).encode(), asker)

    def _serve(self) -> None:
        while not self._stopping:
            try:
                data, asker = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            except OSError:
                return
            self.heard.append(data)
            self.answer(self, data, asker)

    def stop(self) -> None:
        self._stopping = True
        for timer in self._timers:
            timer.cancel()
        self._thread.join(5)
        self._socket.close()
