"""The numbered tests of the evaluation documents: which test carries out which, and the table of results.

Every test is marked with the ids it carries out, and leaves a file of evidence under NTPGATE_EVIDENCE (by default
evaluation/ beside the program): what was configured, what was said on the wire, what the head-end recorded of it.
"""

from __future__ import annotations

import importlib.util
import json
import os
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

from support.gateway import NTPGATE  # noqa: E402

EVIDENCE = Path(os.environ.get("NTPGATE_EVIDENCE", Path(NTPGATE).resolve().parents[1] / "evaluation"))


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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ids", action="store_true", help="with --collect-only: prints the ids that tests are marked with")


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.getoption("--ids"):
        for each in sorted({each for item in session.items for each in ids_of(item)}):
            print(f"id: {each}")


def ids_of(item: pytest.Item) -> list[str]:
    return [each for mark in item.iter_markers("evaluates") for each in mark.args]


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Iterator[Evidence]:
    ids = ids_of(request.node)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{request.node.path.stem}-{request.node.name}")[:150]
    kept = Evidence(EVIDENCE / f"{stem}.txt", f"{request.node.name}: {', '.join(ids)}")
    request.node.user_properties += [("ids", ids), ("evidence", str(kept.path.name))]
    yield kept
    kept.write()


def pytest_terminal_summary(terminalreporter) -> None:
    """The table: id, result, evidence file."""
    rows: dict[str, tuple[str, str]] = {}
    for result in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(result, []):
            properties = dict(getattr(report, "user_properties", []))
            if getattr(report, "when", "call") != "call" and result == "passed":
                continue
            for each in properties.get("ids", []):
                before = rows.get(each, ("passed", ""))[0]
                worst = result if before == "passed" else before
                rows[each] = (worst, properties.get("evidence", "") if worst == result or not rows.get(each)
                              else rows[each][1])
    if rows:
        terminalreporter.section("numbered tests")
        width = max(map(len, rows))
        for each in sorted(rows):
            terminalreporter.write_line(f"{each:<{width}}  {rows[each][0]:<6}  {rows[each][1]}")
        EVIDENCE.mkdir(parents=True, exist_ok=True)
        table = "".join(f"{each}\t{result}\t{file}\n" for each, (result, file) in sorted(rows.items()))
        (EVIDENCE / "results.tsv").write_text(table, encoding="utf-8")
