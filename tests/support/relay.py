"""A plain TCP relay between two head-ends: it may hold bytes back, cut, or look at them."""

from __future__ import annotations

import socket
import threading
import time


class Relay:
    """`freeze` keeps every octet of both directions until `thaw`; `delay` holds each octet that many seconds."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.delay = {"up": 0.0, "down": 0.0}
        self._flowing = {"up": threading.Event(), "down": threading.Event()}
        self.thaw()
        self.accepted = 0
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def freeze(self, *directions: str) -> None:
        for direction in directions or ("up", "down"):
            self._flowing[direction].clear()

    def thaw(self, *directions: str) -> None:
        for direction in directions or ("up", "down"):
            self._flowing[direction].set()

    def cut(self) -> None:
        """Resets every connection that is open now; new ones are welcome."""
        for each in self._sockets:
            try:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._sockets.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                far = socket.create_connection(self.target, 5)
            except OSError:
                near.close()
                continue
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                each.settimeout(None)
            self._sockets += [near, far]
            self._spawn(near, far, "up")
            self._spawn(far, near, "down")

    def _spawn(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        thread = threading.Thread(target=self._pump, args=(source, sink, direction), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        try:
            while data := source.recv(65536):
                if self.delay[direction]:
                    time.sleep(self.delay[direction])
                self._flowing[direction].wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for each in (source, sink):
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(5)
        self.thaw()
        self.cut()
        for thread in self._threads:
            thread.join(5)
