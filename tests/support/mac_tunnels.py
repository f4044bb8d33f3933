"""Tunnels of channel mac, as several tests write them."""

from __future__ import annotations

UNLIMITED = {"requests-per-second-per-client": 0}


def mac_client(name: str, connect: object, keys, number: object, **more: object) -> dict[str, object]:
    version = more.pop("version", 4)
    return {"name": name, "role": "client", "listen": "127.0.0.1:0",
            "connect": connect if isinstance(connect, list) else [connect], "channel": "mac",
            "mac": {"keys": str(keys), "key": number, "version": version}} | {
                key.replace("_", "-"): value for key, value in more.items()}


def mac_server(upstream: str, keys, trusted: list[int], listen: str = "127.0.0.1:0", **mac: object) -> dict[str, object]:
    return {"name": "server", "role": "server", "listen": listen, "upstream": upstream, "channel": "mac",
            "mac": {"keys": str(keys), "trusted": trusted} | {key.replace("_", "-"): value for key, value in mac.items()}}
