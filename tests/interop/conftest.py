"""Fixtures of every interop test: a folder, children that end with the test, and a check of all that ntpgate said."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import gateway  # noqa: E402
from support.daemons import Chronyd  # noqa: E402
from support.frame_peers import SshPeers, TlsPeers  # noqa: E402
from support.gateway import NTPGATE, Gateway, write_config  # noqa: E402
from support.impairment import Link  # noqa: E402
from support.netns import Network  # noqa: E402
from support.pki import TrialPki  # noqa: E402
from support.processes import Supervisor  # noqa: E402
from support.ssh import Keys, own_user  # noqa: E402


def pytest_sessionstart() -> None:
    assert Path(NTPGATE).is_file(), f"no program at {NTPGATE}: build it, or set NTPGATE"


def new_folder() -> Path:
    """Short, since the path of a Unix socket has 108 octets at most."""
    return Path(tempfile.mkdtemp(prefix="ntpgate-"))


@pytest.fixture
def folder() -> Iterator[Path]:
    path = new_folder()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def supervisor(folder: Path, trial_pki: TrialPki) -> Iterator[Supervisor]:
    owner = Supervisor()
    yield owner
    gateways = [child for child in owner.children() if isinstance(child, Gateway)]
    owner.end()
    secrets = secret_lines(folder) + secret_lines(trial_pki.folder)
    for gateway in gateways:
        assert not gateway.out, f"{gateway.name} wrote to stdout: {gateway.out[:3]}"
        said = "\n".join(gateway.err)
        assert "Sanitizer" not in said and "runtime error" not in said, said[-4000:]
        assert not any(secret in said for secret in secrets), f"{gateway.name} wrote a key"


def secret_lines(folder: Path) -> list[str]:
    """Whole lines of every private key that the test has made, and the symmetric keys of its key files."""
    lines = [line for key in folder.rglob("*.key") for line in key.read_text(encoding="ascii").splitlines()]
    words = [word.removeprefix("HEX:") for file in folder.rglob("*.keys")
             for line in file.read_text(encoding="ascii", errors="replace").splitlines() for word in line.split()]
    return [line for line in lines if len(line) > 32] + [word for word in words if len(word) >= 32]


@pytest.fixture(scope="session")
def trial_pki() -> Iterator[TrialPki]:
    """Made once: nothing in it is changed by a test."""
    path = new_folder()
    yield TrialPki(path)
    shutil.rmtree(path)


@pytest.fixture(params=["tls", "dtls"])
def either_channel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs once over each channel that takes the same tls block; its name."""
    monkeypatch.setattr(gateway, "CHANNEL", request.param)
    return request.param


@pytest.fixture(scope="session")
def session_keys() -> Iterator[Keys]:
    path = new_folder()
    yield Keys(path / "ssh")
    shutil.rmtree(path)


@pytest.fixture(params=["tls", "dtls", "ssh"])
def any_channel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, session_keys: Keys) -> str:
    """The test runs once over each channel between two head-ends, whatever block it takes; its name."""
    monkeypatch.setattr(gateway, "CHANNEL", request.param)
    monkeypatch.setattr(gateway, "SSH_BLOCKS", {"client": session_keys.client(), "server": session_keys.server()})
    return request.param


@pytest.fixture(params=["tls", "ssh"])
def stream_channel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, session_keys: Keys) -> str:
    """The test runs once over each channel that is one TCP stream; its name. Users are those that an sshd lets in."""
    monkeypatch.setattr(gateway, "CHANNEL", request.param)
    monkeypatch.setattr(gateway, "SSH_BLOCKS", {"client": session_keys.client(user=own_user()),
                                                "server": session_keys.server(user=own_user())})
    return request.param


@pytest.fixture
def frame_peers(stream_channel: str, trial_pki: TrialPki, session_keys: Keys, supervisor: Supervisor,
                folder: Path) -> TlsPeers | SshPeers:
    """Authenticated peers that say what the test tells them to, once over each `stream_channel`."""
    return SshPeers(session_keys, supervisor, folder) if stream_channel == "ssh" else TlsPeers(trial_pki)


@pytest.fixture
def keys(folder: Path) -> Keys:
    """SSH keys of the test's own, for it to spoil."""
    return Keys(folder / "ssh")


@pytest.fixture
def chronyd(supervisor: Supervisor, folder: Path) -> Chronyd:
    """An unmodified chronyd that listens on 127.0.0.1 only."""
    return Chronyd(supervisor, folder / "chronyd").serve()


@pytest.fixture
def network() -> Iterator[Network]:
    own = Network()
    yield own
    own.end()


@pytest.fixture
def link(network: Network) -> Iterator[Link]:
    """Joins `network`, on its left, to another one."""
    right = Network(beside=network)
    with Link(network, right) as joined:
        yield joined
    right.end()


@pytest.fixture
def start(supervisor: Supervisor, folder: Path) -> Callable[..., Gateway]:
    """Starts ntpgate with the given tunnels: `start(tunnel, ..., name=..., limits=...)`."""

    def starter(*tunnels: dict[str, object], name: str = "ntpgate", prefix: list[str] | None = None,
                environment: dict[str, str] | None = None, **top: object) -> Gateway:
        config = write_config(folder / f"{name}.yaml", list(tunnels), **top)
        gateway = Gateway(supervisor, name, ["run", "-c", str(config)], prefix, environment)
        gateway.config = config
        return gateway

    return starter
