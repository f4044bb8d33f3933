"""FCS_SSHC_EXT.1 and FCS_SSHS_EXT.1 of NDcPP 2.2e, and FCS_SSH_EXT.1 with its client and server parts of the functional
packages SSH 1.0 (NDcPP 3.0e) and 2.0 (NDcPP 4.0): both roles of channel ssh against OpenSSH and paramiko."""

from __future__ import annotations

import json
import os
import pwd
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from support import ntp
from support.evaluated import CLOCK, PROFILE
from support.frames import PING, PONG, Frame
from support.gateway import Gateway, Json, command, write_config
from support.processes import eventually, free_port
from support.ssh import Sshd, frames_through_ssh, options, stdio_command, stock_client
from support.ssh_ring import KEYS, Ring, name_lists

SPECS = ["2.2e", "3.0e", "4.0"]
EXTRAS = ("ext-info-s", "ext-info-c", "kex-strict-s-v00@openssh.com", "kex-strict-c-v00@openssh.com")


def numbered(role: str, old: str = "", new: str = "", common: str = "") -> pytest.MarkDecorator:
    """`old` in 2.2e; `new` of the role's part and `common` of FCS_SSH_EXT.1, in the packages of 3.0e and 4.0."""
    params = []
    for spec in SPECS:
        ids = [f"2.2e/SSH{role}-{number}" for number in old.split()] if spec == "2.2e" else [
            *[f"{spec}/SSH{role}-{number}" for number in new.split()],
            *[f"{spec}/SSH-{number}" for number in common.split() if spec == "4.0" or not number.endswith("(2.0)")]]
        if ids:
            params.append(pytest.param(spec, id=spec, marks=pytest.mark.evaluates(*ids)))
    return pytest.mark.parametrize("spec", params)


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Ring:
    return Ring(tmp_path_factory.mktemp("ssh"))


def lists(spec: str) -> Json:
    return json.loads(command("profile", "show", PROFILE[spec], "--json").stdout)["ssh"]


def seal(ring: Ring, role: str) -> Json:
    keys = ring.folder / "ntp.keys"
    if not keys.exists():
        keys.write_text(f"7 SHA512 HEX:{'ab' * 64}\n", encoding="ascii")
        keys.chmod(0o600)
    return {"keys": str(keys)} | ({"trusted": [7]} if role == "server" else {"key": 7})


class Head:
    """A server role with an RSA and an ECDSA host key: libssh takes one of each kind."""

    def __init__(self, start: object, ring: Ring, spec: str, curve: int = 384, **ssh: object) -> None:
        self.ring, self.spec, self.lists = ring, spec, lists(spec)
        self.host_algorithms = [name for name in self.lists["public-keys"] if name.startswith("rsa") or str(curve) in name]
        block = {"host-keys": [ring.path(f"ecdsa{curve}"), ring.path("rsa3072")], "user": "ntpgate",
                 "authorized-keys": ring.path("authorized_keys")}
        self.gateway: Gateway = start({"name": "server", "role": "server", "listen": "127.0.0.1:0", "upstream": CLOCK,
                                       "channel": "ssh", "ssh": block | {key.replace("_", "-"): value for key, value in
                                                                         ssh.items()}, "mac": seal(ring, "server")},
                                      name=f"server-{spec}-{curve}", profile=PROFILE[spec],
                                      limits={"handshakes-per-second-per-source": 0})
        self.address = self.gateway.address()
        ring.know(self.address[1])

    def ping(self, identity: str | None = None, **more: object) -> bool:
        """Whether a stock client gets a frame back: a pong, which needs no seal."""
        given = {"KexAlgorithms": self.lists["kex"][0], "Ciphers": self.lists["ciphers"][0],
                 "HostKeyAlgorithms": ",".join(self.host_algorithms)} | more
        arguments = options(self.ring, identity or self.ring.of(self.lists["public-keys"][0]), **given)
        with frames_through_ssh(self.address, arguments) as peer:
            try:
                peer.send(Frame(PING, id=5, send=1).framed())
            except BrokenPipeError:
                return False
            answer = peer.receive(5)
            return answer is not None and (answer.kind, answer.id) == (PONG, 5)


@pytest.fixture
def head(start, ring: Ring, spec: str) -> Head:
    return Head(start, ring, spec)


def assert_as_claimed(said: dict[str, list[str]], claimed: Json, host_algorithms: list[str]) -> None:
    assert [name for name in said["kex"] if name not in EXTRAS] == claimed["kex"]
    assert sorted(said["host-keys"]) == sorted(host_algorithms)
    assert said["ciphers"] == said["ciphers-back"] == claimed["ciphers"]
    # Where every cipher authenticates by itself there is no MAC to claim, and none is agreed on.
    assert claimed["macs"] == [] or said["macs"] == said["macs-back"] == claimed["macs"]
    assert said["compression"] == said["compression-back"] == ["none"]


@numbered("S", "1.4", "T1", "1.4-T1 1.5-T1 1.6-T1")
def test_the_server_offers_what_is_claimed(start, ring, spec, evidence):
    """With one ECDSA host key at a time; together they are the claim."""
    offered: set[str] = set()
    claimed = lists(spec)["public-keys"]
    for curve in (256, 384, 521):
        if f"ecdsa-sha2-nistp{curve}" not in claimed:
            continue
        head = Head(start, ring, spec, curve)
        with socket.create_connection(head.address) as own:
            said = name_lists(own, b"SSH-2.0-evaluation\r\n")
        evidence.note(f"KEXINIT, nistp{curve}", said)
        assert_as_claimed(said, head.lists, head.host_algorithms)
        offered |= set(said["host-keys"])
        assert head.ping(HostKeyAlgorithms=f"ecdsa-sha2-nistp{curve}")
        head.gateway.finish()
    assert offered == set(claimed)


@numbered("C", "1.4", "", "1.4-T1 1.5-T1 1.6-T1")
def test_the_client_offers_what_is_claimed(start, ring, spec, evidence):
    with socket.create_server(("127.0.0.1", 0)) as ear:
        port = ear.getsockname()[1]
        ring.know(port)

        def answer() -> dict[str, list[str]]:
            connection, _ = ear.accept()
            with connection:
                return name_lists(connection, b"SSH-2.0-evaluation\r\n")

        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(answer)
            client = client_role(start, ring, spec, port)
            said = first.result(10)
    evidence.note("KEXINIT", said)
    claimed = lists(spec)
    assert [name for name in said["kex"] if name not in EXTRAS] == claimed["kex"]
    assert set(said["host-keys"]) == set(claimed["public-keys"])
    assert said["ciphers"] == said["ciphers-back"] == claimed["ciphers"]
    assert claimed["macs"] == [] or said["macs"] == said["macs-back"] == claimed["macs"]
    client.finish()


@numbered("S", "1.5-T1 1.6-T1 1.7-T2", "T2", "1.2-T1 1.6-T1 1.6-T4(2.0)")
def test_each_claimed_algorithm_works_with_a_stock_client(head, evidence):
    """OpenSSH sends the strict-kex marker."""
    used = []
    for name in head.lists["public-keys"]:
        host = {"HostKeyAlgorithms": name} if name in head.host_algorithms else {}
        assert head.ping(head.ring.of(name), PubkeyAcceptedAlgorithms=name, **host), name
        used.append(name)
    for kind, option in (("kex", "KexAlgorithms"), ("ciphers", "Ciphers")):
        for name in head.lists[kind]:
            assert head.ping(**{option: name}), name
            used.append(name)
    counters = [name for name in head.lists["ciphers"] if "gcm" not in name]
    for name in head.lists["macs"]:
        assert counters and head.ping(Ciphers=counters[0], MACs=name), name
        used.append(name)
    evidence.note("worked", used)
    head.gateway.finish()


@numbered("S", "1.5-T3 1.6-T2 1.7-T1", "T3", "1.4-T3 1.5-T2 1.6-T2")
def test_what_is_not_claimed_does_not_connect(head, evidence):
    given = {"no_common_kex": {"KexAlgorithms": "diffie-hellman-group1-sha1"}, "no_common_cipher": {"Ciphers": "aes256-cbc"},
             "no_common_host_key": {"HostKeyAlgorithms": "ssh-rsa"}}
    if head.lists["macs"]:
        counters = next(name for name in head.lists["ciphers"] if "gcm" not in name)
        given["no_common_mac"] = {"Ciphers": counters, "MACs": "hmac-sha1"}
    for reason, changes in given.items():
        assert not head.ping(**changes), changes
        evidence.note("recorded", head.gateway.wait_reason(reason))
    head.gateway.finish()


@numbered("S", "1.2-T2 1.5-T2", "", "1.2-T1")
def test_an_unknown_key_and_a_password_are_refused(head, evidence):
    assert not head.ping(head.ring.path("stranger"))
    evidence.note("recorded", head.gateway.wait_reason("user_key_unknown"))
    if not any("ctr" in name for name in head.lists["ciphers"]):
        offered_methods(head, evidence)
    else:
        with socket.create_connection(head.address, 5) as own:
            transport = paramiko.Transport(own)
            limit(transport, head.lists)
            transport.start_client(timeout=5)
            with pytest.raises(paramiko.SSHException):
                transport.auth_none("ntpgate")
            with pytest.raises(paramiko.SSHException):
                transport.auth_password("ntpgate", "a password", fallback=False)
            transport.close()
        evidence.note("recorded", head.gateway.wait_reason("password_refused"))
    assert not head.gateway.events("channel_opened")
    head.gateway.finish()


def offered_methods(head: Head, evidence: object) -> None:
    """A stock client that would rather use a password is told that there is none to use."""
    arguments = options(head.ring, head.ring.path("stranger"), PreferredAuthentications="password,keyboard-interactive",
                        PasswordAuthentication="yes", HostKeyAlgorithms=",".join(head.host_algorithms))
    child = stock_client(head.address, arguments, "-s", "ntpgate")
    _, said = child.communicate(timeout=20)
    evidence.note("a client without another method", said.decode(errors="replace").splitlines()[-1])
    assert b"Permission denied (publickey)" in said, said


def limit(transport: paramiko.Transport, claimed: Json) -> None:
    """What paramiko has of the claim; it sends no strict-kex marker before 3.4."""
    options_of = transport.get_security_options()
    options_of.kex = [name for name in claimed["kex"] if name in options_of.kex]
    options_of.ciphers = [name for name in claimed["ciphers"] if name in options_of.ciphers]
    options_of.key_types = [name for name in claimed["public-keys"] if name in options_of.key_types]


@numbered("S", "1.3", "", "1.3-T1 1.3-T2")
def test_packets_up_to_the_limit_pass_and_one_octet_more_does_not(start, ring, spec, evidence):
    head = Head(start, ring, spec, max_packet=35000)
    if not any("ctr" in name for name in head.lists["ciphers"]):
        oversize_before_login(head, evidence)
        head.gateway.finish()
        return
    transport = paramiko_session(head)
    transport.send_ignore(35000 - 1)  # and the octet that says what it is
    assert head.ping() and not head.gateway.events("channel_closed", reason="packet_too_large")
    transport.send_ignore(35000)
    record = head.gateway.wait_event("channel_closed", reason="packet_too_large")
    evidence.note("recorded", record)
    assert head.gateway.events("oversize_dropped") or record["sfr"], record
    transport.close()
    head.gateway.finish()


def oversize_before_login(head: Head, evidence: object) -> None:
    """paramiko speaks none of the claimed ciphers: the limit is met in the clear, before there is a cipher. There it holds
    for the packet with its padding, of which there may be 255 octets."""
    for length, refused in ((35012, False), (35268, True)):  # whole blocks of eight octets with the length's own four
        with socket.create_connection(head.address, 3) as own:
            port = own.getsockname()[1]
            own.sendall(b"SSH-2.0-evaluation\r\n" + length.to_bytes(4, "big") + b"\x0b\x02" + bytes(length - 2))

            def recorded(port: int = port) -> list[Json]:
                return [each for each in head.gateway.events("channel_failed") if each["peer"].endswith(f":{port}")]

            record = head.gateway.wait_until(recorded, f"{length} octets", 15)[0]
        evidence.note(f"{length} octets", record)
        assert (record["reason"] == "packet_too_large") == refused, record


def paramiko_session(head: Head) -> paramiko.Transport:
    own = socket.create_connection(head.address, 5)
    transport = paramiko.Transport(own)
    limit(transport, head.lists)
    transport.connect(username="ntpgate", pkey=paramiko.ECDSAKey.from_private_key_file(head.ring.of("ecdsa-sha2-nistp384")))
    transport.open_session().invoke_subsystem("ntpgate")
    head.gateway.wait_event("channel_opened")
    return transport


@numbered("S", "1.8", "", "1.8-T1 1.8-T2 1.8-T3 1.4-T2")
def test_the_server_renews_keys_by_time_and_by_data(start, ring, spec, evidence):
    for changes in ({"rekey_time": "2s"}, {"rekey_data": "64KiB"}):
        head = Head(start, ring, spec, **changes)
        arguments = options(ring, ring.of(head.lists["public-keys"][0]), RekeyLimit="1G 1h",
                            KexAlgorithms=head.lists["kex"][0], Ciphers=head.lists["ciphers"][0])
        with frames_through_ssh(head.address, arguments) as peer:
            def renewed() -> bool:
                for number in range(400 if "rekey_data" in changes else 1):
                    peer.send(Frame(PING, id=number, send=1).framed())
                return bool(head.gateway.events("rekeyed"))

            eventually(renewed, f"{changes}: renewed", 20, every=0.1)
        evidence.note(f"{changes}", head.gateway.events("rekeyed")[0])
        head.gateway.wait_event("channel_closed")  # the session ends with its client
        head.gateway.finish()


@numbered("S", "", "", "1.6-T3(2.0)")
def test_a_peer_without_the_strict_kex_marker_connects(start, ring, spec, evidence):
    head = Head(start, ring, spec)
    with socket.create_connection(head.address) as own:
        said = name_lists(own, b"SSH-2.0-evaluation\r\n")
    evidence.note("KEXINIT", said["kex"])
    usable = [name for name in head.lists["ciphers"] if name in ("aes128-ctr", "aes256-ctr")]
    if usable:
        transport = paramiko_session(head)
        transport.close()
    else:  # libssh itself is such a peer: our own client role
        client = client_role(start, ring, spec, head.address[1])
        assert client.wait_event("channel_opened")
        client.finish()
    head.gateway.finish()


# The client role


def client_role(start, ring: Ring, spec: str, port: int, name: str = "client", user: str = "ntpgate", **ssh: object) -> Gateway:
    block = {"user": user, "key": ring.of(lists(spec)["public-keys"][0]), "known-hosts": ring.path("known_hosts")}
    return start({"name": "client", "role": "client", "listen": "127.0.0.1:0", "connect": f"127.0.0.1:{port}",
                  "channel": "ssh", "ssh": block | {key.replace("_", "-"): value for key, value in ssh.items()},
                  "mac": seal(ring, "client")}, name=f"{name}-{spec}-{port}", profile=PROFILE[spec])


class Remote:
    """A stock sshd with the subsystem, its algorithms narrowed or widened by `directives`."""

    def __init__(self, supervisor, folder: Path, ring: Ring, spec: str, *directives: str, host: str = "ecdsa384") -> None:
        config = write_config(folder / "stdio.yaml", [{
            "name": "by-sshd", "role": "server", "listen": "stdio", "upstream": CLOCK, "channel": "ssh",
            "mac": seal(ring, "server")}], profile=PROFILE[spec], audit={"on-full": "continue"})  # no system's log here

        class Borrowed:
            """Its host key is the one it is given, under the name that support.ssh expects."""

            def path(self, name: str) -> str:
                return ring.path(host if name == "host_ed25519" else name)

        number = sum(1 for _ in folder.glob("sshd*"))
        self.daemon = Sshd(supervisor, folder / f"sshd{number}", Borrowed(), stdio_command(config), *directives)
        self.port = self.daemon.address[1]
        self.user = pwd.getpwuid(os.getuid()).pw_name


@numbered("C", "1.4 1.5-T1 1.6-T1 1.7-T1", "T1", "1.2-T2 1.4-T1 1.6-T1")
def test_the_client_works_with_each_claimed_algorithm(start, supervisor, folder, ring, spec, evidence):
    claimed = lists(spec)
    wanted = [("KexAlgorithms", name) for name in claimed["kex"]] + [("Ciphers", name) for name in claimed["ciphers"]]
    counters = [name for name in claimed["ciphers"] if "gcm" not in name]
    wanted += [("MACs", name) for name in claimed["macs"]]
    wanted += [("HostKeyAlgorithms", name) for name in claimed["public-keys"]]
    for option, name in wanted:
        kind, bits = KEYS.get(name, ("ecdsa", 384))
        more = [f"Ciphers {counters[0]}"] if option == "MACs" else []
        remote = Remote(supervisor, folder, ring, spec, f"{option} {name}", *more, host=f"{kind}{bits}")
        ring.know(remote.port, f"{kind}{bits}")
        client = client_role(start, ring, spec, remote.port, user=remote.user)
        assert client.wait_event("channel_opened"), (option, name)
        with ntp.Client(client.address()) as asker:
            assert asker.ask(3.0), (option, name)
        client.finish()
        remote.daemon.process.kill()
    evidence.note("worked", wanted)


@numbered("C", "1.5-T2 1.6-T2", "", "1.4-T3 1.5-T2 1.6-T2")
def test_the_client_refuses_a_server_without_anything_claimed(start, supervisor, folder, ring, spec, evidence):
    claimed = lists(spec)
    cases = [("no_common_kex", ["KexAlgorithms diffie-hellman-group14-sha1"]), ("no_common_cipher", ["Ciphers aes256-cbc"]),
             ("no_common_host_key", ["HostKeyAlgorithms ssh-rsa"])]
    if claimed["macs"]:
        counters = next(name for name in claimed["ciphers"] if "gcm" not in name)
        cases.append(("no_common_mac", [f"Ciphers {counters}", "MACs hmac-sha1"]))
    for reason, directives in cases:
        host = "rsa3072" if reason == "no_common_host_key" else "ecdsa384"
        remote = Remote(supervisor, folder, ring, spec, *directives, host=host)
        ring.know(remote.port)
        client = client_role(start, ring, spec, remote.port, user=remote.user)
        record = client.wait_event("channel_failed")
        evidence.note("recorded", record)
        assert record["reason"] == reason and record["sfr"], record
        client.finish()
        remote.daemon.process.kill()


@numbered("C", "1.9-T1 1.9-T2", "T2 T3")
def test_the_client_refuses_unknown_and_changed_hosts(start, supervisor, folder, ring, spec, evidence):
    remote = Remote(supervisor, folder, ring, spec)
    for known, reason in ((("stranger",), "host_key_changed"), ((), "host_key_unknown")):
        if known:
            ring.know(remote.port, *known)
        else:
            ring.know(free_port(), "ecdsa384")  # of another port: nothing is known of this one
        client = client_role(start, ring, spec, remote.port, user=remote.user)
        record = client.wait_event("channel_failed")
        evidence.note("recorded", record)
        assert record["reason"] == reason, record
        client.finish()
    assert not any("Accepted" in line for line in remote.daemon.process.err)


@numbered("C", "1.8a 1.8b", "", "1.8-T1 1.8-T2 1.8-T3")
def test_the_client_renews_keys_by_time_and_by_data(start, supervisor, folder, ring, spec, evidence):
    """The peer's own limits are higher."""
    remote = Remote(supervisor, folder, ring, spec, "RekeyLimit 1G 1h")
    ring.know(remote.port, "ecdsa384")
    for changes in ({"rekey_time": "2s"}, {"rekey_data": "64KiB"}):
        client = client_role(start, ring, spec, remote.port, user=remote.user, name=next(iter(changes)), **changes)
        client.wait_event("channel_opened")
        with ntp.Client(client.address()) as asker:
            def renewed() -> bool:
                for _ in range(40 if "rekey_data" in changes else 1):
                    asker.send()
                while asker.receive(0.05):
                    pass
                return bool(client.events("rekeyed"))

            eventually(renewed, f"{changes}: renewed", 40, every=0.05)
        evidence.note(f"{changes}", client.events("rekeyed")[0])
        client.finish()


@numbered("C", "", "", "1.2-T3")
def test_the_client_fails_where_its_method_is_not_there(start, supervisor, folder, ring, spec, evidence):
    remote = Remote(supervisor, folder, ring, spec, "PubkeyAuthentication no", "KbdInteractiveAuthentication yes")
    ring.know(remote.port, "ecdsa384")
    client = client_role(start, ring, spec, remote.port, user=remote.user)
    record = client.wait_event("channel_failed")
    evidence.note("recorded", record)
    assert record["outcome"] == "failure" and not client.events("channel_opened"), record
    client.finish()
