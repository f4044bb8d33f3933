"""A pytest plugin: what became of the numbered tests of the evaluation documents, id by id.

Several tests may carry out parts of one id: it has passed when all of them have. One that failed before its first line,
was skipped, left out or never came to its turn takes the id with it.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from support.gateway import NTPGATE

EVIDENCE = Path(os.environ.get("NTPGATE_EVIDENCE", Path(NTPGATE).resolve().parents[1] / "evaluation"))
WORST_FIRST = ("failed", "error", "skipped", "partly", "passed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ids", action="store_true", help="with --collect-only: prints the ids that tests are marked with")


def ids_of(item: pytest.Item) -> list[str]:
    return [each for mark in item.iter_markers("evaluates") for each in mark.args]


# First, while those that another option leaves out are still there.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    parts = Counter(each for item in items for each in ids_of(item))
    for item in items:
        ids = ids_of(item)
        if ids and "evidence" not in item.fixturenames:
            raise pytest.UsageError(f"{item.nodeid}: carries out {', '.join(ids)} and leaves no evidence")
        if ids:
            # Here and not in a fixture: also known of a test whose set-up fails.
            item.user_properties += [("ids", ids), ("parts", {each: parts[each] for each in ids})]


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.getoption("--ids"):
        for each in sorted({each for item in session.items for each in ids_of(item)}):
            print(f"id: {each}")


def table(stats: dict[str, list[object]]) -> dict[str, tuple[str, str]]:
    """Id -> result, evidence file: of the worst of its parts."""
    rows: dict[str, tuple[str, str]] = {}
    passed: Counter[str] = Counter()
    parts: dict[str, int] = {}

    def add(each: str, result: str, file: str) -> None:
        before = rows.get(each)
        if before is None or WORST_FIRST.index(result) < WORST_FIRST.index(before[0]):
            rows[each] = (result, file)

    for kind, reports in stats.items():
        for report in reports:
            if not isinstance(report, pytest.TestReport):  # those that an option leaves out stand here as well
                continue
            properties = dict(report.user_properties)
            if "ids" not in properties or (report.passed and report.when != "call"):
                continue
            # xfailed and the like are no results that an evaluation knows.
            result = kind if kind in WORST_FIRST else "failed"
            parts |= properties["parts"]
            for each in properties["ids"]:
                passed[each] += result == "passed"
                add(each, result, properties.get("evidence", ""))
    for each, count in parts.items():
        if passed[each] < count:
            add(each, "partly", rows[each][1])
    return rows


def pytest_terminal_summary(terminalreporter) -> None:
    """The table: id, result, evidence file."""
    rows = table(terminalreporter.stats)
    if rows:
        terminalreporter.section("numbered tests")
        width = max(map(len, rows))
        for each in sorted(rows):
            terminalreporter.write_line(f"{each:<{width}}  {rows[each][0]:<6}  {rows[each][1]}")
        EVIDENCE.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{each}\t{result}\t{file}\n" for each, (result, file) in sorted(rows.items()))
        (EVIDENCE / "results.tsv").write_text(lines, encoding="utf-8")
