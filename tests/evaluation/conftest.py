"""The numbered tests of the evaluation documents: which test carries out which, and the table of results.

Every test is marked with the ids it carries out, and leaves a file of evidence under NTPGATE_EVIDENCE (by default
evaluation/ beside the program): what was configured, what was said on the wire, what the head-end recorded of it.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.dont_write_bytecode = True
sys.path.insert(0, str(TESTS))

_spec = importlib.util.spec_from_file_location("interop_fixtures", TESTS / "interop" / "conftest.py")
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
for _name in ("pytest_sessionstart", "folder", "supervisor", "trial_pki", "session_keys", "keys", "chronyd", "network",
              "start"):
    globals()[_name] = getattr(_fixtures, _name)

from support.numbered import (  # noqa: E402, F401: hooks
    EVIDENCE, ids_of, pytest_addoption, pytest_collection_finish, pytest_collection_modifyitems, pytest_terminal_summary)


class Evidence:
    """What one test saw, line by line."""

    def __init__(self, path: Path, title: str) -> None:
        self.path = path
        self.lines = [title]

    def note(self, what: str, seen: object = "") -> None:
        text = seen if isinstance(seen, str) else json.dumps(seen, default=str)
        self.lines.append(f"{what}: {text}" if text else what)

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Iterator[Evidence]:
    ids = ids_of(request.node)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{request.node.path.stem}-{request.node.name}")[:150]
    kept = Evidence(EVIDENCE / f"{stem}.txt", f"{request.node.name}: {', '.join(ids)}")
    request.node.user_properties.append(("evidence", str(kept.path.name)))
    yield kept
    kept.write()
