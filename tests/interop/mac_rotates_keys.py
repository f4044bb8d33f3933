"""Keys come and go while time is asked for: nothing is lost, and a broken file changes nothing but the log."""

from __future__ import annotations

import signal

from support import ntp
from support.gateway import command
from support.mac import Key, replace, write_keys
from support.mac_tunnels import UNLIMITED, mac_client, mac_server
from support.prober import Prober
from support.processes import eventually


def pair(start, folder, chronyd, keys: list[Key], key: object, trusted: list[int]):
    server_file = write_keys(folder / "server.keys", keys)
    client_file = write_keys(folder / "client.keys", keys)
    server = start(mac_server(chronyd.text(), server_file, trusted), name="server", limits=UNLIMITED)
    host, port = server.address()
    client = start(mac_client("client", f"{host}:{port}", client_file, key), name="client", limits=UNLIMITED)
    return server, client, server_file, client_file


def test_rotation_under_load_loses_no_exchange(start, folder, chronyd):
    old, new = Key.new(7, "SHA256"), Key.new(8, "AES128")
    server, client, server_file, client_file = pair(start, folder, chronyd, [old], [8, 7], [7, 8])

    def answered_more(prober: Prober, count: int = 20) -> None:
        before = len(prober.heard.answers)
        eventually(lambda: len(prober.heard.answers) >= before + count, "answers under load")

    with Prober(client.address(), 0.01) as prober:
        answered_more(prober)
        write_keys(server_file, [old, new])
        server.wait_event("key_loaded", subject="key 8")
        answered_more(prober)
        write_keys(client_file, [old, new])
        client.wait_event("key_loaded", subject="key 8")
        answered_more(prober)
        write_keys(server_file, [new])
        gone = server.wait_event("key_destroyed")
        assert gone["subject"].startswith("key 7, SHA256, check value"), gone
        answered_more(prober)
        write_keys(client_file, [new])
        client.wait_event("key_destroyed")
        answered_more(prober)
        prober.stop()
        assert prober.asked == len(prober.heard.answers) and not prober.heard.wrong
    for counted in (client.finish()["client"], server.finish()["server"]):
        exchanges = counted["exchanges"]
        assert exchanges["opened"] == exchanges["answered"] == prober.asked, counted
        assert not counted["requests"]["drops"] and not counted["replies"]["drops"], counted
    for gateway in (client, server):
        events = [record["event"] for record in gateway.audit()]
        assert events[-1] == "stopped" and events[-2] == "key_destroyed", events


def test_a_key_replaced_under_its_own_id_is_followed(start, folder, chronyd):
    old, new = Key.new(7, "SHA256"), Key.new(7, "SHA512")
    server, client, server_file, client_file = pair(start, folder, chronyd, [old], 7, [7])
    assert ntp.ask(client.address())
    write_keys(server_file, [new])
    server.wait_event("key_destroyed")
    assert ntp.ask(client.address(), 0.5) is None
    write_keys(client_file, [new])
    client.wait_event("key_destroyed")
    assert ntp.ask(client.address())
    assert server.finish()["server"]["requests"]["drops"] == {"bad_mac": 1}
    client.finish()


def test_a_broken_file_keeps_the_old_keys_and_says_why(start, folder, chronyd):
    key = Key.new(7, "SHA256")
    server, client, server_file, _ = pair(start, folder, chronyd, [key], 7, [7])
    broken = {
        "7 SHA256 HEX:0g\n": ("server.keys:1: the key has a character that is no hexadecimal digit", "hexadecimal"),
        "7 AES128 HEX:0011\n": ("server.keys:1: key 7 cannot be used: AES128 needs a key of exactly 128 bits", "128 bits"),
        f"{key.chrony_line()}\n7 SHA256 HEX:{'ab' * 20}\n": ("server.keys:2: key 7 is in line 1 already", "already"),
        f"9 SHA256 HEX:{'cd' * 20}\n": ("server.keys: has no key for this tunnel", "has no key"),
        "7 S d5a2b1c4d5a2b1c4\n8 SHA256 abcdefghijkl\n": ("server.keys:1: key 7 cannot be used: type S is DES", "DES"),
    }
    for count, (text, (said, reason)) in enumerate(broken.items(), 1):
        replace(server_file, text)
        server.wait_until(lambda: len(server.events("key_loaded", outcome="failure")) >= count, f"refusal of {text!r}")
        assert reason in server.events("key_loaded", outcome="failure")[-1]["reason"], text
        server.wait_until(lambda: any(said in line for line in server.err), said)
        kept = "the keys loaded before stay in use"
        server.wait_until(lambda: sum(kept in line for line in server.err) >= count, kept)
        assert ntp.ask(client.address()), text
    server_file.chmod(0o644)
    server.send_signal(signal.SIGHUP)
    server.wait_until(lambda: any("can be read by others" in line for line in server.err), "a word on its mode")
    server_file.unlink()
    server.send_signal(signal.SIGHUP)
    server.wait_until(lambda: any("no such file" in line for line in server.err), "a word on its absence")
    assert ntp.ask(client.address())
    write_keys(server_file, [key, Key.new(8)])
    server.send_signal(signal.SIGHUP)  # at once, and the file as good as before: nothing to record but a warning
    assert ntp.ask(client.address())
    assert not server.events("key_destroyed")
    server.finish()
    client.finish()


def test_a_key_replaced_by_signal_is_used_at_once(start, folder, chronyd):
    server, _, server_file, _ = pair(start, folder, chronyd, [Key.new(7)], 7, [7])
    write_keys(server_file, [Key.new(7)])
    server.send_signal(signal.SIGHUP)
    server.wait_event("key_destroyed")
    server.finish()


def test_no_octet_of_a_key_is_ever_said(start, folder, chronyd):
    """In no log, error, audit record or check output, whatever is wrong with the file."""
    key = Key.new(7, "SHA256")
    text = Key(7, "SHA256", b"correct-horse-battery")
    secrets = {key.secret.hex(), text.secret.decode(), key.secret.hex().upper(), key.secret.hex()[:12]}
    server, client, server_file, _ = pair(start, folder, chronyd, [key], 7, [7])
    assert ntp.ask(client.address())
    said = []
    files = [key.chrony_line(), f"7 {key.secret.hex()} SHA256", f"{key.secret.hex()} SHA256 7", f"{key.secret.hex()}",
             f"7 SHA256 {key.secret.hex()}x", f"7 SHA256 HEX:{key.secret.hex()}x", f"7 AES128 HEX:{key.secret.hex()}",
             f"7 S {key.secret.hex()}", f"7 SHA256 {text.secret.decode()}", f"7 SHA256 a {key.secret.hex()}",
             f"7 SHA256 {text.secret.decode()}#x {key.secret.hex()} y"]
    for count, line in enumerate(files):
        for form in ("auto", "ntp", "chrony"):
            file = replace(folder / f"{count}-{form}.keyfile", line + "\n")
            config = folder / f"{count}-{form}.yaml"
            config.write_text(server.config.read_text().replace(str(server_file), str(file)).replace(
                "    trusted:", f"    format: {form}\n    trusted:"))
            for arguments in (["check", "-c", str(config)], ["check", "--json", "-c", str(config)]):
                done = command(*arguments)
                said += [done.stdout, done.stderr]
        replace(server_file, line + "\n")
        before = len(server.err)
        server.send_signal(signal.SIGHUP)
        server.wait_for_line("SIGHUP", since=before)
    code = command("query", f"mac://{client.listen()}", "--mac-keys", str(folder / "1-ntp.keyfile"), "--mac-key", "7")
    said += [code.stdout, code.stderr]
    client.finish()
    server.finish()
    said += server.err + client.err
    assert len(said) > 100
    for word in secrets:
        assert not [each for each in said if word in each], "a key was written"
